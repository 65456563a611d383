"""Elements put in, taken out and chosen: insert, delete, resize, block, compress, extract, choose."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.ir import IndexOutOfBoundsError, ShapeError, emit
from gradc.ir.types import I64
from gradc.trace.functions.joining import concatenate
from gradc.trace.functions.shapes import axis_of, reshaped, shape_of
from gradc.trace.known import elements
from gradc.trace.lift import (
    any_traced,
    broadcast,
    cast,
    common_dtype,
    common_shape,
    operand,
    plain,
    traced,
    value_of,
    wrap,
)
from gradc.trace.refusals import UNKNOWN_LENGTH
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer


def _static(x: Any, what: str) -> Any:
    """Places or a mask that the shape of a result depends on. Errors: `TraceError` if they are not known."""
    x = plain(operand(x))
    if not any_traced(x):
        return x
    known = elements(x.value)
    if known is None:
        fail(
            f"{what} must be known when the function is traced: the shape of the result depends on it",
            UNKNOWN_LENGTH if x.dtype.kind == "b" else "Python ints, or an array from outside",
        )
    return known


def _places(obj: Any, size: int, axis: int, what: str, extra: int = 0) -> np.ndarray:
    """Places along an axis as non-negative integers. Errors: `IndexOutOfBoundsError`."""
    if isinstance(obj, slice):
        return np.arange(*obj.indices(size))
    places = np.asarray(_static(obj, what))
    if places.dtype.kind == "b":
        if places.shape != (size,):
            fail(f"a mask of shape {places.shape} for {size} elements", None, ShapeError)
        return places.nonzero()[0]
    if not places.size:
        return places.astype(np.intp)
    if places.dtype.kind not in "iu":
        fail("places are integers", "i.astype(int)", IndexOutOfBoundsError)
    bad = (places < -size) | (places >= size + extra)
    if bad.any():
        text = f"index {places[bad].reshape(-1)[0]} is out of bounds for axis {axis} with size {size}"
        fail(text, None, IndexOutOfBoundsError)
    return np.where(places < 0, places + size, places)


def _line(arr: Any, axis: Any) -> tuple[Tracer, int]:
    """The array and the axis; the flat array if no axis is given."""
    x = traced(arr)
    if axis is None:
        return reshaped(x, (x.size,)), 0
    return x, axis_of(axis, x.ndim)


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Tracer:
    x, along = _line(arr, axis)
    size = x.shape[along]
    kept = np.ones(size, bool)
    kept[_places(obj, size, along, "the index of np.delete")] = False
    return FUNCTIONS[np.take](x, kept.nonzero()[0], along)


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Tracer:
    """`values` before the places `obj`; one place takes any number of them."""
    x, along = _line(arr, axis)
    size = x.shape[along]
    places = _places(obj, size, along, "the index of np.insert", extra=1)
    new = FUNCTIONS[np.array](operand(values), dtype=x.dtype, ndmin=x.ndim)
    if places.ndim == 0:  # the values' first axis is the one to insert along
        new = FUNCTIONS[np.moveaxis](new, 0, along)
    if places.size == 1:
        places = np.repeat(places.reshape(-1), new.shape[along])
    if places.ndim != 1:
        fail(f"np.insert takes places along one axis, not of shape {places.shape}", None, ShapeError)
    new = FUNCTIONS[np.broadcast_to](new, (*x.shape[:along], len(places), *x.shape[along + 1 :]))
    # The elements of both in the order they will have: an inserted one before the one it is inserted at.
    order = np.argsort(np.concatenate([places - 0.5, np.arange(size)]), kind="stable")
    return FUNCTIONS[np.take](concatenate([new, x], along), order, along)


@implements(np.resize)
def resize(a: Any, new_shape: Any) -> Tracer:
    """The elements in row-major order, repeated as often as needed."""
    x = traced(a)
    shape = shape_of(new_shape)
    size = int(np.prod(shape))
    if any(n < 0 for n in shape):
        fail(f"np.resize to the shape {shape}", None, ShapeError)
    if not x.size:
        return FUNCTIONS[np.full](shape, traced(np.zeros((), x.dtype)))
    flat = reshaped(x, (x.size,))
    if size > x.size:
        flat = FUNCTIONS[np.tile](flat, -(-size // x.size))
    return reshaped(flat[:size], shape)


@implements(np.block)
def block(arrays: Any) -> Tracer:
    """Arrays put together along the last axis inside, along the one before it in a list of lists."""
    depth = _depth(arrays)
    ndim = max([depth, *(len(np.shape(x)) for x in _leaves(arrays))])
    return FUNCTIONS[np.copy](_joined(arrays, depth, ndim))


def _depth(x: Any) -> int:
    if isinstance(x, tuple):
        fail("np.block takes lists, not tuples", "np.block([[a, b], [c, d]])", ShapeError)
    if not isinstance(x, list):
        return 0
    depths = {_depth(v) for v in x}
    if len(depths) != 1:
        fail("np.block takes lists that are nested equally deep", None, ShapeError)
    return 1 + depths.pop()


def _leaves(x: Any) -> list[Any]:
    return [leaf for v in x for leaf in _leaves(v)] if isinstance(x, list) else [operand(x)]


def _joined(x: Any, depth: int, ndim: int) -> Tracer:
    if not isinstance(x, list):
        x = traced(x)
        return reshaped(x, (1,) * (ndim - x.ndim) + x.shape)
    return concatenate([_joined(v, depth - 1, ndim) for v in x], ndim - depth)


@implements(np.compress)
def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Tracer:
    x, along = _line(a, axis)
    mask = np.asarray(_static(condition, "the mask of np.compress and np.extract"), bool)
    if mask.ndim != 1:
        fail(f"np.compress takes a condition with one axis, not shape {mask.shape}", None, ShapeError)
    return FUNCTIONS[np.take](x, mask.nonzero()[0], along)


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Tracer:
    return compress(FUNCTIONS[np.ravel](operand(condition)), FUNCTIONS[np.ravel](operand(arr)))


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Tracer:
    """For every element of `a`, an integer, the element at its place of the array with that number."""
    which = operand(a)
    given = list(choices) if isinstance(choices, list | tuple) else list(operand(choices))
    if not given:
        fail("np.choose takes at least one array to choose from", None, ShapeError)
    xs = [operand(x) for x in given]
    dtype = np.result_type(*[x.dtype if isinstance(x, Tracer) else plain(x) for x in xs])
    shape = common_shape(which, *xs)
    n = len(xs)
    if common_dtype(which).kind == "f":
        fail(f"np.choose takes integers to choose by, not {common_dtype(which)}", "i.astype(int)")
    index = cast(value_of(which, shape=None), I64)
    if mode == "raise":
        ok = (index >= 0) & (index < n)
        index = emit("require", index, ok, message=f"np.choose takes numbers from 0 to {n - 1}")
    elif mode == "wrap":
        index = FUNCTIONS[np.remainder](wrap(index), n).value
    number = wrap(broadcast(index, shape))
    xs = [np.asarray(x).astype(dtype) if type(x) is int else x for x in xs]  # it wraps around
    result: Any = wrap(value_of(xs[-1], dtype, shape))
    for k in reversed(range(n - 1)):  # of numbers that are too small or too large, the nearest
        result = FUNCTIONS[np.where](number <= k, wrap(value_of(xs[k], dtype, shape)), result)
    return result
