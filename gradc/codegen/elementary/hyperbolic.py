"""tanh, sinh, cosh and their inverses, from expm1 and log1p kept to a few more places."""

from __future__ import annotations

from gradc.codegen.elementary.builder import Pair, Value, absolute, copy_sign, fast_two_sum, maximum
from gradc.codegen.elementary.exponential import expm1_parts, power_of_two, quotient

# From here on tanh rounds to 1.
TANH_ONE = {"f32": 9.5, "f64": 20.0}


def tanh(x: Value) -> Value:
    """-t / (2 + t) with t = expm1(-2 |x|)."""
    k, p = expm1_parts(maximum(-2.0 * absolute(x), -2.0 * TANH_ONE[x.kind]))
    scale = power_of_two(k)
    t = fast_two_sum(p.high * scale, p.low * scale)
    denominator = fast_two_sum(x.like(2.0), t.high)
    return copy_sign(quotient(-t, Pair(denominator.high, denominator.low + t.low)), x)
