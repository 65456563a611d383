"""Python's `math` in a trace: on plain numbers as ever, on traced numbers as NumPy's functions.

A function that NumPy has too becomes NumPy's, and its result a Python float again. The others need to know
the numbers, which is possible for what is made of Python floats. Arrays are an error that names NumPy's
function.
"""

from __future__ import annotations

import functools
import math
import operator
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from gradc.ir import emit
from gradc.ir.types import F64
from gradc.trace.known import elements
from gradc.trace.lift import any_traced, value_of, wrap
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.tracer import Tracer, name_result

_NUMPY = {
    **{name: name for name in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt")},
    **{
        name: name
        for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "hypot", "floor", "ceil", "trunc")
    },
    **{
        name: name
        for name in ("fabs", "fmod", "copysign", "isnan", "isinf", "isfinite", "degrees", "radians")
    },
    **{f"a{name}": f"arc{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{"atan2": "arctan2", "pow": "power", "fsum": "sum", "prod": "prod", "isclose": "isclose"},
    **{"dist": "linalg.norm", "sumprod": "dot"},
}


_WHOLE = {"floor", "ceil", "trunc", "isclose"}
"""Functions to ints and bools, through which no gradient goes."""

_REPEATED = {"fsum", "prod"}
"""Functions of all numbers in one iterable."""

_ALIKE = {
    name: getattr(np, _NUMPY[name])
    for name in vars(math)
    if isinstance(getattr(np, _NUMPY.get(name, ""), None), np.ufunc) and name not in _WHOLE
}
"""Functions of floats that are the same in NumPy, but for errors."""


def _function(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:
        if name in _REPEATED and len(args) == 1 and not isinstance(args[0], list | tuple):
            args = (list(args[0]),)
        if not any_traced(args) and not any_traced(kwargs):
            return original(*args, **kwargs)
        if name in _REPEATED and len(args) == 1 and not kwargs:
            return name_result(_repeated(name, args[0]), sys._getframe(1))
        if not kwargs and not any(isinstance(x, list | tuple) or _is_array(x) for x in args):
            result = _as_numpy(name, args)
            if result is not None:
                return name_result(result, sys._getframe(1))
        _check(name, args)
        _check(name, tuple(kwargs.values()))
        if name in _WHOLE:
            args = tuple([_number(x) for x in args])
        return original(*args, **kwargs)  # which asks for the floats' values

    return function


def _check(name: str, args: tuple[Any, ...]) -> None:
    """See to it that what is traced are Python floats, or numbers made of them.

    Errors: `TraceError`; `NeedStatic` if the trace was not given the values of the floats.
    """
    for arg in args:
        for x in arg if isinstance(arg, list | tuple) else (arg,):
            if type(x) is Tracer and x.traced and (x.shape or elements(x.value) is None):
                _refuse(name)


def _is_array(x: Any) -> bool:
    return type(x) is Tracer and x.shape != ()


def _repeated(name: str, numbers: Any) -> Any:
    """A function of all numbers in an iterable, one after the other."""
    if name == "prod":
        return functools.reduce(operator.mul, numbers, 1)
    return functools.reduce(operator.add, [_float(x) for x in numbers], 0.0)


def _float(x: Any) -> Any:
    """A number as a Python float."""
    return wrap(value_of(x, F64), weak=True) if type(x) is Tracer and x.traced else float(x)


def _as_numpy(name: str, args: tuple[Any, ...]) -> Tracer | None:
    """The function of traced numbers in the graph, if NumPy has it."""
    if name == "log" and len(args) == 2:
        x, base = _as_numpy(name, args[:1]), _as_numpy(name, args[1:])
        return FUNCTIONS[np.divide].operate(x, base)
    operands = [wrap(value_of(_float(x), F64), weak=True) for x in args]
    if name in ("erf", "erfc") and len(operands) == 1:
        return wrap(emit(name, operands[0].value), weak=True)
    ufunc = _ALIKE.get(name)
    if ufunc is None or len(operands) != ufunc.nin:
        return None
    return FUNCTIONS[ufunc].operate(*operands)


def _number(x: Any) -> Any:
    """A number made of Python floats, as it is, for what has no gradient anyhow."""
    if type(x) is not Tracer:
        return x
    array = elements(x.value) if x.traced else x.array
    assert array is not None
    return array.item()


def _refuse(name: str) -> NoReturn:
    if name in ("erf", "erfc", "gamma", "lgamma"):
        instead = f"scipy.special.{ {'lgamma': 'gammaln'}.get(name, name) }"
    else:
        instead = f"np.{_NUMPY[name]}" if name in _NUMPY else None
    fail(f"math.{name} computes with plain numbers, not with traced values", instead)


MATH: dict[Any, Callable[..., Any]] = {
    value: _function(name, value) for name, value in vars(math).items() if callable(value) and name[0] != "_"
}
"""What stands for the functions of `math`, by the function itself."""
