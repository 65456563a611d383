"""Which values kernels compute anew instead of reading them: what costs less than memory traffic.

A kernel hands a value to another one by storing it, and the other loads it. Where it is a few cheap ops on
what is in memory anyway, such as `100 * (x[1:] - x[:-1]**2)`, the reader computes it itself, and nobody
stores it. Results keep their bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from gradc.ir.graph import Graph, Node, Value
from gradc.passes.kernels import MAX_OPS, Kernel, in_memory, index_root, is_index_map

BUDGET = 24
"""What the ops of one value may cost: a load and a store from a cache further away take about as long."""

COST = {
    **dict.fromkeys(("add", "sub", "mul", "neg", "abs", "maximum", "minimum", "where", "copy"), 1),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "invert", "cast"), 1),
    **dict.fromkeys(("floor", "ceil", "trunc", "rint", "stop_gradient"), 1),
    **{"scale": 3, "product": 5, "div": 4, "sqrt": 4},
}
"""Of each op, in instructions; all others cost too much."""


def recomputed(graph: Graph, kernel_of: Mapping[Node, Kernel]) -> dict[Value, list[Value]]:
    """The values that every kernel but their own computes for itself, and what in memory of."""
    readers = _outside_readers(graph, kernel_of)
    stored = {x for x in readers if readers[x] is None} | set(graph.outputs)
    chains: dict[Value, list[Value]] = {}
    for x, kernels in readers.items():
        if kernels and x not in stored and (leaves := _leaves(x, kernel_of, stored)) is not None:
            chains[x] = leaves
    reads: dict[Kernel, set[Value]] = {}
    wanted: dict[Kernel, list[Value]] = {}
    for x, kernels in readers.items():
        for kernel in kernels or ():
            reads.setdefault(kernel, set()).add(x)
            if x in chains:
                wanted.setdefault(kernel, []).append(x)
    chosen = set(chains)
    for kernel, values in wanted.items():
        # A kernel that would read more than it does now, by values of about this size, keeps to reading.
        others = reads[kernel] - set(values)
        more = {leaf for x in values for leaf in chains[x]} - others
        many = sum(2 * leaf.type.size >= min(x.type.size for x in values) for leaf in more)
        room = len(kernel.nodes) + BUDGET * len(values) <= MAX_OPS
        size = prod(kernel.domain)
        if many > len(values) or not room or any(size > 2 * x.type.size for x in values):
            chosen.difference_update(values)
    # What others are computed of is in memory: nobody computes through several kernels.
    for x in reversed(chains):
        if x in chosen:
            chosen.difference_update(chains[x])
    return {x: chains[x] for x in chosen}


def _outside_readers(graph: Graph, kernel_of: Mapping[Node, Kernel]) -> dict[Value, set[Kernel] | None]:
    """For every value in the body of a kernel, the other kernels that read it; None if it must be stored."""
    readers: dict[Value, set[Kernel] | None] = {}
    for node in graph.nodes:
        if is_index_map(node):
            continue
        home = kernel_of[node]
        for i, x in enumerate(node.inputs):
            root = index_root(x)
            if root is None or (root is x and root.node is not None and kernel_of[root.node] is home):
                continue
            known = readers.setdefault(root, set())
            if in_memory(node, i) is not None:
                readers[root] = None
            elif known is not None:
                known.add(home)
    return readers


def _leaves(x: Value, kernel_of: Mapping[Node, Kernel], stored: Iterable[Value]) -> list[Value] | None:
    """What is in memory that the value is computed of, if by few cheap ops; else None."""
    if x.node is None or x not in kernel_of[x.node].body:
        return None
    home, cost = kernel_of[x.node], 0
    leaves: dict[Value, None] = {}
    seen: set[Value] = set()
    pending = [x]
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        node = value.node
        if node is None or (is_index_map(node) or kernel_of[node] is not home):
            if (root := index_root(value)) is not None:
                leaves[root] = None
            continue
        if value is not x and value in stored:
            leaves[value] = None
            continue
        cost += COST.get(node.op.name, BUDGET + 1)
        if cost > BUDGET:
            return None
        pending.extend(node.inputs)
    return list(leaves)
