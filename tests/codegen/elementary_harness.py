"""Compiles elementary functions to native code and applies them to arrays, for tests and measurements."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import llvmlite.binding as llvm
import numpy as np

from gradc.codegen import elementary
from gradc.codegen.baseline import for_baseline
from gradc.codegen.target import host

FUSED = {"host", "x86-64-v3", "x86-64-v4"}
AVX512 = host().avx512
DTYPES = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
_LOOP = """
define void @loop(ptr noalias %out, {params}, i64 %n) {{
entry:
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %body, label %done
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
{loads}
  %r = call {type} @{symbol}({arguments})
  %o = getelementptr {scalar}, ptr %out, i64 %i
  store {type} %r, ptr %o, align 4
  %next = add i64 %i, {lanes}
  %more = icmp slt i64 %next, %n
  br i1 %more, label %body, label %done
done:
  ret void
}}
attributes #0 = {{ alwaysinline nounwind }}
"""


def machine_of(cpu: str, triple: str | None = None, jit: bool = False) -> llvm.TargetMachine:
    """A machine for a CPU by LLVM's name, or the "host". An engine owns its machine: one for each."""
    if triple:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    else:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(triple or llvm.get_process_triple())
    if cpu == "host":
        features = llvm.get_host_cpu_features().flatten()
        return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=jit)
    return target.create_target_machine(cpu=cpu, opt=3, jit=jit)


def loop_text(symbol: str, dtype: str, lanes: int, arguments: int) -> str:
    """`loop(out, x[, y], n)`: the function of that symbol over n elements, a multiple of lanes."""
    scalar = "float" if dtype == "f32" else "double"
    type_ = scalar if lanes == 1 else f"<{lanes} x {scalar}>"
    letters = "xy"[:arguments]
    loads = "\n".join(
        f"  %p{c} = getelementptr {scalar}, ptr %a{c}, i64 %i\n  %{c} = load {type_}, ptr %p{c}, align 4"
        for c in letters
    )
    return _LOOP.format(
        params=", ".join(f"ptr %a{c}" for c in letters),
        arguments=", ".join(f"{type_} %{c}" for c in letters),
        loads=loads, type=type_, scalar=scalar, symbol=symbol, lanes=lanes,
    )  # fmt: skip


def engine_of(
    machine: llvm.TargetMachine, text: str, arguments: int
) -> tuple[llvm.ExecutionEngine, Callable[..., None]]:
    """The engine (which owns the code) and the C function `loop` of a text."""
    module = llvm.parse_assembly(text)
    module.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    pointers = [ctypes.c_void_p] * (1 + arguments)
    return engine, ctypes.CFUNCTYPE(None, *pointers, ctypes.c_int64)(engine.get_function_address("loop"))


@cache
def compiled(
    name: str, dtype: str, lanes: int, cpu: str = "host"
) -> tuple[llvm.ExecutionEngine, Callable[..., None]]:
    """The engine and the loop of an elementary function."""
    symbol, text = elementary.define(name, dtype, lanes, avx512=AVX512 and cpu == "host")
    arguments = elementary.NAMES[name]
    text += loop_text(symbol, dtype, lanes, arguments)
    return engine_of(machine_of(cpu, jit=True), text if cpu in FUSED else for_baseline(text), arguments)


def apply(
    name: str, dtype: str, *arguments: np.ndarray, lanes: int | None = None, cpu: str = "host"
) -> np.ndarray:
    """The compiled function of arrays of one shape, one after another `lanes` elements at a time."""
    lanes = lanes or (16 if dtype == "f32" else 8)
    arrays = np.broadcast_arrays(*[np.asarray(a, DTYPES[dtype]) for a in arguments])
    size = arrays[0].size
    padded = [np.resize(a.ravel(), -(-size // lanes) * lanes) for a in arrays]
    out = np.empty_like(padded[0])
    _, loop = compiled(name, dtype, lanes, cpu)
    loop(out.ctypes.data, *(a.ctypes.data for a in padded), out.size)
    return out[:size].reshape(arrays[0].shape)
