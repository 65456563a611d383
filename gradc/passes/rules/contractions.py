"""Convolutions: products of windows with a kernel, however they are written, as one `contract`.

The rules look through reshapes and transposes, so that im2col and a matrix product, tensordot, einsum, and a
product followed by a sum are all the same; and the gradient with respect to the image, which folds products
of cotangent and kernel, is a contraction of windows of the padded cotangent. The order in which a sum adds is
ours to choose, as for matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from gradc.ir import Node, Value, emit
from gradc.ir.ops.windows import readers
from gradc.passes.pattern import splat
from gradc.passes.rewrite import rewrites, uses
from gradc.passes.rules.layout import made_by
from gradc.passes.views import Atom, View, overlapping, read_atoms, refined, view_of

VECTOR = 8
"""Elements along which a vector pays."""

WASTE = 2
"""So many times the products may be computed, for what is not there to be folded."""

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
    """matmul(reshape(windows(x)), reshape(w)) => reshape(contract(windows(x), w))"""
    if not node.types[0].size or not node.inputs[0].type.size or node.types[0].is_bool:
        return None
    a, b = [view_of(x) for x in node.inputs]
    if not (overlapping(a) or overlapping(b)):
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


@rewrites("fold")
def fold_of_contraction(node: Node) -> Value | None:
    """fold(contract(g, w)) => contract(windows(pad(g)), w): the gradient with respect to an image"""
    (folded,) = node.inputs
    product = made_by(folded, "contract")
    if product is None or uses(folded) > 1 or not folded.type.size:
        return None
    labels = product.attrs["result"]
    shape, axes, starts, steps = (node.attrs[k] for k in ("shape", "axes", "starts", "steps"))
    operands = dict(zip("ab", product.inputs, strict=True))
    # Along every axis that overlaps, one reader is a position and belongs to the cotangent alone, the others
    # are places in the kernel and belong to the kernel alone.
    owner = {label: [k for k in "ab" if label in product.attrs[k]] for label in labels}
    size = dict(zip(labels, folded.shape, strict=True))
    many = [a for a in range(len(shape)) if len(readers(axes, a)) > 1]
    plain = [
        (starts[a], [steps[r] for r in readers(axes, a)], [folded.shape[r] for r in readers(axes, a)])
        == (0, [1], [shape[a]])
        for a in range(len(shape))
    ]
    if not many or not all(plain[a] for a in range(len(shape)) if a not in many):
        return None
    for side in "ab":
        found = _positions(node, labels, owner, size, side, many)
        # Zeros of the padding are multiplied as well: most of the products must be of elements.
        if found is None or prod(shape) > WASTE * folded.type.size // prod(
            size[label]
            for label in labels
            if side not in owner[label] and any(labels[r] == label for a in many for r in readers(axes, a))
        ):
            continue
        other = "b" if side == "a" else "a"
        result = tuple(found[a] if a in many else labels[readers(axes, a)[0]] for a in range(len(shape)))
        g, g_labels = _padded(operands[side], product.attrs[side], node, labels, found, size, result)
        named = {side: g_labels, other: product.attrs[other]}
        pair = {side: g, other: operands[other]}
        return emit("contract", pair["a"], pair["b"], a=named["a"], b=named["b"], result=result)
    return None


def _positions(
    node: Node,
    labels: Sequence[int],
    owner: dict[int, list[str]],
    size: dict[int, int],
    side: str,
    many: Sequence[int],
) -> dict[int, int] | None:
    """For every axis that overlaps the label of the position, if operand `side` is the cotangent."""
    found: dict[int, int] = {}
    for a in many:
        mine = [r for r in readers(node.attrs["axes"], a) if owner[labels[r]] == [side]]
        others = [r for r in readers(node.attrs["axes"], a) if side not in owner[labels[r]]]
        if len(mine) != 1 or len(mine) + len(others) != len(readers(node.attrs["axes"], a)):
            return None
        if node.attrs["steps"][mine[0]] != 1:
            return None
        found[a] = labels[mine[0]]
    return found


def _padded(
    g: Value,
    g_labels: tuple[int, ...],
    node: Node,
    labels: Sequence[int],
    found: dict[int, int],
    size: dict[int, int],
    result: tuple[int, ...],
) -> tuple[Value, tuple[int, ...]]:
    """Windows of the padded cotangent, and their labels: along `found` all positions, then the kernel's."""
    axes, shape, starts, steps = (node.attrs[k] for k in ("axes", "shape", "starts", "steps"))
    if result[-1] in found.values() or size[result[-1]] < VECTOR:
        # The kernel gives no axis worth a vector: a position shall be the last axis of the cotangent.
        last = [label for label in result if label in found.values()][-1]
        order = (*[i for i, label in enumerate(g_labels) if label != last], g_labels.index(last))
        if order != tuple(range(len(order))):
            g, g_labels = emit("transpose", g, axes=order), tuple(g_labels[i] for i in order)
    whole, begin = list(g.shape), [0] * len(g_labels)
    reach: dict[int, tuple[int, list[tuple[int, int]]]] = {}
    for a, position in found.items():
        places = [(labels[r], steps[r]) for r in readers(axes, a) if labels[r] != position]
        spans = [(size[label] - 1) * step for label, step in places]
        low = -starts[a] - sum(s for s in spans if s > 0)
        high = shape[a] - 1 - starts[a] - sum(s for s in spans if s < 0)
        axis = g_labels.index(position)
        before, after = max(0, -low), max(0, high - (size[position] - 1))
        whole[axis], begin[axis] = before + size[position] + after, before
        reach[axis] = (before - starts[a], places)
    padded = g
    if tuple(whole) != g.shape:
        zero = 0.0 if g.type.is_float else 0
        padded = emit("pad", g, shape=tuple(whole), starts=tuple(begin), steps=(1,) * len(whole), value=zero)
    atoms = [Atom(n, axis, 1) for axis, n in enumerate(padded.shape)]
    first = [0] * len(whole)
    made = list(g_labels)
    extra: list[Atom] = []
    for axis, (start, places) in reach.items():
        (a,) = [a for a, position in found.items() if position == g_labels[axis]]
        atoms[axis] = Atom(shape[a], axis, 1)
        first[axis] = start
        for label, step in places:
            extra.append(Atom(size[label], axis, -step))
            made.append(label)
    windows = emit(
        "windows",
        padded,
        shape=tuple(atom.size for atom in (*atoms, *extra)),
        axes=tuple(atom.axis or 0 for atom in (*atoms, *extra)),
        starts=tuple(first),
        steps=tuple(atom.step for atom in (*atoms, *extra)),
    )
    return windows, tuple(made)
