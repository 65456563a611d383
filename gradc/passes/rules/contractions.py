"""Convolutions: products of windows with a kernel, however they are written, as one `contract`.

The rules look through reshapes and transposes, so that im2col and a matrix product, tensordot, einsum, and a
product followed by a sum are all the same. The order in which a sum adds is ours to choose, as for matrix
products.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradc.ir import Node, Value, emit
from gradc.passes.pattern import splat
from gradc.passes.rewrite import rewrites, uses
from gradc.passes.rules.layout import made_by
from gradc.passes.views import Atom, View, moved, overlapping, read_atoms, refined, view_of

Pair = tuple[Atom | None, Atom | None]
"""The atoms of both operands for one label, None where an operand does not depend on it."""


def contraction(a: View, b: View, kept: Sequence[Pair], summed: Sequence[Pair]) -> Value | None:
    """Emit the contraction over these labels; None if it is none."""
    pairs = [tuple(None if x is None or x.axis is None else x for x in pair) for pair in (*kept, *summed)]
    if any(x is None and y is None for x, y in pairs[: len(kept)]):
        return None
    if any(x is None or y is None for x, y in pairs[len(kept) :]):
        return None
    operands, labels = [], []
    for side, view in enumerate((a, b)):
        mine = [label for label, pair in enumerate(pairs) if pair[side] is not None]
        atoms = [atom for pair in pairs if (atom := pair[side]) is not None]
        operands.append(read_atoms(view.root, view.starts, atoms))
        labels.append(tuple(mine))
    return emit("contract", *operands, a=labels[0], b=labels[1], result=tuple(range(len(kept))))


def _only(atoms: Sequence[Atom], side: int) -> list[Pair]:
    return [(atom, None) if side == 0 else (None, atom) for atom in atoms]


@rewrites("matmul")
def product_of_windows(node: Node) -> Value | None:
    """matmul(reshape(windows(x)), reshape(w)) => reshape(contract(windows(x), w))

    Also where a transpose or slice would have to be copied for the product.
    """
    if not node.types[0].size or not node.inputs[0].type.size or node.types[0].is_bool:
        return None
    a, b = [view_of(x) for x in node.inputs]
    if not (moved(a) or moved(b)):
        return None
    (m, k), (k2, n) = [
        view.axes[-2:][::-1] if node.attrs[flag] else view.axes[-2:]
        for view, flag in ((a, "transpose_a"), (b, "transpose_b"))
    ]
    inner = refined(k, k2)
    if inner is None:
        return None
    kept: list[Pair] = []
    lead = len(node.types[0].shape) - 2
    for i in range(lead):
        sides = [view.axes[i] if len(view.axes) > 2 else None for view in (a, b)]
        if sides[0] is None or sides[1] is None:
            kept += _only(sides[0] or sides[1] or (), 0 if sides[1] is None else 1)
            continue
        batch = refined(sides[0], sides[1])
        if batch is None:
            return None
        kept += batch
    return _shaped(contraction(a, b, [*kept, *_only(m, 0), *_only(n, 1)], inner), node)


@rewrites("reduce_sum")
def sum_of_products_with_windows(node: Node) -> Value | None:
    """reduce_sum(windows(x) * broadcast(w)) => contract(windows(x), w)"""
    inner = made_by(node.inputs[0], "mul")
    type = node.types[0]
    if inner is None or type.size <= 1 or not inner.types[0].size or any(splat(x) for x in inner.inputs):
        return None
    a, b = [view_of(x) for x in inner.inputs]
    if not (overlapping(a) or overlapping(b)) or uses(inner.result) > 1:
        return None
    kept: list[Pair] = []
    summed: list[Pair] = []
    for axis, (left, right) in enumerate(zip(a.axes, b.axes, strict=True)):
        pairs = refined(left, right)
        if pairs is None:
            return None
        (summed if axis in node.attrs["axes"] else kept).extend(pairs)
    return _shaped(contraction(a, b, kept, summed), node)


def _shaped(made: Value | None, node: Node) -> Value | None:
    shape = node.types[0].shape
    return made if made is None or made.shape == shape else emit("reshape", made, shape=shape)


@rewrites("transpose")
def transposed_contraction(node: Node) -> Value | None:
    """transpose(reshape(contract(x, y))) => reshape(contract(x, y)) with another order of labels"""
    value = node.inputs[0]
    product = made_by(value, "contract") or (
        made_by(value.node.inputs[0], "contract") if (value.node and made_by(value, "reshape")) else None
    )
    if product is None or not value.type.size or uses(value) > 1 or uses(product.result) > 1:
        return None
    atoms = [atom for group in view_of_made(node.result, product.result) for atom in group]
    labels = product.attrs["result"]
    long = [label for label, n in zip(labels, product.types[0].shape, strict=True) if n != 1]
    if len(atoms) != len(long) or any(atom.step != 1 for atom in atoms):
        return None
    order = tuple(labels[atom.axis] for atom in atoms if atom.axis is not None)
    if sorted(order) != sorted(long):
        return None
    short = tuple(label for label in labels if label not in order)
    made = emit("contract", *product.inputs, **{**product.attrs, "result": short + order})
    return _shaped(made, node)


def view_of_made(value: Value, root: Value) -> tuple[tuple[Atom, ...], ...]:
    """The axes of a value as a view of a root above it; none if it is not."""
    view = view_of(value)
    return view.axes if view.root is root else ()
