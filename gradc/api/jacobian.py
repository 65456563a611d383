"""jacobian and hessian: all derivatives of all results, by a batch of pushforwards or of pullbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from gradc.api.compiled import compile as compile_
from gradc.api.frames import definition, name_of, public
from gradc.api.inline import program_of_call
from gradc.api.program import Output, template
from gradc.api.transforms import cached, grad, named, original
from gradc.ir import Graph, Value, emit, zeros
from gradc.ir.errors import TraceError
from gradc.ir.types import I64, Type
from gradc.passes import grad as derivatives
from gradc.passes.dce import dce
from gradc.passes.vmap import vmap
from gradc.trace import Tracer, apply_graph, tree
from gradc.trace.lift import wrap

Function = Callable[..., Any]


@public
def jacobian(fn: Function, wrt: Any = 0, has_aux: bool = False) -> Function:
    """The function that gives all derivatives of `fn`, with `fn`'s parameters.

    For each float leaf of the result, in its place, there is a tree like the parameter `wrt` (a tuple of
    trees for a tuple of parameters); there, in place of a leaf of shape s, is an array of the result's shape
    followed by s, of the result's dtype: element [i, j] is the derivative of result[i] with respect to
    parameter[j]. Leaves that are no floats have None. With `has_aux`, `fn` returns `(value, aux)` and the
    result is `(jacobian, aux)`.

    It takes one pushforward for each number in a parameter, or one pullback for each number in a result, in
    batches: whatever makes the fewest of them in all, some leaves by this and others by that. What does not
    depend on a parameter costs nothing. Errors: `ArgumentError` for `wrt`.
    """
    fn = original(fn)

    def make() -> Function:
        def derivative(*args: Any, **kwargs: Any) -> Any:
            return inline_jacobian(fn, wrt, has_aux, args, kwargs)

        return compile_(named(derivative, fn, "jacobian"))

    try:
        compiled = cached(fn, ("jacobian", wrt, type(wrt), has_aux), make)
    except TypeError:  # a wrt that is an error
        compiled = make()

    def all_derivatives(*args: Any, **kwargs: Any) -> Any:
        return compiled(*args, **kwargs)

    return named(all_derivatives, fn, "jacobian")


@public
def hessian(fn: Function, wrt: Any = 0, has_aux: bool = False) -> Function:
    """The function that gives the second derivatives of a scalar `fn`: the jacobian of its gradient.

    For each float leaf of the parameter `wrt`, in its place, there is a tree like the parameter, with arrays
    of the first leaf's shape followed by the second one's. With `has_aux`, `fn` returns `(loss, aux)` and the
    result is `(hessian, aux)`. It is computed forward over reverse. Errors: as for `grad`.
    """
    fn = original(fn)

    def make() -> Function:
        return named(jacobian(grad(fn, wrt, has_aux), wrt, has_aux), fn, "hessian")

    try:
        return cached(fn, ("hessian", wrt, type(wrt), has_aux), make)
    except TypeError:  # a wrt that is an error
        return make()


def inline_jacobian(
    fn: Function, wrt: Any, has_aux: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`gradc.jacobian` in a trace."""
    program, inputs = program_of_call(fn, wrt, args, kwargs)
    positions: list[int] = []
    trees = tuple([program.gradient_tree(t, positions, 0) for t in program.parameters.targets(wrt)])
    shape = trees if isinstance(wrt, tuple) else trees[0]
    value = program.value()
    aux = None
    if has_aux:
        if type(value) is not tuple or len(value) != 2:
            raise TraceError(
                f"with has_aux=True, {name_of(fn)} returns (value, aux), not {program.describe(value)}",
                definition(fn),
                "return value, aux",
            )
        value, rest = value
        aux = template(rest).fill(apply_graph(program.graph, inputs))
    numbers = [
        x.number
        for x in tree.flatten(value)[0]
        if type(x) is Output and program.graph.outputs[x.number].type.is_float
    ]
    blocks = _blocks(program.graph, positions, list(dict.fromkeys(numbers)), inputs)

    def of(leaf: Any) -> Any:
        if type(leaf) is Output and leaf.number in numbers:
            return template(shape).fill([blocks[leaf.number, i] for i in positions])
        if isinstance(leaf, float | np.floating):  # a number that depends on nothing
            kinds = [program.graph.inputs[i].type for i in positions]
            return template(shape).fill([wrap(zeros(kind)) for kind in kinds])
        return None

    result = tree.map(of, value)
    return (result, aux) if has_aux else result


