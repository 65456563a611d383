"""Windows: overlapping readings of an array, their adjoint `fold`, and `contract`, the sum of products.

A convolution is a `contract` of `windows` of an image with a kernel. All three are closed under
differentiation: the gradients of `windows` are `fold`, those of `fold` are `windows`, those of `contract` are
`contract`.
"""

from __future__ import annotations

from math import prod

import numpy as np

from gradc.ir.errors import ShapeError
from gradc.ir.graph import Value, emit
from gradc.ir.op import Cotangent, Op
from gradc.ir.types import Type

Ints = tuple[int, ...]


def readers(axes: Ints, axis: int) -> list[int]:
    """The axes of a reading that walk along an axis of what is read."""
    return [r for r, a in enumerate(axes) if a == axis]


def _check(whole: Ints, shape: Ints, axes: Ints, starts: Ints, steps: Ints, what: str) -> None:
    """Every element of the reading lies inside of the whole."""
    if not len(shape) == len(axes) == len(steps) or len(starts) != len(whole):
        raise ShapeError(f"{what}: ranks differ: {whole}, {shape}, {axes}, {starts}, {steps}")
    if any(not 0 <= a < len(whole) for a in axes) or any(n < 0 for n in shape):
        raise ShapeError(f"{what}: axes {axes} and sizes {shape} of an array of shape {whole}")
    if 0 in shape:
        return
    for axis, n in enumerate(whole):
        spans = [(shape[r] - 1) * steps[r] for r in readers(axes, axis)]
        low = starts[axis] + sum(s for s in spans if s < 0)
        high = starts[axis] + sum(s for s in spans if s > 0)
        if low < 0 or high >= n:
            raise ShapeError(f"{what}: reads from {low} to {high} along an axis of size {n}")


def windows_type(x: Type, *, shape: Ints, axes: Ints, starts: Ints, steps: Ints) -> Type:
    """Along axis r of the result one walks along axis `axes[r]` of x by `steps[r]`; several may share one.

    The element at index i is that of x whose index along axis a is `starts[a]` plus the sum of
    `i[r] * steps[r]` over all r with `axes[r] == a`.
    """
    _check(x.shape, shape, axes, starts, steps, "windows")
    return x.with_shape(shape)


def windows_meaning(x: np.ndarray, *, shape: Ints, axes: Ints, starts: Ints, steps: Ints) -> np.ndarray:
    """A view with overlapping strides, for reading only."""
    x = np.asarray(x)
    if 0 in shape:
        return np.empty(shape, x.dtype)
    first = x[tuple(slice(start, None) for start in starts)]
    strides = [x.strides[a] * step for a, step in zip(axes, steps, strict=True)]
    return np.lib.stride_tricks.as_strided(first, shape, strides, writeable=False)


def fold_type(x: Type, *, shape: Ints, axes: Ints, starts: Ints, steps: Ints) -> Type:
    """The adjoint of `windows`: an array of `shape`, each element the sum of all that would read it."""
    if x.is_bool:
        raise ShapeError("fold adds numbers, not bool")
    _check(shape, x.shape, axes, starts, steps, "fold")
    return x.with_shape(shape)


def fold_meaning(x: np.ndarray, *, shape: Ints, axes: Ints, starts: Ints, steps: Ints) -> np.ndarray:
    """Add every element where `windows` reads it; the sum of nothing but -0.0 is one."""
    out = np.zeros(prod(shape), x.dtype)
    places = np.arange(out.size).reshape(shape)
    read = windows_meaning(places, shape=x.shape, axes=axes, starts=starts, steps=steps).reshape(-1)
    out[read] = -0.0 if x.dtype.kind == "f" else 0
    np.add.at(out, read, x.reshape(-1))
    return out.reshape(shape)


def _fold(g: Cotangent, y: Value, x: Value, *, shape: Ints, axes: Ints, starts: Ints, steps: Ints) -> Value:
    return emit("fold", g, shape=x.shape, axes=axes, starts=starts, steps=steps)


def _windows(
    g: Cotangent, y: Value, x: Value, *, shape: Ints, axes: Ints, starts: Ints, steps: Ints
) -> Value:
    return emit("windows", g, shape=x.shape, axes=axes, starts=starts, steps=steps)


def contract_type(x: Type, y: Type, *, a: Ints, b: Ints, result: Ints) -> Type:
    """As in `einsum`: `a` and `b` label the axes of the operands, `result` those of the result.

    A label occurs once in each; what is not in the result is summed and must be in both operands.
    """
    if x.dtype != y.dtype or x.is_bool:
        raise ShapeError(f"contract takes two arrays of numbers of one dtype, not {x} and {y}")
    if any(len(set(t)) < len(t) for t in (a, b, result)) or (len(a), len(b)) != (x.ndim, y.ndim):
        raise ShapeError(f"contract: the labels {a}, {b} -> {result} do not fit {x} and {y}")
    sizes = {**dict(zip(a, x.shape, strict=True)), **dict(zip(b, y.shape, strict=True))}
    if any(sizes[label] != n for label, n in zip((*a, *b), (*x.shape, *y.shape), strict=True)):
        raise ShapeError(f"contract: sizes differ by the labels {a} of {x} and {b} of {y}")
    if not {*a, *b}.issuperset(result) or {*a, *b} - {*result} != {*a} & {*b} - {*result}:
        raise ShapeError(f"contract: the labels {result} of the result, for {a} and {b}")
    return x.with_shape(tuple(sizes[label] for label in result))


def contract_meaning(x: np.ndarray, y: np.ndarray, *, a: Ints, b: Ints, result: Ints) -> np.ndarray:
    """np.einsum, with labels renumbered from 0; of copies, since BLAS rounds otherwise where arrays are
    views."""
    number = {label: i for i, label in enumerate(dict.fromkeys((*a, *b)))}
    size = {**dict(zip(a, x.shape, strict=True)), **dict(zip(b, y.shape, strict=True))}
    shape = tuple(size[label] for label in result)
    labels = [[number[label] for label in t] for t in (a, b, result)]
    x, y = np.ascontiguousarray(x).reshape(x.shape), np.ascontiguousarray(y).reshape(y.shape)
    return np.ascontiguousarray(np.einsum(x, labels[0], y, labels[1], labels[2], optimize=True)).reshape(
        shape
    )


def contract_vjp(
    g: Cotangent, out: Value, x: Value, y: Value, *, a: Ints, b: Ints, result: Ints
) -> tuple[Value, Value]:
    """The cotangent contracted with the other operand, to the labels of this one."""
    return (
        emit("contract", g, y, a=result, b=b, result=a),
        emit("contract", g, x, a=result, b=a, result=b),
    )


Op("windows", windows_meaning, windows_type, _fold, arity=1)
Op("fold", fold_meaning, fold_type, _windows, arity=1)
Op("contract", contract_meaning, contract_type, contract_vjp, arity=2)
