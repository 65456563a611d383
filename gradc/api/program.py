"""A traced function and the graphs of its value and gradients, with the trees that their outputs form."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gradc.api.frames import definition, name_of
from gradc.api.signature import Arguments, Parameters, Target
from gradc.ir.errors import ArgumentError, ShapeError, TraceError
from gradc.ir.graph import Builder, Graph, zeros
from gradc.ir.text import legal
from gradc.passes.grad import grad
from gradc.trace import Effects, Static, Tracer, rebuild, tree

VALUE, VALUE_AND_GRAD, GRAD = "value", "value_and_grad", "grad"
MODES = (VALUE, VALUE_AND_GRAD, GRAD)
"""What a graph computes: what `f(...)`, `f.value_and_grad(...)`, `f.grad(...)` return."""


class Output:
    """The place of output `number` of a graph in a tree of results."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class Template(NamedTuple):
    """A tree of results before they are known: `Output`s, and the leaves that are no outputs."""

    treedef: tree.TreeDef
    leaves: list[Any]

    def fill(self, results: Sequence[Any]) -> Any:
        """The tree with the outputs in their places."""
        return tree.unflatten(
            self.treedef, [results[x.number] if type(x) is Output else x for x in self.leaves]
        )

    @property
    def is_plain(self) -> bool:
        """Whether the leaves are the outputs in order, and nothing else."""
        return all(type(x) is Output and x.number == i for i, x in enumerate(self.leaves))


def template(shape: Any) -> Template:
    """The template of a tree that holds `Output`s."""
    leaves, treedef = tree.flatten(shape)
    return Template(treedef, leaves)


class Gradient(NamedTuple):
    """Of which output (None: of a number that is known) a gradient is taken, with respect to which inputs.

    `keep` are the outputs that come before the gradients.
    """

    loss: int | None
    wrt: list[int]
    keep: list[int]


class Wanted(NamedTuple):
    """What a mode returns, a tree with `Output`s, and the gradient that it takes."""

    shape: Any
    gradient: Gradient | None = None


