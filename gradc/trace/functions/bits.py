"""Functions that look into numbers: parts, exponents and neighbours of floats, divisors and bits of integers.

There is no op for the bits of a float: its exponent comes from the logarithm, corrected where rounding has
moved it across a power of two, and multiplying by powers of two is exact.
"""

from __future__ import annotations

import math

import numpy as np

from gradc.ir import Value, emit
from gradc.ir.op import full_like
from gradc.ir.ops.elementwise import equal, where
from gradc.trace.functions.ufuncs import copysign, isfinite, isnan
from gradc.trace.lift import cast
from gradc.trace.ufunc import ufunc

_I32 = np.dtype(np.int32)


def _abs(x: Value) -> Value:
    return emit("abs", x)


@ufunc(np.modf)
def modf(x: Value) -> tuple[Value, Value]:
    """The fraction and the whole number, both with the sign of x; the fraction of an infinity is 0."""
    whole = emit("trunc", x)
    fraction = where(equal(_abs(x), math.inf), 0, x - whole)
    return copysign(fraction, x), whole


def scaled(x: Value, n: Value) -> Value:
    """x * 2**n for whole numbers n of x's dtype, rounded once: in three steps, so that no power overflows.

    Results below the normal numbers are reached in one step, from a number that has lost no digit yet, as
    `scalbn` of the C libraries does it.
    """
    info = np.finfo(x.dtype)
    top, least = int(info.maxexp) - 1, int(info.minexp)
    for _ in range(2):
        down = full_like(least + int(info.nmant) + 1, n)
        step = where(n > top, full_like(top, n), where(n < least, down, 0))
        x, n = x * emit("exp2", step), n - step
    n = emit("maximum", emit("minimum", n, full_like(top, n)), full_like(least, n))
    return x * emit("exp2", n)


@ufunc(np.ldexp)
def ldexp(x: Value, n: Value) -> Value:
    """x * 2**n: rounded once, also where the result is subnormal."""
    limit = 1 << 13  # beyond every exponent
    if n.dtype.itemsize > 1:
        n = emit("maximum", emit("minimum", n, full_like(limit, n)), full_like(-limit, n))
    return scaled(x, cast(n, x.dtype))


def _parts(x: Value) -> tuple[Value, Value]:
    """m and e, of x's dtype, with x = m * 2**e and 0.5 <= |m| < 1; x and 0 for 0, NaN and infinities."""
    usual = isfinite(x) & emit("ne", x, full_like(0, x))
    safe = where(usual, x, 1)
    e = emit("floor", emit("log2", _abs(safe))) + 1
    m = scaled(safe, -e)
    over, under = _abs(m) >= 1, _abs(m) < 0.5
    m = where(over, m * 0.5, where(under, m * 2, m))
    e = where(over, e + 1, where(under, e - 1, e))
    return where(usual, m, x), where(usual, e, 0)


@ufunc(np.frexp)
def frexp(x: Value) -> tuple[Value, Value]:
    """m in [0.5, 1) and e with x = m * 2**e."""
    m, e = _parts(x)
    return m, cast(e, _I32)


def _step_up(x: Value) -> Value:
    """The distance from a finite |x| to the next larger number."""
    info = np.finfo(x.dtype)
    _, e = _parts(x)
    least = float(info.minexp - info.nmant)
    e = where(equal(x, 0), least, emit("maximum", e - (info.nmant + 1), full_like(least, e)))
    return scaled(full_like(1, x), e)


@ufunc(np.spacing)
def spacing(x: Value) -> Value:
    """The distance to the neighbour farther from 0, with the sign of x."""
    step = where(equal(_abs(x), float(np.finfo(x.dtype).max)), math.inf, _step_up(x))
    return where(isfinite(x), where(x < 0, -step, step), math.nan)


@ufunc(np.nextafter)
def nextafter(a: Value, b: Value) -> Value:
    """The number next to `a` on the way to `b`; derivative 1 in `a`."""
    info = np.finfo(a.dtype)
    size, step = _abs(a), _step_up(a)
    m, _ = _parts(size)
    # Below a power of two, numbers lie twice as close, down to the smallest normal one.
    half = equal(m, 0.5) & (size > float(info.smallest_normal))
    inward = where(half, step * 0.5, step)
    away = (b > a) & (a > 0) | (b < a) & (a < 0)
    moved = copysign(where(away, size + step, size - inward), a)
    moved = where(equal(size, math.inf), copysign(full_like(float(info.max), a), a), moved)
    moved = where(equal(a, 0), copysign(full_like(float(info.smallest_subnormal), a), b), moved)
    return where(isnan(a) | isnan(b), a + b, where(equal(a, b), b, moved))


# Integers.


def _size(x: Value) -> Value:
    """The absolute value, unsigned: the smallest integer has none of its own dtype."""
    if x.dtype.kind != "i":
        return x
    return cast(emit("abs", x), np.dtype(f"u{x.dtype.itemsize}"))


def _divisor(a: Value, b: Value) -> Value:
    """Euclid's algorithm, with as many steps as it can take at most: for two neighbours of Fibonacci's."""
    steps = math.ceil(8 * a.dtype.itemsize / math.log2((1 + math.sqrt(5)) / 2))
    for _ in range(steps):
        done = equal(b, 0)
        a, b = where(done, a, b), where(done, b, emit("remainder", a, where(done, 1, b)))
    return a


@ufunc(np.gcd)
def gcd(a: Value, b: Value) -> Value:
    """The greatest common divisor; gcd(0, b) is |b|."""
    return cast(_divisor(_size(a), _size(b)), a.dtype)


@ufunc(np.lcm)
def lcm(a: Value, b: Value) -> Value:
    """The least common multiple; 0 if one of them is 0."""
    p, q = _size(a), _size(b)
    divisor = _divisor(p, q)
    return cast(emit("floor_divide", p, where(equal(divisor, 0), 1, divisor)) * q, a.dtype)


def _bit_count(x: Value) -> Value:
    """The number of ones among the bits of |x|, counted in pairs, then in fours, then in bytes."""
    x = _size(x)
    width = 8 * x.dtype.itemsize

    def pattern(byte: int) -> Value:
        return full_like(int(f"{byte:02x}" * x.dtype.itemsize, 16), x)

    def shifted(v: Value, n: int) -> Value:
        return emit("shift_right", v, full_like(n, v))

    x = x - (shifted(x, 1) & pattern(0x55))
    x = (x & pattern(0x33)) + (shifted(x, 2) & pattern(0x33))
    x = (x + shifted(x, 4)) & pattern(0x0F)
    if width > 8:
        x = shifted(x * pattern(0x01), width - 8)
    return cast(x, np.dtype(np.uint8))


if hasattr(np, "bitwise_count"):
    ufunc(np.bitwise_count)(_bit_count)
