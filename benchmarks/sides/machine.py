"""The machine's own ceilings: multiply-adds, bytes from each level of memory, a call of C from Python.

Each is a loop of LLVM text, compiled as gradc's kernels are. The best of several rounds counts, on one core
and on all of them at once; ctypes releases the GIL, so that Python threads will do.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Sequence
from timeit import Timer
from typing import Any

import numpy as np

from benchmarks.sides.side import SideBase
from gradc.codegen.jit import Code, object_code
from gradc.codegen.target import host

ROUNDS = 15
SECONDS = 0.01
"""How long a loop runs in a round, roughly."""
CHAINS = 12
"""Independent accumulators: more than a multiply-add's latency times how many start in a cycle."""
SIZES = {"L1": 1 << 14, "L2": 1 << 18, "L3": 1 << 23, "memory": 1 << 28}
"""Bytes that a core walks over, for each level of memory; the last two are shared between the cores."""

LOOP = """
define void @{name}(ptr %a, ptr %b, i64 %n, i64 %times) #0 {{
entry:
  {first}
  br label %walk
walk:
  %turn = phi i64 [ 0, %entry ], [ %again, %walked ]
  br label %loop
loop:
  %i = phi i64 [ 0, %walk ], [ %next, %loop ]
  {body}
  %next = add i64 %i, {step}
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %walked
walked:
  {last}
  %again = add i64 %turn, 1
  %enough = icmp uge i64 %again, %times
  br i1 %enough, label %done, label %walk
done:
  ret void
}}
"""
"""Walks `n` bytes (or steps) so many times. The stores of `last` keep what is computed from being dropped."""

EMPTY = """
define ptr @empty(ptr %self, ptr %arguments, i64 %count) {
  %incref = inttoptr i64 INCREF to ptr
  %none = inttoptr i64 NONE to ptr
  call void %incref(ptr %none)
  ret ptr %none
}
"""


def fma_text(dtype: str) -> str:
    """`n` rounds of `CHAINS` multiply-adds on registers."""
    size = np.dtype(dtype).itemsize
    lanes = host().vector_bytes // size
    kind = f"<{lanes} x {'float' if size == 4 else 'double'}>"
    phis = [f"%s{j} = phi {kind} [ %x, %walk ], [ %t{j}, %loop ]" for j in range(CHAINS)]
    adds = [
        f"%t{j} = call {kind} @llvm.fmuladd.v{lanes}f{8 * size}({kind} %x, {kind} %x, {kind} %s{j})"
        for j in range(CHAINS)
    ]
    stores = [f"store volatile {kind} %t{j}, ptr %b, align {size}" for j in range(CHAINS)]
    return LOOP.format(
        name=f"fma_{dtype}",
        first=f"%x = load {kind}, ptr %a, align {size}",
        body="\n  ".join([*phis, *adds]),
        step=1,
        last="\n  ".join(stores),
    )


def stream_text(name: str, unrolled: int = 8) -> str:
    """Reads `n` bytes from `a`; "copy" writes them to `b`, "read" combines them."""
    width = host().vector_bytes
    kind = f"<{width // 8} x i64>"
    phis, body, last = [], [], []
    for j in range(unrolled):
        at = [f"%o{j} = add i64 %i, {j * width}", f"%p{j} = getelementptr i8, ptr %a, i64 %o{j}"]
        body += [*at, f"%v{j} = load {kind}, ptr %p{j}, align {width}"]
        if name == "copy":
            body += [
                f"%q{j} = getelementptr i8, ptr %b, i64 %o{j}",
                f"store {kind} %v{j}, ptr %q{j}, align {width}",
            ]
        else:
            phis.append(f"%s{j} = phi {kind} [ zeroinitializer, %walk ], [ %t{j}, %loop ]")
            body.append(f"%t{j} = xor {kind} %s{j}, %v{j}")
            last.append(f"store volatile {kind} %t{j}, ptr %b, align {width}")
    return LOOP.format(
        name=name, first="", body="\n  ".join([*phis, *body]), step=unrolled * width, last="\n  ".join(last)
    )


Loop = Callable[[int, int, int, int], None]


