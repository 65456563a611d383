"""Slopes along directions: what a gradient says they are, against what finite differences measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

STEPS = tuple([2.0**-k for k in range(6, 37, 2)])
"""Step sizes. Large steps err by curvature, small ones by rounding; what is between differs by function."""

DIRECTIONS = 6
"""Random directions in all inputs at once."""

FEW = 16
"""Up to so many inputs get a direction of their own each, lest a large slope hides a small one."""

SPLITS = 40
"""How many halves of directions are tried where a whole one says nothing, or meets a kink."""

PRECISE = 0.02
"""Differences that may err by more than this part of the slope say nothing."""

ROUGH = 64
"""How much more than expected finer steps may err by rounding."""

Arrays = Sequence[np.ndarray]
Direction = list[np.ndarray]


class Slope(NamedTuple):
    """A directional derivative by the gradient, and by finite differences: from both sides, which differ at
    a kink. `agree` is None where the differences say nothing."""

    analytic: float
    below: float
    above: float
    agree: bool | None

    @property
    def kinked(self) -> bool:
        return self.below != self.above

    def __str__(self) -> str:
        if self.kinked:
            sides = f"the slopes of the two sides are {self.below:.10g} and {self.above:.10g}"
            return f"it gives {self.analytic:.10g}; there is a kink, and by finite differences {sides}"
        return f"it gives {self.analytic:.10g}; finite differences give {self.above:.10g}"


class Finding(NamedTuple):
    """What a search found: a slope that differs, one at a kink, and whether every direction was told."""

    differs: Slope | None
    kink: Slope | None
    complete: bool


class Limit(NamedTuple):
    """Where a sequence of ever finer estimates goes, and by how much it may err."""

    value: float
    error: float


@dataclass
class Slopes:
    """Slopes of a function f at x, with respect to some of its inputs, of which `gradients` are given.

    `tolerance` is relative; `noise` is what rounding may do to f.
    """

    f: Callable[[Arrays], float]
    x: Arrays
    inputs: Sequence[int]
    gradients: Arrays
    tolerance: float
    noise: float

    def __post_init__(self) -> None:
        self.value = self.f(self.x)

    def search(self) -> Finding:
        """Try directions until one differs. Where one says nothing, its halves are tried, and theirs."""
        pending = list(directions(self.x, self.inputs))[::-1]
        kink, complete, splits = None, True, SPLITS
        while pending:
            direction = pending.pop()
            slope = self.along(direction)
            if slope.agree is False:
                return Finding(slope, kink, complete)
            if slope.agree is None or slope.kinked:
                kink = slope if slope.kinked else kink
                parts = halves(direction) if splits > 0 else []
                splits -= len(parts)
                pending += parts
                complete = complete and (slope.agree is not None or bool(parts))
        return Finding(None, kink, complete)

    def along(self, direction: Direction) -> Slope:
        """Both derivatives along a direction.

        What is measured is by how much f departs from what the gradient says, for the steps that are really
        made: arguments round too.
        """
        terms = [product(g, d) for g, d in zip(self.gradients, direction, strict=True)]
        with np.errstate(all="ignore"):
            analytic = float(sum(t.sum() for t in terms))
            size = _length(terms)
        finite = bool(np.isfinite(size))
        gradients = self.gradients if finite else [np.zeros_like(g) for g in self.gradients]
        size = size if finite else 0.0
        after: list[float] = []
        before: list[float] = []
        last = 0.0
        for h in STEPS:
            sides = [self._departure(gradients, direction, s, h) for s in (h, -h)]
            after.append(sides[0])
            before.append(sides[1])
            off, allowed = abs(sides[0] + sides[1]) / 2, self.tolerance * size
            bend = abs(sides[0] - sides[1])  # of which a quarter remains at the next step, but not at a kink
            last, smooth = bend, bend <= max(allowed, 0.5 * last)
            if finite and smooth and off <= allowed and self.noise / h <= allowed:
                return Slope(analytic, analytic, analytic, True)
        return self._judged(analytic, size, finite, np.array(after), np.array(before))

    def _departure(self, gradients: Arrays, direction: Direction, step: float, h: float) -> float:
        """(f(x + step d) - f(x) - gradient . step d) / step."""
        moved = list(self.x)
        expected = 0.0
        for i, g, d in zip(self.inputs, gradients, direction, strict=True):
            moved[i] = np.asarray(self.x[i] + step * d, self.x[i].dtype)
            with np.errstate(all="ignore"):  # infinities stay where they are
                change = np.where(d == 0, 0.0, moved[i].astype(np.float64) - self.x[i])
            expected += float(np.sum(product(g, change)))
        return (self.f(moved) - self.value - expected) / step

    def _judged(
        self, analytic: float, size: float, finite: bool, after: np.ndarray, before: np.ndarray
    ) -> Slope:
        """The verdict on departures from the gradient's slope, at all steps, of both sides."""
        base = analytic if finite else 0.0
        noise = self.noise / np.array(STEPS)
        up, down = limit(after, noise, order=1), limit(before, noise, order=1)
        both = limit((after + before) / 2, noise, order=2)
        low, high = sorted((up.value, down.value))
        apart = high - low > 4 * (up.error + down.error) + self.tolerance * max(size, abs(low), abs(high))
        if apart:  # comparison with NaN is false
            slack = self.tolerance * max(size, abs(base + low), abs(base + high)) + up.error + down.error
            agree = finite and low - slack <= 0 <= high + slack
            return Slope(analytic if finite else np.nan, base + down.value, base + up.value, agree)
        known = min(both, up, down, key=lambda side: side.error)
        one_sided = not (np.isfinite(after).any() and np.isfinite(before).any())
        scale = max(size, abs(base + known.value))
        departs = abs(known.value) > self.tolerance * scale + 4 * known.error
        if known.error > PRECISE * scale and not (scale == known.error == 0):
            agree = None
        elif known is not both and not one_sided and departs and not both.error <= PRECISE * scale:
            agree = None  # a jump: one side goes smoothly to a value that is not f's
        else:
            agree = finite and not departs
        numeric = base + known.value
        numeric = 0.0 if abs(numeric) <= known.error + 1e-12 * abs(base) else numeric
        return Slope(analytic if finite else np.nan, numeric, numeric, agree)


