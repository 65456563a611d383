"""The loop nests of kernels: pointwise, reducing, and those that move elements (concat, pad, scatter_add).

Loops run over the axes that are kept, then over those that are reduced; the last axis of the domain runs in
vectors. Neighbouring axes become one loop where every access allows it. The order of a reduction is a fixed
tree that depends on shapes only: several vector accumulators, in blocks (so that rounding errors do not grow
with the length), then pairwise.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from gradc.codegen.loops import Affine, Assign, KernelCode, Let, Load, Read, Register, Store
from gradc.codegen.lower import ZERO, Emitter, Index
from gradc.ir.graph import Graph, Node, Value
from gradc.ir.types import I64, Type

BLOCK = 128
"""Steps that one accumulator adds up before it is added to the next level."""
UNROLL = 4
"""Independent accumulators, to hide the latency of an addition."""
SMALL_BODY = 12
"""Kernels of at most this many ops are unrolled."""

COMBINE = {"reduce_sum": "add", "reduce_prod": "mul", "reduce_max": "maximum", "reduce_min": "minimum"}


def lower_kernel(graph: Graph, vector_bytes: int, overwrites: tuple[tuple[int, int], ...] = ()) -> KernelCode:
    """The loops of a fused graph."""
    emitter = Emitter(graph, vector_bytes)
    last = graph.nodes[-1]
    if last.op.name in SPECIAL:
        SPECIAL[last.op.name](emitter, last)
    elif last.op.name == "constant" and isinstance(last.attrs["value"], list):
        lower_written_out(emitter, last)
    else:
        Nest(emitter, graph).emit()
    inputs, outputs = tuple(x.type for x in graph.inputs), tuple(y.type for y in graph.outputs)
    (frame,) = emitter.frames
    return KernelCode(graph.name, inputs, outputs, frame.body, overwrites)


def identity(op: str, type: Type, empty: bool) -> object:
    """What does not change a reduction. Sums begin at -0.0, so that a sum of -0.0 stays one, as in NumPy."""
    if type.is_bool:
        return op in ("reduce_min", "argmin")
    if op == "reduce_sum":
        return -0.0 if type.is_float and not empty else 0
    if op == "reduce_prod":
        return 1
    lowest = op in ("reduce_max", "argmax")
    if type.is_float:
        return -np.inf if lowest else np.inf
    limits = np.iinfo(type.dtype)
    return int(limits.min if lowest else limits.max)


def combining_op(node: Node) -> str:
    """The elementwise op that a reduction repeats."""
    if node.inputs[0].type.is_bool:
        return {"reduce_max": "or", "reduce_min": "and"}[node.op.name]
    return COMBINE[node.op.name]


class Nest:
    """The loops of a kernel over one domain, perhaps reducing."""

    def __init__(self, emitter: Emitter, graph: Graph) -> None:
        self.emitter = emitter
        self.graph = graph
        self.reductions = [
            n for n in graph.nodes if n.op.name in COMBINE or n.op.name in ("argmax", "argmin")
        ]
        after: set[Value] = set()
        for node in graph.nodes:
            if node in self.reductions or not after.isdisjoint(node.inputs):
                after.update(node.results)
        self.tail = after
        self.axes: tuple[int, ...] = ()
        if self.reductions:
            node = self.reductions[0]
            self.domain = node.inputs[0].shape
            self.axes = node.attrs["axes"] if "axes" in node.attrs else (node.attrs["axis"],)
        else:
            self.domain = graph.outputs[0].shape
        self.kept = [a for a in range(len(self.domain)) if a not in self.axes]
        self.sizes: dict[int, int] = {}
        self.index: list[Affine] = []
        self.unroll = UNROLL if len(graph.nodes) <= SMALL_BODY else 1
        self.arguments = any(n.op.name in ("argmax", "argmin") for n in self.reductions)

    # -- the shape of the nest

    def collapse(self) -> None:
        """Choose the loops: axes of size 1 vanish, neighbours merge where all accesses step evenly through
        both."""
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
            if node.op.name in ("argmax", "argmin"):
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

    # -- emission

    def emit(self) -> None:
        self.collapse()
        loops = [a for a in self.kept if a in self.sizes]
        self.reduced = [a for a in self.axes if a in self.sizes]
        self.vector = max(self.sizes, default=None)
        if self.vector in self.reduced and self.arguments:
            self.emitter.widest = 1
        if self.vector in loops:
            loops.remove(self.vector)
        elif self.vector is not None:
            self.reduced.remove(self.vector)
        self.kept_loops(loops)

    def kept_loops(self, loops: list[int]) -> None:
        for a in loops:
            self.emitter.open(f"i{a}")
        if self.vector is None:
            self.inside(1)
        elif self.vector in self.kept:
            self.vector_loop(self.vector, self.inside, self.unroll if self.reductions else 1)
        else:
            self.inside(1)
        for a in reversed(loops):
            self.emitter.close(0, self.sizes[a], 1)

    def vector_loop(self, axis: int, inner: Callable[[int], None], unroll: int) -> None:
        """Loops over an axis in vectors: `unroll` of them at a time, one at a time, then what is left,
        masked."""
        emitter, size = self.emitter, self.sizes[axis]
        emitter.vector_variable = variable = f"i{axis}"
        start = 0
        for lanes, count in ((emitter.widest, unroll), (emitter.widest, 1)):
            stop = start + (size - start) // (lanes * count) * lanes * count
            if stop > start:
                emitter.lanes, emitter.active = lanes, None
                emitter.open(variable)
                inner(count)
                emitter.close(start, stop, lanes * count)
            start = stop
        if start < size:
            left = size - start
            emitter.lanes = 1 << (left - 1).bit_length()
            emitter.active = left if left < emitter.lanes else None
            emitter.open(variable)
            inner(1)
            emitter.close(start, start + emitter.lanes, emitter.lanes)
        emitter.lanes, emitter.active, emitter.vector_variable = 1, None, None

    def at(self, copy: int = 0, block: Affine = ZERO, blocked: int | None = None) -> Index:
        """The index of the domain, `copy` vectors further, with the block's offset on the axis that is
        blocked."""
        index = list(self.index)
        if copy and self.vector is not None:
            index[self.vector] = index[self.vector] + copy * self.emitter.lanes
        if blocked is not None:
            index[blocked] = index[blocked] + block
        return tuple(index)

    def inside(self, copies: int) -> None:
        """What happens at one point of the kept axes (or one vector of points): reduce, then the tail."""
        if not self.reductions:
            index = self.at()
            for y in self.graph.outputs:
                self.emitter.store(self.output(y), y.type, index, self.emitter.value(y, index))
            return
        emitter = self.emitter
        across = self.vector is not None and self.vector not in self.kept
        if across:
            self.reduce_across()
        else:
            groups = [Accumulators(self, emitter.lanes, c) for c in range(copies)]
            self.reduce_loops(groups, self.reduced)
            for copy, group in enumerate(groups):
                self.finish(group.read(), copy)

    def reduce_loops(self, groups: list[Accumulators], loops: list[int]) -> None:
        """Loops over the reduced axes, each step updating the accumulators of every copy."""
        emitter = self.emitter
        if not loops:
            for copy, group in enumerate(groups):
                self.update(group, self.at(copy))
            return
        *outer, axis = loops
        for a in outer:
            emitter.open(f"i{a}")
        size = self.sizes[axis]
        start = size // BLOCK * BLOCK if size > 2 * BLOCK else 0
        if start:
            block = f"b{axis}"
            emitter.open(block)
            partial = [Accumulators(self, g.lanes, i, "p") for i, g in enumerate(groups)]
            emitter.open(f"i{axis}")
            for copy, group in enumerate(partial):
                self.update(group, self.at(copy, Affine.variable(block), axis))
            emitter.close(0, BLOCK, 1)
            for group, part in zip(groups, partial, strict=True):
                group.merge(part)
            emitter.close(0, start, BLOCK)
        if start < size:
            emitter.open(f"i{axis}")
            for copy, group in enumerate(groups):
                self.update(group, self.at(copy))
            emitter.close(start, size, 1)
        for a in reversed(outer):
            emitter.close(0, self.sizes[a], 1)

    def reduce_across(self) -> None:
        """Reduce along the vectors: lanes are added up at the end."""
        emitter, axis = self.emitter, self.vector
        assert axis is not None
        size = self.sizes[axis]
        lanes = min(emitter.widest, 1 << max(size - 1, 0).bit_length())
        unroll = self.unroll if size >= 2 * UNROLL * lanes and not self.arguments else 1
        step = lanes * unroll
        groups = [Accumulators(self, lanes, c) for c in range(unroll)]
        for a in self.reduced:
            emitter.open(f"i{a}")
        emitter.lanes, emitter.vector_variable = lanes, f"i{axis}"
        start = 0
        if size > 2 * BLOCK * step:
            start, block = size // (BLOCK * step) * BLOCK * step, f"b{axis}"
            emitter.open(block)
            partial = [Accumulators(self, lanes, c, "p") for c in range(unroll)]
            emitter.open(f"i{axis}")
            for copy, group in enumerate(partial):
                self.update(group, self.at(copy, Affine.variable(block), axis))
            emitter.close(0, BLOCK * step, step)
            for group, part in zip(groups, partial, strict=True):
                group.merge(part)
            emitter.close(0, start, BLOCK * step)
        for width, count in ((step, unroll), (lanes, 1)):
            stop = start + (size - start) // width * width
            if stop > start:
                emitter.open(f"i{axis}")
                for copy in range(count):
                    self.update(groups[copy], self.at(copy))
                emitter.close(start, stop, width)
            start = stop
        if start < size:
            emitter.active = size - start
            emitter.open(f"i{axis}")
            self.update(groups[0], self.at())
            emitter.close(start, start + lanes, lanes)
        emitter.lanes, emitter.active, emitter.vector_variable = 1, None, None
        for a in reversed(self.reduced):
            emitter.close(0, self.sizes[a], 1)
        self.finish(Accumulators.total(groups), 0)

    def update(self, group: Accumulators, index: Index) -> None:
        """One step: outputs over the domain are stored, every reduction takes in its operand."""
        emitter = self.emitter
        for y in self.graph.outputs:
            if y not in self.tail:
                emitter.store(self.output(y), y.type, index, emitter.value(y, index))
        for node in self.reductions:
            group.take(node, emitter.value(node.inputs[0], index), index)

    def finish(self, totals: dict[Value, Register], copy: int) -> None:
        """The tail: what is computed from the reduced values."""
        emitter = self.emitter
        for value, register in totals.items():
            emitter.results[value] = lambda _, register=register: register
        full = self.at(copy) if self.vector in self.kept else self.at()
        index = tuple(full[a] for a in self.kept)
        for y in self.graph.outputs:
            if y in self.tail:
                emitter.store(self.output(y), y.type, index, emitter.value(y, index))

    def output(self, y: Value) -> str:
        return f"out{self.graph.outputs.index(y)}"


class Accumulators:
    """A variable for every reduction of a nest (two for argmax and argmin), set to its identity."""

    count = 0

    def __init__(self, nest: Nest, lanes: int, copy: int, label: str = "acc") -> None:
        self.nest = nest
        self.lanes = lanes
        self.variables: dict[Value, str] = {}
        emitter = nest.emitter
        emitter.counter += 1
        tag = f"{label}{emitter.counter}_"
        depth = len(emitter.frames) - 1
        empty = prod(nest.domain[a] for a in nest.axes) == 0
        for i, node in enumerate(nest.reductions):
            x = node.inputs[0]
            variable = self.variables[node.result] = f"{tag}{i}"
            self.start(variable, identity(node.op.name, x.type, empty), x.dtype, depth)
            if node.op.name in ("argmax", "argmin"):
                self.start(variable + "_at", 0, I64, depth)

    def start(self, variable: str, value: object, dtype: np.dtype, depth: int) -> None:
        emitter = self.nest.emitter
        first = emitter.register(dtype, self.lanes, depth)
        emitter.add(depth, Let(first, "constant", (), (("value", value),)))
        emitter.add(depth, Assign(variable, first))

    def current(self, variable: str, dtype: np.dtype) -> Register:
        emitter = self.nest.emitter
        depth = len(emitter.frames) - 1
        register = emitter.register(dtype, self.lanes, depth)
        emitter.add(depth, Read(register, variable))
        return register

    def take(self, node: Node, x: Register, index: Index) -> None:
        """Combine with the operand of one step; inactive lanes do not count."""
        emitter, here = self.nest.emitter, len(self.nest.emitter.frames) - 1
        variable = self.variables[node.result]
        best = self.current(variable, x.dtype)
        if node.op.name in ("argmax", "argmin"):
            where = self.current(variable + "_at", I64)
            position = emitter.index_register(index[node.attrs["axis"]], I64)
            better = emitter.let("better_" + node.op.name, np.dtype(bool), [x, best], here)
            emitter.add(here, Assign(variable, emitter.let("where", x.dtype, [better, x, best], here)))
            emitter.add(
                here, Assign(variable + "_at", emitter.let("where", I64, [better, position, where], here))
            )
            return
        if emitter.active is not None and self.nest.vector not in self.nest.kept:
            value = identity(node.op.name, node.inputs[0].type, False)
            lanes = emitter.register(x.dtype, self.lanes, here)
            attrs = (("active", emitter.active), ("other", value))
            emitter.add(here, Let(lanes, "keep_active", (x,), attrs))
            x = lanes
        emitter.add(here, Assign(variable, emitter.let(combining_op(node), x.dtype, [best, x], here)))

    def merge(self, part: Accumulators) -> None:
        """Add a block's accumulators to these."""
        emitter, here = self.nest.emitter, len(self.nest.emitter.frames) - 1
        for node in self.nest.reductions:
            dtype, variable = node.inputs[0].dtype, self.variables[node.result]
            mine, other = self.current(variable, dtype), part.current(part.variables[node.result], dtype)
            if node.op.name in ("argmax", "argmin"):
                at, other_at = (
                    self.current(variable + "_at", I64),
                    part.current(part.variables[node.result] + "_at", I64),
                )
                better = emitter.let("better_" + node.op.name, np.dtype(bool), [other, mine], here)
                emitter.add(here, Assign(variable, emitter.let("where", dtype, [better, other, mine], here)))
                emitter.add(
                    here, Assign(variable + "_at", emitter.let("where", I64, [better, other_at, at], here))
                )
            else:
                emitter.add(
                    here, Assign(variable, emitter.let(combining_op(node), dtype, [mine, other], here))
                )

    def read(self) -> dict[Value, Register]:
        """The results, one for each lane."""
        results = {}
        for node in self.nest.reductions:
            variable = self.variables[node.result]
            if node.op.name in ("argmax", "argmin"):
                results[node.result] = self.current(variable + "_at", I64)
            else:
                results[node.result] = self.current(variable, node.inputs[0].dtype)
        return results

    @staticmethod
    def total(groups: list[Accumulators]) -> dict[Value, Register]:
        """The copies pairwise, then the lanes pairwise."""
        nest = groups[0].nest
        emitter, here = nest.emitter, len(nest.emitter.frames) - 1
        parts = [group.read() for group in groups]
        results = {}
        for node in nest.reductions:
            registers = [part[node.result] for part in parts]
            while len(registers) > 1:
                pairs = zip(registers[::2], registers[1::2], strict=True)
                op = combining_op(node)
                registers = [emitter.let(op, a.dtype, [a, b], here) for a, b in pairs]
            (register,) = registers
            if register.lanes > 1:
                lanes = emitter.register(register.dtype, 1, here)
                emitter.add(here, Let(lanes, "reduce_lanes", (register,), (("op", combining_op(node)),)))
                register = lanes
            results[node.result] = register
        return results


