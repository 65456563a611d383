"""Factorizations into orthogonal matrices: eigenvectors, singular vectors, QR.

As in `factor.py` they take leading axes, and give NaN and a false flag where LAPACK found no result.

Where eigenvalues or singular values are equal, vectors are not determined, and neither are their
derivatives: any rotation among them would do as well. Such a pair contributes 0 to the gradient here, which
is finite then, and right for what depends on the values alone or on the space that the vectors span: a
trace, a projector, the orthogonal factor u @ vt. A function of the matrix, v f(w) vᵀ, lacks f'(w) there.
Values count as equal if they differ by less than rounding moves them: n eps max|w|.

Gradients: M. Giles, Collected matrix derivative results (2008); J. Townsend, Differentiating the singular
value decomposition (2016); S. Walter and L. Lehmann, Algorithmic differentiation of linear algebra functions
with application in optimum experimental design (2010); D. Roberts and L. Roberts, QR and LQ decomposition
matrix backpropagation algorithms for square, wide, and deep matrices (2020).
"""

from __future__ import annotations

import numpy as np

from gradc.ir.graph import Value, emit, zeros
from gradc.ir.op import Op
from gradc.ir.ops.elementwise import where
from gradc.ir.ops.factor import triangular
from gradc.ir.ops.matrices import (
    adjoint,
    along_columns,
    along_rows,
    diagonal_matrix,
    each_matrix,
    flags_type,
    folded,
    is_diagonal,
    lower_part,
    matrix_type,
    product,
    upper_part,
)
from gradc.ir.types import Type, type_of

Given = tuple[Value | None, ...]


def eigh_type(x: Type, *, lower: bool) -> tuple[Type, Type, Type]:
    """Eigenvalues, eigenvectors in columns, and a flag for each matrix."""
    matrix_type("eigh", x, square=True)
    return x.with_shape(x.shape[:-1]), x, flags_type(x)


def eigh_meaning(x: np.ndarray, *, lower: bool) -> tuple[np.ndarray, ...]:
    """np.linalg.eigh of the lower or upper triangle, and whether it converged."""
    values, vectors, _ = eigh_type(type_of(x), lower=lower)
    return each_matrix(lambda a: tuple(np.linalg.eigh(a, "L" if lower else "U")), [values, vectors], x)


def _tolerance(w: Value, n: int) -> Value:
    """How far rounding moves eigenvalues or singular values: the same along all those of a matrix."""
    last = len(w.shape) - 1
    if not w.type.size:
        return w
    largest = emit("reduce_max", emit("abs", w), axes=(last,))
    eps = n * float(np.finfo(w.dtype).eps)
    return emit("broadcast", largest * eps, shape=w.shape, axes=tuple(range(last)))


def _inverse_where(distance: Value, tolerance: Value) -> Value:
    """1 / distance; 0 where it is within the tolerance."""
    close = emit("le", emit("abs", distance), emit("stop_gradient", tolerance))
    return where(close, 0, 1 / where(close, 1, distance))


def eigh_vjp(g: Given, y: tuple[Value, ...], x: Value, *, lower: bool) -> Value | None:
    """V (diag(gw) + F ∘ Vᵀ gV) Vᵀ with F = 1 / (w_j - w_i), folded into the triangle that is read."""
    (gw, gv, _), (w, v, _) = g, y
    inner = None if gw is None else diagonal_matrix(gw)
    if gv is not None:
        distance = along_rows(w, x.type) - along_columns(w, x.type)
        f = _inverse_where(distance, along_rows(_tolerance(w, x.shape[-1]), x.type))
        turned = f * product(v, gv, transpose_a=True)
        inner = turned if inner is None else inner + turned
    if inner is None:
        return None
    full = product(product(v, inner), v, transpose_b=True)
    gradient = folded((full + adjoint(full)) * 0.5)
    return gradient if lower else adjoint(gradient)


Op("eigh", eigh_meaning, eigh_type, eigh_vjp, arity=1)


def svd_type(x: Type) -> tuple[Type, Type, Type, Type]:
    """U, the singular values and Vᵀ, reduced, and a flag for each matrix."""
    *batch, m, n = matrix_type("svd", x).shape
    k = min(m, n)
    return (
        x.with_shape((*batch, m, k)),
        x.with_shape((*batch, k)),
        x.with_shape((*batch, k, n)),
        flags_type(x),
    )


