"""Random programs under random nestings of vmap, vjp and jvp, each held against the law that defines it.

A batch is a loop over the examples. Pullback and pushforward are transposes of one another, whatever they are
taken of, and the pushforward is what finite differences measure. So each transform has the graph before it
for a reference, at any depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gradc.ir import Graph, evaluate, verify
from gradc.passes import grad as derivatives
from gradc.passes.dce import dce
from gradc.passes.vmap import vmap
from tests.programs.check import BrokenError, check, check_smooth
from tests.programs.choices import Choices
from tests.programs.generate import generate

DEPTH = 3
"""The most transforms of one program."""

LARGE = 200_000
"""Values with more elements in all than this are not nested further."""

NESTING = "nesting"
"""How the stage of a failure in here begins."""

Leaves = list[np.ndarray]
Nested = tuple[Graph, Leaves]
Transform = Callable[[Choices, Graph, Leaves], Nested]


def floats(graph: Graph) -> list[int]:
    return [i for i, x in enumerate(graph.inputs) if x.type.is_float]


def some(choices: Choices, options: Sequence[int]) -> list[int]:
    """At least one of them."""
    return choices.subset(options) or [choices.pick(options)]


def random_like(choices: Choices, types: Sequence[np.ndarray]) -> Leaves:
    rng = np.random.default_rng(choices.integer(0, 10**6))
    return [np.asarray(rng.uniform(-1, 1, a.shape), a.dtype) for a in types]


def close(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray], precision: float) -> str | None:
    """What differs by more than rounding; a result is as exact as its largest elements."""
    for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"result {k} is {a.dtype}{list(a.shape)}, not {b.dtype}{list(b.shape)}"
        if a.dtype.kind != "f":
            if not np.array_equal(a, b):
                return f"elements of result {k} differ"
            continue
        fine = np.isfinite(b)
        size = np.max(np.abs(b[fine]), initial=1.0)
        with np.errstate(all="ignore"):
            if not np.array_equal(fine, np.isfinite(a)) or np.any(
                np.abs(a[fine] - b[fine]) > precision * size
            ):
                return f"elements of result {k} differ"
    return None


def batched(choices: Choices, graph: Graph, leaves: Leaves) -> Nested:
    """vmap over some of the inputs, held against the loop."""
    size = choices.pick([2, 3, 1])
    wide = some(choices, range(len(graph.inputs)))
    flags = [i in wide for i in range(len(graph.inputs))]
    rows = [list(leaves) for _ in range(size)]
    for row in rows[1:]:
        for i in wide:
            if leaves[i].dtype.kind == "f":  # stays in the operand's domain, which is no wider than ±10%
                row[i] = np.asarray(leaves[i] * (1 + 0.02 * random_like(choices, [leaves[i]])[0]))
            elif leaves[i].dtype.kind == "b":
                row[i] = np.asarray(leaves[i] ^ (random_like(choices, [leaves[i].astype(float)])[0] > 0))
            elif leaves[i].ndim:
                row[i] = np.ascontiguousarray(np.flip(leaves[i]))
    made = vmap(graph, flags, size)
    whole = [np.stack([row[i] for row in rows]) if b else leaves[i] for i, b in enumerate(flags)]
    wanted = [np.stack(ys) for ys in zip(*[evaluate(graph, *row) for row in rows], strict=True)]
    problem = close(evaluate(made, *whole), wanted, 1e-9)
    if problem:
        raise BrokenError(f"vmap{flags}", problem, graph, leaves)
    return made, whole


def derived(choices: Choices, graph: Graph, leaves: Leaves, forward: bool) -> Nested:
    """vjp or jvp with respect to some of the inputs, held against one another: <u, J t> = <J^T u, t>."""
    wrt = some(choices, floats(graph))
    primals = list(evaluate(graph, *leaves))
    kinds = [y for y in primals if y.dtype.kind == "f"]
    t, u = random_like(choices, [leaves[i] for i in wrt]), random_like(choices, kinds)
    pulled, pushed = derivatives.vjp(graph, wrt), derivatives.jvp(graph, wrt)
    back = list(evaluate(pulled, *leaves, *u))
    forth = list(evaluate(pushed, *leaves, *t))
    count = len(graph.outputs)
    for name, found in (("vjp", back), ("jvp", forth)):
        if problem := close(found[:count], primals, 1e-12):
            raise BrokenError(name, problem, graph, leaves)
    with np.errstate(all="ignore"):
        one = [np.sum(a * b) for a, b in zip(forth[count:], u, strict=True)]
        other = [np.sum(a * b) for a, b in zip(back[count:], t, strict=True)]
        size = sum(np.sum(np.abs(a * b)) for a, b in zip(forth[count:], u, strict=True))
        size += sum(np.sum(np.abs(a * b)) for a, b in zip(back[count:], t, strict=True))
    if np.isfinite(size) and abs(sum(one) - sum(other)) > 1e-7 * size + 1e-9:
        raise BrokenError("transposes", f"<u, J t> is {sum(one)}, <J^T u, t> is {sum(other)}", graph, leaves)
    return (pushed, [*leaves, *t]) if forward else (pulled, [*leaves, *u])


def pulled_back(choices: Choices, graph: Graph, leaves: Leaves) -> Nested:
    return derived(choices, graph, leaves, forward=False)


def pushed_forward(choices: Choices, graph: Graph, leaves: Leaves) -> Nested:
    return derived(choices, graph, leaves, forward=True)


TRANSFORMS: dict[str, Transform] = {"vmap": batched, "vjp": pulled_back, "jvp": pushed_forward}


def trimmed(graph: Graph, count: int) -> Graph:
    """Without the value, of which the derivative is taken further."""
    outputs = graph.outputs[count:]
    return dce(graph.replace(outputs=outputs)) if outputs else graph


def nest(
    graph: Graph,
    leaves: Leaves,
    choices: Choices,
    way: Sequence[str] | None = None,
    *,
    smooth: bool = False,
    native: bool = False,
) -> None:
    """Transform the program again and again, the last of `way` first, with every step checked.

    `smooth` programs are also held against finite differences at every step, and `native` runs what comes out
    at last. Errors: `BrokenError`, whose stage says the nesting.
    """
    names = way or [choices.pick(list(TRANSFORMS)) for _ in range(choices.integer(1, DEPTH))]
    done: list[str] = []
    try:
        for name in reversed(names):
            reached = any(y.type.is_float for y in graph.outputs) and floats(graph)
            elements = sum(v.type.size for node in graph.nodes for v in node.results)
            if not reached or not elements or elements > LARGE:
                break
            if smooth:
                check_smooth(graph, leaves)
            done.insert(0, name)
            count = 0 if name == "vmap" else len(graph.outputs)
            graph, leaves = TRANSFORMS[name](choices, graph, leaves)
            verify(graph, after=name)
            graph = trimmed(graph, count)
        if native:
            check(graph, leaves)
    except BrokenError as broken:
        stage = f"{NESTING} {' of '.join(done)}: {broken.stage}"
        raise BrokenError(stage, broken.problem, broken.graph, broken.leaves) from None
    except Exception as error:
        stage = f"{NESTING} {' of '.join(done)}"
        raise BrokenError(stage, f"{type(error).__name__}: {error}", graph, leaves) from error


def nesting_trial(seed: int) -> None:
    """One seed: a program in smooth domains, half of them also with kinks, under a nesting."""
    choices = Choices([seed, 7])
    program = generate(choices, smooth=True, kinks=seed % 2 == 1, ops=2 + seed % 4 * 3)
    leaves = program.leaves(seed)
    if finite(program.graph, leaves):
        nest(program.graph, leaves, choices, smooth=seed % 2 == 0, native=seed % 8 == 0)


def finite(graph: Graph, leaves: Leaves) -> bool:
    return all(np.isfinite(y).all() for y in evaluate(graph, *leaves) if y.dtype.kind == "f")


def again(graph: Graph, leaves: Leaves) -> None:
    """Every transform of a program that a transform failed of."""
    for seed in range(4):
        for name in TRANSFORMS:
            nest(graph, leaves, Choices(seed), [name], native=True)
