"""Compiled functions: `gradc.compile`, and the thin front that every call of one goes through."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, overload

from gradc.api.backend import Options
from gradc.api.edges import Edges, edges_of
from gradc.api.frames import caller, name_of, public, strip_internals
from gradc.api.function import Function
from gradc.api.inline import inline_call
from gradc.api.lower import Lowered, lower
from gradc.api.program import GRAD, VALUE, VALUE_AND_GRAD
from gradc.api.signature import Parameters
from gradc.ir.errors import ArgumentError
from gradc.trace import is_tracing

RECENT = 8
"""So many signatures of a mode are tried natively before the table is asked."""


class Front(list[Any]):
    """One way to call a function: natively, by the plans of recent signatures; else by the table of all.

    As a list it is the state of the native function: the plans, and what takes all other calls.
    """

    __slots__ = ("compiled", "function", "mode")

    def __init__(self, compiled: Compiled, mode: str) -> None:
        super().__init__([(), self.slow])
        self.compiled = compiled
        self.function = compiled._function
        self.mode = mode

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Native functions are pickled as attributes of this: let it come back as what has them."""
        return _itself, (self.compiled,)

    def native(self) -> Callable[..., Any]:
        """The function; where there can be no native one, the slow call itself."""
        from gradc.runtime.entry import native_function  # with LLVM, which takes time to load

        return native_function(self, self.mode, DOCS[self.mode]) or self.slow

    def slow(self, /, *args: Any, **kwargs: Any) -> Any:
        """A call by the table of signatures; inside of a trace, the function's graph is inlined."""
        try:
            if is_tracing():
                return inline_call(self.function, self.mode, args, kwargs)
            result, plan = self.function.call(self.mode, args, kwargs)
        except Exception as error:
            strip_internals(error)
            raise
        plans = self[0]
        if plan is not None and not any(plan is known for known in plans):
            self[0] = (plan, *plans[: RECENT - 1])
        return result


def _itself(compiled: Compiled) -> Compiled:
    return compiled


DOCS = {
    VALUE: "The value: the same tree, shapes, dtypes and values as the function itself gives.",
    VALUE_AND_GRAD: "`(value, gradient)`, or `((loss, aux), gradient)` with `has_aux`, in one native call.",
    GRAD: "The gradient, or `(gradient, aux)` with `has_aux`, in one native call.",
}


class Compiled:
    """A function that runs as native code, traced once per signature. Made by `gradc.compile`."""

    __name__: str
    __qualname__: str

    def __init__(
        self, fn: Callable[..., Any], *, wrt: Any = 0, has_aux: bool = False, options: Options, skip: int = 0
    ) -> None:
        functools.update_wrapper(self, fn)
        if not hasattr(self, "__name__"):  # a partial, a callable object
            self.__name__ = self.__qualname__ = name_of(fn)
        self.__gradc_original__ = fn
        self._options = wrt, has_aux, options
        self._bound: Compiled | None = None
        self._set_function(Function(fn, wrt=wrt, has_aux=has_aux, options=options, skip=skip))

    def _set_function(self, function: Function) -> None:
        self._function = function
        for mode in (VALUE_AND_GRAD, GRAD, "_value"):
            self.__dict__.pop(mode, None)

    # Made when they are first used: native code takes time to load.

    @functools.cached_property
    def value_and_grad(self) -> Callable[..., Any]:
        return Front(self, VALUE_AND_GRAD).native()

    @functools.cached_property
    def grad(self) -> Callable[..., Any]:
        return Front(self, GRAD).native()

    @functools.cached_property
    def _value(self) -> Callable[..., Any]:
        return Front(self, VALUE).native()

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._value(*args, **kwargs)
        except Exception as error:
            strip_internals(error)
            raise

    @public
    def lower(self, /, *args: Any, of: str | None = None, **kwargs: Any) -> Lowered:
        """What a call with these arguments compiles to, without running it.

        Arrays may be given as types: `f.lower("f32[64, 10]", ...)`. `of` is "value", "grad" or
        "value_and_grad": the value if the result is no float scalar.
        """
        return lower(self._function, args, kwargs, of)

    @public
    def dump(self, /, *args: Any, stage: str = "optimized", of: str | None = None, **kwargs: Any) -> str:
        """The text of one stage for these arguments (or types: `"f32[64, 10]"`).

        `stage` is "traced", "grad", "optimized", "fused", "planned", "kernels", "loops", "llvm" or "asm".
        `of` is "value", "grad" or "value_and_grad" (the value if the result is no float scalar).
        """
        return lower(self._function, args, kwargs, of).dump(stage)

    @public
    def edges(self, /, *args: Any, **kwargs: Any) -> Edges:
        """A row for every edge of the traced graph, from a real run: name, user line, value, gradient.

        Inputs first, then every node's results; the loss has gradient 1, and None stands where a value is
        no float or has no path to the loss. `print` shows a table.
        """
        return edges_of(self._function, args, kwargs)

    # Methods: `self` is an argument that does not count in `wrt`.

    def __set_name__(self, owner: type, name: str) -> None:
        # Only a function written in the class body: one that is put there from elsewhere stays what it is.
        if getattr(self, "__qualname__", "") == f"{owner.__qualname__}.{self.__name__}":
            self._set_function(self._method()._function)

    def _method(self) -> Compiled:
        """This function with its first parameter as `self`."""
        if self._bound is None:
            wrt, has_aux, options = self._options
            self._bound = (
                self
                if self._function.parameters.skip
                else Compiled(self.__gradc_original__, wrt=wrt, has_aux=has_aux, options=options, skip=1)
            )
        return self._bound

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else BoundCompiled(self._method(), instance)

    # Pickled by name, as functions are; a compiled copy of a function that is there under its name, by that.

    def __reduce__(self) -> Any:
        if _named(self) is self:
            return self.__qualname__
        return _recompile, (self.__gradc_original__, *self._options)

    def __repr__(self) -> str:
        return f"<compiled {self.__qualname__}>"


