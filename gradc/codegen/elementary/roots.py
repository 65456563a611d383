"""cbrt and hypot: roots with the remainder of the last step put back."""

from __future__ import annotations

import math

from gradc.codegen.elementary import coefficients
from gradc.codegen.elementary.builder import (
    Pair,
    Value,
    absolute,
    copy_sign,
    fma,
    polynomial,
    root,
    select,
    square_root,
    two_product,
    two_sum,
)
from gradc.codegen.elementary.exponential import nearest_integer, power_of_two
from gradc.codegen.elementary.logarithm import significand


def cbrt(x: Value) -> Value:
    """The cube root: a step of third order towards m**(-1/3), and one of Newton's with an exact remainder."""
    a = absolute(x)
    k, m = significand(a)
    third = nearest_integer(k * (1 / 3))
    rest = k - 3.0 * third
    factor = select(rest > 0.0, x.like(2.0 ** (-1 / 3)), select(rest < 0.0, x.like(2.0 ** (1 / 3)), 1.0))
    r = factor * polynomial(m, coefficients.RECIPROCAL_ROOT[x.kind])
    m = m * power_of_two(rest)
    error = fma(-m * r, r * r, 1.0)
    r = fma(r * error, fma(error, 2 / 9, 1 / 3), r)
    c = m * (r * r)
    square = two_product(c, c)
    remainder = fma(-square.high, c, m) - square.low * c
    c = fma(remainder, r * r * (1 / 3), c) * power_of_two(third)
    return copy_sign(select((a > 0.0) & (a < math.inf), c, a), x)


def hypot(x: Value, y: Value) -> Value:
    """sqrt(x**2 + y**2) without overflow; infinite if either is, even beside NaN."""
    a, b = absolute(x), absolute(y)
    if x.kind == "f32":
        wide_a, wide_b = a.widened(), b.widened()
        result = square_root(fma(wide_a, wide_a, wide_b * wide_b)).narrowed()
    else:
        largest = select(a < b, b, a)
        down, up = largest > 2.0**500, largest < 2.0**-500
        factor = select(down, a.like(2.0**-600), select(up, a.like(2.0**600), 1.0))
        back = select(down, a.like(2.0**600), select(up, a.like(2.0**-600), 1.0))
        squares = [two_product(v * factor, v * factor) for v in (a, b)]
        s = two_sum(squares[0].high, squares[1].high)
        result = root(Pair(s.high, s.low + (squares[0].low + squares[1].low))).value * back
    return select(a.equals(math.inf) | b.equals(math.inf), math.inf, result)
