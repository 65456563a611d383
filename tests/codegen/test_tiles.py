"""What follows a matrix product, computed tile by tile: the same values as one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.codegen.driver import generate
from gradc.codegen.target import host
from gradc.ir import Graph, evaluate, parse, verify
from gradc.passes import pipeline
from gradc.passes.plan_memory import plan_memory
from gradc.runtime.executable import load
from tests.programs.check import check
from tests.programs.values import Expected, identical


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def slope(g: Any, w: Any, h: Any) -> Any:
    d = (g @ w.T) * (1 - h * h)
    return d, d.sum(axis=0)


def normalized(x: Any, w: Any) -> Any:
    z = x @ w
    return (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5)


def tokens(x: Any, w: Any, b: Any) -> Any:
    return gelu(x @ w + b)


def attention(q: Any, k: Any) -> Any:
    return np.tanh(q @ np.swapaxes(k, -1, -2) / 8)


TILED: dict[str, tuple[Callable[..., Any], str]] = {
    "bias": (lambda x, w, b: x @ w + b, "37,19 19,45 45"),
    "bias and relu": (lambda x, w, b: relu(x @ w + b), "64,64 64,64 64"),
    "one row of tiles": (lambda x, w, b: np.tanh(x @ w + b), "5,33 33,70 70"),
    "one column more than vectors": (lambda x, w, b: relu(x @ w + b), "20,30 30,65 65"),
    "a bias for each row": (lambda x, w, b: (x @ w) * b[:, None], "23,16 16,40 23"),
    "the product as well": (lambda x, w, b: (x @ w, np.exp(x @ w + b)), "31,20 20,50 50"),
    "used twice": (lambda x, w: ((x @ w) * (x @ w), np.sin(x @ w)), "31,20 20,50"),
    "sums of k in blocks": (lambda x, w, b: relu(x @ w.T + b), "100,300 90,300 90"),
    "slope and sums": (slope, "48,33 70,33 48,70"),
    "slope and sums of k in blocks": (slope, "96,200 90,200 96,90"),
    "extremes of columns": (lambda x, w: ((x @ w).max(axis=0), (x @ w).min(axis=0)), "48,33 33,70"),
    "normalized columns": (normalized, "40,33 33,50"),
    "A transposed": (lambda x, w, b: relu(x.T @ w + b), "40,33 40,50 50"),
    "B transposed": (lambda x, w, b: relu(x @ w.T + b), "40,33 50,33 50"),
    "both transposed": (lambda x, w, b: relu(x.T @ w.T + b), "33,40 50,33 50"),
    "rows of several axes": (tokens, "4,9,16 16,70 70"),
    "residual": (lambda x, w, b: x + np.tanh(x @ w + b), "64,64 64,64 64"),
    "a mask": (lambda x, w, m: np.where(m > 0, x @ w, 0), "40,33 33,50 40,50"),
    "a batch": (attention, "3,2,20,8 3,2,24,8"),
    "a batch of one matrix": (lambda x, w, b: relu(x @ w + b), "3,20,8 8,24 24"),
    "a sum of products": (lambda x, w, y, v: np.tanh(x @ w + y @ v), "40,33 33,50 40,20 20,50"),
}
"""Functions and the shapes of their arguments."""

APART: dict[str, tuple[Callable[..., Any], str]] = {
    "sums of nothing": (lambda x, w, b: np.tanh(x @ w + b), "5,0 0,6 6"),
    "two columns": (lambda x, w, b: relu(x @ w + b), "50,64 64,2 2"),
    "sums of rows": (lambda x, w: (x @ w).sum(axis=1), "40,33 33,50"),
    "itself transposed": (lambda x, w: (x @ w).T * (x @ w), "40,33 33,40"),
    "a vector": (lambda x, w, b: np.tanh(x @ w + b), "40,33 33 40"),
    "a row": (lambda x, w, b: np.tanh(x @ w + b), "1,33 33,50 50"),
    "of positions": (lambda x, w, p: np.tanh(x @ w + p), "4,9,16 16,70 9,70"),
    "far": (slope, "307,33 200,33 307,200"),
    "a mask far away": (lambda x, w, m: np.where(m > 0, x @ w, 0), "307,33 33,200 307,200"),
    "long sums": (lambda x, w: (x @ w).sum(axis=0), "4099,9 9,20"),
}
"""The same, where the kernel follows the whole product."""


def lowered(function: Callable[..., Any], shapes: str, dtype: str) -> Graph:
    types = [f"{dtype}[{shape}]" for shape in shapes.split()]
    return gradc.compile(function).lower(*types).graph("traced")


def leaves_of(graph: Graph, specials: bool = False) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    leaves = [rng.uniform(-1, 1, x.shape).astype(x.dtype) for x in graph.inputs]
    for a in leaves if specials else ():
        a.flat[rng.integers(0, a.size, 2)] = [np.nan, np.inf]
    return leaves


def tiled(graph: Graph) -> bool:
    return any(code.tile for code in generate(pipeline.run(graph), host()).kernels.values())


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("case", [*TILED, *APART])
def test_values_at_every_stage(case: str, dtype: str):
    function, shapes = (TILED | APART)[case]
    graph = lowered(function, shapes, dtype)
    assert tiled(graph) == (case in TILED)
    check(graph, leaves_of(graph))


def test_elements_of_other_tiles():
    """A triangle of what follows the product, beside the transpose of another: in the gradient of qr."""
    graph = parse(
        """graph f(x: f64[40, 33], w: f64[33, 40], y: f64[40, 40]) -> (f64[40, 40]) {
  p: f64[40, 40] = matmul(x, w, transpose_a=False, transpose_b=False)
  d: f64[40, 40] = sub(y, p)
  zero: f64[40, 40] = constant(value=0.0)
  i: i64[40, 40] = iota(axis=1)
  j: i64[40, 40] = iota(axis=0)
  above: bool[40, 40] = gt(j, i)
  some: f64[40, 40] = where(above, d, zero)
  turned: f64[40, 40] = transpose(some, axes=(1, 0))
  below: bool[40, 40] = ge(j, i)
  others: f64[40, 40] = where(below, d, zero)
  both: f64[40, 40] = add(others, turned)
  return both
}"""
    )
    check(graph, leaves_of(graph))


@pytest.mark.parametrize("case", ["bias and relu", "slope and sums", "a mask", "the product as well"])
def test_values_that_are_not_finite(case: str):
    graph = lowered(*TILED[case], "f64")
    check(graph, leaves_of(graph, specials=True))


@pytest.mark.parametrize("rows", [1, 2, 3, 13, 14, 15, 29])
@pytest.mark.parametrize("columns", [2, 15, 16, 17, 64, 81])
def test_edges(rows: int, columns: int):
    graph = lowered(slope, f"{rows},7 {columns},7 {rows},{columns}", "f32")
    check(graph, leaves_of(graph))


def test_integers_and_truths():
    for dtype in ("i32", "u8", "bool"):
        graph = lowered(lambda x, w, b: (x @ w) | b, "20,9 9,30 30", dtype)
        check(graph, leaves_of(graph))


LARGE = {
    "columns in parts": (lambda x, w, b: np.tanh(x @ w + b), "300,300 300,500 500"),
    "rows in parts": (lambda x, w, b: np.tanh(x @ w + b), "3000,90 90,70 70"),
    "sums in parts": (slope, "64,900 512,900 64,512"),
    "sums of k in blocks, in parts": (lambda x, w, b: np.exp(x @ w.T + b), "300,500 501,500 501"),
}


@pytest.mark.parametrize("case", LARGE)
def test_parts_have_the_same_bits_for_any_number_of_threads(case: str):
    graph = pipeline.prepare(lowered(*LARGE[case], "f32"))
    leaves = leaves_of(graph)
    wanted = list(evaluate(graph, *leaves))
    planned = pipeline.run(graph)
    results = [load(planned, threads=threads).run(leaves) for threads in (1, 2, 4)]
    difference = Expected(graph, leaves, wanted).difference(results[0])
    assert difference is None, difference
    for other in results[1:]:
        assert all(identical(a, b).all() for a, b in zip(results[0], other, strict=True))


def test_a_product_that_is_kept_does_not_write_over_what_follows_it_reads():
    """m is dead after the kernel; the product is there before it is read."""
    text = """graph f(x: f64[20, 30], w: f64[30, 40], u: f64[20, 40]) -> (f64[40], f64[20, 20]) {
  m: f64[20, 40], order: i64[20, 40] = sort(u)
  p: f64[20, 40] = matmul(x, w, transpose_a=False, transpose_b=False)
  q: f64[20, 40] = mul(p, m)
  y: f64[40] = reduce_sum(q, axes=(0,))
  v: f64[20, 20] = matmul(p, p, transpose_a=False, transpose_b=True)
  return y, v
}"""
    graph = parse(text)
    check(graph, leaves_of(graph))


def test_what_a_product_reads_is_not_written_over_and_what_follows_may_be():
    """h is dead after the kernel and is read where it is written; x is read by other tiles."""
    text = """graph f(x: f64[64, 64], w: f64[64, 64]) -> (f64[64, 64]) {
  a: f64[64, 64] = exp(x)
  h: f64[64, 64], i: i64[64, 64] = sort(a)
  u: f64[64, 64], j: i64[64, 64] = sort(h)
  p: f64[64, 64] = matmul(u, w, transpose_a=False, transpose_b=False)
  y: f64[64, 64] = mul(p, h)
  v: f64[64, 64], k: i64[64, 64] = sort(y)
  return v
}"""
    graph = pipeline.run(gradc.ir.parse(text), until="fused")
    planned = plan_memory(graph)
    verify(planned, after="plan_memory")
    (kernel,) = [n for n in planned.nodes if n.op.name == "fuse" and len(n.inputs) == 3]
    places = {x.name: x.node.places[0] for x in kernel.inputs if x.node is not None and x.node.places}
    assert kernel.places == (places["h"],) and places["u"] != places["h"]
    leaves = leaves_of(graph)
    wanted = evaluate(graph, *leaves)
    np.testing.assert_allclose(evaluate(planned, *leaves), wanted)
    np.testing.assert_allclose(load(planned).run(leaves), wanted)


def test_a_training_step_stores_no_product_that_only_its_activation_reads():
    def loss(params: Any, x: Any, y: Any) -> Any:
        for W, b in params:
            x = np.tanh(x @ W + b)
        return np.mean((x - y) ** 2)

    params = [(f"f32[{n},{m}]", f"f32[{m}]") for n, m in [(24, 40), (40, 32), (32, 16)]]
    graph = gradc.compile(loss).lower(params, "f32[48, 24]", "f32[48, 16]").graph("fused")
    products = [n.op.name for n in graph.nodes if n.op.name == "matmul"]
    inside = [n for n in graph.nodes if n.op.name == "fuse" and n.attrs["body"].name.startswith("matmul")]
    assert len(inside) == 4, "two activations, two slopes; the last layer ends in a mean"
    assert len(products) == 4, "it, and the gradients of the weights"
