"""power: exp(y log(x)) with a logarithm of 65 bits in float64, and by way of float64 in float32."""

from __future__ import annotations

import math

from gradc.codegen.elementary import coefficients
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
    k, m = significand(a)
    k, m = log_at_edges(a, k), m.widened()
    s = (m - 1.0) / (m + 1.0)
    logarithm = fma(s, polynomial(s * s, coefficients.LOG2_SHORT["f64"]), k.widened())
    exponent = y.widened() * logarithm
    exponent = maximum(minimum(exponent, 200.0), -200.0)
    k = nearest_integer(exponent)
    return (polynomial(exponent - k, coefficients.EXP2_SHORT["f64"]) * power_of_two(k)).narrowed()


def log_at_edges(a: Value, logarithm: Value) -> Value:
    """`logarithm` for finite a > 0, -inf at 0, `a` itself at inf and NaN."""
    return select(a.equals(0.0), -math.inf, select(a < math.inf, logarithm, a))


def parity(y: Value) -> tuple[Value, Value]:
    """(whether y is an integer, whether an odd one); infinities and large numbers are even."""
    form = y.format
    size = absolute(y)
    one_place = (
        2.0**form.fraction
    )  # from here on all numbers are integers, and the last bit of y is its parity
    large = size >= one_place
    lifted = size + one_place
    integer = large | (lifted - one_place).equals(size)
    last = select(large, y.bits, lifted.bits) & 1
    odd = integer & last.differs(0) & (size < 2.0 * one_place)
    return integer, odd


def power(x: Value, y: Value) -> Value:
    """x**y with the special cases of IEEE 754: x**0 = 1**y = 1, negative x to odd, even and other powers."""
    a = absolute(x)
    # An infinite y times log(1) would be NaN.
    bounded = maximum(minimum(y, y.format.largest), -y.format.largest)
    magnitude = (power_magnitude_f64 if x.kind == "f64" else power_magnitude_f32)(a, bounded)
    integer, odd = parity(y)
    sign = select(odd, x.bits & x.format.sign_bit, x.bits ^ x.bits)
    result = (magnitude.bits | sign).as_float()
    result = select((x < 0.0) & (x > -math.inf) & ~integer, math.nan, result)
    return select(y.equals(0.0) | x.equals(1.0), 1.0, result)
