"""The stages of the compiler, as far as this tree has them: the one place that asks what is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from gradc.ir import Graph


class Stage(NamedTuple):
    """A pass, and what it may change: nothing (`exact`), or the rounding and what `excuse` names.

    `better`: an infinity or NaN may become a number. `unscaled`: `scale` may become an ordinary product, so
    that NaN comes where 0 met an infinity.
    """

    name: str
    run: Callable[[Graph], Graph]
    exact: bool = True
    excuse: str | None = None


EXCUSES = {"stabilize": "better", "unscale": "unscaled"}
"""Passes that are not exact, and what they may change besides the rounding."""


def exists(module: str) -> bool:
    """Is there such a module? Its parents need not be there either."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def attribute(module: str, name: str) -> Any:
    """An attribute of a module, or None where there is no such module or attribute."""
    return getattr(import_module(module), name, None) if exists(module) else None


def stages() -> list[Stage]:
    """The passes in the order of the pipeline."""
    passes = attribute("gradc.passes.pipeline", "PASSES")
    if passes is None:
        names = ("simplify", "stabilize", "cse", "dce", "fuse", "plan_memory")
        passes = [(name, f) for name in names if (f := attribute(f"gradc.passes.{name}", name))]
    return [Stage(name, run, name not in EXCUSES, EXCUSES.get(name)) for name, run in passes]


def native() -> Callable[[Graph, Sequence[np.ndarray]], Sequence[np.ndarray]] | None:
    """Runs a planned graph as machine code."""
    load = attribute("gradc.runtime.executable", "load")
    return None if load is None else lambda graph, leaves: load(graph).run(leaves)


def compiler() -> Any:
    """`gradc.compile`."""
    return attribute("gradc", "compile")
