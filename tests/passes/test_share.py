"""Chains of kernels as blocks of rows, independent nodes as tasks: what becomes one, and what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.ir import Graph, evaluate, parse, verify
from gradc.passes import group as grouping
from gradc.passes import pipeline
from gradc.passes import share as sharing
from gradc.runtime.executable import load
from tests.programs.choices import Choices
from tests.programs.generate import generate
from tests.programs.gradients import backward, seeds_of
from tests.programs.values import Expected


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small programs are shared too."""
    monkeypatch.setattr(sharing, "CHUNK", 20)
    monkeypatch.setattr(sharing, "LEAST_ROWS", 1)
    monkeypatch.setattr(grouping, "LEAST", 1)
    monkeypatch.setattr(grouping, "ENOUGH", 2)
    yield


def network(params: Any, X: Any, y: Any) -> Any:
    for W, b in params[:-1]:
        X = np.tanh(X @ W + b)
    W, b = params[-1]
    z = X @ W + b
    z = z - z.max(1, keepdims=True)
    return np.mean(np.log(np.exp(z).sum(1)) - (z * y).sum(1))


def residual(params: Any, x: Any, y: Any) -> Any:
    for W, b in params:
        x = x + np.tanh(x @ W + b)
    return np.mean((x - y) ** 2)


def attention(params: Any, x: Any) -> Any:
    batch, length, width = x.shape
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    q, k, v = [(x @ p).reshape(batch, length, 2, width // 2).transpose(0, 2, 1, 3) for p in params]
    s = q @ np.swapaxes(k, -1, -2)
    e = np.exp(s - s.max(-1, keepdims=True))
    mixed = (e / e.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(batch, length, width)
    return np.mean((x + mixed) ** 2)


def normalized_batch(params: Any, X: Any) -> Any:
    """What is read whole between two chains."""
    W, V = params
    h = np.tanh(X @ W)
    h = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-3)
    return np.sum(np.tanh(h @ V) ** 2)


def softened_weights(params: Any, X: Any) -> Any:
    """A weight that is computed of a parameter first."""
    W, V = params
    return np.sum(np.tanh(np.tanh(X @ np.tanh(W)) @ np.exp(V)))


def picked(params: Any, X: Any) -> Any:
    """Rows by index, slices and running sums along other axes, two results."""
    W, V = params
    h = np.cumsum(np.tanh(X @ W)[:, 1:], axis=1)
    z = np.concatenate([h, X[:, :1]], axis=1) @ V
    return np.sum(z[np.arange(len(z)), np.arange(len(z)) % 3] ** 2) + np.sum(np.max(h, 1))


def layers(*sizes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [(rng.normal(size=(n, m)), rng.normal(size=m)) for n, m in pairwise(sizes)]


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.normal(size=shape) for shape in shapes]


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "network": (network, (layers(6, 5, 4), *arrays((12, 6), (12, 4)))),
    "17 rows": (network, (layers(6, 5, 4), *arrays((17, 6), (17, 4)))),
    "residual": (residual, (layers(8, 8, 8, 8), *arrays((16, 8), (16, 8)))),
    "attention": (attention, (arrays((6, 6), (6, 6), (6, 6)), *arrays((4, 5, 6)))),
    "batch norm": (normalized_batch, (arrays((3, 5), (5, 2)), *arrays((12, 3)))),
    "softened": (softened_weights, (arrays((6, 6), (6, 6)), *arrays((12, 6)))),
    "picked": (picked, (arrays((4, 5), (5, 3)), *arrays((8, 4)))),
}


def lowered(name: str) -> tuple[Any, list[np.ndarray]]:
    function, arguments = CASES[name]
    low = gradc.compile(function).lower(*arguments)
    import optree

    return low, [np.asarray(x) for x in optree.tree_leaves(arguments)]  # type: ignore[arg-type]


def run_threads(graph: Graph, leaves: list[np.ndarray], threads: int) -> list[np.ndarray]:
    return list(load(graph, threads=threads).run(leaves))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", CASES)
def test_blocks(name: str) -> None:
    low, leaves = lowered(name)
    graph = low.graph("optimized")
    before = pipeline.split(pipeline.fuse(graph))
    after = pipeline.share(before)
    names = [node.op.name for node in after.nodes]
    assert ("blocks" in names) == (name != "17 rows"), after
    grouped = pipeline.group(after)
    planned = pipeline.plan_memory(grouped)
    wanted = evaluate(graph, *leaves)
    for stage in (after, grouped, planned):
        verify(stage)
        assert str(parse(str(stage))) == str(stage)
        for a, b in zip(evaluate(stage, *leaves), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    results = [run_threads(planned, leaves, threads) for threads in (1, 2, 5)]
    for found in results:
        for a, b, c in zip(found, wanted, results[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
            assert a.tobytes() == c.tobytes()


@pytest.mark.usefixtures("eager")
def test_a_whole_network_is_one_chain() -> None:
    """Forward and backward through all layers; then the gradients of the weights, as tasks."""
    low, _ = lowered("residual")
    graph = low.graph("fused")
    (blocks,) = [node for node in graph.nodes if node.op.name == "blocks"]
    inside = [node.op.name for node in blocks.attrs["body"].nodes]
    assert inside.count("matmul") == 5  # no gradient of x is wanted
    (tasks,) = [n for n in graph.nodes if n.op.name == "tasks" and "matmul" in str(n.attrs["body"])]
    assert [node.op.name for node in tasks.attrs["body"].nodes].count("matmul") == 3
    assert not [node for node in graph.nodes if node.op.name == "matmul"]


def test_what_is_small_stays_as_it_is() -> None:
    low, _ = lowered("residual")
    assert {node.op.name for node in low.graph("fused").nodes} == {"fuse", "matmul"}


def test_what_is_large_is_shared() -> None:
    W, b, x = "f32[64, 64]", "f32[64]", "f32[256, 64]"
    low = gradc.compile(residual).lower([(W, b)] * 4, x, x)
    (blocks,) = [node for node in low.graph("fused").nodes if node.op.name == "blocks"]
    assert blocks.attrs["count"] == 8
    assert low.memory < 40 * 256 * 64 * 4


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "seed", [pytest.param(s, marks=[pytest.mark.long] if s >= 8 else []) for s in range(60)]
)
def test_random_programs(seed: int) -> None:
    program = generate(Choices(seed), smooth=True, ops=6 + seed % 4 * 6)
    leaves = program.leaves(seed, 0.0)
    gradient, _ = backward(program.graph)
    seeds = seeds_of(program.graph, np.random.default_rng(seed))
    for graph, given in ((program.graph, leaves), (gradient, [*leaves, *seeds])):
        optimized, planned = [
            pipeline.run(pipeline.prepare(graph), until) for until in ("optimized", "planned")
        ]
        verify(planned)
        wanted = evaluate(optimized, *given)
        for found in (evaluate(planned, *given), run_threads(planned, given, 2)):
            difference = Expected(graph, given, wanted).difference(found, exact=[False] * len(wanted))
            assert difference is None, f"{difference}\n{graph}\n{planned}"
