"""From operands to values: promotion as in NEP 50, casts, explicit broadcasting, constants."""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Any

import numpy as np

from gradc.ir import ShapeError, Type, Value, constant, emit
from gradc.ir.types import SHORT
from gradc.trace.source import described, fail
from gradc.trace.state import current_trace, splat
from gradc.trace.tracer import Cell, Tracer

SEQUENCES = (list, tuple, deque)
"""What NumPy reads as an array of its elements."""

Key = np.dtype | type
"""What promotion looks at: a dtype, or `int` or `float` for an operand that is weak."""


def key(x: Any) -> Key:
    """The dtype of an operand; `int` or `float` for Python numbers, traced or not."""
    if type(x) is Tracer:
        return float if x.weak else x.dtype
    if type(x) is bool:
        return np.dtype(np.bool_)
    if type(x) in (int, float):
        return type(x)
    if isinstance(x, np.ndarray | np.generic):
        return x.dtype
    if isinstance(x, bool | int | float):
        return float if isinstance(x, float) else int
    if isinstance(x, complex):
        supported(np.dtype(complex), f"the number {x}")
    fail(f"{described(x)} is no number or array that gradc can compute with")


def supported(dtype: np.dtype, what: str = "the result") -> np.dtype:
    """The dtype in native byte order. Errors: `TraceError` for a dtype that the IR does not have."""
    native = dtype.newbyteorder("=")
    if native in SHORT:
        return native
    if dtype.kind == "f":
        instead = "cast to float32 or float64 first: x.astype(np.float32)"
    elif dtype.kind == "c":
        instead = "compute with the real and the imaginary part in arrays of their own"
    else:
        instead = "use arrays of bool, integers, float32 or float64"
    fail(f"{what} has dtype {dtype}, which gradc does not compile", instead)


@lru_cache(maxsize=4096)
def _common(keys: tuple[Key, ...]) -> np.dtype:
    return np.result_type(*[k(0) if isinstance(k, type) else k for k in keys])


def common_dtype(*operands: Any) -> np.dtype:
    """NumPy's common dtype of the operands, Python numbers counting as weak."""
    return supported(_common(tuple([key(x) for x in operands])))


@lru_cache(maxsize=4096)
def loop_dtypes(ufunc: np.ufunc, keys: tuple[Key, ...]) -> tuple[np.dtype, ...]:
    """The dtypes of the inputs and outputs of the loop that NumPy would run. Errors: `TypeError`."""
    signature: Any = keys + (None,) * ufunc.nout
    return tuple(ufunc.resolve_dtypes(signature))


def operand(x: Any) -> Any:
    """The operand of an operation, checked: a tracer, or a concrete number or array; lists become arrays."""
    if isinstance(x, SEQUENCES):
        from gradc.trace.table import call

        return call(np.asarray, x)
    return x


def shape_of(x: Any) -> tuple[int, ...]:
    return x.shape if type(x) is Tracer or isinstance(x, np.ndarray) else ()


def common_shape(*operands: Any) -> tuple[int, ...]:
    """The shape that the operands broadcast to. Errors: `ShapeError` at the user's line."""
    shapes = [shape_of(x) for x in operands]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        texts = " and ".join(str(s) for s in shapes if s)
        fail(
            f"the shapes {texts} do not broadcast together",
            "sizes must be equal or 1, counted from the last axis; insert an axis with x[:, None]",
            ShapeError,
        )


def value_of(x: Any, dtype: np.dtype | None = None, shape: tuple[int, ...] | None = None) -> Value:
    """The operand as a value of the current graph, cast to `dtype` and broadcast to `shape`."""
    if type(x) is Tracer and x.traced:
        value = x.value
        if dtype is not None and value.dtype != dtype:
            value = cast(value, dtype)
        return value if shape is None else broadcast(value, shape)
    return constant_value(x, dtype, shape)


