"""A planned graph made runnable: machine code, and calls of it from Python."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.codegen.binary import ENTRY, Binary, bytes_of
from gradc.codegen.jit import Clock, Code, assembly
from gradc.codegen.target import host
from gradc.ir.errors import RAISED_BY_CHECKS, ArgumentError
from gradc.ir.graph import Graph
from gradc.runtime import threads
from gradc.runtime.buffers import address_of, aligned_bytes, pointers
from gradc.runtime.entry import make_entry, make_plan
from gradc.runtime.entry_plan import Plan
from gradc.runtime.entry_spec import Call, Entry, Form, LeafSpec, Structure

if TYPE_CHECKING:
    from gradc.codegen.driver import Generated
    from gradc.codegen.listing import Kernels

LONG_CALL = 200_000
"""Operations (some tens of microseconds) from which a call lets other Python threads run."""

FUNCTION = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)
"""`void f(void **in, void **out, char *arena, void *context)`; ctypes releases the GIL around the call."""


class Executable:
    """Native code for one planned graph.

    `address` is the C function `void f(void **in, void **out, char *arena, void *context)`, `memory` the
    bytes of arena it needs (64-byte aligned). `in` holds the graph's inputs, then `constants`. The context's
    first field is an int64 status: 0, or the number of a message in `messages`; then come the address of a
    function that does the chunks of kernels, or 0, and how many threads may help it.
    """

    context_bytes = 64

    def __init__(
        self,
        binary: Binary,
        constants: Mapping[str, np.ndarray],
        planned: Callable[[], Graph],
        allowed: int | None = 1,
    ) -> None:
        self.binary = binary
        self.code = Code(binary.code[0], others=binary.code[1:])
        self.address = self.code.address(ENTRY)
        self.messages = binary.messages
        self.inputs = binary.inputs
        self.outputs = binary.outputs
        helping = threads.helpers(allowed) if binary.is_parallel else 0
        self.parallel = (threads.run_address(), helping) if helping else (0, 0)
        self.memory = bytes_of(binary.rooms, 1 + self.parallel[1])
        self.constants = tuple([native(constants[name]) for name in binary.captured])
        self._planned = planned
        self._function = FUNCTION(self.address)

    @cached_property
    def graph(self) -> Graph:
        """The planned graph; of code from the cache it is made when somebody asks for it."""
        return self._planned()

    def run(self, leaves: Sequence[np.ndarray], out: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """Call with arrays of exactly the graph's types, C-contiguous and aligned; fresh results, or `out`
        filled.

        Errors: `IndexOutOfBoundsError`, `LinearAlgebraError` with the user's line if a check fails.
        """
        results = [np.empty(t.shape, t.dtype) for t in self.outputs] if out is None else list(out)
        status = self.bind(leaves, results)()
        if status:
            self.fail(status)
        return results

    def bind(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> Callable[[], int]:
        """Fix the buffers of a call that is made many times; calling what this gives runs it and gives the
        status.

        Not for several threads at once: the workspace is fixed too.
        """
        ins = pointers([*inputs, *self.constants])
        outs = pointers(outputs)
        arena = aligned_bytes(max(self.memory, 1))
        context = aligned_bytes(self.context_bytes)
        context[:] = 0
        status = context.view(np.int64)
        status[1:3] = self.parallel
        function = self._function
        arguments = ctypes.addressof(ins), ctypes.addressof(outs), address_of(arena), address_of(context)
        keep = (inputs, outputs, ins, outs, arena, self)

        def call(_keep: object = keep) -> int:
            function(*arguments)
            code = int(status[0])
            if code:
                status[0] = 0
            return code

        return call

    def entry(self, inputs: Sequence[LeafSpec], outputs: Sequence[LeafSpec], structure: Structure) -> Entry:
        """A built-in function of flat leaves that gives `structure`, or `MISS`: see `gradc.runtime.entry`."""
        return make_entry(*self._call(inputs, outputs, structure))

    def plan(
        self, inputs: Sequence[LeafSpec], outputs: Sequence[LeafSpec], structure: Structure, form: Form
    ) -> Plan:
        """What a native function needs to take calls of a form."""
        return make_plan(Call(*self._call(inputs, outputs, structure)), form)

    def _call(
        self, inputs: Sequence[LeafSpec], outputs: Sequence[LeafSpec], structure: Structure
    ) -> tuple[Any, ...]:
        return (
            self.address,
            tuple(inputs),
            self.constants,
            tuple(outputs),
            structure,
            self.memory,
            self.binary.work > LONG_CALL,
            self.code,
            self.context_bytes,
            self.fail,
            self.parallel,
        )

    def fail(self, status: int) -> None:
        """Raise what a status means."""
        message = self.messages[status - 1]
        raise RAISED_BY_CHECKS[message.error](message.text, message.source)

    def kernels(self, results: Sequence[str] = ()) -> Kernels:
        """What runs, in order; the graph's outputs are called `results`."""
        from gradc.codegen.listing import listing

        return listing(self.graph, self._generated().steps, results)

    @property
    def loops(self) -> str:
        """The kernels as loops."""
        return "\n\n".join(str(code) for code in self._generated().kernels.values())

    @property
    def llvm(self) -> str:
        return self._text()

    @property
    def assembly(self) -> str:
        return assembly(self._text(), host())

    def _generated(self) -> Generated:
        """The texts, which nobody keeps: they are long, and few ask for them."""
        from gradc.codegen.driver import generate

        return generate(self.graph, host())

    def _text(self) -> str:
        (text,) = self._generated().module.texts()
        return text

    def dump(self, stage: str) -> str:
        """The text of a stage after planning: "loops", "llvm" or "asm"."""
        try:
            return {"loops": lambda: self.loops, "llvm": lambda: self.llvm, "asm": lambda: self.assembly}[
                stage
            ]()
        except KeyError:
            raise ArgumentError(f"there is no stage {stage!r} of machine code") from None


def load(graph: Graph, threads: int | None = 1, clock: Clock | None = None) -> Executable:
    """Compile a planned graph, to be run by so many threads; None: one for each CPU. A clock is told the time
    of each step."""
    from gradc.codegen.driver import compiled

    binary = compiled(graph, host(), clock)
    start = time.perf_counter()
    executable = Executable(binary, graph.constants, lambda: graph, threads)
    if clock is not None:
        clock("load", time.perf_counter() - start)
    return executable


def native(array: np.ndarray) -> np.ndarray:
    """The array in the form that native code reads: C-contiguous, aligned, of native byte order."""
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])
