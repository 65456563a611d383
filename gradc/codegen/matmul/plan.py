"""The choice of tiles, blocks and packing for a product, by a small model of a core's cycles and caches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import gcd

from gradc.codegen.matmul.vectors import MOST_LANES, Vectors

# What is assumed of every core: two vector multiply-adds and two loads a cycle, and caches of usual sizes.
# The sizes were tuned on one machine; elsewhere they may cost a little time, never correctness.

CHAINS = 8
"""Multiply-adds that must be in flight to hide the latency of one (4 cycles, 2 a cycle)."""

L1_BYTES = 12 << 10
"""A panel of B of this size stays in L1 beside the tile's rows of A and C."""

L2_RATE = 20
"""Bytes a cycle that come from L2 while a micro-kernel runs."""

PANEL_BYTES = 160 << 10
"""A packed panel of B, read from L2 for every row of tiles: deep, so that C is added to rarely."""

BLOCK_BYTES = 512 << 10
"""A block of A, read where it lies once for every panel: half of an L2."""

BLOCK_ROWS = 256
"""The rows that it has at least."""

LINE_BYTES = 64
"""A cache's line: what a reading of a few elements brings along."""

NEAR_BYTES = 256 << 10
"""An operand of this size stays in L2."""

FAR_BYTES = 1 << 20
"""An operand larger than this can be worth a copy, if it is read often."""

PAGE_BYTES = 2048
"""Rows this far apart, or a multiple, compete for a few sets of a cache, and each needs a page of its own."""

ALIASED_ROWS = 512
"""Competing rows that a panel read in place can have and still stay in L2."""

STREAMED_ROWS = 64
"""Rows of a page or more that are walked together, a few columns at a time: as many as a TLB holds."""

STREAMED_ALIASED = 8
"""The same for rows that compete: as many as a set of L1 holds."""

STREAMED_VECTORS = 4
"""The columns of them that are walked together, in vectors."""

APART = 1.03
"""The time of tiles of many rows, whose elements of A come from as many places, by that of others."""

APART_ALIASED = 1.1
"""The same for rows that compete."""

ALIASED_WAYS = 12
"""Rows an L1's length apart that a tile can read A from without losing their lines from step to step."""

L1_SPAN = 4096
"""Addresses this far apart share a set of L1."""

FAR_ROW = 3.0
"""Cycles that a row of a tile of C costs where C is not in L1: each is a stream of its own."""

FAR_ALIASED = 8.0
"""The same for rows of a large C that compete for a set of L1."""


@dataclass(frozen=True)
class Shape:
    """One product: sizes, how the operands lie (row-major of the shape written or transposed), and the batch.

    `swapped`: the caller's operands come in the other order. `transpose_c`: C is to be stored as [n, m].
    """

    batch: int
    m: int
    n: int
    k: int
    transpose_a: bool
    transpose_b: bool
    batch_a: bool
    batch_b: bool
    swapped: bool = False
    transpose_c: bool = False


def simplify(s: Shape) -> Shape:
    """An equal product in the form the kernels like.

    Batches that share B become rows, those that share A and are vectors become columns, a matrix-vector
    product becomes a vector-matrix product, and operands for which transposition means nothing are not
    transposed.
    """
    if s.batch == 1:
        s = replace(s, batch_a=False, batch_b=False)
    if 1 in (s.m, s.k):
        s = replace(s, transpose_a=False)
    if 1 in (s.n, s.k):
        s = replace(s, transpose_b=False)
    if s.batch > 1 and s.batch_a and not s.batch_b and not s.transpose_a:
        return simplify(replace(s, batch=1, m=s.batch * s.m))
    if s.n == 1 and s.m > 1:
        return simplify(
            replace(
                s,
                m=1,
                n=s.m,
                transpose_a=False,
                transpose_b=not s.transpose_a,
                batch_a=s.batch_b,
                batch_b=s.batch_a,
                swapped=not s.swapped,
            )
        )
    if s.batch > 1 and s.m == 1 and s.batch_b and not s.batch_a and (s.transpose_b or s.n == 1 or s.k == 1):
        # The rows of all the B's lie one after another, and so do the results.
        return simplify(replace(s, batch=1, n=s.batch * s.n, transpose_b=True))
    return s


@dataclass(frozen=True)
class Split:
    """`total` cut into `count` nearly equal parts: the first `extra` have `base + 1`, the rest `base`."""

    total: int
    count: int

    @property
    def base(self) -> int:
        """The smaller size."""
        return self.total // self.count

    @property
    def extra(self) -> int:
        """How many parts are one larger."""
        return self.total % self.count

    @property
    def most(self) -> int:
        """The largest size."""
        return self.base + (self.extra > 0)

    def sizes(self) -> list[tuple[int, int]]:
        """(size, how many), without those that do not occur."""
        return [(s, n) for s, n in ((self.base + 1, self.extra), (self.base, self.count - self.extra)) if n]


