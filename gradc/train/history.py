"""What a run remembers: the loss of every step and epoch, and the scalars that the loss returns beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


class Series:
    """A float64 vector that grows at its end; NaN where nothing was written."""

    def __init__(self) -> None:
        self.buffer = np.empty(0)

    def reserve(self, size: int) -> None:
        """Make room, twice as much as before if it is too little."""
        before = len(self.buffer)
        if before < size:
            grown = np.full(max(size, 2 * before), np.nan)
            grown[:before] = self.buffer
            self.buffer = grown

    def first(self, size: int) -> np.ndarray:
        """A view of the first numbers, which do not change any more."""
        view = self.buffer[:size]
        view.setflags(write=False)
        return view


class History:
    """The numbers of a run; `steps` and `epochs` are how many have been recorded."""

    def __init__(self) -> None:
        self.steps = self.epochs = 0
        self.room = 0
        self.losses, self.epoch_losses = Series(), Series()
        self.aux: dict[str, Series] = {}

    @property
    def last(self) -> float:
        """The last loss; NaN before the first step."""
        return float(self.losses.buffer[self.steps - 1]) if self.steps else float("nan")

    def reserve(self, steps: int) -> None:
        """Make room for so many steps, so that recording one only writes numbers."""
        self.room = steps
        for series in (self.losses, *self.aux.values()):
            series.reserve(steps)

    def record(self, step: int, loss: np.ndarray, aux: Mapping[str, np.ndarray]) -> None:
        """Take in what a step gave."""
        self.losses.buffer[step] = loss
        for name, value in aux.items():
            if name not in self.aux:
                series = Series()
                series.reserve(self.room)
                self.aux[name] = series
            self.aux[name].buffer[step] = value
        self.steps = step + 1

    def end_epoch(self, rows: Sequence[int]) -> None:
        """Take in the mean loss of the last steps, weighted by the rows that each of them had."""
        losses = self.losses.buffer[self.steps - len(rows) : self.steps]
        self.epoch_losses.reserve(self.epochs + 1)
        self.epoch_losses.buffer[self.epochs] = np.average(losses, weights=rows)
        self.epochs += 1

    def vectors(self) -> dict[str, np.ndarray]:
        """The numbers so far: `loss` and the scalars for each step, `epoch_loss` for each epoch."""
        series = {"loss": self.losses, **self.aux}
        return {
            **{name: each.first(self.steps) for name, each in series.items()},
            "epoch_loss": self.epoch_losses.first(self.epochs),
        }
