"""The user's objects and classes in a trace: views that share attributes and whose methods are copies.

A method of the user's reads `self.W` and calls `self.layer(x)`; so that it sees tracers and copies there, its
`self` is a view: an instance of a subclass, made for the trace, that has the object's own `__dict__` and
substitutes what is read from it. `isinstance`, `super()`, properties, class and static methods and special
methods such as `__call__` mean what they meant. The subclass stands for the user's class wherever the trace
meets that, so that objects made in the trace, and what class methods get, are views too.

What the trace assigns to attributes stays when it is over, except for traced values, which mean nothing
then: these are an error, and the attribute gets back what it had.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gradc.trace import tree
from gradc.trace.classes import View, class_of, metaclass_of, viewable
from gradc.trace.watch import Watch

if TYPE_CHECKING:
    from gradc.trace.copying import Substitution

_MISSING: Any = object()
_NOT_COPIED = {"__new__", "__del__", "__init_subclass__", "__class_getitem__", "__subclasshook__"}


class Objects:
    """The views of one trace."""

    def __init__(self, substitute: Substitution) -> None:
        self.substitute = substitute
        self.home = ""
        """The package of the traced function."""
        self._classes: dict[type, type | None] = {}
        self._fresh: dict[int, Any] = {}
        self._names: dict[int, str] = {}
        self._given: set[int] = set()
        """The attributes of objects that were there before the trace, by identity: `watch` keeps them."""
        self.watch = Watch(substitute.restore)

    def view(self, obj: Any, name: str | None) -> Any:
        """The view of an object; the object itself if it is none to be viewed."""
        made = self.stand_in(type(obj))
        if made is type(obj):
            return obj
        view = object.__new__(made)
        own = object.__getattribute__(obj, "__dict__")
        object.__setattr__(view, "__dict__", own)
        if name is not None:
            self._names[id(own)] = name
        if id(obj) not in self._fresh:
            self._given.add(id(own))
            self.watch.attributes(type(obj), own)
        return view

    def stand_in(self, cls: type) -> type:
        """The class of the views of `cls` objects; `cls` itself if there are none."""
        if cls not in self._classes:
            self._classes[cls] = None
            if View not in cls.__mro__ and viewable(cls, self.home):
                self._make_class(cls)
        return self._classes[cls] or cls

    def original(self, view: Any) -> Any:
        """An object of the user's class for a view that stands for none: one that the trace itself made."""
        if class_of(view) is type(view):
            return view
        obj = object.__new__(class_of(view))
        object.__setattr__(obj, "__dict__", object.__getattribute__(view, "__dict__"))
        return obj

    def arguments(self, args: Any) -> Any:
        """A tree that was put together for the trace, its dataclasses as views: these may keep tracers."""
        count = len(self._fresh)
        pending = [args]
        while pending:
            x = pending.pop()
            if isinstance(x, list | tuple):
                pending.extend(x)
            elif isinstance(x, dict):
                pending.extend(x.values())
            elif hasattr(type(x), "__dataclass_fields__") and View not in type(x).__mro__:
                self._fresh[id(x)] = x
                pending.extend(getattr(x, "__dict__", {}).values())
        return args if len(self._fresh) == count else self.substitute(args)

    # The class of views.

    def _make_class(self, cls: type) -> None:
        namespace: dict[str, Any] = {
            "__slots__": (),
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "__doc__": cls.__doc__,
            "_stands_for": cls,
            "__getattribute__": _as_function(self.get),
            "__setattr__": _as_function(self.set),
            "__del__": lambda view: None,  # only the end of the object itself is its end
        }
        try:
            made = metaclass_of(cls, self.get_of_class, self.substitute.restore)(
                cls.__name__, (View, cls), namespace
            )
            if not inspect.isabstract(cls):
                object.__new__(made)
        except TypeError:
            return
        self._classes[cls] = made
        # Afterwards: what the copies refer to may be objects of this very class.
        for base in cls.__mro__[:-1]:
            for name, function in list(vars(base).items()):
                special = name[:2] == name[-2:] == "__" and name not in _NOT_COPIED
                if special and type(function) is types.FunctionType and name not in vars(made):
                    type.__setattr__(made, name, self.substitute(function))
                elif name == "__hash__" and name not in vars(made):
                    type.__setattr__(made, name, function)

    # Attributes.

    def get(self, view: Any, name: str) -> Any:
        """An attribute of a view, substituted."""
        if name == "__class__":
            return type(view)
        own = object.__getattribute__(view, "__dict__")
        if name == "__dict__":
            if id(own) not in self._given:
                return own
            return {key: self._seen(value, view, key) for key, value in own.items()}
        found = _static(type(view).__mro__, name)
        value = self._described(view, found, name, own)
        return self._seen(object.__getattribute__(view, name), view, name) if value is _MISSING else value

    def get_of_class(self, made: type, name: str) -> Any:
        """An attribute of what stands for a class, substituted."""
        cls = tree.stands_for(made)
        found = _static(cls.__mro__, name)
        if isinstance(found, staticmethod):
            return self.substitute(found.__func__)
        if isinstance(found, classmethod):
            return types.MethodType(self.substitute(found.__func__), made)
        if cls is made or found is _MISSING:
            return type.__getattribute__(made, name)
        return self.substitute(getattr(cls, name), name)

    def get_above(self, view: Any, start: type, name: str) -> Any:
        """An attribute of `super(start, view)`."""
        start = tree.stands_for(start)
        mro = type(view).__mro__
        value = self._described(view, _static(mro[mro.index(start) + 1 :], name), name, {})
        return self.substitute(getattr(super(start, view), name), name) if value is _MISSING else value

    def set(self, view: Any, name: str, value: Any) -> None:
        """Assign to an attribute, by a property or `__setattr__` of the user's if there is one."""
        found = _static(type(view).__mro__, name)
        if isinstance(found, property) and found.fset is not None:
            self.substitute(found.fset)(view, value)
            return
        users = tuple([cls for cls in type(view).__mro__ if tree.stands_for(cls) is cls])
        setter = _static(users, "__setattr__")
        if isinstance(setter, types.FunctionType):
            self.substitute(setter)(view, name, value)
        else:
            object.__setattr__(view, name, value)
        self.watch.assigned(object.__getattribute__(view, "__dict__"), name)

    def _described(self, view: Any, found: Any, name: str, own: dict[str, Any]) -> Any:
        """What a descriptor of the class gives, where it would call the original of a function."""
        if isinstance(found, property):
            return _MISSING if found.fget is None else self.substitute(found.fget)(view)
        if name in own:
            return _MISSING
        if type(found) is types.FunctionType:
            return types.MethodType(self.substitute(found), view)
        if isinstance(found, functools.cached_property):
            value = self.substitute(found.func)(view)
            shared = object.__getattribute__(view, "__dict__")
            self.watch.cached(shared, name)
            shared[name] = value
            return value
        if isinstance(found, classmethod) and isinstance(found.__func__, types.FunctionType):
            return types.MethodType(self.substitute(found.__func__), type(view))
        getter = getattr(type(found), "__get__", None)
        if isinstance(getter, types.FunctionType) and viewable(type(found), self.home):
            return self.substitute(getter)(self.substitute(found), view, type(view))
        return _MISSING

    def _seen(self, value: Any, view: Any, name: str) -> Any:
        own = object.__getattribute__(view, "__dict__")
        owner = self._names.get(id(own))
        new = self.substitute(value, f"{owner}.{name}" if owner else name)
        if name in own and id(own) in self._given:
            self.watch.containers(value, new, class_of(view), name)
        return new


