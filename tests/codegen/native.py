"""Graphs compiled to machine code for tests: many small ones in one module, and runs beside the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradc.ir import Builder, Graph, Value, evaluate
from gradc.ir.types import NAMES
from gradc.passes.fuse import fuse
from gradc.passes.plan_memory import plan_memory
from gradc.passes.unfold import unfold
from gradc.runtime.executable import Executable, load
from tests.programs.values import Expected, identical

KINDS = {
    "float": [NAMES["f64"], NAMES["f32"]],
    "signed": [NAMES[f"i{bits}"] for bits in (8, 16, 32, 64)],
    "unsigned": [NAMES[f"u{bits}"] for bits in (8, 16, 32, 64)],
    "bool": [NAMES["bool"]],
}
"""Dtypes in groups that are compiled together."""


def compiled(graph: Graph) -> Executable:
    """The graph as it is, without simplification, in machine code."""
    return load(plan_memory(fuse(unfold(graph))))


def merged(graphs: Sequence[Graph]) -> Graph:
    """One graph that computes all of them on inputs of their own."""
    constants: dict[str, np.ndarray] = {}
    with Builder() as builder:
        outputs: list[Value] = []
        for k, graph in enumerate(graphs):
            env = {x: builder.add_input(x.type, f"g{k}_{x.name}") for x in graph.inputs}
            for node in graph.nodes:
                attrs = dict(node.attrs)
                if node.op.name == "captured":
                    attrs["name"] = f"g{k}_{attrs['name']}"
                    constants[attrs["name"]] = graph.constants[node.attrs["name"]]
                copy = builder.emit(node.op, tuple(env[x] for x in node.inputs), attrs, node.types[0])
                env.update(zip(node.results, copy.results, strict=True))
            outputs += [env[y] for y in graph.outputs]
        return builder.build("merged", outputs, constants=constants)


def assert_same(graphs: Sequence[Graph], leaves: Sequence[Sequence[np.ndarray]], *, exact: bool) -> None:
    """All graphs in one native function give what the reference gives, bit for bit or up to rounding."""
    flat = [np.asarray(a) for each in leaves for a in each]
    kept = [a.copy() for a in flat]
    results = iter(compiled(merged(graphs)).run([np.require(a, requirements="C") for a in flat]))
    assert all(identical(a, b).all() for a, b in zip(flat, kept, strict=True)), "an argument was modified"
    for graph, each in zip(graphs, leaves, strict=True):
        wanted = evaluate(graph, *each)
        got = [next(results) for _ in wanted]
        difference = Expected(graph, each, wanted).difference(got, exact=[exact] * len(wanted))
        shown = [np.array2string(np.asarray(a), threshold=60) for a in each]
        assert difference is None, "\n".join([difference, str(graph), "with", *shown])
