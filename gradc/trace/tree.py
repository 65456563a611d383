"""Trees of arrays: taken apart into leaves and a tree definition, and put together again.

A tree is made of tuples, lists, dicts, NamedTuples and dataclasses (and of `OrderedDict`, `defaultdict`
and `deque`); everything else is a leaf, `None` too. The walk is optree's; this module adds what that leaves
open:

- A dict's leaves come in the order in which its keys were inserted, and that order is part of the tree
  definition: a function may iterate over `params.values()`, so it is part of what the function means. In
  `map`, the keys of the further trees may come in any order.
- A dataclass is a tree of its fields as soon as an instance is seen, with nothing to register. It is rebuilt
  without `__init__` or `__post_init__`, which may demand more than a tree of types or gradients can give;
  attributes that are no fields (a `cached_property`, say) are not carried over. A field without a value
  stays so.
"""

from __future__ import annotations

import atexit
import builtins
import dataclasses
import functools
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import numpy as np
import optree

__all__ = [
    "TreeDef",
    "flatten",
    "flatten_up_to",
    "leaf_type",
    "map",
    "paths",
    "snapshot",
    "structure",
    "unflatten",
]

TreeDef = optree.PyTreeSpec
"""The structure of a tree: hashable, compared by value, and knows its NamedTuple and dataclass types."""

_NAMESPACE = "gradc"

# optree sorts the keys of a dict unless told otherwise, by a context manager that sets a mode of the
# namespace. It is entered until the interpreter ends: collected any later, it would complain to the user.
_insertion_order = ExitStack()
_insertion_order.enter_context(optree.dict_insertion_ordered(True, namespace=_NAMESPACE))
atexit.register(_insertion_order.close)

# Types known not to be dataclasses of the user's: `flatten` looks no further at leaves of these types.
_leaf_types: set[type] = {type(None), bool, int, float, complex, str, bytes, np.ndarray}
_leaf_types.update(np.dtype(code).type for code in "?bhilqBHILQefdgFDG")
_MAPPINGS = dict, OrderedDict, defaultdict
_registered: set[type] = set()
_registering = threading.Lock()


class StandIn:
    """The base of classes made for a trace: one that has a `_stands_for` stands for that class.

    In a tree, what stands for a dataclass instance is such an instance, with the fields that it gives.
    """

    __slots__ = ()


def stands_for(cls: type) -> type:
    """The class that `cls` stands for in a trace: mostly `cls` itself."""
    return vars(cls).get("_stands_for", cls)


def flatten(tree: Any) -> tuple[list[Any], TreeDef]:
    """The leaves of `tree` from left to right, and its structure."""
    while True:
        leaves, treedef = optree.tree_flatten(tree, None, none_is_leaf=True, namespace=_NAMESPACE)
        if _leaf_types.issuperset(builtins.map(type, leaves)):
            return leaves, treedef
        unknown = {type(leaf) for leaf in leaves} - _leaf_types
        if any(stands_for(cls) is not cls and dataclasses.is_dataclass(cls) for cls in unknown):
            tree = treedef.unflatten(builtins.map(_stood_for, leaves))
            continue
        # A list: every type is to be registered, not only the first.
        if not any([_register(cls) for cls in unknown if dataclasses.is_dataclass(cls)]):
            return leaves, treedef


def snapshot(tree: Any) -> Any:
    """The tree with the same leaves in lists, dicts and deques of its own, which nobody else can change.

    Each container is copied in one step. Dataclass instances stay the same objects: of what their fields
    hold, every walk takes a snapshot.
    """
    cls = type(tree)
    if cls in _leaf_types:
        return tree
    if cls is tuple:
        return tuple(builtins.map(snapshot, tree))
    if cls in _MAPPINGS:
        own = tree.copy()
        for key, value in own.items():
            own[key] = snapshot(value)
        return own
    if cls is list or cls is deque:
        own = tree.copy()
        for i, value in enumerate(own):
            own[i] = snapshot(value)
        return own
    if issubclass(cls, tuple) and optree.is_namedtuple_class(cls):
        return tuple.__new__(cls, builtins.map(snapshot, tree))
    return tree


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Any:
    """The tree of structure `treedef` with the given leaves: the inverse of `flatten`.

    Raises:
        ValueError: if there are more or fewer leaves than the structure has.
    """
    return treedef.unflatten(leaves)


