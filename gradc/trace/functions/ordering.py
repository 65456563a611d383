"""Sorting, and what follows from it: medians, quantiles, places in a sorted array.

Sorting is stable whatever `kind` says, and partitions are sorted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir import ShapeError, emit_node
from gradc.trace.functions.reductions import kept
from gradc.trace.functions.reductions import sum as total
from gradc.trace.functions.shapes import axes_of, axis_of, reshaped, transposed
from gradc.trace.lift import (
    any_traced,
    cast,
    common_dtype,
    constant_value,
    operand,
    plain,
    supported,
    traced,
    wrap,
)
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements, no_writes
from gradc.trace.tracer import Tracer


def ordered(x: Tracer, axis: Any) -> tuple[Tracer, Tracer]:
    """The sorted values along an axis, and the indices where they were."""
    if axis is None:
        x, axis = reshaped(x, (x.size,)), 0
    along = axis_of(axis, x.ndim)
    order = (*[i for i in range(x.ndim) if i != along], along)
    results = emit_node("sort", transposed(x, order).value).results
    values, indices = [transposed(wrap(y), tuple(map(order.index, range(x.ndim)))) for y in results]
    return values, indices


def _unordered(name: str, order: Any) -> None:
    if order is not None:
        fail(f"gradc does not trace np.{name} with order=", "arrays without fields")


@implements(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Tracer:
    _unordered("sort", order)
    return ordered(traced(a), axis)[0]


@implements(np.argsort)
def argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Tracer:
    _unordered("argsort", order)
    return ordered(traced(a), axis)[1]


@implements(np.partition)
def partition(a: Any, kth: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> Tracer:
    _unordered("partition", order)
    return ordered(traced(a), axis)[0]


@implements(np.argpartition)
def argpartition(a: Any, kth: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> Tracer:
    _unordered("argpartition", order)
    return ordered(traced(a), axis)[1]


def _sorted_rows(x: Tracer, axis: Any) -> tuple[Tracer, tuple[int, ...]]:
    """The elements along some axes sorted, as one last axis; and these axes."""
    axes = tuple(sorted(axes_of(axis, x.ndim)))
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    shape = (*[x.shape[i] for i in rest], math.prod(x.shape[i] for i in axes))
    return ordered(reshaped(transposed(x, rest + axes), shape), -1)[0], axes


def _nan_wins(y: Tracer, rows: Tracer) -> Tracer:
    """NaN where a row has one, which is then the last; else y, whose leading axes may be more."""
    if rows.dtype.kind != "f":
        return y
    last = rows[..., -1]
    return FUNCTIONS[np.where](FUNCTIONS[np.isnan](last), last.astype(y.dtype), y)


@implements(np.median)
def median(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False
) -> Tracer:
    if out is not None:
        no_writes("out= of np.median")
    x = traced(a)
    rows, axes = _sorted_rows(x, axis)
    n = rows.shape[-1]
    if not n:
        fail(f"np.median of no elements, from an array of shape {x.shape}", None, ShapeError)
    middle = FUNCTIONS[np.mean](rows[..., (n - 1) // 2 : n // 2 + 1], -1)
    y = _nan_wins(middle, rows)
    return kept(y, x.shape, axes) if keepdims is True else y


def _interpolated(low: Tracer, high: Tracer, t: Any) -> Tracer:
    """low + (high - low) t, from the nearer side, as NumPy has it."""
    step = high - low
    return FUNCTIONS[np.where](t >= 0.5, high - step * (1 - t), low + step * t)


def _quantile(original: Callable[..., Any], scale: int) -> Callable[..., Tracer]:
    """np.quantile and np.percentile."""

    def quantile(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = False,
        *,
        weights: Any = None,
        interpolation: Any = None,
    ) -> Tracer:
        name = original.__name__
        if out is not None:
            no_writes(f"out= of np.{name}")
        if weights is not None or interpolation is not None:
            fail(f"gradc traces np.{name} without weights= and interpolation=", 'method="linear"')
        x = traced(a)
        rows, axes = _sorted_rows(x, axis)
        n = rows.shape[-1]
        if not n:
            fail(f"np.{name} of no elements, from an array of shape {x.shape}", None, ShapeError)
        if any_traced(q):
            if method != "linear":
                fail(f'gradc traces np.{name} of a traced q with method="linear" only', None)
            y, count = _at_traced(rows, operand(q) / scale), operand(q).ndim
        else:
            y, count = _at_known(rows, original, plain(q), method), np.ndim(plain(q))
        # The axes of q came last.
        y = FUNCTIONS[np.moveaxis](y, tuple(range(y.ndim - count, y.ndim)), tuple(range(count)))
        y = _nan_wins(y, rows)
        if keepdims is not True:
            return y
        lead = y.shape[:count]
        return reshaped(y, (*lead, *(1 if i in axes else size for i, size in enumerate(x.shape))))

    quantile.__name__ = original.__name__
    return quantile


def _at_known(rows: Tracer, original: Callable[..., Any], q: Any, method: str) -> Tracer:
    """Quantiles for a q that is known: those of 0, 1, 2, ... are the places to interpolate at."""
    n = rows.shape[-1]
    dtype = supported(original(np.ones(1, rows.dtype), q, method=method).dtype, "a quantile")
    numbers = np.arange(n, dtype=rows.dtype if rows.dtype.kind == "f" else np.float64)
    at = np.asarray(original(numbers, q, method=method))
    floor = np.floor(at)
    low = floor.astype(np.int64)
    first = FUNCTIONS[np.take](rows, low, -1)
    if np.any(at != floor):
        first = _interpolated(first, FUNCTIONS[np.take](rows, np.minimum(low + 1, n - 1), -1), at - floor)
    return wrap(cast(first.value, dtype))


def _at_traced(rows: Tracer, q: Tracer) -> Tracer:
    """Linear quantiles for a traced q, through which gradients flow too."""
    n = rows.shape[-1]
    at = q * (n - 1)
    # The last quantile is the end of the last interval, from which it has its derivative.
    floor = FUNCTIONS[np.minimum](FUNCTIONS[np.floor](at), max(n - 2, 0))
    low = floor.astype(np.int64)
    first, last = rows[..., low], rows[..., FUNCTIONS[np.minimum](low + 1, n - 1)]
    beyond = (at == n - 1) & ~FUNCTIONS[np.isfinite](first)  # NumPy does not look there
    return _interpolated(FUNCTIONS[np.where](beyond, last, first), last, at - floor)


quantile = implements(np.quantile)(_quantile(np.quantile, 1))
percentile = implements(np.percentile)(_quantile(np.percentile, 100))


def _of_numbers(rows: Tracer, q: float) -> Tracer:
    """The linear quantile of the elements that are no NaN, which come first in every row."""
    count = total(~FUNCTIONS[np.isnan](rows), -1, keepdims=True)
    at = q * (count - 1)
    floor = FUNCTIONS[np.maximum](FUNCTIONS[np.floor](at), 0)
    low = floor.astype(np.int64)
    high = FUNCTIONS[np.clip](low + 1, 0, FUNCTIONS[np.maximum](count - 1, 0))
    along = FUNCTIONS[np.take_along_axis]
    y = _interpolated(along(rows, low, -1), along(rows, high, -1), (at - floor).astype(rows.dtype))
    return reshaped(y, y.shape[:-1])


def _nan_quantile(original: Callable[..., Any], scale: int, q: Any = None) -> None:
    """np.nanmedian, np.nanquantile and np.nanpercentile."""

    def of_numbers(a: Any, q: Any, axis: Any, method: str, keepdims: Any) -> Tracer:
        x = traced(a)
        if x.dtype.kind != "f":
            x = x.astype(np.float64)
        name = original.__name__
        if method != "linear" or any_traced(q):
            fail(f'gradc traces np.{name} with a known q and method="linear" only', None)
        rows, axes = _sorted_rows(x, axis)
        if not rows.shape[-1]:
            fail(f"np.{name} of no elements, from an array of shape {x.shape}", None, ShapeError)
        wanted = np.asarray(plain(q), np.float64) / scale
        each = [_of_numbers(rows, float(v)) for v in wanted.reshape(-1)]
        if keepdims is True:
            each = [kept(y, x.shape, axes) for y in each]
        return reshaped(FUNCTIONS[np.stack](each), (*wanted.shape, *each[0].shape))

    def quantile(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = False,
    ) -> Tracer:
        return of_numbers(a, q, axis, method, keepdims)

    def median(
        a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False
    ) -> Tracer:
        return of_numbers(a, q, axis, "linear", keepdims)

    function = quantile if q is None else median
    function.__name__ = original.__name__
    implements(original)(function)


_nan_quantile(np.nanquantile, 1)
_nan_quantile(np.nanpercentile, 100)
_nan_quantile(np.nanmedian, 1, 0.5)


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Tracer:
    """By bisection, for all elements of v at once: as many steps as the length of `a` has bits."""
    array, wanted = traced(a), traced(v)
    if array.ndim != 1:
        fail(f"np.searchsorted takes an array with one axis, not shape {array.shape}", None, ShapeError)
    dtype = common_dtype(array, wanted)
    array, wanted = wrap(cast(array.value, dtype)), wrap(cast(wanted.value, dtype))
    if sorter is not None:
        array = FUNCTIONS[np.take](array, sorter)
    n = len(array)
    found = wrap(constant_value(0, np.dtype(np.int64), wanted.shape))
    if not n:
        return found
    step = 1 << (n.bit_length() - 1)
    while step:  # `found` elements are known to come before
        probe = found + step
        element = array[FUNCTIONS[np.minimum](probe, n) - 1]
        before = _less(element, wanted) if side == "left" else ~_less(wanted, element)
        found = FUNCTIONS[np.where]((probe <= n) & before, probe, found)
        step >>= 1
    return found


def _less(a: Tracer, b: Tracer) -> Tracer:
    """a < b in the order of sorting, where NaN is the largest."""
    isnan = FUNCTIONS[np.isnan]
    return (a < b) | (isnan(b) & ~isnan(a))
