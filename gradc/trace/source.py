"""Where the user's code is: the line a node comes from, and the variable its result is stored in."""

from __future__ import annotations

import dis
import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from types import CodeType, FrameType
from typing import Any, NoReturn

import numpy as np

from gradc.ir import GradcError, ShapeError, Source, TraceError

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Written in plain NumPy and traced like the user's code: only their folder is ours.
_PLAIN = os.path.join(_PACKAGE, "train")
_LIBRARY = tuple({sysconfig.get_path(key) for key in ("stdlib", "platstdlib")})


def _below(path: str, folder: str) -> bool:
    return path.startswith(folder + os.sep)


@cache
def is_user_file(path: str) -> bool:
    """Whether code of this file is the user's: not gradc's, NumPy's, SciPy's or the standard library's."""
    if path.startswith(("<frozen", "<__array_function__")):
        return False
    if _below(path, _PACKAGE):
        return _below(path, _PLAIN)
    # SciPy is never imported for this: code of a package that is not loaded does not run.
    for name in ("numpy", "scipy"):
        module = sys.modules.get(name)
        if module is not None and module.__file__ and _below(path, os.path.dirname(module.__file__)):
            return False
    return is_installed(path) or not any(_below(path, folder) for folder in _LIBRARY)


def is_installed(path: str) -> bool:
    """Whether the file belongs to a package that was installed."""
    return any(f"{os.sep}{folder}{os.sep}" in path for folder in ("site-packages", "dist-packages"))


def user_frame() -> FrameType | None:
    """The innermost frame of user code on this thread's stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_user_file(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def locate() -> Source | None:
    """The line of the user's code that runs now."""
    frame = user_frame()
    return None if frame is None else Source(frame.f_code.co_filename, frame.f_lineno or 0)


def fail(message: str, instead: str | None = None, kind: type[GradcError] = TraceError) -> NoReturn:
    """Raise an error at the user's line: what is wrong, and what to write instead."""
    raise kind(message, locate(), instead)


@contextmanager
def as_numpy_says() -> Iterator[None]:
    """What NumPy itself objects to in the block, such as an unknown option, at the user's line."""
    try:
        yield
    except GradcError:
        raise
    except TypeError as error:
        fail(str(error))
    except ValueError as error:
        fail(str(error), None, ShapeError)


Targets = dict[int, tuple[str, ...] | None]
"""For the offset of an instruction: the variables that its result goes to; None if it is returned."""

_STORES = {"STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF"}


@lru_cache(maxsize=1024)
def _targets(code: CodeType) -> Targets:
    """Where the results of the instructions of `code` go, as far as the next instructions tell."""
    instructions = list(dis.get_instructions(code))
    targets: Targets = {}
    for i, instruction in enumerate(instructions[:-1]):
        names, wanted, at = [], 1, i + 1
        # A frame that waits for a call to return stands at the cache entries behind the instruction.
        offsets = range(instruction.offset, instructions[at].offset, 2)
        if instructions[at].opname == "RETURN_VALUE":
            targets.update(dict.fromkeys(offsets))
            continue
        if instructions[at].opname == "UNPACK_SEQUENCE":
            wanted, at = int(instructions[at].arg or 0), at + 1
        while len(names) < wanted and at < len(instructions):
            name, value = instructions[at].opname, instructions[at].argval
            if name in _STORES:
                names.append(value)
            elif name == "STORE_FAST_STORE_FAST":
                names.extend(value)
            elif name == "STORE_FAST_LOAD_FAST":
                names.append(value[0])
            elif name != "COPY":
                break
            at += 1
        if names:
            targets.update(dict.fromkeys(offsets, tuple(names[:wanted])))
    return targets


def names_for_result(frame: FrameType | None) -> tuple[str, ...]:
    """The variables to which the operation that `frame` now runs will assign its result, if they are known.

    A result that is returned at once takes the name that the caller gives it.
    """
    while frame is not None and is_user_file(frame.f_code.co_filename):
        names = _targets(frame.f_code).get(frame.f_lasti, ())
        if names is not None:
            return names
        frame = frame.f_back
    return ()


def described(x: Any) -> str:
    """A short word for a value in a message: its type, or its repr if that is short."""
    if isinstance(x, np.ndarray):
        return f"{x.dtype}{list(x.shape)}"
    text = repr(x)
    return text if len(text) <= 40 else type(x).__name__
