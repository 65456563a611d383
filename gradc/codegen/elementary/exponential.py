"""exp, exp2, expm1, expit: x = k ln 2 + r, a polynomial in r, and 2**k put back in two steps."""

from __future__ import annotations

import math

from gradc.codegen.elementary import coefficients
from gradc.codegen.elementary.builder import (
    Pair,
    Value,
    absolute,
    copy_sign,
    fast_two_sum,
    fma,
    maximum,
    minimum,
    polynomial,
    quotient,
    select,
    two_sum,
)

LOG2_E = 1 / math.log(2)
# ln 2 as a number of the format and the next digits. `fma(k, -LN2_HIGH, x)` is exact: both terms are
# multiples of the last place of LN2_HIGH (or of x, if smaller), and what remains is less than 1/2.
LN2_HIGH = {"f32": 0.6931471824645996, "f64": 0.6931471805599453}
LN2_LOW = {"f32": -1.9046542121259336e-09, "f64": 2.3190468138462996e-17}
# Beyond these exp overflows to infinity, or underflows to zero, already.
EXP_LARGEST = {"f32": 89.0, "f64": 710.0}
EXP_SMALLEST = {"f32": -104.5, "f64": -746.0}


def power_of_two(k: Value) -> Value:
    """2**k for integer-valued k in the range of normal exponents, made of its bits."""
    form = k.format
    return ((k + (form.shifter + form.bias)).bits << form.fraction).as_float()


def nearest_integer(x: Value) -> Value:
    """`x` rounded to an integer, ties to even; |x| must be small beside 2**fraction."""
    return (x + x.format.shifter) - x.format.shifter


def scaled(x: Value, k: Value) -> Value:
    """x * 2**k with one rounding, also where 2**k alone is out of range (|k| up to twice the bias)."""
    half = fma(k, 0.5, k.format.shifter) - k.format.shifter
    return x * power_of_two(half) * power_of_two(k - half)


def split(x: Value) -> tuple[Value, Value]:
    """(k, r): the nearest k to x / ln 2, and r = x - k LN2_HIGH exactly, |r| < 0.35."""
    shifter = x.format.shifter
    k = fma(x, LOG2_E, shifter) - shifter
    return k, fma(k, -LN2_HIGH[x.kind], x)


def expm1_reduced(k: Value, r: Value, tail: Value | None = None) -> Value:
    """What is left of expm1(x - k ln 2 + tail) after its leading term r."""
    low = LN2_LOW[r.kind]
    if tail is None:
        full = fma(k, -low, r)
        return fma(k, -low, full * full * polynomial(full, coefficients.EXP[r.kind]))
    tail = fma(k, -low, tail)
    full = r + tail
    return fma(full * full, polynomial(full, coefficients.EXP[r.kind]), tail)


def exp_parts(x: Value, tail: Value | None = None) -> tuple[Value, Pair]:
    """(k, p) with exp(x + tail) = 2**k * p and p in [0.7, 1.42], good to a few more places than the format.

    p.low is up to 0.06, more than a rounding error.
    """
    k, r = split(x)
    rest = expm1_reduced(k, r, tail)
    one = fast_two_sum(r.like(1.0), r)
    return k, Pair(one.high, one.low + rest)


def exp(x: Value) -> Value:
    """e**x."""
    x = maximum(minimum(x, EXP_LARGEST[x.kind]), EXP_SMALLEST[x.kind])
    k, p = exp_parts(x)
    return scaled(p.value, k)


def exp2(x: Value) -> Value:
    """2**x: the same polynomial at (x - k) ln 2, taken in twice the precision."""
    form = x.format
    x = maximum(minimum(x, form.bias + 1.0), -form.bias - form.fraction - 1.0)
    k = nearest_integer(x)
    fraction = x - k
    high = fraction * LN2_HIGH[x.kind]
    tail = fma(fraction, LN2_LOW[x.kind], fma(fraction, LN2_HIGH[x.kind], -high))
    one = fast_two_sum(x.like(1.0), high)
    rest = fma(high * high, polynomial(high, coefficients.EXP[x.kind]), fma(high, tail, tail))
    return scaled(one.high + (one.low + rest), k)


def expm1_parts(x: Value, sign: int = 0) -> tuple[Value, Pair]:
    """(k, p) with expm1(x) = 2**k * p, for x above about -0.7 bias; less work if their sign is known.

    expm1(x) = 2**k (expm1(r) + (1 - 2**-k)); the sum in parentheses keeps its rounding error.
    """
    k, r = split(x)
    low = LN2_LOW[x.kind]
    full = fma(k, -low, r)
    tail = fma(k, -low, r - full)
    # exp(full) - 1 = full + full**2 / 2 + full**3 (...), the first two terms with their rounding errors.
    half_square = 0.5 * full * full
    cubic = half_square * full * 2.0 * polynomial(full, coefficients.EXP[x.kind][1:])
    rest = fma(0.5 * full, full, -half_square) + fma(full, tail, tail) + cubic
    small = fast_two_sum(full, half_square)
    # Past 2**-2fraction the term 2**-k is lost in the sum anyway.
    one, unit = x.like(1.0), -power_of_two(-minimum(k, 2.0 * x.format.fraction))
    offset = two_sum(one, unit) if sign == 0 else fast_two_sum(*((unit, one) if sign < 0 else (one, unit)))
    total = fast_two_sum(offset.high, small.high)
    return k, Pair(total.high, total.low + (offset.low + (small.low + rest)))


def expm1(x: Value) -> Value:
    """e**x - 1 without cancellation."""
    clamped = maximum(minimum(x, EXP_LARGEST[x.kind]), -1.0 * x.format.fraction)
    k, p = expm1_parts(clamped)
    return copy_sign(scaled(p.value, k), x)


def expit(x: Value) -> Value:
    """1 / (1 + e**-x), as 1 / (1 + e) or e / (1 + e) with e = exp(-|x|): nothing overflows or cancels."""
    negative = x < 0.0
    form = x.format
    k, p = exp_parts(maximum(-absolute(x), EXP_SMALLEST[x.kind]))
    p = fast_two_sum(p.high, p.low)
    # As much of the power of two as leaves a normal remainder in the division; what is left comes after it.
    first = maximum(k, form.fraction + 2.0 - form.bias)
    unit = power_of_two(first)
    e = Pair(p.high * unit, p.low * unit)
    denominator = fast_two_sum(x.like(1.0), e.high)
    denominator = Pair(denominator.high, denominator.low + e.low)
    numerator = Pair(select(negative, e.high, 1.0), select(negative, e.low, 0.0))
    return quotient(numerator, denominator).value * power_of_two(select(negative, k - first, 0.0))
