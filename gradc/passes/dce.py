"""Dead code elimination: drop the nodes, and the inputs and results of nested graphs, that nothing needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from gradc.ir import Graph, Node, Value

SLIMMED = {"call": 0, "cond": 1}
"""Ops whose graphs may lose results and inputs, and how many inputs come before those of the graphs."""

Mask = tuple[bool, ...]
T = TypeVar("T")


class Kept(NamedTuple):
    """A node that stays, with the results, inputs and graphs that it keeps."""

    node: Node
    results: Mask
    inputs: Mask
    graphs: dict[str, Graph]


def dce(graph: Graph) -> Graph:
    """Drop what no output depends on. The inputs of the graph itself stay."""
    return _Pruning().graph(graph, (True,) * len(graph.outputs))


def live_nodes(graph: Graph) -> list[Node]:
    """The nodes that outputs depend on, in order; nested graphs are left as they are."""
    live, kept = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if not live.isdisjoint(node.results):
            live.update(node.inputs)
            kept.append(node)
    return kept[::-1]


def _chosen(items: Sequence[T], mask: Mask) -> list[T]:
    return [x for x, take in zip(items, mask, strict=True) if take]


class _Pruning:
    """Prunes graphs, each once for the same wish: shared graphs stay shared. Recursion is by nesting only."""

    def __init__(self) -> None:
        self.pruned: dict[tuple[Graph, Mask], Graph] = {}
        self.narrowed: dict[tuple[Graph, Mask], Graph] = {}

    def graph(self, graph: Graph, wanted: Mask) -> Graph:
        """The graph with the wanted outputs only and what they need."""
        if (graph, wanted) not in self.pruned:
            outputs = _chosen(graph.outputs, wanted)
            live = set(outputs)
            kept = []
            for node in reversed(graph.nodes):
                used = tuple([y in live for y in node.results])
                if any(used):
                    plan = self.plan(node, used)
                    live.update(_chosen(node.inputs, plan.inputs))
                    kept.append(plan)
            self.pruned[graph, wanted] = _rebuilt(graph, outputs, kept[::-1])
        return self.pruned[graph, wanted]

    def plan(self, node: Node, used: Mask) -> Kept:
        """What the node keeps when these results are used."""
        everything = Kept(node, (True,) * len(used), (True,) * len(node.inputs), dict(node.graphs))
        if not everything.graphs:
            return everything
        if node.op.name not in SLIMMED:
            graphs = {k: self.graph(g, (True,) * len(g.outputs)) for k, g in node.graphs}
            return everything._replace(graphs=graphs)
        graphs = {k: self.graph(g, used) for k, g in node.graphs}
        lead = SLIMMED[node.op.name]
        needs = [set(g.outputs).union(*[inner.inputs for inner in g.nodes]) for g in graphs.values()]
        positions = range(len(node.inputs) - lead)
        needed = tuple(
            any(g.inputs[i] in live for g, live in zip(graphs.values(), needs, strict=True))
            for i in positions
        )
        graphs = {k: self.narrow(g, needed) for k, g in graphs.items()}
        return Kept(node, used, (True,) * lead + needed, graphs)

    def narrow(self, graph: Graph, needed: Mask) -> Graph:
        """The graph without the inputs that are not needed."""
        if all(needed):
            return graph
        if (graph, needed) not in self.narrowed:
            self.narrowed[graph, needed] = graph.replace(inputs=_chosen(graph.inputs, needed))
        return self.narrowed[graph, needed]


def _rebuilt(graph: Graph, outputs: list[Value], kept: list[Kept]) -> Graph:
    """The graph of what is kept; nodes that do not change are shared, and so is a graph."""
    env: dict[Value, Value] = {}
    nodes = []
    for node, used, needed, graphs in kept:
        inputs = tuple([env.get(x, x) for x in _chosen(node.inputs, needed)])
        if inputs != node.inputs or not all(used) or any(graphs[k] is not g for k, g in node.graphs):
            types = tuple(_chosen(node.types, used))
            slim = Node(node.op, inputs, {**node.attrs, **graphs}, types, node.source)
            for old, new in zip(_chosen(node.results, used), slim.results, strict=True):
                new.name = old.name
                env[old] = new
            node = slim
        nodes.append(node)
    if len(outputs) == len(graph.outputs) and nodes == graph.nodes:
        return graph
    return graph.replace(nodes=nodes, outputs=[env.get(y, y) for y in outputs])
