"""How types and constants are written in LLVM IR."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from gradc.ir.types import BOOL


def llvm_type(dtype: np.dtype, lanes: int = 1, memory: bool = False) -> str:
    """The type of a value (a bool is i1 in registers and i8 in memory), or of a vector of them."""
    if dtype == BOOL:
        scalar = "i8" if memory else "i1"
    elif dtype.kind == "f":
        scalar = {4: "float", 8: "double"}[dtype.itemsize]
    else:
        scalar = f"i{dtype.itemsize * 8}"
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def literal(value: Any, dtype: np.dtype, lanes: int = 1) -> str:
    """A constant; floats by their bits, which is the one spelling that is always exact."""
    if dtype == BOOL:
        text = "true" if value else "false"
    elif dtype.kind == "f":
        bits = struct.unpack("<Q", struct.pack("<d", float(dtype.type(value))))[0]
        text = f"0x{bits:016X}"
    else:
        text = str(int(value))
    return text if lanes == 1 else f"splat ({llvm_type(dtype)} {text})"
