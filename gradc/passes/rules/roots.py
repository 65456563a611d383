"""Roots of squares, whose gradient at 0 is 0 as that of a norm, and differences of roots."""

from __future__ import annotations

import math

from gradc.ir import Node, Value, constant, emit, zeros
from gradc.passes.pattern import Pattern, applying, splat
from gradc.passes.rewrite import rewrites, rule
from gradc.passes.rules.layout import made_by

Equation = tuple[Pattern, Pattern]

abs_, hypot, sqrt = applying("abs", "hypot", "sqrt")


@rule
def root_of_square(x: Pattern) -> Equation:
    """For all x: x² overflows or underflows where |x| does not, and at 0 the root has no derivative.

    The bits are the same where x² is a normal number.
    """
    return sqrt(x * x), abs_(x)


@rule
def root_of_two_squares(x: Pattern, y: Pattern) -> Equation:
    """For all x and y: squares overflow or underflow where the root does not; at 0 the gradient is 0."""
    return sqrt(x * x + y * y), hypot(x, y)


DEPTH = 8
"""How far a rule looks into sums."""


def _is_sum_of_squares(value: Value, depth: int = DEPTH) -> bool:
    """Is it made of squares: x * x, sums of such, sums over axes, means?"""
    node = made_by(value, "mul", "add", "reduce_sum", "reshape", "div") if depth else None
    if node is None:
        return False
    first, last = node.inputs[0], node.inputs[-1]
    if node.op.name in ("mul", "div") and first is not last:  # dividing by 2**k has become a product
        return 0 < (splat(last) or 0) < math.inf and _is_sum_of_squares(first, depth - 1)
    return node.op.name == "mul" or all(_is_sum_of_squares(x, depth - 1) for x in node.inputs)


@rewrites("sqrt")
def root_of_sum_of_squares(node: Node) -> Value | None:
    """sqrt(sum(x * x)) => where(sum(x * x) == 0, 0, sqrt(sum(x * x))); so for means and longer sums

    For all x, with the same bits: at x = 0 the gradient is 0, as that of a norm, and not 0 / 0. Where squares
    overflow or underflow it is what NumPy's norm is: to scale them first would take a second pass over x.
    """
    (s,) = node.inputs
    if not _is_sum_of_squares(s):
        return None
    nothing, zero, one = emit("eq", s, zeros(s.type)), zeros(s.type), constant(1, s.type)
    return emit("where", nothing, zero, emit("sqrt", emit("where", nothing, one, s)))


@rewrites("sub")
def difference_of_roots(node: Node) -> Value | None:
    """sqrt(x + c) - sqrt(x) => c / (sqrt(x + c) + sqrt(x)), for a constant c that is not 0; so the negative

    For all x >= 0 and x + c >= 0: the difference cancels where x is large beside c.
    """
    roots = [made_by(x, "sqrt") for x in node.inputs]
    if roots[0] is None or roots[1] is None:
        return None
    parts = [_shifted(root.inputs[0]) for root in roots if root is not None]
    (a, c), (b, d) = parts
    if a is not b or c == d:
        return None
    return (c - d) / emit("add", *node.inputs)


def _shifted(value: Value) -> tuple[Value, float]:
    """x and c of x + c, for a constant c; else the value and 0."""
    inner = made_by(value, "add", "sub")
    number = None if inner is None else splat(inner.inputs[1])
    if inner is None or number is None or not math.isfinite(number):
        return value, 0.0
    return inner.inputs[0], number if inner.op.name == "add" else -number
