"""Matrix products against NumPy: shapes around the tile sizes, transposes, batches, every element type."""

from __future__ import annotations

import ctypes
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

import gradc
from gradc.codegen import matmul
from gradc.codegen.matmul import plan
from gradc.codegen.matmul.drivers import entry
from gradc.codegen.matmul.packing import PARTED
from gradc.codegen.matmul.vectors import vectors

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()

DTYPES = {"f32": np.float32, "f64": np.float64, "bool": np.bool_} | {
    f"{sign}{bits}": np.dtype(f"{sign}{bits // 8}") for sign in "iu" for bits in (8, 16, 32, 64)
}


@dataclass(frozen=True)
class Case:
    """One product; `form` spells transposes ("nt" is A @ B.T) and, with "*", what the batch shares."""

    m: int
    n: int
    k: int
    form: str = "nn"
    batch: int = 1
    dtype: str = "f32"
    vector_bytes: int = 64

    def __str__(self) -> str:
        form = self.form.replace("*", "s")
        return f"{self.dtype}[{self.batch},{self.m},{self.n},{self.k}]{form}/{self.vector_bytes}"

    @cached_property
    def options(self) -> dict[str, bool]:
        letters = re.findall(r"[nt]\*?", self.form)
        names = zip("ab", letters, strict=True)
        return {
            key: value
            for name, letter in names
            for key, value in ((f"transpose_{name}", letter[0] == "t"), (f"batch_{name}", len(letter) == 1))
        }

    def product(self, symbol: str) -> matmul.Product:
        sizes = (self.batch, self.m, self.n, self.k)
        return matmul.define(symbol, self.dtype, *sizes, vector_bytes=self.vector_bytes, **self.options)

    def operands(self) -> tuple[np.ndarray, np.ndarray]:
        o = self.options
        a = (self.batch if o["batch_a"] else 1, *((self.k, self.m) if o["transpose_a"] else (self.m, self.k)))
        b = (self.batch if o["batch_b"] else 1, *((self.n, self.k) if o["transpose_b"] else (self.k, self.n)))
        rng = np.random.default_rng(sum(a) + 7 * sum(b))
        return _random(rng, a, self.dtype), _random(rng, b, self.dtype)

    def expected(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a = a.swapaxes(1, 2) if self.options["transpose_a"] else a
        b = b.swapaxes(1, 2) if self.options["transpose_b"] else b
        wide = {"f32": np.float64, "f64": np.longdouble}.get(self.dtype)
        c = np.matmul(a.astype(wide), b.astype(wide)) if wide else np.matmul(a, b)
        return np.broadcast_to(c, (self.batch, self.m, self.n))


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype in ("f32", "f64"):
        return rng.standard_normal(shape).astype(DTYPES[dtype])
    if dtype == "bool":
        return rng.random(shape) < 0.2
    limits = np.iinfo(DTYPES[dtype])
    return rng.integers(limits.min, limits.max, shape, DTYPES[dtype], endpoint=True)


def compile_text(text: str) -> llvm.ExecutionEngine:
    """Machine code for text that needs nothing from outside."""
    module = llvm.parse_assembly(text)
    module.verify()
    external = {f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")}
    assert external <= {"memcpy", "memset"}
    assert not list(module.global_variables)
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=1
    )
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


def engine_call(engine: llvm.ExecutionEngine, name: str, *kinds: Any) -> Any:
    return ctypes.CFUNCTYPE(None, *kinds)(engine.get_function_address(name))


class Compiled:
    """The cases' products in one module, callable by number."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.products = [case.product(f"product{i}") for i, case in enumerate(cases)]
        text = "\n".join(product.text for product in self.products) + "\nattributes #1 = { nounwind }\n"
        self.engine = compile_text(text)

    def __call__(self, number: int, case: Case, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """C, from operands aligned to one element only, with guards around C and scratch."""
        dtype = np.dtype(DTYPES[case.dtype])
        c = _Guarded(case.batch * case.m * case.n * dtype.itemsize, dtype.itemsize)
        scratch = _Guarded(self.products[number].scratch, 64)
        operands = [_Guarded(x.nbytes, dtype.itemsize) for x in (a, b)]
        for guarded, x in zip(operands, (a, b), strict=True):
            guarded.bytes[:] = np.frombuffer(x.tobytes(), np.uint8)
        entry = engine_call(self.engine, f"product{number}", *[ctypes.c_void_p] * 4)
        entry(*(x.bytes.ctypes.data for x in (*operands, c, scratch)))
        for guarded in (c, scratch):
            guarded.check()
        return np.frombuffer(c.bytes.tobytes(), dtype).reshape(case.batch, case.m, case.n)


class _Guarded:
    """`size` bytes at an odd multiple of `align`, in a buffer full of a pattern that makes any float NaN."""

    def __init__(self, size: int, align: int) -> None:
        self.buffer = np.full(size + 1024, 0xFF, np.uint8)
        self.start = 256 + (-self.buffer.ctypes.data - 256) % 128 + align
        self.bytes = self.buffer[self.start : self.start + size]

    def check(self) -> None:
        end = self.start + self.bytes.size
        assert (self.buffer[: self.start] == 0xFF).all() and (self.buffer[end:] == 0xFF).all(), (
            "written outside"
        )


def check(cases: Sequence[Case]) -> None:
    compiled = Compiled(cases)
    for number, case in enumerate(cases):
        a, b = case.operands()
        c = compiled(number, case, a, b)
        expected = case.expected(a, b)
        if case.dtype not in ("f32", "f64"):
            assert np.array_equal(c, expected), case
            continue
        # A sum in any order, fused or not, is off by at most k ulps of the sum of the sizes.
        bound = case.expected(abs(a), abs(b)) * (np.finfo(c.dtype).eps * (case.k + 1))
        assert (abs(c - expected) <= bound).all(), case


FORMS = ["nn", "nt", "tn", "tt"]
SMALL = [
    (1, 1, 1), (1, 1, 37), (1, 40, 5), (29, 1, 30), (41, 1, 7), (5, 3, 1), (3, 2, 70), (40, 2, 33),
    (4, 21, 19), (13, 31, 6), (14, 32, 8), (15, 33, 9), (32, 10, 17), (7, 49, 16), (29, 15, 2), (30, 64, 3),
    (9, 96, 15), (0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (6, 8, 64), (2, 100, 30), (57, 4, 23),
    (1, 8, 200), (1, 200, 9),
]  # fmt: skip
BLOCKED = [
    (61, 70, 110), (150, 129, 30), (53, 80, 140), (3, 256, 130), (1, 300, 90), (300, 1, 90), (70, 128, 129),
]  # fmt: skip
BATCHED = [
    (2, 3, 4), (5, 1, 9), (1, 17, 6), (1, 1, 20), (17, 33, 10), (4, 6, 1), (0, 3, 2), (3, 2, 0), (20, 3, 12),
]  # fmt: skip
SHARED = [
    ("".join(form), 3)
    for form in itertools.product(["n", "n*", "t", "t*"], repeat=2)
]  # fmt: skip


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("form", FORMS)
def test_small(form: str, dtype: str, vector_bytes: int) -> None:
    check([Case(*sizes, form, 1, dtype, vector_bytes) for sizes in SMALL])


@pytest.fixture
def small_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches so small that blocks, packing and streaming are needed for products that are quick to check."""
    sizes = {"PANEL": 2 << 10, "BLOCK": 8 << 10, "NEAR": 2 << 10, "FAR": 4 << 10, "PAGE": 256, "L1": 4 << 10}
    for name, size in sizes.items():
        monkeypatch.setattr(plan, f"{name}_BYTES", size)
    monkeypatch.setattr(plan, "BLOCK_ROWS", 16)


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
@pytest.mark.usefixtures("small_caches")
def test_blocked(form: str, vector_bytes: int) -> None:
    dtypes = ("f32", "f64") if vector_bytes == 64 else ("f32",)
    check([Case(*sizes, form, 1, dtype, vector_bytes) for sizes in BLOCKED for dtype in dtypes])


def test_blocks_cover_every_choice(small_caches: None) -> None:
    """The cases above meet every kind of plan, so that none is left untested."""
    met: set[str] = set()
    for sizes, form, vector_bytes in itertools.product(BLOCKED + SMALL, FORMS, (16, 32, 64)):
        if 0 in sizes:
            continue
        m, n, k = sizes
        ta, tb = (letter == "t" for letter in form)
        shape = plan.simplify(plan.Shape(1, m, n, k, ta, tb, False, False))
        shape, chosen = plan.choose(vectors("f32", vector_bytes), shape, vector_bytes)
        met |= {name for name in ("swapped", "transpose_c") if getattr(shape, name)}
        if isinstance(chosen, plan.DotPlan):
            met |= {name for name in ("flat", "pack_b") if getattr(chosen, name)} | {"dot"}
            continue
        met |= {"across"} if chosen.across else set()
        packed = "panel transposed" if shape.transpose_b else "panel copied"
        met |= {packed if chosen.pack_b else "panel in place"}
        met |= {"blocks of k"} if chosen.depths.count > 1 else {"all of k"}
        met |= {"blocks of rows"} if chosen.block_tiles < chosen.rows.count else set()
        met |= {"streamed"} if chosen.depths.count > 1 and not chosen.pack_b else set()
    assert met == {
        "swapped", "transpose_c", "dot", "flat", "pack_b", "across", "panel transposed",
        "panel copied", "panel in place", "blocks of k", "all of k", "blocks of rows", "streamed",
    }  # fmt: skip


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
@pytest.mark.parametrize("dtype", DTYPES)
def test_short_rows_side_by_side(dtype: str, vector_bytes: int) -> None:
    """Rows of B of a few elements, an odd number, are parted to columns a vector of rows at a time."""
    sizes = [(m, n, k) for k in (3, 5, 7) for m, n in ((1, 70), (9, 40))]
    check([Case(*each, "nt", batch, dtype, vector_bytes) for each in sizes for batch in (1, 2)])


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
def test_parted_columns(vector_bytes: int) -> None:
    """Every column of rows that lie side by side, from as many loads as they fill vectors."""
    v = vectors("f32", vector_bytes)
    for count in (k for k in PARTED if k < v.lanes):
        code = entry("parted")
        for i, column in enumerate(v.parted(code, "%a", count)):
            v.store(code, column, code.offset("%c", i * v.bytes))
        text = code.text()
        assert text.count("= load ") == count
        engine = compile_text(text + "\nattributes #1 = { nounwind }\n")
        rows = np.arange(v.lanes * count, dtype=np.float32).reshape(v.lanes, count)
        columns = np.zeros((count, v.lanes), np.float32)
        engine_call(engine, "parted", *[ctypes.c_void_p] * 4)(
            rows.ctypes.data, None, columns.ctypes.data, None
        )
        assert np.array_equal(columns, rows.T)


def test_tiles_whose_rows_compete_are_low() -> None:
    """Rows of A that share sets of L1 make a tile of many rows lose them from step to step."""

    def tallest(k: int) -> int:
        shape = plan.Shape(1, 512, 16, k, False, False, False, False)
        chosen = plan.choose(vectors("f32", 64), shape, 64)[1]
        assert isinstance(chosen, plan.BroadcastPlan)
        return chosen.rows.most

    assert tallest(1040) > 16 > tallest(1024)
    assert plan.lost_lines(12, 4096) == 0 < plan.lost_lines(13, 4096) and plan.lost_lines(30, 8192) == 30
    assert plan.lost_lines(24, 2048) == 0 < plan.lost_lines(25, 2048) and plan.lost_lines(30, 4160) == 0


def test_columns_that_compete_are_read_by_wide_tiles() -> None:
    """A transposed A whose rows share sets of L1 is read more often the narrower the tiles are."""

    shape = plan.Shape(1, 2048, 384, 512, True, False, False, False)
    chosen = plan.choose(vectors("f32", 64), shape, 64)[1]
    assert isinstance(chosen, plan.BroadcastPlan) and chosen.columns >= 32


@pytest.mark.parametrize(("form", "batch"), SHARED)
def test_batched(form: str, batch: int) -> None:
    cases = [Case(*sizes, form, batch, "f32", 32) for sizes in BATCHED]
    check([*cases, Case(30, 17, 20, form, batch, "f64", 64)])


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d not in ("f32", "f64")])
def test_exact(dtype: str) -> None:
    sizes = [(3, 5, 7), (1, 9, 4), (9, 1, 40), (1, 1, 33), (17, 18, 3), (4, 3, 0)]
    cases = [Case(*sizes, "nn", 1, dtype, 32) for sizes in sizes]
    check([*cases, Case(5, 18, 20, "nt", 2, dtype, 64), Case(5, 6, 7, "tn*", 2, dtype, 16)])


