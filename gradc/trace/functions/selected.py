"""`x[mask]` with a traced mask: nobody knows how many elements, so all are computed and the mask is kept.

What can be done with them is what needs no count: elementwise functions, `y[mask] = ...` with the same mask,
which also makes `x[mask] *= 2`, and the reductions of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from gradc.ir import TraceError, Value
from gradc.ir.ops.reduce import identity
from gradc.trace.lift import shape_of, traced, wrap
from gradc.trace.methods import UnsupportedError
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail, locate
from gradc.trace.tracer import Tracer

INSTEAD = "np.where(mask, x, 0), or np.sum(x, where=mask) and np.mean(x, where=mask)"
_UNKNOWN = "a traced mask selects a number of elements that is not known before the function runs"
_REDUCTIONS = ("sum", "prod", "mean", "max", "min", "any", "all")


def _operator(ufunc: np.ufunc, reflected: bool = False) -> Callable[..., Any]:
    def operator(self: Selection, other: Any) -> Any:
        return self.apply(ufunc, *((other, self) if reflected else (self, other)))

    return operator


class Selection:
    """The elements of `values` for which `mask`, over its first axes, holds."""

    __slots__ = ("mask", "source", "values")

    def __init__(self, values: Tracer, mask: Tracer) -> None:
        self.values = wrap(values.value)  # as they are now
        self.mask = wrap(mask.value)
        self.source = locate()

    def is_of(self, mask: Tracer) -> bool:
        """Whether it is known that a mask holds for the same elements."""
        return same_value(self.mask.value, mask.value)

    def error(self) -> TraceError:
        """What is wrong with a result that is one."""
        return TraceError(_UNKNOWN, self.source, INSTEAD)

    def apply(self, ufunc: np.ufunc, *operands: Any) -> Selection:
        """An elementwise function of this and other selections by the same mask, and of numbers."""
        rest = self.values.ndim - self.mask.ndim
        full = []
        for x in operands:
            if type(x) is Selection and x.is_of(self.mask):
                full.append(x.values)
            elif type(x) is Selection or len(shape_of(x)) > rest or isinstance(x, list | tuple):
                fail(_UNKNOWN, INSTEAD)
            else:
                full.append(x)
        return Selection(traced(FUNCTIONS[ufunc].operate(*full)), self.mask)

    def reduce(self, name: str, axis: Any = None) -> Any:
        """The reduction over all elements. Those of none are 0 / 0 or an infinity, not errors."""
        mask = FUNCTIONS[np.reshape](
            self.mask, (*self.mask.shape, *[1] * (self.values.ndim - self.mask.ndim))
        )
        if axis is not None and not (axis == 0 and self.values.ndim == self.mask.ndim):
            fail(_UNKNOWN, INSTEAD)
        options: dict[str, Any] = {}
        if name in ("max", "min"):
            options["initial"] = identity(f"reduce_{name}", self.values.type)
        return FUNCTIONS[getattr(np, name)](self.values, where=mask, **options)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc is np.matmul and method == "__call__" and not kwargs and type(inputs[0]) is Selection:
            return inputs[0].dot(inputs[1])
        if method != "__call__" or kwargs:
            fail(_UNKNOWN, INSTEAD)
        return self.apply(ufunc, *inputs)

    def __array_function__(self, fn: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if fn in (np.dot, np.inner, np.vdot) and len(args) == 2 and type(args[0]) is Selection:
            return args[0].dot(args[1])
        if fn.__name__ not in _REDUCTIONS or not args or args[0] is not self:
            fail(_UNKNOWN, INSTEAD)
        return self.reduce(fn.__name__, *args[1:], **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in _REDUCTIONS:
            return lambda *args, **kwargs: self.reduce(name, *args, **kwargs)
        if name[:2] == "__" or not hasattr(np.ndarray, name):
            raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")
        raise UnsupportedError(_UNKNOWN, locate(), INSTEAD)

    def _refuse(self, *_: Any) -> NoReturn:
        fail(_UNKNOWN, INSTEAD)

    def dot(self, other: Any) -> Any:
        """The inner product with another selection by the same mask."""
        if type(other) is not Selection or any(s.values.ndim != s.mask.ndim for s in (self, other)):
            fail(_UNKNOWN, INSTEAD)
        return self.apply(np.multiply, self, other).reduce("sum")

    __matmul__ = dot
    __len__ = __iter__ = __bool__ = __getitem__ = __setitem__ = __rmatmul__ = _refuse
    __add__, __radd__ = _operator(np.add), _operator(np.add, True)
    __sub__, __rsub__ = _operator(np.subtract), _operator(np.subtract, True)
    __mul__, __rmul__ = _operator(np.multiply), _operator(np.multiply, True)
    __truediv__, __rtruediv__ = _operator(np.divide), _operator(np.divide, True)
    __floordiv__, __rfloordiv__ = _operator(np.floor_divide), _operator(np.floor_divide, True)
    __mod__, __rmod__ = _operator(np.remainder), _operator(np.remainder, True)
    __pow__, __rpow__ = _operator(np.power), _operator(np.power, True)
    __and__, __or__, __xor__ = map(_operator, (np.bitwise_and, np.bitwise_or, np.bitwise_xor))
    __lt__, __le__, __gt__, __ge__ = map(_operator, (np.less, np.less_equal, np.greater, np.greater_equal))

    def __neg__(self) -> Selection:
        return self.apply(np.negative, self)

    def __abs__(self) -> Selection:
        return self.apply(np.absolute, self)

    def __invert__(self) -> Selection:
        return self.apply(np.invert, self)

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        fail(_UNKNOWN, INSTEAD)


def same_value(a: Value, b: Value, limit: int = 64) -> bool:
    """Whether two values are equal because they are computed alike, as far as a few nodes tell."""
    pending = [(a, b)]
    while pending and limit:
        limit -= 1
        x, y = pending.pop()
        if x is y:
            continue
        if x.node is None or y.node is None or x.type != y.type or x.index != y.index:
            return False
        if x.node.op is not y.node.op or x.node.attrs != y.node.attrs:
            return False
        pending.extend(zip(x.node.inputs, y.node.inputs, strict=True))
    return not pending
