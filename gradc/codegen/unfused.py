"""Multiply and add for processors that round twice: `llvm.fma` in a module's text becomes code of its own.

LLVM would call the C library's `fma`, once for every lane. In float32 the product is exact in float64. In
float64 it is split in two by Dekker's and Veltkamp's method, and all parts are added; the result is that of
fma but for the last place where product and summand nearly tie, and exact wherever fma is.
"""

from __future__ import annotations

import re

from gradc.codegen.elementary.builder import Code, Value, absolute, fast_two_sum, select, two_sum

_FUSED = re.compile(r"@llvm\.fma\.(?:v(\d+))?(f32|f64)\b")
_DECLARED = re.compile(r"^declare .*@llvm\.fma\..*\n", re.MULTILINE)
_SPLITTER = 2.0**27 + 1.0


def without_fma(text: str) -> str:
    """The module's text with functions in the place of all calls of `llvm.fma`."""
    wanted = sorted({(int(lanes or 1), dtype) for lanes, dtype in _FUSED.findall(text)})
    if not wanted:
        return text
    text = _FUSED.sub(lambda m: f"@gradc.fma.{m[2]}.{m[1] or 1}", _DECLARED.sub("", text))
    codes = [(f"gradc.fma.{dtype}.{lanes}", *_function(dtype, lanes)) for lanes, dtype in wanted]
    declared = set(re.findall(r"^declare .*@([\w.]+)\(", text, re.MULTILINE))
    definitions, declarations = [], dict[str, str]()
    for symbol, code, definition in codes:
        definitions.append(definition.replace("@fma(", f"@{symbol}("))
        declarations |= {k: v for k, v in code.declarations.items() if k not in declared}
    return "\n".join([text, *definitions, *declarations.values(), ""])


def _function(dtype: str, lanes: int) -> tuple[Code, str]:
    code = Code(lanes)
    a, b, c = (Value(code, f"%{letter}", dtype) for letter in "abc")
    result = _through_float64(a, b, c) if dtype == "f32" else _by_parts(a, b, c)
    head = f"define internal {code.type(dtype)} @fma({a}, {b}, {c}) alwaysinline nounwind willreturn {{"
    return code, "\n".join([head, "entry:", *code.lines, f"  ret {result}", "}", ""])


def _through_float64(a: Value, b: Value, c: Value) -> Value:
    return (a.widened() * b.widened() + c.widened()).narrowed()


def _halves(x: Value) -> tuple[Value, Value]:
    """x as the sum of two numbers of 26 bits (Veltkamp)."""
    t = x * _SPLITTER
    high = t - (t - x)
    return high, x - high


def _by_parts(a: Value, b: Value, c: Value) -> Value:
    product = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    error = a2 * b2 - (((product - a1 * b1) - a2 * b1) - a1 * b2)
    total = two_sum(product, c)
    parts = two_sum(total.low, error)
    lead = fast_two_sum(total.high, parts.high)
    exact = lead.high + (lead.low + parts.low)
    # A zero's sign, infinities, and what is too large to be split: nothing better than two roundings.
    return select(absolute(exact) > 0.0, exact, product + c)
