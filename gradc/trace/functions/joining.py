"""Functions that put arrays together, repeat them and take them apart; `np.array` of lists."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.ir import ShapeError, Value, emit
from gradc.trace.functions.shapes import axis_of, reshaped, sliced
from gradc.trace.known import elements
from gradc.trace.lift import (
    SEQUENCES,
    any_traced,
    broadcast,
    cast,
    concrete,
    constant_value,
    key,
    operand,
    plain,
    supported,
    traced,
    tracer,
    value_of,
    wrap,
)
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import as_numpy_says, fail
from gradc.trace.table import implements, implements_view
from gradc.trace.tracer import Tracer


def _strong(x: Any) -> np.dtype:
    """The dtype that an element gives an array: Python numbers are not weak here."""
    kind = key(x)
    return np.dtype(kind) if isinstance(kind, type) else kind


# np.array of a nest of lists.


@implements(np.array)
def new_array(
    object: Any,
    dtype: Any = None,
    *,
    copy: Any = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    ndmax: int = 0,
    device: Any = None,
    like: Any = None,
) -> Tracer:
    if ndmax:
        fail("gradc traces np.array without ndmax=", "lists of numbers")
    _on_cpu(device)
    if isinstance(object, SEQUENCES):
        leaves, outer = _nest(object)
        common = np.result_type(*[_strong(x) for x in leaves])
        wanted = supported(common if dtype is None else np.dtype(dtype), "np.array")
        x = _assembled(leaves, outer, wanted)
    else:
        x = traced(object)
        x = wrap(x.value if dtype is None else cast(x.value, supported(np.dtype(dtype), "np.array")))
    return reshaped(x, (1,) * (ndmin - x.ndim) + x.shape) if ndmin > x.ndim else x


def _on_cpu(device: Any) -> None:
    if device not in (None, "cpu"):
        fail(f'Device not understood. Only "cpu" is allowed, but received: {device}', None, ShapeError)


@implements_view(np.array)
def array(object: Any, dtype: Any = None, *, copy: Any = True, ndmin: int = 0, **options: Any) -> Tracer:
    if copy or ndmin:
        return new_array(object, dtype, copy=copy, ndmin=ndmin, **options)
    return asarray(object, dtype)


@implements_view(np.require)
def require(a: Any, dtype: Any = None, requirements: Any = None, *, like: Any = None) -> Tracer:
    """How it lies in memory is no part of what is compiled; that it could is checked."""
    with as_numpy_says():
        np.require(np.zeros(1), None, plain(requirements))
    return asarray(a, dtype)


@implements_view(np.asarray, np.asanyarray)
def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, device: Any = None, like: Any = None
) -> Tracer:
    """The same array, if it is one of the dtype wanted."""
    _on_cpu(device)
    if order in ("C", "F"):
        return _laid_out(a, dtype, order)
    same = type(a) is Tracer and not a.weak and (dtype is None or np.dtype(dtype) == a.dtype)
    return a if same and not copy else new_array(a, dtype)


@implements_view(np.ascontiguousarray)
def ascontiguousarray(a: Any, dtype: Any = None, **_: Any) -> Tracer:
    return FUNCTIONS[np.atleast_1d](_laid_out(a, dtype, "C"))


@implements_view(np.asfortranarray)
def asfortranarray(a: Any, dtype: Any = None, **_: Any) -> Tracer:
    return _laid_out(a, dtype, "F")


def _laid_out(a: Any, dtype: Any, order: str) -> Tracer:
    """The same array if it lies in memory in this order, as far as the trace knows; else a copy."""
    x = asarray(a, dtype)
    flags = x.layout.flags
    return x if (flags.c_contiguous if order == "C" else flags.f_contiguous) else x.copy()


def _nest(x: Any) -> tuple[list[Any], tuple[int, ...]]:
    """The elements of a nest of lists, all of one shape, and the shape of the nest."""
    if not isinstance(x, SEQUENCES):
        return [x], ()
    if not any_traced(x):
        whole = np.asarray(plain(x))
        return [whole[i] for i in range(len(whole))], (len(whole),)
    children = [_nest(child) for child in x]
    first, outer = children[0]
    shape = np.shape(first[0]) if not isinstance(first[0], Tracer) else first[0].shape
    even = all(o == outer and all(_shape(leaf) == shape for leaf in leaves) for leaves, o in children)
    if even:
        return [leaf for leaves, _ in children for leaf in leaves], (len(x), *outer)
    # Rows that are arrays beside rows that are lists: every row as one array.
    rows = [operand(child) if any_traced(child) else np.asarray(plain(child)) for child in x]
    if any(_shape(row) != _shape(rows[0]) for row in rows):
        fail("np.array of elements that differ in shape", "elements of one shape", ShapeError)
    return rows, (len(x),)


def _shape(x: Any) -> tuple[int, ...]:
    return x.shape if isinstance(x, Tracer) else np.shape(x)


def _assembled(leaves: list[Any], outer: tuple[int, ...], dtype: np.dtype) -> Tracer:
    """One array from the elements; neighbours that are concrete become one constant."""
    inner = _shape(leaves[0])
    parts: list[Value] = []
    i = 0
    while i < len(leaves):
        if any_traced(leaves[i]):
            parts.append(emit("reshape", value_of(leaves[i], dtype), shape=(1, *inner)))
            i += 1
            continue
        start = i
        while i < len(leaves) and not any_traced(leaves[i]):
            i += 1
        parts.append(constant_value(np.stack([np.asarray(plain(x)) for x in leaves[start:i]]), dtype))
    joined = wrap(emit("concat", *parts, axis=0) if len(parts) > 1 else parts[0])
    return reshaped(joined, outer + inner)


# Joining.


@implements(np.concatenate, np.concat)
def concatenate(
    arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = ""
) -> Tracer:
    parts = [operand(x) for x in arrays]
    if axis is None:
        parts, axis = [FUNCTIONS[np.ravel](x) for x in parts], 0
    shapes = [_shape(x) for x in parts]
    if not all(shapes):
        fail("np.concatenate takes arrays with at least one axis", "np.stack for numbers", ShapeError)
    along = axis_of(axis, len(shapes[0]))
    rests = {(*s[:along], *s[along + 1 :]) for s in shapes}
    if len(rests) > 1 or len({len(s) for s in shapes}) > 1:
        texts = ", ".join(map(str, shapes))
        fail(f"np.concatenate along axis {axis} of shapes {texts}: the other sizes differ", None, ShapeError)
    common = np.result_type(*[_strong(x) for x in parts])
    wanted = supported(common if dtype is None else np.dtype(dtype), "np.concatenate")
    values = [value_of(x, wanted) for x in parts]
    return wrap(emit("concat", *values, axis=along) if len(values) > 1 else values[0])


@implements(np.stack)
def stack(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "") -> Tracer:
    parts = [operand(x) for x in arrays]
    shapes = {_shape(x) for x in parts}
    if len(shapes) > 1:
        texts = ", ".join(map(str, map(_shape, parts)))
        fail(f"np.stack takes arrays of one shape, not {texts}", None, ShapeError)
    along = axis_of(axis, len(shapes.pop()) + 1)
    return concatenate([FUNCTIONS[np.expand_dims](x, along) for x in parts], along, out, dtype=dtype)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "") -> Tracer:
    return concatenate([FUNCTIONS[np.atleast_2d](operand(x)) for x in tup], 0, dtype=dtype)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "") -> Tracer:
    parts = [FUNCTIONS[np.atleast_1d](operand(x)) for x in tup]
    return concatenate(parts, 0 if parts[0].ndim == 1 else 1, dtype=dtype)


@implements(np.dstack)
def dstack(tup: Any) -> Tracer:
    return concatenate([FUNCTIONS[np.atleast_3d](operand(x)) for x in tup], 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Tracer:
    parts = [operand(x) for x in tup]
    return concatenate([x if x.ndim > 1 else FUNCTIONS[np.reshape](x, (-1, 1)) for x in parts], 1)


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Tracer:
    if axis is None:
        arr, values = FUNCTIONS[np.ravel](arr), FUNCTIONS[np.ravel](values)
    return concatenate([arr, values], 0 if axis is None else axis)


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    if indexing not in ("xy", "ij"):
        fail("Valid values for `indexing` are 'xy' and 'ij'.", None, ShapeError)
    parts = [FUNCTIONS[np.ravel](x) for x in xi]
    order = list(range(len(parts)))
    if indexing == "xy" and len(parts) > 1:
        order[:2] = [1, 0]
    shape = tuple(parts[i].size for i in np.argsort(order))
    grids = [
        FUNCTIONS[np.reshape](x, tuple(-1 if j == order[i] else 1 for j in range(len(parts))))
        for i, x in enumerate(parts)
    ]
    return tuple(grids) if sparse else tuple(FUNCTIONS[np.broadcast_to](x, shape) for x in grids)


class Concatenation:
    """np.r_ and np.c_: arrays, numbers and slices between the brackets, and a directive before them.

    The directive has up to three numbers: the axis to put together along, the least number of axes, and
    where the axes that an array already has go among them.
    """

    def __init__(self, original: Any, axis: int, ndmin: int, place: int) -> None:
        self.original = original
        self.defaults = axis, ndmin, place

    def __getitem__(self, index: Any) -> Any:
        items = index if isinstance(index, tuple) else (index,)
        if not any_traced(items):
            return concrete(self.original[plain(index)])
        axis, ndmin, place = self.defaults
        if isinstance(items[0], str):
            if items[0] in ("r", "c") or not all(
                n.strip().lstrip("-").isdigit() for n in items[0].split(",")
            ):
                fail(f"gradc traces np.r_ without the directive {items[0]!r}", "np.concatenate")
            numbers = [int(n) for n in items[0].split(",")]
            axis, ndmin, place = *numbers, *self.defaults[len(numbers) :]
            items = items[1:]
        parts = []
        for item in items:
            x = np.r_[plain(item)] if isinstance(item, slice) else operand(item)
            ndim = len(_shape(x))
            parts.append(_filled(x, ndmin, place if ndim or isinstance(item, slice) else -1))
        return concatenate(parts, axis)


def _filled(x: Any, ndmin: int, place: int) -> Any:
    """The array with at least `ndmin` axes, its own from `place` on."""
    shape = _shape(x)
    more = ndmin - len(shape)
    if more <= 0:
        return x
    k = place if place >= 0 else more + 1 + place
    return FUNCTIONS[np.reshape](x, (*[1] * k, *shape, *[1] * (more - k)))


FUNCTIONS[np.r_] = Concatenation(np.r_, 0, 1, -1)
FUNCTIONS[np.c_] = Concatenation(np.c_, -1, 2, 0)


# Repeating.


@implements(np.tile)
def tile(A: Any, reps: Any) -> Tracer:
    x = traced(A)
    counts = tuple(np.atleast_1d(plain(reps)).tolist())
    ndim = max(x.ndim, len(counts))
    counts = (1,) * (ndim - len(counts)) + counts
    sizes = (1,) * (ndim - x.ndim) + x.shape
    pairs = tuple(n for pair in zip(counts, sizes, strict=True) for n in pair)
    spread = broadcast(reshaped(x, tuple(n for s in sizes for n in (1, s))).value, pairs)
    return reshaped(wrap(spread), tuple(c * s for c, s in zip(counts, sizes, strict=True)))


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Tracer:
    x = traced(a)
    repeats = operand(repeats)
    if any_traced(repeats) and (repeats := elements(repeats.value)) is None:
        fail("the counts of np.repeat must be known when the function is traced", "Python ints as counts")
    if axis is None:
        x, axis = reshaped(x, (x.size,)), 0
    along = axis_of(axis, x.ndim)
    counts = np.asarray(plain(repeats))
    if counts.size == 1:
        count = int(counts.reshape(-1)[0])
        lead, tail = x.shape[: along + 1], x.shape[along + 1 :]
        spread = broadcast(reshaped(x, (*lead, 1, *tail)).value, (*lead, count, *tail))
        return reshaped(wrap(spread), (*x.shape[:along], x.shape[along] * count, *tail))
    if counts.size != x.shape[along]:
        fail(f"np.repeat has {counts.size} counts for {x.shape[along]} elements", None, ShapeError)
    return FUNCTIONS[np.take](x, np.repeat(np.arange(x.shape[along]), counts), along)


# Taking apart.


@implements_view(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tracer]:
    x = tracer(ary)
    along = axis_of(axis, x.ndim)
    size = x.shape[along]
    where = plain(indices_or_sections)
    if isinstance(where, Sequence | np.ndarray) and np.ndim(where):
        cuts = [slice(int(i)).indices(size)[1] for i in where]
    else:
        sections = int(operator.index(where))  # type: ignore[arg-type]
        if sections <= 0:
            fail("number of sections must be larger than 0", None, ShapeError)
        each, extras = divmod(size, sections)
        cuts = np.cumsum([each + 1] * extras + [each] * (sections - extras))[:-1].tolist()
    bounds = zip([0, *cuts], [*cuts, size], strict=True)
    return [sliced(x, along, a if b > a else 0, max(b - a, 0)) for a, b in bounds]


@implements_view(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tracer]:
    x = tracer(ary)
    where = plain(indices_or_sections)
    size = x.shape[axis_of(axis, x.ndim)]
    if np.ndim(where) == 0 and size % operator.index(where):
        fail(f"np.split of {size} elements into {where} equal parts", "np.array_split", ShapeError)
    return array_split(x, where, axis)


def _splits(ary: Any, least: int, name: str) -> Tracer:
    x = tracer(ary)
    if x.ndim < least:
        fail(f"{name} only works on arrays of {least} or more dimensions", None, ShapeError)
    return x


@implements_view(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    x = _splits(ary, 1, "hsplit")
    return split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


@implements_view(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    return split(_splits(ary, 2, "vsplit"), indices_or_sections, 0)


@implements_view(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    return split(_splits(ary, 3, "dsplit"), indices_or_sections, 2)


@implements(np.unstack) if hasattr(np, "unstack") else lambda fn: fn
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tracer, ...]:
    return tuple(FUNCTIONS[np.moveaxis](traced(x), axis, 0))
