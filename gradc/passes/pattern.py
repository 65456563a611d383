"""Patterns: expressions over pattern variables, which match values and emit them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

from gradc.ir import Type, Value, constant, emit

COMMUTATIVE = frozenset(
    {"add", "mul", "maximum", "minimum", "eq", "ne", "and", "or", "xor", "logaddexp", "hypot"}
)
"""Ops whose two inputs may change places (which zero `maximum(0.0, -0.0)` gives is not specified)."""

Bindings = dict[str, Value]


class Pattern:
    """A value to be matched. Python's arithmetic on patterns builds larger ones."""

    def __add__(self, other: Operand) -> Pattern:
        return Apply("add", (self, pattern(other)))

    def __radd__(self, other: Operand) -> Pattern:
        return Apply("add", (pattern(other), self))

    def __sub__(self, other: Operand) -> Pattern:
        return Apply("sub", (self, pattern(other)))

    def __rsub__(self, other: Operand) -> Pattern:
        return Apply("sub", (pattern(other), self))

    def __mul__(self, other: Operand) -> Pattern:
        return Apply("mul", (self, pattern(other)))

    def __rmul__(self, other: Operand) -> Pattern:
        return Apply("mul", (pattern(other), self))

    def __truediv__(self, other: Operand) -> Pattern:
        return Apply("div", (self, pattern(other)))

    def __rtruediv__(self, other: Operand) -> Pattern:
        return Apply("div", (pattern(other), self))

    def __neg__(self) -> Pattern:
        return Apply("neg", (self,))

    def __invert__(self) -> Pattern:
        return Apply("invert", (self,))

    def __and__(self, other: Operand) -> Pattern:
        return Apply("and", (self, pattern(other)))

    def __or__(self, other: Operand) -> Pattern:
        return Apply("or", (self, pattern(other)))

    def __xor__(self, other: Operand) -> Pattern:
        return Apply("xor", (self, pattern(other)))


@dataclass(frozen=True)
class Variable(Pattern):
    """Matches any value; twice the same variable, the same value."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Number(Pattern):
    """Matches a splat of this number, whatever its dtype; zeros match by their sign."""

    value: float | int | bool

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True)
class Apply(Pattern):
    """Matches the result of an op that has no attributes."""

    op: str
    inputs: tuple[Pattern, ...]

    def __str__(self) -> str:
        return f"{self.op}({', '.join(map(str, self.inputs))})"


Operand = Pattern | float | int | bool


def pattern(operand: Operand) -> Pattern:
    return operand if isinstance(operand, Pattern) else Number(operand)


def applying(*ops: str) -> list[Callable[..., Pattern]]:
    """The ops as functions on patterns."""

    def function(op: str) -> Callable[..., Pattern]:
        return lambda *inputs: Apply(op, tuple(pattern(x) for x in inputs))

    return [function(op) for op in ops]


def splat(value: Value) -> Any:
    """The number that a constant repeats in every element, or None."""
    node = value.node
    if node is None or node.op.name != "constant" or isinstance(node.attrs["value"], list):
        return None
    return node.attrs["value"]


def same_number(a: Any, b: Any) -> bool:
    """Equal, and equal in the sign of zero; NaN equals itself."""
    if a != a:
        return b != b
    return a == b and (a != 0 or math.copysign(1, a) == math.copysign(1, b))


def is_splat(value: Value, number: float | int | bool) -> bool:
    """Is it a splat of the number, as rounded to the value's dtype?"""
    found = splat(value)
    if value.dtype.kind == "u" and number < 0:
        return False
    return found is not None and same_number(found, value.dtype.type(number).item())


def variants(tree: Pattern) -> list[Pattern]:
    """The pattern with the inputs of commutative ops in either order."""
    if not isinstance(tree, Apply):
        return [tree]
    orders = [tree.inputs]
    if tree.op in COMMUTATIVE and tree.inputs[0] != tree.inputs[1]:
        orders.append(tree.inputs[::-1])
    found = [Apply(tree.op, inputs) for order in orders for inputs in product(*[variants(x) for x in order])]
    return list(dict.fromkeys(found))


def matcher(tree: Pattern) -> Callable[[Value, Bindings], bool]:
    """A function that tells whether a value has this form, inputs in this order, and binds the variables."""
    if isinstance(tree, Variable):
        name = tree.name
        return lambda value, bound: bound.setdefault(name, value) is value
    if isinstance(tree, Number):
        number = tree.value
        return lambda value, bound: is_splat(value, number)
    assert isinstance(tree, Apply)
    op, parts = tree.op, [matcher(x) for x in tree.inputs]
    first, last = parts[0], parts[-1]

    def unary(value: Value, bound: Bindings) -> bool:
        node = value.node
        return node is not None and node.op.name == op and first(node.inputs[0], bound)

    def binary(value: Value, bound: Bindings) -> bool:
        node = value.node
        if node is None or node.op.name != op:
            return False
        a, b = node.inputs
        return first(a, bound) and last(b, bound)

    def match(value: Value, bound: Bindings) -> bool:
        node = value.node
        if node is None or node.op.name != op:
            return False
        return all(part(x, bound) for part, x in zip(parts, node.inputs, strict=True))

    return {1: unary, 2: binary}.get(len(parts), match)


def emit_pattern(tree: Pattern, bound: Bindings, type: Type) -> Value:
    """Emit the pattern with its variables bound. Numbers take the type of their neighbour, else `type`."""
    if isinstance(tree, Variable):
        return bound[tree.name]
    if isinstance(tree, Number):
        return constant(tree.value, type)
    assert isinstance(tree, Apply)
    inputs = [None if isinstance(x, Number) else emit_pattern(x, bound, type) for x in tree.inputs]
    beside = next((x.type for x in inputs if x is not None), type)
    return emit(
        tree.op,
        *[
            emit_pattern(part, bound, beside) if x is None else x
            for part, x in zip(tree.inputs, inputs, strict=True)
        ],
    )
