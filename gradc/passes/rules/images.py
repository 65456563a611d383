"""Gradients with respect to an image: folded products of cotangent and kernel, as contractions.

Each element of the image gathers products of the cotangent's elements around it. Where windows are a step
apart, the image falls into phases, every so many elements one, to each of which only a part of the kernel
belongs. The cotangent is padded, so that its zeros meet the kernel: a kernel that is not finite makes more
elements NaN than it did before.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import gcd, prod
from typing import NamedTuple

from gradc.ir import Node, Value, constant, emit
from gradc.ir.ops.windows import readers
from gradc.passes.rewrite import rewrites, uses
from gradc.passes.rules.layout import made_by
from gradc.passes.rules.pieces import take

VECTOR = 8
"""Elements along which a vector pays."""

WASTE = 2
"""So many times the products may be computed, for what is not there to be folded."""

PHASES = 16
"""So many contractions may be made of one, at most."""

Ints = tuple[int, ...]


class Places(NamedTuple):
    """The part of a kernel's axis that belongs to a phase, and the step along the cotangent that goes with
    it."""

    label: int
    start: int
    step: int
    size: int
    along: int


class Phase(NamedTuple):
    """Which element of the cotangent the first element of the image gets with the first places."""

    first: int
    places: tuple[Places, ...]


class Spread(NamedTuple):
    """An axis of the image: the cotangent's label, the elements of a phase, and the phases."""

    position: int
    size: int
    phases: list[Phase]


@rewrites("fold")
def fold_of_contraction(node: Node) -> Value | None:
    """fold(contract(g, w)) => contract(windows(pad(g)), w), in phases where windows are steps apart"""
    (folded,) = node.inputs
    made = made_by(folded, "contract")
    if made is None or uses(folded) > 1 or not folded.type.size:
        return None
    labels: Ints = made.attrs["result"]
    shape, axes, starts, steps = (node.attrs[k] for k in ("shape", "axes", "starts", "steps"))
    size = dict(zip(labels, folded.shape, strict=True))
    walks = [readers(axes, a) for a in range(len(shape))]
    for a, found in enumerate(walks):
        once = [(steps[r], folded.shape[r]) for r in found]
        if len(found) < 2 and (starts[a], once) != (0, [(1, shape[a])]):
            return None
    best: tuple[int, str, dict[int, Spread]] | None = None
    for g, w in (("a", "b"), ("b", "a")):
        spreads: dict[int, Spread] = {}
        for a, found in enumerate(walks):
            if len(found) > 1 and (spread := _spread(node, a, made.attrs[g], made.attrs[w])) is not None:
                spreads[a] = spread
        if not spreads or len(spreads) < sum(len(found) > 1 for found in walks):
            continue
        # Zeros of the padding are multiplied as well: most of the products must be of elements.
        products = prod(
            sum(s.size * prod(place.size for place in phase.places) for phase in s.phases)
            for s in spreads.values()
        )
        products *= prod(shape[a] for a in range(len(shape)) if a not in spreads)
        few = prod(len(s.phases) for s in spreads.values()) <= PHASES
        if few and products <= WASTE * folded.type.size and (best is None or products < best[0]):
            best = products, g, spreads
    if best is None:
        return None
    _, g, spreads = best
    plain = {a: labels[found[0]] for a, found in enumerate(walks) if a not in spreads}
    result = tuple(spreads[a].position if a in spreads else plain[a] for a in range(len(shape)))
    x, y = made.inputs
    a, b = made.attrs["a"], made.attrs["b"]
    image = _Image(spreads, result, shape, size)
    return image.written(x, a, y, b, True) if g == "a" else image.written(y, b, x, a, False)


