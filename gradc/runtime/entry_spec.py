"""What a native call takes and gives: leaf specifications, the shape of its result, and their checks.

Both forms of the entry (`entry_native`, `entry_python`) read the same `Call`, so that they mean the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, final

import numpy as np

Structure: TypeAlias = "int | tuple[Structure, ...] | None"
"""A result: an int is that output, `None` is `None`, a tuple is a tuple of structures."""

Entry: TypeAlias = Callable[..., Any]
"""What `make_entry` returns: flat leaves in, positionally; the result's structure, or `MISS`, out."""

NUMBER_KINDS: Final = "biufc"
"""The dtype kinds a leaf may have: bool, signed, unsigned, float, complex."""


@final
class Miss:
    """The type of `MISS`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISS"


MISS: Final = Miss()
"""Returned by an entry whose leaves do not match its specification; nothing has been run then."""


@dataclass(frozen=True)
class LeafSpec:
    """One leaf: what an argument must be exactly, or what a result will be.

    `kind` is `"array"` (exactly `np.ndarray`, C-contiguous and aligned, also with no axes or no elements),
    `"scalar"` (exactly the NumPy scalar of `dtype`) or `"float"` (exactly a Python float, passed as float64;
    inputs only). `dtype` is a number of native byte order. Raises `ValueError` where these do not fit
    together.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    kind: Literal["array", "scalar", "float"]

    def __post_init__(self) -> None:
        if self.dtype.kind not in NUMBER_KINDS or not self.dtype.isnative:
            raise ValueError(f"a leaf is a number of native byte order, not {self.dtype!r}")
        if self.kind not in ("array", "scalar", "float"):
            raise ValueError(f"a leaf's kind is 'array', 'scalar' or 'float', not {self.kind!r}")
        if self.kind != "array" and self.shape != ():
            raise ValueError(f"a leaf of kind {self.kind!r} has shape (), not {self.shape}")
        if self.kind == "float" and self.dtype != np.float64:
            raise ValueError(f"a Python float is passed as float64, not {self.dtype}")
        if any(size < 0 for size in self.shape):
            raise ValueError(f"negative size in shape {self.shape}")


@functools.cache
def scalar_types(dtype: np.dtype[Any]) -> tuple[type, ...]:
    """The NumPy scalar types of a dtype: two where two C types have one size, as long and long long may."""
    candidates = (np.dtype(code) for code in np.typecodes["All"] if np.dtype(code).kind in NUMBER_KINDS)
    return tuple(dict.fromkeys(candidate.type for candidate in candidates if candidate == dtype))


@dataclass(frozen=True, eq=False)
class Call:
    """All that an entry needs to know; the fields are the arguments of `make_entry`, which explains them."""

    address: int
    inputs: tuple[LeafSpec, ...]
    constants: tuple[np.ndarray[Any, Any], ...]
    outputs: tuple[LeafSpec, ...]
    structure: Structure
    arena_bytes: int
    release_gil: bool
    keep_alive: object
    context_bytes: int
    on_status: Callable[[int], object]
    parallel: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if not self.address:
            raise ValueError("the address of the compute function is 0")
        if self.context_bytes < 8:
            raise ValueError(
                f"a context holds its int64 status at least: {self.context_bytes} bytes are too few"
            )
        if self.parallel[0] and self.context_bytes < 24:
            raise ValueError(f"a context of {self.context_bytes} bytes has no room for who runs chunks")
        if self.arena_bytes < 0:
            raise ValueError(f"an arena cannot have {self.arena_bytes} bytes")
        object.__setattr__(self, "keep_alive", unseen(self.keep_alive))
        for number, spec in enumerate(self.outputs):
            if spec.kind == "float":
                raise ValueError(f"output {number} is a Python float; results are arrays or NumPy scalars")
        for number, constant in enumerate(self.constants):
            if not (constant.flags.c_contiguous and constant.flags.aligned and constant.dtype.isnative):
                raise ValueError(f"constant {number} is not C-contiguous, aligned and of native byte order")
        for leaf in structure_leaves(self.structure):
            if leaf is not None and not 0 <= leaf < len(self.outputs):
                raise ValueError(f"the structure names output {leaf}, of {len(self.outputs)}")

    def raise_status(self, status: int) -> None:
        """Have `on_status` raise its exception, and see to it that something is raised."""
        self.on_status(status)
        raise SystemError(f"the compute function failed with status {status}, and on_status did not raise")


def unseen(thing: object) -> object:
    """An owner of `thing` in which the cycle collector does not look.

    The collector runs every finalizer of a dead cycle before it takes the cycle apart. Were the owner of
    machine code part of one, it could be finalized before some `__del__` that still calls the function. An
    array of objects owns what it holds but does not show it, so that the code lasts until the function itself
    is gone. (A cycle through `thing` would never be found; the owner of code does not lead back to its
    callers.)
    """
    owner = np.empty(1, object)
    owner[0] = (thing,)
    return owner


def structure_leaves(structure: Structure) -> Iterator[int | None]:
    """The leaves of a structure, in order; `TypeError` where it holds anything but ints, None and tuples."""
    if isinstance(structure, tuple):
        for part in structure:
            yield from structure_leaves(part)
    elif structure is None or isinstance(structure, int):
        yield structure
    else:
        raise TypeError(f"a structure holds ints, None and tuples, not {structure!r}")
