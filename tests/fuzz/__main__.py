"""Random programs and nestings for as long as you like: `python -m tests.fuzz --seconds 600 --seed 0`.

A worker process runs seed after seed. One that crashes or hangs is a failure too, and a new worker goes on
with the next seed. Every failure is made small and written to a file; the command that runs it again,
`python -m tests.fuzz FILE`, is printed.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gradc.ir import Graph
from tests.programs.check import BrokenError
from tests.programs.nesting import NESTING
from tests.programs.repro import from_text, to_text, write
from tests.programs.shrink import shrink
from tests.programs.trial import nestings, program_of, recheck, trial

TRIALS = {"passes": trial, "nestings": nestings}
"""What is tried of each seed: its program after every pass, and another under nested transforms."""

PATIENCE = 30
"""Seconds after which a program counts as hanging."""

CRASH_TRIES = 60
"""How many smaller programs to try when each needs a process of its own."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, help="a program written by an earlier run")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10**6 * 1000, help="the first seed")
    parser.add_argument("--only", choices=TRIALS, help="one kind of trial instead of all, in turn")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where failures are written")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.file is not None:
        return again(options.file)
    if options.worker:
        return work(options.seed, options.out, options.only)
    return supervise(options.seed, options.seconds, options.out, options.only)


def again(path: Path) -> int:
    """Run a written program through all stages; 1 if it fails."""
    text = path.read_text()
    graph, leaves = from_text(text)
    try:
        stage = re.search(rf"# note: (gradients|{NESTING})\b", text)
        recheck(stage[1] if stage else "any", graph, leaves)
    except BrokenError as broken:
        print(broken)
        return 1
    print("passes")
    return 0


def work(seed: int, out: Path, only: str | None) -> int:
    """Try seed after seed until killed. Lines on standard output say how far it got."""
    while True:
        print(f"seed {seed}", flush=True)
        for kind in (only,) if only else TRIALS:
            try:
                TRIALS[kind](seed)
            except BrokenError as broken:
                remark = f"{broken.stage}: {broken.problem.splitlines()[0]}"
                path = write(out, f"{kind}{seed}", to_text(broken.graph, broken.leaves, remark))
                print(f"failure {path} {remark}", flush=True)
        seed += 1


def supervise(seed: int, seconds: float, out: Path, only: str | None) -> int:
    """Keep a worker busy for some time; 1 if anything failed."""
    end, start, first = time.monotonic() + seconds, time.monotonic(), seed
    kinds: dict[str, list[str]] = {}
    while time.monotonic() < end:
        seed, failures = run_worker(seed, end, out, only)
        for path, remark in failures:
            kind = re.sub(r"np\.\w+\(.*?\)|\[.*?\]|[-+\d.]+", "#", remark)
            if kind not in kinds:
                print(f"{remark}\n    run it again: python -m tests.fuzz {path}", flush=True)
            kinds.setdefault(kind, []).append(path)
    total = sum(map(len, kinds.values()))
    print(
        f"{seed - first} programs from seed {first} in {time.monotonic() - start:.0f} s:"
        f" {total} failures of {len(kinds)} kinds"
    )
    for kind, paths in kinds.items():
        print(f"  {len(paths)} × {kind}  ({paths[0]})")
    return int(bool(kinds))


def run_worker(seed: int, end: float, out: Path, only: str | None) -> tuple[int, list[tuple[str, str]]]:
    """One worker until it dies, hangs or time is over; the next seed, and the failures with their remarks."""
    command = [sys.executable, "-m", "tests.fuzz", "--worker", "--seed", str(seed), "--out", str(out)]
    command += ["--only", only] if only else []
    failures: list[tuple[str, str]] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        watch = selectors.DefaultSelector()
        watch.register(process.stdout, selectors.EVENT_READ)
        trouble = None
        while trouble is None:
            left = end - time.monotonic()
            if left <= 0:
                break
            if not watch.select(min(PATIENCE, left)):
                trouble = f"hangs for more than {PATIENCE} s" if left > PATIENCE else None
                break
            line = process.stdout.readline().decode()
            if line.startswith("seed "):
                seed = int(line.split()[1])
            elif line.startswith("failure "):
                _, path, remark = line.rstrip("\n").split(" ", 2)
                failures.append((path, remark))
            elif not line:
                error = (process.stderr.read() or b"").decode().strip().splitlines()
                trouble = f"dies with status {process.wait()}{': ' + error[-1] if error else ''}"
        process.kill()
    if trouble is None:
        return seed, failures
    path = write_crash(seed, trouble, out)
    return seed + 1, [*failures, (str(path), f"seed {seed} {trouble}")]


def write_crash(seed: int, trouble: str, out: Path) -> Path:
    """Make a program that takes its process down small, one process for each try."""
    program, specials = program_of(seed)
    leaves = program.leaves(seed, specials)
    folder = out / "tries"

    def fails(graph: Graph, leaves: Sequence[np.ndarray]) -> bool:
        path = write(folder, "try", to_text(graph, leaves))
        command = [sys.executable, "-m", "tests.fuzz", str(path)]
        try:
            run = subprocess.run(
                command, capture_output=True, timeout=PATIENCE / 4, env=environment(), check=False
            )
        except subprocess.TimeoutExpired:
            return "hangs" in trouble
        return run.returncode not in (0, 1)

    graph = program.graph
    if fails(graph, leaves):
        graph, leaves = shrink(graph, leaves, fails, CRASH_TRIES)
    return write(out, f"seed{seed}", to_text(graph, leaves, trouble))


def environment() -> dict[str, str]:
    """This process's environment, in which `tests` can be imported."""
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


if __name__ == "__main__":
    sys.exit(main())
