"""What graphs and products have in common that share one piece of code."""

from __future__ import annotations

from collections.abc import Hashable
from math import prod

from gradc.ir.graph import Graph, Node
from gradc.ir.types import SHORT


def likeness(graph: Graph) -> Hashable:
    """What two graphs of kernels have in common if they compute the same: all but names and lines (but for
    the lines of checks, which messages tell)."""
    number = {x: i for i, x in enumerate(graph.inputs)}
    nodes = []
    for node in graph.nodes:
        line = node.source if node.op.name == "require" else None
        # 0.0 and -0.0 are equal, and so are 1 and True.
        nodes.append(
            (node.op.name, tuple([number[x] for x in node.inputs]), repr(node.attrs), node.types, line)
        )
        for y in node.results:
            number[y] = len(number)
    return tuple([x.type for x in graph.inputs]), tuple(nodes), tuple([number[y] for y in graph.outputs])


def product_key(node: Node) -> tuple:
    """What two nodes have in common that are one product: dtype, batch, m, n, k, transpositions, and whether
    A and B are batches."""
    a, b = node.inputs
    ta, tb = node.attrs["transpose_a"], node.attrs["transpose_b"]
    *outer, m, n = node.types[0].shape
    k = a.shape[-2] if ta else a.shape[-1]
    return (SHORT[a.dtype], prod(outer), m, n, k, ta, tb, len(a.shape) > 2, len(b.shape) > 2)
