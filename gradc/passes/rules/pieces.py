"""Slice, pad and concat: composed with each other, and with what they take pieces of."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from gradc.ir import Node, Value, constant, emit
from gradc.passes.pattern import same_number, splat
from gradc.passes.rewrite import rewrites, uses
from gradc.passes.rules.constants import evaluated
from gradc.passes.rules.layout import ELEMENTWISE, emit_like, made_by, splat_like

Ints = tuple[int, ...]


def take(x: Value, starts: Ints, sizes: Ints, steps: Ints) -> Value:
    """Emit a slice. The step of an axis of at most one element means nothing and becomes 1."""
    steps = tuple(step if size > 1 else 1 for size, step in zip(sizes, steps, strict=True))
    starts = tuple(start if size else 0 for size, start in zip(sizes, starts, strict=True))
    return emit("slice", x, starts=starts, sizes=sizes, steps=steps)


@rewrites("slice")
def whole_slice(node: Node) -> Value | None:
    """slice(x, starts=(0,), sizes=x.shape, steps=(1,)) => x"""
    (x,), starts, steps = node.inputs, node.attrs["starts"], node.attrs["steps"]
    if x.type != node.types[0]:
        return None
    moved = any(
        n > 1 and (start, step) != (0, 1) for n, start, step in zip(x.shape, starts, steps, strict=True)
    )
    return None if moved else x


@rewrites("slice")
def slice_of_slice(node: Node) -> Value | None:
    """slice(slice(x)) => slice(x)"""
    inner = made_by(node.inputs[0], "slice")
    if inner is None:
        return None
    outer, inside = node.attrs, inner.attrs
    starts = tuple(
        a + b * step for a, b, step in zip(inside["starts"], outer["starts"], inside["steps"], strict=True)
    )
    steps = tuple(a * b for a, b in zip(inside["steps"], outer["steps"], strict=True))
    return take(inner.inputs[0], starts, outer["sizes"], steps)


@rewrites("slice")
def slice_of_broadcast(node: Node) -> Value | None:
    """slice(broadcast(x)) => broadcast(slice(x))"""
    inner = made_by(node.inputs[0], "broadcast")
    if inner is None:
        return None
    (x,), axes = inner.inputs, inner.attrs["axes"]
    starts, sizes, steps = (tuple(node.attrs[k][a] for a in axes) for k in ("starts", "sizes", "steps"))
    piece = x if sizes == x.shape and _is_whole(starts, steps) else take(x, starts, sizes, steps)
    return emit("broadcast", piece, shape=node.attrs["sizes"], axes=axes)


def _is_whole(starts: Sequence[int], steps: Sequence[int]) -> bool:
    return all(start == 0 and step == 1 for start, step in zip(starts, steps, strict=True))


def _covering(
    start: int, step: int, size: int, first: int, stride: int, n: int
) -> tuple[int, int] | bool | None:
    """How the positions start + i * step (i < size) lie among first + j * stride (j < n), none of them empty.

    The index of the first and the step between indices if all lie there; False if none does; None if some do.
    """
    stride = stride if n > 1 else 1
    step = step if size > 1 else stride
    last, end = start + (size - 1) * step, first + (n - 1) * stride
    apart = max(start, last) < min(first, end) or max(first, end) < min(start, last)
    if apart or (start - first) % gcd(step, stride):
        return False
    index, jump = (start - first) // stride, step // stride
    aligned = (start - first) % stride == 0 and step % stride == 0
    if aligned and 0 <= index < n and 0 <= index + (size - 1) * jump < n:
        return index, jump
    return None


@rewrites("slice")
def slice_of_pad(node: Node) -> Value | None:
    """slice(pad(x)) => slice(x) where it takes elements of x only; => splat where it takes none"""
    inner = made_by(node.inputs[0], "pad")
    if inner is None or not node.types[0].size:
        return None
    (x,), pad, cut = inner.inputs, inner.attrs, node.attrs
    if not x.type.size:
        return constant(pad["value"], node.types[0])
    found = [
        _covering(cut["starts"][i], cut["steps"][i], cut["sizes"][i], pad["starts"][i], pad["steps"][i], n)
        for i, n in enumerate(x.shape)
    ]
    if False in found:
        return constant(pad["value"], node.types[0])
    pairs = [pair for pair in found if isinstance(pair, tuple)]
    if len(pairs) < len(found):
        return None
    return take(x, tuple(index for index, _ in pairs), cut["sizes"], tuple(jump for _, jump in pairs))


@rewrites("slice")
def slice_of_concat(node: Node) -> Value | None:
    """slice(concat(x, y)) => slice(y), where it takes elements of one part only"""
    inner = made_by(node.inputs[0], "concat")
    if inner is None or not node.types[0].size:
        return None
    axis, offset = inner.attrs["axis"], 0
    start, step, size = (node.attrs[k][axis] for k in ("starts", "steps", "sizes"))
    low, high = sorted((start, start + (size - 1) * step))
    for part in inner.inputs:
        if offset <= low and high < offset + part.shape[axis]:
            starts = tuple(s - offset if i == axis else s for i, s in enumerate(node.attrs["starts"]))
            return take(part, starts, node.attrs["sizes"], node.attrs["steps"])
        offset += part.shape[axis]
    return None


@rewrites("pad")
def whole_pad(node: Node) -> Value | None:
    """pad(x, shape=x.shape) => x, or x backwards"""
    (x,), starts, steps = node.inputs, node.attrs["starts"], node.attrs["steps"]
    if x.type != node.types[0] or not x.type.size:
        return None
    return (
        x
        if _is_whole(starts, [s if n > 1 else 1 for n, s in zip(x.shape, steps, strict=True)])
        else take(x, starts, x.shape, steps)
    )


@rewrites("pad")
def pad_with_itself(node: Node) -> Value | None:
    """pad(splat(c), value=c) => splat(c), and pad(empty, value=c) => splat(c)"""
    (x,), value = node.inputs, node.types[0].dtype.type(node.attrs["value"]).item()
    number = splat(x)
    if x.type.size and (number is None or not same_number(number, value)):
        return None
    return constant(value, node.types[0])


@rewrites("pad")
def pad_of_pad(node: Node) -> Value | None:
    """pad(pad(x)) => pad(x), with one value"""
    inner = made_by(node.inputs[0], "pad")
    if inner is None or not inner.inputs[0].type.size:
        return None
    inside, outside = inner.attrs, node.attrs
    if not same_number(inside["value"], outside["value"]):
        return None
    # An axis of one element has any step; that of the whole is then 1.
    steps = tuple(
        b * a if n > 1 else 1
        for b, a, n in zip(outside["steps"], inside["steps"], inner.inputs[0].shape, strict=True)
    )
    starts = tuple(
        first + step * start
        for first, step, start in zip(outside["starts"], outside["steps"], inside["starts"], strict=True)
    )
    return emit(
        "pad",
        inner.inputs[0],
        shape=outside["shape"],
        starts=starts,
        steps=steps,
        value=outside["value"],
    )


@rewrites("concat")
def concat_of_one(node: Node) -> Value | None:
    """concat(x) => x"""
    return node.inputs[0] if len(node.inputs) == 1 else None


@rewrites("concat")
def concat_of_empty(node: Node) -> Value | None:
    """concat(x, empty) => x"""
    axis = node.attrs["axis"]
    parts = [x for x in node.inputs if x.shape[axis]] or node.inputs[:1]
    return None if len(parts) == len(node.inputs) else emit("concat", *parts, axis=axis)


@rewrites("concat")
def concat_of_splats(node: Node) -> Value | None:
    """concat(splat(c), splat(c)) => splat(c)"""
    first = splat(node.inputs[0])
    if first is None:
        return None
    for x in node.inputs[1:]:
        number = splat(x)
        if number is None or not same_number(first, number):
            return None
    return constant(first, node.types[0])


@rewrites("concat")
def concat_of_neighbours(node: Node) -> Value | None:
    """concat(slice(x, 0, n), slice(x, n, m)) => slice(x, 0, n + m)"""
    axis, parts = node.attrs["axis"], [made_by(x, "slice") for x in node.inputs]
    first = parts[0]
    if first is None:
        return None
    (x,), cut = first.inputs, first.attrs
    step = cut["steps"][axis] if cut["sizes"][axis] > 1 else None
    size = cut["sizes"][axis]
    for part in parts[1:]:
        if part is None or part.inputs[0] is not x:
            return None
        if any(
            part.attrs[key][i] != cut[key][i]
            for key in ("starts", "steps")
            for i in range(x.type.ndim)
            if i != axis
        ):
            return None
        gap = part.attrs["starts"][axis] - cut["starts"][axis]
        if step is None:  # a first part of one element takes the step that the second suggests
            step = gap
        if (
            not step
            or gap != size * step
            or (part.attrs["sizes"][axis] > 1 and part.attrs["steps"][axis] != step)
        ):
            return None
        size += part.attrs["sizes"][axis]
    if step is None:
        return None
    starts = cut["starts"]
    sizes = node.types[0].shape
    steps = tuple(step if i == axis else s for i, s in enumerate(cut["steps"]))
    return take(x, starts, sizes, steps)


@rewrites("slice")
def slice_of_elementwise(node: Node) -> Value | None:
    """slice(x + y) => slice(x) + slice(y), if nothing else uses the sum, or if it is small and the sum of
    what is not computed element by element itself: or else a loop's last steps would begin from the first"""
    inner = node.inputs[0].node
    if inner is None or not inner.op.elementwise or inner.op.name == "require":
        return None
    near = is_small(node) and not any(x.node is not None and x.node.op.elementwise for x in inner.inputs)
    if not near and uses(node.inputs[0]) > 1:
        return None
    cut = node.attrs
    return emit_like(inner, [emit("slice", x, **cut) for x in inner.inputs], node.types[0].shape)


