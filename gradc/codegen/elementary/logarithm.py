"""log, log1p, log2, log10, logaddexp, softplus: x = 2**k m with m in [0.75, 1.5], and a series in m - 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradc.codegen.elementary import avx512, coefficients
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
    select,
    two_sum,
)
from gradc.codegen.elementary.exponential import EXP_SMALLEST, exp_parts, moderate_power, scaled

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
LOWEST = 0.75
ROOT_HALF = math.sqrt(0.5)


@dataclass(frozen=True)
class Base:
    """A logarithm's unit in two numbers, and log(2) in it: cut for exact multiples, and the rest."""

    unit: tuple[float, float]
    cut: float
    rest: float


NATURAL = {kind: Base((1.0, 0.0), LN2_CUT[kind], LN2_REST[kind]) for kind in LN2_CUT}
BINARY = {kind: Base(LOG2_E[kind], 1.0, 0.0) for kind in LOG2_E}
DECIMAL = {kind: Base(LOG10_E[kind], LOG10_2_CUT[kind], LOG10_2_REST[kind]) for kind in LOG10_E}


def significand(x: Value, narrow: bool = False) -> tuple[Value, Value]:
    """(k, m) with x = 2**k m and m in [0.75, 1.5), for positive finite x, subnormal ones too.

    A narrow m lies in [sqrt(1/2), sqrt(2)).
    """
    form = x.format
    if x.code.avx512:
        m = avx512.fraction(x)
        k = avx512.exponent(x) - avx512.exponent(m)
        if not narrow:
            return k, m
        high = m >= 2.0 * ROOT_HALF
        return select(high, k + 1.0, k), select(high, 0.5 * m, m)
    lowest = form.pattern(ROOT_HALF if narrow else LOWEST)
    small = x < form.smallest_normal
    lift = form.fraction + 1
    bits = select(small, x * 2.0**lift, x).bits
    moved = bits + (form.pattern(1.0) - lowest)
    # The exponent as a float: put into the last places of 2**fraction.
    k = ((moved >> form.fraction) | form.pattern(2.0**form.fraction)).as_float()
    k = k - select(small, x.like(2.0**form.fraction + form.bias + lift), 2.0**form.fraction + form.bias)
    return k, ((moved & form.fraction_mask) + lowest).as_float()


def beyond_first_order(f: Value) -> Value:
    """log(1 + f) - f for f in [-0.293, 0.5]."""
    half = 0.5 * f
    if f.kind == "f32":
        return fma(-half, f, f * f * f * polynomial(f, coefficients.LOG["f32"]))
    s = f / (2.0 + f)
    z = s * s
    series = fma(z, polynomial(z, coefficients.ATANH["f64"]), half * f)
    return fma(-half, f, s * series)


def log_sum(k: Value, f: Value, tail: Value | None = None, base: dict[str, Base] = NATURAL) -> Pair:
    """The logarithm of 2**k (1 + f + tail), for a small tail: a leading number and a rest."""
    here = base[f.kind]
    unit, low_unit = here.unit
    in_units = f * unit
    lead = fast_two_sum(k * here.cut, in_units)
    low = lead.low if low_unit == 0.0 else lead.low + fma(f, low_unit, fma(f, unit, -in_units))
    if here.rest:
        low = fma(k, here.rest, low)
    full = f
    if tail is not None:
        full, low = f + tail, low + tail
    return Pair(lead.high, fma(beyond_first_order(full), unit, low))


def short_log(w: Value) -> Value:
    """log(w) of a float64 to as many places as float32 needs, also near 1; with log's limits."""
    k, m = significand(w)
    f = m - 1.0
    series = fma(f, polynomial(f, coefficients.LOG["f32"]), -0.5)
    return at_edges(w, fma(k, math.log(2.0), fma(f * f, series, f)))


def at_edges(x: Value, result: Value) -> Value:
    """`result` where 0 < x < inf; log's limits elsewhere: -inf at 0, NaN below, x itself at inf and NaN."""
    if x.code.avx512:
        return avx512.at_kinds(
            result, x,
            nan=avx512.THE_NAN, zero=avx512.MINUS_INFINITY, minus=avx512.NEW_NAN,
            plus=avx512.INFINITY, negative=avx512.NEW_NAN, positive=avx512.KEEP,
        )  # fmt: skip
    result = select(x < math.inf, result, x)
    result = select(x < 0.0, math.nan, result)
    return select(x.equals(0.0), -math.inf, result)


def _logarithm(x: Value, base: dict[str, Base]) -> Value:
    k, m = significand(x, narrow=base is not NATURAL)
    return at_edges(x, log_sum(k, m - 1.0, base=base).value)


def log(x: Value) -> Value:
    """The natural logarithm."""
    return _logarithm(x, NATURAL)


def log2(x: Value) -> Value:
    """The logarithm to base 2; exact for powers of 2."""
    return _logarithm(x, BINARY)


def log10(x: Value) -> Value:
    """The logarithm to base 10."""
    return _logarithm(x, DECIMAL)


def log1p_pair(y: Value, y_low: Value | None = None, doublings: Value | None = None) -> Pair:
    """log(1 + y + y_low) + doublings ln 2, for finite y > -1.

    1 + y is rounded, and its rounding error carried along, divided by the power of two in 1 + y.
    """
    u = fast_two_sum(maximum(y, 1.0), minimum(y, 1.0))
    k, m = significand(u.high)
    f, low = m - 1.0, divided(u.low, k)
    if y_low is not None:  # it may come to light where f and low cancel
        exact = fast_two_sum(f, low)
        f, low = exact.high, exact.low + divided(y_low, k)
    return log_sum(k if doublings is None else k + doublings, f, low)


def divided(x: Value, k: Value) -> Value:
    """x / 2**k; where k is large and the power bounded, a trifle all the same."""
    return avx512.scaled(x, -k) if x.code.avx512 else x * moderate_power(-k)


def log1p(x: Value) -> Value:
    """log(1 + x) without cancellation."""
    return copy_sign(at_edges(x + 1.0, log1p_pair(x).value), x)


def softplus(x: Value) -> Value:
    """log(1 + e**x) = max(x, 0) + log1p(exp(-|x|))."""
    k, p = exp_parts(maximum(-absolute(x), EXP_SMALLEST[x.kind]))
    p = fast_two_sum(p.high, p.low)
    logarithm = log1p_pair(scaled(p.high, k), scaled(p.low, k))
    result = two_sum(maximum(x, 0.0), logarithm.high)
    return select(x.equals(math.inf), x, result.high + (result.low + logarithm.low))


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
