"""One program through every prefix of the pipeline: verifier clean, text comes back, values stay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradc.ir import Graph, Value, evaluate, parse, verify
from tests.programs.gradients import backward, check_gradient, seeds_of
from tests.programs.stages import Stage, attribute, native, stages
from tests.programs.strategies import FACTORED
from tests.programs.values import Expected, identical

LAYOUT_DEPENDENT = {"matmul", "reduce_sum", "reduce_prod", *FACTORED}
"""Ops whose terms NumPy adds up in an order that depends on the layout of the operands."""


class BrokenError(AssertionError):
    """A stage broke a program. `stage` names it, `graph` and `leaves` are what it was given first."""

    def __init__(self, stage: str, problem: str, graph: Graph, leaves: Sequence[np.ndarray]) -> None:
        self.stage = stage
        self.problem = problem
        self.graph = graph
        self.leaves = list(leaves)
        super().__init__(stage, problem)

    def __str__(self) -> str:
        leaves = "\n".join(
            f"  {x.name or '_'} = {np.array2string(a, threshold=30, edgeitems=2)}"
            for x, a in zip(self.graph.inputs, self.leaves, strict=True)
        )
        return f"{self.stage}: {self.problem}\n{self.graph}\nwith\n{leaves}"


class Trail:
    """A program on its way through the stages: what its results were at first, and after the last stage."""

    def __init__(self, graph: Graph, leaves: Sequence[np.ndarray]) -> None:
        self.graph = graph
        self.leaves = [np.array(a) for a in leaves]
        self.kept = [a.copy() for a in self.leaves]
        self.last = list(evaluate(graph, *self.leaves))
        self.expected = Expected(graph, self.leaves, self.last)
        self.excuses: set[str] = set()
        self.fixed = fixed_outputs(graph)

    def broken(self, stage: str, problem: str | Exception) -> BrokenError:
        if isinstance(problem, Exception):
            problem = f"{type(problem).__name__}: {problem}"
        return BrokenError(stage, problem, self.graph, self.leaves)

    def passed(self, stage: Stage, now: Graph) -> None:
        """What a stage made: verify, print, parse, evaluate, compare with the first and the last results."""
        try:
            verify(now, after=stage.name)
            text = str(now)
            back = parse(text)
            results = evaluate(back, *self.leaves, constants=now.constants)
        except Exception as error:
            raise self.broken(stage.name, error) from error
        if str(back) != text:
            raise self.broken(stage.name, f"the text does not come back:\n{text}\nbut\n{back}")
        self.excuses.update({stage.excuse} if stage.excuse else ())
        self.compare(stage.name, results)
        if stage.exact:
            before = Expected(self.graph, self.leaves, self.last)
            if problem := before.difference(results, exact=self.fixed):
                raise self.broken(stage.name, problem)
        self.last = list(results)

    def compare(self, stage: str, results: Sequence[np.ndarray]) -> None:
        if problem := self.expected.difference(results, excuses=self.excuses):
            raise self.broken(stage, problem)
        if not all(identical(a, b).all() for a, b in zip(self.leaves, self.kept, strict=True)):
            raise self.broken(stage, "an argument was modified")


def check(graph: Graph, leaves: Sequence[np.ndarray], passes: Sequence[Stage] | None = None) -> None:
    """Run the graph after every pass, and natively after the last, and compare with the graph as it was.

    Errors: `BrokenError`, which names the first stage at fault.
    """
    trail = Trail(graph, leaves)
    trail.passed(Stage("the program itself", lambda graph: graph), graph)
    now = graph
    for stage in stages() if passes is None else passes:
        try:
            now = stage.run(now)
        except Exception as error:
            raise trail.broken(stage.name, error) from error
        trail.passed(stage, now)
    execute = native() if now.arena is not None else None
    if execute is not None:
        try:
            results = execute(now, trail.leaves)
        except Exception as error:
            raise trail.broken("native", error) from error
        trail.compare("native", results)


def fixed_outputs(graph: Graph) -> list[bool]:
    """Which outputs every exact stage must give bit for bit, wherever their operands lie in memory."""
    loose: set[Value] = set()
    for node in graph.nodes:
        inner = any(not all(fixed_outputs(g)) for _, g in node.graphs)
        if inner or node.op.name in LAYOUT_DEPENDENT or not loose.isdisjoint(node.inputs):
            loose.update(node.results)
    return [y not in loose for y in graph.outputs]


def check_backward(
    graph: Graph, leaves: Sequence[np.ndarray], seed: int = 0, passes: Sequence[Stage] | None = None
) -> None:
    """The same for the backward graph of a program, with random cotangents of its results.

    The passes that run before a gradient is taken have had their turn in `check`, on the program itself.
    """
    gradient, _ = backward(graph)
    later = [stage for stage in (stages() if passes is None else passes) if stage.excuse != "better"]
    check(gradient, [*leaves, *seeds_of(graph, np.random.default_rng([seed, 3]))], later)


def check_variants(graph: Graph, leaves: Sequence[np.ndarray]) -> None:
    """Plans in which outputs take over the memory of inputs, and `fast_math` where all is finite."""
    run = attribute("gradc.passes.pipeline", "run")
    plan = attribute("gradc.passes.plan_memory", "plan_memory")
    if run is None or plan is None:
        return
    trail = Trail(graph, leaves)
    trail.excuses = {"better", "unscaled"}
    donate: dict[int, int] = {}
    for number, y in enumerate(graph.outputs):
        fitting = [i for i, x in enumerate(graph.inputs) if x.type == y.type and i not in donate.values()]
        if fitting and graph.outputs.index(y) == number:
            donate[number] = fitting[0]
    variants = {"donation": lambda: plan(run(graph, "fused"), donate=donate)}
    if all(np.isfinite(y).all() for y in trail.last if y.dtype.kind == "f"):
        variants["fast_math"] = lambda: run(graph, fast_math=True)
    for name, make in variants.items():
        try:
            now = make()
        except Exception as error:
            raise trail.broken(name, error) from error
        trail.passed(Stage(name, run, exact=False), now)


def check_smooth(graph: Graph, leaves: Sequence[np.ndarray], order: int = 1, seed: int = 0) -> bool:
    """Gradients against finite differences. False if the program is not smooth enough there to tell."""
    verdict = check_gradient(graph, leaves, order=order, seed=seed)
    if verdict.message:
        raise BrokenError("gradients", verdict.message, graph, leaves)
    return verdict.smooth
