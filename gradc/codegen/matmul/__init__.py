"""Matrix products as LLVM text: static shapes, register tiles, packed panels.

`define` is the interface. A product is simplified and planned (`plan`), and written as loops (`drivers`)
around copies of operands (`packing`) and micro-kernels (`kernels`), which compute register tiles with
explicit vectors (`vectors`). The text is good as it is: LLVM's passes take longer than its code generation
and gain nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradc.codegen.matmul.drivers import broadcast_product, dot_product, entry, task
from gradc.codegen.matmul.packing import fill_zeros
from gradc.codegen.matmul.plan import BroadcastPlan, Shape, choose, grid, simplify
from gradc.codegen.matmul.vectors import vectors

__all__ = ["Product", "Task", "define", "define_parts"]


@dataclass(frozen=True)
class Product:
    """LLVM text of one product, and the bytes of scratch its entry needs (64-byte aligned, if any)."""

    text: str
    scratch: int


def define(
    symbol: str,
    dtype: str,
    batch: int,
    m: int,
    n: int,
    k: int,
    *,
    transpose_a: bool,
    transpose_b: bool,
    batch_a: bool,
    batch_b: bool,
    vector_bytes: int,
) -> Product:
    """Define `void @symbol(ptr noalias %a, ptr noalias %b, ptr noalias %c, ptr noalias %scratch) #1`.

    It computes C = A @ B: A is [batch, m, k] ([batch, k, m] if `transpose_a`), B [batch, k, n] ([batch, n,
    k] if `transpose_b`), C [batch, m, n], all row-major and contiguous, of element type `dtype` (f32, f64,
    i8 to i64, u8 to u64, bool), and aligned to one element. Without `batch_a` all items share one A, without
    `batch_b` one B. Integers wrap around; bool is the or of ands, stored as 0 and 1. Sizes may be 0; sums
    over k = 0 are 0. The order of summation depends on the arguments only. `vector_bytes` is 16, 32 or 64,
    the width of the target's vector registers.

    The text is one function of attribute group #1, which the module must define. It uses no symbols.

    Raises ValueError for an unknown dtype or vector width.
    """
    if vector_bytes not in (16, 32, 64):
        raise ValueError(f"vector_bytes is {vector_bytes}, must be 16, 32 or 64")
    v = vectors(dtype, vector_bytes)
    shape = simplify(Shape(batch, m, n, k, transpose_a, transpose_b, batch_a, batch_b))
    if 0 in (batch, m, n, k):
        code = entry(symbol)
        if size := batch * m * n * v.element.size:
            fill_zeros(code, "%c", size)
        return Product(code.text(), 0)
    shape, plan = choose(v, shape, vector_bytes)
    driver = broadcast_product if isinstance(plan, BroadcastPlan) else dot_product
    return Product(*driver(symbol, v, shape, plan))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Task:
    """A product in parts, as a function of a table of pointers and the number of a part.

    `void @symbol(ptr %table, i64 %part, ptr %context, i64 %thread) #1`: the table has A, B, C and the scratch
    of all threads (`scratch` bytes each).
    """

    text: str
    parts: int
    scratch: int


def define_parts(
    symbol: str,
    dtype: str,
    batch: int,
    m: int,
    n: int,
    k: int,
    *,
    transpose_a: bool,
    transpose_b: bool,
    batch_a: bool,
    batch_b: bool,
    vector_bytes: int,
) -> Task | None:
    """A product as `define` has it, in parts that threads may share; None if it is too small for that."""
    if 0 in (batch, m, n, k):
        return None
    v = vectors(dtype, vector_bytes)
    shape = simplify(Shape(batch, m, n, k, transpose_a, transpose_b, batch_a, batch_b))
    shape, plan = choose(v, shape, vector_bytes)
    cut = grid(v, shape, plan)
    if cut.count == 1:
        return None
    driver = broadcast_product if isinstance(plan, BroadcastPlan) else dot_product
    text, scratch = driver(f"{symbol}.part", v, shape, plan, cut)  # type: ignore[arg-type]
    text = "\n".join([text, task(symbol, scratch)]).replace("define void ", "define internal void ")
    return Task(text, cut.count, scratch)
