"""Matrix products against OpenBLAS, the one that NumPy brings, on a grid of shapes: ratios of times by class.

    python -m benchmarks.matmul [--threads 1|2] [--only TEXT] [--count N] [--seed S] [--all] [--json FILE]

Sizes are drawn from 1 to 2048 a side, every transposition, float32 and float64, from a seed, so that two runs
measure the same products. On one thread, both sides are loops of machine code around the product (OpenBLAS is
called as NumPy calls it: dot, gemv or gemm, and one after another in a batch), so that neither pays for
Python: what NumPy's own call adds stands above the table. On two threads whole calls are compared, for
products that are worth it: a compiled function of two arrays against np.matmul(out=). A ratio is OpenBLAS's
time by ours, each the best of rounds in turns: above 1 we are faster.

OpenBLAS may not know the machine and take kernels of an older one; OPENBLAS_CORETYPE=SkylakeX in the
environment makes it take those for AVX-512. The compile times are those of LLVM: parsing and code generation.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")  # else its threads spin for 0.1 s on the cores of ours

import argparse
import ctypes
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

import gradc
from gradc.codegen import matmul

ROUNDS = 7
SECONDS = 0.0015
"""About how long each side runs in one round, if one product is not longer."""

WARM = 0.012
"""So long each side runs before it is timed on two threads: until the other side's threads sleep, and the
system has spread its own over the cores."""

SIZES = (1, 2, 3, 5, 8, 16, 31, 32, 64, 100, 128, 256, 384, 512, 768, 1024, 2048)
FORMS = ("nn", "nt", "tn", "tt")

LARGEST = 1 << 30
"""Multiply-adds of the largest products of the grid, but for the two that are written out."""


@dataclass(frozen=True)
class Case:
    """C[m, n] = A @ B; `form` is "nn", "tn" (A.T @ B), "nt" (A @ B.T) or "tt"."""

    group: str
    dtype: str
    m: int
    n: int
    k: int
    form: str = "nn"
    batch: int = 1

    def __str__(self) -> str:
        batch = f"{self.batch} x " if self.batch > 1 else ""
        return f"{self.dtype} {batch}({self.m}, {self.n}, {self.k}) {self.form}"

    @property
    def work(self) -> int:
        """Multiply-adds."""
        return self.batch * self.m * self.n * self.k

    @property
    def numpy_dtype(self) -> np.dtype:
        return np.dtype(self.dtype[0] + str(int(self.dtype[1:]) // 8))

    def operands(self) -> tuple[np.ndarray, np.ndarray]:
        """A and B as they lie in memory: transposed, if they are to be read so."""
        rng = np.random.default_rng(0)
        ta, tb = (letter == "t" for letter in self.form)
        shapes = ((self.k, self.m) if ta else (self.m, self.k), (self.n, self.k) if tb else (self.k, self.n))
        a, b = (rng.standard_normal((self.batch, *s), np.float32).astype(self.numpy_dtype) for s in shapes)
        return a, b

    def views(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The operands as NumPy multiplies them."""
        x, y = (z.swapaxes(1, 2) if letter == "t" else z for z, letter in zip((a, b), self.form, strict=True))
        return (x[0], y[0]) if self.batch == 1 else (x, y)


