"""The elementary functions: errors in ulps, special values, equal lanes, and nothing left undefined."""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Callable
from fractions import Fraction

import llvmlite.binding as llvm
import mpmath
import numpy as np
import pytest

from gradc.codegen import elementary
from gradc.codegen.baseline import for_baseline
from tests.codegen.elementary_harness import AVX512, DTYPES, apply, machine_of
from tests.codegen.elementary_reference import (
    NUMPY,
    REFERENCE,
    binades,
    extended,
    promised_errors,
    sample,
    ulps,
)
from tests.codegen.elementary_sweep import errors as native_errors
from tests.codegen.elementary_sweep import largest_error

# The largest error allowed, in ulps, in float32 and float64.
BOUNDS = {
    "exp": (0.80, 0.80), "exp2": (0.80, 0.80), "expm1": (0.90, 0.90), "expit": (0.80, 0.80),
    "log": (0.85, 0.90), "log1p": (0.85, 0.90), "log2": (0.97, 0.90), "log10": (0.90, 0.90),
    "logaddexp": (0.75, 0.75), "softplus": (0.995, 0.98), "tanh": (0.97, 0.90), "sinh": (0.95, 0.95),
    "cosh": (0.75, 0.85), "arcsinh": (0.97, 0.98), "arccosh": (0.95, 0.97), "arctanh": (0.97, 0.97),
    "sin": (0.75, 0.75), "cos": (0.75, 0.75), "tan": (0.90, 0.85),
    "arctan": (0.92, 0.85), "arctan2": (0.90, 0.85), "arcsin": (0.75, 0.75), "arccos": (0.75, 0.75),
    "erf": (0.90, 0.90), "erfc": (0.90, 0.95), "power": (0.70, 0.80),
    "cbrt": (0.51, 0.51), "hypot": (0.51, 0.51),
}  # fmt: skip
CASES = [(name, dtype) for name in elementary.NAMES for dtype in DTYPES]
LLVM = {"f32": "float", "f64": "double"}
IDS = [f"{name}-{dtype}" for name, dtype in CASES]


def test_every_function_has_a_bound() -> None:
    assert BOUNDS.keys() == elementary.NAMES.keys()


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=IDS)
def test_accuracy(name: str, dtype: str) -> None:
    size = 20_000 if dtype == "f32" else 2_000
    arguments = sample(name, dtype, size)
    results = apply(name, dtype, *arguments)
    errors = promised_errors(name, results, arguments, REFERENCE[name, dtype](*arguments))
    i = int(np.argmax(errors))
    where = f"{name}({', '.join(repr(a[i]) for a in arguments)}) = {results[i]!r}"
    assert errors[i] <= BOUNDS[name][dtype == "f64"], where


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize(("name", "dtype"), CASES, ids=IDS)
def test_accuracy_in_every_binade(name: str, dtype: str) -> None:
    """100,000 points of either sign in each binade where the function varies, and in all those beyond."""
    for arguments in binades(name, dtype, 100_000):
        results = apply(name, dtype, *arguments)
        errors = promised_errors(name, results, arguments, extended(name, dtype, *arguments))
        worst = np.argsort(errors)[-10:]
        arguments, results = [a[worst] for a in arguments], results[worst]
        errors = promised_errors(name, results, arguments, REFERENCE[name, dtype](*arguments))
        i = int(np.argmax(errors))
        where = f"{name}({', '.join(repr(a[i]) for a in arguments)}) = {results[i]!r}"
        assert errors[i] <= BOUNDS[name][dtype == "f64"], where


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", [name for name, arguments in elementary.NAMES.items() if arguments == 1])
def test_accuracy_at_every_float32(name: str) -> None:
    """All 2**32 arguments, beside the float64 function."""
    error, where = largest_error(name)
    assert error <= BOUNDS[name][0], f"{name}({where!r})"


HARD = {
    # The end of the series, and far from the middle of the tail.
    "erfc": (0.73675895, 1.3262001, 1.3290673, 9.214217),
}
"""Arguments in float32 that were, or are, among the worst."""


@pytest.mark.parametrize("name", HARD)
def test_hard_float32(name: str) -> None:
    x = np.resize(np.float32(HARD[name]), 8)
    assert native_errors(name, x).max() <= BOUNDS[name][0]
    exact = REFERENCE[name, "f64"](x.astype(np.float64))
    assert ulps(apply(name, "f32", x), exact).max() <= BOUNDS[name][0]


