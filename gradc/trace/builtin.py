"""Python's own functions in a trace: max, min and sorted of traced numbers, and the type of a traced value.

The builtins compare two numbers and look at the truth of the result, which is not known before the function
runs. Here the choice becomes part of the graph. What they give is the same, also for NaN and for equal
numbers: `max(a, b)` is `b` if `b > a`, else `a`.
"""

from __future__ import annotations

import builtins
import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.trace import tree
from gradc.trace.lift import any_traced
from gradc.trace.registry import FUNCTIONS
from gradc.trace.tracer import Tracer

_MISSING: Any = object()


def _is_number(x: Any) -> bool:
    return x.shape == () if type(x) is Tracer else isinstance(x, bool | int | float | np.number | np.bool_)


def _choosable(numbers: list[Any]) -> bool:
    """Whether these are numbers, of which one at least is traced."""
    return any_traced(numbers) and all(map(_is_number, numbers))


def _extreme(original: Callable[..., Any], better: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def choose(best: Any, x: Any) -> Any:
        return FUNCTIONS[np.where](better(x, best), x, best)

    @functools.wraps(original)
    def function(*args: Any, key: Any = None, default: Any = _MISSING) -> Any:
        one = len(args) == 1
        candidates = list(args[0] if one else args)
        if key is None and (default is _MISSING or one) and len(candidates) > 1 and _choosable(candidates):
            return functools.reduce(choose, candidates)
        options = {} if default is _MISSING else {"default": default}
        return original(*([candidates] if one else args), key=key, **options)

    return function


@functools.wraps(builtins.sorted)
def _sorted(iterable: Any, /, *, key: Any = None, reverse: bool = False) -> list[Any]:
    elements = list(iterable)
    if key is not None or len(elements) < 2 or not _choosable(elements):
        return builtins.sorted(elements, key=key, reverse=reverse)
    ordered = list(FUNCTIONS[np.sort](FUNCTIONS[np.array](elements)))
    return ordered[::-1] if reverse else ordered


class _Type(type):
    """The class of the stand-ins for `type`, and of metaclasses made of them."""

    substitute: Callable[[Any], Any] | None = None

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls.substitute is None or "substitute" not in vars(cls):
            return super().__call__(*args, **kwargs)
        if len(args) != 1 or kwargs:
            return type(*args, **kwargs)
        x = tree.stands_for(args[0]) if isinstance(args[0], type) else args[0]
        found = x.__class__ if type(x) is Tracer else type(x)
        return cls if found is type else cls.substitute(found)

    def __instancecheck__(cls, instance: Any) -> bool:
        return (
            isinstance(instance, type) if "substitute" in vars(cls) else super().__instancecheck__(instance)
        )

    def __subclasscheck__(cls, subclass: type) -> bool:
        return (
            issubclass(subclass, type) if "substitute" in vars(cls) else super().__subclasscheck__(subclass)
        )

    def __eq__(cls, other: object) -> bool:
        return other is cls or (other is type and "substitute" in vars(cls))

    def __hash__(cls) -> int:
        return hash(type) if "substitute" in vars(cls) else type.__hash__(cls)


def builtins_in(substitute: Callable[[Any], Any]) -> dict[str, Any]:
    """The builtins of the user's code in the trace whose objects `substitute` gives, by name."""
    return {
        "max": _extreme(builtins.max, operator.gt),
        "min": _extreme(builtins.min, operator.lt),
        "sorted": _sorted,
        "type": _Type("type", (type,), {"substitute": staticmethod(substitute)}),
    }
