"""Kernels that follow a matrix product: loops over one tile of it, which has just been computed.

The body is that of any kernel, over the product's elements. A call does `rows` rows from `row` on of the
columns from `column` on; how many columns depends on the tile, and is known. The product is read where the
tile lies, everything else in its place. Sums of columns are added to what tiles further up have left.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING

from gradc.codegen.accumulate import Accumulators, combining_op
from gradc.codegen.likeness import likeness
from gradc.codegen.loops import Affine, KernelCode, Register
from gradc.codegen.lower import ZERO, Emitter, Index
from gradc.codegen.matmul import Epilogue
from gradc.codegen.nests import Nest, Offsets
from gradc.ir.effort import NEAR, WEIGHT, chunks_of
from gradc.ir.graph import Graph, Node, Value
from gradc.ir.ops.reduce import REDUCTIONS
from gradc.ir.types import Type

if TYPE_CHECKING:
    from gradc.codegen.module import Module

MULTIPLY_ADDS = 20
"""Of a product, that take as long as one unit of effort in a kernel."""


def product_of(body: Graph) -> Node | None:
    """The matrix product in a kernel's graph."""
    return next((node for node in body.nodes if node.op.name == "matmul"), None)


def following(body: Graph, product: Node) -> tuple[Graph, list[int], list[int]]:
    """What a kernel's graph does with its product, as a graph whose last input is the product.

    Gives also which inputs of the body the others are, and which outputs of the body its outputs are: the
    product itself is not among them.
    """
    y = product.result
    nodes = [node for node in body.nodes if node is not product]
    outputs = [i for i, out in enumerate(body.outputs) if out is not y]
    read = {x for node in nodes for x in node.inputs} | set(body.outputs)
    inputs = [i for i, x in enumerate(body.inputs) if x in read]
    z = Value(y.type, name=y.name)
    env = {y: z}
    copies = []
    for node in nodes:
        copy = Node(node.op, tuple([env.get(x, x) for x in node.inputs]), node.attrs, node.types, node.source)
        env.update(zip(node.results, copy.results, strict=True))
        copies.append(copy)
    rest = body.replace(
        inputs=[*(body.inputs[i] for i in inputs), z],
        nodes=copies,
        outputs=[env.get(body.outputs[i], body.outputs[i]) for i in outputs],
    )
    return rest, inputs, outputs


