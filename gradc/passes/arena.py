"""Workspace bytes, handed out and taken back: best fit, neighbouring holes merged, no search."""

from __future__ import annotations

from bisect import bisect_left, insort
from heapq import heappop, heappush

from gradc.ir.types import round_up


class Arena:
    """Pieces of one range of bytes. `top` is how many bytes are needed so far.

    Holes are known by where they begin and end, so that neighbours merge, and by size: a heap of offsets for
    each size there is (some of them out of date), the sizes in order.
    """

    def __init__(self) -> None:
        self.top = 0
        self.size_at: dict[int, int] = {}
        self.start_of: dict[int, int] = {}  # by where the hole ends
        self.offsets: dict[int, list[int]] = {}
        self.sizes: list[int] = []

    def allocate(self, nbytes: int) -> tuple[int, int]:
        """Offset and size of a piece that holds so many bytes, aligned."""
        wanted = round_up(max(nbytes, 1))
        while (i := bisect_left(self.sizes, wanted)) < len(self.sizes):
            size = self.sizes[i]
            heap = self.offsets[size]
            while heap and self.size_at.get(heap[0]) != size:  # merged with a neighbour since, or taken
                heappop(heap)
            if not heap:
                del self.offsets[size]
                del self.sizes[i]
                continue
            offset = heap[0]
            self._close(offset)
            if size > wanted:
                self._open(offset + wanted, size - wanted)
            return offset, wanted
        offset = self.top
        if (start := self.start_of.get(self.top)) is not None:  # the last hole grows
            self._close(offset := start)
        self.top = offset + wanted
        return offset, wanted

    def free(self, offset: int, size: int) -> None:
        """Take a piece back."""
        if (start := self.start_of.get(offset)) is not None:
            size += self._close(start)
            offset = start
        if offset + size in self.size_at:
            size += self._close(offset + size)
        self._open(offset, size)

    def _open(self, offset: int, size: int) -> None:
        self.size_at[offset] = size
        self.start_of[offset + size] = offset
        if size not in self.offsets:
            self.offsets[size] = []
            insort(self.sizes, size)
        heappush(self.offsets[size], offset)

    def _close(self, offset: int) -> int:
        size = self.size_at.pop(offset)
        del self.start_of[offset + size]
        return size
