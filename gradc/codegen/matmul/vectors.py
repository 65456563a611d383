"""Vectors of one element type: loads, stores, multiply-add, shuffles that transpose or sum a set of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradc.codegen.matmul.code import Code

LANE_BYTES = 16
"""Shuffles that stay within 16-byte lanes are one cheap instruction on every target."""

MOST_LANES = 16
"""Vectors of narrow integers stop here: a transposition costs text in proportion to the lanes."""


@dataclass(frozen=True)
class Element:
    """An element type: LLVM name, bytes, and how it is multiplied and added (`float`, `int` or `bool`)."""

    llvm: str
    size: int
    kind: str

    @property
    def zero(self) -> str:
        """The literal zero."""
        return "0.0" if self.kind == "float" else "0"


ELEMENTS = {
    "f32": Element("float", 4, "float"),
    "f64": Element("double", 8, "float"),
    "bool": Element("i8", 1, "bool"),
} | {f"{sign}{bits}": Element(f"i{bits}", bits // 8, "int") for sign in "iu" for bits in (8, 16, 32, 64)}


@dataclass(frozen=True)
class Vectors:
    """Operations on vectors of `lanes` elements; every method appends to the code it is given.

    Pointers are taken to be aligned to one element only. A `count` below `lanes` touches the first `count`
    elements of memory: by a masked access if the target has those, else by a shorter vector.
    """

    element: Element
    lanes: int
    masked: bool

    @property
    def type(self) -> str:
        """The LLVM type of one vector."""
        return self._type(self.lanes)

    @property
    def bytes(self) -> int:
        """Bytes in one vector."""
        return self.lanes * self.element.size

    def _type(self, lanes: int) -> str:
        return f"<{lanes} x {self.element.llvm}>"

    def _mangled(self) -> str:
        prefix = "f" if self.element.kind == "float" else "i"
        return f"v{self.lanes}{prefix}{self.element.size * 8}"

    def _mask(self, count: int) -> str:
        bits = ", ".join(f"i1 {int(i < count)}" for i in range(self.lanes))
        return f"<{self.lanes} x i1> <{bits}>"

    def _shuffle(self, code: Code, a: str, b: str, lanes: int, picks: Sequence[int]) -> str:
        kind = self._type(lanes)
        picked = ", ".join(f"i32 {i}" for i in picks)
        return code.let(f"shufflevector {kind} {a}, {kind} {b}, <{len(picks)} x i32> <{picked}>")

    def load(self, code: Code, pointer: str, count: int | None = None) -> str:
        """The vector at `pointer`; lanes from `count` on are zero and their memory is not touched."""
        align = self.element.size
        if count is None or count == self.lanes:
            return code.let(f"load {self.type}, ptr {pointer}, align {align}")
        if self.masked and count > 1:
            masked = f"@llvm.masked.load.{self._mangled()}.p0"
            operands = f"ptr {pointer}, i32 {align}, {self._mask(count)}, {self.type} zeroinitializer"
            return code.let(f"call {self.type} {masked}({operands})")
        short = code.let(f"load {self._type(count)}, ptr {pointer}, align {align}")
        picks = [min(i, count) for i in range(self.lanes)]
        return self._shuffle(code, short, "zeroinitializer", count, picks)

    def store(self, code: Code, value: str, pointer: str, count: int | None = None) -> None:
        """Store the first `count` lanes."""
        align = self.element.size
        if count is None or count == self.lanes:
            code.do(f"store {self.type} {value}, ptr {pointer}, align {align}")
        elif self.masked and count > 1:
            masked = f"@llvm.masked.store.{self._mangled()}.p0"
            code.do(
                f"call void {masked}({self.type} {value}, ptr {pointer}, i32 {align}, {self._mask(count)})"
            )
        else:
            self._store_first(code, value, self.lanes, pointer, count)

    def _store_first(self, code: Code, value: str, lanes: int, pointer: str, count: int) -> None:
        if count < lanes:
            value = self._shuffle(code, value, "poison", lanes, range(count))
        code.do(f"store {self._type(count)} {value}, ptr {pointer}, align {self.element.size}")

    def splat(self, code: Code, pointer: str) -> str:
        """The one element at `pointer` in every lane."""
        scalar = code.let(f"load {self.element.llvm}, ptr {pointer}, align {self.element.size}")
        first = code.let(f"insertelement {self.type} poison, {self.element.llvm} {scalar}, i64 0")
        zeros = f"<{self.lanes} x i32> zeroinitializer"
        return code.let(f"shufflevector {self.type} {first}, {self.type} poison, {zeros}")

    def add(self, code: Code, a: str, b: str, lanes: int | None = None) -> str:
        """a + b (or, for bool)."""
        if "zeroinitializer" in (a, b):
            return b if a == "zeroinitializer" else a
        operation = {"float": "fadd", "int": "add", "bool": "or"}[self.element.kind]
        return code.let(f"{operation} {self._type(lanes or self.lanes)} {a}, {b}")

    def multiply_add(self, code: Code, a: str, b: str, c: str) -> str:
        """a * b + c, fused where the target can (a and b or c, for bool)."""
        if self.element.kind == "float":
            kind = self.type
            return code.let(
                f"call {kind} @llvm.fmuladd.{self._mangled()}({kind} {a}, {kind} {b}, {kind} {c})"
            )
        product = code.let(f"{'mul' if self.element.kind == 'int' else 'and'} {self.type} {a}, {b}")
        return self.add(code, product, c)

    # Shuffles of pairs of vectors, first within 16-byte lanes, then of whole lanes, make a tree that
    # transposes.

    @property
    def per_lane(self) -> int:
        """Elements in a lane."""
        return min(self.lanes, LANE_BYTES // self.element.size)

    def _stages(self, lanes: int) -> list[tuple[list[int], list[int]]]:
        """For each stage of the tree, which elements of a pair (a, b) its two results take."""
        per_lane = min(lanes, self.per_lane)
        stages: list[tuple[list[int], list[int]]] = []
        unit = 1
        while unit < per_lane:
            results: list[list[int]] = []
            for half in (0, per_lane // 2):
                picks: list[int] = []
                for lane in range(0, lanes, per_lane):
                    for start in range(lane + half, lane + half + per_lane // 2, unit):
                        picks += [*range(start, start + unit), *range(lanes + start, lanes + start + unit)]
                results.append(picks)
            stages.append((results[0], results[1]))
            unit *= 2
        for _ in range((lanes // per_lane).bit_length() - 1):
            starts = range(0, 2 * lanes, 2 * per_lane)
            even = [i for s in starts for i in range(s, s + per_lane)]
            stages.append((even, [i + per_lane for i in even]))
        return stages

    def transposed(self, code: Code, rows: Sequence[str], count: int) -> list[str]:
        """Columns of `lanes` rows, of which one lane is read at each pointer, or `count` elements if fewer.

        Rows past the last pointer are zeros. The lanes of every `per_lane`-th row are joined to a vector, so
        that all the squares of a lane's size are transposed at once.
        """
        count = min(count, self.per_lane)
        lane = Vectors(self.element, self.per_lane, masked=False)
        pieces = [lane.load(code, pointer, count) for pointer in rows]
        pieces += ["zeroinitializer"] * (self.lanes - len(rows))
        groups = [[self._join(code, pieces[i :: self.per_lane]) for i in range(self.per_lane)]]
        for low, high in self._stages(self.lanes)[: self.per_lane.bit_length() - 1]:
            parts: list[list[str]] = []
            for group in groups:
                pairs = list(zip(group[::2], group[1::2], strict=True))
                parts += [
                    [self._shuffle(code, a, b, self.lanes, picks) for a, b in pairs] for picks in (low, high)
                ]
            groups = parts
        return [value for (value,) in groups][:count]

    def parted(self, code: Code, pointer: str, count: int) -> list[str]:
        """Columns of `lanes` rows of `count` elements that lie one after another; `count` is odd.

        A column has elements in every lane once, as `count` and `lanes` have no common divisor: it is blended
        from all the vectors and then sorted.
        """
        loaded = [self.load(code, code.offset(pointer, i * self.bytes)) for i in range(count)]
        columns: list[str] = []
        for first in range(count):
            places = [divmod(first + row * count, self.lanes) for row in range(self.lanes)]
            mixed = loaded[0]
            for i, value in enumerate(loaded[1:], 1):
                taken = {lane for number, lane in places if number == i}
                picks = [lane + self.lanes * (lane in taken) for lane in range(self.lanes)]
                mixed = self._shuffle(code, mixed, value, self.lanes, picks)
            columns.append(self._shuffle(code, mixed, "poison", self.lanes, [lane for _, lane in places]))
        return columns

    def _join(self, code: Code, pieces: Sequence[str]) -> str:
        """One vector of lanes side by side."""
        values, lanes = list(pieces), self.per_lane
        while len(values) > 1:
            pairs = zip(values[::2], values[1::2], strict=True)
            values = [self._shuffle(code, a, b, lanes, range(2 * lanes)) for a, b in pairs]
            lanes *= 2
        return values[0]

    def store_sums(self, code: Code, rows: Sequence[str], pointer: str) -> None:
        """Store the sum of each vector's lanes, one element per vector, side by side."""
        padded = 1 << (len(rows) - 1).bit_length()
        values, lanes = list(rows), self.lanes
        while lanes > padded:
            half = lanes // 2
            low = [self._shuffle(code, v, "poison", lanes, range(half)) for v in values]
            high = [self._shuffle(code, v, "poison", lanes, range(half, lanes)) for v in values]
            values = [self.add(code, a, b, half) for a, b in zip(low, high, strict=True)]
            lanes = half
        values += ["zeroinitializer"] * (padded - len(values))
        for low, high in self._stages(lanes):
            sums: list[str] = []
            for a, b in zip(values[::2], values[1::2], strict=True):
                x = self._shuffle(code, a, b, lanes, low)
                sums.append(self.add(code, x, self._shuffle(code, a, b, lanes, high), lanes))
            values = sums
        self._store_first(code, values[0], lanes, pointer, len(rows))


def vectors(dtype: str, vector_bytes: int) -> Vectors:
    """The widest vectors of `dtype` in registers of `vector_bytes`."""
    if dtype not in ELEMENTS:
        raise ValueError(f"no matrix product of {dtype!r}; element types are {', '.join(ELEMENTS)}")
    element = ELEMENTS[dtype]
    return Vectors(element, min(vector_bytes // element.size, MOST_LANES), masked=vector_bytes >= 32)
