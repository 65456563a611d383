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
from gradc.trace.classes import View, class_of, copyable, metaclass_of, slots_of, viewable, with_copies
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
        if View not in made.__mro__ or made is type(obj):
            return self._copied(made, obj) if id(obj) in self._fresh else obj
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
        """What stands for a class: one of views, or one with copied methods; else `cls` itself."""
        if cls not in self._classes:
            self._classes[cls] = None
            if tree.StandIn not in cls.__mro__:
                if viewable(cls, self.home):
                    self._make_class(cls)
                elif copyable(cls, self.home):
                    self._make_copy(cls)
        return self._classes[cls] or cls

    def _make_copy(self, cls: type) -> None:
        """A class with copied methods, whose objects are not views: the trace made all that is in them."""
        meta = metaclass_of(cls, self.get_of_class, self.substitute.restore)
        namespace = {"__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__}
        made = meta(cls.__name__, (cls,), {**namespace, "__doc__": cls.__doc__, "_stands_for": cls})
        self._classes[cls] = made
        # Afterwards: what the copies refer to may be this very class.
        for name, value in with_copies(cls, self.substitute).items():
            type.__setattr__(made, name, value)

    @staticmethod
    def _copied(made: type, obj: Any) -> Any:
        """A dataclass with slots, made for the trace, as an object of the class with copied methods."""
        new = object.__new__(made)
        for name in obj.__dataclass_fields__:
            if hasattr(obj, name):
                object.__setattr__(new, name, getattr(obj, name))
        return new

    def original(self, view: Any) -> Any:
        """An object of the user's class for a view that stands for none: one that the trace itself made."""
        cls = class_of(view)
        if cls is type(view):
            return view
        if isinstance(view, tuple):
            return tuple.__new__(cls, view)
        obj = object.__new__(cls)
        if View not in type(view).__mro__:
            for name in slots_of(cls):
                if hasattr(view, name):
                    object.__setattr__(obj, name, getattr(view, name))
            return obj
        object.__setattr__(obj, "__dict__", object.__getattribute__(view, "__dict__"))
        return obj

    def arguments(self, args: Any) -> Any:
        """A tree that was put together for the trace, its dataclasses as views: these may keep tracers."""
        count, named = len(self._fresh), False
        pending = [args]
        while pending:
            x = pending.pop()
            named = named or (isinstance(x, tuple) and self.stand_in(type(x)) is not type(x))
            if isinstance(x, list | tuple):
                pending.extend(x)
            elif isinstance(x, dict):
                pending.extend(x.values())
            elif hasattr(type(x), "__dataclass_fields__") and View not in type(x).__mro__:
                self._fresh[id(x)] = x
                pending.extend(getattr(x, "__dict__", {}).values())
        return self.substitute(args) if named or len(self._fresh) > count else args

    def returned(self, x: Any) -> Any:
        """A result with named tuples of the user's classes; what stands for dataclasses, trees know."""
        if not any(issubclass(cls, tuple) for cls in self._classes):
            return x
        if type(x) is dict:
            return {key: self.returned(value) for key, value in x.items()}
        if type(x) in (list, tuple):
            return type(x)([self.returned(value) for value in x])
        if isinstance(x, tuple) and hasattr(x, "_fields"):
            return tuple.__new__(class_of(x), [self.returned(value) for value in x])
        return x

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
            return _Attributes(own, {key: self._seen(value, view, key) for key, value in own.items()})
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


class _Attributes(dict[str, Any]):
    """Attributes of an object that was there before the trace, substituted; what is written goes to it."""

    def __init__(self, own: dict[str, Any], seen: dict[str, Any]) -> None:
        super().__init__(seen)
        self._own = own

    def __setitem__(self, name: str, value: Any) -> None:
        self._own[name] = value
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        del self._own[name]
        super().__delitem__(name)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name: str, *default: Any) -> Any:
        self._own.pop(name, *default)
        return super().pop(name, *default)


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
        if len(args) == 2 and any(tree.stands_for(cls) is not cls for cls in type(args[1]).__mro__):
            return _Super(objects, args[1], args[0])
        return builtin(*args)

    return super_of
