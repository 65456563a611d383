"""Compiled functions and derivatives inside of a trace: their graphs go into the one that is being made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.api.backend import stabilize
from gradc.api.frames import caller, name_of
from gradc.api.program import VALUE, Output, Program, template
from gradc.api.signature import Parameters, Target
from gradc.ir.errors import ArgumentError, ShapeError
from gradc.ir.graph import Value
from gradc.ir.types import Type
from gradc.passes import grad as derivatives
from gradc.trace import Tracer, apply_graph, lift, subtrace, tree
from gradc.trace.copying import copied
from gradc.trace.lift import cast
from gradc.trace.state import current_trace

if TYPE_CHECKING:
    from gradc.api.function import Function


def inline_call(function: Function, mode: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `f(...)`, `f.value_and_grad(...)` or `f.grad(...)` means in a trace."""
    if mode == VALUE:
        return copied(function.fn, current_trace().substitute)(*args, **kwargs)
    targets = function.parameters.targets(function.wrt)
    program, inputs = _program(function.fn, function.parameters, targets, args, kwargs)
    program.wrt, program.has_aux = function.wrt, function.has_aux
    wanted = program.wanted(mode)
    graph, shape = program.build(wanted), wanted.shape
    return template(shape).fill(apply_graph(graph, inputs))


def inline_vjp(
    fn: Callable[..., Any], primals: tuple[Any, ...]
) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """`gradc.vjp` in a trace. The pullback computes the value anew; what both share becomes one by `cse`."""
    program, inputs = _program_of(fn, primals)
    value = template(program.value()).fill(apply_graph(program.graph, inputs))
    wrt, shape = _float_leaves(program)
    graph = derivatives.vjp(program.graph, wrt)
    outputs = len(program.graph.outputs)

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        seeds = _fitting(program, value, cotangent)
        results = apply_graph(graph, [*inputs, *seeds])[outputs:]
        return template(shape).fill(results)

    return value, pullback


def inline_jvp(
    fn: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Any, Any]:
    """`gradc.jvp` in a trace."""
    program, inputs = _program_of(fn, primals)
    wrt, _ = _float_leaves(program)
    given = _leaves_like(tree.structure(primals), tangents, "tangents", "primals")
    names = program.parameters.names(primals, {})
    seeds = [
        _seed(given[i], program.graph.inputs[position].type, f"the tangent of {names[i]}")
        for i, position in enumerate(program.inputs)
        if position is not None and position in wrt
    ]
    graph = derivatives.jvp(program.graph, wrt)
    results = apply_graph(graph, [*inputs, *seeds])
    count = len(program.graph.outputs)
    floats = [i for i, y in enumerate(program.graph.outputs) if y.type.is_float]
    tangent_of = dict(zip(floats, results[count:], strict=True))

    def tangent(leaf: Any) -> Any:
        if type(leaf) is Output:
            return tangent_of.get(leaf.number)
        return type(leaf)(0) if isinstance(leaf, float | np.floating) else None

    shape = program.value()
    return template(shape).fill(results), tree.map(tangent, shape)


def program_of_call(
    fn: Callable[..., Any], wrt: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Program, list[Any]]:
    """The program of a call, with the floats of the parameters `wrt` as inputs; and its inputs here."""
    parameters = Parameters(fn)
    return _program(fn, parameters, parameters.targets(wrt), args, kwargs)


def _program_of(fn: Callable[..., Any], primals: tuple[Any, ...]) -> tuple[Program, list[Any]]:
    """The program of a function of primals, all of which count."""
    parameters = Parameters(fn)
    primals, _ = parameters.bind(primals, {})
    everything = [Target(i, "") for i in range(len(primals))]
    return _program(fn, parameters, everything, primals, {})


