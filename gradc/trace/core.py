"""Tracing: run a copy of a function on tracers, and keep what it does as a graph."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.ir import Builder, GradcError, Graph, Source, Type, Value, inline
from gradc.trace import functions as _functions  # fills the table
from gradc.trace import tree
from gradc.trace.arguments import Arguments, Effects, Written
from gradc.trace.cell import COPY, ArgumentCell, Cell
from gradc.trace.copying import copied
from gradc.trace.functions.selected import Selection
from gradc.trace.lift import supported, traced, wrap
from gradc.trace.source import fail, locate
from gradc.trace.state import NeedStatic, Trace, current_trace
from gradc.trace.tracer import Tracer

assert _functions


@dataclass(frozen=True)
class Input:
    """A leaf that is traced: `weak` marks a Python float, `name` is its path, such as `params.W1`.

    A Python float may know its `value`, after the trace was found to need it: the trace is for that value.
    """

    type: Type
    weak: bool
    name: str
    value: float | None = None


@dataclass
class Static:
    """A leaf whose value is part of the trace."""

    value: Any


@dataclass
class Traced:
    """A traced function.

    `graph.inputs` are all `Input` leaves in order; `leaves` has, for each leaf of the result's `treedef`,
    its position in `graph.outputs`, or a `Static` that passes through. `escaped` are the positions of the
    Python floats whose values went, at least in part, where no gradient comes back from. `effects` is what
    the function does to its arguments, if it does something.
    """

    graph: Graph
    treedef: tree.TreeDef
    leaves: list[int | Static]
    escaped: tuple[int, ...] = ()
    effects: Effects | None = None


def trace(
    fn: Callable[..., Any], treedef: tree.TreeDef, leaves: Sequence[Input | Static], *, name: str
) -> Traced:
    """Trace `fn` for arguments of the structure `treedef`, that of `(args, kwargs)`, with these leaves.

    Errors: `NeedStatic` if the trace needs the value of Python floats; `TraceError` and `ShapeError` at the
    user's line.
    """
    state = Trace()
    with state:
        arguments: list[Any] = []
        for position, leaf in enumerate(leaves):
            if isinstance(leaf, Static):
                arguments.append(state.substitute(leaf.value))
                continue
            value = state.builder.add_input(leaf.type, leaf.name)
            if leaf.weak:
                state.floats[value] = position
            if leaf.value is not None:
                state.known[value] = np.asarray(leaf.value, leaf.type.dtype)
            arguments.append(Tracer(ArgumentCell(value), weak=leaf.weak))
        substitute = state.substitute
        substitute.objects.home = _package(fn)
        given = substitute.objects.arguments(tree.unflatten(treedef, arguments))
        before = Arguments(given)
        args, kwargs = given
        try:
            result = substitute.objects.returned(copied(fn, substitute)(*args, **kwargs))
        except NeedStatic:
            substitute.objects.watch.undo()
            raise
        except BaseException:
            substitute.write_back()
            raise
        if leak := substitute.write_back():
            raise leak
        restore = substitute.objects.watch.result
        try:
            outputs, out_treedef, out_leaves = _results(result, restore)
        except GradcError as error:
            error.source = error.source or _definition(fn)
            raise
        effects = _effects(arguments, before, restore)
        graph = state.builder.build(name, outputs, constants=state.constants)
    escaped = tuple([position for value, position in state.floats.items() if value in state.escaped])
    return Traced(graph, out_treedef, out_leaves, escaped, effects)


def _effects(arguments: list[Any], before: Arguments, restore: Callable[[Any], Any]) -> Effects | None:
    """What was done to the arguments; None if nothing was."""
    written: list[Written] = []
    final: list[Tracer] = []
    for position, x in enumerate(arguments):
        if type(x) is Tracer and isinstance(cell := x.cell, ArgumentCell) and cell.version:
            written.append(Written(position, cell.line, cell.reshaped))
            final.append(Tracer(cell))
    changed = before.changed()
    if not written and not changed:
        return None
    outputs, treedef, leaves = _results((final, [content for _, content in changed]), restore)
    return Effects(written, [path for path, _ in changed], treedef, leaves, outputs)


def _definition(fn: Any) -> Source | None:
    """The line where a function begins, for what is wrong with its result."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    return None if code is None else Source(code.co_filename, code.co_firstlineno)


