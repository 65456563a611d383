"""grad, value_and_grad, vjp, jvp, hvp: alone, nested in any order, inside of traces and outside."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import gradc

x3 = np.array([0.3, 0.7, 1.1])
t3 = np.array([1.0, -2.0, 0.5])


def loss(x: Any) -> Any:
    return np.sum(np.sin(x) * x**2)


def slope(x: Any) -> Any:
    return np.cos(x) * x**2 + 2 * x * np.sin(x)


def curvature(x: Any) -> Any:  # the diagonal; the Hessian has nothing else
    return -np.sin(x) * x**2 + 4 * x * np.cos(x) + 2 * np.sin(x)


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-10)


FUNCTIONS = {"plain": loss, "compiled": gradc.compile(loss), "lambda": lambda x: 1.0 * loss(x)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each(name: str) -> None:
    f = FUNCTIONS[name]
    close(gradc.grad(f)(x3), slope(x3))
    value, g = gradc.value_and_grad(f)(x3)
    close(value, loss(x3))
    close(g, slope(x3))
    value, pull = gradc.vjp(f, x3)
    close(value, loss(x3))
    (g,) = pull(2.0)
    close(g, 2 * slope(x3))
    value, tangent = gradc.jvp(f, (x3,), (t3,))
    close(value, loss(x3))
    close(tangent, slope(x3) @ t3)
    (g,), (product,) = gradc.hvp(f, (x3,), (t3,))
    close(g, slope(x3))
    close(product, curvature(x3) * t3)


def total_grad(f: Any) -> Any:
    return lambda x: np.sum(gradc.grad(f)(x))


def total_vjp(f: Any) -> Any:
    def through(x: Any) -> Any:
        value, pull = gradc.vjp(f, x)
        return np.sum(pull(np.ones_like(value))[0])

    return through


def total_jvp(f: Any) -> Any:
    return lambda x: gradc.jvp(f, (x,), (np.ones_like(x),))[1]


def total_compiled(f: Any) -> Any:
    return total_grad(gradc.compile(f))


WAYS = {"grad": total_grad, "vjp": total_vjp, "jvp": total_jvp, "compiled": total_compiled}


@pytest.mark.long
@pytest.mark.parametrize("outer", WAYS)
@pytest.mark.parametrize("middle", WAYS)
@pytest.mark.parametrize("inner", WAYS)
def test_nested_three_deep(outer: str, middle: str, inner: str) -> None:
    """The sum of third derivatives of x**4, which is 24 x, whatever the order."""
    f = WAYS[outer](WAYS[middle](WAYS[inner](lambda x: np.sum(x**4))))
    close(f(x3), np.sum(24 * x3))
    close(gradc.compile(f)(x3), np.sum(24 * x3))


def test_repeated_grad_of_a_number() -> None:
    f: Any = np.sin
    for expected in (np.cos(0.7), -np.sin(0.7), -np.cos(0.7), np.sin(0.7)):
        f = gradc.grad(f)
        close(f(0.7), expected)


def test_numpys_own_functions() -> None:
    def inside(x: Any) -> Any:
        value, pull = gradc.vjp(np.sin, x)
        return value, pull(x)[0], gradc.jvp(np.exp, (x,), (x,))[1], gradc.grad(np.sum)(x)

    for results in (inside(x3), gradc.compile(inside)(x3)):
        for found, expected in zip(results, (np.sin(x3), np.cos(x3) * x3, np.exp(x3) * x3, np.ones(3))):  # noqa: B905
            close(found, expected)


def test_a_pullback_used_in_another_trace() -> None:
    def outer(x: Any) -> Any:
        _, pull = gradc.vjp(np.sin, x)
        return gradc.grad(lambda c: np.sum(pull(c)[0]))(np.ones(3))

    close(outer(x3), np.cos(x3))
    close(gradc.compile(outer)(x3), np.cos(x3))


def test_a_captured_array_is_differentiated() -> None:
    weights = np.ones(3)
    close(gradc.compile(lambda x: gradc.grad(lambda w: np.sum(w * w * x))(weights))(x3), 2 * x3)


def test_gradients_inside_of_compiled_functions() -> None:
    inner = gradc.compile(lambda w, x: np.sum(np.tanh(w * x)))

    @gradc.compile
    def step(w: Any, x: Any) -> Any:
        value, g = inner.value_and_grad(w, x)
        return value, w - 0.1 * g, inner.grad(w, x), gradc.grad(inner, wrt=1)(w, x)

    value, moved, g, gx = step(x3, t3)
    close(value, inner(x3, t3))
    close(g, inner.grad(x3, t3))
    close(moved, x3 - 0.1 * g)
    close(gx, x3 * (1 - np.tanh(x3 * t3) ** 2))


def test_perturbations_are_not_confused() -> None:
    inner = lambda x: gradc.grad(lambda y: x + y)(1.0)  # noqa: E731
    assert gradc.grad(lambda x: x * inner(x))(3.0) == 1.0
    assert gradc.jvp(lambda x: x * gradc.jvp(lambda y: x * y, (2.0,), (1.0,))[1], (3.0,), (1.0,))[1] == 6.0


def test_closures_over_traced_values() -> None:
    @gradc.compile
    def step(w: Any, x: Any) -> Any:
        g = gradc.grad(lambda v: np.sum((v * x) ** 2))(w)
        return w - 0.1 * g

    close(step(x3, t3), x3 - 0.2 * x3 * t3**2)


def test_has_aux_and_wrt() -> None:
    def f(a: Any, b: Any) -> Any:
        return np.sum(a * b), {"product": a * b}

    g, aux = gradc.grad(f, wrt=(1, 0), has_aux=True)(x3, t3)
    close(g[0], x3)
    close(g[1], t3)
    close(aux["product"], x3 * t3)
    (value, aux), g = gradc.value_and_grad(f, "b", True)(x3, t3)
    close(value, x3 @ t3)
    close(g, x3)


def test_trees() -> None:
    def f(p: Any, n: int) -> Any:
        return {"y": p["a"] * p["b"], "n": n}

    p = {"a": x3, "b": 2.0, "text": "t"}
    value, pull = gradc.vjp(f, p, 3)
    assert value["n"] == 3
    gp, gn = pull({"y": t3, "n": None})
    assert gn is None and gp["text"] is None
    close(gp["a"], 2 * t3)
    close(gp["b"], x3 @ t3)
    value, tangent = gradc.jvp(f, (p, 3), ({"a": t3, "b": 1.0, "text": None}, None))
    assert tangent["n"] is None
    close(tangent["y"], 2 * t3 + x3)


def test_several_primals() -> None:
    f = lambda a, b: np.sum(a**2 * b)  # noqa: E731
    value, pull = gradc.vjp(f, x3, t3)
    close(value, np.sum(x3**2 * t3))
    ga, gb = pull(1.0)
    close(ga, 2 * x3 * t3)
    close(gb, x3**2)
    (ga, gb), (ha, hb) = gradc.hvp(f, (x3, t3), (np.ones(3), np.zeros(3)))
    close(ga, 2 * x3 * t3)
    close(gb, x3**2)
    close(ha, 2 * t3)
    close(hb, 2 * x3)
    (ga, gn), (ha, hn) = gradc.hvp(lambda a, n: np.sum(a**n), (x3, 3), (t3, None))
    assert gn is None and hn is None
    close(ga, 3 * x3**2)
    close(ha, 6 * x3 * t3)


def test_integer_outputs_have_no_tangent() -> None:
    value, tangent = gradc.jvp(lambda x: (np.argmax(x), x * 2), (x3,), (t3,))
    assert value[0] == 2 and tangent[0] is None
    close(tangent[1], 2 * t3)


def test_the_pullback_keeps_its_primals() -> None:
    x = x3.copy()
    _, pull = gradc.vjp(loss, x)
    x[:] = 0
    close(pull(1.0)[0], slope(x3))


def test_the_hessian_costs_no_dense_graph() -> None:
    """jvp is vjp of vjp: what was computed from the probe is dead, so no node of it is left."""
    f = gradc.compile(lambda x, t: gradc.jvp(lambda v: np.tanh(v) * v, (x,), (t,))[1])
    graph = f.lower("f64[3]", "f64[3]").graph("traced")
    assert len(graph.nodes) < 40


def test_float32_stays_float32() -> None:
    x, t = x3.astype(np.float32), t3.astype(np.float32)
    assert gradc.grad(loss)(x).dtype == np.float32
    assert gradc.jvp(loss, (x,), (t,))[1].dtype == np.float32
    assert gradc.hvp(loss, (x,), (t,))[1][0].dtype == np.float32


def test_stop_gradient_and_cond_under_transforms() -> None:
    f = lambda x: np.sum(x * gradc.stop_gradient(x))  # noqa: E731
    close(gradc.grad(f)(x3), x3)

    def g(x: Any, k: Any) -> Any:
        return gradc.cond(k > 0, lambda v: np.sum(v**2), lambda v: np.sum(v**3), x)

    for k in (np.float64(1.0), np.float64(-1.0)):
        expected = 2 * x3 if k > 0 else 3 * x3**2
        close(gradc.grad(g)(x3, k), expected)
        close(gradc.jvp(lambda x: g(x, k), (x3,), (t3,))[1], expected @ t3)  # noqa: B023


ERRORS: dict[str, tuple[Any, str]] = {
    "tangent-shape": (lambda: gradc.jvp(loss, (x3,), (np.ones(2),)), "the tangent of x"),
    "tangent-dtype": (lambda: gradc.jvp(loss, (x3,), (np.ones(3, np.float32),)), "the tangent of x"),
    "tangent-tree": (lambda: gradc.jvp(loss, (x3,), ({"a": x3},)), "tangents must have the tree of primals"),
    "tangent-missing": (lambda: gradc.jvp(loss, (x3,), (None,)), "the tangent of x"),
    "not-a-tuple": (lambda: gradc.jvp(loss, x3, t3), "tuples with one tree per primal"),
    "cotangent-shape": (lambda: gradc.vjp(lambda x: x * 2, x3)[1](1.0), "the cotangent"),
    "cotangent-tree": (lambda: gradc.vjp(lambda x: (x, x), x3)[1](x3), "tree of the value"),
    "not-a-function": (lambda: gradc.grad(loss(x3)), "is no function"),
    "vector": (lambda: gradc.grad(lambda x: x * 2)(x3), r"returns f64\[3\]"),
    "hvp-of-a-vector": (lambda: gradc.hvp(lambda x: x * 2, (x3,), (t3,)), r"returns f64\[3\]"),
    "no-floats": (lambda: gradc.hvp(lambda n: n, (1,), (None,)), "no primal has float leaves"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str) -> None:
    call, message = ERRORS[case]
    with pytest.raises(gradc.GradcError, match=message):
        call()


def test_compiled_once_per_function() -> None:
    seen = []

    def f(x: Any) -> Any:
        seen.append(1)
        return np.sum(x * x)

    for _ in range(3):
        gradc.grad(f)(x3)
        gradc.jvp(f, (x3,), (t3,))
        gradc.hvp(f, (x3,), (t3,))
        gradc.vjp(f, x3)[1](1.0)
    first = len(seen)
    assert first <= 5
    gradc.grad(f)(x3)
    assert len(seen) == first


def test_what_is_compiled_dies_with_the_function() -> None:
    def make() -> Any:
        big = np.ones(1000)

        def f(x: Any) -> Any:
            return np.sum(x * big)

        gradc.grad(f)(np.ones(1000))
        gradc.hvp(f, (np.ones(1000),), (np.ones(1000),))
        return weakref.ref(f)

    gone = make()
    gc.collect()
    assert gone() is None


def test_wrapping_does_not_share_what_was_compiled() -> None:
    import functools

    def f(x: Any) -> Any:
        return np.sum(x)

    gradc.grad(f)(x3)

    @functools.wraps(f)
    def doubled(x: Any) -> Any:
        return 2 * f(x)

    close(gradc.grad(doubled)(x3), np.full(3, 2.0))
