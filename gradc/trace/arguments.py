"""What a function does to its arguments: the arrays it writes into, the containers it changes."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from gradc.ir import Source, Value
from gradc.trace import tree
from gradc.trace.tracer import Tracer

Path = tuple[tuple[bool, Any], ...]
"""The way to a part of `(args, kwargs)`: keys and indices, and, with True, names of attributes."""


class Written(NamedTuple):
    """An array among the arguments that the function writes into: the position of the leaf, and where."""

    leaf: int
    line: Source | None
    reshaped: bool


class Own:
    """In what a container holds in the end: the part of the arguments, itself, that is at a path."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def __hash__(self) -> int:
        return hash(self.path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and self.path == other.path


class Effects(NamedTuple):
    """What a call does to its arguments.

    `leaves` and `treedef`, as in `Traced`, are those of two lists: the final elements of the arrays that are
    `written`, and what the containers at the paths `changed` hold in the end, as lists and dicts (a dict of
    attributes for a dataclass instance). `outputs` are the values among these leaves.
    """

    written: list[Written]
    changed: list[Path]
    treedef: tree.TreeDef
    leaves: list[Any]
    outputs: list[Value]


class Arguments:
    """The arguments of one trace as they were before it ran."""

    def __init__(self, given: Any) -> None:
        self.paths: dict[int, Path] = {}
        self.before: list[tuple[Path, Any, Any]] = []
        pending: list[tuple[Path, Any]] = [((), given)]
        while pending:
            path, x = pending.pop()
            if id(x) in self.paths:
                continue
            parts = _parts(x)
            if parts is None and type(x) is not Tracer:
                continue
            self.paths[id(x)] = path
            if parts is None:
                continue
            if not isinstance(x, tuple):
                self.before.append((path, x, parts))
            pending.extend([((*path, (attribute, name)), part) for (attribute, name), part in parts])

    def changed(self) -> list[tuple[Path, Any]]:
        """The containers that hold something else now, with what they hold."""
        found: list[tuple[Path, Any]] = []
        for path, x, parts in self.before:
            now = _parts(x)
            assert now is not None
            same = len(now) == len(parts) and all(
                a == b and y is z for (a, y), (b, z) in zip(now, parts, strict=True)
            )
            if not same:
                content = list(x) if isinstance(x, list | deque) else {name: y for (_, name), y in now}
                found.append((path, self._marked(content)))
        return found

    def _marked(self, x: Any) -> Any:
        """A tree with `Own` in place of what the caller passed."""
        if id(x) in self.paths:
            return Own(self.paths[id(x)])
        if type(x) is list:
            return [self._marked(y) for y in x]
        if type(x) is dict:
            return {k: self._marked(y) for k, y in x.items()}
        if type(x) is tuple:
            return tuple([self._marked(y) for y in x])
        return x


def _parts(x: Any) -> list[tuple[tuple[bool, Any], Any]] | None:
    """What a container holds, by key, index or name; None if it is none."""
    if isinstance(x, dict):
        return [((False, k), y) for k, y in x.items()]
    if isinstance(x, list | tuple | deque):
        return [((False, i), y) for i, y in enumerate(x)]
    if hasattr(type(x), "__dataclass_fields__") and not isinstance(x, type):
        try:
            own = object.__getattribute__(x, "__dict__")
        except AttributeError:
            return None
        return [((True, name), own[name]) for name in x.__dataclass_fields__ if name in own]
    return None


def at(arguments: Any, path: Path) -> Any:
    """The part of the arguments of a call that is at a path."""
    for attribute, name in path:
        arguments = getattr(arguments, name) if attribute else arguments[name]
    return arguments


def refill(target: Any, content: Any) -> None:
    """Make a container of the caller's hold what it holds in the end."""
    if isinstance(target, dict):
        target.clear()
        target.update(content)
    elif isinstance(target, list | deque):
        target.clear()
        target.extend(content)
    else:
        for name in [name for name in target.__dataclass_fields__ if name not in content]:
            vars(target).pop(name, None)
        for name, value in content.items():
            object.__setattr__(target, name, value)
