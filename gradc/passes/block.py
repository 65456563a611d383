"""What one block of rows needs: kernels and products for one of equal parts of their first axis.

For every op there is a rule that says along which axes its operands are cut if its result is cut along one
axis. Values that are not cut are whole in every block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from gradc.ir.graph import Builder, Graph, Node, Value
from gradc.ir.ops.reduce import REDUCTIONS, reduced_axes
from gradc.ir.types import Type
from gradc.passes.kernels import FUSE

Axis = int | None
"""The axis along which a value is cut; None: it is whole."""
Shape = tuple[int, ...]
Rule = Callable[[Node, int, int], tuple[list[Axis], dict[str, Any]]]


class UncutError(Exception):
    """A value that cannot be computed block by block."""


def cut(shape: Shape, axis: int, count: int) -> Shape:
    """The shape of one of `count` blocks along an axis."""
    if shape[axis] % count:
        raise UncutError
    return (*shape[:axis], shape[axis] // count, *shape[axis + 1 :])


def _elementwise(node: Node, axis: int, count: int) -> tuple[list[Axis], dict[str, Any]]:
    return [axis] * len(node.inputs), node.attrs


def _made_up(node: Node, axis: int, count: int) -> tuple[list[Axis], dict[str, Any]]:
    """A splat; numbers along another axis."""
    if isinstance(node.attrs.get("value"), list) or node.attrs.get("axis") == axis:
        raise UncutError
    return [], node.attrs


def _broadcast(node: Node, axis: int, count: int) -> tuple[list[Axis], dict[str, Any]]:
    axes = node.attrs["axes"]
    shape = cut(node.attrs["shape"], axis, count)
    return [axes.index(axis) if axis in axes else None], {"shape": shape, "axes": axes}


def _reshape(node: Node, axis: int, count: int) -> tuple[list[Axis], dict[str, Any]]:
    """An axis of the operand that begins with as many elements before it, cut into as many blocks."""
    before, shape = node.inputs[0].shape, node.attrs["shape"]
    for i in range(len(before)):
        if prod(before[:i]) == prod(shape[:axis]) and before[i] > 1 and before[i] % count == 0:
            return [i], {"shape": cut(shape, axis, count)}
    raise UncutError


def _transpose(node: Node, axis: int, count: int) -> tuple[list[Axis], dict[str, Any]]:
    return [node.attrs["axes"][axis]], node.attrs


def _slice(node: Node, axis: int, count: int) -> tuple[list[Axis], dict[str, Any]]:
    """All of the axis."""
    sizes = node.attrs["sizes"]
    if sizes[axis] != node.inputs[0].shape[axis] or node.attrs["steps"][axis] != 1:
        raise UncutError
    return [axis], {**node.attrs, "sizes": cut(sizes, axis, count)}


def _pad(node: Node, axis: int, count: int) -> tuple[list[Axis], dict[str, Any]]:
    """Nothing before or behind."""
    shape = node.attrs["shape"]
    if shape[axis] != node.inputs[0].shape[axis]:
        raise UncutError
    return [axis], {**node.attrs, "shape": cut(shape, axis, count)}


def _along_another(node: Node, axis: int, count: int) -> tuple[list[Axis], dict[str, Any]]:
    """Ops along an axis that is not the one."""
    if node.attrs["axis"] == axis:
        raise UncutError
    return [axis] * len(node.inputs), node.attrs


def _reduction(node: Node, axis: int, count: int) -> tuple[list[Axis], dict[str, Any]]:
    kept = [a for a in range(len(node.inputs[0].shape)) if a not in reduced_axes(node)]
    return [kept[axis]], node.attrs


def _gather(node: Node, axis: int, count: int) -> tuple[list[Axis], dict[str, Any]]:
    """Places by indices that are cut, or all places of what is cut along another axis."""
    x, *indices = node.inputs
    rank = len(indices[0].shape)
    if axis < rank:
        return [None, *[axis] * len(indices)], node.attrs
    others = [a for a in range(len(x.shape)) if a not in node.attrs["axes"]]
    return [others[axis - rank], *[None] * len(indices)], node.attrs


def _matmul(node: Node, axis: int, count: int) -> tuple[list[Axis], dict[str, Any]]:
    """Items of a batch, rows of A or columns of B."""
    a, b = node.inputs
    batch = len(node.types[0].shape) - 2
    if axis < batch:
        return [axis if len(x.shape) > 2 else None for x in (a, b)], node.attrs
    if axis == batch:
        return [len(a.shape) - (1 if node.attrs["transpose_a"] else 2), None], node.attrs
    return [None, len(b.shape) - (2 if node.attrs["transpose_b"] else 1)], node.attrs


def _windows(node: Node, axis: int, count: int) -> tuple[list[Axis], dict[str, Any]]:
    """All of an axis, one element after the other, along which nothing else is read."""
    attrs, (x,) = node.attrs, node.inputs
    along = attrs["axes"][axis]
    alone = attrs["axes"].count(along) == 1 and attrs["starts"][along] == 0 and attrs["steps"][axis] == 1
    if not alone or attrs["shape"][axis] != x.shape[along]:
        raise UncutError
    return [along], {**attrs, "shape": cut(attrs["shape"], axis, count)}


def _contract(node: Node, axis: int, count: int) -> tuple[list[Axis], dict[str, Any]]:
    """The axes with the label of the result's axis."""
    label = node.attrs["result"][axis]
    labels = node.attrs["a"], node.attrs["b"]
    return [side.index(label) if label in side else None for side in labels], node.attrs


