"""Products of arrays: matmul and its relatives, as matrix products, sums of products, and einsum."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir import ShapeError, Value, emit
from gradc.trace.functions.shapes import axes_of, reshaped, transposed
from gradc.trace.lift import broadcast, cast, common_dtype, operand, plain, traced, value_of, wrap
from gradc.trace.methods import converted
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer

_BOOL = np.dtype(bool)


def operands(*xs: Any) -> tuple[list[Tracer], np.dtype]:
    """Arrays of one dtype to multiply and add; bool ones as int64."""
    arrays = [operand(x) for x in xs]
    dtype = common_dtype(*arrays)
    inner = np.dtype(np.int64) if dtype == _BOOL else dtype
    return [
        x if type(x) is Tracer and x.traced and x.dtype == inner else wrap(value_of(x, inner)) for x in arrays
    ], dtype


def _finished(x: Tracer, dtype: np.dtype) -> Tracer:
    """The sum of products of bools is whether any of them holds."""
    return x if x.dtype == dtype else wrap(cast(x.value, dtype))


def sum_of_products(a: Tracer, b: Tracer) -> Tracer:
    """Over the last axis of both, which have the same shape."""
    return wrap(emit("reduce_sum", emit("mul", a.value, b.value), axes=(a.ndim - 1,)))


def _axes_moved(x: Any, axes: Any) -> Any:
    """The array with these axes last."""
    axes = axes if isinstance(axes, tuple) else (axes,)
    return FUNCTIONS[np.moveaxis](x, axes, tuple(range(-len(axes), 0)))


def generalized(fn: Callable[..., Tracer], count: int) -> Callable[..., Tracer]:
    """`fn(a, b)` with the options of generalized ufuncs; its result has `count` axes more than the batch."""

    def product(
        x1: Any,
        x2: Any,
        /,
        out: Any = None,
        *,
        axes: Any = None,
        axis: Any = None,
        keepdims: bool = False,
        dtype: Any = None,
        **_: Any,
    ) -> Tracer:
        xs = [operand(x1), operand(x2)]
        if dtype is not None:
            xs = [FUNCTIONS[converted](x, dtype) for x in xs]
        if axis is not None:
            axes = [axis, axis]
        if axes is not None:
            xs = [_axes_moved(x, a) for x, a in zip(xs, axes, strict=False)]
        y = fn(*xs)
        if axes is not None and len(axes) > 2 and count:
            places = axes[2] if isinstance(axes[2], tuple) else (axes[2],)
            y = FUNCTIONS[np.moveaxis](y, tuple(range(-count, 0)), places)
        return FUNCTIONS[np.expand_dims](y, -1 if axes is None else axes[0]) if keepdims else y

    product.__name__ = fn.__name__
    return product


def matmul(x1: Any, x2: Any) -> Tracer:
    """Matrices along the last two axes; arrays with one axis are rows on the left, columns on the right."""
    (a, b), dtype = operands(x1, x2)
    if not a.ndim or not b.ndim:
        fail("matmul does not take numbers", "a * b", ShapeError)
    inner = a.shape[-1], b.shape[-2 if b.ndim > 1 else -1]
    if inner[0] != inner[1]:
        fail(
            f"matmul of shapes {a.shape} and {b.shape}: the inner sizes {inner[0]} and {inner[1]} differ",
            "a.T or b.T transposes a matrix",
            ShapeError,
        )
    if a.ndim == 1 and b.ndim == 1:
        return _finished(sum_of_products(a, b), dtype)
    left = reshaped(a, (1, a.size)) if a.ndim == 1 else a
    right = reshaped(b, (b.size, 1)) if b.ndim == 1 else b
    y = _batched(left, right)
    if a.ndim == 1:
        y = reshaped(y, (*y.shape[:-2], y.shape[-1]))
    if b.ndim == 1:
        y = reshaped(y, y.shape[:-1])
    return _finished(y, dtype)


def _batched(a: Tracer, b: Tracer) -> Tracer:
    """Matrices along the last two axes; the leading ones broadcast."""
    rows, columns = a.shape[-2], b.shape[-1]
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        fail(
            f"matmul of shapes {a.shape} and {b.shape}: the leading sizes do not broadcast", None, ShapeError
        )
    if not batch:
        return wrap(_product(a, b))
    if math.prod(b.shape[:-2]) == 1:  # one matrix on the right: the batch is more rows
        one = reshaped(b, b.shape[-2:])
        many = reshaped(a, (math.prod(a.shape[:-1]), a.shape[-1]))
        return reshaped(wrap(_product(many, one)), (*batch, rows, columns))
    values = []
    for x in (a, b):
        alone = math.prod(x.shape[:-2]) == 1
        values.append(reshaped(x, x.shape[-2:]).value if alone else broadcast(x.value, batch + x.shape[-2:]))
    y = emit("matmul", *values, transpose_a=False, transpose_b=False)
    return reshaped(wrap(y), (*batch, rows, columns))


def _product(a: Tracer, b: Tracer) -> Value:
    return emit("matmul", a.value, b.value, transpose_a=False, transpose_b=False)


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Tracer:
    x, y = [FUNCTIONS[np.asarray](operand(v)) for v in (a, b)]  # Python's numbers are not weak here
    ndims = [v.ndim if isinstance(v, Tracer) else np.ndim(v) for v in (x, y)]
    if 0 in ndims:
        return FUNCTIONS[np.multiply](x, y)
    return matmul(x, y) if max(ndims) <= 2 or ndims[1] == 1 else tensordot(x, y, ([-1], [-2]))


@implements(np.inner)
def inner(a: Any, b: Any) -> Tracer:
    x, y = [FUNCTIONS[np.asarray](operand(v)) for v in (a, b)]
    if not np.ndim(plain(x) if not isinstance(x, Tracer) else np.empty(x.shape)) or not len(np.shape(y)):
        return FUNCTIONS[np.multiply](x, y)
    return tensordot(x, y, ([-1], [-1]))


@implements(np.vdot)
def vdot(a: Any, b: Any) -> Tracer:
    return matmul(FUNCTIONS[np.ravel](a), FUNCTIONS[np.ravel](b))


@implements(np.outer, np.linalg.outer)
def outer(a: Any, b: Any, out: Any = None) -> Tracer:
    x, y = FUNCTIONS[np.ravel](a), FUNCTIONS[np.ravel](b)
    return FUNCTIONS[np.multiply](FUNCTIONS[np.reshape](x, (-1, 1)), FUNCTIONS[np.reshape](y, (1, -1)))


def vecdot(x1: Any, x2: Any) -> Tracer:
    """The sums of products along the last axis."""
    x, y = FUNCTIONS[np.broadcast_arrays](x1, x2)
    (a, b), dtype = operands(x, y)
    return _finished(sum_of_products(a, b), dtype)


def matvec(x1: Any, x2: Any) -> Tracer:
    """Matrices times vectors along the last axis."""
    return FUNCTIONS[np.squeeze](matmul(x1, FUNCTIONS[np.expand_dims](x2, -1)), -1)


def vecmat(x1: Any, x2: Any) -> Tracer:
    """Vectors along the last axis times matrices."""
    return FUNCTIONS[np.squeeze](matmul(FUNCTIONS[np.expand_dims](x1, -2), x2), -2)


implements(np.matmul)(generalized(matmul, 2))
for _name, _product_of in {"vecdot": (vecdot, 0), "matvec": (matvec, 1), "vecmat": (vecmat, 1)}.items():
    if hasattr(np, _name):
        implements(getattr(np, _name))(generalized(*_product_of))
implements(np.linalg.vecdot)(generalized(vecdot, 0))


@implements(np.tensordot, np.linalg.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Tracer:
    """Contract `axes` of both: one matrix product between the axes that stay and those that vanish."""
    (x, y), dtype = operands(a, b)
    if np.ndim(axes) == 0:
        n = operator.index(axes)
        if n > min(x.ndim, y.ndim):
            fail(f"tensordot of shapes {x.shape} and {y.shape} has no {n} axes to contract", None, ShapeError)
        left, right = tuple(range(x.ndim - n, x.ndim)), tuple(range(n))
    else:
        left, right = axes_of(axes[0], x.ndim), axes_of(axes[1], y.ndim)
    sizes = [x.shape[i] for i in left], [y.shape[i] for i in right]
    if sizes[0] != sizes[1]:
        fail(f"tensordot of shapes {x.shape} and {y.shape} along {axes}: the sizes differ", None, ShapeError)
    kept_x = tuple(i for i in range(x.ndim) if i not in left)
    kept_y = tuple(i for i in range(y.ndim) if i not in right)
    shape = tuple(x.shape[i] for i in kept_x) + tuple(y.shape[i] for i in kept_y)
    k = math.prod(sizes[0])
    rows = reshaped(transposed(x, kept_x + left), (math.prod(x.shape[i] for i in kept_x), k))
    columns = reshaped(transposed(y, right + kept_y), (k, math.prod(y.shape[i] for i in kept_y)))
    return _finished(reshaped(wrap(_product(rows, columns)), shape), dtype)


@implements(np.kron)
def kron(a: Any, b: Any) -> Tracer:
    x, y = traced(a), traced(b)
    ndim = max(x.ndim, y.ndim)
    n = (1,) * (ndim - x.ndim) + x.shape
    m = (1,) * (ndim - y.ndim) + y.shape
    left = reshaped(x, tuple(s for size in n for s in (size, 1)))
    right = reshaped(y, tuple(s for size in m for s in (1, size)))
    return reshaped(left * right, tuple(i * j for i, j in zip(n, m, strict=True)))


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Tracer:
    result, *rest = [operand(x) for x in arrays]
    for x in rest:
        result = matmul(result, x)
    return result


@implements(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Tracer:
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = FUNCTIONS[np.moveaxis](operand(a), axisa, -1), FUNCTIONS[np.moveaxis](operand(b), axisb, -1)
    sizes = x.shape[-1], y.shape[-1]
    if not set(sizes) <= {2, 3}:
        what = f"not shapes {x.shape} and {y.shape}"
        fail(f"np.cross takes vectors of 2 or 3 elements, {what}", None, ShapeError)
    p, q, *r = [x[..., i] for i in range(sizes[0])]
    s, t, *u = [y[..., i] for i in range(sizes[1])]
    last = p * t - q * s
    if not r and not u:
        return last
    third = [v[0] if v else np.zeros((), last.dtype) for v in (r, u)]
    parts = [q * third[1] - third[0] * t, third[0] * s - p * third[1], last]
    return FUNCTIONS[np.stack](parts, axisc)
