"""Softmax and log-sum-exp: the maximum is subtracted before exp, once, and carries no gradient."""

from __future__ import annotations

import math
from typing import NamedTuple

from gradc.ir import Node, Value, constant, emit
from gradc.passes.pattern import splat
from gradc.passes.rewrite import rewrites
from gradc.passes.rules import gathers
from gradc.passes.rules.layout import made_by

Axes = tuple[int, ...]


def _others(x: Value, axes: Axes) -> Axes:
    return tuple(i for i in range(x.type.ndim) if i not in axes)


def _spread(reduced: Value, x: Value, axes: Axes) -> Value:
    return emit("broadcast", reduced, shape=x.shape, axes=_others(x, axes))


def _maximum(x: Value, axes: Axes) -> Value:
    """It has no gradient, since the result from which it is subtracted first does not depend on it."""
    return emit("stop_gradient", emit("reduce_max", x, axes=axes))


def _if_finite(m: Value) -> Value:
    """What to subtract before exp."""
    finite = emit("lt", emit("abs", m), constant(math.inf, m.type))
    return emit("where", finite, m, constant(0, m.type))


class Shift(NamedTuple):
    """A difference x - max(x): x, what is subtracted, over which axes, and whether that has a gradient."""

    x: Value
    maximum: Value
    axes: Axes
    has_gradient: bool


def shift_of(s: Value) -> Shift | None:
    """The shift that makes s, by the user or by a rule here."""
    difference = made_by(s, "sub")
    if difference is None:
        return None
    x, m = difference.inputs
    inner, has_gradient = m, True
    while (layout := made_by(inner, "broadcast", "reshape", "stop_gradient", "where")) is not None:
        has_gradient = has_gradient and layout.op.name != "stop_gradient"
        inner = layout.inputs[1 if layout.op.name == "where" else 0]
    largest = made_by(inner, "reduce_max")
    if largest is None or largest.inputs[0] is not x:
        return None
    return Shift(x, m, largest.attrs["axes"], has_gradient)


def is_shifted(x: Value, axes: Axes) -> bool:
    """Has its maximum over these axes been subtracted already?"""
    scaled = made_by(x, "mul", "div")
    if scaled is not None and (splat(scaled.inputs[1]) or 0) > 0:
        x = scaled.inputs[0]
    shift = shift_of(x)
    return shift is not None and set(shift.axes) <= set(axes)


def _summed_exponent(value: Value) -> tuple[Value, Axes] | None:
    """s and the axes, if the value is sum(exp(s))."""
    inner = made_by(value, "reduce_sum")
    exponential = None if inner is None else made_by(inner.inputs[0], "exp")
    return None if inner is None or exponential is None else (exponential.inputs[0], inner.attrs["axes"])


@rewrites("log")
def log_sum_exp(node: Node) -> Value | None:
    """log(sum(exp(x))) => m + log(sum(exp(x - m))), m = max(x)

    Defined for all x: exp overflows. Inside, m is 0 where it is infinite. The gradient at a row of -inf is 0,
    since the sum is made 1 there.
    """
    found = _summed_exponent(node.inputs[0])
    if found is None:
        return None
    x, axes = found
    if not x.type.size or is_shifted(x, axes):
        return None
    m = _maximum(x, axes)
    total = emit("reduce_sum", emit("exp", x - _spread(_if_finite(m), x, axes)), axes=axes)
    nothing = emit("cast", emit("eq", total, constant(0, total.type)), type=total.type)
    return emit("log", total + nothing) + m


def _softmax(x: Value, axes: Axes) -> Value:
    e = emit("exp", x)
    return e / _spread(emit("reduce_sum", e, axes=axes), x, axes)


@rewrites("div")
def softmax(node: Node) -> Value | None:
    """exp(x) / sum(exp(x)) => exp(x - m) / sum(exp(x - m)), m = max(x) where that is finite, else 0

    Defined for all x: exp overflows. Where x is such a difference already, its maximum loses its gradient.
    """
    numerator, spread = made_by(node.inputs[0], "exp"), made_by(node.inputs[1], "broadcast")
    found = None if spread is None else _summed_exponent(spread.inputs[0])
    if numerator is None or spread is None or found is None:
        return None
    x, axes = found
    if numerator.inputs[0] is not x or spread.attrs["axes"] != _others(x, axes) or not x.type.size:
        return None
    if not is_shifted(x, axes):
        return _softmax(x - _spread(_if_finite(_maximum(x, axes)), x, axes), axes)
    free = _without_gradient(x)
    return None if free is None else _softmax(free, axes)


def _without_gradient(s: Value) -> Value | None:
    """x - max(x) with a maximum that has no gradient, if s is such a difference and its maximum has one."""
    shift = shift_of(s)
    if shift is None or not shift.has_gradient:
        return None
    return shift.x - emit("stop_gradient", shift.maximum)


@rewrites("sub")
def log_softmax_of_shifted(node: Node) -> Value | None:
    """s - log(sum(exp(s))) => the same with a maximum that has no gradient, for s = x - max(x)

    Defined for all x: the gradients of the maxima cancel. So for what a gather picks from the rows of s, and
    for the negative of both.
    """
    for k in (0, 1):
        one, other = node.inputs[k], node.inputs[1 - k]
        spread, picked = made_by(other, "broadcast"), made_by(one, "gather")
        s = one if picked is None else picked.inputs[0]
        logarithm = made_by(other if spread is None else spread.inputs[0], "log")
        found = None if logarithm is None else _summed_exponent(logarithm.inputs[0])
        if found is None or found[0] is not s:
            continue
        axes = found[1]
        if picked is None:
            fits = spread is not None and spread.attrs["axes"] == _others(s, axes)
        else:
            fits = spread is None and _picks_from_each_row(picked, axes)
        free = _without_gradient(s) if fits else None
        if free is None:
            continue
        total = emit("log", emit("reduce_sum", emit("exp", free), axes=axes))
        one = free if picked is None else emit("gather", free, *picked.inputs[1:], **picked.attrs)
        other = total if spread is None else _spread(total, free, axes)
        return one - other if k == 0 else other - one
    return None


def _picks_from_each_row(picked: Node, axes: Axes) -> bool:
    """Is element i of the result one of row i? Two axes, the second of which was summed over."""
    s, *indices = picked.inputs
    if len(indices) != 2 or s.type.ndim != 2 or axes != (1,):
        return False
    return indices[0].type.size == s.shape[0] and gathers.evenly_spaced(indices[0]) == (0, 1)
