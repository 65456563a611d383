"""The rows of a run: which data are given, how many rows a step takes, and in which order they come."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gradc.ir.errors import ArgumentError
from gradc.train.leaves import Leaves


def as_arguments(data: Any) -> tuple[Any, ...]:
    """The data as the arguments that follow `params`: a plain tuple is several, anything else is one."""
    return data if type(data) is tuple else (data,)


def count_rows(data: Leaves) -> int:
    """The common first length of all leaves. Errors: `ArgumentError` if there is none, or no row."""
    lengths: dict[str, int] = {}
    for leaf, name in zip(data.leaves, data.names, strict=True):
        if not isinstance(leaf, np.ndarray) or not leaf.ndim:
            raise ArgumentError(
                f"data holds {leaf!r:.40} as {name}, which has no rows",
                hint="arrays whose first axis counts the rows; what is no data belongs into the loss, "
                "by functools.partial for instance",
            )
        lengths[name] = len(leaf)
    if not lengths:
        raise ArgumentError("data holds no arrays", hint="data=(X, y), for a loss(params, X, y)")
    if len(set(lengths.values())) > 1:
        shown = ", ".join([f"{name}: {n}" for name, n in lengths.items()])
        raise ArgumentError(
            f"the arrays in data have different first lengths ({shown})",
            hint="arrays with one row per example, all with the same number of rows",
        )
    n = next(iter(lengths.values()))
    if not n:
        raise ArgumentError("data has no rows", hint="pass at least one example")
    return n


@dataclass(frozen=True)
class Batches:
    """`rows` rows in batches of `size`, of which the last may be smaller, in another order in every epoch."""

    rows: int
    size: int
    shuffle: bool
    seed: int

    def order(self, epoch: int) -> np.ndarray:
        """The order of the rows in an epoch: i64[rows]."""
        if not self.shuffle:
            return np.arange(self.rows)
        return np.random.default_rng([self.seed, epoch]).permutation(self.rows)

    @cached_property
    def parts(self) -> list[slice]:
        """Which part of the order each step of an epoch takes."""
        starts = range(0, self.rows, self.size)
        return [slice(start, min(start + self.size, self.rows)) for start in starts]

    @cached_property
    def sizes(self) -> list[int]:
        """The rows of each step of an epoch."""
        return [part.stop - part.start for part in self.parts]

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return len(self.parts)


def batches(rows: int, batch_size: Any, shuffle: Any, seed: Any) -> Batches:
    """Batches from the arguments of `fit`; larger ones than there are rows have all rows.

    Errors: `ArgumentError` for what is no number of rows, or no seed.
    """
    if batch_size is None:
        batch_size = rows
    if not is_integer(batch_size) or batch_size < 1:
        raise ArgumentError(
            f"batch_size={batch_size!r} is no number of rows", hint="1 or more, or None for all rows at once"
        )
    if not is_integer(seed) or seed < 0:
        raise ArgumentError(f"seed={seed!r} is no seed", hint="an int of 0 or more")
    return Batches(rows, min(int(batch_size), rows), bool(shuffle), int(seed))


def is_integer(x: Any) -> bool:
    """Whether `x` is a Python or NumPy integer, and no bool."""
    return isinstance(x, int | np.integer) and not isinstance(x, bool)
