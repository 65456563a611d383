"""The plan of a contraction: which labels become vectors, rows of a register tile, blocks and loops.

A label is a loop with a stride in both operands and in the result. One label of the result runs along the
lanes of vectors, others make the rows of a register tile, labels without a stride in the result are summed
inside of a tile. So matrix products, convolutions of every layout and depthwise ones differ only in which
operand is repeated in the lanes and which is loaded as a vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from gradc.codegen.matmul.plan import (
    CHAINS,
    MOST_PARTS,
    NEAR_BYTES,
    PAGE_BYTES,
    PANEL_BYTES,
    PART_CYCLES,
    Split,
    split_by,
)
from gradc.codegen.matmul.vectors import Vectors

MOST_STEP = 4
"""Vectors of elements this far apart are loaded as wholes and shuffled; others one element after another."""

UNROLLED = 48
"""Multiply-adds in the body of a loop, about."""

DEEP_BYTES = 128 << 10
"""A panel that a large result is worth: read from L2, so that the result is added to less often."""

L2_BYTES = 768 << 10
"""What is larger than that is read from farther away, again and again."""

REUSE = 4
"""How often an element of an operand is used, at least, for a copy of the operand to pay."""


@dataclass(frozen=True)
class Label:
    """A loop of `size` steps: strides in elements of A, B and the result C, 0 where one does not depend on
    it."""

    size: int
    a: int
    b: int
    c: int

    def split(self, inner: int) -> tuple[Label, Label]:
        """As two loops, the inner one of this size."""
        outer = Label(self.size // inner, self.a * inner, self.b * inner, self.c * inner)
        return outer, replace(self, size=inner)


def merged(labels: Sequence[Label]) -> list[Label]:
    """Loops that continue each other in everything they touch are one loop; those of one step are none."""
    rest = [label for label in labels if label.size != 1]
    i = 0
    while i < len(rest):
        inner = rest[i]
        for outer in rest:
            if outer is not inner and all(
                x == y * inner.size for x, y in ((outer.a, inner.a), (outer.b, inner.b), (outer.c, inner.c))
            ):
                rest = [label for label in rest if label is not outer and label is not inner]
                rest.append(replace(inner, size=inner.size * outer.size))
                i = -1
                break
        i += 1
    return rest


@dataclass(frozen=True)
class Plan:
    """A contraction in its order of loops.

    `far` loops of the result, blocks of the sums (`blocks`), panels of `width` vectors along `vector`, loops
    of the result (`near`), tiles of rows (all of the labels `rows`, and parts of `part`), and in a tile the
    sums `inner`. `pack` names the operands that are copied first, into panels; `scattered`: the result is
    made in scratch, and moved.
    """

    vector: Label
    lanes: int
    width: int
    rows: tuple[Label, ...]
    part: Label
    parts: Split
    far: tuple[Label, ...]
    near: tuple[Label, ...]
    blocks: tuple[Label, ...]
    inner: tuple[Label, ...]
    pack: str
    scattered: bool

    def offsets(self, count: int) -> list[Label]:
        """Where the rows of a tile of `count` steps of `part` lie, as labels of size 1."""
        found = []
        for steps in product(*[range(label.size) for label in self.rows], range(count)):
            at = list(zip((*self.rows, self.part), steps, strict=True))
            strides = [sum(getattr(label, k) * i for label, i in at) for k in "abc"]
            found.append(Label(1, *strides))
        return found


def _stride(label: Label, side: str) -> int:
    return getattr(label, side)


def choose(labels: Sequence[Label], v: Vectors, registers: int) -> Plan:
    """The plan of least cost for labels that are merged, none of which is empty."""
    _, tile = min(candidates(labels, v, registers), key=lambda pair: pair[0])
    return arranged(tile, labels, v)


@dataclass(frozen=True)
class Choice:
    """What is chosen by cost: see `Plan`. `rest` are the labels of the result that are loops around it."""

    vector: Label
    lanes: int
    width: int
    rows: tuple[Label, ...]
    part: Label
    parts: Split
    rest: tuple[Label, ...]
    pack: str
    scattered: bool


def candidates(labels: Sequence[Label], v: Vectors, registers: int) -> Iterator[tuple[float, Choice]]:
    """A tile for every label that can run along the lanes, and every size; with its cost in cycles."""
    kept = [label for label in labels if label.c]
    summed = [label for label in labels if not label.c]
    work = prod(label.size for label in labels)
    for vector in kept or [Label(1, 0, 0, 1)]:
        lanes = min(v.lanes, 1 << (vector.size - 1).bit_length())
        wide = -(-vector.size // lanes)
        others = [label for label in kept if label is not vector]
        pack, once = "", 0.0
        for side in "ab":
            elements = prod(label.size for label in labels if _stride(label, side))
            if _stride(vector, side) in (0, 1):
                continue
            if work >= REUSE * elements and not _expands(labels, side):
                pack += side
                once += 1.5 * elements
            else:
                once += work / vector.size * wide * min(abs(_stride(vector, side)), lanes) / 4
        scattered = vector.c != 1
        if scattered:
            once += 2.0 * prod(label.size for label in kept)
        for width in range(1, min(wide, 6) + 1):
            most = max(1, (registers - 2 - width) // width)
            for rows, part, parts, rest in _row_choices(others, vector, most):
                height = prod(label.size for label in rows) * parts.most
                loads = _loads((*rows, part), summed, vector, width, height)
                tiles = prod(label.size for label in rest) * parts.count * -(-wide // width)
                filled = wide / (-(-wide // width) * width)
                step = max(
                    height * width / 2, loads / 2, 4 * height * width / CHAINS if height * width < 4 else 0
                )
                depth = prod(label.size for label in summed)
                # Rows that lie far apart each need a page of their own.
                apart = max(abs(part.a), abs(part.b)) * v.element.size
                step *= 1 + 0.1 * min(1, apart / PAGE_BYTES)
                cycles = tiles * filled * (depth * (step + 0.5) + 2 * height * width + 10)
                yield cycles + once, Choice(vector, lanes, width, rows, part, parts, rest, pack, scattered)


def _expands(labels: Sequence[Label], side: str) -> bool:
    """Do the readings of an operand overlap, so that a copy would be larger than it?"""
    mine = sorted((abs(_stride(label, side)), label.size) for label in labels if _stride(label, side))
    reach = 1
    for stride, size in mine:
        if stride < reach:
            return True
        reach = stride * (size - 1) + reach
    return False


def _loads(rows: Sequence[Label], summed: Sequence[Label], vector: Label, width: int, height: int) -> float:
    """Loads of one step of a tile. Where rows overlap, one row's vector at one step is another's at the next,
    and loaded once."""
    total = 0.0
    for side in "ab":
        tall: float = height if any(_stride(label, side) for label in rows) else 1
        shared = [
            label.size
            for label in summed
            if _stride(vector, side)
            and label.size <= MOST_STEP + 1
            and any(abs(_stride(label, side)) == abs(_stride(row, side)) > 0 for row in rows)
        ]
        if shared and tall > 1:
            tall = (height + shared[0] - 1) / shared[0]
        total += tall * (width if _stride(vector, side) else 1)
    return total


def _row_choices(
    others: Sequence[Label], vector: Label, most: int
) -> Iterator[tuple[tuple[Label, ...], Label, Split, tuple[Label, ...]]]:
    """Whole labels in a tile, the one of which it has a part, how that is cut, and what is left."""
    nothing = Label(1, 0, 0, 0)
    if not others:
        yield (), nothing, Split(1, 1), ()
    for first in others:
        rest = tuple(label for label in others if label is not first)
        for limit in {most, max(1, most // 2)}:
            yield (), first, split_by(first.size, limit), rest
        if first.size * 2 <= most:
            for second in rest:
                left = tuple(label for label in rest if label is not second)
                yield (first,), second, split_by(second.size, most // first.size), left


def arranged(tile: Choice, labels: Sequence[Label], v: Vectors) -> Plan:
    """The loops around a tile: sums in blocks whose panel stays near, results of a size that stays near."""
    size, vector = v.element.size, tile.vector
    summed = [label for label in labels if not label.c]
    order = sorted(summed, key=lambda label: (-max(abs(label.a), abs(label.b)), -label.size))
    loads = sum(tile.width * tile.lanes if _stride(vector, k) else 1 for k in "ab")
    held = size * prod(label.size for label in labels if label.c)
    most = max(16, (PANEL_BYTES if held <= NEAR_BYTES else DEEP_BYTES) // (loads * size))
    inner: list[Label] = []
    room = most
    blocks: list[Label] = []
    for label in reversed(order):
        if blocks:
            blocks.insert(0, label)
        elif label.size <= room:
            inner.insert(0, label)
            room //= label.size
        else:
            fits = [n for n in range(room, 0, -1) if label.size % n == 0]
            if fits and fits[0] > 1 and 2 * fits[0] >= min(room, 8):
                outer, part_of = label.split(fits[0])
                inner.insert(0, part_of)
                blocks.insert(0, outer)
            elif not inner:  # a prime length: longer than wished
                inner.insert(0, label)
                room = 0
            else:
                blocks.insert(0, label)
    loops = sorted(tile.rest, key=lambda label: -max(abs(label.c), abs(label.a), abs(label.b)))
    # With blocks, the whole result is added to for each; unless some loops go around the blocks, and the
    # panels are read again for each of their steps.
    passes = prod(label.size for label in blocks)
    panels = sum(
        size * prod(label.size for label in labels if _stride(label, k)) for k in "ab" if _stride(vector, k)
    )

    def traffic(count: int) -> int:
        around = prod(label.size for label in loops[:count])
        again = prod(
            label.size
            for label in loops[:count]
            if not any(_stride(label, k) for k in "ab" if _stride(vector, k))
        )
        return (2 * held * passes if held > L2_BYTES * around else 0) + (
            again * panels if panels > L2_BYTES else 0
        )

    count = min(range(len(loops) + 1), key=traffic) if blocks else 0
    far, loops = loops[:count], loops[count:]
    return Plan(
        vector,
        tile.lanes,
        tile.width,
        tile.rows,
        tile.part,
        tile.parts,
        tuple(far),
        tuple(loops),
        tuple(blocks),
        tuple(inner),
        tile.pack,
        tile.scattered,
    )


@dataclass(frozen=True)
class Cut:
    """A contraction in parts: groups of steps of loops of the result, of panels and of tiles of rows.

    The tiles of a loop's groups are whole, so that the parts together sum what one piece would.
    """

    loops: tuple[tuple[Label, int], ...] = ()
    panels: int = 1
    tiles: int = 1

    @property
    def count(self) -> int:
        """How many parts there are."""
        return prod(groups for _, groups in self.loops) * self.panels * self.tiles


def cut(plan: Plan, labels: Sequence[Label], v: Vectors) -> Cut:
    """How a contraction is shared among threads: by shapes alone, the outermost loops first."""
    cycles = prod(label.size for label in labels) / (2 * v.lanes)
    wanted = min(MOST_PARTS, int(cycles) // PART_CYCLES)
    if wanted < 2:
        return Cut()
    wide = plan.width * plan.lanes

    def groups(size: int) -> int:
        """As many as wanted, or so many that the largest is not much larger than the others."""
        nonlocal wanted
        found = min(size, wanted)
        if size < 4 * found:
            found = max((n for n in range(1, found + 1) if size % n == 0), key=lambda n: (2 * n > found, n))
        wanted //= found
        return found

    far = tuple((label, groups(label.size)) for label in plan.far if wanted > 1)
    near = tuple((label, groups(label.size)) for label in plan.near if wanted > 1)
    panels = groups(-(-plan.vector.size // wide))
    return Cut((*far, *near), panels, groups(plan.parts.count))
