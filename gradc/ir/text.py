"""A graph as text: one node per line, every value typed, attributes as Python literals."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np

from gradc.ir.graph import Graph, Node, Value

NAME = r"[%A-Za-z_][\w%]*(?:\.\w+|\[\w+\])*"
"""What a value may be called: a path such as `params.W1` or `layers[0].b`, or `%3`."""

COLUMN = 88
"""Where the comments with source lines begin."""


def legal(name: str) -> str:
    """The name with everything replaced that the text could not carry."""
    name = re.sub(r"\[(['\"])(.*?)\1\]", lambda m: "." + (re.sub(r"\W", "_", m[2]) or "_"), name)
    if re.fullmatch(NAME, name):
        return name
    name = re.sub(r"[^\w.\[\]%]", "_", name)
    return name if re.fullmatch(NAME, name) else "v_" + re.sub(r"\W", "_", name)


class Names:
    """Names of the values of one graph: their own where they have one, made unique, else %0, %1, ..."""

    def __init__(self, graph: Graph) -> None:
        self.of: dict[Value, str] = {}
        self.taken: set[str] = {"return", "graph"}
        self.suffix: dict[str, int] = {}
        self.count = 0
        for x in graph.inputs:
            self.add(x)

    def add(self, value: Value) -> str:
        wanted = legal(value.name) if value.name else ""
        named = wanted and not re.fullmatch(r"%\d+", wanted)
        name = wanted if named else self._number()
        while name in self.taken:
            if not named:
                name = self._number()
                continue
            self.suffix[wanted] = self.suffix.get(wanted, 0) + 1
            name = f"{wanted}{'.' if wanted.endswith(']') else ''}_{self.suffix[wanted]}"
        self.taken.add(name)
        self.of[value] = name
        return name

    def _number(self) -> str:
        self.count += 1
        return f"%{self.count - 1}"


def digest(array: np.ndarray) -> str:
    """A short fingerprint of an array's bytes, dtype and shape."""
    array = np.ascontiguousarray(array)
    return hashlib.blake2b(
        array.tobytes() + str((array.dtype.str, array.shape)).encode(), digest_size=6
    ).hexdigest()


def _float(value: float, dtype: np.dtype | None) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        return str(float(value))
    return str(np.float32(value)) if dtype == np.float32 else repr(float(value))


def literal(value: Any, dtype: np.dtype | None = None) -> str:
    """A Python literal; floats as short as their dtype allows, inf and nan by name."""
    if isinstance(value, list):
        return f"[{', '.join(literal(v, dtype) for v in value)}]"
    if isinstance(value, tuple):
        inner = ", ".join(literal(v, dtype) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float):
        return _float(value, dtype)
    return repr(value)


def _line(remark: str) -> str:
    """A remark without line breaks: a comment ends with its line."""
    return " ".join(remark.splitlines())


def graph_text(graph: Graph, indent: str = "") -> str:
    """The whole graph; nested graphs stand indented inside of their node."""
    names = Names(graph)
    inputs = ", ".join(f"{names.of[x]}: {x.type}" for x in graph.inputs)
    outputs = ", ".join(str(y.type) for y in graph.outputs)
    arena = "" if graph.arena is None else f" arena {graph.arena}"
    lines = [f"graph {legal(graph.name)}({inputs}) -> ({outputs}){arena} {{"]
    lines += [f"{indent}  # note: {_line(note)}" for note in graph.notes]
    lines += [_node_text(node, names, indent + "  ") for node in graph.nodes]
    lines.append(f"{indent}  return {', '.join(names.of[y] for y in graph.outputs)}".rstrip())
    lines.append(f"{indent}}}")
    return "\n".join(lines)


def _node_text(node: Node, names: Names, indent: str) -> str:
    arguments = [names.of[x] for x in node.inputs]
    results = []
    for i, y in enumerate(node.results):
        place = f" @{node.places[i]}" if node.places else ""
        results.append(f"{names.add(y)}: {y.type}{place}")
    dtype = node.types[0].dtype if node.types else None
    for key, value in node.attrs.items():
        text = graph_text(value, indent + "  ") if isinstance(value, Graph) else literal(value, dtype)
        arguments.append(f"{key}={text}")
    text = f"{indent}{', '.join(results)}{' = ' if results else ''}{node.op.name}({', '.join(arguments)})"
    if node.source is None:
        return text
    width = len(text) - (text.rfind("\n") + 1)
    return f"{text}{' ' * max(COLUMN - width, 2)}# {_line(str(node.source))}"
