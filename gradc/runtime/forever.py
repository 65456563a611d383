"""Machine code of the runtime's own, which is never unloaded: arrays and threads outlive everything else."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from typing import Any

import llvmlite.binding as llvm


def load_forever(text: str, numbers: Mapping[str, int], outside: Mapping[str, int]) -> llvm.ExecutionEngine:
    """LLVM text as machine code; `numbers` are for names in capitals, `outside` has functions' addresses."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = re.sub(r"\b[A-Z_]{4,}\b", lambda m: str(numbers.get(m[0], m[0])), text)
    module = llvm.parse_assembly(text)
    machine = llvm.Target.from_default_triple().create_target_machine(opt=1)
    engine = llvm.create_mcjit_compiler(module, machine)
    for name, address in outside.items():
        engine.add_global_mapping(module.get_function(name), address)
    engine.finalize_object()
    keep_forever(engine)
    return engine


def keep_forever(thing: object) -> None:
    """Own a reference that nobody gives back."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def address_in(library: Any, name: str) -> int:
    """The address of a C function."""
    address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    assert address is not None
    return address
