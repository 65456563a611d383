"""What kernels compute again instead of storing and reading it, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradc.ir import Graph, evaluate, parse
from gradc.passes.fuse import fuse
from gradc.passes.recompute import COST
from tests.codegen.native import assert_same
from tests.passes.test_fuse import fused, kernels


def stored(graph: Graph) -> list[str]:
    """The types of what kernels write, in order."""
    return [str(y.type) for node in graph.nodes for y in node.results]


def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def centred(x: Any) -> Any:
    y = x - x.mean(1, keepdims=True)
    return y[:, ::-1] / np.sqrt((y * y).mean(1, keepdims=True))


def dear(x: Any) -> Any:
    y = np.exp(x)
    return y.sum(), y[::-1] * 2


def repeated(x: Any) -> Any:
    y = x * 2 + 1
    return y.sum(), np.broadcast_to(y, (9, 40)).T * 3


def of_three(a: Any, b: Any, c: Any) -> Any:
    y = a * b + c
    return y.sum(), y[::-1] * 2


def returned(x: Any) -> Any:
    y = x * 2
    return y, y[::-1] + y.sum()


CASES: dict[str, tuple[Callable, list[str], bool, list[str]]] = {
    "cheap ops read at shifted places": (rosenbrock, ["f64[40]"], True, ["f64[]", "f64[40]"]),
    "rows less their mean": (centred, ["f64[6, 40]"], False, ["f64[6]", "f64[6]", "f64[6, 40]"]),
    "not an exponential": (dear, ["f64[40]"], False, ["f64[40]", "f64[]", "f64[40]"]),
    "not what is read many times": (repeated, ["f64[40]"], False, ["f64[40]", "f64[]", "f64[40, 9]"]),
    "not of more arrays than it is": (of_three, ["f64[40]"] * 3, False, ["f64[40]", "f64[]", "f64[40]"]),
    "not a result": (returned, ["f64[40]"], False, ["f64[40]", "f64[]", "f64[40]"]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_stored(name: str) -> None:
    function, types, grad, wanted = CASES[name]
    found = fused(function, *types, grad=grad)
    assert sorted(stored(found)) == sorted(wanted), found


def test_kernels_do_not_compute_through_each_other() -> None:
    """A chain of shifts: each step computes the one before it again, but not all before that."""

    def f(x: Any) -> Any:
        for _ in range(12):
            x = x[1:] + x[:-1]
        return x

    graph = fused(f, "f64[60]")
    assert max(len(k.split()) for k in kernels(graph)) <= 12, kernels(graph)
    assert 6 <= len(graph.nodes) <= 12


def test_ops_with_a_cost_are_ops() -> None:
    from gradc.ir import OPS

    assert set(COST) <= set(OPS)


# Padding inside of kernels: masks.

PADS = {
    "of loads": """graph g(x: f64[5], y: f64[9]) -> (f64[9]) {
  %0: f64[9] = pad(x, shape=(9,), starts=(3,), steps=(1,), value=-1.5)
  %1: f64[9] = mul(%0, y)
  return %1
}""",
    "of what is computed": """graph g(x: f32[33], y: f32[40]) -> (f32[40], f32[]) {
  %0: f32[33] = mul(x, x)
  %1: f32[] = reduce_sum(%0, axes=(0,))
  %2: f32[40] = pad(%0, shape=(40,), starts=(0,), steps=(1,), value=0.0)
  %3: f32[40] = pad(%0, shape=(40,), starts=(7,), steps=(1,), value=2.0)
  %4: f32[40] = sub(%2, %3)
  %5: f32[40] = add(%4, y)
  return %5, %1
}""",
    "on both axes": """graph g(x: f64[3, 17], y: f64[6, 21]) -> (f64[6, 21]) {
  %0: f64[6, 21] = pad(x, shape=(6, 21), starts=(2, 1), steps=(1, 1), value=7.0)
  %1: f64[6, 21] = add(%0, y)
  return %1
}""",
    "of rows": """graph g(x: f64[3, 21], y: f64[6, 21]) -> (f64[6, 21]) {
  %0: f64[6, 21] = pad(x, shape=(6, 21), starts=(3, 0), steps=(1, 1), value=7.0)
  %1: f64[6, 21] = add(%0, y)
  return %1
}""",
    "of a column, repeated": """graph g(x: f64[3], y: f64[5, 19]) -> (f64[5, 19]) {
  %0: f64[3, 17] = broadcast(x, shape=(3, 17), axes=(0,))
  %1: f64[5, 19] = pad(%0, shape=(5, 19), starts=(1, 2), steps=(1, 1), value=0.5)
  %2: f64[5, 19] = sub(%1, y)
  return %2
}""",
    "transposed and backwards": """graph g(x: i32[17, 3], y: i32[4, 20]) -> (i32[4, 20]) {
  %0: i32[3, 17] = transpose(x, axes=(1, 0))
  %1: i32[3, 17] = slice(%0, starts=(0, 16), sizes=(3, 17), steps=(1, -1))
  %2: i32[4, 20] = pad(%1, shape=(4, 20), starts=(1, 3), steps=(1, 1), value=9)
  %3: i32[4, 20] = add(%2, y)
  return %3
}""",
    "of bools, into a reduction": """graph g(x: bool[18]) -> (bool[]) {
  %0: bool[30] = pad(x, shape=(30,), starts=(12,), steps=(1,), value=True)
  %1: bool[] = reduce_min(%0, axes=(0,))
  return %1
}""",
    "into a sum over rows": """graph g(x: f64[4, 17], y: f64[9, 17]) -> (f64[17]) {
  %0: f64[9, 17] = pad(x, shape=(9, 17), starts=(2, 0), steps=(1, 1), value=1.0)
  %1: f64[9, 17] = mul(%0, y)
  %2: f64[17] = reduce_sum(%1, axes=(0,))
  return %2
}""",
    "of a pad": """graph g(x: f64[5], y: f64[20]) -> (f64[20]) {
  %0: f64[11] = pad(x, shape=(11,), starts=(2,), steps=(1,), value=3.0)
  %1: f64[20] = pad(%0, shape=(20,), starts=(4,), steps=(1,), value=4.0)
  %2: f64[20] = mul(%1, y)
  return %2
}""",
    "of nothing": """graph g(x: f64[0], y: f64[4]) -> (f64[4]) {
  %0: f64[4] = pad(x, shape=(4,), starts=(2,), steps=(1,), value=3.0)
  %1: f64[4] = mul(%0, y)
  return %1
}""",
    "of one number": """graph g(x: f64[1], y: f64[2, 3]) -> (f64[2, 3]) {
  %0: f64[3] = pad(x, shape=(3,), starts=(1,), steps=(1,), value=3.0)
  %1: f64[2, 3] = broadcast(%0, shape=(2, 3), axes=(1,))
  %2: f64[2, 3] = mul(%1, y)
  return %2
}""",
}


@pytest.mark.parametrize("name", PADS)
def test_pads_in_kernels(name: str) -> None:
    graph = parse(PADS[name])
    assert "pad" not in kernels(fuse(graph)), "a kernel of its own"
    rng = np.random.default_rng(0)
    leaves = [
        rng.integers(0, 2 if x.dtype == bool else 100, x.shape).astype(x.dtype)
        if x.dtype.kind in "bi"
        else np.asarray(rng.standard_normal(x.shape), x.dtype)
        for x in graph.inputs
    ]
    assert_same([graph], [leaves], exact="reduce_sum" not in PADS[name])


def test_checks_count_inside_only() -> None:
    """An index that is out of bounds where nothing is read is none."""
    graph = parse("""graph g(x: f64[4], i: i64[6], y: f64[20]) -> (f64[20]) {
  zero: i64[6] = constant(value=0)
  four: i64[6] = constant(value=4)
  %0: bool[6] = ge(i, zero)
  %1: bool[6] = lt(i, four)
  %2: bool[6] = and(%0, %1)
  %3: i64[6] = require(i, %2, message='out')
  %4: f64[6] = gather(x, %3, axes=(0,))
  %5: f64[20] = pad(%4, shape=(20,), starts=(5,), steps=(1,), value=3.0)
  %6: f64[20] = mul(%5, y)
  return %6
}""")
    leaves = [np.arange(4.0), np.array([3, 0, 1, 2, 3, 3]), np.ones(20)]
    assert_same([graph], [leaves], exact=True)
    with pytest.raises(IndexError):
        evaluate(graph, leaves[0], np.array([3, 0, 1, 2, 3, 4]), leaves[2])
