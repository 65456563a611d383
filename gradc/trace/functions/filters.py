"""Convolution and correlation as NumPy and SciPy have them: windows of the padded signal, contracted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.ir import ShapeError, emit
from gradc.trace.functions.products import operands
from gradc.trace.functions.shapes import axis_of, reshaped
from gradc.trace.lift import cast, plain, traced, wrap
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements, implements_scipy
from gradc.trace.tracer import Tracer

Ints = tuple[int, ...]

PADDING = {
    "reflect": "symmetric",
    "constant": "constant",
    "nearest": "edge",
    "mirror": "reflect",
    "wrap": "wrap",
}
"""What `scipy.ndimage` calls the ways of going on past an end, as `np.pad` calls them."""


def slid(x: Tracer, w: Tracer) -> Tracer:
    """The sums of products of a kernel with all windows of x of its shape."""
    rank = x.ndim
    shape = tuple(n - m + 1 for n, m in zip(x.shape, w.shape, strict=True))
    axes = tuple(range(rank))
    windows = emit(
        "windows",
        x.value,
        shape=(*shape, *w.shape),
        axes=(*axes, *axes),
        starts=(0,) * rank,
        steps=(1,) * (2 * rank),
    )
    places = tuple(range(rank, 2 * rank))
    return wrap(emit("contract", windows, w.value, a=(*axes, *places), b=places, result=axes))


def flipped(x: Tracer) -> Tracer:
    """Turned around along all axes."""
    return FUNCTIONS[np.flip](x)


def pair(name: str, a: Any, b: Any) -> tuple[Tracer, Tracer]:
    """Two arrays of numbers of one dtype, which have as many axes and no empty one."""
    (x, w), dtype = operands(a, b)
    if dtype.kind == "b" or x.ndim != w.ndim or not x.size or not w.size:
        fail(
            f"{name} takes two arrays of numbers with as many axes, neither of them empty, "
            f"not {dtype} of shapes {x.shape} and {w.shape}",
            None,
            ShapeError,
        )
    return x, w


def sides(mode: Any, name: str, kernel: Ints, before: Ints) -> list[tuple[int, int]]:
    """By how much to pad each axis, where a result of the image's size begins `before` the image."""
    if mode == "valid":
        return [(0, 0) for _ in kernel]
    if mode == "full":
        return [(m - 1, m - 1) for m in kernel]
    if mode == "same":
        return [(left, m - 1 - left) for m, left in zip(kernel, before, strict=True)]
    fail(f"the mode of {name} is valid, same or full, not {mode!r}", None, ShapeError)


