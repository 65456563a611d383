"""The way of a graph to the cache and back: its key there, and the code that is kept for it.

One file holds all the code of one signature and mode, in which equal kernels are one already. Kernels that
functions share are not kept apart: to open, check and load a file takes 0.4 ms, so that a function of twenty
kernels would take longer for them than for all else, its trace included; and most kernels of two functions
differ, in their shapes or in what is fused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from gradc.codegen.binary import Binary, pack, unpack
from gradc.ir.errors import GradcError
from gradc.ir.fingerprint import Fingerprint, fingerprint
from gradc.ir.graph import Graph
from gradc.runtime import environment
from gradc.runtime.cache import cache

if TYPE_CHECKING:
    from gradc.api.backend import Observer

T = TypeVar("T")


class Cached:
    """The place in the cache of what is compiled from a graph in a way that `recipe` describes."""

    def __init__(self, graph: Graph, recipe: str, observer: Observer | None) -> None:
        self._observer = observer
        self._cache = cache()
        self._key = ""
        self._print = Fingerprint(b"", [], [])
        if self._cache is None:
            self._tell("off: GRADC_CACHE_DIR=0, or no home folder")
            return
        self._print = fingerprint(graph)
        try:
            self._key = environment.key(self._cache, "graph", self._print.digest, recipe)
        except environment.UnknownError as error:
            self._cache = None
            self._tell(f"off: {error}")

    def load(self, make: Callable[[Binary], T]) -> T | None:
        """What `make` makes of the code that is kept; None if there is none, or none that serves."""
        if self._cache is None:
            return None
        data, why = self._cache.get(self._key)
        if data is None:
            return self._tell(f"miss {self._key}: {why}")
        try:
            made = make(unpack(data, self._print.lines, self._print.arrays))
        except (ValueError, LookupError, GradcError) as error:
            self._cache.remove(self._key)
            return self._tell(f"miss {self._key}: not as it should be, {error}")
        self._tell(f"hit {self._key}: {len(data)} bytes")
        return made

    def keep(self, binary: Binary) -> None:
        """Keep what was compiled, if that is possible."""
        if self._cache is None:
            return
        try:
            data = pack(binary, self._print.lines, self._print.arrays)
        except ValueError as error:  # a line, or an array, that the graph does not have
            return self._tell(f"not kept: {error}")
        if why := self._cache.put(self._key, data):
            self._tell(why)

    def _tell(self, text: str) -> None:
        if self._observer is not None:
            self._observer.cache(text)
