"""Transforms of transforms through the public API: one law a test, for functions with every kind of op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import gradc
from gradc.api.jacobian import pulled_outputs

rng = np.random.default_rng(11)
x4 = np.array([0.3, -0.7, 1.1, 0.4])
t4 = np.array([1.0, -2.0, 0.5, 0.25])
X = np.stack([x4, x4[::-1] * 1.5, x4**2 + 0.1])
A = rng.normal(size=(4, 4)) + 4 * np.eye(4)
index = np.array([2, 0, 2, 3])


@gradc.custom_gradient
def cube(x: Any) -> Any:
    return x**3, lambda g: (g * 3 * x**2,)


@gradc.checkpoint
def layer(x: Any, w: Any = A) -> Any:
    return np.tanh(w @ x)


def filled(x: Any) -> Any:
    out = np.zeros((2, 4))
    out[0] = x * 2
    out[1, 1:] = x[:-1] ** 2
    out[:, 0] += x[3]
    out[0, index[:2]] *= x[1]
    np.add.at(out[1], index, np.sin(x))
    np.multiply.at(out[0], index[:2], x[:2])
    return out


def spd(x: Any) -> Any:
    return np.outer(x, x) + A @ A.T


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "elementwise": lambda x: np.exp(np.sin(x)) * x / (2 + np.cos(x)),
    "reductions": lambda x: np.var(x) * x + np.prod(x) + np.linalg.norm(x),
    "branches": lambda x: gradc.cond(x[0] > x[1], lambda x: x**3, lambda x: np.sin(x) * x, x),
    "branches of branches": lambda x: gradc.cond(
        x[0] > 0.2,
        lambda x: gradc.cond(np.sum(x) > 1.5, lambda x: x**2, lambda x: layer(x) * x, x),
        lambda x: cube(x) - x,
        x,
    ),
    "custom_gradient": lambda x: cube(np.sin(x)) * x,
    "checkpoint": lambda x: layer(layer(x)) * x,
    "stop_gradient": lambda x: np.sin(x) * gradc.stop_gradient(np.array([2.0, 1.0, 0.5, 3.0])),
    "in place": filled,
    "indexing": lambda x: x[index] * x[::-1] ** 2 + np.take(x, 1),
    "windows": lambda x: np.convolve(np.sin(x), x[:3]) + np.convolve(x, x[1:]),
    "sliding": lambda x: np.lib.stride_tricks.sliding_window_view(x**2, 3) @ np.sin(x[:3]),
    "einsum": lambda x: np.einsum("i,ij,j,k->k", x, A, np.sin(x), x),
    "sort": lambda x: np.sort(x) ** 2 * x + np.maximum(x, x[::-1] ** 2),
    "running": lambda x: np.cumsum(x**2) * np.cumprod(x) + np.maximum.accumulate(x),
    "solve": lambda x: np.linalg.solve(spd(x), np.sin(x)),
    "cholesky": lambda x: np.linalg.cholesky(spd(x)) @ x,
    "triangular": lambda x: scipy.linalg.solve_triangular(np.tril(spd(x)), x**2, lower=True),
    "eigenvalues": lambda x: np.linalg.eigvalsh(spd(x)) * x,
    "singular values": lambda x: np.linalg.svd(np.outer(x, x) * 0.1 + A, compute_uv=False),
    "determinant": lambda x: np.linalg.slogdet(spd(x))[1] * x,
    "qr": lambda x: np.linalg.qr(np.outer(np.sin(x), x) * 0.1 + A)[1] @ x,
    "special": lambda x: scipy.special.gammaln(x**2 + 1) * scipy.special.j0(x),
    "logsumexp": lambda x: scipy.special.logsumexp(x * x[::-1]) * scipy.special.expit(x),
    "a gradient inside": lambda x: gradc.grad(lambda y: np.sum(np.sin(y) * y[::-1] ** 2))(x) * x,
    "a batch inside": lambda x: gradc.vmap(lambda r: np.sum(r**3) * r[0])(np.outer(x, x)),
    "a jacobian inside": lambda x: gradc.jacobian(lambda y: np.sin(y) * y[0])(x) @ x,
}

EVERY = pytest.mark.parametrize("name", FUNCTIONS)
MOSTLY_LONG = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.long] if i % 6 else []) for i, n in enumerate(FUNCTIONS)]
)


def close(found: Any, wanted: Any, rtol: float = 1e-8) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    np.testing.assert_allclose(
        found, wanted, rtol=rtol, atol=rtol * max(1.0, np.max(np.abs(wanted), initial=0))
    )


def loop(fn: Callable[..., Any], rows: Any) -> Any:
    return np.stack([fn(row) for row in rows])


def total(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A number made of the result, with curvature of its own."""
    return lambda x: np.sum(np.sin(fn(x)))


