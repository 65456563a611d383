"""How much work kernels are, roughly: what is worth being split into chunks for threads."""

from __future__ import annotations

from math import prod

from gradc.ir.graph import Graph, Node
from gradc.ir.ops.reduce import REDUCTIONS

WEIGHT = {
    **dict.fromkeys(("constant", "broadcast", "reshape", "transpose", "slice", "iota", "windows"), 0),
    **dict.fromkeys(("add", "sub", "mul", "neg", "abs", "where", "copy", "cast", "eq", "ne", "lt", "le"), 1),
    **dict.fromkeys(("gt", "ge", "and", "or", "xor", "invert", "maximum", "minimum", "stop_gradient"), 1),
    **dict.fromkeys(("pad", "scale", "product", "reduce_sum", "reduce_max", "reduce_min"), 2),
}
"""The effort of ops for each element; others are 8."""

CHUNK = 400_000
"""The effort that is worth handing to a thread: tens of microseconds."""

MOST_CHUNKS = 64

NEAR = 256 << 10
"""Bytes that stay in a cache which is near."""

TERMS = 2
"""Terms of float32 products that are an effort of one; a vector has as many lanes as bytes allow."""


def chunks_of(graph: Graph, domain: tuple[int, ...], steps: int) -> int:
    """Into how many chunks the loops of a kernel over a domain are to be split; at most `steps`.

    That depends on shapes alone: results do not depend on the number of threads.
    """
    effort = prod(domain) * _weight(graph)
    return max(min(effort // CHUNK, MOST_CHUNKS, steps), 1)


def effort_of(node: Node) -> int:
    """The effort of a kernel or a matrix product; 0 for other nodes."""
    if node.op.name == "matmul":
        (y,) = node.types
        return prod(y.shape) * depth_of(node) * y.dtype.itemsize // (4 * TERMS)
    if node.op.name != "fuse":
        return 0
    return prod(domain_of(node)) * _weight(node.attrs["body"])


def _weight(body: Graph) -> int:
    """The effort of a kernel for each element of its domain."""
    return sum(WEIGHT.get(node.op.name, 8) for node in body.nodes)


def domain_of(node: Node) -> tuple[int, ...]:
    """The shape that the loops of a kernel go over: that of what is reduced, or else of its first result."""
    nodes = node.attrs["body"].nodes if node.op.name == "fuse" else [node]
    return next((n.inputs[0].shape for n in nodes if n.op.name in REDUCTIONS), node.types[0].shape)


def depth_of(product: Node) -> int:
    """How many terms each element of a matrix product has."""
    return product.inputs[0].shape[-2 if product.attrs["transpose_a"] else -1]
