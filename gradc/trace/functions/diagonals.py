"""Diagonals, triangles and differences of neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.ir import ShapeError, constant, emit
from gradc.ir.types import Type
from gradc.trace.functions.shapes import axis_of, reshaped, sliced
from gradc.trace.lift import operand, plain, traced, wrap
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer


@implements(np.diagonal, views=True)
def diagonal(a: Any, offset: int = 0, axis1: int | None = None, axis2: int | None = None) -> Tracer:
    x = traced(a)
    i, j = axis_of(0 if axis1 is None else axis1, x.ndim), axis_of(1 if axis2 is None else axis2, x.ndim)
    x = FUNCTIONS[np.moveaxis](x, (i, j), (-2, -1))
    rows, columns = x.shape[-2:]
    size = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    start = max(offset, 0) - min(offset, 0) * columns
    # Rows in one line: the diagonal is every (columns + 1)th element.
    line = reshaped(x, (*x.shape[:-2], rows * columns))
    y = sliced(line, line.ndim - 1, start if size else 0, size, columns + 1)
    return Tracer(y.cell, y.path, fixed="a diagonal, which NumPy gives for reading only")


@implements(np.linalg.diagonal, views=True)
def matrix_diagonal(x: Any, /, *, offset: int = 0) -> Tracer:
    return diagonal(x, offset, -2, -1)


@implements(np.diag, views=True)
def diag(v: Any, k: int = 0) -> Tracer:
    x = traced(v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        fail(f"np.diag takes an array with one or two axes, not shape {x.shape}", None, ShapeError)
    size = x.size + abs(k)
    start = max(k, 0) - min(k, 0) * size
    if not x.size:
        return wrap(constant(0, Type(x.dtype, (size, size))))
    line = emit("pad", x.value, shape=(size * size,), starts=(start,), steps=(size + 1,), value=0)
    return reshaped(wrap(line), (size, size))


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Tracer:
    return diag(FUNCTIONS[np.ravel](v), k)


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Tracer:
    return FUNCTIONS[np.sum](diagonal(a, offset, axis1, axis2), -1, dtype)


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Tracer:
    x = traced(m)
    return FUNCTIONS[np.where](np.tri(*x.shape[-2:], k=k, dtype=bool), x, np.zeros((), x.dtype))


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Tracer:
    x = traced(m)
    return FUNCTIONS[np.where](np.tri(*x.shape[-2:], k=k - 1, dtype=bool), np.zeros((), x.dtype), x)


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tracer:
    x = traced(a)
    if n < 0:
        fail(f"order must be non-negative but got {n}", None, ShapeError)
    along = axis_of(axis, x.ndim)
    ends = []
    for end in (prepend, append):
        if end is None or end is np._NoValue:
            ends.append([])
            continue
        e = operand(end)
        one = (*x.shape[:along], 1, *x.shape[along + 1 :])
        ends.append([e if np.ndim(plain(e)) else FUNCTIONS[np.broadcast_to](e, one)])
    if ends[0] or ends[1]:
        x = FUNCTIONS[np.concatenate]([*ends[0], x, *ends[1]], along)
    for _ in range(n):
        size = max(x.shape[along] - 1, 0)
        high, low = sliced(x, along, 1 if size else 0, size), sliced(x, along, 0, size)
        x = FUNCTIONS[np.not_equal if x.dtype.kind == "b" else np.subtract](high, low)
    return x