def product(gradient: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Where nothing changes it does not count what the gradient is."""
    with np.errstate(all="ignore"):
        return np.where(change == 0, 0.0, gradient.astype(np.float64) * change)


def _length(terms: Arrays) -> float:
    """The Euclidean length, of which no square overflows."""
    largest = max((float(np.max(np.abs(t), initial=0)) for t in terms), default=0.0)
    if largest in (0, np.inf):
        return largest
    return largest * float(np.sqrt(sum(np.square(t / largest).sum() for t in terms)))


def limit(estimates: np.ndarray, noise: np.ndarray, order: int) -> Limit:
    """Richardson's extrapolation of estimates that err by a power of the step, where it is stable best.

    The error is judged by the neighbours in the sequence, of which each has a quarter of the step before it.
    All finer ones must agree as far as rounding lets them: what lies close to the point may show in the
    finest only.
    """
    ratio = 4.0**order
    with np.errstate(all="ignore"):
        finer = (ratio * estimates[1:] - estimates[:-1]) / (ratio - 1)
        change = np.abs(np.diff(finer))
        errors = np.maximum(change[:-1], change[1:]) + noise[2:-1]
        for k in np.argsort(errors):
            value, error = float(finer[k + 1]), float(errors[k])
            if not np.isfinite(error):
                break
            if np.all(np.abs(finer[k + 2 :] - value) <= error + ROUGH * noise[k + 3 :]):
                return Limit(value, error)
    return Limit(float("nan"), float("inf"))


def directions(x: Arrays, inputs: Sequence[int]) -> Iterator[Direction]:
    """Random directions: in turn relative to each element, which stays inside of domains, and of one size for
    a whole array; at last, for each of a few inputs alone."""
    rng = np.random.default_rng(1)
    sizes = [_sizes(x[i]) for i in inputs]
    for k in range(DIRECTIONS):
        yield [
            np.asarray(rng.standard_normal(x[i].shape) * s[k % 2]) for i, s in zip(inputs, sizes, strict=True)
        ]
    for own in range(len(inputs)) if 1 < len(inputs) <= FEW else ():
        yield [
            np.asarray(rng.standard_normal(x[i].shape) * s[0]) if k == own else np.zeros(x[i].shape)
            for k, (i, s) in enumerate(zip(inputs, sizes, strict=True))
        ]


def _sizes(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the elements of an array may go: each for itself, and all alike. What is not finite stays."""
    finite = np.isfinite(a)
    size = np.abs(np.where(finite, a, 0)).astype(np.float64)
    nonzero = size[size != 0]
    typical = float(np.median(nonzero)) if nonzero.size else 1.0
    return np.where(size == 0, min(typical, 1.0), size) * finite, typical * finite


def halves(direction: Direction) -> list[Direction]:
    """The direction in one half of the elements that it moves, and in the other one."""
    flat = np.concatenate([d.ravel() for d in direction])
    (moving,) = np.nonzero(flat)
    if len(moving) < 2:
        return []
    parts = []
    ends = np.cumsum([d.size for d in direction])[:-1]
    for some in (moving[: len(moving) // 2], moving[len(moving) // 2 :]):
        part = np.zeros_like(flat)
        part[some] = flat[some]
        pieces = np.split(part, ends)
        parts.append([piece.reshape(d.shape) for piece, d in zip(pieces, direction, strict=True)])
    return parts
