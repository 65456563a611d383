"""NumPy's linear algebra around linear systems: Cholesky's factor, solve, inverses, determinants, QR."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from gradc.ir import LinearAlgebraError, emit, emit_node
from gradc.ir.ops.factor import triangular
from gradc.ir.ops.matrices import identity
from gradc.ir.types import NAMES
from gradc.trace.functions.matrices import (
    SINGULAR,
    adjoint,
    checked,
    given,
    matrix,
    result_dtype,
    right_side,
    solutions,
    wide,
)
from gradc.trace.functions.shapes import reshaped
from gradc.trace.lift import cast, constant_value, operand, traced, wrap
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer


@lru_cache(maxsize=16)
def _named(function: Callable[..., Any]) -> type:
    """The named tuple that a function of NumPy's gives."""
    return type(function(np.ones((1, 1))))


def named(function: Callable[..., Any], *parts: Any) -> Any:
    return _named(function)(*parts)


def cholesky_factor(a: Tracer, *, upper: bool = False) -> Tracer:
    """L with L Lᵀ = a, from the lower triangle; or U with Uᵀ U = a, from the upper one."""
    x = adjoint(a) if upper else a
    factor, ok = emit_node("cholesky", wide(x)).results
    y = given(checked(factor, ok, "Matrix is not positive definite"), result_dtype(a))
    return adjoint(y) if upper else y


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Tracer:
    return cholesky_factor(matrix(a, "np.linalg.cholesky", square=True), upper=upper)


def solved(a: Tracer, b: Any, name: str, *, transpose: bool = False) -> Tracer:
    """x with a x = b, where b is one vector or matrices."""
    right, is_vector = right_side(a, b, name)
    x, ok = solutions("solve", wide(a), wide(right), transpose=transpose)
    y = given(checked(x, ok, SINGULAR), result_dtype(a, right))
    return reshaped(y, y.shape[:-1]) if is_vector else y


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Tracer:
    return solved(matrix(a, "np.linalg.solve", square=True), b, "np.linalg.solve")


def inverse(a: Tracer) -> Tracer:
    value = wide(a)
    x, ok = emit_node("solve", value, identity(value.type), transpose=False).results
    return given(checked(x, ok, SINGULAR), result_dtype(a))


@implements(np.linalg.inv)
def inv(a: Any) -> Tracer:
    return inverse(matrix(a, "np.linalg.inv", square=True))


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    x = matrix(a, "np.linalg.slogdet", square=True)
    results = emit_node("slogdet", wide(x)).results
    return named(np.linalg.slogdet, *[given(y, result_dtype(x)) for y in results])


@implements(np.linalg.det)
def det(a: Any) -> Tracer:
    """Up to 3 by 3 the polynomial, which has its gradient for singular matrices too.

    Beyond, the sign times the exponential of the logarithm, as NumPy computes it: where the determinant is
    exactly 0, so is the gradient.
    """
    x = matrix(a, "np.linalg.det", square=True)
    n, dtype = x.shape[-1], result_dtype(x)
    value = wrap(wide(x))
    if n == 0:
        return wrap(constant_value(1.0, dtype, x.shape[:-2]))
    if n > 3:
        sign, logarithm = emit_node("slogdet", value.value).results
        return given(emit("mul", sign, emit("exp", logarithm)), dtype)
    rows = [[value[..., i, j] for j in range(n)] for i in range(n)]
    return wrap(cast(_determinant(rows).value, dtype))


def _determinant(rows: list[list[Tracer]]) -> Tracer:
    """By the first row."""
    if len(rows) == 1:
        return rows[0][0]
    total: Any = None
    for j, x in enumerate(rows[0]):
        minor = x * _determinant([[row[k] for k in range(len(row)) if k != j] for row in rows[1:]])
        total = minor if total is None else total - minor if j % 2 else total + minor
    return total


@implements(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    x = matrix(a, "np.linalg.qr")
    m, n = x.shape[-2:]
    if mode not in ("reduced", "r", "complete") or (mode == "complete" and m > n):
        fail(f"gradc does not trace np.linalg.qr with mode={mode!r}", 'mode="reduced" or mode="r"')
    q, r = [given(y, result_dtype(x)) for y in emit_node("qr", wide(x)).results]
    return r if mode == "r" else named(np.linalg.qr, q, r)


@implements(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple[Tracer, Tracer, Tracer, Tracer]:
    """By QR, for matrices of full rank: R x = Qᵀ b, or of the transposed matrix for wide ones, x = Q R⁻ᵀ b.

    Errors: `LinearAlgebraError` at run time if the rank is not full, where NumPy gives one of many solutions.
    """
    x = matrix(a, "np.linalg.lstsq")
    right, is_vector = right_side(x, b, "np.linalg.lstsq")
    if x.ndim != 2 or right.ndim != 2:
        fail("np.linalg.lstsq takes one matrix and one or more right sides", None, LinearAlgebraError)
    m, n = x.shape
    dtype, k = result_dtype(x, right), min(m, n)
    matrices, values = wrap(wide(x)), wrap(wide(right))
    s = FUNCTIONS[np.linalg.svdvals](matrices)
    limit = np.finfo(np.float64).eps * max(m, n) if rcond is None or rcond == -1 else rcond
    q, r = FUNCTIONS[np.linalg.qr](matrices if m >= n else adjoint(matrices))
    if m >= n:
        y = wrap(triangular(r.value, (adjoint(q) @ values).value, lower=False))
    else:
        y = q @ wrap(triangular(r.value, values.value, lower=False, transpose=True))
    if k:
        full = s[-1] > s[0] * limit
        message = "np.linalg.lstsq of a matrix without full rank: gradc solves those of full rank only"
        y = wrap(checked(y.value, FUNCTIONS[np.broadcast_to](full, y.shape).value, message))
    rest = values - matrices @ y
    residuals = FUNCTIONS[np.sum](rest * rest, 0) if m > n else wrap(constant_value(0.0, dtype, (0,)))
    rank = wrap(constant_value(k, NAMES["i32"], ()))
    y = reshaped(y, (n,)) if is_vector else y
    return y.astype(dtype), residuals.astype(dtype), rank, s.astype(dtype)


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Tracer:
    x, right = traced(a), operand(b)
    if axes is not None:
        x = FUNCTIONS[np.moveaxis](x, tuple(axes), tuple(range(x.ndim - len(axes), x.ndim)))
    shape = x.shape[right.ndim :]
    n = math.prod(shape)
    if x.size != n * n:
        fail(
            f"np.linalg.tensorsolve: shape {x.shape} is not square in {right.ndim} axes",
            None,
            LinearAlgebraError,
        )
    y = solved(reshaped(x, (n, n)), FUNCTIONS[np.ravel](right), "np.linalg.tensorsolve")
    return reshaped(y, shape)


@implements(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Tracer:
    x = traced(a)
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    n = math.prod(x.shape[ind:])
    y = inverse(matrix(reshaped(x, (n, x.size // n if n else 0)), "np.linalg.tensorinv", square=True))
    return reshaped(y, (*x.shape[ind:], *x.shape[:ind]))


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Tracer:
    """By squaring; of the inverse for negative powers."""
    x = matrix(a, "np.linalg.matrix_power", square=True)
    if n == 0:
        ones = cast(identity(x.value.type), x.dtype)
        return wrap(ones)
    if n < 0:
        x, n = inverse(x), -n
    result: Tracer | None = None
    while n:
        if n & 1:
            result = x if result is None else result @ x
        n >>= 1
        x = x @ x if n else x
    assert result is not None
    return result
