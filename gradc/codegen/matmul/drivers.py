"""The loops around the micro-kernels: over the batch, blocks of k, blocks of rows, and panels of columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gradc.codegen.matmul.code import Code, Index
from gradc.codegen.matmul.kernels import BroadcastKernel, DotKernel, Walk
from gradc.codegen.matmul.packing import copy_block, copy_rows, transpose
from gradc.codegen.matmul.plan import BroadcastPlan, DotPlan, Shape, Split
from gradc.codegen.matmul.vectors import Vectors

CACHE_LINE = 64


def entry(symbol: str, *, swapped: bool = False) -> Code:
    """The function that callers see; `swapped`: they pass B first."""
    operands = ["%b", "%a"] if swapped else ["%a", "%b"]
    return Code(symbol, [*operands, "%c", "%scratch"])


@contextmanager
def _batch(code: Code, v: Vectors, s: Shape) -> Iterator[tuple[str, str, str]]:
    """The operands' pointers, for every item of the batch."""
    size = v.element.size
    with code.loop(s.batch, [("ptr", "%a"), ("ptr", "%b"), ("ptr", "%c")]) as items:
        pa, pb, pc = items.values
        yield pa, pb, pc
        items.next = [
            code.offset(pa, s.m * s.k * size if s.batch_a else 0),
            code.offset(pb, s.k * s.n * size if s.batch_b else 0),
            code.offset(pc, s.m * s.n * size),
        ]


@contextmanager
def _parts(code: Code, split: Split) -> Iterator[tuple[Index, Index, Index]]:
    """(number, start, size) of every part of a split."""
    with code.loop(split.count) as parts:
        start = _start(code, split, parts.index)
        if split.extra == 0:
            yield parts.index, start, split.base
        else:
            yield parts.index, start, code.sub(_start(code, split, code.add(parts.index, 1)), start)


def _start(code: Code, split: Split, number: Index) -> Index:
    """Where part `number` starts."""
    start = code.mul(number, split.base)
    return code.add(start, code.min(number, split.extra)) if split.extra else start


