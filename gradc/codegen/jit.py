"""LLVM text to machine code in this process."""

from __future__ import annotations

import threading
from functools import lru_cache

import llvmlite.binding as llvm

from gradc.codegen import library
from gradc.codegen.target import Target, host

_lock = threading.Lock()
"""Held while LLVM works: its passes are shared."""


@lru_cache(maxsize=1)
def _initialized() -> bool:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return True


def target_machine(target: Target, level: int = 2) -> llvm.TargetMachine:
    """LLVM's back end for a target. Code finds its constants relative to itself, so it can lie anywhere."""
    _initialized()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=level, reloc="pic", codemodel="small", jit=True
    )


class Code:
    """Machine code of one module, alive as long as this object is.

    `address(symbol)` gives a function's address. The engine owns the module and the target machine. Types and
    constants live in a context of its own: what LLVM's global one has seen, it keeps for ever.
    """

    def __init__(self, text: str, target: Target | None = None) -> None:
        self.target = target or host()
        self._context = llvm.create_context()
        with _lock:
            library.link(library.symbols_in(text))
            module = llvm.parse_assembly(text, self._context)
            optimize(module, self.target)
            # llvmlite's own memory manager puts code and constants side by side.
            self.engine = llvm.create_mcjit_compiler(module, target_machine(self.target), use_lmm=True)
            self.engine.finalize_object()

    def __del__(self) -> None:
        # The engine disposes of its module, for which the context must still be there.
        self.__dict__.pop("engine", None)

    def address(self, symbol: str) -> int:
        return self.engine.get_function_address(symbol)


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
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    builder = llvm.create_pass_builder(target_machine(target), options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_global_dead_code_eliminate_pass()
    return passes, builder


def assembly(text: str, target: Target) -> str:
    """The assembly of a module."""
    with _lock:
        module = llvm.parse_assembly(text, llvm.create_context())
        optimize(module, target)
        return target_machine(target).emit_assembly(module)
