"""Does a graph keep the rules of the IR? If not: what is broken, in which pass, at which line."""

from __future__ import annotations

from gradc.ir.errors import GradcError, VerifyError
from gradc.ir.graph import Graph, Node, Value
from gradc.ir.text import legal

CONTEXT = 2
"""Lines shown around the one at fault."""


def verify(graph: Graph, after: str | None = None) -> None:
    """Check a graph and every graph nested in it.

    The rules: a value is defined once, before its uses, in the same graph; types are what the op's type rule
    gives; attributes are Python literals or graphs; planned nodes have a place for every result,
    inside of the arena or of an output or input that is large enough.

    `after` names the pass that made the graph, for the message. Errors: `VerifyError`.
    """
    pending = [graph]
    while pending:
        inner = pending.pop()
        _verify_one(inner, after)
        pending.extend(nested for node in inner.nodes for _, nested in node.graphs)


def _verify_one(graph: Graph, after: str | None) -> None:
    defined: set[Value] = set()
    for x in graph.inputs:
        if x in defined or x.node is not None:
            raise _error(graph, None, f"input {x.name} is not a fresh value", after)
        defined.add(x)
    for node in graph.nodes:
        for x in node.inputs:
            if x not in defined:
                raise _error(
                    graph, node, f"{node.op.name} uses a value that is not defined before it: {x!r}", after
                )
        if problem := _attribute_problem(node) or _type_problem(node) or _place_problem(node, graph):
            raise _error(graph, node, problem, after)
        for y in node.results:
            if y in defined:
                raise _error(graph, node, f"{node.op.name} defines a value twice", after)
            defined.add(y)
    for y in graph.outputs:
        if y not in defined:
            raise _error(graph, None, f"the graph returns a value that is not defined in it: {y!r}", after)


LITERALS = bool, int, float, str, tuple, list, type(None)


def _attribute_problem(node: Node) -> str | None:
    """The text must be able to say every attribute."""
    for key, value in node.attrs.items():
        parts = value if isinstance(value, tuple | list) else (value,)
        for part in parts:
            if type(part) not in LITERALS and not isinstance(part, Graph):
                kind = type(part).__name__
                return f"{node.op.name} has {key}={part!r}, which is no Python literal but a {kind}"
    return None


def _type_problem(node: Node) -> str | None:
    try:
        types = node.op.types(
            tuple(x.type for x in node.inputs), node.attrs, node.types[0] if node.types else None
        )
    except (GradcError, TypeError, IndexError, ValueError) as error:
        return f"{node.op.name}: {error}"
    if types != node.types:
        return f"{node.op.name} has type {list(node.types)}, its rule gives {list(types)}"
    return None


def _place_problem(node: Node, graph: Graph) -> str | None:
    if node.places is None:
        return None
    if len(node.places) != len(node.results):
        return f"{node.op.name} has {len(node.places)} places for {len(node.results)} results"
    buffers = {"out": graph.outputs, "in": graph.inputs}
    for place, type in zip(node.places, node.types, strict=True):
        if place.where == "arena" and not 0 <= place.number <= (graph.arena or 0) - type.nbytes:
            return f"{node.op.name} lies at {place}, outside of the arena of {graph.arena} bytes"
        if place.where in buffers:
            held = buffers[place.where]
            if place.number >= len(held) or held[place.number].type.nbytes < type.nbytes:
                return f"{node.op.name} of {type} lies at {place}, which does not hold it"
    return None


def _error(graph: Graph, node: Node | None, problem: str, after: str | None) -> VerifyError:
    """Message, pass, a few lines around the node, the user's line."""
    where = f"{problem}\nin graph {legal(graph.name)}" + (f", after {after}" if after else "")
    source = None
    if node is not None:
        source = node.source
        at = next(i for i, n in enumerate(graph.nodes) if n is node)
        where += f", line {at + 2}:"
        for i in range(max(at - CONTEXT, 0), min(at + CONTEXT + 1, len(graph.nodes))):
            where += f"\n  {'->' if i == at else '  '} {_brief(graph.nodes[i])}"
    return VerifyError(where, source)


def _brief(node: Node) -> str:
    """A node in one line; undefined inputs must not stop the report, so names are not resolved."""
    inputs = ", ".join(f"{x.name or '_'}: {x.type}" for x in node.inputs)
    attrs = "".join(f", {k}=..." for k in node.attrs)
    return f"{', '.join(map(str, node.types))} = {node.op.name}({inputs}{attrs})"[:100]
