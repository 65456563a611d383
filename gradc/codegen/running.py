"""Kernels of running sums, products and extremes: an accumulator is carried along one axis."""

from __future__ import annotations

from gradc.codegen.accumulate import COMBINE, COMBINE_BOOL
from gradc.codegen.loops import Affine, Assign, Let, Read
from gradc.codegen.lower import Emitter, vector_steps
from gradc.ir.graph import Node
from gradc.ir.ops.reduce import identity

REDUCTION = {"cumsum": "reduce_sum", "cumprod": "reduce_prod", "cummax": "reduce_max", "cummin": "reduce_min"}
"""The reduction whose steps a running op keeps."""


def lower_running(emitter: Emitter, node: Node) -> None:
    """Loops over the other axes, the last of them in vectors, and inside of them one along the axis.

    The order of the terms is that of the axis: a running sum rounds as NumPy's does.
    """
    (x,) = node.inputs
    type, axis = node.types[0], node.attrs["axis"]
    if 0 in type.shape:
        return
    size, last = type.shape[axis], type.ndim - 1
    index = [Affine.variable(f"i{a}") for a in range(type.ndim)]
    if node.attrs["reverse"]:
        index[axis] = index[axis] * -1 + (size - 1)
    reduction = REDUCTION[node.op.name]
    op = (COMBINE_BOOL if type.is_bool else COMBINE)[reduction]

    def inside() -> None:
        depth = len(emitter.frames) - 1
        emitter.counter += 1
        variable = f"acc{emitter.counter}"
        first = emitter.register(type.dtype, emitter.lanes, depth)
        emitter.add(depth, Let(first, "constant", (), (("value", identity(reduction, type)),)))
        emitter.add(depth, Assign(variable, first))
        emitter.open(f"i{axis}")
        before = emitter.register(type.dtype, emitter.lanes, depth + 1)
        emitter.add(depth + 1, Read(before, variable))
        operands = [before, emitter.value(x, tuple(index))]
        after = emitter.let(op, type.dtype, operands, depth + 1)
        emitter.add(depth + 1, Assign(variable, after))
        emitter.store("out0", type, tuple(index), after)
        emitter.close(0, size, 1)

    outer = [a for a in range(last) if a != axis]
    for a in outer:
        emitter.open(f"i{a}")
    if axis == last:
        inside()
    else:
        emitter.vector_variable = f"i{last}"
        for start, stop, lanes, _, active in vector_steps(type.shape[last], emitter.widest):
            emitter.lanes, emitter.active = lanes, active
            emitter.open(f"i{last}")
            inside()
            emitter.close(start, stop, lanes)
        emitter.vector_variable, emitter.lanes, emitter.active = None, 1, None
    for a in reversed(outer):
        emitter.close(0, type.shape[a], 1)
