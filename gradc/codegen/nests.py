"""The loop nests of kernels over one domain, pointwise and reducing.

Loops run over the axes that are kept, then over those that are reduced; the last axis of the domain runs in
vectors. Neighbouring axes become one loop where every access allows it. The order of a reduction is a fixed
tree that depends on shapes only: several vector accumulators, in blocks of blocks (so that rounding errors do
not grow with the length), then pairwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from gradc.codegen.accumulate import ARGUMENTS, Accumulators
from gradc.codegen.folding import lower_fold
from gradc.codegen.loops import Affine, KernelCode, Let, Load, Register
from gradc.codegen.lower import ZERO, Emitter, Index, vector_steps
from gradc.codegen.movement import SPECIAL, lower_written_out
from gradc.codegen.running import REDUCTION, lower_running
from gradc.ir.effort import chunks_of
from gradc.ir.graph import Graph, Value
from gradc.ir.ops.reduce import REDUCTIONS, reduced_axes, tail_of
from gradc.ir.ops.special import SCIPY_NAMES

BLOCK = 128
"""Terms that one accumulator adds up before it is added to the next level."""
UNROLL = 4
"""Independent accumulators, to hide the latency of an addition."""
WRITTEN_OUT = 9
"""Steps of a reduction that are written out one after the other, where vectors go along what stays."""
SMALL_BODY = 12
"""Kernels of at most this many ops are unrolled."""

ALONE = {**SPECIAL, "fold": lower_fold}
"""Ops with loops of their own."""

CHUNK = "chunk"
"""The variable of the outermost loop of a kernel that threads share."""

Offsets = Mapping[int, Affine]
"""Where the blocks that an element is in begin, by axis."""


def lower_kernel(graph: Graph, vector_bytes: int, overwrites: tuple[tuple[int, int], ...] = ()) -> KernelCode:
    """The loops of a fused graph. `overwrites` are the pairs (output, input) that share memory."""
    emitter = Emitter(graph, vector_bytes)
    last = graph.nodes[-1]
    if last.op.name in ALONE and len(graph.outputs) == 1:
        ALONE[last.op.name](emitter, last)
    elif last.op.name in REDUCTION:
        lower_running(emitter, last)
    elif last.op.name == "constant" and isinstance(last.attrs["value"], list):
        lower_written_out(emitter, last)
    else:
        Nest(emitter, graph, [graph.inputs[i] for _, i in overwrites]).emit()
    inputs, outputs = tuple(x.type for x in graph.inputs), tuple(y.type for y in graph.outputs)
    (frame,) = emitter.frames
    return KernelCode(graph.name, inputs, outputs, frame.body, overwrites)


class Nest:
    """The loops of a kernel over one domain, perhaps reducing."""

    def __init__(self, emitter: Emitter, graph: Graph, overwritten: list[Value]) -> None:
        self.emitter = emitter
        self.graph = graph
        self.overwritten = overwritten
        self.reductions = [n for n in graph.nodes if n.op.name in REDUCTIONS]
        self.tail = tail_of(graph)
        self.axes: tuple[int, ...] = ()
        if self.reductions:
            self.domain = self.reductions[0].inputs[0].shape
            self.axes = reduced_axes(self.reductions[0])
        else:
            self.domain = graph.outputs[0].shape
        self.kept = [a for a in range(len(self.domain)) if a not in self.axes]
        self.is_empty = 0 in self.domain
        # Sums and products of floats depend on the order of their terms, and sums of many lose digits.
        self.rounds = any(n.op.name in ("reduce_sum", "reduce_prod") for n in self.reductions)
        self.unroll = UNROLL if len(graph.nodes) <= SMALL_BODY else 1
        self.collapse()

    # -- the shape of the nest

    def collapse(self) -> None:
        """Choose the loops: axes of size 1 vanish, neighbours merge if every access allows."""
        accesses = self.accesses()
        sizes = {a: n for a, n in enumerate(self.domain) if n != 1}
        *outer, last = list(sizes) or [0]
        for a in reversed(outer):
            even = all(x.coefficient(f"i{a}") == x.coefficient(f"i{last}") * sizes[last] for x in accesses)
            if even and (a in self.axes) == (last in self.axes):
                sizes[last] *= sizes.pop(a)
            else:
                last = a
        self.sizes = sizes
        self.index = [Affine.variable(f"i{a}") if a in sizes else ZERO for a in range(len(self.domain))]
        self.vector = max(sizes, default=None)
        self.across = self.vector is not None and self.vector not in self.kept
        reduced = [a for a in self.axes if a in sizes]
        small = len(self.graph.nodes) <= SMALL_BODY
        self.written_out = small and not self.across and prod(sizes[a] for a in reduced) <= WRITTEN_OUT
        for a in reduced if self.written_out else ():
            self.index[a] = ZERO

    def accesses(self) -> list[Affine]:
        """The index of every load, store and index computation, by the variables of all axes (a dry run)."""
        emitter = Emitter(self.graph, 0)
        for a in range(len(self.domain)):
            emitter.open(f"i{a}")
        index = tuple(Affine.variable(f"i{a}") for a in range(len(self.domain)))
        found = []
        for node in self.reductions:
            emitter.value(node.inputs[0], index)
            emitter.results[node.result] = lambda _, node=node: emitter.register(node.result.dtype, 1, 0)
            if node.op.name in ARGUMENTS:
                found.append(index[self.axes[0]])
        kept = tuple(index[a] for a in self.kept)
        for y in self.graph.outputs:
            at = kept if y in self.tail else index
            emitter.value(y, at)
            found.append(emitter.address("out", y.type, at)[0].index)
        for frame in emitter.frames:
            for statement in frame.body:
                if isinstance(statement, Load):
                    found.append(statement.address.index)
                elif isinstance(statement, Let) and statement.op == "index":
                    found.append(dict(statement.attrs)["of"])
        return found

    # -- loops over the axes that are kept

    def emit(self) -> None:
        """All loops. Nothing at all happens where nothing is written, not even a check."""
        if 0 in [self.domain[a] for a in self.kept]:
            return
        axis, step = self.chunks()
        if axis is None:
            self.loops()
            return
        size, index = self.sizes[axis], self.index[axis]
        whole = size // step
        self.emitter.open(CHUNK)
        self.sizes[axis], self.index[axis] = step, index + Affine.variable(CHUNK) * step
        self.loops()
        self.emitter.close(0, whole, 1, parallel=True)
        if size > whole * step:
            self.sizes[axis], self.index[axis] = size - whole * step, index + whole * step
            self.loops()

    def chunks(self) -> tuple[int | None, int]:
        """The outermost loop, if it is long enough to be split over threads, and how much of it is a chunk.

        A chunk computes what it would in a whole.
        """
        axes = [a for a in self.kept if a in self.sizes]
        if not axes or any(n.op.name in SCIPY_NAMES for n in self.graph.nodes):
            return None, 0
        axis = axes[0]
        unit = 4 * self.emitter.widest if axis == self.vector else 1
        count = chunks_of(self.graph, self.domain, self.sizes[axis] // unit)
        if count < 2:
            return None, 0
        return axis, -(-self.sizes[axis] // count // unit) * unit

    def loops(self) -> None:
        """The loops over the kept axes, and what is inside."""
        loops = [a for a in self.kept if a in self.sizes and a != self.vector]
        for a in loops:
            self.emitter.open(f"i{a}")
        if self.vector in self.kept:
            self.vector_loop(self.vector)
        else:
            self.inside(1)
        for a in reversed(loops):
            self.emitter.close(0, self.sizes[a], 1)

    def vector_loop(self, axis: int) -> None:
        emitter = self.emitter
        emitter.vector_variable = f"i{axis}"
        unroll = self.unroll if self.reductions else 1
        for start, stop, lanes, count, active in vector_steps(self.sizes[axis], emitter.widest, unroll):
            emitter.lanes, emitter.active = lanes, active
            emitter.open(f"i{axis}")
            self.inside(count)
            emitter.close(start, stop, lanes * count)
        emitter.lanes, emitter.active, emitter.vector_variable = 1, None, None

    def at(self, copy: int = 0, blocks: Offsets | None = None) -> Index:
        """The index of the domain, `copy` vectors further on, in these blocks."""
        index = list(self.index)
        if copy and self.vector is not None:
            index[self.vector] = index[self.vector] + copy * self.emitter.lanes
        for axis, offset in (blocks or {}).items():
            index[axis] = index[axis] + offset
        return tuple(index)

    def inside(self, copies: int) -> None:
        """What happens at one point of the kept axes, or `copies` vectors of them: reduce, then the tail."""
        if not self.reductions:
            self.write([y for y in self.graph.outputs if y not in self.tail], self.at())
            return
        emitter = self.emitter
        reduced = [a for a in self.axes if a in self.sizes]
        if self.across:
            size = self.sizes[reduced[-1]]
            lanes = min(emitter.widest, 1 << max(size - 1, 0).bit_length())
            copies = self.unroll if size >= 2 * UNROLL * lanes else 1
            emitter.lanes, emitter.vector_variable = lanes, f"i{reduced[-1]}"
        groups = [Accumulators(self, emitter.lanes) for _ in range(copies)]
        if not self.is_empty:
            self.reduce(groups, reduced, {})
        if self.across:
            emitter.lanes, emitter.vector_variable = 1, None
            self.finish(Accumulators.total(groups), 0)
        else:
            for copy, group in enumerate(groups):
                self.finish(group.read(), copy)

    def write(self, outputs: list[Value], index: Index) -> None:
        """Store outputs at an index, once everything has been read there that they overwrite."""
        emitter = self.emitter
        for x in self.overwritten:
            if any(x.shape == y.shape for y in outputs):
                emitter.value(x, index)
        for y in outputs:
            emitter.store(f"out{self.graph.outputs.index(y)}", y.type, index, emitter.value(y, index))

    def update(self, group: Accumulators, index: Index) -> None:
        """One step: outputs over the domain are stored, every reduction takes in its operand."""
        self.write([y for y in self.graph.outputs if y not in self.tail], index)
        for node in self.reductions:
            group.take(node, self.emitter.value(node.inputs[0], index), index)

    def finish(self, totals: dict[Value, Register], copy: int) -> None:
        """The tail: what is computed from the reduced values."""
        for value, register in totals.items():
            self.emitter.results[value] = lambda _, register=register: register
        full = self.at(0 if self.across else copy)
        self.write([y for y in self.graph.outputs if y in self.tail], tuple(full[a] for a in self.kept))

    # -- loops over the axes that are reduced

    def reduce(self, groups: list[Accumulators], axes: list[int], blocks: Offsets) -> None:
        """Loops over these axes; each step updates the accumulators of every copy."""
        if not axes:
            for copy, group in enumerate(groups):
                self.update(group, self.at(copy, blocks))
            return
        axis, *inner = axes
        size, lanes = self.sizes[axis], self.emitter.lanes

        def body(groups: list[Accumulators], blocks: Offsets) -> None:
            self.reduce(groups, inner, blocks)

        if self.written_out:
            for i in range(size):
                body(groups, {**blocks, axis: ZERO + i})
            return
        if axis != self.vector:
            self.cascade(groups, axis, range(0, size), self.terms(inner, len(groups)), blocks, body)
            return
        for start, stop, _, count, active in vector_steps(size, lanes, len(groups), rest=lanes):
            self.emitter.active = active
            self.cascade(groups[:count], axis, range(start, stop, lanes * count), 1, blocks, body)
        self.emitter.active = None

    def terms(self, axes: list[int], copies: int) -> int:
        """How often, at most, loops over these axes update one accumulator."""
        lanes = self.emitter.lanes
        return prod(
            self.sizes[a] // (lanes * copies) + copies if a == self.vector else self.sizes[a] for a in axes
        )

    def cascade(
        self,
        groups: list[Accumulators],
        axis: int,
        steps: range,
        terms: int,
        blocks: Offsets,
        body: Callable[[list[Accumulators], Offsets], None],
    ) -> None:
        """`body`, which adds `terms` terms to each accumulator, at every step; in blocks if these are many.

        A block has accumulators of its own, and blocks are blocked in turn: so none of them takes in more
        than some hundreds of terms one after another, however many there are.
        """
        emitter = self.emitter
        if not self.rounds or len(steps) <= 1 or len(steps) * terms <= 2 * BLOCK:
            if steps:
                emitter.open(f"i{axis}")
                body(groups, blocks)
                emitter.close(steps.start, steps.stop, steps.step)
            return
        span = max(BLOCK // terms, 1)
        while len(steps) // span > 2 * BLOCK:
            span *= BLOCK
        whole = len(steps) // span * span
        before = blocks.get(axis, ZERO)
        block = f"b{axis}" + (f"_{len(before.terms)}" if before.terms else "")
        emitter.open(block)
        parts = [group.part() for group in groups]
        inside = {**blocks, axis: before + Affine.variable(block)}
        self.cascade(parts, axis, range(0, span * steps.step, steps.step), terms, inside, body)
        for group, part in zip(groups, parts, strict=True):
            group.merge(part)
        emitter.close(steps.start, steps[0] + whole * steps.step, span * steps.step)
        self.cascade(groups, axis, steps[whole:], terms, blocks, body)
