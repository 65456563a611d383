"""Ops along one axis whose order matters: running sums, products and extremes, and sorting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir.errors import ShapeError
from gradc.ir.graph import Value, constant, emit, zeros
from gradc.ir.op import Cotangent, Op
from gradc.ir.ops.elementwise import where
from gradc.ir.types import I64, Type


def along(x: Value | Cotangent, axis: int, start: int, size: int) -> Value:
    """The elements start, start + 1, ... of one axis."""
    shape = x.shape
    starts = tuple(start if i == axis else 0 for i in range(len(shape)))
    sizes = tuple(size if i == axis else n for i, n in enumerate(shape))
    return emit("slice", x, starts=starts, sizes=sizes, steps=(1,) * len(shape))


def shifted(x: Value, axis: int, by: int, value: float | bool) -> Value:
    """Element i along the axis is element i + by of x, and `value` where there is none."""
    n = x.shape[axis]
    kept = max(n - abs(by), 0)
    part = along(x, axis, max(by, 0) if kept else 0, kept)
    starts = tuple(max(-by, 0) if i == axis else 0 for i in range(len(x.shape)))
    return emit("pad", part, shape=x.shape, starts=starts, steps=(1,) * len(starts), value=value)


def positions(x: Value, axis: int) -> Value:
    """The number of every element along an axis."""
    return emit("iota", type=x.type.with_dtype(I64), axis=axis)


def running_type(x: Type, *, axis: int, reverse: bool) -> Type:
    """The input's type; the axis must be one of its axes."""
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"{x} has no axis {axis}")
    return x


def running_number_type(x: Type, *, axis: int, reverse: bool) -> Type:
    """Numbers only: booleans are cast by the tracer, as NumPy does."""
    if x.is_bool:
        raise ShapeError("running sums and products take numbers, not bool")
    return running_type(x, axis=axis, reverse=reverse)


def running_meaning(ufunc: np.ufunc) -> Callable[..., np.ndarray]:
    """The ufunc's `accumulate`, in the dtype of the input; from the last element on if `reverse`."""

    def meaning(x: np.ndarray, *, axis: int, reverse: bool) -> np.ndarray:
        turned = np.flip(x, axis) if reverse else x
        result = ufunc.accumulate(turned, axis, dtype=x.dtype)
        return np.flip(result, axis) if reverse else result

    return meaning


def cumprod_vjp(g: Cotangent, y: Value, x: Value, *, axis: int, reverse: bool) -> Value | Cotangent:
    """For every element the product of those before it, times a sum over those after it: right with zeros.

    With s[k] = g[k] + x[k+1] s[k+1], the cotangent is x[0] ... x[k-1] s[k]. The recurrence is solved for all
    k at once by doubling: after step d, s[k] has the terms up to k + 2d - 1, and f[k] is the factor
    x[k+1] ... x[k+2d] of those that follow.
    """
    after = -1 if reverse else 1
    factor, sums = shifted(x, axis, after, 1.0), g
    distance = 1
    while distance < x.shape[axis]:
        later = Cotangent(shifted(sums.value, axis, after * distance, 0.0))
        sums = sums + later * factor
        factor = factor * shifted(factor, axis, after * distance, 1.0)
        distance *= 2
    return sums * emit("cumprod", shifted(x, axis, -after, 1.0), axis=axis, reverse=reverse)


def running_extreme_vjp(g: Cotangent, y: Value, x: Value, *, axis: int, reverse: bool) -> Value:
    """Every result's cotangent to the first element that set it."""
    if not x.type.size:
        return g.value
    number, last = positions(x, axis), x.shape[axis] - 1
    before = shifted(y, axis, 1 if reverse else -1, 0.0)
    first = emit("eq", number, constant(last if reverse else 0, number.type))
    is_new = first | (emit("ne", y, before) & emit("eq", before, before))  # after a NaN nothing is new
    op = "cummin" if reverse else "cummax"
    setter = emit(op, where(is_new, number, last if reverse else 0), axis=axis, reverse=reverse)
    axes = tuple(range(len(x.shape)))
    places = [setter if a == axis else positions(x, a) for a in axes]
    return emit("scatter_add", zeros(x.type), g, *places, axes=axes)


def running(name: str, ufunc: np.ufunc, infer: Callable[..., Type], vjp: Callable[..., Any]) -> Op:
    """A row for a running reduction along one axis, which keeps the shape."""
    return Op(name, running_meaning(ufunc), infer, vjp, arity=1)


running(
    "cumsum",
    np.add,
    running_number_type,
    vjp=lambda g, y, x, *, axis, reverse: emit("cumsum", g, axis=axis, reverse=not reverse),
)
running("cumprod", np.multiply, running_number_type, cumprod_vjp)
running("cummax", np.maximum, running_type, running_extreme_vjp)
running("cummin", np.minimum, running_type, running_extreme_vjp)


def sort_type(x: Type) -> tuple[Type, Type]:
    """The values, and the index along the axis that each came from."""
    if not x.ndim:
        raise ShapeError("sort takes an array with at least one axis, not a number")
    return x, x.with_dtype(I64)


def sort_meaning(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Along the last axis; equal elements keep their order, NaN come last."""
    order = np.argsort(x, axis=-1, kind="stable").astype(I64)
    return np.take_along_axis(x, order, axis=-1), order


def sort_vjp(g: tuple[Value | None, ...], y: tuple[Value, ...], x: Value) -> Value | None:
    """Every cotangent back to where its element came from."""
    values, _ = g
    if values is None:
        return None
    last = len(x.shape) - 1
    places = [y[1] if a == last else positions(x, a) for a in range(last + 1)]
    return emit("scatter_add", zeros(x.type), values, *places, axes=tuple(range(last + 1)))


Op("sort", sort_meaning, sort_type, sort_vjp, arity=1)
