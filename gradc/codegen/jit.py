"""LLVM text to object code, and object code to machine code in this process."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gradc.codegen import elf, library
from gradc.codegen.target import Target, host

if TYPE_CHECKING:
    import llvmlite.binding as llvm

_lock = threading.Lock()
"""Held while LLVM works: its passes are shared."""


@lru_cache(maxsize=1)
def _llvm() -> Any:
    """LLVM, loaded when something is compiled: what comes from the cache runs without it."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def target_machine(target: Target, level: int = 2) -> llvm.TargetMachine:
    """LLVM's back end for a target. Code finds its constants relative to itself, so it can lie anywhere."""
    return (
        _llvm()
        .Target.from_triple(target.triple)
        .create_target_machine(
            cpu=target.cpu, features=target.features, opt=level, reloc="pic", codemodel="small", jit=True
        )
    )


def object_code(text: str, target: Target | None = None, level: int = 2) -> bytes:
    """A module compiled to an object file."""
    target = target or host()
    with _lock:
        # Types and constants in a context of their own: what LLVM's global one has seen, it keeps for ever.
        module = _llvm().parse_assembly(text, _llvm().create_context())
        optimize(module, target)
        return target_machine(target, level).emit_object(module)


class Code:
    """An object file as machine code, alive as long as this object is.

    `address(symbol)` gives a function's address. `outside` has the addresses of what the file names, but for
    loops (`gradc.codegen.library`) and C's functions that move memory.
    """

    def __init__(self, data: bytes, outside: Mapping[str, int] | None = None) -> None:
        known = outside or {}
        if elf.is_supported(data):
            self._loaded = elf.Image(data, lambda name: known.get(name) or address_of(name))
        else:
            self._loaded = _Engine(data, known)

    def address(self, symbol: str) -> int:
        return self._loaded.address(symbol)


def address_of(name: str) -> int:
    """Where a loop, or a function of C, is."""
    if name.startswith(library.PREFIX):
        return ctypes.addressof(library.record(name))
    if name in ("memcpy", "memmove", "memset"):
        return ctypes.cast(getattr(_c(), name), ctypes.c_void_p).value or 0
    raise elf.FormatError(f"object code names {name}")


@functools.cache
def _c() -> ctypes.CDLL:
    return ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)


class _Engine:
    """What `elf.Image` is, by LLVM's own loader, for systems and machines that the former does not know."""

    def __init__(self, data: bytes, outside: Mapping[str, int]) -> None:
        llvm = _llvm()
        loops = {name.decode() for name in re.findall(rf"{re.escape(library.PREFIX)}[\w.]+".encode(), data)}
        self._context = llvm.create_context()
        with _lock:
            for name, address in {**{name: address_of(name) for name in loops}, **outside}.items():
                llvm.add_symbol(name, address)
            # llvmlite's own memory manager puts code and constants side by side.
            empty = llvm.parse_assembly("", self._context)
            self._engine = llvm.create_mcjit_compiler(empty, target_machine(host()), use_lmm=True)
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(data))
            self._engine.finalize_object()

    def __del__(self) -> None:
        # The engine disposes of its module, for which the context must still be there.
        self.__dict__.pop("_engine", None)

    def address(self, symbol: str) -> int:
        return self._engine.get_function_address(symbol)


def optimize(module: llvm.ModuleRef, target: Target) -> None:
    """The few passes that our text needs; loop order, vectors and hoisting are done before.

    Elementary functions are inlined, accumulators and counters move from memory to registers, and what is
    left over goes. LLVM's standard pipelines take several times as long and give no faster code (measured in
    benchmarks/pipelines.py).
    """
    passes, builder = _passes(target)
    passes.run(module, builder)


@lru_cache(maxsize=8)
def _passes(target: Target) -> tuple[llvm.ModulePassManager, llvm.PassBuilder]:
    """Made once: llvmlite does not free the passes of a pass manager, nor all of a pass builder."""
    options = _llvm().create_pipeline_tuning_options(speed_level=1)
    builder = _llvm().create_pass_builder(target_machine(target), options)
    passes = _llvm().create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_global_dead_code_eliminate_pass()
    return passes, builder


def assembly(text: str, target: Target) -> str:
    """The assembly of a module."""
    with _lock:
        module = _llvm().parse_assembly(text, _llvm().create_context())
        optimize(module, target)
        return target_machine(target).emit_assembly(module)
