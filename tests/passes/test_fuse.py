"""Fusion: what becomes one kernel, what is stored between kernels, and that no kernel waits for itself."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest

import gradc
from gradc.ir import Graph, Value, emit, evaluate, parse, parse_type, verify
from gradc.passes import pipeline
from gradc.passes.fuse import fuse
from gradc.passes.kernels import MAX_OPS, OPAQUE, Kernel
from gradc.passes.unfold import unfold
from tests.passes.work import FAMILIES, counting
from tests.programs.choices import Choices
from tests.programs.generate import Generator, generate
from tests.programs.values import Expected

SILENT = {"constant", "broadcast"}


def kernels(graph: Graph) -> list[str]:
    """Every node of a fused graph: the ops of a kernel (without constants and broadcasts), or its name."""
    return [
        " ".join(n.op.name for n in node.attrs["body"].nodes if n.op.name not in SILENT)
        if node.op.name == "fuse"
        else node.op.name
        for node in graph.nodes
    ]


def fused(function: Callable, *types: str, grad: bool = False) -> Graph:
    """A NumPy function, optimized and fused; with `grad` its value and gradient."""
    lowered = gradc.compile(function).lower(*types)
    graph = lowered.graph("optimized") if grad else pipeline.run(lowered.graph("traced"), until="optimized")
    result = fuse(graph)
    verify(result, after="fuse")
    return result


def of_text(text: str) -> Graph:
    return fuse(parse(text))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


CASES: dict[str, tuple[Callable, list[str], list[str]]] = {
    "a chain is one kernel": (
        lambda x, y: np.tanh(x * y + 1) - np.sqrt(y),
        ["f64[7, 5]", "f64[7, 5]"],
        ["mul add tanh sqrt sub"],
    ),
    "a mean of squares is one kernel": (
        lambda x: np.mean((x - 1) ** 2),
        ["f64[1000]"],
        ["sub mul reduce_sum div"],
    ),
    "softmax is three kernels: each reduces what the one before has made": (
        softmax,
        ["f32[40, 10]"],
        ["reduce_max", "sub exp reduce_sum", "div"],
    ),
    "several outputs of one domain": (
        lambda x: (np.exp(x), np.sin(x), x * 2),
        ["f64[9]"],
        ["exp sin mul"],
    ),
    "several reductions over one domain": (
        lambda x: (x.sum(axis=0), (x * x).sum(axis=0), x.max(axis=0)),
        ["f64[7, 5]"],
        ["reduce_sum mul reduce_sum reduce_max"],
    ),
    "reductions of other axes are other kernels": (
        lambda x: (x.sum(axis=0), x.sum(axis=1)),
        ["f64[7, 5]"],
        ["reduce_sum", "reduce_sum"],
    ),
    "a bias is read where it is": (
        lambda x, b: np.maximum(x + b, 0),
        ["f64[7, 5]", "f64[5]"],
        ["add maximum"],
    ),
    "a transpose is read where it is": (
        lambda x, y: x.T * 2 + y,
        ["f64[7, 5]", "f64[5, 7]"],
        ["transpose mul add"],
    ),
    "a slice is read where it is": (
        lambda x: x[1:] - x[:-1],
        ["f64[9]"],
        ["slice slice sub"],
    ),
    "what a product reads is stored, and read elementwise in the kernel that makes it": (
        lambda x, w: (np.tanh(x) @ w, np.tanh(x) + 1),
        ["f64[7, 5]", "f64[5, 3]"],
        ["tanh add", "matmul"],
    ),
    "nothing is one kernel": (lambda x: x, ["f64[3]"], []),
}


@pytest.mark.parametrize("case", CASES)
def test_kernels(case: str):
    function, types, wanted = CASES[case]
    assert kernels(fused(function, *types)) == wanted


def test_a_bias_is_no_array_in_the_backward_pass_either():
    graph = fused(lambda b, x: np.sum(np.tanh(x + b)), "f64[5]", "f64[7, 5]", grad=True)
    assert all(y.shape != (7, 5) for node in graph.nodes[:-1] for y in node.results if node.op.name != "fuse")
    assert {y.shape for y in graph.outputs} == {(), (5,)}


def test_what_only_the_backward_kernel_reads_is_computed_there():
    """1 + y * y beside y = tan(x) would be stored; it sinks into the kernel that multiplies by it."""
    graph = fused(lambda x, w: np.sum((np.tan(x @ w) @ w) ** 2), "f64[7, 5]", "f64[5, 5]", grad=True)
    (makes,) = [node for node in graph.nodes if node.op.name == "fuse" and "tan" in kernels_of(node)]
    assert len(makes.results) == 1
    (reads,) = [
        n
        for n in graph.nodes
        if n.op.name == "fuse" and "add" in kernels_of(n) and "tan" not in kernels_of(n)
    ]
    assert makes.result in reads.inputs


def kernels_of(node) -> list[str]:
    return [n.op.name for n in node.attrs["body"].nodes]


def test_what_is_gathered_from_is_in_memory_and_what_is_gathered_is_not():
    graph = of_text(
        """graph f(x: f64[9], i: i64[4]) -> (f64[4]) {
  a: f64[9] = exp(x)
  b: f64[9] = slice(a, starts=(8,), sizes=(9,), steps=(-1,))
  j: i64[4] = add(i, i)
  c: f64[4] = gather(b, j, axes=(0,))
  d: f64[4] = tanh(c)
  return d
}"""
    )
    assert kernels(graph) == ["exp", "slice", "add gather tanh"]


def test_gathering_from_the_values_that_are_the_indices():
    graph = of_text(
        """graph f(i: i64[4]) -> (i64[4]) {
  a: i64[4] = add(i, i)
  b: i64[4] = gather(a, a, axes=(0,))
  return b
}"""
    )
    assert kernels(graph) == ["add", "gather"]
    assert evaluate(graph, np.array([0, 0, 1, 1]))[0].tolist() == [0, 0, 2, 2]


def test_a_shape_that_a_reduction_gives_and_a_body_has_do_not_mix():
    graph = of_text(
        """graph f(x: f64[5, 5]) -> (f64[5, 5], f64[5]) {
  y: f64[5, 5] = exp(x)
  r: f64[5] = reduce_sum(y, axes=(1,))
  b: f64[5, 5] = broadcast(r, shape=(5, 5), axes=(1,))
  z: f64[5, 5] = div(y, b)
  t: f64[5] = log(r)
  return z, t
}"""
    )
    assert kernels(graph) == ["exp reduce_sum log", "div"]


def test_reductions_of_both_axes_and_many_of_them_share_kernels():
    lines = [f"  s{i}: f64[3] = reduce_sum(x, axes=({i % 2},))" for i in range(2 * MAX_OPS + 10)]
    outputs = ", ".join(f"s{i}" for i in range(len(lines)))
    types = ", ".join(["f64[3]"] * len(lines))
    graph = of_text(
        f"graph f(x: f64[3, 3]) -> ({types}) {{\n" + "\n".join(lines) + f"\n  return {outputs}\n}}"
    )
    assert len(graph.nodes) == 4
    assert max(len(node.attrs["body"].nodes) for node in graph.nodes) <= MAX_OPS


def test_a_fused_graph_from_text_is_fused_anew():
    graph = fused(lambda x: np.mean(softmax(x) ** 2), "f64[4, 5]", grad=True)
    again = fuse(parse(str(pipeline.run(graph))))
    verify(again, after="fuse")
    assert not any(inner.op.name == "fuse" for n in again.nodes for _, g in n.graphs for inner in g.nodes)
    x = np.random.default_rng(0).normal(size=(4, 5))
    for a, b in zip(evaluate(graph, x), evaluate(again, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_merged_kernels_stay_readers():
    """c joins the kernel of a when d = a + b has moved b there, and so does another reader of y."""
    graph = of_text(
        """graph f(x: f64[5], y: f64[5]) -> (f64[5], f64[5]) {
  a: f64[5] = exp(x)
  b: f64[5] = sin(y)
  d: f64[5] = add(a, b)
  c: f64[5] = cos(y)
  return d, c
}"""
    )
    assert kernels(graph) == ["exp sin add cos"]


def levels(graph: Graph) -> dict[Value, int]:
    """The length of the longest way to each value of a fused graph: defined only if there is no cycle."""
    level: dict[Value, int] = dict.fromkeys(graph.inputs, 0)
    for node in graph.nodes:
        assert all(x in level for x in node.inputs), "a kernel reads what is made later"
        here = max((level[x] for x in node.inputs), default=0)
        level.update(dict.fromkeys(node.results, here + 1))
    return level


def diamond_dag(seed: int) -> Graph:
    """Elementwise ops, reductions and broadcasts over two shapes, wired at random: many ways to a cycle."""
    choices = Choices([seed, 11])
    gen = Generator(choices)
    with gen.builder as builder:
        wide = [gen.input(parse_type("f64[3, 4]")) for _ in range(2)]
        slim = [gen.input(parse_type("f64[3]")), gen.input(parse_type("f64[4]"))]
        for _ in range(choices.integer(5, 30)):
            how = choices.integer(0, 5)
            if how == 0:
                axis = choices.integer(0, 1)
                slim.append(emit("reduce_sum", choices.pick(wide), axes=(axis,)))
            elif how == 1:
                x = choices.pick(slim)
                wide.append(emit("broadcast", x, shape=(3, 4), axes=(0 if x.shape == (3,) else 1,)))
            elif how == 2:
                x = choices.pick(slim)
                slim.append(emit("add", x, choices.pick([y for y in slim if y.shape == x.shape])))
            else:
                wide.append(emit("mul" if how == 3 else "add", choices.pick(wide), choices.pick(wide)))
        return builder.build("dag", [wide[-1], slim[-1], choices.pick(wide), choices.pick(slim)])


@pytest.mark.parametrize("block", range(4))
def test_no_kernel_waits_for_itself(block: int):
    for seed in range(block * 50, block * 50 + 50):
        graph = diamond_dag(seed) if seed % 2 else unfold(generate(Choices([seed, 5]), ops=25).graph)
        result = fuse(graph)
        verify(result, after="fuse")
        levels(result)
        assert {node.op.name for node in result.nodes} <= {"fuse", "constant", *OPAQUE}
        if seed % 2:
            leaves = [np.random.default_rng(seed).uniform(-1, 1, x.shape) for x in graph.inputs]
            difference = Expected(graph, leaves, evaluate(graph, *leaves)).difference(
                evaluate(result, *leaves)
            )
            assert difference is None, f"{difference}\n{graph}\n{result}"


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_work_grows_with_the_number_of_nodes(family: str):
    grows_linearly(FAMILIES[family], 1000)


@pytest.mark.long
def test_work_grows_with_the_number_of_nodes_at_any_size():
    grows_linearly(FAMILIES["network"], 10_000)


def grows_linearly(family: Callable[[int], Graph], n: int) -> None:
    """Ten times the nodes take about ten times the lines."""
    work = []
    for size in (n, 10 * n):
        graph = family(size)
        with counting(sys.modules[fuse.__module__], sys.modules[Kernel.__module__]) as counter:
            fuse(graph)
        work.append(counter.lines / len(graph.nodes))
    assert work[1] < 1.3 * work[0], work
