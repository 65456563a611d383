"""Matrix products."""

from __future__ import annotations

import numpy as np

from gradc.ir.errors import ShapeError
from gradc.ir.graph import Value, emit
from gradc.ir.op import Cotangent, Op
from gradc.ir.types import Type


def matmul_type(a: Type, b: Type, *, transpose_a: bool, transpose_b: bool) -> Type:
    """[..., m, k] @ [..., k, n]; leading axes are equal, or one operand has none. Transposed operands are
    stored [k, m]."""
    if a.dtype != b.dtype or a.ndim < 2 or b.ndim < 2:
        raise ShapeError(f"matmul takes two arrays of one dtype and at least two axes, not {a}, {b}")
    batch = a.shape[:-2] or b.shape[:-2]
    if any(t.shape[:-2] not in ((), batch) for t in (a, b)):
        raise ShapeError(f"matmul: the leading axes of {a} and {b} differ")
    m, k = a.shape[-2:][::-1] if transpose_a else a.shape[-2:]
    k2, n = b.shape[-2:][::-1] if transpose_b else b.shape[-2:]
    if k != k2:
        raise ShapeError(f"matmul: {a} and {b} share no inner size ({k} and {k2})")
    return a.with_shape((*batch, m, n))


def _last_swapped(x: np.ndarray, swap: bool) -> np.ndarray:
    return np.swapaxes(x, -1, -2) if swap else x


def matmul_meaning(a: np.ndarray, b: np.ndarray, *, transpose_a: bool, transpose_b: bool) -> np.ndarray:
    """np.matmul of the operands, transposed as told."""
    return np.matmul(_last_swapped(a, transpose_a), _last_swapped(b, transpose_b))


def product(
    a: Value | Cotangent, b: Value | Cotangent, transpose_a: bool, transpose_b: bool, like: Value
) -> Value:
    """A product in the shape of `like`: leading axes that `like` lacks are summed."""
    y = emit("matmul", a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    extra = len(y.shape) - len(like.shape)
    return emit("reduce_sum", y, axes=tuple(range(extra))) if extra else y


def matmul_vjp(
    g: Cotangent, y: Value, a: Value, b: Value, *, transpose_a: bool, transpose_b: bool
) -> tuple[Value, Value]:
    """dA = g Bᵀ and dB = Aᵀ g, with the transposes that the operands already carry."""
    da = product(b, g, transpose_b, True, a) if transpose_a else product(g, b, False, not transpose_b, a)
    db = product(g, a, True, transpose_a, b) if transpose_b else product(a, g, not transpose_a, False, b)
    return da, db


Op("matmul", matmul_meaning, matmul_type, matmul_vjp, arity=2)
