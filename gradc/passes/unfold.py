"""Unfold: once gradients are taken, a function that brought its own pullback is what its body says."""

from __future__ import annotations

from gradc.ir import Graph, Value
from gradc.ir.graph import Builder, inline, rebuild
from gradc.passes.nested import inside_out


def unfold(graph: Graph) -> Graph:
    """Put the nodes of its body in the place of every `custom`, in nested graphs too.

    What the body and the pullback both compute is then equal nodes of one graph, for `cse` to merge. All
    gradients must have been taken. No later pass knows the op, and none makes it. Needs no other pass.
    """
    return inside_out(graph, _unfolded)


def _unfolded(graph: Graph) -> Graph:
    if not any(node.op.name == "custom" for node in graph.nodes):
        return graph
    env: dict[Value, Value] = {}
    with Builder(graph.inputs) as builder:
        for node in graph.nodes:
            inputs = tuple([env.get(x, x) for x in node.inputs])
            if node.op.name == "custom":
                results = inline(node.attrs["body"], inputs)
                env.update(zip(node.results, results, strict=True))
                continue
            copy = builder.add(rebuild(node, inputs) if inputs != node.inputs else node)
            if copy is not node:
                env.update(zip(node.results, copy.results, strict=True))
        notes = tuple(dict.fromkeys([*graph.notes, *builder.notes]))
        return graph.replace(nodes=builder.nodes, outputs=[env.get(y, y) for y in graph.outputs], notes=notes)
