"""Optimizers in plain NumPy, with the formulas and defaults of `torch.optim` 2.13.

An optimizer is a value, equal to another one with the same parameters, and holds no state: `init(params)`
makes the state, a tree of arrays and a count of steps, and `update(grads, state, params)` returns new
parameters and a new state. Nothing is changed in place, and nothing branches on the value of an array, so
that `update` can be compiled as part of a training step.

Every float leaf keeps its shape and dtype. Leaves without a gradient (`None`: integers, strings, flags) pass
through. A learning rate is a number or a schedule (`gradc.train.schedules`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from gradc.trace import tree
from gradc.train.schedules import (
    Schedule,
    constant,
    cosine,
    exponential,
    rate_at,
    step_decay,
    warmup,
)

__all__ = [
    "SGD",
    "Adam",
    "AdamState",
    "AdamW",
    "Optimizer",
    "SGDState",
    "Schedule",
    "adam",
    "adamw",
    "constant",
    "cosine",
    "exponential",
    "sgd",
    "step_decay",
    "warmup",
]


class Optimizer(Protocol):
    """What `gradc.fit` asks of an optimizer."""

    def init(self, params: Any) -> Any:
        """The state before the first update: a tree."""
        ...

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """`(params, state)` after one update.

        `grads` has the tree of `params`, with `None` for no gradient.
        """
        ...


class SGDState(NamedTuple):
    """`step`: updates made, an int64; `momentum`: a tree like the parameters, or `None` without momentum."""

    step: Any
    momentum: Any


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, with momentum if it is not 0.

    With parameters p, gradient g, learning rate lr, at step t = 1, 2, ...:

        g  =  g + weight_decay * p
        b  =  momentum * b + (1 - dampening) * g        (b = g at t = 1)
        p  =  p - lr * b                                (p - lr * (g + momentum * b) with `nesterov`)

    Source: `torch.optim.SGD`; Nesterov's form as in Sutskever et al., *On the importance of initialization
    and momentum in deep learning*, 2013.

    Raises:
        ValueError: for a negative parameter, or `nesterov` with dampening or without momentum.
    """

    lr: Schedule | float = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        _require_rate(self.lr)
        _require_at_least_0(momentum=self.momentum, weight_decay=self.weight_decay)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("Nesterov momentum needs a momentum above 0 and no dampening")

    def init(self, params: Any) -> SGDState:
        return SGDState(np.int64(0), tree.map(_zeros, params) if self.momentum else None)

    def update(self, grads: Any, state: SGDState, params: Any) -> tuple[Any, SGDState]:
        lr = rate_at(self.lr, state.step)

        def plain(p: Any, g: Any) -> tuple[Any]:
            return (p - _cast(lr, p) * self._decayed(g, p),)

        def with_momentum(p: Any, g: Any, b: Any) -> tuple[Any, Any]:
            g = self._decayed(g, p)
            b_next = self.momentum * b + (1 - self.dampening) * g
            if self.dampening:  # else b is 0 at the first step, and the line above says the same
                b_next = np.where(state.step == 0, g, b_next)[()]
            direction = g + self.momentum * b_next if self.nesterov else b_next
            return p - _cast(lr, p) * direction, b_next

        if state.momentum is None:
            (params,), momentum = _each_leaf(plain, params, grads), None
        else:
            params, momentum = _each_leaf(with_momentum, params, grads, state.momentum)
        return params, SGDState(state.step + 1, momentum)

    def _decayed(self, g: Any, p: Any) -> Any:
        return g + self.weight_decay * p if self.weight_decay else g


class AdamState(NamedTuple):
    """`step`: updates made, an int64; `mean`, `square`: the moving averages, trees like the parameters."""

    step: Any
    mean: Any
    square: Any


