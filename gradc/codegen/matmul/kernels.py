"""The micro-kernels: loops over register tiles of the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gradc.codegen.matmul.code import Code
from gradc.codegen.matmul.vectors import Vectors


@dataclass(frozen=True)
class Walk:
    """Strides of one operand in bytes: from row to row of a tile, and from step to step along k."""

    row: int
    step: int


@dataclass(frozen=True)
class BroadcastTile:
    """A tile of `rows` rows by `columns` columns whose vectors lie along the columns.

    Each step along k loads one row of B as vectors and multiplies it with one broadcast element of A per
    row. `split` sets of sums take turns, so that a small tile is not bound by the latency of one
    multiply-add.
    """

    rows: int
    columns: int
    split: int = 1


def broadcast_kernel(
    symbol: str,
    v: Vectors,
    tile: BroadcastTile,
    a: Walk,
    b_step: int,
    b_padded: bool,
    c_row: int,
    advance: tuple[int, int, int],
    depth: int | None,
) -> str:
    """A function (a, b, c, tiles, steps, more): `tiles` tiles, a, b and c moving by `advance` bytes.

    With a `depth`, that many products are summed, and `steps` and `more` are ignored. Without, `steps` are, in
    one set of sums, and added to what C holds if `more`. `b_padded`: B may be read to the end of its last
    vector.
    """
    code = Code(
        symbol, ["ptr noalias %a", "ptr noalias %b", "ptr noalias %c", "i64 %tiles", "i64 %steps", "i1 %more"]
    )
    chunks = [min(v.lanes, tile.columns - start) for start in range(0, tile.columns, v.lanes)]
    cells = [(row, chunk) for row in range(tile.rows) for chunk in range(len(chunks))]
    split = tile.split if depth is not None else 1

    def step(pa: str, pb: str, sums: list[str]) -> list[str]:
        row_b = [
            v.load(code, code.offset(pb, i * v.bytes), None if b_padded else count)
            for i, count in enumerate(chunks)
        ]
        result: list[str] = []
        for row in range(tile.rows):
            x = v.splat(code, code.offset(pa, row * a.row))
            for i, y in enumerate(row_b):
                result.append(v.multiply_add(code, x, y, sums[row * len(chunks) + i]))
        return result

    def turn(pa: str, pb: str, sums: list[list[str]], count: int) -> list[list[str]]:
        """`count` steps, the i-th into the i-th set of sums."""
        new = [step(code.offset(pa, i * a.step), code.offset(pb, i * b_step), sums[i]) for i in range(count)]
        return new + sums[count:]

    def place(pc: str, row: int, chunk: int) -> str:
        return code.offset(pc, row * c_row + chunk * v.bytes)

    with _some(code, "%tiles"), code.loop("%tiles", [("ptr", "%a"), ("ptr", "%b"), ("ptr", "%c")]) as tiles:
        pa, pb, pc = tiles.values
        if depth is None:  # C has left the caches since the last block of k
            for row, chunk in cells:
                code.do(f"call void @llvm.prefetch.p0(ptr {place(pc, row, chunk)}, i32 1, i32 3, i32 1)")
        sums = [["zeroinitializer"] * len(cells) for _ in range(split)]
        turns, rest = ("%steps", 0) if depth is None else divmod(depth, split)
        pointers = [pa, pb]
        if turns != 0:
            carried = [("ptr", p) for p in pointers] + [(v.type, value) for one in sums for value in one]
            with code.loop(turns, carried) as along:
                qa, qb, *values = along.values
                old = [values[i * len(cells) : (i + 1) * len(cells)] for i in range(split)]
                new = turn(qa, qb, old, split)
                pointers = [code.offset(qa, split * a.step), code.offset(qb, split * b_step)]
                along.next = [*pointers, *(value for one in new for value in one)]
            sums = new
        sums = turn(pointers[0], pointers[1], sums, rest)
        while len(sums) > 1:
            sums = [
                [v.add(code, x, y) for x, y in zip(*two, strict=True)]
                for two in zip(sums[::2], sums[1::2], strict=True)
            ]
        results = sums[0]
        if depth is None:
            with code.choose("%more", v.type, results) as more:
                held = [v.load(code, place(pc, row, chunk), chunks[chunk]) for row, chunk in cells]
                more.next = [v.add(code, x, y) for x, y in zip(results, held, strict=True)]
            results = more.values
        for (row, chunk), value in zip(cells, results, strict=True):
            v.store(code, value, place(pc, row, chunk), chunks[chunk])
        tiles.next = [code.offset(p, by) for p, by in zip(tiles.values, advance, strict=True)]
    return code.text()


@contextmanager
def _some(code: Code, count: str) -> Iterator[None]:
    """Run the body unless `count` is 0."""
    with code.when(code.let(f"icmp ne i64 {count}, 0")):
        yield


@dataclass(frozen=True)
class DotTile:
    """A tile of `rows` rows of A by `columns` rows of B whose vectors lie along k; `split` as above."""

    rows: int
    columns: int
    split: int = 1


def dot_kernel(
    symbol: str,
    v: Vectors,
    tile: DotTile,
    depth: int,
    a_row: int,
    b_row: int,
    c_row: int,
    advance: tuple[int, int, int],
) -> str:
    """A function (a, b, c, tiles): `tiles` tiles, a, b and c moving by `advance` bytes.

    Both operands are contiguous along k. Tiles as wide as C are stored as one run of elements.
    """
    code = Code(symbol, ["ptr noalias %a", "ptr noalias %b", "ptr noalias %c", "i64 %tiles"])
    size = v.element.size
    cells = [(row, column) for row in range(tile.rows) for column in range(tile.columns)]

    def step(pa: str, pb: str, sums: list[str], count: int | None) -> list[str]:
        xs = [v.load(code, code.offset(pa, row * a_row), count) for row in range(tile.rows)]
        ys = [v.load(code, code.offset(pb, column * b_row), count) for column in range(tile.columns)]
        return [v.multiply_add(code, xs[r], ys[c], old) for (r, c), old in zip(cells, sums, strict=True)]

    with _some(code, "%tiles"), code.loop("%tiles", [("ptr", "%a"), ("ptr", "%b"), ("ptr", "%c")]) as tiles:
        pa, pb, pc = tiles.values
        sums = [["zeroinitializer"] * len(cells) for _ in range(tile.split)]
        turns, rest = divmod(depth, v.lanes * tile.split)
        if turns:
            carried = [(v.type, value) for one in sums for value in one]
            with code.loop(turns, carried) as along:
                old = [along.values[i * len(cells) : (i + 1) * len(cells)] for i in range(tile.split)]
                at = code.mul(along.index, v.bytes * tile.split)
                qa, qb = code.offset(pa, at), code.offset(pb, at)
                sums = [
                    step(code.offset(qa, i * v.bytes), code.offset(qb, i * v.bytes), one, None)
                    for i, one in enumerate(old)
                ]
                along.next = [value for one in sums for value in one]
        for i, start in enumerate(range(0, rest, v.lanes)):
            at = turns * tile.split * v.bytes + start * size
            sums[i] = step(code.offset(pa, at), code.offset(pb, at), sums[i], min(v.lanes, rest - start))
        while len(sums) > 1:
            sums = [
                [v.add(code, x, y) for x, y in zip(*two, strict=True)]
                for two in zip(sums[::2], sums[1::2], strict=True)
            ]
        runs = [(0, sums[0])]
        if c_row != tile.columns * size:
            runs = [(r * c_row, sums[0][r * tile.columns : (r + 1) * tile.columns]) for r in range(tile.rows)]
        for at, run in runs:
            for i in range(0, len(run), v.lanes):
                v.store_sums(code, run[i : i + v.lanes], code.offset(pc, at + i * size))
        tiles.next = [code.offset(p, by) for p, by in zip(tiles.values, advance, strict=True)]
    return code.text()
