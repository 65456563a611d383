"""The work that a program cannot do without, counted on gradc's graphs: operations and bytes."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any

from gradc.api.lower import Lowered
from gradc.ir.graph import Node, Value

MOVES = {
    *(
        "constant",
        "captured",
        "iota",
        "broadcast",
        "reshape",
        "transpose",
        "slice",
        "pad",
        "concat",
        "windows",
    ),
    *("fold", "gather", "scatter_add", "copy", "cast", "require", "stop_gradient"),
}
"""Ops that compute nothing."""
CHEAP = {
    *("add", "sub", "mul", "neg", "abs", "scale", "where", "eq", "ne", "lt", "le", "gt", "ge", "and", "or"),
    *("xor", "invert", "maximum", "minimum", "sign", "floor", "ceil", "rint"),
    *("reduce_sum", "reduce_max", "reduce_min", "argmax", "argmin", "cumsum"),
}
"""Ops that take one step of a vector unit for an element."""
ROOTS = {"div", "sqrt"}
STEPS_OF_ROOT = {"float32": 4, "float64": 6}
"""An approximation and Newton's steps; what the hardware's own instruction takes at best is about that."""
STEPS_OF_FUNCTION = {"float32": 10, "float64": 16}
"""exp, log, tanh and others by the shortest polynomials known, with reducing the argument."""


def work(lowered: Lowered) -> dict[str, Any]:
    """Operations of products, steps of vector units for elements, bytes to be read and written.

    Products and arithmetic are counted as gradc runs them, after its simplifications, and functions (exp,
    log, ...) once for each time that the user's program has them: what gradc computes again, in a gradient
    or to save memory, could have been kept. Bytes are those of arguments and results alone.
    """
    traced, graph = lowered.graph("traced"), lowered.graph("optimized")
    products: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    for node in graph.walk():
        dtype = node.types[0].dtype.name
        if node.op.name in ("matmul", "contract"):
            products[dtype] += 2 * multiplications(node)
        elif node.op.name in CHEAP:
            steps[dtype] += size_of(node)
        elif node.op.name in ROOTS:
            steps[dtype] += size_of(node) * STEPS_OF_ROOT.get(dtype, 1)
    for node in traced.walk():
        dtype = node.types[0].dtype.name
        if node.op.elementwise and node.op.name not in MOVES | CHEAP | ROOTS:
            steps[dtype] += size_of(node) * STEPS_OF_FUNCTION.get(dtype, 1)
    return {
        "products": dict(products),
        "steps": dict(steps),
        "read": bytes_of(graph.inputs),
        "written": bytes_of(graph.outputs),
        "arena": lowered.memory,
    }


def size_of(node: Node) -> int:
    """Elements of what is the larger, the first operand (of a reduction) or the result."""
    return max(prod(t.shape) for t in (node.types[0], *(x.type for x in node.inputs[:1])))


def multiplications(node: Node) -> int:
    """Of a product of matrices, or of a sum of products over axes that both operands name."""
    if node.op.name == "contract":
        sizes = dict[int, int]()
        for value, axes in zip(node.inputs, (node.attrs["a"], node.attrs["b"]), strict=True):
            sizes |= dict(zip(axes, value.shape, strict=True))
        return prod(sizes.values())
    k = node.inputs[0].shape[-2 if node.attrs["transpose_a"] else -1]
    return prod(node.types[0].shape) * k


def bytes_of(values: list[Value]) -> int:
    """Of all of them together, each once."""
    return sum(prod(x.type.shape) * x.type.dtype.itemsize for x in dict.fromkeys(values))
