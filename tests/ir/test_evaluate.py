"""The reference meaning of graphs: flat leaves in, flat results out, plans in a real arena."""

from __future__ import annotations

import numpy as np
import pytest

from gradc.ir import ArgumentError, Builder, IndexOutOfBoundsError, Type, emit, evaluate, parse, verify
from gradc.ir.text import digest
from gradc.ir.types import F64

X = np.array([1.0, 2.0, 3.0])

PLANNED = """\
graph planned(x: f64[3], y: f64[3]) -> (f64[3], f64[]) arena 128 {{
  %0: f64[3] @arena+{0} = add(x, y)
  %1: f64[3] @arena+{1} = mul(x, y)
  %2: f64[3] @{2} = sub(%0, %1)
  %3: f64[] @out1 = reduce_sum(%2, axes=(0,))
  return %2, %3
}}"""


def planned(first: int, second: int, third: str = "out0") -> list[np.ndarray]:
    graph = parse(PLANNED.format(first, second, third))
    verify(graph)
    return list(evaluate(graph, X, X + 1))


WANTED = (2 * X + 1) - X * (X + 1)


@pytest.mark.parametrize(
    "plan", [(0, 24), (0, 64), (64, 0), (0, 24, "arena+0"), (0, 64, "in1"), (40, 8, "in0")], ids=str
)
def test_a_right_plan_gives_the_values(plan: tuple):
    result, total = planned(*plan)
    assert (result == WANTED).all()
    assert total == WANTED.sum()


@pytest.mark.parametrize("plan", [(0, 0), (0, 16), (16, 0), (0, 23)], ids=str)
def test_an_overlapping_plan_gives_wrong_values(plan: tuple):
    result, _ = planned(*plan)
    assert (result != WANTED).any()


def test_a_result_that_is_overwritten_before_its_use_is_wrong():
    graph = parse(
        """graph f(x: f64[3]) -> (f64[3]) arena 64 {
  %0: f64[3] @arena+0 = neg(x)
  %1: f64[3] @in0 = add(%0, %0)
  %2: f64[3] @out0 = add(x, %1)
  return %2
}"""
    )
    (result,) = evaluate(graph, X)
    assert result.tolist() == [-4.0, -8.0, -12.0]


def test_garbage_lies_where_nothing_was_written():
    graph = parse("graph f(x: u8[2]) -> (u8[2]) arena 64 {\n  %0: u8[2] @in0 = invert(x)\n  return x\n}")
    assert evaluate(graph, np.zeros(2, np.uint8))[0].tolist() == [255, 255]


def test_arguments_are_never_modified_and_results_are_fresh():
    graph = parse(
        """graph f(x: f64[3]) -> (f64[3], f64[3], f64[3, 1], f64[3]) arena 64 {
  %0: f64[3] @in0 = neg(x)
  %1: f64[3, 1] @out2 = reshape(%0, shape=(3, 1))
  return %0, %0, %1, x
}"""
    )
    for plan in (graph, graph.replace(arena=None)):
        x = X.copy()
        results = evaluate(plan, x)
        assert (x == X).all()
        for i, a in enumerate(results):
            assert a.flags.writeable
            assert not np.shares_memory(a, x)
            assert not any(np.shares_memory(a, b) for b in results[i + 1 :])


def test_captured_arrays_come_from_the_graph_or_from_constants():
    with Builder() as builder:
        w = emit("captured", type=Type(F64, (3,)), name="W", digest=digest(X))
        graph = builder.build("f", [w * 2.0], constants={"W": X})
    assert (evaluate(graph)[0] == 2 * X).all()
    back = parse(str(graph))
    assert (evaluate(back, constants={"W": X})[0] == 2 * X).all()
    assert (evaluate(graph, constants={"W": X + 1})[0] == 2 * (X + 1)).all(), "what is given comes first"
    with pytest.raises(ArgumentError, match="the captured array W is not there"):
        evaluate(back)
    with pytest.raises(ArgumentError, match="W"):
        evaluate(back, constants={"W": X[:2]})


NEG = parse("graph f(x: f64[3], n: i64[]) -> (f64[3], i64[]) {\n  %0: f64[3] = neg(x)\n  return %0, n\n}")


@pytest.mark.parametrize(
    "leaves",
    [(), (X,), (X, 1, 2), (X[:2], 1), (X.astype(np.float32), 1), (X, 1.0), (X, [1]), ("abc", 1)],
    ids=repr,
)
def test_wrong_leaves_are_refused(leaves: tuple):
    with pytest.raises(ArgumentError):
        evaluate(NEG, *leaves)


def test_leaves_of_any_layout():
    wide = np.arange(12.0)
    for x in (
        wide[::-4],
        wide[9::-4],
        X.astype(">f8"),
        X[:, None].T[0],
        np.frombuffer(b"\0" + X.tobytes(), "u1")[1:],
    ):
        x = x.view(np.float64) if x.dtype == np.uint8 else x
        (result, n) = evaluate(NEG, x, np.int64(7))
        assert (result == -x).all()
        assert result.dtype == np.float64
        assert result.dtype.isnative
        assert n == 7
        assert n.shape == ()


def test_an_input_of_another_byte_order_as_result():
    graph = parse(
        """graph f(x: f64[3]) -> (f64[3], f64[3, 1]) {
  y: f64[3, 1] = reshape(x, shape=(3, 1))
  return x, y
}"""
    )
    for y in evaluate(graph, X.astype(">f8")):
        assert y.dtype.isnative
        assert (y.ravel() == X).all()


def test_require_and_indices_out_of_bounds():
    graph = parse(
        """graph f(x: f64[3], i: i64[2]) -> (f64[2]) {
  %0: i64[2] = constant(value=3)
  %1: bool[2] = lt(i, %0)
  %2: i64[2] = require(i, %1, message='index 3 is out of bounds')
  %3: f64[2] = gather(x, %2, axes=(0,))
  return %3
}"""
    )
    assert evaluate(graph, X, np.array([2, 0]))[0].tolist() == [3.0, 1.0]
    with pytest.raises(IndexOutOfBoundsError, match="index 3 is out of bounds"):
        evaluate(graph, X, np.array([2, 3]))
    with pytest.raises(IndexError):
        evaluate(graph, X, np.array([2, -1]))


def test_no_floating_point_warnings():
    graph = parse("graph f(x: f64[2]) -> (f64[2]) {\n  %0: f64[2] = log(x)\n  return %0\n}")
    with np.errstate(all="raise"):
        (y,) = evaluate(graph, np.array([0.0, -1.0]))
    assert y[0] == -np.inf
    assert np.isnan(y[1])