def split_by(total: int, most: int) -> Split:
    """The fewest nearly equal parts of at most `most`."""
    return Split(total, -(-total // most))


@dataclass(frozen=True)
class BroadcastPlan:
    """Vectors along n: row tiles, columns of a full panel, blocks of k and of row tiles, and what is packed.

    Tiles are computed panel by panel, or `across`: row by row of tiles.
    """

    rows: Split
    columns: int
    depths: Split
    block_tiles: int
    pack_b: bool
    across: bool

    def panels(self, n: int) -> int:
        """Panels of a result of so many columns."""
        return -(-n // self.columns)

    def split(self, v: Vectors, rows: int, columns: int) -> int:
        """Sets of sums of a full tile, or one at an edge."""
        return chains(rows * -(-columns // v.lanes), self.depths.total)


@dataclass(frozen=True)
class DotPlan:
    """Vectors along k: tiles of rows of A by rows of B; `flat` tiles are as wide as C."""

    rows: int
    columns: int
    flat: bool
    pack_b: bool

    def panels(self, n: int) -> int:
        """Columns of tiles of a result of so many columns."""
        return -(-n // self.columns)

    def split(self, v: Vectors, rows: int, columns: int, k: int) -> int:
        """Sets of sums of a full tile, or one at an edge."""
        return chains(rows * columns, k // v.lanes)


def chains(cells: int, steps: int) -> int:
    """Sets of sums that keep enough multiply-adds in flight, no more than there are steps."""
    split = 1
    while split * cells < CHAINS and 2 * split <= steps:
        split *= 2
    return split


def registers(vector_bytes: int) -> int:
    """Vector registers of the targets with this width."""
    return 32 if vector_bytes == 64 else 16


def broadcast_cycles(v: Vectors, rows: int, columns: int, k: int, fetched: int = 0) -> float:
    """Cycles of one tile: multiply-adds and loads, or latency, or L2; then stores, and a constant.

    A vector load counts as two, since most rows are not aligned and loads from them split lines. `fetched`:
    bytes of A that come from L2 at every step.
    """
    vectors = -(-columns // v.lanes)
    cells = rows * vectors
    split = chains(cells, k)
    fetched += 0 if k * vectors * v.bytes <= L1_BYTES else vectors * v.bytes
    step = max(cells / 2, (rows + 2 * vectors) / 2, 4 / split, fetched / L2_RATE) + 0.8 / split
    return k * step + cells * (1 + split) / 2 + 10


def with_text(cycles: float, lines: int) -> float:
    """Cycles and a charge for the text, which LLVM takes its time for: up to 3% of the work for 100 lines."""
    return cycles + lines * min(cycles / 3000, 60)


def dot_cycles(v: Vectors, rows: int, columns: int, k: int, fetched: int = 0) -> float:
    """Cycles of one tile: as above, and a tree of shuffles for every vector of sums. `fetched`: B."""
    cells = rows * columns
    steps = -(-k // v.lanes)
    split = chains(cells, steps)
    step = max(cells / 2, 1.5 * (rows + columns) / 2, 4 / split, fetched / L2_RATE) + 0.5 / split
    padded = 1 << (columns - 1).bit_length()
    return steps * step + 2 * rows * padded + 10


def lost_lines(rows: int, stride: int) -> int:
    """Lines of A that a tile of so many rows fetches again at every step, since its rows compete for L1.

    A set that has to hold a few lines more than it can loses twice as many, and soon all.
    """
    fit = ALIASED_WAYS * (L1_SPAN // gcd(stride, L1_SPAN))
    return max(0, min(rows, 2 * (rows - fit)))


def broadcast_candidates(v: Vectors, s: Shape, registers: int) -> Iterator[tuple[float, BroadcastPlan]]:
    """Every tile that fits the registers, with its cost."""
    wide, size = -(-s.n // v.lanes), v.element.size
    far = 0.0
    if (s.m * s.k + s.k * s.n + s.m * s.n) * size > L1_BYTES:
        far = FAR_ALIASED if s.n * size % PAGE_BYTES == 0 and s.m * s.n * size > 4 * FAR_BYTES else FAR_ROW
    far_a = not s.transpose_a and s.m * s.k * size > NEAR_BYTES
    apart_a = (APART_ALIASED if s.k * size % PAGE_BYTES == 0 else APART) if far_a else 1.0
    far_columns = s.transpose_a and s.m * s.k * size > L1_BYTES
    competes = s.m * size % PAGE_BYTES == 0  # what does is fetched again and again
    for vectors in range(1, min(wide, 8) + 1):
        most = (registers - 1 - vectors) // vectors if vectors > 1 else registers - 4
        columns = vectors * v.lanes
        full, edge = divmod(s.n, columns)
        for limit in range(1, min(most, s.m) + 1):
            rows = split_by(s.m, limit)
            if rows.most != limit:
                continue
            plan = block(v, s, rows, columns)
            apart = apart_a if limit > STREAMED_ALIASED else 1.0
            cycles = 0.0
            for r, count in rows.sizes():
                fetched = 0
                if not s.transpose_a:
                    fetched = LINE_BYTES * lost_lines(r, s.k * size)
                elif far_columns and not plan.pack_b:
                    fetched = 2 * r * size + 3 * LINE_BYTES if competes else r * size + LINE_BYTES
                cycles += count * full * broadcast_cycles(v, r, columns, s.k, fetched) * apart
                cycles += count * broadcast_cycles(v, r, edge, s.k, fetched) * apart if edge else 0
            if rows.count == 1 and plan.depths.count > 1 and vectors > STREAMED_VECTORS:
                continue
            cycles += far * s.m * -(-wide // vectors) * plan.depths.count
            if plan.pack_b:
                cycles += s.k * wide * (5 if s.transpose_b else 2) + 4
            lines = sum(
                30 + rows * (3 + 4 * -(-width // v.lanes) * plan.split(v, rows, width))
                for rows, _ in plan.rows.sizes()
                for width in ((columns, edge) if full and edge else (edge or columns,))
            )
            yield with_text(cycles, lines), plan


def block(v: Vectors, s: Shape, rows: Split, columns: int) -> BroadcastPlan:
    """Blocks and packing for a tile: what does not stay near is cut up, and copied if read often."""
    size = v.element.size
    a_bytes, b_bytes, c_bytes = (x * y * size for x, y in ((s.m, s.k), (s.k, s.n), (s.m, s.n)))
    a_stride = (s.m if s.transpose_a else s.k) * size
    panel_row = -(-min(columns, s.n) // v.lanes) * v.bytes
    panels = -(-s.n // columns)
    aliased = s.n * size % PAGE_BYTES == 0
    pack_b = s.transpose_b
    if aliased and s.k > STREAMED_ALIASED:
        pack_b |= rows.count >= 16
    if panels > 1 and b_bytes > FAR_BYTES and (aliased or b_bytes > 4 * FAR_BYTES):
        pack_b |= rows.count >= (2 if aliased and s.k > ALIASED_ROWS else 8)
    depths = Split(s.k, 1)
    # A panel that is read once is to stay in L1, and a block of A has to have some rows.
    panel_bytes = PANEL_BYTES if rows.count >= 4 else 2 * L1_BYTES
    deepest = min(panel_bytes // panel_row, BLOCK_BYTES // (size * BLOCK_ROWS))
    if pack_b and s.k > deepest * 5 // 4:
        depths = split_by(s.k, deepest)
    elif not pack_b and (
        # Walks over many pages, a few columns at a time.
        (b_bytes > NEAR_BYTES and s.n * size >= PAGE_BYTES and panels > 1 and rows.count == 1)
        or (a_bytes > NEAR_BYTES and s.transpose_a and a_stride >= PAGE_BYTES and panels == 1)
    ):
        stride = a_stride if panels == 1 else s.n * size
        depths = split_by(s.k, STREAMED_ALIASED if stride % PAGE_BYTES == 0 else STREAMED_ROWS)
    if s.transpose_b and depths.base < v.per_lane:
        depths = Split(s.k, 1)
    block_tiles = rows.count
    if pack_b and a_bytes > NEAR_BYTES:
        block_tiles = min(rows.count, max(1, BLOCK_BYTES // (rows.most * depths.most * size)))
    across = depths.count == 1 and b_bytes <= NEAR_BYTES < c_bytes and panels > 1 and rows.count > 1
    return BroadcastPlan(rows, columns, depths, block_tiles, pack_b, across)


def dot_candidates(v: Vectors, s: Shape, registers: int) -> Iterator[tuple[float, DotPlan]]:
    """Every tile whose operands can be contiguous along k, with its cost."""
    if s.transpose_a or s.k < 2:
        return
    pack_b = not s.transpose_b and s.n > 1
    if pack_b and (s.n >= v.lanes or s.m == 1):
        return
    most = registers // 2 if registers == 32 else registers - 4
    packing = 2.0 * s.k * s.n if pack_b else 0.0
    widths = {min(s.n, width) for width in (v.lanes, max(v.lanes // 2, 1), 4)}
    if s.k * v.element.size >= PAGE_BYTES and s.k * s.n * v.element.size > NEAR_BYTES:
        widths = {min(s.n, 4)}  # more streams than that are not fetched ahead
    for columns in sorted(widths):
        for rows in range(1, min(s.m, most // columns) + 1):
            flat = columns == s.n
            tiles = -(-s.m // rows) * -(-s.n // columns)
            plan = DotPlan(rows, columns, flat, pack_b)
            lines = 30 + 5 * rows * columns * plan.split(v, rows, columns, s.k)
            fetched = columns * v.bytes if s.n * s.k * v.element.size > 2 * L1_BYTES else 0
            yield with_text(tiles * dot_cycles(v, rows, columns, s.k, fetched) + packing, lines), plan


def choose(v: Vectors, s: Shape, vector_bytes: int) -> tuple[Shape, BroadcastPlan | DotPlan]:
    """The plan of least cost for a shape without zeros, and the shape it is for."""
    count = registers(vector_bytes)
    plans = [
        (cost, s, plan) for cost, plan in (*broadcast_candidates(v, s, count), *dot_candidates(v, s, count))
    ]
    if s.transpose_a and s.n <= MOST_LANES:
        # C.T = B.T @ A has vectors along m, and A need not be transposed for it.
        flipped = replace(
            s,
            m=s.n,
            n=s.m,
            transpose_a=not s.transpose_b,
            transpose_b=False,
            batch_a=s.batch_b,
            batch_b=s.batch_a,
            swapped=not s.swapped,
            transpose_c=True,
        )
        stored = 0.3 * v.lanes * s.m
        plans += [(cost + stored, flipped, plan) for cost, plan in broadcast_candidates(v, flipped, count)]
    return min(plans, key=lambda candidate: candidate[0])[1:]


@dataclass(frozen=True)
class Grid:
    """A product in parts: groups of a batch's items, of rows of tiles and of columns of tiles."""

    items: int = 1
    rows: int = 1
    columns: int = 1

    @property
    def groups(self) -> tuple[int, int, int]:
        """All of them."""
        return self.items, self.rows, self.columns

    @property
    def count(self) -> int:
        """How many parts there are."""
        return self.items * self.rows * self.columns


PART_CYCLES = 32 << 10
"""Cycles of multiply-adds that are worth handing to a thread: some microseconds."""

MOST_PARTS = 8
"""Enough for threads that are not equally fast; more would pack more often."""


def grid(
    v: Vectors, s: Shape, plan: BroadcastPlan | DotPlan, effort: int = 0, *, is_summed: bool = False
) -> Grid:
    """How a product is cut for threads: by shapes alone, whole tiles at a time.

    Whole items of a batch, if there are enough; else so that little is packed and read more than once. What
    follows is worth so many multiply-adds for each element (`effort`), and needs all rows if columns are
    summed.
    """
    flops = s.batch * s.m * s.n * (s.k + effort) / (2 * v.lanes)
    bytes_ = (
        s.k * ((s.batch if s.batch_a else 1) * s.m + (s.batch if s.batch_b else 1) * s.n) * v.element.size
    )
    wanted = min(MOST_PARTS, int(max(flops, bytes_ / L2_RATE)) // PART_CYCLES)
    if wanted < 2:
        return Grid()
    items = 1 if is_summed else min(s.batch, wanted)
    if 2 * items > wanted:
        return Grid(items)
    rows = 1 if is_summed else plan.rows.count if isinstance(plan, BroadcastPlan) else -(-s.m // plan.rows)
    panels = plan.panels(s.n)
    if s.transpose_c:
        rows, panels = 1, max(1, panels // 2)  # the result is transposed part by part: all rows, few columns
    if isinstance(plan, DotPlan) and plan.pack_b:
        panels = 1

    def cost(down: int, across: int) -> float:
        height, width = s.m * -(-rows // down) / rows, s.n * -(-panels // across) / panels
        packing = (8 if s.transpose_b else 4) * width / v.lanes if plan.pack_b else 0.0
        part = height * width / (2 * v.lanes) + packing + (height + width) * v.element.size / L2_RATE
        return part * down * across

    wanted //= items
    choices = [
        (cost(down, across), down, across)
        for down in range(1, min(rows, wanted) + 1)
        for across in range(1, min(panels, wanted // down) + 1)
        if 2 * down * across > min(wanted, rows * panels)
    ]
    _, down, across = min(choices)
    return Grid(items, down, across)