# -- kernels that move elements


def simple_loops(
    emitter: Emitter,
    shape: tuple[int, ...],
    leaf: Callable[[Index], None],
    vector: bool = True,
    tag: str = "i",
) -> None:
    """Loops over a shape, the last axis in vectors if allowed."""
    if 0 in shape:
        return
    names = [f"{tag}{a}" for a in range(len(shape))]
    index = tuple(Affine.variable(v) for v in names)
    widest = emitter.widest if vector and shape else 1
    for variable in names[:-1]:
        emitter.open(variable)
    if not shape:
        leaf(())
    else:
        size, start = shape[-1], 0
        for lanes in (widest, 1 << max(size % widest - 1, 0).bit_length() if size % widest else 0):
            stop = size // widest * widest if not start and lanes == widest and size >= widest else size
            if lanes and stop > start:
                emitter.vector_variable, emitter.lanes = names[-1], lanes
                emitter.active = stop - start if stop - start < lanes else None
                emitter.open(names[-1])
                leaf(index)
                emitter.close(start, max(stop, start + lanes), lanes)
                start = stop
        emitter.vector_variable, emitter.lanes, emitter.active = None, 1, None
    for a in reversed(range(len(names[:-1]))):
        emitter.close(0, shape[a], 1)


def lower_concat(emitter: Emitter, node: Node) -> None:
    """Each part is copied to its offset."""
    axis, offset = node.attrs["axis"], 0
    type = node.types[0]
    for part, x in enumerate(node.inputs):

        def leaf(index: Index, x: Value = x, offset: int = offset) -> None:
            target = tuple(i + offset if a == axis else i for a, i in enumerate(index))
            emitter.store("out0", type, target, emitter.value(x, index))

        simple_loops(emitter, x.shape, leaf, tag=f"p{part}_")
        offset += x.shape[axis]


