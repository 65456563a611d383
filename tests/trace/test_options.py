"""Options at their limits: what NumPy refuses is refused at the line, the rest means the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest

import gradc
from gradc.ir import GradcError
from tests.trace.harness import check

np: Any = numpy
"""What is wrong here is meant to be wrong: no type checker looks at it."""

X = np.array([3.0, -1.0, 2.0, 0.5])
M = np.arange(6.0).reshape(2, 3)
I = np.array([2, 0, 1])  # noqa: E741
N = np.array([[1.0, np.nan, 4.0], [np.nan, np.nan, np.nan]])
B = np.array([True, False, True, True])

REFUSED: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "sort-kind": (lambda x: np.sort(x, kind="nonsense"), (X,)),
    "argsort-kind": (lambda x: x.argsort(kind="nonsense"), (X,)),
    "sort-method-kind": (lambda x: x.sort(kind="nonsense"), (X,)),
    "sort-kind-and-stable": (lambda x: np.sort(x, kind="quicksort", stable=True), (X,)),
    "partition-kth": (lambda x: np.partition(x, 4), (X,)),
    "partition-method-kth": (lambda x: x.partition(4), (X,)),
    "argpartition-kth-of-an-axis": (lambda x: np.argpartition(x, 2, axis=0), (M,)),
    "argpartition-one-kth-of-many": (lambda x: x.argpartition((0, -5)), (X,)),
    "partition-kind": (lambda x: np.partition(x, 1, kind="nonsense"), (X,)),
    "partition-kind-type": (lambda x: np.partition(x, 1, kind=1), (X,)),
    "ravel-order": (lambda x: x.ravel("Z"), (M,)),
    "flatten-order": (lambda x: x.flatten("Fortran"), (M,)),
    "reshape-order-type": (lambda x: x.reshape(6, order=1), (M,)),
    "rollaxis-start": (lambda x: np.rollaxis(x, 0, -3), (M,)),
    "clip-one-bound": (lambda x: np.clip(x, 2), (X,)),
    "clip-upper-bound-only": (lambda x: np.clip(x, a_max=2), (X,)),
    "clip-both-spellings": (lambda x: np.clip(x, 0, 1, max=2), (X,)),
    "var-ddof-and-correction": (lambda x: np.var(x, ddof=1, correction=0), (X,)),
    "where-by-name": (lambda c, x: np.where(c, x=x, y=x), (B, X)),
    "argmax-out-shape": (lambda x, out: np.argmax(x, axis=0, out=out), (M, np.zeros((2, 3), int))),
    "mean-out-shape": (lambda x, out: np.mean(x, axis=1, out=out), (M, np.zeros((3, 2)))),
    "take-out-shape": (lambda x, out: np.take(x, 1, out=out), (X, np.zeros(1))),
    "add-out-of-fewer-axes": (lambda x, out: np.add(x[:1], 1, out), (X, np.array(0.0))),
    "add-two-outs": (lambda x, a, b: np.add(x, 1, out=(a, b)), (X, X, X)),
    "add-two-outs-by-position": (lambda x, a, b: np.add(x, 1, a, b), (X, X, X)),
    "add-out-twice": (lambda x, a: np.add(x, 1, None, out=a), (X, X)),
    "frexp-one-out": (lambda x, a: np.frexp(x, out=a), (X, X)),
    "negative-bool": (lambda b: -b, (B,)),
    "subtract-bool": (lambda b: b - b, (B,)),
    "positive-bool": (np.positive, (B,)),
    "gcd-float": (lambda x: np.gcd(x, 4), (X,)),
    "lcm-float": (lambda x: np.lcm(x, x), (X,)),
    "negative-power": (lambda i: i ** (i - 2), (I,)),
    "searchsorted-sorter-size": (lambda x: np.searchsorted(x, 1.0, sorter=[0, 1]), (X,)),
    "searchsorted-sorter-range": (lambda x: np.searchsorted(x, -5.0, sorter=[-1, 0, 1, 2]), (X,)),
    "searchsorted-sorter-dtype": (lambda x: np.searchsorted(x, 1.0, sorter=[0.0, 1, 2, 3]), (X,)),
    "choose-by-float": (lambda x: np.choose(x, [1.0, 2.0]), (X,)),
    "putmask-size": (lambda x: np.putmask(x, [True], 5.0), (X,)),
    "nanargmax-of-none": (lambda x: np.nanargmax(x * np.nan), (X,)),
    "nanargmin-of-none-in-a-row": (lambda x: np.nanargmin(x, axis=1), (N,)),
    "nanmean-integer-dtype": (lambda x: np.nanmean(x, dtype=int), (X,)),
    "nanstd-bool-dtype": (lambda x: np.nanstd(x, dtype=bool), (X,)),
    "nanvar-ddof-and-correction": (lambda x: np.nanvar(x, ddof=1, correction=0), (X,)),
    "average-weights-without-axis": (lambda x: np.average(x, weights=[0, 0, 1]), (M,)),
    "norm-order": (lambda x: np.linalg.norm(x, "nuc", 0), (M,)),
    "norm-order-unknown": (lambda x: np.linalg.norm(x, "test"), (X,)),
    "quantile-traced": (np.quantile, (X, np.array([0.5, 1.5]))),
    "percentile-traced": (np.percentile, (X, np.array([150.0, 20.0]))),
    "diff-negative": (lambda x: np.diff(x, -1), (X,)),
    "interp-period": (lambda x: np.interp(x, [0.0, 1.0], [1.0, 2.0], period=0), (X,)),
    "put-along-axis-flat": (lambda x, i: np.put_along_axis(x, i, 1.0, None), (M, np.array([[0], [1]]))),
    "meshgrid-indexing": (lambda x: np.meshgrid(x, x, indexing="no"), (X,)),
    "vsplit-of-a-vector": (lambda x: np.vsplit(x, 2), (X,)),
    "dsplit-of-a-matrix": (lambda x: np.dsplit(x, 1), (M,)),
    "histogram-bins-float": (lambda x: np.histogram(x, 2.4), (X,)),
    "histogram-edges-fall": (lambda x: np.histogram_bin_edges(x, [1, 3, 1]), (X,)),
    "correlate-numbers": (lambda x: np.correlate(x[0], x), (X,)),
    "cumsum-axis-of-a-number": (lambda x: np.cumsum(x, axis=1), (np.array(2.0),)),
    "tensordot-axes": (lambda x: np.tensordot(x, x[0], axes=2), (M,)),
    "sum-axis-of-a-number": (lambda x: np.sum(x, axis=1), (np.array(2.5),)),
    "mean-axis-of-a-number": (lambda x: np.mean(x, axis=0), (np.array(2.5),)),
    "array-device": (lambda x: np.asarray(x, device="gpu"), (X,)),
    "require-unlikely": (lambda x: np.require(x, None, ["C", "F"]), (M,)),
    "broadcast-to-negative": (lambda x: np.broadcast_to(x, -1), (X[:1],)),
    "gradient-of-bool": (np.gradient, (B,)),
    "histogram-of-infinity": (lambda x: np.histogram(x, 3), (np.array([1.0, np.inf]),)),
    "ediff1d-end-dtype": (lambda i: np.ediff1d(i, to_end=np.nan), (I,)),
    "histogram-range": (lambda x: np.histogram(x, range=[0.25, np.inf]), (X,)),
    "histogramdd-range": (lambda x: np.histogramdd(x, range=[[0, 1], [np.nan, 1], [0, 1]]), (M,)),
    "isin-kind": (lambda x: np.isin(x, x, kind="quicksort"), (X,)),
    "unravel-float": (lambda x: np.unravel_index(x, (2, 2)), (X,)),
    "ravel-multi-index-float": (lambda x: np.ravel_multi_index((x, x), (9, 9)), (X,)),
    "pad-option-of-another-mode": (lambda x: np.pad(x, 1, "edge", end_values=0), (X,)),
    "pad-statistic-of-another-mode": (lambda x: np.pad(x, 1, "wrap", reflect_type="even"), (X,)),
    "pad-width-text": (lambda x: np.pad(x, "3", "linear_ramp"), (X,)),
    "select-by-integers": (lambda i, x: np.select([i], [x]), (I, X[:3])),
    "cov-fweights-float": (lambda x: np.cov(x, fweights=[1.5, 4.5, 1.5]), (M,)),
    "putmask-by-name": (lambda x, m: np.putmask(a=x, mask=m, values=5.0), (X, B)),
}


def copies(args: tuple[Any, ...]) -> list[Any]:
    return [x.copy() for x in args]


@pytest.mark.parametrize("name", REFUSED)
def test_what_numpy_refuses_is_refused_with_its_kind_of_error(name: str) -> None:
    fn, args = REFUSED[name]
    with pytest.raises((TypeError, ValueError)) as wanted:
        fn(*copies(args))
    with pytest.raises(TypeError if isinstance(wanted.value, TypeError) else ValueError) as found:
        gradc.compile(fn)(*copies(args))
    if isinstance(found.value, GradcError):
        assert found.value.source is not None
        assert found.value.source.file == __file__


SAME: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "flatten-f": (lambda x: x.flatten("f"), (M,)),
    "reshape-f": (lambda x: x.reshape((3, 2), order="f"), (M,)),
    "ravel-none": (lambda x: x.ravel(None), (M,)),
    "sort-kinds": (lambda x: [np.sort(x, kind=k) for k in (None, "quick", "stable")], (X,)),
    "clip-method-lower": (lambda x: x.clip(0.0), (X,)),
    "clip-method-upper": (lambda x: x.clip(max=1.0), (X,)),
    "clip-by-name": (lambda x: np.clip(x, min=0.0, max=1.0), (X,)),
    "clip-neither": (lambda x: np.clip(x, None, None), (X,)),
    "clip-dtype": (lambda x: np.clip(x, 0.0, 1.0, dtype=np.float64), (X.astype(np.float32),)),
    "clip-spreads-into-out": (lambda x, out: np.clip(x, 0.0, 1.0, out=out).copy(), (X, np.zeros((2, 4)))),
    "add-spreads-into-out": (lambda x, out: np.add(x, 1.0, out=out).copy(), (X, np.zeros((2, 4)))),
    "add-out-by-position": (lambda x, out: np.add(x, 1.0, out).copy(), (X, np.zeros(4))),
    "bitwise-and-of-none": (np.bitwise_and.reduce, (np.zeros(0, np.uint8),)),
    "bitwise-and-of-no-rows": (np.bitwise_and.reduce, (np.zeros((0, 3), np.uint64),)),
    "reduceat-nothing": (lambda x: np.add.reduceat(x, np.array([], int), axis=1), (M,)),
    "reduceat-nothing-of-rows": (lambda x: np.multiply.reduceat(x, np.array([], int)), (M,)),
    "choose-wraps": (lambda x: np.choose([0, 1, 0], (-1, x)), (np.array([1, 2, 3], np.uint8),)),
    "choose-wraps-far": (lambda x: np.choose([0, 1, 0], (1000, x)), (np.array([1, 2, 3], np.uint8),)),
    "isclose-of-weak": (
        lambda x: np.isclose(x, 2, atol=0, rtol=0.5 - 1e-16),
        (np.ones(2, np.float32),),
    ),
    "isclose-of-weak-float": (lambda x: np.isclose(x, 2.0, atol=0, rtol=0.5), (np.ones(2, np.float32),)),
    "equal-none": (lambda x: [x == None, x != None], (X,)),  # noqa: E711
    "equal-text": (lambda x: [x == "a", x != "a"], (X,)),
    "conj-bool": (lambda b: [b.conj(), b.conjugate()], (B,)),
    "conj": (lambda x: x.conj(), (X,)),
    "nansum-by-position": (lambda x: np.nansum(x, 0, np.float32), (N,)),
    "nansum-where": (lambda x: np.nansum(x, axis=1, where=[True, True, False], initial=2.0), (N,)),
    "nanmean-where": (lambda x: np.nanmean(x, axis=1, where=[True, True, False]), (N,)),
    "nanmean-integers-where": (lambda i: np.nanmean(i, where=[True, False, True]), (I,)),
    "nanmax-initial": (lambda x: np.nanmax(x, axis=1, initial=2.0), (N,)),
    "nanmin-initial-where": (lambda x: np.nanmin(x, 0, initial=9.0, where=[True, False, True]), (N,)),
    "nanvar-correction": (lambda x: np.nanvar(x, correction=0.5), (N,)),
    "nanvar-where": (lambda x, m: np.nanvar(x, axis=0, where=m), (M, M != 4)),
    "nanvar-mean": (lambda x: np.nanvar(x, 1, mean=np.nanmean(x, 1, keepdims=True)), (M,)),
    "nanstd-integers": (lambda i: np.nanstd(i, correction=1), (I,)),
    "interp-at-infinite-values": (
        lambda x: np.interp(x, [1, 2, 3, 4], [1.0, 2.0, np.inf, 4.0]),
        (np.array([1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, np.nan]),),
    ),
    "interp-at-lost-values": (
        lambda x: np.interp(x, [1, 2, 3, 4], [1.0, 2.0, np.nan, 4.0]),
        (np.array([1.0, 2.0, 2.5, 3.0, 4.0, 0.0]),),
    ),
    "interp-from-infinity": (lambda x: np.interp(x, [-np.inf, 1.0], [3.0, 5.0]), (X,)),
    "mean-in-integers": (lambda x: np.mean(x, 1, dtype=np.int32), (M,)),
    "mean-in-integers-where": (lambda x: np.mean(x, dtype=int, where=[True, False, True]), (M,)),
    "nanmean-of-integers-in-integers": (lambda i: np.nanmean(i, dtype=np.uint8), (I,)),
    "reductions-of-a-number": (
        lambda x: [f(x, axis=k) for f in (np.sum, np.max, np.any, np.ptp, np.argmax) for k in (0, -1)],
        (np.array(2.5),),
    ),
    "cumsum-of-a-number": (lambda x: [np.cumsum(x), np.cumsum(x, 0)], (np.array(2.5),)),
    "median-of-nothing": (lambda x: [np.median(x, 1), np.nanmedian(x)], (np.zeros((2, 0), np.float32),)),
    "median-of-no-integers": (lambda x: np.median(x, 1, keepdims=True), (np.zeros((2, 0), int),)),
    "cov-columns-of-one-row": (lambda x: np.cov(x[:1], ddof=0, rowvar=False), (M,)),
    "histogramdd": (lambda x: np.histogramdd(x, (2, 3, 4)), (M,)),
    "put-along-axis-spreads": (lambda x, i: _along(x.copy(), i), (M, np.array([[0], [1]]))),
    "solve-mixed": (np.linalg.solve, (np.eye(2, dtype=int), np.ones(2, np.float32))),
    "putmask-other-shape": (lambda x: _put(x.copy(), np.ones((3, 2), bool), [7.0, 8.0]), (M,)),
    "putmask-nothing": (lambda x: _put(x.copy(), np.ones((2, 3), bool), []), (M,)),
}


def _put(x: Any, mask: Any, values: Any) -> Any:
    np.putmask(x, mask, values)
    return x


def _along(x: Any, i: Any) -> Any:
    np.put_along_axis(x, i, 7.0, 0)
    return x


def test_negative_powers_of_unsigned_integers_overflow() -> None:
    with pytest.raises(OverflowError, match="out of bounds for uint16"):
        gradc.compile(lambda x: x**-1)(np.ones(3, np.uint16))


def test_ndmax_is_not_ignored() -> None:
    with pytest.raises(TypeError, match="without ndmax="):
        gradc.compile(lambda x: np.array([x, x], ndmax=1))(X)


def test_an_error_of_the_result_has_the_line_of_the_function() -> None:
    with pytest.raises(TypeError, match=r"test_options.py:\d+\n.*complex\)\)\(X\)\n.*complex128"):
        gradc.compile(lambda x: np.ones_like(x, dtype=complex))(X)


def test_take_along_axis_takes_integers() -> None:
    fn = gradc.compile(lambda x, i: np.take_along_axis(x, i, 1))
    with pytest.raises(IndexError, match=r"test_options.py:\d+\n(.*\n)+.*integer array"):
        fn(M, np.ones((2, 1)))


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
@pytest.mark.parametrize("name", SAME)
def test_what_numpy_takes_means_the_same(name: str) -> None:
    fn, args = SAME[name]
    check(fn, *copies(args))