def special_arguments(dtype: str) -> np.ndarray:
    """Zeros, ones, infinities, NaN, the smallest and largest numbers, integers and halves, both signs."""
    limits = np.finfo(DTYPES[dtype])
    positive = [
        0,
        limits.smallest_subnormal,
        limits.smallest_normal,
        0.5,
        1,
        2,
        3,
        limits.max,
        np.inf,
        np.nan,
    ]
    positive += [2.5, 2**limits.nmant - 0.5, 2**limits.nmant + 1, 2 ** (limits.nmant + 1), 1e30]
    return np.array([*positive, *np.negative(positive)], DTYPES[dtype])


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=IDS)
def test_special_values(name: str, dtype: str) -> None:
    """Where NumPy's result is a zero, an infinity, NaN or an integer, so is ours, with the same sign."""
    x = special_arguments(dtype)
    arguments = [x] if elementary.NAMES[name] == 1 else [a.ravel() for a in np.meshgrid(x, x)]
    with np.errstate(all="ignore"):
        expected = NUMPY[name](*arguments)
    results = apply(name, dtype, *arguments)
    exact = (np.abs(expected) <= 16) & (expected == np.rint(expected)) | ~np.isfinite(expected)
    same = (results == expected) & (np.signbit(results) == np.signbit(expected))
    same |= np.isnan(results) & np.isnan(expected)
    wrong = [(*(a[i] for a in arguments), results[i], expected[i]) for i in np.flatnonzero(exact & ~same)]
    assert not wrong, "arguments, result, NumPy's"


@pytest.mark.long
@pytest.mark.parametrize(("name", "dtype"), CASES, ids=IDS)
def test_lanes_agree(name: str, dtype: str) -> None:
    arguments = [np.concatenate([a, special_arguments(dtype)]) for a in sample(name, dtype, 300)]
    expected = apply(name, dtype, *arguments, lanes=1)
    for lanes in (2, 4, 8, 16):
        results = apply(name, dtype, *arguments, lanes=lanes)
        number = ~np.isnan(expected)
        assert np.array_equal(np.isnan(results), ~number)
        assert results[number].tobytes() == expected[number].tobytes()


def undefined_symbols(elf: bytes) -> set[str]:
    """The names an ELF64 object file leaves to others."""
    (start,) = struct.unpack_from("<Q", elf, 0x28)
    entry, count = struct.unpack_from("<HH", elf, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, start + i * entry) for i in range(count)]
    (symbols,) = (s for s in sections if s[1] == 2)
    names = sections[symbols[6]][4]
    found = set()
    for at in range(symbols[4] + 24, symbols[4] + symbols[5], 24):  # the first symbol means none
        name, _, _, section = struct.unpack_from("<IBBH", elf, at)
        if section == 0:
            found.add(elf[names + name : elf.index(b"\0", names + name)].decode())
    return found


OTHERS = {
    "x86-64": ("x86_64-unknown-linux-gnu", False),
    "x86-64-v3": ("x86_64-unknown-linux-gnu", False),
    "x86-64-v4": ("x86_64-unknown-linux-gnu", True),
    "host": (None, AVX512),
    "cortex-a57": ("aarch64-unknown-linux-gnu", False),
}
"""Processors: the triple, and whether they have AVX-512."""


@pytest.mark.parametrize("cpu", OTHERS)
def test_nothing_is_left_undefined(cpu: str) -> None:
    """Every intrinsic becomes instructions, with SSE2, AVX2, AVX-512 and NEON; nothing is called that is not
    there."""
    triple, avx512 = OTHERS[cpu]
    machine = machine_of(cpu, triple)
    for dtype, lanes in (("f32", 1), ("f32", 16), ("f64", 1), ("f64", 4)):
        text = elementary.define_all([(name, dtype, lanes) for name in elementary.NAMES], avx512=avx512)
        # As it stands a function is internal, and would be dropped.
        text = re.sub(r"define internal (.*) #0", r"define \1 nounwind", text)
        if cpu == "x86-64":
            text = for_baseline(text)
        module = llvm.parse_assembly(text)
        module.triple, module.data_layout = machine.triple, str(machine.target_data)
        assert undefined_symbols(machine.emit_object(module)) == set()