def _aligned(size: int) -> int:
    return -(-size // CACHE_LINE) * CACHE_LINE


def broadcast_product(
    symbol: str, v: Vectors, s: Shape, plan: BroadcastPlan, whole: tuple[int, int] | None = None
) -> tuple[str, int]:
    """Text and scratch bytes of a product whose vectors lie along n.

    `whole` has the rows and columns of the product that this is a part of, if it is one.
    """
    product = _BroadcastProduct(symbol, v, s, plan, whole or (s.m, s.n))
    product.write()
    return product.code.text(), product.scratch


class _BroadcastProduct:
    """Strides, scratch layout and loops of one product whose vectors lie along n."""

    def __init__(
        self, symbol: str, v: Vectors, s: Shape, plan: BroadcastPlan, whole: tuple[int, int]
    ) -> None:
        self.code, self.v, self.s, self.plan = entry(symbol, swapped=s.swapped), v, s, plan
        size = v.element.size
        self.a = Walk(row=size, step=whole[0] * size) if s.transpose_a else Walk(row=s.k * size, step=size)
        self.b = Walk(row=s.k * size, step=size) if s.transpose_b else Walk(row=size, step=whole[1] * size)
        self.c_row = whole[1] * size
        full, edge = divmod(s.n, plan.columns)
        self.panels = [
            (columns, count) for columns, count in ((plan.columns, full), (edge, 1)) if columns * count
        ]
        self.near_a = self.a
        self.scratch = 0
        if plan.pack_b:
            held = sum(count for _, count in self.panels) if plan.across else 1
            self.scratch = _aligned(held * self.panel_bytes)
        self.block = self.scratch
        if plan.pack_a:
            # Rows an odd number of cache lines apart meet in no set of a cache.
            height, depth = plan.block_tiles * plan.rows.most, plan.depths.most
            lines, length = (depth, height) if s.transpose_a else (height, depth)
            stride = (-(-length * size // CACHE_LINE) | 1) * CACHE_LINE
            self.near_a = Walk(size, stride) if s.transpose_a else Walk(stride, size)
            self.scratch += lines * stride
        self.result = self.scratch
        if s.transpose_c:
            self.scratch += _aligned(s.m * s.n * size)

    @property
    def panel_bytes(self) -> int:
        """Bytes of the largest panel of B."""
        return self.padded(min(self.plan.columns, self.s.n)) * self.plan.depths.most

    def padded(self, columns: int) -> int:
        """Bytes in a row of a packed panel."""
        return -(-columns // self.v.lanes) * self.v.bytes

    def write(self) -> None:
        """All of the function."""
        code, s = self.code, self.s
        with _batch(code, self.v, s) as (pa, pb, pc):
            target = code.offset("%scratch", self.result) if s.transpose_c else pc
            if self.plan.across:
                self.across(pa, pb, target)
            else:
                self.down(pa, pb, target)
            if s.transpose_c:
                transpose(code, self.v, target, pc, s.m, s.n, (self.c_row, s.m * self.v.element.size))

    def across(self, pa: str, pb: str, pc: str) -> None:
        """Rows of tiles one after the other, each over all panels."""
        code, size = self.code, self.v.element.size
        panels: list[tuple[int, int, str, int]] = []
        column, packed = 0, 0
        for columns, count in self.panels:
            first = code.offset(pb, column * self.b.row)
            if self.plan.pack_b:
                target = code.offset("%scratch", packed * self.panel_bytes)
                with code.loop(count) as each:
                    source = code.offset(first, code.mul(each.index, columns * self.b.row))
                    self.pack(
                        columns, source, code.offset(target, code.mul(each.index, self.panel_bytes)), self.s.k
                    )
                first = target
            panels.append((columns, count, first, column * size))
            column, packed = column + columns * count, packed + count
        row = 0
        for rows, count in self.plan.rows.sizes():
            with code.loop(count) as below:
                at = code.add(row, code.mul(below.index, rows))
                ra, rc = code.offset(pa, code.mul(at, self.a.row)), code.offset(pc, code.mul(at, self.c_row))
                for columns, tiles, panel, start in panels:
                    advance = self.panel_bytes if self.plan.pack_b else columns * self.b.row
                    kernel = self.kernel(rows, columns, (0, advance, columns * size))
                    kernel.write(code, self.v, (ra, panel, code.offset(rc, start)), tiles, self.s.k, None)
            row += rows * count

    def down(self, pa: str, pb: str, pc: str) -> None:
        """Panels one after the other, each over all tiles of a block of rows, for every block of k."""
        code, rows = self.code, self.plan.rows
        with _parts(code, self.plan.depths) as (part, start, steps):
            more = code.let(f"icmp ne i64 {part}, 0") if self.plan.depths.count > 1 else None
            ka = code.offset(pa, code.mul(start, self.a.step))
            kb = code.offset(pb, code.mul(start, self.b.step))
            with code.loop(-(-rows.count // self.plan.block_tiles)) as block:
                first = code.mul(block.index, self.plan.block_tiles)
                here = code.min(self.plan.block_tiles, code.sub(rows.count, first))
                tall = code.max(0, code.min(here, code.sub(rows.extra, first))) if rows.extra else 0
                row = _start(code, rows, first)
                ra, rc = (
                    code.offset(ka, code.mul(row, self.a.row)),
                    code.offset(pc, code.mul(row, self.c_row)),
                )
                if self.plan.pack_a:
                    ra = self.pack_block(ra, code.add(code.mul(here, rows.base), tall), steps)
                column = 0
                for columns, count in self.panels:
                    with code.loop(count) as across:
                        at = code.add(column, code.mul(across.index, columns))
                        cb = code.offset(kb, code.mul(at, self.b.row))
                        cc = code.offset(rc, code.mul(at, self.v.element.size))
                        self.panel(ra, cb, cc, columns, (tall, code.sub(here, tall)), steps, more)
                    column += columns * count

    def panel(
        self,
        pa: str,
        pb: str,
        pc: str,
        columns: int,
        tiles: tuple[Index, Index],
        steps: Index,
        more: str | None,
    ) -> None:
        """The tiles of one panel: so many taller ones, so many others."""
        code, base = self.code, self.plan.rows.base
        if self.plan.pack_b:
            self.pack(columns, pb, "%scratch", steps)
            pb = "%scratch"
        for rows, count in zip((base + 1, base), tiles, strict=True):
            if count == 0:
                continue
            down_a, down_c = rows * self.near_a.row, rows * self.c_row
            self.kernel(rows, columns, (down_a, 0, down_c)).write(
                code, self.v, (pa, pb, pc), count, steps, more
            )
            pa, pc = code.offset(pa, code.mul(count, down_a)), code.offset(pc, code.mul(count, down_c))

    def kernel(self, rows: int, columns: int, advance: tuple[int, int, int]) -> BroadcastKernel:
        """The micro-kernel of a tile."""
        packed = self.plan.pack_b
        split = self.plan.split(self.v, rows, columns)
        b_step = self.padded(columns) if packed else self.b.step
        return BroadcastKernel(rows, columns, split, self.near_a, b_step, packed, self.c_row, advance)

    def pack(self, columns: int, pb: str, panel: str, steps: Index) -> None:
        """Copy a panel of B."""
        if self.s.transpose_b:
            transpose(self.code, self.v, pb, panel, columns, steps, (self.b.row, self.padded(columns)))
        else:
            copy_rows(self.code, self.v, pb, panel, columns, steps, self.b.step)

    def pack_block(self, pa: str, height: Index, steps: Index) -> str:
        """Copy a block of A, and return where it is."""
        code, size = self.code, self.v.element.size
        target = code.offset("%scratch", self.block)
        if self.s.transpose_a:
            copy_block(code, pa, target, steps, height, size, (self.a.step, self.near_a.step))
        else:
            copy_block(code, pa, target, height, steps, size, (self.a.row, self.near_a.row))
        return target


def dot_product(symbol: str, v: Vectors, s: Shape, plan: DotPlan) -> tuple[str, int]:
    """Text and scratch bytes of a product whose vectors lie along k."""
    size = v.element.size
    row_bytes, c_row = s.k * size, s.n * size
    code = entry(symbol, swapped=s.swapped)
    with _batch(code, v, s) as (pa, pb, pc):
        if plan.pack_b:
            _gather_columns(code, s, size, pb)
            pb = "%scratch"
        for rows, down, row in _pieces(s.m, plan.rows):
            for columns, across, column in _pieces(s.n, plan.columns):
                advance = (0, columns * row_bytes, columns * size)
                if plan.flat:
                    advance = (rows * row_bytes, 0, rows * c_row)
                split = plan.split(v, rows, columns, s.k)
                kernel = DotKernel(rows, columns, split, row_bytes, row_bytes, c_row, advance)
                with code.loop(1 if plan.flat else down) as below:
                    at = code.add(row, code.mul(below.index, rows))
                    ra, rb = code.offset(pa, code.mul(at, row_bytes)), code.offset(pb, column * row_bytes)
                    rc = code.offset(pc, code.add(code.mul(at, c_row), column * size))
                    kernel.write(code, v, (ra, rb, rc), down if plan.flat else across, s.k)
    return code.text(), _aligned(s.n * s.k * size) if plan.pack_b else 0


def _pieces(total: int, most: int) -> list[tuple[int, int, int]]:
    """(size, count, start) of the whole pieces of a length and of what is left."""
    count, rest = divmod(total, most)
    return [piece for piece in ((most, count, 0), (rest, 1, most * count)) if piece[0] and piece[1]]


def _gather_columns(code: Code, s: Shape, size: int, pb: str) -> None:
    """Copy B [k, n], of few columns, to scratch as [n, k]."""
    kind = f"i{size * 8}"
    with code.loop(s.k) as step:
        source = code.offset(pb, code.mul(step.index, s.n * size))
        target = code.offset("%scratch", code.mul(step.index, size))
        for column in range(s.n):
            value = code.let(f"load {kind}, ptr {code.offset(source, column * size)}, align {size}")
            code.do(f"store {kind} {value}, ptr {code.offset(target, column * s.k * size)}, align {size}")
