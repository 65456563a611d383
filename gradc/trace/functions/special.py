"""SciPy's special functions that are ops, and as compositions: entropies, normalised exponentials."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradc.ir import Value, emit
from gradc.ir.op import full_like
from gradc.ir.ops.elementwise import where
from gradc.ir.ops.special import SCIPY_NAMES
from gradc.trace.functions.ufuncs import isnan
from gradc.trace.lift import operand, traced, wrap
from gradc.trace.registry import FUNCTIONS
from gradc.trace.table import implements_scipy
from gradc.trace.tracer import Tracer
from gradc.trace.ufunc import scipy_ufunc

for _name in ("expit", "erf", "erfc", "exp2", "expm1", "log1p", "cbrt", *SCIPY_NAMES):
    scipy_ufunc(_name)(lambda *xs, name=_name: emit(name, *xs))


def _times(x: Value, log: Value, y: Value) -> Value:
    """x * log, but 0 where x is 0, unless y is NaN. There the derivative in x is log where that is finite."""
    edge = emit("eq", x, full_like(0, x)) & ~isnan(y) & ~(emit("abs", log) < math.inf)
    return where(edge, 0, x * log)


@scipy_ufunc("xlogy")
def xlogy(x: Value, y: Value) -> Value:
    return _times(x, emit("log", y), y)


@scipy_ufunc("xlog1py")
def xlog1py(x: Value, y: Value) -> Value:
    return _times(x, emit("log1p", y), y)


@scipy_ufunc("log_expit")
def log_expit(x: Value) -> Value:
    """log(expit(x)) = -log(1 + exp(-x))."""
    return -emit("logaddexp", full_like(0, x), -x)


@scipy_ufunc("logit")
def logit(x: Value) -> Value:
    return emit("log", x) - emit("log1p", -x)


@scipy_ufunc("entr")
def entr(x: Value) -> Value:
    """-x log(x), 0 at 0, -inf below."""
    positive = where(x > 0, x, 1)
    inside = -(positive * emit("log", positive))
    return where(isnan(x), x, where(x > 0, inside, where(x < 0, -math.inf, full_like(0, x))))


@scipy_ufunc("rel_entr")
def rel_entr(x: Value, y: Value) -> Value:
    """x log(x / y) for positive x and y, 0 at x = 0 <= y, else inf."""
    inside = (x > 0) & (y > 0)
    a, b = where(inside, x, 1), where(inside, y, 1)
    edge = emit("eq", x, full_like(0, x)) & (y >= 0)
    outside = where(edge, 0, full_like(math.inf, x))
    return where(isnan(x) | isnan(y), x + y, where(inside, a * emit("log", a / b), outside))


@scipy_ufunc("kl_div")
def kl_div(x: Value, y: Value) -> Value:
    """x log(x / y) - x + y for positive x and y, y at x = 0 <= y, else inf."""
    inside = (x >= 0) & (y > 0) | (emit("eq", x, full_like(0, x)) & emit("eq", y, full_like(0, y)))
    return where(inside, rel_entr(x, y) - x + y, where(isnan(x) | isnan(y), x + y, math.inf))


@scipy_ufunc("ndtr")
def ndtr(x: Value) -> Value:
    """The normal distribution function."""
    return emit("erfc", x * -math.sqrt(0.5)) * 0.5


@scipy_ufunc("huber")
def huber(delta: Value, r: Value) -> Value:
    """r²/2 for |r| <= delta, linear beyond; inf for negative delta."""
    size = emit("abs", r)
    inside = where(size <= delta, r * r * 0.5, delta * (size - delta * 0.5))
    return where(delta < 0, math.inf, inside)


def _float(a: Any) -> Tracer:
    x = traced(a)
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def _shift(x: Tracer, axis: Any) -> Tracer:
    """The maximum, which drops out of the result and of its derivatives; 0 where it is infinite."""
    top = FUNCTIONS[np.max](wrap(emit("stop_gradient", x.value)), axis, keepdims=True)
    return FUNCTIONS[np.where](FUNCTIONS[np.isfinite](top), top, np.zeros((), x.dtype))


@implements_scipy("logsumexp")
def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """log(sum(b exp(a))), shifted by the maximum."""
    x, weights = _float(a), None
    if b is not None:
        x, weights = FUNCTIONS[np.broadcast_arrays](x, operand(b))
        x = x.astype(np.result_type(x.dtype, weights.dtype))
        # An infinite or huge element of weight 0 must not take part.
        x = FUNCTIONS[np.where](weights == 0, np.asarray(-np.inf, x.dtype), x)
    shift = _shift(x, axis)
    terms = FUNCTIONS[np.exp](x - shift)
    total = FUNCTIONS[np.sum](terms if weights is None else weights * terms, axis, keepdims=True)
    sign = FUNCTIONS[np.sign](total)
    if return_sign:
        total = FUNCTIONS[np.absolute](total)
    if weights is None:
        # A total of 0 is that of a row of -inf: it may be 1 as well, and then the gradient is 0, not 0 / 0.
        result = FUNCTIONS[np.log](total + FUNCTIONS[np.equal](total, 0)) + _top(x, axis)
    else:
        result = FUNCTIONS[np.log](total) + shift
    if not keepdims:
        result, sign = [FUNCTIONS[np.squeeze](v, axis) for v in (result, sign)]
    return (result, sign) if return_sign else result


@implements_scipy("softplus")
def softplus(x: Any) -> Tracer:
    return FUNCTIONS[np.logaddexp](0, x)


@implements_scipy("softmax")
def softmax(x: Any, axis: Any = None) -> Tracer:
    v = _float(x)
    terms = FUNCTIONS[np.exp](v - _top(v, axis))
    return terms / FUNCTIONS[np.sum](terms, axis, keepdims=True)


@implements_scipy("log_softmax")
def log_softmax(x: Any, axis: Any = None) -> Tracer:
    v = _float(x)
    shifted = v - _shift(v, axis)
    return shifted - FUNCTIONS[np.log](FUNCTIONS[np.sum](FUNCTIONS[np.exp](shifted), axis, keepdims=True))


def _top(x: Tracer, axis: Any) -> Tracer:
    return FUNCTIONS[np.max](wrap(emit("stop_gradient", x.value)), axis, keepdims=True)
