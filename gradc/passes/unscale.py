"""Unscale: `scale` and `product`, in which 0 times anything is 0, become `mul` where nothing can tell.

`scale(g, d)` differs from `g * d` only where g is 0 and d is infinite or NaN. What asks for it are zeros that
a selection has put into a cotangent: `where`, `maximum`, `pad`, indexing, casts of masks. They all start as
zero constants (or as infinite ones, which exp and division make zeros of), so one sweep follows these through
the graph. A `scale` goes where no such zero can reach g, or where d is finite by its form. Zeros may change
their sign.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from gradc.ir import Graph, Node, Value
from gradc.ir.graph import rebuild
from gradc.ir.op import OPS

ZERO, INFINITE = 1, 2
"""Marks: the value may hold zeros, or infinities, that a selection put there."""
ANY = ZERO | INFINITE

KEEPING = {
    *("neg", "abs", "sqrt", "cbrt", "sin", "tan", "sinh", "arcsin", "arcsinh", "arctan", "arctanh", "tanh"),
    *(
        "expm1",
        "log1p",
        "erf",
        "copy",
        "stop_gradient",
        "broadcast",
        "reshape",
        "transpose",
        "slice",
        "concat",
    ),
    *("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "maximum", "minimum", "matmul", "mul"),
    *("cumsum", "cumprod", "cummax", "cummin", "sort", "windows", "contract"),
}
"""Ops that make zeros of zeros, and of nothing else: from any input, for those that have several."""
ROUNDING = {"sign", "floor", "ceil", "trunc", "rint", "floor_divide", "remainder"}
"""Ops whose zeros are selections themselves."""


def unscale(graph: Graph, masked: Iterable[int] = ()) -> Graph:
    """Replace `scale` by `mul` or `div` where that gives the same gradients.

    Comes after all gradients have been taken (second derivatives need `scale`); sees more after `simplify`.
    `masked` are the positions of inputs that hold zeros on purpose, such as rows of an identity matrix that
    select an output.
    """
    chosen = set(masked)
    marks = tuple(ZERO if i in chosen else 0 for i in range(len(graph.inputs)))
    return _Unscaling().graph(graph, marks)[0]


Marks = tuple[int, ...]


class _Unscaling:
    """Nested graphs are done once for the same marks of their inputs. Recursion follows nesting alone."""

    def __init__(self) -> None:
        self.done: dict[tuple[Graph, Marks], tuple[Graph, Marks]] = {}

    def graph(self, graph: Graph, inputs: Marks) -> tuple[Graph, Marks]:
        """The graph without needless `scale`, and the marks of its outputs."""
        if (graph, inputs) not in self.done:
            self.done[graph, inputs] = self.sweep(graph, inputs)
        return self.done[graph, inputs]

    def sweep(self, graph: Graph, inputs: Marks) -> tuple[Graph, Marks]:
        marks: dict[Value, int] = dict(zip(graph.inputs, inputs, strict=True))
        bounds: dict[Value, float] = {}
        env: dict[Value, Value] = {}
        nodes = []
        for node in graph.nodes:
            given = [marks[x] for x in node.inputs]
            copy, made = self.node(node, given, bounds)
            now = tuple([env.get(x, x) for x in node.inputs])
            if now != copy.inputs:
                copy = rebuild(copy, now)
            if copy is not node:
                env.update(zip(node.results, copy.results, strict=True))
            nodes.append(copy)
            marks.update(zip(node.results, made, strict=True))
            if len(node.results) == 1 and (limit := bound(node, bounds)) is not None:
                bounds[node.result] = limit
        if env:
            outputs = [env.get(y, y) for y in graph.outputs]
            return graph.replace(nodes=nodes, outputs=outputs), tuple(marks[y] for y in graph.outputs)
        return graph, tuple(marks[y] for y in graph.outputs)

    def node(self, node: Node, given: list[int], bounds: dict[Value, float]) -> tuple[Node, Marks]:
        """The node (on its old inputs) without needless `scale`, and the marks of its results."""
        graphs = dict(node.graphs)
        if graphs:
            lead = 1 if node.op.name == "cond" else 0
            known = node.op.name in ("call", "cond", "fuse")
            changed: dict[str, Graph] = {}
            made = (0 if known else ANY,) * len(node.results)
            for k, g in graphs.items():
                inner = tuple(given[lead:]) if known else (ANY,) * len(g.inputs)
                changed[k], outputs = self.graph(g, inner)
                if known:
                    made = tuple(a | b for a, b in zip(made, outputs, strict=True))
            if all(changed[k] is g for k, g in graphs.items()):
                return node, made
            return rebuild(node, node.inputs, **changed), made
        if _is_plain(node, given, bounds):
            plain = OPS["div" if node.attrs.get("divide") else "mul"]
            copy = Node(plain, node.inputs, {}, node.types, node.source)
            copy.result.name = node.result.name
            return copy, (mark(node, given),)
        return node, (mark(node, given),) * len(node.results)


def mark(node: Node, given: list[int]) -> int:
    """The marks of a node's results from those of its inputs."""
    op, attrs = node.op.name, node.attrs
    if op in ("constant", "pad"):
        values = np.asarray(attrs["value"])
        own = (ZERO if np.any(values == 0) else 0) | (INFINITE if np.any(np.isinf(values)) else 0)
        return own | (given[0] if given else 0)
    if not given:
        return ZERO if op == "iota" else 0  # captured arrays are data, as inputs are
    if op in KEEPING:
        return _any(given)
    if op in ("add", "sub"):
        # A sum is 0 by selection where both are; else by chance.
        return given[0] & given[1] & ZERO | _any(given) & INFINITE
    if op in ("div", "scale") and attrs.get("divide", True):
        a, b = given
        return a & ZERO | (ZERO if b & INFINITE else 0) | a & INFINITE | (INFINITE if b & ZERO else 0)
    if op in ("exp", "exp2", "expit", "erfc"):
        return ANY if given[0] & INFINITE else 0
    if op in ("log", "log2", "log10"):
        return INFINITE if given[0] else 0
    if op in ("cos", "cosh", "logaddexp"):
        return _any(given) & INFINITE
    if op == "fold":  # 0 where no window reaches
        return ZERO | given[0]
    if op == "cast":
        return given[0] if node.inputs[0].type.is_float else ZERO
    if op in ROUNDING:
        return ZERO | _any(given)
    if op in ("scale", "product"):
        return _any(given)
    if op in ("gather", "require"):
        return given[0]
    if op in ("scatter_add", "scatter"):
        return given[0] | given[1]
    if op == "where":
        return given[1] | given[2]
    return ANY if any(given) else 0


