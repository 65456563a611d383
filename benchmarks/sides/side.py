"""What the sides of a comparison have in common: programs made ready, timed in the forms they have."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Protocol

import numpy as np

Function = Callable[..., Any]


class Timed(Protocol):
    """What `timeit.Timer` is."""

    def timeit(self, number: int) -> float: ...


@dataclass
class Prepared:
    """A program on one side: ways to run it by name, and what it computes, as flat arrays.

    A run counts as `per` of what is measured (steps of a training, say).
    """

    forms: dict[str, Timed] = field(default_factory=dict)
    result: Callable[[], list[Any]] = list
    notes: list[str] = field(default_factory=list)
    per: int = 1


class SideBase:
    """What all sides can be asked for."""

    prepared: Prepared

    def info(self) -> dict[str, Any]:
        """Versions and threads."""
        raise NotImplementedError

    def prepare(self, **request: Any) -> dict[str, Any]:
        """Compile a program and run it once; the names of its forms."""
        self.prepared = Prepared()
        self.prepared = getattr(self, f"prepare_{request.pop('kind', 'loss')}")(**request)
        done = self.prepared
        return {"forms": list(done.forms), "notes": done.notes, "per": done.per}

    def save(self, path: str) -> None:
        """What the program computes, as an .npz file."""
        np.savez(path, *self.prepared.result())

    def time(self, form: str, calls: int) -> dict[str, float]:
        """Seconds of a call: the mean of so many, after one that does not count."""
        timer = self.prepared.forms[form]
        timer.timeit(1)
        return {"seconds": timer.timeit(calls) / calls}

    def first(self, **request: Any) -> dict[str, float]:
        """Seconds and peak bytes of the first call, tracing and compiling; arguments are there before."""
        call = self.first_call(**request)
        _, seconds, growth = memory_growth(call)
        return {"seconds": seconds, "bytes": growth}

    def first_call(self, **request: Any) -> Callable[[], Any]:
        """What compiles a program and runs it once."""
        raise NotImplementedError


def flat(tree: Any) -> list[Any]:
    """The leaves of tuples, lists, dataclasses and dicts, keys in order."""
    if is_dataclass(tree):
        return flat(list(vars(tree).values()))
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in flat(tree[key])]
    if isinstance(tree, list | tuple):
        return [leaf for part in tree for leaf in flat(part)]
    return [tree]


def mapped(function: Function, tree: Any) -> Any:
    """The tree with `function` of every leaf."""
    if isinstance(tree, dict):
        return {key: mapped(function, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)([mapped(function, part) for part in tree])
    return function(tree)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result of one call, and its seconds."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def memory_growth(work: Callable[[], Any]) -> tuple[Any, float, int]:
    """The result of one call, its seconds, and by how many bytes the process was larger at its peak."""

    def field_of(name: str) -> int:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith(name))

    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # the peak starts anew
        before, peak = field_of("VmRSS"), lambda: field_of("VmHWM")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        before = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = lambda: unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # noqa: E731
    result, seconds = timed(work)
    return result, seconds, max(peak() - before, 0)
