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
from gradc.ir.errors import ArgumentError, GradcError
from gradc.ir.evaluate import evaluate, run_node
from gradc.ir.graph import Builder, Graph, Node, Value, emit, rebuild
from gradc.ir.op import node_vjp
from gradc.ir.types import F32, F64
from gradc.passes.grad import grad
from gradc.trace import tree

STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Step sizes. The best one counts: large steps err by curvature, small ones by rounding."""

DIRECTIONS = 6
"""Random directions that are tried."""

TOLERANCE = {F64: 1e-6, F32: 5e-3}
"""Relative, by the least precise dtype in the graph: what central differences reach at some step."""

Arrays = Sequence[np.ndarray]


class GradientError(GradcError, AssertionError):
    """A gradient that is not what finite differences say it is."""


class Slope(NamedTuple):
    """A directional derivative by the gradient, and the best one by finite differences."""

    analytic: float
    numeric: float
    agree: bool


@public
def check_grad(fn: Callable[..., Any], *args: Any, wrt: Any = None) -> None:
    """Compare the compiled gradient of `fn` at `args`, retraced in float64, with finite differences.

    Derivatives along random directions are compared, at several step sizes, of which the best counts. `wrt`
    is as in `grad`, but None means every float leaf of all arguments. A result that is no single number is
    projected on random weights. Errors: `GradientError` (an `AssertionError`) that names the op whose
    gradient rule is at fault, with the user's line and both numbers.
    """
    fn = fn.__gradc_original__ if isinstance(fn, Compiled | BoundCompiled) else fn
    options = Options()
    function = Function(fn, wrt=0 if wrt is None else wrt, options=options)
    special, leaves = function.specialize(tree.map(_double, args), {})
    graph = _objective(special.program)
    inputs = _inputs(special.program, wrt)
    x = [np.asarray(native_leaf(leaf, kind_of(leaf))) for leaf in special.given(leaves)]
    value = backend.build(graph.replace(outputs=graph.outputs[:1]), options)
    try:
        whole = grad(graph, inputs)
    except Exception as error:  # a rule that cannot even be applied
        raise find_fault(graph, x) or error from None
    if any(g.type != graph.inputs[i].type for g, i in zip(whole.outputs[1:], inputs, strict=True)):
        raise find_fault(graph, x) or AssertionError("a gradient has not the type of its input")
    gradients = backend.build(whole, options).run(x)[1:]

    def f(moved: Arrays) -> float:
        return float(value.run(moved)[0])

    tolerance = _tolerance(graph)
    for direction in _directions(x, inputs):
        slope = _compare(f, x, inputs, gradients, direction, tolerance)
        if slope is None or slope.agree:
            continue
        if fault := find_fault(graph, x):
            raise fault
        reference = evaluate(whole, *x)[1:]
        exact = _compare(f, x, inputs, reference, direction, tolerance)
        who = (
            "compiled code is at fault"
            if exact and exact.agree
            else "function may have a kink or a jump here"
        )
        raise GradientError(
            f"along a random direction, the gradient of {name_of(fn)} is {slope.analytic:.10g}, "
            f"finite differences give {slope.numeric:.10g}; the rule of every op holds, so the {who}",
            definition(fn),
        )


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


def _tolerance(graph: Graph) -> float:
    floats = {v.dtype for node in graph.nodes for v in node.results if v.type.is_float}
    return max((TOLERANCE[dtype] for dtype in floats), default=TOLERANCE[F64])


def _directions(x: Arrays, inputs: Sequence[int]) -> Iterator[list[np.ndarray]]:
    """Random directions: relative to each element, which stays inside of domains, and all of one size."""
    rng = np.random.default_rng(1)
    for k in range(DIRECTIONS):
        direction = []
        for i in inputs:
            d = rng.standard_normal(x[i].shape)
            if k % 2 == 0:
                d = d * np.where(x[i] == 0, 1.0, np.minimum(np.abs(x[i]), 1e6))
            direction.append(np.asarray(d, x[i].dtype))
        yield direction


def _compare(
    f: Callable[[Arrays], float],
    x: Arrays,
    inputs: Sequence[int],
    gradients: Arrays,
    direction: Arrays,
    tolerance: float,
) -> Slope | None:
    """Both derivatives of f along a direction; None where finite differences say nothing (NaN, infinity)."""
    with np.errstate(all="ignore"):
        terms = [g.astype(np.float64) * d for g, d in zip(gradients, direction, strict=True)]
        analytic = float(sum(t.sum() for t in terms))
        size = float(np.sqrt(sum((t * t).sum() for t in terms)))
        best: Slope | None = None
        for h in STEPS:
            moved = [list(x), list(x)]
            for side, sign in zip(moved, (1, -1), strict=True):
                for i, d in zip(inputs, direction, strict=True):
                    side[i] = np.asarray(x[i] + sign * h * d, x[i].dtype)
            above, below = map(f, moved)
            numeric = (above - below) / (2 * h)
            if not np.isfinite(numeric):
                continue
            noise = 8 * np.finfo(np.float64).eps * (abs(above) + abs(below)) / h
            allowed = tolerance * max(size, abs(numeric)) + noise
            slope = Slope(analytic, numeric, abs(numeric - analytic) <= allowed)
            if best is None or slope.agree or abs(numeric - analytic) < abs(best.numeric - analytic):
                best = slope
            if slope.agree:
                break
        return best


def find_fault(graph: Graph, leaves: Arrays) -> GradientError | None:
    """The first node, as they run, whose gradient rule does not hold; inside of branches too."""
    fault = None
    pending: list[tuple[Graph, Arrays]] = [(graph, leaves)]
    while pending:
        inner, arguments = pending.pop()
        env = dict(zip(inner.inputs, arguments, strict=True))
        for node in inner.nodes:
            inputs = [np.asarray(env[v]) for v in node.inputs]
            with np.errstate(all="ignore"):
                env.update(zip(node.results, run_node(node, inputs, graph.constants), strict=True))
            found = _fault_of(node, inputs)
            if found is not None:
                fault = found
                pending += _inside(node, inputs)
                break
    return fault


def _inside(node: Node, inputs: list[np.ndarray]) -> list[tuple[Graph, Arrays]]:
    """The graph by whose rules a node is differentiated, and on what it ran."""
    if node.op.name == "custom":  # by its pullback, whatever is in its body
        return []
    if node.op.name == "cond":
        return [(node.attrs["if_true" if inputs[0] else "if_false"], inputs[1:])]
    return [(graph, inputs) for _, graph in node.graphs]


def _rule_of(node: Node) -> str:
    """What the user may call the gradient rule of a node."""
    if node.op.name == "custom":
        return f"the pullback of {node.attrs['body'].name}"
    return f"the gradient rule of `{node.op.name}`"


def _fault_of(node: Node, inputs: list[np.ndarray]) -> GradientError | None:
    """Whether the rule of one node holds on these inputs, one input at a time."""
    floats = [i for i, v in enumerate(node.inputs) if v.type.is_float]
    seeded = [k for k, y in enumerate(node.results) if y.type.is_float]
    if not floats or not seeded:
        return None
    rng = np.random.default_rng(2)
    seeds = {k: rng.standard_normal(node.types[k].shape).astype(node.types[k].dtype) for k in seeded}
    with Builder() as builder:
        values = tuple([builder.add_input(v.type) for v in node.inputs])
        copy = builder.add(rebuild(node, values))
        gs = [builder.add_input(t) if k in seeds else None for k, t in enumerate(node.types)]
        try:
            cotangents = node_vjp(copy, gs)
        except Exception as error:
            return GradientError(f"{_rule_of(node)} is at fault: {error}", node.source)
        known = {i: c for i in floats if (c := cotangents[i]) is not None}
        for i, c in known.items():
            if c.type != node.inputs[i].type:
                return GradientError(
                    f"{_rule_of(node)} is at fault: for its input {i}, "
                    f"{node.inputs[i].type}, it gives {c.type}",
                    node.source,
                )
        rule = builder.build(f"{node.op.name}_vjp", known.values())
    rule_values = dict(zip(known, evaluate(rule, *inputs, *seeds.values()), strict=True))

    def f(moved: Arrays) -> float:
        results = run_node(node, list(moved), {})
        return float(sum((seeds[k] * results[k].astype(np.float64)).sum() for k in seeded))

    precise = all(v.dtype == F64 for v in (*node.inputs, *node.results) if v.type.is_float)
    for i in floats:
        gradient = rule_values.get(i, np.zeros_like(inputs[i]))
        for direction in _directions(inputs, [i]):
            slope = _compare(f, inputs, [i], [gradient], direction, TOLERANCE[F64 if precise else F32])
            if slope is not None and not slope.agree:
                return GradientError(
                    f"{_rule_of(node)} is at fault: for its input {i}, "
                    f"{node.inputs[i].type}, along a random direction, it gives {slope.analytic:.10g}; "
                    f"finite differences give {slope.numeric:.10g}",
                    node.source,
                )
    return None
