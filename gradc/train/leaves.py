"""A tree taken apart for a native step: what its leaves are called, which are traced, and their memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from gradc.api.signature import WEAK, check_leaf, is_traced, kind_of, leaf_key, leaf_type, native_leaf
from gradc.runtime.buffers import aligned_bytes
from gradc.trace import Input, Static, tree


class Leaves:
    """The leaves of trees that go into a step, by the rules for arguments of compiled functions.

    `traced` are the positions of the leaves that are arrays or floats; all others are part of the trace.
    Errors: `ArgumentError` for a leaf that is neither.
    """

    def __init__(self, value: Any, names: Iterable[str]) -> None:
        self.leaves, self.treedef = tree.flatten(value)
        self.names = list(names)
        for leaf, name in zip(self.leaves, self.names, strict=True):
            check_leaf(leaf, name)
        self.keys: list[Hashable] = [leaf_key(leaf) for leaf in self.leaves]
        self.traced = [i for i, key in enumerate(self.keys) if is_traced(key)]

    @property
    def signature(self) -> tuple[Hashable, ...]:
        """What a trace depends on."""
        return self.treedef, *self.keys

    def inputs(self) -> list[Input | Static]:
        """The leaves as a trace takes them."""
        traced = set(self.traced)
        return [
            Input(leaf_type(key), key is WEAK, name) if i in traced else Static(leaf)
            for i, (key, leaf, name) in enumerate(zip(self.keys, self.leaves, self.names, strict=True))
        ]

    def arrays(self) -> list[np.ndarray]:
        """The traced leaves as native code reads them: the caller's own memory if its layout allows that."""
        return [np.asarray(native_leaf(self.leaves[i], kind_of(self.leaves[i]))) for i in self.traced]

    def rebuild(self, arrays: Iterable[np.ndarray]) -> Any:
        """The tree with these contents for its traced leaves, copied, each of the kind and dtype it had."""
        leaves = list(self.leaves)
        for i, array in zip(self.traced, arrays, strict=True):
            kind = kind_of(self.leaves[i])
            if kind == "float":
                leaves[i] = float(array)
            else:
                array = np.array(array, self.leaves[i].dtype)
                leaves[i] = array if kind == "array" else array[()]
        return tree.unflatten(self.treedef, leaves)


def copied(array: np.ndarray) -> np.ndarray:
    """A copy that starts at a multiple of 64 bytes, so that vectors do not straddle cache lines."""
    copy = like(array)
    copy[...] = array
    return copy


def like(array: np.ndarray) -> np.ndarray:
    """Uninitialized memory for an array of the same type, at a multiple of 64 bytes."""
    return aligned_bytes(array.nbytes).view(array.dtype).reshape(array.shape)
