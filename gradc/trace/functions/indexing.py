"""Indexing as in NumPy: slices, ints, newaxis, arrays of indices, concrete masks; take and its kin."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from gradc.ir import IndexOutOfBoundsError, ShapeError, Value, emit
from gradc.ir.ops.elementwise import where as where_value
from gradc.ir.types import I64, Type
from gradc.trace.functions.selected import INSTEAD, Selection
from gradc.trace.functions.shapes import axis_of, reshaped, transposed
from gradc.trace.known import elements
from gradc.trace.lift import (
    any_traced,
    broadcast,
    cast,
    common_dtype,
    common_shape,
    concrete,
    operand,
    plain,
    traced,
    tracer,
    value_of,
    wrap,
)
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import described, fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer


class Entry(NamedTuple):
    """One entry of an index: `kind` is "int", "slice", "new" or "array"; `axis` the one it takes."""

    kind: str
    what: Any
    axis: int


def getitem(x: Tracer, index: Any) -> Any:
    """`x[index]`: a view for basic indexing, else a new array.

    Errors: `IndexOutOfBoundsError` at once for static indices, at run time for traced ones.
    """
    items = index if type(index) is tuple else (index,)
    if is_unknown(mask := as_mask(items)) and mask.shape == x.shape[: mask.ndim]:
        return Selection(traced(x), mask)
    x, items = without_bools(x, items)
    entries = entries_of(x, items)
    if not x.traced and not any(e.kind == "array" and any_traced(e.what) for e in entries):
        if any(e.kind == "array" for e in entries):
            return concrete(_checked(x, index))
        if all(e.kind == "int" for e in entries) and len(entries) == x.ndim and index is not Ellipsis:
            return _checked(x, index)  # a number
    view = basic(x, entries)
    if any(e.kind == "array" for e in entries):
        return _advanced(view, entries)
    # A number is no view: it stays what it is when the array changes.
    return wrap(view.value) if entries and all(e.kind == "int" for e in entries) else view


def as_mask(items: tuple[Any, ...]) -> Any:
    """The mask that an index consists of; None if it is something else."""
    if len(items) != 1:
        return None
    item = operand(items[0])
    if type(item) is Tracer or isinstance(item, np.ndarray):
        return item if item.dtype.kind == "b" and item.shape else None
    return None


def without_bools(x: Tracer, items: tuple[Any, ...]) -> tuple[Tracer, tuple[Any, ...]]:
    """An array and an index without single bools: each indexes a new axis, and takes it or nothing."""
    items = tuple([bool(i) if type(i) is np.bool_ else i for i in items])
    for at, item in enumerate(items):
        if type(item) is bool:
            rest = sum(_axes_taken(i) for i in map(_item, items[at + 1 :]))
            before = sum(_axes_taken(i) for i in map(_item, items[:at]))
            axis = x.ndim - rest if any(i is Ellipsis for i in items[:at]) else before
            x = reshaped(x, (*x.shape[:axis], 1, *x.shape[axis:]))
            items = (*items[:at], np.zeros(int(item), int), *items[at + 1 :])
    return x, items


def is_unknown(mask: Any) -> bool:
    """Whether nobody knows yet where a mask holds."""
    return type(mask) is Tracer and mask.traced and elements(mask.value) is None


def _checked(x: Tracer, index: Any) -> Any:
    try:
        return x.array[plain(index)]
    except IndexError as error:
        fail(str(error), None, IndexOutOfBoundsError)


def entries_of(x: Tracer, index: tuple[Any, ...]) -> list[Entry]:
    """The index with one entry per axis: no ellipsis, masks as arrays of indices."""
    items: list[Any] = []
    for item in index:
        items.append(_item(item))
    used = sum(_axes_taken(item) for item in items)
    if used > x.ndim:
        fail(f"too many indices: {used} for an array of shape {x.shape}", None, IndexOutOfBoundsError)
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        fail("an index can have one ellipsis only", None, IndexOutOfBoundsError)
    at = dots[0] if dots else len(items)
    items[at : at + 1] = [slice(None)] * (x.ndim - used)
    entries: list[Entry] = []
    axis = 0
    for item in items:
        if item is None:
            entries.append(Entry("new", None, axis))
        elif isinstance(item, slice):
            entries.append(Entry("slice", item, axis))
            axis += 1
        elif isinstance(item, int):
            n = x.shape[axis]
            if not -n <= item < n:
                fail(
                    f"index {item} is out of bounds for axis {axis} with size {n}",
                    None,
                    IndexOutOfBoundsError,
                )
            entries.append(Entry("int", item % n, axis))
            axis += 1
        elif isinstance(item, np.ndarray) and item.dtype == bool:
            if item.shape != x.shape[axis : axis + item.ndim]:
                fail(
                    f"a mask of shape {item.shape} does not fit {x.shape} at axis {axis}",
                    None,
                    IndexOutOfBoundsError,
                )
            for places in item.nonzero():
                entries.append(Entry("array", places, axis))
                axis += 1
        else:
            entries.append(Entry("array", item, axis))
            axis += 1
    return entries


def _item(item: Any) -> Any:
    """One item of an index: None, Ellipsis, a slice, an int, a concrete array, or a traced one."""
    if item is None or item is Ellipsis or isinstance(item, slice):
        return item
    if type(item) in (list, tuple):
        item = np.asarray(item, np.intp) if len(item) == 0 else operand(item)
    if type(item) is Tracer and item.traced:
        if item.dtype.kind == "b":
            mask = elements(item.value)
            if mask is None:
                what = "a traced mask selects a number of elements that is not known before the function runs"
                fail(what, INSTEAD)
            return mask
        if item.dtype.kind not in "iu":
            fail(f"arrays are indexed by integers, not {item.type}", "i.astype(int)", IndexOutOfBoundsError)
        return item
    item = plain(item)
    if isinstance(item, bool | np.bool_):
        return np.asarray(item)
    if isinstance(item, int | np.integer):
        return int(item)
    array = np.asarray(item)
    if array.dtype.kind not in "iub":
        fail(
            f"arrays are indexed by integers, slices and masks, not {described(item)}",
            "i.astype(int)",
            IndexOutOfBoundsError,
        )
    return int(array) if array.ndim == 0 and array.dtype.kind in "iu" else array


def _axes_taken(item: Any) -> int:
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if isinstance(item, np.ndarray) and item.dtype == bool else 1


def basic(x: Tracer, entries: list[Entry]) -> Tracer:
    """What slices, ints and newaxis make of the array; axes that arrays index stay as they are.

    With arrays, ints lose their axis and newaxis adds none: `gathered` knows where those go.
    """
    starts, sizes, steps = [0] * x.ndim, list(x.shape), [1] * x.ndim
    for kind, what, axis in entries:
        if kind == "int":
            starts[axis], sizes[axis] = what, 1
        elif kind == "slice":
            try:
                chosen = range(
                    *slice(*map(_bound, (what.start, what.stop, what.step))).indices(x.shape[axis])
                )
            except ValueError as error:
                fail(str(error), None, ShapeError)
            sizes[axis] = len(chosen)
            if chosen:
                starts[axis], steps[axis] = chosen.start, chosen.step if len(chosen) > 1 else 1
    if tuple(sizes) != x.shape or any(step < 0 for step in steps):
        x = x.seen("slice", starts=tuple(starts), sizes=tuple(sizes), steps=tuple(steps))
    with_arrays = any(e.kind == "array" for e in entries)
    shape = [
        1 if e.kind == "new" else sizes[e.axis]
        for e in entries
        if e.kind != "int" and not (with_arrays and e.kind == "new")
    ]
    view = reshaped(x, tuple(shape))
    # x[...] and x[:] are views too, not the array itself.
    return view if view is not x else Tracer(x.cell, x.path)


def _bound(x: Any) -> Any:
    return x if x is None else operator.index(x)


class Gathered(NamedTuple):
    """How arrays of indices act on what `basic` leaves: which axes they index, and where NumPy puts these.

    A gather gives `shape` first, then the other axes. `order` permutes that, and then `final`, with the new
    axes, is the shape of the result.
    """

    axes: tuple[int, ...]
    arrays: list[Any]
    shape: tuple[int, ...]
    order: tuple[int, ...]
    final: tuple[int, ...]

    def indices(self, x: Tracer) -> list[Value]:
        return [
            index_value(a, x.shape[axis], axis, self.shape)
            for a, axis in zip(self.arrays, self.axes, strict=True)
        ]


def gathered(x: Tracer, entries: list[Entry]) -> Gathered:
    """The indexed axes stay in place if the indices stand together, else they come first."""
    kept = [e for e in entries if e.kind in ("slice", "array")]
    axes = tuple(i for i, e in enumerate(kept) if e.kind == "array")
    arrays = [e.what for e in kept if e.kind == "array"]
    try:
        shape = common_shape(*arrays)
    except ShapeError as error:
        fail(f"as indices, {error.message}", error.hint, IndexOutOfBoundsError)
    together = [e.kind in ("int", "array") for e in entries]
    first = together.index(True)
    count = sum(together)
    lead = first if all(together[first : first + count]) else 0
    n, k = sum(e.kind == "slice" for e in entries[:lead]), len(shape)
    order = (*range(k, k + n), *range(k), *range(k + n, k + x.ndim - len(axes)))
    sizes = iter([size for e, size in zip(kept, x.shape, strict=True) if e.kind == "slice"])
    final: list[int] = []
    for i, e in enumerate(entries):
        if i == lead:
            final.extend(shape)
        if e.kind == "new":
            final.append(1)
        elif e.kind == "slice":
            final.append(next(sizes))
    return Gathered(axes, arrays, shape, order, tuple(final))


def _advanced(x: Tracer, entries: list[Entry]) -> Tracer:
    """The gather, with its axes where NumPy puts them."""
    how = gathered(x, entries)
    y = wrap(emit("gather", traced(x).value, *how.indices(x), axes=how.axes))
    return wrap(reshaped(transposed(y, how.order), how.final).value)


def index_value(index: Any, size: int, axis: int, shape: tuple[int, ...]) -> Value:
    """Indices into an axis as i64, none negative, in bounds: checked now if concrete, else when it runs."""
    message = f"index is out of bounds for axis {axis} with size {size}"
    if not any_traced(index):
        array = np.asarray(plain(index))
        bad = (array < -size) | (array >= size)
        if bad.any():
            fail(
                f"index {array[bad][0]} is out of bounds for axis {axis} with size {size}",
                None,
                IndexOutOfBoundsError,
            )
        return value_of(np.where(array < 0, array + size, array).astype(I64), I64, shape)
    i = cast(index.value, I64)
    if index.dtype.kind == "i":
        i = where_value(i < 0, i + size, i)
    ok = (i >= 0) & (i < size)
    return broadcast(emit("require", i, ok, message=message), shape)


def along_axis(x: Tracer, indices: Value, axis: int) -> Tracer:
    """x with axis replaced by indices of the same rank: element by element along the axis."""
    shape = indices.shape
    places = [
        indices if i == axis else emit("iota", type=Type(I64, shape), axis=i) for i in range(len(shape))
    ]
    return wrap(emit("gather", x.value, *places, axes=tuple(range(len(shape)))))


@implements(np.take)
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    x = tracer(a)
    if axis is None:
        x, axis = reshaped(x, (x.size,)), 0
    along = axis_of(axis, x.ndim)
    i = operand(indices)
    if mode == "wrap":
        i = FUNCTIONS[np.remainder](i, x.shape[along])
    elif mode == "clip":
        i = FUNCTIONS[np.clip](i, 0, x.shape[along] - 1)
    return getitem(x, (slice(None),) * along + (i,))


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Tracer:
    x, i = traced(arr), operand(indices)
    if axis is None:
        x, axis = reshaped(x, (x.size,)), 0
    along = axis_of(axis, x.ndim)
    if common_dtype(i).kind not in "iu":
        fail("`indices` must be an integer array", "i.astype(int)", IndexOutOfBoundsError)
    if len(i.shape) != x.ndim:
        fail(f"take_along_axis takes indices of {x.ndim} axes, not shape {i.shape}", None, ShapeError)
    rest = common_shape(
        *[np.empty([1 if j == along else n for j, n in enumerate(s)]) for s in (x.shape, i.shape)]
    )
    full = (*rest[:along], i.shape[along], *rest[along + 1 :])
    x = wrap(broadcast(x.value, (*rest[:along], x.shape[along], *rest[along + 1 :])))
    return along_axis(x, index_value(i, x.shape[along], along, full), along)
