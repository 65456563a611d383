"""Instructions of AVX-512 that take the place of several portable ones, on vectors of any number of lanes.

LLVM has them for 128, 256 and 512 bits: what is shorter is padded, what is longer cut in two. Only code for a
target that has them (`Code.avx512`) may call these functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gradc.codegen.elementary.builder import FORMATS, Code, Value

LEAST, MOST = 128, 512  # bits of a vector
ROUND_AS_SET = 4  # the rounding mode in force, as an operand

# What `at_kinds` may put in place of a result.
KEEP, THE_NAN, NEW_NAN, MINUS_INFINITY, INFINITY = 0, 2, 3, 4, 5


def scaled(x: Value, k: Value) -> Value:
    """x * 2**floor(k), rounded once."""
    return _masked("scalef", [x, k])


def exponent(x: Value) -> Value:
    """floor(log2(|x|)) as a float, of subnormal numbers too; -inf at 0, inf at inf."""
    return _masked("getexp", [x])


def fraction(x: Value, from_one: bool = False) -> Value:
    """m with |x| = 2**k m and m in [0.75, 1.5), or in [1, 2); 1 at 0 and inf."""
    return _masked("getmant", [x], immediate=0b0100 if from_one else 0b0111)


def beyond_floor(x: Value) -> Value:
    """x - floor(x), rounded once; 0 at infinities."""
    return _masked("reduce", [x], immediate=0b1001)


def at_kinds(
    result: Value, x: Value, *, nan: int, zero: int, minus: int, plus: int, negative: int, positive: int
) -> Value:
    """`result`, or what the constants above say for the kind of x: NaN, 0, -inf, inf, below 0, above 0."""
    answers = (nan, nan, zero, positive, minus, plus, negative, positive)
    table = sum(answer << 4 * i for i, answer in enumerate(answers))

    def emit(code: Code, v: list[Value]) -> Value:
        return _call(code, "mask.fixupimm", [*v, code.constant(x.format.integer, table), ("i32", "0")])

    return _pieces([result, x], emit)


def chosen(index: Value, table: Sequence[float]) -> Value:
    """table[index modulo its size], of 32 numbers in float32 or 16 in float64: two registers full."""
    kind = "f32" if index.kind == "i32" else "f64"

    def emit(code: Code, v: list[Value]) -> Value:
        one = Code(1)
        scalars = [str(one.constant(kind, x)) for x in table]
        assert len(scalars) == 2 * code.lanes, len(scalars)
        low, high = (", ".join(scalars[i : i + code.lanes]) for i in (0, code.lanes))
        type_ = code.type(kind)
        return _call(code, "vpermi2var", [(type_, f"<{low}>"), v[0], (type_, f"<{high}>")], kind)

    return _pieces([index], emit, least=MOST)


def _masked(name: str, operands: list[Value], immediate: int | None = None) -> Value:
    def emit(code: Code, v: list[Value]) -> Value:
        first, *rest = v
        constants = [] if immediate is None else [("i32", str(immediate))]
        return _call(code, f"mask.{name}", [first, *constants, *rest, first])

    return _pieces(operands, emit)


def _call(code: Code, name: str, operands: Sequence[Value | tuple[str, str]], kind: str = "") -> Value:
    """The intrinsic in all lanes. Masks are full; of 512 bits, masked ones take a rounding mode as well."""
    kind = kind or next(v.kind for v in operands if isinstance(v, Value))
    bits = code.lanes * FORMATS[kind].bits
    listed = [(code.type(v.kind), v.text) if isinstance(v, Value) else v for v in operands]
    if name != "vpermi2var":
        listed.append((f"i{max(8, code.lanes)}", "-1"))
    if name.startswith("mask.") and bits == MOST:
        listed.append(("i32", str(ROUND_AS_SET)))
    symbol = f"llvm.x86.avx512.{name}.p{'s' if kind == 'f32' else 'd'}.{bits}"
    code.declare(symbol, code.type(kind), *(type_ for type_, _ in listed))
    arguments = ", ".join(f"{type_} {text}" for type_, text in listed)
    return code.emit(kind, f"call {code.type(kind)} @{symbol}({arguments})")


def _pieces(operands: list[Value], emit: Callable[[Code, list[Value]], Value], least: int = LEAST) -> Value:
    """`emit` on vectors that the processor has."""
    code, first = operands[0].code, operands[0]
    size = int(first.kind[1:])
    if code.lanes * size < least:
        wide = code.of_lanes(least // size)
        padded = emit(wide, [_taken(v, 0, code.lanes, wide) for v in operands])
        return _taken(padded, 0, code.lanes, code)
    if code.lanes * size > MOST:
        half = code.of_lanes(code.lanes // 2)
        low, high = (
            _pieces([_taken(v, i, half.lanes, half) for v in operands], emit, least) for i in (0, half.lanes)
        )
        order = ", ".join(f"i32 {i}" for i in range(code.lanes))
        return code.emit(low.kind, f"shufflevector {low}, {high}, <{code.lanes} x i32> <{order}>")
    return emit(code, operands)


def _taken(x: Value, start: int, count: int, code: Code) -> Value:
    """`count` lanes of x from `start`, as the first lanes of a value of `code`."""
    if x.code.lanes == 1:
        return code.emit(x.kind, f"insertelement {code.type(x.kind)} poison, {x}, i64 0")
    if code.lanes == 1:
        return code.emit(x.kind, f"extractelement {x}, i64 {start}")
    order = [f"i32 {start + i}" if i < count else "i32 poison" for i in range(code.lanes)]
    return code.emit(
        x.kind,
        f"shufflevector {x}, {x.code.type(x.kind)} poison, <{code.lanes} x i32> <{', '.join(order)}>",
    )
