"""gradc's side."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from timeit import Timer
from typing import Any

import numpy as np

import gradc
from benchmarks.programs import plain
from benchmarks.programs.calls import CALLS, NUMBERS, names
from benchmarks.programs.training import RATE, training
from benchmarks.sides.side import Prepared, SideBase, flat, mapped, timed
from benchmarks.sides.work import work
from gradc.codegen.jit import Code, object_code

REPEAT = """
define void @repeat(ptr %f, ptr %in, ptr %out, ptr %arena, ptr %context, i64 %times) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  call void %f(ptr %in, ptr %out, ptr %arena, ptr %context)
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


class Side(SideBase):
    def info(self) -> dict[str, Any]:
        gradc.compile(lambda x: x + 1)(np.zeros(1))  # LLVM's own start is no program's
        return {"gradc": gradc.__version__, "NumPy": np.__version__, "threads": len(os.sched_getaffinity(0))}

    def prepare_loss(self, family: str, parameters: dict[str, Any]) -> Prepared:
        given = plain.program(family, parameters)
        loss, arguments = given.make(np), given.arguments
        call = gradc.compile(loss, wrt=given.wrt).value_and_grad
        one = gradc.compile(loss, wrt=given.wrt, threads=1).value_and_grad
        forms = {
            "all threads": Timer("f(*args)", globals={"f": call, "args": arguments}),
            "one thread": Timer("f(*args)", globals={"f": one, "args": arguments}),
        }
        return Prepared(forms, lambda: flat(call(*arguments)))

    def prepare_call(self, way: str) -> Prepared:
        """Python's floats, as one writes them."""
        make, hand_over, expression, wrt = CALLS[way]
        f = gradc.compile(make(np), wrt=wrt).value_and_grad
        forms = {}
        for form, numbers in (("floats", NUMBERS), ("NumPy scalars", tuple(map(np.float64, NUMBERS)))):
            forms[form] = Timer(expression, globals={"f": f, **names(hand_over(numbers))})
        return Prepared(
            forms, lambda: flat(gradc.compile(make(np), wrt=wrt).value_and_grad(*hand_over(NUMBERS)))
        )

    def prepare_training(self, **parameters: Any) -> Prepared:
        given = training(**parameters)
        loss = gradc.compile(given.program.make(np))
        adam = gradc.optim.adam(RATE)

        def run() -> Any:
            return gradc.fit(
                loss,
                given.params,
                (given.X, given.y),
                optimizer=adam,
                epochs=given.epochs,
                batch_size=given.batch,
                progress=False,
            )

        return Prepared({"fit": Timer(run)}, lambda: flat(run().params), per=given.steps)

    def prepare_overhead(self, family: str, parameters: dict[str, Any]) -> Prepared:
        """A call from Python, and the native function alone, called from a loop in C."""
        given = plain.program(family, parameters)
        compiled = gradc.compile(given.make(np), wrt=given.wrt, threads=1)
        call = Timer("f(*args)", globals={"f": compiled.value_and_grad, "args": given.arguments})
        lowered = compiled.lower(*given.arguments)
        native = NativeLoop(lowered, flat(given.arguments))
        native.timeit(1)
        for ours, theirs in zip(native.outputs, flat(compiled.value_and_grad(*given.arguments)), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        return Prepared({"call": call, "native": native})

    def prepare_transforms(self, family: str, parameters: dict[str, Any]) -> Prepared:
        """The value, with its gradient, and a Hessian times a vector."""
        given = plain.program(family, parameters)
        loss, (first, *rest) = given.make(np), given.arguments
        compiled = gradc.compile(loss)
        tangent = mapped(np.ones_like, first)

        @gradc.compile
        def product(first: Any, rest: Any, tangent: Any) -> Any:
            return gradc.hvp(lambda x: loss(x, *rest), (first,), (tangent,))

        variables = {
            "f": compiled,
            "product": product,
            "args": given.arguments,
            "given": (first, rest, tangent),
        }
        forms = {
            "value": Timer("f(*args)", globals=variables),
            "value and gradient": Timer("f.value_and_grad(*args)", globals=variables),
            "Hessian × vector": Timer("product(*given)", globals=variables),
        }
        return Prepared(forms, lambda: flat(product(first, rest, tangent)))

    def work(self, family: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Operations, bytes and workspace of a program."""
        given = plain.program(family, parameters)
        return work(gradc.compile(given.make(np), wrt=given.wrt).lower(*given.arguments))

    def memory(self, family: str, parameters: dict[str, Any]) -> dict[str, float]:
        """Planned bytes, without arguments and results."""
        given = plain.program(family, parameters)
        return {"planned": gradc.compile(given.make(np), wrt=given.wrt).lower(*given.arguments).memory}

    def first_call(self, family: str, parameters: dict[str, Any]) -> Callable[[], Any]:
        given = plain.program(family, parameters)
        call = gradc.compile(given.make(np), wrt=given.wrt).value_and_grad
        return lambda: call(*given.arguments)

    def trace(self, family: str, parameters: dict[str, Any]) -> dict[str, float]:
        """Seconds until the graph of the value is there, and from the function to that with the gradient."""
        given = plain.program(family, parameters)
        seconds = {}
        for name, stage in (("value", "traced"), ("value and gradient", "grad")):
            compiled = gradc.compile(given.make(np), wrt=given.wrt)
            _, seconds[name] = timed(lambda c=compiled, s=stage: c.lower(*given.arguments).graph(s))
        return seconds


class NativeLoop:
    """A compiled function called from a loop of its own, with `timeit` as `Timer` has it."""

    CALLS = 200

    def __init__(self, lowered: Any, inputs: list[np.ndarray]) -> None:
        code = Code(object_code(REPEAT))
        self.outputs = outputs = [
            np.empty(y.type.shape, y.type.dtype) for y in lowered.graph("planned").outputs
        ]
        inputs = [np.ascontiguousarray(x) for x in (*inputs, *lowered.constants)]
        room = np.zeros(lowered.memory + 128, np.uint8)
        start = -room.ctypes.data % 64
        context = np.zeros(8, np.int64)
        ins, outs = (
            (ctypes.c_void_p * max(len(arrays), 1))(*[x.ctypes.data for x in arrays])
            for arrays in (inputs, outputs)
        )
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, ctypes.c_int64)(code.address("repeat"))
        arguments = lowered.address, ctypes.addressof(ins), ctypes.addressof(outs), room.ctypes.data + start
        self._alive = lowered, code, inputs, outputs, room, context, ins, outs
        self._timer = Timer(lambda: function(*arguments, context.ctypes.data, self.CALLS))

    def timeit(self, number: int) -> float:
        """Seconds of so many calls."""
        return self._timer.timeit(number) / self.CALLS
