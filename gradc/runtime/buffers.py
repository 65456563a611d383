"""Memory as native code takes it: addresses, C arrays of them, and aligned bytes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.ir.types import ALIGNMENT


def aligned_bytes(size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """`size` (1 or more, to mean anything) uninitialized bytes that start at a multiple of `ALIGNMENT`."""
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -address_of(block) % ALIGNMENT
    return block[start : start + size]


def address_of(array: np.ndarray[Any, Any]) -> int:
    """The address of an array's elements, whether it may be written or not."""
    return array.__array_interface__["data"][0]


def pointers(arrays: Sequence[np.ndarray[Any, Any]]) -> ctypes.Array[ctypes.c_void_p]:
    """A C array of the arrays' addresses. It does not keep them alive."""
    return (ctypes.c_void_p * len(arrays))(*[address_of(array) for array in arrays])
