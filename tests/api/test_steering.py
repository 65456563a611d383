"""custom_gradient and checkpoint: alone, nested in transforms, in trees; what they are for, measured."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc

x3 = np.array([1.0, -0.5, 2.0])


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@gradc.custom_gradient
def straight(x: Any, low: Any = 0.0) -> Any:
    """The positive part, with a gradient of its own: 3x where it is positive, a tenth elsewhere."""
    y = np.maximum(x, low)

    def pullback(g: Any) -> Any:
        return g * np.where(x > low, 3.0 * x, 0.1), None

    return y, pullback


def total(x: Any) -> Any:
    return np.sum(straight(x) ** 2)


def slope(x: Any) -> Any:
    return 2 * np.maximum(x, 0) * np.where(x > 0, 3 * x, 0.1)


def test_called_plainly_it_gives_the_value() -> None:
    close(straight(x3), np.maximum(x3, 0))
    close(gradc.compile(straight)(x3), np.maximum(x3, 0))
    assert straight.__name__ == "straight"


def test_the_pullback_is_used_under_every_transform() -> None:
    rows = np.stack([x3, 2 * x3])
    close(gradc.grad(total)(x3), slope(x3))
    close(gradc.compile(total).value_and_grad(x3)[1], slope(x3))
    close(gradc.vjp(total, x3)[1](2.0)[0], 2 * slope(x3))
    close(gradc.jvp(total, (x3,), (x3,))[1], slope(x3) @ x3)
    close(gradc.jacobian(straight)(x3), np.diag(np.where(x3 > 0, 3 * x3, 0.1)))
    close(gradc.vmap(gradc.grad(total))(rows), slope(rows))
    close(gradc.grad(lambda rows: np.sum(gradc.vmap(total)(rows)))(rows), slope(rows))


def test_second_derivatives_are_those_of_the_pullback() -> None:
    # slope = 2 y p, where y has derivative p by the pullback, and p by NumPy.
    p, dp = np.where(x3 > 0, 3 * x3, 0.1), np.where(x3 > 0, 3.0, 0.0)
    y = np.maximum(x3, 0)
    close(gradc.hessian(total)(x3), np.diag(2 * p * p + 2 * y * dp))


def test_what_all_examples_share_gets_the_sum() -> None:
    @gradc.custom_gradient
    def product(w: Any, x: Any) -> Any:
        return w * x, lambda g: (2.0 * g * x, g * w)

    rows = np.stack([x3, 3 * x3])

    def loss(w: Any) -> Any:
        return np.sum(gradc.vmap(product, (None, 0))(w, rows))

    close(gradc.grad(loss)(x3), 2 * rows.sum(0))


def test_in_a_branch_that_some_examples_take() -> None:
    @gradc.custom_gradient
    def entry(x: Any, i: Any) -> Any:
        return x[i], lambda g: (np.full(3, 7.0) * g * x[i], None)

    def f(x: Any, i: Any) -> Any:
        return gradc.cond(i < 3, entry, lambda x, i: np.sum(x), x, i)

    rows, numbers = np.stack([x3, x3, 2 * x3]), np.array([1, 8, 2])
    found = gradc.vmap(gradc.grad(f))(rows, numbers)
    close(found, [np.full(3, 7.0 * rows[0, 1]), np.ones(3), np.full(3, 7.0 * rows[2, 2])])


def test_trees_and_parts_without_gradient() -> None:
    @gradc.custom_gradient
    def f(p: Any, n: Any, *, factor: Any) -> Any:
        value = {"a": p["w"] * factor, "n": n + 1, "c": 1.0}

        def pullback(g: Any) -> Any:
            assert g["n"] is None
            return {"w": 5.0 * g["a"], "b": None, "s": 0.25}, None

        return value, pullback

    p = {"w": x3, "b": x3 * 2, "s": x3}
    found = gradc.grad(lambda p: np.sum(f(p, np.arange(3), factor=2.0)["a"]))(p)
    close(found["w"], np.full(3, 5.0))
    close(found["b"], np.zeros(3))
    close(found["s"], np.full(3, 0.25))


def test_what_is_computed_twice_is_computed_once() -> None:
    @gradc.custom_gradient
    def softplus(x: Any) -> Any:
        e = np.exp(x)
        return np.log1p(e), lambda g: g * e / (1 + e)

    text = gradc.compile(lambda x: np.sum(softplus(x))).dump(x3, stage="optimized")
    assert text.count("= exp(") <= 1
    assert "custom(" not in text
    assert "custom(" in gradc.compile(softplus).dump(x3, stage="traced")


def test_errors_of_custom_gradients() -> None:
    @gradc.custom_gradient
    def no_pair(x: Any) -> Any:
        return x * 2

    @gradc.custom_gradient
    def wrong_count(x: Any, y: Any) -> Any:
        return x * y, lambda g: (g,)

    @gradc.custom_gradient
    def wrong_shape(x: Any) -> Any:
        return x * 2, np.sum

    with pytest.raises(gradc.TraceError, match="no_pair has @custom_gradient, but returns"):
        no_pair(x3)
    with pytest.raises(gradc.TraceError, match="no_pair has @custom_gradient, but returns"):
        gradc.compile(no_pair)(x3)
    with pytest.raises(gradc.TraceError, match="a tuple of 1 for 2 parameters"):
        gradc.compile(wrong_count)(x3, x3)
    with pytest.raises(gradc.ShapeError, match=r"returns f64\[\] for parameter 0, which is f64\[3\]"):
        gradc.compile(wrong_shape)(x3)


def layer(h: Any, w: Any) -> Any:
    for _ in range(6):
        h = np.tanh(h @ w)
    return h


def chain(step: Callable[..., Any], w: Any, h: Any) -> Any:
    for _ in range(10):
        h = step(h, w)
    return np.sum(h**2)


@pytest.mark.long
@pytest.mark.parametrize("transform", ["value", "grad", "hvp", "vmap", "jacobian"])
def test_checkpoints_change_no_value(transform: str) -> None:
    rng = np.random.default_rng(0)
    w, h = rng.normal(size=(4, 4)) / 2, rng.normal(size=(3, 4))

    def apply(step: Callable[..., Any]) -> Any:
        f = functools.partial(chain, step)
        if transform == "value":
            return gradc.compile(f)(w, h)
        if transform == "grad":
            return gradc.grad(f)(w, h)
        if transform == "hvp":
            return gradc.hvp(f, (w, h), (w, h))[1][0]
        if transform == "vmap":
            return gradc.vmap(gradc.grad(f), (None, 0))(w, h)
        return gradc.jacobian(lambda w: step(h, w))(w)

    close(apply(gradc.checkpoint(layer)), apply(layer))


def test_checkpoints_save_memory() -> None:
    w, h = "f64[32, 32]", "f64[128, 32]"
    kept = gradc.compile(lambda w, h: chain(layer, w, h)).lower(w, h).memory
    saved = gradc.compile(lambda w, h: chain(gradc.checkpoint(layer), w, h)).lower(w, h).memory
    assert saved < kept / 2.5


def test_a_checkpoint_closes_over_values() -> None:
    def f(x: Any) -> Any:
        y = np.exp(x)
        inner = gradc.checkpoint(lambda z: {"a": np.sin(z) * y, "name": "kept"})
        found = inner(x)
        assert found["name"] == "kept"
        return np.sum(found["a"])

    close(gradc.grad(f)(x3), np.exp(x3) * (np.cos(x3) + np.sin(x3)))
    close(gradc.checkpoint(f)(x3), f(x3))
