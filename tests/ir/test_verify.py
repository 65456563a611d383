"""Each rule of the IR, broken once: the report says what, in which pass and at which line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gradc.ir import OPS, Builder, Graph, Node, Place, Source, Type, Value, VerifyError, emit, parse, verify
from gradc.ir.types import F32, F64

GOOD = """graph f(x: f64[2], y: f64[2]) -> (f64[2]) {
  %0: f64[2] = add(x, y)                                                                # net.py:3
  %1: f64[2] = mul(%0, x)                                                               # net.py:4
  %2: f64[2] = neg(%1)                                                                  # net.py:5
  return %2
}"""


def good() -> Graph:
    return parse(GOOD)


def changed(graph: Graph, at: int, **fields: object) -> Graph:
    """The graph with one node made anew; later nodes keep using the old one's results."""
    node = graph.nodes[at]
    parts = {name: getattr(node, name) for name in ("op", "inputs", "attrs", "types", "source", "places")}
    nodes = list(graph.nodes)
    nodes[at] = Node(**{**parts, **fields})
    if at == len(nodes) - 1:
        return graph.replace(nodes=nodes, outputs=[nodes[at].result])
    return graph.replace(nodes=nodes)


def out_of_order() -> Graph:
    graph = good()
    return graph.replace(nodes=[graph.nodes[1], graph.nodes[0], graph.nodes[2]])


def foreign_value() -> Graph:
    return changed(good(), 2, inputs=(Value(Type(F64, (2,)), name="stray"),))


def wrong_type() -> Graph:
    return changed(good(), 2, types=(Type(F32, (2,)),))


def wrong_inputs() -> Graph:
    graph = good()
    return changed(graph, 2, op=OPS["add"])


def unknown_attribute() -> Graph:
    return changed(good(), 2, attrs={"axis": 0})


def no_literal() -> Graph:
    graph = good()
    (x, _) = graph.inputs
    return changed(graph, 2, op=OPS["reshape"], inputs=(x,), attrs={"shape": (np.int64(2),)})


def output_of_nowhere() -> Graph:
    return good().replace(outputs=[Value(Type(F64), name="lost")])


def input_twice() -> Graph:
    graph = good()
    return graph.replace(inputs=[*graph.inputs, graph.inputs[0]])


def node_twice() -> Graph:
    graph = good()
    return graph.replace(nodes=[*graph.nodes, graph.nodes[2]])


def outside_of_the_arena() -> Graph:
    return changed(good(), 2, places=(Place("arena", 56),)).replace(arena=64)


def too_few_places() -> Graph:
    return changed(good(), 2, places=(Place("out", 0), Place("out", 1))).replace(arena=64)


def no_such_output() -> Graph:
    return changed(good(), 2, places=(Place("out", 1),)).replace(arena=64)


def too_small_an_input() -> Graph:
    graph = good()
    graph.inputs.append(Value(Type(F64), name="small"))
    return changed(graph, 2, places=(Place("in", 2),)).replace(arena=64)


def inside_of_a_call() -> Graph:
    with Builder() as builder:
        x, y = (builder.add_input(Type(F64, (2,)), name) for name in "xy")
        with builder.at(Source("outer.py", 9)):
            y = emit("call", x, y, body=out_of_order())
        return builder.build("outer", [y])


