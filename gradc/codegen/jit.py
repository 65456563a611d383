"""LLVM text to object code, and object code to machine code in this process."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gradc.codegen import elf, library
from gradc.codegen.target import Target, host

if TYPE_CHECKING:
    import llvmlite.binding as llvm

_lock = threading.Lock()
"""Held while LLVM's table of symbols is filled and read."""


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


Clock = Callable[[str, float], None]
"""Is told the name of a step, and how many seconds it took (steps side by side are told each)."""


def object_code(text: str, target: Target | None = None, level: int = 2, clock: Clock | None = None) -> bytes:
    """A module compiled to an object file."""
    target = target or host()
    times = [time.perf_counter()]
    # Types and constants in a context of their own: what LLVM's global one has seen, it keeps for ever.
    module = _llvm().parse_assembly(text, _llvm().create_context())
    times.append(time.perf_counter())
    optimize(module, target)
    times.append(time.perf_counter())
    code = _emitted(target_machine(target, level), module)
    times.append(time.perf_counter())
    if clock is not None:
        for name, start, end in zip(
            ("LLVM parse", "LLVM optimize", "LLVM emit"), times, times[1:], strict=False
        ):
            clock(name, end - start)
    return code


def object_codes(
    texts: Sequence[str], target: Target | None = None, clock: Clock | None = None
) -> tuple[bytes, ...]:
    """Modules compiled to object files, each by a thread of its own."""
    files: list[bytes | BaseException] = [b""] * len(texts)

    def compile(k: int) -> None:
        try:
            files[k] = object_code(texts[k], target, clock=clock)
        except BaseException as error:
            files[k] = error

    helpers = [threading.Thread(target=compile, args=(k,)) for k in range(1, len(texts))]
    for helper in helpers:
        helper.start()
    compile(0)
    for helper in helpers:
        helper.join()
    for file in files:
        if isinstance(file, BaseException):
            raise file
    return tuple([file for file in files if isinstance(file, bytes)])


MOST = 4
"""So many modules at most: what they share is compiled in each."""


def workers() -> int:
    """How many modules are worth compiling at the same time."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cpus, MOST)


def _unlocked(name: str) -> Callable[..., Any]:
    """A function of LLVM without the lock that llvmlite puts around all of them.

    LLVM's own rule is that a context, and what lives in it, belongs to one thread at a time. With an llvmlite
    that is built in another way, threads take turns.
    """
    function = getattr(_llvm().ffi.lib, name)
    return getattr(function, "_cfn", function)


def _emitted(machine: llvm.TargetMachine, module: llvm.ModuleRef) -> bytes:
    """`machine.emit_object(module)`, beside other threads."""
    library = _llvm().ffi.lib
    with _llvm().ffi.OutputString() as error:
        buffer = _unlocked("LLVMPY_TargetMachineEmitToMemory")(machine, module, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
    try:
        return ctypes.string_at(library.LLVMPY_GetBufferStart(buffer), library.LLVMPY_GetBufferSize(buffer))
    finally:
        library.LLVMPY_DisposeMemoryBuffer(buffer)


class Code:
    """Object files as machine code, alive as long as this object is.

    `address(symbol)` gives the address of a function of the first file, which may call functions of the
    others. `outside` has the addresses of what the files name beyond that, but for loops
    (`gradc.codegen.library`) and C's functions that move memory.
    """

    def __init__(
        self, first: bytes, outside: Mapping[str, int] | None = None, others: Sequence[bytes] = ()
    ) -> None:
        files, known = (*others, first), dict(outside or {})
        self._loaded: list[Any] = []
        if not elf.runs_here():
            self._loaded.append(_Engine(files, known))
            return
        for data in files:
            image = elf.Image(data, lambda name: known.get(name) or address_of(name))
            known.update(image.symbols)
            self._loaded.append(image)

    def address(self, symbol: str) -> int:
        return self._loaded[-1].address(symbol)


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
    """What `elf.Image` does, by LLVM's own loader, for systems and machines that the former does not know."""

    def __init__(self, files: Sequence[bytes], outside: Mapping[str, int]) -> None:
        llvm = _llvm()
        loop = rf"{re.escape(library.PREFIX)}[\w.]+".encode()
        loops = {name.decode() for data in files for name in re.findall(loop, data)}
        self._context = llvm.create_context()
        with _lock:
            for name, address in {**{name: address_of(name) for name in loops}, **outside}.items():
                llvm.add_symbol(name, address)
            # llvmlite's own memory manager puts code and constants side by side.
            empty = llvm.parse_assembly("", self._context)
            self._engine = llvm.create_mcjit_compiler(empty, target_machine(host()), use_lmm=True)
            for data in files:
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
    idle = _idle.setdefault(target, [])
    passes, builder = idle.pop() if idle else _passes(target)
    _unlocked("LLVMPY_RunNewModulePassManager")(passes, module, builder)
    idle.append((passes, builder))


_idle: dict[Target, list[tuple[llvm.ModulePassManager, llvm.PassBuilder]]] = {}
"""Passes that no thread uses now: llvmlite does not free those of a pass manager, nor all of a builder."""


def _passes(target: Target) -> tuple[llvm.ModulePassManager, llvm.PassBuilder]:
    """The passes, for one thread at a time."""
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
    module = _llvm().parse_assembly(text, _llvm().create_context())
    optimize(module, target)
    return target_machine(target).emit_assembly(module)
