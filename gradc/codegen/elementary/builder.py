"""Expressions that write LLVM IR: values with operators, so that a function reads like its formula.

`Code` collects the instructions of one function; a `Value` is one SSA value of it, with `lanes` lanes (one
lane is a plain scalar). Every operator appends one instruction. No fast-math flags are ever written:
compensated arithmetic depends on every rounding.
"""

from __future__ import annotations

import struct
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import count


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: its LLVM type, the integer type of its bits, and its parameters."""

    name: str
    llvm: str
    integer: str
    fraction: int  # stored bits of the significand
    bias: int

    @property
    def bits(self) -> int:
        return int(self.integer[1:])

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    @property
    def largest(self) -> float:
        return (2.0 - 2.0**-self.fraction) * 2.0**self.bias

    @property
    def shifter(self) -> float:
        """1.5 * 2**fraction: added to a number it leaves the nearest integer in the low bits of the sum."""
        return 1.5 * 2.0**self.fraction

    @property
    def sign_bit(self) -> int:
        return 1 << (self.bits - 1)

    @property
    def fraction_mask(self) -> int:
        return (1 << self.fraction) - 1

    def pattern(self, x: float) -> int:
        """The bits of `x` as an unsigned integer."""
        code = "<f" if self.fraction == 23 else "<d"
        return int.from_bytes(struct.pack(code, x), "little")


F32 = Format("f32", "float", "i32", 23, 127)
F64 = Format("f64", "double", "i64", 52, 1023)
FORMATS = {"f32": F32, "f64": F64}

_COMPARE_FLOAT = {"<": "olt", "<=": "ole", ">": "ogt", ">=": "oge", "==": "oeq", "!=": "une", "?": "uno"}
_COMPARE_INT = {"<": "slt", "<=": "sle", ">": "sgt", ">=": "sge", "==": "eq", "!=": "ne"}

HORNER_TERMS = 2


class Code:
    """The body of one function under construction: instructions, declared intrinsics, called definitions."""

    def __init__(self, lanes: int, avx512: bool = False) -> None:
        self.lanes = lanes
        self.avx512 = avx512
        self.lines: list[str] = []
        self.declarations: dict[str, str] = {}
        self.dependencies: dict[str, str] = {}
        self.block = "entry"
        self._numbers = count()
        self._labels = 0

    def of_lanes(self, lanes: int) -> Code:
        """The same body, for values of another number of lanes."""
        other = copy(self)
        other.lanes = lanes
        return other

    def type(self, kind: str, lanes: int | None = None) -> str:
        """The LLVM type of `lanes` values of `kind` ("f32", "f64" or an integer type)."""
        scalar = FORMATS[kind].llvm if kind in FORMATS else kind
        lanes = self.lanes if lanes is None else lanes
        return scalar if lanes == 1 else f"<{lanes} x {scalar}>"

    def emit(self, kind: str, instruction: str) -> Value:
        """Append `instruction`; its result is the value returned."""
        name = f"%v{next(self._numbers)}"
        self.lines.append(f"  {name} = {instruction}")
        return Value(self, name, kind)

    def name(self, instruction: str) -> str:
        """Append `instruction`, whose result is not one value per lane; the name of its result."""
        return self.emit("i1", instruction).text

    def constant(self, kind: str, x: float | int) -> Value:
        """`x` in every lane; a float must be representable in `kind` or is rounded to it."""
        scalar = FORMATS[kind].llvm if kind in FORMATS else kind
        if kind == "f32":
            text = f"0x{F64.pattern(struct.unpack('<f', struct.pack('<f', x))[0]):016X}"
        elif kind == "f64":
            text = f"0x{F64.pattern(x):016X}"
        else:
            text = str(_signed(int(x), int(kind[1:])))
        return Value(self, text if self.lanes == 1 else f"splat ({scalar} {text})", kind)

    def intrinsic(self, name: str, *operands: Value) -> Value:
        """`llvm.<name>` of equally typed operands, lane by lane."""
        kind = operands[0].kind
        suffix = kind if self.lanes == 1 else f"v{self.lanes}{kind}"
        symbol, type_ = f"llvm.{name}.{suffix}", self.type(kind)
        self.declare(symbol, type_, *[type_] * len(operands))
        return self.emit(kind, f"call {type_} @{symbol}({', '.join(str(v) for v in operands)})")

    def declare(self, symbol: str, result: str, *arguments: str) -> None:
        """Note that `symbol` must be declared once in the module."""
        self.declarations[symbol] = f"declare {result} @{symbol}({', '.join(arguments)})"

    def label(self, stem: str) -> str:
        self._labels += 1
        return f"{stem}{self._labels}"

    def start(self, label: str) -> None:
        """Begin the basic block `label`; what went before must have ended with a branch."""
        self.lines.append(f"{label}:")
        self.block = label

    def any(self, mask: Value) -> str:
        """The text of a scalar i1: whether any lane of `mask` is set."""
        if self.lanes == 1:
            return mask.text
        symbol = f"llvm.vector.reduce.or.v{self.lanes}i1"
        self.declare(symbol, "i1", self.type("i1"))
        return self.name(f"call i1 @{symbol}({mask})")


def _signed(x: int, bits: int) -> int:
    x &= (1 << bits) - 1
    return x - (1 << bits) if x >> (bits - 1) and bits > 1 else x


class Value:
    """One SSA value. Operators with a number take it as a constant in every lane."""

    __slots__ = ("code", "kind", "text")

    def __init__(self, code: Code, text: str, kind: str) -> None:
        self.code, self.text, self.kind = code, text, kind

    def __str__(self) -> str:
        return f"{self.code.type(self.kind)} {self.text}"

    @property
    def format(self) -> Format:
        return FORMATS[self.kind]

    @property
    def is_float(self) -> bool:
        return self.kind in FORMATS

    def like(self, x: Value | float | int) -> Value:
        """`x` as an operand beside this value."""
        return x if isinstance(x, Value) else self.code.constant(self.kind, x)

    def _binary(self, instruction: str, other: Value | float | int) -> Value:
        return self.code.emit(self.kind, f"{instruction} {self}, {self.like(other).text}")

    def _compare(self, relation: str, other: Value | float | int) -> Value:
        table, name = (_COMPARE_FLOAT, "fcmp") if self.is_float else (_COMPARE_INT, "icmp")
        return self.code.emit("i1", f"{name} {table[relation]} {self}, {self.like(other).text}")

    def __add__(self, other: Value | float) -> Value:
        return self._binary("fadd" if self.is_float else "add", other)

    def __radd__(self, other: float) -> Value:
        return self.like(other) + self

    def __sub__(self, other: Value | float) -> Value:
        return self._binary("fsub" if self.is_float else "sub", other)

    def __rsub__(self, other: float) -> Value:
        return self.like(other) - self

    def __mul__(self, other: Value | float) -> Value:
        return self._binary("fmul" if self.is_float else "mul", other)

    def __rmul__(self, other: float) -> Value:
        return self.like(other) * self

    def __truediv__(self, other: Value | float) -> Value:
        return self._binary("fdiv", other)

    def __rtruediv__(self, other: float) -> Value:
        return self.like(other) / self

    def __neg__(self) -> Value:
        if self.is_float:
            return self.code.emit(self.kind, f"fneg {self}")
        return self.like(0) - self

    def __and__(self, other: Value | int) -> Value:
        return self._binary("and", other)

    def __or__(self, other: Value | int) -> Value:
        return self._binary("or", other)

    def __xor__(self, other: Value | int) -> Value:
        return self._binary("xor", other)

    def __invert__(self) -> Value:
        return self._binary("xor", 1 if self.kind == "i1" else -1)

    def __lshift__(self, other: Value | int) -> Value:
        return self._binary("shl", other)

    def __rshift__(self, other: Value | int) -> Value:
        """The logical shift: zeros come in from the left."""
        return self._binary("lshr", other)

    def __lt__(self, other: Value | float) -> Value:
        return self._compare("<", other)

    def __le__(self, other: Value | float) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other: Value | float) -> Value:
        return self._compare(">", other)

    def __ge__(self, other: Value | float) -> Value:
        return self._compare(">=", other)

    def equals(self, other: Value | float) -> Value:
        return self._compare("==", other)

    def differs(self, other: Value | float) -> Value:
        return self._compare("!=", other)

    @property
    def is_nan(self) -> Value:
        return self._compare("?", self)

    @property
    def bits(self) -> Value:
        """The same bits as an integer."""
        return self._cast("bitcast", self.format.integer)

    def as_float(self) -> Value:
        """The float whose bits this integer holds."""
        return self._cast("bitcast", "f32" if self.kind == "i32" else "f64")

    def _cast(self, instruction: str, kind: str) -> Value:
        return self.code.emit(kind, f"{instruction} {self} to {self.code.type(kind)}")

    def widened(self) -> Value:
        """A float32 as float64: exact."""
        return self._cast("fpext", "f64")

    def narrowed(self) -> Value:
        """A float64 rounded to float32."""
        return self._cast("fptrunc", "f32")

    def cast(self, instruction: str, kind: str) -> Value:
        """Any other LLVM conversion (`zext`, `trunc`, `sitofp`, ...) to `kind`."""
        return self._cast(instruction, kind)


@dataclass(frozen=True)
class Pair:
    """An unevaluated sum `high + low` with |low| a rounding error of `high`: about twice the precision."""

    high: Value
    low: Value

    @cached_property
    def value(self) -> Value:
        return self.high + self.low

    def __neg__(self) -> Pair:
        return Pair(-self.high, -self.low)


def fma(a: Value, b: Value | float, c: Value | float) -> Value:
    """a * b + c, rounded once. The one place where fused multiply-add is asked for."""
    return a.code.intrinsic("fma", a, a.like(b), a.like(c))


def select(condition: Value, a: Value | float, b: Value | float) -> Value:
    """`a` where `condition` holds, else `b`; at least one of the two is a `Value`."""
    if not isinstance(a, Value):
        assert isinstance(b, Value)
        a = b.like(a)
    return condition.code.emit(a.kind, f"select {condition}, {a}, {a.like(b)}")


def minimum(a: Value, b: Value | float) -> Value:
    """min(a, b), and `a` if `a` is NaN."""
    return select(a > b, b, a)


def maximum(a: Value, b: Value | float) -> Value:
    """max(a, b), and `a` if `a` is NaN."""
    return select(a < b, b, a)


def absolute(a: Value) -> Value:
    return a.code.intrinsic("fabs", a)


def square_root(a: Value) -> Value:
    return a.code.intrinsic("sqrt", a)


def copy_sign(magnitude: Value, sign: Value | float) -> Value:
    """|magnitude| with the sign of `sign`."""
    return magnitude.code.intrinsic("copysign", magnitude, magnitude.like(sign))


def polynomial(x: Value, coefficients: tuple[float, ...]) -> Value:
    """c0 + c1 x + c2 x**2 + ...: Horner's scheme for the lowest terms, which carry the rounding errors, and
    Estrin's, with about log2(n) dependent steps, for the others."""
    if len(coefficients) == 1:
        return x.like(coefficients[0])
    terms: list[Value] = [x.like(c) for c in coefficients[HORNER_TERMS:]]
    power = x
    while len(terms) > 1:
        pairs = [fma(power, terms[i + 1], terms[i]) for i in range(0, len(terms) - 1, 2)]
        terms = pairs + ([terms[-1]] if len(terms) % 2 else [])
        if len(terms) > 1:
            power = power * power
    result = terms[0]
    for c in reversed(coefficients[:HORNER_TERMS]):
        result = fma(x, result, c)
    return result


