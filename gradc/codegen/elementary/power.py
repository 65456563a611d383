"""power: exp(y log(x)) with a logarithm of 65 bits in float64, and by way of float64 in float32."""

from __future__ import annotations

import math

from gradc.codegen.elementary import avx512, coefficients
from gradc.codegen.elementary.builder import (
    Pair,
    Value,
    absolute,
    fast_two_sum,
    fma,
    maximum,
    minimum,
    polynomial,
    select,
    two_product,
)
from gradc.codegen.elementary.exponential import (
    EXP_LARGEST,
    EXP_SMALLEST,
    exp_parts,
    nearest_integer,
    power_of_two,
    scaled,
)
from gradc.codegen.elementary.logarithm import LN2_CUT, LN2_REST, significand

TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)


def log_pair(x: Value) -> Pair:
    """log(x) to about 2**-65 of itself, for positive finite float64 x.

    log(x) = k ln 2 + s (2 + s**2 (2/3 + s**2 P(s**2))), s = (m - 1) / (m + 1): everything but P in pairs.
    """
    k, m = significand(x)
    f = m - 1.0
    d = m + 1.0
    d_low = m - (d - 1.0)
    inverse = 1.0 / d
    s = f * inverse
    s_low = fma(-s, d_low, fma(-s, d, f)) * inverse
    z = s * s
    z_low = fma(2.0 * s, s_low, fma(s, s, -z))
    series = polynomial(z, coefficients.ATANH_LONG[x.kind])
    q = two_product(z, series)
    c = fast_two_sum(x.like(TWO_THIRDS[0]), q.high)
    c_low = c.low + fma(z_low, series, q.low + TWO_THIRDS[1])
    w = z * c.high
    w_low = fma(z_low, c.high, fma(z, c_low, fma(z, c.high, -w)))
    v = fast_two_sum(x.like(2.0), w)
    v_low = v.low + w_low
    log_m = s * v.high
    log_m_low = fma(s_low, v.high, fma(s, v_low, fma(s, v.high, -log_m)))
    total = fast_two_sum(k * LN2_CUT[x.kind], log_m)
    return fast_two_sum(total.high, total.low + fma(k, LN2_REST[x.kind], log_m_low))


def power_magnitude_f64(a: Value, y: Value) -> Value:
    """a**y for a >= 0 and finite y."""
    logarithm = log_pair(a)
    high = log_at_edges(a, logarithm.high)
    product = y * high
    low = fma(y, high, -product) + y * logarithm.low
    bounded = maximum(minimum(product, EXP_LARGEST["f64"]), EXP_SMALLEST["f64"])
    k, p = exp_parts(bounded, select(bounded.equals(product), low, 0.0))
    return scaled(p.value, k)


def power_magnitude_f32(a: Value, y: Value) -> Value:
    """a**y for a >= 0 and finite y: float64 leaves no rounding errors to speak of."""
    series = coefficients.EXP2_SHORT["f64"]
    if a.code.avx512:
        exponent = y.widened() * log2_by_pieces(a)
        return avx512.scaled(polynomial(avx512.beyond_floor(exponent), series), exponent).narrowed()
    exponent = maximum(minimum(y.widened() * log2_short(a), 200.0), -200.0)
    k = nearest_integer(exponent - 0.5)
    return (polynomial(exponent - k, series) * power_of_two(k)).narrowed()


def log2_short(a: Value) -> Value:
    """log2(a) of a float32 in float64, to about 2**-37 of itself."""
    k, m = significand(a)
    k, m = log_at_edges(a, k), m.widened()
    s = (m - 1.0) / (m + 1.0)
    return fma(s, polynomial(s * s, coefficients.LOG2_SHORT["f64"]), k.widened())


def log2_by_pieces(a: Value) -> Value:
    """The same without a division, by a table for the first four bits of the fraction.

    log2(a) = k - log2(c) + log2(1 + r) with r = m c - 1, and c of so few bits that r is a float32. log2(c) is
    0 or 1 beside powers of two. The instructions for k and m know the limits.
    """
    m = avx512.fraction(a, from_one=True)
    index = m.bits >> (a.format.fraction - 4)
    reciprocal, logarithm = coefficients.RECIPROCALS
    r = fma(m, avx512.chosen(index, 2 * reciprocal), -1.0).widened()
    whole = avx512.exponent(a).widened() + avx512.chosen(index.cast("zext", "i64"), logarithm)
    return fma(r, polynomial(r, coefficients.LOG2_PIECE["f64"]), whole)


def log_at_edges(a: Value, logarithm: Value) -> Value:
    """`logarithm` for finite a > 0, -inf at 0, `a` itself at inf and NaN."""
    return select(a.equals(0.0), -math.inf, select(a < math.inf, logarithm, a))


def parity(y: Value) -> tuple[Value, Value]:
    """(whether y is an integer, whether an odd one); infinities and large numbers are even."""
    half = 0.5 * y
    integer = y.equals(y.code.intrinsic("rint", y))
    return integer, integer & half.differs(y.code.intrinsic("rint", half))


def power(x: Value, y: Value) -> Value:
    """x**y with the special cases of IEEE 754: x**0 = 1**y = 1, negative x to odd, even and other powers."""
    a = absolute(x)
    # An infinite y times log(1) would be NaN.
    bounded = maximum(minimum(y, y.format.largest), -y.format.largest)
    magnitude = (power_magnitude_f64 if x.kind == "f64" else power_magnitude_f32)(a, bounded)
    integer, odd = parity(y)
    signed = (magnitude.bits | select(odd, x.bits & x.format.sign_bit, x.bits ^ x.bits)).as_float()
    result = select(integer, signed, without_negative(x, magnitude))
    return select(y.equals(0.0) | x.equals(1.0), 1.0, result)


def without_negative(x: Value, magnitude: Value) -> Value:
    """`magnitude`, but NaN for a finite x < 0."""
    if x.code.avx512:
        keep = avx512.KEEP
        return avx512.at_kinds(
            magnitude, x, nan=keep, zero=keep, minus=keep, plus=keep, negative=avx512.NEW_NAN, positive=keep
        )
    return select((x < 0.0) & (x > -math.inf), math.nan, magnitude)
