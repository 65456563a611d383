"""The way of a graph, as a list: the page to read first.

    traced ── stabilize ── grad ── dce, simplify, unscale, cse, dce ── fuse ── plan_memory ── code
      │                     │                         │                  │         │
    "traced"             "grad"                 "optimized"           "fused"  "planned"       the stages that dumps show

Stabilizing comes before the gradient is taken: the gradient of a stable formula is stable, while the gradient of
log(sum(exp(x))) has divided infinity by infinity before any rule could see it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from gradc.ir.graph import Graph
from gradc.passes.cse import cse
from gradc.passes.dce import dce
from gradc.passes.fuse import fuse
from gradc.passes.plan_memory import plan_memory
from gradc.passes.simplify import simplify
from gradc.passes.stabilize import stabilize
from gradc.passes.unscale import unscale

Pass = Callable[[Graph], Graph]

FORWARD: tuple[Pass, ...] = (stabilize,)
"""Before a gradient is taken."""

STAGES: dict[str, tuple[Pass, ...]] = {
    "grad": (),
    "optimized": (dce, simplify, unscale, cse, dce),
    "fused": (fuse,),
    "planned": (plan_memory,),
}
"""What leads to each stage after the gradient (`gradc.passes.grad`) is there."""

PASSES: tuple[tuple[str, Pass], ...] = tuple(
    (step.__name__, step) for step in (*FORWARD, *(step for steps in STAGES.values() for step in steps))
)
"""All of them in order, by name."""


class Observer(Protocol):
    """Is told of every pass: its name, the graph it gave, the seconds it took; and of the end of every stage."""

    def stage(self, name: str, graph: Graph, seconds: float) -> None: ...


def run(
    graph: Graph,
    until: str = "planned",
    *,
    fast_math: bool = False,
    donate: Mapping[int, int] | None = None,
    observer: Observer | None = None,
) -> Graph:
    """A graph (with its gradient, if it shall have one) through the stages, up to the one named `until`.

    `fast_math` allows rules that change rounding; `donate` maps outputs to the inputs whose memory they may take
    over (see `plan_memory`).
    """
    if observer is not None:
        observer.stage("grad", graph, 0.0)
    for stage, steps in STAGES.items():
        for step in steps:
            name = step.__name__
            if step is simplify and fast_math:
                step = functools.partial(simplify, fast_math=True)
            elif step is plan_memory and donate:
                step = functools.partial(plan_memory, donate=donate)
            start = time.perf_counter()
            graph = step(graph)
            if observer is not None:
                observer.stage(name, graph, time.perf_counter() - start)
        if stage == until:
            break
    return graph
