"""Processes of sides that take turns: starting, asking, and rounds of timings whose medians count."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.peers import Peer

ROOT = Path(__file__).parents[1]
PATIENCE = 600.0
"""Seconds to wait for an answer."""
ROUNDS = 9
TURN = 0.04
"""Seconds of one turn, or one call if that is longer."""
QUIET, LONGEST_QUIET = 0.003, 0.1
"""Seconds in which a side must have used next to no processor before the next turn, and when to go on anyway.

Idle thread pools look for more work in a loop before they sleep: OpenBLAS's for tens of milliseconds.
"""


class SideError(Exception):
    """A side could not do what it was asked for; the message says why."""


def plain_environment() -> dict[str, str]:
    """Ours, with the root to import from, and bytecode written as it is anywhere else."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT)}


class Process:
    """One side, alive until it is closed."""

    def __init__(self, peer: Peer, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.peer = peer
        python = peer.python(folder)
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.sides.worker", peer.module, json.dumps(dict(peer.options))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            env={**plain_environment(), **(environment or {})},
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.info: dict[str, Any] = self._answer("start", PATIENCE)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def ask(self, name: str, patience: float = PATIENCE, **request: Any) -> Any:
        """The answer to one request. Errors: `SideError`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([name, request]) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise SideError("its process has ended") from error
        return self._answer(name, patience)

    def _answer(self, name: str, patience: float) -> Any:
        try:
            line = self._answers.get(timeout=patience)
        except queue.Empty:
            self._process.kill()
            raise SideError(f"{name}: no answer in {patience:.0f} s") from None
        if not line:
            raise SideError(
                f"{name}: its process ended with status {self._process.wait()}: {self.last_words()}"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise SideError(answer["error"])
        return answer["done"]

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        position = self._log.tell()
        self._log.seek(0)
        text = self._log.read()
        self._log.seek(position)
        return text

    def last_words(self) -> str:
        """The last line of its log."""
        return (self.log.strip().splitlines() or ["silently"])[-1][:200]

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def burnt(self) -> float:
        """The processor seconds of all its threads so far; 0 where the system does not tell."""
        if not sys.platform.startswith("linux"):
            return 0.0
        # What clock_getcpuclockid(pid) gives: the clock of another process.
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def settle(self) -> bool:
        """Wait until its threads sleep; whether they do."""
        end = time.perf_counter() + LONGEST_QUIET
        before = self.burnt()
        while time.perf_counter() < end:
            time.sleep(QUIET)
            now = self.burnt()
            if now - before < QUIET / 20:
                return True
            before = now
        return False

    def close(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def rounds(
    turns: list[tuple[str, Process, str]], count: int = ROUNDS, turn: float = TURN
) -> dict[str, dict[str, float]]:
    """Median seconds of a call, by side and form: all take turns, `count` times.

    `turns` names the side, its process and a form of what it has prepared.
    """
    calls = [calibrated(process, form, turn) for _, process, form in turns]
    times: list[list[float]] = [[] for _ in turns]
    order = np.random.default_rng(0)
    for _ in range(count):
        for i in order.permutation(len(turns)):
            _, process, form = turns[i]
            times[i].append(process.ask("time", form=form, calls=calls[i])["seconds"])
            process.settle()
    medians: dict[str, dict[str, float]] = {}
    for (side, _, form), seconds in zip(turns, times, strict=True):
        medians.setdefault(side, {})[form] = statistics.median(seconds)
    return medians


class Watch:
    """How much of the machine others use: `share` of all its processors since the watch was made."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._start, self._began = self._now(), time.perf_counter()

    def _now(self) -> tuple[float, float]:
        """Processor seconds of all work and of ours; busy means neither idle nor waiting for a disk."""
        ours = time.process_time() + sum(p.burnt() for p in self._processes)
        try:
            fields = [int(x) for x in Path("/proc/stat").read_text("ascii").splitlines()[0].split()[1:]]
        except OSError:
            return ours, ours
        return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK"), ours

    @property
    def share(self) -> float:
        seconds = time.perf_counter() - self._began
        busy, ours = (now - start for now, start in zip(self._now(), self._start, strict=True))
        return max(0.0, busy - ours) / (seconds * (os.cpu_count() or 1))


def calibrated(process: Process, form: str, turn: float) -> int:
    """How many calls fill a turn."""
    calls = 1
    while True:
        seconds = process.ask("time", form=form, calls=calls)["seconds"] * calls
        process.settle()
        if seconds > turn / 4:
            return max(1, round(calls * turn / seconds))
        calls = max(2 * calls, min(round(calls * turn / max(seconds, 1e-9) / 2), 50 * calls))
