"""The memory that arrays share in a trace, and the steps from there to a view of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gradc.ir import OPS, Builder, Source, Value
from gradc.ir.graph import current, is_building
from gradc.trace.pieces import Pieces, emit_in, joined, taken
from gradc.trace.source import locate

COPY = "a copy, as soon as it is written into"
"""Why nobody may write into a concrete array that is somebody else's: before the first write it is copied."""


class Cell:
    """The memory that an array and all views of it share: a value of the graph, or a concrete array.

    A value that was written into may be `Pieces`. `version` counts the writes, so that views know when what
    they remember is stale. `fixed` says why nobody may write. What is read is emitted into `builder`, the one
    of the graph that the cell was made in.
    """

    __slots__ = ("builder", "content", "fixed", "name", "version")

    def __init__(
        self, content: Value | np.ndarray, name: str | None = None, *, fixed: str | None = None
    ) -> None:
        self.content: Value | Pieces | np.ndarray = content
        self.name = name
        self.fixed = fixed
        self.version = 0
        self.builder = current() if is_building() else None

    def read(self, path: tuple[Step, ...] = ()) -> Value | np.ndarray:
        """What the view along a path is now."""
        content = self.content
        if type(content) is Pieces:
            assert self.builder is not None
            if path and path[0].op == "slice" and path[0].is_block:
                attrs = path[0].attrs
                content = joined(taken(content, attrs["starts"], attrs["sizes"]), self.builder)
                path = path[1:]
            else:
                content = self.content = joined(content, self.builder)
        for step in path:
            content = step.read(content, self.builder)  # type: ignore[arg-type]
        return content  # type: ignore[return-value]

    def write(self, content: Value | Pieces | np.ndarray) -> None:
        self.content = content
        self.version += 1


class ArgumentCell(Cell):
    """The memory of an array that the caller passes: `line` is where it is first written into.

    `reshaped` says that this was done through a view that is one only for arrays in C order.
    """

    __slots__ = ("line", "reshaped")

    def __init__(self, content: Value) -> None:
        super().__init__(content)
        self.line: Source | None = None
        self.reshaped = False

    def write(self, content: Value | Pieces | np.ndarray) -> None:
        if not self.version:
            self.line = locate()
        super().write(content)


class Step(NamedTuple):
    """One step from an array to a view of it: an op that only moves elements, and its attributes."""

    op: str
    attrs: dict[str, Any]

    @property
    def is_block(self) -> bool:
        """Whether it takes neighbours only, for a slice."""
        sizes, steps = self.attrs["sizes"], self.attrs["steps"]
        return all(step == 1 or n <= 1 for n, step in zip(sizes, steps, strict=True))

    def read(self, content: Value | np.ndarray, builder: Builder | None) -> Value | np.ndarray:
        if isinstance(content, Value):
            assert builder is not None
            return emit_in(builder, self.op, content, **self.attrs)
        return OPS[self.op].numpy(content, **self.attrs)  # a view, for NumPy's own arrays
