"""`gradc.fit`: minimizes a loss over data by gradient descent, a native call for every step."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.api.frames import HOME, strip_internals
from gradc.ir.errors import ArgumentError, GradcError, Source
from gradc.train.batches import is_integer
from gradc.train.loop import Loop, Memory
from gradc.train.optim import Optimizer
from gradc.train.problem import Problem, problem
from gradc.train.progress import Progress

OnEpoch = Callable[[int, Any, dict[str, np.ndarray]], object]


@dataclass
class FitResult:
    """What `fit` returns.

    - `params`: the parameters, a tree like the one given.
    - `history`: float64 vectors: `"loss"` for each step, `"epoch_loss"` for each complete epoch (the mean
      over all rows), and the scalars of aux for each step, by path.
    - `stopped`: the number of the step, counted from 0, that was not applied because its loss or its gradient
      is not finite, which ended the run; `history["loss"][stopped]` is its loss. Else None.
    - `interrupted`: whether Ctrl-C ended the run.
    """

    params: Any
    history: dict[str, np.ndarray]
    stopped: int | None = None
    interrupted: bool = False


def fit(
    loss: Callable[..., Any],
    params: Any,
    data: Any,
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int | None = None,
    shuffle: bool = True,
    seed: int = 0,
    progress: bool = True,
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Minimize `loss(params, *batch)` over the float leaves of `params`, by `optimizer`.

    - `loss`: a compiled function, or a plain one. It returns one float number, or `(loss, aux)`. The
      compiled steps are kept with a compiled function, so that another run with the same shapes starts at
      once; a plain one is compiled in every run.
    - `params`: a tree of parameters. It is not modified. Integers and static leaves stay as they are.
    - `data`: a tuple of trees of arrays with one common first length, the number of rows; anything else than
      a tuple means `(data,)`. It is read by every step, and not modified.
    - `optimizer`: one of `gradc.optim`, or anything with `init(params) -> state` and
      `update(grads, state, params) -> (params, state)` in plain NumPy.
    - `epochs`: how often all rows are visited.
    - `batch_size`: the rows of a step; None means all. The last batch of an epoch may be smaller.
    - `shuffle`: epoch e visits the rows in the order `np.random.default_rng([seed, e]).permutation(n)`;
      without it, in their own order. Nothing else in a run is random.
    - `progress`: whether to show a progress bar.
    - `on_epoch`: called as `on_epoch(epoch, params, history)` after every epoch, counted from 0, with a copy
      of the parameters and the history so far.

    A step whose loss or gradient is not finite is not applied, and ends the run with a `RuntimeWarning`.
    Ctrl-C, or a `KeyboardInterrupt` from `on_epoch`, ends it too. The result is then what had been reached.

    Errors: `ArgumentError` for arguments that do not fit together; `TraceError` and `ShapeError` as for
    compiled functions; `IndexOutOfBoundsError` if the loss indexes out of bounds.
    """
    try:
        if not is_integer(epochs) or epochs < 0:
            raise ArgumentError(f"epochs={epochs!r} is no number of epochs", hint="0 or more")
        what = problem(loss, params, data, optimizer, batch_size, shuffle, seed)
        with Progress(bool(progress), int(epochs), what.batches.steps) as bar:
            result = run(what, int(epochs), bar, on_epoch)
    except Exception as error:
        # What is traced here counts as the user's code; what he wrote is the call.
        if isinstance(error, GradcError) and (error.source is None or error.source.file.startswith(HOME)):
            frame = sys._getframe(1)
            error.source = Source(frame.f_code.co_filename, frame.f_lineno)
        strip_internals(error)
        raise
    if result.stopped is not None:
        warnings.warn(why(result, what.batches.steps), RuntimeWarning, stacklevel=2)
    return result


def run(what: Problem, epochs: int, bar: Progress, on_epoch: OnEpoch | None) -> FitResult:
    """Make the steps of all epochs, as far as it goes."""
    memory = Memory(what.params, what.state, what.data)
    loop = Loop(what.batches, memory, what.step)
    history = loop.history

    def params() -> Any:
        return what.params.rebuild(loop.values()[: len(what.params.traced)])

    interrupted = False
    try:
        for epoch in range(epochs):
            for done in loop.epoch(epoch):
                if time.perf_counter() > bar.due:
                    bar.show(done, history.last)
            if loop.stopped is not None:
                break
            if on_epoch is not None:
                on_epoch(epoch, params(), history.vectors())
    except KeyboardInterrupt:
        interrupted = True
        loop.catch_up()
    bar.show(history.steps, history.last)
    vectors = {name: vector.copy() for name, vector in history.vectors().items()}
    return FitResult(params(), vectors, loop.stopped, interrupted)


def why(result: FitResult, per_epoch: int) -> str:
    """Which step ended a run that was stopped, and why."""
    step, loss = result.stopped or 0, result.history["loss"][-1]
    reason = "its gradient is not finite" if np.isfinite(loss) else f"its loss is {loss}"
    which = f"step {step} (of epoch {step // per_epoch}, both counted from 0)"
    return f"{which} was not applied and ended the run: {reason}"
