"""tanh, sinh, cosh and their inverses, from expm1 and log1p kept to a few more places."""

from __future__ import annotations

import math
from collections.abc import Callable

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
    square_root,
    total,
    two_product,
    two_sum,
)
from gradc.codegen.elementary.exponential import (
    LN2_LOW,
    around,
    beyond_first_order,
    exp_parts,
    moderate_power,
    power_of_two,
    scaled,
    split,
)
from gradc.codegen.elementary.logarithm import at_edges, log1p_pair, short_log
from gradc.codegen.elementary.pieces import by_pieces

# Below the split tanh is a series (float32); from the second on it rounds to 1. sinh and cosh overflow.
TANH_SPLIT = 1.0
TANH_ONE = {"f32": 9.5, "f64": 20.0}
OVERFLOW = {"f32": 90.0, "f64": 711.0}


def tanh(x: Value) -> Value:
    """The hyperbolic tangent: the commonest activation, so float32 has a shorter way."""
    if x.kind == "f64":
        return tanh_f64(x)
    return by_pieces(x, coefficients.TANH_PIECES) if x.code.avx512 else tanh_f32(x)


def tanh_f32(x: Value) -> Value:
    """x + x**3 P(x**2) below 1, 1 - 2 / (1 + exp(2 |x|)) above."""
    a = absolute(x)
    z = a * a
    near = fma(z * a, polynomial(z, coefficients.TANH["f32"]), a)
    k, p = exp_parts(minimum(2.0 * a, 2.0 * TANH_ONE["f32"]))
    far = 1.0 - 2.0 / fma(p.value, power_of_two(k), 1.0)
    return copy_sign(select(a < TANH_SPLIT, near, far), x)


def tanh_f64(x: Value) -> Value:
    """(e**2a - 1) / (e**2a + 1) with a = |x|, both in units of the power of two in e**2a."""
    k, r = split(minimum(2.0 * absolute(x), 2.0 * TANH_ONE[x.kind]))
    rest = beyond_first_order(k, r)
    unit = moderate_power(-k)
    (minus, minus_low), (plus, plus_low) = (around(u, r) for u in (-unit, unit))
    numerator = fast_two_sum(minus, rest + minus_low)
    denominator = fast_two_sum(plus, rest + plus_low)
    return copy_sign(quotient(numerator, denominator).value, x)


def two_exponentials(x: Value, sign: int) -> Value:
    """(e**a + sign e**-a) / 2 with a = |x|, in units of 2**k, the power of two in e**a.

    e**a = 2**k (c + s) and e**-a = 2**-k (c - s), with c = cosh(r) and s = sinh(r) of the rest r.
    """
    k, r = split(minimum(absolute(x), OVERFLOW[x.kind]))
    low = LN2_LOW[x.kind]
    full = fma(k, -low, r)
    unit = moderate_power(-2.0 * k)
    unit = unit if sign > 0 else -unit
    even, odd = 1.0 + unit, 1.0 - unit
    z = full * full
    s = fma(k, -low, z * full * polynomial(z, coefficients.SINH[x.kind]))
    c = z * even
    lead = fma(odd, r, even)
    small = fma(odd, r, even - lead) + ((1.0 - even) + unit)
    rest = fma(c, polynomial(z, coefficients.COSH[x.kind]), fma(odd, s, small))
    return scaled(lead + rest, k - 1.0)


def sinh(x: Value) -> Value:
    """The hyperbolic sine. A zero must keep its sign."""
    return copy_sign(two_exponentials(x, -1), x)


def cosh(x: Value) -> Value:
    """The hyperbolic cosine."""
    return two_exponentials(x, 1)


def large(a: Value) -> tuple[Value, Value, Value]:
    """(where sqrt(a**2 + 1) rounds to a and the result is log(2 a); 1 there and a elsewhere; 1 there, 0)."""
    big = a >= 2.0 ** (a.format.fraction + 2)
    return big, select(big, 1.0, a), select(big, a.like(1.0), 0.0)


def in_float64(x: Value, argument: Callable[[Value], Value], factor: float, cubic: float) -> Value:
    """factor log(argument(|x|)) with the sign of x; near 0 the series x + cubic x**3."""
    a = absolute(x)
    far = (short_log(argument(a.widened())) * factor).narrowed()
    return copy_sign(select(a < 2.0**-10, fma(a * a * a, cubic, a), far), x)


def arcsinh(x: Value) -> Value:
    """log1p(a + (sqrt(1 + a**2) - 1)) with a = |x|; in float32 by way of float64."""
    if x.kind == "f32":
        return in_float64(x, lambda a: a + square_root(fma(a, a, 1.0)), 1.0, -1 / 6)
    a = absolute(x)
    big, b, one = large(a)
    square = two_product(b, b)
    hypotenuse = two_sum(square.high, square.high.like(1.0))
    r = root(Pair(hypotenuse.high, hypotenuse.low + square.low))
    rise = fast_two_sum(r.high - 1.0, r.low)
    y = total(Pair(b, b.like(0.0)), rise)
    y = Pair(select(big, a, y.high), select(big, 0.0, y.low))
    return copy_sign(at_edges(y.high + 1.0, log1p_pair(y.high, y.low, one).value), x)


def arccosh(x: Value) -> Value:
    """log1p((x - 1) + sqrt(x**2 - 1)), NaN below 1; in float32 by way of float64."""
    if x.kind == "f32":
        wide = x.widened()
        result = short_log(wide + square_root(fma(wide, wide, -1.0))).narrowed()
        return select(x < 1.0, math.nan, result)
    big, b, one = large(x)
    square = two_product(b, b)
    difference = two_sum(square.high, square.high.like(-1.0))
    r = root(fast_two_sum(difference.high, difference.low + square.low))
    y = total(two_sum(b, b.like(-1.0)), r)
    y = Pair(select(big, x, y.high), select(big, 0.0, y.low))
    result = at_edges(y.high + 1.0, log1p_pair(y.high, y.low, one).value)
    return select(x < 1.0, math.nan, result)


def arctanh(x: Value) -> Value:
    """log1p(2 a / (1 - a)) / 2 with a = |x|, infinite at 1, NaN above; in float32 by way of float64."""
    if x.kind == "f32":
        return in_float64(x, lambda a: (1.0 + a) / (1.0 - a), 0.5, 1 / 3)
    a = absolute(x)
    y = quotient(Pair(2.0 * a, a.like(0.0)), fast_two_sum(a.like(1.0), -a))
    result = 0.5 * at_edges(y.high + 1.0, log1p_pair(y.high, y.low).value)
    result = select(a.equals(1.0), math.inf, select(a > 1.0, math.nan, result))
    # Below the square root of the smallest difference it is x itself, subnormal numbers included.
    return copy_sign(select(a < 2.0 ** -(x.format.fraction // 2 + 2), fma(a * a, a * (1 / 3), a), result), x)
