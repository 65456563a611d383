"""Indexing by arrays of indices: gather, its transpose scatter_add, and scatter, which overwrites."""

from __future__ import annotations

import math

import numpy as np

from gradc.ir.errors import ShapeError
from gradc.ir.graph import Value, emit, zeros
from gradc.ir.op import Cotangent, Op
from gradc.ir.types import I64, Type

Axes = tuple[int, ...]


def gather_type(x: Type, *indices: Type, axes: Axes) -> Type:
    """One i64 index array for each of `axes` (ascending), all of one shape s; the result has shape s + the
    other axes."""
    if len(indices) != len(axes) or not axes or list(axes) != sorted(set(axes)) or axes[-1] >= x.ndim:
        raise ShapeError(f"gather from {x} along axes {axes} with {len(indices)} index arrays")
    if any(t.dtype != I64 or t.shape != indices[0].shape for t in indices):
        raise ShapeError(f"gather takes i64 indices of one shape, not {', '.join(map(str, indices))}")
    return x.with_shape(indices[0].shape + tuple(n for i, n in enumerate(x.shape) if i not in axes))


def _key(indices: tuple[np.ndarray, ...], axes: Axes, x: np.ndarray) -> tuple[np.ndarray, ...]:
    for i, axis in zip(indices, axes, strict=True):
        if np.any((i < 0) | (i >= x.shape[axis])):
            raise IndexError(f"index out of bounds for axis {axis} with size {x.shape[axis]}")
    return indices


def gather_meaning(x: np.ndarray, *indices: np.ndarray, axes: Axes) -> np.ndarray:
    """NumPy's advanced indexing with the indexed axes first. Indices are not negative."""
    return np.moveaxis(x, axes, range(len(axes)))[_key(indices, axes, x)]


def scatter_add_meaning(x: np.ndarray, updates: np.ndarray, *indices: np.ndarray, axes: Axes) -> np.ndarray:
    """np.add.at on a copy, in the order of the updates."""
    out = np.array(x)
    np.add.at(np.moveaxis(out, axes, range(len(axes))), _key(indices, axes, x), updates)
    return out


def scatter_add_type(x: Type, updates: Type, *indices: Type, axes: Axes) -> Type:
    """The updates have the type that `gather` would give."""
    if updates != gather_type(x, *indices, axes=axes):
        raise ShapeError(f"scatter_add of {updates} into {x} along axes {axes}")
    return x


def scatter_meaning(
    x: np.ndarray, updates: np.ndarray, *indices: np.ndarray, axes: Axes, distinct: bool
) -> np.ndarray:
    """`x[indices] = updates` on a copy: of several updates for one place the last one stays."""
    out = np.array(x)
    moved = np.moveaxis(out, axes, range(len(axes)))
    _key(indices, axes, x)
    for at in np.ndindex(indices[0].shape):  # NumPy does not promise an order
        moved[tuple([i[at] for i in indices])] = updates[at]
    return out


def scatter_type(x: Type, updates: Type, *indices: Type, axes: Axes, distinct: bool) -> Type:
    """As for scatter_add. `distinct` promises that no two updates are for one place."""
    return scatter_add_type(x, updates, *indices, axes=axes)


def gather_vjp(g: Cotangent, y: Value, x: Value, *indices: Value, axes: Axes) -> tuple[Value | None, ...]:
    """Add each cotangent where its element came from."""
    return (emit("scatter_add", zeros(x.type), g, *indices, axes=axes), *[None] * len(indices))


def scatter_add_vjp(
    g: Cotangent, y: Value, x: Value, updates: Value, *indices: Value, axes: Axes
) -> tuple[Cotangent | Value | None, ...]:
    """The updates get what lies where they were added."""
    return (g, emit("gather", g, *indices, axes=axes), *[None] * len(indices))


def scatter_vjp(
    g: Cotangent, y: Value, x: Value, updates: Value, *indices: Value, axes: Axes, distinct: bool
) -> tuple[Value | None, ...]:
    """What was overwritten has no gradient; neither have updates that others came after."""
    gone = emit("scatter", g, zeros(updates.type), *indices, axes=axes, distinct=distinct)
    left = emit("gather", g, *indices, axes=axes)
    if not distinct:
        # The number of the last update for each place, read back by all the updates for it.
        shape = indices[0].shape
        count = math.prod(shape)
        number = emit("reshape", emit("iota", type=Type(I64, (count,)), axis=0), shape=shape)
        places = zeros(Type(I64, tuple(x.shape[a] for a in axes)))
        every = tuple(range(len(axes)))
        last = emit("scatter", places, number, *indices, axes=every, distinct=False)
        stays = emit("eq", emit("gather", last, *indices, axes=every), number)
        if left.shape != shape:
            stays = emit("broadcast", stays, shape=left.shape, axes=tuple(range(len(shape))))
        left = emit("where", stays, left, zeros(left.type))
    return (gone, left, *[None] * len(indices))


Op("gather", gather_meaning, gather_type, gather_vjp)
Op("scatter_add", scatter_add_meaning, scatter_add_type, scatter_add_vjp)
Op("scatter", scatter_meaning, scatter_type, scatter_vjp)
