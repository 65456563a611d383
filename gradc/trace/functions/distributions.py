"""Distributions of `scipy.stats` in a trace: location, scale, support, and methods that follow from formulas.

A distribution of SciPy's is seen as one of these. With concrete arguments SciPy itself answers; with traced
ones the formulas of `densities.py` do, in float64 as SciPy computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from gradc.trace.functions.densities import STANDARD, Standard, exp, floor, gammaln, log, log1p, where, xlogy
from gradc.trace.functions.matrices import adjoint
from gradc.trace.functions.scipy_linalg import triangular_solution
from gradc.trace.functions.systems import cholesky_factor
from gradc.trace.lift import operand, traced
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import entry_for
from gradc.trace.tracer import Tracer

CONTINUOUS = ("pdf", "logpdf", "cdf", "logcdf", "sf", "logsf", "ppf", "isf")
DISCRETE = ("pmf", "logpmf", "cdf", "logcdf", "sf", "logsf")


def _double(x: Any) -> Any:
    """An argument in float64."""
    x = operand(x)
    return x.astype(np.float64) if type(x) is Tracer else np.asarray(x, np.float64)


def _refuse(name: str, method: str) -> NoReturn:
    if method == "rvs":
        fail(
            f"scipy.stats.{name}.rvs would draw once, when the function is traced", "gradc.random with a key"
        )
    known = "the formula itself, as NumPy and scipy.special have it"
    fail(f"gradc does not trace scipy.stats.{name}.{method}", known)


class Distribution:
    """A distribution with the methods that gradc traces: see the table of each."""

    def __init__(self, original: Any, name: str, methods: dict[str, Callable[..., Any]]) -> None:
        self._original, self._name, self._methods = original, name, methods

    def __getattr__(self, method: str) -> Any:
        original = getattr(self._original, method)
        if not callable(original):
            return original
        fn = self._methods.get(method)
        return entry_for(fn or (lambda *_, **__: _refuse(self._name, method)), original)

    def __call__(self, *args: Any, **kwargs: Any) -> Frozen:
        return Frozen(self, args, kwargs)

    def freeze(self, *args: Any, **kwargs: Any) -> Frozen:
        return Frozen(self, args, kwargs)

    def __repr__(self) -> str:
        return f"scipy.stats.{self._name}"


class Frozen:
    """A distribution with its parameters: its methods take what is left."""

    def __init__(self, distribution: Distribution, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._distribution, self._args, self._kwargs = distribution, args, kwargs

    def __getattr__(self, method: str) -> Any:
        bound = getattr(self._distribution, method)
        return lambda *xs, **kwargs: bound(*xs, *self._args, **self._kwargs, **kwargs)


def distribution(obj: Any) -> Distribution | Frozen | None:
    """What stands for an object of `scipy.stats`: a distribution, or one that is frozen; None for others."""
    name = getattr(obj, "name", None)
    if isinstance(name, str) and name in STANDARD and hasattr(obj, "shapes"):
        return Distribution(obj, name, _methods(name))
    kind = type(obj).__name__.removesuffix("_gen")
    if kind in MULTIVARIATE:
        return Distribution(obj, kind, MULTIVARIATE[kind])
    inner = getattr(obj, "dist", None)
    found = None if inner is None else distribution(inner)
    if isinstance(found, Distribution) and hasattr(obj, "args") and hasattr(obj, "kwds"):
        return Frozen(found, obj.args, obj.kwds)
    return Distribution(obj, name, {}) if isinstance(name, str) and hasattr(obj, "shapes") else None


def _methods(name: str) -> dict[str, Callable[..., Any]]:
    standard = STANDARD[name]
    methods = DISCRETE if standard.discrete else CONTINUOUS
    return {m: _method(name, standard, m) for m in methods if m not in ("ppf", "isf") or standard.ppf}


def _method(name: str, standard: Standard, method: str) -> Callable[..., Any]:
    """A method, which takes a point (or probability), the shapes, the location and the scale."""
    first = "q" if method in ("ppf", "isf") else "k" if standard.discrete else "x"
    names = [first, *standard.shapes, "loc", *(() if standard.discrete else ("scale",))]

    def bound(*args: Any, **kwargs: Any) -> Any:
        given = dict(zip(names, args, strict=False)) | kwargs
        unknown = set(given) - set(names)
        missing = [n for n in (first, *standard.shapes) if n not in given]
        if len(args) > len(names) or unknown or missing:
            raise TypeError(f"scipy.stats.{name}.{method}() takes {', '.join(names)}")
        x = _double(given[first])
        shapes = [_double(given[n]) for n in standard.shapes]
        loc, scale = _double(given.get("loc", 0.0)), _double(given.get("scale", 1.0))
        x, loc, scale, *shapes = FUNCTIONS[np.broadcast_arrays](x, loc, scale, *shapes)
        valid = scale > 0
        checks = [standard.valid(*shapes)] if standard.valid else [s > 0 for s in shapes]
        for check in checks:
            valid = valid & check
        answer = _inverse if method in ("ppf", "isf") else _evaluated
        return where(valid & ~FUNCTIONS[np.isnan](x), answer(standard, method, x, shapes, loc, scale), np.nan)

    return bound


def _evaluated(s: Standard, method: str, x: Any, shapes: list[Any], loc: Any, scale: Any) -> Any:
    """A density, or the probability on one side of x."""
    z = (x - loc) / scale
    low, high = s.support(*shapes)
    if method in ("pdf", "logpdf", "pmf", "logpmf"):
        inside = (z >= low) & (z <= high)
        if s.discrete:
            inside = inside & FUNCTIONS[np.equal](floor(z), z)
        y = s.logpdf(where(inside, z, 0.0), *shapes)
        if method in ("pdf", "pmf"):
            return where(inside, exp(y) / scale, 0.0)
        return where(inside, y if s.discrete else y - log(scale), -math.inf)
    below, above = z < low if s.discrete else z <= low, z >= high
    y = _side(s, method, where(below | above, 0.5, z), shapes)
    none, all_ = (-math.inf, 0.0) if method.startswith("log") else (0.0, 1.0)
    if method in ("sf", "logsf"):
        none, all_ = all_, none
    return where(below, none, where(above, all_, y))


def _side(s: Standard, method: str, z: Any, shapes: list[Any]) -> Any:
    """The formula of a method, or what it follows from."""
    if (formula := getattr(s, method)) is not None:
        return formula(z, *shapes)
    other = {"cdf": s.sf, "sf": s.cdf, "logcdf": s.sf, "logsf": s.cdf}[method]
    own = {"logcdf": s.cdf, "logsf": s.sf}.get(method)
    if own is not None:
        return log(own(z, *shapes))
    assert other is not None
    y = other(z, *shapes)
    return log1p(-y) if method.startswith("log") else 1 - y


def _inverse(s: Standard, method: str, q: Any, shapes: list[Any], loc: Any, scale: Any) -> Any:
    """The point below (ppf) or above (isf) which a probability lies."""
    low, high = s.support(*shapes)
    if method == "isf" and s.isf is None:
        q, method = 1 - q, "ppf"
    first, last = (low, high) if method == "ppf" else (high, low)
    inside = (q > 0) & (q < 1)
    y = getattr(s, method)(where(inside, q, 0.5), *shapes)
    y = where(inside, y, where(FUNCTIONS[np.equal](q, 0.0), first, last))
    return where((q >= 0) & (q <= 1), y * scale + loc, np.nan)


# Distributions of vectors.


def _normal_logpdf(x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    """-(log det(2 pi cov) + |L⁻¹ (x - mean)|²) / 2 with cov = L Lᵀ; the vectors are along the last axis of x.

    Errors: `LinearAlgebraError` at run time if cov is not positive definite.
    """
    if allow_singular:
        fail("gradc does not trace multivariate_normal with allow_singular=True", "a regular covariance")
    x, cov = _double(x), _double(cov)
    mean = None if mean is None else FUNCTIONS[np.ravel](_double(mean))
    n = cov.shape[-1] if cov.ndim else mean.shape[0] if mean is not None else 1
    if cov.ndim < 2:  # variances
        cov = FUNCTIONS[np.multiply](np.eye(n), cov)
    if not x.ndim:
        x = x[None]
    elif x.ndim == 1 and n == 1:
        x = x[:, None]
    rest = traced(x if mean is None else x - mean)
    rows = FUNCTIONS[np.reshape](rest, (-1, n))
    factor = cholesky_factor(traced(cov))
    half = triangular_solution(factor, adjoint(rows), "multivariate_normal", lower=True, check=False)
    distance = FUNCTIONS[np.sum](half * half, 0)
    logarithm = FUNCTIONS[np.sum](log(FUNCTIONS[np.diagonal](factor))) * 2
    y = (distance + logarithm + n * math.log(2 * math.pi)) * -0.5
    return FUNCTIONS[np.reshape](y, rest.shape[:-1])


def _dirichlet_logpdf(x: Any, alpha: Any) -> Any:
    """The sum of (alpha - 1) log(x), minus the logarithm of the multivariate beta function."""
    x, alpha = traced(_double(x)), _double(alpha)
    if x.shape[0] == alpha.shape[0] - 1:
        x = FUNCTIONS[np.concatenate]([x, 1 - FUNCTIONS[np.sum](x, 0, keepdims=True)])
    total = FUNCTIONS[np.sum]
    power = FUNCTIONS[np.reshape](alpha - 1, (-1, *[1] * (x.ndim - 1)))
    return total(xlogy(power, x), 0) - total(gammaln(alpha)) + gammaln(total(alpha))


def _exponential(logarithm: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: exp(logarithm(*args, **kwargs))


MULTIVARIATE: dict[str, dict[str, Callable[..., Any]]] = {
    "multivariate_normal": {"logpdf": _normal_logpdf, "pdf": _exponential(_normal_logpdf)},
    "dirichlet": {"logpdf": _dirichlet_logpdf, "pdf": _exponential(_dirichlet_logpdf)},
}
"""Their methods by name."""
