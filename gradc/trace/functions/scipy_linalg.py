"""SciPy's linear algebra in terms of NumPy's: factors and solutions, matrix exponentials, special matrices.

`check_finite` and `overwrite_a` have no meaning here: nothing is written to, and infinities and NaN go the
way they go in NumPy. Vectors that are determined up to their signs may have other signs than SciPy's, which
chooses other routines of LAPACK.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.ir import ShapeError, emit
from gradc.ir.ops.matrices import is_diagonal, lower_part, upper_part
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
from gradc.trace.functions.spectra import singular, symmetric
from gradc.trace.functions.systems import cholesky_factor, det, inv, lstsq, solved
from gradc.trace.lift import cast, operand, traced, wrap
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements_scipy
from gradc.trace.tracer import Tracer


def _name(name: str) -> str:
    return f"scipy.linalg.{name}"


@implements_scipy("scipy.linalg.cholesky")
def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Tracer:
    return cholesky_factor(matrix(a, _name("cholesky"), square=True), upper=not lower)


@implements_scipy("scipy.linalg.cho_factor")
def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The factor and `lower`. The other triangle, which SciPy leaves as it was, is 0."""
    return cholesky(a, lower), lower


def triangular_solution(
    a: Tracer,
    b: Any,
    name: str,
    *,
    lower: bool,
    transpose: bool = False,
    unit: bool = False,
    check: bool = True,
) -> Tracer:
    """x with a x = b for a triangle of a. Errors: `LinearAlgebraError` at run time for 0 on its diagonal."""
    right, is_vector = right_side(a, b, name)
    dtype = result_dtype(a, right)
    matrices, values = cast(a.value, dtype), cast(right.value, dtype)
    (x,) = solutions("triangular_solve", matrices, values, lower=lower, transpose=transpose, unit=unit)
    if check and not unit:
        last = len(matrices.shape) - 1
        zero = emit("eq", matrices, emit("constant", value=0.0, type=matrices.type))
        bad = emit("reduce_max", zero & is_diagonal(matrices.type), axes=(last - 1, last))
        ok = FUNCTIONS[np.broadcast_to](wrap(~bad)[..., None, None], x.shape)
        x = checked(x, ok.value, SINGULAR)
    y = wrap(x)
    return reshaped(y, y.shape[:-1]) if is_vector else y


@implements_scipy("scipy.linalg.solve_triangular")
def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Tracer:
    name = _name("solve_triangular")
    transpose = trans not in (0, "N")
    x = matrix(a, name, square=True)
    return triangular_solution(x, b, name, lower=lower, transpose=transpose, unit=unit_diagonal)


@implements_scipy("scipy.linalg.cho_solve")
def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Tracer:
    c, lower = c_and_lower
    factor, name = matrix(c, _name("cho_solve"), square=True), _name("cho_solve")
    y = triangular_solution(factor, b, name, lower=lower, transpose=not lower, check=False)
    return triangular_solution(factor, y, name, lower=lower, transpose=lower, check=False)


@implements_scipy("scipy.linalg.solve")
def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: str | None = None,
    transposed: bool = False,
) -> Tracer:
    """By the factorization that `assume_a` allows; a general one without it."""
    name = _name("solve")
    x = matrix(a, name, square=True)
    if assume_a in ("pos", "positive definite"):
        factor = cholesky_factor(x, upper=not lower)
        return cho_solve((factor, lower), b)
    if assume_a in ("sym", "her", "symmetric", "hermitian"):
        part = lower_part(x.value) if lower else upper_part(x.value)
        strict = (lower_part if lower else upper_part)(x.value, strict=True)
        x = wrap(part) + adjoint(wrap(strict))
    if assume_a in ("upper triangular", "lower triangular"):
        is_lower = assume_a.startswith("lower")
        return triangular_solution(x, b, name, lower=is_lower, transpose=transposed)
    return solved(x, b, name, transpose=transposed)


@implements_scipy("scipy.linalg.inv")
def inverse_of(
    a: Any,
    overwrite_a: bool = False,
    check_finite: bool = True,
    *,
    assume_a: str | None = None,
    lower: bool = False,
) -> Tracer:
    """Only the part of the matrix counts that `assume_a` says there is."""
    x = matrix(a, _name("inv"), square=True)
    if assume_a in (None, "gen", "general"):
        return inv(x)
    upper, below = FUNCTIONS[np.triu], FUNCTIONS[np.tril]
    if assume_a in ("upper triangular", "lower triangular"):
        return inv((upper if assume_a[0] == "u" else below)(x))
    if assume_a not in ("sym", "symmetric", "her", "hermitian", "pos", "positive definite"):
        fail(f"{assume_a!r} is nothing that {_name('inv')} assumes", "assume_a='general'", ShapeError)
    half = below if lower else upper
    return inv(half(x) + FUNCTIONS[np.swapaxes](half(x, -1 if lower else 1), -1, -2))


