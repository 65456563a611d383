"""The entry of a native call in plain Python and ctypes: the reference meaning of `entry_native`."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from gradc.runtime.entry_spec import MISS, Call, Entry, LeafSpec, Structure, scalar_types

ALIGNMENT = 64
"""Of the arena and the context, in bytes: a cache line, and the widest vector."""


def python_entry(call: Call) -> Entry:
    """The entry of `call` as a Python function."""
    prototype = ctypes.CFUNCTYPE if call.release_gil else ctypes.PYFUNCTYPE
    compute = prototype(None, *[ctypes.c_void_p] * 4)(call.address)
    constants = [address_of(constant) for constant in call.constants]

    def entry(*leaves: object) -> Any:
        if len(leaves) != len(call.inputs):
            return MISS
        if not all(matches(spec, leaf) for spec, leaf in zip(call.inputs, leaves, strict=True)):
            return MISS
        given = [np.asarray(leaf, spec.dtype) for spec, leaf in zip(call.inputs, leaves, strict=True)]
        results = [np.empty(spec.shape, spec.dtype) for spec in call.outputs]
        arena = aligned_bytes(call.arena_bytes)
        context = aligned_bytes(call.context_bytes)
        context[:] = 0
        compute(
            pointers([address_of(array) for array in given] + constants),
            pointers([address_of(array) for array in results]),
            address_of(arena),
            address_of(context),
        )
        status = int(context[:8].view(np.int64)[0])
        if status:
            call.raise_status(status)
        kinds = [spec.kind for spec in call.outputs]
        values = [r if kind == "array" else r[()] for r, kind in zip(results, kinds, strict=True)]
        return build(call.structure, values)

    return entry


def matches(spec: LeafSpec, leaf: object) -> bool:
    """Whether `leaf` is exactly what `spec` says."""
    if spec.kind == "float":
        return type(leaf) is float
    if spec.kind == "scalar":
        return type(leaf) in scalar_types(spec.dtype)
    return (
        type(leaf) is np.ndarray
        and leaf.flags.c_contiguous
        and leaf.flags.aligned
        and leaf.shape == spec.shape
        and leaf.dtype == spec.dtype
    )


def build(structure: Structure, values: list[Any]) -> Any:
    """`values` in the places where `structure` names them."""
    if isinstance(structure, tuple):
        return tuple([build(part, values) for part in structure])
    return None if structure is None else values[structure]


def aligned_bytes(size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """`size` uninitialized bytes, and one more, that start at a multiple of `ALIGNMENT`."""
    block = np.empty(size + ALIGNMENT, np.uint8)
    skip = -address_of(block) % ALIGNMENT
    return block[skip : skip + size + 1]  # never empty: the address of an empty slice is that of the whole


def address_of(array: np.ndarray[Any, Any]) -> int:
    """The address of an array's elements, whether it may be written or not."""
    return array.__array_interface__["data"][0]


def pointers(addresses: list[int]) -> ctypes.Array[ctypes.c_void_p]:
    """A C array of pointers."""
    return (ctypes.c_void_p * len(addresses))(*addresses)
