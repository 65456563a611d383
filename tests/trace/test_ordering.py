"""Running sums, sorting, quantiles, interpolation, covariances: NumPy's values, gradients of two orders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.programs.gradients import check_gradient
from tests.trace.harness import cases, check, traced

RNG = np.random.default_rng(11)
X = RNG.uniform(-3, 3, (4, 5))
HOLES = np.where(RNG.random((4, 5)) < 0.3, np.nan, X)
HOLES[:, 2] = np.nan
V, W = RNG.uniform(-3, 3, 7), RNG.uniform(-1, 1, 3)

OPERANDS: dict[str, tuple[Any, ...]] = {
    "matrix": (X,),
    "single": (X.astype("f4"),),
    "integers": (RNG.integers(-5, 5, (4, 5)).astype("i4"),),
    "booleans": (X > 0,),
    "holes": (HOLES,),
    "vectors": (V, W),
    "samples": (np.sort(V), V, W),
}

SMOOTH = {
    "matrix": """
        np.cumsum(x); np.cumsum(x, 0); np.cumsum(x, axis=-1); x.cumsum(1); np.cumprod(x, 0); np.cumprod(x)
        np.add.accumulate(x); np.multiply.accumulate(x, 1); np.maximum.accumulate(x, axis=1)
        np.minimum.accumulate(x); np.logaddexp.accumulate(x, 1); np.fmax.accumulate(x)
        np.sort(x); np.sort(x, 0); np.sort(x, None); np.sort(x)[::-1]; np.partition(x, 2)[:, 2]
        np.median(x); np.median(x, 0); np.median(x, axis=1, keepdims=True); np.median(x, axis=(0, 1))
        np.quantile(x, 0.3); np.quantile(x, [0.1, 0.5, 1.0], axis=1)
        np.percentile(x, 30, axis=1, keepdims=True)
        np.quantile(x, [[0.2, 0.33]], keepdims=True); np.quantile(x, 0.3, method="lower")
        np.quantile(x, 0.3, method="higher", axis=1); np.quantile(x, 0.3, method="nearest", axis=0)
        np.quantile(x, 0.3, method="midpoint", axis=0); np.quantile(x, [0.3, 0.8], method="hazen", axis=0)
        np.quantile(x, 0.3, method="inverted_cdf", axis=0); np.quantile(x, 0.3, method="weibull")
        np.quantile(x, 0.3, method="median_unbiased"); np.quantile(x, 0.5, method="averaged_inverted_cdf")
        np.quantile(x, 0.55, method="closest_observation", axis=1); np.gradient(x); np.gradient(x, axis=0)
        np.gradient(x, 0.3, axis=1); np.gradient(x, 0.5, 2.0); np.gradient(x, edge_order=2, axis=1); np.cov(x)
        np.cov(x, rowvar=False); np.cov(x[0], x[1]); np.cov(x, bias=True); np.cov(x[0])
        np.corrcoef(x[0], x[1])
        np.cov(x, ddof=0, aweights=np.arange(1, 6.0)); np.cov(x, fweights=np.arange(1, 6)); np.corrcoef(x[0])
        np.ptp(x, 0); np.nanmax(x, 0); np.nanvar(x, axis=1, ddof=1); np.nanstd(x); np.nanmedian(x, 0)
        np.cov(x, x[::-1] * x, rowvar=False)
    """,
    "vectors": """
        np.gradient(x); np.gradient(x, 0.5); np.gradient(x, np.arange(7.0) ** 2); np.gradient(x, edge_order=2)
        np.gradient(x, np.arange(7.0) ** 2, edge_order=2)
        np.gradient(np.sin(x), x.cumsum() + np.arange(7) * 9)
        np.convolve(x, y); np.convolve(x, y, "same"); np.convolve(x, y, mode="valid"); np.correlate(x, y)
        np.correlate(x, y, "full"); np.correlate(x, y, mode="same"); np.convolve(y, x)
        np.correlate(y, x, "full"); np.correlate(y, x, "same"); np.convolve(y, x, "same")
        np.convolve(x, [1, 2, 1.0]); np.convolve(x[:4], x[2:6], "same"); np.convolve(x, x); np.vander(x)
        np.vander(x, 3); np.vander(x, 3, increasing=True); np.ediff1d(x, to_begin=0.0, to_end=[1.0, 2.0])
        np.quantile(x, abs(y)); np.quantile(x, abs(y[0])); np.ediff1d(x)
    """,
    "samples": """
        np.interp(z, x, y); np.interp(z[0], x, y); np.interp(np.linspace(-4, 4, 20), x, y)
        np.interp(np.linspace(-4, 4, 20), x, y, left=0.0, right=1.0); np.interp(z, [-1.0, 2.0], [2.0, 3.0])
        np.interp(z * 5, np.arange(7) * 1.0, y, period=3.1)
        np.interp(np.linspace(-3, 3, 5), [0.0, 1.0], y[:2])
    """,
}

OTHERS = {
    "matrix": """
        np.cumsum(x, dtype=np.float32); np.logical_and.accumulate(x > 0, 1); x.argsort(0); np.argsort(-x)
        np.argpartition(x, 1, axis=0)[1]; np.sum(x[np.argsort(x[:, 0])], 0); np.nanargmin(x)
        np.isposinf(x / 0)
        np.isneginf(x / 0); np.unwrap(x * 3); np.unwrap(x * 3, axis=0); np.unwrap(x * 3, period=3.0)
        np.corrcoef(x); np.cumsum(x[:, :0], 1); np.sort(x[:0]); np.nancumprod(x, 0); np.tri(4, 5) * x
        np.interp(0.5, [1.0], x[0, :1]); np.add.outer(x[0], x[1]).cumsum(0)
    """,
    "single": """
        np.cumsum(x, 1); np.sort(x); np.median(x, 0); np.quantile(x, 0.3, axis=0); np.median(x)
        np.nanvar(x, 0)
        np.percentile(x, [30, 77.3], axis=0); np.quantile(x, np.array([0.3]), axis=0); np.gradient(x[0])
        np.convolve(x[0], x[1]); np.cov(x); np.interp(x[0], x[1].cumsum() * 0 + np.arange(5), x[2])
    """,
    "integers": """
        np.cumsum(x, 1); np.cumprod(x, 0); np.maximum.accumulate(x); np.sort(x, axis=0); np.median(x, 0)
        np.argsort(x, kind="stable"); np.quantile(x, [[0.2, 0.7]], axis=0); np.cov(x); np.gradient(x, axis=1)
        np.quantile(x, 0.3, method="lower", axis=1); np.searchsorted(np.arange(-3, 4), x); np.vander(x[0], 3)
        np.searchsorted(np.arange(-3, 4), x, "right"); np.digitize(x, np.arange(4)); np.nanmax(x, 0)
        np.nanvar(x, 0); np.convolve(x[0], x[1]); np.nanmedian(x, 0); np.add.accumulate(x.astype("i1"))
    """,
    "booleans": """
        np.cumsum(x, 1); np.sort(x); np.logical_or.accumulate(x); np.maximum.accumulate(x, 1); np.median(x)
        np.multiply.accumulate(x)
    """,
    "holes": """
        np.nancumsum(x, 0); np.nancumprod(x, 1); np.minimum.accumulate(x, axis=0); np.sort(x); np.sort(x, 0)
        np.argsort(x, axis=0, kind="stable"); np.median(x, 1); np.quantile(x, [0.2, 0.8], axis=0)
        np.nanmedian(x); np.nanmedian(x, 0); np.nanquantile(x, 0.3, axis=1)
        np.nanpercentile(x, [30, 60], axis=0)
        np.nanmedian(x, 1, keepdims=True); np.nanvar(x, 0); np.nanstd(x); np.nanstd(x, axis=1, ddof=1)
        np.nanmax(x, 0); np.nanmin(x); np.nanmax(x, axis=1, keepdims=True); np.nanvar(x, 1, keepdims=True)
        np.nanargmax(x, axis=1); np.nanargmin(x); np.nanprod(x, 0); np.nansum(x, 1); np.nanmean(x, 0)
    """,
    "samples": """
        np.searchsorted(x, y); np.searchsorted(x, x); np.searchsorted(x, x, side="right"); x.searchsorted(z)
        np.searchsorted(x, y[0]); np.searchsorted([1.0, 2.0, 3.0], y); np.searchsorted(x, [0.0, np.nan])
        np.searchsorted(x[:0], y); np.searchsorted(y, z, sorter=np.argsort(y))
        np.digitize(y, [-1.0, 0.0, 1.0])
        np.digitize(y, [1.0, 0.0, -1.0], right=True)
    """,
}


def function(text: str) -> Any:
    return eval(f"lambda x, y=None, z=None: {text}", {"np": np, "__name__": "case"})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("operands", "text"), cases(SMOOTH, OTHERS))
def test_values_are_those_of_numpy(operands: str, text: str):
    check(function(text), *OPERANDS[operands])


@pytest.mark.parametrize(("operands", "text"), cases(SMOOTH))
def test_gradients_are_those_of_finite_differences(operands: str, text: str):
    result, leaves = traced(function(text), *OPERANDS[operands])
    verdict = check_gradient(result.graph, leaves, order=2)
    assert verdict.message is None, verdict.message
    assert verdict.smooth


def test_a_running_product_has_its_gradient_at_zeros():
    x = np.array([2.0, 0.0, 3.0, 0.0, 5.0])
    result, leaves = traced(function("np.cumprod(x)"), x)
    for order in (1, 2):
        verdict = check_gradient(result.graph, leaves, order=order)
        assert verdict.message is None and verdict.smooth
