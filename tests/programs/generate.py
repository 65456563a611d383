"""Random programs over all ops: a graph, and the domain that each of its inputs is drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradc.ir import OPS, Builder, Graph, Type, Value, emit
from gradc.ir.graph import constant
from gradc.ir.text import digest
from gradc.ir.types import F64, I64, NAMES
from tests.programs.choices import Choices, Drawn
from tests.programs.strategies import EVERYWHERE, STRATEGIES, Domain, Index, index_type
from tests.programs.values import array_of

DTYPES = [
    NAMES[name] for name in ("f64", "f64", "f64", "f32", "f32", "i64", "i32", "u8", "i8", "bool", "u64")
]
SIZES = [3, 2, 5, 1, 4, 7, 0]
WIDE = [8, 17, 33, 64, 100]
"""Sizes of whole vectors of machine words, and what remains of one."""
LIMIT = 6000
"""The most elements that a value has."""


@dataclass
class Program:
    """A graph and what its inputs may be."""

    graph: Graph
    domains: list[Domain | Index]
    smooth: bool

    def leaves(self, seed: int, specials: float = 0.0) -> list[np.ndarray]:
        """Arguments drawn from the domains; so many of the floats are specials such as NaN and -0.0."""
        rng = np.random.default_rng([seed, 1])
        return [
            array_of(rng, x.type, d, specials) for x, d in zip(self.graph.inputs, self.domains, strict=True)
        ]


class Generator:
    """Grows one graph, op by op, from values at hand.

    `smooth`: float64 operands in the domains where ops are differentiable. `fresh`: every further operand is
    a new input, and domains are those of inputs, which is what tests of a single op want. `internal`: also
    ops that only passes make. `wide`: some axes have many elements. `kinks`: in smooth programs also ops that
    have kinks or jumps.
    """

    def __init__(
        self,
        choices: Choices,
        *,
        smooth: bool = False,
        fresh: bool = False,
        internal: bool = False,
        nested: int = 0,
        wide: bool = False,
        kinks: bool = False,
    ) -> None:
        self.choices = choices
        self.kinks = kinks
        self.smooth = smooth
        self.fresh = fresh
        self.internal = internal
        self.nested = nested
        self.elementwise = False
        self.wide = wide
        self.builder = Builder()
        self.values: list[Value] = []
        self.domains: dict[Value, Domain | Index] = {}
        self.constants: dict[str, np.ndarray] = {}

    # Shapes and dtypes

    def size(self) -> int:
        return self.choices.pick(WIDE if self.wide and self.choices.chance(40) else SIZES)

    def shape(self, most: int = 3) -> tuple[int, ...]:
        return tuple(self.size() for _ in range(self.choices.integer(0, most)))

    def dtype(self) -> np.dtype:
        return F64 if self.smooth else self.choices.pick(DTYPES)

    def fits(self, shape: Sequence[int]) -> bool:
        return prod(shape) <= LIMIT

    # Operands

    def input(self, type: Type, domain: Domain | Index = EVERYWHERE) -> Value:
        value = self.builder.add_input(type, f"x{len(self.builder.inputs)}")
        self.domains[value] = domain
        if not isinstance(domain, Index):
            self.values.append(value)
        return value

    def scalar(self, dtype: np.dtype) -> Any:
        """A number for a constant."""
        if dtype.kind == "b":
            return self.choices.chance(50)
        if dtype.kind in "iu":
            least = 0 if dtype.kind == "u" else -3
            extreme = [] if self.smooth else [np.iinfo(dtype).max, np.iinfo(dtype).min]
            return int(self.choices.pick([1, 0, 2, least, 5, *extreme]))
        special = [] if self.smooth else [np.nan, np.inf, -np.inf, -0.0, 1e-310, 1e30, 0.1]
        return float(self.choices.pick([1.0, 0.5, 0.0, -1.0, 2.0, 1.7, 0.3, *special]))

    def constant(self, type: Type) -> Value:
        """A splat, or a small array written out."""
        if type.shape and type.size <= 16 and self.choices.chance(40):
            flat = np.array([self.scalar(type.dtype) for _ in range(type.size)], type.dtype)
            return constant(flat.reshape(type.shape), type)
        return constant(self.scalar(type.dtype), type)

    def captured(self, type: Type) -> Value:
        name = f"captured{len(self.constants)}"
        array = array_of(np.random.default_rng(len(self.constants)), type, EVERYWHERE)
        self.constants[name] = array
        return emit("captured", type=type, name=name, digest=digest(array))

    def supply(self, type: Type) -> Value:
        """A value of this type: one at hand, a new input, a constant, or something at hand made fit."""
        if self.fresh:
            return self.input(type)
        known = [v for v in self.values if v.type == type]
        if known and self.choices.chance(70):
            return self.choices.pick(known)
        how = self.choices.integer(0, 3)
        if how == 0 and not self.nested:
            return self.input(type)
        near = [v for v in self.values if v.shape == type.shape and v.type.is_bool]
        if how == 1 and near:
            return self._kept(emit("cast", self.choices.pick(near), type=type))
        parts = [v for v in self.values if v.dtype == type.dtype and v.shape == type.shape[1:]]
        if how == 2 and parts and type.shape:
            axes = tuple(range(1, type.ndim))
            return self._kept(emit("broadcast", self.choices.pick(parts), shape=type.shape, axes=axes))
        return self.constant(type)

    def _kept(self, value: Value) -> Value:
        self.values.append(value)
        return value

    def within(self, x: Value, domain: Domain, always: bool = False) -> Value:
        """The value brought into a domain, mostly: wild programs also leave it."""
        if self.fresh:
            if x in self.domains:
                self.domains[x] = domain
            return x
        if always and not self.smooth:
            low, high = constant(domain.low, x.type), constant(domain.high, x.type)
            x = emit("where", emit("ne", x, x), low, x)
            return emit("minimum", emit("maximum", x, low), high)
        if self.choices.chance(60 if domain is EVERYWHERE else 0 if self.smooth else 40):
            return x
        middle, half = (domain.low + domain.high) / 2, (domain.high - domain.low) / 2
        y = emit("tanh", x) * half
        return y + middle if middle else y

    def count(self, x: Value) -> Value:
        """An integer from 0 to 3."""
        return x & 3

    def indices(self, shape: tuple[int, ...], size: int) -> Value:
        """Valid indices for an axis."""
        type = index_type(shape)
        how = 0 if self.fresh else self.choices.integer(0, 2)
        if how == 0 and not self.nested:
            return self.input(type, Index(size))
        at_hand = [v for v in self.values if v.type == type]
        if how == 1 and at_hand and size:
            return emit("remainder", self.choices.pick(at_hand), constant(size, type))
        drawn = [self.choices.integer(0, size - 1) for _ in range(type.size)] if type.size <= 16 else [0]
        return constant(np.array(drawn, I64).reshape(shape) if type.size <= 16 else 0, type)

    # Graphs

    def body(
        self, name: str, inputs: list[Type], outputs: list[Type] | None = None, *, elementwise: bool = False
    ) -> Graph:
        """A closed graph over inputs of these types, with given output types or some."""
        inner = Generator(
            self.choices,
            smooth=self.smooth,
            internal=self.internal,
            nested=self.nested + 1,
            kinks=self.kinks,
        )
        inner.elementwise = elementwise
        with inner.builder:
            for type in inputs:
                inner.input(type)
            inner.grow(self.choices.integer(1, 4))
            ys = inner.outputs(2) if outputs is None else [inner.supply(type) for type in outputs]
            return inner.builder.build(name, ys)

    def candidates(self) -> list[str]:
        return [
            name
            for name, s in STRATEGIES.items()
            if name in OPS
            and (s.smooth or not self.smooth or self.kinks)
            and (self.internal or not s.internal)
            and (OPS[name].elementwise or not self.elementwise)
        ]

    def grow(self, count: int) -> None:
        """Emit about so many ops."""
        names = self.candidates()
        for _ in range(count):
            for _ in range(4):
                if self.step(self.choices.pick(names), self.choices.pick(self.values[-4:][::-1])):
                    break

    def step(self, name: str, x: Value) -> tuple[Value, ...] | None:
        """Emit one op with x as an operand, if the op takes it."""
        if self.elementwise and x.shape != self.values[0].shape:
            x = self.values[0]
        results = STRATEGIES[name].emit(self, x)
        if results is not None:
            self.values.extend(v for v in results if self.fits(v.shape))
        return results

    def outputs(self, most: int) -> list[Value]:
        """Some values, late ones mostly; now and then an input, or the same value twice."""
        used = {x for node in self.builder.nodes for x in node.inputs}
        loose = [v for v in self.values if v not in used] or self.values
        ys = [self.choices.pick(loose[::-1])]
        ys += [self.choices.pick(loose[-6:][::-1]) for _ in range(self.choices.integer(0, most - 1))]
        if self.choices.chance(15):
            ys.append(self.choices.pick(self.values))
        if self.choices.chance(15):
            ys.append(ys[0])
        return ys


def generate(
    choices: Choices,
    *,
    ops: int = 12,
    smooth: bool = False,
    internal: bool = False,
    wide: bool = False,
    kinks: bool = False,
) -> Program:
    """A program of about so many ops."""
    gen = Generator(choices, smooth=smooth, internal=internal, wide=wide, kinks=kinks)
    with gen.builder:
        for _ in range(choices.integer(1, 3)):
            gen.input(Type(gen.dtype(), gen.shape()))
        gen.grow(choices.integer(1, ops))
        ys = gen.outputs(3)
        graph = gen.builder.build("program", ys, constants=gen.constants)
    return Program(graph, [gen.domains[x] for x in graph.inputs], smooth)


@st.composite
def programs(draw: Any, ops: int = 12, smooth: bool = False, internal: bool = False) -> Program:
    """The same as a hypothesis strategy: its decisions shrink."""
    return generate(Drawn(draw), ops=ops, smooth=smooth, internal=internal)