@implements_scipy("scipy.linalg.det")
def determinant(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Tracer:
    """In float64 for every dtype."""
    return det(matrix(a, _name("det"), square=True).astype(np.float64))


@implements_scipy("scipy.linalg.norm")
def norm(
    a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True
) -> Tracer:
    return FUNCTIONS[np.linalg.norm](a, ord, axis, keepdims)


@implements_scipy("scipy.linalg.svdvals")
def svdvals(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Tracer:
    return singular(matrix(a, _name("svdvals")))[1]


@implements_scipy("scipy.linalg.svd")
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, **_: Any) -> Any:
    result = FUNCTIONS[np.linalg.svd](a, full_matrices, compute_uv)
    return tuple(result) if compute_uv else result


@implements_scipy("scipy.linalg.pinv")
def pinv(
    a: Any, *, atol: Any = None, rtol: Any = None, return_rank: bool = False, check_finite: bool = True
) -> Any:
    if atol is not None or return_rank:
        fail(
            "gradc traces scipy.linalg.pinv without atol= and return_rank=", "rtol=, np.linalg.matrix_rank(a)"
        )
    return FUNCTIONS[np.linalg.pinv](a, rtol=rtol)


@implements_scipy("scipy.linalg.lstsq")
def least_squares(a: Any, b: Any, cond: Any = None, **_: Any) -> Any:
    return lstsq(a, b, cond)


@implements_scipy("scipy.linalg.qr")
def qr(
    a: Any,
    overwrite_a: bool = False,
    lwork: Any = None,
    mode: str = "full",
    pivoting: bool = False,
    check_finite: bool = True,
) -> Any:
    x = matrix(a, _name("qr"))
    m, n = x.shape[-2:]
    if pivoting or mode == "raw" or (mode in ("full", "r") and m > n):
        fail(
            f"gradc does not trace scipy.linalg.qr with {mode=} and {pivoting=} of shape {x.shape}",
            'mode="economic"',
        )
    q, r = FUNCTIONS[np.linalg.qr](x)
    return (r,) if mode == "r" else (q, r)


@implements_scipy("scipy.linalg.eigh")
def eigh(
    a: Any,
    b: Any = None,
    *,
    lower: bool = True,
    eigvals_only: bool = False,
    subset_by_index: Any = None,
    **_: Any,
) -> Any:
    """Also a v = w b v, by b = L Lᵀ: the eigenvectors of L⁻¹ a L⁻ᵀ are Lᵀ v."""
    name = _name("eigh")
    x = matrix(a, name, square=True)
    if subset_by_index is not None:
        fail("gradc does not trace scipy.linalg.eigh with subset_by_index=", "w[lo:hi + 1] of all of them")
    triangle = "L" if lower else "U"
    if b is None:
        w, v = symmetric(x, name, triangle)
        return w if eigvals_only else (w, v)
    factor = cholesky_factor(matrix(b, name, square=True), upper=not lower)
    factor = factor if lower else adjoint(factor)
    strict = wrap((lower_part if lower else upper_part)(x.value, strict=True))
    full = wrap((lower_part if lower else upper_part)(x.value)) + adjoint(strict)
    half = triangular_solution(factor, full, name, lower=True, check=False)
    w, y = symmetric(triangular_solution(factor, adjoint(half), name, lower=True, check=False), name)
    v = triangular_solution(factor, y, name, lower=True, transpose=True, check=False)
    return w if eigvals_only else (w, v)


@implements_scipy("scipy.linalg.eigvalsh")
def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, **_: Any) -> Tracer:
    return eigh(a, b, lower=lower, eigvals_only=True)


@implements_scipy("scipy.linalg.polar")
def polar(a: Any, side: str = "right") -> tuple[Tracer, Tracer]:
    """U Vᵀ, and V S Vᵀ or U S Uᵀ."""
    u, s, vt = singular(matrix(a, _name("polar")))
    scaled = (adjoint(vt) * s[..., None, :]) @ vt if side == "right" else (u * s[..., None, :]) @ adjoint(u)
    return u @ vt, scaled


# Matrices made of vectors and blocks.


