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
    select,
)
from gradc.codegen.elementary.exponential import exp_parts, power_of_two

# Where the series ends and the tail begins; from where on erf rounds to 1.
ERF_SPLIT = 0.75
ERF_ONE = {"f32": 4.0, "f64": 6.0}

# log(erfc(ERF_SPLIT)) in two numbers of the format.
LOG_ERFC_SPLIT = {
    "f32": (-1.2418673038482666, 4.316937918247277e-08),
    "f64": (-1.241867260678887, -6.515855086183219e-17),
}


def erf(x: Value) -> Value:
    """The error function: x + x P(x**2) near 0, 1 - exp(P(|x|)) where erfc is small, as are its errors."""
    a = absolute(x)
    near = fma(a, polynomial(a * a, coefficients.ERF[x.kind]), a)
    t = minimum(a, ERF_ONE[x.kind]) - ERF_SPLIT
    high, low = LOG_ERFC_SPLIT[x.kind]
    exponent = fast_two_sum(x.like(high), t * polynomial(t, coefficients.ERF_TAIL[x.kind]))
    k, p = exp_parts(exponent.high, exponent.low + low)
    far = fma(-p.value, power_of_two(k), 1.0)
    return copy_sign(select(a < ERF_SPLIT, near, far), x)
