"""Gradients of a graph against finite differences along a random direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from gradc.ir import Graph, evaluate
from gradc.ir.ops.control import vjp_graph
from tests.programs.values import Noisy

STEP = 2e-4
TOLERANCE = 1e-6

Run = Callable[..., Sequence[np.ndarray]]


class Verdict(NamedTuple):
    """What the comparison says: nothing if not `smooth`, where the differences of two steps disagree."""

    message: str | None
    smooth: bool = True


def backward(graph: Graph) -> tuple[Graph, list[int]]:
    """Inputs and cotangents of the float outputs to cotangents of the inputs; which inputs have one."""
    gradient, reached = vjp_graph(graph, [y.type.is_float for y in graph.outputs])
    return gradient.replace(constants=graph.constants), reached


def seeds_of(graph: Graph, rng: np.random.Generator) -> list[np.ndarray]:
    """Random cotangents for the float outputs."""
    return [np.asarray(rng.uniform(0.5, 1.5, y.shape), y.dtype) for y in graph.outputs if y.type.is_float]


def check_gradient(
    graph: Graph, leaves: Sequence[np.ndarray], *, order: int = 1, seed: int = 0, run: Run = evaluate
) -> Verdict:
    """Compare the backward graph with finite differences, for all float64 inputs at once, up to `order`."""
    rng = np.random.default_rng([seed, 2])
    seeds = seeds_of(graph, rng)
    gradient, reached = backward(graph)
    cotangents = dict(zip(reached, run(gradient, *leaves, *seeds), strict=True))
    directions = [
        rng.uniform(-1, 1, x.shape) if x.dtype == np.float64 else None
        for x in (np.asarray(a) for a in leaves)
    ]
    claimed = [
        np.asarray(cotangents[i] * v) for i, v in enumerate(directions) if v is not None and i in cotangents
    ]
    with np.errstate(all="ignore"):
        claim = float(sum(np.sum(c) for c in claimed))
        scale = float(sum(np.sum(np.abs(c)) for c in claimed))
        measured, error = _measure(graph, leaves, directions, seeds, run)
    if not np.isfinite(measured) or not error <= 1e-4 * (1 + abs(measured)):
        return Verdict(None, smooth=False)
    allowed = TOLERANCE * (scale + abs(measured)) + 10 * error
    if not abs(claim - measured) <= allowed and run is evaluate:
        noise = _noise(gradient, [*leaves, *seeds], [directions[i] for i in reached])
        noise += _noise(graph, leaves, seeds) / STEP
        allowed += 8 * noise
    if not abs(claim - measured) <= allowed:
        return Verdict(f"gradient {order_name(order)} is {claim!r}, finite differences give {measured!r}")
    if order == 1 or not gradient.outputs:
        return Verdict(None)
    return check_gradient(gradient, [*leaves, *seeds], order=order - 1, seed=seed, run=run)


def _noise(graph: Graph, leaves: Sequence[np.ndarray], weights: Sequence[np.ndarray | None]) -> float:
    """How much rounding moves the weighted sum of the float results."""
    sums = []
    for run in (
        lambda: evaluate(graph, *leaves),
        *(partial(Noisy({}, s).run, graph, leaves) for s in range(3)),
    ):
        ys = [y for y in run() if y.dtype.kind == "f"]
        sums.append(sum(float(np.sum(w * y)) for w, y in zip(weights, ys, strict=True) if w is not None))
    return max(abs(s - sums[0]) for s in sums)


def order_name(order: int) -> str:
    return "along a random direction" if order == 1 else f"({order} orders to go) along a random direction"


def _measure(
    graph: Graph,
    leaves: Sequence[np.ndarray],
    directions: list[np.ndarray | None],
    seeds: list[np.ndarray],
    run: Run,
) -> tuple[float, float]:
    """The derivative by Richardson's extrapolation of central differences, and an estimate of its error."""
    terms: list[float] = []

    def loss(t: float) -> float:
        moved = [a if v is None else a + t * v for a, v in zip(leaves, directions, strict=True)]
        ys = [y for y in run(graph, *moved) if y.dtype.kind == "f"]
        products = [np.asarray(w * y, np.float64) for w, y in zip(seeds, ys, strict=True)]
        terms.append(float(sum(np.sum(np.abs(p)) for p in products)))
        return float(sum(np.sum(p) for p in products))

    coarse, fine, finest = ((loss(h) - loss(-h)) / (2 * h) for h in (STEP, STEP / 2, STEP / 4))
    first, second = (4 * fine - coarse) / 3, (4 * finest - fine) / 3
    rounding = 2e-16 * max(terms) / STEP * 8
    return second, abs(second - first) + rounding
