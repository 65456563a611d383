"""NumPy's side: the value alone, as the function is written; training is written out by hand."""

from __future__ import annotations

import os
from timeit import Timer
from typing import Any

import numpy as np

from benchmarks.programs import plain
from benchmarks.programs.calls import CALLS, NUMBERS, names
from benchmarks.programs.training import RATE, training
from benchmarks.sides.side import Prepared, SideBase, flat


class Side(SideBase):
    def info(self) -> dict[str, Any]:
        return {"NumPy": np.__version__, "threads": len(os.sched_getaffinity(0))}

    def prepare_loss(self, family: str, parameters: dict[str, Any]) -> Prepared:
        given = plain.program(family, parameters)
        loss, arguments = given.make(np), given.arguments
        forms = {"value": Timer("f(*args)", globals={"f": loss, "args": arguments})}
        return Prepared(forms, lambda: [loss(*arguments)])

    def prepare_call(self, way: str) -> Prepared:
        make, hand_over, expression, _ = CALLS[way]
        given = hand_over(NUMBERS)
        loss = make(np)
        return Prepared(
            {"value": Timer(expression, globals={"f": loss, **names(given)})}, lambda: [loss(*given)]
        )

    def prepare_training(self, **parameters: Any) -> Prepared:
        """The loop of examples/digits.py, whose network has three layers."""
        from examples import digits

        given = training(**parameters)
        if len(given.params) != 3 or given.batch != digits.BATCH:
            raise ValueError(f"written out by hand are three layers and batches of {digits.BATCH}")
        params = {
            f"{n}{i}": x for i, layer in enumerate(given.params, 1) for n, x in zip("Wb", layer, strict=True)
        }
        Y = np.eye(given.params[-1][1].size, dtype=np.float32)[given.y]

        def run() -> Any:
            return digits.fit_by_hand(params, given.X, Y, given.epochs, lambda t: RATE)

        def result() -> list[np.ndarray]:
            trained, _ = run()
            return flat([(trained[f"W{i}"], trained[f"b{i}"]) for i in (1, 2, 3)])

        return Prepared({"by hand": Timer(run)}, result, per=given.steps)
