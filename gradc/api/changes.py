"""Calls of functions that change their arguments: they compute first, then write into the caller's arrays."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.api.frames import caller, name_of
from gradc.api.program import VALUE
from gradc.api.signature import Arguments
from gradc.ir.errors import ArgumentError
from gradc.trace import tree
from gradc.trace.arguments import Own, Written, at, refill

if TYPE_CHECKING:
    from gradc.api.specialize import Specialization

WORK = 100_000
"""How long to search for an element that two arrays share, before they count as overlapping."""


def call_and_change(special: Specialization, arguments: Arguments, leaves: list[Any]) -> Any:
    """The value of a call; arrays and containers among the arguments then hold what NumPy leaves in them.

    Nothing is changed if the call fails. Errors: `ArgumentError` for arrays that nobody can write into, and
    for those that share memory with another argument, whose elements would change in the middle of the call.
    """
    program = special.program
    effects = program.effects
    assert effects is not None
    for written in effects.written:
        _check(special, leaves, written)
    value, (arrays, contents) = special[VALUE](special.given(leaves))
    targets = [at(arguments, path) for path in effects.changed]
    contents = [
        tree.map(lambda x: at(arguments, x.path) if type(x) is Own else x, content) for content in contents
    ]
    for written, new in zip(effects.written, arrays, strict=True):
        np.copyto(leaves[written.leaf], new)
    for target, content in zip(targets, contents, strict=True):
        refill(target, content)
    return value


def _check(special: Specialization, leaves: list[Any], written: Written) -> None:
    """See to it that an array can be written into. Errors: `ArgumentError`."""
    x = leaves[written.leaf]
    wrong = None
    instead = "pass an array of its own: {}.copy()"
    if not isinstance(x, np.ndarray):
        wrong, instead = f"is a {type(x).__name__}, a number", "pass np.array({})"
    elif not x.flags.writeable:
        wrong = "is read-only"
    elif _overlaps_itself(x):
        wrong = "has elements that share memory with each other"
    elif written.reshaped and not x.flags.c_contiguous:
        wrong = "is written through a reshaped view, which is a copy for an array that is not in C order"
        instead = "pass np.ascontiguousarray({})"
    else:
        for i, other in enumerate(leaves):
            if i != written.leaf and isinstance(other, np.ndarray) and _overlap(x, other):
                wrong = f"shares memory with {special.program.parameters.names_in(special.treedef)[i]}"
    if wrong is not None:
        name = special.program.parameters.names_in(special.treedef)[written.leaf]
        where = "" if written.line is None else f" (at {written.line})"
        raise ArgumentError(
            f"{name_of(special.program.fn)} writes into its argument {name}{where}, which {wrong}",
            caller(),
            instead.format(name),
        )


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    if not np.may_share_memory(a, b):
        return False
    work: Any = WORK
    try:
        return np.shares_memory(a, b, max_work=work)
    except np.exceptions.TooHardError:
        return True


def _overlaps_itself(x: np.ndarray) -> bool:
    """Whether two elements may have the same memory: an axis steps over less than what lies inside of it."""
    axes = sorted([(abs(stride), n) for stride, n in zip(x.strides, x.shape, strict=True) if n > 1])
    extents = itertools.accumulate([(n - 1) * stride for stride, n in axes], initial=x.itemsize)
    return x.size > 0 and any(stride < extent for (stride, _), extent in zip(axes, extents, strict=False))