def _blocks(
    graph: Graph, wrt: list[int], outputs: list[int], inputs: list[Any]
) -> dict[tuple[int, int], Tracer]:
    """The derivatives of each of the outputs with respect to each of the inputs at `wrt`."""
    known = [False] * len(graph.inputs)
    reached = _dependencies(graph, wrt)
    sizes = {o: graph.outputs[o].type.size for o in outputs}, {i: graph.inputs[i].type.size for i in wrt}
    pulled = pulled_outputs(*sizes, {o: reached.get(graph.outputs[o], frozenset()) for o in outputs})
    blocks: dict[tuple[int, int], Tracer] = {}
    for i in wrt:
        x = graph.inputs[i].type
        pushed = [o for o in outputs if o not in pulled and i in reached.get(graph.outputs[o], ())]
        if pushed:
            forth = derivatives.jvp(graph.replace(outputs=[graph.outputs[o] for o in pushed]), [i])
            forth = dce(forth.replace(outputs=forth.outputs[len(pushed) :]))
            results = apply_graph(vmap(forth, [*known, True], x.size), [*inputs, _one_hot(x)])
            for o, y in zip(pushed, results, strict=True):
                blocks[o, i] = wrap(_last_axes(y.value, x))
    for o in outputs:
        y = graph.outputs[o].type
        if o in pulled:
            back = derivatives.vjp(graph.replace(outputs=[graph.outputs[o]]), wrt)
            back = dce(back.replace(outputs=back.outputs[1:]))
            results = apply_graph(vmap(back, [*known, True], y.size), [*inputs, _one_hot(y)])
            for i, x in zip(wrt, results, strict=True):
                whole = y.with_shape((*y.shape, *graph.inputs[i].shape))
                block = emit("reshape", x.value, shape=whole.shape)
                blocks[o, i] = wrap(block if block.type == whole else emit("cast", block, type=whole))
        for i in wrt:
            if (o, i) not in blocks:
                blocks[o, i] = wrap(zeros(y.with_shape((*y.shape, *graph.inputs[i].shape))))
    return blocks


def _dependencies(graph: Graph, wrt: list[int]) -> dict[Value, frozenset[int]]:
    """For each value, on which of the inputs at `wrt` it depends."""
    found = {graph.inputs[i]: frozenset([i]) for i in wrt}
    for node in graph.nodes:
        some = frozenset[int]().union(*[found[x] for x in node.inputs if x in found])
        if some:
            found.update(dict.fromkeys(node.results, some))
    return found


MOST_LEAVES = 10
"""Of more results than this it is not tried which ones to pull back: all of them or none."""


def pulled_outputs(
    outputs: Mapping[int, int], inputs: Mapping[int, int], reached: Mapping[int, frozenset[int]]
) -> frozenset[int]:
    """The outputs to pull back; what remains is pushed forward. Sizes are given by number.

    Every output that is pulled back costs its size, and every input that another output depends on costs its
    own. The cheapest choice; of equal ones that with the fewest pullbacks, which cost more.
    """
    sizes = range(len(outputs) + 1) if len(outputs) <= MOST_LEAVES else (0, len(outputs))
    choices = [frozenset(some) for count in sizes for some in combinations(outputs, count)]

    def cost(pulled: frozenset[int]) -> int:
        pushed = frozenset[int]().union(*[reached[o] for o in outputs if o not in pulled])
        return sum(outputs[o] for o in pulled) + sum(inputs[i] for i in pushed)

    return min(choices, key=cost)


def _one_hot(type: Type) -> Value:
    """As many arrays of a type as it has elements: each is 1 in one element of its own and else 0."""
    square = Type(I64, (type.size, type.size))
    same = emit("eq", emit("iota", axis=0, type=square), emit("iota", axis=1, type=square))
    return emit(
        "reshape",
        emit("cast", same, type=type.with_shape(square.shape)),
        shape=(type.size, *type.shape),
    )


def _last_axes(value: Value, x: Type) -> Value:
    """A batch with one element for each of x's, as an array whose last axes are x's."""
    ndim = len(value.shape)
    turned = emit("transpose", value, axes=(*range(1, ndim), 0))
    return emit("reshape", turned, shape=(*value.shape[1:], *x.shape))