def overlaps(inputs: Sequence[str], outputs: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The pairs (output, input) that share memory."""
    return tuple((o, i) for o, p in enumerate(outputs) for i, q in enumerate(inputs) if p == q)


@dataclass(frozen=True)
class Follow:
    """A graph whose last input is a product; which outputs lie where which inputs do; whether the product is
    kept as well."""

    graph: Graph
    overwrites: tuple[tuple[int, int], ...]
    keep: bool

    @property
    def key(self) -> Hashable:
        """What products have in common if the same follows them."""
        return likeness(self.graph), self.overwrites, self.keep

    @property
    def sums(self) -> dict[int, Node]:
        """The sums of columns, by output."""
        found = ((i, y.node) for i, y in enumerate(self.graph.outputs))
        return {i: node for i, node in found if node is not None and node.op.name in REDUCTIONS}

    def epilogue(self, module: Module) -> Epilogue:
        """The functions for its tiles, in a module."""
        effort = MULTIPLY_ADDS * sum(WEIGHT.get(node.op.name, 8) for node in self.graph.nodes)
        symbol = partial(module.tiles, self.graph, self.overwrites)
        *inputs, product = self.graph.inputs
        moved = sum(x.type.nbytes for x in (*inputs, *self.graph.outputs) if x.type.size == product.type.size)
        return Epilogue(symbol, self.keep, bool(self.sums), effort, moved > NEAR, product.shape[-1])


def goes_by_tiles(graph: Graph) -> bool:
    """Can the loops over rows be one, so that a tile is some rows and columns of it?"""
    return Tiles(Emitter(graph, 0), graph, [], 1, 1).rows_are_even


def is_shared(graph: Graph) -> bool:
    """Would threads share the loops of a kernel, if it came after its product?"""
    domain = graph.inputs[-1].shape
    return chunks_of(graph, domain, prod(domain)) > 1


def lower_tiles(
    graph: Graph, columns: int, stride: int, vector_bytes: int, overwrites: tuple[tuple[int, int], ...]
) -> KernelCode:
    """The loops over a tile of so many columns, whose rows lie `stride` elements apart."""
    emitter = Emitter(graph, vector_bytes)
    Tiles(emitter, graph, [graph.inputs[i] for _, i in overwrites], columns, stride).emit()
    inputs, outputs = tuple(x.type for x in graph.inputs[:-1]), tuple(y.type for y in graph.outputs)
    (frame,) = emitter.frames
    return KernelCode(graph.name, inputs, outputs, frame.body, overwrites, (columns, stride))


class Tiles(Nest):
    """The loops over one tile."""

    def __init__(
        self, emitter: Emitter, graph: Graph, overwritten: list[Value], columns: int, stride: int
    ) -> None:
        self.columns, self.stride = columns, stride
        super().__init__(emitter, graph, overwritten)
        self.product = graph.inputs[-1]
        emitter.results[self.product] = self.element

    def collapse(self) -> None:
        """Two loops: over rows, which are one axis if every access allows, and over columns."""
        last = len(self.domain) - 1
        outer = [a for a in range(last) if self.domain[a] != 1] or [last - 1]
        self.row = row = outer[-1]
        self.rows_are_even = all(
            x.coefficient(f"i{a}") == x.coefficient(f"i{row}") * prod(self.domain[a + 1 : last])
            for x in self.accesses()
            for a in outer[:-1]
        )
        self.sizes = {row: "rows", last: self.columns}  # type: ignore[assignment]
        self.index = [ZERO] * len(self.domain)
        self.index[row] = Affine.variable(f"i{row}") + Affine.variable("row")
        self.index[last] = Affine.variable(f"i{last}") + Affine.variable("column")
        self.vector, self.across, self.written_out = last, False, False

    def emit(self) -> None:
        self.loops()

    def write(self, outputs: list[Value], index: Index) -> None:
        """As in any kernel, once the product is read: it may lie where an output does."""
        *rows, _ = self.product.shape
        row = max([a for a, size in enumerate(rows) if size != 1], default=0)
        place = [self.index[self.row] if a == row else ZERO for a in range(len(rows))]
        self.emitter.value(self.product, (*place, index[-1]))
        super().write(outputs, index)

    def element(self, index: Index) -> Register:
        """The product's element, read from the tile."""
        y, place = self.product, ZERO
        for position, stride in zip(index, y.type.strides, strict=True):
            place = place + position * stride
        row, column = Affine.variable(f"i{self.row}"), Affine.variable(f"i{len(self.domain) - 1}")
        size = self.stride << 20  # as many rows as there may be
        return self.emitter.load(
            "tile", Type(y.dtype, (size,)), (row * self.stride + column + place.constant,)
        )

    def reduce(self, groups: list[Accumulators], axes: list[int], blocks: Offsets) -> None:
        """The rows of a tile, one after the other."""
        self.emitter.open(f"i{self.row}")
        super().reduce(groups, [], blocks)
        self.emitter.close(0, "rows", 1)

    def finish(self, totals: dict[Value, Register], copy: int) -> None:
        """Add to the sums so far."""
        emitter, full = self.emitter, self.at(copy)
        index = tuple(full[a] for a in self.kept)
        for i, y in enumerate(self.graph.outputs):
            if y in totals:
                assert y.node is not None
                before = emitter.load(f"out{i}", y.type, index)
                total = emitter.let(combining_op(y.node), y.dtype, [before, totals[y]])
                emitter.store(f"out{i}", y.type, index, total)