def _spread(node: Node, a: int, g: Ints, w: Ints) -> Spread | None:
    """How an axis is spread, if one of its readers belongs to the cotangent (whose labels are `g`) alone, and
    the others to the kernel alone."""
    made = made_by(node.inputs[0], "contract")
    assert made is not None
    labels: Ints = made.attrs["result"]
    steps, start, size = node.attrs["steps"], node.attrs["starts"][a], node.attrs["shape"][a]
    walks = readers(node.attrs["axes"], a)
    mine = [r for r in walks if labels[r] in g and labels[r] not in w]
    others = [r for r in walks if labels[r] in w and labels[r] not in g]
    if len(mine) != 1 or len(others) != len(walks) - 1:
        return None
    (position,) = mine
    step = steps[position]
    count = node.types[0].shape[a]
    extent = node.inputs[0].shape
    if step == 1:
        places = tuple([Places(labels[r], 0, 1, extent[r], -steps[r]) for r in others])
        return Spread(labels[position], count, [Phase(-start, places)])
    if step < 1 or len(others) != 1:
        return None
    (other,) = others
    by, many = steps[other], extent[other]
    if not by or (many - 1) * abs(by) < step:  # nothing overlaps: only moved
        return None
    every = step // gcd(step, by)
    phases = []
    for residue in range(step):
        found = [j for j in range(min(every, many)) if (residue - start - j * by) % step == 0]
        if not found:
            phases.append(Phase(0, (Places(labels[other], 0, 1, 0, 0),)))
            continue
        (j,) = found
        part = Places(labels[other], j, every, len(range(j, many, every)), -(every * by // step))
        phases.append(Phase((residue - start - j * by) // step, (part,)))
    return Spread(labels[position], -(-size // step), phases)


class _Image(NamedTuple):
    """What the gradient is made of: by axis how it is spread, the labels of the result, its shape, and the
    size of every label."""

    spreads: dict[int, Spread]
    result: Ints
    shape: Ints
    size: dict[int, int]

    def written(self, g: Value, g_labels: Ints, w: Value, w_labels: Ints, first: bool) -> Value:
        """Emit all of it; `first`: the cotangent is the first operand."""
        g, g_labels = self.in_order(g, g_labels)
        padded, before = self.padded(g, g_labels)
        parts = []
        for phases in product(*[spread.phases for spread in self.spreads.values()]):
            at = dict(zip(self.spreads, phases, strict=True))
            if any(place.size == 0 for phase in phases for place in phase.places):
                parts.append(constant(0.0 if g.type.is_float else 0, g.type.with_shape(self.phase_shape)))
                continue
            windows, labels = self.windows(padded, g_labels, before, at)
            kernel = _part(w, w_labels, [place for phase in phases for place in phase.places])
            pair = ((windows, labels), (kernel, w_labels))
            (x, a), (y, b) = pair if first else pair[::-1]
            parts.append(emit("contract", x, y, a=a, b=b, result=self.result))
        return parts[0] if len(parts) == 1 else self.joined(parts)

    @property
    def phase_shape(self) -> Ints:
        """The shape of the elements of one phase."""
        return tuple(self.spreads[a].size if a in self.spreads else n for a, n in enumerate(self.shape))

    def in_order(self, g: Value, labels: Ints) -> tuple[Value, Ints]:
        """The cotangent with a position last, where the kernel gives no axis that is worth a vector."""
        positions = {spread.position for spread in self.spreads.values()}
        if self.result[-1] not in positions and self.size[self.result[-1]] >= VECTOR:
            return g, labels
        last = [label for label in self.result if label in positions][-1]
        order = (*[i for i, label in enumerate(labels) if label != last], labels.index(last))
        if order == tuple(range(len(order))):
            return g, labels
        return emit("transpose", g, axes=order), tuple(labels[i] for i in order)

    def padded(self, g: Value, labels: Ints) -> tuple[Value, dict[int, int]]:
        """The cotangent with zeros around, as far as any phase reaches, and how many are in front."""
        shape, starts = list(g.shape), [0] * len(labels)
        before: dict[int, int] = {}
        for a, spread in self.spreads.items():
            axis = labels.index(spread.position)
            spans = [
                (phase.first, [(place.size - 1) * place.along for place in phase.places])
                for phase in spread.phases
                if all(place.size for place in phase.places)
            ]
            low = min(first + sum(min(s, 0) for s in reach) for first, reach in spans)
            high = spread.size - 1 + max(first + sum(max(s, 0) for s in reach) for first, reach in spans)
            before[a] = starts[axis] = max(0, -low)
            shape[axis] += before[a] + max(0, high - (g.shape[axis] - 1))
        if tuple(shape) == g.shape:
            return g, before
        zero = 0.0 if g.type.is_float else 0
        whole, ones = tuple(shape), (1,) * len(shape)
        return emit("pad", g, shape=whole, starts=tuple(starts), steps=ones, value=zero), before

    def windows(
        self, padded: Value, labels: Ints, before: dict[int, int], at: dict[int, Phase]
    ) -> tuple[Value, Ints]:
        """For every element of a phase, the cotangent's elements that its places belong to; their labels."""
        sizes, axes, steps = list(padded.shape), list(range(len(labels))), [1] * len(labels)
        starts, made = [0] * len(labels), list(labels)
        for a, phase in at.items():
            axis = labels.index(self.spreads[a].position)
            sizes[axis], starts[axis] = self.spreads[a].size, phase.first + before[a]
            for place in phase.places:
                sizes.append(place.size)
                axes.append(axis)
                steps.append(place.along)
                made.append(place.label)
        shape, walks, begin = tuple(sizes), tuple(axes), tuple(starts)
        read = emit("windows", padded, shape=shape, axes=walks, starts=begin, steps=tuple(steps))
        return read, tuple(made)

    def joined(self, parts: Sequence[Value]) -> Value:
        """The elements of all phases in their places."""
        counts = [len(spread.phases) for spread in self.spreads.values()]
        rows = [emit("reshape", x, shape=(1, *self.phase_shape)) for x in parts]
        every = emit("reshape", emit("concat", *rows, axis=0), shape=(*counts, *self.phase_shape))
        step = {a: len(spread.phases) for a, spread in self.spreads.items()}
        rank = len(self.shape)
        whole = tuple(n * step.get(a, 1) for a, n in enumerate(self.phase_shape))
        image = emit(
            "fold",
            every,
            shape=whole,
            axes=(*self.spreads, *range(rank)),
            starts=(0,) * rank,
            steps=(*[1] * len(counts), *[step.get(a, 1) for a in range(rank)]),
        )
        return image if whole == self.shape else take(image, (0,) * rank, self.shape, (1,) * rank)


def _part(w: Value, labels: Ints, places: Sequence[Places]) -> Value:
    """The kernel's part for a phase."""
    starts, sizes, steps = [0] * len(labels), list(w.shape), [1] * len(labels)
    for place in places:
        axis = labels.index(place.label)
        starts[axis], sizes[axis], steps[axis] = place.start, place.size, place.step
    if tuple(sizes) == w.shape:
        return w
    return take(w, tuple(starts), tuple(sizes), tuple(steps))
