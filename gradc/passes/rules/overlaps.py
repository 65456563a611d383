"""Windows and fold: composed with each other, and with what moves elements before or after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gradc.ir import Node, Value, emit
from gradc.ir.ops.shape import inverse
from gradc.ir.ops.windows import readers
from gradc.passes.rewrite import rewrites
from gradc.passes.rules.layout import made_by
from gradc.passes.rules.pieces import take
from gradc.passes.rules.reductions import REDUCTIONS

Ints = tuple[int, ...]

MOST_LANES = 16
"""An axis as long as that fills vectors."""


class Reading(NamedTuple):
    """The attributes of `windows` (and of `fold`, whose operand and result change places)."""

    axes: Ints
    starts: Ints
    steps: Ints

    @property
    def overlaps(self) -> bool:
        """Does an axis have several readers?"""
        return len(set(self.axes)) < len(self.axes)


def reading(node: Node, size: Ints) -> Reading:
    """What a node that chooses elements reads; `size` is the shape of the larger side."""
    attrs, rank = node.attrs, len(size)
    everywhere = tuple(range(rank))
    if node.op.name == "transpose":
        return Reading(attrs["axes"], (0,) * rank, (1,) * rank)
    if node.op.name in ("slice", "pad"):
        return Reading(everywhere, attrs["starts"], attrs["steps"])
    return Reading(attrs["axes"], attrs["starts"], attrs["steps"])


def composed(first: Reading, then: Reading) -> Reading:
    """What is read of an array by reading `first`, and `then` of what that gives."""
    starts = list(first.starts)
    for axis, start, step in zip(first.axes, then.starts, first.steps, strict=True):
        starts[axis] += start * step
    return Reading(
        tuple(first.axes[m] for m in then.axes),
        tuple(starts),
        tuple(step * first.steps[m] for m, step in zip(then.axes, then.steps, strict=True)),
    )


def read(op: str, x: Value, shape: Sequence[int], how: Reading) -> Value:
    """Emit `windows` or `fold`."""
    return emit(op, x, shape=tuple(shape), axes=how.axes, starts=how.starts, steps=how.steps)


@rewrites("windows")
def windows_of_reading(node: Node) -> Value | None:
    """windows(slice(x)) => windows(x); so with transpose and windows"""
    inner = made_by(node.inputs[0], "slice", "transpose", "windows")
    if inner is None or not node.types[0].size:
        return None
    (x,) = inner.inputs
    how = composed(reading(inner, x.shape), reading(node, inner.types[0].shape))
    return read("windows", x, node.types[0].shape, how)


@rewrites("slice", "transpose")
def reading_of_windows(node: Node) -> Value | None:
    """slice(windows(x)) => windows(x); so with transpose"""
    inner = made_by(node.inputs[0], "windows")
    if inner is None or not node.types[0].size:
        return None
    (x,) = inner.inputs
    how = composed(reading(inner, x.shape), reading(node, inner.types[0].shape))
    return read("windows", x, node.types[0].shape, how)


@rewrites("fold")
def fold_of_spread(node: Node) -> Value | None:
    """fold(pad(g, value=0)) => fold(g); so with transpose and fold"""
    inner = made_by(node.inputs[0], "pad", "transpose", "fold")
    if inner is None:
        return None
    (g,) = inner.inputs
    if not g.type.size or (inner.op.name == "pad" and inner.attrs["value"] != 0):
        return None
    outer = reading(node, node.types[0].shape)
    if inner.op.name == "transpose":  # g spreads as the reading by the inverse permutation does
        order = inverse(inner.attrs["axes"])
        then = Reading(order, (0,) * len(order), (1,) * len(order))
    else:
        then = reading(inner, inner.types[0].shape)
    return read("fold", g, node.types[0].shape, composed(outer, then))


@rewrites("transpose")
def transpose_of_fold(node: Node) -> Value | None:
    """transpose(fold(g)) => fold(g)"""
    inner = made_by(node.inputs[0], "fold")
    if inner is None:
        return None
    order, attrs = node.attrs["axes"], inner.attrs
    place = inverse(order)
    how = Reading(
        tuple(place[a] for a in attrs["axes"]), tuple(attrs["starts"][a] for a in order), attrs["steps"]
    )
    return read("fold", inner.inputs[0], node.types[0].shape, how)


@rewrites("windows")
def windows_without_overlap(node: Node) -> Value | None:
    """windows(x) => transpose(reshape(slice(x))), where no axis is read twice"""
    (x,), shape = node.inputs, node.types[0].shape
    how = reading(node, x.shape)
    if how.overlaps or not node.types[0].size:
        return None
    reader = [(readers(how.axes, a) or [-1])[0] for a in range(x.type.ndim)]
    sizes = tuple(shape[r] if r >= 0 else 1 for r in reader)
    steps = tuple(how.steps[r] if r >= 0 else 1 for r in reader)
    piece = take(x, how.starts, sizes, steps)
    kept = [r for r in reader if r >= 0]
    if len(kept) < len(reader):
        piece = emit("reshape", piece, shape=tuple(shape[r] for r in kept))
    return piece if kept == sorted(kept) else emit("transpose", piece, axes=inverse(tuple(kept)))


@rewrites("fold")
def fold_without_overlap(node: Node) -> Value | None:
    """fold(g) => pad(reshape(transpose(g))), where no axis is reached twice"""
    (g,), shape = node.inputs, node.types[0].shape
    how = reading(node, shape)
    if how.overlaps or not g.type.size or any(step == 0 for step in how.steps):
        return None
    reader = [(readers(how.axes, a) or [-1])[0] for a in range(len(shape))]
    kept = tuple(r for r in reader if r >= 0)
    moved = g if list(kept) == sorted(kept) else emit("transpose", g, axes=kept)
    sizes = tuple(g.shape[r] if r >= 0 else 1 for r in reader)
    if sizes != moved.shape:
        moved = emit("reshape", moved, shape=sizes)
    steps = tuple(how.steps[r] if r >= 0 and g.shape[r] > 1 else 1 for r in reader)
    if sizes == shape and all(step == 1 for step in steps):
        return moved
    return emit(
        "pad", moved, shape=shape, starts=how.starts, steps=steps, value=0.0 if g.type.is_float else 0
    )


@rewrites(*REDUCTIONS)
def windows_reduced_first(node: Node) -> Value | None:
    """reduce_max(windows(x), axes=(1,)) => reduce_max(windows(x), axes=(0,)): vectors go along what stays"""
    inner = made_by(node.inputs[0], "windows")
    axes = node.attrs["axes"]
    if inner is None or not axes or not inner.types[0].size:
        return None
    shape, rank = inner.types[0].shape, inner.types[0].ndim
    kept = tuple(a for a in range(rank) if a not in axes)
    if not kept or axes[-1] < kept[-1] or shape[kept[-1]] < min(MOST_LANES, shape[axes[-1]]):
        return None
    order = (*axes, *kept)
    attrs = inner.attrs
    how = Reading(
        tuple(attrs["axes"][a] for a in order), attrs["starts"], tuple(attrs["steps"][a] for a in order)
    )
    moved = read("windows", inner.inputs[0], [shape[a] for a in order], how)
    return emit(node.op, moved, axes=tuple(range(len(axes))))
