"""What was compiled, kept on disk: files that are named by the digest of all that their content depends on.

**Where.** `GRADC_CACHE_DIR`, or the user's cache folder for "gradc"; `GRADC_CACHE_DIR=0` is none. Whatever is
wrong with the folder, or with a file in it, the answer is "not there": functions are compiled as if there
were no cache, and `GRADC_DEBUG=1` says why.

**Whose.** The folder is made for its owner alone (0700, files 0600). It is used if it belongs to the user of
this process and nobody else may write to it; files likewise, and only plain ones. A file begins with a digest
of its name and content, so that one that is cut off, damaged or misnamed is found, and removed. That is no
seal against somebody who may write to the folder as this user: he could change the program itself.

**Together.** A file is written beside its place and then renamed, so that readers see all of it or nothing,
and of two writers the last one wins, with the same content. The folder is kept below a limit: the writer that
finds it above removes the files that were used longest ago (a hit renews a file's time, once an hour).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"gradc 1\n"
DIGEST = 32
HEAD = len(MAGIC) + DIGEST
SUFFIX = ".gradc"
LIMIT_FILE = "limit"

LIMIT = 512 << 20
"""So many bytes are kept, unless the folder says otherwise (`python -m gradc cache limit`)."""
TARGET = 0.9
"""What is left of a folder that was above its limit."""
LARGEST = 64 << 20
"""Longer files are not written, and not read."""
RENEWED = 3600.0
"""Seconds after which a hit renews the time of a file, and after which a half-written one is nobody's."""
LOOK = 1 / 64
"""After writing this part of its limit a process looks again how large the folder has become."""


class Found(NamedTuple):
    """What a file holds, or None; and what there is to say about it."""

    data: bytes | None
    why: str


class Entry(NamedTuple):
    """A file of the folder: its key, bytes, and when it was last used."""

    key: str
    size: int
    used: float


class UnusableError(Exception):
    """A folder or a file that is not there, not to be trusted, or damaged."""


