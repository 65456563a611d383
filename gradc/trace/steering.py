"""How a function's gradient is computed: by a pullback of the user's own, or by computing values again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from gradc.ir import Graph, ShapeError, TraceError, Type, Value, emit_node
from gradc.trace import tree
from gradc.trace.copying import copied
from gradc.trace.core import Static, lift, rebuild, subtrace
from gradc.trace.lift import value_of, wrap
from gradc.trace.source import fail
from gradc.trace.state import current_trace, is_tracing
from gradc.trace.tracer import Tracer

Function = Callable[..., Any]


def checkpoint(fn: Function) -> Function:
    """The function, of whose intermediate values none is kept for the gradient.

    The backward pass computes them anew from the arguments and from what the function closes over. Values and
    gradients are those of the function itself; memory is given for time. It must not write to its arguments.
    """
    fn = getattr(fn, "__gradc_original__", fn)

    @functools.wraps(fn)
    def recomputed(*args: Any, **kwargs: Any) -> Any:
        if not is_tracing():
            return fn(*args, **kwargs)
        inner = copied(fn, current_trace().substitute)
        graph, captured, treedef, leaves = subtrace(
            lambda a, k: inner(*a, **k), args, kwargs, of="checkpoint", name=_name(fn)
        )
        if not graph.outputs:
            return rebuild(treedef, leaves, [])
        node = emit_node("call", *_traced((args, kwargs)), *captured, body=graph)
        return rebuild(treedef, leaves, [wrap(y) for y in node.results])

    return recomputed


def custom_gradient(fn: Function) -> Function:
    """A function whose gradient is the user's own: `fn` returns `(value, pullback)`.

    `pullback(cotangent)` takes a tree like the value (None where a leaf is no float) and returns a tuple with
    one gradient for each positional parameter: a tree like the argument, or None for "no gradient", which may
    also stand for single leaves. The tuple may be left out where there is one parameter. What the function
    closes over, and keyword-only arguments, count as constants. The pullback is traced too, and must be
    linear in the cotangent: second derivatives, `jvp` and `vmap` are made of it. Called plainly, the
    function gives the value alone.

    Errors: `TraceError` and `ShapeError` where the function or its pullback return something else.
    """
    fn = getattr(fn, "__gradc_original__", fn)
    signature = inspect.signature(fn)

    @functools.wraps(fn)
    def steered(*args: Any, **kwargs: Any) -> Any:
        if not is_tracing():
            return _pair(fn(*args, **kwargs), fn)[0]
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return _Custom(fn, bound.args, bound.kwargs).emit()

    return steered


class _Custom:
    """One call of a function that brings its pullback."""

    def __init__(self, fn: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.fn = fn
        self.inner = copied(fn, current_trace().substitute)
        self.arguments = args, kwargs
        self.inputs = _traced(self.arguments)
        self.targets: list[int] = []
        """The positions of the inputs for which the pullback has gradients."""

    def emit(self) -> Any:
        body, captured, treedef, leaves = subtrace(
            self.value, *self.arguments, of="custom_gradient", name=_name(self.fn)
        )
        if not body.outputs:
            return rebuild(treedef, leaves, [])
        seeds = [wrap(Value(y.type)) if y.type.is_float else None for y in body.outputs]
        cotangent = tree.unflatten(
            treedef, [_no_cotangent(x) if isinstance(x, Static) else seeds[x] for x in leaves]
        )
        name = f"{_name(self.fn)}_pullback"
        backward, more, _, _ = subtrace(
            self.gradients, *self.arguments, cotangent, of="custom_gradient", name=name
        )
        outside = list(dict.fromkeys([*captured, *more]))
        count = len(self.inputs)
        backward = _taking(backward, len(backward.inputs) - len(more), more, outside, count)
        body = _taking(body, count, captured, outside, count)
        node = emit_node(
            "custom", *self.inputs, *outside, body=body, pullback=backward, targets=tuple(self.targets)
        )
        return rebuild(treedef, leaves, [wrap(y) for y in node.results])

    def value(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The value alone."""
        return _pair(self.inner(*args, **kwargs), self.fn)[0]

    def gradients(self, args: tuple[Any, ...], kwargs: dict[str, Any], cotangent: Any) -> list[Tracer]:
        """What the pullback gives for the float leaves of the arguments; `targets` says which."""
        found = _pair(self.inner(*args, **kwargs), self.fn)[1](cotangent)
        if len(args) == 1 and not (isinstance(found, tuple) and len(found) == 1):
            found = (found,)
        if not isinstance(found, tuple) or len(found) != len(args):
            fail(
                f"the pullback of {_name(self.fn)} returns {_shown(found)} for {len(args)} parameters",
                "return a tuple with one gradient for each parameter, None where there is none",
            )
        gradients: list[Tracer] = []
        position = 0
        for i, (arg, gradient) in enumerate(zip(args, found, strict=True)):
            leaves, treedef = tree.flatten(arg)
            try:
                given = [None] * len(leaves) if gradient is None else tree.flatten_up_to(treedef, gradient)
            except ValueError:
                fail(
                    f"the pullback of {_name(self.fn)} returns for parameter {i} a gradient of another "
                    f"structure than the argument's, which is {treedef}",
                    "return the same containers, None for leaves without a gradient",
                )
            for leaf, g in zip(leaves, given, strict=True):
                if type(leaf) is not Tracer or not leaf.traced:
                    continue
                if g is not None and leaf.type.is_float:
                    self.targets.append(position)
                    gradients.append(self.fitting(g, leaf.type, i))
                position += 1
        return gradients

    def fitting(self, gradient: Any, wanted: Type, parameter: int) -> Tracer:
        """A gradient in the type of its leaf; a Python number stands for all elements."""
        number = gradient.weak if type(gradient) is Tracer else type(gradient) in (int, float)
        found = lift(gradient)
        if type(found) is not Tracer:
            fail(f"the pullback of {_name(self.fn)} returns {_shown(gradient)} for parameter {parameter}")
        if found.shape != wanted.shape and not (number and not found.shape):
            fail(
                f"the pullback of {_name(self.fn)} returns {found.type} for parameter {parameter}, "
                f"which is {wanted}",
                f"the gradient has the shape of the argument, {wanted.shape}",
                ShapeError,
            )
        return wrap(value_of(found, wanted.dtype, wanted.shape))


def _taking(graph: Graph, lead: int, mine: list[Value], outside: list[Value], count: int) -> Graph:
    """The graph with inputs for all the values from outside behind the first `count`, and the rest of its
    first `lead` inputs last."""
    own = dict(zip(mine, graph.inputs[lead:], strict=True))
    middle = [own.get(v) or Value(v.type, name=v.name) for v in outside]
    return graph.replace(inputs=[*graph.inputs[:count], *middle, *graph.inputs[count:lead]])


def _traced(arguments: Any) -> list[Value]:
    return [x.value for x in tree.flatten(arguments)[0] if type(x) is Tracer and x.traced]


def _no_cotangent(leaf: Static) -> Any:
    return 0.0 if isinstance(leaf.value, float) else None


def _pair(result: Any, fn: Function) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2 or not callable(result[1]):
        message = f"{_name(fn)} has @custom_gradient, but returns {_shown(result)}"
        hint = "return value, pullback"
        if is_tracing():
            fail(message, hint)
        raise TraceError(message, hint=hint)
    return result


def _shown(result: Any) -> str:
    if isinstance(result, tuple):
        return f"a tuple of {len(result)}"
    return f"{result.type}" if type(result) is Tracer else f"{result!r:.40}"


def _name(fn: Function) -> str:
    return getattr(fn, "__name__", "function")
