"""Machine code of the runtime's own, which is never unloaded: arrays and threads outlive everything else."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from typing import Any

from gradc.codegen.jit import Code, object_code


def load_forever(text: str, numbers: Mapping[str, object], outside: Mapping[str, int]) -> Code:
    """LLVM text as machine code; `numbers` are put for names in capitals, `outside` has addresses."""
    code = Code(object_code(with_numbers(text, numbers)), outside)
    keep_forever(code)
    return code


def with_numbers(text: str, numbers: Mapping[str, object]) -> str:
    """LLVM text with numbers (or text) in place of their names in capitals."""
    return re.sub(r"\b[A-Z_]{4,}\b", lambda m: str(numbers.get(m[0], m[0])), text)


def keep_forever(thing: object) -> None:
    """Own a reference that nobody gives back."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def address_in(library: Any, name: str) -> int:
    """The address of a C function."""
    address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    assert address is not None
    return address
