"""Counts and places: bincount, histograms, membership, and flat indices to indices and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.ir import DomainError, ShapeError, Value, emit
from gradc.ir.ops.elementwise import where as where_value
from gradc.ir.types import F64, I64
from gradc.trace.functions.indexing import index_value
from gradc.trace.functions.ordering import ordered, searchsorted
from gradc.trace.functions.shapes import reshaped, shape_of
from gradc.trace.lift import (
    any_traced,
    broadcast,
    cast,
    common_dtype,
    common_shape,
    constant_value,
    operand,
    plain,
    traced,
    value_of,
    wrap,
)
from gradc.trace.methods import converted
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer


def _counted(places: Value, weights: Any, count: int, dtype: np.dtype) -> Tracer:
    """The sums of weights (1 if None) for each place below `count`."""
    updates = constant_value(1, dtype, places.shape) if weights is None else value_of(weights, dtype)
    return wrap(emit("scatter_add", constant_value(0, dtype, (count,)), updates, places, axes=(0,)))


@implements(np.bincount)
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Tracer:
    if any_traced(x):
        fail(
            "np.bincount of traced numbers has a length that is not known before the function runs",
            "out = np.zeros(n); np.add.at(out, x, weights)",
        )
    numbers, w = np.asarray(plain(operand(x))), traced(weights)
    if numbers.shape != w.shape or numbers.ndim != 1:
        fail(f"np.bincount of {numbers.shape} numbers and {w.shape} weights", None, ShapeError)
    count = max(int(numbers.max(initial=-1)) + 1, minlength)
    return _counted(index_value(numbers, count, 0, numbers.shape), w, count, F64)


# Histograms.


@implements(np.histogram_bin_edges)
def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    """`bins` + 1 numbers from the smallest to the largest element, or over `range`; or `bins` itself."""
    x = traced(a)
    bins = operand(bins)
    if isinstance(bins, str):
        fail(
            f"the number of bins of bins={bins!r} is not known before the function runs",
            "a number of bins: np.histogram(x, bins=20)",
        )
    if np.ndim(plain(bins) if not any_traced(bins) else np.empty(bins.shape)) == 1:
        if not any_traced(bins) and np.any(np.diff(plain(bins)) < 0):
            fail("`bins` must increase monotonically, when an array", None, ShapeError)
        return bins
    if not any_traced(bins) and np.asarray(plain(bins)).dtype.kind == "f":
        fail("`bins` must be an integer, a string, or an array")
    count = int(plain(bins))
    if count < 1:
        fail("the number of bins must be positive", None, ShapeError)
    if range is not None:
        first, last = range
        if not any_traced((first, last)):
            if plain(first) > plain(last):
                fail("max must be larger than min in range parameter.", None, ShapeError)
            if not np.all(np.isfinite([plain(first), plain(last)])):
                fail(f"supplied range of [{first}, {last}] is not finite", None, ShapeError)
    else:
        first, last = (FUNCTIONS[np.min](x), FUNCTIONS[np.max](x)) if x.size else (0.0, 1.0)
        if x.size and x.dtype.kind == "f":
            first, last = _finite(first), _finite(last)
    dtype = common_dtype(operand(first), operand(last), x)
    same = FUNCTIONS[np.equal](first, last)
    first, last = FUNCTIONS[np.where](same, first - 0.5, first), FUNCTIONS[np.where](same, last + 0.5, last)
    edges = FUNCTIONS[np.linspace](first, last, count + 1)
    return FUNCTIONS[converted](edges, dtype if dtype.kind == "f" else F64)


def _finite(end: Any) -> Tracer:
    """An end of the range. Errors: `DomainError` at run time if it is infinite, or NaN."""
    value = end.value
    message, error = "autodetected range is not finite", DomainError.__name__
    return wrap(emit("require", value, FUNCTIONS[np.isfinite](end).value, message=message, error=error))


def _bin_numbers(x: Tracer, edges: Any) -> Value:
    """For each element the number of its bin, the last of which is closed; that of no bin if in none."""
    count = len(edges) - 1
    found = searchsorted(traced(edges), x, "right") - 1
    found = FUNCTIONS[np.where](FUNCTIONS[np.equal](x, edges[-1]), count - 1, found)
    return FUNCTIONS[np.where]((found < 0) | FUNCTIONS[np.isnan](x), count, found).value


@implements(np.histogram)
def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Tracer, Any]:
    """How many elements, or the sum of their weights, are in each bin; and the bins' edges."""
    x = FUNCTIONS[np.ravel](traced(a))
    if x.dtype.kind == "b":
        x = x.astype(np.uint8)
    edges = histogram_bin_edges(x, bins, range)
    w = None if weights is None else FUNCTIONS[np.ravel](operand(weights))
    if w is not None and w.shape != x.shape:
        fail(f"np.histogram of {x.size} elements and {w.size} weights", None, ShapeError)
    if w is not None and w.dtype.kind == "b":
        w = w.astype(np.intp)
    n = len(edges) - 1
    if w is None:
        line = ordered(x, 0)[0]
        places = [searchsorted(line, edges[:-1], "left"), searchsorted(line, edges[-1:], "right")]
        counts = FUNCTIONS[np.diff](FUNCTIONS[np.concatenate](places))
    else:
        counts = _counted(_bin_numbers(x, edges), w, n + 1, w.dtype)[:n]
    if not density:
        return counts, edges
    widths = FUNCTIONS[np.asarray](FUNCTIONS[np.diff](edges), float)
    return counts / widths / FUNCTIONS[np.sum](counts), edges


