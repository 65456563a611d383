"""The packing of operands: copies of panels and blocks that lie as the micro-kernels read them."""

from __future__ import annotations

from gradc.codegen.matmul.code import Code
from gradc.codegen.matmul.vectors import Vectors


def pack_rows(symbol: str, v: Vectors, columns: int, b_step: int) -> str:
    """A function (b, panel, steps) that copies rows of `columns` elements, padded to whole vectors."""
    code = Code(symbol, ["ptr noalias %b", "ptr noalias %panel", "i64 %steps"])
    chunks = range(0, columns, v.lanes)
    with code.loop("%steps", [("ptr", "%b"), ("ptr", "%panel")]) as along:
        source, target = along.values
        for i, start in enumerate(chunks):
            value = v.load(code, code.offset(source, i * v.bytes), min(v.lanes, columns - start))
            v.store(code, value, code.offset(target, i * v.bytes))
            # The next panel's part of this row: rows are too far apart for the machine to fetch them ahead.
            ahead = code.offset(source, (len(chunks) + i) * v.bytes)
            code.do(f"call void @llvm.prefetch.p0(ptr {ahead}, i32 0, i32 2, i32 1)")
        along.next = [code.offset(source, b_step), code.offset(target, len(chunks) * v.bytes)]
    return code.text()


def transpose_columns(symbol: str, v: Vectors, columns: int, b_row: int, panel_row: int, depth: int) -> str:
    """A function (b, panel, steps) that transposes `columns` rows of `steps` elements to rows of a panel.

    The panel's rows are `panel_row` bytes apart; they are padded with zeros to whole vectors if there is
    room. `steps` is at least the elements of a lane, or else `depth`.
    """
    code = Code(symbol, ["ptr noalias %b", "ptr noalias %panel", "i64 %steps"])
    whole, rest = divmod(columns, v.lanes)
    last = v.lanes if panel_row >= (whole + 1) * v.bytes else rest

    def strip(pb: str, panel: str, rows: int, kept: int) -> None:
        """Transpose `rows` rows, a lane's elements at a time; the last lanes may overlap those before."""
        turns, final = 1, 0
        if depth > v.per_lane:
            turns = code.let(f"udiv i64 {code.add('%steps', v.per_lane - 1)}, {v.per_lane}")
            final = code.sub("%steps", v.per_lane)
        with code.loop(turns) as along:
            at = code.min(code.mul(along.index, v.per_lane), final)
            source = code.offset(pb, code.mul(at, v.element.size))
            target = code.offset(panel, code.mul(at, panel_row))
            pointers = [code.offset(source, row * b_row) for row in range(rows)]
            for i, column in enumerate(v.transposed(code, pointers, depth)):
                v.store(code, column, code.offset(target, i * panel_row), kept)

    if whole:
        with code.loop(whole, [("ptr", "%b"), ("ptr", "%panel")]) as groups:
            pb, panel = groups.values
            strip(pb, panel, v.lanes, v.lanes)
            groups.next = [code.offset(pb, v.lanes * b_row), code.offset(panel, v.bytes)]
    if rest:
        strip(code.offset("%b", whole * v.lanes * b_row), code.offset("%panel", whole * v.bytes), rest, last)
    return code.text()


def copy_block(symbol: str, source_row: int, target_row: int) -> str:
    """A function (source, target, rows, bytes) that copies rows of `bytes` bytes between two strides."""
    code = Code(symbol, ["ptr noalias %source", "ptr noalias %target", "i64 %rows", "i64 %bytes"])
    with code.loop("%rows", [("ptr", "%source"), ("ptr", "%target")]) as rows:
        source, target = rows.values
        code.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 %bytes, i1 false)")
        rows.next = [code.offset(source, source_row), code.offset(target, target_row)]
    return code.text()
