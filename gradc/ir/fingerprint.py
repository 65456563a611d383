"""What two graphs that compile to the same code have in common: all but names, lines and captured values.

A line that a node comes from counts as the so-manieth of the graph, and so does a captured array: what is
compiled for one graph then serves any other with this fingerprint, whose lines and arrays take their places.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any, NamedTuple

from gradc.ir.errors import Source
from gradc.ir.graph import Graph, Value


class Fingerprint(NamedTuple):
    """A digest (16 bytes), and the lines and the names of captured arrays in the order of their numbers."""

    digest: bytes
    lines: list[Source]
    arrays: list[str]


def fingerprint(graph: Graph) -> Fingerprint:
    """The fingerprint of a graph, nested graphs included."""
    writer = _Writer(graph)
    text = writer.graph(graph)
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return Fingerprint(digest, list(writer.lines), writer.names)


class _Writer:
    """Numbers lines, captured arrays and nested graphs as they come."""

    def __init__(self, graph: Graph) -> None:
        self.constants = graph.constants
        self.lines: dict[Source, int] = {}
        self.arrays: dict[int, int] = {}
        self.names: list[str] = []
        self.graphs: dict[int, int] = {}

    def graph(self, graph: Graph) -> str:
        """The text of a graph: for each node its op, operands, attributes, types and line."""
        number: dict[Value, int] = {x: i for i, x in enumerate(graph.inputs)}
        kinds: dict[Any, str] = {}
        lines = self.lines
        parts = [", ".join([str(x.type) for x in graph.inputs])]
        for node in graph.nodes:
            attributes = ""
            if node.op.name == "captured":
                attributes = self.array(node.attrs["name"])
            elif node.attrs:
                attributes = ",".join([f"{key}={self.literal(value)}" for key, value in node.attrs.items()])
            kind = kinds.get(node.types)
            if kind is None:
                kind = kinds[node.types] = str(node.types)
            line = lines.setdefault(node.source, len(lines)) if node.source is not None else ""
            parts.append(f"{node.op.name}{[number[x] for x in node.inputs]}{attributes}:{kind}@{line}")
            for y in node.results:
                number[y] = len(number)
        parts.append(str([number[y] for y in graph.outputs]))
        return "\n".join(parts)

    def array(self, name: str) -> str:
        """The number of a captured array: passes take two names of one array for the same."""
        array = self.constants.get(name)
        known = len(self.names)
        number = self.arrays.setdefault(id(array), known) if array is not None else known
        if number == known:
            self.names.append(name)
        return f"#{number}"

    def literal(self, value: Any) -> str:
        """An attribute, all bits of its floats included; a graph that came before by its number."""
        if isinstance(value, Graph):
            known = self.graphs.get(id(value))
            if known is not None:
                return f"graph {known}"
            self.graphs[id(value)] = len(self.graphs)
            return "{" + self.graph(value) + "}"
        text = repr(value)
        if "nan" in text:  # whose sign repr does not show
            text += _bits(value)
        return text


def _bits(value: Any) -> str:
    """The bits of the floats in a number or a list."""
    if isinstance(value, list | tuple):
        return ",".join(map(_bits, value))
    return struct.pack("<d", value).hex() if isinstance(value, float) else ""
