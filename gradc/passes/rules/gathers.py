"""Gather and scatter_add: known indices become slices, one element for each row becomes a comparison."""

from __future__ import annotations

from itertools import pairwise

from gradc.ir import Node, Type, Value, emit
from gradc.passes.pattern import splat
from gradc.passes.rewrite import rewrites, uses
from gradc.passes.rules.layout import emit_like, made_by, splat_like
from gradc.passes.rules.pieces import is_small, take


def _moved_to_front(x: Value, axis: int) -> Value:
    order = (axis, *[i for i in range(x.type.ndim) if i != axis])
    return emit("transpose", x, axes=order)


@rewrites("gather")
def gather_constant_index(node: Node) -> Value | None:
    """gather(x, 2) => reshape(slice(x, 2)), so for evenly spaced constants and iota"""
    if len(node.inputs) != 2:
        return None
    (x, index), (axis,) = node.inputs, node.attrs["axes"]
    spaced = evenly_spaced(index)
    if spaced is None:
        return None
    start, step = spaced
    size = index.type.size
    if not (0 <= start < x.shape[axis] and 0 <= start + (size - 1) * step < x.shape[axis]):
        return None  # an error when it runs
    starts = tuple(start if i == axis else 0 for i in range(x.type.ndim))
    sizes = tuple(size if i == axis else n for i, n in enumerate(x.shape))
    steps = tuple(step if i == axis else 1 for i in range(x.type.ndim))
    front = _moved_to_front(take(x, starts, sizes, steps), axis)
    return front if index.type.ndim == 1 else emit("reshape", front, shape=node.types[0].shape)


def evenly_spaced(index: Value) -> tuple[int, int] | None:
    """Start and step (not 0) of an index array that is known and counts evenly."""
    node = index.node
    if node is None or not index.type.size:
        return None
    if node.op.name == "iota":
        return (0, 1) if index.type.ndim == 1 else None
    if node.op.name != "constant" or index.type.ndim > 1:
        return None
    value = node.attrs["value"]
    items = value if isinstance(value, list) else [value] * min(index.type.size, 2)
    step = items[1] - items[0] if len(items) > 1 else 1
    if not step or any(b - a != step for a, b in pairwise(items)):
        return None
    return items[0], step


def _within(index: Value, size: int) -> bool:
    """Is every index known to be one of an axis of this size?"""
    if index.node is not None and index.node.op.name == "iota":
        return index.shape[index.node.attrs["axis"]] <= size
    if index.node is None or index.node.op.name != "constant":
        return False
    value = index.node.attrs["value"]
    if isinstance(value, list):
        return index.type.ndim == 1 and all(0 <= number < size for number in value)
    return 0 <= value < size


@rewrites("gather")
def gather_of_broadcast(node: Node) -> Value | None:
    """gather(broadcast(x), i, j, axes=(0, 1)) => gather(x, i, axes=(0,)), where axis 1 is new, j inside"""
    inner = made_by(node.inputs[0], "broadcast")
    if inner is None:
        return None
    new = [
        (index, inner.attrs["shape"][a])
        for a, index in zip(node.attrs["axes"], node.inputs[1:], strict=True)
        if a not in inner.attrs["axes"]
    ]
    if not new or not all(_within(index, size) for index, size in new):
        return None
    return gather_below(node, inner)


def gather_below(gather: Node, broadcast: Node) -> Value:
    """Emit the gather from what was broadcast: indices into new axes choose among equal elements."""
    (x,), spread, indices = broadcast.inputs, broadcast.attrs["axes"], gather.inputs[1:]
    axes, shape, front = gather.attrs["axes"], gather.types[0].shape, indices[0].type.ndim
    pairs = [(spread.index(a), i) for a, i in zip(axes, indices, strict=True) if a in spread]
    rest = [a for a in range(len(broadcast.attrs["shape"])) if a not in axes]
    kept = tuple(front + rest.index(a) for a in rest if a in spread)
    if not pairs:
        return emit("broadcast", x, shape=shape, axes=kept)
    inside = emit("gather", x, *[i for _, i in pairs], axes=tuple(a for a, _ in pairs))
    if inside.shape == shape:
        return inside
    return emit("broadcast", inside, shape=shape, axes=(*range(front), *kept))


@rewrites("gather")
def gather_of_elementwise(node: Node) -> Value | None:
    """gather(x - broadcast(m), i) => gather(x, i) - gather(broadcast(m), i), if small or used nowhere else

    One input at most must really be gathered from: the others are splats, and broadcasts along indexed axes.
    """
    whole, inner = node.inputs[0], node.inputs[0].node
    if inner is None or not inner.op.elementwise or inner.op.name == "require":
        return None
    real = [x for x in inner.inputs if splat(x) is None and made_by(x, "broadcast") is None]
    # Somebody must still see all indices, and what checks them.
    if len(real) != 1 or not (is_small(node) or uses(whole) == 1):
        return None
    inputs = []
    for x in inner.inputs:
        spread = made_by(x, "broadcast")
        if splat(x) is not None:
            inputs.append(splat_like(x, node.types[0].shape))
        elif spread is not None and any(a not in spread.attrs["axes"] for a in node.attrs["axes"]):
            inputs.append(gather_below(node, spread))
        else:
            inputs.append(emit("gather", x, *node.inputs[1:], **node.attrs))
    return emit_like(inner, inputs, node.types[0].shape)


@rewrites("scatter_add")
def one_for_each_row(node: Node) -> Value | None:
    """scatter_add(0, u, iota, j, axes=(0, 1)) => where(broadcast(j) == iota, broadcast(u), 0)"""
    (zero, updates, *indices), axes = node.inputs, node.attrs["axes"]
    if splat(zero) != 0 or axes != (0, 1) or zero.type.ndim != 2 or updates.type.ndim != 1:
        return None
    type = zero.type
    rows = [k for k in (0, 1) if type.shape[k] == updates.type.size and evenly_spaced(indices[k]) == (0, 1)]
    if not rows or not type.size:
        return None
    row = rows[0]
    chosen = emit("broadcast", indices[1 - row], shape=type.shape, axes=(row,))
    columns = emit("iota", axis=1 - row, type=Type(chosen.dtype, type.shape))
    # Adding to zero loses the sign of -0.0.
    sums = emit("add", updates, splat_like(zero, updates.shape))
    spread = emit("broadcast", sums, shape=type.shape, axes=(row,))
    return emit("where", emit("eq", chosen, columns), spread, zero)
