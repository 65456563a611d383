"""Covariances and correlations, and statistics that leave NaN out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir import DomainError, ShapeError, emit
from gradc.trace.functions.reductions import argmax, argmin, corrected, inexact, mean, numbers_in, root, var
from gradc.trace.functions.reductions import max as maximum
from gradc.trace.functions.reductions import min as minimum
from gradc.trace.functions.reductions import sum as total
from gradc.trace.lift import any_traced, operand, plain, supported, traced, wrap
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer


@implements(np.cov)
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Tracer:
    """The products of distances from the means, over the number of observations less ddof."""
    parts = [traced(v) for v in (m, y) if v is not None]
    wanted = supported(
        np.result_type(*[v.dtype for v in parts], np.float64) if dtype is None else np.dtype(dtype)
    )
    if any(v.ndim > 2 for v in parts):
        fail("np.cov takes arrays with one or two axes", None, ShapeError)
    rows = [FUNCTIONS[np.atleast_2d](v).astype(wanted) for v in parts]
    if not rowvar:
        first, *more = zip(rows, parts, strict=True)
        rows = [first[0] if first[1].ndim < 2 else first[0].T, *[v if len(v) == 1 else v.T for v, _ in more]]
    x = FUNCTIONS[np.concatenate](rows) if len(rows) > 1 else rows[0]
    less = (0 if bias else 1) if ddof is None else ddof
    weights = [operand(w) for w in (fweights, aweights) if w is not None]
    for w in weights:
        if np.shape(w if not isinstance(w, Tracer) else np.empty(w.shape)) != (x.shape[1],):
            fail(f"np.cov takes a weight for each of {x.shape[1]} observations", None, ShapeError)
    if fweights is not None and not any_traced(weights[0]) and np.any(np.asarray(plain(weights[0])) % 1):
        fail("fweights must be integer")
    if not weights:
        distance = x - mean(x, 1, keepdims=True)
        weighted, count = distance, max(x.shape[1] - less, 0)
    else:
        w = weights[0] * weights[1] if len(weights) > 1 else weights[0]
        whole = FUNCTIONS[np.sum](w)
        distance = x - total(x * w, 1, keepdims=True) / whole
        weighted, count = distance * w, whole
        if less and aweights is None:
            count = whole - less
        elif less:
            count = whole - less * FUNCTIONS[np.sum](w * operand(aweights)) / whole
        if not any_traced(count):
            count = FUNCTIONS[np.maximum](count, 0)
    if not any_traced(count):
        count = np.asarray(count, wanted)
    c = FUNCTIONS[np.matmul](distance, weighted.T) / count
    return FUNCTIONS[np.squeeze](c)


@implements(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Tracer:
    """Covariances over the products of the standard deviations, from -1 to 1."""
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    deviation = FUNCTIONS[np.sqrt](FUNCTIONS[np.diagonal](c))
    return FUNCTIONS[np.clip](c / deviation[:, None] / deviation[None, :], -1, 1)


def _numbers(a: Any, otherwise: float) -> tuple[Tracer, Tracer | None]:
    """The array with NaN replaced, and where NaN was; None for what cannot hold NaN."""
    x = traced(a)
    if x.dtype.kind != "f":
        return x, None
    nan = FUNCTIONS[np.isnan](x)
    return FUNCTIONS[np.where](nan, np.asarray(otherwise, x.dtype), x), nan


def _nan_extreme(original: Any, reduction: Callable[..., Any], lowest: float) -> None:
    """np.nanmax and np.nanmin: NaN where there are no numbers."""

    def function(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = None,
    ) -> Tracer:
        x, nan = _numbers(a, lowest)
        y = reduction(x, axis, None, keepdims, initial, where)
        if nan is None or not (initial is None or initial is np._NoValue):
            return y
        none = FUNCTIONS[np.all](nan, axis, keepdims=keepdims)
        return FUNCTIONS[np.where](none, np.asarray(np.nan, x.dtype), y)

    function.__name__ = original.__name__
    implements(original)(function)


_nan_extreme(np.nanmax, maximum, -np.inf)
_nan_extreme(np.nanmin, minimum, np.inf)


def _nan_argument(original: Any, argument: Callable[..., Tracer], lowest: float) -> None:
    """np.nanargmax and np.nanargmin. Errors: `DomainError` at run time where there are no numbers."""

    def function(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Tracer:
        x, nan = _numbers(a, lowest)
        y = argument(x, axis, keepdims=keepdims)
        if nan is None:
            return y
        some = FUNCTIONS[np.any](~nan, axis, keepdims=keepdims)
        message, error = "All-NaN slice encountered", DomainError.__name__
        return wrap(emit("require", y.value, some.value, message=message, error=error))

    function.__name__ = original.__name__
    implements(original)(function)


_nan_argument(np.nanargmax, argmax, -np.inf)
_nan_argument(np.nanargmin, argmin, np.inf)


@implements(np.nanvar)
def nanvar(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: Any = None,
) -> Tracer:
    """NaN where there are not more numbers than ddof."""
    x = traced(a)
    if x.dtype.kind != "f":
        return var(x, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    inexact(x, dtype)
    ddof = corrected(ddof, correction)
    x = x if dtype is None else x.astype(dtype)
    counted = numbers_in(x, where)
    zero = np.zeros((), x.dtype)
    count = total(counted, axis, keepdims=True).astype(x.dtype)
    if mean is None or mean is np._NoValue:
        mean = total(FUNCTIONS[np.where](counted, x, zero), axis, keepdims=True) / count
    distance = FUNCTIONS[np.where](counted, x - mean, zero)
    left = count - ddof
    y = total(distance * distance, axis, keepdims=True) / left
    y = FUNCTIONS[np.where](left > 0, y, np.asarray(np.nan, x.dtype))
    return y if keepdims is True else FUNCTIONS[np.sum](y, axis)  # of one element along every axis


@implements(np.nanstd)
def nanstd(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    **options: Any,
) -> Any:
    return root(nanvar(a, axis, dtype, out, ddof, keepdims, **options))


@implements(np.isposinf)
def isposinf(x: Any, out: Any = None) -> Tracer:
    return FUNCTIONS[np.equal](traced(x), np.inf)


@implements(np.isneginf)
def isneginf(x: Any, out: Any = None) -> Tracer:
    return FUNCTIONS[np.equal](traced(x), -np.inf)
