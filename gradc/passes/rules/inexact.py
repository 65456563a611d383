"""Rules that hold for numbers but not for all floats: they change rounding, or forget NaN, inf and -0.0."""

from __future__ import annotations

import math

from gradc.ir import Node, Value, constant, emit, zeros
from gradc.passes.pattern import Pattern, applying, splat
from gradc.passes.rewrite import rewrites, rule
from gradc.passes.rules.layout import made_by

Equation = tuple[Pattern, Pattern]

abs_, exp, log, power, sqrt = applying("abs", "exp", "log", "power", "sqrt")


@rule
def add_zero(x: Pattern) -> Equation:
    return x + 0.0, x


@rule
def from_zero(x: Pattern) -> Equation:
    return 0.0 - x, -x


@rule
def sub_negative_zero(x: Pattern) -> Equation:
    return x - -0.0, x


@rule
def sub_same(x: Pattern) -> Equation:
    return x - x, x * 0


@rule
def sub_added(x: Pattern, y: Pattern) -> Equation:
    return (x + y) - y, x


@rule
def add_subtracted(x: Pattern, y: Pattern) -> Equation:
    return (x - y) + y, x


@rule
def exp_log(x: Pattern) -> Equation:
    return exp(log(x)), x


@rule
def log_sqrt(x: Pattern) -> Equation:
    return log(sqrt(x)), log(x) * 0.5


@rule
def sqrt_of_square(x: Pattern) -> Equation:
    return sqrt(x * x), abs_(x)


@rule
def square_of_sqrt(x: Pattern) -> Equation:
    return sqrt(x) * sqrt(x), x


@rule
def neg_of_difference(x: Pattern, y: Pattern) -> Equation:
    return -(x - y), y - x


@rule
def product_of_exps(x: Pattern, y: Pattern) -> Equation:
    return exp(x) * exp(y), exp(x + y)


@rule
def div_of_div(x: Pattern, y: Pattern, z: Pattern) -> Equation:
    return (x / y) / z, x / (y * z)


@rule
def div_by_div(x: Pattern, y: Pattern, z: Pattern) -> Equation:
    return x / (y / z), (x * z) / y


@rule
def cube(x: Pattern) -> Equation:
    return power(x, 3), (x * x) * x


@rule
def square_root(x: Pattern) -> Equation:
    return power(x, 0.5), sqrt(x)


@rewrites("mul")
def times_zero(node: Node) -> Value | None:
    """x * 0 => 0"""
    return zeros(node.types[0]) if splat(node.inputs[1]) == 0 else None


@rewrites("div")
def div_same(node: Node) -> Value | None:
    """x / x => 1"""
    a, b = node.inputs
    return constant(1, node.types[0]) if a is b else None


@rewrites("div")
def reciprocal(node: Node) -> Value | None:
    """x / c => x * (1 / c)"""
    x, c = node.inputs
    number = splat(c)
    if not number or number == 1 or not math.isfinite(number) or splat(x) is not None:
        return None
    factor = float(x.dtype.type(1 / number)) if abs(number) > 1e-300 else math.inf
    return x * factor if factor and math.isfinite(factor) else None


@rewrites("add", "mul")
def reassociated_constants(node: Node) -> Value | None:
    """(x + c) + d => x + (c + d)"""
    inner, d = made_by(node.inputs[0], node.op.name), node.inputs[1]
    if inner is None or splat(inner.inputs[1]) is None or splat(d) is None:
        return None
    x, c = inner.inputs
    return emit(node.op, x, emit(node.op, c, d))


@rewrites("reduce_sum")
def sum_of_multiple(node: Node) -> Value | None:
    """reduce_sum(x * c) => reduce_sum(x) * c, and reduce_sum(-x) => -reduce_sum(x)"""
    inner = made_by(node.inputs[0], "mul", "neg")
    if inner is None:
        return None
    if inner.op.name == "neg":
        return -emit("reduce_sum", inner.inputs[0], axes=node.attrs["axes"])
    x, c = inner.inputs
    number = splat(c)
    return None if number is None else emit("reduce_sum", x, axes=node.attrs["axes"]) * number
