"""Medians and quantiles: sorted rows, and the places between their elements that the methods choose.

The methods are those of R. J. Hyndman and Y. Fan, Sample quantiles in statistical packages (The American
Statistician 50, 1996), and NumPy's older ones: lower, higher, nearest, midpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir import DomainError, ShapeError, emit
from gradc.trace.functions.ordering import ordered
from gradc.trace.functions.reductions import kept
from gradc.trace.functions.shapes import axes_of, reshaped, transposed
from gradc.trace.lift import any_traced, operand, plain, supported, traced, wrap
from gradc.trace.methods import converted
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer

Axes = tuple[int, ...]

_PLOTTING = {
    "linear": (1, 1),
    "interpolated_inverted_cdf": (0, 1),
    "hazen": (0.5, 0.5),
    "weibull": (0, 0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
"""Alpha and beta of the methods that interpolate at n q + alpha + q (1 - alpha - beta), counted from 1."""

METHODS = (
    *_PLOTTING,
    *(
        "inverted_cdf",
        "averaged_inverted_cdf",
        "closest_observation",
        "lower",
        "higher",
        "midpoint",
        "nearest",
    ),
)


def _call(original: Any, *args: Any) -> Any:
    return FUNCTIONS[original](*args)


def _places(n: Any, q: Any, method: str) -> tuple[Any, Any]:
    """Of sorted elements, how many come before the quantile, and how far on it is to the next; by method.

    `n` is the number of the elements, at least 1, and `q` the fraction. Places are not yet bounded.
    """
    floor = np.floor
    if method in _PLOTTING:
        alpha, beta = _PLOTTING[method]
        at = (n - 1) * q if method == "linear" else n * q + (alpha + q * (1 - alpha - beta)) - 1
        low = _call(floor, at)
        if method == "linear" and any_traced(q):
            # The last quantile is the end of the last interval, from which it has its derivative.
            low = _call(np.minimum, low, _call(np.maximum, n - 2, 0))
        return low, at - low
    if method in ("inverted_cdf", "averaged_inverted_cdf"):
        at = n * q - 1
        low = _call(floor, at)
        step = at > low
        middle = 1.0 if method == "inverted_cdf" else 0.5
        return low, _call(np.where, step, 1.0, 0.0 if method == "inverted_cdf" else middle)
    if method == "closest_observation":
        at = n * q - 1 - 0.5
        low = _call(floor, at)
        even = (at == low) & (low % 2 == 1)
        return low, _call(np.where, even, 0.0, 1.0)
    at = (n - 1) * q
    low = _call(floor, at)
    if method == "lower":
        return low, at * 0
    if method == "higher":
        return _call(np.ceil, at), at * 0
    if method == "nearest":
        return _call(np.rint, at), at * 0
    return low, _call(np.where, at > low, 0.5, 0.0)  # midpoint


def _interpolated(low: Any, high: Any, t: Any) -> Any:
    """low + (high - low) t, from the nearer side, as NumPy has it."""
    step = high - low
    return FUNCTIONS[np.where](t >= 0.5, high - step * (1 - t), low + step * t)


def _rows(x: Tracer, axis: Any) -> tuple[Tracer, Axes]:
    """The elements along some axes as one last axis; and these axes."""
    axes = tuple(sorted(axes_of(axis, x.ndim)))
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    shape = (*[x.shape[i] for i in rest], math.prod(x.shape[i] for i in axes))
    return reshaped(transposed(x, rest + axes), shape), axes


def _nan_wins(y: Tracer, rows: Tracer) -> Tracer:
    """NaN where a row has one, which is then the last; else y, whose leading axes may be more."""
    if rows.dtype.kind != "f":
        return y
    last = rows[..., -1]
    return FUNCTIONS[np.where](FUNCTIONS[np.isnan](last), last.astype(y.dtype), y)


def _checked(name: str, rows: Tracer, q: Any, scale: int, method: str) -> Any:
    """The fractions. Errors: `ShapeError` for no elements, an unknown method, or fractions beyond 0 and 1."""
    if not rows.shape[-1]:
        fail(f"np.{name} of no elements", None, ShapeError)
    if method not in METHODS:
        fail(f"{method!r} is not a valid method", f"one of {', '.join(METHODS)}", ShapeError)
    q = operand(q)
    if any_traced(q):
        value = traced(q).value
        message = f"the fractions of np.{name} must be in the range [0, {scale}]"
        inside = (value >= 0) & (value <= scale)
        value = emit("require", value, inside, message=message, error=DomainError.__name__)
        q = wrap(value, weak=traced(q).weak)
    else:
        q = np.asarray(plain(q))
        if np.any((q < 0) | (q > scale)):
            fail(f"the fractions of np.{name} must be in the range [0, {scale}]", None, ShapeError)
        q = np.asarray(q, np.result_type(q.dtype, np.float16) if q.dtype.kind != "f" else q.dtype)
    return q / scale if scale != 1 else q


@implements(np.median)
def median(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False
) -> Tracer:
    x = traced(a)
    rows, axes = _rows(x, axis)
    n = rows.shape[-1]
    if not n:
        y = traced(np.full(rows.shape[:-1], np.nan, x.dtype if x.dtype.kind == "f" else np.float64))
        return kept(y, x.shape, axes) if keepdims is True else y
    rows = ordered(rows, -1)[0]
    middle = FUNCTIONS[np.mean](rows[..., (n - 1) // 2 : n // 2 + 1], -1)
    y = _nan_wins(middle, rows)
    return kept(y, x.shape, axes) if keepdims is True else y


def _quantile(original: Callable[..., Any], scale: int) -> Callable[..., Tracer]:
    """np.quantile and np.percentile."""
    name = original.__name__

    def quantile(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = False,
        *,
        weights: Any = None,
        interpolation: Any = None,
    ) -> Tracer:
        x = traced(a)
        method = method if interpolation is None else interpolation
        rows, axes = _rows(x, axis)
        fraction = _checked(name, rows, q, scale, method)
        if weights is not None:
            if method != "inverted_cdf":
                fail(f"np.{name} with weights= takes method='inverted_cdf' only", None, ShapeError)
            y = _weighted(rows, _fitted(operand(weights), x, axis), fraction)
        else:
            rows = ordered(rows, -1)[0]
            dtype = _quantile_dtype(original, rows, q, method)
            y = _nan_wins(_at(rows, fraction, method).astype(dtype), rows)
        return _shaped(y, fraction, x, axes, keepdims)

    quantile.__name__ = name
    return quantile


def _shaped(y: Tracer, q: Any, x: Tracer, axes: Axes, keepdims: Any) -> Tracer:
    """The result with the axes of q first and, if wanted, those that were reduced."""
    if keepdims is not True:
        return y
    lead = y.shape[: np.ndim(q) if not isinstance(q, Tracer) else q.ndim]
    return reshaped(y, (*lead, *(1 if i in axes else size for i, size in enumerate(x.shape))))


def _q_first(y: Tracer, count: int) -> Tracer:
    """The axes of q, which came last, first."""
    return FUNCTIONS[np.moveaxis](y, tuple(range(y.ndim - count, y.ndim)), tuple(range(count)))


def _at(rows: Tracer, q: Any, method: str) -> Tracer:
    """The quantiles of sorted rows without NaN, at the fractions q."""
    n, count = rows.shape[-1], len(np.shape(q)) if not isinstance(q, Tracer) else q.ndim
    low, t = _places(n, q, method)
    low_place = FUNCTIONS[converted](FUNCTIONS[np.clip](low, 0, n - 1), np.int64)
    first = FUNCTIONS[np.take](rows, low_place, -1)
    y = first
    if any_traced(t) or np.any(plain(t)):
        high_place = FUNCTIONS[converted](FUNCTIONS[np.clip](low + 1, 0, n - 1), np.int64)
        second = FUNCTIONS[np.take](rows, high_place, -1)
        if any_traced(t):  # where NumPy does not look at the first one, it may be infinite
            first = FUNCTIONS[np.where]((t == 1) & ~FUNCTIONS[np.isfinite](first), second, first)
        y = _interpolated(first, second, t)
    return _q_first(y, count)


_KEEP_DTYPE = ("lower", "higher", "nearest")


def _quantile_dtype(original: Callable[..., Any], rows: Tracer, q: Any, method: str) -> np.dtype:
    """The dtype that NumPy gives the result, taken from NumPy itself."""
    q = operand(q)
    probe = plain(q) if not any_traced(q) else 0.0 if q.weak else q.dtype.type(0)
    return supported(original(np.ones(1, rows.dtype), probe, method=method).dtype, "a quantile")


def _fitted(weights: Any, x: Tracer, axis: Any) -> Tracer:
    """Weights as rows: of the shape of x, or one for each element along the axes."""
    w = traced(weights)
    if w.shape != x.shape:
        axes = axes_of(axis, x.ndim)
        if axis is None or w.shape != tuple(x.shape[i] for i in axes):
            fail(f"weights of shape {w.shape} do not fit an array of shape {x.shape}", None, ShapeError)
        order = tuple(int(i) for i in np.argsort(axes))
        w = FUNCTIONS[np.transpose](w, order)
        w = FUNCTIONS[np.reshape](w, tuple(n if i in axes else 1 for i, n in enumerate(x.shape)))
        w = FUNCTIONS[np.broadcast_to](w, x.shape)
    return _rows(w, axis)[0]


def _weighted(rows: Tracer, weights: Tracer, q: Any) -> Tracer:
    """The first element up to which the weights are at least the fraction q of all of them."""
    values, order = ordered(rows, -1)
    w = FUNCTIONS[np.take_along_axis](weights, order, -1)
    w = w if w.dtype.kind == "f" else w.astype(np.float64)
    sums = FUNCTIONS[np.cumsum](w, -1)
    sums = sums / sums[..., -1:]
    sums = FUNCTIONS[np.where](sums == 0, -1.0, sums)  # no weight yet: not even for q = 0
    n, count = rows.shape[-1], np.ndim(q) if not isinstance(q, Tracer) else q.ndim
    flat = FUNCTIONS[np.ravel](q)
    before = FUNCTIONS[np.sum](sums[..., None, :] < FUNCTIONS[np.reshape](flat, (-1, 1)), -1)
    y = FUNCTIONS[np.take_along_axis](values, FUNCTIONS[np.minimum](before, n - 1), -1)
    y = _nan_wins(FUNCTIONS[np.moveaxis](y, -1, 0), values)
    lead = q.shape if count else ()
    return reshaped(y, (*lead, *y.shape[1:]))


quantile = implements(np.quantile)(_quantile(np.quantile, 1))
percentile = implements(np.percentile)(_quantile(np.percentile, 100))


def _of_numbers(rows: Tracer, q: Any, method: str) -> Tracer:
    """The quantile at one fraction of the elements that are no NaN, which come first in every sorted row."""
    count = FUNCTIONS[np.sum](~FUNCTIONS[np.isnan](rows), -1, keepdims=True)
    if method == "median":  # infinities too have a mean, but not always a difference
        last = rows.shape[-1] - 1
        middle = [FUNCTIONS[np.clip](p, 0, last) for p in ((count - 1) // 2, count // 2)]
        first, second = [FUNCTIONS[np.take_along_axis](rows, p, -1) for p in middle]
        y = FUNCTIONS[np.where](first == second, first, (first + second) / 2)
        return reshaped(y, y.shape[:-1])
    low, t = _places(FUNCTIONS[np.maximum](count, 1), q, method)
    top = FUNCTIONS[np.maximum](count - 1, 0)
    places = [FUNCTIONS[np.clip](p, 0, top).astype(np.int64) for p in (low, low + 1)]
    first, second = [FUNCTIONS[np.take_along_axis](rows, p, -1) for p in places]
    y = _interpolated(first, second, t) if method not in _KEEP_DTYPE else first
    return reshaped(y, y.shape[:-1])


def _nan_quantile(original: Callable[..., Any], scale: int, fixed: float | None = None) -> None:
    """np.nanmedian, np.nanquantile and np.nanpercentile."""
    name = original.__name__

    def of_numbers(a: Any, q: Any, axis: Any, method: str, keepdims: Any) -> Tracer:
        x = traced(a)
        if x.dtype.kind != "f":  # no NaN
            if fixed is not None:
                return median(x, axis, keepdims=keepdims)
            usual = quantile if scale == 1 else percentile
            return usual(x, q, axis, method=method, keepdims=keepdims)
        rows, axes = _rows(x, axis)
        if fixed is not None and not rows.shape[-1]:
            return median(x, axis, keepdims=keepdims)
        fraction = _checked(name, rows, q, scale, "linear" if fixed is not None else method)
        dtype = rows.dtype if fixed is not None else _quantile_dtype(original, rows, q, method)
        rows = ordered(rows, -1)[0]
        flat = FUNCTIONS[np.ravel](fraction)
        each = [_of_numbers(rows, flat[i], method) for i in range(flat.size)]
        y = FUNCTIONS[np.stack](each).astype(dtype)
        shape = fraction.shape if not isinstance(fraction, float) else ()
        return _shaped(reshaped(y, (*shape, *y.shape[1:])), fraction, x, axes, keepdims)

    def nan_quantile(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = False,
        *,
        weights: Any = None,
        interpolation: Any = None,
    ) -> Tracer:
        if weights is not None:
            fail(f"gradc traces np.{name} without weights=", "np.quantile(..., weights=) of numbers")
        return of_numbers(a, q, axis, method, keepdims)

    def nan_median(
        a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False
    ) -> Tracer:
        return of_numbers(a, fixed, axis, "median", keepdims)

    function = nan_quantile if fixed is None else nan_median
    function.__name__ = name
    implements(original)(function)


_nan_quantile(np.nanquantile, 1)
_nan_quantile(np.nanpercentile, 100)
_nan_quantile(np.nanmedian, 1, 0.5)
