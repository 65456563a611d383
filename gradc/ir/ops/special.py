"""Special functions that SciPy computes, a row each: its name there, derivatives in terms of the others.

The meaning of a row is SciPy's ufunc, and compiled code calls the very loop (`gradc.codegen.library`). SciPy
is imported when such a graph is evaluated or loaded, never before. Derivatives in parameters for which no
closed form is known are errors at the user's line, if somebody asks for them.

Formulas: NIST Digital Library of Mathematical Functions, chapters 5 (gamma), 6 (exponential integrals), 7
(error functions), 8 (incomplete gamma and beta), 10 (Bessel), 25 (zeta and dilogarithm).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir.graph import Value, emit
from gradc.ir.op import Cotangent, Op, Unknown, full_like
from gradc.ir.ops.elementwise import FLOAT, same_type, where

SCIPY_NAMES: dict[str, str] = {}
"""The name of SciPy's ufunc (in `scipy.special._ufuncs`) for every op of this module."""

ROOT_PI = math.sqrt(math.pi)


def _meaning(name: str) -> Callable[..., np.ndarray]:
    def meaning(*xs: np.ndarray) -> np.ndarray:
        from scipy.special import _ufuncs

        return getattr(_ufuncs, name)(*xs)

    meaning.__doc__ = f"scipy.special.{name.strip('_')}."
    return meaning


def special(name: str, arity: int, vjp: Callable[..., Any], scipy_name: str | None = None) -> Op:
    """A row: `vjp(g, y, *inputs)` as for every op."""
    SCIPY_NAMES[name] = scipy_name or name
    return Op(name, _meaning(SCIPY_NAMES[name]), same_type(name, FLOAT), vjp, elementwise=True, arity=arity)


def _at(name: str, *xs: Value | float) -> Value:
    """Another function; numbers become constants of the last operand's type."""
    like = next(x for x in reversed(xs) if isinstance(x, Value))
    return emit(name, *[x if isinstance(x, Value) else full_like(x, like) for x in xs])


def _power_of(x: Value, exponent: Value) -> Value:
    """exponent * log(x), 0 for the exponent 0."""
    return where(emit("eq", exponent, full_like(0, exponent)), 0, exponent * _at("log", x))


# The gamma family.

special("gammaln", 1, lambda g, y, x: g * _at("psi", x))
special("gamma", 1, lambda g, y, x: g * (y * _at("psi", x)))
special("psi", 1, lambda g, y, x: g * _at("zeta", 2.0, x))
special(
    "zeta", 2, lambda g, y, s, q: (Unknown("its first argument"), -(g * (s * _at("zeta", s + 1, q)))), "_zeta"
)


def beta_vjp(g: Cotangent, y: Value, a: Value, b: Value, of: Value | float = 1.0) -> tuple[Cotangent, ...]:
    """psi(a) - psi(a + b), and the same for b; times the function itself unless it is the logarithm."""
    both = _at("psi", a + b)
    return g * ((_at("psi", a) - both) * of), g * ((_at("psi", b) - both) * of)


special("betaln", 2, beta_vjp)
special("beta", 2, lambda g, y, a, b: beta_vjp(g, y, a, b, y))


def binom_vjp(g: Cotangent, y: Value, n: Value, k: Value) -> tuple[Cotangent, Cotangent]:
    """n! / (k! (n - k)!), with gamma functions for factorials."""
    rest = _at("psi", n - k + 1)
    return g * (y * (_at("psi", n + 1) - rest)), g * (y * (rest - _at("psi", k + 1)))


special("binom", 2, binom_vjp)

# Incomplete gamma and beta functions: densities are the derivatives in x.

_PARAMETER = Unknown("its parameter")


def gamma_density(a: Value, x: Value) -> Value:
    """x**(a - 1) exp(-x) / gamma(a)."""
    return _at("exp", _power_of(x, a - 1) - x - _at("gammaln", a))


def beta_density(a: Value, b: Value, x: Value) -> Value:
    """x**(a - 1) (1 - x)**(b - 1) / beta(a, b)."""
    tail = where(emit("eq", b, full_like(1, b)), 0, (b - 1) * _at("log1p", -x))
    return _at("exp", _power_of(x, a - 1) + tail - _at("betaln", a, b))


special("gammainc", 2, lambda g, y, a, x: (_PARAMETER, g * gamma_density(a, x)))
special("gammaincc", 2, lambda g, y, a, x: (_PARAMETER, -(g * gamma_density(a, x))))
special("gammaincinv", 2, lambda g, y, a, p: (_PARAMETER, g / gamma_density(a, y)))
special("gammainccinv", 2, lambda g, y, a, p: (_PARAMETER, -(g / gamma_density(a, y))))
special("betainc", 3, lambda g, y, a, b, x: (_PARAMETER, _PARAMETER, g * beta_density(a, b, x)))
special("betaincinv", 3, lambda g, y, a, b, p: (_PARAMETER, _PARAMETER, g / beta_density(a, b, y)))


def student_density(df: Value, t: Value) -> Value:
    """Student's distribution."""
    half = (df + 1) * 0.5
    logarithm = _at("gammaln", half) - _at("gammaln", df * 0.5) - _at("log", df * math.pi) * 0.5
    return _at("exp", logarithm - half * _at("log1p", t * t / df))


