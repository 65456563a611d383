"""sin, cos and tan: the nearest multiple of pi/2 is taken off, and a polynomial in the rest."""

from __future__ import annotations

from gradc.codegen.elementary import coefficients
from gradc.codegen.elementary.builder import (
    Pair,
    Value,
    absolute,
    fast_two_sum,
    fma,
    polynomial,
    quotient,
    select,
    two_product,
    two_sum,
)
from gradc.codegen.elementary.quarter_turns import huge_quarter_turns

TWO_OVER_PI = 0.6366197723675814
# pi/2 in three numbers of the format: 72 bits in f32, 160 in f64.
HALF_PI = {
    "f32": (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    "f64": (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
# Up to here the quotient by pi/2 is found well enough, and three parts of pi/2 leave a full significand.
MODERATE = {"f32": 2.0**17, "f64": 2.0**30}


def quarter_turns(x: Value) -> tuple[Value, Pair]:
    """(q, r) with x = q pi/2 + r: q an integer modulo 4, |r| below 0.79 and good to more than the format.

    `fma(k, -a, x)` is exact: a multiple of the last place of `a` (or of x, if smaller), less than 1.
    """
    shifter = x.format.shifter
    a, b, c = HALF_PI[x.kind]
    shifted = fma(x, TWO_OVER_PI, shifter)
    k = shifted - shifter
    product = two_product(k, b)
    r = two_sum(fma(k, -a, x), -product.high)
    low = r.low - fma(k, c, product.low)
    size = absolute(x)
    huge = (size > MODERATE[x.kind]) & (size < float("inf"))
    return huge_quarter_turns(x, huge, shifted.bits, Pair(r.high, low))


def sine_pair(r: Pair) -> Pair:
    """sin(r) for |r| <= pi/4: r + r**3 S(r**2), the small part of r to first order."""
    z = r.high * r.high
    series = polynomial(z, coefficients.SIN[z.kind])
    return fast_two_sum(r.high, fma(z * r.high, series, fma(-0.5 * z, r.low, r.low)))


def cosine_pair(r: Pair) -> Pair:
    """cos(r) for |r| <= pi/4: 1 - r**2 / 2 + r**4 C(r**2), the rounding error of 1 - r**2 / 2 put back."""
    z = r.high * r.high
    half = 0.5 * z
    one = 1.0 - half
    error = (1.0 - one) - half - fma(0.5 * r.high, r.high, -half)
    return fast_two_sum(one, error + fma(z * z, polynomial(z, coefficients.COS[z.kind]), -(r.high * r.low)))


def tan(x: Value) -> Value:
    """The tangent of x radians, of any size: sin / cos or -cos / sin of the rest, as pairs."""
    q, r = quarter_turns(x)
    s, c = sine_pair(r), cosine_pair(r)
    odd = (q & 1).differs(0)
    numerator = Pair(select(odd, -c.high, s.high), select(odd, -c.low, s.low))
    denominator = Pair(select(odd, s.high, c.high), select(odd, s.low, c.low))
    return select(x.equals(0.0), x, quotient(numerator, denominator).value)


def sine_of_quarters(q: Value, r: Pair) -> Value:
    """sin(q pi/2 + r)."""
    odd = (q & 1).differs(0)
    value = select(odd, cosine_pair(r).high, sine_pair(r).high)
    form = value.format
    return (value.bits ^ ((q & 2) << (form.bits - 2))).as_float()


def sin(x: Value) -> Value:
    """The sine of x radians, of any size."""
    q, r = quarter_turns(x)
    # At 0 the sum of a zero and its rounding errors would lose the sign.
    return select(x.equals(0.0), x, sine_of_quarters(q, r))


def cos(x: Value) -> Value:
    """The cosine of x radians, of any size."""
    q, r = quarter_turns(x)
    return sine_of_quarters(q + 1, r)