@implements(np.histogramdd)
def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Tracer, list[Any]]:
    """Counts over the bins of several coordinates: `sample` has a row for each point, or is their tuple."""
    points = FUNCTIONS[np.stack](sample, 1) if isinstance(sample, list | tuple) else traced(sample)
    if points.ndim == 1:
        points = reshaped(points, (points.size, 1))
    rows, ndim = points.shape
    given = list(bins) if isinstance(bins, list | tuple) else [bins] * ndim
    limits = [None] * ndim if range is None else list(range)
    if len(given) != ndim or len(limits) != ndim:
        fail(f"np.histogramdd takes bins and ranges for {ndim} coordinates", None, ShapeError)
    columns = [points[:, i] for i in np.arange(ndim).tolist()]
    edges = [histogram_bin_edges(x, b, limit) for x, b, limit in zip(columns, given, limits, strict=True)]
    counts = [len(e) - 1 for e in edges]
    numbers = [_bin_numbers(x, e) for x, e in zip(columns, edges, strict=True)]
    # One more place for what is in no bin.
    outside = math.prod(counts)
    flat: Value = constant_value(0, I64, (rows,))
    lost = constant_value(False, np.dtype(bool), (rows,))
    for number, n in zip(numbers, counts, strict=True):
        flat, lost = flat * n + number, lost | (number >= n)
    sums = _counted(where_value(lost, outside, flat), weights, outside + 1, F64)[:outside]
    result = reshaped(sums, tuple(counts))
    if density:
        for i, e in enumerate(edges):
            shape = [1] * ndim
            shape[i] = -1
            result = result / FUNCTIONS[np.reshape](FUNCTIONS[np.diff](e), shape)
        result = result / FUNCTIONS[np.sum](sums)
    return result, edges


@implements(np.histogram2d)
def histogram2d(
    x: Any, y: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Tracer, Any, Any]:
    if isinstance(bins, Sequence) and len(bins) not in (1, 2):
        bins = [np.asarray(plain(bins))] * 2
    elif isinstance(bins, Sequence) and len(bins) == 1:
        bins = list(bins) * 2
    counts, (first, second) = histogramdd((x, y), bins, range, density, weights)
    return counts, first, second


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Tracer:
    """The number of the bin of every element, for edges that rise or fall."""
    if any_traced(bins):
        fail(
            "np.digitize takes edges that are known when the function is traced",
            "np.searchsorted(edges, x, side='right') for edges that rise",
        )
    edges = np.asarray(plain(operand(bins)))
    steps = np.diff(edges)
    if edges.ndim != 1 or not (np.all(steps >= 0) or np.all(steps <= 0)):
        fail("bins must be monotonically increasing or decreasing", None, ShapeError)
    side = "left" if right else "right"
    if np.all(steps >= 0):
        return searchsorted(edges, x, side)
    return len(edges) - searchsorted(edges[::-1], x, side)


# Membership.


@implements(np.isin)
def isin(
    element: Any,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: str | None = None,
) -> Tracer:
    """Whether each element is among others: compared with all of few, looked up among many."""
    if kind not in (None, "sort", "table"):
        fail(f"Invalid kind: {kind!r}. Please use None, 'sort' or 'table'.", None, ShapeError)
    x, others = traced(element), FUNCTIONS[np.ravel](traced(test_elements))
    if others.size <= 16:
        found = FUNCTIONS[np.any](FUNCTIONS[np.equal](x[..., None], others), -1)
    else:
        line = ordered(others, 0)[0]
        place = FUNCTIONS[np.minimum](searchsorted(line, x), others.size - 1)
        found = FUNCTIONS[np.equal](line[place], x)
    return ~found if invert else found


# Flat indices.


def _whole(i: Any) -> Any:
    """Indices. Errors: `TraceError` for floats."""
    if common_dtype(i).kind == "f":
        fail("only int indices permitted", "i.astype(int)")
    return i


def _mode(mode: Any, i: Any, size: int, axis: int, shape: tuple[int, ...]) -> Value:
    """Indices within an axis, by one of NumPy's modes."""
    if mode == "wrap":
        return value_of(FUNCTIONS[np.remainder](i, size), I64, shape)
    if mode == "clip":
        return value_of(FUNCTIONS[np.clip](i, 0, size - 1), I64, shape)
    value = cast(value_of(i), I64)
    ok = (value >= 0) & (value < size)
    message = f"invalid entry in coordinates array: axis {axis} has size {size}"
    return broadcast(emit("require", value, ok, message=message), shape)


@implements(np.ravel_multi_index)
def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Tracer:
    """The index into the flat array for an index of each axis."""
    sizes = shape_of(dims)
    indices = [_whole(operand(i)) for i in multi_index]
    modes = mode if isinstance(mode, tuple) else (mode,) * len(sizes)
    if len(indices) != len(sizes):
        fail(f"np.ravel_multi_index of {len(indices)} indices for {len(sizes)} sizes", None, ShapeError)
    shape = common_shape(*indices)
    parts = [
        _mode(m, i, n, axis, shape) for axis, (m, i, n) in enumerate(zip(modes, indices, sizes, strict=True))
    ]
    pairs = list(zip(parts, sizes, strict=True))
    total = constant_value(0, I64, shape)
    for part, n in pairs if order == "C" else pairs[::-1]:
        total = total * n + part
    return wrap(total)


@implements(np.unravel_index)
def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Tracer, ...]:
    """An index for each axis, for indices into the flat array."""
    sizes = shape_of(shape)
    i = _whole(traced(indices))
    total = math.prod(sizes)
    value = cast(i.value, I64)
    ok = (value >= 0) & (value < total)
    message = f"index is out of bounds for array with size {total}"
    rest = wrap(emit("require", value, ok, message=message))
    found: list[Tracer] = []
    for n in sizes if order == "F" else sizes[::-1]:
        found.append(rest % n)
        rest = rest // n
    return tuple(found if order == "F" else found[::-1])
