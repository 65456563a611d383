"""erf and erfc: a series near 0, and an exponential of a polynomial, or times one, in the tail."""

from __future__ import annotations

from gradc.codegen.elementary import coefficients
from gradc.codegen.elementary.builder import (
    Value,
    absolute,
    copy_sign,
    fast_two_sum,
    fma,
    minimum,
    polynomial,
    product,
    select,
    two_product,
    two_sum,
)
from gradc.codegen.elementary.exponential import exp_parts, power_of_two, scaled
from gradc.codegen.elementary.pieces import by_pieces

# Where the series ends and the tail begins; from where on erf rounds to 1.
ERF_SPLIT = 0.75
ERFC_SPLIT = 0.625
ERF_ONE = {"f32": 4.0, "f64": 6.0}
# From here on erfc rounds to 0.
ERFC_ZERO = {"f32": 10.2, "f64": 27.3}
ERFC_MIDDLE = 41 / 64

# log(erfc(ERF_SPLIT)) in two numbers of the format.
LOG_ERFC_SPLIT = {
    "f32": (-1.2418673038482666, 4.316937918247277e-08),
    "f64": (-1.241867260678887, -6.515855086183219e-17),
}


def erf(x: Value) -> Value:
    """The error function: x + x P(x**2) near 0, 1 - exp(P(|x|)) where erfc is small, as are its errors."""
    if x.kind == "f32" and x.code.avx512:
        return by_pieces(x, coefficients.ERF_PIECES)
    a = absolute(x)
    near = fma(a, polynomial(a * a, coefficients.ERF[x.kind]), a)
    t = minimum(a, ERF_ONE[x.kind]) - ERF_SPLIT
    high, low = LOG_ERFC_SPLIT[x.kind]
    exponent = fast_two_sum(x.like(high), t * polynomial(t, coefficients.ERF_TAIL[x.kind]))
    k, p = exp_parts(exponent.high, exponent.low + low)
    far = fma(-p.value, power_of_two(k), 1.0)
    return copy_sign(select(a < ERF_SPLIT, near, far), x)


def erfc(x: Value) -> Value:
    """1 - erf(x): the series below 5/8, exp(-x**2) P((x - 4) / (x + 4)) / (x + 5/8) in the tails.

    The scaling of the tail is that of Shepherd and Laframboise (1981). P varies between 0.56 and 0.70: what
    the polynomial adds to their middle is so small that its rounding errors are.
    """
    a = absolute(x)
    z = a * a
    series = x * polynomial(z, coefficients.ERF[x.kind])
    lead = fast_two_sum(x.like(1.0), -x)
    near = lead.high + (lead.low - series)

    a = minimum(a, ERFC_ZERO[x.kind])
    square = two_product(a, a)
    k, p = exp_parts(-square.high, -square.low)
    # One division for both quotients.
    shifted = two_sum(a, a.like(0.625))
    inverse = 1.0 / (shifted.high * (a + 4.0))
    t = (a - 4.0) * (shifted.high * inverse)
    g = fast_two_sum(a.like(ERFC_MIDDLE), polynomial(t, coefficients.ERFC[x.kind]))
    q = product(fast_two_sum(p.high, p.low), g)
    inverse = (a + 4.0) * inverse
    tail = q.high * inverse
    remainder = fma(-tail, shifted.high, q.high) + fma(-tail, shifted.low, q.low)
    far = scaled(fma(remainder, inverse, tail), k)
    return select(a < ERFC_SPLIT, near, select(x < 0.0, 2.0 - far, far))
