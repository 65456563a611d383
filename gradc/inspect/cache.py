"""`python -m gradc cache`: what is kept on disk, checked, cleared, bounded, and carried elsewhere.

An archive is a zip file of the cache's files. What is imported is code that will run: import only what comes
from somebody whose programs you would run. A file with a wrong digest is not imported, and one for another
processor, or another version of gradc, is never used.
"""

from __future__ import annotations

import argparse
import os
import re
import time
import zipfile
import zlib
from typing import Any

from gradc.ir.errors import ArgumentError
from gradc.runtime.cache import LARGEST, SUFFIX, Cache, UnusableError, cache, frame, is_name, unframe

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def add_arguments(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser("cache", help="what is kept on disk: show, verify, clear, export, import")
    actions = parser.add_subparsers(dest="action")
    actions.add_parser("show", help="where it is, and how much it holds (as without a word)")
    actions.add_parser("verify", help="check every file, and remove those that are not as they were written")
    actions.add_parser("clear", help="remove all files")
    limit = actions.add_parser("limit", help="set how large it may become")
    limit.add_argument("size", help="bytes, or 100M, 2G; what is above is removed, oldest use first")
    for name, text in (("export", "write all files to"), ("import", "take in the files of")):
        command = actions.add_parser(name, help=f"{text} an archive")
        command.add_argument("archive", help="a zip file")


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks; 1 if files were found that are not as they should be."""
    store = cache()
    if store is None:
        raise ArgumentError("there is no cache: GRADC_CACHE_DIR=0", hint="name a folder, or unset it")
    try:
        match options.action:
            case "verify":
                return verify(store)
            case "clear":
                return clear(store)
            case "limit":
                store.set_limit(bytes_of(options.size))
                return show(store)
            case "export":
                return export(store, options.archive)
            case "import":
                return take_in(store, options.archive)
            case _:
                return show(store)
    except UnusableError as error:
        raise ArgumentError(f"the cache cannot be used: {error}") from None


def show(store: Cache) -> int:
    """Print where the cache is and what it holds."""
    entries = list(store.entries())
    total = sum(entry.size for entry in entries)
    print(f"{store.folder}: {len(entries)} files, {megabytes(total)} of at most {megabytes(store.limit())}")
    if fault := store.fault():
        print(f"It is not used: {fault}")
    elif entries:
        days = sorted((time.time() - entry.used) / 86400 for entry in entries)
        print(f"last used: {days[-1]:.1f} days ago the oldest, {days[0]:.1f} the newest")
    return 0


def verify(store: Cache) -> int:
    """Check every file; print and remove what is damaged."""
    good, bad = 0, 0
    for entry in list(store.entries()):
        try:
            store.check(entry.key)
        except UnusableError as error:
            bad += 1
            print(f"{entry.key}{SUFFIX} {error}: removed")
            store.remove(entry.key)
        else:
            good += 1
    print(f"{good} files are as they were written, {bad} were not")
    return int(bad > 0)


def clear(store: Cache) -> int:
    """Remove all files."""
    entries = list(store.entries())
    for entry in entries:
        store.remove(entry.key)
    print(f"{len(entries)} files removed, {megabytes(sum(entry.size for entry in entries))}")
    return 0


def export(store: Cache, archive: str) -> int:
    """Write all good files to an archive, which appears under its name when it is whole."""
    count = 0
    temporary = f"{archive}.{os.getpid()}.tmp"
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as target:
            for entry in sorted(store.entries()):
                data, _ = store.get(entry.key)
                if data is not None:
                    target.writestr(entry.key + SUFFIX, frame(entry.key, data))
                    count += 1
        os.replace(temporary, archive)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    print(f"{count} files in {archive}, {megabytes(os.path.getsize(archive))}")
    return 0


def take_in(store: Cache, archive: str) -> int:
    """Add the files of an archive that are as they were written. Errors: `ArgumentError` for no archive."""
    count, refused = 0, 0
    try:
        source = zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise ArgumentError(f"{archive} is no archive: {error}", hint="one that export has written") from None
    with source:
        for info in source.infolist():
            try:
                key, data = _member(source, info)
                if why := store.put(key, data):
                    raise UnusableError(why)
            except UnusableError as error:
                refused += 1
                print(f"{info.filename!r} {error}: not imported")
            else:
                count += 1
    print(f"{count} files imported" + (f", {refused} refused" if refused else ""))
    return int(refused > 0)


def _member(source: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[str, bytes]:
    """The key and the content of a file in an archive. Errors: `UnusableError` for one that is not ours."""
    if not is_name(info.filename) or info.file_size > LARGEST:
        raise UnusableError("is no file of ours")
    key = info.filename.removesuffix(SUFFIX)
    try:
        with source.open(info) as file:
            return key, unframe(key, file.read(info.file_size + 1))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UnusableError(f"cannot be read: {error}") from None


def bytes_of(text: str) -> int:
    """The number of bytes of "1000", "100M", "2G". Errors: `ArgumentError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)i?B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ArgumentError(f"{text!r} is no size", hint="bytes, or a number with K, M or G: 500M")
    return int(float(match[1]) * UNITS[match[2].upper()])


def megabytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MB"
