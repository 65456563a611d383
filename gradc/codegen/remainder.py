"""The exact remainder of floats, C's fmod, as a vector loop in LLVM IR (no library call)."""

from __future__ import annotations

import numpy as np

from gradc.codegen.text import literal, llvm_type
from gradc.ir.types import BOOL, SHORT


def fmod(dtype: np.dtype, lanes: int) -> tuple[str, str]:
    """Symbol and text of fmod(a, b) = a - trunc(a / b) b, computed without rounding.

    While |r| >= |b|, subtract a multiple of b. A quotient that fits the significand is right to within 1 and
    its product is subtracted exactly by fma. A larger one is made a little smaller, with its low bits
    cleared, so that the difference is exact again; each round then removes most of a significand's bits from
    r.
    """
    t, mask = llvm_type(dtype, lanes), llvm_type(BOOL, lanes)
    kind = f"f{dtype.itemsize * 8}"
    suffix = f"v{lanes}{kind}" if lanes > 1 else kind
    fraction, cleared, largest = (52, 9, 2.0**1020) if dtype.itemsize == 8 else (23, 6, 2.0**124)
    integer = np.dtype(f"i{dtype.itemsize}")
    it = llvm_type(integer, lanes)

    def c(x: float) -> str:
        return literal(x, dtype, lanes)

    symbol = f"gradc.fmod.{SHORT[dtype]}.{lanes}"
    any_lane = (
        f"%any = call i1 @llvm.vector.reduce.or.v{lanes}i1({mask} %active)"
        if lanes > 1
        else "%any = or i1 %active, false"
    )
    declares = [f"declare {t} @llvm.{name}.{suffix}({t})" for name in ("fabs", "trunc")]
    declares += [
        f"declare {t} @llvm.copysign.{suffix}({t}, {t})",
        f"declare {t} @llvm.fma.{suffix}({t}, {t}, {t})",
    ]
    if lanes > 1:
        declares.append(f"declare i1 @llvm.vector.reduce.or.v{lanes}i1({mask})")
    text = f"""
define internal {t} @{symbol}({t} %a, {t} %b) #0 {{
entry:
  %x = call {t} @llvm.fabs.{suffix}({t} %a)
  %y = call {t} @llvm.fabs.{suffix}({t} %b)
  %positive = fcmp ogt {t} %y, {c(0.0)}
  %finite = fcmp olt {t} %x, {c(np.inf)}
  %valid = and {mask} %positive, %finite
  br label %loop
loop:
  %r = phi {t} [ %x, %entry ], [ %next, %step ]
  %more = fcmp oge {t} %r, %y
  %active = and {mask} %more, %valid
  {any_lane}
  br i1 %any, label %step, label %done
step:
  %ratio = fdiv {t} %r, %y
  %huge = fcmp ogt {t} %ratio, {c(largest)}
  %bounded = select {mask} %huge, {t} {c(largest)}, {t} %ratio
  %large = fcmp oge {t} %bounded, {c(2.0 ** (fraction - 2))}
  %less = fmul {t} %bounded, {c(1 - 2.0 ** (cleared - 1 - fraction + 2))}
  %bits = bitcast {t} %less to {it}
  %short = and {it} %bits, {literal(-(2**cleared), integer, lanes)}
  %rough = bitcast {it} %short to {t}
  %whole = call {t} @llvm.trunc.{suffix}({t} %bounded)
  %q = select {mask} %large, {t} %rough, {t} %whole
  %minus = fneg {t} %q
  %rest = call {t} @llvm.fma.{suffix}({t} %minus, {t} %y, {t} %r)
  %under = fcmp olt {t} %rest, {c(0.0)}
  %over = fadd {t} %rest, %y
  %fixed = select {mask} %under, {t} %over, {t} %rest
  %next = select {mask} %active, {t} %fixed, {t} %r
  br label %loop
done:
  %signed = call {t} @llvm.copysign.{suffix}({t} %r, {t} %a)
  %result = select {mask} %valid, {t} %signed, {t} {c(np.nan)}
  %nan = fcmp uno {t} %a, %b
  %both = select {mask} %nan, {t} {c(np.nan)}, {t} %result
  ret {t} %both
}}
"""
    return symbol, "\n".join(declares) + text
