"""The entry of a native call in plain Python and ctypes: the reference meaning of the native one."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from gradc.runtime.buffers import address_of, aligned_bytes, pointers
from gradc.runtime.entry_spec import (
    ARRAY_TYPES,
    MISS,
    Call,
    Container,
    Entry,
    Fixed,
    LeafSpec,
    Structure,
    scalar_types,
)


def python_entry(call: Call) -> Entry:
    """The entry of `call` as a Python function of its leaves."""
    prototype = ctypes.CFUNCTYPE if call.release_gil else ctypes.PYFUNCTYPE
    compute = prototype(None, *[ctypes.c_void_p] * 4)(call.address)

    def entry(*leaves: object) -> Any:
        if len(leaves) != len(call.inputs):
            return MISS
        if not all(matches(spec, leaf) for spec, leaf in zip(call.inputs, leaves, strict=True)):
            return MISS
        given = [
            np.require(leaf, spec.dtype, ["C", "A"]) for spec, leaf in zip(call.inputs, leaves, strict=True)
        ]
        results = [np.empty(spec.shape, spec.dtype) for spec in call.outputs]
        arena = aligned_bytes(max(call.arena_bytes, 1))
        context = aligned_bytes(call.context_bytes)
        context[:] = 0
        if call.parallel[0]:
            context[8:24].view(np.int64)[:] = call.parallel
        compute(
            pointers([*given, *call.constants]),
            pointers(results),
            address_of(arena),
            address_of(context),
        )
        status = int(context[:8].view(np.int64)[0])
        if status:
            raise call.error(status)
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
        isinstance(leaf, np.ndarray)
        and type(leaf) in ARRAY_TYPES
        and leaf.shape == spec.shape
        and leaf.dtype == spec.dtype
    )


def build(structure: Structure, values: list[Any]) -> Any:
    """`values` in the places where `structure` names them."""
    if structure is None:
        return None
    if isinstance(structure, int):
        return values[structure]
    if isinstance(structure, Fixed):
        return structure.value
    if not isinstance(structure, Container):
        return tuple([build(part, values) for part in structure])
    parts = [build(part, values) for part in structure.parts]
    cls = structure.cls
    if structure.make is not None:
        return structure.make(tuple(parts))
    if cls is dict:
        return dict(zip(structure.keys, parts, strict=True))
    if issubclass(cls, tuple | list):
        return tuple.__new__(cls, parts) if issubclass(cls, tuple) else parts
    instance = object.__new__(cls)
    for name, value in zip(structure.keys, parts, strict=True):
        object.__setattr__(instance, name, value)  # also where a dataclass is frozen
    return instance
