"""Matrix products against NumPy's BLAS on one thread: GFLOP/s of both, their ratio, and the core's peak.

    python -m benchmarks.matmul [--passes 0..3] [--codegen 0..3] [--vector-bytes 16|32|64] [--only TEXT]

Both sides run alternately, and each figure is the best of many rounds of the thread's own time. NumPy's time
includes its call from Python (about 1 us). OpenBLAS may not know the machine and take kernels of an older
one; OPENBLAS_CORETYPE=SkylakeX in the environment makes it take those for AVX-512. The compile times are
those of LLVM: parsing, passes, code generation.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from gradc.codegen import matmul

ROUNDS = 15
SECONDS = 0.004


@dataclass(frozen=True)
class Case:
    """C[m, n] = A @ B; `form` is "nn", "tn" (A.T @ B) or "nt" (A @ B.T)."""

    dtype: str
    m: int
    n: int
    k: int
    form: str = "nn"
    batch: int = 1

    def __str__(self) -> str:
        batch = f"{self.batch} x " if self.batch > 1 else ""
        return f"{self.dtype} {batch}({self.m}, {self.n}, {self.k}) {self.form}"


CASES = [
    Case("f32", 32, 64, 64),
    Case("f32", 32, 10, 32),
    Case("f32", 64, 64, 32, "tn"),
    Case("f32", 32, 64, 64, "nt"),
    Case("f32", 32, 32, 10, "nt"),
    Case("f32", 32, 10, 32, "tn"),
    Case("f32", 64, 64, 64),
    Case("f32", 64, 64, 64, "tn"),
    Case("f32", 64, 64, 64, "nt"),
    Case("f32", 128, 256, 784),
    Case("f32", 784, 256, 128, "tn"),
    Case("f32", 128, 128, 256),
    Case("f32", 128, 256, 128, "nt"),
    Case("f32", 256, 128, 128, "tn"),
    Case("f32", 128, 10, 128),
    Case("f32", 128, 10, 128, "tn"),
    Case("f32", 128, 128, 10, "nt"),
    Case("f32", 512, 1024, 1024),
    Case("f32", 1024, 1024, 512, "tn"),
    Case("f32", 512, 1024, 1024, "nt"),
    Case("f32", 512, 1024, 784),
    Case("f32", 512, 10, 1024),
    Case("f32", 1024, 10, 512, "tn"),
    Case("f32", 512, 1024, 10, "nt"),
    Case("f32", 1000, 1000, 1000),
    Case("f64", 64, 64, 64),
    Case("f64", 256, 256, 256),
    Case("f64", 512, 1024, 1024),
    Case("f64", 512, 1024, 1024, "nt"),
    Case("f64", 569, 1, 30),
    Case("f64", 1, 30, 569),
    Case("f64", 30, 1, 569, "tn"),
    Case("f64", 1000, 1, 1000),
    Case("f64", 1, 1000, 1000),
    Case("f64", 1, 1, 100),
    Case("f64", 1, 1, 10000),
    Case("f64", 300, 200, 1),
    Case("f32", 1024, 1, 1024),
    Case("f32", 1024, 1, 1024, "tn"),
    Case("f32", 4, 512, 512),
    Case("f32", 4, 512, 512, "nt"),
    Case("f32", 1000, 2, 100),
    Case("f32", 1000, 3, 100, "nt"),
    Case("f32", 100, 3, 1000, "tn"),
    Case("f32", 16, 16, 16, batch=64),
    Case("f32", 50, 50, 32, "nt", batch=32),
]

REPEAT = """
define void @repeat(ptr %a, ptr %b, ptr %c, ptr %scratch, i64 %times) #1 {
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %next, %loop ]
  call void @product(ptr %a, ptr %b, ptr %c, ptr %scratch)
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}
attributes #1 = { nounwind }
"""


class Native:
    """LLVM text compiled for this machine, with the milliseconds that parsing, passes and codegen took."""

    def __init__(self, text: str, passes: int, codegen: int) -> None:
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=codegen,
            codemodel="small",
        )
        start = time.perf_counter()
        module = llvm.parse_assembly(text)
        parsed = time.perf_counter()
        if passes:
            options = llvm.create_pipeline_tuning_options(speed_level=passes)
            builder = llvm.create_pass_builder(machine, options)
            builder.getModulePassManager().run(module, builder)
        optimized = time.perf_counter()
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()
        done = time.perf_counter()
        self.times = [1e3 * t for t in (parsed - start, optimized - parsed, done - optimized)]

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
    native = Native("\n".join(lines) + "\n  ret void\n}\nattributes #1 = { nounwind }\n", 0, 2)
    run, memory = native.function("product", ctypes.c_void_p), np.zeros(64)
    seconds = best([lambda: run(memory.ctypes.data)], 5)[0]
    return 2e-9 * lanes * chains * turns / seconds


def best(runs: list[Callable[[], object]], rounds: int) -> list[float]:
    """Seconds of each, the best of alternating rounds."""
    times = [float("inf")] * len(runs)
    for _ in range(rounds):
        for i, run in enumerate(runs):
            start = time.thread_time()
            run()
            times[i] = min(times[i], time.thread_time() - start)
    return times


def measure(case: Case, options: argparse.Namespace) -> tuple[float, float, list[float], int]:
    """Seconds of one product here and in NumPy, milliseconds of compilation, lines of text."""
    ta, tb = (letter == "t" for letter in case.form)
    product = matmul.define(
        "product",
        case.dtype,
        case.batch,
        case.m,
        case.n,
        case.k,
        transpose_a=ta,
        transpose_b=tb,
        batch_a=True,
        batch_b=True,
        vector_bytes=options.vector_bytes,
    )
    native = Native(product.text + REPEAT, options.passes, options.codegen)
    repeat = native.function("repeat", *[ctypes.c_void_p] * 4, ctypes.c_int64)
    rng = np.random.default_rng(0)
    dtype = np.dtype(case.dtype[0] + str(int(case.dtype[1:]) // 8))
    a = rng.standard_normal((case.batch, case.k, case.m) if ta else (case.batch, case.m, case.k)).astype(
        dtype
    )
    b = rng.standard_normal((case.batch, case.n, case.k) if tb else (case.batch, case.k, case.n)).astype(
        dtype
    )
    c, d = (np.empty((case.batch, case.m, case.n), dtype) for _ in range(2))
    x, y = a.swapaxes(1, 2) if ta else a, b.swapaxes(1, 2) if tb else b
    if case.batch == 1:
        x, y, d = x[0], y[0], d[0]
    scratch = np.empty(product.scratch + 64, np.uint8)
    pointers = [z.ctypes.data for z in (a, b, c)] + [scratch.ctypes.data + -scratch.ctypes.data % 64]

    def ours() -> None:
        repeat(*pointers, times)

    def numpy() -> None:
        for _ in range(times):
            np.matmul(x, y, out=d)

    times = 1
    times = max(1, int(SECONDS / max(best([ours, numpy], 3))))
    seconds = best([ours, numpy], ROUNDS)
    assert np.allclose(c.reshape(d.shape), d, rtol=1e-3, atol=1e-3), case
    return seconds[0] / times, seconds[1] / times, native.times, product.text.count("\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--passes", type=int, default=0, help="level of LLVM's pass pipeline, 0 for none")
    parser.add_argument("--codegen", type=int, default=1, help="LLVM's code generation level")
    parser.add_argument("--vector-bytes", type=int, default=64)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    with threadpool_limits(1, "blas"):
        blas = [f"{x['internal_api']} {x['version']} {x['architecture']}" for x in threadpool_info()]
        compiler = f"LLVM {'.'.join(map(str, llvm.llvm_version_info))} for {llvm.get_host_cpu_name()}"
        print(f"NumPy {np.__version__}, {', '.join(blas)}; {compiler}")
        peaks = {dtype: peak(dtype, options.vector_bytes) for dtype in ("f32", "f64")}
        print("peak: " + ", ".join(f"{dtype} {value:.0f} GFLOP/s" for dtype, value in peaks.items()))
        print(f"{'product':34}{'us':>9}{'NumPy us':>10}{'GFLOP/s':>9}{'NumPy':>7}{'ratio':>7}{'peak %':>8}"
              f"{'lines':>7}  parse, passes, codegen ms")  # fmt: skip
        for case in CASES:
            if options.only not in str(case):
                continue
            ours, numpy, compile_ms, lines = measure(case, options)
            flops = 2e-9 * case.batch * case.m * case.n * case.k
            print(
                f"{case!s:34}{1e6 * ours:9.2f}{1e6 * numpy:10.2f}{flops / ours:9.1f}{flops / numpy:7.1f}"
                f"{numpy / ours:7.2f}{100 * flops / ours / peaks[case.dtype]:8.0f}{lines:7}  "
                + ", ".join(f"{t:.1f}" for t in compile_ms),
                flush=True,
            )


if __name__ == "__main__":
    main()
