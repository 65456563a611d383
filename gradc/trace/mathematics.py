"""Python's `math` in a trace: its functions work on plain numbers, and name NumPy's for traced ones."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NoReturn

from gradc.trace.source import fail
from gradc.trace.state import NeedStatic, float_inputs
from gradc.trace.tracer import Tracer

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


def _plain_only(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:
        positions: set[int] = set()
        for x in (*args, *kwargs.values()):
            for item in x if isinstance(x, list | tuple) else (x,):
                if type(item) is Tracer and item.traced:
                    floats = float_inputs(item.value)
                    positions.update(_refuse(name) if floats is None else floats)
        if positions:
            raise NeedStatic(tuple(sorted(positions)))
        return original(*args, **kwargs)

    return function


def _refuse(name: str) -> NoReturn:
    if name in ("erf", "erfc", "gamma", "lgamma"):
        instead = f"scipy.special.{ {'lgamma': 'gammaln'}.get(name, name) }"
    else:
        instead = f"np.{_NUMPY[name]}" if name in _NUMPY else None
    fail(f"math.{name} computes with plain numbers, not with traced values", instead)


MATH: dict[Any, Callable[..., Any]] = {
    value: _plain_only(name, value)
    for name, value in vars(math).items()
    if callable(value) and name[0] != "_"
}
"""What stands for the functions of `math`, by the function itself."""
