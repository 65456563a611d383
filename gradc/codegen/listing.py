"""What runs, as rows to read: the kernels of a planned graph in order, with what was fused in each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gradc.ir.effort import depth_of, domain_of
from gradc.ir.errors import Source
from gradc.ir.graph import Graph, Node, Value
from gradc.ir.ops.reduce import REDUCTIONS
from gradc.ir.text import Names
from gradc.ir.types import Type

QUIET = frozenset({"constant", "broadcast", "reshape"})
"""Ops that a kernel's loops do nothing for."""


@dataclass(eq=False)
class Step:
    """A node as code generation met it: in which graph, and which node, if any, holds that.

    `symbols` are the functions that the binary calls for it, in order; it has so many `chunks`, which threads
    may share; `scratch` is the workspace of a thread that runs it, in bytes, beside the arena; what follows a
    matrix product may be done `by_tiles`.
    """

    node: Node
    graph: Graph
    parent: Step | None = None
    symbols: list[str] = field(default_factory=list)
    chunks: int = 1
    scratch: int = 0
    by_tiles: bool = False


class Operand(NamedTuple):
    """A value that a kernel reads or writes. Captured arrays have the names that dumps give them."""

    name: str
    type: Type

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


class Within(NamedTuple):
    """What a kernel is in: `times` "blocks" of rows or "tasks", each done by a thread; a "call", or a branch
    of a cond ("if_true", "if_false"), once each. `symbol` is the function for it."""

    kind: str
    times: int
    symbol: str

    @property
    def is_shared(self) -> bool:
        return self.kind in ("blocks", "tasks")

    def __str__(self) -> str:
        texts = {"blocks": f"each of {self.times} blocks of rows", "tasks": f"{self.times} tasks"}
        return texts.get(self.kind, f"{self.kind} {self.symbol}")


class Kernel(NamedTuple):
    """One kernel: a loop nest with everything that was fused into it, a matrix product with what follows its
    tiles, a sort or a factorization.

    `ops` are in order, without constants and broadcasts. `space` is the shape that the loops go over and
    `reduced` the axes of it that are summed (or multiplied, ...); for a product that is m, n and k, of which
    k is reduced. `product` is the matrix product as NumPy writes it, `x @ p.W1.T`, if there is one; the ops
    after `matmul` are its epilogue: done `by_tiles`, each as soon as it is computed, or else
    after the product. `sources` are the user's lines. `chunks` are what threads share of it;
    what it is `within`, outermost first, may be shared as a whole. `scratch` is the workspace that a thread
    needs for it beside the arrays it reads and writes, in bytes; `symbols` are the functions that are called
    for it, one or more.
    """

    name: str
    ops: tuple[str, ...]
    space: tuple[int, ...]
    reduced: tuple[int, ...]
    product: str | None
    by_tiles: bool
    operands: tuple[Operand, ...]
    results: tuple[Operand, ...]
    sources: tuple[Source, ...]
    within: tuple[Within, ...]
    chunks: int
    scratch: int
    symbols: tuple[str, ...]

    @property
    def is_shared(self) -> bool:
        """Whether threads may share it, or what it is in."""
        return self.chunks > 1 or any(part.is_shared for part in self.within)

    @property
    def work(self) -> str:
        """What is computed, in a line: `x @ p.W1, tile by tile: add tanh`."""
        if self.product is None:
            return " ".join(self.ops)
        rest = " ".join([op for op in self.ops if op != "matmul"])
        how = "tile by tile" if self.by_tiles else "then"
        return f"{self.product}, {how}: {rest}" if rest else self.product

    @property
    def where(self) -> str:
        """The user's lines: `model.py:4,5`."""
        files: dict[str, list[str]] = {}
        for source in self.sources:
            file, _, line = str(source).rpartition(":")
            files.setdefault(file, []).append(line)
        return " ".join(f"{file}:{','.join(lines)}" for file, lines in files.items())

    def __str__(self) -> str:
        head = "  ".join(cell for cell in self.cells() if cell)
        return "\n".join([head, *self.details()])

    __repr__ = __str__

    def cells(self) -> tuple[str, ...]:
        """What stands below `COLUMNS` in a table."""
        space = " x ".join(f"{n}{'*' if i in self.reduced else ''}" for i, n in enumerate(self.space))
        chunks = str(self.chunks) if self.chunks > 1 else ""
        return self.name, space or "1", chunks, str(self.scratch or ""), self.where

    def details(self) -> tuple[str, str]:
        """The work, and what is read and written."""
        return f"    {self.work}", f"    {_listed(self.operands)} -> {_listed(self.results)}"


COLUMNS = "kernel", "space (* reduced)", "chunks", "scratch", "lines"


