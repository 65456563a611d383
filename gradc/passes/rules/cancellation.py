"""Differences that cancel, as functions that know their value: variances, hyperbolic functions, cosines."""

from __future__ import annotations

import math
from typing import NamedTuple

from gradc.ir import Node, Value, constant, emit
from gradc.passes.pattern import Pattern, applying, is_splat, splat
from gradc.passes.rewrite import rewrites, rule
from gradc.passes.rules.layout import made_by

Equation = tuple[Pattern, Pattern]

cos, exp, expm1, sin, sqrt = applying("cos", "exp", "expm1", "sin", "sqrt")
arcsinh, arctanh, log, tanh = applying("arcsinh", "arctanh", "log", "tanh")


@rule
def one_minus_cos(x: Pattern) -> Equation:
    """For all x: 1 - cos(1e-9) is 0, 2 sin²(5e-10) is 5e-19."""
    return 1 - cos(x), sin(x * 0.5) * sin(x * 0.5) * 2


@rule
def cos_minus_one(x: Pattern) -> Equation:
    """As `one_minus_cos`."""
    return cos(x) - 1, sin(x * 0.5) * sin(x * 0.5) * -2


@rule
def cos_plus_minus_one(x: Pattern) -> Equation:
    """As `one_minus_cos`."""
    return cos(x) + -1, sin(x * 0.5) * sin(x * 0.5) * -2


@rule
def arcsinh_of_logarithm(x: Pattern) -> Equation:
    """For all x: for negative x the sum cancels, and x * x overflows."""
    return log(x + sqrt(x * x + 1)), arcsinh(x)


@rule
def arctanh_of_logarithm(x: Pattern) -> Equation:
    """For -1 <= x <= 1: the quotient is near 1 for small x."""
    return log((1 + x) / (1 - x)), arctanh(x) * 2


@rule
def tanh_of_expm1(x: Pattern) -> Equation:
    """For all x: the quotient is inf / inf where exp overflows."""
    return expm1(x) / (1 + exp(x)), tanh(x * 0.5)


@rule
def tanh_of_negative_expm1(x: Pattern) -> Equation:
    """As `tanh_of_expm1`."""
    return -expm1(x) / (1 + exp(x)), tanh(x * -0.5)


SERIES = [1 / math.factorial(k + 1) for k in reversed(range(19))]
"""expm1(x) / x as a polynomial, for |x| < 1."""


@rewrites("div")
def relative_exponential(node: Node) -> Value | None:
    """expm1(x) / x => where(abs(x) < 1, 1 + x / 2 + x² / 6 + ..., expm1(x) / x); so for -expm1(-x) / x

    For all x, 1 at 0: the derivatives of the quotient cancel near 0.
    """
    above, x = node.inputs
    negative = made_by(above, "neg")
    power = made_by(above if negative is None else negative.inputs[0], "expm1")
    if power is None:
        return None
    (u,) = power.inputs
    inner = made_by(u, "neg")
    if x is not (u if negative is None else None if inner is None else inner.inputs[0]):
        return None
    done = made_by(u, "where")
    if done is not None and is_splat(done.inputs[1], 1):
        return None
    one = constant(1, u.type)
    near = emit("abs", u) < 1
    small, large = emit("where", near, u, constant(0, u.type)), emit("where", near, one, u)
    series = small * SERIES[0] + SERIES[1]
    for coefficient in SERIES[2:]:
        series = series * small + coefficient
    return emit("where", near, series, emit("expm1", large) / large)


def _opposite(a: Value, b: Value) -> bool:
    """Is a = -b by its form?"""
    for x, y in ((a, b), (b, a)):
        negative = made_by(x, "neg")
        if negative is not None and negative.inputs[0] is y:
            return True
    products = made_by(a, "mul", "div"), made_by(b, "mul", "div")
    if products[0] is None or products[1] is None or products[0].op is not products[1].op:
        return False
    (x, c), (y, d) = products[0].inputs, products[1].inputs
    number = splat(c)
    return x is y and number is not None and is_splat(d, -number)


