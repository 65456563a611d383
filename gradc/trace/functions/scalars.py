"""NumPy's scalar types in a trace: `np.float32(x)` of a traced x casts it.

What stands for a type is a subclass that is equal to it and has the same instances and subclasses, so that
`dtype=np.float32`, `x.dtype == np.float32` and `isinstance(y, np.float32)` mean what they meant.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.trace.lift import any_traced, concrete, plain
from gradc.trace.methods import converted
from gradc.trace.registry import CLASSES, FUNCTIONS


class _ScalarType(type):
    """The class of the stand-ins."""

    original: type

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if not any_traced(args):
            return concrete(cls.original(*plain(args), **kwargs))
        return FUNCTIONS[converted](FUNCTIONS[np.asarray](*args), cls.original)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.original)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.original)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.original

    def __hash__(cls) -> int:
        return hash(cls.original)

    def __repr__(cls) -> str:
        return repr(cls.original)


def _stand_in(original: type) -> Any:
    names = {"original": original, "__module__": original.__module__, "__doc__": original.__doc__}
    return _ScalarType(original.__name__, (original,), names)


for _code in "?" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"]:
    _type = np.dtype(_code).type
    CLASSES[_type] = _stand_in(_type)
