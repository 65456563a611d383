"""Split: a reduction over a long first axis becomes one over chunks of it, and one over what these give.

Threads share the loops over axes that are kept. Where the first axis is reduced, as in a sum of all elements,
it is cut: the chunks are a new axis that the first kernel keeps, and a second kernel reduces. How many there
are depends on shapes alone, and so do the bits of the result.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradc.ir.effort import MOST_CHUNKS, chunks_of
from gradc.ir.graph import Builder, Graph, Node, Value, emit, rebuild
from gradc.ir.op import OPS
from gradc.ir.ops.reduce import REDUCTIONS, identity, reduced_axes, tail_of
from gradc.passes.nested import inside_out

COMBINING = frozenset({"reduce_sum", "reduce_prod", "reduce_max", "reduce_min"})
"""Reductions of parts that are reduced again in the same way."""

LANES = 64
"""Chunks of a single axis are whole vectors."""


def split(graph: Graph) -> Graph:
    """Split the long reductions of a fused graph. Must come after `fuse`."""
    return inside_out(graph, _split)


def _split(graph: Graph) -> Graph:
    cuts = {node: _cut(node.attrs["body"]) for node in graph.nodes if node.op.name == "fuse"}
    if not any(cuts.values()):
        return graph
    env: dict[Value, Value] = {x: x for x in graph.inputs}
    with Builder(graph.inputs) as builder:
        for node in graph.nodes:
            inputs = [env[x] for x in node.inputs]
            cut = cuts.get(node)
            if cut is None:
                results: Sequence[Value] = builder.add(rebuild(node, tuple(inputs))).results
            else:
                results = Halves(node, inputs, *cut).emit(builder)
            for old, new in zip(node.results, results, strict=True):
                new.name = old.name
                env[old] = new
    return graph.replace(nodes=builder.nodes, outputs=[env[y] for y in graph.outputs])


def _cut(body: Graph) -> tuple[int, int] | None:
    """The number of chunks and the length of each, if the first axis of a kernel is to be cut."""
    reductions = [node for node in body.nodes if node.op.name in REDUCTIONS]
    if not reductions or any(node.op.name not in COMBINING for node in reductions):
        return None
    domain, axes = reductions[0].inputs[0].shape, reduced_axes(reductions[0])
    if not axes or axes[0] != 0 or 0 in domain:
        return None
    size, unit = domain[0], LANES * 4 if len(domain) == 1 else 1
    count = chunks_of(body, domain, size // unit)
    if count < 2:
        return None
    even = [n for n in range(2, MOST_CHUNKS + 1) if size % n == 0 and n <= 2 * count]
    if even and max(even) >= count // 2:
        best = max(even)
        return best, size // best
    tail = tail_of(body)
    if any(y not in tail for y in body.outputs):
        return (max(even), size // max(even)) if even else None
    length = -(-size // count)
    return count, -(-length // LANES) * LANES if len(domain) == 1 else length


class Halves:
    """The two kernels that a reducing one becomes."""

    def __init__(self, node: Node, inputs: list[Value], count: int, length: int) -> None:
        self.node = node
        self.body: Graph = node.attrs["body"]
        self.given = dict(zip(self.body.inputs, inputs, strict=True))
        self.count, self.length = count, length
        self.tail = tail_of(self.body)
        first = next(n for n in self.body.nodes if n.op.name in REDUCTIONS)
        self.domain = first.inputs[0].shape

    def emit(self, builder: Builder) -> list[Value]:
        """Both kernels, in the graph that is being built; the results of the one that they replace."""
        reductions = [n for n in self.body.nodes if n.op.name in REDUCTIONS]
        whole = [y for y in self.body.outputs if y not in self.tail]
        with (copy := Copy(self.body, self.given)):
            parts = [self.part(copy, n) for n in reductions]
            chunked = [emit("reshape", copy.value(y), shape=self.chunked(y.shape)) for y in whole]
        first = copy.fuse(builder, self.node, [*parts, *chunked])
        parted = dict(zip([n.result for n in reductions], first, strict=False))
        results = {
            y: builder.emit(OPS["reshape"], (new,), {"shape": y.shape}).result
            for y, new in zip(whole, first[len(parts) :], strict=True)
        }
        ends = [y for y in self.body.outputs if y in self.tail]
        with (copy := Copy(self.body, self.given)):
            for n in reductions:
                part = copy.read(parted[n.result])
                copy.copies[n.result] = emit(n.op.name, part, axes=(0,))
            last = [copy.value(y) for y in ends]
        results.update(zip(ends, copy.fuse(builder, self.node, last), strict=True))
        return [results[y] for y in self.body.outputs]

    def part(self, copy: Copy, node: Node) -> Value:
        """The reduction of every chunk."""
        x = copy.value(node.inputs[0])
        total = self.count * self.length
        if total != self.domain[0]:
            zeros = (0,) * (len(self.domain) - 1)
            x = emit(
                "pad",
                x,
                shape=(total, *self.domain[1:]),
                starts=(0, *zeros),
                steps=(1,) * len(self.domain),
                value=x.dtype.type(identity(node.op.name, x.type)).item(),
            )
        x = emit("reshape", x, shape=self.chunked(self.domain))
        return emit(node.op.name, x, axes=tuple([a + 1 for a in reduced_axes(node)]))

    def chunked(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.count, self.length, *shape[1:])


class Copy(Builder):
    """The body of a new kernel, with copies of what it needs of the old one."""

    def __init__(self, body: Graph, given: dict[Value, Value]) -> None:
        super().__init__()
        self.given = given
        self.copies: dict[Value, Value] = {}
        self.operands: list[Value] = []

    def read(self, x: Value) -> Value:
        """A value of the outer graph, as an input."""
        if x not in self.operands:
            self.operands.append(x)
            self.add_input(x.type, x.name)
        return self.inputs[self.operands.index(x)]

    def value(self, x: Value) -> Value:
        """A value of the old kernel, copied with all that it is computed of."""
        pending = [x]
        while pending:
            y = pending[-1]
            if y in self.copies:
                pending.pop()
            elif y.node is None:
                self.copies[pending.pop()] = self.read(self.given[y])
            elif missing := [z for z in y.node.inputs if z not in self.copies]:
                pending.extend(missing)
            else:
                copy = self.add(rebuild(y.node, tuple([self.copies[z] for z in y.node.inputs])))
                self.copies.update(zip(y.node.results, copy.results, strict=True))
        return self.copies[x]

    def fuse(
        self, builder: Builder, like: Node, outputs: list[Value], name: str | None = None
    ) -> list[Value]:
        """The kernel as a node of the outer graph; its results."""
        body = self.build(name or like.attrs["body"].name, outputs)
        types = tuple([y.type for y in outputs])
        node = Node(OPS["fuse"], tuple(self.operands), {"body": body}, types, like.source)
        return list(builder.add(node).results)
