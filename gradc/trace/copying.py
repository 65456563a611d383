"""The copy of the user's function that is traced: the same code with other globals, cells and defaults.

NumPy's protocols do not reach `np.array([x, y])`, `np.eye(10)[y]` or `A.dot(x)` on a captured array `A`,
so a copy of the function runs that sees, in place of NumPy's functions, ours; in place of modules, views of
them; in place of captured arrays, tracers; in place of the user's own helpers, copies; and in place of the
user's objects, views (`gradc.trace.objects`). Substitution goes by the identity of the objects, when a name
is looked up, and is remembered for the whole trace.
"""

from __future__ import annotations

import builtins
import functools
import math
import os
import types
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir import TraceError
from gradc.trace.builtin import builtins_in
from gradc.trace.classes import class_of
from gradc.trace.mathematics import MATH
from gradc.trace.objects import Objects, super_in
from gradc.trace.registry import CLASSES, FUNCTIONS
from gradc.trace.source import fail, is_user_file
from gradc.trace.table import function
from gradc.trace.tracer import Cell, Tracer

_DISPATCHER = type(np.sum)
_PRIMITIVE = {type(None), bool, int, float, complex, str, bytes, slice, range, type(...), Tracer}
_MISSING = object()
_CACHED = type(functools.lru_cache(lambda: None))


class Globals(dict[str, Any]):
    """The globals of a module as its copied functions see them, filled as names are looked up.

    `LOAD_GLOBAL` honours `__missing__` because this is not exactly a dict; `STORE_GLOBAL` writes past it.
    """

    def __init__(self, original: dict[str, Any], substitution: Substitution) -> None:
        self.original = original
        self.substitution = substitution
        self.given: dict[str, Any] = {}
        # Read by the interpreter itself, which does not ask `__missing__`.
        for name in ("__name__", "__package__", "__spec__", "__file__"):
            if name in original:
                self.give(name, original[name])
        self.give("__builtins__", substitution.builtins(original))

    def give(self, name: str, value: Any) -> Any:
        self.given[name] = value
        self[name] = value
        return value

    def __missing__(self, name: str) -> Any:
        return self.give(name, self.substitution(self.original[name], name))

    def fill(self, code: types.CodeType) -> None:
        """Look up now what the bodies of classes in `code` use: they do not ask `__missing__` either."""
        for inner in code.co_consts:
            if isinstance(inner, types.CodeType):
                if not inner.co_flags & 1:  # CO_OPTIMIZED: not a function
                    for name in inner.co_names:
                        if name in self.original and name not in self:
                            self.__missing__(name)
                self.fill(inner)

    def write_back(self, restore: Callable[[Any], Any]) -> None:
        """Assign to the module what the copies assigned to globals."""
        for name, value in self.items():
            if self.given.get(name, _MISSING) is not value:
                self.original[name] = restore(value)


class ModuleView:
    """A module whose attributes are substituted when they are used."""

    def __init__(self, module: types.ModuleType, substitution: Substitution) -> None:
        self.__dict__.update(_module=module, _substitution=substitution)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if self._module.__name__.split(".")[:2] == ["numpy", "random"]:
            value = _random(value, name)
        value = self._substitution(value, name)
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._module, name, self._substitution.restore(value))
        self.__dict__[name] = value

    def __repr__(self) -> str:
        return repr(self._module)

    def __dir__(self) -> list[str]:
        return dir(self._module)


class CompiledView:
    """A compiled function as a trace sees it: called, it is the copy of its original; the rest is its own."""

    def __init__(self, compiled: Any, copy: Any) -> None:
        self._compiled = compiled
        self._copy = copy

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return type(self._compiled)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._copy(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)

    def __repr__(self) -> str:
        return repr(self._compiled)


def _random(value: Any, name: str) -> Any:
    """NumPy's global generator would be drawn from while tracing, once and for all calls."""
    if not isinstance(getattr(value, "__self__", None), np.random.RandomState) or name in (
        "seed",
        "get_state",
    ):
        return value

    def refuse(*args: Any, **kwargs: Any) -> Any:
        fail(
            f"np.random.{name} would draw once, when the function is traced, and not in every call",
            f"pass a key and use gradc.random, or draw outside and pass the array ({name})",
        )

    return refuse


