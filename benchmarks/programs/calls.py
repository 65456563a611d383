"""A sigmoid neuron with three parameters, handed over in the ways that people do: what counts is the call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

Function = Callable[..., Any]


@dataclass
class Neuron:
    """The parameters as an object."""

    w: Any
    x: Any
    b: Any


class Call(NamedTuple):
    """A way to call: the loss of a namespace, what it is called with, by what expression."""

    make: Callable[[Any], Function]
    hand_over: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    expression: str
    wrt: int | tuple[int, ...] = 0


def of_three(xp: Any) -> Function:
    return lambda w, x, b: 1 / (1 + xp.exp(-(w * x + b)))


def of_dict(xp: Any) -> Function:
    return lambda p: 1 / (1 + xp.exp(-(p["w"] * p["x"] + p["b"])))


def of_object(xp: Any) -> Function:
    return lambda p: 1 / (1 + xp.exp(-(p.w * p.x + p.b)))


NUMBERS = (0.5, -1.0, 2.0)
CALLS = {
    "positional": Call(of_three, lambda numbers: numbers, "f(a, b, c)", wrt=(0, 1, 2)),
    "keywords": Call(of_three, lambda numbers: numbers, "f(w=a, x=b, b=c)", wrt=(0, 1, 2)),
    "dict": Call(of_dict, lambda numbers: (dict(zip("wxb", numbers, strict=True)),), "f(a)"),
    "dataclass": Call(of_object, lambda numbers: (Neuron(*numbers),), "f(a)"),
}


def names(given: tuple[Any, ...]) -> dict[str, Any]:
    """What the variables of the expressions mean."""
    return dict(zip("abc", given, strict=False))
