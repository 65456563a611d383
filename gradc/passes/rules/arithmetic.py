"""Arithmetic: signs, units, and factors that combine without rounding."""

from __future__ import annotations

import math

import numpy as np

from gradc.ir import Node, Type, Value, constant, emit, zeros
from gradc.passes.pattern import Pattern, applying, is_splat, splat
from gradc.passes.rewrite import rewrites, rule

Equation = tuple[Pattern, Pattern]

abs_, copy, neg = applying("abs", "copy", "neg")


@rule
def double_neg(x: Pattern) -> Equation:
    return neg(neg(x)), x


@rule
def add_neg(x: Pattern, y: Pattern) -> Equation:
    return x + -y, x - y


@rule
def sub_neg(x: Pattern, y: Pattern) -> Equation:
    return x - -y, x + y


@rule
def mul_negs(x: Pattern, y: Pattern) -> Equation:
    return -x * -y, x * y


@rule
def div_negs(x: Pattern, y: Pattern) -> Equation:
    return -x / -y, x / y


@rule
def abs_abs(x: Pattern) -> Equation:
    return abs_(abs_(x)), abs_(x)


@rule
def add_negative_zero(x: Pattern) -> Equation:
    # The only zero that changes nothing: -0.0 + 0.0 is 0.0. Integers have one zero, and it matches.
    return x + -0.0, x


@rule
def add_same(x: Pattern) -> Equation:
    return x + x, x * 2


@rule
def sub_zero(x: Pattern) -> Equation:
    return x - 0.0, x


@rule
def zero_sub(x: Pattern) -> Equation:
    return -0.0 - x, -x


@rule
def mul_one(x: Pattern) -> Equation:
    return x * 1, x


@rule
def div_one(x: Pattern) -> Equation:
    return x / 1, x


@rule
def div_minus_one(x: Pattern) -> Equation:
    return x / -1, -x


@rule
def copied(x: Pattern) -> Equation:
    return copy(x), x


@rewrites("abs")
def abs_neg(node: Node) -> Value | None:
    """abs(-x) => abs(x)"""
    inner = node.inputs[0].node
    if inner is None or inner.op.name != "neg" or node.types[0].dtype.kind == "u":
        return None  # -1 is 255 in eight bits
    return emit("abs", *inner.inputs)


def _is_integer(type: Type) -> bool:
    return type.dtype.kind in "iu"


@rewrites("mul")
def mul_minus_one(node: Node) -> Value | None:
    """x * -1 => -x"""
    x, c = node.inputs
    signed = node.types[0].dtype.kind != "u"
    return -x if signed and is_splat(c, -1) else None


@rewrites("mul", "div")
def negated_factor(node: Node) -> Value | None:
    """-x * c => x * -c"""
    x, c = node.inputs
    number = splat(c)
    if number is None or x.node is None or x.node.op.name != "neg":
        return None
    return emit(node.op, x.node.inputs[0], emit("neg", c))


@rewrites("neg")
def neg_of_factor(node: Node) -> Value | None:
    """-(x * c) => x * -c"""
    inner = node.inputs[0].node
    if inner is None or inner.op.name not in ("mul", "div") or splat(inner.inputs[1]) is None:
        return None
    x, c = inner.inputs
    return emit(inner.op, x, emit("neg", c))


@rewrites("mul")
def integer_times_zero(node: Node) -> Value | None:
    """n * 0 => 0"""
    n, zero = node.inputs
    return zero if _is_integer(n.type) and splat(zero) == 0 else None


@rewrites("sub", "xor")
def integer_minus_itself(node: Node) -> Value | None:
    """n - n => 0"""
    a, b = node.inputs
    return zeros(a.type) if a is b and not a.type.is_float else None


@rewrites("neg")
def neg_of_integer_difference(node: Node) -> Value | None:
    """-(m - n) => n - m"""
    inner = node.inputs[0].node
    if inner is None or inner.op.name != "sub" or not _is_integer(node.types[0]):
        return None  # -(1.0 - 1.0) is -0.0
    m, n = inner.inputs
    return n - m


@rewrites("add", "mul")
def integer_constants(node: Node) -> Value | None:
    """(n + c) + d => n + (c + d)"""
    inner, d = node.inputs[0].node, node.inputs[1]
    if inner is None or inner.op is not node.op or not _is_integer(node.types[0]):
        return None
    n, c = inner.inputs
    return emit(node.op, n, emit(node.op, c, d)) if splat(c) is not None and splat(d) is not None else None


def _is_power_of_two(number: float) -> bool:
    return math.isfinite(number) and abs(math.frexp(number)[0]) == 0.5


@rewrites("mul")
def growing_factors(node: Node) -> Value | None:
    """(x * 2**k) * c => x * (2**k * c), for k >= 0 and |c| >= 1"""
    inner, d = node.inputs[0].node, splat(node.inputs[1])
    if inner is None or inner.op.name != "mul" or not node.types[0].is_float or d is None:
        return None
    x, c = inner.inputs
    number = splat(c)
    # Nothing is rounded but the last result, and what overflows first overflows at last.
    if number is None or not _is_power_of_two(number) or abs(number) < 1 or not 1 <= abs(d) < math.inf:
        return None
    with np.errstate(over="ignore"):
        factor = x.dtype.type(number) * x.dtype.type(d)
    return x * constant(factor, x.type) if np.isfinite(factor) else None


@rewrites("div")
def reciprocal_of_power_of_two(node: Node) -> Value | None:
    """x / 2**k => x * 2**-k"""
    x, c = node.inputs
    number = splat(c)
    if number is None or number in (1, -1) or not _is_power_of_two(number):
        return None
    info = np.finfo(x.dtype)
    return x * (1 / number) if float(info.tiny) <= abs(1 / number) <= float(info.max) else None


@rewrites("power")
def constant_exponent(node: Node) -> Value | None:
    """x ** 2 => x * x, as NumPy computes it; x ** 1 => x, x ** 0 => 1, x ** -1 => 1 / x"""
    x, exponent = node.inputs
    number = splat(exponent)
    if number == 2:
        return x * x
    if number == 1:
        return x
    if number == 0:
        return constant(1, x.type)
    if number == -1 and x.type.is_float:
        return 1 / x
    return None


@rewrites("scale")
def scale_of_zero(node: Node) -> Value | None:
    """scale(0, d) => 0"""
    return zeros(node.types[0]) if splat(node.inputs[0]) == 0 else None


@rewrites("product")
def product_with_zero(node: Node) -> Value | None:
    """product(a, 0) => 0"""
    return zeros(node.types[0]) if 0 in map(splat, node.inputs) else None
