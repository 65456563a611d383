"""The operators and methods of arrays: each is one of NumPy's functions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir import ShapeError, TraceError
from gradc.trace.flat import Flat
from gradc.trace.refusals import instead
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail, locate

_OPERANDS = (np.ndarray, np.generic, bool, int, float, complex, list, tuple)


def _named(result: Any) -> Any:
    from gradc.trace.tracer import name_result

    return name_result(result, sys._getframe(2))


def _binary(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    def operator(self: Any, other: Any) -> Any:
        if not isinstance(other, _OPERANDS):  # a traced operand says that it is an array or a number
            return NotImplemented
        return _named(FUNCTIONS[ufunc].operate(self, other))

    return operator


def _reflected(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    def operator(self: Any, other: Any) -> Any:
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        return _named(FUNCTIONS[ufunc].operate(other, self))

    return operator


def _equality(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    """The same where None and strings are operands too: no number is equal to them."""
    numbers = _binary(ufunc)

    def operator(self: Any, other: Any) -> Any:
        if isinstance(other, str | None):
            return np.full(self.shape, ufunc is np.not_equal)[()]
        return numbers(self, other)

    return operator


def _unary(ufunc: np.ufunc) -> Callable[[Any], Any]:
    def operator(self: Any) -> Any:
        return _named(FUNCTIONS[ufunc].operate(self))

    return operator


def _in_place(ufunc: np.ufunc, symbol: str) -> Callable[[Any, Any], Any]:
    def operator(self: Any, other: Any) -> Any:
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        if not self.shape:
            return _named(FUNCTIONS[ufunc].operate(self, other))  # numbers are immutable
        from gradc.trace.functions.writing import augment

        return _named(augment(self, symbol, lambda: FUNCTIONS[ufunc].operate(self, other)))

    return operator


def converted(x: Any, dtype: Any) -> np.ndarray:
    """What `x.astype(dtype)` is for a concrete array: NumPy 2.0 has no function for it."""
    return np.asarray(x).astype(dtype)


def _method(original: Any) -> Callable[..., Any]:
    def bound(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _named(FUNCTIONS[original](self, *args, **kwargs))

    return bound


def _matmul(a: Any, b: Any) -> Any:
    return FUNCTIONS[np.matmul](a, b)


def _shape_arguments(args: tuple[Any, ...]) -> Any:
    """The shape in `x.reshape(2, 3)` and in `x.reshape((2, 3))`."""
    return args[0] if len(args) == 1 else args


LONGEST = 4096
"""How many elements a list of traced numbers may have."""


def python_number(x: Any) -> Any:
    """A traced number as Python's of its kind. Errors: `TraceError` for integers."""
    from gradc.trace.lift import cast, wrap

    if not getattr(x, "traced", False):
        return x.item()
    if x.dtype.kind in "iu":
        message = f".item() of a traced integer ({x.type}) is not known before the function runs"
        fail(message, "x[i] is a number too")
    return wrap(cast(x.value, np.dtype(np.float64)), weak=True) if x.dtype.kind == "f" else x


class UnsupportedError(TraceError, AttributeError):
    """An attribute of arrays that tracers do not have; `hasattr` says so."""


_WRITING = {"byteswap", "itemset", "resize", "setfield", "setflags"}
"""Methods that change an array, and are not supported for concrete ones either."""