class Kernels(tuple[Kernel, ...]):
    """The kernels of a function in the order in which they run; prints as a table.

    Kernels of what runs many times, such as blocks, are listed once.
    """

    __slots__ = ()

    def __str__(self) -> str:
        numbers = [str(i).rjust(len(str(len(self) - 1))) for i in range(len(self))]
        rows = [("", *COLUMNS), *[(i, *kernel.cells()) for i, kernel in zip(numbers, self, strict=True)]]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
        head, *lines = ["  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows]
        text = [head, "  ".join("-" * n for n in [*widths, len(COLUMNS[-1])])]
        within: tuple[Within, ...] = ()
        for kernel, line in zip(self, lines, strict=True):
            if kernel.within != within:
                within = kernel.within
                text.append(f"in {', in '.join(map(str, within))}:" if within else "then:")
            text += [line, *kernel.details()]
        return "\n".join(text)

    __repr__ = __str__


def _listed(operands: Iterable[Operand]) -> str:
    return ", ".join(map(str, operands)) or "nothing"


def listing(graph: Graph, steps: Sequence[Step], results: Sequence[str] = ()) -> Kernels:
    """The rows for the steps of a planned graph, whose outputs have the names `results`."""
    naming = _Naming(graph, results or [f"out{i}" for i in range(len(graph.outputs))])
    return Kernels(_row(step, naming) for step in steps)


class _Naming:
    """One name for each place of memory, whatever graph it is seen from.

    A graph's outputs go by the names `results`, a nested graph's inputs and outputs by those that they have
    outside, and a reshape by that of its operand; all else as in `str(graph)`, but that names are used once.
    """

    def __init__(self, graph: Graph, results: Sequence[str]) -> None:
        self.names = Names(graph)
        outermost = self._named(graph, {x: self.names.of[x] for x in graph.inputs}, results)
        self.known: dict[tuple[Step | None, Graph], dict[Value, str]] = {(None, graph): outermost}

    def inside(self, step: Step) -> dict[Value, str]:
        """The names in a step's graph."""
        parent, graph = step.parent, step.graph
        if (parent, graph) not in self.known:
            assert parent is not None
            outside, node = self.inside(parent), parent.node
            operands = node.inputs[len(node.inputs) - len(graph.inputs) :]  # a cond's first is the predicate
            inputs = {x: outside[y] for x, y in zip(graph.inputs, operands, strict=True)}
            self.known[parent, graph] = self._named(graph, inputs, [outside[y] for y in node.results])
        return self.known[parent, graph]

    def _named(self, graph: Graph, known: dict[Value, str], results: Sequence[str]) -> dict[Value, str]:
        """The names in a graph whose inputs are known, and whose outputs are called `results`."""
        for y, name in zip(graph.outputs, results, strict=True):
            while y.node is not None and y.node.op.name == "reshape":
                (y,) = y.node.inputs
            if y.node is not None and y.node.op.name != "captured":
                known.setdefault(y, name)
        for node in graph.nodes:
            for y in node.results:
                name = self.names.add(y)
                if node.op.name == "reshape":
                    known[y] = known[node.inputs[0]]
                else:
                    known.setdefault(y, name)
        return known


def _row(step: Step, naming: _Naming) -> Kernel:
    node, names = step.node, naming.inside(step)
    name, nodes = node.op.name, [node]
    if name == "fuse":
        body: Graph = node.attrs["body"]
        name, nodes = body.name, body.nodes
        names = {**names, **{x: names[y] for x, y in zip(body.inputs, node.inputs, strict=True)}}
    product = next((n for n in nodes if n.op.name == "matmul"), None)
    return Kernel(
        name,
        tuple([n.op.name for n in nodes if n.op.name not in QUIET]) or ("fill",),
        *_space(node, nodes, product),
        product and _as_product(product, names),
        step.by_tiles,
        tuple(dict.fromkeys([Operand(names[x], x.type) for x in node.inputs])),
        tuple([Operand(names[y], y.type) for y in node.results]),
        tuple(sorted({n.source for n in (*nodes, node) if n.source is not None})),
        tuple(_around(step)),
        step.chunks,
        step.scratch,
        tuple(step.symbols),
    )


def _space(
    node: Node, nodes: Sequence[Node], product: Node | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the loops of a kernel go over, and which of its axes are reduced."""
    if nodes[-1].op.name == "contract":
        x, y = nodes[-1].inputs
        attrs = nodes[-1].attrs
        sizes = dict(zip((*attrs["a"], *attrs["b"]), (*x.shape, *y.shape), strict=True))
        kept = attrs["result"]
        summed = [label for label in sizes if label not in kept]
        space = tuple([sizes[label] for label in (*kept, *summed)])
        return space, tuple(range(len(kept), len(space)))
    space = domain_of(node)
    found = (n for n in nodes if n.op.name in REDUCTIONS and n.inputs[0].shape == space)
    reduced = tuple(sorted({axis for n in found for axis in n.attrs["axes"]}))
    if product is not None:
        return (*space, depth_of(product)), (*reduced, len(space))
    return space, reduced


def _as_product(node: Node, names: dict[Value, str]) -> str:
    """A matrix product as NumPy writes it."""
    attrs = node.attrs
    swaps = attrs["transpose_a"], attrs["transpose_b"]
    swapped = [".T" if x.type.ndim == 2 else ".mT" for x in node.inputs]
    return " @ ".join(names[x] + how * swap for x, how, swap in zip(node.inputs, swapped, swaps, strict=True))


def _around(step: Step) -> Iterator[Within]:
    """What a step is in, outermost first."""
    parent = step.parent
    if parent is not None:
        yield from _around(parent)
        keys = [key for key, _ in parent.node.graphs]
        at = next(i for i, (_, graph) in enumerate(parent.node.graphs) if graph is step.graph)
        name = parent.node.op.name
        yield Within(keys[at] if name == "cond" else name, parent.chunks, parent.symbols[at])
