"""The cold path of sin, cos and tan: huge arguments modulo pi/2, by the digits of 2/pi (Payne and Hanek).

x = m 2**e with an integer m of 53 bits. Of x (2/pi) only the part modulo 4 matters, so the 192 bits of 2/pi
that e selects, times m, give the quotient modulo 4 and its fraction to 128 bits; no double comes nearer to a
multiple of pi/2 than 2**-62. It runs one lane at a time, in a function of its own that is not inlined.
"""

from __future__ import annotations

from itertools import pairwise

from gradc.codegen.elementary.builder import F64, Code, Pair, Value, fast_two_sum, fma, select

# 2/pi = sum of word[i] 2**(-64 i): enough for exponents up to 1024 and 192 bits more.
TWO_OVER_PI_WORDS = (
    0x0000000000000000, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561,
    0xB7246E3A424DD2E0, 0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484, 0xE99C7026B45F7E41,
    0x3991D639835339F4, 0x9C845F8BBDF9283B, 0x1FF897FFDE05980F, 0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7,
    0x4F463F669E5FEA2D, 0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB,
)  # fmt: skip
HALF_PI_HIGH = 1.5707963267948966
HALF_PI_LOW = 6.123233995736766e-17
SYMBOL = "gradc.quarter_turns"


def huge_quarter_turns(x: Value, huge: Value, q: Value, r: Pair) -> tuple[Value, Pair]:
    """(q, r) as given, but computed anew in the lanes where `huge` holds, behind a branch."""
    code = x.code
    symbol, result = _lane_loop(code, x.kind)
    hot, cold, done = code.block, code.label("huge"), code.label("reduced")
    code.declare("llvm.expect.i1", "i1", "i1", "i1")
    any_huge = code.name(f"call i1 @llvm.expect.i1(i1 {code.any(huge)}, i1 false)")
    code.lines.append(f"  br i1 {any_huge}, label %{cold}, label %{done}")

    code.start(cold)
    # The other lanes get an argument within the table.
    reduced = code.name(f"call {result} @{symbol}({select(huge, x, 2.0**40)})")
    parts = [
        code.emit(kind, f"extractvalue {result} {reduced}, {i}") for i, kind in enumerate(_kinds(x.kind))
    ]
    parts = [select(huge, new, old) for new, old in zip(parts, (r.high, r.low, q), strict=True)]
    code.lines.append(f"  br label %{done}")

    code.start(done)
    high, low, q = (
        code.emit(new.kind, f"phi {code.type(new.kind)} [ {new.text}, %{cold} ], [ {old.text}, %{hot} ]")
        for new, old in zip(parts, (r.high, r.low, q), strict=True)
    )
    return q, Pair(high, low)


def _kinds(kind: str) -> tuple[str, str, str]:
    return kind, kind, "i32" if kind == "f32" else "i64"


def _lane_loop(code: Code, kind: str) -> tuple[str, str]:
    """Makes `code` depend on the function that reduces every lane of a vector: its symbol and result type."""
    lanes = code.lanes
    symbol = f"{SYMBOL}.{kind}.{lanes}"
    types = [code.type(k) for k in _kinds(kind)]
    result = f"{{ {', '.join(types)} }}"
    _require_reduction(code)
    lane = Code(1)
    x = Value(lane, "%x" if lanes == 1 else "%lane_x", kind)
    wide = x.widened() if kind == "f32" else x
    reduced = lane.name(f"call {{ double, double, i64 }} @{SYMBOL}({wide})")
    high, low, q = (
        lane.emit(k, f"extractvalue {{ double, double, i64 }} {reduced}, {i}")
        for i, k in enumerate(("f64", "f64", "i64"))
    )
    if kind == "f32":
        rounded = high.narrowed()
        high, low, q = rounded, ((high - rounded.widened()) + low).narrowed(), q.cast("trunc", "i32")
    body = "\n".join(lane.lines)
    head = f"define internal {result} @{symbol}({types[0]} %x) noinline cold nounwind {{\nentry:\n"
    if lanes == 1:
        collected = [value.text for value in (high, low, q)]
    else:
        phis, inserts = [], []
        for i, (type_, value) in enumerate(zip(types, (high, low, q), strict=True)):
            phis.append(f"  %old{i} = phi {type_} [ poison, %entry ], [ %new{i}, %lane ]")
            inserts.append(f"  %new{i} = insertelement {type_} %old{i}, {value}, i32 %i")
        head += "  br label %lane\nlane:\n  %i = phi i32 [ 0, %entry ], [ %next, %lane ]\n" + "\n".join(phis)
        head += f"\n  %lane_x = extractelement {types[0]} %x, i32 %i\n"
        body += "\n" + "\n".join(inserts)
        body += f"\n  %next = add i32 %i, 1\n  %more = icmp ult i32 %next, {lanes}"
        body += "\n  br i1 %more, label %lane, label %done\ndone:"
        collected = ["%new0", "%new1", "%new2"]
    for i, (type_, text) in enumerate(zip(types, collected, strict=True)):
        body += (
            f"\n  %r{i} = insertvalue {result} {'poison' if i == 0 else f'%r{i - 1}'}, {type_} {text}, {i}"
        )
    code.dependencies[symbol] = f"{head}{body}\n  ret {result} %r2\n}}\n"
    code.declarations.update(lane.declarations)
    return symbol, result


