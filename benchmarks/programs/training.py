"""Training a small network by Adam on shuffled batches: the data, the order of rows, Adam's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.programs.plain import Numbers, Program, mlp

RATE, B1, B2, EPS = 1e-3, 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Training:
    """A run: `epochs` times all `rows`, `batch` of them in a step; the loss is that of `program`."""

    program: Program
    X: np.ndarray
    y: np.ndarray
    batch: int
    epochs: int

    @property
    def params(self) -> Any:
        return self.program.arguments[0]

    @property
    def steps(self) -> int:
        return self.epochs * len(self.X) // self.batch

    def order(self) -> np.ndarray:
        """The rows of each step, in the order that `gradc.fit` takes them."""
        epochs = [np.random.default_rng([0, epoch]).permutation(len(self.X)) for epoch in range(self.epochs)]
        return np.concatenate(epochs).reshape(self.steps, self.batch)


def training(sizes: Sequence[int], batch: int, rows: int, epochs: int) -> Training:
    """Random pixels and labels: as many as the digits of scikit-learn that examples/digits.py trains on."""
    assert rows % batch == 0
    numbers = Numbers("float32", seed=1)
    X = numbers.rng.uniform(0, 1, (rows, sizes[0])).astype(np.float32)
    return Training(mlp(sizes, batch), X, numbers.labels(rows, sizes[-1]), batch, epochs)
