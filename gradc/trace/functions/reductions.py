"""Reductions over axes, as NumPy defines them: dtypes, keepdims, ddof, where."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from gradc.ir import ShapeError, Value, emit
from gradc.trace.functions.shapes import axes_of, axis_of, reshaped
from gradc.trace.functions.ufuncs import isnan as value_isnan
from gradc.trace.lift import any_traced, cast, operand, supported, traced, wrap
from gradc.trace.methods import converted
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer

_BOOL = np.dtype(bool)


@lru_cache(maxsize=1024)
def _dtype_of(reduction: Callable[..., Any], dtype: np.dtype) -> np.dtype:
    """The dtype that NumPy gives the result, taken from NumPy itself."""
    return reduction(np.ones(1, dtype)).dtype


def _given(where: Any) -> bool:
    return where is not None and where is not True and where is not np._NoValue


def _chosen(x: Tracer, where: Any, otherwise: Any) -> Tracer:
    """The elements for which `where` holds, and `otherwise`, which changes no result, for the rest."""
    return FUNCTIONS[np.where](where, x, np.asarray(otherwise, x.dtype)) if _given(where) else x


def _is_initial(initial: Any) -> bool:
    return initial is not None and initial is not np._NoValue


def _initial(initial: Any, x: Tracer) -> Any:
    """The value to begin with, which does not decide the dtype."""
    return FUNCTIONS[converted](FUNCTIONS[np.asarray](operand(initial)), x.dtype)


def _plain_axis(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


def _axis_of_number(axis: Any, ndim: int) -> Any:
    """The axis of a reduction: numbers have an axis 0 in NumPy's, which are those of ufuncs."""
    return None if not ndim and type(axis) is int and axis in (0, -1) else axis


def _reduced(op: str, value: Value, axis: Any, keepdims: Any) -> Tracer:
    axes = tuple(sorted(axes_of(_axis_of_number(axis, len(value.shape)), len(value.shape))))
    result = wrap(emit(op, value, axes=axes)) if axes else wrap(value)
    return kept(result, value.shape, axes) if keepdims is True else result


def kept(x: Tracer, shape: tuple[int, ...], axes: tuple[int, ...]) -> Tracer:
    """The result with the reduced axes back, of size 1."""
    return reshaped(x, tuple(1 if i in axes else n for i, n in enumerate(shape)))


def _count(x: Tracer, axis: Any) -> int:
    return math.prod(x.shape[i] for i in axes_of(axis, x.ndim))


def _accumulation(op: str, original: Any, ufunc: np.ufunc, identity: int) -> Callable[..., Tracer]:
    """np.sum and np.prod."""

    def reduction(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = None,
    ) -> Tracer:
        x = _chosen(traced(a), where, identity)
        wanted = supported(_dtype_of(original, x.dtype) if dtype is None else np.dtype(dtype))
        y = _reduced(op, cast(x.value, wanted), axis, keepdims)
        return FUNCTIONS[ufunc](y, _initial(initial, y)) if _is_initial(initial) else y

    return reduction


sum = implements(np.sum)(_accumulation("reduce_sum", np.sum, np.add, 0))
prod = implements(np.prod)(_accumulation("reduce_prod", np.prod, np.multiply, 1))


def _extreme(op: str, original: Any, ufunc: np.ufunc) -> Callable[..., Tracer]:
    """np.max and np.min."""

    def reduction(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = None,
    ) -> Tracer:
        x = traced(a)
        given = _is_initial(initial)
        if _given(where) and not given:
            fail(f"np.{original.__name__} with where= needs initial=", "initial=-np.inf, say", ShapeError)
        if _given(where):
            x = FUNCTIONS[np.where](where, x, _initial(initial, x))
        if given and not _count(x, axis):
            shape = np.sum(np.empty(x.shape), _plain_axis(axis), keepdims=keepdims is True).shape
            return FUNCTIONS[np.broadcast_to](traced(_initial(initial, x)), shape)
        y = _reduced(op, x.value, axis, keepdims)
        return FUNCTIONS[ufunc](y, _initial(initial, y)) if given else y

    return reduction


max = implements(np.max, np.amax)(_extreme("reduce_max", np.max, np.maximum))
min = implements(np.min, np.amin)(_extreme("reduce_min", np.min, np.minimum))


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Tracer:
    return max(a, axis, keepdims=keepdims) - min(a, axis, keepdims=keepdims)


