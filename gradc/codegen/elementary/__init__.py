"""Elementary functions as LLVM IR text: vector code without library calls or globals.

`define("exp", "f32", 16)` gives the symbol and the text of one function; `define_all` the text of many, each
once, with the intrinsics they declare. The text refers to the attribute group `#0`, which the module defines
once (`alwaysinline nounwind` and the like). The target must have fused multiply-add. `docs/elementary.md`
holds the measured errors and times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gradc.codegen.elementary import (
    error,
    exponential,
    hyperbolic,
    inverse,
    logarithm,
    power,
    roots,
    trigonometric,
)
from gradc.codegen.elementary.builder import FORMATS, Code, Value

FUNCTIONS: dict[str, Callable[..., Value]] = {
    f.__name__: f
    for f in (
        exponential.exp,
        exponential.exp2,
        exponential.expm1,
        exponential.expit,
        logarithm.log,
        logarithm.log1p,
        logarithm.log2,
        logarithm.log10,
        logarithm.logaddexp,
        logarithm.softplus,
        hyperbolic.tanh,
        hyperbolic.sinh,
        hyperbolic.cosh,
        hyperbolic.arcsinh,
        hyperbolic.arccosh,
        hyperbolic.arctanh,
        trigonometric.sin,
        trigonometric.cos,
        trigonometric.tan,
        inverse.arctan,
        inverse.arctan2,
        inverse.arcsin,
        inverse.arccos,
        error.erf,
        error.erfc,
        power.power,
        roots.cbrt,
        roots.hypot,
    )
}

NAMES: dict[str, int] = {name: f.__code__.co_argcount for name, f in FUNCTIONS.items()}
"""The supported functions and how many arguments each takes."""


def _write(name: str, dtype: str, lanes: int, avx512: bool) -> tuple[str, Code]:
    """The symbol of one function and its finished body."""
    if name not in FUNCTIONS:
        raise KeyError(f"no elementary function {name!r}; there are {', '.join(sorted(FUNCTIONS))}")
    if dtype not in FORMATS or lanes < 1:
        raise ValueError(
            f"elementary functions take f32 or f64 and one lane or more, not {dtype} and {lanes}"
        )
    symbol = f"gradc.{name}.{dtype}.{lanes}"
    code = Code(lanes, avx512)
    arguments = [Value(code, f"%{letter}", dtype) for letter in "xy"[: NAMES[name]]]
    result = FUNCTIONS[name](*arguments)
    head = f"define internal {code.type(dtype)} @{symbol}({', '.join(map(str, arguments))}) #0 {{"
    code.dependencies[symbol] = "\n".join([head, "entry:", *code.lines, f"  ret {result}", "}\n"])
    return symbol, code


def define(name: str, dtype: str, lanes: int, *, avx512: bool = False) -> tuple[str, str]:
    """(symbol, text) of function `name` on `lanes` values of `dtype` ("f32", "f64"; one lane means scalars).

    The text holds everything the function needs. Texts of several functions may repeat a declaration or a
    helper: `define_all` writes each once. With `avx512` it uses instructions of AVX-512 (F, VL, DQ). Raises
    KeyError for an unknown name, ValueError for another dtype.
    """
    symbol, _ = _write(name, dtype, lanes, avx512)
    return symbol, define_all([(name, dtype, lanes)], avx512=avx512)


def define_all(requests: Iterable[tuple[str, str, int]], *, avx512: bool = False) -> str:
    """The text of all requested `(name, dtype, lanes)`: every definition and every declaration once."""
    declarations: dict[str, str] = {}
    definitions: dict[str, str] = {}
    for request in requests:
        _, code = _write(*request, avx512)
        declarations.update(code.declarations)
        definitions.update(code.dependencies)
    return "\n".join([*declarations.values(), "", *definitions.values()])
