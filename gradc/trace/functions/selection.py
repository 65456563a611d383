"""Functions that choose, round, compare or interpolate: where, clip, round, isclose."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from gradc.ir import ShapeError, emit
from gradc.trace.lift import any_traced, common_dtype, common_shape, operand, plain, traced, value_of, wrap
from gradc.trace.methods import converted
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.store import assign
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer

_BOOL = np.dtype(bool)


@implements(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Tracer:
    if x is None or y is None:
        fail(
            "np.where(condition) has a length that is not known before the function runs",
            "np.where(condition, a, b) chooses by element",
        )
    c, a, b = operand(condition), operand(x), operand(y)
    dtype, shape = common_dtype(a, b), common_shape(c, a, b)
    return wrap(
        emit("where", value_of(c, _BOOL, shape), value_of(a, dtype, shape), value_of(b, dtype, shape))
    )


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Tracer:
    result = operand(default)
    condlist = [operand(c) for c in condlist]
    for place, c in enumerate(condlist):
        if common_dtype(c) != _BOOL:
            fail(f"invalid entry {place} in condlist: should be boolean, not {common_dtype(c)}", "c != 0")
    dtype = common_dtype(*[operand(x) for x in choicelist], result)
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        result = where(condition, choice, result)
    return result if result.dtype == dtype else result.astype(dtype)


@implements(np.clip)
def clip(
    a: Any,
    a_min: Any = np._NoValue,
    a_max: Any = np._NoValue,
    out: Any = None,
    *,
    min: Any = np._NoValue,
    max: Any = np._NoValue,
    dtype: Any = None,
    **options: Any,
) -> Tracer:
    """The smaller of `a_max` and the larger of `a_min` and `a`; at a bound, half of the gradient flows."""
    if options:
        fail(f"gradc traces np.clip without {', '.join(options)}", "np.minimum(np.maximum(x, low), high)")
    if a_min is np._NoValue and a_max is np._NoValue:
        a_min, a_max = [None if x is np._NoValue else x for x in (min, max)]
    elif a_min is np._NoValue or a_max is np._NoValue:
        missing = "a_min" if a_min is np._NoValue else "a_max"
        fail(f"clip() missing 1 required positional argument: '{missing}'")
    elif min is not np._NoValue or max is not np._NoValue:
        fail("np.clip takes a_min and a_max, or min and max, not both", None, ShapeError)
    x = operand(a)
    if type(x) is Tracer and x.dtype.kind in "iu":  # Python's ints may lie beyond what the dtype holds
        limits = np.iinfo(x.dtype)
        a_min = int(limits.min) if type(a_min) is int and a_min < limits.min else a_min
        a_max = int(limits.max) if type(a_max) is int and a_max > limits.max else a_max
    if a_min is not None:
        x = FUNCTIONS[np.maximum](x, a_min, dtype=dtype)
    if a_max is not None:
        x = FUNCTIONS[np.minimum](x, a_max, dtype=dtype)
    return FUNCTIONS[np.copy](x) if dtype is None else FUNCTIONS[converted](x, dtype)


@implements(np.round, np.around)
def round(a: Any, decimals: int = 0, out: Any = None) -> Tracer:
    x = traced(a)
    places = operator.index(decimals)
    if x.dtype.kind == "b":
        fail("gradc does not round bool, which NumPy makes float16", "x.astype(np.float32)")
    if x.dtype.kind in "iu":
        if places >= 0:
            return FUNCTIONS[np.copy](x)
        tens = 10.0**-places
        return FUNCTIONS[converted](FUNCTIONS[np.rint](x / tens) * tens, x.dtype)
    rint = FUNCTIONS[np.rint]
    factor = np.asarray(10.0 ** abs(places), x.dtype)
    if places == 0:
        return rint(x)
    return rint(x * factor) / factor if places > 0 else rint(x / factor) * factor


@implements(np.fix)
def fix(x: Any, out: Any = None) -> Tracer:
    return FUNCTIONS[np.trunc](x)


@implements(np.nan_to_num, views=True)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Tracer:
    v = traced(x)
    if not copy and type(x) is Tracer:
        assign(x, nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf))
        return x
    if v.dtype.kind != "f":
        return FUNCTIONS[np.copy](v)
    limits = np.finfo(v.dtype)
    high = limits.max if posinf is None else posinf
    low = limits.min if neginf is None else neginf
    for condition, value in ((FUNCTIONS[np.isnan](v), nan), (v == np.inf, high), (v == -np.inf, low)):
        v = where(condition, np.asarray(value, v.dtype) if not any_traced(value) else value, v)
    return v


@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Tracer:
    x, y = operand(a), operand(b)
    fn = FUNCTIONS
    if common_dtype(y).kind != "f":
        y = float(y) if type(y) is int else fn[np.multiply](y, 1.0)
    close = fn[np.less_equal](abs(x - y), operand(atol) + operand(rtol) * abs(y))
    result = (close & fn[np.isfinite](y)) | fn[np.equal](x, y)
    return result | (fn[np.isnan](x) & fn[np.isnan](y)) if equal_nan else result


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Tracer:
    return FUNCTIONS[np.all](isclose(a, b, rtol, atol, equal_nan))


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    x, y = operand(a1), operand(a2)
    if np.shape(x) != np.shape(y) if not any_traced((x, y)) else traced(x).shape != traced(y).shape:
        return False
    same = FUNCTIONS[np.equal](x, y)
    if equal_nan:
        same = same | (FUNCTIONS[np.isnan](x) & FUNCTIONS[np.isnan](y))
    return FUNCTIONS[np.all](same)


@implements(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> Any:
    x, y = traced(a1), traced(a2)
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return FUNCTIONS[np.all](FUNCTIONS[np.equal](x, y))


_SINC = [(-1) ** k / math.factorial(2 * k + 1) for k in reversed(range(10))]
"""sin(y) / y as a polynomial in y², for |y| < 1."""


@implements(np.sinc)
def sinc(x: Any) -> Tracer:
    v = traced(x)
    if v.dtype.kind != "f":
        v = v.astype(np.float64)
    # The series has all derivatives at 0; those of the quotient cancel near it.
    y = np.pi * v
    square = y * y
    near = square < 1
    z = where(near, square, np.zeros((), v.dtype))
    series = z * _SINC[0] + _SINC[1]
    for coefficient in _SINC[2:]:
        series = series * z + coefficient
    y = where(near, np.ones((), v.dtype), y)
    return where(near, series, FUNCTIONS[np.sin](y) / y)


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tracer:
    v = traced(y)
    width = operand(dx)
    if x is not None:
        width = FUNCTIONS[np.diff](operand(x), axis=-1 if np.ndim(plain(x)) == 1 else axis)
        if width.ndim == 1:
            width = FUNCTIONS[np.reshape](width, [-1 if i == axis % v.ndim else 1 for i in range(v.ndim)])
    before = FUNCTIONS[np.take](v, np.arange(v.shape[axis] - 1), axis)
    after = FUNCTIONS[np.take](v, np.arange(1, v.shape[axis]), axis)
    return FUNCTIONS[np.sum](width * (after + before) / 2.0, axis)
