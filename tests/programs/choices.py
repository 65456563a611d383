"""Where the generator of programs gets its decisions: from a seed, or from hypothesis, which shrinks them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from hypothesis import strategies as st

T = TypeVar("T")


class Choices:
    """Decisions from a seed. The smaller a number, the simpler the program: hypothesis shrinks towards it."""

    def __init__(self, seed: int | Sequence[int] = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, percent: int) -> bool:
        """True in so many cases of a hundred."""
        return self.integer(0, 99) >= 100 - percent

    def pick(self, options: Sequence[T]) -> T:
        """One of the options; the first one is the simplest."""
        return options[self.integer(0, len(options) - 1)]

    def subset(self, options: Sequence[T]) -> list[T]:
        """Some of the options, in their order."""
        return [x for x in options if self.chance(50)]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """All options in some order."""
        rest, out = list(options), []
        while rest:
            out.append(rest.pop(self.integer(0, len(rest) - 1)))
        return out


class Drawn(Choices):
    """Decisions drawn by hypothesis."""

    def __init__(self, draw: Callable) -> None:
        self.draw = draw

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))
