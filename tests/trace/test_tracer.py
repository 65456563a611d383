"""What a tracer is: names and lines of nodes, weak floats, static uses, constants, nested graphs."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gradc.ir import evaluate, parse_type, verify
from gradc.trace import (
    Input,
    NeedStatic,
    Static,
    apply_graph,
    cond,
    is_tracing,
    stop_gradient,
    subtrace,
    trace,
    tree,
)
from tests.trace.harness import check, run, traced

X = np.array([[0.5, -1.0, 2.0], [3.0, 0.25, -0.125]])


def test_names_and_lines() -> None:
    def f(x: Any) -> Any:
        h = np.tanh(x)
        a, b = np.split(h, [1], axis=1)
        total = np.var(b) + 1
        total += 2
        return helper(a) * total

    def helper(a: Any) -> Any:
        return np.exp(a)

    result, _ = traced(f, X)
    nodes = result.graph.nodes
    names = [node.result.name for node in nodes if node.result.name]
    assert names == ["h", "a", "b", "total", "total"]
    assert nodes[0].source is not None
    assert nodes[0].source.file == __file__
    start = inspect.getsourcelines(f)[1]
    assert nodes[0].source.line == start + 1
    assert nodes[-1].source is not None and nodes[-1].source.line == start + 5


def test_a_returned_result_takes_the_callers_name() -> None:
    def inner(x: Any) -> Any:
        return np.exp(x)

    def outer(x: Any) -> Any:
        y = inner(x)
        return y * 2

    result, _ = traced(outer, X)
    assert result.graph.nodes[0].result.name == "y"


def test_inputs_are_all_there_in_order() -> None:
    result, _ = traced(lambda a, b, c: b * 2, X, 1.5, X[0])
    assert [x.name for x in result.graph.inputs] == ["x0", "x1", "x2"]
    assert [str(x.type) for x in result.graph.inputs] == ["f64[2, 3]", "f64[]", "f64[3]"]


def test_results() -> None:
    out = run(lambda x: {"x": x, "two": (2, "s", None), "n": 3.5, "w": np.ones(3), "sum": x.sum()}, X)
    assert out["two"] == (2, "s", None) and out["n"] == 3.5
    np.testing.assert_array_equal(out["w"], np.ones(3))
    assert out["x"] is not X and isinstance(out["sum"], np.float64)


def test_isinstance() -> None:
    def f(x: Any, s: float) -> Any:
        assert isinstance(x, np.ndarray) and not isinstance(x, float)
        assert isinstance(s, float) and not isinstance(s, np.ndarray)
        assert isinstance(x.sum(), np.float64) and isinstance(np.zeros(3), np.ndarray)
        return x * s

    check(f, X, 2.0)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, s: x * s,
        lambda x, s: x + (s * 2 - 1) / 3,
        lambda x, s: x * -s + abs(s) + s**2 + s // 1 + s % 1,
        lambda x, s: x * (2**s) * (1 - s),
        lambda x, s: x * np.exp(s),
        lambda x, s: x * np.float32(s),
        lambda x, s: x * (s > 1),
        lambda x, s: np.where(x > s, x, s),
        np.maximum,
        lambda x, s: np.array([s, 1.0]) * x[0, 0],
        lambda x, s: x * np.asarray(s),
        lambda x, s: x + np.sum(s),
        lambda x, s: divmod(s, 0.5)[1] + x,
        lambda x, s: x * s if s > 1 else x,
        lambda x, s: x * float(s),
        lambda x, s: x[int(s)],
        lambda x, s: x * round(s, 1),
    ],
)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "?"])
def test_weak_floats(f: Any, dtype: str) -> None:
    check(f, X.astype(dtype), 1.5)


def test_need_static() -> None:
    _, treedef = tree.flatten(((1.0, 2.0, 3.0), {}))
    leaves = [Input(parse_type("f64[]"), True, n) for n in "abc"]
    with pytest.raises(NeedStatic) as error:
        trace(lambda a, b, c: c if a * 2 + b > 0 else -c, treedef, leaves, name="f")
    assert error.value.positions == (0, 1)
    known = [replace(leaf, value=v) for leaf, v in zip(leaves[:2], (1.0, 2.0), strict=True)] + leaves[2:]
    result = trace(lambda a, b, c: c if a * 2 + b > 0 else -c, treedef, known, name="f")
    assert len(result.graph.inputs) == 3 and result.graph.outputs[0] is result.graph.inputs[2]
    assert result.escaped == ()
    statics = [Static(1.0), Static(2.0), leaves[2]]
    result = trace(lambda a, b, c: c if a * 2 + b > 0 else -c, treedef, statics, name="f")
    assert len(result.graph.inputs) == 1


def test_floats_that_escape() -> None:
    _, treedef = tree.flatten(((1.0, 2.0, 3.0), {}))
    leaves = [Input(parse_type("f64[]"), True, n, 2.0) for n in "abc"]
    result = trace(lambda a, b, c: c * float(a * int(b)), treedef, leaves, name="f")
    assert result.escaped == (0,)


def test_iteration() -> None:
    check(lambda x: [row * i for i, row in enumerate(x)], X)
    check(lambda x: np.add(*x), X)
    check(lambda x: [a * b for a, b in zip(x[0], x[1], strict=True)], X)


def constants_of(f: Any, *args: Any) -> list[Any]:
    result, _ = traced(f, *args)
    return [(node.op.name, node.attrs.get("value")) for node in result.graph.nodes if not node.inputs]


def test_constants() -> None:
    assert constants_of(lambda x: x + np.ones((2, 3)), X) == [("constant", 1.0)]
    assert str(constants_of(lambda x: x + np.full(3, -0.0), X)[0][1]) == "-0.0"
    assert constants_of(lambda x: x + np.array([0.0, -0.0, 0.0]), X) == [("constant", [0.0, -0.0, 0.0])]
    assert np.isnan(constants_of(lambda x: x + np.full(50, np.nan), np.ones(50))[0][1])
    assert constants_of(lambda x: x + np.arange(50), np.ones(50))[0][0] == "iota"
    assert constants_of(lambda x: x + np.arange(50) ** 2, np.ones(50))[0][0] == "captured"
    assert constants_of(lambda x: x + np.arange(50)[::-1], np.ones(50))[0][0] == "captured"
    assert constants_of(lambda x: x * np.zeros((3, 0)), np.ones((3, 1))) == [("constant", 0.0)]


def test_concrete_arithmetic_runs_in_numpy() -> None:
    result, _ = traced(lambda x: x * (np.arange(3) * 2 + np.eye(3)[0] @ np.ones(3)).sum(), X)
    assert [node.op.name for node in result.graph.nodes] == ["constant", "mul"]


def test_subtrace_captures() -> None:
    def f(x: Any, y: Any) -> Any:
        scale = y * 2
        graph, outside, _, leaves = subtrace(lambda v: np.sum(v * scale) + np.arange(40.0).sum(), x, of=None)
        verify(graph)
        assert [g.type for g in graph.inputs] == [x.type, scale.type] and len(outside) == 1 and leaves == [0]
        assert is_tracing()
        (out,) = apply_graph(graph, [x, *outside])
        return out

    np.testing.assert_allclose(run(f, X, X), (X * X * 2).sum() + np.arange(40.0).sum())
    assert not is_tracing()


BIG = np.arange(40.0) ** 2


def test_captured_arrays_enter_nested_graphs_as_inputs() -> None:
    def f(x: Any) -> Any:
        return cond(x[0, 0] > 0, lambda: BIG * x[0, 0], lambda: BIG)

    result, inputs = traced(f, X)
    assert list(result.graph.constants) == ["BIG"]
    np.testing.assert_array_equal(evaluate(result.graph, *inputs)[0], BIG * 0.5)


@pytest.mark.parametrize("sign", [1, -1])
def test_cond(sign: int) -> None:
    def nested(x: Any) -> Any:
        return cond(
            x[0, 0] > 0,
            lambda v: cond(v[0, 1] > 0, lambda: v * 2, lambda: v * x),
            lambda v: v.T.T - 1,
            x,
        )

    check(nested, X * sign)
    check(lambda x: cond(x[0, 0] > 0, lambda v: (v.sum(), 1), lambda v: (0.0, 2), x)[0] * 1.0, X * sign)
    check(lambda x: cond(x[0, 0], np.sin, np.cos, x), X * sign)
    check(lambda x: cond(True, np.sin, np.cos, x), X * sign)
    assert cond(sign > 0, lambda: 1, lambda: 2) == (1 if sign > 0 else 2)


def test_stop_gradient() -> None:
    check(lambda x: stop_gradient({"a": x, "b": 3})["a"] * 2, X)
    assert stop_gradient(X) is X


def test_threads() -> None:
    import threading

    results = []

    def work() -> None:
        for _ in range(20):
            results.append(run(lambda x: np.array([x[0, 0], x.sum()]) * 2, X))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 80 and all((r == results[0]).all() for r in results)
