"""Universal functions: what each does with values of one shape and of the dtypes of its loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradc.ir import DomainError, ShapeError, Type, Value, constant, emit
from gradc.ir.op import full_like
from gradc.ir.ops.elementwise import where
from gradc.trace.lift import cast, value_of
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.tracer import Tracer
from gradc.trace.ufunc import SPECIAL, Rule, ufunc


def _op(name: str, for_bool: str | None = None, for_int: Rule | None = None) -> Rule:
    """The op itself; for bool another op, for integers another rule."""

    def rule(*values: Value) -> Value:
        kind = values[0].dtype.kind
        if kind == "b" and for_bool is not None:
            return emit(for_bool, *values)
        if kind in "iub" and for_int is not None:
            return for_int(*values)
        return emit(name, *values)

    return rule


def _same(x: Value) -> Value:
    return x


for _ufunc, _rule in {
    np.add: _op("add", "or"),
    np.subtract: _op("sub"),
    np.multiply: _op("mul", "and"),
    np.divide: _op("div"),
    np.floor_divide: _op("floor_divide"),
    np.remainder: _op("remainder"),
    np.power: _op("power"),
    np.float_power: _op("power"),
    np.maximum: _op("maximum"),
    np.minimum: _op("minimum"),
    np.arctan2: _op("arctan2"),
    np.hypot: _op("hypot"),
    np.logaddexp: _op("logaddexp"),
    np.bitwise_and: _op("and"),
    np.bitwise_or: _op("or"),
    np.bitwise_xor: _op("xor"),
    np.left_shift: _op("shift_left"),
    np.right_shift: _op("shift_right"),
    np.less: _op("lt"),
    np.less_equal: _op("le"),
    np.greater: _op("gt"),
    np.greater_equal: _op("ge"),
    np.equal: _op("eq"),
    np.not_equal: _op("ne"),
    np.negative: _op("neg"),
    np.positive: _same,
    np.conjugate: _same,
    np.absolute: _op("abs", for_int=lambda x: x if x.dtype.kind in "ub" else emit("abs", x)),
    np.fabs: _op("abs"),
    np.sign: _op("sign"),
    np.floor: _op("floor", for_int=_same),
    np.ceil: _op("ceil", for_int=_same),
    np.trunc: _op("trunc", for_int=_same),
    np.rint: _op("rint"),
    np.invert: _op("invert"),
    np.square: lambda x: emit("mul", x, x),
    **{
        getattr(np, name): _op(name)
        for name in (
            *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt"),
            *("sin", "cos", "tan", "arcsin", "arccos", "arctan"),
            *("sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh"),
        )
    },
}.items():
    ufunc(_ufunc)(_rule)


def _bool(x: Value) -> Value:
    return cast(x, np.dtype(bool))


@ufunc(np.logical_and)
def logical_and(a: Value, b: Value) -> Value:
    return _bool(a) & _bool(b)


@ufunc(np.logical_or)
def logical_or(a: Value, b: Value) -> Value:
    return _bool(a) | _bool(b)


@ufunc(np.logical_xor)
def logical_xor(a: Value, b: Value) -> Value:
    return emit("xor", _bool(a), _bool(b))


@ufunc(np.logical_not)
def logical_not(x: Value) -> Value:
    return ~_bool(x)


def _everywhere(x: Value, value: bool) -> Value:
    return constant(value, x.type.with_dtype(np.dtype(bool)))


@ufunc(np.isnan)
def isnan(x: Value) -> Value:
    return emit("ne", x, x) if x.type.is_float else _everywhere(x, False)


@ufunc(np.isinf)
def isinf(x: Value) -> Value:
    return emit("eq", emit("abs", x), full_like(math.inf, x)) if x.type.is_float else _everywhere(x, False)


@ufunc(np.isfinite)
def isfinite(x: Value) -> Value:
    return emit("abs", x) < math.inf if x.type.is_float else _everywhere(x, True)


@ufunc(np.signbit)
def signbit(x: Value) -> Value:
    """Also of -0.0, whose reciprocal is -inf."""
    if not x.type.is_float:
        return x < 0
    return (x < 0) | (emit("eq", x, full_like(0, x)) & ((1 / x) < 0))


@ufunc(np.copysign)
def copysign(a: Value, b: Value) -> Value:
    size = emit("abs", a)
    return where(signbit(b), -size, size)


@ufunc(np.reciprocal)
def reciprocal(x: Value) -> Value:
    """1/x; an integer's is 0 unless it is 1 or -1."""
    if x.type.is_float:
        return 1 / x
    is_one = emit("eq", x, full_like(1, x))
    if x.dtype.kind == "i":
        is_one = is_one | emit("eq", x, full_like(-1, x))
    return where(is_one, x, 0)


@ufunc(np.fmax)
def fmax(a: Value, b: Value) -> Value:
    return _but_nan(emit("maximum", a, b), a, b)


