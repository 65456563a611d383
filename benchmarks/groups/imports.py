"""Importing, in new processes that take turns: what an import adds to an interpreter's life."""

from __future__ import annotations

import statistics
import subprocess
import time

from benchmarks.bench import Bench
from benchmarks.peers import PEERS, UnavailableError
from benchmarks.rows import Goal, Row, Table
from benchmarks.team import ROOT, plain_environment

TIMES = 15
IMPORTS = {
    "gradc": ("gradc", "import gradc"),
    "NumPy + llvmlite": ("gradc", "import numpy, llvmlite.binding"),
    "NumPy": ("gradc", "import numpy"),
    "JAX 0.10.2": ("JAX 0.10.2", "import jax, jax.numpy"),
    "JAX 0.4.31": ("JAX 0.4.31", "import jax, jax.numpy"),
    "PyTorch 2.13": ("PyTorch 2.13", "import torch"),
}
"""Whose environment, and what is run there."""


def seconds(python: str, code: str) -> float:
    """The time of an interpreter's whole life. Errors: `CalledProcessError`."""
    start = time.perf_counter()
    subprocess.run([python, "-c", code], cwd=ROOT, check=True, capture_output=True, env=plain_environment())
    return time.perf_counter() - start


def measure(bench: Bench) -> list[Table]:
    """Median differences to an interpreter that imports nothing."""
    bench.rest()
    table = Table(
        "imports",
        "Import",
        "Medians of new processes in turns, less those of one that imports nothing. gradc's own "
        "packages are NumPy and llvmlite, which is what it is held against.",
        "ms",
        tuple(IMPORTS),
    )
    row = Row(
        "import",
        must=Goal(times=1 / 1.5, text="≤ 1.5 × NumPy + llvmlite"),
        aside=tuple(side for side in IMPORTS if side != "NumPy + llvmlite"),
    )
    commands: dict[str, tuple[str, str]] = {}
    for name, (side, code) in IMPORTS.items():
        try:
            if side not in bench.sides:
                raise UnavailableError("left out")
            python = PEERS[side].python(bench.folder)
            seconds(python, code)  # bytecode is written, files are read
            commands[name] = python, code
        except (UnavailableError, subprocess.CalledProcessError) as error:
            row.missing[name] = str(error)
    spans: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(3 if bench.quick else TIMES):
        for name, (python, code) in commands.items():
            spans[name].append(seconds(python, code) - seconds(python, "pass"))
    row.numbers = {name: {"import": max(statistics.median(each), 1e-6)} for name, each in spans.items()}
    table.rows.append(row)
    return [table]
