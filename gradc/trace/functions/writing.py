"""`x[index] = value`, `x += value` and `out=x`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir import IndexOutOfBoundsError, ShapeError, Value, emit
from gradc.ir.ops.elementwise import where as where_value
from gradc.ir.ops.shape import inverse
from gradc.ir.types import BOOL, I64, Type
from gradc.trace.functions.indexing import (
    Gathered,
    as_mask,
    basic,
    entries_of,
    gathered,
    is_unknown,
    without_bools,
)
from gradc.trace.functions.selected import Selection
from gradc.trace.lift import any_traced, broadcast, operand, plain, shape_of, value_of
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.store import assign, check_writable, fitted, store, to_graph, write_now
from gradc.trace.tracer import Tracer

Ints = tuple[int, ...]


def setitem(x: Tracer, index: Any, value: Any) -> None:
    """`x[index] = value`, for every index that `getitem` takes, and for masks that are traced."""
    check_writable(x)
    items = index if type(index) is tuple else (index,)
    if not x.traced and not any_traced(items) and not any_traced(value):
        write_now(x, index, value)
        return
    mask = as_mask(items)
    if type(value) is Selection and any_traced(mask) and value.is_of(mask) and value.values.shape == x.shape:
        value, mask = value.values, FUNCTIONS[np.reshape](mask, (*mask.shape, *[1] * (x.ndim - mask.ndim)))
        assign(x, FUNCTIONS[np.where](mask, value.astype(x.dtype), x))
        return
    if type(value) is Selection:
        raise value.error()
    if mask is not None and _masked(x, mask, operand(value)):
        return
    x, items = without_bools(x, items)
    entries = entries_of(x, items)
    view = basic(x, entries)
    if any(e.kind == "array" for e in entries):
        _scatter(view, gathered(view, entries), operand(value))
    else:
        assign(view, value)


def _masked(x: Tracer, mask: Any, value: Any) -> bool:
    """`x[mask] = value` where the value is the same for all places of the mask; whether it is."""
    rest = x.ndim - len(mask.shape)
    if mask.shape != x.shape[: len(mask.shape)]:
        shown = f"a mask of shape {mask.shape} does not fit {x.shape}"
        fail(shown, None, IndexOutOfBoundsError)
    shape = shape_of(value)
    if len(shape) == rest + 1 and shape[0] == 1:
        value, shape = FUNCTIONS[np.reshape](value, shape[1:]), shape[1:]
    if len(shape) > rest:
        if is_unknown(mask):
            fail(
                "a traced mask selects a number of elements that is not known before the function runs",
                "x[mask] = values[mask], or x = np.where(mask, values, x), with values of the shape of x",
            )
        return False
    fitted(value, x.shape[x.ndim - rest :])
    to_graph(x)
    mask = FUNCTIONS[np.reshape](mask, (*mask.shape, *[1] * rest))
    chosen = where_value(value_of(mask, BOOL, x.shape), value_of(value, x.dtype, x.shape), x.value)
    store(x, chosen)
    return True


def updates_of(x: Tracer, how: Gathered, value: Any) -> Value:
    """The values to be written, as `gather` would give them: the indexed axes first."""
    value = value_of(fitted(value, how.final), x.dtype, how.final)
    rest = [n for i, n in enumerate(x.shape) if i not in how.axes]
    sizes = (*how.shape, *rest)
    value = emit("reshape", value, shape=tuple(sizes[a] for a in how.order))
    return emit("transpose", value, axes=inverse(how.order))


def _scatter(x: Tracer, how: Gathered, value: Any) -> None:
    """Write where arrays of indices say; of several values for one place, the last one stays, as in NumPy."""
    to_graph(x)
    updates, indices = updates_of(x, how, value), how.indices(x)
    if not updates.type.size:
        return
    axes, content = how.axes, x.value
    sizes = tuple(x.shape[a] for a in axes)
    row = _each_row(how, sizes)
    if row is None:
        distinct = _distinct(how.arrays, how.shape)
        store(x, emit("scatter", content, updates, *indices, axes=axes, distinct=distinct))
        return
    # One place in each row: a comparison along the other axis.
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    moved = emit("transpose", content, axes=(*axes, *rest))
    there = broadcast(emit("reshape", indices[1 - row], shape=_column(sizes, row)), sizes)
    there = emit("eq", there, emit("iota", type=Type(I64, sizes), axis=1 - row))
    lead = emit("reshape", updates, shape=(*_column(sizes, row), *moved.shape[len(axes) :]))
    new = broadcast(lead, moved.shape)
    whole = emit("broadcast", there, shape=moved.shape, axes=tuple(range(len(sizes))))
    store(x, emit("transpose", where_value(whole, new, moved), axes=inverse((*axes, *rest))))


def _column(sizes: Ints, row: int) -> Ints:
    return (sizes[0], 1) if row == 0 else (1, sizes[1])


def _each_row(how: Gathered, sizes: Ints) -> int | None:
    """Of two indices, which one runs over all of its axis: `x[np.arange(n), j]`."""
    if len(sizes) != 2 or len(how.shape) != 1:
        return None
    for i, array in enumerate(how.arrays):
        if not any_traced(array) and np.array_equal(plain(array), np.arange(sizes[i])):
            return i
    return None


def _distinct(arrays: list[Any], shape: Ints) -> bool:
    """Whether no place is written twice: there is one only, or the known ones of the indices differ."""
    known = [np.broadcast_to(np.asarray(plain(a)), shape).reshape(-1) for a in arrays if not any_traced(a)]
    count = math.prod(shape)
    return count <= 1 or (bool(known) and len(np.unique(np.stack(known), axis=1)[0]) == count)


# x += v, out=.


def augment(x: Tracer, symbol: str, compute: Callable[[], Any]) -> Tracer:
    """`x op= v` for an array: the result of `compute` is written into it."""
    check_writable(x, f"x = x {symbol} v")
    result = compute()
    if shape_of(result) != x.shape:
        fail(f"the result of shape {shape_of(result)} does not fit into shape {x.shape}", None, ShapeError)
    assign(x, result, "same_kind")
    return x


def into(out: Any, result: Any, casting: Any = "same_kind") -> Any:
    """What a function with `out=` gives: the array, with the result in it; a tuple for several results."""
    if isinstance(out, tuple):
        if not isinstance(result, tuple):
            return into(out[0], result, casting)
        return tuple([y if x is None else into(x, y, casting) for x, y in zip(out, result, strict=True)])
    assign(out, result, casting)
    return out
