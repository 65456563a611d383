"""Sorting rows with the indices of their elements, as a function in LLVM IR (no library call).

Short runs are sorted by insertion, then merged pairwise, in turn into the scratch and into the result. Both
steps are stable. Merging has no branches that depend on the elements, which no processor could predict.
"""

from __future__ import annotations

from typing import NamedTuple

from gradc.codegen.text import llvm_type
from gradc.ir.types import SHORT, Type, round_up

RUN = 16
"""Elements that are sorted by insertion."""


class Sorting(NamedTuple):
    """The function `void symbol(in, values, indices, scratch)`, and how many bytes of scratch it needs."""

    symbol: str
    text: str
    scratch: int


def sorting(type: Type) -> Sorting:
    """What sorts the rows (along the last axis) of arrays of this type; indices are i64, from 0 in a row."""
    n = type.shape[-1]
    rows = type.size // n if n else 0
    t = llvm_type(type.dtype, memory=True)
    symbol = f"sort_{SHORT[type.dtype]}_{rows}x{n}"
    widths = []
    while (width := RUN << len(widths)) < n:
        widths.append(width)
    bytes_of_values = round_up(n * type.dtype.itemsize)
    scratch = bytes_of_values + n * 8 if widths else 0
    parameters = ", ".join(f"ptr noalias %{name}" for name in ("in", "out0", "out1", "scratch"))
    head = f"define internal void @{symbol}({parameters}) #1 {{"
    if not rows:
        return Sorting(symbol, f"{head}\n  ret void\n}}", 0)
    # The last merge writes into the result.
    buffers = [("%values", "%indices"), ("%spare", "%spare_indices")]
    start = len(widths) % 2
    merges, after = [], "insert_end"
    for k, width in enumerate(widths):
        merges.append(_merge(type, width, after, buffers[(start + k) % 2], buffers[(start + k + 1) % 2]))
        after = f"merge{width}_end"
    text = f"""
declare i64 @llvm.umin.i64(i64, i64)
{head}
entry:
  %spare = getelementptr i8, ptr %scratch, i64 0
  %spare_indices = getelementptr i8, ptr %scratch, i64 {bytes_of_values if widths else 0}
  br label %row
row:
  %i = phi i64 [ 0, %entry ], [ %i.next, %row_end ]
  %offset = mul nuw nsw i64 %i, {n}
  %x = getelementptr {t}, ptr %in, i64 %offset
  %values = getelementptr {t}, ptr %out0, i64 %offset
  %indices = getelementptr i64, ptr %out1, i64 %offset
  br label %insert
{_insert(type, *buffers[start])}
{"".join(merges)}
  br label %row_end
row_end:
  %i.next = add nuw nsw i64 %i, 1
  %i.more = icmp ult i64 %i.next, {rows}
  br i1 %i.more, label %row, label %end
end:
  ret void
}}"""
    return Sorting(symbol, text.strip(), scratch)


def _less(type: Type, result: str, a: str, b: str) -> str:
    """`result` = a comes before b: NaN come last."""
    t = llvm_type(type.dtype, memory=True)
    if not type.is_float:
        return f"  {result} = icmp {'slt' if type.dtype.kind == 'i' else 'ult'} {t} {a}, {b}"
    return f"""  {result}.smaller = fcmp olt {t} {a}, {b}
  {result}.number = fcmp ord {t} {a}, {a}
  {result}.nan = fcmp uno {t} {b}, {b}
  {result}.before = and i1 {result}.number, {result}.nan
  {result} = or i1 {result}.smaller, {result}.before"""