def svd_meaning(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """np.linalg.svd with full_matrices=False, and whether it converged.

    It does not for a matrix with infinities or NaN, for which LAPACK may also run for ever.
    """
    *types, _ = svd_type(type_of(x))
    return each_matrix(_finite_svd, types, x)


def _finite_svd(a: np.ndarray) -> tuple[np.ndarray, ...]:
    if not np.isfinite(a).all():
        raise np.linalg.LinAlgError("SVD did not converge")
    return tuple(np.linalg.svd(a, full_matrices=False))


def _without_projection(x: Value, u: Value) -> Value:
    """x minus its part in the span of the orthonormal columns of u."""
    return x - product(u, product(u, x, transpose_a=True))


def svd_vjp(g: Given, y: tuple[Value, ...], x: Value) -> Value | None:
    """U (diag(gs) + T) Vᵀ, and the parts of gU and gV outside of what U and V span, over s.

    With the antisymmetric J = Uᵀ gU - gUᵀ U and K = Vᵀ gV - gVᵀ V, T is
    ((J + K) / (s_j - s_i) + (J - K) / (s_j + s_i)) / 2 off the diagonal: Townsend's
    (J s_j + s_i K) / (s_j² - s_i²), but exact where singular values are equal and the function does not
    depend on the choice of vectors.
    """
    (gu, gs, gvt, _), (u, s, vt, _) = g, y
    m, n, k = x.shape[-2], x.shape[-1], s.shape[-1]
    square = x.type.with_shape((*s.shape, k))
    inner = None if gs is None else diagonal_matrix(gs)
    total = None
    if gu is not None or gvt is not None:
        left = None if gu is None else product(u, gu, transpose_a=True)
        right = None if gvt is None else product(vt, gvt, transpose_b=True)
        j = zeros(square) if left is None else left - adjoint(left)
        kk = zeros(square) if right is None else right - adjoint(right)
        columns, rows = along_rows(s, square), along_columns(s, square)
        tolerance = along_rows(_tolerance(s, max(m, n)), square)
        apart = _inverse_where(columns - rows, tolerance)
        together = _inverse_where(where(is_diagonal(square), 0, columns + rows), tolerance)
        turned = ((j + kk) * apart + (j - kk) * together) * 0.5
        inner = turned if inner is None else inner + turned
        inverse = _inverse_where(s, _tolerance(s, max(m, n)))
        if gu is not None and m > k:
            rest = _without_projection(gu, u) * along_rows(inverse, u.type)
            total = product(rest, vt)
        if gvt is not None and n > k:
            rest = adjoint(_without_projection(adjoint(gvt), adjoint(vt))) * along_columns(inverse, vt.type)
            part = product(u, rest)
            total = part if total is None else total + part
    if inner is None:
        return None
    spanned = product(product(u, inner), vt)
    return spanned if total is None else spanned + total


Op("svd", svd_meaning, svd_type, svd_vjp, arity=1)


def qr_type(x: Type) -> tuple[Type, Type]:
    """Q and R, reduced."""
    *batch, m, n = matrix_type("qr", x).shape
    k = min(m, n)
    return x.with_shape((*batch, m, k)), x.with_shape((*batch, k, n))


def qr_meaning(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """np.linalg.qr."""
    return tuple(np.linalg.qr(x))


def _columns(x: Value, start: int, size: int) -> Value:
    starts, sizes = (*[0] * (len(x.shape) - 1), start), (*x.shape[:-1], size)
    return emit("slice", x, starts=starts, sizes=sizes, steps=(1,) * len(x.shape))


def qr_vjp(g: Given, y: tuple[Value, ...], x: Value) -> Value:
    """(gQ + Q copyltu(M)) R⁻ᵀ with M = R gRᵀ - gQᵀ Q, where copyltu mirrors the lower triangle.

    A wide matrix is [X, Y] = Q [U, V]: the gradient of Y is Q gV, and that of X as above with gQ + Y gVᵀ.
    """
    (gq, gr), (q, r) = g, y
    gq = zeros(q.type) if gq is None else gq
    gr = zeros(r.type) if gr is None else upper_part(gr)
    m, n = x.shape[-2:]
    rest = None
    if n > m:
        beyond = _columns(gr, m, n - m)
        gq = gq + product(_columns(x, m, n - m), beyond, transpose_b=True)
        rest = product(q, beyond)
        gr, r = _columns(gr, 0, m), _columns(r, 0, m)
    inner = product(r, gr, transpose_b=True) - product(gq, q, transpose_a=True)
    mirrored = lower_part(inner) + adjoint(lower_part(inner, strict=True))
    solved = adjoint(triangular(r, adjoint(gq + product(q, mirrored)), lower=False))
    if rest is None:
        return solved
    return emit("concat", solved, rest, axis=len(x.shape) - 1)


Op("qr", qr_meaning, qr_type, qr_vjp, arity=1)
