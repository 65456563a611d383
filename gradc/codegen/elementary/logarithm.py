"""log, log1p, log2, log10: x = 2**k m with m in [0.71, 1.41], and a series in m - 1."""

from __future__ import annotations

import math

from gradc.codegen.elementary import coefficients
from gradc.codegen.elementary.builder import (
    Value,
    copy_sign,
    fast_two_sum,
    fma,
    minimum,
    polynomial,
    select,
    two_sum,
)
from gradc.codegen.elementary.exponential import power_of_two

# ln 2 cut so that k * LN2_CUT is exact for every exponent k, and the rest.
LN2_CUT = {"f32": 0.693145751953125, "f64": 0.6931471803691238}
LN2_REST = {"f32": 1.4286068203094173e-06, "f64": 1.9082149292705877e-10}
ROOT_HALF = math.sqrt(0.5)


def significand(x: Value) -> tuple[Value, Value]:
    """(k, m) with x = 2**k m and m in [sqrt(1/2), sqrt(2)), for positive finite x, subnormal ones too."""
    form = x.format
    small = x < form.smallest_normal
    lift = form.fraction + 1
    bits = select(small, x * 2.0**lift, x).bits
    moved = bits + (form.pattern(1.0) - form.pattern(ROOT_HALF))
    # The exponent as a float: put into the last places of 2**fraction.
    k = ((moved >> form.fraction) | form.pattern(2.0**form.fraction)).as_float()
    k = k - select(small, x.like(2.0**form.fraction + form.bias + lift), 2.0**form.fraction + form.bias)
    return k, ((moved & form.fraction_mask) + form.pattern(ROOT_HALF)).as_float()


def log_near_one(f: Value) -> tuple[Value, Value]:
    """(h, c) with log(1 + f) = f - h + c, h = f**2 / 2 to working precision, for f in [-0.3, 0.42]."""
    half_square = 0.5 * f * f
    if f.kind == "f32":
        return half_square, f * f * f * polynomial(f, coefficients.LOG["f32"])
    s = f / (2.0 + f)
    z = s * s
    return half_square, s * fma(z, polynomial(z, coefficients.ATANH["f64"]), half_square)


def log_sum(k: Value, f: Value, tail: Value | None = None) -> Value:
    """k ln 2 + log(1 + f + tail), for a tail of rounding-error size."""
    half_square, correction = log_near_one(f)
    lead = fast_two_sum(k * LN2_CUT[f.kind], f)
    main = fast_two_sum(lead.high, -half_square)
    correction = fma(k, LN2_REST[f.kind], correction - fma(0.5 * f, f, -half_square))
    if tail is not None:
        correction = correction + fma(-f, tail, tail)
    return main.high + (main.low + (lead.low + correction))


def at_edges(x: Value, result: Value) -> Value:
    """`result` where 0 < x < inf; log's limits elsewhere: -inf at 0, NaN below, x itself at inf and NaN."""
    edge = select(x < 0.0, math.nan, x)
    edge = select(x.equals(0.0), -math.inf, edge)
    return select((x > 0.0) & (x < math.inf), result, edge)


def log(x: Value) -> Value:
    """The natural logarithm."""
    k, m = significand(x)
    return at_edges(x, log_sum(k, m - 1.0))


def log1p(x: Value) -> Value:
    """log(1 + x) without cancellation: 1 + x is rounded, and its rounding error carried along."""
    u = two_sum(x.like(1.0), x)
    k, m = significand(u.high)
    # Where the bound bites, the error (at most 1) is far below the last place of u.
    low = u.low * power_of_two(-minimum(k, 2.0 * x.format.fraction))
    f = fast_two_sum(m - 1.0, low)
    return copy_sign(at_edges(u.high, log_sum(k, f.high, f.low)), x)
