"""Every name of NumPy's that is compiled: its value, dtype and shape are NumPy's, its gradient is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradc
from gradc.trace import tree
from tests.programs.gradients import check_gradient
from tests.trace.everyday import OPERANDS, Case, cases
from tests.trace.harness import check, traced

CASES = [pytest.param(case, id=f"{case.name}: {case.text}") for case in cases()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_values_are_those_of_numpy(case: Case):
    check(case.function, **OPERANDS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_finite_differences(case: Case):
    result, leaves = traced(case.function, **OPERANDS)
    verdict = check_gradient(result.graph, leaves)
    assert verdict.message is None, verdict.message


def same_bits(a: Any, b: Any) -> bool:
    """Whether arrays are equal, NaN to NaN and zeros of one sign."""
    if a.dtype.kind != "f":
        return a.dtype == b.dtype and np.array_equal(a, b)
    known = ~np.isnan(a)
    signs = np.array_equal(np.signbit(a[known]), np.signbit(b[known]))
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True) and signs


def _any_bits(dtype: str) -> tuple[Any, Any]:
    """Numbers of all exponents, with the powers of two and their neighbours; and whole numbers."""
    rng = np.random.default_rng(3)
    whole = np.dtype(f"u{np.dtype(dtype).itemsize}")
    bits = rng.integers(0, np.iinfo(whole).max, 20_000, whole, endpoint=True).view(dtype)
    info = np.finfo(dtype)
    powers = np.ldexp(np.ones(1, dtype), np.arange(info.minexp - info.nmant, info.maxexp)).astype(dtype)
    x = np.concatenate(
        [bits, powers, -powers, np.nextafter(powers, np.inf, dtype=dtype), [0.0, -0.0, info.max]]
    )
    return x.astype(dtype), rng.integers(-2 * info.maxexp, 2 * info.maxexp, x.size)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("name", ["frexp", "modf", "spacing", "ldexp", "nextafter"])
def test_the_parts_of_floats_are_exact(name: str, dtype: str):
    x, n = _any_bits(dtype)
    function = getattr(np, name)
    operands = {"ldexp": (x, n), "nextafter": (x, np.random.default_rng(4).permutation(x))}.get(name, (x,))
    wanted, got = function(*operands), gradc.compile(function)(*operands)
    for a, b in zip(*[v if isinstance(v, tuple) else (v,) for v in (wanted, got)], strict=True):
        assert same_bits(a, b)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "i4", "i8", "u8"])
def test_divisors_and_bits_of_all_integers(dtype: str):
    rng, info = np.random.default_rng(5), np.iinfo(dtype)
    a = rng.integers(info.min, info.max, 2000, dtype, endpoint=True)
    b = rng.permutation(a)
    a[:4], b[:4] = [info.min, info.min, 0, 0], [info.min, 0, 0, info.max]
    for function in (np.gcd, np.lcm):
        assert same_bits(function(a, b), gradc.compile(lambda a, b, f=function: f(a, b))(a, b))
    assert same_bits(np.bitwise_count(a), gradc.compile(np.bitwise_count)(a))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_native_code_gives_the_same(case: Case):
    wanted, structure = tree.flatten(case.function(**OPERANDS))
    got, other = tree.flatten(gradc.compile(case.function)(**OPERANDS))
    assert structure == other
    for a, b in zip(wanted, got, strict=True):
        if isinstance(a, np.ndarray | np.generic | float):
            a, b = np.asarray(a), np.asarray(b)
            assert a.dtype == b.dtype and a.shape == b.shape
            tolerance = 3e-6 if a.dtype == np.float32 else 1e-10
            np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)
