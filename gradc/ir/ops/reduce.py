"""Reductions over axes: sum, product, maximum, minimum, and where the extremes are. The axes vanish."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.ir.errors import ShapeError
from gradc.ir.graph import Graph, Node, Value, emit
from gradc.ir.op import Cotangent, Op, full_like
from gradc.ir.ops.elementwise import equal, where
from gradc.ir.types import I64, Type

Axes = tuple[int, ...]


def _reduced(x: Type, axes: Axes) -> Type:
    if list(axes) != sorted(set(axes)) or any(not 0 <= a < x.ndim for a in axes):
        raise ShapeError(f"axes {axes} are not axes of {x}")
    return x.with_shape(tuple(n for i, n in enumerate(x.shape) if i not in axes))


def sum_type(x: Type, *, axes: Axes) -> Type:
    """Numbers only: booleans are cast by the tracer, as NumPy does."""
    if x.is_bool:
        raise ShapeError("sums and products take numbers, not bool")
    return _reduced(x, axes)


def extreme_type(x: Type, *, axes: Axes) -> Type:
    """No axis that vanishes may be empty: there is no identity."""
    if any(x.shape[a] == 0 for a in axes if 0 <= a < x.ndim) and not x.is_bool:
        raise ShapeError(f"the maximum or minimum over an empty axis of {x} is not defined")
    return _reduced(x, axes)


def spread(r: Value | Cotangent, x: Value, axes: Axes) -> Value:
    """A reduced value back over the shape of x."""
    return emit("broadcast", r, shape=x.shape, axes=tuple(i for i in range(len(x.shape)) if i not in axes))


def extreme_vjp(g: Cotangent, y: Value, x: Value, *, axes: Axes) -> tuple[Value]:
    """To the extreme elements, in equal shares at ties."""
    hit = equal(x, spread(y, x, axes))
    count = emit("reduce_sum", where(hit, full_like(1, x), 0), axes=axes)
    return (where(hit, spread(g / count, x, axes), 0),)


def prod_vjp(g: Cotangent, y: Value, x: Value, *, axes: Axes) -> tuple[Value]:
    """The product of all other elements, by a tree of pairwise products: right with zeros, at any order."""
    kept = tuple(i for i in range(len(x.shape)) if i not in axes)
    order = kept + axes
    rows = tuple(x.shape[i] for i in kept)
    n = int(np.prod([x.shape[i] for i in axes]))
    level = emit("reshape", emit("transpose", x, axes=order), shape=(*rows, n))

    def part(v: Value, start: int, size: int, step: int) -> Value:
        lead = len(rows)
        return emit(
            "slice", v, starts=(0,) * lead + (start,), sizes=(*rows, size), steps=(1,) * lead + (step,)
        )

    def place(v: Value, start: int, size: int, step: int) -> Value:
        lead = (0,) * len(rows), (1,) * len(rows)
        return emit(
            "pad", v, shape=(*rows, size), starts=(*lead[0], start), steps=(*lead[1], step), value=0.0
        )

    levels = []
    while level.shape[-1] > 1:
        size = level.shape[-1]
        half = size // 2
        left, right = part(level, 0, half, 2), part(level, 1, half, 2)
        levels.append((size, left, right))
        pairs = left * right
        level = emit("concat", pairs, part(level, size - 1, 1, 1), axis=len(rows)) if size % 2 else pairs
    down = emit("reshape", g, shape=(*rows, 1)) if n else emit("reshape", x, shape=(*rows, 0))
    for size, left, right in reversed(levels):
        half = size // 2
        pairs = Cotangent(part(down, 0, half, 1))
        spreaded = place((pairs * right).value, 0, size, 2) + place((pairs * left).value, 1, size, 2)
        down = spreaded + place(part(down, half, 1, 1), size - 1, size, 1) if size % 2 else spreaded
    back = emit("reshape", down, shape=tuple(x.shape[i] for i in order))
    return (emit("transpose", back, axes=tuple(sorted(range(len(order)), key=order.__getitem__))),)


Op(
    "reduce_sum",
    lambda x, *, axes: np.sum(x, axis=axes, dtype=x.dtype),
    sum_type,
    vjp=lambda g, y, x, *, axes: spread(g, x, axes),
    arity=1,
)
Op("reduce_prod", lambda x, *, axes: np.prod(x, axis=axes, dtype=x.dtype), sum_type, vjp=prod_vjp, arity=1)
Op(
    "reduce_max",
    lambda x, *, axes: np.any(x, axis=axes) if x.dtype == bool else np.max(x, axis=axes),
    extreme_type,
    vjp=extreme_vjp,
    arity=1,
)
Op(
    "reduce_min",
    lambda x, *, axes: np.all(x, axis=axes) if x.dtype == bool else np.min(x, axis=axes),
    extreme_type,
    vjp=extreme_vjp,
    arity=1,
)


REDUCTIONS = frozenset({"reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "argmax", "argmin"})
"""The ops of this module."""


def tail_of(graph: Graph) -> set[Value]:
    """The reduced values of a kernel's graph, and what is computed from them."""
    tail: set[Value] = set()
    for node in graph.nodes:
        if node.op.name in REDUCTIONS or not tail.isdisjoint(node.inputs):
            tail.update(node.results)
    return tail


def identity(op: str, type: Type) -> bool | int | float:
    """What does not change a reduction. Sums begin at -0.0, so that a sum of -0.0 stays one, as in NumPy."""
    if type.is_bool:
        return op in ("reduce_min", "argmin")
    if op == "reduce_sum":
        return -0.0 if type.is_float else 0
    if op == "reduce_prod":
        return 1
    lowest = op in ("reduce_max", "argmax")
    if type.is_float:
        return -np.inf if lowest else np.inf
    limits = np.iinfo(type.dtype)
    return int(limits.min if lowest else limits.max)


def reduced_axes(node: Node) -> Axes:
    """The axes that vanish."""
    return node.attrs["axes"] if "axes" in node.attrs else (node.attrs["axis"],)


def argument_type(x: Type, *, axis: int) -> Type:
    """The index of the first extreme element (or NaN) along an axis that is not empty."""
    if not 0 <= axis < x.ndim or x.shape[axis] == 0:
        raise ShapeError(f"no first extreme along axis {axis} of {x}")
    return Type(I64, _reduced(x, (axis,)).shape)


def _argument(name: str, meaning: Any) -> Op:
    return Op(name, lambda x, *, axis: meaning(x, axis), argument_type, arity=1)


_argument("argmax", np.argmax)
_argument("argmin", np.argmin)
