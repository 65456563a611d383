"""Which lines are the user's: the place of a call or a `def`, and tracebacks without gradc's own frames."""

from __future__ import annotations

import functools
import inspect
import linecache
import os
import re
import types
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from gradc.ir.errors import GradcError, Source
from gradc.trace.source import locate as caller

__all__ = ["caller", "definition", "is_internal", "name_of", "plain", "public", "strip_internals"]

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
"""Code in files below this folder is gradc's own."""

P = ParamSpec("P")
R = TypeVar("R")


def is_internal(code: types.CodeType) -> bool:
    """Whether a frame of this code says nothing to the user."""
    return code.co_filename.startswith((HOME, "<frozen", "<@beartype"))


def strip_internals(error: BaseException) -> None:
    """Take gradc's frames out of a traceback, and errors caught on the way; not under GRADC_DEBUG."""
    if os.environ.get("GRADC_DEBUG", "0") not in ("", "0"):
        return
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        if not is_internal(traceback.tb_frame.f_code):
            frames.append(traceback)
        traceback = traceback.tb_next
    kept: types.TracebackType | None = None
    for entry in reversed(frames):
        kept = types.TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    error.__traceback__ = kept
    if isinstance(error, GradcError) and error.__cause__ is None:
        error.__suppress_context__ = True


def public(fn: Callable[P, R]) -> Callable[P, R]:
    """A function of the public API: errors that leave it have no frames of gradc's below it."""

    @functools.wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return fn(*args, **kwargs)
        except Exception as error:
            strip_internals(error)
            raise

    return call


def plain(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The Python function inside of partials, bound methods and wrappers."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif inspect.ismethod(fn):
            fn = fn.__func__
        elif (inner := getattr(fn, "__gradc_original__", None)) is not None:
            fn = inner
        else:
            return fn


def definition(fn: Callable[..., Any]) -> Source | None:
    """The line of a function's `def` or `lambda`, decorators skipped."""
    code = getattr(plain(fn), "__code__", None)
    if code is None:
        return None
    line = code.co_firstlineno
    while True:
        text = linecache.getline(code.co_filename, line)
        if not text:
            return Source(code.co_filename, code.co_firstlineno)
        if re.match(r"\s*(async\s+)?def\b", text) or code.co_name == "<lambda>":
            return Source(code.co_filename, line)
        line += 1


def name_of(fn: Callable[..., Any]) -> str:
    """What messages and dumps call a function."""
    return getattr(plain(fn), "__name__", type(fn).__name__)
