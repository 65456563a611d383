"""NumPy's classes in a trace: `np.float32(x)` of a traced x casts it, `np.poly1d(x)` says what to write.

What stands for a class is a subclass that is equal to it and has the same instances and subclasses, so that
`dtype=np.float32`, `x.dtype == np.float32` and `isinstance(y, np.float32)` mean what they meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.trace.lift import any_traced, concrete, plain
from gradc.trace.methods import converted
from gradc.trace.refusals import instead
from gradc.trace.registry import CLASSES, FUNCTIONS
from gradc.trace.source import fail


class _StandIn(type):
    """The class of the stand-ins: `given` is what a call with traced arguments gives."""

    original: type
    given: Callable[..., Any]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if any_traced(args) or any_traced(kwargs):
            return cls.given(cls.original, *args, **kwargs)
        return concrete(cls.original(*plain(args), **plain(kwargs)))

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


def _stand_in(original: type, given: Callable[..., Any], *, sealed: bool = False) -> Any:
    """What stands for a class; one that is `sealed` has no subclasses."""
    names = {
        "original": original,
        "given": staticmethod(given),
        "__module__": original.__module__,
        "__doc__": original.__doc__,
    }
    return _StandIn(original.__name__, () if sealed else (original,), names)


def _cast(original: Any, *args: Any) -> Any:
    return FUNCTIONS[converted](FUNCTIONS[np.asarray](*args), original)


def _refused(original: type, *_: Any, **__: Any) -> Any:
    name = f"np.{original.__name__}"
    fail(f"gradc cannot trace {name}", instead(name))


for _code in "?" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"]:
    _type = np.dtype(_code).type
    CLASSES[_type] = _stand_in(_type, _cast)
for _type in (np.poly1d, np.matrix):
    CLASSES[_type] = _stand_in(_type, _refused)
for _type in (np.nditer, np.broadcast):
    CLASSES[_type] = _stand_in(_type, _refused, sealed=True)
