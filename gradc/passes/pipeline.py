"""The way of a graph, as a list: the page to read first.

    traced      what the tracer wrote
       cse, stabilize
    grad        the gradient of it (gradc.passes.grad)
       unfold, dce, cse, unscale, simplify, unscale, cse, dce
    optimized
       fuse, split, share, group, join
    fused       kernels
       plan_memory
    planned     every value has a place; then code generation: loops, llvm, asm

The names on the left are the stages that dumps show, those between them the passes.

Stabilizing comes before the gradient is taken: the gradient of a stable formula is stable, while the gradient
of log(sum(exp(x))) has divided infinity by infinity before any rule could see it. What is written twice is
made one value before, since formulas are known by the values that they use twice. Functions that bring their
own pullback are unfolded after it, so that what both compute is computed once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from gradc.ir.graph import Graph
from gradc.ir.verify import verify
from gradc.passes.cse import cse
from gradc.passes.dce import dce
from gradc.passes.fuse import fuse
from gradc.passes.group import group
from gradc.passes.join import join
from gradc.passes.observer import STAGE_NAMES, Observer
from gradc.passes.plan_memory import plan_memory
from gradc.passes.share import share
from gradc.passes.simplify import simplify
from gradc.passes.split import split
from gradc.passes.stabilize import stabilize
from gradc.passes.unfold import unfold
from gradc.passes.unscale import unscale

Pass = Callable[..., Graph]

FORWARD: tuple[Pass, ...] = (cse, stabilize)
"""Before a gradient is taken."""

STAGES: dict[str, tuple[Pass, ...]] = {
    "grad": (),
    "optimized": (unfold, dce, cse, unscale, simplify, unscale, cse, dce),
    "fused": (fuse, split, share, group, join),
    "planned": (plan_memory,),
}
"""What leads to each stage after the gradient (`gradc.passes.grad`) is there."""
assert tuple(STAGES) == STAGE_NAMES

PASSES: tuple[tuple[str, Pass], ...] = tuple(
    (step.__name__, step) for step in (*FORWARD, *(step for steps in STAGES.values() for step in steps))
)
"""All of them in order, by name."""


def run_pass(step: Pass, graph: Graph, observer: Observer | None, **options: Any) -> Graph:
    """One pass; observed, its result is verified too."""
    if observer is None:
        return step(graph, **options)
    if step in (simplify, stabilize):
        options["report"] = observer.rule
    start = time.perf_counter()
    graph = step(graph, **options)
    observer.stage(step.__name__, graph, time.perf_counter() - start)
    verify(graph, after=step.__name__)
    return graph


def prepare(graph: Graph, observer: Observer | None = None) -> Graph:
    """A traced graph before its gradient is taken."""
    for step in FORWARD:
        graph = run_pass(step, graph, observer)
    return graph


def run(
    graph: Graph,
    until: str = "planned",
    *,
    fast_math: bool = False,
    donate: Mapping[int, int] | None = None,
    observer: Observer | None = None,
) -> Graph:
    """A graph (with its gradient, if it shall have one) through the stages, up to the one named `until`.

    `fast_math` allows rules that change rounding; `donate` maps outputs to the inputs whose memory they may
    take over (see `plan_memory`).
    """
    options: dict[Pass, dict[str, Any]] = {
        simplify: {"fast_math": fast_math},
        plan_memory: {"donate": donate},
    }
    for stage, steps in STAGES.items():
        for step in steps:
            graph = run_pass(step, graph, observer, **options.get(step, {}))
        if stage == until:
            break
    return graph
