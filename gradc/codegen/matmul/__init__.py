"""Matrix products as LLVM text: static shapes, register tiles, packed panels.

`define` is the interface. A product is simplified and planned (`plan`), and written as loops (`drivers`)
around copies of operands (`packing`) and micro-kernels (`kernels`), which compute register tiles with
explicit vectors (`vectors`). The text is good as it is: LLVM's passes take longer than its code generation
and gain nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradc.codegen.matmul.drivers import broadcast_product, dot_product, entry, task
from gradc.codegen.matmul.epilogue import Epilogue
from gradc.codegen.matmul.packing import fill_zeros
from gradc.codegen.matmul.plan import PAGE_BYTES, BroadcastPlan, DotPlan, Grid, Shape, choose, grid, simplify
from gradc.codegen.matmul.vectors import Vectors, vectors

__all__ = ["Epilogue", "Product", "Task", "define", "define_parts"]


@dataclass(frozen=True)
class Product:
    """LLVM text of one product, and the bytes of scratch its entry needs (64-byte aligned, if any).

    `stores`: does it store C? It does not if an epilogue takes all that it makes.
    """

    text: str
    scratch: int
    stores: bool = True


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
    epilogue: Epilogue | None = None,
) -> Product | None:
    """Define `void @symbol(ptr noalias %a, ptr noalias %b, ptr noalias %c, ptr noalias %scratch) #1`.

    It computes C = A @ B: A is [batch, m, k] ([batch, k, m] if `transpose_a`), B [batch, k, n] ([batch, n,
    k] if `transpose_b`), C [batch, m, n], all row-major and contiguous, of element type `dtype` (f32, f64,
    i8 to i64, u8 to u64, bool), and aligned to one element. Without `batch_a` all items share one A, without
    `batch_b` one B. Integers wrap around; bool is the or of ands, stored as 0 and 1. Sizes may be 0; sums
    over k = 0 are 0. The order of summation depends on the arguments only. `vector_bytes` is 16, 32 or 64,
    the width of the target's vector registers.

    The text is one function of attribute group #1, which the module must define. It uses no symbols but
    those of an epilogue, with which the function has more parameters (`FOLLOWING`). None if nothing can or
    should follow the tiles of this product.

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
    return _written(symbol, v, shape, plan, Grid(), epilogue)


def _written(
    symbol: str, v: Vectors, s: Shape, plan: BroadcastPlan | DotPlan, cut: Grid, epilogue: Epilogue | None
) -> Product | None:
    """A planned product or one part of it; None if it should not have this epilogue."""
    if epilogue is not None and not _has_tiles(v, s, plan, epilogue):
        return None
    if isinstance(plan, BroadcastPlan):
        return Product(*broadcast_product(symbol, v, s, plan, cut, epilogue))
    return Product(*dot_product(symbol, v, s, plan, cut))


def _has_tiles(v: Vectors, s: Shape, plan: BroadcastPlan | DotPlan, epilogue: Epilogue) -> bool:
    """Does a plan make tiles of C, and where what follows is far, complete ones whose rows do not compete?"""
    if isinstance(plan, DotPlan) or s.transpose_c or s.swapped or s.n != epilogue.columns:
        return False
    is_even = s.n * v.element.size % (2 * PAGE_BYTES) == 0
    return not epilogue.far or (plan.depths.count == 1 and not is_even)


@dataclass(frozen=True)
class Task:
    """A product in parts, as a function of a table of pointers and the number of a part.

    `void @symbol(ptr %table, i64 %part, ptr %context, i64 %thread) #1`: the table has A, B, C and the scratch
    of all threads (`scratch` bytes each), then what the table of an epilogue has.
    """

    text: str
    parts: int
    scratch: int
    stores: bool = True


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
    epilogue: Epilogue | None = None,
) -> Task | None:
    """A product as `define` has it, in parts that threads may share; None if it is too small for that."""
    if 0 in (batch, m, n, k):
        return None
    v = vectors(dtype, vector_bytes)
    shape = simplify(Shape(batch, m, n, k, transpose_a, transpose_b, batch_a, batch_b))
    shape, plan = choose(v, shape, vector_bytes)
    if epilogue is None:
        cut = grid(v, shape, plan)
    else:
        cut = grid(v, shape, plan, epilogue.effort, is_summed=epilogue.sums)
    made = _written(f"{symbol}.part", v, shape, plan, cut, epilogue) if cut.count > 1 else None
    if made is None:
        return None
    text = "\n".join([made.text, task(symbol, made.scratch, is_followed=epilogue is not None)])
    text = text.replace("define void ", "define internal void ")
    return Task(text, cut.count, made.scratch, made.stores)
