"""Measuring side by side: rounds in turns, medians, and the row of a table that comes of them.

Other work on the machine falls on both sides alike when they take turns, so that their ratio holds where
times do not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass
class Row:
    """One line of the table: microseconds of both sides, and the ratio that is aimed at.

    Without numbers, `note` says why.
    """

    name: str
    peer: str
    goal: float
    ours: float | None = None
    theirs: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Our time by theirs: the smaller, the better."""
        return self.ours / self.theirs if self.ours is not None and self.theirs else None


def seconds(work: Work) -> float:
    """The time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def microseconds_each(ours: Work, theirs: Work, *, per: int = 1, rounds: int = 15) -> tuple[float, float]:
    """The median times of both in microseconds, divided by `per`, of rounds in turns after a warm-up."""
    for work in (ours, theirs):
        work()
    times = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    first, second = (1e6 * statistics.median(column) / per for column in zip(*times, strict=True))
    return first, second


def repeated(work: Work, times: int) -> Work:
    """Work that calls `work` so many times."""

    def loop() -> None:
        for _ in range(times):
            work()

    return loop
