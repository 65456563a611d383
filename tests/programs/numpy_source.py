"""A random graph as the source of a NumPy function, so that the tracer meets random programs too."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import scipy.special

from gradc.ir import Graph, Node, Type, Value
from gradc.ir.ops.special import SCIPY_NAMES

PLAIN = {
    **{"neg": "np.negative", "div": "np.divide", "sub": "np.subtract", "mul": "np.multiply"},
    **{"eq": "np.equal", "ne": "np.not_equal", "lt": "np.less", "le": "np.less_equal", "gt": "np.greater"},
    **{"ge": "np.greater_equal", "and": "np.bitwise_and", "or": "np.bitwise_or", "xor": "np.bitwise_xor"},
    **{"shift_left": "np.left_shift", "shift_right": "np.right_shift"},
    **{"erf": "scipy.special.erf", "erfc": "scipy.special.erfc", "expit": "scipy.special.expit"},
    **{name: f"scipy.special.{name}" for name in SCIPY_NAMES},
}
"""Elementwise ops that NumPy calls otherwise."""

OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "ge": ">=", "eq": "==", "ne": "!="}
OPERATORS |= {"floor_divide": "//", "remainder": "%", "power": "**", "and": "&", "or": "|", "xor": "^"}

SKIPPED = {
    "sech2",
    "require",
    "stop_gradient",
    "scatter_add",
    "scatter",
    "scale",
    "product",
    "fuse",
    "cond",
    "custom",
}
"""Ops that are no plain NumPy expression."""

_numbers = count()


def function_of(graph: Graph) -> Callable[..., Any] | None:
    """A NumPy function of the graph's inputs, which gives its outputs as a tuple; None if it is none."""
    if any(node.op.name in SKIPPED for node in graph.walk()):
        return None
    space: dict[str, Any] = {"np": np, "scipy": scipy, **graph.constants}
    text = _definition(graph, "program", space)
    if text is None:
        return None
    file = f"<random program {next(_numbers)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), space)
    return space["program"]


def _definition(graph: Graph, name: str, space: dict[str, Any]) -> str | None:
    names: dict[Value, str] = {x: f"x{i}" for i, x in enumerate(graph.inputs)}
    lines = [f"def {name}({', '.join(names.values())}):"]
    inner: list[str] = []
    for node in graph.nodes:
        given = [names[x] for x in node.inputs]
        names.update({y: f"v{len(names) + i}" for i, y in enumerate(node.results)})
        left = ", ".join(names[y] for y in node.results)
        if node.op.name == "call":
            helper = f"{name}_{len(inner)}"
            text = _definition(node.attrs["body"], helper, space)
            if text is None:
                return None
            inner.append(text)
            lines.append(f"    {left}, = {helper}({', '.join(given)})")
            continue
        right = _expression(node, given)
        if right is None:
            return None
        lines.append(f"    {left} = {right}")
    lines.append(f"    return ({''.join(names[y] + ', ' for y in graph.outputs)})")
    return "\n".join([*inner, *lines]) + "\n"


def _dtype(type: Type) -> str:
    return f"np.{'bool_' if type.is_bool else type.dtype.name}"


def _literal(value: Any) -> str:
    text = repr(value)
    return f"np.{text}" if text in ("nan", "inf") else text.replace("nan", "np.nan").replace("inf", "np.inf")


def _slice(start: int, size: int, step: int) -> str:
    end = start + size * step
    if not size:
        return "0:0"
    return f"{start}:{end if end >= 0 else ''}:{step}"


def _expression(node: Node, xs: list[str]) -> str | None:
    """The node as NumPy; None where NumPy has no short way to say it."""
    op, a, type = node.op.name, node.attrs, node.types[0]
    if op in OPERATORS and len(xs) == 2 and type.size % 2:  # now with the operator, now with the function
        return f"{xs[0]} {OPERATORS[op]} {xs[1]}"
    if op == "cast":
        return f"np.asarray({xs[0]}).astype({_dtype(type)})"
    if op == "where" or node.op.elementwise:
        return f"{PLAIN.get(op, f'np.{op}')}({', '.join(xs)})"
    if op == "constant":
        if isinstance(a["value"], list):
            return f"np.array({_literal(a['value'])}, {_dtype(type)})"
        return f"np.full({type.shape}, {_literal(a['value'])}, {_dtype(type)})"
    if op == "captured":
        return a["name"]
    if op == "iota":
        shape = tuple(n if i == a["axis"] else 1 for i, n in enumerate(type.shape))
        line = f"np.arange({type.shape[a['axis']]}, dtype={_dtype(type)}).reshape({shape})"
        return f"np.broadcast_to({line}, {type.shape})"
    if op == "broadcast":
        new = tuple(i for i in range(len(a["shape"])) if i not in a["axes"])
        return f"np.broadcast_to(np.expand_dims({xs[0]}, {new}), {a['shape']})"
    if op == "reshape":
        return f"np.reshape({xs[0]}, {a['shape']})"
    if op == "transpose":
        return f"np.transpose({xs[0]}, {a['axes']})"
    if op == "slice":
        if not a["sizes"]:
            return f"np.asarray({xs[0]})[()]"
        parts = zip(a["starts"], a["sizes"], a["steps"], strict=True)
        return f"{xs[0]}[{', '.join(_slice(*p) for p in parts)}]"
    if op == "concat":
        return f"np.concatenate(({''.join(x + ', ' for x in xs)}), axis={a['axis']})"
    if op.startswith("reduce_"):
        name = {"reduce_sum": "sum", "reduce_prod": "prod", "reduce_max": "max", "reduce_min": "min"}[op]
        if type.is_bool:
            name = {"max": "any", "min": "all"}[name]
        dtype = f", dtype={_dtype(type)}" if name in ("sum", "prod") else ""
        return f"np.{name}({xs[0]}, axis={a['axes']}{dtype})"
    if op in ("argmax", "argmin"):
        return f"np.{op}({xs[0]}, axis={a['axis']})"
    if op == "matmul":
        left, right = (
            f"np.swapaxes({x}, -1, -2)" if a[key] else x
            for x, key in zip(xs, ("transpose_a", "transpose_b"), strict=True)
        )
        return f"{left} @ {right}"
    if op == "gather":
        order = (*a["axes"], *[i for i in range(node.inputs[0].type.ndim) if i not in a["axes"]])
        return f"np.transpose({xs[0]}, {order})[{', '.join(xs[1:])}]"
    return None
