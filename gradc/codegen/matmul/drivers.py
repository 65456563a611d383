"""The loops around the micro-kernels: over the batch, blocks of k, blocks of rows, and panels of columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gradc.codegen.matmul.code import Code, Index
from gradc.codegen.matmul.kernels import (
    Walk,
    broadcast_kernel,
    copy_block,
    dot_kernel,
    pack_columns,
    pack_rows,
)
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
        i = parts.index
        start = code.add(code.mul(i, split.base), code.min(i, split.extra))
        following = code.add(code.mul(code.add(i, 1), split.base), code.min(code.add(i, 1), split.extra))
        yield i, start, code.sub(following, start)


def broadcast_product(symbol: str, v: Vectors, s: Shape, plan: BroadcastPlan) -> tuple[str, int]:
    """Text and scratch bytes of a product whose vectors lie along n."""
    size = v.element.size
    c_row = s.n * size
    a = Walk(row=size, step=s.m * size) if s.transpose_a else Walk(row=s.k * size, step=size)
    b = Walk(row=s.k * size, step=size) if s.transpose_b else Walk(row=size, step=s.n * size)
    blocked = plan.depths.count > 1
    panel_bytes = -(-min(plan.columns, s.n) // v.lanes) * v.bytes * plan.depths.most if plan.pack_b else 0
    block_rows = plan.block_tiles * plan.rows.most
    near_a, block_bytes = a, 0
    if plan.pack_a:
        near_a, block_bytes = _block(s, size, block_rows, plan.depths.most)
    panels = [(plan.columns, s.n // plan.columns), (s.n % plan.columns, 1)]
    panels = [(columns, count) for columns, count in panels if columns and count]

    texts: list[str] = []
    if plan.pack_a:
        texts.append(copy_block(f"{symbol}.block", *_copy_strides(s, a, near_a)))
    for columns, _ in panels:
        b_step = -(-columns // v.lanes) * v.bytes if plan.pack_b else b.step
        if plan.pack_b and s.transpose_b:
            texts.append(pack_columns(f"{symbol}.panel{columns}", v, columns, b.row, s.k))
        elif plan.pack_b:
            texts.append(pack_rows(f"{symbol}.panel{columns}", v, columns, b.step))
        for rows, _ in plan.rows.sizes():
            kernel = f"{symbol}.tile{rows}x{columns}"
            tile, depth = plan.tile(v, rows, columns), None if blocked else s.k
            texts.append(broadcast_kernel(kernel, v, tile, near_a, b_step, plan.pack_b, c_row, depth))

    code = entry(symbol, swapped=s.swapped)

    def panel(
        pa: str, pb: str, pc: str, columns: int, steps: Index, more: str, tiles: list[tuple[int, Index]]
    ) -> None:
        """All row tiles of one panel of columns, one size after the other."""
        if plan.pack_b:
            code.call(f"{symbol}.panel{columns}", ("ptr", pb), ("ptr", "%scratch"), ("i64", steps))
            pb = "%scratch"
        for rows, count in tiles:
            if count == 0:
                continue
            kernel = f"{symbol}.tile{rows}x{columns}"
            code.call(
                kernel, ("ptr", pa), ("ptr", pb), ("ptr", pc), ("i64", count), ("i64", steps), ("i1", more)
            )
            pa = code.offset(pa, code.mul(count, rows * near_a.row))
            pc = code.offset(pc, code.mul(count, rows * c_row))

    with _batch(code, v, s) as (pa, pb, pc), _parts(code, plan.depths) as (part, start, steps):
        more = code.let(f"icmp ne i64 {part}, 0") if blocked else "false"
        ka = code.offset(pa, code.mul(start, a.step))
        kb = code.offset(pb, code.mul(start, b.step))
        blocks = -(-plan.rows.count // plan.block_tiles)
        with code.loop(blocks) as block:
            first = code.mul(block.index, plan.block_tiles)
            here = code.min(plan.block_tiles, code.sub(plan.rows.count, first))
            wide = code.max(0, code.min(here, code.sub(plan.rows.extra, first)))
            tiles = [(plan.rows.base + 1, wide), (plan.rows.base, code.sub(here, wide))]
            row = code.add(code.mul(first, plan.rows.base), code.min(first, plan.rows.extra))
            ra = code.offset(ka, code.mul(row, a.row))
            rc = code.offset(pc, code.mul(row, c_row))
            if plan.pack_a:
                height = code.add(code.mul(here, plan.rows.base), wide)
                target = code.offset("%scratch", _aligned(panel_bytes))
                lines, length = (steps, height) if s.transpose_a else (height, steps)
                code.call(
                    f"{symbol}.block",
                    ("ptr", ra),
                    ("ptr", target),
                    ("i64", lines),
                    ("i64", code.mul(length, size)),
                )
                ra = target
            before = 0
            for columns, count in panels:
                with code.loop(count) as across:
                    column = code.add(before, code.mul(across.index, columns))
                    cb = code.offset(kb, code.mul(column, b.row))
                    cc = code.offset(rc, code.mul(column, size))
                    panel(ra, cb, cc, columns, steps, more, tiles)
                before += columns * count
    scratch = _aligned(panel_bytes) + block_bytes
    return "\n".join([code.text(), *texts]), scratch


def _aligned(size: int) -> int:
    return -(-size // CACHE_LINE) * CACHE_LINE


def _block(s: Shape, size: int, rows: int, steps: int) -> tuple[Walk, int]:
    """How a packed block of A lies, and its bytes: rows an odd number of cache lines apart meet in no cache set."""
    lines, length = (steps, rows) if s.transpose_a else (rows, steps)
    stride = (-(-length * size // CACHE_LINE) | 1) * CACHE_LINE
    return Walk(size, stride) if s.transpose_a else Walk(stride, size), lines * stride


def _copy_strides(s: Shape, a: Walk, near: Walk) -> tuple[int, int]:
    return (a.step, near.step) if s.transpose_a else (a.row, near.row)


def dot_product(symbol: str, v: Vectors, s: Shape, plan: DotPlan) -> tuple[str, int]:
    """Text and scratch bytes of a product whose vectors lie along k."""
    size = v.element.size
    a_row = b_row = s.k * size
    c_row = s.n * size
    texts: list[str] = []
    code = entry(symbol, swapped=s.swapped)
    rows = [(plan.rows, s.m // plan.rows), (s.m % plan.rows, 1)]
    columns = [(plan.columns, s.n // plan.columns), (s.n % plan.columns, 1)]
    with _batch(code, v, s) as (pa, pb, pc):
        if plan.pack_b:
            _transpose(code, s, size, pb)
            pb = "%scratch"
        for height, down in rows:
            for width, across in columns:
                if not height * down or not width * across:
                    continue
                kernel = f"{symbol}.dot{height}x{width}"
                tile = plan.tile(v, height, width, s.k)
                to_right = (0, width * b_row, width * size)
                advance = (height * a_row, 0, height * c_row) if plan.flat else to_right
                texts.append(dot_kernel(kernel, v, tile, s.k, a_row, b_row, c_row, advance))
                first_row = plan.rows * (s.m // plan.rows) if height != plan.rows else 0
                first_column = plan.columns * (s.n // plan.columns) if width != plan.columns else 0
                with code.loop(1 if plan.flat else down) as below:
                    row = code.add(first_row, code.mul(below.index, height))
                    ra = code.offset(pa, code.mul(row, a_row))
                    rb = code.offset(pb, first_column * b_row)
                    rc = code.offset(pc, code.add(code.mul(row, c_row), first_column * size))
                    code.call(
                        kernel, ("ptr", ra), ("ptr", rb), ("ptr", rc), ("i64", down if plan.flat else across)
                    )
    scratch = _aligned(s.n * s.k * size) if plan.pack_b else 0
    return "\n".join([code.text(), *texts]), scratch


def _transpose(code: Code, s: Shape, size: int, pb: str) -> None:
    """Copy B [k, n], of few columns, to scratch as [n, k]."""
    kind = f"i{size * 8}"
    with code.loop(s.k) as step:
        source = code.offset(pb, code.mul(step.index, s.n * size))
        target = code.offset("%scratch", code.mul(step.index, size))
        for column in range(s.n):
            value = code.let(f"load {kind}, ptr {code.offset(source, column * size)}, align {size}")
            code.do(f"store {kind} {value}, ptr {code.offset(target, column * s.k * size)}, align {size}")
