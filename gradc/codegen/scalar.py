"""One row per elementwise op: the LLVM instructions for it, on scalars or vectors alike.

A row takes the function being written and operand names, and gives the name of the result. Integer rows keep
NumPy's meanings where LLVM's are undefined: division by zero and MIN / -1, shifts beyond the width, floats
out of range.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.codegen.elementary import NAMES as ELEMENTARY
from gradc.codegen.text import literal, llvm_type
from gradc.ir.ops.special import SCIPY_NAMES
from gradc.ir.types import BOOL, F64, I64, NAMES

if TYPE_CHECKING:
    from gradc.codegen.function import Function

Row = Callable[..., str]


class Context:
    """One computation to emit: the function, dtype and lanes of its operands and of its result."""

    def __init__(self, function: Function, operand: np.dtype, result: np.dtype, lanes: int) -> None:
        self.function = function
        self.dtype = operand
        self.result = result
        self.lanes = lanes

    @property
    def type(self) -> str:
        return llvm_type(self.dtype, self.lanes)

    @property
    def mask(self) -> str:
        return llvm_type(BOOL, self.lanes)

    def constant(self, value: Any, dtype: np.dtype | None = None) -> str:
        return literal(value, self.dtype if dtype is None else dtype, self.lanes)

    def op(self, instruction: str, *operands: str, type: str | None = None) -> str:
        """`%n = instruction type a, b`."""
        return self.function.let(f"{instruction} {type or self.type} {', '.join(operands)}")

    def select(self, condition: str, a: str, b: str, type: str | None = None) -> str:
        t = type or self.type
        return self.function.let(f"select {self.mask} {condition}, {t} {a}, {t} {b}")

    def intrinsic(self, name: str, *operands: str) -> str:
        """A call of `llvm.name` overloaded on the operands' type."""
        t = self.type
        suffix = f"v{self.lanes}" if self.lanes > 1 else ""
        kind = {"f": "f"}.get(self.dtype.kind, "i") + str(self.dtype.itemsize * 8)
        return self.function.call(f"llvm.{name}.{suffix}{kind}", t, [(t, x) for x in operands])

    def convert(self, instruction: str, x: str, source: str, target: str) -> str:
        return self.function.let(f"{instruction} {source} {x} to {target}")


def _by_kind(**rows: Row) -> Row:
    """A row that depends on the kind of dtype: f, i (signed), u, b."""

    def row(c: Context, *operands: str, **attrs: Any) -> str:
        return rows[c.dtype.kind](c, *operands, **attrs)

    return row


def _instruction(
    f: str | None = None, i: str | None = None, u: str | None = None, b: str | None = None
) -> Row:
    def row(c: Context, *operands: str) -> str:
        instruction = {"f": f, "i": i, "u": u or i, "b": b}[c.dtype.kind]
        assert instruction is not None, c.dtype
        return c.op(instruction, *operands)

    return row


def _compare(f: str, i: str, u: str) -> Row:
    def row(c: Context, a: str, b: str) -> str:
        predicate = {"f": f"fcmp {f}", "i": f"icmp {i}"}.get(c.dtype.kind, f"icmp {u}")
        return c.op(predicate, a, b)

    return row


def _is_nan(c: Context, x: str) -> str:
    return c.op("fcmp uno", x, x)


def _maximum(c: Context, a: str, b: str, f: str = "oge", i: str = "sge", u: str = "uge") -> str:
    """The larger; NaN if either is."""
    wins = _compare(f, i, u)(c, a, b)
    if c.dtype.kind == "f":
        wins = c.op("or", wins, _is_nan(c, a), type=c.mask)
    return c.select(wins, a, b)


def _minimum(c: Context, a: str, b: str) -> str:
    return _maximum(c, a, b, "ole", "sle", "ule")


def _float_sign(c: Context, x: str) -> str:
    """-1, 0, 1; NaN for NaN."""
    zero, one, minus = c.constant(0.0), c.constant(1.0), c.constant(-1.0)
    positive, negative = c.op("fcmp ogt", x, zero), c.op("fcmp olt", x, zero)
    sign = c.select(positive, one, c.select(negative, minus, zero))
    return c.select(_is_nan(c, x), x, sign)


def _integer_sign(c: Context, x: str) -> str:
    zero = c.constant(0)
    negative = c.select(c.op("icmp slt", x, zero), c.constant(-1), zero)
    return c.select(c.op("icmp sgt", x, zero), c.constant(1), negative)


def _unsigned_sign(c: Context, x: str) -> str:
    return c.select(c.op("icmp ne", x, c.constant(0)), c.constant(1), c.constant(0))


