"""LLVM text to machine code in this process."""

from __future__ import annotations

import threading
from functools import lru_cache

import llvmlite.binding as llvm

from gradc.codegen.target import Target, host

_lock = threading.Lock()


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

    `address(symbol)` gives a function's address, `assembly` its text.
    """

    def __init__(self, text: str, target: Target | None = None) -> None:
        self.target = target or host()
        with _lock:  # llvmlite's context is one for the process
            self.machine = target_machine(self.target)
            module = llvm.parse_assembly(text)
            optimize(module, self.machine)
            # llvmlite's own memory manager puts code and constants side by side.
            self.engine = llvm.create_mcjit_compiler(module, self.machine, use_lmm=True)
            self.engine.finalize_object()

    def address(self, symbol: str) -> int:
        return self.engine.get_function_address(symbol)


def optimize(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """The few passes that our text needs; loop order, vectors and hoisting are done before.

    Elementary functions are inlined, accumulators and counters move from memory to registers, and what is
    left over goes. LLVM's standard pipelines take several times as long and give no faster code (measured in
    benchmarks/pipelines.py).
    """
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, builder)


def assembly(text: str, target: Target) -> str:
    """The assembly of a module."""
    with _lock:
        machine = target_machine(target)
        module = llvm.parse_assembly(text)
        optimize(module, machine)
        return machine.emit_assembly(module)
