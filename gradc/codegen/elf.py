"""Object files of x86-64 (ELF, what LLVM writes on Linux) into memory that runs, without LLVM.

Loading a small file through LLVM takes its library (20 ms to load), a target and an engine; here it takes a
fraction of a millisecond, and what is loaded is freed with the object that owns it. Sections are laid out one
after another, code and constants first, then (on pages of their own) what can be written; what lies outside
is reached through a table of addresses, so that the code itself can lie anywhere. Code is never writable
while it can run.

The format is that of the System V ABI, chapter 4, and of its supplement for AMD64, section 4.4.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import sys
from collections.abc import Callable

import numpy as np

MAGIC = b"\x7fELF\x02\x01\x01"
"""64 bits, little endian, version 1."""
X86_64 = 62

SECTION = np.dtype(
    {
        "names": ["name", "type", "flags", "address", "offset", "size", "link", "info", "align", "entry"],
        "formats": ["<u4", "<u4", "<u8", "<u8", "<u8", "<u8", "<u4", "<u4", "<u8", "<u8"],
    }
)
SYMBOL = np.dtype(
    {
        "names": ["name", "info", "other", "section", "value", "size"],
        "formats": ["<u4", "u1", "u1", "<u2", "<u8", "<u8"],
    }
)
RELOCATION = np.dtype({"names": ["offset", "info", "addend"], "formats": ["<u8", "<u8", "<i8"]})

SYMBOLS, STRINGS, RELOCATIONS, EMPTY, UNWIND = 2, 3, 4, 8, 0x70000001
"""Types of sections: SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_X86_64_UNWIND."""
WRITE, ALLOCATE = 1, 2
"""Flags of sections."""
ABSOLUTE = 1
"""R_X86_64_64: 8 bytes, the symbol's address."""
DISTANT = 24
"""R_X86_64_PC64: 8 bytes, from here to the symbol."""
NEAR = (2, 4)
"""R_X86_64_PC32, PLT32: 4 bytes, from here to the symbol, or to a jump there."""
THROUGH_TABLE = (9, 41, 42)
"""R_X86_64_GOTPCREL, GOTPCRELX, REX_GOTPCRELX: 4 bytes, from here to where the symbol's address is."""

JUMP = np.array([0xFF, 0x25, 0, 0, 0, 0, 0xCC, 0xCC], np.uint8)
"""jmp *distance(%rip), filled up to 8 bytes."""


LARGEST = 1 << 30
"""So many bytes are loaded at most: distances have 32 bits."""


class FormatError(ValueError):
    """Bytes that are not an object file of the kind that is understood here."""


def runs_here() -> bool:
    """Whether this system and this machine run what is loaded here."""
    return sys.platform == "linux" and os.uname().machine == "x86_64" and sys.maxsize > 1 << 32


