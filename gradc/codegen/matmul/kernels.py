"""The micro-kernels: loops over register tiles of the result, and the packing of operands into panels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gradc.codegen.matmul.code import Code, Index
from gradc.codegen.matmul.vectors import Vectors


@dataclass(frozen=True)
class Walk:
    """Strides of one operand in bytes: from row to row of a tile, and from step to step along k."""

    row: int
    step: int


@dataclass(frozen=True)
class BroadcastTile:
    """A tile of `rows` rows by `columns` columns whose vectors lie along the columns.

    Each step along k loads one row of B as vectors and multiplies it with one broadcast element of A per row. `split`
    sets of sums take turns, so that a small tile is not bound by the latency of one multiply-add.
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
    depth: int | None,
) -> str:
    """A function (a, b, c, tiles, steps, more) that computes `tiles` tiles, one below the other, with one panel of B.

    With a `depth`, that many products are summed, and `steps` and `more` are ignored; without, `steps` are, in one
    set of sums, which start from what C holds if `more`. `b_padded`: B may be read to the end of its last vector.
    """
    code = Code(
        symbol, ["ptr noalias %a", "ptr noalias %b", "ptr noalias %c", "i64 %tiles", "i64 %steps", "i1 %more"]
    )
    size = v.element.size
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

    with _some(code, "%tiles"), code.loop("%tiles", [("ptr", "%a"), ("ptr", "%c")]) as rows:
        pa, pc = rows.values
        start = ["zeroinitializer"] * len(cells)
        if depth is None:
            start = _held(code, v, [(lambda r=r, i=i: place(pc, r, i), chunks[i]) for r, i in cells])
        sums = [start] + [["zeroinitializer"] * len(cells) for _ in range(split - 1)]
        turns, rest = ("%steps", 0) if depth is None else divmod(depth, split)
        pointers = [pa, "%b"]
        if turns != 0:
            carried = [("ptr", p) for p in pointers] + [(v.type, value) for one in sums for value in one]
            with code.loop(turns, carried) as along:
                qa, qb, *values = along.values
                old = [values[i * len(cells) : (i + 1) * len(cells)] for i in range(split)]
                new = turn(qa, qb, old, split)
                pointers = [code.offset(qa, split * a.step), code.offset(qb, split * b_step)]
                along.next = [*pointers, *(value for one in new for value in one)]
            sums = new
        sums = turn(*pointers, sums, rest)
        while len(sums) > 1:
            sums = [
                [v.add(code, x, y) for x, y in zip(*two, strict=True)]
                for two in zip(sums[::2], sums[1::2], strict=True)
            ]
        for (row, chunk), value in zip(cells, sums[0], strict=True):
            v.store(code, value, place(pc, row, chunk), chunks[chunk])
        rows.next = [code.offset(pa, tile.rows * a.row), code.offset(pc, tile.rows * c_row)]
    return code.text()


def _held(code: Code, v: Vectors, places: Sequence[tuple[object, int]]) -> list[str]:
    """What memory holds at the places if %more, else zeros."""
    before, number = code.block, code.name()
    code.do(f"br i1 %more, label %held{number}, label %start{number}")
    code.label(f"held{number}")
    held = [v.load(code, address(), count) for address, count in places]  # type: ignore[operator]
    code.do(f"br label %start{number}")
    code.label(f"start{number}")
    return [
        code.let(f"phi {v.type} [ zeroinitializer, %{before} ], [ {value}, %held{number} ]") for value in held
    ]


@contextmanager
def _some(code: Code, count: str) -> Iterator[None]:
    """Run the body unless `count` is 0."""
    with code.when(code.let(f"icmp ne i64 {count}, 0")):
        yield


@dataclass(frozen=True)
class DotTile:
    """A tile of `rows` rows of A by `columns` rows of B whose vectors lie along k; `split` sets of sums take turns."""

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
    """A function (a, b, c, tiles) that computes `tiles` tiles, moving a, b and c by `advance` bytes after each.

    Both operands are contiguous along k. Tiles as wide as C (c_row = columns) are stored as one run of elements.
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


def pack_rows(symbol: str, v: Vectors, columns: int, b_step: int) -> str:
    """A function (b, panel, steps) that copies rows of `columns` elements side by side, padded to whole vectors."""
    code = Code(symbol, ["ptr noalias %b", "ptr noalias %panel", "i64 %steps"])
    chunks = range(0, columns, v.lanes)
    with code.loop("%steps", [("ptr", "%b"), ("ptr", "%panel")]) as along:
        source, target = along.values
        for i, start in enumerate(chunks):
            value = v.load(code, code.offset(source, i * v.bytes), min(v.lanes, columns - start))
            v.store(code, value, code.offset(target, i * v.bytes))
        along.next = [code.offset(source, b_step), code.offset(target, len(chunks) * v.bytes)]
    return code.text()


def pack_columns(symbol: str, v: Vectors, columns: int, b_row: int, depth: int) -> str:
    """A function (b, panel, steps) that transposes `columns` rows of `steps` elements into padded rows of a panel.

    `steps` is at least the lanes of a vector, or else `depth`.
    """
    code = Code(symbol, ["ptr noalias %b", "ptr noalias %panel", "i64 %steps"])
    whole, rest = divmod(columns, v.lanes)
    width = (whole + (rest > 0)) * v.bytes
    count = min(depth, v.lanes)

    def square(pb: str, panel: str, rows: int) -> None:
        """Transpose `rows` rows, `lanes` steps at a time; the last square overlaps the one before."""
        squares, last = (1, 0) if depth <= v.lanes else _squares(code, v)
        with code.loop(squares) as along:
            at = code.min(code.mul(along.index, v.lanes), last)
            source = code.offset(pb, code.mul(at, v.element.size))
            target = code.offset(panel, code.mul(at, width))
            loaded = [v.load(code, code.offset(source, row * b_row), count) for row in range(rows)]
            loaded += ["zeroinitializer"] * (v.lanes - rows)
            for i, column in enumerate(v.transpose(code, loaded)[:count]):
                v.store(code, column, code.offset(target, i * width))

    if whole:
        with code.loop(whole, [("ptr", "%b"), ("ptr", "%panel")]) as groups:
            square(*groups.values, v.lanes)
            pb, panel = groups.values
            groups.next = [code.offset(pb, v.lanes * b_row), code.offset(panel, v.bytes)]
    if rest:
        square(code.offset("%b", whole * v.lanes * b_row), code.offset("%panel", whole * v.bytes), rest)
    return code.text()


def _squares(code: Code, v: Vectors) -> tuple[Index, Index]:
    """How many squares cover %steps, and the first step of the last."""
    rounded = code.add("%steps", v.lanes - 1)
    return code.let(f"udiv i64 {rounded}, {v.lanes}"), code.sub("%steps", v.lanes)


def copy_block(symbol: str, source_row: int, target_row: int) -> str:
    """A function (source, target, rows, bytes) that copies rows of `bytes` bytes between two strides."""
    code = Code(symbol, ["ptr noalias %source", "ptr noalias %target", "i64 %rows", "i64 %bytes"])
    with code.loop("%rows", [("ptr", "%source"), ("ptr", "%target")]) as rows:
        source, target = rows.values
        code.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 %bytes, i1 false)")
        rows.next = [code.offset(source, source_row), code.offset(target, target_row)]
    return code.text()
