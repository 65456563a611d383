"""Which of the user's classes have objects that a trace sees through views, and what stands for a class."""

from __future__ import annotations

import abc
import sys
import types
from collections.abc import Callable
from typing import Any, Protocol

from gradc.trace import tree
from gradc.trace.source import is_installed, is_user_file

_METACLASSES = {type, abc.ABCMeta, type(Protocol)}
_ARRAY_PROTOCOLS = ("__array__", "__array_interface__", "__array_ufunc__", "__array_function__")


class _Plain:
    pass


class View(tree.StandIn):
    """The base of all views."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """The hook of the user's class, which may keep a list of subclasses, is not for views."""
        if tree.stands_for(cls) is cls:  # a subclass that the user defines in the trace
            super().__init_subclass__(**kwargs)


def viewable(cls: type, home: str = "") -> bool:
    """Whether objects of this class are seen through views.

    It must be a class of the user's in Python, whose instances keep everything in their `__dict__`. Objects
    of installed libraries stay what they are, unless the traced function is of the same package, `home`.
    """
    if type(cls) not in _METACLASSES or cls.__getattribute__ is not object.__getattribute__:
        return False
    # Slots and bases in C are more than a `__dict__`.
    if not cls.__dictoffset__ or cls.__itemsize__ or cls.__basicsize__ != _Plain.__basicsize__:
        return False
    return _is_users(cls, home) and not any(hasattr(cls, name) for name in _ARRAY_PROTOCOLS)


def copyable(cls: type, home: str = "") -> bool:
    """Whether a class of which there are no views may have a stand-in with copied methods.

    That is so for named tuples and for classes with slots.
    """
    reading = (object.__getattribute__, tuple.__getattribute__)
    if type(cls) not in _METACLASSES or cls.__getattribute__ not in reading:
        return False
    bases = [base for base in cls.__mro__ if base.__module__ not in ("typing", "abc", "builtins")]
    named = issubclass(cls, tuple) and hasattr(cls, "_fields")
    plain = not cls.__dictoffset__ and all("__slots__" in vars(base) for base in bases)
    if not (named or (plain and not issubclass(cls, BaseException | tuple | str | int | float))):
        return False
    return all(_is_users(base, home) for base in bases) and any(map(_methods, bases))


def slots_of(cls: type) -> list[str]:
    """The attributes that the user's class and its bases keep in slots."""
    return [
        name
        for base in cls.__mro__
        for name, value in vars(base).items()
        if isinstance(value, types.MemberDescriptorType)
    ]


def _methods(cls: type) -> list[str]:
    """The names of the functions and properties that the user wrote in a class."""
    return [name for name, value in vars(cls).items() if any(map(_is_written, _functions(value)))]


def _functions(value: Any) -> list[Any]:
    """The functions that an attribute of a class consists of."""
    if isinstance(value, property):
        return [value.fget, value.fset, value.fdel]
    return [value.__func__ if isinstance(value, staticmethod | classmethod) else value]


def _is_written(function: Any) -> bool:
    return isinstance(function, types.FunctionType) and is_user_file(function.__code__.co_filename)


def with_copies(cls: type, substitute: Callable[[Any], Any]) -> dict[str, Any]:
    """What the user wrote in a class and its bases, with copies of the functions."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        for name in _methods(base):
            if name not in found and name not in (
                "__new__",
                "__init_subclass__",
                "__class_getitem__",
                "__del__",
            ):
                value = vars(base)[name]
                parts = [f if f is None else substitute(f) for f in _functions(value)]
                found[name] = parts[0] if isinstance(value, types.FunctionType) else type(value)(*parts)
    return found


def _is_users(cls: type, home: str) -> bool:
    root = cls.__module__.partition(".")[0]
    if root in ("gradc", "numpy", "scipy") or root == home:
        return root == home != "gradc"
    path = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if path is not None:
        return is_user_file(path) and not is_installed(path)
    # Typed at a prompt, or run by `exec` in a namespace that is no module.
    code = [f.__code__ for f in vars(cls).values() if isinstance(f, types.FunctionType)]
    return cls.__module__ == "__main__" or any(is_user_file(c.co_filename) for c in code)


def class_of(view: Any) -> type:
    """The user's class of a view."""
    return tree.stands_for(type(view))


def metaclass_of(cls: type, get: Callable[[Any, str], Any], restore: Callable[[Any], Any]) -> Any:
    """The metaclass of what stands for `cls`: for the user's code it is that class.

    `get(cls, name)` gives its attributes, substituted; `restore` undoes the substitution. A subclass that is
    defined in the trace has this metaclass too, and is a class like any other.
    """
    base: Any = type(cls)
    asked: list[type] = []

    class StandsFor(base):
        def __instancecheck__(self, instance: Any) -> bool:
            own = tree.stands_for(self)
            return base.__instancecheck__(self, instance) if own is self else isinstance(instance, own)

        def __subclasscheck__(self, other: type) -> bool:
            own = tree.stands_for(self)
            if own is self:
                return base.__subclasscheck__(self, other)
            if own in other.__mro__ or own in asked:  # an abstract class asks its subclasses, as this is one
                return own in other.__mro__
            asked.append(own)
            try:
                return issubclass(tree.stands_for(other), own)
            finally:
                asked.pop()

        def __getattribute__(self, name: str) -> Any:
            if name[:2] == name[-2:] == "__":
                return base.__getattribute__(self, name)
            return get(self, name)

        def __setattr__(self, name: str, value: Any) -> None:
            own = tree.stands_for(self)
            if own is self or name == "__abstractmethods__":
                base.__setattr__(self, name, value)
            else:
                setattr(own, name, restore(value))

        def __delattr__(self, name: str) -> None:
            own = tree.stands_for(self)
            if own is self:
                base.__delattr__(self, name)
            else:
                delattr(own, name)

    return StandsFor
