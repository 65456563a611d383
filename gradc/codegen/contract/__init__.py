"""Contractions as LLVM text: sums of products of two operands read by any strides, overlapping ones too.

`define` is the interface: labels with strides are merged and planned (`plan`), and written (`write`) as loops
around a register tile, on the vectors and the code builder of matrix products. No window is ever copied: a
convolution reads its image where it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gradc.codegen.contract.plan import Label, choose, merged
from gradc.codegen.contract.write import Writer
from gradc.codegen.matmul.drivers import entry
from gradc.codegen.matmul.packing import fill_zeros
from gradc.codegen.matmul.plan import registers
from gradc.codegen.matmul.vectors import vectors

__all__ = ["Label", "define"]


@dataclass(frozen=True)
class Contraction:
    """LLVM text of a contraction, the bytes of scratch it needs (64-byte aligned, if any), and its parts.

    `before` and `after` are the functions to be called around the parts of a task.
    """

    text: str
    scratch: int
    parts: int = 1
    before: str | None = None
    after: str | None = None


def define(
    symbol: str, dtype: str, labels: Sequence[Label], starts: tuple[int, int], vector_bytes: int
) -> Contraction:
    """Define `void @symbol(ptr noalias %a, ptr noalias %b, ptr noalias %c, ptr noalias %scratch) #1`.

    A large contraction is a task that threads share: `void @symbol(ptr %table, i64 %part, ptr %context,
    i64 %thread) #1`, of a table of those four pointers.

    For every position of the labels that have a stride in C, the element of C there is the sum over all other
    labels of products of elements of A and B. A and B are read from the elements `starts` on; strides count
    elements, and may be negative or overlap. C is contiguous, each element of it written once. Sums of
    nothing are 0, integers wrap around. The order of summation depends on the arguments only.
    """
    v = vectors(dtype, vector_bytes)
    rest = merged(labels)
    elements = 1
    for label in labels:
        elements *= label.size if label.c else 1
    if any(label.size == 0 for label in labels):
        code = entry(symbol)
        if elements:
            fill_zeros(code, "%c", elements * v.element.size)
        return Contraction(code.text(), 0)
    plan = choose(rest, v, registers(vector_bytes))
    writer = Writer(symbol, replace(v, lanes=plan.lanes), plan, rest, starts)
    return Contraction(*writer.write())
