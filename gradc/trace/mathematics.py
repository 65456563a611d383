"""Python's `math` in a trace: on plain numbers as ever, on traced Python floats as NumPy's functions.

A function that NumPy has too becomes NumPy's, and its result a Python float again. The others need to know
the floats. Any other traced value is an error that names NumPy's function.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from gradc.ir import emit
from gradc.ir.types import F64
from gradc.trace.known import depends_on_floats_only, elements
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

_ALIKE = {
    name: getattr(np, _NUMPY[name])
    for name in vars(math)
    if isinstance(getattr(np, _NUMPY.get(name, ""), None), np.ufunc) and name not in _WHOLE
}
"""Functions of floats that are the same in NumPy, but for errors."""


def _function(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:
        if not any_traced(args) and not any_traced(kwargs):
            return original(*args, **kwargs)
        _check(name, args)
        _check(name, tuple(kwargs.values()))
        if not kwargs and not any(isinstance(x, list | tuple) for x in args):
            result = _as_numpy(name, args)
            if result is not None:
                return name_result(result, sys._getframe(1))
        if name in _WHOLE:
            args = tuple([_number(x) for x in args])
        return original(*args, **kwargs)  # which asks for the floats' values

    return function


def _check(name: str, args: tuple[Any, ...]) -> None:
    """See to it that what is traced are Python floats, or numbers made of them. Errors: `TraceError`."""
    for arg in args:
        for x in arg if isinstance(arg, list | tuple) else (arg,):
            if type(x) is not Tracer or not x.traced or x.weak:
                continue
            if x.shape or not depends_on_floats_only(x.value):
                _refuse(name)


def _as_numpy(name: str, args: tuple[Any, ...]) -> Tracer | None:
    """The function of traced floats in the graph, if NumPy has it."""
    if name == "log" and len(args) == 2:
        x, base = _as_numpy(name, args[:1]), _as_numpy(name, args[1:])
        return FUNCTIONS[np.divide].operate(x, base)
    operands = [wrap(value_of(x if type(x) is Tracer else float(x), F64), weak=True) for x in args]
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
