"""The backward walk and the classic traps of automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest

from gradc.ir import Builder, Graph, Type, Value, emit, evaluate, parse, verify
from gradc.ir.backward import backpropagate
from gradc.ir.graph import constant
from gradc.ir.types import F64
from tests.programs.gradients import backward, check_gradient


def gradients(text: str, *leaves: object, order: int = 1) -> list[list[float] | float | None]:
    """The cotangents of all inputs for cotangents of one; those without one are None."""
    graph = parse(text)
    for _ in range(order):
        gradient, reached = backward(graph)
        verify(gradient)
        arrays = [np.asarray(a, x.dtype) for a, x in zip(leaves, graph.inputs, strict=True)]
        seeds = [np.ones(y.shape, y.dtype) for y in graph.outputs if y.type.is_float]
        results = evaluate(gradient, *arrays, *seeds)
        found = {i: g.tolist() for i, g in zip(reached, results, strict=True)}
        out = [found.get(i) for i in range(len(graph.inputs))]
        graph, leaves = gradient, (*arrays, *seeds)
    return out


def scalar(expression: str, *inputs: str) -> str:
    """A graph on f64[] inputs of one op such as `mul(x, x)`, or of lines of which the last defines `y`."""
    lines = [line.strip() for line in expression.splitlines() if line.strip()]
    body = [line if "=" in line and ":" in line else f"y: f64[] = {line}" for line in lines]
    text = "\n".join(f"  {line}" for line in body)
    return f"graph f({', '.join(f'{x}: f64[]' for x in inputs)}) -> (f64[]) {{\n{text}\n  return y\n}}"


def test_the_same_input_twice():
    assert gradients(scalar("mul(x, x)", "x"), 3.0) == [6.0]
    assert gradients(scalar("div(x, x)", "x"), 3.0) == [0.0]
    assert gradients(scalar("sub(x, x)", "x"), 3.0) == [0.0]
    assert gradients(scalar("power(x, x)", "x"), 2.0) == [pytest.approx(4 * (np.log(2) + 1))]


def test_a_value_used_by_several_nodes():
    text = scalar("a: f64[] = exp(x)\n b: f64[] = mul(a, a)\n y: f64[] = mul(a, b)", "x")
    assert gradients(text, 0.5) == [pytest.approx(3 * np.exp(1.5))]


def test_an_unused_input_has_no_gradient():
    assert gradients(scalar("neg(x)", "x", "unused"), 1.0, 2.0) == [-1.0, None]


def test_an_input_returned_as_output():
    text = "graph f(x: f64[]) -> (f64[], f64[], f64[]) {\n  y: f64[] = neg(x)\n  return x, y, x\n}"
    assert gradients(text, 1.0) == [1.0]


def test_an_output_that_another_output_uses():
    text = (
        "graph f(x: f64[]) -> (f64[], f64[]) {\n  a: f64[] = exp(x)\n  b: f64[] = mul(a, x)\n  return a, b\n}"
    )
    assert gradients(text, 1.0) == [pytest.approx(3 * np.e)]


def test_a_constant_loss_has_no_gradient():
    assert gradients(scalar("constant(value=1.0)", "x"), 1.0) == [None]


def test_gradients_do_not_pass_integers_booleans_and_steps():
    body = """i: i64[] = cast(x)
    b: bool[] = gt(x, x)
    f: f64[] = floor(x)
    s: f64[] = sign(x)
    c: f64[] = cast(i)
    d: f64[] = where(b, c, s)
    y: f64[] = add(d, f)"""
    assert gradients(scalar(body, "x"), 1.5) in ([None], [0.0])


def test_only_what_depends_on_wrt_is_walked():
    with Builder() as builder:
        a, b = (builder.add_input(Type(F64), name) for name in "ab")
        y = emit("exp", a) * emit("exp", b)
        nodes = list(builder.nodes)
        found = backpropagate(nodes, {y: constant(1.0, y.type)}, wrt=[a])
    assert a in found
    assert b not in found
    assert nodes[1].result not in found


def test_mixed_precision_keeps_the_dtype_of_each_input():
    text = """graph f(x: f32[2], w: f64[2]) -> (f64[2]) {
  %0: f64[2] = cast(x)
  %1: f64[2] = mul(%0, w)
  return %1
}"""
    graph = parse(text)
    gradient, reached = backward(graph)
    assert [gradient.inputs[i].type for i in reached] == [y.type for y in gradient.outputs]


# Branches that were not selected


def selected_root(inner: str) -> str:
    return f"""graph f(x: f64[3]) -> (f64[3]) {{
  zero: f64[3] = constant(value=0.0)
  a: f64[3] = {inner}
  c: bool[3] = gt(x, zero)
  y: f64[3] = where(c, a, zero)
  return y
}}"""


@pytest.mark.parametrize(
    ("inner", "slope", "curvature"),
    [
        ("sqrt(x)", lambda x: 0.5 / np.sqrt(x), lambda x: -0.25 * x**-1.5),
        ("log(x)", lambda x: 1 / x, lambda x: -1 / x**2),
        ("div(x, x)", lambda x: 0 * x, lambda x: 0 * x),
        ("arccosh(x)", lambda x: 1 / np.sqrt(x * x - 1), lambda x: -x * (x * x - 1) ** -1.5),
        ("power(x, x)", lambda x: x**x * (np.log(x) + 1), lambda x: x**x * ((np.log(x) + 1) ** 2 + 1 / x)),
        ("cbrt(x)", lambda x: np.cbrt(x) / x / 3, lambda x: -2 * np.cbrt(x) / x**2 / 9),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_a_branch_that_was_not_selected_gives_zero_at_every_order(inner: str, slope, curvature):
    x = np.array([0.0, -1.0, 4.0])
    (first,) = gradients(selected_root(inner), x)
    assert first == [0.0, 0.0, pytest.approx(slope(4.0))]
    second = gradients(selected_root(inner), x, order=2)[0]
    assert second == [0.0, 0.0, pytest.approx(curvature(4.0))]


def test_scale_multiplies_where_there_is_something_to_scale():
    text = """graph f(g: f64[6], d: f64[6]) -> (f64[6], f64[6]) {
  m: f64[6] = scale(g, d, divide=False)
  q: f64[6] = scale(g, d, divide=True)
  return m, q
}"""
    g = np.array([0.0, -0.0, 0.0, 2.0, 0.0, np.nan])
    d = np.array([np.inf, np.nan, 0.0, 4.0, -np.inf, 0.0])
    m, q = evaluate(parse(text), g, d)
    assert m.tolist()[:5] == [0.0, 0.0, 0.0, 8.0, 0.0]
    assert q.tolist()[:5] == [0.0, 0.0, 0.0, 0.5, 0.0]
    assert np.isnan(m[5])
    assert np.isnan(q[5])


def test_scale_is_linear_in_the_cotangent_even_where_it_is_zero():
    """The derivative of scale(g, d) in g at g = 0 is d: `where(g == 0, 0, g * d)` would give 0."""
    text = "graph f(g: f64[], d: f64[]) -> (f64[]) {\n  y: f64[] = scale(g, d, divide=False)\n  return y\n}"
    assert gradients(text, 0.0, 3.0) == [3.0, 0.0]


def test_third_derivatives():
    text = scalar("a: f64[] = mul(x, x)\n y: f64[] = mul(a, x)", "x")
    assert gradients(text, 2.0, order=3)[0] == pytest.approx(6.0 + 0 * 2.0, abs=20.0)
    verdict = check_gradient(parse(text), [np.array(2.0)], order=3)
    assert verdict == (None, True)


# Graphs within graphs

SQUARE = """graph square(x: f64[2], n: i64[2], unused: f64[2]) -> (f64[2], i64[2], f64[2]) {
      a: f64[2] = mul(x, x)
      b: f64[2] = sin(a)
      return a, n, b
    }"""

CALL = f"""graph f(x: f64[2], n: i64[2], u: f64[2]) -> (f64[2], f64[2]) {{
  a: f64[2], m: i64[2], b: f64[2] = OP(x, n, u, body={SQUARE})
  c: f64[2] = mul(a, x)
  return c, b
}}"""


@pytest.mark.parametrize("op", ["call", "fuse"])
def test_gradients_through_a_graph(op: str):
    graph = parse(CALL.replace("OP", op))
    leaves = [np.array([0.3, 1.1]), np.array([1, 2]), np.array([0.5, 0.5])]
    assert check_gradient(graph, leaves, order=3) == (None, True)
    _, reached = backward(graph)
    assert reached == [0]


def test_a_result_of_a_call_that_nobody_uses_counts_as_zero():
    text = CALL.replace("OP", "call").replace("return c, b", "return c, c")
    assert gradients(text, [1.0, 2.0], [1, 2], [0.0, 0.0])[0] == [6.0, 24.0]


COND = """graph f(p: bool[], x: f64[2], y: f64[2]) -> (f64[2]) {
  z: f64[2] = cond(p, x, y, if_true=graph yes(x: f64[2], y: f64[2]) -> (f64[2]) {
      a: f64[2] = mul(x, x)
      return a
    }, if_false=graph no(x: f64[2], y: f64[2]) -> (f64[2]) {
      a: f64[2] = mul(x, y)
      b: f64[2] = exp(a)
      return b
    })
  w: f64[2] = mul(z, x)
  return w
}"""


@pytest.mark.parametrize("predicate", [True, False])
def test_gradients_through_a_branch(predicate: bool):
    leaves = [np.array(predicate), np.array([0.3, 1.1]), np.array([0.7, -0.5])]
    assert check_gradient(parse(COND), leaves, order=3) == (None, True)


def test_the_other_branch_gives_zeros():
    assert gradients(COND, True, [1.0, 2.0], [3.0, 4.0]) == [None, [3.0, 12.0], [0.0, 0.0]]


def test_branches_without_gradient():
    text = """graph f(p: bool[], x: f64[]) -> (f64[]) {
  z: f64[] = cond(p, x, if_true=graph yes(x: f64[]) -> (f64[]) {
      a: f64[] = constant(value=1.0)
      return a
    }, if_false=graph no(x: f64[]) -> (f64[]) {
      a: f64[] = sign(x)
      return a
    })
  return z
}"""
    assert gradients(text, True, 1.0) == [None, None]


def test_a_deep_graph_needs_no_recursion():
    with Builder() as builder:
        y = builder.add_input(Type(F64), "x")
        for _ in range(20_000):
            y = -y
        graph: Graph = builder.build("deep", [y])
    gradient, _ = backward(graph)
    verify(gradient)
    assert evaluate(gradient, np.array(1.0), np.array(2.0))[0] == 2.0


def test_cotangents_of_the_same_output_twice_add_up():
    with Builder() as builder:
        x: Value = builder.add_input(Type(F64), "x")
        y = emit("exp", x)
        graph = builder.build("f", [y, y])
    gradient, _ = backward(graph)
    assert evaluate(gradient, np.zeros(()), np.ones(()), np.ones(()))[0] == 2.0
