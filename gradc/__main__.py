"""The same inspection from a shell: `python -m gradc run | stages | dump | cache`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradc import ir
from gradc.api import backend
from gradc.api.backend import GRAPH_STAGES, STAGES, Options
from gradc.api.compiled import Compiled
from gradc.api.compiled import compile as compile_
from gradc.inspect import cache
from gradc.inspect.debug import GRAPHS, Debug


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, 1 with the error on stderr."""
    parser = argparse.ArgumentParser(prog="python -m gradc", description="Look inside of compiled functions.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="compile a graph, run it, compare with its reference meaning")
    stages = commands.add_parser("stages", help="show a graph after every pass, and what it computes there")
    for command in (run, stages):
        command.add_argument("file", help="a graph as text (- for stdin)")
        command.add_argument("--inputs", nargs="*", default=[], help=".npy files; random numbers if left out")
        command.add_argument("--constants", nargs="*", default=[], help="captured arrays: name.npy")
    dump = commands.add_parser("dump", help="print a stage of a function")
    dump.add_argument("function", help="module:function")
    dump.add_argument("arguments", nargs="*", help='types of arrays ("f32[3]"), or Python literals')
    dump.add_argument("--stage", default="optimized", choices=STAGES)
    dump.add_argument("--of", default=None, choices=["value", "grad", "value_and_grad"])
    cache.add_arguments(commands)
    options = parser.parse_args(arguments)
    try:
        do = {"run": _run, "stages": _stages, "dump": _dump, "cache": cache.run}[options.command]
        return do(options) or 0
    except (ir.GradcError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _load(options: argparse.Namespace) -> tuple[ir.Graph, list[np.ndarray]]:
    """The graph of a file with its captured arrays, and what to run it on."""
    text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text(encoding="utf-8")
    graph = ir.parse(text)
    ir.verify(graph)
    rng = np.random.default_rng(0)
    given = {Path(name).stem: np.load(name) for name in options.constants}
    for node in graph.walk():
        if node.op.name == "captured" and node.attrs["name"] not in given:
            given[node.attrs["name"]] = random_array(node.types[0], rng)
    graph = graph.replace(constants=given)
    if options.inputs:
        return graph, [np.load(name) for name in options.inputs]
    return graph, [random_array(x.type, rng) for x in graph.inputs]


def random_array(type: ir.Type, rng: np.random.Generator) -> np.ndarray:
    """Normal numbers, small integers (which are good indices more often than large ones), bools."""
    if type.is_float:
        array = rng.standard_normal(type.shape)
    else:
        array = rng.integers(0, 2 if type.is_bool else 4, type.shape)
    return np.asarray(array).astype(type.dtype)


def _run(options: argparse.Namespace) -> None:
    graph, leaves = _load(options)
    expected = ir.evaluate(graph, *leaves)
    start = time.perf_counter()
    executable = backend.build(graph, Options())
    compiled = time.perf_counter() - start
    start = time.perf_counter()
    results = executable.run(leaves)
    ran = time.perf_counter() - start
    print(f"compiled in {compiled * 1e3:.1f} ms, ran in {ran * 1e6:.1f} us")
    for i, (y, found, wanted) in enumerate(zip(graph.outputs, results, expected, strict=True)):
        print(f"output {i}: {y.type}, {_difference(found, wanted)}")
        print(np.array2string(found, threshold=16, edgeitems=2, prefix="  "))


def _stages(options: argparse.Namespace) -> None:
    graph, leaves = _load(options)
    expected = ir.evaluate(graph, *leaves)
    print(graph)
    for stage in GRAPH_STAGES[2:]:
        reached = backend.run_stages(graph, Options(), stage, Debug(GRAPHS - 1, None))
        ir.verify(reached, after=stage)
        print(f"\n# {stage}\n{reached}")
        for i, (found, wanted) in enumerate(zip(ir.evaluate(reached, *leaves), expected, strict=True)):
            print(f"# output {i}: {_difference(found, wanted)}")


def _difference(found: np.ndarray, wanted: np.ndarray) -> str:
    """How far two results are apart, in words."""
    if np.array_equal(found, wanted, equal_nan=found.dtype.kind == "f"):
        return "equal to the reference"
    if found.dtype.kind != "f":
        return f"{np.count_nonzero(found != wanted)} of {found.size} elements differ from the reference"
    with np.errstate(all="ignore"):
        error = np.abs(found - wanted) / np.spacing(np.maximum(np.abs(wanted), np.finfo(found.dtype).tiny))
    return f"at most {np.nanmax(error):.3g} ulp from the reference"


def _found(name: str) -> Any:
    """What `module:function` names, with the current folder in the path. Errors: `ArgumentError`."""
    module, colon, path = name.partition(":")
    hint = "module:function, or module:Class.method, with a module that can be imported from here"
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ir.ArgumentError(f"{name}: {error}", hint=hint) from error
    if not colon:
        raise ir.ArgumentError(f"{name} names no function", hint=hint)
    for part in path.split("."):
        if not hasattr(found, part):
            raise ir.ArgumentError(
                f"{name}: there is no {part} in {getattr(found, '__name__', found)}", hint=hint
            )
        found = getattr(found, part)
    return found


def _dump(options: argparse.Namespace) -> None:
    import ast

    found = _found(options.function)
    function: Any = found if isinstance(found, Compiled) else compile_(found)
    arguments = []
    for text in options.arguments:
        try:
            arguments.append(ast.literal_eval(text))
        except (ValueError, SyntaxError):
            arguments.append(text)
    print(function.dump(*arguments, stage=options.stage, of=options.of))


if __name__ == "__main__":
    sys.exit(main())
