"""The errors gradc raises: each says what is wrong, where in the user's file, and what to write instead."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LONGEST = 120
"""So much of a line of code is shown."""


class Source(NamedTuple):
    """A line of the user's code."""

    file: str
    line: int

    def __str__(self) -> str:
        """The short form that dumps show: the file's name without its folder."""
        return f"{self.file.replace(chr(92), '/').rsplit('/', 1)[-1]}:{self.line}"


class GradcError(Exception):
    """Base of all errors that gradc itself raises.

    `str(error)` reads as: the place, the user's line, what is wrong, what to write instead.
    """

    def __init__(self, message: str, source: Source | None = None, hint: str | None = None) -> None:
        self.message = message
        self.source = source
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        import linecache

        lines = []
        if self.source is not None:
            lines.append(f"{self.source.file}:{self.source.line}")
            code = linecache.getline(self.source.file, self.source.line).strip()
            if code:
                lines.append(f"    {code if len(code) <= LONGEST else code[: LONGEST - 3] + '...'}")
        lines.append(self.message)
        if self.hint:
            lines.append(f"Instead: {self.hint}")
        return "\n".join(lines)


class TraceError(GradcError, TypeError):
    """The function does something with a traced value that has no meaning before the values are known."""


class ShapeError(GradcError, ValueError):
    """Shapes, axes or dtypes that do not fit each other."""


class OperandError(ShapeError, TypeError):
    """Operands of dtypes that NumPy has no loop for, which it calls a `TypeError`."""


class ArgumentError(GradcError, TypeError):
    """An argument or option that gradc cannot take."""


class IndexOutOfBoundsError(GradcError, IndexError):
    """An index, known only at run time, that is out of bounds."""


class DomainError(GradcError, ValueError):
    """A number, known only at run time, for which the function has no result, as an int's power -1."""


class LinearAlgebraError(GradcError, np.linalg.LinAlgError):
    """A matrix, known only at run time, for which the function has no result: a singular one, say."""


RAISED_BY_CHECKS: dict[str, type[GradcError]] = {
    error.__name__: error for error in (IndexOutOfBoundsError, DomainError, LinearAlgebraError)
}
"""What a check in compiled code can raise, by the name that stands in the graph."""


class VerifyError(GradcError, ValueError):
    """A graph that breaks a rule of the IR."""


class ParseError(GradcError, SyntaxError):
    """Text that is not a graph."""