@ufunc(np.fmin)
def fmin(a: Value, b: Value) -> Value:
    return _but_nan(emit("minimum", a, b), a, b)


def _but_nan(y: Value, a: Value, b: Value) -> Value:
    return where(isnan(a), b, where(isnan(b), a, y)) if a.type.is_float else y


@ufunc(np.fmod)
def fmod(a: Value, b: Value) -> Value:
    """The remainder with the sign of `a`, as in C: exact, since that of positive numbers is."""
    if not a.type.is_float:
        rest = emit("remainder", a, b)
        if a.dtype.kind == "u":
            return rest
        # The smallest integer has no absolute value.
        other = emit("ne", rest, full_like(0, rest)) & emit("xor", a < 0, b < 0)
        return where(other, rest - b, rest)
    rest = emit("remainder", emit("abs", a), emit("abs", b))
    return where(signbit(a), -rest, rest)


@ufunc(np.divmod)
def divmod_(a: Value, b: Value) -> tuple[Value, Value]:
    return emit("floor_divide", a, b), emit("remainder", a, b)


@ufunc(np.heaviside)
def heaviside(x: Value, at_zero: Value) -> Value:
    step = where(x < 0, 0, full_like(1, x))
    return where(isnan(x), x, where(emit("eq", x, full_like(0, x)), at_zero, step))


@ufunc(np.logaddexp2)
def logaddexp2(a: Value, b: Value) -> Value:
    """high + log2(1 + 2**(low - high)): a selection, so that either side has all its derivatives at ties."""
    first = a > b
    high, low = where(first, a, b), where(first, b, a)
    same = emit("eq", a, b) & emit("eq", emit("abs", a), full_like(math.inf, a))
    return high + emit("log1p", emit("exp2", where(same, 0, low - high))) * (1 / math.log(2))


@ufunc(np.deg2rad, np.radians)
def deg2rad(x: Value) -> Value:
    return x * (math.pi / 180)


@ufunc(np.rad2deg, np.degrees)
def rad2deg(x: Value) -> Value:
    return x * (180 / math.pi)


# Cases that depend on the operands themselves.


def concrete_of(x: Any) -> Any:
    """The elements of a concrete operand; None for a traced one."""
    if type(x) is Tracer:
        return None if x.traced else x.array
    return x


def _power(args: tuple[Any, ...], dtypes: tuple[np.dtype, ...], shape: tuple[int, ...]) -> Value | None:
    """A static exponent gives products, a quotient or a root; integers take no negative exponents."""
    base, exponent = args
    known = concrete_of(exponent)
    dtype = dtypes[2]
    if dtype.kind == "i":
        if known is None:
            e = value_of(exponent, dtype, shape)
            message = "integers to negative integer powers are not allowed"
            e = emit("require", e, e >= 0, message=message, error=DomainError.__name__)
            return emit("power", value_of(base, dtype, shape), e)
        if np.any(np.asarray(known) < 0):
            fail("integers to negative integer powers are not allowed", "x.astype(float) ** n", ShapeError)
    if known is None or np.size(known) != 1:
        return None
    n = np.asarray(known).item()
    if n == 0:
        return constant(1, Type(dtype, shape))
    if n not in (0.5, 1, 2, 3, 4, -1) or (n == -1 and dtype.kind == "u"):
        return None
    x = value_of(base, dtype, shape)
    if n in (0.5, -1):
        return emit("sqrt", x) if n == 0.5 else 1 / x
    if n == 1:
        return x
    square = x * x
    return square if n == 2 else square * (x if n == 3 else square)


def _comparison(ufunc: np.ufunc) -> Any:
    """Python integers that the other dtype cannot hold, and int64 beside uint64, compare as numbers."""

    def compare(args: tuple[Any, ...], dtypes: tuple[np.dtype, ...], shape: tuple[int, ...]) -> Value | None:
        for x, y, swapped in ((*args, False), (*args[::-1], True)):
            if type(x) is int and dtypes[0].kind in "iu":
                limits = np.iinfo(dtypes[0])
                if not limits.min <= x <= limits.max:
                    # Every element of y is beyond x on the same side, as 0 is.
                    return constant(
                        bool(ufunc(0, x) if swapped else ufunc(x, 0)), Type(np.dtype(bool), shape)
                    )
            if dtypes[0] != dtypes[1] and dtypes[swapped].kind == "i":
                i64, u64 = np.dtype(np.int64), np.dtype(np.uint64)
                signed, unsigned = value_of(x, i64, shape), value_of(y, u64, shape)
                low = signed < 0
                both = [cast(signed, u64), unsigned]
                name = FUNCTIONS[ufunc].rule
                right = name(*(both[::-1] if swapped else both))
                negative = bool(ufunc(1, 0) if swapped else ufunc(0, 1))
                return where(low, negative, right)
        return None

    return compare


SPECIAL[np.power] = SPECIAL[np.float_power] = _power
SPECIAL.update(
    {
        c: _comparison(c)
        for c in (np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal)
    }
)