def two_sum(a: Value, b: Value) -> Pair:
    """a + b exactly (Knuth)."""
    s = a + b
    t = s - a
    return Pair(s, (a - (s - t)) + (b - t))


def fast_two_sum(a: Value, b: Value) -> Pair:
    """a + b exactly, if |a| >= |b| or a == 0 (Dekker)."""
    s = a + b
    return Pair(s, b - (s - a))


def quotient(a: Pair, b: Pair) -> Pair:
    """a / b with one division; the result is good to about twice the precision."""
    inverse = 1.0 / b.high
    q = a.high * inverse
    remainder = fma(-q, b.high, a.high) + fma(-q, b.low, a.low)
    return Pair(q, remainder * inverse)


def inverse(a: Pair) -> Value:
    """1 / a, rounded once but for a trifle."""
    r = 1.0 / a.high
    return fma(r, fma(-a.low, r, fma(-a.high, r, 1.0)), r)


def product(a: Pair, b: Pair) -> Pair:
    """a * b to about twice the precision."""
    p = two_product(a.high, b.high)
    return Pair(p.high, fma(a.high, b.low, fma(a.low, b.high, p.low)))


def root(a: Pair) -> Pair:
    """The square root of a >= 0 to about twice the precision."""
    r = square_root(a.high)
    remainder = fma(-r, r, a.high) + a.low
    # At 0 the remainder is 0; any finite factor will do.
    return Pair(r, remainder * (0.5 / maximum(r, a.high.format.smallest_normal)))


def total(a: Pair, b: Pair) -> Pair:
    """a + b to about twice the precision, unless they cancel."""
    s = two_sum(a.high, b.high)
    return fast_two_sum(s.high, s.low + (a.low + b.low))


def two_product(a: Value, b: Value | float) -> Pair:
    """a * b exactly, barring underflow."""
    b = a.like(b)
    p = a * b
    return Pair(p, fma(a, b, -p))
