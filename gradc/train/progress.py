"""The progress bar of a run, drawn at most ten times a second."""

from __future__ import annotations

import time
from typing import Any

PAUSE = 0.1
"""Seconds between two drawings."""


class Progress:
    """One bar over all steps, with the last loss. A disabled one does nothing, and does not import tqdm."""

    def __init__(self, enabled: bool, epochs: int, steps_per_epoch: int) -> None:
        self.enabled = enabled
        self.epochs = epochs
        self.per_epoch = steps_per_epoch
        self.bar: Any = None
        self.due = float("inf")
        """When to draw again, by `time.perf_counter`."""

    def __enter__(self) -> Progress:
        if self.enabled:
            from tqdm import tqdm

            self.bar = tqdm(total=self.epochs * self.per_epoch, unit="step")
            self.due = time.perf_counter() + PAUSE
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, steps: int, loss: float) -> None:
        """Draw where the run is."""
        if self.bar is None:
            return
        epoch = min(steps // self.per_epoch + 1, self.epochs)
        self.bar.set_description(f"epoch {epoch}", refresh=False)
        self.bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
        self.bar.n = steps
        self.bar.refresh()
        self.due = time.perf_counter() + PAUSE