RULES: dict[str, Rule] = {
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(("concat", "cumsum", "cumprod", "cummax", "cummin"), _along_another),
    **dict.fromkeys(("constant", "iota"), _made_up),
    "broadcast": _broadcast,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
    "gather": _gather,
    "matmul": _matmul,
    "windows": _windows,
    "contract": _contract,
}


@dataclass(eq=False)
class Block:
    """A node for one block of its first axis: what it reads (cut or whole), and the node on such operands."""

    reads: list[tuple[Value, bool]]
    attrs: dict[str, Any]
    node: Node
    types: tuple[Type, ...]

    def on(self, operands: list[Value]) -> Node:
        return Node(self.node.op, tuple(operands), self.attrs, self.types, self.node.source)


def block_of(node: Node, count: int) -> Block | None:
    """A kernel or product for one of `count` blocks of the first axis of its results, if there is such."""
    try:
        types = tuple([t.with_shape(cut(t.shape, 0, count)) for t in node.types if t.shape])
        if len(types) != len(node.types):
            return None
        if node.op is FUSE:
            body = node.attrs["body"]
            inner = _Body(body, count)
            graph = inner.build(body.name, [inner.value(y, 0) for y in body.outputs])
            outer = dict(zip(body.inputs, node.inputs, strict=True))
            reads = [(outer[x], axis is not None) for x, axis in inner.reads]
            return Block(reads, {"body": graph}, node, types)
        axes, attrs = RULES["matmul"](node, 0, count)
        if any(axis not in (0, None) for axis in axes):
            return None
        reads = [(x, axis is not None) for x, axis in zip(node.inputs, axes, strict=True)]
        for x, is_cut in reads:
            if is_cut:
                cut(x.shape, 0, count)
        return Block(reads, attrs, node, types)
    except UncutError:
        return None


class _Body(Builder):
    """A kernel's graph for one block."""

    def __init__(self, body: Graph, count: int) -> None:
        super().__init__()
        self.count = count
        self.made: dict[tuple[Value, Axis], Value] = {}
        self.reads: list[tuple[Value, Axis]] = []

    def value(self, x: Value, axis: Axis) -> Value:
        """A value of the kernel, cut along an axis or whole, with all that it is computed of."""
        pending = [(x, axis)]
        while pending:
            key = y, at = pending[-1]
            if key in self.made:
                pending.pop()
                continue
            type = y.type if at is None else y.type.with_shape(cut(y.shape, at, self.count))
            node = y.node
            if node is None:
                if at not in (0, None):
                    raise UncutError
                self.reads.append(key)
                self.made[key] = self.add_input(type, y.name)
                continue
            if at is None:
                axes, attrs = [None] * len(node.inputs), node.attrs
            elif node.op.elementwise:
                axes, attrs = _elementwise(node, at, self.count)
            elif node.op.name in RULES:
                axes, attrs = RULES[node.op.name](node, at, self.count)
            else:
                raise UncutError
            needs = list(zip(node.inputs, axes, strict=True))
            if missing := [need for need in needs if need not in self.made]:
                pending.extend(missing)
                continue
            inputs = tuple([self.made[need] for need in needs])
            copy = self.add(Node(node.op, inputs, attrs, (type,), node.source))
            copy.result.name = y.name
            self.made[key] = copy.result
        return self.made[x, axis]
