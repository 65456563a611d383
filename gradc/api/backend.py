"""The seam to the compiler: from a traced graph through the passes to something that runs."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gradc.ir.graph import Graph
from gradc.passes.observer import STAGE_NAMES
from gradc.passes.observer import Observer as PassObserver

if TYPE_CHECKING:
    from gradc.runtime.executable import Executable

GRAPH_STAGES = ("traced", *STAGE_NAMES)
"""The stages whose text is a graph."""

STAGES = (*GRAPH_STAGES, "kernels", "loops", "llvm", "asm")
"""What `dump(stage=)` shows, in order."""

__all__ = ["GRAPH_STAGES", "STAGES", "Observer", "Options", "build", "run_stages", "stabilize"]


@dataclass(frozen=True)
class Options:
    """How to compile: the number of threads (None: as many as there are), and whether rounding may change."""

    threads: int | None = None
    fast_math: bool = False


class Observer(PassObserver, Protocol):
    """Is told of every pass, rule and generated code of a compilation, and of what comes from the cache.

    One that `wants_stages` gets them, whatever there is in the cache.
    """

    @property
    def wants_stages(self) -> bool: ...
    @property
    def wants_code(self) -> bool: ...
    def cache(self, text: str) -> None: ...
    def time(self, name: str, seconds: float) -> None: ...
    def code(self, name: str, kind: str, text: str) -> None: ...


observe: Callable[[], Observer | None] = lambda: None  # noqa: E731
"""Gives the observer of one compilation; `gradc.inspect.debug` puts its own here."""


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage meanwhile.

    Passes make several objects for each node, nearly all of which stay until the end; looking through them
    again and again took half of the time that a deep network's graph took.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@uncollected()
def stabilize(graph: Graph, observer: Observer | None = None) -> Graph:
    """The traced graph with its stabilizing rules applied, before a gradient is taken."""
    from gradc.passes import pipeline  # whose rules take time to load, and what is in the cache needs none

    return pipeline.prepare(graph, observer)


@uncollected()
def run_stages(graph: Graph, options: Options, until: str, observer: Observer | None = None) -> Graph:
    """A graph through the pipeline, from after `grad` until a stage whose text is a graph."""
    from gradc.passes import pipeline

    return pipeline.run(graph, until, fast_math=options.fast_math, observer=observer)


@uncollected()
def build(
    graph: Graph,
    options: Options,
    observer: Observer | None = None,
    donate: Mapping[int, int] | None = None,
    derive: Callable[[Observer | None], Graph] | None = None,
    recipe: str = "",
) -> Executable:
    """Compile a graph (of a value, or with its gradients) to something that runs.

    `derive`, which `recipe` describes, gives the graph that goes through the pipeline in place of `graph`,
    from which it is made: what is in the cache (`gradc.api.cached`) needs neither. An `observer` that is
    passed is told by `derive` of the stages up to "grad". `donate` maps outputs to inputs whose memory they
    may take over: see `gradc.passes.plan_memory`.
    """
    from gradc.api.cached import Cached
    from gradc.runtime.executable import Executable, load

    if observer is None:
        observer = observe()

    def planned(observer: Observer | None = None) -> Graph:
        from gradc.passes import pipeline

        source = graph if derive is None else derive(observer)
        if derive is None and observer is not None:
            observer.stage("grad", graph, 0.0)
        return pipeline.run(source, fast_math=options.fast_math, donate=donate, observer=observer)

    cached = Cached(
        graph, f"{recipe} {options.fast_math} {sorted(donate.items()) if donate else ''}", observer
    )
    if observer is None or not observer.wants_stages:
        executable = cached.load(lambda binary: Executable(binary, graph.constants, planned, options.threads))
        if executable is not None:
            return executable
    final = planned(observer)
    start = time.perf_counter()
    executable = load(final, options.threads, None if observer is None else observer.time)
    if observer is not None:
        observer.stage("codegen", final, time.perf_counter() - start)
        if observer.wants_code:
            for kind in ("loops", "llvm", "asm"):
                observer.code(graph.name, kind, executable.dump(kind))
    cached.keep(executable.binary)
    return executable
