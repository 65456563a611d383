"""From a kernel's graph to loops.

A value is computed by asking for its element at an index: elementwise ops ask their operands at the same
index, index maps (broadcast, transpose, slice) ask at another one, inputs load. The index of every axis is an
affine expression of loop variables, and each statement is placed in the outermost loop that knows all it
depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gradc.codegen.loops import (
    Address,
    Affine,
    Check,
    Let,
    Load,
    Loop,
    Register,
    Statement,
    Store,
)
from gradc.ir.graph import Graph, Node, Value
from gradc.ir.types import BOOL, I64, Type

Index = tuple[Affine, ...]

ZERO = Affine()
MAX_LANES = 64


@dataclass(eq=False)
class Frame:
    """An open loop: its statements so far and the values already computed in it."""

    variable: str | None
    body: list[Statement] = field(default_factory=list)
    known: dict[tuple[Value | str, Index, Register | None], Register] = field(default_factory=dict)


class Emitter:
    """Emits loops and, inside of them, values at indices."""

    def __init__(self, graph: Graph, vector_bytes: int) -> None:
        self.graph = graph
        self.frames = [Frame(None)]
        self.buffers: dict[Value, str] = {x: f"in{i}" for i, x in enumerate(graph.inputs)}
        self.counter = 0
        self.lanes = 1
        self.vector_variable: str | None = None
        self.active: int | None = None
        self.mask: Register | None = None
        """Where what is computed now counts: elsewhere its index may lie outside of its operands."""
        self.widest = lanes_of(graph, vector_bytes)
        self.results: dict[Value, Callable[[Index], Register]] = {}

    # -- loops and statements

    def open(self, variable: str) -> None:
        self.frames.append(Frame(variable))

    def close(self, start: int, stop: int | str, step: int, parallel: bool = False) -> None:
        frame = self.frames.pop()
        assert frame.variable is not None
        if frame.body:
            self.frames[-1].body.append(Loop(frame.variable, start, stop, step, frame.body, parallel))

    def depth_of(self, index: Affine) -> int:
        names = {name for name, _ in index.terms}
        return max((d for d, frame in enumerate(self.frames) if frame.variable in names), default=0)

    def register(self, dtype: np.dtype, lanes: int, depth: int) -> Register:
        self.counter += 1
        return Register(f"%{self.counter - 1}", dtype, lanes, depth)

    def add(self, depth: int, statement: Statement) -> None:
        self.frames[depth].body.append(statement)

    def let(
        self, op: str, dtype: np.dtype, inputs: Sequence[Register], depth: int = 0, **attrs: object
    ) -> Register:
        """A computation, placed as far out as its operands allow (but not outside of `depth`)."""
        depth = max([depth, *(r.depth for r in inputs)])
        lanes = max([1, *(r.lanes for r in inputs)])
        result = self.register(dtype, lanes, depth)
        self.add(depth, Let(result, op, tuple(inputs), tuple(attrs.items())))
        return result

    def constant(self, value: object, dtype: np.dtype) -> Register:
        result = self.register(dtype, 1, 0)
        self.add(0, Let(result, "constant", (), (("value", value),)))
        return result

    def index_register(self, index: Affine, dtype: np.dtype) -> Register:
        """An affine index as a number (a vector if it varies from lane to lane)."""
        step = index.coefficient(self.vector_variable) if self.vector_variable else 0
        depth = self.depth_of(index)
        result = self.register(dtype, self.lanes if step else 1, depth)
        self.add(depth, Let(result, "index", (), (("of", index), ("lane_step", step))))
        return result

    # -- memory

    def address(
        self, buffer: str, type: Type, index: Index, dynamic: Sequence[tuple[Register, int]] = ()
    ) -> tuple[Address, int, int]:
        """The address of an element, its depth and its lanes."""
        linear = ZERO
        for position, stride in zip(index, type.strides, strict=True):
            linear = linear + position * stride
        step = linear.coefficient(self.vector_variable) if self.vector_variable else 0
        depth = max([self.depth_of(linear), *(r.depth for r, _ in dynamic)])
        vector = step or any(r.lanes > 1 for r, _ in dynamic)
        return Address(buffer, linear, tuple(dynamic), step), depth, self.lanes if vector else 1

    def load(
        self, buffer: str, type: Type, index: Index, dynamic: Sequence[tuple[Register, int]] = ()
    ) -> Register:
        address, depth, lanes = self.address(buffer, type, index, dynamic)
        if self.mask is not None:
            depth, lanes = max(depth, self.mask.depth), max(lanes, self.mask.lanes)
        result = self.register(type.dtype, lanes, depth)
        self.add(depth, Load(result, address, self.active if lanes > 1 else None, self.mask))
        return result

    def store(
        self,
        buffer: str,
        type: Type,
        index: Index,
        value: Register,
        dynamic: Sequence[tuple[Register, int]] = (),
    ) -> None:
        address, _, lanes = self.address(buffer, type, index, dynamic)
        self.add(len(self.frames) - 1, Store(address, value, lanes, self.active if lanes > 1 else None))

    # -- values

    def value(self, x: Value, index: Index) -> Register:
        """The element of a value at an index, computed once in each loop that it depends on."""
        return self.once(x, index, lambda: self.compute(x, index))

    def once(self, what: Value | str, index: Index, compute: Callable[[], Register]) -> Register:
        """What was computed at this index already, or is now."""
        key = (what, index, self.mask)
        for frame in reversed(self.frames):
            if key in frame.known:
                return frame.known[key]
        register = compute()
        self.frames[register.depth].known[key] = register
        return register

    def compute(self, x: Value, index: Index) -> Register:
        if x in self.results:
            return self.results[x](index)
        node = x.node
        if node is None or x in self.buffers:
            return self.load(self.buffers[x], x.type, index)
        name = node.op.name
        if name == "constant":
            return self.constant(node.attrs["value"], x.dtype)
        if name == "iota":
            return self.index_register(index[node.attrs["axis"]], x.dtype)
        if name in INDEX_MAPS:
            return self.value(node.inputs[0], INDEX_MAPS[name](node, index))
        if name == "pad":
            return self.pad(node, index)
        if name == "gather":
            return self.gather(node, index)
        operands = [self.value(operand, index) for operand in node.inputs]
        if name == "require":
            depth = max(r.depth for r in operands)
            ok = operands[1]
            if self.mask is not None:
                ok = self.let("or", BOOL, [ok, self.let("invert", BOOL, [self.mask])])
                depth = max(depth, ok.depth)
            active = self.active if ok.lanes > 1 else None
            self.add(depth, Check(ok, active=active, source=node.source, **node.attrs))
            return operands[0]
        return self.let(name, x.dtype, operands, **node.attrs)

    def pad(self, node: Node, index: Index) -> Register:
        """The element of what is padded where the index is inside of it, else the fill value."""
        (x,) = node.inputs
        fill = self.constant(node.attrs["value"], x.dtype)
        if not x.type.size:
            return fill
        outer, inside = self.mask, self.mask
        source: list[Affine] = []
        for position, start, n, size in zip(
            index, node.attrs["starts"], x.shape, node.types[0].shape, strict=True
        ):
            source.append(position + -start)
            if n != size:
                within = self.within(source[-1], n)
                inside = within if inside is None else self.let("and", BOOL, [inside, within])
        if inside is outer:
            return self.value(x, tuple(source))
        assert inside is not None
        self.mask = inside
        value = self.value(x, tuple(source))
        self.mask = outer
        return self.let("where", x.dtype, [inside, value, fill])

    def within(self, index: Affine, size: int) -> Register:
        """Is an index one of an axis of this size?"""
        mask, self.mask = self.mask, None

        def compare() -> Register:
            return self.let("within", BOOL, [self.index_register(index, I64)], size=size)

        register = self.once(f"within {size}", (index,), compare)
        self.mask = mask
        return register

    def gather(self, node: Node, index: Index) -> Register:
        """A load whose index on some axes is a register. Indices are clamped, so that a bad one reads no
        foreign memory."""
        source, *indices = node.inputs
        lead = len(indices[0].shape)
        if not source.type.size:  # nothing to read; what checks the indices is computed all the same
            for i in indices:
                self.value(i, index[:lead])
            return self.constant(0, source.dtype)
        full, dynamic = self.positions(source.type, indices, node.attrs["axes"], index[:lead], index[lead:])
        assert source in self.buffers, "what is gathered from is in memory"
        return self.load(self.buffers[source], source.type, full, dynamic)

    def positions(
        self, type: Type, indices: Sequence[Value], axes: tuple[int, ...], at: Index, rest: Index
    ) -> tuple[Index, list[tuple[Register, int]]]:
        """Index and dynamic part of an element of `type`: `indices` (taken at `at`) along `axes`, `rest`
        elsewhere."""
        dynamic = []
        for axis, i in zip(axes, indices, strict=True):
            register = self.let("clamp_index", I64, [self.value(i, at)], size=type.shape[axis])
            dynamic.append((register, type.strides[axis]))
        others = iter(rest)
        return tuple(ZERO if axis in axes else next(others) for axis in range(type.ndim)), dynamic


def lanes_of(graph: Graph, vector_bytes: int) -> int:
    """How many lanes fill a vector of the widest dtype that the kernel computes with."""
    sizes = [v.dtype.itemsize for node in graph.nodes for v in node.results if v.dtype != BOOL]
    sizes += [x.dtype.itemsize for x in graph.inputs if x.dtype != BOOL]
    return min(MAX_LANES, vector_bytes // max(sizes, default=1))


class VectorSteps(NamedTuple):
    """A loop over a part of an axis: `copies` vectors of `lanes` at a time, of which `active` lanes count."""

    start: int
    stop: int
    lanes: int
    copies: int
    active: int | None


def vector_steps(size: int, lanes: int, unroll: int = 1, rest: int | None = None) -> list[VectorSteps]:
    """Loops that cover an axis: `unroll` vectors at a time, one at a time, then what is left, masked.

    The last vector has `rest` lanes, or just as many as it needs.
    """
    steps, start = [], 0
    for count in (unroll, 1):
        stop = start + (size - start) // (lanes * count) * lanes * count
        if stop > start:
            steps.append(VectorSteps(start, stop, lanes, count, None))
        start = stop
    if start < size:
        left = size - start
        needed = rest or 1 << (left - 1).bit_length()
        steps.append(VectorSteps(start, start + needed, needed, 1, left if left < needed else None))
    return steps


def _reshape_index(node: Node, index: Index) -> Index:
    """Axes of size 1 come and go, and an axis may have been cut into several; the others keep their order."""
    if not node.types[0].size:  # nothing is read, and sizes of 0 go nowhere
        return (ZERO,) * len(node.inputs[0].shape)
    others = iter([(i, n) for i, n in zip(index, node.types[0].shape, strict=True) if n != 1])
    source = []
    for size in node.inputs[0].shape:
        position, done = ZERO, 1
        while done < size:
            i, n = next(others)
            position, done = position * n + i, done * n
        source.append(position)
    return tuple(source)


def _transpose_index(node: Node, index: Index) -> Index:
    source = [ZERO] * len(index)
    for position, axis in zip(index, node.attrs["axes"], strict=True):
        source[axis] = position
    return tuple(source)


def _slice_index(node: Node, index: Index) -> Index:
    starts, steps = node.attrs["starts"], node.attrs["steps"]
    return tuple(i * step + start for i, start, step in zip(index, starts, steps, strict=True))


def _windows_index(node: Node, index: Index) -> Index:
    source = [ZERO + start for start in node.attrs["starts"]]
    for position, axis, step in zip(index, node.attrs["axes"], node.attrs["steps"], strict=True):
        source[axis] = source[axis] + position * step
    return tuple(source)


INDEX_MAPS: dict[str, Callable[[Node, Index], Index]] = {
    "broadcast": lambda node, index: tuple(index[a] for a in node.attrs["axes"]),
    "reshape": _reshape_index,
    "transpose": _transpose_index,
    "slice": _slice_index,
    "windows": _windows_index,
}
