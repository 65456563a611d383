"""What the first x86-64 processors lack: calls of `llvm.fma`, `llvm.trunc` and the like become code.

LLVM would call the C library for every lane. A multiplication and addition with one rounding is done in
float64 for float32, where the product is exact. In float64 the factors are split in two by Dekker's and
Veltkamp's method, and all parts are added: the result is that of fma but for the last place where product and
summand nearly tie, and exact wherever fma is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gradc.codegen.elementary.builder import Code, Value, absolute, copy_sign, fast_two_sum, select, two_sum

_SPLITTER = 2.0**27 + 1.0


def fma(a: Value, b: Value, c: Value) -> Value:
    """a * b + c."""
    if a.kind == "f32":
        return (a.widened() * b.widened() + c.widened()).narrowed()
    product = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    error = a2 * b2 - (((product - a1 * b1) - a2 * b1) - a1 * b2)
    total = two_sum(product, c)
    parts = two_sum(total.low, error)
    lead = fast_two_sum(total.high, parts.high)
    exact = lead.high + (lead.low + parts.low)
    # A zero's sign, infinities, and what is too large to be split: nothing better than two roundings.
    return select(absolute(exact) > 0.0, exact, product + c)


def _halves(x: Value) -> tuple[Value, Value]:
    """x as the sum of two numbers of 26 bits (Veltkamp)."""
    t = x * _SPLITTER
    high = t - (t - x)
    return high, x - high


def rint(x: Value) -> Value:
    """The nearest integer, even if two are as near: what remains of x beside 2**fraction."""
    whole, size = 2.0**x.format.fraction, absolute(x)
    return copy_sign(select(size < whole, (size + whole) - whole, size), x)


def trunc(x: Value) -> Value:
    """The integer towards zero."""
    size = absolute(x)
    near = rint(size)
    return copy_sign(select(near > size, near - 1.0, near), x)


def floor(x: Value) -> Value:
    """The integer below."""
    near = rint(x)
    return copy_sign(select(near > x, near - 1.0, near), x)


def ceil(x: Value) -> Value:
    """The integer above."""
    near = rint(x)
    return copy_sign(select(near < x, near + 1.0, near), x)


REPLACED: dict[str, Callable[..., Value]] = {
    "fma": fma, "rint": rint, "roundeven": rint, "trunc": trunc, "floor": floor, "ceil": ceil,
}  # fmt: skip
_NAMES = "|".join(REPLACED)
_CALL = re.compile(rf"@llvm\.({_NAMES})\.(?:v(\d+))?(f32|f64)\b")
_DECLARED = re.compile(rf"^declare .*@llvm\.(?:{_NAMES})\..*\n", re.MULTILINE)


def for_baseline(text: str) -> str:
    """The module's text with functions in the place of all calls of these."""
    wanted = sorted({(name, dtype, int(lanes or 1)) for name, lanes, dtype in _CALL.findall(text)})
    text = _CALL.sub(lambda m: f"@gradc.{m[1]}.{m[3]}.{m[2] or 1}", _DECLARED.sub("", text))
    declared = set(re.findall(r"^declare .*@([\w.]+)\(", text, re.MULTILINE))
    definitions, declarations = list[str](), dict[str, str]()
    for name, dtype, lanes in wanted:
        code = Code(lanes)
        operands = [Value(code, f"%{letter}", dtype) for letter in ("abc" if name == "fma" else "a")]
        result = REPLACED[name](*operands)
        symbol, listed = f"gradc.{name}.{dtype}.{lanes}", ", ".join(map(str, operands))
        head = f"define internal {code.type(dtype)} @{symbol}({listed}) alwaysinline nounwind willreturn {{"
        definitions.append("\n".join([head, "entry:", *code.lines, f"  ret {result}", "}", ""]))
        declarations |= {k: v for k, v in code.declarations.items() if k not in declared}
    return "\n".join([text, *definitions, *declarations.values(), ""])
