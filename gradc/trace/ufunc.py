"""NumPy's ufuncs in a trace: promotion, broadcasting and options once for all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir import OperandError, ShapeError, TraceError, Value
from gradc.trace.lift import (
    any_traced,
    common_shape,
    key,
    loop_dtypes,
    operand,
    shape_of,
    supported,
    value_of,
    wrap,
)
from gradc.trace.registry import FUNCTIONS, SCIPY
from gradc.trace.source import fail
from gradc.trace.table import ConcreteOnly, dtype_for, run_concrete
from gradc.trace.tracer import Tracer, name_result

Rule = Callable[..., Any]


class Ufunc:
    """One of NumPy's ufuncs: promotion and broadcasting here, the elements in `rule`.

    `rule(*values)` takes values of one shape, of the dtypes of the loop that NumPy would run, and gives the
    value of the result, or a tuple.
    """

    def __init__(self, original: np.ufunc, rule: Rule) -> None:
        self.original = original
        self.rule = rule
        self.__name__ = original.__name__

    def __repr__(self) -> str:
        return repr(self.original)

    def __call__(
        self, *args: Any, out: Any = None, where: Any = True, dtype: Any = None, **kwargs: Any
    ) -> Any:
        nin = self.original.nin
        if len(args) > nin:
            if out is not None:
                fail(f"np.{self.__name__} has `out` twice: by position and by name")
            args, out = args[:nin], args[nin:]
            if len(out) > self.original.nout:
                fail(f"np.{self.__name__} takes {nin} operands and {self.original.nout} `out`")
            out = (*out, *[None] * (self.original.nout - len(out)))
        if out is not None and any(x is not None for x in (out if isinstance(out, tuple) else (out,))):
            return self._into(out, args, where, dtype, kwargs)
        if "signature" in kwargs or "sig" in kwargs:
            fail(f"gradc traces np.{self.__name__} without signature=", "operands of the dtypes wanted")
        options = {**kwargs, **({"dtype": dtype} if dtype is not None else {})}
        if not any_traced(args) and not any_traced(where):
            return run_concrete(
                self.original, args, options if where is True else {**options, "where": where}
            )
        if where is not True:
            fail(
                f"np.{self.__name__} with where= and without out= leaves elements undefined",
                "np.where(mask, result, x)",
            )
        return name_result(self.apply(args, dtype), sys._getframe(1))

    def _into(self, out: Any, args: tuple[Any, ...], where: Any, dtype: Any, kwargs: dict[str, Any]) -> Any:
        """The call with `out=`, and with `where=`, which leaves the other elements of `out` as they are."""
        from gradc.trace.functions.writing import into
        from gradc.trace.store import check_writable

        outs = out if isinstance(out, tuple) else (out,)
        if self.original.nout != len(outs):
            kind = ShapeError if isinstance(out, tuple) else TraceError
            count = self.original.nout
            fail(f"np.{self.__name__} has {count} results: `out` is a tuple of as many", None, kind)
        for x in outs:
            if x is not None:
                check_writable(x)
        casting = kwargs.pop("casting", "same_kind")
        result = self(*args, dtype=dtype, **kwargs)
        for x, y in zip(outs, result if isinstance(result, tuple) else (result,), strict=True):
            if x is not None and len(shape_of(y)) > len(x.shape):
                shown = f"an array of shape {x.shape} is no `out` for a result of shape {shape_of(y)}"
                fail(shown, None, ShapeError)
        if where is not True:
            results = result if isinstance(result, tuple) else (result,)
            kept = [FUNCTIONS[np.where](where, y, x) for x, y in zip(outs, results, strict=True)]
            result = tuple(kept) if isinstance(result, tuple) else kept[0]
        return into(out, result, casting)

    def operate(self, *args: Any) -> Any:
        """The same for an operator, where Python floats stay Python floats."""
        if not any_traced(args):
            return run_concrete(self.original, args, {})
        result = self.apply(args)
        if all([type(x) in (int, float, bool) or (type(x) is Tracer and x.weak) for x in args]):
            for y in result if isinstance(result, tuple) else (result,):
                y.weak = y.dtype.kind == "f"
        return result

    def apply(self, args: tuple[Any, ...], dtype: Any = None) -> Any:
        """Promote, broadcast, and apply the rule; some argument is traced."""
        args = tuple([operand(x) for x in args])
        if len(args) != self.original.nin:
            raise TypeError(f"{self.__name__}() takes {self.original.nin} positional arguments")
        dtypes = self.dtypes(args, dtype)
        nin = len(args)
        for d in dtypes:
            supported(d, f"np.{self.__name__} of these operands")
        shape = common_shape(*args)
        if special := SPECIAL.get(self.original):
            result = special(args, dtypes, shape)
            if result is not None:
                return wrap(result)
        values = [value_of(x, d, shape) for x, d in zip(args, dtypes[:nin], strict=True)]
        result = self.rule(*values)
        if isinstance(result, tuple):
            return tuple([wrap(y) for y in result])
        assert result.dtype == dtypes[nin], (self.__name__, result.dtype, dtypes)
        return wrap(result)

    def dtypes(self, args: tuple[Any, ...], dtype: Any = None) -> tuple[np.dtype, ...]:
        """The dtypes of NumPy's loop for these operands."""
        keys = tuple([key(x) for x in args])
        try:
            if dtype is not None:
                signature: Any = keys + (None,) * self.original.nout
                chosen = (None,) * self.original.nin + (np.dtype(dtype),) * self.original.nout
                return tuple(self.original.resolve_dtypes(signature, signature=chosen, casting="same_kind"))
            return loop_dtypes(self.original, keys)
        except TypeError as error:
            names = " and ".join(k.__name__ if isinstance(k, type) else str(k) for k in keys)
            instead = BOOL_INSTEAD.get(self.original)
            fail(
                f"NumPy has no {self.__name__} for {names}",
                instead if instead and np.dtype(bool) in keys else f"cast the operands first ({error})"[:90],
                OperandError,
            )

    def reduce(
        self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, *args: Any, **kw: Any
    ) -> Any:
        """The reduction: `np.add.reduce` is `np.sum` along axis 0."""
        return self._method("reduce", out, array, axis, dtype, *args, **kw)

    def accumulate(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        """The running reduction along one axis, as `np.cumsum` is that of `np.add`."""
        return self._method("accumulate", out, array, axis, dtype)

    def reduceat(self, array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        """The reductions of slices."""
        return self._method("reduceat", out, array, indices, axis, dtype)

    def _method(self, name: str, out: Any, *args: Any, **kwargs: Any) -> Any:
        if out is not None:
            from gradc.trace.functions.writing import into
            from gradc.trace.store import check_writable

            check_writable(out[0] if isinstance(out, tuple) else out)
            place = 3 if name == "reduceat" else 2
            if args[place] is None:  # computed in the dtype of `out`
                args = (*args[:place], dtype_for(out, args[0]), *args[place + 1 :])
            return into(out, self._method(name, None, *args, **kwargs))
        if not any_traced(args) and not any_traced(kwargs):
            if name == "reduce" and len(args) > 3:
                args = (*args[:3], None, *args[3:])
            return run_concrete(getattr(self.original, name), args, kwargs)
        return name_result(METHODS[name](self, *args, **kwargs), sys._getframe(2))

    def outer(self, a: Any, b: Any, **kwargs: Any) -> Any:
        """All pairs: the axes of `a`, then those of `b`."""
        ndim = np.ndim(b) if type(b) is not Tracer else b.ndim
        a = operand(a)
        shape = (a.shape if type(a) is Tracer else np.shape(a)) + (1,) * ndim
        return self(FUNCTIONS[np.reshape](a, shape), b, **kwargs)

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        from gradc.trace.functions.at import ufunc_at

        ufunc_at(self.original, a, indices, b)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.original, name)
        return ConcreteOnly(value, f"np.{self.__name__}.{name}") if callable(value) else value


REDUCTIONS = {
    np.add: np.sum,
    np.multiply: np.prod,
    np.maximum: np.max,
    np.minimum: np.min,
    np.logical_and: np.all,
    np.logical_or: np.any,
}
"""What has a function of its own that reduces."""

METHODS: dict[str, Callable[..., Any]] = {}
"""What does `reduce` and the like for traced arrays, entered by the functions above this layer."""

BOOL_INSTEAD = {
    np.subtract: "x ^ y, or cast one of them: x.astype(int) - y",
    np.negative: "~x",
}

SPECIAL: dict[np.ufunc, Callable[[tuple[Any, ...], tuple[np.dtype, ...], tuple[int, ...]], Value | None]] = {}
"""Cases that depend on the operands themselves: a static exponent, an integer that does not fit."""


def ufunc(*originals: np.ufunc) -> Callable[[Rule], Rule]:
    """Register the rule of NumPy's ufuncs."""

    def register(rule: Rule) -> Rule:
        for original in originals:
            FUNCTIONS[original] = Ufunc(original, rule)
        return rule

    return register


def scipy_ufunc(name: str) -> Callable[[Rule], Rule]:
    """Register the rule of `scipy.special.<name>`."""

    def register(rule: Rule) -> Rule:
        SCIPY[f"scipy.special.{name}"] = lambda original: Ufunc(original, rule)
        return rule

    return register