class Cache:
    """The files of a folder, which is made when something is first written."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._unseen = float("inf")  # bytes written since the folder was last looked at

    def get(self, key: str) -> Found:
        """What is kept for a key."""
        try:
            self._check_folder()
            data, used = self._read(key)
        except UnusableError as error:
            return Found(None, str(error))
        if time.time() - used > RENEWED:
            with contextlib.suppress(OSError):
                os.utime(self.path(key))
        return Found(data, "hit")

    def put(self, key: str, data: bytes) -> str:
        """Keep something; why that failed, if it did."""
        if len(data) > LARGEST:
            return f"too large to be kept: {len(data)} bytes"
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            self._check_folder()
            self._write(key + SUFFIX, frame(key, data))
            self._unseen += len(data)
            if self._unseen > LOOK * self.limit():
                self.evict()
        except (OSError, UnusableError) as error:
            return f"cannot be kept: {error}"
        return ""

    def path(self, key: str) -> str:
        return os.path.join(self.folder, key + SUFFIX)

    def remove(self, key: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.path(key))

    def entries(self) -> Iterator[Entry]:
        """The files, in no order; half-written ones that nobody finishes are removed on the way."""
        now = time.time()
        try:
            found = list(os.scandir(self.folder))
        except OSError:
            return
        for file in found:
            with contextlib.suppress(OSError):  # another process has removed it
                status = file.stat(follow_symlinks=False)
                if is_name(file.name) and stat.S_ISREG(status.st_mode):
                    yield Entry(file.name.removesuffix(SUFFIX), status.st_size, status.st_mtime)
                elif file.name.endswith(".tmp") and now - status.st_mtime > RENEWED:
                    os.unlink(file.path)

    def evict(self, limit: float | None = None) -> int:
        """Bring the folder below its limit; how many files were removed."""
        limit = self.limit() if limit is None else limit
        entries = sorted(self.entries(), key=lambda entry: entry.used)
        total, removed = sum(entry.size for entry in entries), 0
        self._unseen = 0
        if total > limit:
            for entry in entries:
                if total <= TARGET * limit:
                    break
                self.remove(entry.key)
                total, removed = total - entry.size, removed + 1
        return removed

    def limit(self) -> int:
        """How many bytes the folder may have."""
        try:
            with open(os.path.join(self.folder, LIMIT_FILE), encoding="utf-8") as file:
                return int(file.read(32))
        except (OSError, ValueError):
            return LIMIT

    def set_limit(self, limit: int) -> None:
        """Set how many bytes the folder may have, for all processes. Errors: `OSError`, `UnusableError`."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        self._check_folder()
        self._write(LIMIT_FILE, b"%d\n" % limit)
        self.evict()

    def check(self, key: str) -> None:
        """See to it that a file is as it was written. Errors: `UnusableError`, which says what is wrong."""
        self._check_folder()
        self._read(key, keep=True)

    def fault(self) -> str:
        """Why the folder cannot be used, if so; one that is not there yet can be made."""
        try:
            self._check_folder()
        except UnusableError as error:
            return str(error) if os.path.lexists(self.folder) else ""
        return ""

    def _check_folder(self) -> None:
        """Errors: `UnusableError` unless it is ours alone."""
        try:
            status = os.stat(self.folder)
        except OSError as error:
            raise UnusableError(f"no folder {self.folder}: {error.strerror}") from None
        if not stat.S_ISDIR(status.st_mode):
            raise UnusableError(f"{self.folder} is no folder")
        _check_owner(status, self.folder)

    def _read(self, key: str, keep: bool = False) -> tuple[bytes, float]:
        """Content of a file, and when it was last used. What is damaged is removed, unless `keep`."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        try:
            file = os.open(self.path(key), flags)
        except FileNotFoundError:
            raise UnusableError("not there") from None
        except OSError as error:
            raise UnusableError(f"cannot be read: {error.strerror}") from None
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise UnusableError("is no plain file")
            if status.st_size > LARGEST + HEAD:
                raise UnusableError("is too large")
            _check_owner(status, "the file")
            with open(file, "rb", buffering=0, closefd=False) as opened:
                raw = opened.read(status.st_size + 1) or b""
        except OSError as error:
            raise UnusableError(f"cannot be read: {error.strerror}") from None
        finally:
            os.close(file)
        try:
            return unframe(key, raw), status.st_mtime
        except UnusableError:
            if not keep:
                self.remove(key)
            raise

    def _write(self, name: str, data: bytes) -> None:
        """Write a file beside its place, and rename it."""
        temporary = os.path.join(self.folder, f"{os.getpid()}-{os.urandom(8).hex()}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            with open(os.open(temporary, flags, 0o600), "wb", buffering=0) as file:
                written = file.write(data)
            if written != len(data):
                raise OSError("the disk is full")
            os.replace(temporary, os.path.join(self.folder, name))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def is_name(name: str) -> bool:
    """Whether a file could be one of ours."""
    return re.fullmatch(r"[0-9a-f]{40}\.gradc", name) is not None


def frame(key: str, data: bytes) -> bytes:
    """A file's bytes: what it is, the digest of its key and content, the content."""
    return MAGIC + _digest(key, data) + data


def unframe(key: str, raw: bytes) -> bytes:
    """The content of a file's bytes. Errors: `UnusableError` for anything but what `frame` gives."""
    if raw[: len(MAGIC)] != MAGIC:
        raise UnusableError("is no file of ours")
    data = raw[HEAD:]
    if len(raw) < HEAD or raw[len(MAGIC) : HEAD] != _digest(key, data):
        raise UnusableError("is not as it was written")
    return data


def _digest(key: str, data: bytes) -> bytes:
    return hashlib.blake2b(data, key=key.encode(), digest_size=DIGEST).digest()


def _check_owner(status: os.stat_result, what: str) -> None:
    """Errors: `UnusableError` where another user owns a thing, or may write to it."""
    if os.name != "posix":  # the folder is in the user's profile, which others may not write to
        return
    if status.st_uid != os.geteuid():
        raise UnusableError(f"{what} is owned by another user")
    if status.st_mode & 0o022:
        raise UnusableError(f"others may write to {what}")


_caches: dict[str, Cache] = {}


def cache() -> Cache | None:
    """The cache that the environment asks for now; None if it asks for none, or there is no home folder."""
    wanted = os.environ.get("GRADC_CACHE_DIR", "")
    if wanted == "0":
        return None
    found = _caches.get(wanted)
    if found is None:
        folder = os.path.abspath(os.path.expanduser(wanted)) if wanted else default_folder()
        if not os.path.isabs(folder):
            return None
        found = _caches[wanted] = Cache(folder)
    return found


def default_folder() -> str:
    """The user's cache folder for gradc."""
    import platformdirs

    return platformdirs.user_cache_dir("gradc")
