"""The chain rule, once: walk nodes backward and add up cotangents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gradc.ir.graph import Node, Value, current, emit
from gradc.ir.op import node_vjp


def backpropagate(
    nodes: Sequence[Node], seeds: Mapping[Value, Value], wrt: Iterable[Value]
) -> dict[Value, Value]:
    """Emit the backward pass of `nodes` into the current builder; the cotangent of every value that has one.

    `seeds` gives the cotangents of the outputs. Only values that depend on `wrt` get cotangents; a missing
    one means zero.
    """
    active = set(wrt)
    for node in nodes:
        if not active.isdisjoint(node.inputs):
            active.update(node.results)
    cotangents = {y: g for y, g in seeds.items() if y in active}
    builder = current()
    for node in reversed(nodes):
        gs = [cotangents.get(y) for y in node.results]
        if all(g is None for g in gs):
            continue
        with builder.at(node.source):
            for x, g in zip(node.inputs, node_vjp(node, gs, active), strict=True):
                if g is not None and x in active:
                    cotangents[x] = emit("add", cotangents[x], g) if x in cotangents else g
    return cotangents
