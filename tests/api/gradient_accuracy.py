"""Derivatives of functions in many digits, and how far gradc's gradients may be from them, in ulps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
import numpy as np
import scipy.special
from mpmath import mpf


class Slope(NamedTuple):
    """A function as its code, its derivative in x (at y), and the largest error in ulps.

    x and y lie between `low` and `high`. Errors may be larger by `growth(x, y)` ulps, which `why` explains.
    """

    code: str
    derivative: Callable[..., Any]
    ulps: float
    low: float = -np.inf
    high: float = np.inf
    growth: Callable[..., Any] | None = None
    why: str = ""

    @property
    def count(self) -> int:
        """How many arguments it has."""
        return 1 + ("y" in self.code.replace("np.", "").replace("y(", ""))

    @property
    def function(self) -> Callable[..., Any]:
        return eval(
            f"lambda {'x, y'[: 3 * self.count - 2]}: {self.code}", {"np": np, "special": scipy.special}
        )


def sech2(x: mpf) -> mpf:
    return 1 / mpmath.cosh(x) ** 2 if abs(x) < 1e4 else mpf(0)


def bell(x: mpf) -> mpf:
    return mpmath.exp(-x * x) * 2 / mpmath.sqrt(mpmath.pi) if abs(x) < 1e4 else mpf(0)


def expit(x: mpf) -> mpf:
    return mpmath.exp(max(min(x, mpf(0)), mpf(-10000))) / (1 + mpmath.exp(max(-abs(x), mpf(-10000))))


def normal(x: mpf) -> mpf:
    return mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi) if abs(x) < 1e4 else mpf(0)


def sinc_slope(x: mpf) -> mpf:
    y = mpmath.pi * x
    if abs(x) < 1e-40:
        return -mpmath.pi * y / 3
    return mpmath.pi * (mpmath.cos(y) / y - mpmath.sin(y) / y**2)


def square(x: np.ndarray) -> np.ndarray:
    return np.minimum(x * x, 2000)


EXP = -1e4, 1e4
"""Beyond these mpmath's exponentials take long."""
SLOPES = [
    Slope("np.exp(x)", mpmath.exp, 1, *EXP),
    Slope("np.exp2(x)", lambda x: 2**x * mpmath.log(2), 2, *EXP),
    Slope("np.expm1(x)", mpmath.exp, 1, *EXP),
    Slope("np.log(x)", lambda x: 1 / x, 1, 0),
    Slope("np.log2(x)", lambda x: 1 / x / mpmath.log(2), 2, 0),
    Slope("np.log10(x)", lambda x: 1 / x / mpmath.log(10), 3, 0),
    Slope("np.log1p(x)", lambda x: 1 / (1 + x), 2, -1),
    Slope("np.sqrt(x)", lambda x: 1 / mpmath.sqrt(x) / 2, 2, 0),
    Slope("np.cbrt(x)", lambda x: 1 / mpmath.cbrt(abs(x)) ** 2 / 3, 4),
    Slope("1 / x", lambda x: -1 / x**2, 2),
    Slope("x ** 3", lambda x: 3 * x * x, 2),
    Slope("np.sin(x)", mpmath.cos, 1),
    Slope("np.cos(x)", lambda x: -mpmath.sin(x), 1),
    Slope("np.tan(x)", lambda x: 1 + mpmath.tan(x) ** 2, 3),
    Slope("np.arcsin(x)", lambda x: 1 / mpmath.sqrt((1 - x) * (1 + x)), 3, -1, 1),
    Slope("np.arccos(x)", lambda x: -1 / mpmath.sqrt((1 - x) * (1 + x)), 3, -1, 1),
    Slope(
        "np.arctan(x)",
        lambda x: 1 / (1 + x * x),
        2,
        growth=lambda x: np.where(np.isfinite(x * x), 0, np.inf),
        why="0 where x² overflows and the derivative is below the normal numbers",
    ),
    Slope("np.sinh(x)", mpmath.cosh, 1, *EXP),
    Slope("np.cosh(x)", mpmath.sinh, 1, *EXP),
    Slope("np.tanh(x)", sech2, 4),
    Slope("np.arcsinh(x)", lambda x: 1 / mpmath.sqrt(x * x + 1), 2),
    Slope("np.arccosh(x)", lambda x: 1 / mpmath.sqrt((x - 1) * (x + 1)), 3, 1),
    Slope("np.arctanh(x)", lambda x: 1 / ((1 - x) * (1 + x)), 2, -1, 1),
    Slope("special.erf(x)", bell, 2, growth=square, why="x² more: x² is rounded before its exponential"),
    Slope("special.erfc(x)", lambda x: -bell(x), 2, growth=square, why="as erf"),
    Slope(
        "special.ndtr(x)",
        normal,
        3,
        growth=lambda x: 2 * square(x),
        why="2 x² more: x / √2 and its square are rounded",
    ),
    Slope("special.expit(x)", lambda x: expit(x) * expit(-x), 2),
    Slope("special.log_expit(x)", lambda x: expit(-x), 1),
    Slope("special.softplus(x)", expit, 1),
    Slope("special.logit(x)", lambda x: 1 / (x * (1 - x)), 2, 0, 1),
    Slope("np.sinc(x)", sinc_slope, 20, -1.2, 1.2, why="near the zeros beyond, of their neighbours' size"),
    Slope(
        "np.logaddexp(x, y)",
        lambda x, y: expit(x - y),
        2,
        growth=lambda x, y: np.minimum(np.abs(x - y), 2000),
        why="|x - y| more: the difference is rounded before its exponential",
    ),
    Slope("np.hypot(x, y)", lambda x, y: x / mpmath.hypot(x, y), 2),
    Slope("np.arctan2(x, y)", lambda x, y: y / (x * x + y * y), 4),
    Slope("x / y", lambda x, y: 1 / y, 1),
    Slope("y / x", lambda x, y: -y / x**2, 2),
    Slope(
        "x ** y",
        lambda x, y: y * x ** (y - 1),
        3,
        0,
        growth=lambda x, y: np.abs(np.log(x) * y) + np.abs(np.log(x)),
        why="|log x| (|y| + 1) more: y - 1 is rounded",
    ),
]
