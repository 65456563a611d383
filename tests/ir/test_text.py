"""A graph's text comes back as the same graph; an error says on which line and why it is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradc.ir import (
    Builder,
    Graph,
    ParseError,
    Place,
    Source,
    Type,
    constant,
    emit,
    emit_node,
    evaluate,
    parse,
    parse_type,
    verify,
)
from gradc.ir.types import F32, F64, I64, NAMES
from tests.programs.generate import Program, programs
from tests.programs.values import identical


def there_and_back(graph: Graph) -> Graph:
    text = str(graph)
    back = parse(text)
    assert str(back) == text
    verify(back)
    return back


def unary(name: str | None, **fields) -> Graph:
    """A graph of one input with a name, negated."""
    with Builder() as builder:
        x = builder.add_input(Type(F64, (2,)), name)
        y = emit("neg", x)
        y.name = name
        return builder.build("f", [y, x], **fields)


NAMES_OF_VALUES = [
    "x",
    "params.W1",
    "layers[0].b",
    "params['W 1']",
    'p["a.b"]',
    "x.",
    "x[",
    "x]",
    "[0]",
    "0",
    "a-b",
    "größe",
    "Ω",
    "x y",
    "return",
    "graph",
    "inf",
    "nan",
    "inf.x",
    "nan[0]",
    "infinity",
    "None",
    "True",
    "arena",
    "f64[2]",
    "f64",
    "%0",
    "%1",
    "%",
    "#",
    "->",
    "_",
    "x=1",
    "x\ny",
    "x#note",
    "",
    None,
]


@pytest.mark.parametrize("name", NAMES_OF_VALUES)
def test_any_name_comes_back(name: str | None):
    there_and_back(unary(name))


@given(st.text(max_size=12), st.text(max_size=12))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_two_names_come_back(a: str, b: str):
    with Builder() as builder:
        x, y = builder.add_input(Type(F64), a), builder.add_input(Type(F64), b)
        z = x - y
        z.name = a
        graph = builder.build(b, [z, y])
    back = there_and_back(graph)
    assert evaluate(back, np.array(3.0), np.array(1.0))[0] == 2.0


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 10**6))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_note_message_and_source_come_back(note: str, message: str, line: int):
    with Builder() as builder:
        x = builder.add_input(Type(F64), "x")
        with builder.at(Source(f"/home/{message}", line)):
            y = emit("require", x, emit("eq", x, x), message=message)
        graph = builder.build("f", [y], notes=(note, "second"))
    back = there_and_back(graph)
    assert back.nodes[1].attrs["message"] == message
    assert len(back.notes) == 2


@pytest.mark.parametrize("dtype", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 2), (2, 0)], ids=str)
def test_constants_come_back_bit_for_bit(dtype: np.dtype, shape: tuple[int, ...]):
    rng = np.random.default_rng(5)
    for _ in range(10):
        size = int(np.prod(shape))
        bits = rng.integers(0, 256, size * dtype.itemsize, np.uint8)
        array = (bits % 2 if dtype.kind == "b" else bits).view(dtype).reshape(shape)
        with Builder() as builder:
            graph = builder.build("f", [constant(array, Type(dtype, shape))])
        (back,) = evaluate(there_and_back(graph))
        assert identical(back, array).all()


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize(
    "value",
    [np.nan, np.inf, -np.inf, -0.0, 0.0, 0.1, 1e-45, 5e-324, 1e16, 123456789.0, 3.4028235e38, 1 / 3, 7],
)
def test_float_splats_come_back(dtype: np.dtype, value: float):
    with Builder() as builder:
        graph = builder.build("f", [constant(value, Type(dtype, (2,)))])
    wanted = np.full(2, value, dtype)
    assert identical(evaluate(there_and_back(graph))[0], wanted).all()
    assert identical(evaluate(graph)[0], wanted).all()


def test_a_float32_is_printed_as_short_as_it_can_be():
    with Builder() as builder:
        graph = builder.build("f", [constant(0.1, Type(F32))])
    assert "value=0.1)" in str(graph)


def test_pads_take_every_value():
    for value in (np.nan, -np.inf, -0.0, 0.1):
        with Builder() as builder:
            x = builder.add_input(Type(F32, (1,)), "x")
            y = emit("pad", x, shape=(3,), starts=(1,), steps=(1,), value=value)
            graph = builder.build("f", [y])
        leaf = np.ones(1, np.float32)
        got, wanted = evaluate(there_and_back(graph), leaf)[0], evaluate(graph, leaf)[0]
        assert identical(got, wanted).all()


def test_nested_graphs_several_results_and_sources():
    with Builder() as builder:
        a, b = (builder.add_input(Type(F64, (2,)), name) for name in "ab")
        with builder.at(Source("/somewhere/net.py", 7)):
            inner = builder_of_pair()
            first, second = emit_node("call", a, b, body=inner).results
        second.name = "second"
        deep = emit_node("call", first, second, body=nest(inner)).results
        graph = builder.build("outer", [*deep, second, a, a])
    back = there_and_back(graph)
    assert "# net.py:7" in str(back)
    leaves = np.arange(2.0), np.ones(2)
    for g, w in zip(evaluate(back, *leaves), evaluate(graph, *leaves), strict=True):
        assert (g == w).all()


def builder_of_pair() -> Graph:
    with Builder() as inner:
        x, y = (inner.add_input(Type(F64, (2,)), name) for name in "xy")
        with inner.at(Source("inner.py", 3)):
            return inner.build("pair", [x + y, x * y], notes=("a note inside",))


def nest(graph: Graph) -> Graph:
    with Builder() as inner:
        xs = [inner.add_input(x.type, x.name) for x in graph.inputs]
        return inner.build("nest", emit_node("call", *xs, body=graph).results)


def test_places_arena_and_notes():
    text = """\
