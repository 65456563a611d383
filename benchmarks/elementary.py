"""Times the elementary functions of gradc, NumPy, JAX and PyTorch: nanoseconds per element, from cache.

    python -m benchmarks.elementary                                  # measures, prints
    python -m benchmarks.elementary --write --jax PYTHON --torch PYTHON

Each library runs in a process of its own, on one core, in turns; the best of three turns counts. JAX and
PyTorch may live in environments of their own, named by their interpreters; one that is missing keeps the
times it had. `--write` puts them into `benchmarks/elementary.json`, where `python -m tests.ulp` puts the
errors, and from which `python -m docs` writes `docs/elementary.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import gradc

RESULTS = Path(__file__).parent / "elementary.json"
SIDE = Path(__file__).parent / "elementary_side.py"
LIBRARIES = ("gradc", "numpy", "jax", "torch")
ROUNDS = 3


def results() -> dict[str, Any]:
    """What was measured last: by section, library, function and dtype."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def update(section: str, library: str, found: dict[str, dict[str, Any]], version: str) -> None:
    """Put what was found in the place of what stood there, function by function."""
    stored = results()
    stored.setdefault("versions", {})[library] = version
    rows = stored.setdefault(section, {}).setdefault(library, {})
    for name, cells in found.items():
        rows.setdefault(name, {}).update(cells)
    RESULTS.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def side(python: str, library: str, *task: str) -> dict[str, Any] | None:
    """What `elementary_side.py` prints for a library in its environment; None where that is missing."""
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    command = [python, str(SIDE), library, *task]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode and "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        raise RuntimeError(f"{library}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def interpreters(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Adds the options that name environments, and reads all: the interpreter for each library."""
    for library in ("jax", "torch"):
        parser.add_argument(f"--{library}", default=sys.executable, help=f"the Python that has {library}")
    parser.add_argument("names", nargs="*", help="functions; all if none is named")
    parser.add_argument("--write", action="store_true", help="write benchmarks/elementary.json")
    options = parser.parse_args()
    parser.set_defaults(**vars(options))
    return {library: getattr(options, library, sys.executable) for library in LIBRARIES}


def processor() -> str:
    import llvmlite.binding as llvm

    return f"{llvm.get_host_cpu_name()} ({platform.system()} {platform.machine()})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    pythons = interpreters(parser)
    best: dict[str, dict[str, dict[str, float]]] = {}
    versions: dict[str, str] = {}
    for _ in range(ROUNDS):
        for library, python in pythons.items():
            told = side(python, library, "times", *parser.get_default("names"))
            if told is None:
                continue
            versions[library] = told["version"]
            for name, dtype, took in told["times"]:
                cells = best.setdefault(library, {}).setdefault(name, {})
                cells[dtype] = round(min(took, cells.get(dtype, took)), 4)
    print("ns per element ".ljust(15), *(library.rjust(8) for library in best))
    for name, cells in best["gradc"].items():
        for dtype in cells:
            shown = (rows.get(name, {}).get(dtype) for rows in best.values())
            print(
                f"{name:11}{dtype:4}",
                *("-".rjust(8) if took is None else f"{took:8.3f}" for took in shown),
            )
    versions["gradc"] = f"{gradc.__version__} on {processor()}"
    if parser.get_default("write"):
        for library, rows in best.items():
            update("times", library, rows, versions[library])


if __name__ == "__main__":
    main()
