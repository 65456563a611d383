"""GRADC_DEBUG and GRADC_DUMP: what a compilation tells while it runs, and the files it leaves."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path
from typing import TextIO

import numpy as np

from gradc.ir.graph import Graph, Node
from gradc.ir.text import legal

SUMMARY, GRAPHS, RULES, CODE = 1, 2, 3, 4
"""The ladder of GRADC_DEBUG: time and node counts per pass, graphs, rules fired, LLVM and assembly."""

STEPS = "loops and text", "LLVM parse", "LLVM optimize", "LLVM emit", "load"
"""What code generation consists of."""

_numbers = itertools.count()


class Debug:
    """Watches one compilation: `stage` is called after every pass, `rule` for rewrites, `code` for texts."""

    def __init__(self, level: int, folder: Path | None, stream: TextIO | None = None) -> None:
        self.level = level
        self.folder = folder
        self.stream = stream
        self._count = 0
        self._before: int | None = None
        self._saved: set[str] = set()
        self._own: Path | None = None
        self._lock = threading.Lock()
        self.seconds: dict[str, float] = {}
        """How long each step has taken: the trace, the passes by name, what code generation consists of."""

    def time(self, name: str, seconds: float) -> None:
        """A step of code generation is done; those of threads are told one after another, and add up."""
        with self._lock:
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def stage(self, name: str, graph: Graph, seconds: float) -> None:
        """A stage is done: the pass's name, its graph, and the time it took."""
        nodes = sum(1 for _ in graph.walk())
        steps = dict(self.seconds) if name == "codegen" else {}
        self.time(name, seconds)
        if self.level >= SUMMARY:
            change = "" if self._before is None else f" ({nodes - self._before:+d})"
            self._say(f"{name:<16} {seconds * 1e3:8.2f} ms  {nodes:6d} nodes{change:<9} {graph.name}")
            if name == "codegen":
                self._summarize({k: v for k, v in steps.items() if k in STEPS})
        if self.level >= GRAPHS:
            self._say(str(graph))
        if self.folder is not None:
            self._write(graph.name, f"{name}.ir", str(graph) + "\n")
            for label, array in graph.constants.items():
                if label not in self._saved:
                    self._saved.add(label)
                    np.save(self._place(graph.name) / f"{legal(label)}.npy", array)
        self._before = nodes

    def _summarize(self, steps: dict[str, float]) -> None:
        """Where the time of a compilation went, in one line each for the code and for all."""
        parts = ", ".join(f"{name} {seconds * 1e3:.2f}" for name, seconds in steps.items())
        self._say(f"{'':<16} {parts} (added up over threads)")
        passes = {k: v for k, v in self.seconds.items() if k not in (*STEPS, "traced", "codegen")}
        slowest = max(passes, key=passes.__getitem__, default="none")
        whole = sum(v for k, v in self.seconds.items() if k not in STEPS)
        most = f"{slowest} {passes.get(slowest, 0.0) * 1e3:.2f}"
        self._say(
            f"{'total':<16} {whole * 1e3:8.2f} ms: trace {self.seconds.get('traced', 0.0) * 1e3:.2f}, "
            f"passes {sum(passes.values()) * 1e3:.2f} (most: {most}), "
            f"code {self.seconds['codegen'] * 1e3:.2f}"
        )

    def rule(self, name: str, node: Node) -> None:
        """A rewrite rule has fired on a node."""
        if self.level >= RULES:
            inputs = ", ".join(str(x.type) for x in node.inputs)
            place = f"  # {node.source}" if node.source else ""
            self._say(f"  {name}: {node.op.name}({inputs}){place}")

    def code(self, name: str, kind: str, text: str) -> None:
        """Code was generated for graph `name`: `kind` is "loops", "llvm" or "asm"."""
        if self.level >= CODE:
            self._say(f"; {kind} of {name}\n{text}")
        if self.folder is not None:
            self._write(name, {"llvm": "llvm.ll", "asm": "asm.s"}.get(kind, f"{kind}.txt"), text + "\n")

    def cache(self, text: str) -> None:
        """What is to be said of the cache."""
        if self.level >= SUMMARY:
            self._say(f"{'cache':<16} {text}")

    @property
    def wants_stages(self) -> bool:
        """Whether passes are to run even if the cache has what they lead to."""
        return self.level >= GRAPHS or self.folder is not None

    @property
    def wants_code(self) -> bool:
        """Whether `code` should be called: assembly takes time to make."""
        return self.level >= CODE or self.folder is not None

    def _say(self, text: str) -> None:
        print(text, file=self.stream or sys.stderr, flush=True)

    def _place(self, name: str) -> Path:
        """The folder of this compilation, named by its function; made when something is written."""
        assert self.folder is not None
        if self._own is None:
            while True:
                place = self.folder / f"{next(_numbers):03d}-{legal(name)}"
                try:
                    place.mkdir(parents=True)
                except FileExistsError:  # of another run
                    continue
                self._own = place
                break
        return self._own

    def _write(self, name: str, file: str, text: str) -> None:
        (self._place(name) / f"{self._count:02d}-{file}").write_text(text, encoding="utf-8")
        self._count += 1


def observer() -> Debug | None:
    """The observer of one compilation, as the environment asks for it now; None if it does not."""
    wanted = os.environ.get("GRADC_DEBUG", "").strip()
    folder = os.environ.get("GRADC_DUMP", "").strip()
    level = int(wanted) if wanted.isdecimal() else 0
    if not level and not folder:
        return None
    return Debug(level, Path(folder) if folder else None)
