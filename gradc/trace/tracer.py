"""The tracer: what stands for an array while a function is traced."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np

from gradc.ir import OPS, Type, Value, emit
from gradc.trace.known import elements, escape
from gradc.trace.methods import Array
from gradc.trace.source import fail, names_for_result


class Cell:
    """The memory that an array and all views of it share: a value of the graph, or a concrete array.

    `version` counts the writes, so that views know when what they remember is stale.
    """

    __slots__ = ("content", "name", "version")

    def __init__(self, content: Value | np.ndarray, name: str | None = None) -> None:
        self.content = content
        self.name = name
        self.version = 0


class Step(NamedTuple):
    """One step from an array to a view of it: an op that only moves elements, and its attributes."""

    op: str
    attrs: dict[str, Any]

    def read(self, content: Value | np.ndarray) -> Value | np.ndarray:
        if isinstance(content, Value):
            return emit(self.op, content, **self.attrs)
        return OPS[self.op].numpy(content, **self.attrs)  # a view, for NumPy's own arrays


class Tracer(Array):
    """An array or a number in a trace: a cell, and the path from there to this view.

    A traced one holds a value of the graph. A concrete one (a captured array, or `np.zeros(3)`) knows its
    elements: operations on concrete operands only run in NumPy at once, and every static use works.
    `weak` marks Python floats, which do not decide the dtype of a result.
    """

    __slots__ = ("_read", "cell", "path", "weak")
    __array_priority__ = 1000.0

    def __init__(self, cell: Cell, path: tuple[Step, ...] = (), *, weak: bool = False) -> None:
        self.cell = cell
        self.path = path
        self.weak = weak
        self._read: tuple[int, Value | np.ndarray] | None = None

    # What it holds.

    @property
    def content(self) -> Value | np.ndarray:
        """The value of the graph, or the concrete array, as it is now."""
        if not self.path:
            return self.cell.content
        if self._read is None or self._read[0] != self.cell.version:
            content = self.cell.content
            for step in self.path:
                content = step.read(content)
            self._read = self.cell.version, content
        return self._read[1]

    @property
    def traced(self) -> bool:
        return type(self.cell.content) is Value

    @property
    def value(self) -> Value:
        """The value of a traced one."""
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
        before = self.content
        step = Step(op, attrs)
        view = Tracer(self.cell, (*self.path, step))
        view._read = self.cell.version, step.read(before)
        return view

    # What arrays tell about themselves.

    @property
    def __class__(self) -> type:  # type: ignore[override]
        """What `isinstance` sees: an array or a number, as without gradc."""
        if self.weak:
            return float
        return np.ndarray if self.shape or not self.traced else self.dtype.type

    @property
    def type(self) -> Type:
        content = self.content
        return content.type if isinstance(content, Value) else Type(content.dtype, content.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.content.shape

    @shape.setter
    def shape(self, shape: Any) -> NoReturn:
        fail("gradc does not change the shape of an array in place", "x = x.reshape(shape)")

    @property
    def dtype(self) -> np.dtype:
        return self.content.dtype

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
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
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
                "functions of np on the array itself; x.astype(np.float32) casts; np.array([x, y]) works in"
                " the traced function and its helpers",
            )
            return np.array(array, dtype)
        return np.array(self.array, dtype) if copy else np.asarray(self.array, dtype)

    def __bool__(self) -> bool:
        if not self.traced:
            return bool(self.array)
        array = self._needed(
            f"the truth of a traced value ({self.type}) is not known before the function runs",
            "np.where(condition, a, b) chooses by element, gradc.cond(condition, f, g, *operands) runs one"
            " of two functions",
        )
        return bool(array)

    def __float__(self) -> float:
        return float(self._number("float(...)", "leave out float(...); x.astype(np.float32) casts"))

    def __int__(self) -> int:
        # No gradient goes through whole numbers: nothing is lost.
        return int(self._number("int(...)", "x.astype(np.int64)", escapes=False))

    def __complex__(self) -> complex:
        return complex(self._number("complex(...)", "real arrays"))

    def __index__(self) -> int:
        if not self.traced:
            return self.array.__index__()
        array = self._needed(
            f"a traced integer ({self.type}) is used where Python needs its value, such as range(n)",
            "take the length from a shape, as in range(len(x)), or pass the number as a Python int",
        )
        return array.__index__()

    def item(self, *args: Any) -> Any:
        instead = "leave out .item(): a result of shape () is a number already"
        return self._number(".item()", instead).item(*args)

    def tolist(self) -> Any:
        return self._number(".tolist()", "the array itself; iterating over it gives its rows").tolist()

    def __hash__(self) -> int:
        if not self.traced:
            return hash(self.array)
        if self.shape:
            raise TypeError("unhashable type: 'numpy.ndarray'")
        return hash(self._number("the hash", "a Python int or str as a key", escapes=False).item())

    def _number(self, what: str, instead: str, *, escapes: bool = True) -> np.ndarray:
        """The elements, for what Python calls `what`."""
        if not self.traced:
            return self.array
        message = f"{what} of a traced value ({self.type}) is not known before the function runs"
        return self._taken(message, instead) if escapes else self._needed(message, instead)

    def _needed(self, message: str, instead: str) -> np.ndarray:
        """The elements of a traced one, if it depends on Python floats only; else the error."""
        array = elements(self.value)
        if array is None:
            fail(message, instead)
        return array

    def _taken(self, message: str, instead: str) -> np.ndarray:
        """The same for code that computes with them out of the trace's sight."""
        array = self._needed(message, instead)
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

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        fail(
            "gradc does not write into arrays",
            "np.where(mask, new, x) replaces elements, np.concatenate and np.stack put an array together",
        )


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
