"""Learning-rate schedules: the rate as a function of the step, in plain NumPy.

A schedule is called with the number of updates made so far (0 at the first one), an integer that may be
traced, and returns the rate of the next update. Any such function serves; these are the common ones. They are
values: frozen, and equal when their parameters are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "Schedule",
    "StepDecay",
    "Warmup",
    "constant",
    "cosine",
    "exponential",
    "step_decay",
    "warmup",
]

Schedule = Callable[[Any], Any]
"""The number of updates made so far -> the learning rate of the next one, in plain NumPy."""


@dataclass(frozen=True)
class Constant:
    """The same rate always: rate(t) = lr.

    In PyTorch, an optimizer without a scheduler.
    """

    lr: float

    def __call__(self, step: Any) -> Any:
        return self.lr


@dataclass(frozen=True)
class StepDecay:
    """Multiplied by `factor` after every `every` steps: rate(t) = lr * factor^floor(t / every).

    In PyTorch, `torch.optim.lr_scheduler.StepLR` with `step_size=every, gamma=factor`.

    Raises:
        ValueError: if `every` is not positive.
    """

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _require_positive("every", self.every)

    def __call__(self, step: Any) -> Any:
        return self.lr * self.factor ** (step // self.every)


@dataclass(frozen=True)
class Exponential:
    """Multiplied by `decay` after every step: rate(t) = lr * decay^t.

    In PyTorch, `torch.optim.lr_scheduler.ExponentialLR` with `gamma=decay`.
    """

    lr: float
    decay: float

    def __call__(self, step: Any) -> Any:
        return self.lr * self.decay**step


@dataclass(frozen=True)
class Cosine:
    """Half a wave from `lr` down to `floor`: rate(t) = floor + (lr - floor) (1 + cos(pi t / steps)) / 2.

    After `steps` steps the rate stays at the floor. In PyTorch, `torch.optim.lr_scheduler.CosineAnnealingLR`
    with `T_max=steps, eta_min=floor`, which after `T_max` steps rises again.

    Source of the formula: Loshchilov and Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*,
    2017, equation 5, without the restarts.

    Raises:
        ValueError: if `steps` is not positive.
    """

    lr: float
    steps: int
    floor: float = 0.0

    def __post_init__(self) -> None:
        _require_positive("steps", self.steps)

    def __call__(self, step: Any) -> Any:
        done = np.minimum(step, self.steps) / self.steps
        return self.floor + (self.lr - self.floor) * 0.5 * (1.0 + np.cos(np.pi * done))


@dataclass(frozen=True)
class Warmup:
    """A linear rise during the first `steps` steps, and then `schedule` from its own start.

    rate(t) = schedule(0) (t + 1) / (steps + 1) for t < steps, else schedule(t - steps). A number for
    `schedule` is a constant rate. In PyTorch, `torch.optim.lr_scheduler.SequentialLR` of
    `LinearLR(start_factor=1 / (steps + 1), total_iters=steps)` and `schedule`, with `milestones=[steps]`.

    Raises:
        ValueError: if `steps` is not positive.
    """

    schedule: Schedule | float
    steps: int

    def __post_init__(self) -> None:
        _require_positive("steps", self.steps)

    def __call__(self, step: Any) -> Any:
        rise = np.minimum((step + 1) / (self.steps + 1), 1.0)
        return rise * rate_at(self.schedule, np.maximum(step - self.steps, 0))


constant = Constant
step_decay = StepDecay
exponential = Exponential
cosine = Cosine
warmup = Warmup


def rate_at(schedule: Schedule | float, step: Any) -> Any:
    """The learning rate after `step` updates: `schedule` itself if it is a number."""
    return schedule(step) if callable(schedule) else schedule


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value!r}")