REPORTS: dict[Callable[[], Graph], str] = {
    out_of_order: """\
net.py:4
mul uses a value that is not defined before it: <value: f64[2] = add>
in graph f, after a pass, line 2:
  -> f64[2] = mul(_: f64[2], x: f64[2])
     f64[2] = add(x: f64[2], y: f64[2])
     f64[2] = neg(_: f64[2])""",
    foreign_value: """\
net.py:5
neg uses a value that is not defined before it: <stray: f64[2] = input>
in graph f, after a pass, line 4:
     f64[2] = add(x: f64[2], y: f64[2])
     f64[2] = mul(_: f64[2], x: f64[2])
  -> f64[2] = neg(stray: f64[2])""",
    wrong_type: """\
net.py:5
neg has type [f32[2]], its rule gives [f64[2]]
in graph f, after a pass, line 4:
     f64[2] = add(x: f64[2], y: f64[2])
     f64[2] = mul(_: f64[2], x: f64[2])
  -> f32[2] = neg(_: f64[2])""",
    wrong_inputs: """\
net.py:5
add: add takes 2 inputs, not 1
in graph f, after a pass, line 4:
     f64[2] = add(x: f64[2], y: f64[2])
     f64[2] = mul(_: f64[2], x: f64[2])
  -> f64[2] = add(_: f64[2])""",
    unknown_attribute: """\
net.py:5
neg: same_type.<locals>.infer() got an unexpected keyword argument 'axis'
in graph f, after a pass, line 4:
     f64[2] = add(x: f64[2], y: f64[2])
     f64[2] = mul(_: f64[2], x: f64[2])
  -> f64[2] = neg(_: f64[2], axis=...)""",
    no_literal: """\
net.py:5
reshape has shape=np.int64(2), which is no Python literal but a int64
in graph f, after a pass, line 4:
     f64[2] = add(x: f64[2], y: f64[2])
     f64[2] = mul(_: f64[2], x: f64[2])
  -> f64[2] = reshape(x: f64[2], shape=...)""",
    output_of_nowhere: """\
the graph returns a value that is not defined in it: <lost: f64[] = input>
in graph f, after a pass""",
    input_twice: """\
input x is not a fresh value
in graph f, after a pass""",
    node_twice: """\
net.py:5
neg defines a value twice
in graph f, after a pass, line 4:
     f64[2] = add(x: f64[2], y: f64[2])
     f64[2] = mul(_: f64[2], x: f64[2])
  -> f64[2] = neg(_: f64[2])
     f64[2] = neg(_: f64[2])""",
    outside_of_the_arena: """\
net.py:5
neg lies at arena+56, outside of the arena of 64 bytes
in graph f, after a pass, line 4:
     f64[2] = add(x: f64[2], y: f64[2])
     f64[2] = mul(_: f64[2], x: f64[2])
  -> f64[2] = neg(_: f64[2])""",
    too_few_places: """\
net.py:5
neg has 2 places for 1 results
in graph f, after a pass, line 4:
     f64[2] = add(x: f64[2], y: f64[2])
     f64[2] = mul(_: f64[2], x: f64[2])
  -> f64[2] = neg(_: f64[2])""",
    no_such_output: """\
net.py:5
neg of f64[2] lies at out1, which does not hold it
in graph f, after a pass, line 4:
     f64[2] = add(x: f64[2], y: f64[2])
     f64[2] = mul(_: f64[2], x: f64[2])
  -> f64[2] = neg(_: f64[2])""",
    too_small_an_input: """\
net.py:5
neg of f64[2] lies at in2, which does not hold it
in graph f, after a pass, line 4:
     f64[2] = add(x: f64[2], y: f64[2])
     f64[2] = mul(_: f64[2], x: f64[2])
  -> f64[2] = neg(_: f64[2])""",
    inside_of_a_call: """\
net.py:4
mul uses a value that is not defined before it: <value: f64[2] = add>
in graph f, after a pass, line 2:
  -> f64[2] = mul(_: f64[2], x: f64[2])
     f64[2] = add(x: f64[2], y: f64[2])
     f64[2] = neg(_: f64[2])""",
}


@pytest.mark.parametrize("broken", REPORTS, ids=lambda broken: broken.__name__)
def test_a_broken_rule_is_reported(broken: Callable[[], Graph]):
    verify(good())
    with pytest.raises(VerifyError) as caught:
        verify(broken(), after="a pass")
    assert str(caught.value) == REPORTS[broken]


def test_a_report_is_short_even_for_a_long_graph():
    with Builder() as builder:
        x = builder.add_input(Type(F64, (2,)), "a_name_of_some_length" * 20)
        for _ in range(500):
            x = emit("concat", *[x] * 30, axis=0)
            x = emit("slice", x, starts=(0,), sizes=(2,), steps=(1,))
        graph = builder.build("long", [x])
    graph.nodes[500] = Node(OPS["neg"], graph.nodes[500].inputs, {}, (Type(F64, (7,)),))
    with pytest.raises(VerifyError) as caught:
        verify(graph)
    lines = str(caught.value).splitlines()
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 120


def test_after_is_optional():
    with pytest.raises(VerifyError) as caught:
        verify(output_of_nowhere())
    assert "after" not in str(caught.value)