class BoundCompiled:
    """A compiled method of an instance."""

    __slots__ = ("__func__", "__self__")

    def __init__(self, compiled: Compiled, instance: Any) -> None:
        self.__func__ = compiled
        self.__self__ = instance

    @property
    def __gradc_original__(self) -> Callable[..., Any]:
        return self.__func__.__gradc_original__.__get__(self.__self__)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self.__func__(self.__self__, *args, **kwargs)

    @property
    def value_and_grad(self) -> Callable[..., Any]:
        return MethodType(self.__func__.value_and_grad, self.__self__)

    @property
    def grad(self) -> Callable[..., Any]:
        return MethodType(self.__func__.grad, self.__self__)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.__func__, name)
        return MethodType(found, self.__self__) if name in ("lower", "dump", "edges") else found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundCompiled):
            return NotImplemented
        return self.__func__ is other.__func__ and self.__self__ is other.__self__

    def __hash__(self) -> int:
        return hash((id(self.__func__), id(self.__self__)))

    def __reduce__(self) -> Any:
        return getattr, (self.__self__, self.__func__.__name__)

    def __repr__(self) -> str:
        return f"<compiled {self.__func__.__qualname__} of {self.__self__!r}>"


def _named(compiled: Compiled) -> Any:
    """What the module of a function holds under its qualified name."""
    import sys

    found: Any = sys.modules.get(compiled.__module__)
    for part in compiled.__qualname__.split("."):
        found = getattr(found, part, None)
    return found


def _recompile(fn: Callable[..., Any], wrt: Any, has_aux: bool, options: Options) -> Compiled:
    return Compiled(fn, wrt=wrt, has_aux=has_aux, options=options)


@overload
def compile(
    fn: Callable[..., Any],
    *,
    wrt: Any = 0,
    has_aux: bool = False,
    threads: int | None = None,
    fast_math: bool = False,
) -> Compiled: ...
@overload
def compile(
    fn: None = None,
    *,
    wrt: Any = 0,
    has_aux: bool = False,
    threads: int | None = None,
    fast_math: bool = False,
) -> Callable[[Callable[..., Any]], Compiled]: ...
@public
def compile(
    fn: Callable[..., Any] | None = None,
    *,
    wrt: Any = 0,
    has_aux: bool = False,
    threads: int | None = None,
    fast_math: bool = False,
) -> Compiled | Callable[[Callable[..., Any]], Compiled]:
    """Compile a function of NumPy arrays; as a decorator, bare or with options, or as a function.

    It is traced once per signature: tree structure, shapes, dtypes, values of static leaves. Arrays, NumPy
    scalars and Python floats are traced; bool, int, str, None, dtypes, callables and other hashable leaves
    are static. A Python float whose value the trace needs (`if x > 0:`) belongs to the signature by its
    value, and has a gradient all the same.

    - `wrt`: the parameter that gradients are taken for, by position or name; a tuple of them gives a tuple.
    - `has_aux`: the function returns `(loss, aux)`.
    - `threads`: how many a call may use; None means as many as there are, or `GRADC_THREADS`.
    - `fast_math`: allow rewrites that change rounding, or assume that there are no NaN and infinities.

    Errors: `ArgumentError` for an option that does not fit the function.
    """
    if fn is None:
        return functools.partial(compile, wrt=wrt, has_aux=has_aux, threads=threads, fast_math=fast_math)
    if isinstance(fn, classmethod | staticmethod):
        kind = type(fn).__name__
        raise ArgumentError(
            f"gradc.compile stands above @{kind}", caller(), f"put @{kind} above @gradc.compile"
        )
    if not callable(fn):
        raise ArgumentError(
            f"gradc.compile takes a function, not {fn!r:.60}", caller(), "@gradc.compile above a def"
        )
    if threads is None and (given := os.environ.get("GRADC_THREADS", "").strip()):
        threads = int(given) if given.isascii() and given.isdecimal() else 0
        if threads < 1:
            raise ArgumentError(
                f"GRADC_THREADS={given} is no number of threads", caller(), "GRADC_THREADS=1 or more"
            )
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise ArgumentError(f"threads={threads!r} is no number of threads", caller(), "threads=1 or more")
    if isinstance(fn, Compiled | BoundCompiled):
        fn = fn.__gradc_original__
    options = Options(threads=threads, fast_math=bool(fast_math))
    compiled = Compiled(fn, wrt=wrt, has_aux=has_aux, options=options)
    if not (type(wrt) is int and wrt == 0):
        _check_wrt(compiled, wrt)
    return compiled


def _check_wrt(compiled: Compiled, wrt: Any) -> None:
    """See to it that `wrt` names parameters. Errors: `ArgumentError`."""
    scope = getattr(compiled, "__qualname__", "").rpartition(".")[0]
    try:
        compiled._function.parameters.targets(wrt)
    except ArgumentError:
        # In the body of a class nobody knows yet whether this becomes a method, whose `self` does not count.
        if (
            not scope
            or scope.endswith("<locals>")
            or not isinstance(compiled.__gradc_original__, FunctionType)
        ):
            raise
        Parameters(compiled.__gradc_original__, skip=1).targets(wrt)