@dataclass(frozen=True)
class Adam:
    """Adam: steps scaled by running estimates of the gradient's mean and mean square.

    With parameters p, gradient g, learning rate lr, (b1, b2) = `betas`, at step t = 1, 2, ...:

        g  =  g + weight_decay * p
        m  =  b1 * m + (1 - b1) * g
        v  =  b2 * v + (1 - b2) * g^2
        p  =  p - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    Sources: `torch.optim.Adam`; Kingma and Ba, *Adam: A Method for Stochastic Optimization*, 2015,
    algorithm 1.

    Raises:
        ValueError: for a negative parameter, or a beta outside of [0, 1).
    """

    lr: Schedule | float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _require_rate(self.lr)
        _require_at_least_0(eps=self.eps, weight_decay=self.weight_decay)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be in [0, 1), not {self.betas!r}")

    def init(self, params: Any) -> AdamState:
        return AdamState(np.int64(0), tree.map(_zeros, params), tree.map(_zeros, params))

    def update(self, grads: Any, state: AdamState, params: Any) -> tuple[Any, AdamState]:
        b1, b2 = self.betas
        lr = rate_at(self.lr, state.step)
        t = state.step + 1
        # The corrections are float64 numbers, computed once; `_cast` keeps them from promoting the arrays.
        rate = lr / (1 - b1**t)
        root_correction = 1 / np.sqrt(1 - b2**t)

        def rule(p: Any, g: Any, m: Any, v: Any) -> tuple[Any, Any, Any]:
            p, g = self._decayed(p, g, _cast(lr, p))
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * (g * g)
            scale = np.sqrt(v) * _cast(root_correction, p) + self.eps
            return p - _cast(rate, p) * m / scale, m, v

        params, mean, square = _each_leaf(rule, params, grads, state.mean, state.square)
        return params, AdamState(t, mean, square)

    def _decayed(self, p: Any, g: Any, lr: Any) -> tuple[Any, Any]:
        return (p, g + self.weight_decay * p) if self.weight_decay else (p, g)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weight decay that acts on the parameters, not through the moving averages.

    As `Adam`, but the first line is

        p  =  p - lr * weight_decay * p

    Sources: `torch.optim.AdamW`; Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, 2019,
    algorithm 2.
    """

    weight_decay: float = 1e-2

    def _decayed(self, p: Any, g: Any, lr: Any) -> tuple[Any, Any]:
        return p * (1 - lr * self.weight_decay), g


sgd = SGD
adam = Adam
adamw = AdamW


def _each_leaf(rule: Callable[..., tuple[Any, ...]], params: Any, grads: Any, *slots: Any) -> tuple[Any, ...]:
    """`rule(p, g, *slots)` for every float leaf with a gradient: trees of what it returns, new `p` first."""
    leaves, treedef = tree.flatten(params)
    columns = [tree.flatten_up_to(treedef, each) for each in (grads, *slots)]
    rows = [(p, *slot) for p, *slot in zip(leaves, *columns[1:], strict=True)]
    for i, (p, g) in enumerate(zip(leaves, columns[0], strict=True)):
        if g is not None and _is_float(p):
            p_next, *slots_next = rule(p, _cast(g, p), *rows[i][1:])
            # A Python float is weakly typed, and a NumPy number in its place would promote float32 arrays.
            rows[i] = (float(p_next) if type(p) is float else p_next, *slots_next)
    return tuple(treedef.unflatten(row[k] for row in rows) for k in range(1 + len(slots)))


def _is_float(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return type(leaf) is float if dtype is None else dtype.kind == "f"


def _zeros(leaf: Any) -> Any:
    # [()] makes a number of an array without axes, as updates do.
    return np.zeros_like(leaf)[()] if _is_float(leaf) else None


def _cast(x: Any, like: Any) -> Any:
    """`x` in the dtype of `like`; a Python number stays one, since it does not promote."""
    dtype = getattr(like, "dtype", np.float64)
    return x if type(x) in (int, float) or x.dtype == dtype else x.astype(dtype)


def _require_rate(rate: Schedule | float) -> None:
    if not callable(rate):
        _require_at_least_0(lr=rate)


def _require_at_least_0(**parameters: float) -> None:
    for name, value in parameters.items():
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, not {value!r}")
