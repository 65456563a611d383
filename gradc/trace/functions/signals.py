"""Sampled functions: differences, interpolation, and phases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradc.ir import ShapeError
from gradc.trace.functions.ordering import searchsorted
from gradc.trace.functions.shapes import axes_of, axis_of, reshaped
from gradc.trace.lift import any_traced, common_dtype, operand, traced
from gradc.trace.methods import converted
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer


def _floats(x: Any) -> Tracer:
    x = traced(x)
    return x if x.dtype.kind == "f" else x.astype(np.float64)


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Central differences inside, one-sided ones of order 1 or 2 at the ends; one array for each axis."""
    if traced(f).dtype.kind == "b":
        fail("np.gradient takes numbers, not bool", "x.astype(float)")
    y = _floats(f)
    axes = axes_of(axis, y.ndim)
    given = [operand(h) for h in varargs] or [1.0]
    if len(given) not in (1, len(axes)) or (len(given) == 1 and np.ndim(given[0]) and len(axes) > 1):
        fail(f"np.gradient takes one spacing, or one for each of {len(axes)} axes")
    spacings = given * len(axes) if len(given) == 1 else given
    if edge_order not in (1, 2):
        fail(f"np.gradient takes edge_order 1 or 2, not {edge_order}", None, ShapeError)
    if any(y.shape[i] < edge_order + 1 for i in axes):
        fail(f"np.gradient needs {edge_order + 1} elements along an axis, not {y.shape}", None, ShapeError)
    results = tuple([_slopes(y, i, h, edge_order) for i, h in zip(axes, spacings, strict=True)])
    return results[0] if len(axes) == 1 else results


def _slopes(y: Tracer, axis: int, spacing: Any, edge_order: int) -> Tracer:
    """The derivative along an axis by differences; the spacing is a step, or the places of all samples."""
    y = FUNCTIONS[np.moveaxis](y, axis, 0)
    n, rest = len(y), (1,) * (y.ndim - 1)
    if np.ndim(spacing):
        if len(spacing) != n:
            fail(f"np.gradient has {len(spacing)} places for {n} elements", None, ShapeError)
        steps = reshaped(FUNCTIONS[np.diff](_floats(spacing)), (n - 1, *rest))
        p, q = steps[:-1], steps[1:]
        both = p + q
        inner = -q / (p * both) * y[:-2] + (q - p) / (p * q) * y[1:-1] + p / (q * both) * y[2:]
        first, last = (y[1:2] - y[:1]) / steps[:1], (y[-1:] - y[-2:-1]) / steps[-1:]
        if edge_order == 2:
            p, q, both = steps[:1], steps[1:2], steps[:1] + steps[1:2]
            first = -(p + both) / (p * both) * y[:1] + both / (p * q) * y[1:2] - p / (q * both) * y[2:3]
            p, q, both = steps[-2:-1], steps[-1:], steps[-2:-1] + steps[-1:]
            last = q / (p * both) * y[-3:-2] - both / (p * q) * y[-2:-1] + (q + both) / (q * both) * y[-1:]
    else:
        h = spacing
        inner = (y[2:] - y[:-2]) / (2.0 * h)
        first, last = (y[1:2] - y[:1]) / h, (y[-1:] - y[-2:-1]) / h
        if edge_order == 2:
            first = (-1.5 * y[:1] + 2.0 * y[1:2] - 0.5 * y[2:3]) / h
            last = (0.5 * y[-3:-2] - 2.0 * y[-2:-1] + 1.5 * y[-1:]) / h
    return FUNCTIONS[np.moveaxis](FUNCTIONS[np.concatenate]([first, inner, last]), 0, axis)


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Tracer:
    """On the line between two neighbours; what lies outside gets `left` or `right`, or the end's value."""
    at, places, values = [traced(v).astype(np.float64) for v in (x, xp, fp)]
    if places.ndim != 1 or places.shape != values.shape or not len(places):
        fail(
            f"np.interp takes places and values of one length, not {places.shape} and {values.shape}",
            None,
            ShapeError,
        )
    where, concatenate = FUNCTIONS[np.where], FUNCTIONS[np.concatenate]
    if period is not None:
        if not any_traced(period) and period == 0:
            fail("period must be a non-zero value", None, ShapeError)
        size = FUNCTIONS[np.absolute](period) if any_traced(period) else abs(period)
        at, places = at % size, places % size
        order = FUNCTIONS[np.argsort](places)
        places, values = places[order], values[order]
        places = concatenate([places[-1:] - size, places, places[:1] + size])
        values = concatenate([values[-1:], values, values[:1]])
        left = right = None
    n = len(places)
    y = values[0] if n == 1 else None
    if y is None:
        i = FUNCTIONS[np.clip](searchsorted(places, at, "right") - 1, 0, n - 2)
        a, b = places[i], places[i + 1]
        slope = (values[i + 1] - values[i]) / (b - a)
        low, high = values[i], values[i + 1]
        y = where(at == b, high, slope * (at - a) + low)
        # Beside infinite values: the value of the place itself, else from the other side, as NumPy has it.
        isnan = FUNCTIONS[np.isnan]
        lost = isnan(y) & ~isnan(at)
        y = where(lost, where((at == a) | (low == high), low, slope * (at - b) + high), y)
    y = where(at < places[0], values[0] if left is None else left, y)
    return where(at > places[-1], values[-1] if right is None else right, y)


