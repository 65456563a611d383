"""Measures the elementary functions beside NumPy's: errors in ulps and times, as a Markdown table.

    python -m benchmarks.elementary          # prints the table
    python -m benchmarks.elementary --write  # writes docs/elementary.md

Errors are the largest found over the binades of the test suite (100,000 points in each), the worst points
checked by mpmath. Times are per element, on arrays of 4096 elements in cache, the best of many rounds on
both sides. NumPy has no erf, erfc and expit; SciPy's stand in for them.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np

from gradc.codegen.elementary import NAMES
from tests.codegen.elementary_harness import DTYPES, apply, compiled
from tests.codegen.elementary_reference import NUMPY, REFERENCE, binades, extended, promised_errors

TARGET = Path(__file__).parent.parent / "docs/elementary.md"
TEXT = """# Elementary functions

gradc computes these with vector code of its own (`gradc/codegen/elementary`): no library is called. The
largest errors found, in units of the last place, and the time per element, beside those of NumPy {numpy}
(SciPy for erf, erfc, expit). 0.5 is the least a rounded result can have. Special values (signed zeros,
infinities, NaN, subnormal numbers) are NumPy's and IEEE 754's, and a vector's lanes give the same bits as
scalars.

Written by `python -m benchmarks.elementary --write` on {cpu}, LLVM {version}: 100,000 points for every
binade in which a function varies, and for the others together (2,000 for erf and erfc in f64; a million
pairs for functions of two arguments), the worst of them checked with mpmath.

{table}

For logaddexp the error is in ulps of the larger of result and arguments: where its two terms cancel, the
result has fewer correct digits (and in NumPy too).

The polynomials are minimax approximations, computed by `benchmarks/elementary_coefficients.py` with 150
digits. Huge arguments of sin, cos and tan are reduced exactly (Payne and Hanek), behind a branch that
other vectors skip.
"""


def largest_error(name: str, dtype: str, function: Callable[..., np.ndarray], size: int) -> float:
    """In ulps, over `size` points of each binade; the worst of each are measured with mpmath."""
    largest = 0.0
    for arguments in binades(name, dtype, size):
        with np.errstate(all="ignore"):
            results = function(*arguments)
        errors = promised_errors(name, results, arguments, extended(name, dtype, *arguments))
        worst = np.argsort(errors)[-5:]
        arguments = [a[worst] for a in arguments]
        errors = promised_errors(name, results[worst], arguments, REFERENCE[name, dtype](*arguments))
        largest = max(largest, float(errors.max()))
    return largest


def nanoseconds(call: Callable[[], object], elements: int, rounds: int = 60, repeats: int = 20) -> float:
    """The best time of a call, per element."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        best = min(best, time.perf_counter() - start)
    return best / repeats / elements * 1e9


def times(name: str, dtype: str) -> tuple[float, float]:
    """Nanoseconds per element: gradc, NumPy. Arguments lie within every domain, away from edges."""
    n, rng = 4096, np.random.default_rng(0)
    low, high = (1, 3) if name == "arccosh" else (0.1, 0.9) if name.startswith("arc") else (0.1, 3)
    arguments = [rng.uniform(low, high, n).astype(DTYPES[dtype]) for _ in range(NAMES[name])]
    out = np.empty(n, DTYPES[dtype])
    _, loop = compiled(name, dtype, 64 // DTYPES[dtype].itemsize)
    pointers = [a.ctypes.data for a in (out, *arguments)]
    ours = nanoseconds(lambda: loop(*pointers, n), n)
    return ours, nanoseconds(lambda: NUMPY[name](*arguments, out=out), n)


def table(size: int) -> str:
    lines = [
        "| function | dtype | ulp | NumPy's ulp | ns | NumPy's ns | NumPy / gradc |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in NAMES:
        for dtype in DTYPES:
            ours, numpy = times(name, dtype)
            error = largest_error(name, dtype, lambda *x, d=(name, dtype): apply(*d, *x), size)
            numpy_error = largest_error(name, dtype, NUMPY[name], size)
            shown = f"{numpy_error:.2f}" if numpy_error < 1e4 else f"{numpy_error:.0e}"
            cells = (name, dtype, f"{error:.2f}", shown, f"{ours:.2f}", f"{numpy:.2f}", f"{numpy / ours:.1f}")
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write docs/elementary.md")
    parser.add_argument("--size", type=int, default=100_000, help="points in a binade")
    options = parser.parse_args()
    text = table(options.size)
    if options.write:
        cpu = f"{llvm.get_host_cpu_name()} ({platform.system()} {platform.machine()})"
        version = ".".join(map(str, llvm.llvm_version_info))
        TARGET.write_text(TEXT.format(numpy=np.__version__, cpu=cpu, version=version, table=text))


if __name__ == "__main__":
    main()