def _any(given: list[int]) -> int:
    result = 0
    for m in given:
        result |= m
    return result


def _is_plain(node: Node, given: list[int], bounds: dict[Value, float]) -> bool:
    """Is the node a `scale` or `product` that gives what an ordinary product or quotient would?"""
    if node.op.name == "product":
        a, b = node.inputs
        ways = ((given[0], b), (given[1], a))
        return a is b or all(not marks & ZERO or other in bounds for marks, other in ways)
    return node.op.name == "scale" and (not given[0] & ZERO or _harmless(node, bounds))


def _harmless(node: Node, bounds: dict[Value, float]) -> bool:
    """Is 0 times (or over) the factor 0 for certain?"""
    d = node.inputs[1]
    if not node.attrs["divide"]:
        return d in bounds or d is node.inputs[0]
    if d.node is None or d.node.op.name != "constant":
        return False
    divisors = np.asarray(d.node.attrs["value"])
    return bool(np.all(divisors != 0) and not np.any(np.isnan(divisors)))


SAME = {
    *(
        "neg",
        "abs",
        "copy",
        "stop_gradient",
        "broadcast",
        "reshape",
        "transpose",
        "slice",
        "windows",
        "gather",
        "require",
    ),
    *("reduce_max", "reduce_min", "cummax", "cummin", "concat", "maximum", "minimum"),
}
"""Ops whose results are not larger than the largest input (the first, where the others only choose)."""
UNIT = {
    "sign": 1.0,
    "tanh": 1.0,
    "sech2": 1.0,
    "sin": 1.0,
    "cos": 1.0,
    "erf": 1.0,
    "expit": 1.0,
    "erfc": 2.0,
    "arctan": 1.6,
}


def bound(node: Node, bounds: dict[Value, float]) -> float | None:
    """A number that no element exceeds in magnitude; None if elements may be infinite or NaN."""
    type = node.types[0]
    limit = _bound(node, bounds)
    if limit is None or not limit < (float(np.finfo(type.dtype).max) / 2 if type.is_float else math.inf):
        return None
    return limit


def _bound(node: Node, bounds: dict[Value, float]) -> float | None:
    op, type = node.op.name, node.types[0]
    if op == "constant":
        return float(np.max(np.abs(np.asarray(node.attrs["value"], float)), initial=0.0))
    if op == "iota":
        return float(type.shape[node.attrs["axis"]])
    if op == "cast" and not node.inputs[0].type.is_float:
        source = node.inputs[0].dtype
        return bounds.get(node.inputs[0], 1.0 if source.kind == "b" else 2.0 ** (8 * source.itemsize))
    sources = node.inputs[1:] if op == "where" else node.inputs
    if op in ("gather", "require"):
        sources = node.inputs[:1]
    limits = [bounds[x] for x in sources if x in bounds]
    if len(limits) < len(sources) or not limits:
        return None
    if op in SAME or op == "where" or (op == "cast" and type.is_float):
        return max(limits)
    if op in UNIT:
        return UNIT[op]
    if op == "pad":
        return max(limits[0], abs(float(node.attrs["value"])))
    if not type.is_float:
        return None
    if op in ("add", "sub"):
        return limits[0] + limits[1]
    if op in ("mul", "scale", "product") and not node.attrs.get("divide", False):
        return limits[0] * limits[1]
    if op == "exp":
        return math.exp(limits[0]) if limits[0] < 700 else None
    if op == "reduce_sum":
        return limits[0] * node.inputs[0].type.size
    return None