def _logical(op: str, original: Any, otherwise: bool) -> Callable[..., Tracer]:
    """np.any and np.all."""

    def reduction(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = None
    ) -> Tracer:
        x = wrap(cast(traced(a).value, _BOOL))
        return _reduced(op, _chosen(x, where, otherwise).value, axis, keepdims)

    return reduction


any = implements(np.any)(_logical("reduce_max", np.any, False))
all = implements(np.all)(_logical("reduce_min", np.all, True))


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tracer:
    x = cast(traced(a).value, _BOOL)
    return _reduced("reduce_sum", cast(x, np.dtype(np.intp)), axis, keepdims)


def _argument(op: str, original: Any) -> Callable[..., Tracer]:
    """np.argmax and np.argmin: of the flat array if no axis is given."""

    def reduction(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Tracer:
        x = traced(a)
        axis = _axis_of_number(axis, x.ndim)
        flat = reshaped(x, (x.size,)) if axis is None else x
        along = 0 if axis is None else axis_of(axis, x.ndim)
        if not flat.shape[along]:
            fail(f"np.{original.__name__} of an empty axis of shape {x.shape}", None, ShapeError)
        y = wrap(emit(op, flat.value, axis=along))
        axes = axes_of(None, x.ndim) if axis is None else (along,)
        return kept(y, x.shape, axes) if keepdims is True else y

    return reduction


argmax = implements(np.argmax)(_argument("argmax", np.argmax))
argmin = implements(np.argmin)(_argument("argmin", np.argmin))


@implements(np.mean)
def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = None
) -> Tracer:
    x = traced(a)
    wanted = supported(_dtype_of(np.mean, x.dtype) if dtype is None else np.dtype(dtype), "np.mean")
    total = sum(x, axis, wanted, keepdims=keepdims, where=where)
    if _given(where):
        count = sum(FUNCTIONS[np.broadcast_to](where, x.shape), axis, keepdims=keepdims)
        y = total / count.astype(wanted)
    else:
        y = total / np.asarray(_count(x, axis), wanted)
    return y if wanted.kind == "f" else y.astype(wanted)


def root(x: Tracer) -> Tracer:
    """The square root, 0 with all its derivatives at 0: the subgradient of a norm or standard deviation."""
    return without_zero(x, FUNCTIONS[np.sqrt])


def without_zero(x: Tracer, function: Callable[[Tracer], Tracer]) -> Tracer:
    """A function that is 0 at 0, and has no derivatives there."""
    where = FUNCTIONS[np.where]
    zero = FUNCTIONS[np.equal](x, 0)
    return where(zero, np.zeros((), x.dtype), function(where(zero, np.ones((), x.dtype), x)))


def corrected(ddof: Any, correction: Any) -> Any:
    """What is taken from the number of elements, under either of its two names."""
    if correction is None or correction is np._NoValue:
        return ddof
    if any_traced(ddof) or ddof != 0:
        fail("ddof and correction can't be provided simultaneously.", None, ShapeError)
    return correction


