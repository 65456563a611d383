"""Unfolding of custom pullbacks: the body stays, in nested graphs too, and cse sees what it shares."""

from __future__ import annotations

import numpy as np

from gradc.ir import Builder, Graph, Type, emit, emit_node, evaluate, verify
from gradc.ir.types import F64
from gradc.passes.cse import cse
from gradc.passes.dce import dce
from gradc.passes.grad import vjp
from gradc.passes.unfold import unfold

V = Type(F64, (3,))


def steered(holding: bool) -> Graph:
    """exp(x), with the pullback 2 g exp(x); in a call if `holding`."""
    with Builder() as builder:
        x = builder.add_input(V, "x")
        body = builder.build("body", [emit("exp", x)])
    with Builder() as builder:
        x, g = builder.add_input(V, "x"), builder.add_input(V, "g")
        pullback = builder.build("pullback", [g * emit("exp", x) * 2.0])
    with Builder() as builder:
        x = builder.add_input(V, "x")
        y = emit("custom", x, body=body, pullback=pullback, targets=(0,))
        graph = builder.build("f", [y + 1.0])
    if not holding:
        return graph
    with Builder() as builder:
        x = builder.add_input(V, "x")
        return builder.build(
            "outer", [emit("call", x, body=graph), *emit_node("call", x, body=graph).results]
        )


def test_the_body_takes_the_place() -> None:
    x = np.array([0.0, 1.0, -1.0])
    for holding in (False, True):
        graph = steered(holding)
        after = unfold(graph)
        verify(after)
        assert "custom" in {node.op.name for node in graph.walk()}
        assert "custom" not in {node.op.name for node in after.walk()}
        for a, b in zip(evaluate(graph, x), evaluate(after, x), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_graph_without_any_stays_itself() -> None:
    graph = unfold(steered(False))
    assert unfold(graph) is graph


def test_body_and_pullback_share() -> None:
    graph = vjp(steered(False), [0])
    after = dce(cse(unfold(graph)))
    assert [node.op.name for node in after.nodes].count("exp") == 1
    x = np.array([0.0, 1.0, -1.0])
    np.testing.assert_allclose(evaluate(after, x, np.ones(3))[1], 2 * np.exp(x))
