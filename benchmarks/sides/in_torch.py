"""PyTorch's side, eager or through torch.compile."""

from __future__ import annotations

import os
from collections.abc import Callable
from timeit import Timer
from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found]

from benchmarks.programs import in_torch, plain
from benchmarks.programs.calls import CALLS, NUMBERS, names
from benchmarks.programs.training import B1, B2, EPS, RATE, training
from benchmarks.sides.side import Prepared, SideBase, flat, mapped


def tensor(x: Any) -> Any:
    return torch.from_numpy(np.asarray(x))


class Side(SideBase):
    def __init__(self, compiled: bool = False) -> None:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.compiled = compiled

    def info(self) -> dict[str, Any]:
        x = torch.ones(1, requires_grad=True)
        self.function(lambda x: (x + 1).sum())(x).backward()
        return {"PyTorch": torch.__version__, "NumPy": np.__version__, "threads": torch.get_num_threads()}

    def function(self, loss: Callable[..., Any]) -> Callable[..., Any]:
        """As it is, or compiled."""
        if not self.compiled:
            return loss
        torch._dynamo.reset()
        return torch.compile(loss, dynamic=False)

    def prepare_loss(self, family: str, parameters: dict[str, Any]) -> Prepared:
        given = plain.program(family, parameters)
        loss = self.function(getattr(in_torch, family)(**parameters))
        wrt = (given.wrt,) if isinstance(given.wrt, int) else given.wrt

        def tensors() -> tuple[tuple[Any, ...], list[Any]]:
            """The arguments, and the leaves that gradients are for."""
            arguments = mapped(tensor, given.arguments)
            return arguments, [x.requires_grad_() for i in wrt for x in flat(arguments[i])]

        def call(arguments: tuple[Any, ...], leaves: list[Any]) -> Any:
            value = loss(*arguments)
            return value, torch.autograd.grad(value, leaves)

        def from_numpy() -> list[np.ndarray]:
            return [x.detach().numpy() for x in flat(call(*tensors()))]

        from_numpy()
        variables = {"call": call, "args": tensors(), "from_numpy": from_numpy}
        forms = {
            "tensors": Timer("call(*args)", globals=variables),
            "NumPy arrays": Timer("from_numpy()", globals=variables),
        }
        return Prepared(forms, from_numpy)

    def prepare_call(self, way: str) -> Prepared:
        make, hand_over, expression, _ = CALLS[way]
        loss = self.function(make(torch))
        numbers = tuple(torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in NUMBERS)
        variables = {"f": loss, "grad": torch.autograd.grad, "leaves": numbers, **names(hand_over(numbers))}
        code = f"y = {expression}; grad(y, leaves)"

        def result() -> list[np.ndarray]:
            y = loss(*hand_over(numbers))
            # JAX and gradc sort a dict's keys.
            ordered = (numbers[2], numbers[0], numbers[1]) if way == "dict" else numbers
            return [x.detach().numpy() for x in (y, *torch.autograd.grad(y, ordered))]

        result()
        return Prepared({"tensors": Timer(code, globals=variables)}, result)

    def prepare_training(self, **parameters: Any) -> Prepared:
        given = training(**parameters)
        loss = self.function(in_torch.mlp())
        X, y, order = tensor(given.X), tensor(given.y), tensor(given.order())

        def run() -> list[Any]:
            params = mapped(lambda x: tensor(x).clone().requires_grad_(), given.params)
            leaves = flat(params)
            adam = torch.optim.Adam(leaves, lr=RATE, betas=(B1, B2), eps=EPS, fused=True)
            losses = []
            for rows in order:
                value = loss(params, X[rows], y[rows])
                adam.zero_grad()
                value.backward()
                adam.step()
                losses.append(value.detach())
            return leaves

        run()
        return Prepared(
            {"fused Adam": Timer(run)}, lambda: [x.detach().numpy() for x in run()], per=given.steps
        )

    def first_call(self, family: str, parameters: dict[str, Any]) -> Callable[[], Any]:
        given = plain.program(family, parameters)
        loss = self.function(getattr(in_torch, family)(**parameters))
        arguments = mapped(tensor, given.arguments)
        leaves = [x.requires_grad_() for x in flat(arguments[0])]
        return lambda: torch.autograd.grad(loss(*arguments), leaves)
