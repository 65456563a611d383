"""Sliding windows: views of an array that overlap, for reading."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from gradc.ir import ShapeError
from gradc.trace.functions.shapes import shape_of
from gradc.trace.lift import plain, tracer
from gradc.trace.source import fail
from gradc.trace.table import implements_view
from gradc.trace.tracer import Tracer

_stride_tricks = np.lib.stride_tricks


@implements_view(_stride_tricks.sliding_window_view)
def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Tracer:
    """The windows of these sizes, whose axes come last; an axis may be named more than once."""
    array, sizes = tracer(x), shape_of(window_shape)
    if writeable:
        fail(
            "gradc has no windows to write into: they overlap",
            "write into the array itself, before its windows are taken",
        )
    if any(n < 0 for n in sizes):
        fail("`window_shape` cannot contain negative values", None, ShapeError)
    if axis is None:
        axes = tuple(range(array.ndim))
        if len(sizes) != len(axes):
            fail(
                "Since axis is `None`, must provide window_shape for all dimensions of `x`; "
                f"got {len(sizes)} window_shape elements and `x.ndim` is {array.ndim}.",
                "sliding_window_view(x, sizes, axis=axes)",
                ShapeError,
            )
    else:
        try:
            axes = normalize_axis_tuple(plain(axis), array.ndim, allow_duplicate=True)
        except ValueError as error:
            fail(str(error), None, ShapeError)
        if len(sizes) != len(axes):
            fail(
                "Must provide matching length window_shape and axis; "
                f"got {len(sizes)} window_shape elements and {len(axes)} axes elements.",
                None,
                ShapeError,
            )
    left = list(array.shape)
    for a, n in zip(axes, sizes, strict=True):
        if left[a] < n:
            fail("window shape cannot be larger than input array shape", None, ShapeError)
        left[a] -= n - 1
    return array.seen(
        "windows",
        shape=(*left, *sizes),
        axes=(*range(array.ndim), *axes),
        starts=(0,) * array.ndim,
        steps=(1,) * (array.ndim + len(axes)),
    )
