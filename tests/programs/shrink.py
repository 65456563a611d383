"""Make a failing program small: drop outputs, turn values into inputs, inline what is nested."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gradc.ir import Builder, Graph, Value, evaluate, inline
from gradc.ir.evaluate import run_node

Case = tuple[Graph, list[np.ndarray]]
Fails = Callable[[Graph, Sequence[np.ndarray]], bool]


def shrink(graph: Graph, leaves: Sequence[np.ndarray], fails: Fails, tries: int = 2000) -> Case:
    """The smallest program found that `fails` says fails. Every step keeps the failure."""
    best: Case = graph, list(leaves)
    progress = True
    while progress and tries:
        progress = False
        for candidate in candidates(*best):
            if not tries:
                break
            tries -= 1
            if size(candidate) < size(best) and fails(*candidate):
                best, progress = candidate, True
                break
    return best


def size(case: Case) -> tuple[int, ...]:
    """What counts as small: few nodes, then outputs, inputs, elements, and digits of the arguments."""
    graph, leaves = case
    elements = sum(y.type.size for node in graph.walk() for y in node.results)
    digits = sum(len(repr(v)) for a in leaves for v in a.ravel().tolist())
    return sum(1 for _ in graph.walk()), len(graph.outputs), len(graph.inputs), elements, digits


def candidates(graph: Graph, leaves: list[np.ndarray]) -> Iterator[Case]:
    """Smaller programs, the boldest first."""
    if len(graph.outputs) > 1:
        for y in graph.outputs:
            yield pruned(graph, [y], leaves)
    yield pruned(graph, graph.outputs, leaves)
    values = known_values(graph, leaves)
    nodes = graph.nodes
    for count in (len(nodes) // 2, len(nodes) // 4, 1):
        for start in range(0, len(nodes), max(count, 1)) if count else ():
            cut = {y for node in nodes[start : start + count] for y in node.results}
            yield without(graph, leaves, cut, values)
    for i in reversed(range(len(nodes))):  # an earlier value as the result
        if nodes[i].results[0] not in graph.outputs:
            yield pruned(graph, list(nodes[i].results), leaves)
    for i, node in enumerate(nodes):
        for key, inner in node.graphs:
            if key == "body" or bool(values[node.inputs[0]]) == (key == "if_true"):
                yield inlined(graph, leaves, i, inner)
    for i, a in enumerate(leaves):
        for simple in (np.ones_like(a), np.zeros_like(a), np.round(a, 1) if a.dtype.kind == "f" else a):
            yield graph, [*leaves[:i], simple.astype(a.dtype), *leaves[i + 1 :]]


def known_values(graph: Graph, leaves: Sequence[np.ndarray]) -> dict[Value, np.ndarray]:
    """Every value of the graph by the reference."""
    env: dict[Value, np.ndarray] = dict(zip(graph.inputs, leaves, strict=True))
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            results = run_node(node, [env[x] for x in node.inputs], graph.constants)
            env.update(zip(node.results, results, strict=True))
    return env


def pruned(graph: Graph, outputs: Sequence[Value], leaves: list[np.ndarray]) -> Case:
    """Only what these outputs need, inputs too."""
    live, nodes = set(outputs), []
    for node in reversed(graph.nodes):
        if not live.isdisjoint(node.results):
            live.update(node.inputs)
            nodes.append(node)
    kept = [i for i, x in enumerate(graph.inputs) if x in live]
    small = graph.replace(nodes=nodes[::-1], outputs=list(outputs), inputs=[graph.inputs[i] for i in kept])
    return small, [leaves[i] for i in kept]


def without(graph: Graph, leaves: list[np.ndarray], cut: set[Value], values: dict[Value, np.ndarray]) -> Case:
    """The program with some values given from outside."""
    with Builder() as builder:
        env = {x: builder.add_input(x.type, x.name) for x in graph.inputs}
        given = list(leaves)
        for node in graph.nodes:
            if all(y in cut for y in node.results):
                for y in node.results:
                    env[y] = builder.add_input(y.type, f"v{len(builder.inputs)}")
                    given.append(np.array(values[y]))
            else:
                copy = builder.emit(node.op, tuple(env[x] for x in node.inputs), node.attrs, node.types[0])
                env.update(zip(node.results, copy.results, strict=True))
        whole = builder.build(graph.name, [env[y] for y in graph.outputs], constants=graph.constants)
    return pruned(whole, whole.outputs, given)


def inlined(graph: Graph, leaves: list[np.ndarray], at: int, inner: Graph) -> Case:
    """The program with a nested graph in the place of the node that holds it."""
    with Builder() as builder:
        env = {x: builder.add_input(x.type, x.name) for x in graph.inputs}
        for i, node in enumerate(graph.nodes):
            inputs = [env[x] for x in node.inputs]
            if i == at:
                results = inline(inner, inputs[len(inputs) - len(inner.inputs) :])
            else:
                results = builder.emit(node.op, tuple(inputs), node.attrs, node.types[0]).results
            env.update(zip(node.results, results, strict=True))
        whole = builder.build(graph.name, [env[y] for y in graph.outputs], constants=graph.constants)
    return pruned(whole, whole.outputs, leaves)


def agrees(case: Case) -> bool:
    """Does the reference run the program at all?"""
    try:
        evaluate(case[0], *case[1])
    except Exception:
        return False
    return True
