"""Machine code of the runtime's own, which is never unloaded: arrays and threads outlive everything else."""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Mapping
from typing import Any

from gradc.codegen.elf import FormatError
from gradc.codegen.jit import Code, object_code
from gradc.runtime import environment
from gradc.runtime.cache import cache


def load_forever(text: str, numbers: Mapping[str, object], outside: Mapping[str, int]) -> Code:
    """LLVM text as machine code; `numbers` are put for names in capitals, `outside` has addresses."""
    key = f"{text} {sorted(numbers.items())}"
    code = kept(key, outside)
    if code is None:
        data = object_code(with_numbers(text, numbers))
        code = Code(data, outside)
        keep(key, data)
    keep_forever(code)
    return code


def kept(key: str, outside: Mapping[str, int]) -> Code | None:
    """The machine code that the cache has for a key, which is the text that it comes from in some form."""
    try:
        store = cache()
        found = store and store.get(environment.key(store, "runtime", key)).data
        return Code(found, outside) if found else None
    except (environment.UnknownError, FormatError):
        return None


def keep(key: str, data: bytes) -> None:
    """Put an object file into the cache."""
    with contextlib.suppress(environment.UnknownError):
        if (store := cache()) is not None:
            store.put(environment.key(store, "runtime", key), data)


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
