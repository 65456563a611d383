"""Selections, comparisons, booleans and casts."""

from __future__ import annotations

import math

import numpy as np

from gradc.ir import Node, Value, constant, emit
from gradc.passes.pattern import Pattern, applying, is_splat, splat
from gradc.passes.rewrite import rewrites, rule

Equation = tuple[Pattern, Pattern]

maximum, minimum, where = applying("maximum", "minimum", "where")


@rule
def maximum_of_same(x: Pattern) -> Equation:
    return maximum(x, x), x


@rule
def minimum_of_same(x: Pattern) -> Equation:
    return minimum(x, x), x


@rule
def double_invert(x: Pattern) -> Equation:
    return ~~x, x


@rule
def and_same(x: Pattern) -> Equation:
    return x & x, x


@rule
def or_same(x: Pattern) -> Equation:
    return x | x, x


@rule
def where_same(c: Pattern, x: Pattern) -> Equation:
    return where(c, x, x), x


@rule
def where_inverted(c: Pattern, x: Pattern, y: Pattern) -> Equation:
    return where(~c, x, y), where(c, y, x)


@rule
def where_true_again(c: Pattern, x: Pattern, y: Pattern, z: Pattern) -> Equation:
    return where(c, where(c, x, y), z), where(c, x, z)


@rule
def where_false_again(c: Pattern, x: Pattern, y: Pattern, z: Pattern) -> Equation:
    return where(c, x, where(c, y, z)), where(c, x, z)


@rule
def where_both(c: Pattern, d: Pattern, x: Pattern, y: Pattern) -> Equation:
    return where(c, where(d, x, y), y), where(c & d, x, y)


@rule
def where_either(c: Pattern, d: Pattern, x: Pattern, y: Pattern) -> Equation:
    return where(c, x, where(d, x, y)), where(c | d, x, y)


@rewrites("where")
def where_constant(node: Node) -> Value | None:
    """where(True, x, y) => x"""
    condition, x, y = node.inputs
    number = splat(condition)
    return None if number is None else (x if number else y)


@rewrites("where")
def where_is_condition(node: Node) -> Value | None:
    """where(c, True, False) => c"""
    condition, x, y = node.inputs
    if is_true(x) and is_false(y):
        return condition
    return ~condition if is_false(x) and is_true(y) else None


def is_true(value: Value) -> bool:
    return value.type.is_bool and splat(value) is True


def is_false(value: Value) -> bool:
    return value.type.is_bool and splat(value) is False


@rewrites("and", "or", "xor")
def logic_with_constant(node: Node) -> Value | None:
    """b & True => b, b & False => False; so for |, and ^ True => ~b"""
    b, c = node.inputs
    if not (is_true(c) or is_false(c)):
        return None
    if node.op.name == "xor":
        return ~b if is_true(c) else b
    return b if is_true(c) == (node.op.name == "and") else c


@rewrites("eq", "ne")
def compared_with_constant(node: Node) -> Value | None:
    """b == True => b"""
    b, c = node.inputs
    if not (is_true(c) or is_false(c)):
        return None
    return b if is_true(c) == (node.op.name == "eq") else ~b


@rewrites("lt", "gt", "eq", "ne", "le", "ge")
def compared_with_itself(node: Node) -> Value | None:
    """x < x => False"""
    a, b = node.inputs
    if a is not b:
        return None
    if node.op.name in ("lt", "gt"):
        return constant(False, node.types[0])
    if a.type.is_float:
        return None  # NaN is not equal to itself
    return constant(node.op.name != "ne", node.types[0])


OPPOSITE = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}


@rewrites("invert")
def inverted_comparison(node: Node) -> Value | None:
    """~(x == y) => x != y; ~(m < n) => m >= n where there are no NaNs"""
    inner = node.inputs[0].node
    if inner is None or inner.op.name not in OPPOSITE:
        return None
    if inner.inputs[0].type.is_float and inner.op.name not in ("eq", "ne"):
        return None
    return emit(OPPOSITE[inner.op.name], *inner.inputs)


@rewrites("and")
def two_magnitudes(node: Node) -> Value | None:
    """(x == c) & (abs(x) == d) => False, for |c| != |d|"""
    first, second = (side.node for side in node.inputs)
    if first is None or second is None or first.op.name != "eq" or second.op.name != "eq":
        return None
    (x, c), (magnitude, d) = first.inputs, second.inputs
    if magnitude.node is None or magnitude.node.op.name != "abs" or magnitude.node.inputs[0] is not x:
        return None
    numbers = splat(c), splat(d)
    if numbers[0] is None or numbers[1] is None or not x.type.is_float or abs(numbers[0]) == abs(numbers[1]):
        return None
    return constant(False, node.types[0])


@rewrites("ne", "eq")
def compared_cast_bool(node: Node) -> Value | None:
    """cast(b) != 0 => b"""
    inner, c = node.inputs[0].node, splat(node.inputs[1])
    if inner is None or inner.op.name != "cast" or not inner.inputs[0].type.is_bool or c not in (0, 1):
        return None
    (b,) = inner.inputs
    return b if (node.op.name == "eq") == (c == 1) else ~b


@rewrites("cast")
def cast_to_same(node: Node) -> Value | None:
    """cast(x, type=x.type) => x"""
    (x,) = node.inputs
    return x if x.type == node.types[0] else None


def _keeps_value(source: np.dtype, target: np.dtype) -> bool:
    """Can the target hold every value of the source exactly?"""
    if target.kind == "f" and source.kind in "iu":
        return source.itemsize * 8 - (source.kind == "i") <= np.finfo(target).nmant + 1
    return target.kind != "b" and bool(np.can_cast(source, target, "safe"))


@rewrites("cast")
def cast_of_cast(node: Node) -> Value | None:
    """cast(cast(x, wider), t) => cast(x, t)"""
    inner = node.inputs[0].node
    if inner is None or inner.op.name != "cast":
        return None
    (x,), middle, target = inner.inputs, inner.types[0].dtype, node.types[0].dtype
    if not _keeps_value(x.dtype, middle):
        return None
    # A float beyond the range of the integers becomes what the processor makes of its type.
    if (
        middle.kind == "f"
        and target.kind in "iu"
        and not (target == x.dtype or _keeps_value(x.dtype, target))
    ):
        return None
    return emit("cast", x, type=node.types[0])


@rewrites("require")
def requirement_holds(node: Node) -> Value | None:
    """require(x, True) => x"""
    x, ok = node.inputs
    return x if is_true(ok) else None


@rewrites("lt", "le", "gt", "ge", "eq", "ne")
def compared_negatives(node: Node) -> Value | None:
    """-x < -y => x > y, and -x < c => x > -c"""
    a, b = node.inputs
    if not a.type.is_float or a.node is None or a.node.op.name != "neg":
        return None  # the smallest integer is its own negative
    number = splat(b)
    if number is not None:
        right = constant(-number, b.type)
    elif b.node is not None and b.node.op.name == "neg":
        (right,) = b.node.inputs
    else:
        return None
    mirrored = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}.get(node.op.name, node.op.name)
    return emit(mirrored, a.node.inputs[0], right)


@rewrites("maximum", "minimum")
def extreme_of_infinity(node: Node) -> Value | None:
    """maximum(x, -inf) => x"""
    x, c = node.inputs
    nothing = -math.inf if node.op.name == "maximum" else math.inf
    return x if x.type.is_float and is_splat(c, nothing) else None