def _safe_divisor(c: Context, a: str, b: str) -> tuple[str, str, str | None]:
    """The divisor with 1 in place of 0 (and of -1 under MIN), and where it was 0 (or that -1)."""
    zero = c.op("icmp eq", b, c.constant(0))
    overflow = None
    divisor = c.select(zero, c.constant(1), b)
    if c.dtype.kind == "i":
        lowest = c.op("icmp eq", a, c.constant(int(np.iinfo(c.dtype).min)))
        overflow = c.op("and", lowest, c.op("icmp eq", b, c.constant(-1)), type=c.mask)
        divisor = c.select(overflow, c.constant(1), divisor)
    return divisor, zero, overflow


def _floor_divide_integers(c: Context, a: str, b: str) -> str:
    """Rounded down; 0 for a zero divisor; MIN // -1 is MIN."""
    divisor, zero, _ = _safe_divisor(c, a, b)
    if c.dtype.kind == "u":
        return c.select(zero, c.constant(0), c.op("udiv", a, divisor))
    quotient = c.op("sdiv", a, divisor)
    rest = c.op("sub", a, c.op("mul", quotient, divisor))
    down = c.op("sub", quotient, c.constant(1))
    inexact = c.op("icmp ne", rest, c.constant(0))
    opposite = c.op("icmp slt", c.op("xor", rest, divisor), c.constant(0))
    return c.select(
        zero, c.constant(0), c.select(c.op("and", inexact, opposite, type=c.mask), down, quotient)
    )


def _remainder_integers(c: Context, a: str, b: str) -> str:
    """With the sign of the divisor; 0 for a zero divisor."""
    divisor, zero, _ = _safe_divisor(c, a, b)
    if c.dtype.kind == "u":
        return c.select(zero, c.constant(0), c.op("urem", a, divisor))
    rest = c.op("srem", a, divisor)
    inexact = c.op("icmp ne", rest, c.constant(0))
    opposite = c.op("icmp slt", c.op("xor", rest, divisor), c.constant(0))
    moved = c.op("add", rest, divisor)
    return c.select(zero, c.constant(0), c.select(c.op("and", inexact, opposite, type=c.mask), moved, rest))


def _float_divmod(c: Context, a: str, b: str) -> tuple[str, str]:
    """Quotient and remainder as NumPy's npy_divmod: fmod, moved to the divisor's sign; quotient rounded to
    whole."""
    zero, one = c.constant(0.0), c.constant(1.0)
    mod = c.function.module.fmod(c, a, b)
    quotient = c.op("fdiv", c.op("fsub", a, mod), b)
    nonzero = c.op("fcmp une", mod, zero)
    opposite = c.op("xor", c.op("fcmp olt", b, zero), c.op("fcmp olt", mod, zero), type=c.mask)
    move = c.op("and", nonzero, opposite, type=c.mask)
    moved = c.select(move, c.op("fadd", mod, b), mod)
    quotient = c.select(move, c.op("fsub", quotient, one), quotient)
    remainder = c.select(nonzero, moved, c.intrinsic("copysign", zero, b))
    whole = c.intrinsic("floor", quotient)
    up = c.op("fcmp ogt", c.op("fsub", quotient, whole), c.constant(0.5))
    whole = c.select(up, c.op("fadd", whole, one), whole)
    plain = c.op("fdiv", a, b)
    whole = c.select(c.op("fcmp une", quotient, zero), whole, c.intrinsic("copysign", zero, plain))
    by_zero = c.op("fcmp oeq", b, zero)
    return c.select(by_zero, plain, whole), c.select(by_zero, mod, remainder)


def _shift(left: bool) -> Row:
    """Beyond the width nothing is left (or only the sign); negative counts are as large as they look
    unsigned."""

    def row(c: Context, a: str, b: str) -> str:
        bits = c.dtype.itemsize * 8
        inside = c.op("icmp ult", b, c.constant(bits))
        count = c.select(inside, b, c.constant(0))
        if left:
            return c.select(inside, c.op("shl", a, count), c.constant(0))
        if c.dtype.kind == "u":
            return c.select(inside, c.op("lshr", a, count), c.constant(0))
        return c.op("ashr", a, c.select(inside, b, c.constant(bits - 1)))

    return row