KNOWN = [
    *[Case("layers", "f32", *sizes) for sizes in [
        (32, 64, 64), (32, 10, 32), (64, 64, 32, "tn"), (32, 64, 64, "nt"), (32, 32, 10, "nt"),
        (32, 10, 32, "tn"), (64, 64, 64), (64, 64, 64, "tn"), (64, 64, 64, "nt"), (128, 256, 784),
        (784, 256, 128, "tn"), (128, 128, 256), (128, 256, 128, "nt"), (256, 128, 128, "tn"), (128, 10, 128),
        (128, 10, 128, "tn"), (128, 128, 10, "nt"), (512, 1024, 1024), (1024, 1024, 512, "tn"),
        (512, 1024, 1024, "nt"), (512, 1024, 784), (512, 10, 1024), (1024, 10, 512, "tn"),
        (512, 1024, 10, "nt"),
        (512, 128, 128), (512, 512, 128), (512, 128, 512), (128, 512, 512, "tn"), (512, 384, 128),
    ]],
    *[Case("layers", "f64", *sizes) for sizes in [
        (64, 64, 64), (569, 1, 30), (1, 30, 569), (30, 1, 569, "tn"), (300, 200, 1), (1000, 1000, 1000),
    ]],
    *[Case("batched", dtype, *sizes) for dtype in ("f32", "f64") for sizes in [
        (64, 64, 32, "nt", 32), (64, 32, 64, "nn", 32), (64, 32, 64, "tn", 32), (16, 16, 16, "nn", 64),
        (50, 50, 32, "nt", 32), (3, 3, 3, "nn", 1000), (4, 4, 4, "nn", 1000), (2, 2, 2, "nt", 1000),
        (1, 64, 64, "nn", 100), (64, 1, 64, "nn", 100), (1, 1, 64, "nn", 500), (8, 8, 8, "tn", 500),
        (128, 128, 64, "nt", 16), (256, 256, 64, "nt", 8), (31, 5, 16, "tt", 64), (100, 100, 100, "nn", 10),
    ]],
    Case("large", "f32", 2048, 2048, 2048), Case("large", "f64", 2048, 2048, 1024, "nt"),
]  # fmt: skip


def group(m: int, n: int, k: int) -> str:
    """The class of a shape."""
    if 1 in (m, n):
        return "vector"
    if max(m, n, k) <= 64:
        return "small"
    return "skinny" if min(m, n, k) <= 16 else "middle" if min(m, n, k) <= 64 else "large"


def grid(count: int, seed: int) -> list[Case]:
    """The known cases, and `count` shapes of each class."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[Case]] = {name: [] for name in ("small", "skinny", "vector", "middle", "large")}
    while min(map(len, found.values())) < count:
        m, n, k = (int(rng.choice(SIZES)) for _ in range(3))
        name, form, dtype = group(m, n, k), str(rng.choice(FORMS)), str(rng.choice(("f32", "f64")))
        case = Case(name, dtype, m, n, k, form)
        if case.work <= LARGEST and len(found[name]) < count and case not in found[name]:
            found[name].append(case)
    return [*KNOWN, *(case for cases in found.values() for case in cases)]


REPEAT = """
define void @{name}(ptr %a, ptr %b, ptr %c, ptr %scratch, i64 %times) #1 {{
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %next, %loop ]
  call void @{product}(ptr %a, ptr %b, ptr %c, ptr %scratch)
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""


class Native:
    """LLVM text compiled for this machine, with the milliseconds that parsing and code generation took."""

    def __init__(self, text: str, codegen: int = 1) -> None:
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=codegen,
            codemodel="small",
        )
        start = time.perf_counter()
        module = llvm.parse_assembly(text + "\nattributes #1 = { nounwind noinline }\n")
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()
        self.milliseconds = 1e3 * (time.perf_counter() - start)

    def function(self, name: str, *kinds: type) -> Callable[..., None]:
        return ctypes.CFUNCTYPE(None, *kinds)(self.engine.get_function_address(name))


def peak(dtype: str, vector_bytes: int) -> float:
    """GFLOP/s of independent multiply-adds on registers."""
    size = int(dtype[1:]) // 8
    lanes, chains, turns = vector_bytes // size, 12, 10**6
    kind = f"<{lanes} x {'float' if size == 4 else 'double'}>"
    lines = ["define void @product(ptr %c) #1 {", f"  %x = load {kind}, ptr %c, align {size}"]
    lines += ["  br label %loop", "loop:"]
    lines.append("  %i = phi i64 [ 0, %0 ], [ %next, %loop ]")
    lines += [f"  %s{j} = phi {kind} [ %x, %0 ], [ %t{j}, %loop ]" for j in range(chains)]
    fma = f"call {kind} @llvm.fmuladd.v{lanes}f{size * 8}({kind} %x, {kind} %x, {kind} "
    lines += [f"  %t{j} = {fma}%s{j})" for j in range(chains)]
    lines.append("  %next = add i64 %i, 1")
    lines.append(f"  %more = icmp ult i64 %next, {turns}\n  br i1 %more, label %loop, label %done\ndone:")
    lines += [f"  store volatile {kind} %t{j}, ptr %c, align {size}" for j in range(chains)]
    native = Native("\n".join(lines) + "\n  ret void\n}\n", 2)
    run, memory = native.function("product", ctypes.c_void_p), np.zeros(64)
    seconds = best([lambda: run(memory.ctypes.data)], 5)[0]
    return 2e-9 * lanes * chains * turns / seconds