def constant_value(x: Any, dtype: np.dtype | None = None, shape: tuple[int, ...] | None = None) -> Value:
    """A concrete operand as a value: a splat, a small array written out, or a captured array."""
    name = None
    if type(x) is Tracer:
        name, x = x.name, x.array
    if isinstance(x, bool | int | float) and not isinstance(x, np.generic):
        array = np.array(x, dtype)  # an int that does not fit is an OverflowError here, as in NumPy
    else:
        array = np.asarray(x)
    dtype = supported(array.dtype if dtype is None else dtype, "a captured array")
    if array.dtype.kind not in "biuf":
        supported(array.dtype, "a captured array")
    if array.size == 1 or array.ndim == 0 or (one := splat(array)) is not None:
        one = array.reshape(-1)[0] if array.size else array.dtype.type(0)
        with np.errstate(all="ignore"):
            one = one.astype(dtype)
        return constant(one, Type(dtype, array.shape if shape is None else shape))
    value = current_trace().capture(array, name, dtype)
    return value if shape is None else broadcast(value, shape)


def cast(value: Value, dtype: np.dtype) -> Value:
    """The value in another dtype."""
    if value.dtype == dtype:
        return value
    return emit("cast", value, type=value.type.with_dtype(dtype))


def broadcast(value: Value, shape: tuple[int, ...]) -> Value:
    """NumPy's broadcasting, explicit: axes of size 1 are dropped, then the missing ones repeated."""
    if value.shape == shape:
        return value
    lead = len(shape) - len(value.shape)
    axes = tuple(lead + i for i, n in enumerate(value.shape) if n == shape[lead + i])
    kept = tuple(shape[a] for a in axes)
    if kept != value.shape:
        value = emit("reshape", value, shape=kept)
    return value if kept == shape else emit("broadcast", value, shape=shape, axes=axes)


def wrap(value: Value, *, weak: bool = False) -> Tracer:
    """A fresh array with this value."""
    return Tracer(Cell(value), weak=weak)


def concrete(x: Any) -> Any:
    """A result of NumPy's: arrays, also in tuples and lists, as tracers that keep their value."""
    if type(x) is np.ndarray:
        return Tracer(Cell(x))
    if type(x) is list:
        return [concrete(v) for v in x]
    if isinstance(x, tuple):
        items = [concrete(v) for v in x]
        return type(x)(*items) if hasattr(x, "_fields") else tuple(items)
    return x


def plain(x: Any) -> Any:
    """An argument for NumPy itself: concrete tracers as their arrays, also in lists, tuples and dicts."""
    cls = type(x)
    if cls is Tracer:
        return x.array if not x.traced else x
    if isinstance(x, list | deque):
        return [plain(v) for v in x]
    if isinstance(x, tuple):
        return tuple([plain(v) for v in x])
    if cls is dict:
        return {k: plain(v) for k, v in x.items()}
    if cls is slice:
        return slice(plain(x.start), plain(x.stop), plain(x.step))
    return x


def any_traced(x: Any) -> bool:
    """Whether a traced value is in `x`, which may be a nest of lists, tuples and dicts."""
    if type(x) is Tracer:
        return x.traced
    if isinstance(x, SEQUENCES):
        return any(map(any_traced, x))
    if isinstance(x, dict):
        return any(map(any_traced, x.values()))
    if type(x) is slice:
        return any_traced(x.start) or any_traced(x.stop) or any_traced(x.step)
    return False


def tracer(x: Any) -> Tracer:
    """The operand as a tracer, concrete if it is concrete."""
    x = operand(x)
    if type(x) is Tracer:
        return x
    fixed = "captured" if isinstance(x, np.ndarray) else None
    return Tracer(Cell(np.asarray(x), fixed=fixed), weak=type(x) is float)


def traced(x: Any) -> Tracer:
    """The operand as a tracer whose value is in the current graph."""
    x = operand(x)
    if type(x) is Tracer and x.traced:
        return x
    weak = type(x) is float
    return wrap(constant_value(x), weak=weak)
