"""All benchmarks beside their peers, each in a process of its own: a table, and `benchmarks/results.json`.

    python -m benchmarks [name ...]

A benchmark is a module here that is listed in `REGISTERED`; its `measure()` gives rows. One whose peer is not
installed says so in its row.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.rounds import Row

REGISTERED = {
    "digits_step": Row("digits training step", "NumPy by hand", 0.5),
    "three_scalars": Row("sigmoid neuron, value and gradient", "JAX", 0.1),
    "workloads": Row("loss and gradient of programs", "JAX", 1),
    "transforms": Row("value and gradient", "the value", 4),
}
"""The modules, each with the row that stands for it if it cannot run."""

RESULTS = Path(__file__).with_name("results.json")
COLUMNS = ("benchmark", "gradc", "peer", "", "ratio", "goal", "")


def run_here(name: str) -> list[Row]:
    """The rows of a benchmark; one without numbers if a package that it needs is not installed."""
    try:
        return importlib.import_module(f"benchmarks.{name}").measure()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("gradc"):
            raise
        row = REGISTERED[name]
        row.note = f"{error.name} not installed"
        return [row]


def run_apart(name: str) -> list[Row]:
    """The same in a new process, so that no library's threads and memory burden another."""
    command = [sys.executable, "-m", "benchmarks", "--here", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=RESULTS.parents[1], check=False)
    if done.returncode:
        row = REGISTERED[name]
        row.note = f"failed with exit status {done.returncode}"
        return [row]
    return [Row(**fields) for fields in json.loads(done.stdout.splitlines()[-1])]


def table(rows: Sequence[Row]) -> str:
    """The rows as text; times in microseconds, ratios of our time to the peer's."""
    lines = [COLUMNS, *[cells(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    left = (0, 3, 6)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def cells(row: Row) -> tuple[str, ...]:
    """A row's cells."""
    numbers = ["" if x is None else f"{x:.2f} us" for x in (row.ours, row.theirs)]
    ratio, verdict = "", row.note
    if row.ratio is not None:
        ratio = f"{row.ratio:.3f}"
        verdict = row.note or ("" if row.ratio <= row.goal else "missed")
    return row.name, numbers[0], numbers[1], row.peer, ratio, f"{row.goal:g}", verdict


def main() -> int:
    """Run what is asked for; the exit status says whether every benchmark could be run to its end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="gradc beside its peers")
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(REGISTERED)}; all unless told")
    parser.add_argument("--here", action="store_true", help="in this process, rows as JSON")
    options = parser.parse_args()
    names = options.names or list(REGISTERED)
    if unknown := set(names) - set(REGISTERED):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    if options.here:
        print(json.dumps([asdict(row) for name in names for row in run_here(name)]))
        return 0
    rows = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += run_apart(name)
    print(table(rows))
    machine = {"machine": platform.machine(), "python": platform.python_version()}
    results = [{**asdict(row), "ratio": row.ratio} for row in rows]
    when = time.strftime("%Y-%m-%d %H:%M")
    RESULTS.write_text(json.dumps({"when": when, **machine, "rows": results}, indent=1) + "\n", "utf-8")
    print(f"\nTimes in microseconds; the ratio is gradc's time by the peer's. Written to {RESULTS.name}.")
    return int(any(row.note.startswith("failed") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