Work = Callable[[], object]


def best(runs: Sequence[Work], rounds: int, warm: float = 0.0) -> list[float]:
    """Seconds of each, the best of alternating rounds; each runs for `warm` seconds before."""
    times = [float("inf")] * len(runs)
    for _ in range(rounds):
        for i, run in enumerate(runs):
            start = time.perf_counter()
            while warm and time.perf_counter() - start < warm:
                run()
            start = time.perf_counter()
            run()
            times[i] = min(times[i], time.perf_counter() - start)
    return times


def openblas_text(case: Case, library: ctypes.CDLL) -> str:
    """`@theirs`: what NumPy would call for the product."""
    ta, tb = (letter == "t" for letter in case.form)
    letter, kind = ("s", "float") if case.dtype == "f32" else ("d", "double")
    size = case.numpy_dtype.itemsize
    m, n, k = case.m, case.n, case.k
    one, zero = f"{kind} 1.0", f"{kind} 0.0"
    flag = {False: "i32 111", True: "i32 112"}

    def address(name: str) -> str:
        symbol = getattr(library, f"scipy_cblas_{letter}{name}64_")
        return f"inttoptr (i64 {ctypes.cast(symbol, ctypes.c_void_p).value} to ptr)"

    if m == n == 1:
        call = [
            f"  %x = call {kind} {address('dot')}(i64 {k}, ptr %a0, i64 1, ptr %b0, i64 1)",
            f"  store {kind} %x, ptr %c0, align {size}",
        ]
    elif 1 in (m, n):
        matrix, vector, transposed, outer = ("%b0", "%a0", not tb, n) if m == 1 else ("%a0", "%b0", ta, m)
        rows, columns = (k, outer) if transposed else (outer, k)
        call = [
            f"  call void {address('gemv')}(i32 101, {flag[transposed]}, i64 {rows}, i64 {columns}, {one}, "
            f"ptr {matrix}, i64 {columns}, ptr {vector}, i64 1, {zero}, ptr %c0, i64 1)"
        ]
    else:
        call = [
            f"  call void {address('gemm')}(i32 101, {flag[ta]}, {flag[tb]}, i64 {m}, i64 {n}, i64 {k}, "
            f"{one}, ptr %a0, i64 {m if ta else k}, ptr %b0, i64 {k if tb else n}, {zero}, ptr %c0, i64 {n})"
        ]
    moves = [
        line
        for x, elements in (("a", m * k), ("b", k * n), ("c", m * n))
        for line in (
            f"  %{x}.at = mul i64 %i, {elements * size}",
            f"  %{x}0 = getelementptr i8, ptr %{x}, i64 %{x}.at",
        )
    ]
    return "\n".join([
        "define void @theirs(ptr %a, ptr %b, ptr %c, ptr %scratch) #1 {",
        "  br label %loop", "loop:", "  %i = phi i64 [ 0, %0 ], [ %next, %loop ]", *moves, *call,
        "  %next = add i64 %i, 1", f"  %more = icmp ult i64 %next, {case.batch}",
        "  br i1 %more, label %loop, label %done", "done:", "  ret void", "}",
    ])  # fmt: skip


