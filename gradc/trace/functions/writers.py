"""NumPy's functions that write into an array they are given: copyto, put, putmask, fill_diagonal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from gradc.trace.functions.shapes import axis_of, reshaped, sliced
from gradc.trace.functions.writing import setitem
from gradc.trace.lift import operand, shape_of
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.store import assign, check_writable


def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    check_writable(dst)
    assign(dst, src if where is True else FUNCTIONS[np.where](where, src, dst), casting)


def putmask(a: Any, mask: Any, values: Any) -> None:
    check_writable(a)
    values = operand(values)
    if shape_of(values) not in ((), a.shape):
        values = FUNCTIONS[np.resize](values, a.shape)
    assign(a, FUNCTIONS[np.where](mask, values, a))


def put_values(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    check_writable(a)
    if mode != "raise":
        fail(f"gradc does not trace np.put with mode={mode!r}", "np.put with mode='raise'")
    places, values = FUNCTIONS[np.ravel](operand(ind)), FUNCTIONS[np.ravel](operand(v))
    count, given = places.size, values.size
    if given != count:
        values = FUNCTIONS[np.take](values, np.arange(count) % max(given, 1))
    lines = FUNCTIONS[np.copy](a)
    line = reshaped(lines, (lines.size,))
    setitem(line, places, values)
    assign(a, lines)


def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    check_writable(arr)
    if axis is None:
        put_values(arr, indices, values)
        return
    along, i = axis_of(axis, arr.ndim), operand(indices)
    shape = shape_of(i)
    places = [
        i if k == along else np.arange(n).reshape([-1 if m == k else 1 for m in range(arr.ndim)])
        for k, n in enumerate(shape[:along] + arr.shape[along : along + 1] + shape[along + 1 :])
    ]
    setitem(arr, tuple(places), values)


def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    check_writable(a)
    if a.ndim != 2 or wrap:
        fail("gradc traces np.fill_diagonal of arrays with two axes, without wrap", "np.where with np.eye")
    rows, columns = a.shape
    count = min(rows, columns)
    square = sliced(sliced(a, 0, 0, count), 1, 0, count)
    values = operand(val)
    if shape_of(values):
        values = FUNCTIONS[np.reshape](values[:count], (count, 1))
    assign(square, FUNCTIONS[np.where](np.eye(count, dtype=bool), values, square))


def _refused(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        fail(f"gradc cannot trace {name}", "x[mask] = value, or np.where(mask, values, x)")

    return refuse


FUNCTIONS[np.copyto] = copyto
FUNCTIONS[np.putmask] = putmask
FUNCTIONS[np.put] = put_values
FUNCTIONS[np.put_along_axis] = put_along_axis
FUNCTIONS[np.fill_diagonal] = fill_diagonal
FUNCTIONS[np.place] = _refused("np.place")
