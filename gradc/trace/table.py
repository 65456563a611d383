"""How functions enter the table, and what becomes of those that are not in it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any

import numpy as np

from gradc.ir import ShapeError, TraceError
from gradc.trace import tree
from gradc.trace.known import depends_on_floats_only
from gradc.trace.lift import any_traced, concrete, plain, wrap
from gradc.trace.refusals import LIBRARY, REFUSED, instead
from gradc.trace.registry import FUNCTIONS, SCIPY
from gradc.trace.source import fail, locate
from gradc.trace.state import current_trace
from gradc.trace.tracer import Cell, Tracer, name_result


def implements(*originals: Any, views: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The decorated function is what NumPy's `originals` mean for traced arguments.

    With concrete arguments only, NumPy itself runs. Results are named after the user's variables. They are
    arrays of their own, unless `views` says that they may share memory with an argument, as NumPy's do.
    An `out` that NumPy takes is a parameter of the function too, but always None there: what it gives is
    written into it.
    """

    def register(fn: Callable[..., Any]) -> Callable[..., Any]:
        entry = entry_for(fn, originals[0], views)
        for original in originals:
            FUNCTIONS[original] = entry
        return entry

    return register


def implements_view(*originals: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The same for functions that give views: ours runs for concrete tracers too, which share memory."""

    def register(fn: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(fn)
        def entry(*args: Any, **kwargs: Any) -> Any:
            return name_result(fn(*args, **kwargs), sys._getframe(1))

        for original in originals:
            FUNCTIONS[original] = entry
        return entry

    return register


def implements_scipy(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The decorated function is what `scipy.special.<name>` means for traced arguments, or what another
    function of SciPy's does whose whole name is given."""

    def register(fn: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            SCIPY[name if "." in name else f"scipy.special.{name}"] = lambda original: entry_for(fn, original)
        return fn

    return register


def entry_for(fn: Callable[..., Any], original: Any, views: bool = False) -> Callable[..., Any]:
    """What is called in a trace: `fn` with traced arguments, `original` with concrete ones only."""
    parameters = fn.__code__.co_varnames[: fn.__code__.co_argcount]
    place = parameters.index("out") if "out" in parameters else sys.maxsize

    @wraps(fn)
    def entry(*args: Any, **kwargs: Any) -> Any:
        if len(args) > place and args[place] is not None:
            kwargs["out"] = args[place]
            args = (*args[:place], None, *args[place + 1 :])
        if kwargs.get("out") is not None:
            return _into(entry, original, args, kwargs)
        if not any_traced(args) and not (kwargs and any_traced(kwargs)):
            return run_concrete(original, args, kwargs)
        result = fn(*args, **kwargs)
        return name_result(result if views else _apart(result, args), sys._getframe(1))

    return entry


_SPREADING = {
    *("clip", "fix", "isneginf", "isposinf", "outer"),
    *("percentile", "quantile", "nanmedian", "nanpercentile", "nanquantile"),
}
"""Functions whose result may be smaller than `out` and is broadcast then, as ufuncs' results are."""


def _into(entry: Callable[..., Any], original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The call of a function with `out=`."""
    from gradc.trace.functions.writing import into
    from gradc.trace.store import check_writable

    out = kwargs.pop("out")
    check_writable(out)
    if original.__name__ in _IN_DTYPE_OF_OUT and kwargs.get("dtype") is None:
        if len(args) < 3:
            kwargs["dtype"] = dtype_for(out, *args[:1])
        elif args[2] is None:
            args = (*args[:2], dtype_for(out, args[0]), *args[3:])
    result = entry(*args, **kwargs)
    if isinstance(result, Tracer) and result.shape != out.shape and original.__name__ not in _SPREADING:
        name = f"np.{original.__name__}"
        fail(f"the result of {name} has shape {result.shape}, not {out.shape} as out has", None, ShapeError)
    return into(out, result)


_IN_DTYPE_OF_OUT = {
    "sum",
    "prod",
    "cumsum",
    "cumprod",
    "nansum",
    "nanprod",
    "nancumsum",
    "nancumprod",
    "mean",
}
"""Functions that compute in the dtype of their `out`, if no other is given."""


def dtype_for(out: Any, *xs: Any) -> Any:
    """The dtype to compute in for an `out`; None for the usual one if that of x does not fit."""
    wanted = getattr(out[0] if isinstance(out, tuple) else out, "dtype", None)
    known = [getattr(x, "dtype", None) for x in xs]
    fits = wanted is not None and all(d is not None and np.can_cast(d, wanted, "same_kind") for d in known)
    return wanted if fits else None


def _apart(result: Any, args: tuple[Any, ...]) -> Any:
    """A result that shares no memory with an argument, though ours may have given the argument itself."""
    if type(result) is Tracer and any(type(x) is Tracer and x.cell is result.cell for x in args):
        return wrap(result.value) if result.traced else result
    return result


def run_concrete(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """NumPy's function on concrete arguments, at once."""
    if kwargs.get("out") is not None:
        from gradc.trace.functions.writing import into
        from gradc.trace.store import check_writable

        kwargs = dict(kwargs)
        out = kwargs.pop("out")
        check_writable(out)
        return into(out, run_concrete(original, args, kwargs))
    given = plain(args)
    with np.errstate(all="ignore"):
        result = original(*given, **plain(kwargs))
    if type(result) is np.ndarray:
        for before, x in zip(args, given, strict=True):
            if result is x and type(before) is Tracer:
                return before
            if result.base is not None and type(x) is np.ndarray and np.may_share_memory(result, x):
                return Tracer(Cell(result, fixed="a view of another array"))
    return concrete(result)


def function(original: Any) -> Any:
    """Our function for one of NumPy's or SciPy's; or what stands for one that is not in the table."""
    try:
        return FUNCTIONS[original]
    except KeyError:
        pass
    module, name = getattr(original, "__module__", None) or "numpy", getattr(original, "__name__", "?")
    if name.endswith("(vectorized)"):  # a ufunc made of a Python function
        name = "frompyfunc"
    special = _is_special(original, module, name)
    public = f"{'scipy.special' if special else _public(module)}.{name}"
    entry = SCIPY[public](original) if public in SCIPY else ConcreteOnly(original, public)
    FUNCTIONS[original] = entry
    return entry


def _is_special(original: Any, module: str, name: str) -> bool:
    """Whether it is a function of `scipy.special`: that module's ufuncs do not say where they come from."""
    if module.startswith("scipy.special"):
        return True
    special = sys.modules.get("scipy.special")
    return special is not None and getattr(special, name, None) is original


_KEPT = (
    "linalg",
    "fft",
    "random",
    "ma",
    "char",
    "strings",
    "polynomial",
    "lib",
    "stride_tricks",
    "scimath",
    "testing",
)


def _public(module: str) -> str:
    """The module as users know it: `np` for what lies anywhere in `numpy`."""
    parts = [part for part in module.split(".") if not part.startswith("_")]
    if parts[0] == "numpy":
        return ".".join(["np", *(p for p in parts[1:] if p in _KEPT)])
    return ".".join(parts)


class ConcreteOnly:
    """A function that is not in the table: with concrete arrays it runs as it is.

    With traced ones, if it is written in Python, a copy of it runs as the user's own functions do: many are
    compositions of functions that are in the table. Python floats it may also have as they are, without a
    gradient.
    """

    def __init__(self, original: Any, name: str) -> None:
        self.original = original
        self.name = name
        self.__name__ = getattr(original, "__name__", name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not any_traced(args) and not any_traced(kwargs):
            return run_concrete(self.original, args, kwargs)
        implementation = getattr(self.original, "_implementation", self.original)
        cause = None
        if isinstance(implementation, FunctionType) and self.name not in REFUSED:
            try:
                result = current_trace().substitute.library(implementation)(*args, **kwargs)
                return name_result(result, sys._getframe(1))
            except (TraceError, TypeError, AttributeError, ValueError) as error:
                if isinstance(error, ShapeError) or self.name in LIBRARY:  # what the user passed does not fit
                    raise
                cause = error
        if (values := _taken((args, kwargs))) is not None:
            return run_concrete(self.original, *values)
        message = f"gradc cannot trace {self.name}"
        raise TraceError(message, locate(), instead(self.name)) from cause

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self.original, attribute)
        return ConcreteOnly(value, f"{self.name}.{attribute}") if callable(value) else value


def _taken(arguments: Any) -> Any:
    """The arguments, what depends on Python floats only as numbers and arrays; None if others are traced."""
    leaves, treedef = tree.flatten(arguments)
    places = [i for i, x in enumerate(leaves) if type(x) is Tracer and x.traced]
    if not all(depends_on_floats_only(leaves[i].value) for i in places):
        return None
    for i in places:
        leaves[i] = np.asarray(leaves[i])[()] if not leaves[i].weak else float(leaves[i])
    return tree.unflatten(treedef, leaves)


def call(original: Any, *args: Any, **kwargs: Any) -> Any:
    """Our function for `original`, called."""
    return function(original)(*args, **kwargs)