def _insert(type: Type, values: str, indices: str) -> str:
    """Read the row in runs of RUN elements, each put in its place among those before it."""
    t = llvm_type(type.dtype, memory=True)
    n, align = type.shape[-1], type.dtype.itemsize
    return f"""insert:
  %k = phi i64 [ 0, %row ], [ %k.next, %put ]
  %k.from = getelementptr {t}, ptr %x, i64 %k
  %v = load {t}, ptr %k.from, align {align}
  %first = and i64 %k, {-RUN}
  br label %shift
shift:
  %j = phi i64 [ %k, %insert ], [ %j.before, %move ]
  %j.any = icmp ugt i64 %j, %first
  br i1 %j.any, label %look, label %put
look:
  %j.before = add nsw i64 %j, -1
  %w.at = getelementptr {t}, ptr {values}, i64 %j.before
  %w = load {t}, ptr %w.at, align {align}
{_less(type, "%v.less", "%v", "%w")}
  br i1 %v.less, label %move, label %put
move:
  %w.to = getelementptr {t}, ptr {values}, i64 %j
  store {t} %w, ptr %w.to, align {align}
  %w.index = getelementptr i64, ptr {indices}, i64 %j.before
  %w.number = load i64, ptr %w.index, align 8
  %w.index.to = getelementptr i64, ptr {indices}, i64 %j
  store i64 %w.number, ptr %w.index.to, align 8
  br label %shift
put:
  %v.to = getelementptr {t}, ptr {values}, i64 %j
  store {t} %v, ptr %v.to, align {align}
  %v.index = getelementptr i64, ptr {indices}, i64 %j
  store i64 %k, ptr %v.index, align 8
  %k.next = add nuw nsw i64 %k, 1
  %k.more = icmp ult i64 %k.next, {n}
  br i1 %k.more, label %insert, label %insert_end
insert_end:"""


def _merge(type: Type, width: int, after: str, source: tuple[str, str], target: tuple[str, str]) -> str:
    """Merge neighbouring runs of `width` elements: at every step the smaller head, the left one at ties."""
    t, n, align = llvm_type(type.dtype, memory=True), type.shape[-1], type.dtype.itemsize
    p, label = f"%m{width}", f"merge{width}"
    return f"""
  br label %{label}
{label}:
  {p}.lo = phi i64 [ 0, %{after} ], [ {p}.hi, %{label}_done ]
  {p}.to_mid = add nuw nsw i64 {p}.lo, {width}
  {p}.mid = call i64 @llvm.umin.i64(i64 {p}.to_mid, i64 {n})
  {p}.to_hi = add nuw nsw i64 {p}.lo, {2 * width}
  {p}.hi = call i64 @llvm.umin.i64(i64 {p}.to_hi, i64 {n})
  br label %{label}_step
{label}_step:
  {p}.k = phi i64 [ {p}.lo, %{label} ], [ {p}.k.next, %{label}_step ]
  {p}.l = phi i64 [ {p}.lo, %{label} ], [ {p}.l.next, %{label}_step ]
  {p}.r = phi i64 [ {p}.mid, %{label} ], [ {p}.r.next, %{label}_step ]
  {p}.l.in = call i64 @llvm.umin.i64(i64 {p}.l, i64 {n - 1})
  {p}.r.in = call i64 @llvm.umin.i64(i64 {p}.r, i64 {n - 1})
  {p}.a.at = getelementptr {t}, ptr {source[0]}, i64 {p}.l.in
  {p}.a = load {t}, ptr {p}.a.at, align {align}
  {p}.b.at = getelementptr {t}, ptr {source[0]}, i64 {p}.r.in
  {p}.b = load {t}, ptr {p}.b.at, align {align}
{_less(type, f"{p}.less", f"{p}.b", f"{p}.a")}
  {p}.r.any = icmp ult i64 {p}.r, {p}.hi
  {p}.l.none = icmp uge i64 {p}.l, {p}.mid
  {p}.wins = and i1 {p}.r.any, {p}.less
  {p}.right = or i1 {p}.l.none, {p}.wins
  {p}.from = select i1 {p}.right, i64 {p}.r.in, i64 {p}.l.in
  {p}.value = select i1 {p}.right, {t} {p}.b, {t} {p}.a
  {p}.index.at = getelementptr i64, ptr {source[1]}, i64 {p}.from
  {p}.index = load i64, ptr {p}.index.at, align 8
  {p}.value.to = getelementptr {t}, ptr {target[0]}, i64 {p}.k
  store {t} {p}.value, ptr {p}.value.to, align {align}
  {p}.index.to = getelementptr i64, ptr {target[1]}, i64 {p}.k
  store i64 {p}.index, ptr {p}.index.to, align 8
  {p}.step = zext i1 {p}.right to i64
  {p}.r.next = add nuw nsw i64 {p}.r, {p}.step
  {p}.rest = xor i64 {p}.step, 1
  {p}.l.next = add nuw nsw i64 {p}.l, {p}.rest
  {p}.k.next = add nuw nsw i64 {p}.k, 1
  {p}.k.more = icmp ult i64 {p}.k.next, {p}.hi
  br i1 {p}.k.more, label %{label}_step, label %{label}_done
{label}_done:
  {p}.more = icmp ult i64 {p}.hi, {n}
  br i1 {p}.more, label %{label}, label %{label}_end
{label}_end:"""
