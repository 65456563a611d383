"""Running sums and products: np.cumsum and its like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir import ShapeError
from gradc.trace.functions.folding import accumulated
from gradc.trace.functions.shapes import axis_of, reshaped
from gradc.trace.lift import traced
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer


def _along_or_flat(name: str, ufunc: np.ufunc, identity: int | None = None) -> Callable[..., Tracer]:
    """np.cumsum and np.cumprod; with an `identity`, which takes the place of NaN, their nan-variants."""

    def running(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Tracer:
        x = traced(a)
        if identity is not None and x.dtype.kind == "f":
            x = FUNCTIONS[np.where](FUNCTIONS[np.isnan](x), np.asarray(identity, x.dtype), x)
        if axis is None or not x.ndim:
            x, axis = reshaped(x, (x.size,)), 0 if axis is None else axis  # a number has one axis here
        return accumulated(ufunc, x, axis, dtype)

    running.__name__ = name
    return running


cumsum = implements(np.cumsum)(_along_or_flat("cumsum", np.add))
cumprod = implements(np.cumprod)(_along_or_flat("cumprod", np.multiply))
nancumsum = implements(np.nancumsum)(_along_or_flat("nancumsum", np.add, 0))
nancumprod = implements(np.nancumprod)(_along_or_flat("nancumprod", np.multiply, 1))


def _with_first(name: str, ufunc: np.ufunc) -> Callable[..., Tracer]:
    """np.cumulative_sum and np.cumulative_prod."""

    def running(
        x: Any,
        /,
        *,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        include_initial: bool = False,
    ) -> Tracer:
        array = traced(x)
        if axis is None and array.ndim > 1:
            fail(f"np.{name} of several axes needs axis=", "x.ravel() for all elements", ShapeError)
        y = accumulated(ufunc, array, axis or 0, dtype)
        if not include_initial:
            return y
        along = axis_of(axis or 0, array.ndim)
        shape = tuple(1 if i == along else n for i, n in enumerate(y.shape))
        first = FUNCTIONS[np.full](shape, ufunc.identity, y.dtype)
        return FUNCTIONS[np.concatenate]([first, y], along)

    running.__name__ = name
    return running


if hasattr(np, "cumulative_sum"):
    implements(np.cumulative_sum)(_with_first("cumulative_sum", np.add))
    implements(np.cumulative_prod)(_with_first("cumulative_prod", np.multiply))
