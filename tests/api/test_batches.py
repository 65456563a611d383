"""vmap, jacobian, hessian: against loops and finite differences, nested, in trees, with every kind of op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc

rng = np.random.default_rng(5)
X = rng.normal(size=(5, 4))
W = rng.normal(size=(4, 3))
labels = rng.integers(0, 3, size=5)
v3 = np.array([0.3, -0.7, 1.1])


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def loop(fn: Callable[..., Any], *columns: Any) -> Any:
    return np.stack([fn(*row) for row in zip(*columns, strict=True)])


def loss(W: Any, x: Any, t: Any, scale: Any = 1.5) -> Any:
    z = np.tanh(x @ W) * scale
    return np.log(np.sum(np.exp(z))) - z[t]


EXAMPLES: dict[str, Callable[[Any], Any]] = {
    "elementwise": lambda x: np.sin(x) * x + 2.0,
    "reductions": lambda x: np.max(x) + np.var(x) - np.mean(x) * np.argmax(x),
    "where": lambda x: np.where(x > 0, np.sqrt(np.abs(x)), -x),
    "index": lambda x: x[1] * x[::-1] + x[[0, 0, 2]].sum(),
    "index by a traced number": lambda x: x[np.argmin(x)] + X[np.argmax(x), :2].sum(),
    "matrix times vector": lambda x: W.T @ x,
    "vector times matrix": lambda x: x @ W,
    "products of its own": lambda x: np.outer(x, x) @ np.outer(x, x[:2]),
    "einsum": lambda x: np.einsum("i,ij,k->jk", x, W, x),
    "shapes": lambda x: np.concatenate([x.reshape(2, 2).T.ravel(), np.pad(x, 1)]),
    "in place": lambda x: _written(x) * 2.0,
    "branches": lambda x: gradc.cond(np.sum(x) > 0, lambda x: x * 2, lambda x: x - np.max(x), x),
    "a branch that all share": lambda x: gradc.cond(W[0, 0] > 0, np.sin, np.cos, x),
    "compiled": gradc.compile(lambda y: y**2),
    "what does not depend": lambda x: np.tanh(W),
    "a number": lambda x: 2.5,
}


def _written(x: Any) -> Any:
    y = np.zeros(4)
    y[1:3] = x[:2]
    y[0] += x[3]
    return y


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_batch_is_a_loop(name: str) -> None:
    f = EXAMPLES[name]
    wanted = loop(f, X)
    for found in (gradc.vmap(f)(X), gradc.compile(gradc.vmap(f))(X), gradc.vmap(f, 1, -1)(X.T)):
        assert found.dtype == wanted.dtype
    close(gradc.vmap(f)(X), wanted)
    close(gradc.compile(gradc.vmap(f))(X), wanted)
    close(np.moveaxis(gradc.vmap(f, 1, -1)(X.T), -1, 0), wanted)


@pytest.mark.parametrize("name", EXAMPLES)
def test_gradients_of_examples(name: str) -> None:
    f = EXAMPLES[name]

    def total(x: Any) -> Any:
        return np.sum(f(x) * 1.0) + 0.0 * np.sum(x)

    close(gradc.vmap(gradc.grad(total))(X), loop(gradc.grad(total), X))
    close(gradc.grad(lambda X: np.sum(gradc.vmap(total)(X) ** 2))(X), _slope(total))


def _slope(total: Callable[..., Any]) -> Any:
    return loop(lambda x: 2 * total(x) * gradc.grad(total)(x), X)


def test_gradients_per_example() -> None:
    wanted = np.stack([gradc.grad(loss)(W, x, t) for x, t in zip(X, labels, strict=True)])
    close(gradc.vmap(gradc.grad(loss), (None, 0, 0))(W, X, labels), wanted)
    close(gradc.vmap(gradc.compile(loss).grad, (None, 0, 0))(W, X, labels), wanted)
    close(gradc.vmap(gradc.grad(loss), (None, 0, 0))(W, X, labels, 1.5), wanted)
    total = gradc.grad(lambda W: np.mean(gradc.vmap(loss, (None, 0, 0))(W, X, labels)))(W)
    close(total, wanted.mean(0))


def test_batches_of_batches() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.sum(x * y) + x[0]

    Y = rng.normal(size=(3, 4))
    table = gradc.vmap(gradc.vmap(f, (None, 0)), (0, None))(X, Y)
    close(table, [[f(x, y) for y in Y] for x in X])
    other = gradc.vmap(gradc.vmap(f, (0, None)), (None, 0), 1)(X, Y)
    close(other, table)


def test_a_choice_by_example_raises_only_for_who_chose_it() -> None:
    def pick(x: Any, i: Any) -> Any:
        return gradc.cond(i < 4, lambda x, i: x[i], lambda x, i: np.sum(x), x, i)

    numbers = np.array([0, 3, 9, 2, 7])
    close(gradc.vmap(pick)(X, numbers), [pick(x, i) for x, i in zip(X, numbers, strict=True)])


def test_axes_in_trees() -> None:
    def f(p: Any, x: Any, *, shift: Any) -> Any:
        return {"y": p["a"] * x + shift, "b": p["b"] + 1.0, "name": "f"}

    p = {"a": X, "b": v3}
    found = gradc.vmap(f, ({"a": 0, "b": None}, 1), {"y": 1, "b": None, "name": 0})(p, X.T, shift=X[:, 0])
    close(found["y"], (X * X + X[:, :1]).T)
    close(found["b"], v3 + 1)
    assert found["name"] == "f"


def test_errors_of_axes() -> None:
    def f(x: Any, y: Any) -> Any:
        return x * np.sum(y)

    with pytest.raises(gradc.ShapeError, match="x has 5 examples, but y has 3"):
        gradc.vmap(f)(X, v3)
    with pytest.raises(gradc.ArgumentError, match=r"x \(f64\[5, 4\]\) has no axis 2"):
        gradc.vmap(f, (2, 0))(X, X)
    with pytest.raises(gradc.ArgumentError, match="no argument has an axis of examples"):
        gradc.vmap(f, None)(X, X)
    with pytest.raises(gradc.ArgumentError, match="3 entries for 2 arguments"):
        gradc.vmap(f, (0, 0, 0))(X, X)
    with pytest.raises(gradc.ArgumentError, match="does not fit the structure of x"):
        gradc.vmap(f, ({"a": 0}, 0))(X, X)
    with pytest.raises(gradc.ArgumentError, match="which is no axis"):
        gradc.vmap(f, 1.5)
    with pytest.raises(gradc.ArgumentError, match="depends on the example"):
        gradc.vmap(f, 0, None)(X, X)
    with pytest.raises(gradc.ArgumentError, match="missing"):
        gradc.vmap(f)(X)


def differences(f: Callable[..., Any], x: Any) -> Any:
    """The jacobian of f at x by central differences."""
    columns = []
    for i in np.ndindex(*np.shape(x)):
        step = np.zeros(np.shape(x))
        step[i] = 1e-5
        columns.append((f(x + step) - f(x - step)) / 2e-5)
    found = np.stack(columns, -1)
    return found.reshape(*found.shape[:-1], *np.shape(x))


JACOBIANS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "wide": (lambda x: np.sin(np.sum(x**2, axis=0)), rng.normal(size=(3, 4))),
    "tall": (lambda x: np.outer(np.exp(x), x), v3),
    "square": (lambda x: x * np.roll(x, 1), v3),
    "scalar": (lambda x: np.sum(np.tanh(x)), v3),
    "of a number": (lambda x: np.stack([x, x**2, np.sin(x)]), np.float64(0.7)),
    "products": (lambda x: x @ x.T, rng.normal(size=(2, 3))),
    "batch": (gradc.vmap(lambda r: np.sum(r**3)), rng.normal(size=(2, 3))),
}


@pytest.mark.parametrize("name", JACOBIANS)
def test_jacobians(name: str) -> None:
    f, x = JACOBIANS[name]
    wanted = differences(lambda x: np.asarray(gradc.compile(f)(x)), x)
    found = gradc.jacobian(f)(x)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-8)
    close(gradc.jacobian(gradc.compile(f))(x), found)
    close(gradc.compile(lambda x: gradc.jacobian(f)(x) * 2.0)(x), found * 2)


def test_jacobian_of_trees() -> None:
    def f(p: Any, n: Any, x: Any) -> Any:
        return {"y": p["w"] @ x, "s": np.sum(p["b"]) * n, "n": n * 2, "c": 1.0}

    p, x = {"w": rng.normal(size=(2, 3)), "b": v3}, v3
    found = gradc.jacobian(f, wrt=("p", "x"))(p, np.int64(2), x)
    assert found["n"] is None
    first, second = found["y"]
    close(first["w"], np.einsum("ik,j->ikj", np.eye(2), x))
    close(first["b"], np.zeros((2, 3)))
    close(second, p["w"])
    close(found["s"][0]["b"], np.full(3, 2.0))
    close(found["c"][0]["w"], np.zeros((2, 3)))
    few = gradc.jacobian(lambda p: p["w"] @ v3)(p)  # more parameters than results: by pullbacks
    close(few["w"], first["w"])


HESSIANS: dict[str, Callable[[Any], Any]] = {
    "rosenbrock": lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2),
    "log-sum-exp": lambda x: np.log(np.sum(np.exp(x))),
    "products": lambda x: np.prod(x) + x @ x,
    "indexing": lambda x: x[0] * x[[1, 1, 2]] @ x,
    "linear": lambda x: np.sum(x) * 2.0,
    "branches": lambda x: gradc.cond(x[0] > 0, lambda x: np.sum(x**3), lambda x: -np.sum(x), x),
}


@pytest.mark.parametrize("name", HESSIANS)
def test_hessians(name: str) -> None:
    f = HESSIANS[name]
    found = gradc.hessian(f)(v3)
    wanted = differences(gradc.grad(f), v3)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    close(gradc.hessian(gradc.compile(f))(v3), found)
    batch = np.stack([v3, v3 * 1.5])
    close(gradc.vmap(gradc.hessian(f))(batch), loop(gradc.hessian(f), batch))


def test_second_derivatives_of_trees_and_aux() -> None:
    def f(p: Any, x: Any) -> Any:
        return np.sum(p["w"] ** 2 * p["b"]) * x, {"loss": p["b"]}

    p = {"w": v3, "b": np.float64(2.0)}
    second, aux = gradc.hessian(f, has_aux=True)(p, 3.0)
    close(second["w"]["w"], np.diag(np.full(3, 12.0)))
    close(second["w"]["b"], 6 * v3)
    close(second["b"]["w"], 6 * v3)
    close(second["b"]["b"], 0.0)
    assert aux["loss"] == 2.0
    rows, aux = gradc.jacobian(lambda x: (x * 2, x[0]), has_aux=True)(v3)
    close(rows, np.eye(3) * 2)
    assert aux == v3[0]
    with pytest.raises(gradc.TraceError, match="returns \\(value, aux\\)"):
        gradc.jacobian(lambda x: x, has_aux=True)(v3)


def test_nothing_and_one() -> None:
    assert gradc.vmap(lambda x: x @ W)(np.zeros((0, 4))).shape == (0, 3)
    assert gradc.vmap(lambda x: np.sum(x) * 2.0)(np.zeros((1, 4))).tolist() == [0.0]
    assert gradc.jacobian(lambda x: np.concatenate([x, x]))(np.zeros(0)).shape == (0, 0)
