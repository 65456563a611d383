"""Control flow and gradient steering in the traced function: cond and stop_gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from gradc.ir import ShapeError, TraceError, emit, emit_node
from gradc.ir.graph import Builder, Graph, Value
from gradc.trace import tree
from gradc.trace.core import Static, rebuild, subtrace
from gradc.trace.lift import cast, common_dtype, wrap
from gradc.trace.source import fail
from gradc.trace.state import is_tracing
from gradc.trace.tracer import Tracer

T = TypeVar("T")


def cond(pred: Any, if_true: Callable[..., Any], if_false: Callable[..., Any], *operands: Any) -> Any:
    """`if_true(*operands)` if `pred` holds, else `if_false(*operands)`; only the one that is chosen runs.

    `pred` is a single bool or number. The results of both functions have the same structure and shapes;
    numbers and arrays in them take NumPy's common dtype. Outside of a trace this is Python's `if`.
    Errors: `ShapeError` where the results differ.
    """
    if type(pred) is not Tracer or not pred.traced:
        return (if_true if pred else if_false)(*operands)
    if pred.shape:
        fail(
            f"cond takes one truth value, not {pred.type}",
            "np.where(condition, a, b) chooses by element",
            ShapeError,
        )
    branches = [_numbers(fn) for fn in (if_true, if_false)]
    traced = [subtrace(fn, *operands, of="cond", name=fn.__name__) for fn in branches]
    (_, _, treedef, leaves), (_, _, other, other_leaves) = traced
    if treedef != other:
        fail(f"the branches of cond give different structures: {treedef} and {other}", None, ShapeError)
    for a, b in zip(leaves, other_leaves, strict=True):
        if isinstance(a, Static) != isinstance(b, Static) or (isinstance(a, Static) and a != b):
            fail(f"the branches of cond give different static values: {a} and {b}", None, TraceError)
    graphs, captured = _agree([graph for graph, *_ in traced], [values for _, values, *_ in traced])
    inputs = [x.value for x in tree.flatten(operands)[0] if type(x) is Tracer and x.traced]
    node = emit_node(
        "cond",
        cast(pred.value, np.dtype(bool)),
        *inputs,
        *captured,
        if_true=graphs[0],
        if_false=graphs[1],
    )
    return rebuild(treedef, leaves, [wrap(y) for y in node.results])


def _numbers(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the numbers in its result as values, so that branches may differ in them."""

    def branch(*operands: Any) -> Any:
        from gradc.trace.copying import copied
        from gradc.trace.core import lift
        from gradc.trace.state import current_trace

        return lift(copied(fn, current_trace().substitute)(*operands))

    branch.__name__ = getattr(fn, "__name__", "branch")
    return branch


def _agree(graphs: list[Graph], captured: list[list[Value]]) -> tuple[list[Graph], list[Value]]:
    """The branches with the same inputs and the same types of outputs, and the outside values they take."""
    outside = list(dict.fromkeys([*captured[0], *captured[1]]))
    wanted = []
    for a, b in zip(graphs[0].outputs, graphs[1].outputs, strict=True):
        if a.shape != b.shape:
            fail(f"the branches of cond give {a.type} and {b.type}", "results of one shape", ShapeError)
        wanted.append(common_dtype(wrap(a), wrap(b)))
    out = []
    for graph, mine in zip(graphs, captured, strict=True):
        count = len(graph.inputs) - len(mine)
        own = dict(zip(mine, graph.inputs[count:], strict=True))
        inputs = graph.inputs[:count] + [own.get(v) or Value(v.type, name=v.name) for v in outside]
        with Builder(inputs, graph.nodes) as builder:
            outputs = [cast(y, dtype) for y, dtype in zip(graph.outputs, wanted, strict=True)]
            out.append(builder.build(graph.name, outputs))
    return out, outside


def stop_gradient(x: T) -> T:
    """`x`, a tree of arrays and numbers, as a constant for gradients: nothing flows back through it."""
    if not is_tracing():
        return x

    def leaf(x: Any) -> Any:
        if type(x) is Tracer and x.traced:
            return wrap(emit("stop_gradient", x.value), weak=x.weak)
        return x

    return tree.map(leaf, x)
