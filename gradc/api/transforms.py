"""Functions of functions: grad, value_and_grad, vjp, jvp, hvp. They nest in any order.

Inside of a trace they inline; called on arrays they compile on the spot, once for each function and
signature.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from gradc.api.compiled import BoundCompiled, Compiled
from gradc.api.compiled import compile as compile_
from gradc.api.frames import caller, name_of, public
from gradc.api.inline import inline_jvp, inline_vjp
from gradc.api.program import VALUE
from gradc.ir.errors import ArgumentError
from gradc.trace import is_tracing, tree

Function = Callable[..., Any]


@public
def grad(fn: Function, wrt: Any = 0, has_aux: bool = False) -> Function:
    """The function that gives the gradient of `fn`, with `fn`'s parameters.

    `wrt` is the parameter (position or name) whose tree the gradient has; a tuple of them gives a tuple of
    gradients. With `has_aux`, `fn` returns `(loss, aux)` and the result is `(gradient, aux)`. Float leaves
    without a path to the loss get zeros, leaves that are no floats None. Errors: `ArgumentError` for `wrt`,
    `ShapeError` and `TraceError` where `fn` does not return one float number.
    """
    compiled = _compiled(original(fn), wrt, has_aux)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        return compiled.grad(*args, **kwargs)

    return named(gradient, fn, "grad")


@public
def value_and_grad(fn: Function, wrt: Any = 0, has_aux: bool = False) -> Function:
    """The function of `(value, gradient)`, or `((loss, aux), gradient)` with `has_aux`: see `grad`."""
    compiled = _compiled(original(fn), wrt, has_aux)

    def both(*args: Any, **kwargs: Any) -> Any:
        return compiled.value_and_grad(*args, **kwargs)

    return named(both, fn, "value_and_grad")


@public
def vjp(fn: Function, *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """`(value, pullback)`: the value of `fn(*primals)`, and the transposed derivative there.

    `pullback(cotangent)` takes a tree like the value and gives a tuple with one tree per primal: the
    cotangents of float leaves, None for the others. Errors: `ArgumentError` or `ShapeError` if the
    cotangent does not fit.
    """
    fn = original(fn)
    if is_tracing():
        return inline_vjp(fn, primals)
    compiled = _compiled(fn)
    special, _ = compiled._function.specialize(primals, {})
    # What writes into its arguments gets others.
    value = compiled(*(tree.map(_own, primals) if special.changes(VALUE) else primals))
    primals = tree.map(_own, primals)

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        if is_tracing():
            return inline_vjp(fn, primals)[1](cotangent)
        return cached(fn, "pull", lambda: _pull(fn))(primals, cotangent)

    return value, pullback


@public
def jvp(fn: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """`(value, tangent)`: the value of `fn(*primals)`, and the derivative there in the direction `tangents`.

    `tangents` is a tuple of trees like `primals`; None stands where a leaf is no float. The tangent has the
    tree of the value, with None for what is no float. Errors: `ArgumentError` or `ShapeError` if the
    tangents do not fit.
    """
    fn = original(fn)
    _check_tuples(primals, tangents)
    if is_tracing():
        return inline_jvp(fn, primals, tangents)
    return cached(fn, "push", lambda: _push(fn))(primals, tangents)


@public
def hvp(
    fn: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """`(gradient, product)`: the gradient of `fn` at `primals`, and its Hessian times `tangents`.

    Both are tuples with one tree per primal; `tangents` as in `jvp`. Forward over reverse: it costs a small
    multiple of `fn`. Errors: as in `jvp`, and as in `grad` if `fn` does not return one float number.
    """
    fn = original(fn)
    _check_tuples(primals, tangents)
    everything = tuple([i for i, x in enumerate(primals) if _has_floats(x)])
    if not everything:
        raise ArgumentError("no primal has float leaves", caller(), "pass floats")
    slope = cached(fn, ("slope", everything, len(primals)), lambda: _slope(fn, everything, len(primals)))
    return jvp(slope, primals, tangents)


def _slope(fn: Function, wrt: tuple[int, ...], count: int) -> Function:
    """The gradient with respect to all primals that have any; None for the others."""
    gradient = grad(fn, wrt)

    def slope(*primals: Any) -> tuple[Any, ...]:
        found = dict(zip(wrt, gradient(*primals), strict=True))
        return tuple([found[i] if i in found else tree.map(lambda _: None, primals[i]) for i in range(count)])

    return named(slope, fn, "grad")


def _pull(fn: Function) -> Compiled:
    def pull(primals: tuple[Any, ...], cotangent: Any) -> tuple[Any, ...]:
        return inline_vjp(fn, primals)[1](cotangent)

    return compile_(named(pull, fn, "vjp", same_parameters=False))


def _push(fn: Function) -> Compiled:
    def push(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        return inline_jvp(fn, primals, tangents)

    return compile_(named(push, fn, "jvp", same_parameters=False))


def _has_floats(argument: Any) -> bool:
    leaves = tree.flatten(argument)[0]
    return any(
        isinstance(leaf, float)
        or (isinstance(leaf, np.ndarray | np.generic) and np.dtype(leaf.dtype).kind == "f")
        for leaf in leaves
    )


def _own(leaf: Any) -> Any:
    """A copy of an array, which the caller may write to before the pullback runs."""
    return np.array(leaf) if type(leaf) is np.ndarray else leaf


def _check_tuples(primals: Any, tangents: Any) -> None:
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise ArgumentError(
            "primals and tangents are tuples with one tree per primal",
            caller(),
            "(x,) and (t,) for one primal",
        )


def original(fn: Function) -> Function:
    """The function itself, for a compiled one."""
    if isinstance(fn, Compiled | BoundCompiled):
        return fn.__gradc_original__
    if not callable(fn):
        raise ArgumentError(f"{fn!r:.60} is no function", caller(), "pass the function, not its result")
    return fn


def named(wrapper: Function, fn: Function, what: str, same_parameters: bool = True) -> Function:
    """Name a derivative after its function, whose parameters it has."""
    name = name_of(fn)
    wrapper.__name__ = wrapper.__qualname__ = f"{what}_{'lambda' if name == '<lambda>' else name}"
    if same_parameters:
        wrapper.__wrapped__ = fn  # pyright: ignore[reportFunctionMemberAccess]
        wrapper.__doc__ = f"`{what}` of `{name}`."
    return wrapper


# What was compiled of a function lives as long as the function does.


class _Store(dict[Hashable, Any]):
    """What was compiled of one function, in an attribute of it. Copies of the attribute count as empty."""

    def __init__(self, owner: Function) -> None:
        super().__init__()
        self.owner = weakref.ref(owner)

    def __reduce__(self) -> Any:
        return _no_store, ()


def _no_store() -> None:
    return None


_ATTRIBUTE = "__gradc_store__"


def cached(fn: Function, key: Hashable, make: Callable[[], Any]) -> Any:
    """What `make` gave for this function and key."""
    store = getattr(fn, "__dict__", {}).get(_ATTRIBUTE)
    if store is None or store.owner() is not fn:  # functools.wraps copies attributes to other functions
        try:
            store = _Store(fn)
            setattr(fn, _ATTRIBUTE, store)
        except (AttributeError, TypeError):  # a bound method, a builtin
            return _cached_elsewhere(fn, key, make)
    found = store.get(key)
    return store.setdefault(key, make()) if found is None else found


def _cached_elsewhere(fn: Function, key: Hashable, make: Callable[[], Any]) -> Any:
    try:
        store = _recent_store(fn)
    except TypeError:  # unhashable
        return make()
    found = store.get(key)
    return store.setdefault(key, make()) if found is None else found


@functools.lru_cache(maxsize=32)
def _recent_store(fn: Function) -> dict[Hashable, Any]:
    """For functions that cannot have attributes: a few of them are remembered."""
    return {}


def _compiled(fn: Function, wrt: Any = 0, has_aux: bool = False) -> Compiled:
    try:
        key = ("compiled", wrt, type(wrt), has_aux)
        hash(key)
    except TypeError:  # a wrt that is an error
        return compile_(fn, wrt=wrt, has_aux=has_aux)
    return cached(fn, key, lambda: compile_(fn, wrt=wrt, has_aux=has_aux))