@dataclass
class Result:
    """A measured case: microseconds of both, the lines of our text and the milliseconds LLVM took for it."""

    case: Case
    ours: float
    theirs: float
    lines: int = 0
    compile_ms: float = 0.0

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours

    def row(self, peaks: dict[str, float]) -> str:
        case = self.case
        rate = 2e-3 * case.work / self.ours
        return (
            f"{case.group:9}{case!s:32}{self.ours:10.2f}{self.theirs:10.2f}{self.ratio:8.2f}{rate:9.1f}"
            f"{100 * rate / peaks[case.dtype]:7.0f}{self.lines:7}{self.compile_ms:7.1f}"
        )


HEADER = (
    f"{'class':9}{'product':32}{'us':>10}{'OpenBLAS':>10}{'ratio':>8}{'GFLOP/s':>9}{'peak %':>7}{'lines':>7}"
    f"{'ms':>7}"
)

IN_PARTS = """
define void @ours(ptr %a, ptr %b, ptr %c, ptr %scratch) #1 {{
  %table = alloca [4 x ptr]
  %b.at = getelementptr ptr, ptr %table, i64 1
  %c.at = getelementptr ptr, ptr %table, i64 2
  %s.at = getelementptr ptr, ptr %table, i64 3
  store ptr %a, ptr %table
  store ptr %b, ptr %b.at
  store ptr %c, ptr %c.at
  store ptr %scratch, ptr %s.at
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %next, %loop ]
  call void @task(ptr %table, i64 %i, ptr null, i64 0)
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, {parts}
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""


def our_text(case: Case, vector_bytes: int) -> tuple[str, int]:
    """`@ours`, and the bytes of its scratch: a product in one piece, or all its parts one after another."""
    ta, tb = (letter == "t" for letter in case.form)
    sizes = case.dtype, case.batch, case.m, case.n, case.k
    flags = {"transpose_a": ta, "transpose_b": tb, "batch_a": True, "batch_b": True}
    task = matmul.define_parts("task", *sizes, **flags, vector_bytes=vector_bytes)
    if task is not None:
        return task.text + IN_PARTS.format(parts=task.parts), task.scratch
    product = matmul.define("ours", *sizes, **flags, vector_bytes=vector_bytes)
    return product.text, product.scratch


def in_kernel(case: Case, library: ctypes.CDLL, vector_bytes: int) -> Result:
    """Both sides in loops of machine code, on one thread."""
    text, scratch_bytes = our_text(case, vector_bytes)
    native = Native(text + REPEAT.format(name="repeat", product="ours"))
    other = Native(openblas_text(case, library) + REPEAT.format(name="repeat", product="theirs"))
    arguments = [*[ctypes.c_void_p] * 4, ctypes.c_int64]
    run, peer = native.function("repeat", *arguments), other.function("repeat", *arguments)
    a, b = case.operands()
    c, d = (np.empty((case.batch, case.m, case.n), case.numpy_dtype) for _ in range(2))
    scratch = np.empty(scratch_bytes + 64, np.uint8)
    room = scratch.ctypes.data + -scratch.ctypes.data % 64
    pa, pb, pc, pd = (x.ctypes.data for x in (a, b, c, d))
    times = 1
    works = lambda: run(pa, pb, pc, room, times), lambda: peer(pa, pb, pd, room, times)
    slower = max(best(works, 2))
    rounds = ROUNDS
    if slower < SECONDS:
        times = max(1, int(SECONDS / max(best(works, 3))))
    else:
        rounds = max(2, min(ROUNDS, int(0.1 / slower)))
    ours, theirs = (1e6 * s / times for s in best(works, rounds))
    assert np.allclose(c, d, rtol=1e-3, atol=1e-3), case
    return Result(case, ours, theirs, text.count("\n"), native.milliseconds)


def whole_calls(case: Case, threads: int) -> Result:
    """A call of a compiled function against np.matmul, with so many threads each."""
    a, b = case.operands()
    ta, tb = (letter == "t" for letter in case.form)
    if case.batch == 1:
        a, b = a[0], b[0]

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        x, y = np.swapaxes(a, -1, -2) if ta else a, np.swapaxes(b, -1, -2) if tb else b
        return x @ y

    ours = gradc.compile(product, threads=threads)
    x, y = case.views(a, b) if case.batch > 1 else (a.T if ta else a, b.T if tb else b)
    out = np.empty(ours(a, b).shape, case.numpy_dtype)
    times = 1

    def run() -> None:
        for _ in range(times):
            ours(a, b)

    def peer() -> None:
        for _ in range(times):
            np.matmul(x, y, out=out)

    slower = max(best((run, peer), 2))
    times = max(1, int(SECONDS / slower))
    first, second = best((run, peer), ROUNDS if slower < 0.02 else 2, WARM)
    assert np.allclose(ours(a, b), out, rtol=1e-3, atol=1e-3), case
    return Result(case, 1e6 * first / times, 1e6 * second / times)


def measured(cases: Sequence[Case], options: argparse.Namespace) -> Iterator[Result]:
    library = ctypes.CDLL(next(x["filepath"] for x in threadpool_info() if x["internal_api"] == "openblas"))
    for case in cases:
        if options.threads == 1:
            yield in_kernel(case, library, options.vector_bytes)
        elif case.work >= 1 << 18:
            yield whole_calls(case, options.threads)


def summary(results: Sequence[Result]) -> str:
    """For each class: how many, the worst ratio, the geometric mean, and how many are below 0.95 or 1."""
    lines = [f"{'class':9}{'count':>6}{'worst':>8}{'mean':>8}{'< 0.95':>8}{'< 1':>6}{'lines':>8}{'ms':>7}"]
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.case.group, []).append(result)
    for name, found in (*groups.items(), ("all", list(results))):
        ratios = np.array([r.ratio for r in found])
        lines.append(
            f"{name:9}{len(found):6}{ratios.min():8.2f}{np.exp(np.log(ratios).mean()):8.2f}"
            f"{(ratios < 0.95).sum():8}{(ratios < 1).sum():6}{np.mean([r.lines for r in found]):8.0f}"
            f"{np.mean([r.compile_ms for r in found]):7.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vector-bytes", type=int, default=64)
    parser.add_argument("--only", default="", help="cases whose class or name contains this")
    parser.add_argument("--count", type=int, default=40, help="random shapes of each class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="print every product, not the 30 worst")
    parser.add_argument("--json", type=Path, help="write every result to this file")
    options = parser.parse_args()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cases = [case for case in grid(options.count, options.seed) if options.only in f"{case.group} {case}"]
    with threadpool_limits(options.threads, "blas"):
        blas = [f"{x['internal_api']} {x['version']} {x['architecture']}" for x in threadpool_info()]
        compiler = f"LLVM {'.'.join(map(str, llvm.llvm_version_info))} for {llvm.get_host_cpu_name()}"
        print(f"NumPy {np.__version__}, {', '.join(blas)}; {compiler}; threads: {options.threads}")
        peaks = {dtype: options.threads * peak(dtype, options.vector_bytes) for dtype in ("f32", "f64")}
        print("peak: " + ", ".join(f"{dtype} {value:.0f} GFLOP/s" for dtype, value in peaks.items()))
        tiny, out = np.ones((1, 1), np.float32), np.ones((1, 1), np.float32)
        call = best([lambda: [np.matmul(tiny, tiny, out=out) for _ in range(1000)]], ROUNDS)[0]
        print(f"np.matmul of 1 by 1: {1e3 * call:.2f} us\n")
        results = list(measured(cases, options))
    results.sort(key=lambda result: result.ratio)
    print(HEADER)
    for result in results if options.all else results[:30]:
        print(result.row(peaks))
    print("\n" + summary(results))
    if options.json:
        rows = [asdict(r.case) | {"us": r.ours, "openblas_us": r.theirs, "lines": r.lines, "ms": r.compile_ms}
                for r in results]  # fmt: skip
        head = {"blas": blas, "threads": options.threads, "peak": peaks,
                "coretype": os.environ.get("OPENBLAS_CORETYPE", "")}  # fmt: skip
        options.json.write_text(json.dumps({"machine": head, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
