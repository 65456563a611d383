"""LLVM text to machine code in this process."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm

from gradc.codegen.target import Target, host

_lock = threading.Lock()


@lru_cache(maxsize=1)
def _initialized() -> bool:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return True


def target_machine(target: Target, level: int = 2) -> llvm.TargetMachine:
    """LLVM's back end for a target."""
    _initialized()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=level, jit=True
    )


class Code:
    """Machine code of one module, alive as long as this object is.

    `address(symbol)` gives a function's address, `assembly` its text.
    """

    def __init__(self, text: str, target: Target | None = None, level: int = 1) -> None:
        self.target = target or host()
        with _lock:  # llvmlite's context is one for the process
            self.machine = target_machine(self.target)
            module = llvm.parse_assembly(text)
            optimize(module, self.machine, level)
            self.engine = llvm.create_mcjit_compiler(module, self.machine)
            self.engine.finalize_object()

    def address(self, symbol: str) -> int:
        return self.engine.get_function_address(symbol)


def optimize(module: Any, machine: llvm.TargetMachine, level: int) -> None:
    """LLVM's own pipeline; vectors and loop order are ours, so its vectorizers stay off."""
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)


def assembly(text: str, target: Target, level: int = 1) -> str:
    """The assembly of a module."""
    with _lock:
        machine = target_machine(target)
        module = llvm.parse_assembly(text)
        optimize(module, machine, level)
        return machine.emit_assembly(module)
