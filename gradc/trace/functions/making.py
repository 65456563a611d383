"""Numbers in even steps between traced ends: linspace and geomspace."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from gradc.ir import ShapeError
from gradc.trace.lift import any_traced, common_dtype, common_shape, operand, plain, shape_of
from gradc.trace.methods import converted
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer


def _ends(start: Any, stop: Any, num: Any) -> tuple[Any, Any, int]:
    count = operator.index(plain(num))
    if count < 0:
        fail(f"Number of samples, {count}, must be non-negative.", None, ShapeError)
    times = FUNCTIONS[np.multiply]
    return times(operand(start), 1.0), times(operand(stop), 1.0), count


@implements(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    a, b, count = _ends(start, stop, num)
    kind = common_dtype(a, b, 0.0)
    parts = count - 1 if endpoint else count
    rank = len(common_shape(a, b))
    numbers = np.arange(count, dtype=kind).reshape((count, *[1] * rank))
    distance = b - a
    step = distance / parts if parts > 0 else np.asarray(np.nan, kind)
    y = a + numbers * (step if parts > 0 else distance)
    if endpoint and count > 1:
        y = FUNCTIONS[np.where](numbers == count - 1, b, y)
    if dtype is not None:
        whole = np.dtype(dtype).kind in "iu"
        y = FUNCTIONS[converted](FUNCTIONS[np.floor](y) if whole else y, dtype)
    y = FUNCTIONS[np.moveaxis](y, 0, axis) if axis else y
    return (y, step) if retstep else y


@implements(np.geomspace)
def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Tracer:
    """Equal quotients: even steps between the logarithms; the ends are exact."""
    a, b, count = _ends(start, stop, num)
    for end in (a, b):
        if not any_traced(end) and np.any(plain(end) == 0):
            fail("Geometric sequence cannot include zero", None, ShapeError)
    sign, log = FUNCTIONS[np.sign](a), FUNCTIONS[np.log10]
    y = sign * 10.0 ** linspace(log(a / sign), log(b / sign), count, endpoint)
    numbers = np.arange(count).reshape((count, *[1] * (len(shape_of(y)) - 1)))
    y = FUNCTIONS[np.where](numbers == 0, a, y)
    if endpoint and count > 1:
        y = FUNCTIONS[np.where](numbers == count - 1, b, y)
    y = FUNCTIONS[converted](y, common_dtype(a, b, 0.0) if dtype is None else dtype)
    return FUNCTIONS[np.moveaxis](y, 0, axis) if axis else y
