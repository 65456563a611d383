"""Formulas as people write them: values and two derivatives, compiled, against many digits."""

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
import scipy.special
from mpmath import mpf

import gradc
from tests.codegen.elementary_reference import ulps


class Formula(NamedTuple):
    """A formula of x as code, what it means, the largest error of its value in ulps, and where x may lie.

    `gains` are points at which the plain formula is wrong in the first three digits, or infinite.
    """

    code: str
    meaning: Callable[[mpf], Any]
    ulps: float
    gains: tuple[float, ...]
    low: float = -700.0
    high: float = 700.0
    size: float = 0.0
    """Errors count as those of a number of this size, where it is larger than the value."""

    @property
    def function(self) -> Callable[[Any], Any]:
        return eval(f"lambda x: {self.code}", {"np": np, "special": scipy.special})


def softplus(x: mpf) -> mpf:
    return mpmath.log1p(mpmath.exp(x)) if x < 0 else x + mpmath.log1p(mpmath.exp(-x))


def logistic(x: mpf) -> mpf:
    return 1 / (1 + mpmath.exp(-x))


def bernoulli(z: mpf) -> mpf:
    return softplus(z) - mpf(0.25) * z


EXPIT = "1 / (1 + np.exp(-x))"
FORMULAS = [
    Formula(EXPIT, logistic, 2, ()),
    Formula("1 - 1 / (1 + np.exp(-x))", lambda x: logistic(-x), 2, (50.0,)),
    Formula(f"np.log({EXPIT})", lambda x: -softplus(-x), 2, (-800.0, 45.0), -800, 800),
    Formula(f"np.log(1 - {EXPIT})", lambda x: -softplus(x), 2, (800.0, -45.0), -800, 800),
    Formula("np.log(1 - special.expit(x))", lambda x: -softplus(x), 2, (800.0,), -800, 800),
    Formula("np.log1p(np.exp(x))", softplus, 2, (800.0,), -800, 800),
    Formula("np.log(1 + np.exp(x))", softplus, 2, (800.0, -45.0), -800, 800),
    Formula("np.exp(x) - 1", mpmath.expm1, 2, (1e-17,)),
    Formula("np.log(1 + x)", mpmath.log1p, 2, (1e-17,), -0.99, 1e10),
    Formula(
        "np.log(1 - np.exp(x))", lambda x: mpmath.log(-mpmath.expm1(x)), 3, (-1e-17, -50.0), -700, -1e-20
    ),
    Formula("np.log1p(-np.exp(-x))", lambda x: mpmath.log(-mpmath.expm1(-x)), 3, (1e-17,), 1e-20, 700),
    Formula("np.log(np.exp(x) - 1)", lambda x: mpmath.log(mpmath.expm1(x)), 500, (1e-17, 750.0), 1e-20, 800),
    Formula("(1 - np.exp(-x)) / x", lambda x: -mpmath.expm1(-x) / x, 3, (1e-17,)),
    Formula("1 - np.cos(x)", lambda x: 2 * mpmath.sin(x / 2) ** 2, 4, (1e-9,), -6, 6),
    Formula("np.cos(x) - 1", lambda x: -2 * mpmath.sin(x / 2) ** 2, 4, (1e-9,), -6, 6),
    Formula("(np.exp(x) - np.exp(-x)) / 2", mpmath.sinh, 2, (1e-17,)),
    Formula("(np.exp(x) + np.exp(-x)) / 2", mpmath.cosh, 2, ()),
    Formula("(np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))", mpmath.tanh, 2, (1e-17, 750.0), -800, 800),
    Formula("(np.exp(2 * x) - 1) / (np.exp(2 * x) + 1)", mpmath.tanh, 2, (1e-17, 400.0), -800, 800),
    Formula("(1 - np.exp(-2 * x)) / (1 + np.exp(-2 * x))", mpmath.tanh, 2, (1e-17, -400.0), -800, 800),
    Formula(
        "np.log((np.exp(x) + np.exp(-x)) / 2)",
        lambda x: softplus(2 * x) - x - mpmath.log(2),
        2,
        (750.0,),
        -800,
        800,
        size=1,
    ),
    Formula(
        "np.sqrt(x + 1) - np.sqrt(x)", lambda x: mpmath.sqrt(x + 1) - mpmath.sqrt(x), 3, (1e17,), 0.01, 1e20
    ),
    Formula("np.log(x + np.sqrt(x * x + 1))", mpmath.asinh, 2, (-1e9, 1e-18), -1e10, 1e10),
    Formula("0.5 * np.log((1 + x) / (1 - x))", mpmath.atanh, 2, (1e-18,), -0.999, 0.999),
    Formula("np.sqrt(x * x)", abs, 0, (1e-200, -1e200), -1e300, 1e300),
    Formula(
        "np.sqrt(x * x + (3 * x) ** 2)", lambda x: abs(x) * mpmath.sqrt(10), 3, (1e-170, 1e200), -1e299, 1e299
    ),
    Formula(
        f"-(0.25 * np.log({EXPIT}) + 0.75 * np.log(1 - {EXPIT}))", bernoulli, 4, (-800.0, 800.0), -800, 800
    ),
]
BITS = 2000
"""Enough for 1 - exp(-800), and for differences of differences."""
every = pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.code.replace(" ", ""))


