"""Which of the user's classes have objects that a trace sees through views."""

from __future__ import annotations

import abc
import sys
import types
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

    def __init_subclass__(cls) -> None:
        """Nothing: the hook of the user's class, which may keep a list of subclasses, is not for views."""


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
    return type(view).__bases__[1]