@dataclass
class Program:
    """A traced function, where its arguments enter the graph, and what gradients are taken for.

    `arguments` has the number of each leaf in its place; `inputs` gives for each leaf its position in
    `graph.inputs`, or None; leaves in `escaped` went to code that is not traced: they have no gradient.
    """

    fn: Callable[..., Any]
    parameters: Parameters
    wrt: Any
    has_aux: bool
    arguments: Arguments
    inputs: Sequence[int | None]
    graph: Graph
    treedef: tree.TreeDef
    leaves: list[int | Static]
    escaped: tuple[int, ...] = ()
    effects: Effects | None = None

    @property
    def whole(self) -> Graph:
        """The graph that also computes what the function does to its arguments."""
        if self.effects is None:
            return self.graph
        return self.graph.replace(outputs=[*self.graph.outputs, *self.effects.outputs])

    def effect(self) -> Any:
        """What the function does to its arguments, as the lists of `Effects`, with `Output`s of `whole`."""
        assert self.effects is not None
        first = len(self.graph.outputs)
        outputs = [Output(first + i) for i in range(len(self.effects.outputs))]
        return rebuild(self.effects.treedef, self.effects.leaves, outputs)

    def value(self) -> Any:
        """The tree of the function's result, with `Output`s for what the graph computes."""
        return rebuild(self.treedef, self.leaves, [Output(i) for i in range(len(self.graph.outputs))])

    def check_result(self) -> None:
        """See to it that no leaf of the result hides traced values. Errors: `TraceError` at the `def`."""
        for leaf in self.leaves:
            if isinstance(leaf, Static) and hides_tracers(leaf.value):
                raise TraceError(
                    f"{name_of(self.fn)} returns a {type(leaf.value).__name__} that holds traced values",
                    definition(self.fn),
                    "return arrays and numbers, in tuples, lists, dicts, NamedTuples or dataclasses",
                )

    def wanted(self, mode: str) -> Wanted:
        """What a mode asks of the graph, and the tree that it returns, with `Output`s.

        For the value of a function that changes its arguments that is `(value, effect)`. Errors:
        `ShapeError` or `TraceError`, at the function's `def`, where there is no loss to differentiate;
        `ArgumentError` for `wrt`.
        """
        value = self.value()
        if mode == VALUE:
            return Wanted(value if self.effects is None else (value, self.effect()))
        loss = self.loss(value)
        keep = list(range(len(self.graph.outputs)))
        if mode == GRAD:
            aux = template(value[1]).leaves if self.has_aux else []
            keep = sorted({x.number for x in aux if type(x) is Output})
        wrt: list[int] = []
        gradients = tuple([self.gradient_tree(t, wrt, len(keep)) for t in self.parameters.targets(self.wrt)])
        gradient = gradients if isinstance(self.wrt, tuple) else gradients[0]
        taken = Gradient(None if loss is None else loss.number, wrt, keep)
        if mode == VALUE_AND_GRAD:
            return Wanted((value, gradient), taken)
        if not self.has_aux:
            return Wanted(gradient, taken)
        places = {number: Output(i) for i, number in enumerate(keep)}
        aux = tree.map(lambda x: places[x.number] if type(x) is Output else x, value[1])
        return Wanted((gradient, aux), taken)

    def output_names(self, mode: str) -> list[str]:
        """What the outputs of a mode's graph are to a reader: `value.loss`, `grad(params.W)`."""
        shape, taken = self.wanted(mode)
        if taken is None:
            found = template(shape if self.effects is None else {"value": shape[0], "changed": shape[1]})
            prefix = "value" if self.effects is None else ""
        else:
            found, prefix = template(self.value()), "value"
        paths = zip(found.leaves, tree.paths(found.treedef), strict=True)
        names = {x.number: (prefix + path).lstrip(".") for x, path in paths if type(x) is Output}
        if taken is None:
            return [names[i] for i in range(len(names))]
        gradients = [f"grad({legal(self.graph.inputs[i].name or f'input{i}')})" for i in taken.wrt]
        return [names[i] for i in taken.keep] + gradients

    def build(self, wanted: Wanted, graph: Graph | None = None) -> Graph:
        """The graph that does what is wanted; `graph` stands for `whole`, if passes have made it
        better."""
        graph = graph or self.whole
        if wanted.gradient is None:
            return graph
        loss, wrt, keep = wanted.gradient
        graph = graph.replace(outputs=graph.outputs[: len(self.graph.outputs)])
        if loss is None:
            return _constant_grad(graph, wrt, keep)
        return grad(graph, wrt, loss=loss, keep=keep)

    def loss(self, value: Any) -> Output | None:
        """The output that is the loss; None if it is a constant. Errors: as for `build`."""
        name, source = name_of(self.fn), definition(self.fn)
        if self.has_aux:
            if type(value) is not tuple or len(value) != 2:
                raise TraceError(
                    f"with has_aux=True, {name} returns (loss, aux), not {self.describe(value)}",
                    source,
                    "return loss, aux",
                )
            value = value[0]
        if isinstance(value, Output):
            found = self.graph.outputs[value.number].type
            if found.is_float and not found.shape:
                return value
            if found.shape:
                raise ShapeError(
                    f"a gradient needs one float number, but {name} returns {found}",
                    source,
                    "return np.mean(...) or np.sum(...) of it",
                )
        elif isinstance(value, float | np.floating):
            return None
        hint = "return one float number"
        if type(value) is tuple:
            hint = "return the loss alone, or (loss, aux) with has_aux=True"
        raise TraceError(
            f"a gradient needs one float number, but {name} returns {self.describe(value)}", source, hint
        )

    def is_differentiable(self) -> bool:
        """Whether a gradient can be asked for."""
        try:
            self.build(self.wanted(VALUE_AND_GRAD))
        except (TraceError, ShapeError, ArgumentError):
            return False
        return True

    def describe(self, value: Any) -> str:
        """A result as messages show it: `(f64[3], f64[])`."""
        if isinstance(value, Output):
            return str(self.graph.outputs[value.number].type)
        if type(value) is tuple:
            inner = ", ".join(self.describe(part) for part in value)
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        if isinstance(value, list | dict):
            return f"a {type(value).__name__}"
        return f"{value!r}"[:40]

    def positions_of(self, wrt: Any) -> list[int]:
        """The graph inputs that are float leaves of the parameters that `wrt` names."""
        positions: list[int] = []
        for target in self.parameters.targets(wrt):
            self.gradient_tree(target, positions, 0)
        return positions

    def escape(self, name: str) -> ArgumentError:
        """The error for a gradient that would come back from code that is not traced."""
        return self.parameters.error(
            f"the gradient with respect to {name} is asked for, but {name_of(self.fn)} passes a Python float "
            "in it, as a plain number, to code that is not traced",
            "leave out float(...); use functions of np",
        )

    def gradient_tree(self, target: Target, wrt: list[int], first: int) -> Any:
        """The tree of a parameter with an `Output` for each float leaf; its graph input is added to `wrt`."""
        before = len(wrt)

        def place(leaf: int) -> Output | None:
            if leaf in self.escaped:
                raise self.escape(target.name)
            position = self.inputs[leaf]
            if position is None or not self.graph.inputs[position].type.is_float:
                return None
            wrt.append(position)
            return Output(first + len(wrt) - 1)

        found = tree.map(place, self.parameters.argument(target, self.arguments))
        if len(wrt) == before:
            raise self.parameters.error(
                f"wrt names {target.name}, which has no float leaves, so no gradient",
                f"pass floats, as in {target.name}.astype(np.float64), or name another parameter: wrt=...",
            )
        return found


def hides_tracers(leaf: Any) -> bool:
    """Whether an object that is no tree refers to tracers: in attributes, elements or a closure."""
    if isinstance(leaf, Iterator):
        return True
    if isinstance(leaf, set | frozenset):
        held = list(leaf)
    elif isinstance(leaf, types.FunctionType):
        held = [cell.cell_contents for cell in leaf.__closure__ or () if cell != types.CellType()]
    elif isinstance(leaf, type | types.ModuleType):
        held = []
    else:
        held = list(getattr(leaf, "__dict__", {}).values())
    return any(type(x) is Tracer for x in tree.flatten(held)[0])


def _constant_grad(graph: Graph, wrt: Sequence[int], keep: Sequence[int]) -> Graph:
    """The gradient of a loss that depends on nothing: zeros."""
    with Builder(graph.inputs, graph.nodes) as builder:
        outputs = [graph.outputs[i] for i in keep] + [zeros(graph.inputs[i].type) for i in wrt]
        return builder.build(f"{graph.name}_grad", outputs, constants=graph.constants, notes=graph.notes)
