"""Broadcast, reshape and transpose: composed with each other, and moved behind what is computed first."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from gradc.ir import OPS, Node, Value, emit
from gradc.ir.graph import emit_node
from gradc.passes.pattern import splat
from gradc.passes.rewrite import rewrites

ELEMENTWISE = tuple(op.name for op in OPS.values() if op.elementwise and op.name != "require")


def made_by(value: Value, *ops: str) -> Node | None:
    """The node that makes the value, if it is one of these ops."""
    node = value.node
    return node if node is not None and node.op.name in ops else None


@rewrites("reshape", "broadcast", "transpose")
def identity_layout(node: Node) -> Value | None:
    """reshape(x, shape=x.shape) => x"""
    (x,) = node.inputs
    if node.op.name == "transpose":
        return x if node.attrs["axes"] == tuple(range(x.type.ndim)) else None
    return x if x.type == node.types[0] else None


@rewrites("broadcast")
def broadcast_of_broadcast(node: Node) -> Value | None:
    """broadcast(broadcast(x, axes=a), axes=b) => broadcast(x, axes=b[a])"""
    inner = made_by(node.inputs[0], "broadcast")
    if inner is None:
        return None
    outer_axes = node.attrs["axes"]
    axes = tuple(outer_axes[a] for a in inner.attrs["axes"])
    return emit("broadcast", inner.inputs[0], shape=node.attrs["shape"], axes=axes)


@rewrites("reshape")
def reshape_of_reshape(node: Node) -> Value | None:
    """reshape(reshape(x), shape=s) => reshape(x, shape=s)"""
    inner = made_by(node.inputs[0], "reshape")
    return None if inner is None else emit("reshape", inner.inputs[0], shape=node.attrs["shape"])


@rewrites("transpose")
def transpose_of_transpose(node: Node) -> Value | None:
    """transpose(transpose(x, axes=a), axes=b) => transpose(x, axes=a[b])"""
    inner = made_by(node.inputs[0], "transpose")
    if inner is None:
        return None
    axes = tuple(inner.attrs["axes"][b] for b in node.attrs["axes"])
    return emit("transpose", inner.inputs[0], axes=axes)


@rewrites("broadcast")
def broadcast_to_ones(node: Node) -> Value | None:
    """broadcast(x, shape=(3, 1), axes=(0,)) => reshape(x, shape=(3, 1))"""
    (x,), type = node.inputs, node.types[0]
    return emit("reshape", x, shape=type.shape) if type.size == x.type.size and type.size else None


@rewrites("transpose")
def transpose_of_ones(node: Node) -> Value | None:
    """transpose(x, axes=(1, 0)) => reshape(x), where only axes of size 1 move"""
    (x,), axes = node.inputs, node.attrs["axes"]
    long = [a for a in axes if x.shape[a] != 1]
    return emit("reshape", x, shape=node.types[0].shape) if long == sorted(long) else None


@rewrites("transpose")
def transpose_of_broadcast(node: Node) -> Value | None:
    """transpose(broadcast(x)) => broadcast(transpose(x))"""
    inner = made_by(node.inputs[0], "broadcast")
    if inner is None:
        return None
    (x,) = inner.inputs
    places = [node.attrs["axes"].index(a) for a in inner.attrs["axes"]]
    order = tuple(sorted(range(len(places)), key=places.__getitem__))
    moved = x if order == tuple(range(len(order))) else emit("transpose", x, axes=order)
    return emit("broadcast", moved, shape=node.types[0].shape, axes=tuple(sorted(places)))


@rewrites("reshape")
def reshape_of_broadcast(node: Node) -> Value | None:
    """reshape(broadcast(x)) => broadcast(reshape(x)), where leading axes are new and x stays in one block"""
    inner = made_by(node.inputs[0], "broadcast")
    if inner is None:
        return None
    (x,), shape, old = inner.inputs, node.attrs["shape"], inner.attrs["shape"]
    rank = x.type.ndim
    if inner.attrs["axes"] != tuple(range(len(old) - rank, len(old))) or not x.type.size:
        return None
    # The last axes of the new shape must hold exactly one copy of x.
    split = next((i for i in range(len(shape) + 1) if prod(shape[i:]) == x.type.size), None)
    if split is None:
        return None
    block = x if shape[split:] == x.shape else emit("reshape", x, shape=shape[split:])
    return emit("broadcast", block, shape=shape, axes=tuple(range(split, len(shape))))


@rewrites(*ELEMENTWISE)
def compute_before_broadcast(node: Node) -> Value | None:
    """f(broadcast(x), broadcast(y), splat) => broadcast(f(x, y, splat)), at the axes that x or y has"""
    spreads = []
    for x in node.inputs:
        spread = made_by(x, "broadcast")
        if spread is not None:
            spreads.append(spread)
        elif splat(x) is None:
            return None
    shape, kept = node.types[0].shape, {a for spread in spreads for a in spread.attrs["axes"]}
    if not spreads or len(kept) == len(shape):
        return None
    axes = tuple(sorted(kept))
    small = tuple(shape[a] for a in axes)
    inputs = []
    for x in node.inputs:
        spread = made_by(x, "broadcast")
        if spread is None:
            inputs.append(splat_like(x, small))
        elif spread.attrs["axes"] == axes:
            inputs.append(spread.inputs[0])
        else:
            inner = tuple(axes.index(a) for a in spread.attrs["axes"])
            inputs.append(emit("broadcast", spread.inputs[0], shape=small, axes=inner))
    return emit("broadcast", emit_like(node, inputs, small), shape=shape, axes=axes)


def emit_like(node: Node, inputs: Sequence[Value], shape: tuple[int, ...]) -> Value:
    """Emit an elementwise node on inputs of another shape."""
    declared = node.types[0].with_shape(shape) if node.op.infer is None else None
    return emit_node(node.op, *inputs, type=declared, **node.attrs).result


def splat_like(x: Value, shape: tuple[int, ...]) -> Value:
    """Emit the splat in another shape."""
    return emit("constant", type=x.type.with_shape(shape), value=splat(x))


@rewrites(*ELEMENTWISE)
def compute_before_ones(node: Node) -> Value | None:
    """exp(reshape(x, shape=(3, 1))) => reshape(exp(x), shape=(3, 1)), where axes of size 1 are added

    As after keepdims: the shape without them is the one that other nodes share.
    """
    small, shape = None, node.types[0].shape
    for x in node.inputs:
        grown = made_by(x, "reshape")
        if grown is not None:
            inner = grown.inputs[0].shape
            if small not in (None, inner) or len(inner) >= len(shape) or _long(inner) != _long(shape):
                return None
            small = inner
        elif splat(x) is None:
            return None
    if small is None:
        return None
    inputs = [
        splat_like(x, small) if (grown := made_by(x, "reshape")) is None else grown.inputs[0]
        for x in node.inputs
    ]
    return emit("reshape", emit_like(node, inputs, small), shape=shape)


def _long(shape: tuple[int, ...]) -> list[int]:
    return [n for n in shape if n != 1]