def _program(
    fn: Callable[..., Any],
    parameters: Parameters,
    targets: Sequence[Target],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Program, list[Any]]:
    """A function traced into a graph of its own, and the values that this takes here.

    Float leaves of the targets become inputs even where they are concrete.
    """
    arguments = parameters.bind(args, kwargs)
    leaves, treedef = tree.flatten(arguments)
    numbers = tree.unflatten(treedef, range(len(leaves)))
    for target in targets:
        for i in tree.flatten(parameters.argument(target, numbers))[0]:
            if _is_float(leaves[i]):
                leaves[i] = lift(leaves[i])
    args, kwargs = tree.unflatten(treedef, leaves)
    inner = copied(fn, current_trace().substitute)
    graph, captured, out_treedef, out_leaves = subtrace(
        lambda a, k: inner(*a, **k), args, kwargs, of=None, name=name_of(fn)
    )
    traced = [leaf for leaf in leaves if type(leaf) is Tracer and leaf.traced]
    positions = iter(range(len(traced)))
    places = [next(positions) if type(leaf) is Tracer and leaf.traced else None for leaf in leaves]
    gone = current_trace().escaped
    escaped = tuple([i for i, at in enumerate(places) if at is not None and graph.inputs[at] in gone])
    graph = stabilize(graph)
    program = Program(fn, parameters, 0, False, numbers, places, graph, out_treedef, out_leaves, escaped)
    return program, [*traced, *captured]


def _is_float(leaf: Any) -> bool:
    if type(leaf) is Tracer or isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype.kind == "f"
    return isinstance(leaf, float)


def _float_leaves(program: Program) -> tuple[list[int], tuple[Any, ...]]:
    """The graph inputs that are float leaves; the tree of primals with an `Output` for each, else None."""
    wrt: list[int] = []

    def place(leaf: int) -> Output | None:
        position = program.inputs[leaf]
        if position is None or not program.graph.inputs[position].type.is_float:
            return None
        if leaf in program.escaped:
            raise program.escape("a primal")
        wrt.append(position)
        return Output(len(wrt) - 1)

    shape = tree.map(place, program.arguments[0])
    return wrt, shape


def _fitting(program: Program, value: Any, cotangent: Any) -> list[Value]:
    """The cotangents of the graph's float outputs, from a tree like the value."""
    treedef = tree.structure(value)
    given = _leaves_like(treedef, cotangent, "the cotangent", "the value")
    paths = tree.paths(treedef)
    seeds: dict[int, Value] = {}
    for leaf, path, output in zip(given, paths, program.leaves, strict=True):
        if isinstance(output, int) and (y := program.graph.outputs[output]).type.is_float:
            seeds[output] = _seed(leaf, y.type, f"the cotangent{' of value' + path if path else ''}")
    return [seeds[i] for i in sorted(seeds)]


def _leaves_like(treedef: tree.TreeDef, given: Any, what: str, like: str) -> list[Any]:
    leaves, found = tree.flatten(given)
    if found.num_leaves != treedef.num_leaves or not _same_tree(found, treedef):
        raise ArgumentError(
            f"{what} must have the tree of {like}, which is {treedef}, not {found}",
            caller(),
            "pass one leaf for each leaf, in the same containers; None where a leaf is no float",
        )
    return leaves


def _same_tree(a: tree.TreeDef, b: tree.TreeDef) -> bool:
    return a == b or tree.paths(a) == tree.paths(b)


def _seed(leaf: Any, wanted: Type, what: str) -> Value:
    """A cotangent or tangent as a value of the type it must have; a Python number fits every float dtype."""
    if type(leaf) in (int, float):
        leaf = wanted.dtype.type(leaf)
    found = lift(leaf)
    if type(found) is not Tracer:
        raise ArgumentError(f"{what} is {leaf!r:.40}, not a number or array of type {wanted}", caller())
    value = cast(found.value, wanted.dtype) if found.weak else found.value
    if value.type != wanted:
        raise ShapeError(
            f"{what} has type {value.type}, but must be {wanted}",
            caller(),
            f"pass an array of shape {wanted.shape} and dtype {wanted.dtype}",
        )
    return value
