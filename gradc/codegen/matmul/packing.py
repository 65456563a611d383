"""The packing of operands: copies of panels and blocks that lie as the micro-kernels read them."""

from __future__ import annotations

from gradc.codegen.matmul.code import Code, Index
from gradc.codegen.matmul.vectors import Vectors

CHUNK = 64
"""Bytes moved at a time."""

PARTED = (3, 5, 7)
"""Lengths of rows that are parted better by blends than by a tree of shuffles, if they lie side by side."""


def copy_rows(
    code: Code, v: Vectors, source: str, target: str, columns: int, steps: Index, stride: int
) -> None:
    """Copy `steps` rows of `columns` elements, `stride` bytes apart, padded to whole vectors."""
    chunks = range(0, columns, v.lanes)
    with code.loop(steps, [("ptr", source), ("ptr", target)]) as along:
        here, there = along.values
        for i, start in enumerate(chunks):
            value = v.load(code, code.offset(here, i * v.bytes), min(v.lanes, columns - start))
            v.store(code, value, code.offset(there, i * v.bytes))
            # The next panel's part of this row: rows are too far apart for the machine to fetch them ahead.
            ahead = code.offset(here, (len(chunks) + i) * v.bytes)
            code.do(f"call void @llvm.prefetch.p0(ptr {ahead}, i32 0, i32 2, i32 1)")
        along.next = [code.offset(here, stride), code.offset(there, len(chunks) * v.bytes)]


def transpose(
    code: Code, v: Vectors, source: str, target: str, columns: int, steps: Index, strides: tuple[int, int]
) -> None:
    """Transpose `columns` rows of `steps` elements; `strides`: bytes between rows of source and target.

    The target's rows are padded with zeros to whole vectors if there is room. A number of steps known only
    when the code runs is at least the elements of a lane.
    """
    whole, rest = divmod(columns, v.lanes)
    last = v.lanes if strides[1] >= (whole + 1) * v.bytes else rest
    if whole:
        with code.loop(whole, [("ptr", source), ("ptr", target)]) as groups:
            here, there = groups.values
            _transpose_strip(code, v, here, there, v.lanes, v.lanes, steps, strides)
            groups.next = [code.offset(here, v.lanes * strides[0]), code.offset(there, v.bytes)]
    if rest:
        here, there = code.offset(source, whole * v.lanes * strides[0]), code.offset(target, whole * v.bytes)
        _transpose_strip(code, v, here, there, rest, last, steps, strides)


def _transpose_strip(
    code: Code,
    v: Vectors,
    source: str,
    target: str,
    rows: int,
    kept: int,
    steps: Index,
    strides: tuple[int, int],
) -> None:
    """Transpose `rows` rows to `kept` elements each, a lane's elements at a time; the last may overlap."""
    if rows == v.lanes and steps in PARTED and steps < v.lanes and strides[0] == steps * v.element.size:
        for i, column in enumerate(v.parted(code, source, steps)):
            v.store(code, column, code.offset(target, i * strides[1]))
        return
    count = v.per_lane
    turns, final = 1, 0
    if isinstance(steps, int):
        count = min(count, steps)
        turns, final = -(-steps // count), steps - count
    else:
        turns = code.let(f"udiv i64 {code.add(steps, count - 1)}, {count}")
        final = code.sub(steps, count)
    with code.loop(turns) as along:
        at = code.min(code.mul(along.index, count), final)
        here = code.offset(source, code.mul(at, v.element.size))
        there = code.offset(target, code.mul(at, strides[1]))
        pointers = [code.offset(here, row * strides[0]) for row in range(rows)]
        for i, column in enumerate(v.transposed(code, pointers, count)):
            v.store(code, column, code.offset(there, i * strides[1]), kept)


def fill_zeros(code: Code, target: str, length: int) -> None:
    """Set bytes to 0.

    By a loop of our own: a call of memset would be the only thing that the code needs from outside.
    """

    def store(at: Index, width: int) -> None:
        code.do(f"store <{width} x i8> zeroinitializer, ptr {code.offset(target, at)}, align 1")

    whole = length // CHUNK
    if whole:
        with code.loop(whole) as along:
            store(code.mul(along.index, CHUNK), CHUNK)
    done, width = whole * CHUNK, CHUNK
    while done < length:
        width //= 2
        if width <= length - done:
            store(done, width)
            done += width