def flatten_up_to(treedef: TreeDef, tree: Any) -> list[Any]:
    """What `tree` holds where a tree of structure `treedef` has its leaves.

    Raises:
        ValueError: if `tree` lacks that structure.
    """
    try:
        return treedef.flatten_up_to(tree)
    except ValueError:
        leaves, found = flatten(tree)
        return treedef.flatten_up_to(unflatten(found, leaves))  # without what stands in for something


def structure(tree: Any) -> TreeDef:
    """The structure of `tree`."""
    return flatten(tree)[1]


def map(fn: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """A tree like `tree` that holds `fn(leaf, *what the other trees hold there)` in place of each leaf.

    The other trees have at least the structure of the first one; where that has a leaf, they may hold a
    subtree.

    Raises:
        ValueError: if another tree lacks the structure of the first one.
    """
    leaves, treedef = flatten(tree)
    columns = [flatten_up_to(treedef, other) for other in others]
    return treedef.unflatten(builtins.map(fn, leaves, *columns))


def paths(tree: Any) -> list[str]:
    """For each leaf, how it is written after the name of the tree, as in Python source.

    `.W1` for an attribute and for a key that is an identifier, `[0]` for an index, `['odd key']` for any
    other key, and nothing for a tree that is a leaf itself. `tree` may also be a tree definition.
    """
    return list(_paths(tree if isinstance(tree, TreeDef) else structure(tree)))


@functools.lru_cache(64)
def _paths(treedef: TreeDef) -> tuple[str, ...]:
    return tuple(["".join(builtins.map(_step, accessor)) for accessor in treedef.accessors()])


def leaf_type(cls: type) -> type:
    """Declare that instances of `cls` are leaves, though it is a dataclass; usable as a decorator."""
    _leaf_types.add(cls)
    return cls


def _step(entry: optree.PyTreeEntry) -> str:
    if isinstance(entry, optree.MappingEntry) and isinstance(entry.key, str) and entry.key.isidentifier():
        return f".{entry.key}"
    return entry.codify("")


def _stood_for(leaf: Any) -> Any:
    """A dataclass instance in place of what stands for one; other leaves as they are."""
    cls = stands_for(type(leaf))
    if cls is type(leaf) or not dataclasses.is_dataclass(cls):
        return leaf
    values, names, _ = _fields_of(tuple(field.name for field in dataclasses.fields(cls)))(leaf)
    return _rebuild(cls)(names, values)


def _register(cls: Any) -> bool:
    """Make instances of the dataclass `cls` trees; whether `flatten` has to look again."""
    with _registering:
        if cls in _registered:  # by another thread, since the tree was flattened
            return True
        try:
            object.__new__(cls)
        except TypeError:  # a kind of array, tuple or exception: it cannot be rebuilt from its fields
            leaf_type(cls)
            return False
        names = tuple(field.name for field in dataclasses.fields(cls))
        optree.register_pytree_node(
            cls,
            _fields_of(names),
            _rebuild(cls),
            path_entry_type=optree.GetAttrEntry,
            namespace=_NAMESPACE,
        )
        _registered.add(cls)
        return True


def _fields_of(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, tuple[str, ...], tuple[str, ...]]]:
    def fields_of(instance: Any) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
        try:
            return [snapshot(getattr(instance, name)) for name in names], names, names
        except AttributeError:
            present = tuple(name for name in names if hasattr(instance, name))
            return [snapshot(getattr(instance, name)) for name in present], present, present

    return fields_of


def _rebuild(cls: type) -> Callable[[Any, Iterable[Any]], Any]:
    def rebuild(names: Any, values: Iterable[Any]) -> Any:
        instance = object.__new__(cls)
        for name, value in zip(names, values, strict=True):
            object.__setattr__(instance, name, value)  # also where the dataclass is frozen
        return instance

    return rebuild
