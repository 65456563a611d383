"""What the rules of matrix ops are written with: products, triangles, identities, all over leading axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gradc.ir.errors import ShapeError
from gradc.ir.graph import Value, emit
from gradc.ir.op import Cotangent
from gradc.ir.ops.elementwise import where
from gradc.ir.types import BOOL, F64, I64, Type


def matrix_type(name: str, x: Type, *, square: bool = False) -> Type:
    """The type, which is of float64 matrices: NumPy's linear algebra casts to and from it. Errors:
    `ShapeError`."""
    if x.dtype != F64 or x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ShapeError(f"{name} takes {'square ' if square else ''}f64 matrices, not {x}")
    return x


def flags_type(x: Type) -> Type:
    """For every matrix whether it has what was asked for."""
    return Type(BOOL, x.shape[:-2])


def each_matrix(
    run: Callable[..., Sequence[np.ndarray]], types: Sequence[Type], *arrays: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The meaning of an op with the results `types` and a flag: `run` on one matrix after the other.

    Where NumPy raises LinAlgError, all results are NaN and the flag is false, as its loops leave them.
    """
    batch = arrays[0].shape[:-2]
    results = [np.full(t.shape, np.nan, t.dtype) for t in types]
    ok = np.ones(batch, bool)
    for i in np.ndindex(*batch):
        try:
            found = run(*[a[i] for a in arrays])
        except np.linalg.LinAlgError:
            ok[i] = False
            continue
        for result, y in zip(results, found, strict=True):
            result[i] = y
    return (*results, ok)


def adjoint(x: Value) -> Value:
    """The transposed matrices."""
    last = len(x.shape)
    return emit("transpose", x, axes=(*range(last - 2), last - 1, last - 2))


def product(a: Value, b: Value, *, transpose_a: bool = False, transpose_b: bool = False) -> Value:
    return emit("matmul", a, b, transpose_a=transpose_a, transpose_b=transpose_b)


def value_of(g: Value | Cotangent) -> Value:
    return g.value if isinstance(g, Cotangent) else g


def numbers(type: Type, axis: int) -> Value:
    """The row (axis -2) or column (-1) of every element."""
    return emit("iota", type=type.with_dtype(I64), axis=type.ndim + axis)


def lower_part(x: Value, *, strict: bool = False) -> Value:
    """The lower triangle (without its diagonal if `strict`), and 0 elsewhere."""
    rows, columns = numbers(x.type, -2), numbers(x.type, -1)
    return where(rows > columns if strict else emit("ge", rows, columns), x, 0)


def upper_part(x: Value, *, strict: bool = False) -> Value:
    """The upper triangle (without its diagonal if `strict`), and 0 elsewhere."""
    rows, columns = numbers(x.type, -2), numbers(x.type, -1)
    return where(rows < columns if strict else emit("le", rows, columns), x, 0)


def is_diagonal(type: Type) -> Value:
    return emit("eq", numbers(type, -2), numbers(type, -1))


def identity(type: Type) -> Value:
    """Identity matrices (ones on the diagonal, for matrices that are not square)."""
    return emit("cast", is_diagonal(type), type=type)


def along_rows(v: Value, like: Type) -> Value:
    """Vectors repeated as the rows of matrices: element j in column j."""
    lead = len(v.shape) - 1
    return emit("broadcast", v, shape=like.shape, axes=(*range(lead), lead + 1))


def along_columns(v: Value, like: Type) -> Value:
    """Vectors repeated as the columns of matrices: element i in row i."""
    return emit("broadcast", v, shape=like.shape, axes=tuple(range(len(v.shape))))


def per_matrix(v: Value, like: Type) -> Value:
    """Numbers repeated over matrices."""
    return emit("broadcast", v, shape=like.shape, axes=tuple(range(len(v.shape))))


def diagonal_matrix(v: Value) -> Value:
    """Vectors as diagonal matrices."""
    full = along_rows(v, v.type.with_shape((*v.shape, v.shape[-1])))
    return where(is_diagonal(full.type), full, 0)


def diagonal(x: Value) -> Value:
    """The diagonals of square matrices, as a sum over rows in which all else is 0."""
    return emit("reduce_sum", where(is_diagonal(x.type), x, 0), axes=(len(x.shape) - 2,))


def folded(x: Value) -> Value:
    """The gradient for the lower triangle, of a function of a symmetric matrix that reads nothing else.

    `x` is the gradient as if all elements were read; those of the upper triangle count for the lower one.
    """
    both = x + adjoint(x)
    return where(is_diagonal(x.type), x, lower_part(both))