class Array:
    """What `Tracer` shares with `np.ndarray` by name."""

    __slots__ = ()

    __add__, __radd__ = _binary(np.add), _reflected(np.add)
    __sub__, __rsub__ = _binary(np.subtract), _reflected(np.subtract)
    __mul__, __rmul__ = _binary(np.multiply), _reflected(np.multiply)
    __truediv__, __rtruediv__ = _binary(np.divide), _reflected(np.divide)
    __floordiv__, __rfloordiv__ = _binary(np.floor_divide), _reflected(np.floor_divide)
    __mod__, __rmod__ = _binary(np.remainder), _reflected(np.remainder)
    __divmod__, __rdivmod__ = _binary(np.divmod), _reflected(np.divmod)
    __rpow__ = _reflected(np.power)
    __lshift__, __rlshift__ = _binary(np.left_shift), _reflected(np.left_shift)
    __rshift__, __rrshift__ = _binary(np.right_shift), _reflected(np.right_shift)
    __and__, __rand__ = _binary(np.bitwise_and), _reflected(np.bitwise_and)
    __or__, __ror__ = _binary(np.bitwise_or), _reflected(np.bitwise_or)
    __xor__, __rxor__ = _binary(np.bitwise_xor), _reflected(np.bitwise_xor)
    __lt__, __le__ = _binary(np.less), _binary(np.less_equal)
    __gt__, __ge__ = _binary(np.greater), _binary(np.greater_equal)
    __eq__, __ne__ = _equality(np.equal), _equality(np.not_equal)  # type: ignore[assignment]
    __neg__, __pos__ = _unary(np.negative), _unary(np.positive)
    __abs__, __invert__ = _unary(np.absolute), _unary(np.invert)

    __iadd__, __isub__ = _in_place(np.add, "+"), _in_place(np.subtract, "-")
    __imul__, __itruediv__ = _in_place(np.multiply, "*"), _in_place(np.divide, "/")
    __ifloordiv__, __imod__ = _in_place(np.floor_divide, "//"), _in_place(np.remainder, "%")
    __ipow__, __iand__ = _in_place(np.power, "**"), _in_place(np.bitwise_and, "&")
    __ior__, __ixor__ = _in_place(np.bitwise_or, "|"), _in_place(np.bitwise_xor, "^")
    __ilshift__, __irshift__ = _in_place(np.left_shift, "<<"), _in_place(np.right_shift, ">>")

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        if modulo is not None:
            fail("pow() of arrays takes two arguments", "x ** n % m")
        return (
            _named(FUNCTIONS[np.power].operate(self, other))
            if isinstance(other, _OPERANDS)
            else NotImplemented
        )

    def __matmul__(self, other: Any) -> Any:
        return _named(_matmul(self, other)) if isinstance(other, _OPERANDS) else NotImplemented

    def __rmatmul__(self, other: Any) -> Any:
        return _named(_matmul(other, self)) if isinstance(other, _OPERANDS) else NotImplemented

    def __imatmul__(self, other: Any) -> Any:
        from gradc.trace.functions.writing import augment

        return _named(augment(self, "@", lambda: _matmul(self, other)))  # type: ignore[arg-type]

    def __getitem__(self, index: Any) -> Any:
        from gradc.trace.functions.indexing import getitem

        return _named(getitem(self, index))  # type: ignore[arg-type]

    def __round__(self, ndigits: int | None = None) -> Any:
        if ndigits is None:
            return int(FUNCTIONS[np.round](self))
        result = FUNCTIONS[np.round](self, ndigits)
        result.weak = self.weak  # type: ignore[attr-defined]  # Python's own floats stay what they are
        return _named(result)

    sum, prod, mean, std, var = map(_method, (np.sum, np.prod, np.mean, np.std, np.var))
    max, min, argmax, argmin = map(_method, (np.max, np.min, np.argmax, np.argmin))
    cumsum, cumprod, argsort = map(_method, (np.cumsum, np.cumprod, np.argsort))
    argpartition, searchsorted = map(_method, (np.argpartition, np.searchsorted))
    any, all, round = map(_method, (np.any, np.all, np.round))
    ravel, swapaxes, squeeze, repeat = map(_method, (np.ravel, np.swapaxes, np.squeeze, np.repeat))
    dot, take, diagonal, trace = map(_method, (np.dot, np.take, np.diagonal, np.trace))
    choose = _method(np.choose)

    def conjugate(self, out: Any = None) -> Any:
        """The array itself, unless there is an `out`."""
        return self if out is None else FUNCTIONS[np.conjugate](self, out=out)

    conj = conjugate

    def reshape(self, *shape: Any, order: str = "C", copy: Any = None) -> Any:
        return _named(FUNCTIONS[np.reshape](self, _shape_arguments(shape), order))

    def transpose(self, *axes: Any) -> Any:
        return _named(FUNCTIONS[np.transpose](self, _shape_arguments(axes) if axes else None))

    def flatten(self, order: str = "C") -> Any:
        return _named(FUNCTIONS[np.copy](FUNCTIONS[np.ravel](self, order)))

    def astype(
        self, dtype: Any, order: str = "K", casting: str = "", subok: bool = True, copy: bool = True
    ) -> Any:
        if not copy and np.dtype(dtype) == self.dtype and not isinstance(self, float):
            return self
        return _named(FUNCTIONS[converted](self, dtype))

    def clip(self, min: Any = None, max: Any = None, out: Any = None, **kwargs: Any) -> Any:
        return _named(FUNCTIONS[np.clip](self, min, max, out, **kwargs))

    def copy(self, order: str = "C") -> Any:
        return _named(FUNCTIONS[np.copy](self))

    def fill(self, value: Any) -> None:
        self[...] = value  # type: ignore[index]

    def put(self, indices: Any, values: Any, mode: str = "raise") -> None:
        FUNCTIONS[np.put](self, indices, values, mode)

    def sort(self, axis: int = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> None:
        self._become(np.sort, axis, kind, order, stable=stable)

    def partition(self, kth: Any, axis: int = -1, kind: Any = None, order: Any = None) -> None:
        self._become(np.partition, kth, axis, kind, order)

    def _become(self, original: Any, *args: Any, **kwargs: Any) -> None:
        """Write what a function gives for the array into the array itself."""
        from gradc.trace.store import check_writable
        from gradc.trace.table import call

        check_writable(self, f"x = np.{original.__name__}(x, ...)")
        self[...] = call(original, self, *args, **kwargs)  # type: ignore[index]

    def compress(self, condition: Any, axis: Any = None, out: Any = None) -> Any:
        return _named(FUNCTIONS[np.compress](condition, self, axis, out))

    def item(self, *args: Any) -> Any:
        """An element as a Python number: a float takes any other operand's dtype then."""
        if not self.traced:
            return self.array.item(*args)
        index = args[0] if len(args) == 1 and isinstance(args[0], tuple) else args
        x: Any = self
        if not index and self.size != 1:
            fail(f".item() takes an array with one element, not shape {self.shape}", "x.item(0)", ShapeError)
        if len(index) != self.ndim:
            x = FUNCTIONS[np.reshape](self, () if not index else (self.size,))
        return _named(python_number(x[tuple(index)]))

    def tolist(self) -> Any:
        """The elements as Python numbers, in lists of lists."""
        if not self.traced:
            return self.array.tolist()
        if not self.shape:
            return self.item()
        if self.size > LONGEST:
            fail(f".tolist() of {self.size} traced elements", "the array itself, with functions of np")
        return [row.tolist() for row in self]  # type: ignore[attr-defined]

    @property
    def flat(self) -> Flat:
        return Flat(self)  # type: ignore[arg-type]

    @flat.setter
    def flat(self, value: Any) -> None:
        Flat(self)[:] = value  # type: ignore[arg-type]

    @property
    def device(self) -> str:
        return "cpu"

    def __contains__(self, value: Any) -> bool:
        from gradc.trace.lift import any_traced

        if self.traced or any_traced(value):
            fail(
                "whether a traced array has an element is not known before the function runs",
                instead("ndarray.__contains__"),
            )
        return value in self.array

    @property
    def T(self) -> Any:  # noqa: N802
        return _named(FUNCTIONS[np.transpose](self))

    @property
    def mT(self) -> Any:  # noqa: N802
        return _named(FUNCTIONS[np.matrix_transpose](self))

    def __getattr__(self, name: str) -> Any:
        """Methods that are not here: a concrete array has NumPy's own, unless they write."""
        if name[:2] == "__" or not hasattr(np.ndarray, name):
            raise AttributeError(f"{np.ndarray.__name__!r} object has no attribute {name!r}")
        from gradc.trace.lift import concrete
        from gradc.trace.table import ConcreteOnly

        if self.traced or name in _WRITING:
            raise UnsupportedError(f"gradc cannot trace ndarray.{name}", locate(), instead(f"ndarray.{name}"))
        value = getattr(self.array, name)
        return ConcreteOnly(value, f"ndarray.{name}") if callable(value) else concrete(value)

    @property
    def real(self) -> Any:
        return self

    @property
    def imag(self) -> Any:
        return FUNCTIONS[np.zeros_like](self)