@implements(np.var)
def var(
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
    """The mean of the squared distances from the mean, with n - ddof in place of n."""
    x = traced(a)
    ddof = corrected(ddof, correction)
    wanted = supported(_dtype_of(np.var, x.dtype) if dtype is None else np.dtype(dtype), "np.var")
    if wanted.kind != "f":
        fail(f"gradc traces np.var and np.std in floats, not in {wanted}", "dtype=float")
    x = wrap(cast(x.value, wanted))
    center = _mean(x, axis, keepdims=True, where=where) if mean is None or mean is np._NoValue else mean
    distance = x - center
    total = sum(distance * distance, axis, keepdims=keepdims, where=where)
    if _given(where):
        count = sum(FUNCTIONS[np.broadcast_to](where, x.shape), axis, keepdims=keepdims) - ddof
        return total / FUNCTIONS[np.maximum](count, 0).astype(wanted)
    count = _count(x, axis) - ddof
    return total / np.asarray(count if count > 0 else 0, wanted)


_mean = mean


@implements(np.std)
def std(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, **kwargs: Any) -> Tracer:
    return root(var(a, axis, dtype, out, ddof, **kwargs))


@implements(np.average)
def average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False
) -> Any:
    x = operand(a)
    if weights is None:
        result = mean(x, axis, keepdims=keepdims)
        if not returned:
            return result
        return result, np.full(result.shape, _count(x, axis), result.dtype)
    w = operand(weights)
    if w.shape != x.shape:
        if axis is None:
            fail("Axis must be specified when shapes of a and weights differ.")
        axes = axes_of(axis, x.ndim)
        if w.shape != tuple(x.shape[i] for i in axes):
            fail(f"weights of shape {w.shape} do not fit an array of shape {x.shape}", None, ShapeError)
        order = np.argsort(axes)
        w = FUNCTIONS[np.transpose](w, tuple(int(i) for i in order))
        w = FUNCTIONS[np.reshape](w, tuple(n if i in axes else 1 for i, n in enumerate(x.shape)))
        w = FUNCTIONS[np.broadcast_to](w, x.shape)
    dtype = np.result_type(x.dtype, w.dtype, np.float64 if x.dtype.kind in "iub" else x.dtype)
    scale = FUNCTIONS[np.sum](w, axis, dtype, keepdims=keepdims)
    result = sum(x * w, axis, dtype, keepdims=keepdims) / scale
    return (result, FUNCTIONS[np.broadcast_to](scale, result.shape)) if returned else result


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tracer:
    """Norms of vectors and of matrices, for every order.

    At 0, where a norm has no derivative, the gradient is 0.
    """
    v = traced(x)
    if v.dtype.kind != "f":
        v = v.astype(np.float64)
    axes = axes_of(axis, v.ndim)
    if axis is None and ord is None:
        return root(sum(v * v, None, keepdims=keepdims))
    if len(axes) == 1:
        return _vector_norm(v, ord, axes, keepdims)
    if len(axes) != 2:
        fail(f"np.linalg.norm takes one or two axes, not {len(axes)}", "axis=-1", ShapeError)
    if ord in (None, "fro", "f"):
        return root(sum(v * v, axes, keepdims=keepdims))
    if ord in (2, -2, "nuc"):
        from gradc.trace.functions.spectra import spectral_norm

        return spectral_norm(v, ord, axes, keepdims)
    if ord not in (1, -1, math.inf, -math.inf):
        raise ValueError("Invalid norm order for matrices.")
    first, second = axes if abs(ord) == 1 else axes[::-1]
    columns = sum(FUNCTIONS[np.absolute](v), first, keepdims=True)
    result = (max if ord > 0 else min)(columns, second, keepdims=True)
    return result if keepdims else FUNCTIONS[np.squeeze](result, axes)


def _vector_norm(v: Tracer, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Tracer:
    size = FUNCTIONS[np.absolute](v)
    if isinstance(ord, str):
        fail(f"Invalid norm order {ord!r} for vectors", None, ShapeError)
    if ord is None or ord == 2:
        return root(sum(v * v, axes, keepdims=keepdims))
    if ord in (math.inf, -math.inf):
        return (max if ord > 0 else min)(size, axes, keepdims=keepdims)
    if ord == 0:
        return sum(FUNCTIONS[np.not_equal](v, 0).astype(v.dtype), axes, keepdims=keepdims)
    if ord == 1:
        return sum(size, axes, keepdims=keepdims)
    total = sum(size**ord, axes, keepdims=keepdims)
    inverse = np.reciprocal(np.asarray(ord, v.dtype))
    return without_zero(total, lambda x: x**inverse) if ord > 0 else total**inverse


def _without_nan(original: Any, reduction: Callable[..., Any], otherwise: float) -> None:
    """np.nansum and the like: NaN counts as the value that changes nothing."""

    def function(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = None,
    ) -> Tracer:
        x = traced(a)
        if x.dtype.kind == "f":
            x = FUNCTIONS[np.where](FUNCTIONS[np.isnan](x), np.asarray(otherwise, x.dtype), x)
        return reduction(x, axis, dtype, None, keepdims, initial, where)

    function.__name__ = original.__name__
    implements(original)(function)


_without_nan(np.nansum, sum, 0)
_without_nan(np.nanprod, prod, 1)


def inexact(x: Tracer, dtype: Any) -> None:
    """Errors: `TraceError` for another than a float dtype, which statistics without NaN do not compute in."""
    if dtype is not None and np.dtype(dtype).kind != "f":
        fail(f"If a is inexact, then dtype must be inexact, not {np.dtype(dtype)}: a is {x.dtype}")


def numbers_in(x: Tracer, where: Any) -> Tracer:
    """Where the numbers are that count: not NaN, and chosen by `where`."""
    found = wrap(~value_isnan(x.value))
    return found & FUNCTIONS[np.not_equal](operand(where), 0) if _given(where) else found


@implements(np.nanmean)
def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = None
) -> Tracer:
    x = traced(a)
    if x.dtype.kind != "f":
        return mean(x, axis, dtype, out, keepdims, where=where)
    inexact(x, dtype)
    return mean(x, axis, dtype, out, keepdims, where=numbers_in(x, where))
