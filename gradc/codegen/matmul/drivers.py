"""The loops around the micro-kernels: over the batch, blocks of k, blocks of rows, and panels of columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gradc.codegen.matmul.code import Code, Index
from gradc.codegen.matmul.epilogue import FOLLOWING, Epilogue
from gradc.codegen.matmul.kernels import BroadcastKernel, DotKernel, Finish, Walk
from gradc.codegen.matmul.packing import copy_rows, transpose
from gradc.codegen.matmul.plan import BroadcastPlan, DotPlan, Grid, Shape, Split
from gradc.codegen.matmul.vectors import Vectors

CACHE_LINE = 64


PART = "i64 %part"
"""What a function that computes one part of a product is told."""


def entry(symbol: str, *, swapped: bool = False, more: Sequence[str] = ()) -> Code:
    """The function that callers see; `swapped`: they pass B first."""
    operands = ["%b", "%a"] if swapped else ["%a", "%b"]
    return Code(symbol, [*operands, "%c", "%scratch"], more)


Share = tuple[Index, Index]
"""Where a part begins in a row of things, and how many it has."""


def task(symbol: str, scratch: int = 0, *, is_followed: bool = False) -> str:
    """`void @symbol(ptr %table, i64 %part, ptr %context, i64 %thread)`, which calls `@symbol.part`.

    The table has the pointers, behind them those of what follows. Each thread has so many bytes of scratch of
    its own.
    """
    more = ", ptr %following, ptr %context" if is_followed else ""
    lines = [f"define void @{symbol}(ptr %table, i64 %part, ptr %context, i64 %thread) #1 {{", "entry:"]
    for i, pointer in enumerate("abcs"):
        lines += [
            f"  %{pointer}.at = getelementptr ptr, ptr %table, i64 {i}",
            f"  %{pointer} = load ptr, ptr %{pointer}.at, align 8",
        ]
    lines += [
        f"  %by = mul i64 %thread, {scratch}",
        "  %own = getelementptr i8, ptr %s, i64 %by",
        "  %following = getelementptr ptr, ptr %table, i64 4",
        f"  call void @{symbol}.part(ptr %a, ptr %b, ptr %c, ptr %own, i64 %part{more})",
        "  ret void",
        "}",
    ]
    return "\n".join(lines) + "\n"


def shares(code: Code, groups: Sequence[int], totals: Sequence[int]) -> list[Share]:
    """What a part has of several rows of things, each of which is cut into groups."""
    found: list[Share] = []
    left: Index = "%part"
    for count, total in zip(groups, totals, strict=True):
        if count == 1:
            found.append((0, total))
            continue
        found.append(_sized(code, Split(total, count), code.let(f"urem i64 {left}, {count}")))
        left = code.let(f"udiv i64 {left}, {count}")
    return found


@contextmanager
def _batch(code: Code, v: Vectors, s: Shape, share: Share) -> Iterator[tuple[Index, tuple[str, str, str]]]:
    """The number of every item of a share of the batch, and the operands' pointers there."""
    size = v.element.size
    first, count = share
    steps = [
        s.m * s.k * size if s.batch_a else 0,
        s.k * s.n * size if s.batch_b else 0,
        s.m * s.n * size,
    ]
    starts = [
        code.offset(p, code.mul(first, step)) for p, step in zip(("%a", "%b", "%c"), steps, strict=True)
    ]
    with code.loop(count, [("ptr", p) for p in starts]) as items:
        pa, pb, pc = items.values
        yield code.add(first, items.index), (pa, pb, pc)
        items.next = [code.offset(p, step) for p, step in zip(items.values, steps, strict=True)]


@contextmanager
def _parts(code: Code, split: Split) -> Iterator[tuple[Index, Index, Index]]:
    """(number, start, size) of every part of a split."""
    with code.loop(split.count) as parts:
        yield parts.index, *_sized(code, split, parts.index)


def _sized(code: Code, split: Split, number: Index) -> Share:
    """Where part `number` starts, and its size."""
    start = _start(code, split, number)
    if split.extra == 0:
        return start, split.base
    return start, code.sub(_start(code, split, code.add(number, 1)), start)


def _start(code: Code, split: Split, number: Index) -> Index:
    """Where part `number` starts."""
    start = code.mul(number, split.base)
    return code.add(start, code.min(number, split.extra)) if split.extra else start


