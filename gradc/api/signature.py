"""Signatures: how a call's arguments are bound, which leaves are traced, when two calls are the same."""

from __future__ import annotations

import functools
import inspect
import struct
import types
import weakref
from collections.abc import Callable, Hashable, Iterator
from inspect import Parameter
from typing import Any, NamedTuple

import numpy as np

from gradc.api.frames import caller, name_of
from gradc.ir.errors import ArgumentError
from gradc.ir.types import SHORT, Type
from gradc.trace import tree

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""A call in normal form: everything that can be passed by position, then what is passed by name only."""

WEAK = "weak float"
"""The key of a Python float, which is traced and weakly typed."""

BY_VALUE = frozenset({bool, int, str, bytes, type(None), type, type(Ellipsis)})
"""Types of static leaves for which `==` between two instances of the type says all."""


class Target(NamedTuple):
    """What `wrt` means: the argument at a position, or of a name, or all that `*args` takes (`rest`)."""

    position: int | None
    name: str
    rest: bool = False


class Parameters:
    """The parameters of a function; the first `skip` of them (`self`) do not count in `wrt`."""

    def __init__(self, fn: Callable[..., Any], skip: int = 0) -> None:
        self.fn = fn
        self.skip = skip
        self.signature = _signature_of(fn)
        parameters = list(self.signature.parameters.values())
        positional = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        self.positional = [p.name for p in parameters if p.kind in positional]
        self.by_name = [p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY]
        self.rest = next((p.name for p in parameters if p.kind is Parameter.VAR_POSITIONAL), None)
        self.options = next((p.name for p in parameters if p.kind is Parameter.VAR_KEYWORD), None)
        defaults = [p.default for p in parameters if p.kind in positional]
        self.defaults = defaults
        self.required = sum(d is Parameter.empty for d in defaults)
        self.named_defaults = [p.default for p in parameters if p.kind is Parameter.KEYWORD_ONLY]
        self.simple = not self.by_name  # nothing but `args` is needed for a call without keywords
        self.regular = (
            not self.rest
            and not self.options
            and not any(p.kind is Parameter.POSITIONAL_ONLY for p in parameters)
        )

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """The arguments in normal form, defaults filled in. `ArgumentError` where a call would fail."""
        count = len(args)
        if self.simple and not kwargs and count >= self.required:
            if count == len(self.positional) or (count > len(self.positional) and self.rest):
                return args, kwargs
            if count < len(self.positional):
                return (*args, *self.defaults[count:]), kwargs
        if self.regular and (normal := self._bind_regular(args, kwargs)) is not None:
            return normal
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            bare = [p.replace(annotation=Parameter.empty) for p in self.signature.parameters.values()]
            shown = f"{name_of(self.fn)}{inspect.Signature(bare)}"
            raise ArgumentError(f"{shown}: {error}", caller()) from None
        bound.apply_defaults()
        return bound.args, bound.kwargs

    def _bind_regular(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        """As `bind`, where every parameter takes one argument; None if the call is wrong."""
        positional, named = list(args), {}
        used = 0
        for name, default in zip(self.positional[len(args) :], self.defaults[len(args) :], strict=True):
            given = kwargs.get(name, default)
            used += name in kwargs
            positional.append(given)
        for name, default in zip(self.by_name, self.named_defaults, strict=True):
            named[name] = kwargs.get(name, default)
            used += name in kwargs
        missing = any(x is Parameter.empty for x in (*positional, *named.values()))
        if missing or used != len(kwargs) or len(positional) != len(self.positional):
            return None
        return tuple(positional), named

    def describe(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Each argument of a call in normal form, with what it is called: `params`, `args[0]`, `option`."""
        for i, arg in enumerate(args):
            named = i < len(self.positional)
            yield self.positional[i] if named else f"{self.rest}[{i - len(self.positional)}]", arg
        yield from kwargs.items()

    def names(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
        """What each leaf is called: `params.W1`, `layers[0].b`."""
        return [name + path for name, arg in self.describe(args, kwargs) for path in tree.paths(arg)]

    def names_in(self, treedef: tree.TreeDef) -> list[str]:
        """As `names`, for arguments of this structure: these themselves may have changed since."""
        args, kwargs = treedef.children()
        return self.names(tuple(args.children()), dict(zip(kwargs.entries(), kwargs.children(), strict=True)))

    def targets(self, wrt: Any) -> tuple[Target, ...]:
        """The parameters that `wrt` names. `ArgumentError` for unknown ones, and for one named twice."""
        several = wrt if isinstance(wrt, tuple) else (wrt,)
        if not several:
            raise self.error("wrt=() names no parameter", "name one, as in wrt=0")
        targets = tuple([self.target(w) for w in several])
        for i, target in enumerate(targets):
            for other in targets[:i]:
                if target == other or ((target.rest or other.rest) and self._in_rest(target, other)):
                    raise self.error(
                        f"wrt={wrt!r} names the parameter {target.name} twice", "name each parameter once"
                    )
        return targets

    def _in_rest(self, *targets: Target) -> bool:
        return all(t.rest or (t.position or 0) >= len(self.positional) for t in targets)

    def target(self, wrt: Any) -> Target:
        """The parameter of a name or a position (`self` does not count)."""
        if isinstance(wrt, str):
            if wrt in self.positional[self.skip :]:
                return Target(self.positional.index(wrt), wrt)
            if wrt == self.rest:
                return Target(None, wrt, rest=True)
            if wrt in self.by_name or (self.options and wrt not in self.positional):
                return Target(None, wrt)
        elif isinstance(wrt, int | np.integer) and not isinstance(wrt, bool) and wrt >= 0:
            position = int(wrt) + self.skip
            if position < len(self.positional):
                return Target(position, self.positional[position])
            if self.rest:
                return Target(position, f"{self.rest}[{position - len(self.positional)}]")
            if position - len(self.positional) < len(self.by_name):
                return Target(None, self.by_name[position - len(self.positional)])
        else:
            raise self.error(
                f"wrt is the name or the position of a parameter, or a tuple of them, not {wrt!r}",
                f"wrt=0 or wrt={next(iter(self._countable()), 'x')!r}",
            )
        there = ", ".join(f"{i}: {name}" for i, name in enumerate(self._countable()))
        raise self.error(
            f"wrt={wrt!r} is no parameter of {name_of(self.fn)}",
            f"one of {there}" if there else "give the function a parameter",
        )

    def _countable(self) -> list[str]:
        return [*self.positional[self.skip :], *self.by_name]

    def argument(self, target: Target, arguments: Arguments) -> Any:
        """What a call in normal form passes for a target."""
        args, kwargs = arguments
        if target.rest:
            return args[len(self.positional) :]
        if target.position is not None:
            if target.position < len(args):
                return args[target.position]
        elif target.name in kwargs:
            return kwargs[target.name]
        raise self.error(f"the call passes no argument {target.name}, which wrt names", "pass it")

    def error(self, message: str, hint: str) -> ArgumentError:
        return ArgumentError(message, caller(), hint)


def _signature_of(fn: Callable[..., Any]) -> inspect.Signature:
    """A function's signature. Those of libraries take anything: their defaults are not for passing on."""
    inner = inspect.unwrap(fn)
    modules = str(getattr(inner, "__module__", "")), type(inner).__module__
    # In a trace, NumPy's functions are seen as those that stand for them.
    library = any(m.startswith(("numpy", "scipy", "gradc.trace")) for m in modules)
    try:
        if not library and not isinstance(inner, types.BuiltinFunctionType):
            return inspect.signature(fn)
    except (ValueError, TypeError):
        pass
    return inspect.Signature(
        [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("options", Parameter.VAR_KEYWORD)]
    )


@functools.lru_cache(maxsize=4096)
def _native(dtype: np.dtype) -> np.dtype:
    return dtype.newbyteorder("=")


def leaf_key(leaf: Any) -> Hashable:
    """What of a leaf belongs to the signature.

    An array or NumPy scalar: dtype (by kind, size and byte order; as computed with, that is native) and
    shape. A Python float: that it is one. Anything else is static: its type and its value.
    """
    cls = type(leaf)
    if cls is np.ndarray:
        dtype = leaf.dtype
        return (dtype if dtype.isnative else _native(dtype)), leaf.shape
    if cls is float:
        return WEAK
    if cls in BY_VALUE:
        return cls, leaf
    if isinstance(leaf, np.generic) or cls is np.memmap:
        return _native(leaf.dtype), np.shape(leaf)
    if isinstance(leaf, np.ndarray):  # a kind of its own, which `check_leaf` does not let pass
        return cls, id(leaf)
    if isinstance(leaf, float):  # a subclass
        return WEAK
    return static_key(leaf)


def static_key(leaf: Any) -> Hashable:
    """The key of a static leaf: type and value; floats by their bits.

    Objects that are equal only to themselves are held weakly, so that a table of signatures keeps none
    alive.
    """
    cls = type(leaf)
    if isinstance(leaf, float):
        return cls, float_bits(leaf)
    if isinstance(leaf, complex):
        return cls, float_bits(leaf.real), float_bits(leaf.imag)
    if cls.__hash__ is object.__hash__ and not isinstance(leaf, type | types.ModuleType):
        try:
            return cls, weakref.ref(leaf)
        except TypeError:
            pass
    return cls, leaf


float_bits = struct.Struct("d").pack
"""The bits of a float: signs of zeros and of NaN belong to its value."""


def is_traced(key: Hashable) -> bool:
    """Whether a leaf with this key is traced, rather than static."""
    return key is WEAK or (isinstance(key, tuple) and isinstance(key[0], np.dtype))


def leaf_type(key: Hashable) -> Type:
    """The type of a traced leaf."""
    if key is WEAK:
        return Type(np.dtype(np.float64))
    assert isinstance(key, tuple)
    return Type(*key)


def check_leaf(leaf: Any, name: str) -> None:
    """See to it that a leaf can be an argument. Errors: `ArgumentError` that says what to pass instead."""
    cls = type(leaf)
    what = f"argument {name} is "
    called = f"{cls.__module__}.{cls.__name__}".removeprefix("builtins.")
    if isinstance(leaf, np.ndarray | np.generic):
        if isinstance(leaf, np.ndarray) and cls not in (np.ndarray, np.memmap):
            raise ArgumentError(
                f"{what}a {called}, whose operations are not those of np.ndarray",
                caller(),
                f"pass np.asarray({name})" + (" or a filled array" if hasattr(leaf, "mask") else ""),
            )
        if _native(leaf.dtype) not in SHORT:
            advice = {
                "c": "pass the real and the imaginary part as two arrays",
                "O": f"pass an array of numbers: np.array({name}, dtype=np.float64)",
                "f": f"pass {name}.astype(np.{'float32' if leaf.dtype.itemsize < 4 else 'float64'})",
            }
            kind = "an array" if isinstance(leaf, np.ndarray) else "a scalar"
            raise ArgumentError(
                f"{what}{kind} of dtype {leaf.dtype}; gradc takes bool, integers, float32, float64",
                caller(),
                advice.get(leaf.dtype.kind, "pass numbers"),
            )
        return
    if hasattr(cls, "__array__") and not isinstance(leaf, type):
        raise ArgumentError(
            f"{what}a {called}, which is no NumPy array",
            caller(),
            f"pass np.asarray({name})",
        )
    try:
        hash(leaf)
    except TypeError:
        raise ArgumentError(
            f"{what}a {called}, which is neither an array nor a number nor hashable",
            caller(),
            "pass arrays and numbers, in tuples, lists, dicts or dataclasses; make static options hashable",
        ) from None


def native_leaf(leaf: Any, kind: str) -> Any:
    """A traced leaf as the entry wants it: a C-contiguous, aligned, native array; a NumPy scalar; a float."""
    if kind == "float":
        return float(leaf)
    array = np.asarray(leaf)
    if kind == "scalar":
        return array.astype(_native(array.dtype))[()]
    flags = array.flags
    if type(leaf) is np.ndarray and flags.c_contiguous and flags.aligned and array.dtype.isnative:
        return leaf if array.dtype in _EXACT else array.view(_EXACT_BY_VALUE[array.dtype])
    return np.require(array, _EXACT_BY_VALUE[_native(array.dtype)], ["C", "A", "E"]).reshape(array.shape)


_EXACT = frozenset(SHORT)
_EXACT_BY_VALUE = {dtype: dtype for dtype in SHORT}


def kind_of(leaf: Any) -> str:
    """Which kind of leaf an entry takes for it: "array", "scalar" or "float"."""
    if isinstance(leaf, np.ndarray):
        return "array"
    return "scalar" if isinstance(leaf, np.generic) else "float"
