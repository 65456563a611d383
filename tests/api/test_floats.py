"""Python floats whose values the trace needs: branches and loops on them, with gradients."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc

x3 = np.array([1.0, 2.0, 3.0])


def square_or_cube(x: Any) -> Any:
    if x > 0:
        return x * x
    return -x * x * x


def absolute(x: Any) -> Any:
    return -x if x < 0 else x


def halvings(x: Any) -> Any:
    while x > 1:
        x = x / 2
    return x * 3


def halvings_for(x: Any) -> Any:
    y = x
    for _ in range(int(x)):
        y = y * 0.5
    return y + x


def newton(x: Any) -> Any:
    y = x
    while abs(y * y - x) > 1e-12:
        y = (y + x / y) / 2
    return y


def clipped(x: Any) -> Any:
    return max(min(x * x, 3.0), 0.5)


def roots(x: Any) -> Any:
    return math.sqrt(x) if x > 1 else math.exp(x) * math.sin(x)


def steps(x: Any) -> Any:
    return x * math.floor(x) + math.ceil(x) + round(x) * x + x // 1


def table(x: Any) -> Any:
    return {1.5: x * 2, 2.0: x * 3}.get(x, x)


def ordered(x: Any) -> Any:
    a, b, c = sorted([x * 2, 3.0, x * x])
    return a + 2 * b + 3 * c


def chained(x: Any) -> Any:
    return x**3 if 0 < x < 2 and not math.isnan(x) else x


def elements(x: Any) -> Any:
    y = np.array([x, 2 * x, 1.0])
    return np.sum(y[y > 1.0]) if (y > 0).all() else np.sum(y * y)


def through_numpy(x: Any) -> Any:
    y = np.sin(x) * np.float64(2)
    return y * y if y > 0 else y * 3


def logarithms(x: Any) -> Any:
    return math.log(x + 5, 2) + math.hypot(x, 2) + math.atan2(x, 2) + math.pow(2.0, x) + math.erf(x)


def logarithms_slope(x: float) -> float:
    return (
        1 / ((x + 5) * math.log(2))
        + x / math.hypot(x, 2)
        + 2 / (x * x + 4)
        + 2**x * math.log(2)
        + 2 / math.sqrt(math.pi) * math.exp(-x * x)
    )


def ordered_slope(x: float) -> float:
    slopes = [s for _, s in sorted([(x * 2, 2.0), (3.0, 0.0), (x * x, 2 * x)], key=lambda pair: pair[0])]
    return slopes[0] + 2 * slopes[1] + 3 * slopes[2]


def exponent(x: float) -> int:
    """How often x is halved until it is at most 1."""
    return max(0, math.ceil(math.log2(x))) if x > 0 else 0


SLOPES: dict[Callable[[Any], Any], Callable[[float], float]] = {
    square_or_cube: lambda x: 2 * x if x > 0 else -3 * x * x,
    absolute: lambda x: -1 if x < 0 else 1,
    halvings: lambda x: 3 * 0.5 ** exponent(x),
    halvings_for: lambda x: 1 + 0.5 ** max(int(x), 0),
    clipped: lambda x: 2 * x if 0.5 < x * x < 3 else 0,
    table: lambda x: {1.5: 2, 2.0: 3}.get(x, 1),
    ordered: ordered_slope,
    chained: lambda x: 3 * x * x if 0 < x < 2 else 1,
    elements: lambda x: ((x > 1) + 2 * (2 * x > 1)) if x > 0 else 10 * x,
    through_numpy: lambda x: 8 * math.sin(x) * math.cos(x) if math.sin(x) > 0 else 6 * math.cos(x),
    logarithms: logarithms_slope,
}
POSITIVE: dict[Callable[[Any], Any], Callable[[float], float]] = {
    newton: lambda x: 0.5 / math.sqrt(x),
    roots: lambda x: 0.5 / math.sqrt(x) if x > 1 else math.exp(x) * (math.sin(x) + math.cos(x)),
    steps: lambda x: math.floor(x) + round(x),
}
POINTS = [-2.3, -0.4, 0.7, 1.5, 2.0, 5.7]
CASES = [(fn, slope, x) for fn, slope in SLOPES.items() for x in POINTS]
CASES += [(fn, slope, x) for fn, slope in POSITIVE.items() for x in POINTS if x > 0]


@pytest.mark.parametrize(("fn", "slope", "x"), CASES, ids=[f"{fn.__name__}({x})" for fn, _, x in CASES])
def test_value_and_gradient(fn: Callable[[Any], Any], slope: Callable[[float], float], x: float) -> None:
    value, gradient = gradc.compile(fn).value_and_grad(x)
    wanted = fn(x)
    np.testing.assert_allclose(value, wanted, rtol=1e-14)
    np.testing.assert_allclose(gradient, slope(x), rtol=1e-10, atol=1e-14)
    assert type(gradient) is np.float64
    assert gradc.grad(fn)(x) == gradient


def test_results_are_numbers() -> None:
    assert type(gradc.compile(absolute)(-2.0)) is np.float64
    assert type(gradc.compile(math.exp)(1.0)) is np.float64
    weak = gradc.compile(lambda x, a: a * math.sqrt(x) * (x if x > 0 else 1.0))
    assert weak(4.0, x3.astype(np.float32)).dtype == np.float32


def test_piecewise_at_the_joint() -> None:
    """The branch that Python takes is the one that counts."""
    grad = gradc.grad(absolute)
    assert [grad(x) for x in (-1.0, -0.0, 0.0, 1.0)] == [-1, 1, 1, 1]


def test_signs_and_nan_are_told_apart() -> None:
    f = gradc.compile(lambda x, y: y * 2 if math.copysign(1.0, float(x)) > 0 else y * 3)
    for _ in range(2):
        assert [f(x, 1.0) for x in (0.0, -0.0, 1.0, math.nan, -math.nan)] == [2, 3, 2, 2, 3]


def test_each_value_has_its_own_branch_again_and_again() -> None:
    f = gradc.compile(square_or_cube)
    g = gradc.compile(lambda x, a: np.sum(a) * square_or_cube(x), wrt=(0, 1))
    for x in [1.0, -1.0, 2.0, -2.0] * 3:
        assert f(x) == square_or_cube(x)
        assert f.grad(x) == (2 * x if x > 0 else -3 * x * x)
        value, (gx, ga) = g.value_and_grad(x, x3)
        assert value == 6 * square_or_cube(x) and gx == 6 * (2 * x if x > 0 else -3 * x * x)
        assert list(ga) == [square_or_cube(x)] * 3


def test_only_what_is_needed_is_known() -> None:
    traced = []

    def fn(x: Any, lam: Any, scale: Any) -> Any:
        traced.append(1)
        return x * scale + lam if lam > 0 else x * scale

    f = gradc.compile(fn, wrt="lam")
    for scale in (1.0, 2.0, 3.0):
        assert f(2.0, 1.0, scale) == 2 * scale + 1
        assert f.grad(2.0, 1.0, scale) == 1 and f.grad(2.0, -1.0, scale) == 0
    assert len(traced) == 3  # without the value, then once for each of the two
    assert "lam: f64[]" in f.dump(2.0, 1.0, 3.0, stage="traced")


def test_transforms_inside_and_outside() -> None:
    def f(x: Any) -> Any:
        return x**4 if x > 1 else x**2

    assert gradc.grad(gradc.grad(f))(2.0) == 48 and gradc.grad(gradc.grad(f))(0.5) == 2
    value, pullback = gradc.vjp(f, 2.0)
    assert value == 16 and pullback(1.0) == (32.0,)
    assert gradc.jvp(f, (2.0,), (3.0,)) == (16.0, 96.0)
    assert gradc.hvp(f, (2.0,), (1.0,)) == ((32.0,), (48.0,))
    inside = gradc.compile(lambda x, a: gradc.grad(f)(x) * np.sum(a) + gradc.jvp(f, (x,), (1.0,))[1])
    assert inside(2.0, x3) == 32 * 6 + 32 and inside(0.5, x3) == 7
    assert inside.grad(2.0, x3) == 48 * 6 + 48
    constant = gradc.compile(lambda a: np.sum(a) * gradc.grad(f)(3.0))
    assert constant(x3) == 6 * 108
    closed = gradc.compile(lambda x: gradc.grad(lambda y: y * x if x > 1 else y)(2.0))
    assert closed(3.0) == 3 and closed.grad(3.0) == 1 and closed(0.5) == 1
    branch = gradc.compile(
        lambda x, p: gradc.cond(p, lambda y: y * y if y > 1 else -y, lambda y: 3 * y, x), wrt="x"
    )
    assert branch.grad(2.0, np.True_) == 4 and branch.grad(0.5, np.True_) == -1
    assert branch.grad(2.0, np.False_) == 3


def test_steered_gradients_and_batches() -> None:
    def f(x: Any) -> Any:
        return x * x if x > 1 else 3 * x

    @gradc.custom_gradient
    def tenfold(x: Any) -> Any:
        return (x * x, lambda g: g * 10 * x) if x > 1 else (x, lambda g: g * 7)

    again = gradc.checkpoint(f)
    assert gradc.grad(again)(2.0) == 4 and gradc.grad(again)(0.5) == 3
    assert gradc.grad(lambda x: x * again(x) if again(x) > 2 else x)(2.0) == 12
    assert gradc.grad(tenfold)(2.0) == 20 and gradc.grad(tenfold)(0.5) == 7
    assert gradc.grad(lambda x: x * tenfold(x) if tenfold(x) > 2 else x)(2.0) == 44

    def rows(x: Any, a: Any) -> Any:
        return np.sum(gradc.vmap(lambda row, y: row * f(y), in_axes=(0, None))(a, x))

    assert gradc.grad(rows)(2.0, x3) == 24 and gradc.grad(rows)(0.5, x3) == 18
    with pytest.raises(gradc.TraceError, match="the truth of a traced value"):
        gradc.vmap(f)(x3)
    assert gradc.hessian(f)(2.0) == 2
    assert list(gradc.jacobian(lambda x: np.array([f(x), x]))(2.0)) == [4, 1]


def test_arrays_that_are_written() -> None:
    def f(x: Any) -> Any:
        y = np.zeros(3)
        y[0] = x
        y[1:] = 2 * x
        return np.sum(y * y) if y[1] > 1 else np.sum(y)

    assert gradc.grad(f)(2.0) == 36 and gradc.grad(f)(0.25) == 5


def test_training() -> None:
    """A parameter changes from step to step: its value cannot be known, but math can be traced."""

    def loss(p: Any, x: Any) -> Any:
        return np.mean((math.exp(p) * x - 2) ** 2)

    run = gradc.fit(
        loss, 0.0, (np.ones(4),), optimizer=gradc.optim.sgd(0.05), epochs=100, progress=False, batch_size=4
    )
    np.testing.assert_allclose(run.params, math.log(2), rtol=1e-6)
    with pytest.raises(gradc.ArgumentError, match="needs the value of p"):
        gradc.fit(
            lambda p, x: np.mean(p * x) if p > 0 else p,
            2.0,
            (np.ones(4),),
            optimizer=gradc.optim.sgd(0.1),
            epochs=1,
            progress=False,
        )


def test_trees_and_methods() -> None:
    def fn(p: dict[str, Any], x: Any) -> Any:
        return np.sum(x) * p["a"] if p["a"] > p["b"] else np.sum(x * x) * p["b"]

    f = gradc.compile(fn)
    assert f.grad({"a": 2.0, "b": 1.0}, x3) == {"a": 6, "b": 0}
    assert f.grad({"a": 1.0, "b": 2.0}, x3) == {"a": 0, "b": 14}
    low = f.lower({"a": 1.0, "b": 2.0}, x3)
    assert low.run({"a": 1.0, "b": 2.0}, x3) == (28.0, {"a": 0, "b": 14})
    with pytest.raises(gradc.ArgumentError, match="another signature"):
        low.run({"a": 2.0, "b": 1.0}, x3)
    assert [e.name for e in f.edges({"a": 2.0, "b": 1.0}, x3)[:3]] == ["p.a", "p.b", "x"]
    gradc.check_grad(fn, {"a": 2.0, "b": 1.0}, x3)


def test_arrays_stay_unknown() -> None:
    with pytest.raises(gradc.TraceError, match="the truth of a traced value"):
        gradc.compile(lambda x, a: x if x * a[0] > 0 else -x)(2.0, x3)
    with pytest.raises(gradc.TraceError, match=r"np\.exp"):
        gradc.compile(lambda x, a: math.exp(x * a))(2.0, x3)


OUTSIDE: dict[str, tuple[Callable[[Any], Any], float]] = {
    "float": (lambda x: float(x) * x, 4.0),
    "gamma": (lambda x: math.gamma(x + 1) * x, 4.0),
    "statistics": (lambda x: statistics.fmean([x, 4.0]), 3.0),
    "text": (lambda x: float(str(float(x))), 2.0),
    "inside": (lambda x: gradc.compile(lambda y: float(y) * y)(x) + x, 6.0),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_no_gradient_comes_back_from_code_that_is_not_traced(case: str) -> None:
    fn, value = OUTSIDE[case]
    f = gradc.compile(fn)
    assert f(2.0) == value
    for gradient in (f.grad, lambda x: gradc.vjp(fn, x)[1](1.0), gradc.grad(gradc.grad(fn))):
        with pytest.raises(gradc.ArgumentError, match="as a plain number, to code that is not traced"):
            gradient(2.0)


def test_a_part_without_gradient_does_not_spoil_the_others() -> None:
    f = gradc.compile(lambda x, y: x * y * math.gamma(gradc.stop_gradient(x)), wrt=(0, 1))
    assert f.grad(3.0, 2.0) == (4.0, 6.0)
    g = gradc.compile(lambda x, y: x * math.gamma(y))
    assert g.grad(3.0, 3.0) == 2.0


def test_many_values_are_worth_a_warning() -> None:
    f = gradc.compile(lambda x, lam: x if lam > 0 else -x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(20):
            f(1.0, float(i))
    (warning,) = caught
    assert "16 values of lam" in str(warning.message) and "gradc.cond" in str(warning.message)
    assert warning.filename == __file__


def test_long_loops_take_linear_time() -> None:
    """Each question is answered from where the last one ended."""

    def f(x: Any) -> Any:
        n = 0
        while x > 1:
            x, n = x * 0.99, n + 1
        return x * n

    value, gradient = gradc.compile(f).value_and_grad(1e6)
    np.testing.assert_allclose(value, f(1e6))
    np.testing.assert_allclose(gradient, f(1e6) / 1e6, rtol=1e-10)
