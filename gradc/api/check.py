"""check_grad: compiled gradients against finite differences; on failure, the op whose rule is at fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradc.api import backend
from gradc.api.backend import Options
from gradc.api.compiled import BoundCompiled, Compiled
from gradc.api.frames import definition, name_of, public
from gradc.api.function import Function
from gradc.api.program import Program
from gradc.api.signature import kind_of, native_leaf
from gradc.api.slopes import Arrays, Slope, Slopes
from gradc.ir.backward import backpropagate
from gradc.ir.errors import ArgumentError, GradcError
from gradc.ir.evaluate import evaluate, run_node
from gradc.ir.graph import Builder, Graph, Node, Value, constant, emit, rebuild, substitute
from gradc.ir.op import node_vjp
from gradc.ir.types import F32, F64
from gradc.passes.grad import grad
from gradc.trace import tree

TOLERANCE = {F64: 1e-6, F32: 5e-3}
"""Relative, by the least precise dtype in the graph: what differences reach at some step."""


class GradientError(GradcError, AssertionError):
    """A gradient that is not what finite differences say it is."""


@public
def check_grad(fn: Callable[..., Any], *args: Any, wrt: Any = None) -> None:
    """Compare the compiled gradient of `fn` at `args`, retraced in float64, with finite differences.

    Derivatives along random directions are compared, extrapolated from many step sizes, of which the stable
    ones count; so arguments may be large or small, and functions steep or noisy. `wrt` is as in `grad`, but
    None means every float leaf of all arguments. A result that is no single number is projected on random
    weights. What `stop_gradient` stops is held fixed. The rules of branches of `cond` that are not taken here
    are held against finite differences too.

    At a kink any value between the slopes of its two sides is right, as is every subgradient that gradc
    documents. A `custom_gradient` that is meant to differ (a straight-through estimator) is reported like any
    other: by the name of its pullback. Second derivatives are checked by `check_grad(gradc.grad(fn), ...)`.

    Errors: `GradientError` (an `AssertionError`) that names the op whose gradient rule is at fault, with the
    user's line and both numbers; or says that there is a kink in which the chain rule does not hold, or
    that the function is no number here.
    """
    fn = fn.__gradc_original__ if isinstance(fn, Compiled | BoundCompiled) else fn
    options = Options()
    function = Function(fn, wrt=0 if wrt is None else wrt, options=options)
    special, leaves = function.specialize(tree.map(_double, args), {})
    graph = _objective(special.program)
    inputs = _inputs(special.program, wrt)
    x = [np.asarray(native_leaf(leaf, kind_of(leaf))) for leaf in special.given(leaves)]
    loss, stopped = without_stopped(graph, x)
    value = backend.build(loss, options)
    try:
        whole = grad(graph, inputs)
    except Exception as error:  # a rule that cannot even be applied
        raise find_fault(graph, x, inputs).error or error from None
    if any(g.type != graph.inputs[i].type for g, i in zip(whole.outputs[1:], inputs, strict=True)):
        raise find_fault(graph, x, inputs).error or AssertionError("a gradient has not the type of its input")
    slopes = Slopes(
        lambda moved: float(value.run([*moved, *stopped])[0]),
        x,
        inputs,
        backend.build(whole, options).run(x)[1:],
        _tolerance(graph),
        rounding_of(graph, x, inputs),
    )
    if not np.isfinite(slopes.value):
        raise GradientError(
            f"{name_of(fn)} is {slopes.value} here, so finite differences say nothing",
            definition(fn),
            "check at arguments where it is finite",
        )
    found = slopes.search()
    unclear = found.differs is not None or not found.complete  # what the whole does not tell, each op may
    report = find_fault(graph, x, inputs) if unclear else Report(None, [])
    if error := report.error or untaken(graph, x, inputs).error:
        raise error
    if found.differs is not None:
        slopes.gradients = evaluate(whole, *x)[1:]
        raise _without_fault(fn, found.differs, slopes.search().differs is None, report.kinks)


def _without_fault(
    fn: Callable[..., Any], slope: Slope, compiled: bool, kinks: Sequence[Node]
) -> GradientError:
    """The error for a slope that differs though every rule holds."""
    text = f"of the gradient of {name_of(fn)} along a random direction: {slope}; the rule of every op holds"
    if compiled:
        return GradientError(f"{text}, so the compiled code is at fault", definition(fn))
    if kinks:
        named = ", ".join(dict.fromkeys(f"`{k.op.name}` ({k.source})" for k in kinks))
        return GradientError(
            f"{text}, but there are kinks here, of {named}: the chain rule need not hold for what they are "
            "composed to",
            kinks[0].source,
            "check at other arguments",
        )
    return GradientError(f"{text}, so the function may have a jump here", definition(fn))


def _double(leaf: Any) -> Any:
    """float32 as float64."""
    if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind == "f":
        return leaf.astype(np.float64)
    return leaf


def _objective(program: Program) -> Graph:
    """The graph with one float number as its output: the loss, or all float outputs on random weights."""
    graph = program.graph
    rng = np.random.default_rng(0)
    constants = dict(graph.constants)
    with Builder(graph.inputs, graph.nodes) as builder:
        total: Value | None = None
        for i, y in enumerate(graph.outputs):
            if not y.type.is_float:
                continue
            part = y
            if y.shape or len(graph.outputs) > 1:
                name = f"weights_{i}"
                constants[name] = rng.standard_normal(y.shape).astype(y.dtype)
                weights = emit("captured", type=y.type, name=name, digest="")
                part = emit("reduce_sum", y * weights, axes=tuple(range(len(y.shape))))
            part = part if part.dtype == F64 else emit("cast", part, type=part.type.with_dtype(F64))
            total = part if total is None else total + part
        if total is None:
            raise ArgumentError(
                f"{name_of(program.fn)} returns no float that depends on its arguments",
                definition(program.fn),
            )
        return builder.build(graph.name, [total], constants=constants)


def _inputs(program: Program, wrt: Any) -> list[int]:
    """The graph inputs to differentiate by."""
    if wrt is None:
        inputs = [i for i, x in enumerate(program.graph.inputs) if x.type.is_float]
    else:
        inputs = program.positions_of(wrt)
    if not inputs:
        raise ArgumentError(
            f"{name_of(program.fn)} was given no float arrays or numbers to differentiate by",
            definition(program.fn),
            "pass floats: x.astype(np.float64)",
        )
    return inputs


def without_stopped(graph: Graph, leaves: Arrays) -> tuple[Graph, list[np.ndarray]]:
    """The graph with what `stop_gradient` stops as more inputs, and what these are at the leaves."""
    stopped = [node for node in graph.nodes if node.op.name == "stop_gradient"]
    if not stopped:
        return graph, []
    known = evaluate(graph.replace(outputs=[node.result for node in stopped]), *leaves)
    fixed = {node.result: Value(node.types[0], name=f"stopped_{k}") for k, node in enumerate(stopped)}
    made = substitute(graph, fixed, [node for node in graph.nodes if node not in stopped])
    return made.replace(inputs=[*graph.inputs, *fixed.values()]), list(known)


def rounding_of(graph: Graph, leaves: Arrays, wrt: Sequence[int]) -> float:
    """What rounding may do to the graph's only output: every value errs by an ulp, times its cotangent."""
    (loss,) = graph.outputs
    with Builder(graph.inputs, graph.nodes) as builder:
        wanted = [graph.inputs[i] for i in wrt]
        cotangents = backpropagate(graph.nodes, {loss: constant(1.0, loss.type)}, wrt=wanted)
        values = [v for v in cotangents if v.type.is_float]
        pairs = builder.build(
            "rounding", [*values, *[cotangents[v] for v in values]], constants=graph.constants
        )
    found = evaluate(pairs, *leaves)
    return rounding(list(zip(found[: len(values)], found[len(values) :], strict=True)))


