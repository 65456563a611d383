"""A planned contraction as LLVM text: copies into panels, and the loops around the register tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from gradc.codegen.contract.plan import Cut, Label, Plan, cut
from gradc.codegen.contract.tile import Tile, strided_load
from gradc.codegen.matmul.code import Code
from gradc.codegen.matmul.drivers import PART, Share, entry, heights, pieces, shares, task
from gradc.codegen.matmul.packing import fill_zeros
from gradc.codegen.matmul.vectors import Vectors
from gradc.ir.types import round_up


@contextmanager
def loops(
    code: Code,
    labels: Sequence[Label],
    pointers: tuple[str, ...],
    sides: str,
    size: int,
    some: Mapping[Label, Share] | None = None,
) -> Iterator[tuple[str, ...]]:
    """Nested loops over labels, or some of their steps; the pointers move by the strides of their sides."""
    if not labels:
        yield pointers
        return
    first, *rest = labels
    start, count = (some or {}).get(first, (0, first.size))
    with code.loop(count) as each:
        at = code.add(start, each.index)
        here = tuple(
            code.offset(p, code.mul(at, getattr(first, side) * size))
            for p, side in zip(pointers, sides, strict=True)
        )
        with loops(code, rest, here, sides, size, some) as inner:
            yield inner


@dataclass
class Writer:
    """Writes one contraction; `v` are vectors of the plan's lanes."""

    symbol: str
    v: Vectors
    plan: Plan
    labels: Sequence[Label]
    starts: tuple[int, int]
    scratch: int = 0

    @property
    def size(self) -> int:
        return self.v.element.size

    def write(self) -> tuple[Any, ...]:
        """All of the function, or of the task and of what is done before and after it: a `Contraction`."""
        self.code = entry(self.symbol)
        plan = self.plan
        self.bases = {
            "a": ("%a", self.starts[0] * self.size),
            "b": ("%b", self.starts[1] * self.size),
            "c": ("%c", 0),
        }
        self.panel_step = {"a": 0, "b": 0}
        for side in plan.pack:
            self.bases[side] = "%scratch", self.pack(side, self.base(side))
        if plan.scattered:
            self.bases["c"] = "%scratch", self.scattered_result()
        if plan.blocks:
            elements = prod(label.size for label in self.labels if label.c)
            bytes_ = self.result_bytes if plan.scattered else elements * self.size
            fill_zeros(self.code, self.base("c"), bytes_)
        shared = cut(self.plan, self.labels, self.v)
        if shared.count == 1:
            self.parts(shared)
            if plan.scattered:
                self.move_result(self.base("c"))
            return self.code.text(), self.scratch
        texts, before, after = [], None, None
        if plan.pack or plan.blocks:
            before = f"{self.symbol}.before"
            texts.append(self.code.text().replace(self.symbol, before, 1))
        self.code = entry(f"{self.symbol}.part", more=[PART])
        self.parts(shared)
        texts += [self.code.text(), task(self.symbol)]
        if plan.scattered:
            after = f"{self.symbol}.after"
            self.code = entry(after)
            self.move_result(self.base("c"))
            texts.append(self.code.text())
        return "\n".join(texts), self.scratch, shared.count, before, after

    def base(self, side: str) -> str:
        """Where the reading of an operand begins, or the writing of the result."""
        pointer, at = self.bases[side]
        return self.code.offset(pointer, at)

    def parts(self, shared: Cut) -> None:
        """All tiles, or those of one part."""
        plan = self.plan
        wide = plan.width * plan.lanes
        units = [*(label.size for label, _ in shared.loops), -(-plan.vector.size // wide), plan.parts.count]
        groups = [*(n for _, n in shared.loops), shared.panels, shared.tiles]
        *steps, self.some_panels, self.some_tiles = shares(self.code, groups, units)
        self.some = {label: share for (label, _), share in zip(shared.loops, steps, strict=True)}
        pointers = tuple(self.base(side) for side in "abc")
        with loops(self.code, (*plan.far, *plan.blocks), pointers, "abc", self.size, self.some) as (p, q, r):
            self.panels(p, q, r)

    # -- copies

    def pack(self, side: str, source: str) -> int:
        """Copy an operand so that what a tile's step loads as vectors lies side by side; the plan is changed
        to read the copy, which lies this far into scratch."""
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
        begin = self.scratch
        target = self.code.offset("%scratch", begin)
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
        return begin

    def scattered_result(self) -> int:
        """Room in scratch for the result with the vectors' label last; the plan is changed to write there."""
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
        begin = self.scratch
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
        return begin

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
        """All panels of a part: equal ones in one loop."""
        plan, code, size = self.plan, self.code, self.size
        wide = plan.width * plan.lanes
        for width, start, count in pieces(code, plan.vector.size, wide, self.some_panels):
            chunks = [min(plan.lanes, width - i) for i in range(0, width, plan.lanes)]
            number = self.some_panels[0] if width == wide else plan.vector.size // wide
            with code.at_least_one(count), code.loop(count) as each:
                here = []
                for p, side in ((pa, "a"), (pb, "b"), (pc, "c")):
                    stride = getattr(plan.vector, side)
                    if packed := self.panel_step.get(side, 0):
                        at = code.mul(code.add(number, each.index), packed * size)
                    else:
                        at = code.mul(code.add(start, code.mul(each.index, wide)), stride * size)
                    here.append(code.offset(p, at))
                with loops(code, plan.near, tuple(here), "abc", size, self.some) as (qa, qb, qc):
                    self.tiles(qa, qb, qc, chunks)

    def tiles(self, pa: str, pb: str, pc: str, chunks: list[int]) -> None:
        """The tiles of rows: taller ones first."""
        part, code = self.plan.part, self.code
        for height, row, count in heights(code, self.plan.parts, self.some_tiles):
            here = tuple(
                code.offset(p, code.mul(row, getattr(part, side) * self.size))
                for p, side in zip((pa, pb, pc), "abc", strict=True)
            )
            step = Label(1, part.a * height, part.b * height, part.c * height)
            with (
                code.at_least_one(count),
                loops(code, [step], here, "abc", self.size, {step: (0, count)}) as (qa, qb, qc),
            ):
                Tile(self, self.plan.offsets(height), chunks).write(qa, qb, qc)
