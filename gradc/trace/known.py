"""Values that follow from Python floats alone: found while tracing, where Python needs them.

The trace starts again with floats that know their value (`NeedStatic` asks for it; the signature then has
it). Asked for its truth, say, a tracer that depends on nothing else computes it; the graph keeps the
computation, so that gradients flow. Where a float itself goes to code that is not traced, what becomes of it
has no gradient: that is noted as having escaped.
"""

from __future__ import annotations

import numpy as np

from gradc.ir import Value
from gradc.ir.evaluate import run_node
from gradc.ir.graph import builders
from gradc.trace.state import NeedStatic, Trace, current_trace


def elements(value: Value) -> np.ndarray | None:
    """The elements of a value that depends on Python floats and constants only; None if on anything else.

    What was found is remembered, so that all questions of a trace together take linear time. Errors:
    `NeedStatic` if this trace was not given the values of the floats.
    """
    trace = current_trace()
    order = _unknown(trace, value)
    if order is None:
        return None
    missing = [trace.floats[v] for v in order if v in trace.floats]
    if missing:
        raise NeedStatic(tuple(sorted(missing)))
    with np.errstate(all="ignore"):
        for v in order:
            if v.node is None:
                trace.known[v] = trace.known[_outer(trace, v)]  # pyright: ignore[reportArgumentType]
            elif v not in trace.known:
                inputs = [trace.known[x] for x in v.node.inputs]
                results = run_node(v.node, inputs, trace.constants)
                trace.known.update(zip(v.node.results, results, strict=True))
    return trace.known[value]


def _unknown(trace: Trace, value: Value) -> list[Value] | None:
    """What is not known of all that `value` depends on, in an order to find it in; None if that cannot be."""
    order: list[Value] = []
    seen: set[Value] = set()
    pending = [(value, False)]
    while pending:
        v, ready = pending.pop()
        if ready:
            order.append(v)
        elif v not in seen and v not in trace.known:
            seen.add(v)
            pending.append((v, True))
            if v.node is not None:
                pending.extend([(x, False) for x in v.node.inputs])
            elif v not in trace.floats:
                outer = _outer(trace, v)
                if outer is None:
                    return None
                pending.append((outer, False))
    return order


def depends_on_floats_only(value: Value) -> bool:
    """Whether `value` depends on Python floats and on nothing else but constants."""
    trace = current_trace()
    order = _unknown(trace, value)
    return order is not None and (value in trace.known or any(v in trace.floats for v in order))


def escape(value: Value) -> None:
    """Note that the floats that `value` is made of go where no gradient comes back from."""
    trace = current_trace()
    pending = [value]
    while pending:
        v = pending.pop()
        if v in trace.escaped or not v.type.is_float:
            continue
        trace.escaped.add(v)
        if v.node is None:
            outer = _outer(trace, v)
            pending += [] if outer is None else [outer]
        elif v.node.op.name != "stop_gradient":
            pending += v.node.inputs


def _outer(trace: Trace, inner: Value) -> Value | None:
    """The value outside for which an input of a nested graph stands."""
    if inner in trace.same:
        return trace.same[inner]
    for builder in reversed(builders()):
        for outer, value in builder.captured.items():
            if value is inner:
                return outer
    return None
