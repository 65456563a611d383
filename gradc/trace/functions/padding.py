"""np.pad: constants, repetitions and mirrors of the elements, ramps and statistics of the edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir import ShapeError, emit
from gradc.trace.functions.joining import concatenate
from gradc.trace.functions.shapes import sliced
from gradc.trace.lift import any_traced, operand, plain, traced, wrap
from gradc.trace.methods import converted
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer

Widths = list[tuple[int, int]]

_STATISTICS = {"maximum": np.max, "minimum": np.min, "mean": np.mean, "median": np.median}
_OPTIONS = {
    "constant": "constant_values",
    "linear_ramp": "end_values",
    "reflect": "reflect_type",
    "symmetric": "reflect_type",
}
"""The one option that a mode has."""
_REPEATED = ("edge", "reflect", "symmetric", "wrap")


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Tracer:
    x = traced(array)
    widths = _widths(pad_width, x.ndim)
    if any(n < 0 for pair in widths for n in pair):
        fail("index can't contain negative values", None, ShapeError)
    if callable(mode):
        fail("gradc traces np.pad without a function as the mode", "np.concatenate of the edges and x")
    if unknown := set(kwargs) - {_OPTIONS.get(mode, "stat_length" if mode in _STATISTICS else "")}:
        fail(f"unsupported keyword arguments for mode {mode!r}: {sorted(unknown)}", None, ShapeError)
    if mode == "constant":
        return _constant(x, widths, kwargs.get("constant_values", 0))
    if mode == "empty":
        return _constant(x, widths, 0)
    if mode in _REPEATED:
        odd = kwargs.get("reflect_type", "even") == "odd" and mode in ("reflect", "symmetric")
        for axis, pair in enumerate(widths):
            if any(pair):
                x = (_odd if odd else _repeated)(x, axis, pair, mode)
        return x
    if mode == "linear_ramp":
        ends = FUNCTIONS[np.broadcast_to](operand(kwargs.get("end_values", 0)), (x.ndim, 2))
        return _with_edges(x, widths, lambda x, axis, side, n: _ramp(x, axis, side, n, ends[axis, side]))
    if mode not in _STATISTICS:
        fail(f"mode {mode!r} is not supported", ", ".join(("constant", *_REPEATED, *_STATISTICS)), ShapeError)
    lengths = kwargs.get("stat_length")
    known = [(None, None)] * x.ndim if lengths is None else _widths(lengths, x.ndim)
    return _with_edges(x, widths, lambda x, axis, side, n: _statistic(x, axis, side, n, mode, known[axis]))


def _widths(given: Any, ndim: int) -> Widths:
    """A pair of counts for each axis."""
    given = plain(given)
    if isinstance(given, dict):
        given = [np.broadcast_to(given.get(i, given.get(i - ndim, 0)), 2) for i in range(ndim)]
    if np.asarray(given).dtype.kind not in "iu":
        fail("`pad_width` must be of integral type.")
    try:
        return [(int(a), int(b)) for a, b in np.broadcast_to(np.asarray(given), (ndim, 2))]
    except ValueError as error:
        fail(str(error), None, ShapeError)


def _with_edges(x: Tracer, widths: Widths, edge: Callable[[Tracer, int, int, int], Tracer]) -> Tracer:
    """The array between what `edge(x, axis, side, count)` gives for its two sides, axis by axis."""
    for axis, pair in enumerate(widths):
        if any(pair):
            sides = [edge(x, axis, side, n) for side, n in enumerate(pair)]
            x = concatenate([sides[0], x, sides[1]], axis)
    return x


def _constant(x: Tracer, widths: Widths, values: Any) -> Tracer:
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True))
    if not any_traced(values) and np.size(plain(values)) == 1:
        fill = np.asarray(plain(values)).reshape(-1)[0].astype(x.dtype).item()
        starts = tuple(a for a, _ in widths)
        return wrap(emit("pad", x.value, shape=shape, starts=starts, steps=(1,) * x.ndim, value=fill))
    pairs = FUNCTIONS[np.broadcast_to](operand(values), (x.ndim, 2))

    def edge(x: Tracer, axis: int, side: int, count: int) -> Tracer:
        return FUNCTIONS[np.full](_sized(x, axis, count), pairs[axis, side], x.dtype)

    return _with_edges(x, widths, edge)


def _sized(x: Tracer, axis: int, size: int) -> tuple[int, ...]:
    return (*x.shape[:axis], size, *x.shape[axis + 1 :])


def _repeated(x: Tracer, axis: int, pair: tuple[int, int], mode: Any) -> Tracer:
    """NumPy itself says which element lands where."""
    return FUNCTIONS[np.take](x, np.pad(np.arange(x.shape[axis]), pair, mode=mode), axis)


def _odd(x: Tracer, axis: int, pair: tuple[int, int], mode: str) -> Tracer:
    """Mirrored in the point at each edge, so that every period adds twice the way from edge to edge."""
    n = x.shape[axis]
    period = 2 * n if mode == "symmetric" else 2 * (n - 1)
    if n == 1:
        return _repeated(x, axis, pair, "edge")
    at = np.arange(-pair[0], n + pair[1])
    turns, rest = np.divmod(at, period)
    back = rest >= n
    places = np.where(back, (period - 1 if mode == "symmetric" else period) - rest, rest)
    first, last = sliced(x, axis, 0, 1), sliced(x, axis, n - 1, 1)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    turns, back = (2 * turns).astype(x.dtype).reshape(shape), back.reshape(shape)
    taken = FUNCTIONS[np.take](x, places, axis)
    y = FUNCTIONS[np.where](back, 2 * last - taken, taken)
    return y + turns * (last - first) if turns.any() else y


def _edge(x: Tracer, axis: int, side: int, size: int = 1) -> Tracer:
    """The first or the last elements along an axis."""
    return sliced(x, axis, x.shape[axis] - size if side else 0, size)


def _ramp(x: Tracer, axis: int, side: int, count: int, end: Any) -> Tracer:
    """In even steps from `end`, outside, to the edge."""
    edge = FUNCTIONS[np.squeeze](_edge(x, axis, side), axis)
    ramp = FUNCTIONS[np.linspace](end, edge, count, endpoint=False, dtype=x.dtype, axis=axis)
    return FUNCTIONS[np.flip](ramp, axis) if side else ramp


def _statistic(
    x: Tracer, axis: int, side: int, count: int, mode: str, lengths: tuple[int | None, int | None]
) -> Tracer:
    """A statistic of some elements at the edge."""
    n, length = x.shape[axis], lengths[side]
    size = n if length is None else min(length, n)
    if not size:
        fail(f"stat_length of 0 yields no value for padding with mode {mode!r}", None, ShapeError)
    y = FUNCTIONS[_STATISTICS[mode]](_edge(x, axis, side, size), axis, keepdims=True)
    if x.dtype.kind in "iu" and y.dtype.kind == "f":
        y = FUNCTIONS[np.rint](y)
    return FUNCTIONS[np.broadcast_to](FUNCTIONS[converted](y, x.dtype), _sized(x, axis, count))
