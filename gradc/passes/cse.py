"""Common subexpression elimination: what is computed twice is computed once, where it is first needed."""

from __future__ import annotations

from typing import Any

from gradc.ir import Graph, Node, Value
from gradc.ir.graph import rebuild
from gradc.passes.nested import inside_out, renamed
from gradc.passes.pattern import COMMUTATIVE

SYMMETRIC = COMMUTATIVE - {"maximum", "minimum"}
"""Ops that give the same bits in either order of inputs, zeros included."""


def cse(graph: Graph) -> Graph:
    """Let equal nodes (same op, inputs, attributes, types) be one, in every graph on its own.

    The earliest stays and takes a name from the others if it has none. Nested graphs are equal if they are
    built alike, whatever their names. Needs no other pass.
    """
    forms = Forms()
    return inside_out(graph, lambda inner: _merge(inner, forms))


class Forms:
    """Numbers for nested graphs: the same number for graphs that compute the same in the same way."""

    def __init__(self) -> None:
        self.of: dict[Graph, int] = {}
        self.known: dict[Any, int] = {}

    def number(self, graph: Graph) -> int:
        """The number of the graph's form, in which names and source lines do not count."""
        if graph not in self.of:
            numbers = {x: i for i, x in enumerate(graph.inputs)}
            keys = []
            for node in graph.nodes:
                keys.append(self.key(node, [numbers[x] for x in node.inputs], graph))
                for y in node.results:
                    numbers[y] = len(numbers)
            inputs = tuple([x.type for x in graph.inputs])
            form = inputs, tuple(keys), tuple([numbers[y] for y in graph.outputs])
            self.of[graph] = self.known.setdefault(form, len(self.known))
        return self.of[graph]

    def key(self, node: Node, inputs: list[int], graph: Graph) -> Any:
        """Equal for nodes that compute the same. As text, -0.0 is not 0.0, and NaN is NaN."""
        if node.op.name in SYMMETRIC:
            inputs.sort()
        attrs = [(k, self.number(v) if isinstance(v, Graph) else repr(v)) for k, v in node.attrs.items()]
        if node.op.name == "captured":
            attrs.append(("array", id(graph.constants.get(node.attrs["name"]))))
        return node.op.name, tuple(inputs), tuple(sorted(attrs)), node.types


def _merge(graph: Graph, forms: Forms) -> Graph:
    first: dict[Any, Node] = {}
    env: dict[Value, Value] = {}
    names: dict[Value, str] = {}
    numbers = {x: i for i, x in enumerate(graph.inputs)}
    nodes, merged = [], False
    for node in graph.nodes:
        inputs = tuple([env.get(x, x) for x in node.inputs])
        key = forms.key(node, [numbers[x] for x in inputs], graph)
        earlier = first.get(key)
        if earlier is not None:
            merged = True
            for old, new in zip(node.results, earlier.results, strict=True):
                env[old] = new
                if old.name and not new.name:
                    names.setdefault(new, old.name)
            continue
        if inputs != node.inputs:
            copy = rebuild(node, inputs)
            env.update(zip(node.results, copy.results, strict=True))
            node = copy
        first[key] = node
        for y in node.results:
            numbers[y] = len(numbers)
        nodes.append(node)
    if not merged:
        return graph
    return renamed(graph.replace(nodes=nodes, outputs=[env.get(y, y) for y in graph.outputs]), names)
