"""Gradients, pullbacks and pushforwards of graphs: the classic traps, by name."""

from __future__ import annotations

import numpy as np
import pytest

from gradc.ir import ShapeError, evaluate, parse, verify
from gradc.ir.graph import Graph
from gradc.passes.grad import grad, jvp, vjp

x = np.array([1.0, 2.0, 3.0])
u = np.array([1.0, -1.0, 0.5])

TRAPS: dict[str, tuple[str, list[np.ndarray], list[np.ndarray]]] = {
    # text, leaves, the gradient of output 0 with respect to every input
    "the-same-input-twice": (
        "graph f(x: f64[3]) -> (f64[]) { a: f64[3] = mul(x, x) b: f64[] = reduce_sum(a, axes=(0,))"
        " return b }",
        [x],
        [2 * x],
    ),
    "an-unused-input": (
        "graph f(x: f64[3], y: f64[2]) -> (f64[]) { b: f64[] = reduce_sum(x, axes=(0,)) return b }",
        [x, np.ones(2)],
        [np.ones(3), np.zeros(2)],
    ),
    "an-input-returned": (
        "graph f(x: f64[], y: f64[]) -> (f64[], f64[]) { return x, y }",
        [np.array(2.0), np.array(3.0)],
        [np.array(1.0), np.array(0.0)],
    ),
    "a-constant-loss": (
        "graph f(x: f64[3]) -> (f64[]) { c: f64[] = constant(value=2.0) return c }",
        [x],
        [np.zeros(3)],
    ),
    "an-output-twice": (
        "graph f(x: f64[3]) -> (f64[], f64[]) { a: f64[] = reduce_sum(x, axes=(0,)) return a, a }",
        [x],
        [np.ones(3)],
    ),
    "no-elements": (
        "graph f(x: f64[0]) -> (f64[]) { a: f64[] = reduce_sum(x, axes=(0,)) return a }",
        [np.zeros(0)],
        [np.zeros(0)],
    ),
    "through-integers": (
        "graph f(x: f64[]) -> (f64[]) { i: i64[] = cast(x) a: f64[] = cast(i) b: f64[] = mul(a, x)"
        " return b }",
        [np.array(2.5)],
        [np.array(2.0)],
    ),
    "a-shared-cotangent": (
        "graph f(x: f64[], y: f64[]) -> (f64[]) { a: f64[] = add(x, y) b: f64[] = add(a, x) return b }",
        [np.array(2.0), np.array(3.0)],
        [np.array(2.0), np.array(1.0)],
    ),
}


def graph(case: str) -> Graph:
    return parse(TRAPS[case][0])


@pytest.mark.parametrize("case", TRAPS)
def test_grad(case: str) -> None:
    _, leaves, expected = TRAPS[case]
    whole = grad(graph(case), range(len(leaves)))
    verify(whole, after="grad")
    results = evaluate(whole, *leaves)
    for found, wanted in zip(results[len(results) - len(expected) :], expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert str(parse(str(whole))) == str(whole)


@pytest.mark.parametrize("case", TRAPS)
def test_vjp_and_jvp_are_transposes(case: str) -> None:
    """<u, J t> = <Jᵀ u, t> for random u and t."""
    f, leaves = graph(case), TRAPS[case][1]
    rng = np.random.default_rng(0)
    tangents = [rng.normal(size=leaf.shape) for leaf in leaves]
    cotangents = [rng.normal(size=y.shape) for y in f.outputs]
    everything = range(len(leaves))
    pulled, pushed = vjp(f, everything), jvp(f, everything)
    for derived in (pulled, pushed):
        verify(derived)
    back = evaluate(pulled, *leaves, *cotangents)[len(f.outputs) :]
    forth = evaluate(pushed, *leaves, *tangents)[len(f.outputs) :]
    left = sum(float(np.sum(a * b)) for a, b in zip(cotangents, forth, strict=True))
    right = sum(float(np.sum(a * b)) for a, b in zip(back, tangents, strict=True))
    np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)


def test_jvp_in_a_branch_that_is_not_selected_stays_finite() -> None:
    text = """graph f(x: f64[]) -> (f64[]) {
      zero: f64[] = constant(value=0.0)
      c: bool[] = gt(x, zero)
      r: f64[] = sqrt(x)
      y: f64[] = where(c, r, zero)
      return y
    }"""
    results = evaluate(jvp(parse(text), [0]), np.array(0.0), np.array(1.0))
    assert results[1] == 0.0


def test_keep_and_loss() -> None:
    text = "graph f(x: f64[]) -> (f64[], f64[]) { a: f64[] = exp(x) b: f64[] = sin(x) return a, b }"
    whole = grad(parse(text), [0], loss=1, keep=[0])
    found = evaluate(whole, np.array(0.5))
    np.testing.assert_allclose(found, [np.exp(0.5), np.cos(0.5)])
    only = grad(parse(text), [0], keep=[])
    np.testing.assert_allclose(evaluate(only, np.array(0.5)), [np.exp(0.5)])


@pytest.mark.parametrize("type", ["f64[2]", "i64[]", "bool[]"])
def test_what_is_no_loss(type: str) -> None:
    with pytest.raises(ShapeError, match="one float number"):
        grad(parse(f"graph f(x: {type}) -> ({type}) {{ return x }}"), [])


def test_non_float_outputs_have_no_cotangents() -> None:
    f = parse("graph f(x: f64[3]) -> (i64[], f64[3]) { i: i64[] = argmax(x, axis=0) return i, x }")
    assert len(vjp(f, [0]).inputs) == 2 and len(jvp(f, [0]).outputs) == 3
    np.testing.assert_array_equal(evaluate(vjp(f, [0]), x, u)[2], u)
    np.testing.assert_array_equal(evaluate(jvp(f, [0]), x, u)[2], u)