def _integer_power(c: Context, a: str, b: str) -> str:
    """By squaring, one step for every bit of the exponent; wraps around as multiplication does."""
    result, base, exponent = c.constant(1), a, b
    for _ in range(c.dtype.itemsize * 8):
        odd = c.op("icmp ne", c.op("and", exponent, c.constant(1)), c.constant(0))
        result = c.select(odd, c.op("mul", result, base), result)
        base = c.op("mul", base, base)
        exponent = c.op("lshr", exponent, c.constant(1))
    return result


def _elementary(name: str) -> Row:
    def row(c: Context, *operands: str) -> str:
        return c.function.elementary(name, c.dtype, c.lanes, operands)

    return row


def _sech2(c: Context, x: str) -> str:
    """4 e / (1 + e)² with e = exp(-2 |x|)."""
    e = _elementary("exp")(c, c.op("fmul", c.intrinsic("fabs", x), c.constant(-2.0)))
    rise = c.op("fadd", e, c.constant(1.0))
    return c.op("fdiv", c.op("fmul", e, c.constant(4.0)), c.op("fmul", rise, rise))


def _logaddexp(c: Context, a: str, b: str) -> str:
    """Beside a zero it is softplus."""
    zero = c.constant(0.0)
    if zero in (a, b):
        return _elementary("softplus")(c, b if a == zero else a)
    return _elementary("logaddexp")(c, a, b)


def _scale(c: Context, g: str, d: str, *, divide: bool) -> str:
    """g * d or g / d, but +0 where g is 0."""
    y = c.op("fdiv" if divide else "fmul", g, d)
    zero = c.constant(0.0)
    return c.select(c.op("fcmp oeq", g, zero), zero, y)


def _product(c: Context, a: str, b: str) -> str:
    """a * b, but +0 where either is 0."""
    zero = c.constant(0.0)
    none = c.op("or", c.op("fcmp oeq", a, zero), c.op("fcmp oeq", b, zero), type=c.mask)
    return c.select(none, zero, c.op("fmul", a, b))


def _where(c: Context, condition: str, a: str, b: str) -> str:
    t = llvm_type(c.result, c.lanes)
    return c.select(condition, a, b, type=t)


def _cast(c: Context, x: str) -> str:
    """NumPy's astype on x86: floats out of range become the lowest integer of the width they are converted
    in."""
    source, target = c.dtype, c.result
    if source == target:
        return x
    to = llvm_type(target, c.lanes)
    if target == BOOL:
        return c.op("fcmp une" if source.kind == "f" else "icmp ne", x, c.constant(0))
    if source.kind == "f" and target.kind == "f":
        return c.convert("fpext" if target == F64 else "fptrunc", x, c.type, to)
    if target.kind == "f":
        return c.convert("sitofp" if source.kind == "i" else "uitofp", x, c.type, to)
    if source.kind == "f":
        return _float_to_integer(c, x)
    if target.itemsize > source.itemsize or source == BOOL:
        return c.convert("sext" if source.kind == "i" else "zext", x, c.type, to)
    return x if target.itemsize == source.itemsize else c.convert("trunc", x, c.type, to)


def _float_to_integer(c: Context, x: str) -> str:
    """Through i32 for narrow targets; values of the wide unsigned ones are shifted down by half their range.

    Out of range, NumPy's arrays and scalars differ for u32: a scalar goes through i64.
    """
    target = c.result
    unsigned = target.kind == "u" and target.itemsize >= 4 and (target.itemsize == 8 or c.lanes > 1)
    if unsigned:
        signed = NAMES[f"i{target.itemsize * 8}"]
        half = 2 ** (target.itemsize * 8 - 1)
        large = c.op("fcmp oge", x, c.constant(float(half)))
        shifted = c.select(large, c.op("fsub", x, c.constant(float(half))), x)
        low = _to_signed(c, shifted, signed)
        t = llvm_type(signed, c.lanes)
        flipped = c.select(large, literal(-half, signed, c.lanes), literal(0, signed, c.lanes), t)
        return c.op("xor", low, flipped, type=t)
    through = I64 if target in (I64, NAMES["u32"]) else NAMES["i32"]
    whole = _to_signed(c, x, through)
    if through.itemsize == target.itemsize:
        return whole
    return c.convert("trunc", whole, llvm_type(through, c.lanes), llvm_type(target, c.lanes))


