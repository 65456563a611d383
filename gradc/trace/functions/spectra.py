"""NumPy's linear algebra of eigenvalues and singular values, and what they define: norms, ranks, pinv."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradc.ir import LinearAlgebraError, emit_node
from gradc.ir.ops.factor import triangular
from gradc.ir.ops.matrices import identity
from gradc.ir.types import I64
from gradc.trace.functions.matrices import adjoint, checked, given, matrix, result_dtype, wide
from gradc.trace.functions.shapes import axes_of
from gradc.trace.functions.systems import named
from gradc.trace.lift import cast, constant_value, traced, wrap
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer


def symmetric(a: Any, name: str, UPLO: str = "L") -> tuple[Tracer, Tracer]:
    """Eigenvalues and eigenvectors of symmetric matrices, of which one triangle is read."""
    x = matrix(a, name, square=True)
    if UPLO.upper() not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    w, v, ok = emit_node("eigh", wide(x), lower=UPLO.upper() == "L").results
    message = "Eigenvalues did not converge"
    values, vectors = [given(checked(y, ok, message), result_dtype(x)) for y in (w, v)]
    return values, vectors


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    return named(np.linalg.eigh, *symmetric(a, "np.linalg.eigh", UPLO))


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Tracer:
    return symmetric(a, "np.linalg.eigvalsh", UPLO)[0]


def singular(x: Tracer) -> tuple[Tracer, Tracer, Tracer]:
    """U, the singular values and Vᵀ, reduced."""
    *results, ok = emit_node("svd", wide(x)).results
    u, s, vt = [given(checked(y, ok, "SVD did not converge"), result_dtype(x)) for y in results]
    return u, s, vt


@implements(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    x = matrix(a, "np.linalg.svd")
    if compute_uv and full_matrices and x.shape[-1] != x.shape[-2]:
        fail(
            f"gradc does not trace np.linalg.svd with full matrices of shape {x.shape}: "
            "the vectors beyond the singular values are not determined",
            "np.linalg.svd(a, full_matrices=False)",
        )
    u, s, vt = singular(x)
    return named(np.linalg.svd, u, s, vt) if compute_uv else s


def svdvals(x: Any, /) -> Tracer:
    return singular(matrix(x, "np.linalg.svdvals"))[1]


if hasattr(np.linalg, "svdvals"):
    svdvals = implements(np.linalg.svdvals)(svdvals)


@implements(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Tracer:
    """V S⁺ Uᵀ, where singular values up to rcond times the largest count as 0.

    If none does, by QR, whose gradient does not mind equal singular values.
    """
    from gradc.trace.control import cond as branch

    x = matrix(a, "np.linalg.pinv")
    if rcond is None:
        rcond = 1e-15 if rtol is np._NoValue else rtol
        rcond = max(x.shape[-2:]) * np.finfo(result_dtype(x)).eps if rcond is None else rcond
    elif rtol is not np._NoValue:
        raise ValueError("`rtol` and `rcond` can't be both set.")
    if not x.size:
        return wrap(constant_value(0.0, result_dtype(x), (*x.shape[:-2], x.shape[-1], x.shape[-2])))
    dtype, x = result_dtype(x), wrap(wide(x))
    s = svdvals(x)
    limit = FUNCTIONS[np.expand_dims](rcond, -1) if np.ndim(rcond) else rcond
    large = s > FUNCTIONS[np.max](s, -1, keepdims=True) * limit
    y = branch(FUNCTIONS[np.all](large), _inverse_by_qr, _inverse_by_svd, x, large)
    return given(y.value, dtype)


def _inverse_by_qr(x: Tracer, large: Tracer) -> Tracer:
    """R⁻¹ Qᵀ, of tall matrices, for full rank; unlike singular vectors, these always have derivatives."""
    tall = x.shape[-2] >= x.shape[-1]
    q, r = FUNCTIONS[np.linalg.qr](x if tall else adjoint(x))
    y = wrap(triangular(r.value, adjoint(q).value, lower=False))
    return y if tall else adjoint(y)


def _inverse_by_svd(x: Tracer, large: Tracer) -> Tracer:
    u, s, vt = singular(x)
    inverse = FUNCTIONS[np.where](large, 1 / FUNCTIONS[np.where](large, s, 1.0), 0.0).astype(s.dtype)
    return adjoint(vt) @ (inverse[..., None] * adjoint(u))


@implements(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Tracer:
    x = traced(A)
    if x.ndim < 2:
        return FUNCTIONS[np.any](x != 0).astype(np.int64)
    s = svdvals(x)
    if not s.shape[-1]:
        return wrap(constant_value(0, I64, s.shape[:-1]))
    if tol is None:
        rtol = (
            max(x.shape[-2:]) * np.finfo(s.dtype).eps if rtol is None else FUNCTIONS[np.expand_dims](rtol, -1)
        )
        tol = FUNCTIONS[np.max](s, -1, keepdims=True) * rtol
    elif np.ndim(tol):
        tol = FUNCTIONS[np.expand_dims](tol, -1)
    return FUNCTIONS[np.count_nonzero](s > tol, -1)


def spectral_norm(x: Tracer, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Tracer:
    """The largest (2) or smallest (-2) singular value of matrices along two axes, or their sum ("nuc")."""
    s = svdvals(FUNCTIONS[np.moveaxis](x, axes, (-2, -1)))
    reduction = {2: np.max, -2: np.min, "nuc": np.sum}[ord]
    y = FUNCTIONS[reduction](s, -1)
    return FUNCTIONS[np.expand_dims](y, tuple(sorted(axes_of(axes, x.ndim)))) if keepdims else y


@implements(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Tracer:
    a = matrix(x, "np.linalg.cond")
    if not a.shape[-1] or not a.shape[-2]:
        fail("cond is not defined on empty arrays", None, LinearAlgebraError)
    if p in (None, 2, -2):
        s = svdvals(a)
        y = s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    else:
        a = matrix(a, "np.linalg.cond", square=True)
        value = wide(a)
        inverse = wrap(emit_node("solve", value, identity(value.type), transpose=False).results[0])
        norm = FUNCTIONS[np.linalg.norm]
        y = norm(wrap(value), p, axis=(-2, -1)) * norm(inverse, p, axis=(-2, -1))
        y = wrap(cast(y.value, result_dtype(a)))
    isnan = FUNCTIONS[np.isnan]
    unknown = isnan(y) & ~FUNCTIONS[np.any](isnan(a), axis=(-2, -1))
    return FUNCTIONS[np.where](unknown, np.asarray(math.inf, y.dtype), y)