def pieces(code: Code, total: int, most: int, share: Share) -> list[tuple[int, Index, Index]]:
    """(size, start, count) of the whole pieces of a length, and of what is left, within a share of both."""
    full, rest = divmod(total, most)
    first, count = share
    last = code.add(first, count)
    whole = code.min(last, full)
    found: list[tuple[int, Index, Index]] = []
    if full:
        found.append((most, code.mul(first, most), code.sub(whole, first)))
    if rest:
        found.append((rest, most * full, code.sub(last, whole)))
    return [piece for piece in found if piece[2] != 0]


def heights(code: Code, rows: Split, share: Share) -> list[tuple[int, Index, Index]]:
    """(rows, first row, how many) of the taller and of the other tiles within a share of all tiles."""
    first, count = share
    tall = code.max(0, code.min(count, code.sub(rows.extra, first))) if rows.extra else 0
    row = _start(code, rows, first)
    low = code.add(row, code.mul(tall, rows.base + 1))
    found = [(rows.base + 1, row, tall), (rows.base, low, code.sub(count, tall))]
    return [piece for piece in found if piece[0] and piece[2] != 0]


def _aligned(size: int) -> int:
    return -(-size // CACHE_LINE) * CACHE_LINE


def broadcast_product(
    symbol: str,
    v: Vectors,
    s: Shape,
    plan: BroadcastPlan,
    grid: Grid | None = None,
    epilogue: Epilogue | None = None,
) -> tuple[str, int, bool]:
    """A product whose vectors lie along n, or one part of it, if a grid has several: its text, its bytes of
    scratch, and whether it stores C.

    With an epilogue the function has more parameters: `FOLLOWING`.
    """
    product = _BroadcastProduct(symbol, v, s, plan, grid or Grid(), epilogue)
    product.write()
    return product.code.text(), product.scratch, product.keeps


class _BroadcastProduct:
    """Strides, scratch layout and loops of one product whose vectors lie along n."""

    def __init__(
        self,
        symbol: str,
        v: Vectors,
        s: Shape,
        plan: BroadcastPlan,
        grid: Grid,
        epilogue: Epilogue | None,
    ) -> None:
        more = [*([PART] if grid.count > 1 else []), *(FOLLOWING if epilogue else [])]
        self.code, self.v, self.s, self.plan = entry(symbol, swapped=s.swapped, more=more), v, s, plan
        self.epilogue = epilogue
        size = v.element.size
        self.a = Walk(row=size, step=s.m * size) if s.transpose_a else Walk(row=s.k * size, step=size)
        self.b = Walk(row=s.k * size, step=size) if s.transpose_b else Walk(row=size, step=s.n * size)
        self.c_row = s.n * size
        self.scratch = 0
        if plan.pack_b:
            held = Split(plan.panels(s.n), grid.columns).most if plan.across else 1
            self.scratch = _aligned(held * self.panel_bytes)
        self.result = self.scratch
        if s.transpose_c:
            self.scratch += _aligned(s.m * s.n * size)
        self.tile = self.scratch
        self.keeps = epilogue is None or epilogue.keep or plan.depths.count > 1
        if not self.keeps:
            self.scratch += _aligned(plan.rows.most * self.padded(min(plan.columns, s.n)))
        self.item: Index = 0
        self.last: str | None = None
        self.items, self.tiles, self.panels = shares(
            self.code, grid.groups, (s.batch, plan.rows.count, plan.panels(s.n))
        )

    @property
    def panel_bytes(self) -> int:
        """Bytes of the largest panel of B."""
        return self.padded(min(self.plan.columns, self.s.n)) * self.plan.depths.most

    def padded(self, columns: int) -> int:
        """Bytes in a row of a packed panel."""
        return -(-columns // self.v.lanes) * self.v.bytes

    def write(self) -> None:
        """All of the function."""
        code, s, size = self.code, self.s, self.v.element.size
        with _batch(code, self.v, s, self.items) as (self.item, (pa, pb, pc)):
            target = code.offset("%scratch", self.result) if s.transpose_c else pc
            if self.plan.across:
                self.across(pa, pb, target)
            else:
                self.down(pa, pb, target)
            if s.transpose_c:
                # The columns of this part, of all rows.
                columns = pieces(code, s.n, self.plan.columns, self.panels)
                start = columns[0][1]
                length: Index = 0
                for width, _, count in columns:
                    length = code.add(length, code.mul(count, width))
                source = code.offset(target, code.mul(start, size))
                to = code.offset(pc, code.mul(start, s.m * size))
                transpose(code, self.v, source, to, s.m, length, (self.c_row, s.m * size))

    def across(self, pa: str, pb: str, pc: str) -> None:
        """Rows of tiles one after the other, each over all panels."""
        code, size = self.code, self.v.element.size
        # Columns of each, how many, where in B and in C they begin.
        panels: list[tuple[int, Index, str, Index]] = []
        packed: Index = 0
        for columns, column, count in pieces(code, self.s.n, self.plan.columns, self.panels):
            first = code.offset(pb, code.mul(column, self.b.row))
            if self.plan.pack_b:
                target = code.offset("%scratch", code.mul(packed, self.panel_bytes))
                with code.at_least_one(count), code.loop(count) as each:
                    source = code.offset(first, code.mul(each.index, columns * self.b.row))
                    self.pack(
                        columns, source, code.offset(target, code.mul(each.index, self.panel_bytes)), self.s.k
                    )
                first = target
            panels.append((columns, count, first, column))
            packed = code.add(packed, count)
        for rows, row, count in heights(code, self.plan.rows, self.tiles):
            with code.at_least_one(count), code.loop(count) as below:
                at = code.add(row, code.mul(below.index, rows))
                ra, rc = code.offset(pa, code.mul(at, self.a.row)), code.offset(pc, code.mul(at, self.c_row))
                for columns, across, panel, column in panels:
                    advance = self.panel_bytes if self.plan.pack_b else columns * self.b.row
                    kernel = self.kernel(rows, columns, (0, advance, columns * size))
                    finish = self.finish(rows, columns, (at, column), (0, columns))
                    cc = code.offset(rc, code.mul(column, size))
                    kernel.write(code, self.v, (ra, panel, cc), across, self.s.k, None, finish)

    def down(self, pa: str, pb: str, pc: str) -> None:
        """Panels one after the other, each over all tiles of a block of rows, for every block of k."""
        code, rows, most = self.code, self.plan.rows, self.plan.block_tiles
        first_tile, tiles = self.tiles
        blocks = -(-tiles // most) if isinstance(tiles, int) else None
        if blocks is None:
            blocks = code.let(f"udiv i64 {code.add(tiles, most - 1)}, {most}") if most < rows.count else 1
        with _parts(code, self.plan.depths) as (part, start, steps):
            more = code.let(f"icmp ne i64 {part}, 0") if self.plan.depths.count > 1 else None
            if more and self.epilogue:
                self.last = code.let(f"icmp eq i64 {part}, {self.plan.depths.count - 1}")
            ka = code.offset(pa, code.mul(start, self.a.step))
            kb = code.offset(pb, code.mul(start, self.b.step))
            with code.loop(blocks) as block:
                done = code.mul(block.index, most)
                first = code.add(first_tile, done)
                here = code.min(most, code.sub(tiles, done)) if blocks != 1 else tiles
                tall_and_low = heights(code, rows, (first, here))
                row = _start(code, rows, first)
                ra, rc = (
                    code.offset(ka, code.mul(row, self.a.row)),
                    code.offset(pc, code.mul(row, self.c_row)),
                )
                for columns, column, count in pieces(code, self.s.n, self.plan.columns, self.panels):
                    with code.at_least_one(count), code.loop(count) as across:
                        at = code.add(column, code.mul(across.index, columns))
                        cb = code.offset(kb, code.mul(at, self.b.row))
                        cc = code.offset(rc, code.mul(at, self.v.element.size))
                        self.panel((ra, cb, cc), at, columns, tall_and_low, steps, more)

    def panel(
        self,
        operands: tuple[str, str, str],
        column: Index,
        columns: int,
        tiles: list[tuple[int, Index, Index]],
        steps: Index,
        more: str | None,
    ) -> None:
        """The tiles of one panel, which begins at a column: so many taller ones, so many others."""
        code = self.code
        pa, pb, pc = operands
        if self.plan.pack_b:
            self.pack(columns, pb, "%scratch", steps)
            pb = "%scratch"
        for rows, row, count in tiles:
            down_a, down_c = rows * self.a.row, rows * self.c_row
            finish = self.finish(rows, columns, (row, column), (rows, 0))
            self.kernel(rows, columns, (down_a, 0, down_c)).write(
                code, self.v, (pa, pb, pc), count, steps, more, finish
            )
            pa, pc = code.offset(pa, code.mul(count, down_a)), code.offset(pc, code.mul(count, down_c))

    def kernel(self, rows: int, columns: int, advance: tuple[int, int, int]) -> BroadcastKernel:
        """The micro-kernel of a tile."""
        packed = self.plan.pack_b
        split = self.plan.split(self.v, rows, columns)
        b_step = self.padded(columns) if packed else self.b.step
        return BroadcastKernel(rows, columns, split, self.a, b_step, packed, self.c_row, advance)

    def finish(
        self, rows: int, columns: int, start: tuple[Index, Index], step: tuple[int, int]
    ) -> Finish | None:
        """What follows tiles, the first at row and column `start`, each by `step` further than the last."""
        if self.epilogue is None:
            return None
        code, size = self.code, self.v.element.size
        row_bytes = self.c_row if self.keeps else self.padded(columns)
        function = self.epilogue.symbol(columns, row_bytes // size)

        def call(number: Index, tile: str) -> None:
            row, column = (code.add(at, code.mul(number, by)) for at, by in zip(start, step, strict=True))
            row = code.add(row, code.mul(self.item, self.s.m))
            place = f"i64 {row}, i64 {rows}, i64 {column}"
            code.do(f"call void @{function}(ptr %table, ptr {tile}, {place}, ptr %context)")

        tile = None if self.keeps else code.offset("%scratch", self.tile)
        return Finish(tile, row_bytes, self.last, call)

    def pack(self, columns: int, pb: str, panel: str, steps: Index) -> None:
        """Copy a panel of B."""
        if self.s.transpose_b:
            transpose(self.code, self.v, pb, panel, columns, steps, (self.b.row, self.padded(columns)))
        else:
            copy_rows(self.code, self.v, pb, panel, columns, steps, self.b.step)


def dot_product(
    symbol: str, v: Vectors, s: Shape, plan: DotPlan, grid: Grid | None = None
) -> tuple[str, int, bool]:
    """A product whose vectors lie along k, as above."""
    grid = grid or Grid()
    size = v.element.size
    row_bytes, c_row = s.k * size, s.n * size
    code = entry(symbol, swapped=s.swapped, more=[PART] if grid.count > 1 else [])
    scratch = _aligned(s.n * s.k * size) if plan.pack_b else 0
    units = s.batch, -(-s.m // plan.rows), -(-s.n // plan.columns)
    items, below, beside = shares(code, grid.groups, units)
    with _batch(code, v, s, items) as (_, (pa, pb, pc)):
        if plan.pack_b:
            _gather_columns(code, s, size, pb)
            pb = "%scratch"
        for rows, row, down in pieces(code, s.m, plan.rows, below):
            for columns, column, across in pieces(code, s.n, plan.columns, beside):
                advance = (0, columns * row_bytes, columns * size)
                if plan.flat:
                    advance = (rows * row_bytes, 0, rows * c_row)
                split = plan.split(v, rows, columns, s.k)
                kernel = DotKernel(rows, columns, split, row_bytes, row_bytes, c_row, advance)
                count = 1 if plan.flat else down
                with code.at_least_one(count), code.loop(count) as each:
                    at = code.add(row, code.mul(each.index, rows))
                    ra = code.offset(pa, code.mul(at, row_bytes))
                    rb = code.offset(pb, code.mul(column, row_bytes))
                    rc = code.offset(pc, code.add(code.mul(at, c_row), code.mul(column, size)))
                    kernel.write(code, v, (ra, rb, rc), down if plan.flat else across, s.k)
    return code.text(), scratch, True


def _gather_columns(code: Code, s: Shape, size: int, pb: str) -> None:
    """Copy B [k, n], of few columns, to scratch as [n, k]."""
    kind = f"i{size * 8}"
    with code.loop(s.k) as step:
        source = code.offset(pb, code.mul(step.index, s.n * size))
        target = code.offset("%scratch", code.mul(step.index, size))
        for column in range(s.n):
            value = code.let(f"load {kind}, ptr {code.offset(source, column * size)}, align {size}")
            code.do(f"store {kind} {value}, ptr {code.offset(target, column * s.k * size)}, align {size}")