special("stdtr", 2, lambda g, y, df, t: (_PARAMETER, g * student_density(df, t)))
special("stdtrit", 2, lambda g, y, df, p: (_PARAMETER, g / student_density(df, y)))

# Error functions.


def erfcx_vjp(g: Cotangent, y: Value, x: Value) -> Cotangent:
    """2 x erfcx(x) - 2 / sqrt(pi); where these cancel, beyond 50, the asymptotic series (DLMF 7.12.1)."""
    far = x > 50
    z = 1 / where(far, x * x, 1)
    series = -((((z * (945 / 16) - 105 / 8) * z + 15 / 4) * z - 3 / 2) * z + 1) * z * (1 / ROOT_PI)
    return g * where(far, series, x * y * 2 - 2 / ROOT_PI)


special("erfcx", 1, erfcx_vjp)
special("erfinv", 1, lambda g, y, x: g * (_at("exp", y * y) * (ROOT_PI / 2)))
special("erfcinv", 1, lambda g, y, x: g * (_at("exp", y * y) * (-ROOT_PI / 2)))
special("ndtri", 1, lambda g, y, x: g * (_at("exp", y * y * 0.5) * math.sqrt(2 * math.pi)))
# The density over the distribution, both without their factor exp(-x²/2).
special("log_ndtr", 1, lambda g, y, x: g / (_at("erfcx", x * -math.sqrt(0.5)) * math.sqrt(math.pi / 2)))
special("dawsn", 1, lambda g, y, x: g * (1 - x * y * 2))

# Exponential integrals and the dilogarithm.

special("expi", 1, lambda g, y, x: g * (_at("exp", x) / x))
special("exp1", 1, lambda g, y, x: -(g * (_at("exp", -x) / x)))


def exprel_vjp(g: Cotangent, y: Value, x: Value) -> Cotangent:
    """(exp(x) - exprel(x)) / x; near 0 the sum of x**k / (k! (k + 2))."""
    near = emit("abs", x) < 0.1
    series = full_like(1 / (math.factorial(9) * 11), x)
    for k in reversed(range(9)):
        series = series * x + 1 / (math.factorial(k) * (k + 2))
    return g * where(near, series, (_at("exp", x) - y) / where(near, 1, x))


special("exprel", 1, exprel_vjp)


def spence_vjp(g: Cotangent, y: Value, x: Value) -> Cotangent:
    """log(x) / (1 - x), which is -1 at 1."""
    one = emit("eq", x, full_like(1, x))
    return g * where(one, -1, _at("log", x) / where(one, 1, 1 - x))


special("spence", 1, spence_vjp)

# Bessel functions: the mean of the neighbours in the order, with their signs (DLMF 10.6.1, 10.29.1).

_ORDER = Unknown("its order")


def _mean(name: str, v: Value | float, x: Value, sign: int) -> Value:
    return (_at(name, v - 1, x) + _at(name, v + 1, x) * sign) * 0.5


def _slope_of_scale(x: Value) -> Value:
    """What exp(-|x|) contributes."""
    return emit("sign", x)


special("jv", 2, lambda g, y, v, x: (_ORDER, g * _mean("jv", v, x, -1)))
special("yv", 2, lambda g, y, v, x: (_ORDER, g * _mean("yv", v, x, -1)))
special("iv", 2, lambda g, y, v, x: (_ORDER, g * _mean("iv", v, x, 1)))
special("kv", 2, lambda g, y, v, x: (_ORDER, -(g * _mean("kv", v, x, 1))))
special("ive", 2, lambda g, y, v, x: (_ORDER, g * (_mean("ive", v, x, 1) - y * _slope_of_scale(x))))
special("kve", 2, lambda g, y, v, x: (_ORDER, g * (y - _mean("kve", v, x, 1))))
special("j0", 1, lambda g, y, x: -(g * _at("j1", x)))
special("j1", 1, lambda g, y, x: g * ((_at("j0", x) - _at("jv", 2.0, x)) * 0.5))
special("y0", 1, lambda g, y, x: -(g * _at("y1", x)))
special("y1", 1, lambda g, y, x: g * ((_at("y0", x) - _at("yv", 2.0, x)) * 0.5))
special("i0", 1, lambda g, y, x: g * _at("i1", x))
special("i1", 1, lambda g, y, x: g * ((_at("i0", x) + _at("iv", 2.0, x)) * 0.5))
special("k0", 1, lambda g, y, x: -(g * _at("k1", x)))
special("k1", 1, lambda g, y, x: -(g * ((_at("k0", x) + _at("kv", 2.0, x)) * 0.5)))
special("i0e", 1, lambda g, y, x: g * (_at("i1e", x) - y * _slope_of_scale(x)))
special(
    "i1e",
    1,
    lambda g, y, x: g * ((_at("i0e", x) + _at("ive", 2.0, x)) * 0.5 - y * _slope_of_scale(x)),
)
special("k0e", 1, lambda g, y, x: g * (y - _at("k1e", x)))
special("k1e", 1, lambda g, y, x: g * (y - (_at("k0e", x) + _at("kve", 2.0, x)) * 0.5))
