"""A run of benchmarks: the processes of the sides, alive while they are needed, compared in turns."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks import team
from benchmarks.floors import Ceilings
from benchmarks.peers import FOLDER, PEERS, Peer, UnavailableError
from benchmarks.rows import OURS, Row
from benchmarks.team import Process, SideError

MACHINE = Peer("machine", "machine")


@dataclass
class Bench:
    """Options, and what a run has found out so far.

    `sides` are titles of peers that take part; `rounds` and `turn` (in seconds) are those of `team.rounds`;
    `quick` leaves out what takes long, `only` rows whose name does not contain it.
    """

    folder: Path = FOLDER
    sides: Sequence[str] = tuple(PEERS)
    rounds: int = team.ROUNDS
    turn: float = team.TURN
    quick: bool = False
    only: str = ""
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    _processes: dict[str, Process] = field(default_factory=dict)
    _unavailable: dict[str, str] = field(default_factory=dict)
    _ceilings: Ceilings | None = None

    def __post_init__(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="gradc-bench-"))

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def wanted(self, name: str) -> bool:
        """Whether a row is to be measured."""
        return self.only in name

    def rest(self) -> None:
        """End all processes."""
        for process in self._processes.values():
            process.close()
        self._processes.clear()

    def environment(self) -> dict[str, str]:
        """Caches on disk that nobody else has."""
        return {
            "GRADC_CACHE_DIR": str(self.scratch / "gradc"),
            "TORCHINDUCTOR_CACHE_DIR": str(self.scratch / "inductor"),
        }

    def process(self, side: str) -> Process:
        """The process of a side, started if need be. Errors: `UnavailableError`, `SideError`."""
        if side in self._unavailable:
            raise UnavailableError(self._unavailable[side])
        if side in self._processes and not self._processes[side].alive:
            self._processes.pop(side).close()
        if side not in self._processes:
            self._processes[side] = self._started(side, self.environment())
        return self._processes[side]

    @contextmanager
    def fresh(self, side: str, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
        """A process that is new, and ended at once. Errors: `UnavailableError`, `SideError`."""
        with self._started(side, {**self.environment(), **(environment or {})}) as process:
            yield process

    def _started(self, side: str, environment: Mapping[str, str]) -> Process:
        if side not in self.sides:
            raise UnavailableError("left out")
        try:
            process = Process(PEERS[side], self.folder, environment)
        except (UnavailableError, SideError) as error:
            self._unavailable[side] = str(error)
            print(f"{side} is not available: {error}", file=sys.stderr, flush=True)
            raise
        self.versions[side] = process.info
        return process

    @property
    def ceilings(self) -> Ceilings:
        """The machine's, measured once in a run."""
        if self._ceilings is None:
            with Process(MACHINE, self.folder, {}) as machine:
                self._ceilings = Ceilings(machine.ask("ceilings"))
        return self._ceilings

    def compare(self, row: Row, sides: Iterable[str], tolerance: float = 1e-3, **request: Any) -> Row:
        """Fill a row: all sides prepare a program, agree about what it computes, and run it in turns."""
        turns: list[tuple[str, Process, str]] = []
        per: dict[str, int] = {}
        reference: list[np.ndarray] = []
        for side in sides:
            try:
                process = self.process(side)
                prepared = process.ask("prepare", **request)
                with ExitStack() as stack:
                    place = stack.enter_context(tempfile.TemporaryDirectory(dir=self.scratch))
                    process.ask("save", path=f"{place}/result.npz")
                    stored = stack.enter_context(np.load(f"{place}/result.npz"))
                    result = [stored[name] for name in stored]
                if not reference:
                    reference = result
                check(result, reference, tolerance)
            except (UnavailableError, SideError) as error:
                row.missing[side] = str(error)
                continue
            if prepared["notes"]:
                row.details.setdefault("notes", {})[side] = prepared["notes"]
            per[side] = prepared["per"]
            turns += [(side, process, form) for form in prepared["forms"]]
        watch = team.Watch([process for _, process, _ in turns])
        try:
            medians = team.rounds(turns, self.rounds, self.turn)
        except SideError as error:
            row.missing[OURS] = str(error)
            return row
        row.details["disturbed"] = round(watch.share, 3)
        row.numbers = {s: {form: t / per[s] for form, t in forms.items()} for s, forms in medians.items()}
        return row


def check(result: list[np.ndarray], reference: list[np.ndarray], tolerance: float) -> None:
    """See to it that two sides computed the same, each array relative to its largest element.

    One that has fewer arrays computes the value alone. Errors: `SideError`.
    """
    for i, (x, y) in enumerate(zip(result, reference, strict=False)):
        if x.shape != y.shape:
            raise SideError(f"result {i} has the shape {x.shape}, gradc's {y.shape}")
        x, y = x.astype(np.float64), y.astype(np.float64)
        error = float(np.max(np.abs(x - y), initial=0) / max(np.max(np.abs(y), initial=0), 1e-30))
        if not error <= tolerance:
            raise SideError(f"result {i} differs from gradc's by {error:.1g} of its largest element")


def now() -> str:
    """The date and time of a measurement."""
    return time.strftime("%Y-%m-%d %H:%M")


def machine() -> dict[str, Any]:
    """What the processor is, as far as the system tells."""
    import platform

    model, flags = platform.processor(), ""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        fields = {name.strip(): value.strip() for name, value in fields.items()}
        model, flags = fields.get("model name", model), fields.get("flags", "")
    except OSError:
        pass
    wanted = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_bf16", "amx_tile", "asimd")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": model,
        "cores": cores,
        "features": [name for name in wanted if name in flags.split()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
