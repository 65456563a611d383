"""Whole programs in the manners of many people: what the modules `idioms_*` enter their programs into."""

from __future__ import annotations

from collections.abc import Callable

from tests.programs.numpy_programs import DType, NumPyProgram, Rng, labels, normal

__all__ = ["IDIOMS", "DType", "Rng", "idiom", "labels", "normal", "uniform"]

IDIOMS: list[NumPyProgram] = []
"""Each gives one number, and is differentiated in its first argument."""


def idiom(arguments: Callable[[Rng, DType], tuple]) -> Callable[[Callable], Callable]:
    """Enter a function into the list, with what makes its arguments."""

    def enter(function: Callable) -> Callable:
        IDIOMS.append(NumPyProgram(function.__name__, function, arguments))
        return function

    return enter


def uniform(r: Rng, t: DType, *shape: int, low: float = 0.0, high: float = 1.0):
    """An array of this shape, or one number of this dtype."""
    return r.uniform(low, high, size=shape).astype(t) if shape else t(r.uniform(low, high))
