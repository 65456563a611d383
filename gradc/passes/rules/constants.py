"""Constants: what is known at compile time is computed then."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.ir import OPS, Node, Type, Value, constant, emit
from gradc.ir.evaluate import run_node
from gradc.passes.pattern import COMMUTATIVE, same_number, splat
from gradc.passes.rewrite import rewrites

WRITTEN_OUT = 16
"""The largest constant that is written out element by element, as the text prints it."""

FOLDED = tuple(op.name for op in OPS.values() if op.elementwise and op.name != "require")
MOVING = ("broadcast", "reshape", "transpose", "slice", "windows")
SMALL = (*MOVING, "pad", "concat", "gather", "scatter_add", "scatter", "reduce_sum", "reduce_prod",
         "reduce_max", "reduce_min", "argmax", "argmin")  # fmt: skip


def known(value: Value) -> bool:
    return value.node is not None and value.node.op.name == "constant"


def from_array(array: np.ndarray, type: Type) -> Value:
    """A constant of the array's elements: a splat if they are all the same."""
    items = array.reshape(-1).tolist()
    if items and all(same_number(items[0], item) for item in items[1:]):
        return constant(items[0], type)
    return constant(array, type)


def evaluated(node: Node, inputs: list[Any]) -> np.ndarray | None:
    """The node's result by NumPy, or None where NumPy refuses (integers to negative powers, bad indices)."""
    try:
        with np.errstate(all="ignore"):
            (array,) = run_node(node, [np.asarray(x) for x in inputs], {})
    except (ValueError, IndexError):
        return None
    return array


@rewrites(*FOLDED)
def fold_splats(node: Node) -> Value | None:
    """f(splat, splat) => splat"""
    scalars = []
    for x in node.inputs:
        number = splat(x)
        if number is None:
            return None
        scalars.append(x.dtype.type(number))
    array = evaluated(node, scalars)
    return None if array is None else constant(array[()], node.types[0])


@rewrites(*MOVING)
def move_splat(node: Node) -> Value | None:
    """broadcast(splat) => splat"""
    number = splat(node.inputs[0])
    return None if number is None else constant(number, node.types[0])


@rewrites("constant")
def written_splat(node: Node) -> Value | None:
    """constant([c, c]) => constant(c)"""
    value, type = node.attrs["value"], node.types[0]
    if not isinstance(value, list) or not type.size:
        return None
    items = np.array(value, type.dtype).reshape(-1).tolist()
    if any(not same_number(items[0], item) for item in items[1:]):
        return None
    return constant(items[0], type)


@rewrites(*FOLDED, *SMALL)
def fold_small(node: Node) -> Value | None:
    """f([1, 2], [3, 4]) => [f(1, 3), f(2, 4)]"""
    type = node.types[0]
    for x in node.inputs:
        if not known(x) or x.type.size > WRITTEN_OUT:
            return None
    if type.size > WRITTEN_OUT:
        return None
    inputs = [
        np.broadcast_to(np.array(x.node.attrs["value"], x.dtype), x.shape) for x in node.inputs if x.node
    ]
    array = evaluated(node, inputs)
    return None if array is None else from_array(array, type)


def _is_zero(value: Value) -> bool:
    return splat(value) == 0


MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}


@rewrites(*sorted(COMMUTATIVE), *MIRRORED)
def constant_right(node: Node) -> Value | None:
    """c + x => x + c"""
    a, b = node.inputs
    if not known(a) or known(b):
        return None
    op = node.op.name
    if op in ("maximum", "minimum") and _is_zero(a):
        return None  # which of two zeros is the larger one depends on their order
    return emit(MIRRORED.get(op, op), b, a)
