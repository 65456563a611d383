"""Plant mistakes in the op table and in passes: the checkers must fail and name the culprit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gradc.ir import OPS, Builder, Graph, Node, Op, Type, emit, evaluate, parse
from gradc.ir.graph import substitute
from gradc.ir.types import F64
from tests.ir.test_table import (
    test_gradients_of_two_orders_are_those_of_finite_differences as table_gradient,
)
from tests.ir.test_table import test_types_and_values_are_those_of_numpy as table_value
from tests.programs.check import BrokenError, check, check_smooth
from tests.programs.gradients import check_gradient
from tests.programs.shrink import shrink
from tests.programs.stages import Stage

VECTOR = Type(F64, (3,))


def with_op(monkeypatch: pytest.MonkeyPatch, name: str, **changes: object) -> None:
    """Exchange one row of the table for the time of a test."""
    row = OPS[name]
    changed = object.__new__(Op)
    for field in ("name", "numpy", "infer", "vjp", "elementwise", "arity"):
        object.__setattr__(changed, field, changes.get(field, getattr(row, field)))
    monkeypatch.setitem(OPS, name, changed)


@pytest.mark.parametrize("factor", [2.001, 1.999, -2.0, 0.0])
def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch, factor: float):
    """d(x²) = factor x dx."""
    with_op(monkeypatch, "tanh", vjp=lambda g, y, x: g * (1 - y * y) * (factor / 2))
    with pytest.raises(AssertionError, match=r"finite differences give.*\n.*graph tanh"):
        table_gradient("tanh", VECTOR)


def test_a_wrong_gradient_of_one_operand_is_found(monkeypatch: pytest.MonkeyPatch):
    with_op(monkeypatch, "mul", vjp=lambda g, y, a, b: (g * b, g * a * 1.0005))
    with pytest.raises(AssertionError, match="graph mul"):
        table_gradient("mul", VECTOR)


def test_a_missing_gradient_is_found(monkeypatch: pytest.MonkeyPatch):
    with_op(monkeypatch, "arctan2", vjp=lambda g, y, a, b: (None, g * b))
    with pytest.raises(AssertionError, match="graph arctan2"):
        table_gradient("arctan2", VECTOR)


def test_a_wrong_second_derivative_is_found(monkeypatch: pytest.MonkeyPatch):
    """A right first derivative that hides its dependence on x."""
    with_op(monkeypatch, "sin", vjp=lambda g, y, x: g * emit("stop_gradient", emit("cos", x)))
    with pytest.raises(AssertionError, match="orders"):
        graph = parse("graph f(x: f64[3]) -> (f64[3]) {\n  y: f64[3] = sin(x)\n  return y\n}")
        gradient = check_gradient(graph, [np.array([0.3, 1.0, -0.5])], order=2)
        assert gradient.message is None, f"orders: {gradient.message}"


def test_a_wrong_value_is_found(monkeypatch: pytest.MonkeyPatch):
    with_op(monkeypatch, "expm1", numpy=lambda x: np.exp(x) - 1)
    with pytest.raises(AssertionError, match=r"graph expm1[\s\S]*but NumPy gives"):
        table_value("expm1", VECTOR)


def test_a_wrong_value_at_special_arguments_is_found(monkeypatch: pytest.MonkeyPatch):
    with_op(monkeypatch, "maximum", numpy=np.fmax)
    with pytest.raises(AssertionError, match="graph maximum"):
        for size in (3, 30, 300):
            table_value("maximum", Type(F64, (size,)))


def test_a_wrong_type_rule_is_found(monkeypatch: pytest.MonkeyPatch):
    with_op(monkeypatch, "argmax", infer=lambda x, *, axis: Type(F64, x.shape[:axis] + x.shape[axis + 1 :]))
    with pytest.raises(AssertionError, match="argmax"):
        table_value("argmax", Type(F64, (2, 3)))


def test_a_modified_argument_is_found(monkeypatch: pytest.MonkeyPatch):
    def negative(x: np.ndarray) -> np.ndarray:
        return np.negative(x, out=x)

    with_op(monkeypatch, "neg", numpy=negative)
    with pytest.raises(AssertionError):
        table_value("neg", VECTOR)


# Passes

PROGRAM = parse(
    """graph f(x: f64[3], y: f64[3]) -> (f64[3], f64[]) {
  a: f64[3] = mul(x, y)
  b: f64[3] = add(a, y)
  c: f64[3] = exp(b)
  d: f64[3] = sub(c, x)
  e: f64[] = reduce_sum(d, axes=(0,))
  return c, e
}"""
)
LEAVES = [np.array([0.5, -1.0, 2.0]), np.array([0.25, 0.5, -1.0])]


def nothing(graph: Graph) -> Graph:
    return graph


def replacing(op: str, rewrite: Callable[[Node], object]) -> Callable[[Graph], Graph]:
    """A pass that replaces every result of an op by what a rule gives, emitted in its place."""

    def run(graph: Graph) -> Graph:
        with Builder(graph.inputs) as builder:
            mapping: dict = {}
            for node in substitute(graph, {}).nodes:
                inputs = tuple(mapping.get(x, x) for x in node.inputs)
                copy = builder.emit(node.op, inputs, node.attrs, node.types[0])
                mapping[node.results[0]] = rewrite(copy) if node.op.name == op else copy.results[0]
            return builder.build(graph.name, [mapping.get(y, y) for y in graph.outputs])

    return run


MISTAKES: dict[str, tuple[Callable[[Graph], Graph], str]] = {
    "x + y => x": (replacing("add", lambda node: node.inputs[0]), "elements differ"),
    "exp(x) => exp2(x)": (replacing("exp", lambda node: emit("exp2", *node.inputs)), "elements differ"),
    "x * y => x * y * (1 + 1e-15)": (
        replacing("mul", lambda node: node.result * (1 + 1e-15)),
        "elements differ",
    ),
    "sum(x) => max(x)": (
        replacing("reduce_sum", lambda node: emit("reduce_max", *node.inputs, axes=(0,))),
        "elements differ",
    ),
    "x + y => x[::-1] + y": (
        replacing(
            "add",
            lambda node: emit("slice", node.inputs[0], starts=(2,), sizes=(3,), steps=(-1,)) + node.inputs[1],
        ),
        "elements differ",
    ),
    "outputs swapped": (lambda graph: graph.replace(outputs=graph.outputs[::-1]), "result 0 is float64[]"),
    "an output lost": (lambda graph: graph.replace(outputs=graph.outputs[:1]), "1 results, not 2"),
    "nodes out of order": (lambda graph: graph.replace(nodes=graph.nodes[::-1]), "VerifyError"),
    "a node dropped": (lambda graph: graph.replace(nodes=graph.nodes[1:]), "VerifyError"),
    "a crash": (lambda graph: graph.replace(nodes=graph.nodes[99].inputs), "IndexError"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_pass_is_found_and_named(mistake: str):
    run, problem = MISTAKES[mistake]
    passes = [Stage("before", nothing), Stage(mistake, run), Stage("after", nothing)]
    with pytest.raises(BrokenError) as caught:
        check(PROGRAM, LEAVES, passes)
    assert caught.value.stage == mistake
    assert problem in caught.value.problem
    assert str(PROGRAM) in str(caught.value)
    check(PROGRAM, LEAVES, [Stage("before", nothing)])


def test_a_change_of_rounding_is_found_in_exact_passes_only():
    run = replacing("mul", lambda node: node.result * (1 + 2.3e-16))
    check(PROGRAM, LEAVES, [Stage("stabilize", run, exact=False)])
    with pytest.raises(BrokenError, match="elements differ"):
        check(PROGRAM.replace(outputs=PROGRAM.outputs[:1]), LEAVES, [Stage("simplify", run)])


def test_a_wrong_plan_is_found():
    planned = parse(
        """graph f(x: f64[3], y: f64[3]) -> (f64[3]) arena 64 {
  a: f64[3] @arena+0 = mul(x, y)
  b: f64[3] @arena+16 = add(x, y)
  c: f64[3] @out0 = sub(a, b)
  return c
}"""
    )
    program = planned.replace(nodes=[replace_places(node) for node in planned.nodes], arena=None)
    program = parse(str(program).replace(" arena 64", ""))
    with pytest.raises(BrokenError) as caught:
        check(program, LEAVES, [Stage("plan_memory", lambda _: planned)])
    assert caught.value.stage == "plan_memory"


def replace_places(node: Node) -> Node:
    node.places = None
    return node


def test_a_wrong_gradient_in_a_random_program_is_found(monkeypatch: pytest.MonkeyPatch):
    with_op(monkeypatch, "exp", vjp=lambda g, y, x: g * y * 1.0005)
    graph = parse(str(PROGRAM))
    with pytest.raises(BrokenError) as caught:
        check_smooth(graph, LEAVES)
    assert caught.value.stage == "gradients"


def test_a_failing_program_is_made_small():
    lines = [f"  v{i}: f64[3] = sin({'x' if not i else f'v{i - 1}'})" for i in range(30)]
    lines.insert(20, "  bad: f64[3] = tan(v10)\n  w: f64[3] = mul(bad, v10)")
    text = (
        "graph f(x: f64[3], unused: f64[2]) -> (f64[3], f64[3]) {\n"
        + "\n".join(lines)
        + "\n  return v29, w\n}"
    )
    graph = parse(text)

    def fails(graph: Graph, leaves: object) -> bool:
        return any(node.op.name == "tan" for node in graph.nodes)

    small, leaves = shrink(graph, [np.ones(3) * 0.3, np.ones(2)], fails)
    assert [node.op.name for node in small.nodes] == ["tan"]
    assert len(small.inputs) == len(leaves) == 1
    assert evaluate(small, *leaves)


def test_a_new_op_without_a_strategy_is_found(monkeypatch: pytest.MonkeyPatch):
    from tests.ir.test_table import test_every_op_has_a_strategy_and_cases as complete

    complete()
    monkeypatch.setitem(OPS, "novel", replace_name(OPS["exp"], "novel"))
    with pytest.raises(AssertionError):
        complete()


def replace_name(row: Op, name: str) -> Op:
    """A row under another name, outside of the table."""
    try:
        return replace(row, name=name)
    finally:
        OPS.pop(name, None)