def differences(fn: Callable[..., Any], x: Any) -> Any:
    """The jacobian by central differences, extrapolated."""
    columns = []
    for i in range(len(x)):
        e = np.eye(len(x))[i]
        coarse, fine = ((fn(x + h * e) - fn(x - h * e)) / (2 * h) for h in (2e-3, 1e-3))
        columns.append((4 * fine - coarse) / 3)
    return np.stack(columns, -1)


@EVERY
def test_batches(name: str) -> None:
    f = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        close(gradc.vmap(f)(X), loop(f, X))
    close(gradc.vmap(f, 1, -1)(X.T), np.moveaxis(gradc.vmap(f)(X), 0, -1))


@MOSTLY_LONG
def test_gradients_of_examples(name: str) -> None:
    g = gradc.grad(total(FUNCTIONS[name]))
    wanted = loop(g, X)
    close(gradc.vmap(g)(X), wanted)
    close(gradc.grad(lambda X: np.sum(gradc.vmap(total(FUNCTIONS[name]))(X)))(X), wanted)


@MOSTLY_LONG
def test_jacobians_both_ways(name: str) -> None:
    """Repeating the result or the argument makes one way cheaper than the other."""
    f = FUNCTIONS[name]
    wanted = differences(gradc.compile(f), x4)
    n = wanted[..., 0].size
    forward = gradc.jacobian(lambda x: np.stack([f(x)] * 4))(x4)
    close(forward, np.stack([wanted] * 4), 1e-5)
    backward = gradc.jacobian(lambda both: f(both[:4] + 0 * np.sum(both[4:])))(
        np.concatenate([x4, np.ones(n)])
    )
    close(backward[..., :4], forward[0])
    value, pull = gradc.vjp(f, x4)
    rows = [pull(e.reshape(np.shape(value)))[0] for e in np.eye(n)]
    close(np.stack(rows).reshape(wanted.shape), forward[0])


@MOSTLY_LONG
def test_second_derivatives(name: str) -> None:
    f = total(FUNCTIONS[name])
    h = gradc.hessian(f)(x4)
    close(h, differences(gradc.grad(f), x4), 1e-5)
    close(h, h.T)
    close(gradc.jacobian(gradc.grad(f))(x4), h)
    (g,), (product,) = gradc.hvp(f, (x4,), (t4,))
    close(g, gradc.grad(f)(x4))
    close(product, h @ t4)
    _, pull = gradc.vjp(gradc.grad(f), x4)
    close(pull(t4)[0], t4 @ h)
    close(gradc.grad(lambda x: gradc.jvp(f, (x,), (t4,))[1])(x4), h @ t4)
    close(gradc.vmap(gradc.hessian(f))(X), loop(gradc.hessian(f), X))


@pytest.mark.long
@EVERY
def test_batches_and_directions(name: str) -> None:
    f = FUNCTIONS[name]
    T = np.stack([t4, -t4, t4**2])
    push = lambda x, t: gradc.jvp(f, (x,), (t,))[1]  # noqa: E731
    wanted = np.stack([push(x, t) for x, t in zip(X, T, strict=True)])
    close(gradc.vmap(push)(X, T), wanted)
    close(gradc.jvp(gradc.vmap(f), (X,), (T,))[1], wanted)
    U = np.cos(np.arange(wanted.size)).reshape(wanted.shape)
    pulled = np.stack([gradc.vjp(f, x)[1](u)[0] for x, u in zip(X, U, strict=True)])
    close(gradc.vmap(lambda x, u: gradc.vjp(f, x)[1](u)[0])(X, U), pulled)
    close(gradc.vjp(gradc.vmap(f), X)[1](U)[0], pulled)
    assert np.sum(wanted * U) == pytest.approx(np.sum(pulled * T), rel=1e-9)


@pytest.mark.long
@EVERY
def test_three_orders(name: str) -> None:
    f = total(FUNCTIONS[name])

    def along(f: Any) -> Any:
        return lambda x: np.sum(gradc.grad(f)(x) * t4)

    third = along(along(along(f)))(x4)
    line = lambda a: f(x4 + a * t4)  # noqa: E731
    g: Any = line
    for _ in range(3):
        g = gradc.grad(g)
    assert g(0.0) == pytest.approx(third, rel=1e-7, abs=1e-7)
    second = gradc.compile(gradc.grad(gradc.grad(line)))
    coarse, fine = ((second(h) - second(-h)) / (2 * h) for h in (2e-3, 1e-3))
    assert (4 * fine - coarse) / 3 == pytest.approx(third, rel=1e-4, abs=1e-4 * (1 + abs(second(0.0))))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("inner", [0, 1, -1])
