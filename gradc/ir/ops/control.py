"""Ops that hold graphs: call, cond, custom, fuse, blocks, tasks. The graphs are closed: all they use
is passed in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.ir.backward import backpropagate
from gradc.ir.errors import ShapeError
from gradc.ir.graph import Builder, Graph, Value, emit_node, inline, zeros
from gradc.ir.op import Op
from gradc.ir.types import Type


def _fits(what: str, graph: Graph, inputs: Sequence[Type]) -> tuple[Type, ...]:
    wanted = tuple(x.type for x in graph.inputs)
    if wanted != tuple(inputs):
        raise ShapeError(f"{what}: the graph {graph.name} takes {list(wanted)}, not {list(inputs)}")
    return tuple(y.type for y in graph.outputs)


def call_type(*inputs: Type, body: Graph) -> tuple[Type, ...]:
    """The results of the graph."""
    return _fits("call", body, inputs)


def cond_type(predicate: Type, *inputs: Type, if_true: Graph, if_false: Graph) -> tuple[Type, ...]:
    """A bool[] and the operands, which both graphs take; both give the same types."""
    if predicate.shape or not predicate.is_bool:
        raise ShapeError(f"cond takes bool[] first, not {predicate}")
    results = _fits("cond", if_true, inputs)
    other = _fits("cond", if_false, inputs)
    if results != other:
        raise ShapeError(f"the branches of cond give {list(results)} and {list(other)}")
    return results


def custom_type(*inputs: Type, body: Graph, pullback: Graph, targets: tuple[int, ...]) -> tuple[Type, ...]:
    """The results of the body. The pullback takes the inputs and a cotangent for each float result, and gives
    the cotangents of the inputs at `targets`."""
    results = _fits("custom", body, inputs)
    found = _fits("custom", pullback, [*inputs, *[y for y in results if y.is_float]])
    wanted = [inputs[i] for i in targets if 0 <= i < len(inputs)]
    if list(targets) != sorted(set(targets)) or list(found) != wanted:
        raise ShapeError(f"custom: {pullback.name} gives {list(found)} for the inputs {targets}: {wanted}")
    return results


def blocks_type(*inputs: Type, body: Graph, count: int, cut: tuple[bool, ...]) -> tuple[Type, ...]:
    """The graph takes one of `count` equal parts of the first axis of inputs that are cut, and the others as
    they are; it gives such parts of the results."""

    def scaled(type: Type, whole: bool) -> Type:
        if not type.shape or (not whole and type.shape[0] % count):
            raise ShapeError(f"blocks: the first axis of {type} has no {count} equal parts")
        first = type.shape[0] * count if whole else type.shape[0] // count
        return type.with_shape((first, *type.shape[1:]))

    if count < 1 or len(cut) != len(inputs):
        raise ShapeError(f"blocks: {count} blocks of {len(inputs)} inputs, of which cut are {cut}")
    parts = [scaled(x, False) if is_cut else x for x, is_cut in zip(inputs, cut, strict=True)]
    return tuple([scaled(y, True) for y in _fits("blocks", body, parts)])


def blocks_meaning(*xs: np.ndarray, body: Graph, count: int, cut: tuple[bool, ...]) -> Any:
    """Every block by itself, and the results joined."""
    from gradc.ir.evaluate import evaluate

    parts = [np.split(x, count) if is_cut else [x] * count for x, is_cut in zip(xs, cut, strict=True)]
    found = [evaluate(body, *[part[i] for part in parts]) for i in range(count)]
    results = tuple([np.concatenate(pieces) for pieces in zip(*found, strict=True)])
    return results if len(results) != 1 else results[0]


def run(graph: Graph, inputs: Sequence[np.ndarray]) -> Any:
    """The reference meaning of a nested graph."""
    from gradc.ir.evaluate import evaluate

    results = evaluate(graph, *inputs)
    return results if len(results) != 1 else results[0]


def vjp_graph(graph: Graph, seeded: Sequence[bool]) -> tuple[Graph, list[int]]:
    """The graph's inputs and the seeded outputs' cotangents to the cotangents of the inputs.

    Gives the graph and the positions of the inputs that have a cotangent.
    """
    with Builder() as builder:
        inputs = [builder.add_input(x.type, x.name) for x in graph.inputs]
        outputs = inline(graph, inputs)
        body = list(builder.nodes)
        seeds: dict[Value, Value] = {}
        for y, seed in zip(outputs, seeded, strict=True):
            if seed:
                g = builder.add_input(y.type)
                seeds[y] = seeds[y] + g if y in seeds else g
        cotangents = backpropagate(body, seeds, wrt=inputs)
        reached = [i for i, x in enumerate(inputs) if x in cotangents]
        return builder.build(f"{graph.name}_vjp", [cotangents[inputs[i]] for i in reached]), reached


def _seeds(gs: Any, ys: Any) -> tuple[list[bool], list[Value]]:
    """Which results have a cotangent, and these."""
    values = list(gs) if isinstance(ys, tuple) else [gs.value]
    return [g is not None for g in values], [g for g in values if g is not None]


def call_vjp(gs: Any, ys: Any, *inputs: Value, body: Graph) -> list[Value | None] | tuple[Value | None, ...]:
    """A call of the body's backward graph, which computes what it needs of the body anew."""
    seeded, seeds = _seeds(gs, ys)
    backward, reached = vjp_graph(body, seeded)
    results = iter(emit_node("call", *inputs, *seeds, body=backward).results if reached else ())
    return tuple(next(results) if i in reached else None for i in range(len(inputs)))


