"""arctan, arctan2, arcsin, arccos: an argument below tan(pi/8) or 1/2, and a polynomial in it."""

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
    minimum,
    polynomial,
    quotient,
    root,
    select,
    two_sum,
)

# Multiples of pi in two numbers of the format.
QUARTER_PI = {
    "f32": (0.7853981852531433, -2.1855694143368964e-08),
    "f64": (0.7853981633974483, 3.061616997868383e-17),
}
HALF_PI = {
    "f32": (1.5707963705062866, -4.371138828673793e-08),
    "f64": (1.5707963267948966, 6.123233995736766e-17),
}
THREE_QUARTERS_PI = {
    "f32": (2.356194496154785, -5.962440319251527e-09),
    "f64": (2.356194490192345, 9.184850993605148e-17),
}
PI = {
    "f32": (3.1415927410125732, -8.742277657347586e-08),
    "f64": (3.141592653589793, 1.2246467991473532e-16),
}
TAN_EIGHTH = math.tan(math.pi / 8)
TAN_THREE_EIGHTHS = math.tan(3 * math.pi / 8)


def choose(condition: Value, a: Pair, b: Pair) -> Pair:
    return Pair(select(condition, a.high, b.high), select(condition, a.low, b.low))


def known(x: Value, table: dict[str, tuple[float, float]] | None = None) -> Pair:
    """A constant of the tables above, or 0."""
    high, low = table[x.kind] if table else (0.0, 0.0)
    return Pair(x.like(high), x.like(low))


def angle(y: Value, x: Value, behind: Value | None = None) -> Value:
    """arctan(y / x), of pi less it where `behind` holds; y, x >= 0, not both 0 nor infinite.

    Turned by 0, pi/4 or pi/2, so that the tangent of what is left is below tan(pi/8).
    """
    low, high = y < TAN_EIGHTH * x, y > TAN_THREE_EIGHTHS * x
    zero = known(x)
    middle = fast_two_sum(x, y) if behind is None else two_sum(x, y)
    numerator = choose(low, Pair(y, zero.low), choose(high, Pair(-x, zero.low), two_sum(y, -x)))
    denominator = choose(low, Pair(x, zero.low), choose(high, Pair(y, zero.low), middle))
    base = choose(low, zero, choose(high, known(x, HALF_PI), known(x, QUARTER_PI)))
    t = quotient(numerator, denominator)
    if behind is not None:
        mirrored = choose(low, known(x, PI), choose(high, known(x, HALF_PI), known(x, THREE_QUARTERS_PI)))
        base = choose(behind, mirrored, base)
        t = choose(behind, -t, t)
    z = t.high * t.high
    series = fma(z * t.high, polynomial(z, coefficients.ATAN[x.kind]), t.low)
    total = fast_two_sum(base.high, t.high)
    return total.high + (total.low + (base.low + series))


def arctan(x: Value) -> Value:
    """The angle in (-pi/2, pi/2) whose tangent is x."""
    # From the bound on it rounds to pi/2, and infinity would have no remainder.
    a = minimum(absolute(x), 2.0 ** (2 * x.format.fraction))
    return copy_sign(angle(a, a.like(1.0)), x)


def arctan2(y: Value, x: Value) -> Value:
    """The angle of the point (x, y), in [-pi, pi], with the signed zeros and infinities of IEEE 754."""
    form = y.format
    a, b = absolute(y), absolute(x)
    infinite = a.equals(math.inf) | b.equals(math.inf)
    a = select(infinite, select(a.equals(math.inf), a.like(1.0), 0.0), a)
    b = select(infinite, select(b.equals(math.inf), b.like(1.0), 0.0), b)
    # Away from overflow of a + b, and from underflow of the division's remainder.
    limit = 2.0 ** (form.bias // 2)
    largest = select(a < b, b, a)
    smallest = select(a < b, a, b)
    shrink = largest > limit
    grow = (smallest < 1 / limit) & ~shrink
    step = 2.0 ** (3 * form.bias // 8)
    factor = select(shrink, a.like(1 / step), select(grow, a.like(step), 1.0))
    b = select(largest.equals(0.0), 1.0, b)
    behind = x.bits < 0
    result = copy_sign(angle(a * factor, b * factor, behind), y)
    return select(x.is_nan | y.is_nan, x + y, result)


def arcsine_series(t: Value) -> Value:
    """(arcsin(t) - t) / t for |t| <= 1/2."""
    z = t * t
    return z * polynomial(z, coefficients.ASIN[t.kind])


def arcsin(x: Value) -> Value:
    """arcsin(x), as pi/2 - 2 arcsin(sqrt((1 - |x|) / 2)) above 1/2; NaN beyond 1."""
    a = absolute(x)
    inner = a < 0.5
    half = known(x, HALF_PI)
    t = root(Pair(0.5 - 0.5 * a, a.like(0.0)))
    t = choose(inner, Pair(a, a.like(0.0)), t)
    series = fma(t.high, arcsine_series(t.high), t.low)
    outer = fast_two_sum(half.high, -2.0 * t.high)
    outer_value = outer.high + (outer.low + fma(series, -2.0, half.low))
    return copy_sign(select(inner, t.high + series, outer_value), x)


def arccos(x: Value) -> Value:
    """arccos(x): pi/2 - arcsin(x) within 1/2, 2 arcsin(sqrt((1 - |x|) / 2)) or pi less it outside."""
    a = absolute(x)
    inner = a < 0.5
    t = choose(inner, Pair(x, a.like(0.0)), root(Pair(0.5 - 0.5 * a, a.like(0.0))))
    series = fma(t.high, arcsine_series(t.high), t.low)
    base = choose(inner, known(x, HALF_PI), choose(x < 0.0, known(x, PI), known(x)))
    # -1, 2 or -2 times the arcsine.
    factor = select(inner, x.like(-1.0), copy_sign(x.like(2.0), x))
    total = fast_two_sum(base.high, factor * t.high)
    return total.high + (total.low + fma(factor, series, base.low))