@pytest.mark.parametrize("out", [0, 1, 2, -1])
def test_batches_of_batches_along_any_axes(axis: int, inner: int, out: int) -> None:
    def f(x: Any, y: Any) -> Any:
        return np.sin(x) * y[:3] + np.cumsum(x)[0]

    Z, Y = rng.normal(size=(3, 3, 3)), rng.normal(size=(3, 4))
    found = gradc.vmap(gradc.vmap(f, (inner, None), inner), (axis, 0), out)(Z, Y)
    wanted = []
    for part, y in zip(np.moveaxis(Z, axis, 0), Y, strict=True):
        wanted.append(np.moveaxis(loop(lambda x: f(x, y), np.moveaxis(part, inner, 0)), 0, inner))  # noqa: B023
    close(found, np.moveaxis(np.stack(wanted), 0, out))


# Which way a Jacobian goes.


def elements(fn: Callable[..., Any], *args: Any) -> int:
    """How many numbers the compiled function computes."""
    graph = gradc.compile(fn).lower(*args).graph("optimized")
    return sum(y.type.size for node in graph.nodes for y in node.results)


def test_a_jacobian_goes_the_cheaper_way() -> None:
    n = 1000
    p, big = np.array([0.5, -0.3]), np.linspace(0, 1, n)
    grid = np.linspace(-1, 1, n)
    wide = lambda p: np.sin(grid * p[0]) + np.tanh(grid * p[1])  # noqa: E731
    deep = lambda x: np.stack([np.sum(np.sin(x) * x), np.prod(np.cos(x * 0.01))])  # noqa: E731
    for fn, x in ((wide, p), (deep, big)):
        close(gradc.jacobian(fn)(x).shape, np.array(gradc.compile(fn)(x).shape + x.shape))
        assert elements(gradc.jacobian(fn), x) < 60 * n  # the other way: at least n * n

    def mixed(q: Any) -> Any:
        return {"table": wide(q["few"]), "number": np.sum(q["many"] ** 2) * q["few"][0]}

    q = {"few": p, "many": big}
    found = gradc.jacobian(mixed)(q)
    close(found["table"]["few"], gradc.jacobian(wide)(p))
    close(found["table"]["many"], np.zeros((n, n)))
    close(found["number"]["many"], 2 * big * p[0])
    close(found["number"]["few"], np.array([np.sum(big**2), 0.0]))
    graph = gradc.compile(gradc.jacobian(mixed)).lower(q).graph("optimized")
    dense = [y for node in graph.nodes for y in node.results if y.type.size >= n * n]
    assert {y.node.op.name for y in dense if y.node} <= {"constant"}


def test_which_results_are_pulled_back() -> None:
    def chosen(outputs: dict[int, int], inputs: dict[int, int], **reached: set[int]) -> set[int]:
        return set(pulled_outputs(outputs, inputs, {int(k[1:]): frozenset(v) for k, v in reached.items()}))

    assert chosen({0: 1000}, {0: 2}, y0={0}) == set()
    assert chosen({0: 2}, {0: 1000}, y0={0}) == {0}
    assert chosen({0: 3}, {0: 3}, y0={0}) == set()
    assert chosen({0: 1000, 1: 1}, {0: 2, 1: 1000}, y0={0}, y1={0, 1}) == {1}
    assert chosen({0: 1000, 1: 1}, {0: 2, 1: 1000}, y0=set(), y1={1}) == {1}
    assert chosen({0: 5, 1: 5}, {0: 4}, y0={0}, y1={0}) == set()
    many = {i: 1 for i in range(30)}
    assert len(pulled_outputs(many, {0: 100}, dict.fromkeys(many, frozenset([0])))) == 30


def test_blocks_have_the_dtype_of_the_result() -> None:
    x = x4.astype(np.float32)
    f = lambda x, y: np.sum(x) * y  # noqa: E731
    for y in (np.ones(2), np.ones(9)):
        first, second = gradc.jacobian(f, wrt=(0, 1))(x, y)
        assert first.dtype == second.dtype == np.float64
    assert gradc.jacobian(lambda x: np.sum(x).astype(np.float64))(x).dtype == np.float64
