"""The loop IR: explicit loops, loads, stores and vector computations of one kernel. Made to be read in dumps.

kernel add_tanh(in0: f32[32, 64], in1: f32[64]) -> (out0: f32[32, 64]) {
  for i0 in 0..32:
    for i1 in 0..64 by 16:
      %0: f32x16 = load in0[64*i0 + i1]
      %1: f32x16 = load in1[i1]
      %2: f32x16 = add(%0, %1)
      %3: f32x16 = tanh(%2)
      store out0[64*i0 + i1] = %3
}
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradc.ir.errors import Source
from gradc.ir.types import SHORT, Type


@dataclass(frozen=True)
class Affine:
    """A sum of loop variables times coefficients, and a constant: the index of an element."""

    terms: tuple[tuple[str, int], ...] = ()
    constant: int = 0

    @staticmethod
    def variable(name: str) -> Affine:
        return Affine(((name, 1),))

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.terms, self.constant + other)
        sums = dict(self.terms)
        for name, factor in other.terms:
            sums[name] = sums.get(name, 0) + factor
        terms = tuple(sorted((name, factor) for name, factor in sums.items() if factor))
        return Affine(terms, self.constant + other.constant)

    def __mul__(self, factor: int) -> Affine:
        if factor == 0:
            return Affine()
        return Affine(tuple((name, f * factor) for name, f in self.terms), self.constant * factor)

    def coefficient(self, name: str) -> int:
        return dict(self.terms).get(name, 0)

    def __str__(self) -> str:
        parts = [name if factor == 1 else f"{factor}*{name}" for name, factor in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts).replace("+ -", "- ")


@dataclass(frozen=True, eq=False)
class Register:
    """A scalar (lanes 1) or vector value. `depth` is the number of loops around its definition."""

    name: str
    dtype: np.dtype
    lanes: int
    depth: int

    @property
    def type(self) -> str:
        return SHORT[self.dtype] + (f"x{self.lanes}" if self.lanes > 1 else "")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Address:
    """An element of a buffer: an affine index plus registers times strides (gather), and the step from lane
    to lane."""

    buffer: str
    index: Affine
    dynamic: tuple[tuple[Register, int], ...] = ()
    lane_step: int = 0

    def __str__(self) -> str:
        parts = [str(self.index)] if self.index != Affine() or not self.dynamic else []
        parts += [f"{step}*{r}" if step != 1 else str(r) for r, step in self.dynamic]
        step = f" by {self.lane_step}" if self.lane_step not in (0, 1) else ""
        return f"{self.buffer}[{' + '.join(parts)}{step}]"


@dataclass(frozen=True, eq=False)
class Let:
    """Compute on registers: an op of the table, or one of the loops' own (`index`, `reduce_lanes`, ...)."""

    result: Register
    op: str
    inputs: tuple[Register, ...] = ()
    attrs: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        arguments = [*map(str, self.inputs), *(f"{k}={v}" for k, v in self.attrs)]
        return f"{self.result}: {self.result.type} = {self.op}({', '.join(arguments)})"


@dataclass(frozen=True, eq=False)
class Load:
    """Read one element, or `active` of the lanes (the others are 0); only where `mask` holds, if there is
    one (what it gives elsewhere is not to be used)."""

    result: Register
    address: Address
    active: int | None = None
    mask: Register | None = None

    def __str__(self) -> str:
        only = f" first {self.active}" if self.active is not None else ""
        where = f" where {self.mask}" if self.mask is not None else ""
        return f"{self.result}: {self.result.type} = load {self.address}{only}{where}"


@dataclass(frozen=True, eq=False)
class Store:
    """Write one element, or `active` of the lanes."""

    address: Address
    value: Register
    lanes: int
    active: int | None = None

    def __str__(self) -> str:
        only = f" first {self.active}" if self.active is not None else ""
        return f"store {self.address}{only} = {self.value}"


@dataclass(frozen=True, eq=False)
class Check:
    """Set the call's status to `message` unless `ok` holds in all active lanes."""

    ok: Register
    message: str
    active: int | None = None
    source: Source | None = None
    error: str = "IndexOutOfBoundsError"

    def __str__(self) -> str:
        return f"check {self.ok}, {self.error}: {self.message!r}" + (
            f"  # {self.source}" if self.source else ""
        )


@dataclass(frozen=True, eq=False)
class Assign:
    """Set an accumulator, a variable that lives across the steps of a loop."""

    variable: str
    value: Register

    def __str__(self) -> str:
        return f"{self.variable} = {self.value}"


@dataclass(frozen=True, eq=False)
class Read:
    """Read an accumulator."""

    result: Register
    variable: str

    def __str__(self) -> str:
        return f"{self.result}: {self.result.type} = {self.variable}"


@dataclass(eq=False)
class Loop:
    """`for variable in start..stop by step`; the steps of a `parallel` one, which is outermost, are chunks
    that any thread may take. `stop` may be a parameter of the kernel, at least 1."""

    variable: str
    start: int
    stop: int | str
    step: int
    body: list[Statement] = field(default_factory=list)
    parallel: bool = False

    def __str__(self) -> str:
        by = f" by {self.step}" if self.step != 1 else ""
        how = " in parallel" if self.parallel else ""
        return f"for {self.variable} in {self.start}..{self.stop}{by}{how}:"


Statement = Let | Load | Store | Check | Assign | Read | Loop


@dataclass(eq=False)
class KernelCode:
    """A kernel as loops. Buffers are `in0, in1, ..., out0, ...`; `overwrites` are the pairs that share
    memory. One that follows the tiles of a product has the columns of a `tile` and the elements from row to
    row, and reads the tile as the buffer `tile`."""

    name: str
    inputs: tuple[Type, ...]
    outputs: tuple[Type, ...]
    body: list[Statement]
    overwrites: tuple[tuple[int, int], ...] = ()
    tile: tuple[int, int] | None = None

    @property
    def chunks(self) -> int:
        """How many parts may be done in any order, by several threads; 1 if it is not made of parts.

        What follows the parallel loop is one more.
        """
        for i, statement in enumerate(self.body):
            if isinstance(statement, Loop) and statement.parallel and isinstance(statement.stop, int):
                return statement.stop + any(isinstance(s, Loop) for s in self.body[i + 1 :])
        return 1

    @property
    def key(self) -> str:
        """Text without the name: equal kernels are compiled once."""
        return str(self).split("(", 1)[1]

    def __str__(self) -> str:
        inputs = ", ".join(f"in{i}: {t}" for i, t in enumerate(self.inputs))
        outputs = ", ".join(f"out{i}: {t}" for i, t in enumerate(self.outputs))
        notes = "".join(f"\n  # out{o} overwrites in{i}" for o, i in self.overwrites)
        if self.tile is not None:
            notes = f"\n  # for every tile: {self.tile[0]} columns, rows {self.tile[1]} elements apart{notes}"
        return (
            f"kernel {self.name}({inputs}) -> ({outputs}) {{{notes}\n"
            + "\n".join(lines(self.body, "  "))
            + "\n}"
        )


def lines(body: Iterable[Statement], indent: str) -> Iterable[str]:
    """The statements as text, loops indented."""
    for statement in body:
        yield f"{indent}{statement}"
        if isinstance(statement, Loop):
            yield from lines(statement.body, indent + "  ")
