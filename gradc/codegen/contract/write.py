"""A planned contraction as LLVM text: copies into panels, and the loops around the register tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod

from gradc.codegen.contract.plan import Label, Plan
from gradc.codegen.contract.tile import Tile, strided_load
from gradc.codegen.matmul.code import Code
from gradc.codegen.matmul.packing import fill_zeros
from gradc.codegen.matmul.vectors import Vectors
from gradc.ir.types import round_up


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
        for first, count, start, chunks in self.columns():
            across = replace(plan.vector, size=count, c=step, **{side: wide * lane_step})
            for j, elements in enumerate(chunks):
                at = self.code.offset(source, (start + j * plan.lanes) * lane_step * size)
                there = self.code.offset(target, (first * step + j * plan.lanes) * size)
                with loops(self.code, [across, *moves], (at, there), side + "c", size) as (p, q):
                    self.v.store(self.code, strided_load(self.code, self.v, p, lane_step, elements), q)
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

    def columns(self) -> list[tuple[int, int, int, list[int]]]:
        """The panels, equal ones together: the number of the first, how many there are, where the first one
        starts, and how many elements the vectors of each have."""
        plan, wide = self.plan, self.plan.width * self.plan.lanes
        full, edge = divmod(plan.vector.size, wide)
        found = [(0, full, 0, [plan.lanes] * plan.width)] if full else []
        if edge:
            chunks = [min(plan.lanes, edge - i) for i in range(0, edge, plan.lanes)]
            found.append((full, 1, full * wide, chunks))
        return found

    def panels(self, pa: str, pb: str, pc: str) -> None:
        """All panels: equal ones in one loop."""
        wide = self.plan.width * self.plan.lanes
        for first, count, start, chunks in self.columns():
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