def padded(x: Tracer, widths: Sequence[tuple[int, int]], mode: str = "constant", **options: Any) -> Tracer:
    return FUNCTIONS[np.pad](x, widths, mode, **options) if any(map(any, widths)) else x


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: Any = "valid") -> Tracer:
    """The sums over j of a[k + j] v[j], for the k that `mode` says."""
    x, w = pair("np.correlate", traced(a), traced(v))
    if x.ndim != 1:
        fail(f"np.correlate takes arrays with one axis, not of shapes {x.shape}, {w.shape}", None, ShapeError)
    if len(x) < len(w):
        return correlate(w, x, mode)[::-1]
    return slid(padded(x, sides(mode, "np.correlate", w.shape, (len(w) // 2,))), w)


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: Any = "full") -> Tracer:
    """The sums over j of a[k - j] v[j]: a correlation with the shorter one turned around."""
    x, w = [FUNCTIONS[np.atleast_1d](traced(u)) for u in (a, v)]
    if x.size < w.size:
        x, w = w, x
    return correlate(x, flipped(w), mode)


def _swapped(x: Tracer, w: Tracer, mode: Any) -> bool:
    """For `valid`, whether the second one is the image: the larger along every axis."""
    if mode != "valid" or all(n >= m for n, m in zip(x.shape, w.shape, strict=True)):
        return False
    if any(n > m for n, m in zip(x.shape, w.shape, strict=True)):
        fail(
            "For 'valid' mode, one must be at least as large as the other in every dimension",
            None,
            ShapeError,
        )
    return True


@implements_scipy("scipy.signal.convolve")
def signal_convolve(in1: Any, in2: Any, mode: Any = "full", method: Any = "auto") -> Tracer:
    """By products, whichever `method` is asked for: it is said to give the same."""
    x, w = pair("scipy.signal.convolve", in1, in2)
    if _swapped(x, w, mode):
        x, w = w, x
    before = tuple(m // 2 for m in w.shape)
    return slid(padded(x, sides(mode, "scipy.signal.convolve", w.shape, before)), flipped(w))


@implements_scipy("scipy.signal.correlate")
def signal_correlate(in1: Any, in2: Any, mode: Any = "full", method: Any = "auto") -> Tracer:
    return signal_convolve(in1, flipped(traced(in2)), mode)


def _plane(name: str, in1: Any, in2: Any, mode: Any, boundary: Any, fillvalue: Any, turned: bool) -> Tracer:
    """Two dimensions, with a choice of what lies outside."""
    x, w = pair(name, in1, in2)
    if x.ndim != 2:
        fail(f"{name} takes arrays with two axes, not of shapes {x.shape} and {w.shape}", None, ShapeError)
    swapped = _swapped(x, w, mode)
    if swapped:
        x, w = w, x
    outside = {"fill": "constant", "wrap": "wrap", "symm": "symmetric"}
    if boundary not in outside:
        fail(f"the boundary of {name} is fill, wrap or symm, not {boundary!r}", None, ShapeError)
    before = tuple(m // 2 if turned else (m - 1) // 2 for m in w.shape)
    options = {"constant_values": fillvalue} if boundary == "fill" else {}
    image = padded(x, sides(mode, name, w.shape, before), outside[boundary], **options)
    y = slid(image, flipped(w) if turned else w)
    return flipped(y) if swapped and not turned else y


@implements_scipy("scipy.signal.convolve2d")
def convolve2d(in1: Any, in2: Any, mode: Any = "full", boundary: Any = "fill", fillvalue: Any = 0) -> Tracer:
    return _plane("scipy.signal.convolve2d", in1, in2, mode, boundary, fillvalue, True)


@implements_scipy("scipy.signal.correlate2d")
def correlate2d(in1: Any, in2: Any, mode: Any = "full", boundary: Any = "fill", fillvalue: Any = 0) -> Tracer:
    return _plane("scipy.signal.correlate2d", in1, in2, mode, boundary, fillvalue, False)


def _along(
    name: str, input: Any, weights: Any, axis: Any, output: Any, mode: Any, cval: Any, before: int
) -> Tracer:
    """A filter along one axis, whose result begins `before` the signal."""
    x, w = traced(input), traced(weights)
    if output is not None or x.dtype.kind != "f" or w.ndim != 1 or not w.size:
        fail(f"gradc traces {name} of floats with weights along one axis, without output=", None)
    if mode not in PADDING:
        fail(f"the mode of {name} is {', '.join(PADDING)}, not {mode!r}", None, ShapeError)
    at = axis_of(plain(axis), x.ndim)
    if not x.size:
        return x
    (y, v), _ = operands(x, w)
    widths = [(before, len(w) - 1 - before) if i == at else (0, 0) for i in range(x.ndim)]
    options = {"constant_values": cval} if mode == "constant" else {}
    kernel = reshaped(v, tuple(len(w) if i == at else 1 for i in range(x.ndim)))
    return wrap(cast(slid(padded(y, widths, PADDING[mode], **options), kernel).value, x.dtype))


def _shifted(name: str, weights: Tracer, origin: Any) -> int:
    """Where the window begins, before the element it is for."""
    size, shift = len(weights), int(plain(origin))
    if not 0 <= size // 2 + shift < size:
        fail(f"{name}: invalid origin {shift} for {size} weights", None, ShapeError)
    return size // 2 + shift


@implements_scipy("scipy.ndimage.correlate1d")
def correlate1d(
    input: Any,
    weights: Any,
    axis: Any = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
) -> Tracer:
    name = "scipy.ndimage.correlate1d"
    w = traced(weights)
    return _along(name, input, w, axis, output, mode, cval, _shifted(name, w, origin))


@implements_scipy("scipy.ndimage.convolve1d")
def convolve1d(
    input: Any,
    weights: Any,
    axis: Any = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
) -> Tracer:
    name = "scipy.ndimage.convolve1d"
    w = flipped(traced(weights))
    shift = -int(plain(origin)) - (1 if len(w) % 2 == 0 else 0)
    return _along(name, input, w, axis, output, mode, cval, _shifted(name, w, shift))
