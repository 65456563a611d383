"""Triangular systems as a function in LLVM IR: substitution, vectors along the columns of the right side.

A panel of columns is as wide as the vectors that fit in registers. For each of its rows, in the order of
substitution, the rows that are solved already are subtracted, then the diagonal divides.
"""

from __future__ import annotations

from gradc.codegen.factor import Routine
from gradc.codegen.text import literal, llvm_type
from gradc.ir.graph import Node
from gradc.ir.types import SHORT

PANEL = 8
"""So many vectors are a panel."""


def triangular_solve(node: Node, vector_bytes: int) -> Routine:
    """The function `void symbol(a, b, x, scratch)` for a node."""
    a, b = node.inputs
    n, columns = b.shape[-2:]
    batch = a.type.with_shape(a.shape[:-2]).size
    lower, transpose, unit = (node.attrs[k] for k in ("lower", "transpose", "unit"))
    letters = f"{'l' if lower else 'u'}{'t' if transpose else 'n'}{'u' if unit else 'n'}"
    shape = "x".join(map(str, b.shape))
    symbol = f"triangular_solve_{SHORT[a.dtype]}_{shape}_{letters}"
    head = (
        f"define internal void @{symbol}(ptr noalias %a, ptr noalias %b, ptr noalias %x, ptr %scratch) #1 {{"
    )
    if not b.type.size:
        return Routine(symbol, f"{head}\n  ret void\n}}", 0)
    lanes = min(vector_bytes // a.dtype.itemsize, 1 << (columns - 1).bit_length())
    t, size = llvm_type(a.dtype), a.dtype.itemsize
    wide = lanes * PANEL
    full, rest = divmod(columns, wide)
    texts, calls = [], []
    if full:
        texts.append(_panel(f"{symbol}.panel", node, lanes, PANEL, lanes))
        calls += [
            "  br label %panel",
            "panel:",
            "  %c = phi i64 [ 0, %matrix ], [ %c.next, %panel ]",
            f"  %b.c = getelementptr {t}, ptr %b.i, i64 %c",
            f"  %x.c = getelementptr {t}, ptr %x.i, i64 %c",
            f"  call void @{symbol}.panel(ptr %a.i, ptr %b.c, ptr %x.c)",
            f"  %c.next = add nuw nsw i64 %c, {wide}",
            f"  %c.more = icmp ult i64 %c.next, {full * wide}",
            "  br i1 %c.more, label %panel, label %rest",
            "rest:",
        ]
    if rest:
        vectors = -(-rest // lanes)
        texts.append(_panel(f"{symbol}.rest", node, lanes, vectors, rest - (vectors - 1) * lanes))
        calls += [
            f"  %b.rest = getelementptr {t}, ptr %b.i, i64 {full * wide}",
            f"  %x.rest = getelementptr {t}, ptr %x.i, i64 {full * wide}",
            f"  call void @{symbol}.rest(ptr %a.i, ptr %b.rest, ptr %x.rest)",
        ]
    steps = {"a": n * n * size, "b": n * columns * size, "x": n * columns * size}
    body = [
        head,
        "entry:",
        "  br label %matrix",
        "matrix:",
        "  %i = phi i64 [ 0, %entry ], [ %i.next, %matrix_end ]",
    ]
    for name, step in steps.items():
        body += [
            f"  %{name}.bytes = mul nuw nsw i64 %i, {step}",
            f"  %{name}.i = getelementptr i8, ptr %{name}, i64 %{name}.bytes",
        ]
    body += [
        *calls,
        "  br label %matrix_end",
        "matrix_end:",
        "  %i.next = add nuw nsw i64 %i, 1",
        f"  %i.more = icmp ult i64 %i.next, {batch}",
        "  br i1 %i.more, label %matrix, label %end",
        "end:",
        "  ret void",
        "}",
    ]
    return Routine(symbol, "\n".join([*texts, *body]), 0)


def _panel(symbol: str, node: Node, lanes: int, vectors: int, active: int) -> str:
    """Some columns of one system; in the last vector `active` lanes count."""
    a, b = node.inputs
    n, columns = b.shape[-2:]
    transpose, unit = node.attrs["transpose"], node.attrs["unit"]
    forward = node.attrs["lower"] != transpose
    t, v, align = llvm_type(a.dtype), llvm_type(a.dtype, lanes), a.dtype.itemsize
    kind = f"f{a.dtype.itemsize * 8}"
    suffix = f"v{lanes}{kind}" if lanes > 1 else kind
    mask = "<" + ", ".join(f"i1 {'true' if i < active else 'false'}" for i in range(lanes)) + ">"
    masked = [i == vectors - 1 and active < lanes for i in range(vectors)]

    def load(result: str, pointer: str, i: int) -> str:
        if not masked[i]:
            return f"  {result} = load {v}, ptr {pointer}, align {align}"
        zero = literal(0.0, a.dtype, lanes)
        call = f"@llvm.masked.load.{suffix}.p0(ptr {pointer}, i32 {align}, <{lanes} x i1> {mask}, {v} {zero})"
        return f"  {result} = call {v} {call}"

    def element(result: str, row: str, column: str) -> list[str]:
        """One number of the matrix, in all lanes."""
        first, second = (column, row) if transpose else (row, column)
        lines = [
            f"  {result}.row = mul nuw nsw i64 {first}, {n}",
            f"  {result}.place = add nuw nsw i64 {result}.row, {second}",
            f"  {result}.at = getelementptr {t}, ptr %a, i64 {result}.place",
        ]
        if lanes == 1:
            return [*lines, f"  {result} = load {t}, ptr {result}.at, align {align}"]
        return [
            *lines,
            f"  {result}.one = load {t}, ptr {result}.at, align {align}",
            f"  {result}.first = insertelement {v} poison, {t} {result}.one, i64 0",
            f"  {result} = shufflevector {v} {result}.first, {v} poison, <{lanes} x i32> zeroinitializer",
        ]

    def row(result: str, number: str, base: str) -> list[str]:
        """Pointers to the vectors of a row."""
        lines = [f"  {result}.offset = mul nuw nsw i64 {number}, {columns}"]
        for i in range(vectors):
            lines += [
                f"  {result}{i}.place = add nuw nsw i64 {result}.offset, {i * lanes}",
                f"  {result}{i} = getelementptr {t}, ptr {base}, i64 {result}{i}.place",
            ]
        return lines

    def place(result: str, count: str) -> str:
        return f"  {result} = " + (f"add i64 {count}, 0" if forward else f"sub i64 {n - 1}, {count}")

    each = range(vectors)
    lines = [
        f"declare {v} @llvm.fma.{suffix}({v}, {v}, {v})",
        *(
            [f"declare {v} @llvm.masked.load.{suffix}.p0(ptr, i32, <{lanes} x i1>, {v})"]
            if any(masked)
            else []
        ),
        *(
            [f"declare void @llvm.masked.store.{suffix}.p0({v}, ptr, i32, <{lanes} x i1>)"]
            if any(masked)
            else []
        ),
        f"define internal void @{symbol}(ptr noalias %a, ptr noalias %b, ptr noalias %x) #1 {{",
        "entry:",
        "  br label %row",
        "row:",
        "  %s = phi i64 [ 0, %entry ], [ %s.next, %solved ]",
        place("%i", "%s"),
        *row("%from", "%i", "%b"),
        *[load(f"%start{i}", f"%from{i}", i) for i in each],
        "  %s.any = icmp ne i64 %s, 0",
        "  br i1 %s.any, label %subtract, label %solved",
        "subtract:",
        "  %r = phi i64 [ 0, %row ], [ %r.next, %subtract ]",
        *[f"  %sum{i} = phi {v} [ %start{i}, %row ], [ %sum{i}.next, %subtract ]" for i in each],
        place("%k", "%r"),
        *element("%factor", "%i", "%k"),
        f"  %minus = fneg {v} %factor",
        *row("%known", "%k", "%x"),
    ]
    for i in each:
        lines += [
            load(f"%x{i}", f"%known{i}", i),
            f"  %sum{i}.next = call {v} @llvm.fma.{suffix}({v} %minus, {v} %x{i}, {v} %sum{i})",
        ]
    lines += [
        "  %r.next = add nuw nsw i64 %r, 1",
        "  %r.more = icmp ult i64 %r.next, %s",
        "  br i1 %r.more, label %subtract, label %solved",
        "solved:",
        *[f"  %total{i} = phi {v} [ %start{i}, %row ], [ %sum{i}.next, %subtract ]" for i in each],
        *row("%to", "%i", "%x"),
    ]
    if not unit:
        lines += element("%diagonal", "%i", "%i")
    for i in each:
        value = f"%total{i}"
        if not unit:
            lines.append(f"  %result{i} = fdiv {v} {value}, %diagonal")
            value = f"%result{i}"
        if masked[i]:
            store = (
                f"@llvm.masked.store.{suffix}.p0({v} {value}, ptr %to{i}, i32 {align}, <{lanes} x i1> {mask})"
            )
            lines.append(f"  call void {store}")
        else:
            lines.append(f"  store {v} {value}, ptr %to{i}, align {align}")
    lines += [
        "  %s.next = add nuw nsw i64 %s, 1",
        f"  %s.more = icmp ult i64 %s.next, {n}",
        "  br i1 %s.more, label %row, label %end",
        "end:",
        "  ret void",
        "}",
    ]
    return "\n".join(lines)
