"""Graphs inside of graphs: change the inner ones first, each distinct graph once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradc.ir import Graph, Value
from gradc.ir.graph import rebuild


def inside_out(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """Apply `change` to every nested graph, then to the graph that holds it.

    A graph that several nodes hold is changed once and stays shared. `change` must keep the types of inputs
    and outputs.
    """
    changed: dict[Graph, Graph] = {}
    held: dict[Graph, list[Graph]] = {}
    pending = [graph]
    while pending:
        inner = pending[-1]
        if inner not in held:
            held[inner] = [g for node in inner.nodes if node.graphs for _, g in node.graphs]
            if held[inner]:
                pending.extend(held[inner])
                continue
        pending.pop()
        if inner not in changed:
            changed[inner] = change(_holding(inner, changed) if held[inner] else inner)
    return changed[graph]


def _holding(graph: Graph, changed: Mapping[Graph, Graph]) -> Graph:
    """The graph with the graphs that its nodes hold replaced."""
    if all(changed[g] is g for node in graph.nodes for _, g in node.graphs):
        return graph
    env: dict[Value, Value] = {}
    nodes = []
    for node in graph.nodes:
        inputs = tuple([env.get(x, x) for x in node.inputs])
        graphs = {k: changed[g] for k, g in node.graphs if changed[g] is not g}
        if graphs or inputs != node.inputs:
            copy = rebuild(node, inputs, **graphs)
            env.update(zip(node.results, copy.results, strict=True))
            node = copy
        nodes.append(node)
    return graph.replace(nodes=nodes, outputs=[env.get(y, y) for y in graph.outputs]) if env else graph


def renamed(graph: Graph, names: Mapping[Value, str]) -> Graph:
    """The graph with names given to values of its nodes; the nodes of the argument keep theirs."""
    if not names:
        return graph
    env: dict[Value, Value] = {}
    nodes = []
    for node in graph.nodes:
        inputs = tuple([env.get(x, x) for x in node.inputs])
        if inputs != node.inputs or any(y in names for y in node.results):
            copy = rebuild(node, inputs)
            for old, new in zip(node.results, copy.results, strict=True):
                new.name = names.get(old, old.name)
                env[old] = new
            node = copy
        nodes.append(node)
    return graph.replace(nodes=nodes, outputs=[env.get(y, y) for y in graph.outputs])
