"""The least time that a program can take on this machine, from its work and the machine's ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORTH_SHARING = 20e-6
"""Seconds on one core below which all cores are no faster: waking another thread takes microseconds."""


class Ceilings:
    """What `sides.machine` has measured."""

    def __init__(self, measured: Mapping[str, Any]) -> None:
        self.measured = dict(measured)

    @property
    def empty_call(self) -> float:
        """Seconds of a call of C that does nothing."""
        return self.measured["empty call"]

    def floor(self, work: Mapping[str, Any]) -> float:
        """Seconds for work as `sides.work` counts it.

        Computing and moving bytes go on at the same time; what takes longer counts. One core, where handing
        work to another costs as much as it saves; else all of them.
        """
        alone = self._on("one core", work)
        return self.empty_call + (self._on("all cores", work) if alone > WORTH_SHARING else alone)

    def _on(self, cores: str, work: Mapping[str, Any]) -> float:
        operations = self.measured[cores]["operations"]
        slowest = min(operations.values())

        def seconds(counts: Mapping[str, float], each: int) -> float:
            return sum(each * count / operations.get(dtype, slowest) for dtype, count in counts.items())

        computing = seconds(work["products"], 1) + seconds(work["steps"], 2)
        read, written = self._rates(cores, work["read"] + work["written"])
        return max(computing, work["read"] / read + work["written"] / written)

    def _rates(self, cores: str, size: int) -> tuple[float, float]:
        """Bytes read and written a second, where so many live together.

        A copy reads and writes as many: what it takes longer than reading them is the time of writing.
        """
        levels = list(self.measured[cores]["bytes"].values())
        level = next((level for level in levels if 2 * level["size"] >= size), levels[-1])
        read = level["read"]
        return read, 1 / max(2 / level["copy"] - 1 / read, 1e-15)
