"""The exact remainder of floats, C's fmod, as a vector loop in LLVM IR (no library call)."""

from __future__ import annotations

import numpy as np

from gradc.codegen.text import literal, llvm_type
from gradc.ir.types import BOOL, SHORT


def fmod(dtype: np.dtype, lanes: int) -> tuple[str, str]:
    """Symbol and text of fmod(a, b) = a - trunc(a / b) b, computed without rounding.

    The remainder by a multiple of b is taken first, where quotients would overflow: by b S S and b S, with
    a power of two S. While |r| >= |d|, a multiple q d of the divisor is subtracted; q is the quotient without
    its fraction, or all but the last bits of a larger one. The difference is then a multiple of the last
    place of q d that fits a significand, so fma gives it exactly. If the division rounded up, one unit of q
    comes back.
    """
    t, mask = llvm_type(dtype, lanes), llvm_type(BOOL, lanes)
    kind = f"f{dtype.itemsize * 8}"
    suffix = f"v{lanes}{kind}" if lanes > 1 else kind
    scale = 2.0**1020 if dtype.itemsize == 8 else 2.0**124

    def c(x: float) -> str:
        return literal(x, dtype, lanes)

    symbol = f"gradc.fmod.{SHORT[dtype]}.{lanes}"
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
  %d2 = call {t} @llvm.fabs.{suffix}({t} %b)
  %d1 = fmul {t} %d2, {c(scale)}
  %d0 = fmul {t} %d1, {c(scale)}
  %positive = fcmp ogt {t} %d2, {c(0.0)}
  %finite = fcmp olt {t} %x, {c(np.inf)}
  %valid = and {mask} %positive, %finite
  br label %loop0
{_rounds(0, "%x", "%entry", dtype, lanes, suffix)}
{_rounds(1, "%r0", "%loop0", dtype, lanes, suffix)}
{_rounds(2, "%r1", "%loop1", dtype, lanes, suffix)}
loop3:
  %signed = call {t} @llvm.copysign.{suffix}({t} %r2, {t} %a)
  %result = select {mask} %valid, {t} %signed, {t} {c(np.nan)}
  %nan = fcmp uno {t} %a, %b
  %both = select {mask} %nan, {t} {c(np.nan)}, {t} %result
  ret {t} %both
}}
"""
    return symbol, "\n".join(declares) + text


def _rounds(i: int, start: str, before: str, dtype: np.dtype, lanes: int, suffix: str) -> str:
    """A loop that leaves r = x mod d, from block `loop{i}` to `loop{i + 1}`."""
    t, mask = llvm_type(dtype, lanes), llvm_type(BOOL, lanes)
    fraction = 52 if dtype.itemsize == 8 else 23
    integer = np.dtype(f"i{dtype.itemsize}")
    it = llvm_type(integer, lanes)
    reduced = f"call i1 @llvm.vector.reduce.or.v{lanes}i1({mask} %active{i})"

    def c(x: float) -> str:
        return literal(x, dtype, lanes)

    return f"""loop{i}:
  %r{i} = phi {t} [ {start}, {before} ], [ %next{i}, %step{i} ]
  %more{i} = fcmp oge {t} %r{i}, %d{i}
  %active{i} = and {mask} %more{i}, %valid
  %any{i} = {reduced if lanes > 1 else f"or i1 %active{i}, false"}
  br i1 %any{i}, label %step{i}, label %loop{i + 1}
step{i}:
  %ratio{i} = fdiv {t} %r{i}, %d{i}
  %large{i} = fcmp oge {t} %ratio{i}, {c(2.0**fraction)}
  %bits{i} = bitcast {t} %ratio{i} to {it}
  %short{i} = and {it} %bits{i}, {literal(-4, integer, lanes)}
  %rough{i} = bitcast {it} %short{i} to {t}
  %above{i} = add {it} %short{i}, {literal(4, integer, lanes)}
  %next_rough{i} = bitcast {it} %above{i} to {t}
  %last_place{i} = fsub {t} %next_rough{i}, %rough{i}
  %whole{i} = call {t} @llvm.trunc.{suffix}({t} %ratio{i})
  %q{i} = select {mask} %large{i}, {t} %rough{i}, {t} %whole{i}
  %unit{i} = select {mask} %large{i}, {t} %last_place{i}, {t} {c(1.0)}
  %minus{i} = fneg {t} %q{i}
  %rest{i} = call {t} @llvm.fma.{suffix}({t} %minus{i}, {t} %d{i}, {t} %r{i})
  %under{i} = fcmp olt {t} %rest{i}, {c(0.0)}
  %over{i} = call {t} @llvm.fma.{suffix}({t} %unit{i}, {t} %d{i}, {t} %rest{i})
  %fixed{i} = select {mask} %under{i}, {t} %over{i}, {t} %rest{i}
  %next{i} = select {mask} %active{i}, {t} %fixed{i}, {t} %r{i}
  br label %loop{i}"""
