"""Trees as native calls take and give them: the form of a signature's arguments, the structure of results."""

from __future__ import annotations

import dataclasses
import enum
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from inspect import Parameter
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gradc.api.program import Output, Template
from gradc.api.signature import BY_VALUE, Parameters
from gradc.runtime.entry_spec import MISS, Container, Fixed, Form, Tree
from gradc.trace import tree

if TYPE_CHECKING:
    from gradc.runtime.entry_spec import Structure

DEPTH = 100
"""Deeper trees are put together by the walk."""

CONSTANT = (
    np.dtype,
    np.ufunc,
    types.BuiltinFunctionType,
    types.ModuleType,
    enum.Enum,
    range,
    frozenset,
    type,
)
"""Types of static leaves that stay equal to themselves: the object itself is always right."""


def form_of(
    parameters: Parameters,
    arguments: tree.TreeDef,
    leaves: Iterable[tuple[int | None, Any, bool]],
) -> Form | None:
    """The form of calls with one structure of `(args, kwargs)`; None if only a walk can tell them.

    Of each leaf: which input it is, or None; what it was in a call; and whether its value belongs to the
    signature.
    """
    args, kwargs = arguments.children()
    rest = iter(leaves)
    try:
        parts = [_argument(node, rest) for node in (*args.children(), *kwargs.children())]
    except LookupError:
        return None
    by_position, by_name = len(args.children()), kwargs.entries()
    known = {p.name: p for p in parameters.signature.parameters.values()}
    names: list[str | None] = [
        name if known[name].kind is not Parameter.POSITIONAL_ONLY else None for name in parameters.positional
    ]
    # Where there are fewer than the function has, it has no signature of its own, only `*args`.
    names = [*names, *[None] * (by_position - len(names))][:by_position]
    defaults = [known[name].default for name in parameters.positional][:by_position]
    defaults += [Parameter.empty] * (by_position - len(defaults))
    count = sum(name in parameters.by_name for name in by_name)
    if by_name[:count] != parameters.by_name:
        return None
    names += by_name
    defaults += [*parameters.named_defaults, *[Parameter.empty] * (len(by_name) - count)]
    return Form(
        tuple(parts),
        tuple(names),
        tuple([MISS if default is Parameter.empty else default for default in defaults]),
        by_position,
        by_position + count,
    )


def _argument(node: tree.TreeDef, leaves: Iterator[tuple[int | None, Any, bool]], depth: int = 0) -> Tree:
    """What a call has in one place. Errors: `LookupError` for what cannot be told without Python."""
    if node.is_leaf():
        position, leaf, valued = next(leaves)
        if position is None:
            return fixed(leaf)
        return Fixed(float(leaf), "bits", position) if valued else position
    cls, entries = cast(type, node.type), node.entries()
    if not _is_plain(cls, entries) or depth == DEPTH:
        raise LookupError
    keys = () if cls is list or issubclass(cls, tuple) else tuple(entries)
    return Container(cls, keys, tuple([_argument(child, leaves, depth + 1) for child in node.children()]))


def fixed(leaf: Any) -> Fixed:
    """How a static leaf is compared. Errors: `LookupError` where that would run code of the user's."""
    cls = type(leaf)
    if cls in BY_VALUE:
        return Fixed(leaf, "equal")
    if isinstance(leaf, CONSTANT):
        return Fixed(leaf, "is")
    if cls.__hash__ is object.__hash__ and cls.__eq__ is object.__eq__:
        try:
            return Fixed(weakref.ref(leaf), "alive")
        except TypeError:
            return Fixed(leaf, "is")
    raise LookupError


def _is_plain(cls: Any, entries: list[Any]) -> bool:
    """Whether a container is read item by item, key by key or field by field."""
    if cls in (tuple, list, dict):
        return True
    if dataclasses.is_dataclass(cls):
        return entries == [field.name for field in dataclasses.fields(cls)]
    return _is_named_tuple(cls) and cls.__iter__ is tuple.__iter__


def _is_named_tuple(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def structure_of(results: Template) -> Structure:
    """The structure of a tree of results."""
    leaves = [x.number if type(x) is Output else Fixed(x) for x in results.leaves]
    try:
        return _result(results.treedef, iter(leaves))
    except LookupError:
        # Another container than most, by the walk.
        return Container(tuple, (), tuple(leaves), results.treedef.unflatten)


def _result(node: tree.TreeDef, leaves: Iterator[Tree], depth: int = 0) -> Tree:
    if node.is_leaf():
        return next(leaves)
    cls, entries = cast(type, node.type), node.entries()
    if not _is_plain(cls, entries) or depth == DEPTH:
        raise LookupError
    parts = tuple([_result(child, leaves, depth + 1) for child in node.children()])
    make: Callable[[Any], Any] | None = None
    if _is_named_tuple(cls) and cls.__bases__ != (tuple,):  # perhaps with a `__new__` of its own
        make = cast(Any, cls)._make
    keys = () if cls is list or issubclass(cls, tuple) else tuple(entries)
    return Container(cls, keys, parts, make)
