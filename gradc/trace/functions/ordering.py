"""Sorting, and places in a sorted array.

Sorting is stable whatever `kind` says, and partitions are sorted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.ir import ShapeError, emit_node
from gradc.trace.functions.shapes import axis_of, reshaped, transposed
from gradc.trace.lift import (
    any_traced,
    cast,
    common_dtype,
    constant_value,
    key,
    operand,
    plain,
    shape_of,
    traced,
    wrap,
)
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import as_numpy_says, fail
from gradc.trace.table import implements
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


def _options(original: Any, order: Any, size: int = 1, **options: Any) -> None:
    """Errors: those of NumPy for an axis of this size and these options, which change no result."""
    if order is not None:
        fail(f"gradc does not trace np.{original.__name__} with order=", "arrays without fields")
    with as_numpy_says():
        original(np.zeros(size), **options)


def _places(original: Any, x: Tracer, kth: Any, axis: Any, kind: Any, order: Any) -> None:
    """The same for a partition, whose places must be on the axis."""
    size = x.size if axis is None else x.shape[axis_of(axis, x.ndim)] if x.ndim else 1
    if any_traced(kth):
        size, kth = 1, 0
    if size:
        _options(original, order, size, kth=plain(kth), kind=kind or "introselect")


@implements(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Tracer:
    _options(np.sort, order, kind=kind, stable=stable)
    return ordered(traced(a), axis)[0]


@implements(np.argsort)
def argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Tracer:
    _options(np.argsort, order, kind=kind, stable=stable)
    return ordered(traced(a), axis)[1]


@implements(np.partition)
def partition(a: Any, kth: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> Tracer:
    x = traced(a)
    _places(np.partition, x, kth, axis, kind, order)
    return ordered(x, axis)[0]


@implements(np.argpartition)
def argpartition(a: Any, kth: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> Tracer:
    x = traced(a)
    _places(np.argpartition, x, kth, axis, kind, order)
    return ordered(x, axis)[1]


@implements(np.lexsort)
def lexsort(keys: Any, axis: int = -1) -> Tracer:
    """The order by the last key, of equal ones by the key before it, and so on."""
    first, *rest = FUNCTIONS[np.broadcast_arrays](*[operand(k) for k in keys])
    along = axis_of(axis, first.ndim)
    take = FUNCTIONS[np.take_along_axis]
    order = ordered(first, along)[1]
    for row in rest:
        order = take(order, ordered(take(row, order, along), along)[1], along)
    return order


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Tracer:
    """By bisection, for all elements of v at once: as many steps as the length of `a` has bits."""
    array, wanted = traced(a), traced(v)
    if array.ndim != 1:
        fail(f"np.searchsorted takes an array with one axis, not shape {array.shape}", None, ShapeError)
    dtype = common_dtype(array, wanted)
    array, wanted = wrap(cast(array.value, dtype)), wrap(cast(wanted.value, dtype))
    if sorter is not None:
        array = FUNCTIONS[np.take](array, _sorter(operand(sorter), len(array)))
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


def _sorter(order: Any, size: int) -> Any:
    """The order of an array of this size, checked as far as it is known."""
    if key(order) not in (int, np.dtype(np.bool_)) and common_dtype(order).kind not in "iu":
        fail("sorter must only contain integers")
    if shape_of(order) != (size,):
        fail("sorter.size must equal a.size", None, ShapeError)
    if not any_traced(order) and size and not 0 <= np.min(plain(order)) <= np.max(plain(order)) < size:
        fail("Sorter index out of range.", None, ShapeError)
    return order


def _less(a: Tracer, b: Tracer) -> Tracer:
    """a < b in the order of sorting, where NaN is the largest."""
    isnan = FUNCTIONS[np.isnan]
    return (a < b) | (isnan(b) & ~isnan(a))
