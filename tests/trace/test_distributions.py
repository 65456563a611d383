"""Distributions of scipy.stats: SciPy's values, gradients of two orders, parameters out of range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats as stats

import gradc
from gradc.trace.functions.densities import STANDARD
from gradc.trace.functions.distributions import CONTINUOUS, DISCRETE
from tests.programs.gradients import check_gradient
from tests.trace.harness import check, traced

RNG = np.random.default_rng(4)
X = RNG.uniform(0.2, 0.8, (2, 7))
LOC, SCALE = np.array(0.1), RNG.uniform(1.1, 2.0, 7)
EDGES = np.array([-np.inf, -2.0, -0.0, 0.0, 0.3, 1.0, 1.5, 2.0, 3.0, 30.0, 300.0, np.inf, np.nan])
SHAPES: dict[str, tuple[Any, ...]] = {
    "lognorm": (1.3,),
    "gamma": (2.5,),
    "chi2": (3.5,),
    "beta": (2.5, 1.5),
    "t": (4.5,),
    "poisson": (2.2,),
    "binom": (7, 0.3),
    "bernoulli": (0.3,),
}
UNKNOWN = {"gamma", "chi2", "beta", "t"}
"""Whose distribution functions have no known derivatives in the shapes."""

METHODS = [
    (name, method)
    for name, s in STANDARD.items()
    for method in (DISCRETE if s.discrete else CONTINUOUS)
    if method not in ("ppf", "isf") or s.ppf
]


def of(name: str, method: str) -> Any:
    return eval(f"lambda *args: d.{method}(*args)", {"d": getattr(stats, name), "__name__": "case"})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "method"), METHODS)
def test_values_are_those_of_scipy(name: str, method: str):
    shapes = SHAPES.get(name, ())
    f = of(name, method)
    if STANDARD[name].discrete:
        k = np.array([-1.0, 0, 1, 2, 3, 7, 8, 2.5, np.nan])
        check(f, k, *shapes)
        check(f, k + 2, *shapes, 2)
        check(f, np.arange(5), *shapes)
        return
    check(f, X, *shapes)
    check(f, X, *shapes, LOC, SCALE)
    if method not in ("ppf", "isf"):  # which SciPy rounds to float32 on the way
        check(f, X.astype("f4"), *shapes, LOC)
    check(f, EDGES, *shapes)
    check(f, 0.4, *shapes)
    check(f, EDGES, *shapes, 0.5, np.array([-1.0]))
    if shapes:
        check(f, X, *[-s for s in shapes])


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_gradients_are_those_of_finite_differences(name: str, method: str):
    shapes = SHAPES.get(name, ())
    f = of(name, method)
    if STANDARD[name].discrete:
        if method not in ("pmf", "logpmf"):
            return
        result, leaves = traced(lambda *p: f(np.arange(2), *shapes[:-1], *p), np.array(shapes[-1]))
    elif method in ("pdf", "logpdf") or name not in UNKNOWN:
        arrays = [np.array(s) for s in shapes]
        result, leaves = traced(f, X, *arrays, LOC, SCALE)
    else:
        result, leaves = traced(lambda x, loc, scale: f(x, *shapes, loc, scale), X, LOC, SCALE)
    verdict = check_gradient(result.graph, leaves, order=2)
    assert verdict.message is None, verdict.message
    assert verdict.smooth


def test_keywords_and_frozen_distributions():
    outside = stats.norm(0.3, scale=1.5)

    def f(x: np.ndarray, s: Any) -> tuple:
        inside = stats.norm(s, scale=s + 1)
        return (
            stats.norm.logpdf(x, scale=s),
            stats.gamma.logpdf(x, a=2.0, scale=s),
            stats.norm(loc=s).cdf(x),
            inside.logpdf(x),
            outside.logpdf(x),
            stats.binom(5, s / 3).logpmf(3),
            stats.norm.logpdf(0.5),
        )

    check(f, X, np.array(1.2))


A = RNG.uniform(-1, 1, (3, 3))
COVARIANCE, MEAN, ROWS = A @ A.T + np.eye(3), RNG.uniform(-1, 1, 3), RNG.uniform(-1, 1, (4, 3))
SHARES = RNG.dirichlet([2.0, 3.0, 4.0])


VECTORS = {
    "stats.multivariate_normal.logpdf(x, m, c)": (ROWS, MEAN, COVARIANCE),
    "stats.multivariate_normal.pdf(x, m, c)": (ROWS[0], MEAN, COVARIANCE),
    "stats.multivariate_normal.logpdf(x, mean=m)": (ROWS, MEAN),
    "stats.multivariate_normal.logpdf(x, m, 2.5)": (ROWS, MEAN),
    "stats.multivariate_normal.logpdf(x, m, c)[2]": (ROWS, MEAN, COVARIANCE[0] ** 2 + 1),
    "stats.multivariate_normal.logpdf(x, m, c)[1]": (ROWS[0], MEAN[0], COVARIANCE[0, 0]),
    "stats.multivariate_normal(m, c).logpdf(x)": (ROWS, MEAN, COVARIANCE),
    "stats.dirichlet.logpdf(x, m + 3)": (SHARES, MEAN),
    "stats.dirichlet.pdf(x[:-1], m + 3)": (SHARES, MEAN),
    "stats.dirichlet(m + 3).logpdf(x)": (SHARES, MEAN),
}


@pytest.mark.parametrize("text", VECTORS)
def test_distributions_of_vectors(text: str):
    f = eval(f"lambda x, m=None, c=None: {text}", {"stats": stats, "__name__": "case"})
    check(f, *VECTORS[text])
    if "dirichlet" not in text:  # shares that are moved have another sum
        result, leaves = traced(f, *VECTORS[text])
        verdict = check_gradient(result.graph, leaves, order=2)
        assert verdict.message is None and verdict.smooth, verdict.message


def test_a_likelihood_is_compiled_with_its_gradient():
    def loss(p: dict, x: np.ndarray) -> Any:
        return -np.sum(stats.t.logpdf(x, np.exp(p["df"]), p["loc"], np.exp(p["scale"])))

    p = {"df": np.float64(1.0), "loc": np.float64(0.2), "scale": np.float64(-0.3)}
    gradc.check_grad(loss, p, X)
    value, _ = gradc.compile(loss).value_and_grad(p, X)
    np.testing.assert_allclose(value, loss(p, X), rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stats.weibull_min.logpdf(x, 2.0)", "the formula itself"),
        ("stats.norm.rvs(x)", "gradc.random"),
        ("stats.norm.entropy(x)", "the formula itself"),
        ("stats.multivariate_normal.cdf(x)", "the formula itself"),
        ("stats.multivariate_normal.logpdf(x, allow_singular=True)", "regular covariance"),
    ],
)
def test_what_cannot_be_traced_names_what_to_write(text: str, message: str):
    f = eval(f"lambda x: {text}", {"stats": stats, "__name__": "case"})
    with pytest.raises(gradc.GradcError, match=message):
        traced(f, X)


def test_a_covariance_that_is_none_is_an_error_when_it_runs():
    f = gradc.compile(lambda x, c: stats.multivariate_normal.logpdf(x, MEAN, c))
    with pytest.raises(np.linalg.LinAlgError):
        f(ROWS, -COVARIANCE)
