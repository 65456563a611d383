"""Ops that make or move elements without computing: constants, broadcast, reshape, transpose, slice, pad,
concat."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.ir.errors import ShapeError
from gradc.ir.graph import Value, emit
from gradc.ir.op import Cotangent, Op
from gradc.ir.types import Type


def constant_meaning(*, value: Any, type: Type) -> np.ndarray:
    """A splat, or the array written out."""
    return np.broadcast_to(np.array(value, type.dtype), type.shape)


def captured_meaning(**attrs: Any) -> np.ndarray:
    """Captured arrays are looked up by the evaluator, which has them."""
    raise AssertionError(f"captured array {attrs['name']} must be given")


def iota_meaning(*, axis: int, type: Type) -> np.ndarray:
    """0, 1, 2, ... along an axis."""
    shape = tuple(n if i == axis else 1 for i, n in enumerate(type.shape))
    return np.broadcast_to(np.arange(type.shape[axis], dtype=type.dtype).reshape(shape), type.shape)


Op("constant", constant_meaning, None, arity=0)
Op("captured", captured_meaning, None, arity=0)
Op("iota", iota_meaning, None, arity=0)


def broadcast_type(x: Type, *, shape: tuple[int, ...], axes: tuple[int, ...]) -> Type:
    """Axis i of x becomes axis axes[i] of the result, with the same size; the other axes repeat it."""
    if len(axes) != x.ndim or list(axes) != sorted(set(axes)) or any(a >= len(shape) for a in axes):
        raise ShapeError(f"broadcast of {x} to {shape} with axes {axes}")
    if any(shape[a] != n for a, n in zip(axes, x.shape, strict=True)):
        raise ShapeError(f"broadcast of {x} to {shape} along axes {axes}: sizes differ")
    return x.with_shape(shape)


def broadcast_meaning(x: np.ndarray, *, shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """np.broadcast_to after inserting the new axes."""
    sizes = [1] * len(shape)
    for axis, n in zip(axes, np.shape(x), strict=True):
        sizes[axis] = n
    return np.broadcast_to(np.reshape(x, sizes), shape)


def broadcast_vjp(
    g: Cotangent, y: Value, x: Value, *, shape: tuple[int, ...], axes: tuple[int, ...]
) -> Value:
    """The sum over the axes that were added."""
    return emit("reduce_sum", g, axes=tuple(a for a in range(len(shape)) if a not in axes))


Op("broadcast", broadcast_meaning, broadcast_type, broadcast_vjp, arity=1)


def reshape_type(x: Type, *, shape: tuple[int, ...]) -> Type:
    """The same elements in row-major order."""
    result = x.with_shape(shape)
    if result.size != x.size:
        raise ShapeError(f"cannot reshape {x.size} elements of shape {x.shape} into shape {shape}")
    return result


Op(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    reshape_type,
    vjp=lambda g, y, x, *, shape: emit("reshape", g, shape=x.shape),
    arity=1,
)


def transpose_type(x: Type, *, axes: tuple[int, ...]) -> Type:
    """Axis i of the result is axis axes[i] of x."""
    if sorted(axes) != list(range(x.ndim)):
        raise ShapeError(f"axes {axes} are no permutation of the axes of {x}")
    return x.with_shape(tuple(x.shape[a] for a in axes))


def inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes `axes`."""
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


Op(
    "transpose",
    lambda x, *, axes: np.transpose(x, axes),
    transpose_type,
    vjp=lambda g, y, x, *, axes: emit("transpose", g, axes=inverse(axes)),
    arity=1,
)

Ints = tuple[int, ...]


def _positions(whole: Ints, part: Ints, starts: Ints, steps: Ints, what: str) -> None:
    """Element i of the part lies at start + i * step of the whole, on every axis, inside of it."""
    if not len(whole) == len(part) == len(starts) == len(steps):
        raise ShapeError(f"{what}: ranks differ: {whole}, {part}, {starts}, {steps}")
    for n, m, start, step in zip(whole, part, starts, steps, strict=True):
        if m and not (step and 0 <= start < n and 0 <= start + (m - 1) * step < n):
            raise ShapeError(
                f"{what}: start {start}, size {m}, step {step} is outside of an axis of size {n}"
            )


def _selection(starts: Ints, sizes: Ints, steps: Ints) -> tuple[slice, ...]:
    def stop(start: int, size: int, step: int) -> int | None:
        end = start + size * step
        return None if end < 0 else end

    return tuple(
        slice(a, stop(a, n, s), s) if n else slice(0, 0) for a, n, s in zip(starts, sizes, steps, strict=True)
    )


def slice_type(x: Type, *, starts: Ints, sizes: Ints, steps: Ints) -> Type:
    """Element i along an axis is element start + i * step of x; steps may be negative."""
    _positions(x.shape, sizes, starts, steps, "slice")
    return x.with_shape(sizes)


def pad_type(x: Type, *, shape: Ints, starts: Ints, steps: Ints, value: Any) -> Type:
    """The inverse of `slice`: x at those positions of an array filled with `value`."""
    _positions(shape, x.shape, starts, steps, "pad")
    return x.with_shape(shape)


def pad_meaning(x: np.ndarray, *, shape: Ints, starts: Ints, steps: Ints, value: Any) -> np.ndarray:
    """Fill, then assign to the slice."""
    out = np.full(shape, value, x.dtype)
    out[_selection(starts, x.shape, steps)] = x
    return out


Op(
    "slice",
    lambda x, *, starts, sizes, steps: x[_selection(starts, sizes, steps)],
    slice_type,
    vjp=lambda g, y, x, *, starts, sizes, steps: emit(
        "pad", g, shape=x.shape, starts=starts, steps=steps, value=0.0
    ),
    arity=1,
)
Op(
    "pad",
    pad_meaning,
    pad_type,
    vjp=lambda g, y, x, *, shape, starts, steps, value: emit(
        "slice", g, starts=starts, sizes=x.shape, steps=steps
    ),
    arity=1,
)


def concat_type(*types: Type, axis: int) -> Type:
    """Equal dtypes and shapes but for the axis."""
    first = types[0]
    for t in types:
        if t.dtype != first.dtype or t.ndim != first.ndim or not 0 <= axis < t.ndim:
            raise ShapeError(f"concat along axis {axis} of {', '.join(map(str, types))}")
        if any(n != m for i, (n, m) in enumerate(zip(t.shape, first.shape, strict=True)) if i != axis):
            raise ShapeError(
                f"concat along axis {axis}: shapes {', '.join(str(t.shape) for t in types)} differ"
            )
    shape = list(first.shape)
    shape[axis] = sum(t.shape[axis] for t in types)
    return first.with_shape(tuple(shape))


def concat_vjp(g: Cotangent, y: Value, *parts: Value, axis: int) -> tuple[Value, ...]:
    """Each part gets its piece of the cotangent."""
    pieces, offset = [], 0
    for x in parts:
        starts = tuple(offset if i == axis else 0 for i in range(len(x.shape)))
        pieces.append(emit("slice", g, starts=starts, sizes=x.shape, steps=(1,) * len(x.shape)))
        offset += x.shape[axis]
    return tuple(pieces)


Op("concat", lambda *xs, axis: np.concatenate(xs, axis), concat_type, concat_vjp)
