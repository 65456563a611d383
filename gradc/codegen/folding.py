"""The loops of `fold`: each element of the result gathers what overlapping windows add to it.

Along an axis of the result, the elements to which the same window positions contribute form evenly spaced
runs: a few at both ends, and one (for every residue of the windows' step) in between. So there is a nest of
loops for every combination of runs, and its body adds up a fixed list of elements. Where that would be too
much text, the terms are added to memory one window position after another.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product
from math import prod
from typing import NamedTuple

from gradc.codegen.loops import Affine, Load, Store
from gradc.codegen.lower import ZERO, Emitter, Index, vector_steps
from gradc.codegen.movement import fill_with, simple_loops
from gradc.ir.graph import Node
from gradc.ir.ops.windows import readers

MOST_TERMS = 200
"""Elements that are loaded by all nests together, at most."""


class Run(NamedTuple):
    """The elements `start + i * step`, i < size, of an axis. Each of `terms` is an element that is added to
    element i: for every reader of the axis its index, as (offset, step) along i."""

    start: int
    step: int
    size: int
    terms: list[dict[int, tuple[int, int]]]


def lower_fold(emitter: Emitter, node: Node) -> None:
    """All nests, after zeros where no window reaches."""
    (x,) = node.inputs
    type = node.types[0]
    axes, starts, steps = (node.attrs[k] for k in ("axes", "starts", "steps"))
    if not x.type.size:
        fill_with(emitter, type, 0)
        return
    by_axis = [
        list(runs(x.shape, steps, readers(axes, a), starts[a], type.shape[a])) for a in range(type.ndim)
    ]
    if prod(sum(len(run.terms) for run in found) for found in by_axis) > MOST_TERMS:
        add_to_memory(emitter, node)
        return
    covered = prod(sum(run.size for run in found) for found in by_axis)
    if covered < type.size:
        fill_with(emitter, type, 0)
    for k, combination in enumerate(product(*by_axis)):
        gather_nest(emitter, node, combination, f"n{k}_")


def runs(
    shape: tuple[int, ...], steps: tuple[int, ...], reading: list[int], start: int, size: int
) -> Iterator[Run]:
    """The runs of an axis of `size` elements, read from `start` on along the axes `reading` of a shape."""
    if not reading:
        yield Run(start, 1, 1, [{}])
        return
    main = max(reading, key=lambda r: (shape[r] if steps[r] else 0, -r))
    others = [r for r in reading if r != main]
    step, count = steps[main] or 1, shape[main] if steps[main] else 1
    turned = step < 0
    step = abs(step)
    # By residue, where the elements that a choice of the others' indices reaches begin.
    reached: dict[int, list[tuple[int, dict[int, int]]]] = {}
    for choice in product(*[range(shape[r]) for r in others]):
        first = start + sum(i * steps[r] for i, r in zip(choice, others, strict=True))
        first -= (count - 1) * step if turned else 0
        reached.setdefault(first % step, []).append((first // step, dict(zip(others, choice, strict=True))))
    for residue in sorted(reached):
        firsts = reached[residue]
        ends = sorted({t for first, _ in firsts for t in (first, first + count)})
        for low, high in pairwise(ends):
            terms = [
                {
                    main: (first + count - 1 - low, -1) if turned else (low - first, 1),
                    **{r: (i, 0) for r, i in choice.items()},
                }
                for first, choice in firsts
                if first <= low < first + count
            ]
            if terms:
                yield Run(residue + low * step, step, high - low, terms)


def gather_nest(emitter: Emitter, node: Node, combination: tuple[Run, ...], tag: str) -> None:
    """Loops over one run of every axis; the last one in vectors."""
    (x,), type = node.inputs, node.types[0]
    names = [f"{tag}{a}" for a in range(len(combination))]
    terms = [
        {k: v for d in parts for k, v in d.items()} for parts in product(*[r.terms for r in combination])
    ]
    axes = node.attrs["axes"]

    def leaf() -> None:
        total = None
        for term in terms:
            index = tuple(
                Affine.variable(names[axes[r]]) * term[r][1] + term[r][0] for r in range(x.type.ndim)
            )
            value = emitter.value(x, index)
            total = value if total is None else emitter.let("add", x.dtype, [total, value])
        assert total is not None
        there = tuple(
            Affine.variable(name) * run.step + run.start for name, run in zip(names, combination, strict=True)
        )
        emitter.store("out0", type, there, total)

    if not combination:
        leaf()
        return
    for name in names[:-1]:
        emitter.open(name)
    emitter.vector_variable = names[-1]
    for start, stop, lanes, _, active in vector_steps(combination[-1].size, emitter.widest):
        emitter.lanes, emitter.active = lanes, active
        emitter.open(names[-1])
        leaf()
        emitter.close(start, stop, lanes)
    emitter.vector_variable, emitter.lanes, emitter.active = None, 1, None
    for a in reversed(range(len(names) - 1)):
        emitter.close(0, combination[a].size, 1)


def add_to_memory(emitter: Emitter, node: Node) -> None:
    """Zeros, to which elements are added in the order of the operand; vectors along an axis that spreads."""
    (x,), type = node.inputs, node.types[0]
    axes, starts, steps = (node.attrs[k] for k in ("axes", "starts", "steps"))
    fill_with(emitter, type, 0)

    # The longest reader of every axis goes inside, in the order of the axes, so that neighbours are near.
    def longest(a: int) -> int:
        return max(readers(axes, a), key=lambda r: (x.shape[r], -r))

    inner = [longest(a) for a in range(type.ndim) if readers(axes, a)]
    whole = [r for r in inner if len(readers(axes, axes[r])) == 1 and r != inner[-1]]
    order = [
        *whole,
        *(r for r in range(x.type.ndim) if r not in inner),
        *(r for r in inner if r not in whole),
    ]

    def leaf(at: Index) -> None:
        index = [ZERO] * x.type.ndim
        for r, position in zip(order, at, strict=True):
            index[r] = position
        there = [ZERO + start for start in starts]
        for r, a in enumerate(axes):
            there[a] = there[a] + index[r] * steps[r]
        value = emitter.value(x, tuple(index))
        here = len(emitter.frames) - 1
        address, _, lanes = emitter.address("out0", type, tuple(there))
        active = emitter.active if lanes > 1 else None
        old = emitter.register(type.dtype, lanes, here)
        emitter.add(here, Load(old, address, active))
        new = emitter.let("add", type.dtype, [old, value], here)
        emitter.add(here, Store(address, new, lanes, active))

    simple_loops(emitter, tuple(x.shape[r] for r in order), leaf, vector=steps[order[-1]] != 0)
