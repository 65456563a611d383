"""exp, exp2, expm1, expit: x = k ln 2 + r, a polynomial in r, and 2**k put back in two steps."""

from __future__ import annotations

import math

from gradc.codegen.elementary import avx512, coefficients
from gradc.codegen.elementary.builder import (
    Pair,
    Value,
    copy_sign,
    fast_two_sum,
    fma,
    inverse,
    maximum,
    minimum,
    polynomial,
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
    if x.code.avx512:
        return x.code.intrinsic("roundeven", x)
    return (x + x.format.shifter) - x.format.shifter


def scaled(x: Value, k: Value) -> Value:
    """x * 2**k with one rounding, also where 2**k alone is out of range (|k| up to twice the bias)."""
    if x.code.avx512:
        return avx512.scaled(x, k)
    half = fma(k, 0.5, k.format.shifter) - k.format.shifter
    return x * power_of_two(half) * power_of_two(k - half)


def moderate_power(k: Value) -> Value:
    """2**k for k in the range of exponents; 2**-(2 fraction) or less for what is below."""
    if k.code.avx512:
        return avx512.scaled(k.like(1.0), k)
    return power_of_two(maximum(k, -2.0 * k.format.fraction))


def split(x: Value) -> tuple[Value, Value]:
    """(k, r): the nearest k to x / ln 2, and r = x - k LN2_HIGH exactly, |r| < 0.35."""
    shifter = x.format.shifter
    k = fma(x, LOG2_E, shifter) - shifter
    return k, fma(k, -LN2_HIGH[x.kind], x)


def exp_parts(x: Value, tail: Value | None = None) -> tuple[Value, Pair]:
    """(k, p) with exp(x + tail) = 2**k * p and p in [0.7, 1.42], good to a few more places than the format.

    p.low is up to 0.06, more than a rounding error.
    """
    k, r = split(x)
    low = LN2_LOW[r.kind]
    one = fast_two_sum(r.like(1.0), r)
    small = one.low if tail is None else one.low + tail
    full = fma(k, -low, r if tail is None else r + tail)
    # With a tail it is a step of a longer computation, which leaves less room for errors.
    series = (coefficients.EXP if tail is None else coefficients.EXPM1)[r.kind]
    rest = fma(full * full, polynomial(full, series), fma(k, -low, small))
    return k, Pair(one.high, rest)


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
    high = LN2_HIGH[x.kind]
    one = fma(fraction, high, 1.0)
    rest = fma(fraction, polynomial(fraction, coefficients.EXP2[x.kind]), fma(fraction, high, 1.0 - one))
    return scaled(one + rest, k)


def exp_plus(x: Value, sign: int) -> tuple[Value, Pair]:
    """(k, p) with e**x + sign = 2**k * p, for a sign of 1 or -1 and x above about -0.7 bias.

    e**x + sign = 2**k (e**r + sign 2**-k); the sums keep their rounding errors. p.low is up to 0.06.
    """
    k, r = split(x)
    unit = moderate_power(-k)
    lead, small = around(unit if sign > 0 else -unit, r)
    if sign < 0:  # what cancels lets all errors grow
        return k, Pair(lead, beyond_first_order(k, r, small))
    low = LN2_LOW[x.kind]
    full = fma(k, -low, r)
    rest = fma(full * full, polynomial(full, coefficients.EXP[x.kind]), fma(k, -low, small))
    return k, Pair(lead, rest)


def beyond_first_order(k: Value, r: Value, small: Value | None = None) -> Value:
    """exp(s) - 1 - r + small with s = r - k LN2_LOW, whose rounding error is kept out of its square."""
    low = LN2_LOW[r.kind]
    full = fma(k, -low, r)
    square = fma(r, r, k * (-2.0 * low) * r)
    first = k * -low if small is None else fma(k, -low, small)
    return fma(square, polynomial(full, coefficients.EXPM1[r.kind]), first)


def around(unit: Value, r: Value) -> tuple[Value, Value]:
    """1 + unit + r as a number and a rounding error, for a power of two and an |r| no larger than 1 + unit.

    What a large unit loses of 1 is left out.
    """
    offset = 1.0 + unit
    lead = fast_two_sum(offset, r)
    return lead.high, lead.low + ((1.0 - offset) + unit)


def expm1(x: Value) -> Value:
    """e**x - 1 without cancellation."""
    k, p = exp_plus(maximum(minimum(x, EXP_LARGEST[x.kind]), -1.0 * x.format.fraction), -1)
    return copy_sign(scaled(p.value, k), x)


def expit(x: Value) -> Value:
    """1 / (1 + e**-x) = 2**-k / p with 1 + e**-x = 2**k p: nothing overflows or cancels."""
    # From a few more than half the fraction on it rounds to 1, and far below to 0.
    k, p = exp_plus(-maximum(minimum(x, 1.0 * x.format.fraction), EXP_SMALLEST[x.kind]), 1)
    return scaled(inverse(fast_two_sum(p.high, p.low)), -k)