@pytest.mark.parametrize("vector_bytes", [16, 64])
@pytest.mark.parametrize("form", FORMS)
def test_not_finite(form: str, vector_bytes: int) -> None:
    """One NaN or infinity reaches its row or column of C and nothing else."""
    cases = [
        Case(*sizes, form, 1, "f32", vector_bytes)
        for sizes in [(5, 19, 7), (17, 3, 40), (1, 11, 37), (70, 90, 600)]
    ]
    compiled = Compiled(cases)
    for number, case in enumerate(cases):
        for special in (np.nan, np.inf, -np.inf):
            a, b = case.operands()
            a.flat[a.size // 2] = special
            b.flat[b.size // 3] = special
            with np.errstate(invalid="ignore"):
                expected = case.expected(a, b).astype(np.float32)
            c = compiled(number, case, a, b)
            finite = np.isfinite(expected)
            assert np.array_equal(c[~finite], expected[~finite], equal_nan=True), case
            assert np.isfinite(c[finite]).all(), case


def test_same_text() -> None:
    """The text, and so the order of summation, depends on the arguments only."""
    case = Case(33, 47, 65, "nt")
    assert case.product("f") == case.product("f")
    assert case.product("f").text != replace(case, k=66).product("f").text


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"'c64'.*f32, f64"):
        replace(Case(1, 1, 1), dtype="c64").product("f")
    with pytest.raises(ValueError, match="vector_bytes is 8"):
        replace(Case(1, 1, 1), vector_bytes=8).product("f")


# Products in parts.


THREADS = 3


def in_parts(case: Case) -> tuple[matmul.Task | None, np.ndarray, np.ndarray]:
    """The task for a case; the result of its parts, done from the last to the first; that in one piece."""
    sizes = case.dtype, case.batch, case.m, case.n, case.k
    task = matmul.define_parts("task", *sizes, vector_bytes=case.vector_bytes, **case.options)
    whole = case.product("product0")
    text = (task.text if task else "") + whole.text + "\nattributes #1 = { nounwind }\n"
    text = text.replace("define internal void @task", "define void @task")
    engine = compile_text(text)
    dtype = np.dtype(DTYPES[case.dtype])
    a, b = case.operands()
    results = []
    for scratch_size, name in ((whole.scratch, "product0"), (task.scratch if task else 0, "task")):
        c = np.full((case.batch, case.m, case.n), 7, dtype)
        room = _Guarded(scratch_size * (1 if name == "product0" else THREADS) + 64, 64)
        pointers = [a.ctypes.data, b.ctypes.data, c.ctypes.data, room.bytes.ctypes.data]
        if name == "product0":
            engine_call(engine, name, *[ctypes.c_void_p] * 4)(*pointers)
        elif task is not None:
            table = (ctypes.c_void_p * 4)(*pointers)
            numbers = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64
            run = engine_call(engine, name, ctypes.c_void_p, *numbers)
            for part in reversed(range(task.parts)):
                run(ctypes.addressof(table), part, None, part % THREADS)
        room.check()
        results.append(c)
    return task, results[0], results[1]


@pytest.mark.parametrize("vector_bytes", [16, 64])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["f32", "i16"])
@pytest.mark.usefixtures("small_caches")
def test_parts(form: str, dtype: str, vector_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts together are the product, bit by bit: tiles do not depend on how they are grouped."""
    monkeypatch.setattr(plan, "PART_CYCLES", 64)
    cuts = 0
    shapes = [
        (61, 70, 50),
        (90, 129, 20),
        (1, 300, 90),
        (90, 7, 130),
        (13, 4, 40, 5),
        (33, 40, 9, 2),
        (200, 1, 64),
    ]
    for m, n, k, *batch in shapes:
        case = Case(m, n, k, form, batch[0] if batch else 1, dtype, vector_bytes)
        task, whole, parts = in_parts(case)
        if task is not None:
            cuts += 1
            assert np.array_equal(whole, parts), case
    assert cuts >= 5


@pytest.mark.parametrize(
    "shapes", [((300, 300), (300, 700)), ((6, 100, 200), (6, 200, 90)), ((3000, 700), (700,))]
)
def test_threads(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """Large products are shared by threads, and have the same bits for any number of them."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape, np.float32) for shape in shapes)
    results = []
    for threads in (1, 2, 3, 4):
        compiled = gradc.compile(lambda a, b: a @ b, threads=threads)
        assert compiled.lower(a, b).kernels[0].chunks > 1
        results.append(compiled(a, b))
    np.testing.assert_allclose(results[0], a.astype(np.float64) @ b, rtol=1e-3, atol=1e-3)
    for result in results[1:]:
        assert np.array_equal(result, results[0])
