"""The end of the process: until then, daemon threads must be out of other people's C++.

Python ends a daemon thread at the first chance after the main thread is done. Inside of C++ that has called
back (optree), or that is being taken apart (LLVM), that aborts the process.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 10.0
"""Seconds that the end of the process waits for a daemon thread."""


class _Daemons:
    """How many daemon threads are where they must not be ended."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.running = 0
        self.is_over = False

    def enter(self) -> None:
        """Come in; when the process ends, stay outside for good."""
        with self.changed:
            self.changed.wait_for(lambda: not self.is_over)
            self.running += 1

    def leave(self) -> None:
        with self.changed:
            self.running -= 1
            self.changed.notify_all()

    def end(self) -> None:
        with self.changed:
            self.is_over = True
            self.changed.wait_for(lambda: not self.running, PATIENCE)


_daemons = _Daemons()
atexit.register(_daemons.end)
if hasattr(os, "register_at_fork"):  # a child has none of these threads
    os.register_at_fork(after_in_child=_daemons.__init__)


@contextmanager
def not_ended() -> Iterator[None]:
    """Around code in which a daemon thread must not be ended. Other threads are waited for anyway."""
    if not threading.current_thread().daemon:
        yield
        return
    _daemons.enter()
    try:
        yield
    finally:
        _daemons.leave()