@implements_scipy("scipy.linalg.block_diag")
def block_diag(*arrays: Any) -> Tracer:
    blocks = [FUNCTIONS[np.atleast_2d](operand(x)) for x in arrays]
    width = sum(x.shape[1] for x in blocks)
    rows, start = [], 0
    for x in blocks:
        rows.append(FUNCTIONS[np.pad](x, ((0, 0), (start, width - start - x.shape[1]))))
        start += x.shape[1]
    return FUNCTIONS[np.concatenate](rows)


def _by_difference(values: Tracer, rows: int, columns: int, first: int, slope: int) -> Tracer:
    """The matrix whose element i, j is the element first + i - slope * j of a vector."""
    index = first + np.arange(rows)[:, None] - slope * np.arange(columns)
    return FUNCTIONS[np.take](values, index, -1)


def _spread(x: Any, lead: tuple[int, ...]) -> Tracer:
    """A vector, or the same for every matrix of a batch."""
    return FUNCTIONS[np.broadcast_to](x, (*lead, x.shape[-1]))


@implements_scipy("scipy.linalg.toeplitz")
def toeplitz(c: Any, r: Any = None) -> Tracer:
    column = FUNCTIONS[np.atleast_1d](traced(c))
    row = column if r is None else FUNCTIONS[np.atleast_1d](traced(r))
    lead = np.broadcast_shapes(column.shape[:-1], row.shape[:-1])
    values = FUNCTIONS[np.concatenate]([_spread(row[..., :0:-1], lead), _spread(column, lead)], -1)
    return _by_difference(values, column.shape[-1], row.shape[-1], row.shape[-1] - 1, 1)


@implements_scipy("scipy.linalg.circulant")
def circulant(c: Any) -> Tracer:
    column = FUNCTIONS[np.atleast_1d](traced(c))
    n = column.shape[-1]
    return FUNCTIONS[np.take](column, (np.arange(n)[:, None] - np.arange(n)) % max(n, 1), -1)


@implements_scipy("scipy.linalg.hankel")
def hankel(c: Any, r: Any = None) -> Tracer:
    column = FUNCTIONS[np.ravel](traced(c))
    row = FUNCTIONS[np.zeros_like](column) if r is None else FUNCTIONS[np.ravel](traced(r))
    values = FUNCTIONS[np.concatenate]([column, row[1:]])
    return _by_difference(values, column.size, row.size, 0, -1)


# The matrix exponential.

PADE = (
    *(64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000),
    *(10559470521600, 670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1),
)
"""The coefficients of the Padé approximant of order 13."""
REACH = 5.371920351148152
"""Up to this 1-norm its error is below float64's rounding: Higham (2005), table 2.3."""
SQUARINGS = 24
"""So many at most: for 1-norms up to 9e7."""


@implements_scipy("scipy.linalg.expm")
def expm(A: Any) -> Tracer:
    """Padé's approximant of order 13 of A / 2**s, squared s times: N. Higham, The scaling and squaring method
    for the matrix exponential revisited (2005).

    Each squaring is a branch that is taken if the norm asks for it, so s depends on the values, and only what
    is needed is computed. Errors at run time: `LinearAlgebraError` for norms that need more than 24.
    """
    from gradc.trace.control import cond

    a = matrix(A, _name("expm"), square=True)
    x, n = wrap(wide(a)), a.shape[-1]
    if not x.size:
        return given(x.value, result_dtype(a))
    sums = FUNCTIONS[np.sum](FUNCTIONS[np.absolute](wrap(emit("stop_gradient", x.value))), -2)
    size = FUNCTIONS[np.max](sums)
    steps = FUNCTIONS[np.ceil](FUNCTIONS[np.log2](FUNCTIONS[np.maximum](size / REACH, 1.0)))
    message = f"scipy.linalg.expm of a matrix of 1-norm above 2**{SQUARINGS} {REACH:.1f}"
    possible = (steps <= SQUARINGS) | FUNCTIONS[np.isnan](steps)
    steps = wrap(checked(steps.value, possible.value, message))
    x = x * FUNCTIONS[np.exp2](-steps)
    squares = [np.eye(n), x @ x]
    squares += [squares[1] @ squares[1]]
    squares += [squares[2] @ squares[1]]

    def combined(start: int) -> Any:
        """Half of the polynomial: the coefficients of every other power."""
        high = sum(PADE[start + 6 + 2 * k] * squares[k] for k in (1, 2, 3))
        low = sum(PADE[start + 2 * k] * squares[k] for k in range(4))
        return squares[3] @ high + low

    odd, even = x @ combined(1), combined(0)
    y = solved(even - odd, even + odd, _name("expm"))
    for k in range(SQUARINGS):
        y = cond(steps > k, lambda m: m @ m, lambda m: m, y)
    return given(y.value, result_dtype(a))
