"""The inner loop of training: steps bound to the memory they update, called one after the other.

Nothing but row numbers goes from Python to a step, and a few numbers come back. What a step cannot update in
place (its plan reads the old value after the new one is written) has two buffers, used in turns.

The memory always is as some step has left it, also when an exception (Ctrl-C, say) comes from nowhere between
two bytecodes: which step was the last is written by the step itself, into `done`, and which of two buffers
holds the values follows from that number alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gradc.train.batches import Batches
from gradc.train.history import History
from gradc.train.leaves import Leaves, copied, like
from gradc.train.step import Step


class Memory:
    """The buffers of a run: copies of params and state, the data, and the numbers that steps give.

    A side is an integer that has a bit for every input: which of its two buffers holds its value.
    """

    def __init__(self, params: Leaves, state: Leaves, data: Leaves) -> None:
        self.inputs = [copied(array) for array in (*params.arrays(), *state.arrays())]
        self.spares: dict[int, np.ndarray] = {}
        self.data = data.arrays()
        self.number = np.zeros((), np.int64)
        self.done = np.zeros((), np.int64)
        self.finite = np.zeros((), np.bool_)

    def buffer(self, x: int, side: int) -> np.ndarray:
        """What holds input `x` on a side."""
        if not side >> x & 1:
            return self.inputs[x]
        if x not in self.spares:
            self.spares[x] = like(self.inputs[x])
        return self.spares[x]

    def values(self, side: int) -> list[np.ndarray]:
        """The leaves of params and state."""
        return [self.buffer(x, side) for x in range(len(self.inputs))]


class BoundStep(dict[int, Callable[[], int]]):
    """A step with its memory fixed: for each side, the native call, whose result is its status.

    `flips` has the bits that a call changes in the side. Before a call, `rows` takes the numbers of the
    batch's rows; after it, `loss` and `aux` hold numbers.
    """

    def __init__(self, step: Step, memory: Memory) -> None:
        super().__init__()
        self.step = step
        self.memory = memory
        self.rows = np.zeros(step.rows, np.int64)
        types = step.executable.outputs
        self.loss = np.zeros((), types[step.loss].dtype)
        self.aux = {name: np.zeros((), types[y].dtype) for name, y in step.aux.items()}
        self.flips = sum(1 << x for (x, _), same in zip(step.carried, step.in_place, strict=True) if not same)

    def __missing__(self, side: int) -> Callable[[], int]:
        step, memory = self.step, self.memory
        outputs: dict[int, np.ndarray] = {
            step.done: memory.done,
            step.finite: memory.finite,
            step.loss: self.loss,
            **{y: self.aux[name] for name, y in step.aux.items()},
            **{y: memory.buffer(x, side ^ self.flips) for x, y in step.carried},
        }
        inputs = [*memory.values(side), *memory.data, self.rows, memory.number]
        self[side] = call = step.executable.bind(inputs, [outputs[y] for y in range(len(outputs))])
        return call


class Loop:
    """A run: `for done in loop.epoch(e)` makes its steps one by one."""

    def __init__(self, batches: Batches, memory: Memory, compiled: Callable[[int], Step]) -> None:
        self.batches = batches
        self.memory = memory
        self.compiled = compiled
        self.history = History()
        self.stopped: int | None = None
        self._bound: dict[int, BoundStep] = {}

    def bound(self, rows: int) -> BoundStep:
        """The step for batches of so many rows, compiled when it is first needed."""
        if rows not in self._bound:
            self._bound[rows] = BoundStep(self.compiled(rows), self.memory)
        return self._bound[rows]

    def epoch(self, epoch: int) -> Iterator[int]:
        """Make the steps of an epoch, up to one that is not finite; after each, how many have been made."""
        memory, history, batches = self.memory, self.history, self.batches
        order = batches.order(epoch)
        number = epoch * batches.steps
        history.reserve(number + batches.steps)
        side = self.side(number)
        for part, size in zip(batches.parts, batches.sizes, strict=True):
            bound = self.bound(size)
            bound.rows[:] = order[part]
            memory.number[()] = number
            status = bound[side]()
            if status:
                bound.step.executable.fail(status)
            side ^= bound.flips
            history.record(number, bound.loss, bound.aux)
            if not memory.finite:
                self.stopped = number
                return
            number += 1
            yield number
        history.end_epoch(batches.sizes)

    def side(self, steps: int) -> int:
        """On which side the values are after so many steps."""
        epochs, rest = divmod(steps, self.batches.steps)
        sizes, side = self.batches.sizes, 0
        for rows, bound in self._bound.items():
            calls = epochs * sizes.count(rows) + sizes[:rest].count(rows)
            side ^= bound.flips * (calls % 2)
        return side

    def catch_up(self) -> None:
        """After an exception: take in what the last step gave."""
        done, steps = int(self.memory.done), self.batches.steps
        if done > self.history.steps:
            bound = self._bound[self.batches.sizes[(done - 1) % steps]]
            self.history.record(done - 1, bound.loss, bound.aux)
            if not self.memory.finite:
                self.stopped = done - 1
        if self.stopped is None and done == (self.history.epochs + 1) * steps:
            self.history.end_epoch(self.batches.sizes)

    def values(self) -> list[np.ndarray]:
        """The leaves of params and state as they are now."""
        return self.memory.values(self.side(int(self.memory.done)))
