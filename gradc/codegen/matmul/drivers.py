"""The loops around the micro-kernels: over the batch, blocks of k, blocks of rows, and panels of columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gradc.codegen.matmul.code import Code, Index
from gradc.codegen.matmul.kernels import Walk, broadcast_kernel, dot_kernel
from gradc.codegen.matmul.packing import copy_block, pack_rows, transpose_columns
from gradc.codegen.matmul.plan import BroadcastPlan, DotPlan, Shape, Split
from gradc.codegen.matmul.vectors import Vectors

CACHE_LINE = 64


def entry(symbol: str, *, swapped: bool = False) -> Code:
    """The function that callers see; `swapped`: they pass B first."""
    operands = ["%b", "%a"] if swapped else ["%a", "%b"]
    return Code(symbol, [f"ptr noalias {p}" for p in (*operands, "%c", "%scratch")], internal=False)


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


def broadcast_product(symbol: str, v: Vectors, s: Shape, plan: BroadcastPlan) -> tuple[str, int]:
    """Text and scratch bytes of a product whose vectors lie along n."""
    product = _BroadcastProduct(symbol, v, s, plan)
    return "\n".join([product.entry(), *product.functions()]), product.scratch


class _BroadcastProduct:
    """Strides, scratch layout and the functions of one product whose vectors lie along n."""

    def __init__(self, symbol: str, v: Vectors, s: Shape, plan: BroadcastPlan) -> None:
        self.symbol, self.v, self.s, self.plan = symbol, v, s, plan
        size = v.element.size
        self.a = Walk(row=size, step=s.m * size) if s.transpose_a else Walk(row=s.k * size, step=size)
        self.b = Walk(row=s.k * size, step=size) if s.transpose_b else Walk(row=size, step=s.n * size)
        self.c_row = s.n * size
        full, edge = divmod(s.n, plan.columns)
        self.panels = [
            (columns, count) for columns, count in ((plan.columns, full), (edge, 1)) if columns and count
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

    def kernel(self, rows: int, columns: int) -> str:
        """The name of a micro-kernel."""
        return f"{self.symbol}.tile{rows}x{columns}"

    def functions(self) -> Iterator[str]:
        """The text of every function but the entry."""
        v, s, plan = self.v, self.s, self.plan
        if plan.pack_a and s.transpose_a:
            yield copy_block(f"{self.symbol}.block", self.a.step, self.near_a.step)
        elif plan.pack_a:
            yield copy_block(f"{self.symbol}.block", self.a.row, self.near_a.row)
        for columns, _ in self.panels:
            name = f"{self.symbol}.panel{columns}"
            b_step = self.padded(columns) if plan.pack_b else self.b.step
            if plan.pack_b and s.transpose_b:
                yield transpose_columns(name, v, columns, self.b.row, self.padded(columns), s.k)
            elif plan.pack_b:
                yield pack_rows(name, v, columns, self.b.step)
            for rows, _ in plan.rows.sizes():
                advance = (rows * self.near_a.row, 0, rows * self.c_row)
                if plan.across:
                    advance = (
                        0,
                        self.panel_bytes if plan.pack_b else columns * self.b.row,
                        self.padded(columns),
                    )
                yield broadcast_kernel(
                    self.kernel(rows, columns),
                    v,
                    plan.tile(v, rows, columns),
                    self.near_a,
                    b_step,
                    plan.pack_b,
                    self.c_row,
                    advance,
                    s.k if plan.depths.count == 1 else None,
                )
        if s.transpose_c:
            yield transpose_columns(f"{self.symbol}.result", v, s.m, self.c_row, s.m * v.element.size, s.n)

    def entry(self) -> str:
        """The text of the entry."""
        s = self.s
        code = entry(self.symbol, swapped=s.swapped)
        with _batch(code, self.v, s) as (pa, pb, pc):
            target = code.offset("%scratch", self.result) if s.transpose_c else pc
            if self.plan.across:
                self.across(code, pa, pb, target)
            else:
                self.down(code, pa, pb, target)
            if s.transpose_c:
                code.call(f"{self.symbol}.result", ("ptr", target), ("ptr", pc), ("i64", s.n))
        return code.text()

    def across(self, code: Code, pa: str, pb: str, pc: str) -> None:
        """Rows of tiles one after the other, each over all panels."""
        size = self.v.element.size
        panels: list[tuple[int, int, str, int]] = []
        column, packed = 0, 0
        for columns, count in self.panels:
            first = code.offset(pb, column * self.b.row)
            if self.plan.pack_b:
                target = code.offset("%scratch", packed * self.panel_bytes)
                with code.loop(count) as each:
                    source = code.offset(first, code.mul(each.index, columns * self.b.row))
                    panel = code.offset(target, code.mul(each.index, self.panel_bytes))
                    self.pack(code, columns, source, panel, self.s.k)
                first = target
            panels.append((columns, count, first, column * size))
            column, packed = column + columns * count, packed + count
        row = 0
        for rows, count in self.plan.rows.sizes():
            with code.loop(count) as below:
                at = code.add(row, code.mul(below.index, rows))
                ra, rc = code.offset(pa, code.mul(at, self.a.row)), code.offset(pc, code.mul(at, self.c_row))
                for columns, tiles, panel, start in panels:
                    self.tiles(
                        code, rows, columns, ra, panel, code.offset(rc, start), tiles, self.s.k, "false"
                    )
            row += rows * count

    def down(self, code: Code, pa: str, pb: str, pc: str) -> None:
        """Panels one after the other, each over all tiles of a block of rows, for every block of k."""
        rows, size = self.plan.rows, self.v.element.size
        with _parts(code, self.plan.depths) as (part, start, steps):
            more = code.let(f"icmp ne i64 {part}, 0") if self.plan.depths.count > 1 else "false"
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
                    height = code.add(code.mul(here, rows.base), tall)
                    ra = self.pack_block(code, ra, height, steps)
                column = 0
                for columns, count in self.panels:
                    with code.loop(count) as across:
                        at = code.add(column, code.mul(across.index, columns))
                        cb, cc = (
                            code.offset(kb, code.mul(at, self.b.row)),
                            code.offset(rc, code.mul(at, size)),
                        )
                        if self.plan.pack_b:
                            self.pack(code, columns, cb, "%scratch", steps)
                            cb = "%scratch"
                        da = ra
                        for height, tiles in ((rows.base + 1, tall), (rows.base, code.sub(here, tall))):
                            if tiles == 0:
                                continue
                            self.tiles(code, height, columns, da, cb, cc, tiles, steps, more)
                            da = code.offset(da, code.mul(tiles, height * self.near_a.row))
                            cc = code.offset(cc, code.mul(tiles, height * self.c_row))
                    column += columns * count

    def tiles(
        self,
        code: Code,
        rows: int,
        columns: int,
        pa: str,
        pb: str,
        pc: str,
        tiles: Index,
        steps: Index,
        more: str,
    ) -> None:
        """Call a micro-kernel."""
        operands = [("ptr", pa), ("ptr", pb), ("ptr", pc)]
        code.call(self.kernel(rows, columns), *operands, ("i64", tiles), ("i64", steps), ("i1", more))

    def pack(self, code: Code, columns: int, pb: str, panel: str, steps: Index) -> None:
        """Copy a panel of B."""
        code.call(f"{self.symbol}.panel{columns}", ("ptr", pb), ("ptr", panel), ("i64", steps))

    def pack_block(self, code: Code, pa: str, height: Index, steps: Index) -> str:
        """Copy a block of A, and return where it is."""
        target = code.offset("%scratch", self.block)
        lines, length = (steps, height) if self.s.transpose_a else (height, steps)
        bytes_each = code.mul(length, self.v.element.size)
        code.call(f"{self.symbol}.block", ("ptr", pa), ("ptr", target), ("i64", lines), ("i64", bytes_each))
        return target


def dot_product(symbol: str, v: Vectors, s: Shape, plan: DotPlan) -> tuple[str, int]:
    """Text and scratch bytes of a product whose vectors lie along k."""
    size = v.element.size
    a_row = b_row = s.k * size
    c_row = s.n * size
    texts: list[str] = []
    code = entry(symbol, swapped=s.swapped)
    with _batch(code, v, s) as (pa, pb, pc):
        if plan.pack_b:
            _transpose(code, s, size, pb)
            pb = "%scratch"
        for height, down, row in _pieces(s.m, plan.rows):
            for width, across, column in _pieces(s.n, plan.columns):
                kernel = f"{symbol}.dot{height}x{width}"
                tile = plan.tile(v, height, width, s.k)
                advance = (
                    (height * a_row, 0, height * c_row) if plan.flat else (0, width * b_row, width * size)
                )
                texts.append(dot_kernel(kernel, v, tile, s.k, a_row, b_row, c_row, advance))
                with code.loop(1 if plan.flat else down) as below:
                    at = code.add(row, code.mul(below.index, height))
                    ra, rb = code.offset(pa, code.mul(at, a_row)), code.offset(pb, column * b_row)
                    rc = code.offset(pc, code.add(code.mul(at, c_row), column * size))
                    tiles = down if plan.flat else across
                    code.call(kernel, ("ptr", ra), ("ptr", rb), ("ptr", rc), ("i64", tiles))
    scratch = _aligned(s.n * s.k * size) if plan.pack_b else 0
    return "\n".join([code.text(), *texts]), scratch


def _pieces(total: int, most: int) -> list[tuple[int, int, int]]:
    """(size, count, start) of the whole pieces of a length and of what is left."""
    count, rest = divmod(total, most)
    return [piece for piece in ((most, count, 0), (rest, 1, most * count)) if piece[0] and piece[1]]


def _transpose(code: Code, s: Shape, size: int, pb: str) -> None:
    """Copy B [k, n], of few columns, to scratch as [n, k]."""
    kind = f"i{size * 8}"
    with code.loop(s.k) as step:
        source = code.offset(pb, code.mul(step.index, s.n * size))
        target = code.offset("%scratch", code.mul(step.index, size))
        for column in range(s.n):
            value = code.let(f"load {kind}, ptr {code.offset(source, column * size)}, align {size}")
            code.do(f"store {kind} {value}, ptr {code.offset(target, column * s.k * size)}, align {size}")
