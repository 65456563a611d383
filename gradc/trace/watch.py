"""What a trace leaves in the user's objects: what it assigned, and nothing that is traced."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gradc.ir import Source, TraceError
from gradc.trace import tree
from gradc.trace.classes import View, slots_of, viewable
from gradc.trace.source import locate
from gradc.trace.tracer import Tracer

_MISSING: Any = object()
_MUTABLE = (list, dict, OrderedDict, set)


@dataclass
class _Watched:
    """What the trace may change of the user's: `own` is what the trace sees, `target` what the user has."""

    owner: type
    attribute: str | None
    target: Any
    own: Any
    before: Any
    line: Source | None = None


class _LeakError(Exception):
    """A traced value was found where none may stay."""


class Watch:
    """The attributes of the user's objects, and the containers in these, that a trace has read.

    `restore` gives the object that something stands for in the trace.
    """

    def __init__(self, restore: Callable[[Any], Any]) -> None:
        self.restore = restore
        self._watched: list[_Watched] = []
        self._known: set[int] = set()
        self._lines: dict[tuple[int, str], Source | None] = {}
        self._cached: set[tuple[int, str]] = set()

    def attributes(self, owner: type, own: dict[str, Any]) -> None:
        """Keep what the attributes of an object of the class `owner` are now."""
        self._watched.append(_Watched(owner, None, own, own, dict(own)))

    def assigned(self, own: dict[str, Any], name: str) -> None:
        """The user's line that runs now assigns to an attribute."""
        self._lines[id(own), name] = locate()

    def cached(self, own: dict[str, Any], name: str) -> None:
        """The attribute is only there to save time: losing it is no error."""
        self._cached.add((id(own), name))

    def containers(self, value: Any, new: Any, owner: type, attribute: str) -> None:
        """Keep what a container of the user's holds now, seen as `new`, and the containers in it."""
        pending = [(value, new)]
        while pending:
            x, y = pending.pop()
            if id(x) in self._known or type(x) not in (*_MUTABLE, tuple) or type(y) is not type(x):
                continue
            self._known.add(id(x))
            if type(x) is not tuple:
                self._watched.append(_Watched(owner, attribute, x, y, y.copy(), locate()))
            if isinstance(x, dict):
                pending.extend(zip(x.values(), y.values(), strict=False))
            elif type(x) is not set:
                pending.extend(zip(x, y, strict=False))

    def settle(self) -> TraceError | None:
        """Give the user's objects what was assigned to them. Traced values are undone; gives their error."""
        error = None
        for item in self._watched:
            if _same(item.own, item.before):
                continue
            if item.attribute is None:
                error = self._settle_attributes(item) or error
                continue
            try:
                content = _restored(item.own.copy(), self.restore)
            except _LeakError as leak:
                error = error or _leak_error(item, item.attribute, leak, item.line)
                content = item.before if item.own is item.target else None
            if content is not None:
                _refill(item.target, content)
        return error

    def _settle_attributes(self, item: _Watched) -> TraceError | None:
        error = None
        for name, value in list(item.own.items()):
            old = item.before.get(name, _MISSING)
            if value is old:
                continue
            try:
                item.own[name] = _restored(value, self.restore)
            except _LeakError as leak:
                if old is _MISSING:
                    del item.own[name]
                else:
                    item.own[name] = old
                if (id(item.own), name) not in self._cached:
                    error = error or _leak_error(item, name, leak, self._lines.get((id(item.own), name)))
        return error

    def result(self, leaf: Any) -> Any:
        """What the caller gets for a static leaf of the result; traced values in it are left to be found."""
        try:
            return _restored(leaf, self.restore)
        except _LeakError:
            return self.restore(leaf)

    def undo(self) -> None:
        """Give the user's objects back what they held: the trace starts again."""
        for item in self._watched:
            if item.own is item.target and not _same(item.own, item.before):
                _refill(item.target, item.before)


def _leak_error(item: _Watched, attribute: str, leak: _LeakError, line: Source | None) -> TraceError:
    where = f"the attribute {attribute} of a {item.owner.__name__}"
    instead = f"return it as a result too, and assign the attribute {attribute} outside of the function"
    return TraceError(
        f"a traced value ({leak}) is stored in {where}, which outlives the trace", line, instead
    )


def _same(own: Any, before: Any) -> bool:
    if len(own) != len(before):
        return False
    if type(own) is set:
        return own == before
    if isinstance(own, dict):
        return all(a is b for a, b in zip(own.values(), before.values(), strict=True)) and all(
            a is b for a, b in zip(own, before, strict=True)
        )
    return all(a is b for a, b in zip(own, before, strict=True))


def _refill(target: Any, content: Any) -> None:
    target.clear()
    target.extend(content) if type(target) is list else target.update(content)


def _restored(value: Any, restore: Callable[[Any], Any], seen: dict[int, Any] | None = None) -> Any:
    """The value with originals in place of what stands for them, also in containers and new objects.

    Errors: `_LeakError` for traced values.
    """
    seen = {} if seen is None else seen
    if id(value) not in seen:
        seen[id(value)] = value  # for what holds itself
        seen[id(value)] = _restored_now(value, restore, seen)
    return seen[id(value)]


def _restored_now(value: Any, restore: Callable[[Any], Any], seen: dict[int, Any]) -> Any:
    cls = type(value)
    if cls is Tracer and value.traced:
        raise _LeakError(str(value.type))
    if (original := restore(value)) is not value:
        if View not in cls.__mro__:
            return original if tree.stands_for(cls) is cls else _with_restored_parts(original, restore, seen)
        value, cls = original, type(original)
    if cls in (list, set):
        return _kept(value, cls([_restored(x, restore, seen) for x in value]))
    if cls is tuple:
        return _kept(value, tuple([_restored(x, restore, seen) for x in value]))
    if cls in (dict, OrderedDict):
        new = cls((_restored(k, restore, seen), _restored(x, restore, seen)) for k, x in value.items())
        return value if _same(value, new) else new
    if viewable(cls):  # made in the trace, or untouched by it
        own = value.__dict__
        for name, x in list(own.items()):
            if (new := _restored(x, restore, seen)) is not x:
                own[name] = new
    return value


def _with_restored_parts(obj: Any, restore: Callable[[Any], Any], seen: dict[int, Any]) -> Any:
    """A named tuple, or an object with slots."""
    if isinstance(obj, tuple):
        items = [_restored(x, restore, seen) for x in obj]
        return _kept(obj, tuple.__new__(type(obj), items))
    for name in slots_of(type(obj)):
        if hasattr(obj, name):
            object.__setattr__(obj, name, _restored(getattr(obj, name), restore, seen))
    return obj


def _kept(value: Any, new: Any) -> Any:
    """The container itself, unless something in it was restored."""
    return value if all(a is b for a, b in zip(value, new, strict=True)) else new
