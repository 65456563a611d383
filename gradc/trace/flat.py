"""`x.flat`: the elements of an array in row-major order, to go through, to read and to write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.trace.registry import FUNCTIONS

if TYPE_CHECKING:
    from gradc.trace.tracer import Tracer


class Flat:
    """What `x.flat` is: it sees what is written into x later."""

    __slots__ = ("base",)

    def __init__(self, base: Tracer) -> None:
        self.base = base

    def __len__(self) -> int:
        return self.base.size

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        found = FUNCTIONS[np.ravel](self.base)[index]
        return FUNCTIONS[np.copy](found) if np.shape(found) else found

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write; a few values are repeated until there are enough."""
        from gradc.trace.functions.indexing import as_mask, is_unknown
        from gradc.trace.functions.shapes import reshaped
        from gradc.trace.functions.writing import setitem
        from gradc.trace.lift import operand
        from gradc.trace.store import assign, check_writable
        from gradc.trace.tracer import Cell, Tracer

        check_writable(self.base)
        values = operand(value)
        if np.ndim(values) and not is_unknown(as_mask((index,))):
            places = Tracer(Cell(np.arange(len(self))))[index]
            values = FUNCTIONS[np.resize](values, np.shape(places)) if np.ndim(places) else values
        whole = FUNCTIONS[np.copy](self.base)
        line = reshaped(whole, (whole.size,))
        setitem(line, index, values)
        assign(self.base, whole)

    def copy(self) -> Any:
        """The elements as an array with one axis."""
        return FUNCTIONS[np.copy](FUNCTIONS[np.ravel](self.base))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.base.__array__(dtype).ravel()
