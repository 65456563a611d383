"""Derivatives of graphs: gradients, pullbacks (vjp) and pushforwards (jvp), by one loop each."""

from __future__ import annotations

from collections.abc import Sequence

from gradc.ir.backward import backpropagate
from gradc.ir.errors import ShapeError
from gradc.ir.graph import Builder, Graph, Value, constant, zeros


def grad(graph: Graph, wrt: Sequence[int], *, loss: int = 0, keep: Sequence[int] | None = None) -> Graph:
    """Append the gradient of one scalar output with respect to the inputs at positions `wrt`.

    The outputs of the result are the original outputs at positions `keep` (all of them unless told), then
    one gradient for each of `wrt`, of the input's type; zeros where no path leads to the loss. The nodes of
    the original come first, unchanged. Errors: `ShapeError` if output `loss` is no float scalar.
    """
    y = graph.outputs[loss]
    if y.shape or not y.type.is_float:
        raise ShapeError(f"a gradient needs one float number, but {graph.name} gives {y.type}")
    source = y.node.source if y.node is not None else None
    with Builder(graph.inputs, graph.nodes) as builder, builder.at(source):
        inputs = [graph.inputs[i] for i in wrt]
        cotangents = backpropagate(graph.nodes, {y: constant(1.0, y.type)}, wrt=inputs)
        kept = graph.outputs if keep is None else [graph.outputs[i] for i in keep]
        gradients = [cotangents[x] if x in cotangents else zeros(x.type) for x in inputs]
        return builder.build(
            f"{graph.name}_grad", [*kept, *gradients], constants=graph.constants, notes=graph.notes
        )


def vjp(graph: Graph, wrt: Sequence[int]) -> Graph:
    """The pullback: from inputs and cotangents of float outputs, to outputs and cotangents of `wrt`.

    Zeros stand where no path leads from an input to an output that has a cotangent.
    """
    with Builder(graph.inputs, graph.nodes) as builder:
        seeds: dict[Value, Value] = {}
        for i, y in enumerate(graph.outputs):
            if y.type.is_float:
                g = builder.add_input(y.type, f"cotangent_{i}")
                seeds[y] = seeds[y] + g if y in seeds else g
        inputs = [graph.inputs[i] for i in wrt]
        cotangents = backpropagate(graph.nodes, seeds, wrt=inputs)
        gradients = [cotangents[x] if x in cotangents else zeros(x.type) for x in inputs]
        return builder.build(
            f"{graph.name}_vjp", [*graph.outputs, *gradients], constants=graph.constants, notes=graph.notes
        )


def jvp(graph: Graph, wrt: Sequence[int]) -> Graph:
    """The pushforward: from inputs and tangents of `wrt`, to outputs and tangents of float outputs.

    The pullback is linear in its cotangents u, so pulling the tangents back through the pullback gives the
    pushforward, whatever u is. What was computed from u is then without use, and `dce` removes it.
    """
    with Builder(graph.inputs, graph.nodes) as builder:
        inputs = [graph.inputs[i] for i in wrt]
        tangents = [builder.add_input(x.type, f"tangent_{i}") for i, x in zip(wrt, inputs, strict=True)]
        outputs = [y for y in graph.outputs if y.type.is_float]
        probes = {y: zeros(y.type) for y in outputs}
        start = len(builder.nodes)
        pulled = backpropagate(graph.nodes, probes, wrt=inputs)
        pullback = builder.nodes[start:]
        seeds: dict[Value, Value] = {}
        for x, t in zip(inputs, tangents, strict=True):
            if x in pulled:
                seeds[pulled[x]] = seeds[pulled[x]] + t if pulled[x] in seeds else t
        pushed = backpropagate(pullback, seeds, wrt=probes.values())
        results = [pushed[u] if (u := probes[y]) in pushed else zeros(y.type) for y in outputs]
        return builder.build(
            f"{graph.name}_jvp", [*graph.outputs, *results], constants=graph.constants, notes=graph.notes
        )