def points(formula: Formula) -> np.ndarray:
    rng = np.random.default_rng(3)
    sizes = np.exp2(rng.uniform(-60, 10, 30)) * rng.choice([-1, 1], 30)
    usual = rng.uniform(max(formula.low, -30), min(formula.high, 30), 30)
    far = rng.uniform(formula.low, formula.high, 15)
    x = np.concatenate([sizes, usual, far])
    return np.append(x[(x > formula.low) & (x < formula.high)], formula.gains)


def exact(formula: Formula, x: float, order: int = 0) -> mpf:
    with mpmath.workprec(BITS):
        if order == 0:
            return formula.meaning(mpf(x))
        return mpmath.diff(formula.meaning, mpf(x), order, h=abs(mpf(x)) * mpf(2) ** -150)


def error(found: float, wanted: mpf, size: float) -> float:
    if abs(wanted) < size:
        return float(abs(found - wanted) / (size * np.finfo(float).eps))
    nearest = float(wanted)
    place = max(int(np.frexp(nearest)[1]) - 53, -1074)
    rest = float(mpmath.ldexp(wanted - nearest, -place)) if np.isfinite(nearest) else 0.0
    return float(ulps(np.array([found]), (np.array([nearest]), np.array([rest])))[0])


@every
def test_values_have_their_digits_everywhere(formula: Formula):
    compiled = gradc.compile(formula.function)
    errors = {x: error(compiled(x), exact(formula, x), formula.size) for x in map(float, points(formula))}
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] <= formula.ulps, (worst, errors[worst])


@every
def test_the_plain_formula_is_wrong_where_the_stable_one_gains(formula: Formula):
    for x in formula.gains:
        with np.errstate(all="ignore"):
            plain, wanted = float(formula.function(np.float64(x))), float(exact(formula, x))
        assert not abs(plain - wanted) <= 1e-3 * abs(wanted), (x, plain, wanted)
        notes = gradc.compile(formula.function).lower(x).graph("grad").notes
        assert any(note.startswith("stabilize: ") for note in notes)


@pytest.mark.long
@every
def test_two_derivatives_have_digits_and_are_finite(formula: Formula):
    first, second = gradc.grad(formula.function), gradc.grad(gradc.grad(formula.function))
    for x in map(float, points(formula)):
        wanted, curvature = float(exact(formula, x, 1)), float(exact(formula, x, 2))
        np.testing.assert_allclose(
            first(x), wanted, rtol=2e-13, atol=1e-15 * formula.size + 1e-300, err_msg=f"first at {x}"
        )
        scale = abs(curvature) + abs(wanted / x)
        if np.isfinite(scale):
            np.testing.assert_allclose(second(x), curvature, atol=1e-9 * scale + 1e-290, err_msg=f"at {x}")


def test_variances_of_numbers_far_from_zero():
    x = 1e9 + np.random.default_rng(0).normal(size=50)

    def variance(x):
        return np.mean(x * x) - np.mean(x) ** 2

    exact = [mpf(float(v)) for v in x]
    mean = sum(exact) / 50
    value, gradient = gradc.value_and_grad(variance)(x)
    assert abs(variance(x) - value) > 10
    np.testing.assert_allclose(value, float(sum((v - mean) ** 2 for v in exact) / 50), rtol=1e-12)
    np.testing.assert_allclose(gradient, [float((v - mean) / 25) for v in exact], rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(gradc.hessian(variance)(x), (np.eye(50) - 1 / 50) / 25, rtol=1e-12)


@pytest.mark.parametrize("y", [0.0, 1.0, 0.3])
def test_a_bernoulli_likelihood_is_finite_for_all_logits(y: float):
    def loss(z, y):
        p = 1 / (1 + np.exp(-z))
        return -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))

    z = np.array([-800.0, -40.0, 0.0, 40.0, 800.0])
    value, (dz, dy) = gradc.value_and_grad(loss, wrt=(0, 1))(z, np.full(5, y))
    np.testing.assert_allclose(value, np.sum(np.logaddexp(0, z) - y * z), rtol=1e-15)
    np.testing.assert_allclose(dz, scipy.special.expit(z) - y, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(dy, -z, rtol=1e-15)
    assert np.all(np.isfinite(gradc.hessian(loss)(z, np.full(5, y))))


def test_x_log_x_keeps_numpys_meaning_at_zero():
    assert np.isnan(gradc.compile(lambda x: x * np.log(x))(0.0))