class Substitution:
    """What stands for each object in one trace: calling it gives the substitute of an object."""

    def __init__(self) -> None:
        self._memo: dict[int, tuple[Any, Any]] = {}  # the object too, so that its id stays its own
        self._originals: dict[int, tuple[Any, Any]] = {}
        self._globals: dict[int, Globals] = {}
        self._builtins: dict[tuple[int, bool], tuple[Any, dict[str, Any]]] = {}
        self._cells: dict[int, tuple[types.CellType, types.CellType, Any]] = {}
        self._library: dict[int, tuple[Any, Any]] = {}
        self._pending: list[Callable[[], None]] = []
        self._busy = False
        self.objects = Objects(self)

    def __call__(self, obj: Any, name: str | None = None) -> Any:
        if type(obj) in _PRIMITIVE:
            return obj
        known = self._memo.get(id(obj))
        if known is not None:
            return known[1]
        new = self._substitute(obj, name)
        if id(obj) not in self._memo:
            self._remember(obj, new)
        self._finish()
        return new

    def _finish(self) -> None:
        """Fill what was put off: closures refer to functions that refer to closures, without end."""
        if not self._busy:
            self._busy = True
            try:
                while self._pending:
                    self._pending.pop()()
            finally:
                self._busy = False

    def _remember(self, obj: Any, new: Any) -> None:
        self._memo[id(obj)] = obj, new
        if new is not obj:
            self._originals[id(new)] = new, obj
            self._memo[id(new)] = new, new

    def restore(self, value: Any) -> Any:
        """The object that `value` stands for; `value` itself if it stands for none."""
        known = self._originals.get(id(value))
        if known is not None:
            return known[1]
        if type(value) is Tracer and not value.traced:
            return value.array
        if class_of(value) is not type(value):
            original = self.objects.original(value)
            self._originals[id(value)] = value, original
            return original
        return value

    def write_back(self) -> TraceError | None:
        """Hand over what the copies assigned to globals, to variables of enclosing functions and to
        attributes. Traced values are undone in attributes: the error for these."""
        for mapping in self._globals.values():
            mapping.write_back(self.restore)
        for original, copy, given in self._cells.values():
            value = _contents(copy)
            if value is not given:
                original.cell_contents = self.restore(value)
        return self.objects.watch.settle()

    # By kind of object.

    def _substitute(self, obj: Any, name: str | None) -> Any:
        cls = type(obj)
        if cls is np.ndarray:
            return Tracer(Cell(obj, name, fixed="captured")) if obj.dtype.kind in "biuf" else obj
        if cls is types.FunctionType:
            return self._function(obj, name)
        if cls in (list, tuple, dict, OrderedDict) or isinstance(obj, tuple):
            return self._container(obj, name or "captured")
        if cls is types.ModuleType or isinstance(obj, types.ModuleType):
            return self._module(obj)
        if isinstance(obj, type):
            if obj.__module__ == "numpy":
                return CLASSES.get(obj, obj)
            return self.objects.stand_in(obj)
        if cls in (np.ufunc, _DISPATCHER) or cls.__module__.startswith("scipy.special."):
            return function(obj)
        if cls is types.MethodType:
            return self._method(obj)
        if cls is types.BuiltinFunctionType:
            return self._builtin(obj)
        if obj is np.c_ or obj is np.r_:
            return FUNCTIONS[obj]
        if cls is functools.partial:
            arguments = [self(x) for x in obj.args], {k: self(v, k) for k, v in obj.keywords.items()}
            return functools.partial(self(obj.func), *arguments[0], **arguments[1])
        if cls is _CACHED:  # a cache would keep tracers for calls outside of the trace
            return self(obj.__wrapped__)
        if isinstance(obj, staticmethod | classmethod):
            return cls(self(obj.__func__))
        if cls.__module__.startswith("scipy.stats"):
            from gradc.trace.functions.distributions import distribution

            found = distribution(obj)
            if found is not None:
                return found
        original = getattr(obj, "__gradc_original__", None) if callable(obj) else None
        return self.objects.view(obj, name) if original is None else CompiledView(obj, self(original))

    def _function(self, f: types.FunctionType, name: str | None) -> Any:
        if isinstance(f.__globals__, Globals):  # made in a trace, by code that is a copy itself
            return f
        original = getattr(f, "__gradc_original__", None)
        if original is not None:
            return CompiledView(f, self(original, name))
        if f.__code__ in MATH:
            return MATH[f.__code__]
        if f in FUNCTIONS or _is_numpy(f.__module__):
            return function(f)
        return self._copied(f) if is_user_file(f.__code__.co_filename) else f

    def library(self, f: types.FunctionType) -> Any:
        """A copy of a function of NumPy's or SciPy's, which `f` itself does not stand for elsewhere."""
        if id(f) not in self._library:
            known = self._memo.pop(id(f), None)
            self._library[id(f)] = f, self._copied(f)
            self._memo.pop(id(f))
            if known is not None:
                self._memo[id(f)] = known
            self._finish()
        return self._library[id(f)][1]

    def _copied(self, f: types.FunctionType) -> types.FunctionType:
        scope = self.globals_for(f.__globals__)
        scope.fill(f.__code__)
        cells = (
            None if f.__closure__ is None else tuple(map(self._cell, f.__closure__, f.__code__.co_freevars))
        )
        copy = types.FunctionType(f.__code__, scope, f.__name__, None, cells)
        copy.__qualname__, copy.__module__, copy.__doc__ = f.__qualname__, f.__module__, f.__doc__
        copy.__dict__.update(f.__dict__)
        self._remember(f, copy)

        def defaults() -> None:
            if f.__defaults__:
                copy.__defaults__ = tuple([self(x) for x in f.__defaults__])
            if f.__kwdefaults__:
                copy.__kwdefaults__ = {k: self(v, k) for k, v in f.__kwdefaults__.items()}

        self._pending.append(defaults)
        return copy

    def globals_for(self, original: dict[str, Any]) -> Globals:
        """The one mapping of a module, shared by all copies of its functions."""
        if id(original) not in self._globals:
            self._globals[id(original)] = Globals(original, self)
        return self._globals[id(original)]

    def builtins(self, scope: dict[str, Any]) -> dict[str, Any]:
        """The builtins that a module sees, with an `__import__` that gives views.

        Those of `gradc.trace.builtin` are for the user's code only: this package and NumPy ask for types to
        tell tracers from arrays.
        """
        found = scope.get("__builtins__", builtins)
        table = vars(found) if isinstance(found, types.ModuleType) else found
        users = str(scope.get("__name__")).partition(".")[0] not in ("gradc", "numpy", "scipy")
        if (id(table), users) not in self._builtins:
            original = table.get("__import__", builtins.__import__)

            def import_view(*args: Any, **kwargs: Any) -> Any:
                return self(original(*args, **kwargs))

            own = {"__import__": import_view, "super": super_in(self.objects)}
            comparing = builtins_in(self) if users else {}
            self._builtins[id(table), users] = table, {**table, **own, **comparing}
        return self._builtins[id(table), users][1]

    def _cell(self, cell: types.CellType, name: str) -> types.CellType:
        if id(cell) in self._cells:
            return self._cells[id(cell)][1]
        copy = types.CellType()
        content = _contents(cell)
        self._cells[id(cell)] = cell, copy, content

        def fill() -> None:
            if content is not _MISSING:
                copy.cell_contents = new = self(content, name)
                self._cells[id(cell)] = cell, copy, new

        self._pending.append(fill)
        return copy

    def _method(self, obj: types.MethodType) -> Any:
        if isinstance(obj.__self__, type) or not isinstance(obj.__func__, types.FunctionType):
            bound, owner = self(obj.__func__), self(obj.__self__)
            same = bound is obj.__func__ and owner is obj.__self__
            return obj if same else types.MethodType(bound, owner)
        return types.MethodType(self(obj.__func__), self(obj.__self__))

    def _builtin(self, obj: Any) -> Any:
        if obj in MATH:
            return MATH[obj]
        owner = obj.__self__
        if type(owner) is np.ndarray:  # dot = A.dot
            return getattr(self(owner), obj.__name__)
        if type(owner) is np.ufunc:  # umr_sum = np.add.reduce, in NumPy itself
            return getattr(self(owner), obj.__name__)
        return function(obj) if obj in FUNCTIONS or _is_numpy(obj.__module__) else obj

    def _module(self, module: types.ModuleType) -> Any:
        root = module.__name__.partition(".")[0]
        if root in ("numpy", "scipy") or module is math:
            return ModuleView(module, self)
        path = getattr(module, "__file__", None)
        if path is None:  # built in, or a package that is a folder only
            path = next((os.path.join(folder, "") for folder in getattr(module, "__path__", ())), None)
        return ModuleView(module, self) if path and is_user_file(path) else module

    def _container(self, obj: Any, name: str) -> Any:
        """A copy of a list, tuple or dict in which something is substituted; else the object itself."""
        cls = type(obj)
        if cls in (dict, OrderedDict):
            new: Any = cls()
            self._memo[id(obj)] = obj, new
            for k, v in obj.items():
                new[self(k)] = self(v, f"{name}.{k}" if isinstance(k, str) else name)
            pairs = zip(new.items(), obj.items(), strict=True)
            changed = any(a is not c or b is not d for (a, b), (c, d) in pairs)
        elif cls is list:
            new = []
            self._memo[id(obj)] = obj, new
            new.extend([self(x, f"{name}[{i}]") for i, x in enumerate(obj)])
            changed = any(a is not b for a, b in zip(new, obj, strict=True))
        elif cls is tuple or hasattr(cls, "_fields"):
            items = [self(x, f"{name}[{i}]") for i, x in enumerate(obj)]
            made = self.objects.stand_in(cls)
            changed = made is not cls or any(a is not b for a, b in zip(items, obj, strict=True))
            new = tuple(items) if cls is tuple else tuple.__new__(made, items)
        else:
            return obj
        self._memo.pop(id(obj), None)
        result = new if changed else obj
        self._remember(obj, result)
        return result


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return _MISSING


def _is_numpy(module: Any) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in ("numpy", "scipy")


def copied(fn: Callable[..., Any], substitution: Substitution) -> Callable[..., Any]:
    """What to call in place of `fn`: its copy, also of the `__call__` of an object of the user's."""
    copy = substitution(fn)
    if copy is fn and not isinstance(fn, types.FunctionType | types.MethodType | type):
        method = vars(type(fn)).get("__call__")
        if isinstance(method, types.FunctionType) and is_user_file(method.__code__.co_filename):
            return types.MethodType(substitution(method), fn)
    return copy
