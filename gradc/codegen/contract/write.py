"""A planned contraction as LLVM text: copies into panels, the loops, and the register tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod

from gradc.codegen.contract.plan import MOST_STEP, UNROLLED, Label, Plan
from gradc.codegen.matmul.code import Code
from gradc.codegen.matmul.packing import fill_zeros
from gradc.codegen.matmul.plan import chains
from gradc.codegen.matmul.vectors import Vectors
from gradc.ir.types import round_up

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


@contextmanager
def loops(
    code: Code, labels: Sequence[Label], pointers: tuple[str, ...], sides: str, size: int
) -> Iterator[tuple[str, ...]]:
    """Nested loops over labels; the pointers move by the strides of their sides."""
    if not labels:
        yield pointers
        return
    first, *rest = labels
    with code.loop(first.size) as each:
        here = tuple(
            code.offset(p, code.mul(each.index, getattr(first, side) * size))
            for p, side in zip(pointers, sides, strict=True)
        )
        with loops(code, rest, here, sides, size) as inner:
            yield inner


@dataclass
class Writer:
    """Writes one contraction; `v` are vectors of the plan's lanes."""

    code: Code
    v: Vectors
    plan: Plan
    labels: Sequence[Label]
    starts: tuple[int, int]
    scratch: int = 0

    @property
    def size(self) -> int:
        return self.v.element.size

    def write(self) -> None:
        """All of the function."""
        code, size, plan = self.code, self.size, self.plan
        pa, pb = [code.offset(p, at * size) for p, at in zip(("%a", "%b"), self.starts, strict=True)]
        pc = "%c"
        self.panel_step = {"a": 0, "b": 0}
        for side in plan.pack:
            packed = self.pack(side, pa if side == "a" else pb)
            pa, pb = (packed, pb) if side == "a" else (pa, packed)
        moved = plan.scattered
        if moved:
            pc = self.scattered_result()
        if self.plan.blocks:
            elements = prod(label.size for label in self.labels if label.c)
            fill_zeros(code, pc, elements * size if not moved else self.result_bytes)
        plan = self.plan
        with loops(code, (*plan.far, *plan.blocks), (pa, pb, pc), "abc", size) as (qa, qb, qc):
            self.panels(qa, qb, qc)
        if moved:
            self.move_result(pc)

    # -- copies

    def pack(self, side: str, source: str) -> str:
        """Copy an operand so that what a tile's step loads as vectors lies side by side; the plan is changed
        to read the copy."""
        plan, size = self.plan, self.size
        wide = plan.width * plan.lanes
        panels = -(-plan.vector.size // wide)
        mine = [
            label
            for label in (*plan.far, *plan.near, *plan.rows, plan.part, *plan.blocks, *plan.inner)
            if getattr(label, side) and label.size > 1
        ]
        # The sums inside of a tile are innermost, so that a panel is read from its beginning to its end.
        strides: dict[Label, int] = {}
        step = wide
        for label in reversed(mine):
            strides[label] = step
            step *= label.size
        target = self.code.offset("%scratch", self.scratch)
        self.scratch += round_up(panels * step * size)
        moves = [replace(label, c=strides[label]) for label in mine]
        lane_step = getattr(plan.vector, side)
        for panel, (start, chunks) in enumerate(self.columns()):
            for j, count in enumerate(chunks):
                at = self.code.offset(source, (start + j * plan.lanes) * lane_step * size)
                there = self.code.offset(target, (panel * step + j * plan.lanes) * size)
                with loops(self.code, moves, (at, there), side + "c", size) as (p, q):
                    self.v.store(self.code, strided_load(self.code, self.v, p, lane_step, count), q)
        self.panel_step[side] = step

        def moved(label: Label) -> Label:
            return replace(label, **{side: strides.get(label, 0)})

        self.plan = replace(
            plan,
            vector=replace(plan.vector, **{side: 1}),
            part=moved(plan.part),
            **{
                k: tuple(moved(label) for label in getattr(plan, k))
                for k in ("rows", "far", "near", "blocks", "inner")
            },
        )
        return target

    def scattered_result(self) -> str:
        """Room for the result with the vectors' label last; the plan is changed to write there."""
        plan = self.plan
        kept = [
            label for label in (*plan.far, *plan.near, *plan.rows, plan.part) if label.c and label.size > 1
        ]
        wide = round_up(plan.vector.size, plan.lanes)
        strides: dict[int, int] = {}
        step = wide
        for label in reversed(kept):
            strides[label.c] = step
            step *= label.size
        self.moves = [(label.size, strides[label.c], label.c) for label in kept]
        self.moves.append((plan.vector.size, 1, plan.vector.c))
        self.result_bytes = step * self.size
        target = self.code.offset("%scratch", self.scratch)
        self.scratch += round_up(self.result_bytes)

        def moved(label: Label) -> Label:
            return replace(label, c=strides.get(label.c, 0))

        self.plan = replace(
            plan,
            vector=replace(plan.vector, c=1),
            part=moved(plan.part),
            rows=tuple(map(moved, plan.rows)),
            far=tuple(map(moved, plan.far)),
            near=tuple(map(moved, plan.near)),
        )
        return target

    def move_result(self, source: str) -> None:
        """Copy the result to where it belongs, along its last axis."""
        order = sorted(self.moves, key=lambda move: -move[2])
        *outer, (count, near, _) = order
        labels = [Label(n, here, 0, there) for n, here, there in outer]
        lanes = Vectors(self.v.element, min(self.v.lanes, 16), self.v.masked)
        with loops(self.code, labels, (source, "%c"), "ac", self.size) as (p, q):
            whole, rest = divmod(count, lanes.lanes)
            if whole:
                step = Label(whole, lanes.lanes * near, 0, lanes.lanes)
                with loops(self.code, [step], (p, q), "ac", self.size) as (here, there):
                    lanes.store(self.code, strided_load(self.code, lanes, here, near, lanes.lanes), there)
            if rest:
                done = whole * lanes.lanes
                here = self.code.offset(p, done * near * self.size)
                value = strided_load(self.code, lanes, here, near, rest)
                lanes.store(self.code, value, self.code.offset(q, done * self.size), rest)

    # -- loops around tiles

    def columns(self) -> list[tuple[int, list[int]]]:
        """Of every panel, where it starts and how many elements its vectors have."""
        plan, found = self.plan, []
        for start in range(0, plan.vector.size, plan.width * plan.lanes):
            stop = min(start + plan.width * plan.lanes, plan.vector.size)
            found.append((start, [min(plan.lanes, stop - i) for i in range(start, stop, plan.lanes)]))
        return found

    def panels(self, pa: str, pb: str, pc: str) -> None:
        """All panels: equal ones in one loop."""
        columns = self.columns()
        full = sum(chunks == columns[0][1] for _, chunks in columns)
        for first, count in ((0, full), (full, len(columns) - full)):
            if not count:
                continue
            start, chunks = columns[first]
            wide = self.plan.width * self.plan.lanes
            with self.code.loop(count) as each:
                here = []
                for p, side in ((pa, "a"), (pb, "b"), (pc, "c")):
                    packed = self.panel_step.get(side, 0)
                    step = packed or getattr(self.plan.vector, side) * wide
                    base = first * packed if packed else start * getattr(self.plan.vector, side)
                    at = self.code.add(base * self.size, self.code.mul(each.index, step * self.size))
                    here.append(self.code.offset(p, at))
                with loops(self.code, self.plan.near, tuple(here), "abc", self.size) as (qa, qb, qc):
                    self.tiles(qa, qb, qc, chunks)

    def tiles(self, pa: str, pb: str, pc: str, chunks: list[int]) -> None:
        """The tiles of rows: taller ones first."""
        done = 0
        for height, count in self.plan.parts.sizes():
            part = self.plan.part
            step = Label(count, part.a * height, part.b * height, part.c * height)
            here = tuple(
                self.code.offset(p, done * getattr(part, side) * self.size)
                for p, side in zip((pa, pb, pc), "abc", strict=True)
            )
            with loops(self.code, [step], here, "abc", self.size) as (qa, qb, qc):
                Tile(self, self.plan.offsets(height), chunks).write(qa, qb, qc)
            done += height * count


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
