"""`ufunc.at`: every update counts, also where several are for one place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradc.ir import emit
from gradc.ir.ops.reduce import identity
from gradc.trace.functions.indexing import Gathered, as_mask, basic, entries_of, gathered
from gradc.trace.functions.writing import updates_of
from gradc.trace.lift import any_traced, constant_value, operand, plain, shape_of, wrap
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.store import assign, check_writable, store, to_graph, write_now
from gradc.trace.tracer import Tracer
from gradc.trace.ufunc import REDUCTIONS

ROUNDS = 64
"""So many updates for one place are applied one after another."""


def ufunc_at(ufunc: np.ufunc, a: Any, index: Any, value: Any = None) -> None:
    """`ufunc.at(a, index, value)`. Where indices are traced, the ufunc must be one that reduces."""
    check_writable(a)
    items = index if type(index) is tuple else (index,)
    given = [] if ufunc.nin == 1 else [operand(value)]
    if not a.traced and not any_traced(items) and not any_traced(given):
        new = a.array.copy()
        ufunc.at(new, plain(items), *plain(given))
        write_now(a, ..., new)
        return
    if (mask := as_mask(items)) is not None and any_traced(mask):
        mask = FUNCTIONS[np.reshape](mask, (*mask.shape, *[1] * (a.ndim - mask.ndim)))
        if any(len(shape_of(v)) > a.ndim - mask.ndim for v in given):
            _refuse(ufunc)
        assign(a, FUNCTIONS[np.where](mask, FUNCTIONS[ufunc](a, *given), a), "same_kind")
        return
    entries = entries_of(a, items)
    view = basic(a, entries)
    if not any(e.kind == "array" for e in entries):
        assign(view, FUNCTIONS[ufunc](view, *given), "same_kind")
        return
    to_graph(a)
    how = gathered(view, entries)
    if ufunc in (np.add, np.subtract):
        updates = updates_of(view, how, given[0])
        updates = -updates if ufunc is np.subtract else updates
        store(view, emit("scatter_add", view.value, updates, *how.indices(view), axes=how.axes))
    elif not any_traced(how.arrays):
        _in_rounds(ufunc, view, how, given)
    elif ufunc in REDUCTIONS:
        _reduced(ufunc, view, how, given[0])
    else:
        _refuse(ufunc)


def _refuse(ufunc: np.ufunc) -> None:
    fail(
        f"gradc cannot trace np.{ufunc.__name__}.at where the indices are not known",
        "np.add.at, np.multiply.at, np.maximum.at or np.minimum.at, or one index at a time",
    )


def _in_rounds(ufunc: np.ufunc, x: Tracer, how: Gathered, given: list[Any]) -> None:
    """Apply the first update of every place, then the second ones, and so on."""
    count = math.prod(how.shape)
    sizes = tuple(x.shape[axis] for axis in how.axes)
    lines = [np.broadcast_to(np.asarray(plain(i)), how.shape).reshape(-1) for i in how.arrays]
    lines = [np.where(line < 0, line + n, line) for line, n in zip(lines, sizes, strict=True)]
    how.indices(x)  # says which one is out of bounds
    places = np.ravel_multi_index(lines, sizes) if count else np.zeros(0, int)
    order = np.argsort(places, kind="stable")
    first = np.searchsorted(places[order], places[order])
    turn = np.empty(count, int)
    turn[order] = np.arange(count) - first
    if count and turn.max() >= ROUNDS:
        _refuse(ufunc)
    rest = tuple(n for axis, n in enumerate(x.shape) if axis not in how.axes)
    operands = [wrap(emit("reshape", updates_of(x, how, v), shape=(count, *rest))) for v in given]
    for k in range(turn.max(initial=-1) + 1):
        chosen = np.flatnonzero(turn == k)
        at = [constant_value(line[chosen].astype(np.int64)) for line in lines]
        old = wrap(emit("gather", x.value, *at, axes=how.axes))
        new = FUNCTIONS[ufunc](old, *[v[chosen] for v in operands]).astype(x.dtype)
        store(x, emit("scatter", x.value, new.value, *at, axes=how.axes, distinct=True))


def _reduced(ufunc: np.ufunc, x: Tracer, how: Gathered, value: Any) -> None:
    """Reduce the updates of every place, found by comparing all indices with all places."""
    count = math.prod(how.shape)
    sizes = tuple(x.shape[axis] for axis in how.axes)
    rest = tuple(n for axis, n in enumerate(x.shape) if axis not in how.axes)
    flat: Any = 0
    for i, n in zip(how.indices(x), sizes, strict=True):
        flat = flat * n + wrap(emit("reshape", i, shape=(count,)))
    updates = wrap(emit("reshape", updates_of(x, how, value), shape=(count, 1, *rest)))
    hits = FUNCTIONS[np.equal](flat[:, None], np.arange(math.prod(sizes)))
    hits = hits.reshape(hits.shape + (1,) * len(rest))
    initial = ufunc.identity
    if initial is None:
        initial = identity("reduce_max" if ufunc is np.maximum else "reduce_min", x.type)
    full = FUNCTIONS[np.broadcast_to](updates, (count, math.prod(sizes), *rest))
    found = FUNCTIONS[ufunc].reduce(full, axis=0, where=hits, initial=initial)
    order = (*how.axes, *[axis for axis in range(x.ndim) if axis not in how.axes])
    found = found.reshape(sizes + rest).transpose(np.argsort(order))
    assign(x, FUNCTIONS[ufunc](x, found), "same_kind")
