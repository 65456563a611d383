"""Linear systems: Cholesky's factor, solutions with general and triangular matrices, determinants.

All take any number of leading axes, and float64, in which NumPy computes (triangular systems float32 too). A
result for which there is no matrix (of a singular one, say) is NaN, and false in the flags that come with it:
whoever wants an error asks for it with `require`.

Gradients: M. Giles, Collected matrix derivative results for forward and reverse mode algorithmic
differentiation (2008); I. Murray, Differentiation of the Cholesky decomposition (2016), section 3.
"""

from __future__ import annotations

import numpy as np

from gradc.ir.errors import ShapeError
from gradc.ir.graph import Value, emit, emit_node
from gradc.ir.op import Cotangent, Op
from gradc.ir.ops.elementwise import where
from gradc.ir.ops.matrices import (
    adjoint,
    each_matrix,
    flags_type,
    folded,
    identity,
    is_diagonal,
    lower_part,
    matrix_type,
    per_matrix,
    product,
    upper_part,
    value_of,
)
from gradc.ir.types import Type, type_of

Gradients = tuple[Value | None, ...]


def cholesky_type(x: Type) -> tuple[Type, Type]:
    """Factors of square matrices, and a flag for each."""
    return matrix_type("cholesky", x, square=True), flags_type(x)


def cholesky_meaning(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The lower factor L of x = L Lᵀ, from the lower triangle of x; and whether x is positive definite."""
    return each_matrix(lambda a: (np.linalg.cholesky(a),), [type_of(x)], x)


def cholesky_vjp(g: tuple[Value | None, ...], y: tuple[Value, ...], x: Value) -> Value | None:
    """With P the lower triangle of Lᵀ g, its diagonal halved: L⁻ᵀ P L⁻¹, symmetrized.

    Only the lower triangle of x is read, so only it has a gradient.
    """
    (g_factor, _), (factor, _) = g, y
    if g_factor is None:
        return None
    p = lower_part(product(factor, g_factor, transpose_a=True))
    p = where(is_diagonal(p.type), p * 0.5, p)
    half = triangular(factor, p, transpose=True)
    whole = triangular(factor, adjoint(half), transpose=True)
    return folded((whole + adjoint(whole)) * 0.5)


Op("cholesky", cholesky_meaning, cholesky_type, cholesky_vjp, arity=1)


def _right_side(name: str, a: Type, b: Type) -> Type:
    """The type of the solutions: that of b."""
    square = a.is_float and a.ndim > 1 and a.shape[-1] == a.shape[-2]
    if not square or a.dtype != b.dtype or b.ndim != a.ndim or b.shape[:-1] != a.shape[:-1]:
        raise ShapeError(f"{name} takes f[..., n, n] and f[..., n, k], not {a} and {b}")
    return b


def solve_type(a: Type, b: Type, *, transpose: bool) -> tuple[Type, Type]:
    """Solutions in the type of b, and a flag for each matrix."""
    return _right_side("solve", matrix_type("solve", a, square=True), b), flags_type(a)


def solve_meaning(a: np.ndarray, b: np.ndarray, *, transpose: bool) -> tuple[np.ndarray, ...]:
    """x with a x = b (aᵀ x = b if `transpose`), and whether a is regular."""
    return each_matrix(
        lambda a, b: (np.linalg.solve(a.T if transpose else a, b),),
        [type_of(b)],
        np.ascontiguousarray(a),
        b,
    )


def solve_vjp(
    g: tuple[Value | None, ...], y: tuple[Value, ...], a: Value, b: Value, *, transpose: bool
) -> Gradients:
    """For b: a⁻ᵀ g. For a: -(a⁻ᵀ g) xᵀ."""
    if g[0] is None:
        return None, None
    gb = emit_node("solve", a, g[0], transpose=not transpose).results[0]
    left, right = (y[0], gb) if transpose else (gb, y[0])
    return -product(left, right, transpose_b=True), gb


Op("solve", solve_meaning, solve_type, solve_vjp, arity=2)


def triangular(
    a: Value, b: Value, *, lower: bool = True, transpose: bool = False, unit: bool = False
) -> Value:
    """Emit the solution of a triangular system."""
    return emit("triangular_solve", a, b, lower=lower, transpose=transpose, unit=unit)


def triangular_solve_type(a: Type, b: Type, *, lower: bool, transpose: bool, unit: bool) -> Type:
    """Solutions in the type of b."""
    return _right_side("triangular_solve", a, b)


def triangular_solve_meaning(
    a: np.ndarray, b: np.ndarray, *, lower: bool, transpose: bool, unit: bool
) -> np.ndarray:
    """x with a x = b (aᵀ x = b if `transpose`), by substitution.

    Of a only the triangle that `lower` names is read, and its diagonal counts as ones if `unit`. Division by
    0 on the diagonal gives infinities and NaN.
    """
    if transpose:
        a, lower = np.swapaxes(a, -1, -2), not lower
    n, x = a.shape[-1], np.array(b)
    for i in range(n) if lower else reversed(range(n)):
        known = slice(0, i) if lower else slice(i + 1, n)
        x[..., i, :] -= np.matmul(a[..., i : i + 1, known], x[..., known, :])[..., 0, :]
        if not unit:
            x[..., i, :] /= a[..., i, i][..., None]
    return x


def triangular_solve_vjp(
    g: Cotangent, y: Value, a: Value, b: Value, *, lower: bool, transpose: bool, unit: bool
) -> Gradients:
    """As for `solve`, in the triangle that is read."""
    gb = triangular(a, value_of(g), lower=lower, transpose=not transpose, unit=unit)
    left, right = (y, gb) if transpose else (gb, y)
    full = -product(left, right, transpose_b=True)
    return (lower_part if lower else upper_part)(full, strict=unit), gb


Op("triangular_solve", triangular_solve_meaning, triangular_solve_type, triangular_solve_vjp, arity=2)


def slogdet_type(x: Type) -> tuple[Type, Type]:
    """Two numbers for each square matrix."""
    number = matrix_type("slogdet", x, square=True).with_shape(x.shape[:-2])
    return number, number


def slogdet_vjp(g: tuple[Value | None, ...], y: tuple[Value, ...], x: Value) -> Cotangent | None:
    """The logarithm's is x⁻ᵀ; the sign has none."""
    if g[1] is None:
        return None
    inverse = emit_node("solve", x, identity(x.type), transpose=True).results[0]
    return Cotangent(per_matrix(g[1], x.type)) * inverse


def slogdet_meaning(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """np.linalg.slogdet: the determinant's sign and the logarithm of its size (0, -inf if singular)."""
    return tuple(np.linalg.slogdet(x))


Op("slogdet", slogdet_meaning, slogdet_type, slogdet_vjp, arity=1)
