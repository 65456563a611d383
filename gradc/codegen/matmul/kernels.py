"""The micro-kernels: loops over register tiles of the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gradc.codegen.matmul.code import Code, Index
from gradc.codegen.matmul.vectors import Vectors

Operands = tuple[str, str, str]
"""Pointers into A, B and C."""


@dataclass(frozen=True)
class Walk:
    """Strides of one operand in bytes: from row to row of a tile, and from step to step along k."""

    row: int
    step: int


@dataclass(frozen=True)
class Finish:
    """What is done with tiles once they are complete.

    A tile is stored at `tile`, its rows `row_bytes` apart; if `tile` is None, in its place in C. Then `call`
    is told its number and where it lies, only where the condition `last` holds, if there is one.
    """

    tile: str | None
    row_bytes: int
    last: str | None
    call: Callable[[Index, str], None]


@dataclass(frozen=True)
class BroadcastKernel:
    """Tiles of `rows` rows by `columns` columns whose vectors lie along the columns.

    Each step along k loads one row of B as vectors, and multiplies it with one broadcast element of A per
    row. `split` sets of sums take turns, so that a small tile is not bound by the latency of one
    multiply-add. From tile to tile, the operands move by `advance` bytes. `b_padded`: B may be read to the
    end of its last vector.
    """

    rows: int
    columns: int
    split: int
    a: Walk
    b_step: int
    b_padded: bool
    c_row: int
    advance: tuple[int, int, int]

    def write(
        self,
        code: Code,
        v: Vectors,
        operands: Operands,
        tiles: Index,
        steps: Index,
        more: str | None,
        finish: Finish | None = None,
    ) -> None:
        """Append the loop over `tiles` tiles, each a sum of `steps` products.

        With `more`, an i1 value, the sums are in one set, and are added to what C holds if it is true.
        """
        split = 1 if more else self.split
        turns, rest = divmod(steps, split) if isinstance(steps, int) else (steps, 0)
        with _tiles(code, tiles, operands, self.advance) as (number, (pa, pb, pc)):
            if more:  # C has left the caches since the last block of k
                for row, chunk, _ in self._cells(v):
                    place = self._place(code, v, pc, row, chunk)
                    code.do(f"call void @llvm.prefetch.p0(ptr {place}, i32 1, i32 3, i32 1)")
            sums = [["zeroinitializer"] * len(self._cells(v)) for _ in range(split)]
            if turns != 0:
                carried = [("ptr", pa), ("ptr", pb), *((v.type, x) for one in sums for x in one)]
                with code.loop(turns, carried) as along:
                    qa, qb, *values = along.values
                    sums = self._steps(code, v, qa, qb, _sets(values, split), split)
                    pa, pb = code.offset(qa, split * self.a.step), code.offset(qb, split * self.b_step)
                    along.next = [pa, pb, *(x for one in sums for x in one)]
            results = _total(code, v, self._steps(code, v, pa, pb, sums, rest))
            if more:
                with code.choose(more, v.type, results) as held:
                    for (row, chunk, count), x in zip(self._cells(v), results, strict=True):
                        before = v.load(code, self._place(code, v, pc, row, chunk), count)
                        held.next.append(v.add(code, x, before))
                results = held.values
            if finish is not None and finish.tile is not None:
                for (row, chunk, _), x in zip(self._cells(v), results, strict=True):
                    v.store(code, x, code.offset(finish.tile, row * finish.row_bytes + chunk * v.bytes))
                finish.call(number, finish.tile)
                return
            for (row, chunk, count), x in zip(self._cells(v), results, strict=True):
                v.store(code, x, self._place(code, v, pc, row, chunk), count)
            if finish is not None:
                with code.when(finish.last):
                    finish.call(number, pc)

    def _chunks(self, v: Vectors) -> list[int]:
        """The elements in each vector of a row."""
        return [min(v.lanes, self.columns - start) for start in range(0, self.columns, v.lanes)]

    def _cells(self, v: Vectors) -> list[tuple[int, int, int]]:
        """(row, number, elements) of each vector of a tile."""
        return [(row, i, count) for row in range(self.rows) for i, count in enumerate(self._chunks(v))]

    def _place(self, code: Code, v: Vectors, pc: str, row: int, chunk: int) -> str:
        return code.offset(pc, row * self.c_row + chunk * v.bytes)

    def _steps(
        self, code: Code, v: Vectors, pa: str, pb: str, sums: list[list[str]], count: int
    ) -> list[list[str]]:
        """`count` steps, the i-th into the i-th set of sums."""
        new: list[list[str]] = []
        for i, old in enumerate(sums[:count]):
            qa, qb = code.offset(pa, i * self.a.step), code.offset(pb, i * self.b_step)
            ys = [
                v.load(code, code.offset(qb, j * v.bytes), None if self.b_padded else elements)
                for j, elements in enumerate(self._chunks(v))
            ]
            one: list[str] = []
            for row in range(self.rows):
                x = v.splat(code, code.offset(qa, row * self.a.row))
                one += [v.multiply_add(code, x, y, old[row * len(ys) + j]) for j, y in enumerate(ys)]
            new.append(one)
        return new + sums[count:]


@dataclass(frozen=True)
class DotKernel:
    """Tiles of `rows` rows of A by `columns` rows of B whose vectors lie along k.

    `split` and `advance` are as above. Both operands are contiguous along k. Tiles as wide as C are stored as
    one run of elements.
    """

    rows: int
    columns: int
    split: int
    a_row: int
    b_row: int
    c_row: int
    advance: tuple[int, int, int]

    def write(self, code: Code, v: Vectors, operands: Operands, tiles: Index, depth: int) -> None:
        """Append the loop over `tiles` tiles of sums of `depth` products."""
        size = v.element.size
        turns, rest = divmod(depth, v.lanes * self.split)
        with _tiles(code, tiles, operands, self.advance) as (_, (pa, pb, pc)):
            sums = [["zeroinitializer"] * (self.rows * self.columns) for _ in range(self.split)]
            if turns:
                with code.loop(turns, [(v.type, x) for one in sums for x in one]) as along:
                    at = code.mul(along.index, v.bytes * self.split)
                    qa, qb = code.offset(pa, at), code.offset(pb, at)
                    sums = [
                        self._step(
                            code, v, code.offset(qa, i * v.bytes), code.offset(qb, i * v.bytes), old, None
                        )
                        for i, old in enumerate(_sets(along.values, self.split))
                    ]
                    along.next = [x for one in sums for x in one]
            for i, start in enumerate(range(0, rest, v.lanes)):
                at = turns * self.split * v.bytes + start * size
                count = min(v.lanes, rest - start)
                sums[i] = self._step(code, v, code.offset(pa, at), code.offset(pb, at), sums[i], count)
            results = _total(code, v, sums)
            width = len(results) if self.c_row == self.columns * size else self.columns
            for row, first in enumerate(range(0, len(results), width)):
                run = results[first : first + width]
                for i in range(0, len(run), v.lanes):
                    v.store_sums(code, run[i : i + v.lanes], code.offset(pc, row * self.c_row + i * size))

    def _step(
        self, code: Code, v: Vectors, pa: str, pb: str, sums: list[str], count: int | None
    ) -> list[str]:
        """One vector, or `count` elements, of every row."""
        xs = [v.load(code, code.offset(pa, row * self.a_row), count) for row in range(self.rows)]
        ys = [v.load(code, code.offset(pb, column * self.b_row), count) for column in range(self.columns)]
        return [
            v.multiply_add(code, x, y, sums[i * len(ys) + j])
            for i, x in enumerate(xs)
            for j, y in enumerate(ys)
        ]


@contextmanager
def _tiles(
    code: Code, count: Index, operands: Operands, advance: tuple[int, int, int]
) -> Iterator[tuple[Index, Operands]]:
    """The number of every tile and the operands' pointers there; none, if a count known only when the code
    runs is 0."""
    with code.at_least_one(count), code.loop(count, [("ptr", p) for p in operands]) as tiles:
        pa, pb, pc = tiles.values
        yield tiles.index, (pa, pb, pc)
        tiles.next = [code.offset(p, by) for p, by in zip(tiles.values, advance, strict=True)]


def _sets(values: Sequence[str], count: int) -> list[list[str]]:
    """Values cut into `count` sets."""
    size = len(values) // count
    return [list(values[i * size : (i + 1) * size]) for i in range(count)]


def _total(code: Code, v: Vectors, sets: list[list[str]]) -> list[str]:
    """The sum of the sets, in pairs."""
    while len(sets) > 1:
        pairs = zip(sets[::2], sets[1::2], strict=True)
        sets = [[v.add(code, x, y) for x, y in zip(a, b, strict=True)] for a, b in pairs]
    return sets[0]
