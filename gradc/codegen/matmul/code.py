"""A builder for the LLVM text of one function: fresh names, counted loops, folded index arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

Index = int | str
"""A 64-bit integer: a Python int while it is known, else the name of an LLVM value."""


@dataclass
class Loop:
    """One iteration of a loop: its index, the carried values on entry, and those for the next."""

    index: Index
    values: list[str]
    next: list[str] = field(default_factory=list)


@dataclass
class Choice:
    """A branch: the values it leaves, and after it, the values to go on with."""

    next: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)


class Code:
    """The growing text of one LLVM function of pointers (and other `more` parameters) that returns nothing.

    Loops are in SSA form from the start (phi nodes, no alloca), so the text needs no optimizer to be good.
    """

    def __init__(self, symbol: str, parameters: Sequence[str], more: Sequence[str] = ()) -> None:
        head = ", ".join([*(f"ptr noalias {p}" for p in parameters), *more])
        self._lines = [f'define void @"{symbol}"({head}) #1 {{', "entry:"]
        self._block = "entry"
        self._count = 0

    def text(self) -> str:
        """The whole function."""
        return "\n".join([*self._lines, "  ret void", "}", ""])

    def name(self) -> str:
        """A fresh number for values and labels."""
        self._count += 1
        return str(self._count)

    def do(self, line: str) -> None:
        """Append one instruction without a result."""
        self._lines.append("  " + line)

    def let(self, expression: str) -> str:
        """Append one instruction and return the name of its result."""
        name = "%v" + self.name()
        self._lines.append(f"  {name} = {expression}")
        return name

    # Index arithmetic: known operands are folded, since most of it is known.

    def add(self, a: Index, b: Index) -> Index:
        """a + b"""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        return b if a == 0 else a if b == 0 else self.let(f"add i64 {a}, {b}")

    def sub(self, a: Index, b: Index) -> Index:
        """a - b"""
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return a if b == 0 else self.let(f"sub i64 {a}, {b}")

    def mul(self, a: Index, b: Index) -> Index:
        """a * b"""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        return 0 if 0 in (a, b) else b if a == 1 else a if b == 1 else self.let(f"mul i64 {a}, {b}")

    def min(self, a: Index, b: Index) -> Index:
        """The lesser of a and b, signed."""
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return self.let(f"call i64 @llvm.smin.i64(i64 {a}, i64 {b})")

    def max(self, a: Index, b: Index) -> Index:
        """The greater of a and b, signed."""
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        return self.let(f"call i64 @llvm.smax.i64(i64 {a}, i64 {b})")

    def offset(self, pointer: str, distance: Index) -> str:
        """The pointer moved by `distance` bytes."""
        return pointer if distance == 0 else self.let(f"getelementptr i8, ptr {pointer}, i64 {distance}")

    # Control flow.

    def label(self, label: str) -> None:
        """Start a block; the block before must have ended in a branch."""
        self._lines.append(label + ":")
        self._block = label

    @property
    def block(self) -> str:
        """The label of the block being filled."""
        return self._block

    @contextmanager
    def loop(self, count: Index, carried: Sequence[tuple[str, str]] = ()) -> Iterator[Loop]:
        """Run the body `count >= 1` times, with `carried` values of (LLVM type, start).

        The body sets `next` to as many values as are carried; after the loop they are the last iteration's.
        """
        if count == 1:
            yield Loop(0, [start for _, start in carried])
            return
        number = self.name()
        body, done, before = f"loop{number}", f"done{number}", self._block
        index, after = f"%i{number}", f"%n{number}"
        names = [f"%c{number}.{i}" for i in range(len(carried))]
        self.do(f"br label %{body}")
        self.label(body)
        phis = len(self._lines)
        loop = Loop(index, names)
        yield loop
        if len(loop.next) != len(carried):
            raise AssertionError(
                f"loop{number} carries {len(carried)} values, its body left {len(loop.next)}"
            )
        self.do(f"{after} = add nuw nsw i64 {index}, 1")
        test = self.let(f"icmp ult i64 {after}, {count}")
        self.do(f"br i1 {test}, label %{body}, label %{done}")
        head = [f"  {index} = phi i64 [ 0, %{before} ], [ {after}, %{self._block} ]"]
        for name, (kind, start), value in zip(names, carried, loop.next, strict=True):
            head.append(f"  {name} = phi {kind} [ {start}, %{before} ], [ {value}, %{self._block} ]")
        self._lines[phis:phis] = head
        self.label(done)

    @contextmanager
    def at_least_one(self, count: Index) -> Iterator[None]:
        """Skip the body if `count` is 0."""
        if isinstance(count, int):
            yield
            return
        with self.when(self.let(f"icmp ne i64 {count}, 0")):
            yield

    @contextmanager
    def when(self, condition: str | None) -> Iterator[None]:
        """Skip the body unless `condition` holds; None always does."""
        if condition is None:
            yield
            return
        number = self.name()
        self.do(f"br i1 {condition}, label %then{number}, label %end{number}")
        self.label(f"then{number}")
        yield
        self.do(f"br label %end{number}")
        self.label(f"end{number}")

    @contextmanager
    def choose(self, condition: str, kind: str, otherwise: Sequence[str]) -> Iterator[Choice]:
        """Run the body if `condition` holds; then `values` are what it left in `next`, else `otherwise`."""
        before, number = self._block, self.name()
        self.do(f"br i1 {condition}, label %then{number}, label %end{number}")
        self.label(f"then{number}")
        choice = Choice()
        yield choice
        after = self._block
        self.do(f"br label %end{number}")
        self.label(f"end{number}")
        choice.values = [
            self.let(f"phi {kind} [ {old}, %{before} ], [ {new}, %{after} ]")
            for old, new in zip(otherwise, choice.next, strict=True)
        ]