graph planned(x: f64[2], y: f32[]) -> (f64[2], f32[]) arena 128 {
  # note: log_sum_exp at net.py:12
  # note: second
  %0: f64[2] @arena+64 = neg(x)
  %1: f64[2] @out0 = add(%0, x)
  %2: f32[] @in1 = neg(y)
  return %1, %2
}"""
    graph = parse(text)
    assert str(graph) == text
    assert graph.arena == 128
    assert graph.notes == ("log_sum_exp at net.py:12", "second")
    assert [node.places for node in graph.nodes] == [
        (Place("arena", 64),),
        (Place("out", 0),),
        (Place("in", 1),),
    ]


@pytest.mark.parametrize("text", ["f64[]", "bool[3]", "u8[1, 0, 2]"])
def test_types_come_back(text: str):
    assert str(parse_type(text)) == text


def test_a_graph_without_inputs_nodes_or_outputs():
    assert str(parse("graph f() -> () {\n  return\n}")) == "graph f() -> () {\n  return\n}"


GOOD = """graph f(x: f64[2], y: f64[2]) -> (f64[2]) {
  %0: f64[2] = add(x, y)
  return %0
}"""

MISTAKES = {
    "add(x, y)": {
        "add(x, z)": "line 2 of the graph: z is not defined here",
        "plus(x, y)": "line 2 of the graph: there is no op 'plus'",
        "add(x)": "line 2 of the graph: add: add takes 2 inputs, not 1",
        "add(x, y, z=)": "line 2 of the graph: expected a literal, found ')'",
        "add(x, y, axis=0)": "line 2 of the graph",
        "matmul(x, y)": "line 2 of the graph: matmul: ",
        "add(x y)": "line 2 of the graph: expected ',', found 'y'",
        "add(x, ?)": "line 2 of the graph: unexpected '?'",
        "add(x, y": "line 3 of the graph",
        "add": "line 3 of the graph: expected '(', found 'return'",
        "exp(x))": "line 2 of the graph",
        "constant(value='one)": "line 2 of the graph: unexpected",
    },
    "%0: f64[2]": {
        "%0: f64[3]": "line 2 of the graph: add gives [f64[2]], but the text says [f64[3]]",
        "%0: g64[2]": "line 2 of the graph: 'g64[2]' is not a type",
        "x: f64[2]": "line 2 of the graph: x is defined twice",
        "%0": "line 2 of the graph: expected ':', found '='",
    },
    "return %0": {"return %1": "line 3 of the graph: %1 is not defined here", "": "line"},
    "-> (f64[2])": {"-> (f32[2])": "line 1 of the graph: f returns [f64[2]] but declares [f32[2]]"},
    "3\n}": {},
    "%0\n}": {"%0\n": "line", "%0\n}\n}": "line 5 of the graph: something follows the graph"},
}


@pytest.mark.parametrize(
    ("right", "wrong", "message"), [(a, b, m) for a, pairs in MISTAKES.items() for b, m in pairs.items()]
)
def test_a_mistake_is_reported_with_its_line(right: str, wrong: str, message: str):
    with pytest.raises(ParseError) as caught:
        parse(GOOD.replace(right, wrong, 1))
    report = str(caught.value)
    assert report.startswith(message), report
    assert len(report.splitlines()) <= 12


@pytest.mark.parametrize("text", ["", "\n\n", "graph", "graph f(", "hello", "graph f() -> () {", '"', "\x00"])
def test_no_graph_at_all(text: str):
    with pytest.raises(ParseError):
        parse(text)


@given(st.data())
@settings(max_examples=400, deadline=None, derandomize=True)
def test_a_damaged_text_is_a_graph_or_a_parse_error(data: st.DataObject):
    text = str(parse(GOOD))
    at = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 6))
    piece = data.draw(
        st.sampled_from(["", "(", ")", "]", "x", "0", "-", "=", "f64", "[", "#", "\n", "@in0", "1e999"])
    )
    try:
        graph = parse(text[:at] + piece + text[at + length :])
    except ParseError:
        return
    assert str(parse(str(graph))) == str(graph)


@given(programs(internal=True))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_random_programs_come_back(program: Program):
    back = there_and_back(program.graph)
    leaves = program.leaves(1, 0.1)
    got = evaluate(back, *leaves, constants=program.graph.constants)
    for g, w in zip(got, evaluate(program.graph, *leaves), strict=True):
        assert identical(g, w).all()


def test_the_index_dtype_is_printed():
    with Builder() as builder:
        graph = builder.build("f", [emit("iota", type=Type(I64, (3,)), axis=0)])
    assert "i64[3] = iota(axis=0)" in str(there_and_back(graph))
