"""What compiled code depends on beside the graph: this machine, the compiler, and gradc itself.

Found without loading LLVM, whose library takes longer to load than code from the cache takes to run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.machinery
import os
import platform
import sys

import numpy as np

from gradc.runtime import IMPORTED
from gradc.runtime.cache import Cache

CPU = ("vendor_id", "cpu family", "model", "stepping", "flags")
"""What tells processors apart, of the lines that Linux has for each."""


class UnknownError(Exception):
    """What is compiled has no name in the cache."""


def key(cache: Cache, *parts: bytes | str) -> str:
    """The name for what is compiled here and now from these parts.

    Errors: `UnknownError`, also for a cache that cannot be used: then nothing needs a name.
    """
    if fault := cache.fault():
        raise UnknownError(fault)
    digest = hashlib.blake2b(environment(cache), digest_size=20)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()


@functools.lru_cache(maxsize=8)
def environment(cache: Cache) -> bytes:
    """A digest of all that code depends on beside the graph. Errors: `UnknownError`."""
    parts = [sys.platform, sys.version, np.__version__, llvm_version(), processor(), sources(cache)]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()


def processor() -> str:
    """This processor: its model, and all that it can do."""
    try:
        with open("/proc/cpuinfo", "rb") as file:
            first, _, _ = file.read(1 << 13).decode("utf-8", "replace").partition("\n\n")
        rows = [[part.strip() for part in line.split(":", 1)] for line in first.splitlines()]
        found = ["=".join(row) for row in rows if row[0] in CPU]
    except OSError:
        found = []
    if len(found) < len(CPU):  # another system, or another architecture
        from gradc.codegen.target import host

        return repr(host())
    return "\n".join([platform.machine(), *found])


def llvm_version() -> str:
    """What llvmlite, which brings its LLVM, says of its version."""
    spec = importlib.machinery.PathFinder.find_spec("llvmlite")
    folders = (spec and spec.submodule_search_locations) or []
    for folder in folders:
        with contextlib.suppress(OSError), open(os.path.join(folder, "_version.py"), "rb") as file:
            return hashlib.blake2b(file.read(), digest_size=8).hexdigest()
    import llvmlite

    return llvmlite.__version__


def sources(cache: Cache) -> str:
    """A digest of gradc's own files, whatever their place and age. Errors: `UnknownError`.

    It is read from the cache if the files' places, sizes and times are known there.
    """
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    files = sorted(_files(root))
    if not files:
        raise UnknownError("gradc's files cannot be read")
    if max(changed for _, _, _, changed in files) > IMPORTED:
        raise UnknownError("gradc's files have changed since it was imported")
    known = hashlib.blake2b(repr((root, files)).encode(), digest_size=20).hexdigest()
    if (found := cache.get(known).data) is not None:
        return found.decode()
    digest = hashlib.blake2b(digest_size=20)
    for path, *_ in files:
        with open(path, "rb") as file:
            raw = file.read()
        digest.update(f"{os.path.relpath(path, root)} {len(raw)}\n".encode() + raw)
    cache.put(known, digest.hexdigest().encode())
    return digest.hexdigest()


def _files(folder: str) -> list[tuple[str, int, int, int]]:
    """The modules in a folder and those below it: path, size, and two times in nanoseconds.

    The first is what the file says of its last change, the second when that, or anything else of it, was set.
    """
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith((".py", ".pyc")):
                    status = entry.stat()
                    found.append((entry.path, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
                elif not entry.name.startswith(("_", ".")) and entry.is_dir():
                    found += _files(entry.path)
    except OSError as error:
        raise UnknownError(f"gradc's files cannot be read: {error}") from error
    return found
