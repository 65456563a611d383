"""Which of LLVM's passes pay: compile and run time of a network's gradient under several pipelines."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np

from gradc.codegen import jit
from gradc.codegen.binary import ENTRY
from gradc.codegen.driver import generate
from gradc.codegen.target import host
from gradc.ir import Graph
from gradc.ir.types import type_of
from gradc.passes import pipeline
from gradc.passes.grad import grad
from gradc.runtime.executable import FUNCTION, load
from gradc.trace import Input, trace, tree

ROUNDS = 20


def network() -> tuple[Graph, list[np.ndarray]]:
    """Loss and gradient of a 64-64-32-10 relu network on 32 rows, float32."""

    def loss(params: dict[str, np.ndarray], X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        h1 = np.maximum(X @ params["W1"] + params["b1"], 0)
        h2 = np.maximum(h1 @ params["W2"] + params["b2"], 0)
        z = h2 @ params["W3"] + params["b3"]
        return -np.mean(np.sum(Y * (z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))), axis=1))

    rng = np.random.default_rng(0)
    params = {}
    for i, (n, m) in enumerate(((64, 64), (64, 32), (32, 10)), start=1):
        params[f"W{i}"] = rng.normal(size=(n, m)).astype(np.float32) * 0.1
        params[f"b{i}"] = np.zeros(m, np.float32)
    arguments = (
        params,
        rng.normal(size=(32, 64)).astype(np.float32),
        np.eye(10, dtype=np.float32)[np.arange(32) % 10],
    )
    leaves, treedef = tree.flatten((arguments, {}))
    inputs = [Input(type_of(leaf), False, f"x{i}") for i, leaf in enumerate(leaves)]
    traced = trace(loss, treedef, inputs, name="loss").graph
    return pipeline.run(grad(pipeline.prepare(traced), range(6))), leaves


def standard(level: int) -> Callable[[llvm.ModuleRef, llvm.TargetMachine], None]:
    """LLVM's own pipeline of a level, its vectorizers and unrolling off."""

    def run(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
        options = llvm.create_pipeline_tuning_options(speed_level=level)
        options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)

    return run


def ours(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    jit.optimize(module, host())


def main() -> None:
    """Print a table: milliseconds to compile, microseconds to run."""
    planned, leaves = network()
    (text,) = generate(planned, host()).module.texts()
    executable = load(planned)
    outputs = [np.empty(y.shape, y.dtype) for y in planned.outputs]
    bound = executable.bind(leaves, outputs)
    print(f"bound call as gradc compiles it: {timed(bound) * 1e6:.2f} us")
    arguments = bound.__defaults__  # the buffers, kept alive
    assert arguments is not None
    _, _, ins, outs, arena, _ = arguments[0]
    context = np.zeros(64, np.uint8)
    print(f"{'pipeline':<12} {'parse':>7} {'passes':>7} {'emit':>7} ms {'run':>8} us")
    pipelines = [("ours", ours), ("O1", standard(1)), ("O2", standard(2))]
    for name, optimize in pipelines:
        times = []
        machine = jit.target_machine(host())
        start = time.perf_counter()
        module = llvm.parse_assembly(text)
        times.append(time.perf_counter())
        optimize(module, machine)
        times.append(time.perf_counter())
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
        times.append(time.perf_counter())
        function = FUNCTION(engine.get_function_address(ENTRY))
        call = ctypes.addressof(ins), ctypes.addressof(outs), arena.ctypes.data, context.ctypes.data
        seconds = timed(lambda function=function, call=call: function(*call))
        steps = [b - a for a, b in zip([start, *times], times, strict=False)]
        print(f"{name:<12} " + " ".join(f"{s * 1e3:7.1f}" for s in steps) + f"    {seconds * 1e6:8.2f}")


def timed(call: Callable[[], object], repeat: int = 200) -> float:
    """The best mean of several rounds, in seconds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(repeat):
            call()
        best = min(best, (time.perf_counter() - start) / repeat)
    return best


if __name__ == "__main__":
    main()
