"""Errors of the float32 functions beside the float64 ones, natively: fast enough for all 2**32 arguments.

The float64 functions are measured against mpmath; within 1 ulp of their own they are exact beside float32.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache

import llvmlite.binding as llvm
import numpy as np

from gradc.codegen import elementary
from gradc.codegen.elementary.builder import F64, Code, Value, absolute, maximum, select
from tests.codegen.elementary_harness import AVX512, engine_of, loop_text, machine_of

LANES = 8
CHUNK = 1 << 22


def _error(code: Code, y: Value, exact: Value) -> Value:
    """|y - exact| in units of float32's last place at `exact`; infinite for a wrong sign, infinity or NaN."""
    rounded = exact.narrowed()
    exponent = (exact.bits & (0x7FF << F64.fraction)).as_float()
    exponent = maximum(exponent, code.constant("f64", 2.0**-126))
    places = (code.constant("i64", (2 * F64.bias + 23) << F64.fraction) - exponent.bits).as_float()
    error = absolute(y.widened() - exact) * places
    finite = (absolute(y) < np.inf) & (absolute(rounded) < np.inf)
    error = select(finite, error, select(y.equals(rounded), error.like(0.0), np.inf))
    error = select((y.bits ^ rounded.bits) < 0, np.inf, error)
    both_nan = y.is_nan & exact.is_nan
    return select(both_nan, error.like(0.0), error).narrowed()


@cache
def _loop(name: str) -> tuple[llvm.ExecutionEngine, ctypes._CFuncPtr]:
    """The engine and the C function `loop(errors, x[, y], n)`."""
    letters = "xy"[: elementary.NAMES[name]]
    code = Code(LANES)
    arguments = [Value(code, f"%{letter}", "f32") for letter in letters]
    calls = []
    for dtype, operands in (("f32", arguments), ("f64", [a.widened() for a in arguments])):
        symbol, _ = elementary.define(name, dtype, LANES, avx512=AVX512)
        listed = ", ".join(map(str, operands))
        calls.append(code.emit(dtype, f"call {code.type(dtype)} @{symbol}({listed})"))
    result = _error(code, *calls)
    head = f"define internal {code.type('f32')} @error({', '.join(map(str, arguments))}) #0 {{"
    text = elementary.define_all([(name, "f32", LANES), (name, "f64", LANES)], avx512=AVX512)
    known = set(text.splitlines())
    text += "\n".join(line for line in code.declarations.values() if line not in known)
    text += "\n".join(["", head, *code.lines, f"  ret {result}", "}", ""])
    text += loop_text("error", "f32", LANES, len(letters))
    return engine_of(machine_of("host", jit=True), text, len(letters))


def errors(name: str, *arguments: np.ndarray) -> np.ndarray:
    """The errors in ulps of a function of float32 arrays of one length, a multiple of 8."""
    out = np.empty_like(arguments[0])
    _loop(name)[1](out.ctypes.data, *(a.ctypes.data for a in arguments), out.size)
    return out


def every_float32(stride: int = 1) -> Iterator[np.ndarray]:
    """All float32 numbers, or every `stride`-th of their patterns, in chunks."""
    steps = np.arange(0, CHUNK * stride, stride, dtype=np.uint64)
    for start in range(0, 1 << 32, CHUNK * stride):
        yield (steps + np.uint64(start)).astype(np.uint32).view(np.float32)


def largest_error(name: str, stride: int = 1) -> tuple[float, float]:
    """The largest error of a function of one argument over `every_float32`, and where it is."""
    worst = (-1.0, 0.0)
    for x in every_float32(stride):
        error = errors(name, x)
        i = int(np.argmax(error))
        worst = max(worst, (float(error[i]), float(x[i])))
    return worst
