"""Common subexpressions: equal nodes become one, others do not."""

import numpy as np

from gradc.ir import Source, constant, emit, evaluate, parse_type, verify
from gradc.passes.cse import cse
from tests.passes.equivalence import build, check_same, expression
from tests.passes.vocabulary import M, V, const, exp, maximum, neg, total


def merged(function, *types):
    """The number of nodes before and after."""
    graph = build(function, *types)
    text = str(graph)
    after = cse(graph)
    verify(after, after="cse")
    assert str(graph) == text
    assert expression(after) == expression(graph)
    check_same(graph, after, "cse", "sums")
    return len(graph.nodes), len(after.nodes)


def test_equal_nodes_are_one():
    assert merged(lambda x: exp(x) * exp(x), V) == (3, 2)
    assert merged(lambda x: (exp(x) + 1) * (exp(x) + 1), V) == (7, 4)


def test_what_differs_stays():
    assert merged(lambda x, y: exp(x) * exp(y), V, V) == (3, 3)
    assert merged(lambda x: (total(x, 0), total(x, 1)), M) == (2, 2)
    assert merged(lambda x: x - neg(x) - (neg(x) - x), V) == (5, 4)


def test_order_does_not_matter_where_it_does_not():
    graph = build(lambda x, y: (x + y) * (y + x), V, V)
    assert [node.op.name for node in cse(graph).nodes] == ["add", "mul"]
    graph = build(lambda x, y: maximum(x, y) - maximum(y, x), V, V)
    assert cse(graph) is graph  # of 0.0 and -0.0 one may come out or the other


def test_zeros_have_a_sign_and_nan_is_nan():
    assert merged(lambda x: (x + 0.0, x + -0.0), V) == (4, 4)
    assert merged(lambda x: (x + np.nan, x + np.nan), V) == (4, 2)
    assert merged(lambda: (const(1.0, "f64[]"), const(1.0, "f32[]"))) == (2, 2)


def test_the_name_stays():
    graph = build(lambda x: (exp(x), exp(x)), V)
    first, second = graph.nodes
    second.result.name = "h"
    first.source, second.source = Source("net.py", 1), Source("net.py", 2)
    (node,) = cse(graph).nodes
    assert node.result.name == "h" and node.source == Source("net.py", 1)
    assert first.result.name is None


def layer(name, line):
    graph = build(lambda x: exp(neg(x)), V, name=name)
    for node in graph.nodes:
        node.source = Source("net.py", line)
        node.result.name = f"h{line}"
    return graph


def test_nested_graphs_are_compared_by_what_they_compute():
    one, two = layer("one", 1), layer("two", 2)
    other = build(lambda x: exp(exp(x)), V)
    graph = build(lambda x: tuple(emit("call", x, body=body) for body in (one, two, other)), V)
    after = cse(graph)
    assert len(after.nodes) == 2 and after.outputs[0] is after.outputs[1]
    check_same(graph, after, "cse")


def test_nested_graphs_are_entered_but_not_crossed():
    body = build(lambda x: exp(x) + exp(x), V)
    graph = build(lambda x: (exp(x), emit("call", x, body=body)), V)
    after = cse(graph)
    assert [node.op.name for node in after.walk()] == ["exp", "call", "exp", "add"]


def test_captured_arrays_are_told_apart():
    type = parse_type(V)

    def call(value):
        body = build(lambda: emit("captured", type=type, name="w"))
        body.constants["w"] = np.full(3, value)
        return body

    a, b, c = call(1.0), call(2.0), call(1.0)
    c.constants["w"] = a.constants["w"]
    graph = build(lambda: tuple(emit("call", body=body) for body in (a, b, c)))
    after = cse(graph)
    assert len(after.nodes) == 2
    assert [y[0] for y in evaluate(after)] == [1.0, 2.0, 1.0]


def test_constants_written_out():
    graph = build(
        lambda: (constant([1.0, 2.0, 3.0], parse_type(V)), constant([1.0, 2.0, 3.0], parse_type(V)))
    )
    assert len(cse(graph).nodes) == 1


def test_a_deep_graph():
    def program(x):
        a = b = x
        for _ in range(20_000):
            a, b = neg(a), neg(b)
        return a + b

    assert len(cse(build(program, V)).nodes) == 20_001
