"""The register tile of a contraction: rows by vectors, summed over the innermost labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from gradc.codegen.contract.plan import MOST_STEP, UNROLLED, Label
from gradc.codegen.matmul.code import Code
from gradc.codegen.matmul.plan import chains
from gradc.codegen.matmul.vectors import Vectors

if TYPE_CHECKING:
    from gradc.codegen.contract.write import Writer

Sums = list[list[str]]
"""Sets of sums that take turns, each a vector for every cell of a tile."""

Loaded = dict[tuple[str, int, int], str]
"""Vectors at hand, by operand, offset and the elements that were loaded."""


def strided_load(code: Code, v: Vectors, pointer: str, step: int, count: int) -> str:
    """`count` elements, `step` elements apart, in the first lanes of a vector."""
    if step == 1:
        return v.load(code, pointer, count)
    size, kind = v.element.size, v.element.llvm
    if 2 <= step <= MOST_STEP and count == v.lanes and v.lanes >= 4:
        # Whole vectors; the last one ends with the last element that counts.
        starts = [min(i * v.lanes, (v.lanes - 1) * step + 1 - v.lanes) for i in range(step)]
        value, filled = "poison", 0
        for start in starts:
            part = v.load(code, code.offset(pointer, start * size))
            picks, until = list(range(filled)), filled
            while until < v.lanes and until * step < start + v.lanes:
                picks.append(v.lanes + until * step - start)
                until += 1
            picks += [0] * (v.lanes - until)
            listed = ", ".join(f"i32 {i}" for i in picks)
            value = code.let(f"shufflevector {v.type} {value}, {v.type} {part}, <{v.lanes} x i32> <{listed}>")
            filled = until
        return value
    value = "zeroinitializer"
    for i in range(count):
        x = code.let(f"load {kind}, ptr {code.offset(pointer, i * step * size)}, align {size}")
        value = code.let(f"insertelement {v.type} {value}, {kind} {x}, i64 {i}")
    return value


@dataclass
class Tile:
    """A register tile: rows by vectors, and its sums."""

    writer: Writer
    rows: list[Label]
    chunks: list[int]

    def write(self, pa: str, pb: str, pc: str) -> None:
        """Sum over the inner labels, from what the result holds if there are several blocks."""
        w = self.writer
        code, v, size = w.code, w.v, w.size
        cells = [(row, j, n) for row in self.rows for j, n in enumerate(self.chunks)]
        places = [code.offset(pc, (row.c + j * v.lanes) * size) for row, j, _ in cells]
        depth = prod(label.size for label in w.plan.inner)
        sets = chains(len(cells), depth)
        sums = [["zeroinitializer"] * len(cells) for _ in range(sets)]
        if w.plan.blocks:
            sums[0] = [v.load(code, p, n) for p, (_, _, n) in zip(places, cells, strict=True)]
        sums, _ = self.walk(list(w.plan.inner), pa, pb, sums, 0)
        while len(sums) > 1:
            half = len(sums) // 2
            sums = [
                [v.add(code, x, y) for x, y in zip(one, other, strict=True)]
                for one, other in zip(sums[:half], sums[half:], strict=True)
            ]
        for (_, _, n), place, x in zip(cells, places, sums[0], strict=True):
            if x == "zeroinitializer":
                x = code.let(f"select i1 true, {v.type} zeroinitializer, {v.type} zeroinitializer")
            v.store(code, x, place, n)

    def walk(self, labels: list[Label], pa: str, pb: str, sums: Sums, turn: int) -> tuple[Sums, int]:
        """Loops over the labels, the last of them unrolled; `turn` counts the steps in the text."""
        cells = len(sums[0])
        unrolled: list[Label] = []
        while labels and cells * prod(x.size for x in (labels[-1], *unrolled)) <= UNROLLED:
            unrolled.insert(0, labels.pop())
        body = prod(label.size for label in unrolled)
        if not labels:
            return self.steps(unrolled, pa, pb, sums, turn, {}), turn + body
        factor = 1
        while factor * 2 * body * cells <= UNROLLED or (factor * body < len(sums)):
            if factor * 2 > labels[-1].size:
                break
            factor *= 2

        def run(rest: list[Label], pa: str, pb: str, sums: Sums) -> Sums:
            if not rest:
                return self.steps(unrolled, pa, pb, sums, 0, {})
            first, *inner = rest
            if inner:
                return self.loop(first, first.size, pa, pb, sums, lambda p, q, s: run(inner, p, q, s))
            whole, left = divmod(first.size, factor)
            copies = [replace(first, size=factor), *unrolled]
            grown = replace(first, a=first.a * factor, b=first.b * factor)
            sums = self.loop(grown, whole, pa, pb, sums, lambda p, q, s: self.steps(copies, p, q, s, 0, {}))
            if left:
                size = self.writer.size
                pa = self.writer.code.offset(pa, whole * grown.a * size)
                pb = self.writer.code.offset(pb, whole * grown.b * size)
                sums = self.steps([replace(first, size=left), *unrolled], pa, pb, sums, 0, {})
            return sums

        return run(labels, pa, pb, sums), 0

    def loop(
        self,
        label: Label,
        count: int,
        pa: str,
        pb: str,
        sums: Sums,
        body: Callable[[str, str, Sums], Sums],
    ) -> Sums:
        """A loop that carries the pointers and the sums."""
        code, kind, size = self.writer.code, self.writer.v.type, self.writer.size
        cells = len(sums[0])
        carried = [("ptr", pa), ("ptr", pb), *((kind, x) for one in sums for x in one)]
        with code.loop(count, carried) as along:
            qa, qb, *values = along.values
            new = body(qa, qb, [values[i : i + cells] for i in range(0, len(values), cells)])
            after = code.offset(qa, label.a * size), code.offset(qb, label.b * size)
            along.next = [*after, *(x for one in new for x in one)]
        return new

    def steps(self, labels: list[Label], pa: str, pb: str, sums: Sums, turn: int, loaded: Loaded) -> Sums:
        """All steps of these labels, written out. Vectors that several steps read are loaded once."""
        offsets = [(0, 0)]
        for label in labels:
            offsets = [(a + i * label.a, b + i * label.b) for a, b in offsets for i in range(label.size)]
        for i, (a, b) in enumerate(offsets):
            k = (turn + i) % len(sums)
            sums = [self.step(pa, pb, a, b, one, loaded) if j == k else one for j, one in enumerate(sums)]
        return sums

    def step(self, pa: str, pb: str, a: int, b: int, sums: list[str], loaded: Loaded) -> list[str]:
        """One product for every cell."""
        w = self.writer
        code, v, vector = w.code, w.v, w.plan.vector
        new: list[str] = []
        here: Loaded = {}

        def operand(side: str, pointer: str, at: int, j: int, count: int) -> str:
            step = getattr(vector, side)
            at += j * v.lanes * step
            known = loaded if step else here
            count = v.lanes if w.panel_step[side] else count  # a copy is padded to whole vectors
            if (side, at, count) not in known:
                place = code.offset(pointer, at * w.size)
                x = strided_load(code, v, place, step, count) if step else v.splat(code, place)
                known[side, at, count] = x
            return known[side, at, count]

        for r, row in enumerate(self.rows):
            for j, count in enumerate(self.chunks):
                x = operand("a", pa, a + row.a, j, count)
                y = operand("b", pb, b + row.b, j, count)
                new.append(v.multiply_add(code, x, y, sums[r * len(self.chunks) + j]))
        return new