def _as_function(method: Callable[..., Any]) -> Callable[..., Any]:
    """The bound method as a function, which binds again when it is found in a class."""
    return lambda *args: method(*args)  # noqa: PLW0108


def _static(mro: tuple[type, ...], name: str) -> Any:
    """What the first of these classes that has the name holds under it."""
    for cls in mro:
        if name in cls.__dict__:
            return cls.__dict__[name]
    return _MISSING


class _Super:
    """`super()` of a view."""

    def __init__(self, objects: Objects, view: Any, start: type) -> None:
        object.__setattr__(self, "_of", (objects, view, start))

    def __getattribute__(self, name: str) -> Any:
        objects, view, start = object.__getattribute__(self, "_of")
        return objects.get_above(view, start, name)


def super_in(objects: Objects) -> Callable[..., Any]:
    """The builtin `super` for copied methods, which knows views."""

    def super_of(*args: Any) -> Any:
        builtin: Any = super
        if not args:
            frame = sys._getframe(1)
            variables, code = frame.f_locals, frame.f_code
            if "__class__" not in variables or not code.co_argcount:
                raise RuntimeError("super(): no arguments")
            args = variables["__class__"], variables[code.co_varnames[0]]
        if len(args) == 2 and View in type(args[1]).__mro__:
            return _Super(objects, args[1], args[0])
        return builtin(*args)

    return super_of