def rounding(weighed: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """What an error of some ulps in arrays does to a sum, given what each counts there; both in any order."""
    total = 0.0
    for a, b in weighed:
        with np.errstate(all="ignore"):
            part = np.abs(a.astype(np.float64) * b)
        total += 4 * float(np.finfo(a.dtype).eps) * float(np.sum(part[np.isfinite(part)]))
    return total


def _tolerance(graph: Graph) -> float:
    floats = {v.dtype for node in graph.nodes for v in node.results if v.type.is_float}
    return max((TOLERANCE[dtype] for dtype in floats), default=TOLERANCE[F64])


class Report(NamedTuple):
    """The first rule that does not hold, and the nodes that have a kink at these arguments."""

    error: GradientError | None
    kinks: list[Node]


def find_fault(graph: Graph, leaves: Arrays, wrt: Sequence[int]) -> Report:
    """The first node, as they run, whose gradient rule does not hold; inside of branches too.

    Only nodes through which derivatives with respect to the inputs at `wrt` flow.
    """
    fault, kinks = None, []
    pending = [(graph, leaves, wrt)]
    while pending:
        for node, inputs, active in _runs(*pending.pop()):
            found = _fault_of(node, inputs, active)
            if found.error is not None:
                inside = _inside(node, inputs, active)
                # The node that holds a graph differs if what it holds is stopped or steered: on purpose.
                if not (inside and any(n.op.name == "stop_gradient" for g, *_ in inside for n in g.walk())):
                    fault = found.error
                pending += inside
                break
            kinks += found.kinks
    return Report(fault, kinks)


def untaken(graph: Graph, leaves: Arrays, wrt: Sequence[int]) -> Report:
    """The first rule that does not hold in branches that are not taken, on what these are given."""
    pending = [(graph, leaves, wrt)]
    while pending:
        run = pending.pop()
        if not any(node.op.name == "cond" for node in run[0].walk()):
            continue
        for node, inputs, active in _runs(*run):
            pending += _inside(node, inputs, active)
            if node.op.name == "cond":
                other = node.attrs["if_false" if inputs[0] else "if_true"]
                try:
                    report = find_fault(other, inputs[1:], [i - 1 for i in active if i])
                except (ArithmeticError, IndexError, ValueError):  # it is not meant for these
                    continue
                if report.error:
                    return report
    return Report(None, [])


def _runs(
    graph: Graph, leaves: Arrays, wrt: Sequence[int]
) -> Iterator[tuple[Node, list[np.ndarray], list[int]]]:
    """Every node that depends on the inputs at `wrt`: with its operands, and which of them depend on it."""
    env = dict(zip(graph.inputs, leaves, strict=True))
    active = {graph.inputs[i] for i in wrt}
    for node in graph.nodes:
        inputs = [np.asarray(env[v]) for v in node.inputs]
        with np.errstate(all="ignore"):
            env.update(zip(node.results, run_node(node, inputs, graph.constants), strict=True))
        here = [i for i, v in enumerate(node.inputs) if v in active]
        if here:
            active.update(y for y in node.results if y.type.is_float)
            yield node, inputs, [i for i in here if node.inputs[i].type.is_float]


def _inside(
    node: Node, inputs: list[np.ndarray], active: list[int]
) -> list[tuple[Graph, Arrays, Sequence[int]]]:
    """The graph by whose rules a node is differentiated, and on what it ran."""
    if node.op.name == "custom":  # by its pullback, whatever is in its body
        return []
    if node.op.name == "cond":
        taken = node.attrs["if_true" if inputs[0] else "if_false"]
        return [(taken, inputs[1:], [i - 1 for i in active if i])]
    return [(graph, inputs, active) for _, graph in node.graphs]


def _rule_of(node: Node) -> str:
    """What the user may call the gradient rule of a node."""
    if node.op.name == "custom":
        return f"the pullback of {node.attrs['body'].name}"
    return f"the gradient rule of `{node.op.name}`"


def _fault_of(node: Node, inputs: list[np.ndarray], active: Sequence[int]) -> Report:
    """Whether the rule of one node holds on these inputs, one input at a time."""
    seeded = [k for k, y in enumerate(node.results) if y.type.is_float]
    if not active or not seeded or node.op.name == "stop_gradient":
        return Report(None, [])

    def fault(what: str) -> Report:
        return Report(GradientError(f"{_rule_of(node)} is at fault: {what}", node.source), [])

    rng = np.random.default_rng(2)
    with np.errstate(all="ignore"):
        results = run_node(node, inputs, {})
    # Elements that are no numbers do not count: `where` chose others.
    counted = {k: np.isfinite(results[k]) for k in seeded}
    seeds = {
        k: np.asarray(rng.standard_normal(fine.shape) * fine, node.types[k].dtype)
        for k, fine in counted.items()
    }
    with Builder() as builder:
        values = tuple([builder.add_input(v.type) for v in node.inputs])
        copy = builder.add(rebuild(node, values))
        gs = [builder.add_input(t) if k in seeds else None for k, t in enumerate(node.types)]
        try:
            cotangents = node_vjp(copy, gs)
        except Exception as error:
            return fault(str(error))
        known = {i: c for i in active if (c := cotangents[i]) is not None}
        for i, c in known.items():
            if c.type != node.inputs[i].type:
                return fault(f"for its input {i}, {node.inputs[i].type}, it gives {c.type}")
        rule = builder.build(f"{node.op.name}_vjp", known.values())
    rule_values = dict(zip(known, evaluate(rule, *inputs, *seeds.values()), strict=True))

    def f(moved: Arrays) -> float:
        with np.errstate(all="ignore"):
            ys = run_node(node, list(moved), {})
            return float(sum(np.sum(seeds[k] * ys[k].astype(np.float64), where=counted[k]) for k in seeded))

    precise = all(v.dtype == F64 for v in (*node.inputs, *node.results) if v.type.is_float)
    tolerance = TOLERANCE[F64 if precise else F32]
    weighed = [(seeds[k], results[k]) for k in seeded]
    kinks = []
    for i in active:
        gradient = rule_values.get(i, np.zeros_like(inputs[i]))
        noise = rounding([*weighed, (gradient, inputs[i])])
        found = Slopes(f, inputs, [i], [gradient], tolerance, noise).search()
        if found.differs is not None:
            return fault(
                f"for its input {i}, {node.inputs[i].type}, along a random direction, {found.differs}"
            )
        kinks += [node] if found.kink else []
    return Report(None, kinks)
