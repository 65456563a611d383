"""A function and the table of its signatures: traced once for each, on the thread that comes first."""

from __future__ import annotations

import itertools
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from gradc.api.backend import Options
from gradc.api.changes import call_and_change
from gradc.api.frames import caller, name_of
from gradc.api.program import Program
from gradc.api.signature import (
    WEAK,
    Parameters,
    check_leaf,
    is_traced,
    leaf_key,
    leaf_type,
    static_key,
)
from gradc.api.specialize import Specialization
from gradc.ir.ending import not_ended
from gradc.trace import Input, NeedStatic, Static, Traced, trace, tree

if TYPE_CHECKING:
    from gradc.runtime.entry_plan import Plan

MANY = 16
"""So many signatures that differ in one static leaf are worth a warning."""


class Function:
    """What is known of a function: its parameters, options and signatures.

    `skip` parameters (`self`) do not count in `wrt`.
    """

    def __init__(
        self, fn: Callable[..., Any], *, wrt: Any = 0, has_aux: bool = False, options: Options, skip: int = 0
    ) -> None:
        self.fn = fn
        self.wrt = wrt
        self.has_aux = has_aux
        self.options = options
        self.parameters = Parameters(fn, skip)
        self.table: dict[Hashable, Specialization] = {}
        self.splits: dict[Hashable, tuple[int, ...]] = {}
        """For a signature, the Python floats whose values the trace needs: these belong to the key too."""
        self._lock = threading.Lock()
        self._locks: dict[Hashable, threading.RLock] = {}  # pyright: ignore[reportInvalidTypeForm]
        self._variants: dict[Hashable, int] = {}
        self._warned = False

    def call(self, mode: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Plan | None]:
        """The result of one call, and the plan by which a native function takes calls like it, if one can."""
        with not_ended():
            arguments = self.parameters.bind(args, kwargs)
            leaves, treedef = tree.flatten(tree.snapshot(arguments))
            special = self.find(leaves, treedef)
            if special.changes(mode):
                return call_and_change(special, arguments, leaves), None
            result = special[mode](special.given(leaves))
            return result, special.plan(mode, self.parameters, leaves)

    def specialize(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Specialization, list[Any]]:
        """The specialization for a call, and the call's leaves."""
        with not_ended():
            leaves, treedef = tree.flatten(tree.snapshot(self.parameters.bind(args, kwargs)))
            return self.find(leaves, treedef), leaves

    def find(self, leaves: list[Any], treedef: tree.TreeDef) -> Specialization:
        """The specialization for the leaves of a call, traced if it is not there."""
        key = (treedef, *map(leaf_key, leaves))
        try:
            positions = self.splits.get(key)
            full = key if positions is None else (key, *[static_key(leaves[i]) for i in positions])
            special = self.table.get(full)
        except TypeError:  # a leaf cannot be hashed
            self.check(leaves, treedef)
            raise
        if special is None:
            self.check(leaves, treedef)
            special = self._specialize(key, leaves, treedef)
        return special

    def check(self, leaves: list[Any], treedef: tree.TreeDef) -> None:
        """See to it that all leaves can be arguments. Errors: `ArgumentError`, naming the leaf."""
        for leaf, name in zip(leaves, self.parameters.names_in(treedef), strict=True):
            check_leaf(leaf, name)

    def _specialize(
        self, key: tuple[Hashable, ...], leaves: list[Any], treedef: tree.TreeDef
    ) -> Specialization:
        with self._lock:
            lock = self._locks.setdefault(key, threading.RLock())
        with lock:
            names = self.parameters.names_in(treedef)
            while True:
                positions = self.splits.get(key, ())
                full = (key, *[static_key(leaves[i]) for i in positions]) if positions else key
                if full in self.table:  # another thread was first
                    return self.table[full]
                inputs: list[Input | Static] = [
                    Input(leaf_type(k), k is WEAK, name, float(leaf) if i in positions else None)
                    if is_traced(k)
                    else Static(leaf)
                    for i, (k, leaf, name) in enumerate(zip(key[1:], leaves, names, strict=True))
                ]
                start = time.perf_counter()
                try:
                    traced = trace(self.fn, treedef, inputs, name=name_of(self.fn))
                except NeedStatic as need:
                    more = tuple(sorted({*positions, *need.positions}))
                    assert more != positions, "the trace asks for values that it has"
                    self.splits[key] = more
                    continue
                special = self._specialization(traced, inputs, treedef, time.perf_counter() - start)
                special.program.check_result()
                self._forget_with(key, full, leaves)
                self.table[full] = special
                self._warn_of_variants(full, inputs, names)
                break
        with self._lock:
            self._locks.pop(key, None)
        return special

    def _specialization(
        self,
        traced: Traced,
        leaves: list[Input | Static],
        treedef: tree.TreeDef,
        seconds: float,
    ) -> Specialization:
        """Of the arguments, only types and places are kept."""
        count = itertools.count()
        program = Program(
            self.fn,
            self.parameters,
            self.wrt,
            self.has_aux,
            tree.unflatten(treedef, range(len(leaves))),
            [next(count) if isinstance(leaf, Input) else None for leaf in leaves],
            traced.graph,
            traced.treedef,
            traced.leaves,
            traced.escaped,
            traced.effects,
        )
        valued = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Input) and leaf.value is not None]
        return Specialization(program, self.options, treedef, valued, seconds)

    def _forget_with(self, key: tuple[Hashable, ...], full: Hashable, leaves: list[Any]) -> None:
        """Drop the specialization when a static object that it is for has died."""
        for part, leaf in zip(key[1:], leaves, strict=True):
            if isinstance(part, tuple) and isinstance(part[-1], weakref.ref):
                weakref.finalize(leaf, _forget, weakref.ref(self), full).atexit = False

    def _warn_of_variants(self, full: Any, inputs: list[Input | Static], names: list[str]) -> None:
        """Say which leaf it is that many signatures differ in: a static one, or a float by its value."""
        base, values = (full[0], full[1:]) if isinstance(full[0], tuple) else (full, ())
        keys: list[Hashable] = list(base)
        for position, value in zip(self.splits.get(base, ()), values, strict=True):
            keys[1 + position] = value
        for i, (leaf, name) in enumerate(zip(inputs, names, strict=True)):
            if isinstance(leaf, Input) and leaf.value is None:
                continue
            others = (i, *keys[: i + 1], *keys[i + 2 :])
            self._variants[others] = count = self._variants.get(others, 0) + 1
            if count == MANY and not self._warned:
                self._warned = True
                why = "which is static: a float or an array would be traced"
                if isinstance(leaf, Input):
                    why = "whose value the trace needs: np.where or gradc.cond in place of `if` do not"
                warnings.warn(
                    f"{name_of(self.fn)} was compiled for {MANY} values of {name} "
                    f"(now {leaf.value!r:.40}), {why}",
                    stacklevel=_levels_to_caller(),
                )


def _forget(function: weakref.ref[Function], full: Hashable) -> None:
    if (alive := function()) is not None:
        alive.table.pop(full, None)


def _levels_to_caller() -> int:
    """The `stacklevel` at which a warning shows the user's line."""
    place = caller()
    level, frame = 1, sys._getframe(1)
    while frame is not None and place is not None:
        if (frame.f_code.co_filename, frame.f_lineno) == place:
            return level
        level, frame = level + 1, frame.f_back
    return 2
