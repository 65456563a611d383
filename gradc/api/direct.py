"""Calls of trees in one step: a function written for one tree of arguments and one tree of results.

Walking trees that may be anything takes longer than many a compiled function. The text made here for
`f({"w": w, "b": b}, x)` does what the walk would do for this tree and no other:

    def call(*arguments):
        if len(arguments) != 2: return MISS
        v1, v2 = arguments
        if type(v1) is not dict or tuple(v1) != c0: return MISS
        v3, v4 = v1.values()
        result = entry(v3, v4, v2)
        if result is MISS: return MISS
        r0, r1, r2 = result
        return (r0, {c1: r1, c2: r2})
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gradc.api.program import Output, Template
from gradc.runtime.entry_spec import MISS, Entry
from gradc.trace import tree

Call = Callable[..., Any]

DEPTH = 50
"""Of brackets in an expression; Python allows 200."""


def direct_call(
    arguments: tree.TreeDef,
    entry: Entry,
    traced: Sequence[int],
    accepts: Callable[[Sequence[Any]], bool] | None,
    results: Template | None,
    count: int,
) -> Call | None:
    """A function of positional arguments that gives the result of a call, or `MISS` for other arguments.

    `arguments` is the structure of `(args, {})`, `traced` says which of its leaves `entry` takes, and
    `accepts`, if there is any, whether all the leaves are right. The entry gives the result itself, or, with
    `results`, a flat tuple of `count` outputs that this tree holds. None for arguments in other containers
    than dicts, lists, tuples, NamedTuples and dataclasses.
    """
    writer = _Writer()
    try:
        leaves = writer.take(arguments.children()[0])
    except LookupError:
        return None
    if accepts is not None:
        writer.use("accepts", accepts)
        writer.check(f"not accepts(({_list(leaves)}))")
    writer.use("entry", entry)
    writer.line(f"result = entry({', '.join([leaves[i] for i in traced])})")
    if results is None:
        writer.line("return result")
    else:
        writer.check("result is MISS")
        writer.line(f"return {writer.give(results, count)}")
    return writer.function()


def _list(names: Sequence[str]) -> str:
    """Names as the elements of a tuple, or its targets."""
    return "".join([f"{name}, " for name in names])


class _Writer:
    """The lines of a function in the making, and the objects that they name."""

    def __init__(self) -> None:
        self.lines = ["def call(*arguments):"]
        self.scope: dict[str, Any] = {"MISS": MISS}
        self._numbers: Iterator[int] = itertools.count()

    def line(self, text: str) -> None:
        self.lines.append(f"    {text}")

    def check(self, wrong: str) -> None:
        self.line(f"if {wrong}: return MISS")

    def use(self, name: str, value: Any) -> None:
        self.scope[name] = value

    def constant(self, value: Any) -> str:
        name = f"c{next(self._numbers)}"
        self.scope[name] = value
        return name

    def function(self) -> Call:
        # Errors of the call itself pass through: this file's name marks the frame as ours.
        exec(compile("\n".join(self.lines), __file__, "exec"), self.scope)
        return self.scope["call"]

    def take(self, arguments: tree.TreeDef) -> list[str]:
        """Write the checks and the unpacking of a tuple of trees; the names of the leaves.

        Errors: `LookupError` for a container that cannot be taken apart in a line.
        """
        leaves: list[str] = []
        pending = [("arguments", arguments)]
        while pending:
            name, node = pending.pop()
            if node.is_leaf():
                leaves.append(name)
                continue
            children = node.children()
            names = [f"v{next(self._numbers)}" for _ in children]
            self._unpack(name, node, names)
            pending.extend(reversed(list(zip(names, children, strict=True))))
        return leaves

    def _unpack(self, name: str, node: tree.TreeDef, names: list[str]) -> None:
        cls, entries = node.type, node.entries()
        if name != "arguments":
            self.check(f"type({name}) is not {self.constant(cls)}")
        if cls is dict:
            self.check(f"tuple({name}) != {self.constant(tuple(entries))}")
            name = f"{name}.values()"
        elif cls in (tuple, list):
            self.check(f"len({name}) != {len(names)}")
        elif dataclasses.is_dataclass(cls) and entries == [field.name for field in dataclasses.fields(cls)]:
            if names:
                self.line("try:")
                self.line(f"    {_list(names)} = {_list([f'{name}.{field}' for field in entries])}")
                self.line("except AttributeError: return MISS")
            return
        elif not (isinstance(cls, type) and issubclass(cls, tuple) and cls.__iter__ is tuple.__iter__):
            raise LookupError
        if names:
            self.line(f"{_list(names)} = {name}")

    def give(self, results: Template, count: int) -> str:
        """Write the unpacking of the flat result; the expression that puts it together."""
        names = [f"r{i}" for i in range(count)]
        if names:
            self.line(f"{_list(names)} = result")
        leaves = [names[x.number] if type(x) is Output else self.constant(x) for x in results.leaves]
        try:
            return self._built(results.treedef, iter(leaves))
        except LookupError:
            # Any other container, by the walk.
            return f"{self.constant(results.treedef)}.unflatten(({_list(leaves)}))"

    def _built(self, node: tree.TreeDef, leaves: Iterator[str], depth: int = 0) -> str:
        """The expression for a tree of dicts, lists and tuples. Errors: `LookupError` for other ones."""
        if node.is_leaf():
            return next(leaves)
        if depth == DEPTH:
            raise LookupError
        parts = [self._built(child, leaves, depth + 1) for child in node.children()]
        if node.type is dict:
            pairs = zip(node.entries(), parts, strict=True)
            return f"{{{', '.join([f'{self.constant(key)}: {part}' for key, part in pairs])}}}"
        if node.type in (tuple, list):
            return f"({_list(parts)})" if node.type is tuple else f"[{_list(parts)}]"
        raise LookupError