def is_small(node: Node) -> bool:
    """Is the piece so small that computing it twice costs nothing?"""
    return 4 * node.types[0].size <= node.inputs[0].type.size


def _at_same_places(a: Node, b: Node) -> bool:
    same = all(a.attrs[k] == b.attrs[k] for k in ("shape", "starts", "steps"))
    return same and a.inputs[0].shape == b.inputs[0].shape


@rewrites(*ELEMENTWISE)
def compute_before_pad(node: Node) -> Value | None:
    """pad(x, value=0) + pad(y, value=0) => pad(x + y, value=0 + 0), at the same places; so with splats"""
    first = next((pad for x in node.inputs if (pad := made_by(x, "pad")) is not None), None)
    if first is None:
        return None
    small, fills, parts = first.inputs[0].shape, [], []
    for x in node.inputs:
        inner = made_by(x, "pad")
        if splat(x) is None if inner is None else not _at_same_places(inner, first):
            return None
        fills.append(x.dtype.type(splat(x) if inner is None else inner.attrs["value"]))
        parts.append(splat_like(x, small) if inner is None else inner.inputs[0])
    fill = evaluated(node, fills)
    if fill is None:
        return None
    attrs = {**first.attrs, "value": fill.item()}
    return emit("pad", emit_like(node, parts, small), **attrs)
