"""What one trace knows: its graph in the making, the captured arrays, and the copies of functions."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.ir import Builder, Type, Value, constant
from gradc.ir.text import digest, legal
from gradc.trace.source import fail, locate

if TYPE_CHECKING:
    from gradc.trace.copying import Substitution

INLINE = 16
"""Captured arrays of at most this many elements are written out in the graph."""


class NeedStatic(BaseException):
    """The trace needs the value of Python floats: `positions` of the leaves that must know it.

    No `Exception`, so that a handler in the user's code does not catch it.
    """

    def __init__(self, positions: tuple[int, ...]) -> None:
        self.positions = positions
        super().__init__(positions)


class Trace:
    """The state of one trace. `builder` makes the outermost graph; nested ones stack up on it."""

    def __init__(self) -> None:
        from gradc.trace.copying import Substitution

        self.builder = Builder()
        self.builder.locate = locate
        self.constants: dict[str, np.ndarray] = {}
        self.floats: dict[Value, int] = {}
        """The inputs that are Python floats, with the position of their leaf."""
        self.same: dict[Value, Value] = {}
        """Inputs of nested graphs that stand for exactly one value outside."""
        self.known: dict[Value, np.ndarray] = {}
        """The elements of the Python floats that know their value, and of what was computed from them."""
        self.escaped: set[Value] = set()
        """What went to code that is not traced: see `gradc.trace.known`."""
        self.substitute: Substitution = Substitution()
        self._values: dict[tuple[Builder, int, np.dtype], tuple[np.ndarray, Value]] = {}
        self._taken = 0

    def __enter__(self) -> Trace:
        _stack().append(self)
        self.builder.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.builder.__exit__()
        _stack().remove(self)

    def capture(self, array: np.ndarray, name: str | None, dtype: np.dtype) -> Value:
        """The value of a captured array; the same array in the same dtype is one node."""
        from gradc.ir.graph import current

        builder = self.builder if array.size > INLINE else current()
        key = (builder, id(array), dtype)
        if key in self._values:
            return self._values[key][1]
        # By value, at this moment: the user may change his array later.
        copy = np.array(array, dtype, order="C")
        if array.size <= INLINE:
            value = constant(copy, Type(dtype, copy.shape))
            value.name = name
        elif _is_count(copy):
            value = _emit_in(builder, "iota", Type(dtype, copy.shape), axis=0)
        else:
            label = self._label(name)
            self.constants[label] = copy
            type = Type(dtype, copy.shape)
            value = _emit_in(builder, "captured", type, name=label, digest=digest(copy))
            value.name = label
        self._values[key] = (array, value)
        return value

    def _label(self, name: str | None) -> str:
        wanted = legal(name) if name else f"constant_{self._taken}"
        self._taken += not name
        label, k = wanted, 0
        while label in self.constants:
            k += 1
            label = f"{wanted}_{k}"
        return label


def _emit_in(builder: Builder, op: str, type: Type, **attrs: Any) -> Value:
    """Emit into `builder`, which need not be the innermost: nested graphs take the value as an input."""
    from gradc.ir import OPS

    return builder.emit(OPS[op], (), attrs, type).result


def _is_count(array: np.ndarray) -> bool:
    """Whether the array is 0, 1, 2, ..."""
    return array.ndim == 1 and array.dtype.kind in "iuf" and np.array_equal(array, np.arange(array.size))


def splat(array: np.ndarray) -> Any:
    """The one value that all elements have, bit by bit; None if they differ."""
    if array.size == 0:
        return array.dtype.type(0)
    first = array.flat[0]
    # Most arrays differ early: look at a few before looking at all.
    if array.size > INLINE and not _same_bits(array.reshape(-1)[:INLINE], first):
        return None
    return first if _same_bits(array, first) else None


def _same_bits(array: np.ndarray, first: np.generic) -> bool:
    bits = np.dtype(f"u{array.dtype.itemsize}")
    return bool((np.ascontiguousarray(array).view(bits) == np.array(first).view(bits)).all())


_local = threading.local()


def _stack() -> list[Trace]:
    try:
        return _local.traces
    except AttributeError:
        _local.traces = []
        return _local.traces


def current_trace() -> Trace:
    """The thread's innermost trace. Errors: `TraceError` outside of every trace."""
    stack = _stack()
    if not stack:
        fail(
            "a traced value is used outside of the trace it belongs to",
            "return it from the compiled function instead of storing it somewhere",
        )
    return stack[-1]


def is_tracing() -> bool:
    """Whether a trace runs on this thread."""
    return bool(_stack())
