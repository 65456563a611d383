"""The accumulators of a reducing nest: first values, how they take in elements, how many become one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradc.codegen.loops import Assign, Let, Read, Register
from gradc.codegen.lower import Index
from gradc.ir.graph import Node, Value
from gradc.ir.ops.reduce import identity
from gradc.ir.types import BOOL, I64

if TYPE_CHECKING:
    from gradc.codegen.nests import Nest

COMBINE = {"reduce_sum": "add", "reduce_prod": "mul", "reduce_max": "maximum", "reduce_min": "minimum"}
COMBINE_BOOL = {"reduce_max": "or", "reduce_min": "and"}
ARGUMENTS = frozenset({"argmax", "argmin"})


def combining_op(node: Node) -> str:
    """The elementwise op that a reduction repeats."""
    if node.inputs[0].type.is_bool:
        return COMBINE_BOOL[node.op.name]
    return COMBINE[node.op.name]


class Accumulators:
    """A variable for every reduction of a nest (two for argmax and argmin), set to its identity."""

    def __init__(self, nest: Nest, lanes: int, label: str = "acc") -> None:
        self.nest = nest
        self.lanes = lanes
        self.variables: dict[Value, str] = {}
        emitter = nest.emitter
        emitter.counter += 1
        tag = f"{label}{emitter.counter}_"
        depth = len(emitter.frames) - 1
        for i, node in enumerate(nest.reductions):
            x = node.inputs[0]
            variable = self.variables[node.result] = f"{tag}{i}"
            # The sum of nothing is 0, not -0.0.
            nothing = nest.is_empty and node.op.name == "reduce_sum"
            self.start(variable, 0 if nothing else identity(node.op.name, x.type), x.dtype, depth)
            if node.op.name in ARGUMENTS:
                self.start(variable + "_at", 0, I64, depth)

    def part(self) -> Accumulators:
        """Fresh ones of the same kind, to be merged into these."""
        return Accumulators(self.nest, self.lanes, "part")

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
        if emitter.active is not None and self.nest.across:
            value = identity(node.op.name, node.inputs[0].type)
            lanes = emitter.register(x.dtype, self.lanes, here)
            attrs = (("active", emitter.active), ("other", value))
            emitter.add(here, Let(lanes, "keep_active", (x,), attrs))
            x = lanes
        if node.op.name in ARGUMENTS:
            where = self.current(variable + "_at", I64)
            position = emitter.index_register(index[node.attrs["axis"]], I64)
            better = emitter.let("better_" + node.op.name, BOOL, [x, best], here)
            emitter.add(here, Assign(variable, emitter.let("where", x.dtype, [better, x, best], here)))
            at = emitter.let("where", I64, [better, position, where], here)
            emitter.add(here, Assign(variable + "_at", at))
            return
        emitter.add(here, Assign(variable, emitter.let(combining_op(node), x.dtype, [best, x], here)))

    def merge(self, part: Accumulators) -> None:
        """Add a block's accumulators to these."""
        emitter, here = self.nest.emitter, len(self.nest.emitter.frames) - 1
        for node in self.nest.reductions:
            dtype, variable = node.inputs[0].dtype, self.variables[node.result]
            mine, other = self.current(variable, dtype), part.current(part.variables[node.result], dtype)
            if node.op.name in ARGUMENTS:
                at = self.current(variable + "_at", I64)
                other_at = part.current(part.variables[node.result] + "_at", I64)
                better = emitter.let("better_" + node.op.name, BOOL, [other, mine], here)
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
            if node.op.name in ARGUMENTS:
                results[node.result] = self.current(variable + "_at", I64)
            else:
                results[node.result] = self.current(variable, node.inputs[0].dtype)
        return results

    @staticmethod
    def total(groups: list[Accumulators]) -> dict[Value, Register]:
        """The copies pairwise, then the lanes pairwise."""
        nest = groups[0].nest
        emitter, here = nest.emitter, len(nest.emitter.frames) - 1
        results = {}
        for node in nest.reductions:
            if node.op.name in ARGUMENTS:
                results[node.result] = first_extreme(node, groups)
                continue
            op = combining_op(node)
            registers = [g.current(g.variables[node.result], node.inputs[0].dtype) for g in groups]
            while len(registers) > 1:
                pairs = zip(registers[::2], registers[1::2], strict=True)
                registers = [emitter.let(op, a.dtype, [a, b], here) for a, b in pairs]
            (register,) = registers
            if register.lanes > 1:
                lanes = emitter.register(register.dtype, 1, here)
                emitter.add(here, Let(lanes, "reduce_lanes", (register,), (("op", op),)))
                register = lanes
            results[node.result] = register
        return results


def first_extreme(node: Node, groups: list[Accumulators]) -> Register:
    """The position of the best element of all copies and lanes; the first of several as good."""
    emitter, here = groups[0].nest.emitter, len(groups[0].nest.emitter.frames) - 1

    def let(op: str, *inputs: Register) -> Register:
        return emitter.let(op, inputs[-1].dtype if op == "where" else BOOL, inputs, here)

    def half(x: Register, start: int) -> Register:
        part = emitter.register(x.dtype, x.lanes // 2, here)
        emitter.add(here, Let(part, "take_lanes", (x,), (("start", start),)))
        return part

    better = "better_" + node.op.name
    pairs = []
    for group in groups:
        variable = group.variables[node.result]
        pairs.append((group.current(variable, node.inputs[0].dtype), group.current(variable + "_at", I64)))
    while len(pairs) > 1 or pairs[0][0].lanes > 1:
        if len(pairs) == 1:
            ((x, at),) = pairs
            pairs = [(half(x, start), half(at, start)) for start in (0, x.lanes // 2)]
        joined = []
        for (a, at_a), (b, at_b) in zip(pairs[::2], pairs[1::2], strict=True):
            tie = let("and", let("invert", let(better, a, b)), let("lt", at_b, at_a))
            wins = let("or", let(better, b, a), tie)
            joined.append((let("where", wins, b, a), let("where", wins, at_b, at_a)))
        pairs = joined
    return pairs[0][1]
