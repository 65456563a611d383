"""What a native call takes and gives: its leaves, the trees they stand in, and the checks of all that.

Both forms of the entry (`entry_routine`, `entry_python`) read the same `Call`, so that they mean the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias, final

import numpy as np

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
"""Returned by an entry whose leaves do not match its specification; nothing has been run then. As a default
of a parameter: there is none."""


@dataclass(frozen=True)
class LeafSpec:
    """One leaf: what an argument must be exactly, or what a result will be.

    `kind` is `"array"` (`np.ndarray` or `np.memmap`, also with no axes or no elements; of arguments, arrays
    that are not C-contiguous and aligned are copied), `"scalar"` (exactly the NumPy scalar of `dtype`) or
    `"float"` (exactly a Python float, passed as float64; inputs only). `dtype` is a number of native byte
    order. Raises `ValueError` where these do not fit together.
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


ARRAY_TYPES: Final = (np.ndarray, np.memmap)


# Trees of arguments and of results


class Container(NamedTuple):
    """A tuple, list or dict, NamedTuple or dataclass: its exact type, its keys or fields, and its parts.

    A result may also be whatever `make` gives for the tuple of parts.
    """

    cls: type
    keys: tuple[Any, ...]
    parts: tuple[Tree, ...]
    make: Callable[[Any], Any] | None = None


class Fixed(NamedTuple):
    """A leaf that has a value. Of a result: that very object. Of an argument, `by` says how it is compared:

    `"is"`: the object itself; `"equal"`: of the same type and equal, for types whose `==` runs no code of the
    user's; `"bits"`: a float of these bits; `"alive"`: the object of a weak reference. An argument may be an
    input too.
    """

    value: Any
    by: Literal["is", "equal", "bits", "alive"] = "is"
    input: int | None = None


Tree: TypeAlias = "int | Container | Fixed | tuple[Tree, ...] | None"
"""Of arguments: an int is that input. Of a result: an int is that output, a tuple a tuple, `None` itself."""

Structure: TypeAlias = Tree


class Form(NamedTuple):
    """How arguments are passed: a tree for each, in order, those that may be given by position first.

    `names` has None where an argument is given by position only, `defaults` has `MISS` where there is none.
    The arguments from `options` on are given by name and in this order, as `**options` takes them.
    """

    parts: tuple[Tree, ...]
    names: tuple[str | None, ...]
    defaults: tuple[Any, ...]
    positional: int
    options: int


def flat_form(count: int) -> Form:
    """The form of `count` leaves, by position."""
    return Form(tuple(range(count)), (None,) * count, (MISS,) * count, count, count)


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
        for leaf in tree_leaves(self.structure):
            if isinstance(leaf, int) and not 0 <= leaf < len(self.outputs):
                raise ValueError(f"the structure names output {leaf}, of {len(self.outputs)}")

    def error(self, status: int) -> BaseException:
        """The exception that `on_status` raises; where it raises none, one that says so."""
        try:
            self.on_status(status)
        except BaseException as error:
            return error.with_traceback(None)
        return SystemError(f"the compute function failed with status {status}, and on_status did not raise")


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


def tree_leaves(tree: Tree) -> Iterator[int | Fixed | None]:
    """The leaves of a tree, in order; `TypeError` where it holds anything else than trees do."""
    if isinstance(tree, Container):
        tree = tree.parts
    if isinstance(tree, tuple) and not isinstance(tree, Fixed):
        for part in tree:
            yield from tree_leaves(part)
    elif tree is None or isinstance(tree, int | Fixed):
        yield tree
    else:
        raise TypeError(f"a structure holds ints, None, tuples and containers, not {tree!r}")