def lower_pad(emitter: Emitter, node: Node) -> None:
    """Fill everything, then put x in its places."""
    (x,) = node.inputs
    type, starts, steps = node.types[0], node.attrs["starts"], node.attrs["steps"]
    fill_with(emitter, type, node.attrs["value"])

    def leaf(index: Index) -> None:
        target = tuple(i * step + start for i, start, step in zip(index, starts, steps, strict=True))
        emitter.store("out0", type, target, emitter.value(x, index))

    simple_loops(emitter, x.shape, leaf, vector=not steps or steps[-1] == 1)


def fill_with(emitter: Emitter, type: Type, value: object) -> None:
    flat = type.with_shape((type.size,))
    simple_loops(
        emitter,
        flat.shape,
        lambda i: emitter.store("out0", flat, i, emitter.constant(value, type.dtype)),
        tag="f",
    )


def lower_scatter_add(emitter: Emitter, node: Node) -> None:
    """Copy the base, then add the updates one after another, in their order."""
    base, updates, *indices = node.inputs
    type, axes = node.types[0], node.attrs["axes"]
    lead = len(indices[0].shape)
    if base.node is not None and base.node.op.name == "constant":
        fill_with(emitter, type, base.node.attrs["value"])
    else:
        simple_loops(
            emitter, type.shape, lambda i: emitter.store("out0", type, i, emitter.value(base, i)), tag="f"
        )

    def leaf(index: Index) -> None:
        here = len(emitter.frames) - 1
        update = emitter.value(updates, index)
        at, dynamic = emitter.positions(type, indices, axes, index[:lead], index[lead:])
        address, _, lanes = emitter.address("out0", type, at, dynamic)
        active = emitter.active if lanes > 1 else None
        old = emitter.register(type.dtype, lanes, here)
        emitter.add(here, Load(old, address, active))
        new = emitter.let("add", type.dtype, [old, update], here)
        emitter.add(here, Store(address, new, lanes, active))

    # Updates of neighbouring lanes may meet in one element: vectors only along axes that are not indexed.
    simple_loops(emitter, updates.shape, leaf, vector=len(updates.shape) > lead)


def lower_written_out(emitter: Emitter, node: Node) -> None:
    """A small constant array, element by element."""
    flat = node.types[0].with_shape((node.types[0].size,))
    values = np.array(node.attrs["value"], flat.dtype).reshape(-1).tolist()
    for i, value in enumerate(values):
        emitter.store("out0", flat, (ZERO + i,), emitter.constant(value, flat.dtype))


SPECIAL: dict[str, Callable[[Emitter, Node], None]] = {
    "concat": lower_concat,
    "pad": lower_pad,
    "scatter_add": lower_scatter_add,
}