def _package(fn: Any) -> str:
    """The top-level package that a function, or what is called like one, belongs to."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return str(getattr(fn, "__module__", "")).partition(".")[0]


def _results(
    result: Any, restore: Callable[[Any], Any] | None = None
) -> tuple[list[Value], tree.TreeDef, list[int | Static]]:
    """The values among the leaves of a result, and what the leaves are; `restore` gives the static ones."""
    leaves, treedef = tree.flatten(result)
    outputs: list[Value] = []
    kinds: list[int | Static] = []
    for leaf in leaves:
        if type(leaf) is Tracer or (type(leaf) is np.ndarray and leaf.dtype.kind in "biuf"):
            kinds.append(len(outputs))
            outputs.append(traced(leaf).value)
        else:
            if type(leaf) is Selection:
                raise leaf.error()
            if isinstance(leaf, np.ndarray):
                supported(leaf.dtype, "a returned array")
            kinds.append(Static(leaf if restore is None else restore(leaf)))
    return outputs, treedef, kinds


def subtrace(
    fn: Callable[..., Any],
    *args: Any,
    of: str | None,
    name: str | None = None,
    stand_in: bool = False,
) -> tuple[Graph, list[Value], tree.TreeDef, list[int | Static]]:
    """Inside a trace: trace `fn` on trees of tracers into a graph of its own, closed by what it captures.

    The graph's inputs are the traced leaves of `args`, then one for each value it uses from outside; concrete
    and static leaves are built in. Gives the graph, the outside values, and the structure and the leaves of
    the result as in `Traced`. With `stand_in` the arguments only give the types: in the loop that will run
    the graph their values are others.

    `of` says whose function it is, such as "cond", if it must leave its arguments as they are; with None it
    has copies of them: what it does to these is lost. Errors: `TraceError` if it changes what it must not.
    """
    state = current_trace()
    leaves, treedef = tree.flatten(args)
    with Builder(captures=True) as builder:
        builder.locate = locate
        inner: list[Any] = []
        for leaf in leaves:
            if type(leaf) is not Tracer or not leaf.traced:
                leaf = state.substitute(leaf)
                if type(leaf) is Tracer and of is None:
                    leaf = Tracer(Cell(leaf.array, leaf.name, fixed=COPY), weak=leaf.weak)
                inner.append(leaf)
                continue
            outer = leaf.value
            value = builder.add_input(outer.type, outer.name)
            if not stand_in:
                state.same[value] = outer
            inner.append(Tracer(Cell(value, fixed=of and f"an argument of {of}"), weak=leaf.weak))
        arguments = state.substitute.objects.arguments(tree.unflatten(treedef, inner))
        before = Arguments(arguments)
        result = copied(fn, state.substitute)(*arguments)
        if of is not None and before.changed():
            fail(
                f"a container that is an argument of {of} is changed by the function",
                "make a copy of it first, and return that: d = dict(d), layers = list(layers)",
            )
        outputs, out_treedef, out_leaves = _results(result)
        label = name or getattr(fn, "__name__", "function")
        graph = builder.build(label, outputs)
    return graph, list(builder.captured), out_treedef, out_leaves


def apply_graph(graph: Graph, values: Iterable[Any]) -> list[Tracer]:
    """The graph's nodes again in the current graph, on other inputs: tracers or values; its outputs there."""
    return [
        wrap(y) for y in inline(graph, [traced(x).value if not isinstance(x, Value) else x for x in values])
    ]


def rebuild(treedef: tree.TreeDef, leaves: Sequence[int | Static], outputs: Sequence[Any]) -> Any:
    """The result of a traced function from the outputs of its graph, in any form: values, tracers, arrays."""
    return tree.unflatten(
        treedef, [outputs[leaf] if isinstance(leaf, int) else leaf.value for leaf in leaves]
    )


def lift(values: Any) -> Any:
    """The tree with its arrays and numbers as values of the current graph; other leaves as they are."""

    def leaf(x: Any) -> Any:
        if type(x) is Tracer or isinstance(x, bool | int | float | np.generic):
            return traced(x)
        return traced(x) if type(x) is np.ndarray and x.dtype.kind in "biuf" else x

    return tree.map(leaf, values)