@pytest.mark.long
@pytest.mark.parametrize(("name", "dtype"), CASES, ids=IDS)
@pytest.mark.skipif(not llvm.get_process_triple().startswith("x86_64"), reason="the code is run")
@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3"])
def test_accuracy_on_older_processors(name: str, dtype: str, cpu: str) -> None:
    """What is written for AVX2, and for SSE2 without fused multiply-add, runs here too, as exactly."""
    arguments = sample(name, dtype, 400)
    results = apply(name, dtype, *arguments, lanes=4, cpu=cpu)
    errors = promised_errors(name, results, arguments, REFERENCE[name, dtype](*arguments))
    i = int(np.argmax(errors))
    assert errors[i] <= 1, f"{name}({', '.join(repr(a[i]) for a in arguments)}) = {results[i]!r}"


def natively(name: str, dtype: str) -> Callable[..., float]:
    """LLVM's intrinsic of scalars, compiled for the first x86-64 if this is one."""
    kind, letters = LLVM[dtype], "abc" if name == "fma" else "a"
    operands = ", ".join(f"{kind} %{letter}" for letter in letters)
    text = f"""declare {kind} @llvm.{name}.{dtype}({", ".join([kind] * len(letters))})
define {kind} @f({operands}) {{
  %y = call {kind} @llvm.{name}.{dtype}({operands})
  ret {kind} %y
}}
"""
    machine = machine_of("x86-64" if llvm.get_process_triple().startswith("x86_64") else "host", jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(for_baseline(text)), machine)
    engine.finalize_object()
    number = ctypes.c_float if dtype == "f32" else ctypes.c_double
    function = ctypes.CFUNCTYPE(number, *[number] * len(letters))(engine.get_function_address("f"))
    function.engine = engine  # which owns the code
    return function


@pytest.mark.parametrize("dtype", DTYPES)
def test_fma_without_the_instruction(dtype: str) -> None:
    """Exact where the result is a number of the format; else within a trifle of half an ulp."""
    rng, kind = np.random.default_rng(3), DTYPES[dtype]
    a, b = ((rng.uniform(-1, 1, 4000) * np.exp2(rng.integers(-40, 40, 4000))).astype(kind) for _ in range(2))
    product = a * b
    c = np.concatenate([-product[:2000], (product * rng.uniform(-2, 2, 4000).astype(kind))[2000:]])
    function = natively("fma", dtype)
    for x, y, z in zip(a.tolist(), b.tolist(), c.tolist(), strict=True):
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        found = function(x, y, z)
        if Fraction(float(kind.type(float(exact)))) == exact:
            assert Fraction(found) == exact
        else:
            place = Fraction(float(np.spacing(kind.type(abs(found)))))
            assert abs(Fraction(found) - exact) <= Fraction(0.5001) * place
    assert np.signbit(function(-0.0, 1.0, -0.0))
    assert function(np.inf, 1.0, 1.0) == np.inf
    assert np.isnan(function(np.inf, 0.0, 1.0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["rint", "trunc", "floor", "ceil"])
def test_rounding_without_the_instruction(name: str, dtype: str) -> None:
    rng, kind = np.random.default_rng(4), DTYPES[dtype]
    x = np.concatenate([special_arguments(dtype), np.arange(-9, 9, 0.25), rng.normal(0, 9, 500)]).astype(kind)
    function = natively(name, dtype)
    found = np.array([function(value) for value in x.tolist()], kind)
    assert np.array_equal(found, getattr(np, name)(x), equal_nan=True)
    number = ~np.isnan(x)
    assert np.array_equal(np.signbit(found[number]), np.signbit(getattr(np, name)(x)[number]))


def test_definitions_are_written_once() -> None:
    text = elementary.define_all([("sin", "f32", 16), ("cos", "f32", 16), ("sin", "f32", 16)])
    heads = re.findall(r"^(?:define|declare).*@([\w.]+)\(", text, re.MULTILINE)
    assert len(heads) == len(set(heads))
    assert {"gradc.sin.f32.16", "gradc.cos.f32.16", "gradc.quarter_turns"} <= set(heads)


def test_refusals() -> None:
    with pytest.raises(KeyError, match="gamma"):
        elementary.define("gamma", "f32", 4)
    with pytest.raises(ValueError, match="f16"):
        elementary.define("exp", "f16", 4)


def test_mpmath_is_the_reference() -> None:
    """A wrong result is seen: one last place added to a right one is more than half an ulp off."""
    x = np.array([0.3])
    assert ulps(np.exp(x), REFERENCE["exp", "f64"](x))[0] < 0.51
    assert ulps(np.nextafter(np.nextafter(np.exp(x), 2), 2), REFERENCE["exp", "f64"](x))[0] > 1
    assert mpmath.mp.prec == 53