def loops() -> tuple[Code, dict[str, Loop]]:
    """The compiled loops by name, and what keeps them alive."""
    names = ["fma_float32", "fma_float64", "read", "copy"]
    texts = [fma_text("float32"), fma_text("float64"), stream_text("read"), stream_text("copy")]
    code = Code(object_code("\n".join(texts) + "\nattributes #0 = { nounwind }\n"))
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    return code, {name: kind(code.address(name)) for name in names}


def aligned(size: int) -> np.ndarray:
    """Bytes from a multiple of 4096, all of them touched."""
    memory = np.zeros(size + 4096, np.uint8)
    start = -memory.ctypes.data % 4096
    memory[start : start + size] = 1
    return memory[start : start + size]


def together(works: Sequence[Callable[[], None]]) -> float:
    """Seconds until all works, each on a thread of its own, are done; the best of several rounds."""
    barrier = threading.Barrier(len(works))
    spans: list[list[tuple[float, float]]] = [[] for _ in works]

    def run(i: int) -> None:
        for _ in range(ROUNDS):
            barrier.wait()
            start = time.perf_counter()
            works[i]()
            spans[i].append((start, time.perf_counter()))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return min(max(e for _, e in turn) - min(s for s, _ in turn) for turn in zip(*spans, strict=True))


def fma_peak(loop: Loop, dtype: str, cores: int) -> float:
    """Operations a second, two for a multiply-add."""
    turns = int(SECONDS * 8e9 / CHAINS)  # two a cycle
    places = [aligned(256) for _ in range(2 * cores)]

    def work(i: int) -> Callable[[], None]:
        a, b = places[2 * i].ctypes.data, places[2 * i + 1].ctypes.data
        return lambda: loop(a, b, turns, 1)

    lanes = host().vector_bytes // np.dtype(dtype).itemsize
    return 2.0 * lanes * CHAINS * turns * cores / together([work(i) for i in range(cores)])


def bandwidth(loop: Loop, size: int, cores: int, moved: int) -> float:
    """Bytes a second of `cores` walks over `size` bytes each, `moved` for every byte walked over."""
    places = [(aligned(size), aligned(size if moved == 2 else 64)) for _ in range(cores)]
    repeats = max(1, int(SECONDS * 2e10 / size))

    def work(i: int) -> Callable[[], None]:
        a, b = (place.ctypes.data for place in places[i])

        return lambda: loop(a, b, size, repeats)

    return moved * size * repeats * cores / together([work(i) for i in range(cores)])


class MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def empty_call() -> float:
    """Seconds of a call from a Python loop, with three arguments, of a C function that returns None."""
    incref = ctypes.cast(ctypes.pythonapi.Py_IncRef, ctypes.c_void_p).value
    code = Code(object_code(EMPTY.replace("INCREF", str(incref)).replace("NONE", str(id(None)))))
    fastcall = 0x80
    method = MethodDef(b"empty", code.address("empty"), fastcall, None)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p] * 3
    function = make(ctypes.addressof(method), None, None)
    timer = Timer("f(x, x, x)", globals={"f": function, "x": 0.5})
    number = 100_000
    return min(timer.repeat(ROUNDS, number)) / number


class Side(SideBase):
    """What the machine can do."""

    def info(self) -> dict[str, Any]:
        return {"cores": len(os.sched_getaffinity(0)), "vector bytes": host().vector_bytes, "cpu": host().cpu}

    def ceilings(self) -> dict[str, Any]:
        """Operations and bytes a second: for one core and for all; bytes by the size walked over by all."""
        keep, found = loops()
        cores = len(os.sched_getaffinity(0))
        result: dict[str, Any] = {"empty call": empty_call()}
        for name, count in (("one core", 1), ("all cores", cores)):
            result[name] = {
                "operations": {d: fma_peak(found[f"fma_{d}"], d, count) for d in ("float32", "float64")},
                "bytes": {
                    level: {
                        "size": size if level in ("L3", "memory") else size * count,
                        "read": bandwidth(found["read"], walked(level, size, count), count, 1),
                        "copy": bandwidth(found["copy"], walked(level, size, count), count, 2),
                    }
                    for level, size in SIZES.items()
                },
            }
        del keep
        return result


def walked(level: str, size: int, cores: int) -> int:
    """The bytes that each core walks over: what all share is divided."""
    return size // cores if level in ("L3", "memory") else size
