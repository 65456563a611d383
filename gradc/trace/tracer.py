"""The tracer: what stands for an array while a function is traced."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from gradc.ir import OPS, Type, Value
from gradc.ir.graph import is_building
from gradc.trace.cell import Cell, Step
from gradc.trace.known import elements, escape
from gradc.trace.methods import Array
from gradc.trace.pieces import Pieces, emit_in
from gradc.trace.refusals import instead
from gradc.trace.source import fail, names_for_result
from gradc.trace.state import current_trace


class Tracer(Array):
    """An array or a number in a trace: a cell, and the path from there to this view.

    A traced one holds a value of the graph. A concrete one (a captured array, or `np.zeros(3)`) knows its
    elements: operations on concrete operands only run in NumPy at once, and every static use works.
    `weak` marks Python floats, which do not decide the dtype of a result; `fixed` says why nobody may write
    by way of this view.
    """

    __slots__ = ("_read", "cell", "fixed", "path", "weak")
    __array_priority__ = 1000.0

    def __init__(
        self, cell: Cell, path: tuple[Step, ...] = (), *, weak: bool = False, fixed: str | None = None
    ) -> None:
        self.cell = cell
        self.path = path
        self.weak = weak
        self.fixed = fixed
        self._read: tuple[int, Value | np.ndarray] | None = None

    # What it holds.

    @property
    def content(self) -> Value | np.ndarray:
        """The value of the graph, or the concrete array, as it is now."""
        if not self.path:
            content = self.cell.content
            return self.cell.read() if type(content) is Pieces else content  # type: ignore[return-value]
        if self._read is None or self._read[0] != self.cell.version:
            self._read = self.cell.version, self.cell.read(self.path)
        return self._read[1]

    @property
    def traced(self) -> bool:
        return not isinstance(self.cell.content, np.ndarray)

    @property
    def value(self) -> Value:
        """The value of a traced one, to compute with."""
        if not is_building():
            current_trace()  # there is none, which is an error at the user's line
        content = self.content
        assert isinstance(content, Value)
        return content

    @property
    def array(self) -> np.ndarray:
        """The elements of a concrete one."""
        content = self.content
        assert isinstance(content, np.ndarray)
        return content

    @property
    def name(self) -> str | None:
        """The variable it is known by, if it is a whole captured array."""
        return self.cell.name if not self.path else None

    def seen(self, op: str, **attrs: Any) -> Tracer:
        """A view of the same memory, one step further. (`view` is the method that arrays have.)"""
        step = Step(op, attrs)
        if (
            op == "reshape"
            and self.traced
            and self.path
            and not self.cell.fixed
            and self._copies(attrs["shape"])
        ):
            assert self.cell.builder is not None
            return Tracer(Cell(emit_in(self.cell.builder, op, self.value, **attrs)))
        if type(self.cell.content) is Pieces:
            view = Tracer(self.cell, (*self.path, step), fixed=self.fixed)
            view._read = self.cell.version, self.cell.read(view.path)
            return view
        before = self.content
        after = step.read(before, self.cell.builder)
        if isinstance(after, np.ndarray) and after.size and not np.may_share_memory(before, after):
            return Tracer(Cell(after))  # where NumPy copies, too
        view = Tracer(self.cell, (*self.path, step), fixed=self.fixed)
        view._read = self.cell.version, after
        return view

    @property
    def layout(self) -> np.ndarray:
        """An array that lies in memory like this one, if the whole is in C order; not to be read."""
        if not self.traced:
            return self.array
        whole = Tracer(self.cell).type
        strides = [whole.dtype.itemsize * math.prod(whole.shape[i + 1 :]) for i in range(whole.ndim)]
        # Strides without memory: only views are taken of it.
        probe: Any = np.lib.stride_tricks.as_strided(np.empty((), whole.dtype), whole.shape, strides)
        for step in self.path:
            probe = OPS[step.op].numpy(probe, **step.attrs)
        return probe

    def _copies(self, shape: tuple[int, ...]) -> bool:
        """Whether NumPy copies where this view of an array in rows is given another shape."""
        try:
            np.reshape(self.layout, shape, copy=False)
        except ValueError:
            return True
        return False

    # What arrays tell about themselves.

    @property
    def __class__(self) -> type:  # type: ignore[override]
        """What `isinstance` sees: an array or a number, as without gradc."""
        if self.weak:
            return float
        return np.ndarray if self.shape or not self.traced else self.dtype.type

    @property
    def type(self) -> Type:
        content = self.content if self.path else self.cell.content
        if type(content) is Pieces:
            return content.type
        assert not isinstance(content, Pieces)
        return content.type if isinstance(content, Value) else Type(content.dtype, content.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape if type(self.cell.content) is Pieces else self.content.shape

    @shape.setter
    def shape(self, shape: Any) -> NoReturn:
        fail("gradc does not change the shape of an array in place", "x = x.reshape(shape)")

    @property
    def dtype(self) -> np.dtype:
        return self.type.dtype if type(self.cell.content) is Pieces else self.content.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.type.size

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    def __len__(self) -> int:
        if not self.shape:
            fail(f"a number ({self.type}) has no len()", "x.size, or an argument of shape (n,)")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            fail(
                f"a number ({self.type}) cannot be iterated over",
                "range(n) with a Python int, or an array to go through",
            )
        return (self[i] for i in range(self.shape[0]))

    def __repr__(self) -> str:
        if not self.traced:
            return repr(self.array)
        return f"<traced {self.name + ': ' if self.name else ''}{self.type}>"

    def __format__(self, spec: str) -> str:
        return repr(self) if self.traced else format(self.array, spec)

    def __copy__(self) -> Tracer:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Tracer:
        return self.copy()

    # Uses that need the elements now.

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.traced:
            array = self._taken(
                "this code needs the elements of a traced array, not known before the function runs",
                "__array__",
            )
            return np.array(array, dtype)
        return np.array(self.array, dtype) if copy else np.asarray(self.array, dtype)

    def __bool__(self) -> bool:
        if not self.traced:
            return bool(self.array)
        array = self._needed(
            f"the truth of a traced value ({self.type}) is not known before the function runs",
            "__bool__",
        )
        return bool(array)

    def __float__(self) -> float:
        return float(self._number("float(...)", "__float__"))

    def __int__(self) -> int:
        # No gradient goes through whole numbers: nothing is lost.
        return int(self._number("int(...)", "__int__", escapes=False))

    def __complex__(self) -> complex:
        return complex(self._number("complex(...)", "__complex__"))

    def __index__(self) -> int:
        if not self.traced:
            return self.array.__index__()
        array = self._needed(
            f"a traced integer ({self.type}) is used where Python needs its value, such as range(n)",
            "__index__",
        )
        return array.__index__()

    def __hash__(self) -> int:
        if not self.traced:
            return hash(self.array)
        if self.shape:
            raise TypeError("unhashable type: 'numpy.ndarray'")
        return hash(self._number("the hash", "__hash__", escapes=False).item())

    def _number(self, what: str, use: str, *, escapes: bool = True) -> np.ndarray:
        """The elements, for what Python calls `what`."""
        if not self.traced:
            return self.array
        message = f"{what} of a traced value ({self.type}) is not known before the function runs"
        return self._taken(message, use) if escapes else self._needed(message, use)

    def _needed(self, message: str, use: str) -> np.ndarray:
        """The elements of a traced one, if it depends on Python floats only; else the error for that use."""
        array = elements(self.value)
        if array is None:
            fail(message, instead(f"ndarray.{use}"))
        return array

    def _taken(self, message: str, use: str) -> np.ndarray:
        """The same for code that computes with them out of the trace's sight."""
        array = self._needed(message, use)
        escape(self.value)
        return array

    # Protocols, for code that the copy does not reach.

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from gradc.trace.table import function

        entry = function(ufunc)
        called = entry if method == "__call__" else getattr(entry, method)
        return name_result(called(*inputs, **kwargs), sys._getframe(1))

    def __array_function__(self, fn: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from gradc.trace.table import function

        return name_result(function(fn)(*args, **kwargs), sys._getframe(1))

    def __setitem__(self, index: Any, value: Any) -> None:
        from gradc.trace.functions.writing import setitem

        setitem(self, index, value)


def name_result(result: Any, frame: Any) -> Any:
    """Give the values of `result` the names of the variables that the user's `frame` stores it in."""
    if type(result) is Tracer:
        if names := names_for_result(frame):
            _name(result, names[0])
    elif type(result) in (tuple, list):
        names = names_for_result(frame)
        if len(names) == len(result):
            for x, name in zip(result, names, strict=True):
                _name(x, name)
    return result


def _name(x: Any, name: str) -> None:
    if type(x) is Tracer and x.traced:
        value = x.value
        if value.node is not None and value.name is None:
            value.name = name