def _to_signed(c: Context, x: str, target: np.dtype) -> str:
    """fptosi where the value fits, else the lowest integer (what the x86 instruction gives)."""
    bits = target.itemsize * 8
    low, high = c.constant(-(2.0 ** (bits - 1))), c.constant(2.0 ** (bits - 1))
    above = c.op("fcmp oge", x, low)
    if c.dtype == F64 and bits == 32:  # values between -2**31 - 1 and -2**31 still truncate into range
        above = c.op("fcmp ogt", x, c.constant(-(2.0**31) - 1))
    fits = c.op("and", above, c.op("fcmp olt", x, high), type=c.mask)
    safe = c.select(fits, x, c.constant(0.0))
    t = llvm_type(target, c.lanes)
    whole = c.convert("fptosi", safe, c.type, t)
    return c.select(fits, whole, literal(-(2 ** (bits - 1)), target, c.lanes), type=t)


def _clamp_index(c: Context, i: str, *, size: int) -> str:
    """The index, or 0 where it is out of bounds."""
    return c.select(c.op("icmp ult", i, c.constant(size)), i, c.constant(0))


def _within(c: Context, i: str, *, size: int) -> str:
    """Is the index not negative, and below the size?"""
    return c.op("icmp ult", i, c.constant(size))


def _better(f: str, i: str, u: str) -> Row:
    """Does x beat the best so far? The first NaN does, and stays."""

    def row(c: Context, x: str, best: str) -> str:
        wins = _compare(f, i, u)(c, x, best)
        if c.dtype.kind != "f":
            return wins
        first_nan = c.op("and", _is_nan(c, x), c.op("fcmp ord", best, best), type=c.mask)
        return c.op("or", wins, first_nan, type=c.mask)

    return row


ROWS: dict[str, Row] = {
    **{name: _elementary(name) for name in (*ELEMENTARY, *SCIPY_NAMES) if name != "softplus"},
    "logaddexp": _logaddexp,
    "sech2": _sech2,
    "neg": _by_kind(
        f=lambda c, x: c.op("fneg", x),
        i=lambda c, x: c.op("sub", c.constant(0), x),
        u=lambda c, x: c.op("sub", c.constant(0), x),
    ),
    "abs": _by_kind(
        f=lambda c, x: c.intrinsic("fabs", x),
        i=lambda c, x: c.select(c.op("icmp slt", x, c.constant(0)), c.op("sub", c.constant(0), x), x),
        u=lambda c, x: x,
    ),
    "sign": _by_kind(f=_float_sign, i=_integer_sign, u=_unsigned_sign),
    "sqrt": lambda c, x: c.intrinsic("sqrt", x),
    "floor": lambda c, x: c.intrinsic("floor", x),
    "ceil": lambda c, x: c.intrinsic("ceil", x),
    "trunc": lambda c, x: c.intrinsic("trunc", x),
    "rint": lambda c, x: c.intrinsic("rint", x),
    "invert": lambda c, x: c.op("xor", x, c.constant(True if c.dtype == BOOL else -1)),
    "copy": lambda c, x: x,
    "stop_gradient": lambda c, x: x,
    "add": _instruction(f="fadd", i="add"),
    "sub": _instruction(f="fsub", i="sub"),
    "mul": _instruction(f="fmul", i="mul"),
    "div": _instruction(f="fdiv"),
    "scale": _scale,
    "product": _product,
    "floor_divide": _by_kind(
        f=lambda c, a, b: _float_divmod(c, a, b)[0], i=_floor_divide_integers, u=_floor_divide_integers
    ),
    "remainder": _by_kind(
        f=lambda c, a, b: _float_divmod(c, a, b)[1], i=_remainder_integers, u=_remainder_integers
    ),
    "power": _by_kind(f=_elementary("power"), i=_integer_power, u=_integer_power),
    "maximum": _by_kind(f=_maximum, i=_maximum, u=_maximum, b=lambda c, a, b: c.op("or", a, b)),
    "minimum": _by_kind(f=_minimum, i=_minimum, u=_minimum, b=lambda c, a, b: c.op("and", a, b)),
    "eq": _compare("oeq", "eq", "eq"),
    "ne": _compare("une", "ne", "ne"),
    "lt": _compare("olt", "slt", "ult"),
    "le": _compare("ole", "sle", "ule"),
    "gt": _compare("ogt", "sgt", "ugt"),
    "ge": _compare("oge", "sge", "uge"),
    "and": _instruction(i="and", b="and"),
    "or": _instruction(i="or", b="or"),
    "xor": _instruction(i="xor", b="xor"),
    "shift_left": _shift(left=True),
    "shift_right": _shift(left=False),
    "where": _where,
    "cast": _cast,
    "clamp_index": _clamp_index,
    "within": _within,
    "better_argmax": _better("ogt", "sgt", "ugt"),
    "better_argmin": _better("olt", "slt", "ult"),
}
"""What each elementwise op of the table becomes (`require` is the loop IR's Check), and a few of the loops'
own."""
