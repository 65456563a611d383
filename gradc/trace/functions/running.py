"""Running sums, products and extremes: np.cumsum and its like, and `accumulate` of the ufuncs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from gradc.ir import ShapeError, emit
from gradc.trace.functions.shapes import axis_of, reshaped
from gradc.trace.lift import cast, supported, traced, wrap
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements, no_writes
from gradc.trace.tracer import Tracer
from gradc.trace.ufunc import ACCUMULATE, ASSOCIATIVE, Ufunc

RUNNING = {
    np.add: "cumsum",
    np.multiply: "cumprod",
    np.maximum: "cummax",
    np.minimum: "cummin",
    np.logical_or: "cummax",
    np.logical_and: "cummin",
}
"""The op that accumulates a ufunc."""


@lru_cache(maxsize=1024)
def _dtype_of(ufunc: np.ufunc, dtype: np.dtype) -> np.dtype:
    """The dtype that NumPy gives the result, taken from NumPy itself."""
    return ufunc.accumulate(np.ones(1, dtype)).dtype


def accumulated(ufunc: np.ufunc, x: Tracer, axis: int, dtype: Any = None) -> Tracer:
    """What `ufunc.accumulate` gives along one axis."""
    along = axis_of(axis, x.ndim)
    wanted = supported(_dtype_of(ufunc, x.dtype) if dtype is None else np.dtype(dtype))
    if ufunc in RUNNING:
        return wrap(emit(RUNNING[ufunc], cast(x.value, wanted), axis=along, reverse=False))
    if ufunc not in ASSOCIATIVE:
        known = ", ".join(f"np.{u.__name__}" for u in RUNNING)
        fail(f"gradc cannot trace np.{ufunc.__name__}.accumulate", f"accumulate of {known}")
    y = FUNCTIONS[np.moveaxis](wrap(cast(x.value, wanted)), along, 0)
    distance = 1
    while distance < len(y):  # element i has the terms from i - distance + 1 on
        pairs = FUNCTIONS[ufunc](y[:-distance], y[distance:])
        y = FUNCTIONS[np.concatenate]([y[:distance], pairs])
        distance *= 2
    return FUNCTIONS[np.moveaxis](y, 0, along)


def _accumulate(ufunc: Ufunc, array: Any, axis: Any, dtype: Any) -> Tracer:
    x = traced(array)
    if not x.ndim:
        fail(f"np.{ufunc.__name__}.accumulate takes an array, not a number", None, ShapeError)
    return accumulated(ufunc.original, x, axis, dtype)


ACCUMULATE.append(_accumulate)


def _along_or_flat(name: str, ufunc: np.ufunc, identity: int | None = None) -> Callable[..., Tracer]:
    """np.cumsum and np.cumprod; with an `identity`, which takes the place of NaN, their nan-variants."""

    def running(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Tracer:
        if out is not None:
            no_writes(f"out= of np.{name}")
        x = traced(a)
        if identity is not None and x.dtype.kind == "f":
            x = FUNCTIONS[np.where](FUNCTIONS[np.isnan](x), np.asarray(identity, x.dtype), x)
        if axis is None or not x.ndim:
            x, axis = reshaped(x, (x.size,)), 0
        return accumulated(ufunc, x, axis, dtype)

    running.__name__ = name
    return running


cumsum = implements(np.cumsum)(_along_or_flat("cumsum", np.add))
cumprod = implements(np.cumprod)(_along_or_flat("cumprod", np.multiply))
nancumsum = implements(np.nancumsum)(_along_or_flat("nancumsum", np.add, 0))
nancumprod = implements(np.nancumprod)(_along_or_flat("nancumprod", np.multiply, 1))
