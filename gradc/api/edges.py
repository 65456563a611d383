"""Every edge of a traced graph with its value and gradient, from a real run."""

from __future__ import annotations

import linecache
from typing import Any, NamedTuple

import numpy as np

from gradc.api import backend
from gradc.api.function import Function
from gradc.api.signature import kind_of, native_leaf
from gradc.ir.backward import backpropagate
from gradc.ir.errors import Source
from gradc.ir.graph import Builder, Graph, Value, constant
from gradc.ir.text import Names


class Edge(NamedTuple):
    """A value in a graph. `line` is the user's code; `gradient` is None without a path to the loss."""

    name: str
    line: str
    value: Any
    gradient: Any


class Edges(list[Edge]):
    """Rows of `f.edges(...)`; prints as a table."""

    def __str__(self) -> str:
        rows = [("name", "value", "gradient", "line")]
        for name, line, value, gradient in self:
            rows.append((name, brief(value), "" if gradient is None else brief(gradient), shortened(line)))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = ["  ".join([*map(str.ljust, row[:3], widths), row[3]]).rstrip() for row in rows]
        return "\n".join([lines[0], "  ".join("-" * w for w in [*widths, 4]), *lines[1:]])

    __repr__ = __str__


def shortened(text: str, width: int = 60) -> str:
    """The text, cut off where it is too long for a table."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


def brief(value: Any) -> str:
    """A number, a few of them, or the type and the range of many."""
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{array[()]:.6g}" if array.dtype.kind == "f" else str(array[()])
    if array.size <= 4:
        with np.printoptions(precision=4, suppress=False):
            return " ".join(np.array2string(array, separator=", ").split())
    kind = f"{array.dtype.name}[{', '.join(map(str, array.shape))}]"
    return kind if array.dtype.kind == "b" else f"{kind} {array.min():.3g} .. {array.max():.3g}"


def edges_of(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Edges:
    """The rows for one call: inputs, then the results of every node but constants, in the order they run."""
    special, leaves = function.specialize(args, kwargs)
    graph = special.program.graph
    results = [y for node in graph.nodes if node.op.name not in ("constant", "iota") for y in node.results]
    values = [*graph.inputs, *results]
    gradients: dict[Value, Value] = {}
    with Builder(graph.inputs, graph.nodes) as builder:
        program = special.program
        if program.is_differentiable() and (loss := program.loss(program.value())) is not None:
            y = graph.outputs[loss.number]
            gradients = backpropagate(graph.nodes, {y: constant(1.0, y.type)}, wrt=values)
        wanted = [v for v in values if v in gradients]
        whole = builder.build(
            f"{graph.name}_edges", [*values, *[gradients[v] for v in wanted]], constants=graph.constants
        )
    arrays = [np.asarray(native_leaf(leaf, kind_of(leaf))) for leaf in special.given(leaves)]
    found = [r[()] for r in backend.build(whole, special.options).run(arrays)]
    gradient_of = dict(zip(wanted, found[len(values) :], strict=True))
    names = names_of(graph)
    return Edges(
        Edge(names[v], _line(v), value, gradient_of.get(v)) for v, value in zip(values, found, strict=False)
    )


def names_of(graph: Graph) -> dict[Value, str]:
    """What `str(graph)` calls each value."""
    names = Names(graph)
    for node in graph.nodes:
        for y in node.results:
            names.add(y)
    return names.of


def _line(value: Value) -> str:
    """The user's line that a value comes from; nothing for an input."""
    source: Source | None = value.node.source if value.node is not None else None
    if source is None:
        return ""
    return linecache.getline(source.file, source.line).strip() or str(source)
