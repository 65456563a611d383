"""The methods of ufuncs: reduce, accumulate and reduceat.

Where there is an op, it does it. What is associative takes logarithmically many steps; the rest goes through
the elements one by one, as NumPy does, which is unrolled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from gradc.ir import ShapeError, emit
from gradc.trace.functions.shapes import axes_of, axis_of, transposed
from gradc.trace.lift import any_traced, cast, operand, plain, supported, traced, wrap
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.tracer import Tracer
from gradc.trace.ufunc import METHODS, REDUCTIONS, Ufunc

LIMIT = 256
"""How many steps are unrolled into one graph."""

RUNNING = {
    np.add: "cumsum",
    np.multiply: "cumprod",
    np.maximum: "cummax",
    np.minimum: "cummin",
    np.logical_or: "cummax",
    np.logical_and: "cummin",
}
"""The op that accumulates a ufunc."""

ASSOCIATIVE = {
    *(np.logaddexp, np.logaddexp2, np.hypot, np.fmax, np.fmin, np.gcd, np.lcm),
    *(np.logical_xor, np.bitwise_and, np.bitwise_or, np.bitwise_xor),
}
"""What reduces in any order, and has no function of its own."""


def _given(x: Any) -> bool:
    return x is not None and x is not np._NoValue


@lru_cache(maxsize=1024)
def _dtype_of(ufunc: np.ufunc, dtype: np.dtype) -> np.dtype:
    """The dtype that NumPy gives the results, taken from NumPy itself."""
    return ufunc.accumulate(np.ones(1, dtype)).dtype


def _operands(ufunc: np.ufunc, x: Tracer, dtype: Any) -> Tracer:
    """The array in the dtype that it is computed in."""
    if ufunc.nin != 2 or ufunc.nout != 1:
        fail(f"np.{ufunc.__name__} does not reduce: it is no function of two operands", None, ShapeError)
    wanted = supported(_dtype_of(ufunc, x.dtype) if dtype is None else np.dtype(dtype))
    return wrap(cast(x.value, wanted))


def _check(steps: int, ufunc: np.ufunc, method: str) -> None:
    if steps > LIMIT:
        fail(
            f"np.{ufunc.__name__}.{method} would go through {steps} elements one by one while tracing",
            f"gradc.scan, for more than {LIMIT} steps",
        )


# reduce.


def _reduce(
    self: Ufunc,
    array: Any,
    axis: Any = 0,
    dtype: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Tracer:
    ufunc, x = self.original, traced(array)
    options: dict[str, Any] = {"keepdims": keepdims}
    if where is not True and _given(where):
        options["where"] = where
    reduction = REDUCTIONS.get(ufunc)
    if reduction in (np.sum, np.prod):
        return FUNCTIONS[reduction](x, axis=axis, dtype=dtype, initial=initial, **options)
    if reduction in (np.max, np.min):
        x = x if dtype is None else _operands(ufunc, x, dtype)
        return FUNCTIONS[reduction](x, axis=axis, initial=initial, **options)
    if reduction is not None:
        y = FUNCTIONS[reduction](x, axis=axis, **options)
        return self.apply((y, initial)) if _given(initial) else y
    y = _reduced(self, _operands(ufunc, x, dtype), axis, initial, options.get("where"))
    if keepdims is not True:
        return y
    axes = axes_of(axis, x.ndim)
    return FUNCTIONS[np.reshape](y, tuple(1 if i in axes else n for i, n in enumerate(x.shape)))


def _reduced(self: Ufunc, x: Tracer, axis: Any, initial: Any, where: Any) -> Any:
    """The reduction of what has no op, without the axes."""
    ufunc = self.original
    axes = tuple(sorted(axes_of(axis, x.ndim)))
    if len(axes) > 1 and ufunc not in ASSOCIATIVE:
        message = f"reduction operation '{ufunc.__name__}' is not reorderable"
        fail(f"{message}, so at most one axis may be specified", None, ShapeError)
    if where is not None:
        neutral = initial if ufunc in (np.fmax, np.fmin) else ufunc.identity
        if not _given(neutral) or ufunc not in ASSOCIATIVE:
            fail(f"gradc traces np.{ufunc.__name__}.reduce without where=", "np.where of a neutral element")
        x = FUNCTIONS[np.where](where, x, FUNCTIONS[np.asarray](neutral, x.dtype))
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    count = int(np.prod([x.shape[i] for i in axes]))
    rows = FUNCTIONS[np.reshape](transposed(x, axes + rest), (count, *[x.shape[i] for i in rest]))
    if _given(initial):
        first = FUNCTIONS[np.broadcast_to](FUNCTIONS[np.asarray](initial, x.dtype), rows.shape[1:])
        rows = FUNCTIONS[np.concatenate]([first[None], rows])
    if not len(rows):
        if ufunc.identity is None:
            message = f"zero-size array to reduction operation {ufunc.__name__} which has no identity"
            fail(message, None, ShapeError)
        identity = np.asarray(ufunc.identity).astype(x.dtype)  # -1 has all bits of any integer
        return FUNCTIONS[np.full](rows.shape[1:], identity, x.dtype)
    if ufunc is np.subtract:
        return rows[0] - FUNCTIONS[np.sum](rows[1:], 0, x.dtype)
    if ufunc not in ASSOCIATIVE:
        _check(len(rows), ufunc, "reduce")
        y = rows[0]
        for i in range(1, len(rows)):
            y = self.apply((y, rows[i]))
        return y
    while len(rows) > 1:  # halves, until one is left
        half = len(rows) // 2
        pairs = self.apply((rows[:half], rows[half : 2 * half]))
        rows = FUNCTIONS[np.concatenate]([pairs, rows[2 * half :]]) if len(rows) % 2 else pairs
    return rows[0]


# accumulate.


def accumulated(ufunc: np.ufunc, x: Tracer, axis: int, dtype: Any = None) -> Tracer:
    """What `ufunc.accumulate` gives along one axis."""
    along = axis_of(axis, x.ndim)
    x = _operands(ufunc, x, dtype)
    if ufunc in RUNNING:
        return wrap(emit(RUNNING[ufunc], x.value, axis=along, reverse=False))
    y = FUNCTIONS[np.moveaxis](x, along, 0)
    if ufunc is np.subtract:
        rest = y[:1] - FUNCTIONS[np.cumsum](y[1:], 0, y.dtype)
        y = FUNCTIONS[np.concatenate]([y[:1], rest])
    elif ufunc in ASSOCIATIVE:
        y = _doubled(ufunc, y)
    elif len(y):
        _check(len(y), ufunc, "accumulate")
        results = [y[0]]
        for i in range(1, len(y)):
            results.append(FUNCTIONS[ufunc](results[-1], y[i]))
        y = FUNCTIONS[np.stack](results)
    return FUNCTIONS[np.moveaxis](y, 0, along)


def _doubled(ufunc: np.ufunc, y: Tracer) -> Tracer:
    distance = 1
    while distance < len(y):  # element i has the terms from i - distance + 1 on
        pairs = FUNCTIONS[ufunc](y[:-distance], y[distance:])
        y = FUNCTIONS[np.concatenate]([y[:distance], pairs])
        distance *= 2
    return y


def _accumulate(self: Ufunc, array: Any, axis: Any = 0, dtype: Any = None) -> Tracer:
    x = traced(array)
    if not x.ndim:
        fail(f"np.{self.__name__}.accumulate takes an array, not a number", None, ShapeError)
    return accumulated(self.original, x, axis, dtype)


# reduceat.


def _reduceat(self: Ufunc, array: Any, indices: Any, axis: Any = 0, dtype: Any = None) -> Tracer:
    """The reductions from every index to the next one, or of one element where the next is not later."""
    x = traced(array)
    along = axis_of(axis, x.ndim)
    if any_traced(indices):
        fail(
            f"np.{self.__name__}.reduceat takes indices that are known when the function is traced",
            "np.add.at(np.zeros(n), segment_of_each_element, x)",
        )
    starts = np.asarray(plain(operand(indices)), np.intp)
    size = x.shape[along]
    if np.any((starts < 0) | (starts >= size)):
        fail(f"an index of reduceat is out of bounds for size {size}: {starts}", None, ShapeError)
    _check(len(starts), self.original, "reduceat")
    moved = FUNCTIONS[np.moveaxis](x, along, 0)
    if not len(starts):
        return _reduce(self, moved[:1], 0, dtype, keepdims=True)[:0].swapaxes(0, along)
    results = []
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), size], strict=True):
        results.append(_reduce(self, moved[start : max(stop, start + 1)], 0, dtype))
    return FUNCTIONS[np.moveaxis](FUNCTIONS[np.stack](results), 0, along)


_methods: dict[str, Callable[..., Any]] = {
    "reduce": _reduce,
    "accumulate": _accumulate,
    "reduceat": _reduceat,
}
METHODS.update(_methods)
