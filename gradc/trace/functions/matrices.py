"""Operands of linear algebra and its checks: matrices in float64, leading axes, errors at run time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradc.ir import LinearAlgebraError, Value, emit, emit_node
from gradc.ir.ops.matrices import per_matrix
from gradc.ir.types import F32, F64
from gradc.trace.functions.shapes import reshaped, transposed
from gradc.trace.lift import broadcast, cast, operand, traced, wrap
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.tracer import Tracer

SINGULAR = "Singular matrix"


def matrix(x: Any, name: str, *, square: bool = False) -> Tracer:
    """An operand with at least two axes. Errors: `LinearAlgebraError` at the user's line, as NumPy's."""
    a = traced(x)
    if a.ndim < 2:
        fail(f"{name} takes an array with at least two axes, not shape {a.shape}", None, LinearAlgebraError)
    if square and a.shape[-1] != a.shape[-2]:
        fail(f"{name} takes square matrices, not shape {a.shape}", None, LinearAlgebraError)
    return a


def result_dtype(*xs: Tracer) -> np.dtype:
    """float32 if all are; else float64. The computation itself is in float64."""
    return F32 if all(x.dtype == F32 for x in xs) else F64


def wide(x: Tracer) -> Value:
    """The value in float64."""
    return cast(x.value, F64)


def given(y: Value, dtype: np.dtype) -> Tracer:
    """A result in its dtype."""
    return wrap(cast(y, dtype))


def checked(y: Value, ok: Value, message: str) -> Value:
    """`y`, for which `ok` must hold in every matrix. Errors: `LinearAlgebraError` at run time otherwise."""
    flags = ok if ok.shape == y.shape else per_matrix(ok, y.type)
    return emit("require", y, flags, message=message, error=LinearAlgebraError.__name__)


def batch_shape(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """What the leading axes broadcast to."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        fail(
            f"{name}: the leading sizes of {' and '.join(map(str, shapes))} do not broadcast",
            None,
            LinearAlgebraError,
        )


def solutions(op: str, a: Value, b: Value, **attrs: Any) -> tuple[Value, ...]:
    """The results of an op that solves a x = b, for leading axes that broadcast.

    Many right sides of one matrix are one right side with many columns, so that it is factored once.
    """
    batch = batch_shape("solve", a.shape[:-2], b.shape[:-2])
    n, k = b.shape[-2:]
    if batch and math.prod(a.shape[:-2]) == 1:
        one = emit("reshape", a, shape=(n, n)) if a.type.ndim > 2 else a
        many = transposed(reshaped(wrap(broadcast(b, (*batch, n, k))), (math.prod(batch), n, k)), (1, 0, 2))
        x, *flags = emit_node(op, one, reshaped(many, (n, math.prod(batch) * k)).value, **attrs).results
        x = transposed(reshaped(wrap(x), (n, math.prod(batch), k)), (1, 0, 2))
        flags = [broadcast(flag, batch) for flag in flags]
        return reshaped(x, (*batch, n, k)).value, *flags
    a, b = broadcast(a, (*batch, n, n)), broadcast(b, (*batch, n, k))
    return emit_node(op, a, b, **attrs).results


def right_side(a: Tracer, b: Any, name: str) -> tuple[Tracer, bool]:
    """The right side as matrices, and whether it was one vector."""
    x = traced(operand(b))
    is_vector = x.ndim == 1
    if is_vector:
        x = reshaped(x, (*x.shape, 1))
    if x.ndim < 2 or x.shape[-2] != a.shape[-2]:
        shape = x.shape[:-1] if is_vector else x.shape
        fail(
            f"{name}: a right side of shape {shape} does not fit matrices of shape {a.shape}",
            None,
            LinearAlgebraError,
        )
    return x, is_vector


def adjoint(x: Any) -> Any:
    """The transposed matrices."""
    return FUNCTIONS[np.matrix_transpose](x)
