"""Generated kernels beside NumPy, and beside the bytes a second that a copy moves.

    python -m benchmarks.kernels [part of a title]

Each row is one program, compiled without its gradient. Times are the best of several rounds in which the
programs take turns; bytes are those of inputs and outputs, read or written once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

import gradc
from gradc.passes import pipeline
from gradc.runtime.executable import load

ROUNDS = 7
SECONDS = 0.02
"""How long a program runs in one round, at least."""


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


M = 1_000_000
PROGRAMS: dict[str, tuple[Callable, tuple[str, ...]]] = {
    "x * y + 1, f64, in cache": (lambda x, y: x * y + 1, ("f64[1000]", "f64[1000]")),
    "x * y + 1, f64": (lambda x, y: x * y + 1, (f"f64[{M}]", f"f64[{M}]")),
    "x * y + 1, f32": (lambda x, y: x * y + 1, (f"f32[{M}]", f"f32[{M}]")),
    "tanh, f32": (np.tanh, (f"f32[{M}]",)),
    "exp, f64": (np.exp, (f"f64[{M}]",)),
    "sum of all, f32": (lambda x: x.sum(), (f"f32[{M}]",)),
    "sum of all, f64": (lambda x: x.sum(), (f"f64[{M}]",)),
    "sums of rows, f32": (lambda x: x.sum(axis=1), ("f32[4096, 1000]",)),
    "sums of short rows, f32": (lambda x: x.sum(axis=1), ("f32[100000, 10]",)),
    "sums of rows of 3, f64": (lambda x: x.sum(axis=1), ("f64[100000, 3]",)),
    "sums of columns, f32": (lambda x: x.sum(axis=0), ("f32[4096, 1000]",)),
    "sums of columns, f64": (lambda x: x.sum(axis=0), ("f64[4096, 1000]",)),
    "sums of few columns, f32": (lambda x: x.sum(axis=0), ("f32[100000, 10]",)),
    "largest of rows, f32": (lambda x: x.max(axis=1), ("f32[4096, 1000]",)),
    "where it is, f32": (lambda x: x.argmax(axis=1), ("f32[4096, 1000]",)),
    "x + bias, f32": (lambda x, b: x + b, ("f32[4096, 1000]", "f32[1000]")),
    "x + bias, rows of 10, f32": (lambda x, b: x + b, ("f32[100000, 10]", "f32[10]")),
    "transposed + y, f64": (lambda x, y: x.T + y, ("f64[1000, 1000]", "f64[1000, 1000]")),
    "reversed + 1, f32": (lambda x: x[::-1] + 1, (f"f32[{M}]",)),
    "differences, f64": (lambda x: x[1:] - x[:-1], (f"f64[{M}]",)),
    "softmax, f32": (softmax, ("f32[4096, 1000]",)),
}


def native(function: Callable, types: tuple[str, ...], arrays: list[np.ndarray]) -> Callable[[], object]:
    """A call of the machine code on fixed buffers."""
    traced = gradc.compile(function).lower(*types).graph("traced")
    program = load(pipeline.run(pipeline.prepare(traced)))
    return program.bind(arrays, [np.empty(t.shape, t.dtype) for t in program.outputs])


def once(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def best(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The best time of each call in seconds, taking turns."""
    repeats = {
        name: max(int(SECONDS / max(once(call, 1), once(call, 1), 1e-7)), 1) for name, call in calls.items()
    }
    rounds = [{name: once(call, repeats[name]) for name, call in calls.items()} for _ in range(ROUNDS)]
    return {name: min(r[name] for r in rounds) for name in calls}


def main(part: str = "") -> None:
    print(f"{'':28} {'gradc':>9} {'NumPy':>9} {'copy':>9}   {'gradc':>6}   times NumPy")
    chosen = {title: program for title, program in PROGRAMS.items() if part in title}
    for title, (function, types) in chosen.items():
        rng = np.random.default_rng(0)
        inputs = [gradc.ir.parse_type(t) for t in types]
        arrays = [rng.uniform(0.5, 1.5, t.shape).astype(t.dtype) for t in inputs]
        result = np.asarray(function(*arrays))
        nbytes = sum(a.nbytes for a in arrays) + result.nbytes
        source, target = np.ones(nbytes // 2, np.uint8), np.ones(nbytes // 2, np.uint8)
        times = best(
            {
                "gradc": native(function, types, arrays),
                "numpy": lambda f=function, a=arrays: f(*a),
                "copy": lambda s=source, t=target: np.copyto(t, s),
            }
        )
        us = {name: f"{t * 1e6:8.1f}us" for name, t in times.items()}
        rate = nbytes / times["gradc"] / 1e9
        ratio = times["numpy"] / times["gradc"]
        print(
            f"{title:28} {us['gradc']} {us['numpy']} {us['copy']} {rate:5.1f} GB/s {ratio:7.2f}", flush=True
        )


if __name__ == "__main__":
    main(*sys.argv[1:2])
