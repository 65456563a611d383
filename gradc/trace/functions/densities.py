"""The standard distributions of `scipy.stats`: logarithmic densities, distribution functions and inverses.

Each is written for location 0 and scale 1, inside of its support; `distributions.py` does the rest, which all
have in common. Formulas are those in SciPy's documentation of each distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.trace.functions.special_families import special
from gradc.trace.registry import FUNCTIONS

Formula = Callable[..., Any]


def _numpy(ufunc: Any) -> Formula:
    return FUNCTIONS[ufunc]


def _scipy(name: str) -> Formula:
    return lambda *xs: special(name, *xs)


exp, log, log1p, expm1, absolute = map(_numpy, (np.exp, np.log, np.log1p, np.expm1, np.absolute))
tan, arctan2, where, floor = map(_numpy, (np.tan, np.arctan2, np.where, np.floor))
gammaln, betaln, xlogy, xlog1py = map(_scipy, ("gammaln", "betaln", "xlogy", "xlog1py"))
gammainc, gammaincc, betainc = map(_scipy, ("gammainc", "gammaincc", "betainc"))
ndtr, log_ndtr, ndtri = map(_scipy, ("ndtr", "log_ndtr", "ndtri"))
expit, log_expit, logit = map(_scipy, ("expit", "log_expit", "logit"))
erf, erfc, stdtr, stdtrit = map(_scipy, ("erf", "erfc", "stdtr", "stdtrit"))

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
ROOT_HALF = math.sqrt(0.5)


@dataclass(frozen=True)
class Standard:
    """A distribution: what is not given follows from what is."""

    shapes: tuple[str, ...]
    logpdf: Formula
    cdf: Formula | None = None
    sf: Formula | None = None
    logcdf: Formula | None = None
    logsf: Formula | None = None
    ppf: Formula | None = None
    isf: Formula | None = None
    support: Callable[..., tuple[Any, Any]] = lambda *_: (-math.inf, math.inf)
    valid: Callable[..., Any] | None = None
    """Whether the shapes are those of a distribution; None if all of them must be positive."""
    discrete: bool = False


def _positive_half(*_: Any) -> tuple[float, float]:
    return 0.0, math.inf


def _unit(*_: Any) -> tuple[float, float]:
    return 0.0, 1.0


def _lognorm_logpdf(x: Any, s: Any) -> Any:
    z = log(where(x > 0, x, 1.0)) / s
    return where(x > 0, z * z * -0.5 - log(s * where(x > 0, x, 1.0)) - HALF_LOG_TAU, -math.inf)


def _student_logpdf(x: Any, df: Any) -> Any:
    half = (df + 1) * 0.5
    return gammaln(half) - gammaln(df * 0.5) - log(df * math.pi) * 0.5 - half * log1p(x * x / df)


def _laplace_cdf(x: Any) -> Any:
    tail = exp(-absolute(x)) * 0.5
    return where(x > 0, 1 - tail, tail)


def _binom_logpmf(k: Any, n: Any, p: Any) -> Any:
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return ways + xlogy(k, p) + xlog1py(n - k, -p)


def _binom_cdf(k: Any, n: Any, p: Any) -> Any:
    k = floor(k)
    return where(k >= n, 1.0, betainc(where(k >= n, 1.0, n - k), k + 1, 1 - p))


def _binom_sf(k: Any, n: Any, p: Any) -> Any:
    k = floor(k)
    return where(k >= n, 0.0, betainc(k + 1, where(k >= n, 1.0, n - k), p))


def _is_share(p: Any) -> Any:
    return (p >= 0) & (p <= 1)


STANDARD: dict[str, Standard] = {
    "norm": Standard(
        (),
        lambda x: x * x * -0.5 - HALF_LOG_TAU,
        cdf=ndtr,
        sf=lambda x: ndtr(-x),
        logcdf=log_ndtr,
        logsf=lambda x: log_ndtr(-x),
        ppf=ndtri,
        isf=lambda q: -ndtri(q),
    ),
    "halfnorm": Standard(
        (),
        lambda x: x * x * -0.5 + 0.5 * math.log(2 / math.pi),
        cdf=lambda x: erf(x * ROOT_HALF),
        sf=lambda x: erfc(x * ROOT_HALF),
        ppf=lambda q: ndtri((q + 1) * 0.5),
        isf=lambda q: -ndtri(q * 0.5),
        support=_positive_half,
    ),
    "lognorm": Standard(
        ("s",),
        _lognorm_logpdf,
        cdf=lambda x, s: ndtr(log(x) / s),
        sf=lambda x, s: ndtr(-(log(x) / s)),
        logcdf=lambda x, s: log_ndtr(log(x) / s),
        logsf=lambda x, s: log_ndtr(-(log(x) / s)),
        ppf=lambda q, s: exp(s * ndtri(q)),
        isf=lambda q, s: exp(-(s * ndtri(q))),
        support=_positive_half,
    ),
    "expon": Standard(
        (),
        lambda x: -x,
        cdf=lambda x: -expm1(-x),
        sf=lambda x: exp(-x),
        logsf=lambda x: -x,
        ppf=lambda q: -log1p(-q),
        isf=lambda q: -log(q),
        support=_positive_half,
    ),
    "gamma": Standard(
        ("a",),
        lambda x, a: xlogy(a - 1, x) - x - gammaln(a),
        cdf=lambda x, a: gammainc(a, x),
        sf=lambda x, a: gammaincc(a, x),
        ppf=lambda q, a: special("gammaincinv", a, q),
        isf=lambda q, a: special("gammainccinv", a, q),
        support=_positive_half,
    ),
    "chi2": Standard(
        ("df",),
        lambda x, df: xlogy(df * 0.5 - 1, x) - x * 0.5 - gammaln(df * 0.5) - df * (0.5 * math.log(2)),
        cdf=lambda x, df: gammainc(df * 0.5, x * 0.5),
        sf=lambda x, df: gammaincc(df * 0.5, x * 0.5),
        ppf=lambda q, df: special("gammaincinv", df * 0.5, q) * 2,
        isf=lambda q, df: special("gammainccinv", df * 0.5, q) * 2,
        support=_positive_half,
    ),
    "beta": Standard(
        ("a", "b"),
        lambda x, a, b: xlog1py(b - 1, -x) + xlogy(a - 1, x) - betaln(a, b),
        cdf=lambda x, a, b: betainc(a, b, x),
        sf=lambda x, a, b: betainc(b, a, 1 - x),
        ppf=lambda q, a, b: special("betaincinv", a, b, q),
        support=_unit,
    ),
    "t": Standard(
        ("df",),
        _student_logpdf,
        cdf=lambda x, df: stdtr(df, x),
        sf=lambda x, df: stdtr(df, -x),
        ppf=lambda q, df: stdtrit(df, q),
        isf=lambda q, df: -stdtrit(df, q),
    ),
    "cauchy": Standard(
        (),
        lambda x: -log1p(x * x) - math.log(math.pi),
        cdf=lambda x: arctan2(1.0, -x) * (1 / math.pi),
        sf=lambda x: arctan2(1.0, x) * (1 / math.pi),
        ppf=lambda q: tan(q * math.pi - math.pi / 2),
        isf=lambda q: tan(math.pi / 2 - q * math.pi),
    ),
    "laplace": Standard(
        (),
        lambda x: -absolute(x) - math.log(2),
        cdf=_laplace_cdf,
        sf=lambda x: _laplace_cdf(-x),
        ppf=lambda q: where(q > 0.5, -log((1 - q) * 2), log(q * 2)),
        isf=lambda q: where(q > 0.5, log((1 - q) * 2), -log(q * 2)),
    ),
    "logistic": Standard(
        (),
        lambda x: -absolute(x) - log1p(exp(-absolute(x))) * 2,
        cdf=expit,
        sf=lambda x: expit(-x),
        logcdf=log_expit,
        logsf=lambda x: log_expit(-x),
        ppf=logit,
        isf=lambda q: -logit(q),
    ),
    "uniform": Standard((), lambda x: x * 0, cdf=lambda x: x, ppf=lambda q: q, support=_unit),
    "poisson": Standard(
        ("mu",),
        lambda k, mu: xlogy(k, mu) - gammaln(k + 1) - mu,
        cdf=lambda k, mu: gammaincc(floor(k) + 1, mu),
        sf=lambda k, mu: gammainc(floor(k) + 1, mu),
        support=_positive_half,
        valid=lambda mu: mu >= 0,
        discrete=True,
    ),
    "binom": Standard(
        ("n", "p"),
        _binom_logpmf,
        cdf=_binom_cdf,
        sf=_binom_sf,
        support=lambda n, p: (0.0, n),
        valid=lambda n, p: (n >= 0) & _is_share(p),
        discrete=True,
    ),
    "bernoulli": Standard(
        ("p",),
        lambda k, p: xlogy(k, p) + xlog1py(1 - k, -p),
        cdf=lambda k, p: where(k >= 1, 1.0, 1 - p),
        sf=lambda k, p: where(k >= 1, 0.0, p),
        support=_unit,
        valid=_is_share,
        discrete=True,
    ),
}
"""By the name that SciPy gives them."""
