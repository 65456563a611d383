"""SciPy's special functions that follow from others: polygamma, combinations, Box-Cox, distributions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradc.ir import Value, emit
from gradc.ir.op import full_like
from gradc.ir.ops.elementwise import where
from gradc.trace.lift import operand, traced
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements_scipy
from gradc.trace.tracer import Tracer
from gradc.trace.ufunc import Ufunc, scipy_ufunc


def special(name: str, *args: Any) -> Any:
    """A function of `scipy.special` in the trace; whoever calls this has imported SciPy."""
    from scipy.special import _ufuncs

    from gradc.trace.table import function

    return function(getattr(_ufuncs, name))(*args)


@implements_scipy("zeta")
def zeta(x: Any, q: Any = None, out: Any = None) -> Tracer:
    if q is None:
        fail("gradc does not trace Riemann's zeta function", "scipy.special.zeta(x, 1.0), for x > 1")
    from scipy.special import _ufuncs

    return Ufunc(_ufuncs._zeta, lambda s, a: emit("zeta", s, a))(x, q)


@implements_scipy("polygamma")
def polygamma(n: Any, x: Any) -> Any:
    """(-1)**(n+1) n! zeta(n + 1, x), and psi for n = 0 (DLMF 5.15)."""
    order = operand(n)
    if isinstance(order, Tracer) and order.traced:
        fail("gradc traces scipy.special.polygamma for orders that are known only", "a Python int")
    orders = np.asarray(order.array if isinstance(order, Tracer) else order, np.float64)
    x = traced(x)
    with np.errstate(all="ignore"):
        factor = (-1.0) ** (orders + 1) * np.vectorize(math.gamma, otypes=[float])(orders + 1)
    y = factor * zeta(np.maximum(orders + 1, 2), x)
    return FUNCTIONS[np.where](orders == 0, special("psi", x), y)


@implements_scipy("multigammaln")
def multigammaln(a: Any, d: Any) -> Any:
    """d (d - 1) / 4 log(pi) + the sum of gammaln(a - j / 2), for j < d."""
    x = traced(a)
    n = int(operand(d))
    shifted = FUNCTIONS[np.subtract](x[..., None], np.arange(n) / 2)
    return FUNCTIONS[np.sum](special("gammaln", shifted), -1) + n * (n - 1) / 4 * math.log(math.pi)


def _float(x: Any) -> Tracer:
    a = traced(x)
    return a if a.dtype.kind == "f" else a.astype(np.float64)


@implements_scipy("comb")
def comb(N: Any, k: Any, *, exact: Any = False, repetition: bool = False) -> Any:
    if exact:
        fail("gradc does not trace scipy.special.comb with exact=True", "exact=False")
    if repetition:
        none = FUNCTIONS[np.equal](N, 0) & FUNCTIONS[np.equal](k, 0)  # one way to choose nothing of nothing
        return FUNCTIONS[np.where](none, 1.0, comb(traced(N) + k - 1, k))
    n, m = _float(N), _float(k)
    inside = (m <= n) & (n >= 0) & (m >= 0)
    return FUNCTIONS[np.where](inside, special("binom", n, m), 0.0)


@implements_scipy("perm")
def perm(N: Any, k: Any, exact: Any = False) -> Any:
    """N! / (N - k)!."""
    if exact:
        fail("gradc does not trace scipy.special.perm with exact=True", "exact=False")
    n, m = _float(N), _float(k)
    inside = (m <= n) & (n >= 0) & (m >= 0)
    n, m = FUNCTIONS[np.where](inside, n, 1.0), FUNCTIONS[np.where](inside, m, 0.0)
    y = FUNCTIONS[np.exp](special("gammaln", n + 1) - special("gammaln", n - m + 1))
    return FUNCTIONS[np.where](inside, y, 0.0)


@implements_scipy("factorial")
def factorial(n: Any, exact: Any = False, extend: str = "zero") -> Any:
    if exact or extend != "zero":
        fail('gradc traces scipy.special.factorial with exact=False and extend="zero" only', "exact=False")
    x = _float(n)
    negative = x < 0
    y = special("gamma", FUNCTIONS[np.where](negative, np.zeros((), x.dtype), x) + 1)
    return FUNCTIONS[np.where](negative, np.zeros((), x.dtype), y)


@scipy_ufunc("loggamma")
def loggamma(x: Value) -> Value:
    """The real part has no other than gammaln where the result is real."""
    return where(x < 0, math.nan, emit("gammaln", x))


@scipy_ufunc("rgamma")
def rgamma(x: Value) -> Value:
    """1 / gamma(x), 0 at the poles."""
    pole = (emit("eq", emit("floor", x), x)) & (emit("le", x, full_like(0, x)))
    return where(pole, 0, 1 / emit("gamma", where(pole, 1, x)))


@scipy_ufunc("cosm1")
def cosm1(x: Value) -> Value:
    """cos(x) - 1 = -2 sin(x / 2)²."""
    half = emit("sin", x * 0.5)
    return half * half * -2.0


@scipy_ufunc("pseudo_huber")
def pseudo_huber(delta: Value, r: Value) -> Value:
    """delta² (sqrt(1 + (r / delta)²) - 1), without cancellation; inf for negative delta."""
    nothing = emit("eq", delta, full_like(0, delta))
    v = r / where(nothing, 1, delta)
    inside = r * r / (1 + emit("hypot", full_like(1, v), v))
    return where(delta < 0, math.inf, where(nothing, 0, inside))


def _box_cox(logarithm: Value, power: Value) -> Value:
    """(x**power - 1) / power as exprel(power log x) log x, also at power 0."""
    return emit("exprel", power * logarithm) * logarithm


@scipy_ufunc("boxcox")
def boxcox(x: Value, power: Value) -> Value:
    return _box_cox(emit("log", x), power)


@scipy_ufunc("boxcox1p")
def boxcox1p(x: Value, power: Value) -> Value:
    return _box_cox(emit("log1p", x), power)


def _logarithm_of_inverse(y: Value, power: Value) -> Value:
    """log(1 + power y) / power, which is y at power 0."""
    zero = emit("eq", power, full_like(0, power))
    return where(zero, y, emit("log1p", power * y) / where(zero, 1, power))


@scipy_ufunc("inv_boxcox")
def inv_boxcox(y: Value, power: Value) -> Value:
    return emit("exp", _logarithm_of_inverse(y, power))


@scipy_ufunc("inv_boxcox1p")
def inv_boxcox1p(y: Value, power: Value) -> Value:
    return emit("expm1", _logarithm_of_inverse(y, power))


# Distribution functions by name.


@scipy_ufunc("chdtr")
def chdtr(v: Value, x: Value) -> Value:
    return emit("gammainc", v * 0.5, x * 0.5)


@scipy_ufunc("chdtrc")
def chdtrc(v: Value, x: Value) -> Value:
    return emit("gammaincc", v * 0.5, x * 0.5)


@scipy_ufunc("gdtr")
def gdtr(a: Value, b: Value, x: Value) -> Value:
    return emit("gammainc", b, a * x)


@scipy_ufunc("gdtrc")
def gdtrc(a: Value, b: Value, x: Value) -> Value:
    return emit("gammaincc", b, a * x)


@scipy_ufunc("pdtr")
def pdtr(k: Value, m: Value) -> Value:
    return emit("gammaincc", emit("floor", k) + 1, m)


@scipy_ufunc("pdtrc")
def pdtrc(k: Value, m: Value) -> Value:
    return emit("gammainc", emit("floor", k) + 1, m)


@scipy_ufunc("betaincc")
def betaincc(a: Value, b: Value, x: Value) -> Value:
    """1 - betainc(a, b, x) = betainc(b, a, 1 - x)."""
    return emit("betainc", b, a, 1 - x)