def _require_reduction(user: Code) -> None:
    """Gives `user` the scalar function: double -> { high, low, quotient modulo 4 }, 2**17 <= |x| < inf."""
    code = Code(1)
    x = Value(code, "%x", "f64")
    bits = x.bits
    exponent = ((bits >> 52) & 0x7FF) - 1075
    m = ((bits & F64.fraction_mask) | (1 << 52)).cast("zext", "i128")
    # The bit of 2/pi that weighs 2 after multiplication by 2**exponent is the first to matter.
    first = exponent + (64 - 2)
    index, shift = first >> 6, first & 63
    table = f"<{len(TWO_OVER_PI_WORDS)} x i64>"
    words = ", ".join(f"i64 {code.constant('i64', w).text}" for w in TWO_OVER_PI_WORDS)
    word = [code.emit("i64", f"extractelement {table} <{words}>, {index + i}") for i in range(4)]
    w0, w1, w2 = (code.intrinsic("fshl", a, b, shift).cast("zext", "i128") for a, b in pairwise(word))
    product = ((m * w0) << 64) + m * w1 + ((m * w2) >> 64)
    # product / 2**126 is x (2/pi) modulo 4; the nearest integer and the signed rest.
    q = (product + (1 << 125)) >> 126
    rest = product - (q << 126)
    negative = rest < 0
    size = select(negative, -rest, rest)
    zeros = _leading_zeros(size)
    size = size << zeros
    scale = ((1023 - zeros.cast("trunc", "i64")) << 52).as_float()
    high = (size >> 75).cast("trunc", "i64").cast("uitofp", "f64") * (scale * 2.0**-51)
    low = (size >> 11).cast("trunc", "i64").cast("uitofp", "f64") * (scale * 2.0**-115)
    p = high * HALF_PI_HIGH
    r = fast_two_sum(p, fma(high, HALF_PI_HIGH, -p) + fma(high, HALF_PI_LOW, low * HALF_PI_HIGH))
    q = q.cast("trunc", "i64")
    backwards = x < 0.0
    flip = negative ^ backwards
    results = [select(flip, -r.high, r.high), select(flip, -r.low, r.low), select(backwards, -q, q)]
    result = "{ double, double, i64 }"
    previous = "poison"
    for i, value in enumerate(results):
        previous = code.name(f"insertvalue {result} {previous}, {value}, {i}")
    head = f"define internal {result} @{SYMBOL}(double %x) noinline cold nounwind {{"
    body = [head, "entry:", *code.lines, f"  ret {result} {previous}", "}\n"]
    user.dependencies[SYMBOL] = "\n".join(body)
    user.declarations.update(code.declarations)


def _leading_zeros(x: Value) -> Value:
    x.code.declare("llvm.ctlz.i128", "i128", "i128", "i1")
    return x.code.emit("i128", f"call i128 @llvm.ctlz.i128({x}, i1 true)")
