"""NumPy's functions that write into an array they are given: copyto, put, putmask, fill_diagonal."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.ir import ShapeError
from gradc.trace.functions.shapes import axis_of, reshaped
from gradc.trace.functions.writing import setitem
from gradc.trace.lift import operand, shape_of
from gradc.trace.methods import converted
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.store import assign, check_writable


def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    check_writable(dst)
    assign(dst, src if where is True else FUNCTIONS[np.where](where, src, dst), casting)


def putmask(a: Any, /, mask: Any, values: Any) -> None:
    """By places in the flat array: values that are too few are repeated, none change nothing."""
    check_writable(a)
    mask, values = operand(mask), operand(values)
    if shape_of(mask) != a.shape:
        if np.size(mask) != a.size:
            fail("np.putmask takes a mask of as many elements as the array", None, ShapeError)
        mask = FUNCTIONS[np.reshape](mask, a.shape)
    if 0 in shape_of(values):
        return
    if shape_of(values) not in ((), a.shape):
        values = FUNCTIONS[np.resize](values, a.shape)
    assign(a, FUNCTIONS[np.where](mask, values, a))


def put_values(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    check_writable(a)
    places, values = FUNCTIONS[np.ravel](operand(ind)), FUNCTIONS[np.ravel](operand(v))
    if mode == "wrap":
        places = FUNCTIONS[np.remainder](places, a.size)
    elif mode == "clip":
        places = FUNCTIONS[np.clip](places, 0, a.size - 1)
    if not values.size or not places.size:
        return
    if values.size != places.size:
        values = FUNCTIONS[np.resize](values, places.size)
    lines = FUNCTIONS[np.copy](a)
    line = reshaped(lines, (lines.size,))
    setitem(line, places, values)
    assign(a, lines)


def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    check_writable(arr)
    i = operand(indices)
    shape = shape_of(i)
    if len(shape) != (1 if axis is None else arr.ndim):
        fail(f"put_along_axis takes indices of as many axes as the array, not {shape}", None, ShapeError)
    if axis is None:
        put_values(arr, indices, values)
        return
    along = axis_of(axis, arr.ndim)
    places = [
        i if k == along else np.arange(n).reshape([-1 if m == k else 1 for m in range(arr.ndim)])
        for k, n in enumerate(arr.shape)
    ]
    setitem(arr, tuple(places), values)


def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """The elements whose indices are all equal; with `wrap`, those of every square."""
    check_writable(a)
    if a.ndim < 2 or (a.ndim > 2 and len(set(a.shape)) > 1):
        fail("np.fill_diagonal takes a matrix, or an array with equal sizes", None, ShapeError)
    step = 1 + int(np.cumprod(a.shape[:0:-1]).sum())
    stop = a.size if wrap or a.ndim > 2 else a.shape[1] ** 2
    put_values(a, np.arange(0, min(stop, a.size), step), val)


def place(arr: Any, mask: Any, vals: Any) -> None:
    """The values, one after the other and then again, where the mask holds."""
    check_writable(arr)
    flat, values = FUNCTIONS[np.ravel](operand(mask)), FUNCTIONS[np.ravel](operand(vals))
    if flat.size != arr.size:
        fail(f"a mask of {flat.size} elements does not fit {arr.size}", None, ShapeError)
    if not values.size:
        fail("Cannot insert from an empty array!", None, ShapeError)
    number = FUNCTIONS[np.cumsum](FUNCTIONS[np.not_equal](flat, 0)) - 1
    chosen = FUNCTIONS[np.take](values, FUNCTIONS[np.remainder](number, values.size))
    chosen = FUNCTIONS[np.reshape](FUNCTIONS[converted](chosen, arr.dtype), arr.shape)
    assign(arr, FUNCTIONS[np.where](FUNCTIONS[np.reshape](flat, arr.shape), chosen, arr))


FUNCTIONS[np.copyto] = copyto
FUNCTIONS[np.putmask] = putmask
FUNCTIONS[np.put] = put_values
FUNCTIONS[np.put_along_axis] = put_along_axis
FUNCTIONS[np.fill_diagonal] = fill_diagonal
FUNCTIONS[np.place] = place
