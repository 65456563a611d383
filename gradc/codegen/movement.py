"""Kernels that move elements to computed places: concat, pad, scatters, and small arrays written out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradc.codegen.loops import Affine, Load, Store
from gradc.codegen.lower import ZERO, Emitter, Index, vector_steps
from gradc.ir.graph import Node, Value
from gradc.ir.types import Type


def simple_loops(
    emitter: Emitter,
    shape: tuple[int, ...],
    leaf: Callable[[Index], None],
    vector: bool = True,
    tag: str = "i",
) -> None:
    """Loops over a shape, the last axis in vectors if allowed."""
    if 0 in shape:
        return
    names = [f"{tag}{a}" for a in range(len(shape))]
    index = tuple(Affine.variable(v) for v in names)
    if not shape:
        leaf(())
        return
    for variable in names[:-1]:
        emitter.open(variable)
    emitter.vector_variable = names[-1]
    for start, stop, lanes, _, active in vector_steps(shape[-1], emitter.widest if vector else 1):
        emitter.lanes, emitter.active = lanes, active
        emitter.open(names[-1])
        leaf(index)
        emitter.close(start, stop, lanes)
    emitter.vector_variable, emitter.lanes, emitter.active = None, 1, None
    for a in reversed(range(len(names[:-1]))):
        emitter.close(0, shape[a], 1)


def lower_concat(emitter: Emitter, node: Node) -> None:
    """Each part is copied to its offset."""
    axis, offset = node.attrs["axis"], 0
    type = node.types[0]
    for part, x in enumerate(node.inputs):

        def leaf(index: Index, x: Value = x, offset: int = offset) -> None:
            target = tuple(i + offset if a == axis else i for a, i in enumerate(index))
            emitter.store("out0", type, target, emitter.value(x, index))

        simple_loops(emitter, x.shape, leaf, tag=f"p{part}_")
        offset += x.shape[axis]


def lower_pad(emitter: Emitter, node: Node) -> None:
    """Fill everything, then put x in its places."""
    (x,) = node.inputs
    type, starts, steps = node.types[0], node.attrs["starts"], node.attrs["steps"]
    fill_with(emitter, type, node.attrs["value"])

    def leaf(index: Index) -> None:
        target = tuple(i * step + start for i, start, step in zip(index, starts, steps, strict=True))
        emitter.store("out0", type, target, emitter.value(x, index))

    simple_loops(emitter, x.shape, leaf, vector=not steps or steps[-1] == 1)


def fill_with(emitter: Emitter, type: Type, value: object) -> None:
    flat = type.with_shape((type.size,))
    simple_loops(
        emitter,
        flat.shape,
        lambda i: emitter.store("out0", flat, i, emitter.constant(value, type.dtype)),
        tag="f",
    )


def lower_scatter(emitter: Emitter, node: Node) -> None:
    """Copy the base, then add or store the updates one after another, in their order."""
    base, updates, *indices = node.inputs
    type, axes = node.types[0], node.attrs["axes"]
    lead = len(indices[0].shape)
    if base.node is not None and base.node.op.name == "constant":
        fill_with(emitter, type, base.node.attrs["value"])
    else:
        simple_loops(
            emitter, type.shape, lambda i: emitter.store("out0", type, i, emitter.value(base, i)), tag="f"
        )

    if not type.size:  # any index would be out of bounds, and the check of the indices says so
        return

    def leaf(index: Index) -> None:
        here = len(emitter.frames) - 1
        update = emitter.value(updates, index)
        at, dynamic = emitter.positions(type, indices, axes, index[:lead], index[lead:])
        address, _, lanes = emitter.address("out0", type, at, dynamic)
        if node.op.name == "scatter":
            emitter.store("out0", type, at, update, dynamic)
            return
        active = emitter.active if lanes > 1 else None
        old = emitter.register(type.dtype, lanes, here)
        emitter.add(here, Load(old, address, active))
        new = emitter.let("add", type.dtype, [old, update], here)
        emitter.add(here, Store(address, new, lanes, active))

    # Updates of neighbouring lanes may meet in one element: vectors only along axes that are not indexed.
    simple_loops(emitter, updates.shape, leaf, vector=len(updates.shape) > lead)


def lower_written_out(emitter: Emitter, node: Node) -> None:
    """A small constant array, element by element."""
    flat = node.types[0].with_shape((node.types[0].size,))
    values = np.array(node.attrs["value"], flat.dtype).reshape(-1).tolist()
    for i, value in enumerate(values):
        emitter.store("out0", flat, (ZERO + i,), emitter.constant(value, flat.dtype))


SPECIAL: dict[str, Callable[[Emitter, Node], None]] = {
    "concat": lower_concat,
    "pad": lower_pad,
    "scatter_add": lower_scatter,
    "scatter": lower_scatter,
}