@implements(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * math.pi) -> Tracer:
    """Phases without jumps of more than half a period."""
    x = traced(p)
    along = axis_of(axis, x.ndim)
    steps = FUNCTIONS[np.diff](x, axis=along)
    dtype = common_dtype(steps, period)
    half = period / 2 if dtype.kind == "f" else period // 2
    where = FUNCTIONS[np.where]
    small = (steps + half) % period - half
    if dtype.kind == "f" or period % 2 == 0:  # a jump of exactly half a period keeps its sign
        small = where((small == -half) & (steps > 0), half, small)
    limit = period / 2 if discont is None else discont
    change = where(FUNCTIONS[np.absolute](steps) < limit, 0, small - steps)
    x = FUNCTIONS[converted](x, dtype)
    start = tuple(slice(1) if i == along else slice(None) for i in range(x.ndim))
    rest = tuple(slice(1, None) if i == along else slice(None) for i in range(x.ndim))
    return FUNCTIONS[np.concatenate]([x[start], x[rest] + FUNCTIONS[np.cumsum](change, along)], along)


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Tracer:
    x = FUNCTIONS[np.ravel](traced(ary))
    parts = [to_begin, x[1:] - x[:-1], to_end]
    for name, part in (("to_begin", to_begin), ("to_end", to_end)):
        if part is not None and not np.can_cast(traced(part).dtype, x.dtype, "same_kind"):
            fail(f"dtype of `{name}` must be compatible with input `ary` under the `same_kind` rule.")
    flat = [FUNCTIONS[np.ravel](traced(part)).astype(x.dtype) for part in parts if part is not None]
    return FUNCTIONS[np.concatenate](flat)


@implements(np.vander)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Tracer:
    """The powers of every element, the highest first unless `increasing`, as running products."""
    v = traced(x)
    if v.ndim != 1:
        fail(f"np.vander takes an array with one axis, not shape {v.shape}", None, ShapeError)
    count = len(v) if N is None else N
    v = v.astype(np.promote_types(v.dtype, int))
    if not count:
        return FUNCTIONS[np.broadcast_to](v[:, None][:, :0], (len(v), 0))
    column = FUNCTIONS[np.broadcast_to](v[:, None], (len(v), count - 1))
    ones = FUNCTIONS[np.full]((len(v), 1), 1, v.dtype)
    powers = FUNCTIONS[np.cumprod](FUNCTIONS[np.concatenate]([ones, column], 1), 1)
    return powers if increasing else powers[:, ::-1]
