"""The cost of a native call without its work: three scalars, and two arrays, beside an empty Python function.

    python -m benchmarks.entry

Prints the median and the best of several runs, in nanoseconds a call.
"""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from gradc.runtime.entry import MISS, LeafSpec, make_entry, make_python_entry

SCALARS = """
define void @compute(ptr %in, ptr %out, ptr %arena, ptr %context) {  ; w * x + b and its gradient
  %w.p = load ptr, ptr %in
  %x.at = getelementptr ptr, ptr %in, i64 1
  %x.p = load ptr, ptr %x.at
  %b.at = getelementptr ptr, ptr %in, i64 2
  %b.p = load ptr, ptr %b.at
  %w = load double, ptr %w.p
  %x = load double, ptr %x.p
  %b = load double, ptr %b.p
  %wx = fmul double %w, %x
  %y = fadd double %wx, %b
  %y.p = load ptr, ptr %out
  store double %y, ptr %y.p
  %dw.at = getelementptr ptr, ptr %out, i64 1
  %dw.p = load ptr, ptr %dw.at
  store double %x, ptr %dw.p
  %dx.at = getelementptr ptr, ptr %out, i64 2
  %dx.p = load ptr, ptr %dx.at
  store double %w, ptr %dx.p
  %db.at = getelementptr ptr, ptr %out, i64 3
  %db.p = load ptr, ptr %db.at
  store double 1.0, ptr %db.p
  ret void
}
"""
ARRAYS = """
define void @compute(ptr %in, ptr %out, ptr %arena, ptr %context) {  ; out[0] = in[0] + in[1], of two
  %a.p = load ptr, ptr %in
  %b.at = getelementptr ptr, ptr %in, i64 1
  %b.p = load ptr, ptr %b.at
  %y.p = load ptr, ptr %out
  %a = load <2 x double>, ptr %a.p, align 8
  %b = load <2 x double>, ptr %b.p, align 8
  %y = fadd <2 x double> %a, %b
  store <2 x double> %y, ptr %y.p, align 8
  ret void
}
"""

Engine = Any


def compiled(text: str) -> tuple[int, Engine]:
    """The address of `@compute`, and what owns it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    return engine.get_function_address("compute"), engine


def nanoseconds(call: Callable[[], object], number: int = 100_000, repeat: int = 15) -> tuple[float, float]:
    """Median and best time of `call`, less that of the lambda around it."""
    runs = [1e9 * t / number for t in timeit.repeat(call, number=number, repeat=repeat)]
    return statistics.median(runs), min(runs)


def fail(status: int) -> None:
    raise ArithmeticError(status)


def main() -> None:
    """Print the table."""
    f64 = np.dtype(np.float64)
    python_float, scalar, array = (
        LeafSpec(f64, (), "float"),
        LeafSpec(f64, (), "scalar"),
        LeafSpec(f64, (2,), "array"),
    )
    value_and_gradient = (0, (1, 2, 3))
    compute, owner = compiled(SCALARS)
    shared = ((), [scalar] * 4, value_and_gradient, 0, False, owner, 8, fail)
    floats = make_entry(compute, [python_float] * 3, *shared)
    scalars = make_entry(compute, [scalar] * 3, *shared)
    reference = make_python_entry(compute, [python_float] * 3, *shared)
    compute, owner = compiled(ARRAYS)
    arrays = make_entry(compute, [array] * 2, (), [array], 0, 0, False, owner, 8, fail)

    def empty(_x: object, _y: object, _z: object) -> None:
        pass

    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    x = np.float64(0.5)
    assert floats(0.5, 2.0, 1.0) == (2.0, (2.0, 0.5, 1.0))
    assert scalars(x, x, x) == (0.75, (0.5, 0.5, 1.0))
    assert (arrays(a, b) == a + b).all()
    assert floats(0.5, 2.0, 1) is MISS
    rows = {
        "an empty Python function of three": lambda: empty(0.5, 2.0, 1.0),
        "three Python floats, value and gradient": lambda: floats(0.5, 2.0, 1.0),
        "three NumPy scalars, value and gradient": lambda: scalars(x, x, x),
        "two arrays, one array": lambda: arrays(a, b),
        "the same by a + b of NumPy": lambda: a + b,
        "a mismatch": lambda: floats(0.5, 2.0, 1),
        "three floats through the Python entry": lambda: reference(0.5, 2.0, 1.0),
    }
    around, _ = nanoseconds(lambda: None)
    print(f"{'ns per call':42}{'median':>9}{'best':>9}")
    for name, call in rows.items():
        median, best = nanoseconds(call, number=2_000 if "Python entry" in name else 100_000)
        print(f"{name:42}{median - around:9.0f}{best - around:9.0f}")


if __name__ == "__main__":
    main()
