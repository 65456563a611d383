"""`x[index] = value`, `x += value`, `out=x` and `np.add.at`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir import IndexOutOfBoundsError, ShapeError, Value, constant, emit
from gradc.ir.ops.elementwise import where as where_value
from gradc.ir.ops.shape import inverse
from gradc.ir.types import BOOL, I64, Type
from gradc.trace.functions.indexing import Gathered, as_mask, basic, entries_of, gathered, is_unknown
from gradc.trace.functions.selected import Selection
from gradc.trace.lift import any_traced, broadcast, constant_value, operand, plain, shape_of, value_of
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


def _updates(x: Tracer, how: Gathered, value: Any) -> Value:
    """The values to be written, as `gather` would give them: the indexed axes first."""
    value = value_of(fitted(value, how.final), x.dtype, how.final)
    rest = [n for i, n in enumerate(x.shape) if i not in how.axes]
    sizes = (*how.shape, *rest)
    value = emit("reshape", value, shape=tuple(sizes[a] for a in how.order))
    return emit("transpose", value, axes=inverse(how.order))


def _scatter(x: Tracer, how: Gathered, value: Any) -> None:
    """Write where arrays of indices say; of several values for one place, the last one stays, as in NumPy."""
    to_graph(x)
    updates, indices = _updates(x, how, value), how.indices(x)
    if not updates.type.size:
        return
    axes, content = how.axes, x.value
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    moved = emit("transpose", content, axes=(*axes, *rest))
    sizes = moved.shape[: len(axes)]
    kept = Type(x.dtype, moved.shape[len(axes) :])
    count = int(np.prod(how.shape))
    flat = emit("reshape", updates, shape=(count, *kept.shape))
    if (row := _each_row(how, sizes)) is not None:
        # One place in each row: a comparison along the other axis.
        there = broadcast(emit("reshape", indices[1 - row], shape=_column(sizes, row)), sizes)
        there = emit("eq", there, emit("iota", type=Type(I64, sizes), axis=1 - row))
        lead = emit("reshape", flat, shape=(*_column(sizes, row), *kept.shape))
        new = broadcast(lead, moved.shape)
    else:
        winner = _winner(how, indices, sizes, count)
        there = winner > 0
        place = emit("maximum", winner - 1, constant(0, winner.type))
        new = emit("gather", flat, place, axes=(0,))
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


def _winner(how: Gathered, indices: list[Value], sizes: Ints, count: int) -> Value:
    """For each place, the number of the last update that is for it, from 1 on; 0 where there is none."""
    whole = Type(I64, sizes)
    if not any_traced(how.arrays):
        table = np.zeros(sizes, I64)
        places = [np.broadcast_to(np.asarray(plain(a)), how.shape).reshape(-1) for a in how.arrays]
        table[tuple(places)] = np.arange(1, count + 1)
        return constant_value(table, I64)
    lines = [emit("reshape", i, shape=(count,)) for i in indices]
    number = emit("iota", type=Type(I64, (count,)), axis=0)
    order = number + 1
    if count > 1 and not any(_distinct(a, how.shape) for a in how.arrays):
        pairs = (count, count)
        same = constant(True, Type(BOOL, pairs))
        for line in lines:
            one = emit("broadcast", line, shape=pairs, axes=(0,))
            same = same & emit("eq", one, emit("broadcast", line, shape=pairs, axes=(1,)))
        numbers = emit("broadcast", number, shape=pairs, axes=(0,))
        later = emit("broadcast", number, shape=pairs, axes=(1,)) > numbers
        beaten = emit("reduce_max", same & later, axes=(1,))
        order = where_value(beaten, constant(0, order.type), order)
    return emit("scatter_add", constant(0, whole), order, *lines, axes=tuple(range(len(sizes))))


def _distinct(array: Any, shape: Ints) -> bool:
    """Whether indices are known, and no two of them equal: then no place is written twice."""
    if any_traced(array):
        return False
    found = np.broadcast_to(np.asarray(plain(array)), shape)
    return np.unique(found).size == found.size


# x += v, ufunc.at, out=.


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


def add_at(ufunc: np.ufunc, a: Any, index: Any, value: Any) -> None:
    """`np.add.at` and `np.subtract.at`: every update counts, also where indices are equal."""
    check_writable(a)
    if ufunc not in (np.add, np.subtract):
        fail(
            f"gradc cannot trace np.{ufunc.__name__}.at", "np.add.at, np.subtract.at, np.bincount or a matmul"
        )
    items = index if type(index) is tuple else (index,)
    if not a.traced and not any_traced(items) and not any_traced(value):
        new = a.array.copy()
        ufunc.at(new, plain(items), plain(value))
        write_now(a, ..., new)
        return
    if (mask := as_mask(items)) is not None and any_traced(mask):
        mask = FUNCTIONS[np.reshape](mask, (*mask.shape, *[1] * (a.ndim - mask.ndim)))
        assign(a, FUNCTIONS[np.where](mask, FUNCTIONS[ufunc](a, value), a), "same_kind")
        return
    entries = entries_of(a, items)
    view = basic(a, entries)
    if not any(e.kind == "array" for e in entries):
        assign(view, FUNCTIONS[ufunc](view, operand(value)), "same_kind")
        return
    to_graph(a)
    how = gathered(view, entries)
    updates = _updates(view, how, value)
    if ufunc is np.subtract:
        updates = -updates
    store(view, emit("scatter_add", view.value, updates, *how.indices(view), axes=how.axes))
