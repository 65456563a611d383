"""log, log1p, log2, log10, logaddexp: x = 2**k m with m in [0.71, 1.41], and a series in m - 1."""

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
    product,
    select,
    two_sum,
)
from gradc.codegen.elementary.exponential import EXP_SMALLEST, exp_parts, power_of_two, scaled

# ln 2 cut so that k * LN2_CUT is exact for every exponent k, and the rest.
LN2_CUT = {"f32": 0.693145751953125, "f64": 0.6931471803691238}
LN2_REST = {"f32": 1.4286068203094173e-06, "f64": 1.9082149292705877e-10}
# log2(e) and log10(e) in two numbers of the format; log10(2) cut like ln 2.
LOG2_E = {
    "f32": (1.4426950216293335, 1.925963033500011e-08),
    "f64": (1.4426950408889634, 2.0355273740931033e-17),
}
LOG10_E = {
    "f32": (0.4342944920063019, -1.0103049952192578e-08),
    "f64": (0.4342944819032518, 1.098319650216765e-17),
}
LOG10_2_CUT = {"f32": 0.301025390625, "f64": 0.30102999566383914}
LOG10_2_REST = {"f32": 4.605039066518657e-06, "f64": 1.42050232272661e-13}
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


def log_parts(f: Value) -> Pair:
    """log(1 + f) for f in [-0.3, 0.42]: a leading number and a correction of up to a tenth of it."""
    half_square, correction = log_near_one(f)
    main = fast_two_sum(f, -half_square)
    return Pair(main.high, main.low + (correction - fma(0.5 * f, f, -half_square)))


def log_sum(k: Value, f: Value, tail: Value | None = None) -> Pair:
    """k ln 2 + log(1 + f + tail), for a tail of rounding-error size: a leading number and a correction."""
    half_square, correction = log_near_one(f)
    lead = fast_two_sum(k * LN2_CUT[f.kind], f)
    main = fast_two_sum(lead.high, -half_square)
    correction = fma(k, LN2_REST[f.kind], correction - fma(0.5 * f, f, -half_square))
    if tail is not None:
        correction = correction + fma(-f, tail, tail)
    return Pair(main.high, main.low + (lead.low + correction))


def at_edges(x: Value, result: Value) -> Value:
    """`result` where 0 < x < inf; log's limits elsewhere: -inf at 0, NaN below, x itself at inf and NaN."""
    result = select(x < math.inf, result, x)
    result = select(x < 0.0, math.nan, result)
    return select(x.equals(0.0), -math.inf, result)


def log(x: Value) -> Value:
    """The natural logarithm."""
    k, m = significand(x)
    return at_edges(x, log_sum(k, m - 1.0).value)


def log1p_pair(y: Value, y_low: Value | None = None, doublings: Value | None = None) -> Pair:
    """log(1 + y + y_low) + doublings ln 2, for finite y > -1.

    1 + y is rounded, and its rounding error carried along, divided by the power of two in 1 + y.
    """
    u = two_sum(y.like(1.0), y)
    k, m = significand(u.high)
    # Where the bound bites, the error (at most 1) is far below the last place of u.
    low = u.low if y_low is None else u.low + y_low
    low = low * power_of_two(-minimum(k, 2.0 * y.format.fraction))
    f = fast_two_sum(m - 1.0, low)
    return log_sum(k if doublings is None else k + doublings, f.high, f.low)


def log1p(x: Value) -> Value:
    """log(1 + x) without cancellation."""
    return copy_sign(at_edges(x + 1.0, log1p_pair(x).value), x)


def log2(x: Value) -> Value:
    """The logarithm to base 2; exact for powers of 2."""
    k, m = significand(x)
    fraction = product(log_parts(m - 1.0), constant_pair(x, LOG2_E))
    whole = fast_two_sum(k, fraction.high)
    return at_edges(x, whole.high + (whole.low + fraction.low))


def log10(x: Value) -> Value:
    """The logarithm to base 10."""
    k, m = significand(x)
    fraction = product(log_parts(m - 1.0), constant_pair(x, LOG10_E))
    whole = fast_two_sum(k * LOG10_2_CUT[x.kind], fraction.high)
    return at_edges(x, whole.high + fma(k, LOG10_2_REST[x.kind], whole.low + fraction.low))


def constant_pair(x: Value, table: dict[str, tuple[float, float]]) -> Pair:
    high, low = table[x.kind]
    return Pair(x.like(high), x.like(low))


def logaddexp(x: Value, y: Value) -> Value:
    """log(e**x + e**y) = max(x, y) + log1p(exp(-|x - y|)).

    Where the two terms cancel, the error is that of a few more places of the larger, not of the result.
    """
    upper, lower = select(x < y, y, x), select(x < y, x, y)
    # The larger has an exponential too small to see from here on.
    difference = two_sum(lower, -upper)
    bounded = maximum(difference.high, EXP_SMALLEST[x.kind])
    k, p = exp_parts(bounded, select(bounded.equals(difference.high), difference.low, 0.0))
    p = fast_two_sum(p.high, p.low)
    logarithm = log1p_pair(scaled(p.high, k), scaled(p.low, k))
    result = two_sum(upper, logarithm.high)
    result = result.high + (result.low + logarithm.low)
    # Equal infinities have no difference, and an infinity takes no correction.
    result = select(absolute(upper).equals(math.inf), upper, result)
    return select(x.is_nan | y.is_nan, x + y, result)