def _exponents(value: Value, op: str) -> tuple[Value, Value] | None:
    """x and -x of exp(x) + exp(-x), or of another op between them."""
    inner = made_by(value, op)
    parts = [] if inner is None else [made_by(x, "exp") for x in inner.inputs]
    exponents = [part.inputs[0] for part in parts if part is not None]
    if len(exponents) < 2 or not _opposite(*exponents):
        return None
    return exponents[0], exponents[1]


@rewrites("sub")
def difference_of_exponentials(node: Node) -> Value | None:
    """exp(x) - exp(-x) => 2 sinh(x)

    For all x: the difference cancels near 0.
    """
    found = _exponents(node.result, "sub")
    return None if found is None else emit("sinh", found[0]) * 2


@rewrites("mul")
def mean_of_exponentials(node: Node) -> Value | None:
    """(exp(x) + exp(-x)) / 2 => cosh(x)

    For all x: its derivative cancels near 0, and it overflows later.
    """
    found = _exponents(node.inputs[0], "add")
    return emit("cosh", found[0]) if found is not None and is_splat(node.inputs[1], 0.5) else None


@rewrites("div")
def tanh_of_exponentials(node: Node) -> Value | None:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)) => tanh(x)

    For all x: the quotient is inf / inf where exp overflows, and cancels near 0.
    """
    above, below = made_by(node.inputs[0], "mul"), _exponents(node.inputs[1], "add")
    sinh = None if above is None or not is_splat(above.inputs[1], 2) else made_by(above.inputs[0], "sinh")
    if sinh is None or below is None:
        return None
    (x,) = sinh.inputs
    return emit("tanh", x) if x in below or any(_opposite(x, y) for y in below) else None


class Mean(NamedTuple):
    """A mean: of what, over which axes, and how its sum is divided."""

    x: Value
    axes: tuple[int, ...]
    division: Node


def _mean(value: Value) -> Mean | None:
    """The mean that makes the value."""
    division = made_by(value, "div", "mul")  # dividing by a power of two has become a product
    total = None if division is None else made_by(division.inputs[0], "reduce_sum")
    if division is None or total is None:
        return None
    (x,), axes = total.inputs, total.attrs["axes"]
    count = math.prod(x.shape[axis] for axis in axes)
    if not count or not is_splat(division.inputs[1], count if division.op.name == "div" else 1 / count):
        return None
    return Mean(x, axes, division)


@rewrites("sub")
def covariance_by_differences(node: Node) -> Value | None:
    """mean(x * y) - mean(x) * mean(y) => mean((x - mean(x)) * (y - mean(y))), so variances

    For all x and y: the difference cancels where deviations are small beside the means.
    """
    whole, product = _mean(node.inputs[0]), made_by(node.inputs[1], "mul")
    factors = None if whole is None else made_by(whole.x, "mul")
    if whole is None or factors is None or product is None:
        return None
    x, y = factors.inputs
    means = product.inputs if _is_mean_of(product.inputs[0], x, whole.axes) else product.inputs[::-1]
    if not (_is_mean_of(means[0], x, whole.axes) and _is_mean_of(means[1], y, whole.axes)):
        return None
    rest = tuple(i for i in range(x.type.ndim) if i not in whole.axes)
    u, v = [z - emit("broadcast", m, shape=z.shape, axes=rest) for z, m in zip((x, y), means, strict=True)]
    total = emit("reduce_sum", u * (u if x is y else v), axes=whole.axes)
    return emit(whole.division.op, total, whole.division.inputs[1])


def _is_mean_of(value: Value, x: Value, axes: tuple[int, ...]) -> bool:
    """Is it the mean of x over these axes? Sums over all axes may have lost a reshape."""
    mean = _mean(value)
    if mean is None or mean.x is x:
        return mean is not None and mean.axes == axes
    over_all = len(mean.axes) == mean.x.type.ndim and len(axes) == x.type.ndim
    return over_all and _flat(mean.x) is _flat(x)


def _flat(x: Value) -> Value:
    inner = made_by(x, "reshape")
    return x if inner is None else inner.inputs[0]