class Image:
    """An object file in memory, alive as long as this object is.

    `resolve` gives the addresses of what the file only names. Errors: `FormatError`; what `resolve` raises;
    `OSError` where the system lets no new code run.
    """

    def __init__(self, data: bytes, resolve: Callable[[str], int]) -> None:
        try:
            layout = _Layout(data)
            self.memory = mmap.mmap(-1, layout.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
            layout.place(base, [resolve(name) for name in layout.outside])
        except (ValueError, LookupError, OverflowError) as error:
            raise FormatError(f"not an object file that can be loaded: {error}") from error
        self.memory[:] = layout.bytes.data
        _protect(base, layout.writable, mmap.PROT_READ | mmap.PROT_EXEC)
        self.symbols = {name: base + offset for name, offset in layout.symbols.items()}
        """Where the functions of the file are."""

    def address(self, symbol: str) -> int:
        return self.symbols[symbol]


class _Layout:
    """Where everything of a file lies, in bytes from a base, and those bytes once the base is known.

    Code and constants, jumps, the table of addresses; from `writable` on, the data.
    """

    def __init__(self, data: bytes) -> None:
        if data[: len(MAGIC)] != MAGIC or int.from_bytes(data[18:20], "little") != X86_64:
            raise FormatError("not an object file for x86-64")
        start, count = int.from_bytes(data[40:48], "little"), int.from_bytes(data[60:62], "little")
        self.data = data
        self.sections = np.frombuffer(data, SECTION, count, start)
        kinds, flags = self.sections["type"], self.sections["flags"]
        (table,) = np.flatnonzero(kinds == SYMBOLS)
        self.table = self._array(table, SYMBOL)
        strings = self.sections[self.sections[table]["link"]]
        self.strings = data[int(strings["offset"]) : int(strings["offset"] + strings["size"])]
        loaded = (flags & ALLOCATE != 0) & (kinds != UNWIND)
        self.relocated = [i for i in np.flatnonzero(kinds == RELOCATIONS) if loaded[self.sections[i]["info"]]]
        named = [self._array(i, RELOCATION)["info"] >> 32 for i in self.relocated]
        is_used = np.zeros(len(self.table), bool)
        for symbols in named:
            is_used[symbols.astype(np.int64)] = True
        self.used = np.flatnonzero(is_used[1:]) + 1
        external = [i for i in self.used if not self.table[i]["section"]]
        self.outside = [self._name(i) for i in external]

        self.start = np.zeros(count, np.int64)
        place = self._put(np.flatnonzero(loaded & (flags & WRITE == 0)), 0)
        self.jumps = np.full(len(self.table), -1, np.int64)
        place = -(-place // 8) * 8
        self.jumps[external] = place + 8 * np.arange(len(external))
        place += 8 * len(external)
        self.slots = np.full(len(self.table), -1, np.int64)
        self.slots[self.used] = place + 8 * np.arange(len(self.used))
        place += 8 * len(self.used)
        self.writable = _page(place)
        self.size = _page(max(self._put(np.flatnonzero(loaded & (flags & WRITE != 0)), self.writable), 1))

        if self.size > LARGEST:
            raise FormatError(f"{self.size} bytes of code and data")
        at = self.table["section"]
        inside = (at > 0) & (at < count)
        self.values = np.where(
            inside, self.start[np.where(inside, at, 0)] + self.table["value"].astype(np.int64), -1
        )
        self.external = np.array(external, np.int64)
        self.symbols = {
            self._name(i): int(self.values[i])
            for i in np.flatnonzero(inside & (self.table["info"] >> 4 > 0) & (self.table["info"] & 15 < 3))
        }

    def place(self, base: int, outside: list[int]) -> None:
        """Write the bytes as they are at an address: `outside` are the addresses of what lies elsewhere."""
        self.bytes = np.zeros(self.size, np.uint8)
        for i in np.flatnonzero((self.sections["flags"] & ALLOCATE != 0) & (self.sections["type"] != EMPTY)):
            if self.sections[i]["type"] != UNWIND:
                found = self._array(i, np.dtype(np.uint8))
                self.bytes[self.start[i] : self.start[i] + len(found)] = found
        addresses = self.values + base
        addresses[self.external] = outside
        self._write(self.slots[self.used], addresses[self.used].astype("<i8"))
        jumps = self.jumps[self.external]
        self._write(jumps, np.tile(JUMP, len(jumps)))
        self._write(jumps + 2, (self.slots[self.external] - jumps - 6).astype("<i4"))
        near = np.where(self.jumps >= 0, self.jumps, self.values)
        for i in self.relocated:
            rows = self._array(i, RELOCATION)
            kind, symbol = rows["info"] & 0xFFFFFFFF, (rows["info"] >> 32).astype(np.int64)
            here = self.start[self.sections[i]["info"]] + rows["offset"].astype(np.int64)
            known = np.zeros(len(rows), bool)
            for kinds, values, form in (
                (NEAR, near[symbol] + rows["addend"] - here, "<i4"),
                (THROUGH_TABLE, self.slots[symbol] + rows["addend"] - here, "<i4"),
                ((DISTANT,), self.values[symbol] + rows["addend"] - here, "<i8"),
                ((ABSOLUTE,), addresses[symbol] + rows["addend"], "<i8"),
            ):
                mine = np.isin(kind, kinds)
                known |= mine
                self._write(here[mine], values[mine].astype(form))
            if not known.all():
                raise FormatError(f"a relocation of type {kind[~known][0]}")

    def _write(self, places: np.ndarray, values: np.ndarray) -> None:
        """Store a number at each place."""
        if len(places):
            raw = values.view(np.uint8).reshape(len(places), -1)
            self.bytes[places[:, None] + np.arange(raw.shape[1])] = raw

    def _put(self, sections: np.ndarray, place: int) -> int:
        """Lay sections out from a place on; where they end."""
        for i in sections:
            align = max(int(self.sections[i]["align"]), 1)
            self.start[i] = place = -(-place // align) * align
            place += int(self.sections[i]["size"])
        return place

    def _array(self, section: int | np.integer, dtype: np.dtype) -> np.ndarray:
        row = self.sections[section]
        return np.frombuffer(self.data, dtype, int(row["size"]) // dtype.itemsize, int(row["offset"]))

    def _name(self, symbol: int | np.integer) -> str:
        start = int(self.table[symbol]["name"])
        return self.strings[start : self.strings.index(b"\0", start)].decode()


def _page(size: int) -> int:
    """Up to the next page."""
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def _protect(address: int, size: int, access: int) -> None:
    """Set what may be done with pages. Errors: `OSError` where the system forbids it."""
    if size and _mprotect()(address, size, access):
        raise OSError(ctypes.get_errno(), "the system lets no new code run")


@functools.cache
def _mprotect() -> Callable[..., int]:
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, use_errno=True)
    return prototype(("mprotect", ctypes.CDLL(None)))
