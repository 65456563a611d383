"""Reductions and matrix products. The order in which a sum adds is ours to choose.

So is the sign of the zero that a sum of nothing but -0.0 gives.
"""

from __future__ import annotations

from math import prod

from gradc.ir import Node, Value, constant, emit
from gradc.passes.pattern import splat
from gradc.passes.rewrite import rewrites, uses
from gradc.passes.rules.layout import made_by

REDUCTIONS = ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min")


@rewrites(*REDUCTIONS)
def reduce_nothing(node: Node) -> Value | None:
    """reduce_sum(x, axes=()) => x; over axes of size 1 => reshape(x)"""
    (x,), axes = node.inputs, node.attrs["axes"]
    if any(x.shape[a] != 1 for a in axes):
        return None
    return emit("reshape", x, shape=node.types[0].shape) if axes else x


@rewrites("reduce_sum", "reduce_prod")
def reduce_empty(node: Node) -> Value | None:
    """reduce_sum(empty) => 0"""
    (x,) = node.inputs
    if x.type.size:
        return None
    return constant(0 if node.op.name == "reduce_sum" else 1, node.types[0])


@rewrites(*REDUCTIONS)
def reduce_of_reduce(node: Node) -> Value | None:
    """reduce_sum(reduce_sum(x, axes=a), axes=b) => reduce_sum(x, axes=a + b)"""
    inner = made_by(node.inputs[0], node.op.name)
    if inner is None:
        return None
    (x,) = inner.inputs
    left = [a for a in range(x.type.ndim) if a not in inner.attrs["axes"]]
    axes = sorted((*inner.attrs["axes"], *[left[a] for a in node.attrs["axes"]]))
    return emit(node.op, x, axes=tuple(axes))


@rewrites(*REDUCTIONS)
def reduce_of_broadcast(node: Node) -> Value | None:
    """reduce_sum(broadcast(x), axes=new) => x * n; the maximum and minimum => x"""
    inner = made_by(node.inputs[0], "broadcast")
    if inner is None or not node.inputs[0].type.size:
        return None
    whole, spread, axes = inner.attrs["shape"], inner.attrs["axes"], node.attrs["axes"]
    repeated = [a for a in axes if a not in spread]
    if not repeated:
        return _reduce_below(node, inner)
    if node.op.name == "reduce_prod":
        return None
    return _repeat(node, _reduce_below(node, inner), prod(whole[a] for a in repeated))


def _reduce_below(node: Node, broadcast: Node) -> Value:
    """The reduction over the axes that x has, spread over what stays of the new ones."""
    (x,), whole, spread, axes = (
        broadcast.inputs,
        broadcast.attrs["shape"],
        broadcast.attrs["axes"],
        node.attrs["axes"],
    )
    inside = tuple(i for i, a in enumerate(spread) if a in axes)
    if inside:
        x = emit(node.op, x, axes=inside)
    left = [a for a in range(len(whole)) if a not in axes]
    kept = tuple(left.index(a) for a in spread if a not in axes)
    shape = tuple(whole[a] for a in left)
    return x if shape == x.shape else emit("broadcast", x, shape=shape, axes=kept)


def _repeat(node: Node, x: Value, times: int) -> Value:
    """The sum of so many times x; the extremes of a repeated value are the value."""
    return x * times if node.op.name == "reduce_sum" else x


@rewrites(*REDUCTIONS)
def reduce_of_splat(node: Node) -> Value | None:
    """reduce_sum(splat(c)) => splat(c * n); the maximum and minimum => splat(c)"""
    (x,) = node.inputs
    number = splat(x)
    if number is None or not x.type.size or node.op.name == "reduce_prod":
        return None
    result = constant(number, node.types[0])
    return _repeat(node, result, prod(x.shape[a] for a in node.attrs["axes"]))


@rewrites(*REDUCTIONS)
def reduce_of_transpose(node: Node) -> Value | None:
    """reduce_sum(transpose(x)) => transpose(reduce_sum(x))"""
    inner = made_by(node.inputs[0], "transpose")
    if inner is None:
        return None
    (x,), order, axes = inner.inputs, inner.attrs["axes"], node.attrs["axes"]
    reduced = emit(node.op, x, axes=tuple(sorted(order[a] for a in axes)))
    left = [a for i, a in enumerate(order) if i not in axes]
    if left == sorted(left):
        return reduced
    return emit("transpose", reduced, axes=tuple(sorted(left).index(a) for a in left))


@rewrites(*REDUCTIONS)
def reduce_all_of_reshape(node: Node) -> Value | None:
    """reduce_sum(reshape(x)) => reduce_sum(x), over all axes"""
    inner = made_by(node.inputs[0], "reshape")
    if inner is None or node.types[0].shape:
        return None
    (x,) = inner.inputs
    return emit(node.op, x, axes=tuple(range(x.type.ndim)))


def _last_two_swapped(value: Value) -> Value | None:
    """x, if the value is x with its last two axes swapped."""
    node = made_by(value, "transpose")
    if node is None:
        return None
    axes, n = node.attrs["axes"], value.type.ndim
    return node.inputs[0] if axes == (*range(n - 2), n - 1, n - 2) else None


@rewrites("matmul")
def transposed_operands(node: Node) -> Value | None:
    """matmul(transpose(a), b) => matmul(a, b, transpose_a=True)"""
    (a, b), flags = node.inputs, node.attrs
    inner_a, inner_b = _last_two_swapped(a), _last_two_swapped(b)
    if inner_a is None and inner_b is None:
        return None
    return emit(
        "matmul",
        a if inner_a is None else inner_a,
        b if inner_b is None else inner_b,
        transpose_a=flags["transpose_a"] != (inner_a is not None),
        transpose_b=flags["transpose_b"] != (inner_b is not None),
    )


@rewrites("transpose")
def transposed_product(node: Node) -> Value | None:
    """transpose(matmul(a, b)) => matmul(b, a, transpose_a=True, transpose_b=True), if used nowhere else"""
    product = _last_two_swapped(node.result)
    if product is None or made_by(product, "matmul") is None or uses(product) > 1:
        return None
    inner = product.node
    assert inner is not None
    a, b = inner.inputs
    flags = inner.attrs
    return emit("matmul", b, a, transpose_a=not flags["transpose_b"], transpose_b=not flags["transpose_a"])