def cond_vjp(gs: Any, ys: Any, predicate: Value, *inputs: Value, if_true: Graph, if_false: Graph) -> tuple:
    """A cond between the backward graphs of the branches; zeros for an input that a branch does not use."""
    seeded, seeds = _seeds(gs, ys)
    branches = [vjp_graph(graph, seeded) for graph in (if_true, if_false)]
    reached = sorted({i for _, positions in branches for i in positions})
    if not reached:
        return (None,) * (len(inputs) + 1)
    padded = []
    for graph, positions in branches:
        with Builder(graph.inputs, graph.nodes) as builder:
            known = dict(zip(positions, graph.outputs, strict=True))
            outputs = [known[i] if i in known else zeros(graph.inputs[i].type) for i in reached]
            padded.append(builder.build(graph.name, outputs))
    node = emit_node("cond", predicate, *inputs, *seeds, if_true=padded[0], if_false=padded[1])
    results = dict(zip(reached, node.results, strict=True))
    return (None, *[results.get(i) for i in range(len(inputs))])


def custom_vjp(
    gs: Any, ys: Any, *inputs: Value, body: Graph, pullback: Graph, targets: tuple[int, ...]
) -> tuple[Value | None, ...]:
    """The pullback's nodes; zeros for results without a cotangent."""
    results, given = (ys, gs) if isinstance(ys, tuple) else ((ys,), (gs.value,))
    seeds = [
        zeros(y.type) if g is None else g for y, g in zip(results, given, strict=True) if y.type.is_float
    ]
    found = dict(zip(targets, inline(pullback, [*inputs, *seeds]), strict=True))
    return tuple([found.get(i) for i in range(len(inputs))])


Op("call", lambda *xs, body: run(body, xs), call_type, call_vjp)
Op(
    "cond",
    lambda p, *xs, if_true, if_false: run(if_true if p else if_false, xs),
    cond_type,
    cond_vjp,
)
Op("custom", lambda *xs, body, pullback, targets: run(body, xs), custom_type, custom_vjp)
Op("fuse", lambda *xs, body: run(body, xs), call_type, call_vjp)
Op("blocks", blocks_meaning, blocks_type)
Op("tasks", lambda *xs, body: run(body, xs), call_type)
