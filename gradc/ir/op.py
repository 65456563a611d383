"""What an op is: one row of name, NumPy meaning, type rule and gradient rule; and the table of all rows."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

from gradc.ir.errors import ShapeError, Source, TraceError
from gradc.ir.graph import Node, Value, constant, emit
from gradc.ir.types import Type

OPS: dict[str, Op] = {}
"""Every op by name, filled by the modules of `gradc.ir.ops`."""


@dataclass(frozen=True, eq=False)
class Op:
    """One row of the table.

    `numpy(*arrays, **attrs)` is the reference meaning (an array, or a tuple for several results);
    `infer(*types, **attrs)` gives the result type (or a tuple), raising `ShapeError`; None means that the
    type is declared where the op is emitted, and stands in the text;
    `vjp(g, y, *inputs, **attrs)` gives the cotangents of the inputs as expressions on values (a tuple, None
    for "no gradient"); `g` and `y` are tuples for ops with several results. `vjp=None`: never a gradient.
    `elementwise` ops compute each element of the result from the same element of every input.
    """

    name: str
    numpy: Callable[..., Any]
    infer: Callable[..., Type | tuple[Type, ...]] | None
    vjp: Callable[..., Any] | None = None
    elementwise: bool = False
    arity: int | None = None

    def __post_init__(self) -> None:
        assert self.name not in OPS, self.name
        OPS[self.name] = self

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def types(
        self,
        inputs: tuple[Type, ...],
        attrs: dict[str, Any],
        declared: Type | None,
        source: Source | None = None,
    ) -> tuple[Type, ...]:
        """The result types for given input types."""
        if self.arity is not None and len(inputs) != self.arity:
            raise ShapeError(f"{self.name} takes {self.arity} inputs, not {len(inputs)}", source)
        if self.infer is None:
            assert declared is not None, f"{self.name} needs a declared type"
            return (declared,)
        try:
            types = self.infer(*inputs, **attrs)
        except ShapeError as error:
            error.source = error.source or source
            raise
        return types if isinstance(types, tuple) else (types,)


class Cotangent:
    """A cotangent inside a gradient rule: a value whose `* d` and `/ d` emit `scale`.

    In `scale`, 0 times anything is 0, so a branch that was not selected contributes nothing even where its
    derivative is infinite.
    """

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value

    @property
    def type(self) -> Type:
        return self.value.type

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def __mul__(self, d: Any) -> Cotangent:
        if isinstance(d, int | float):  # a finite constant needs no care
            return Cotangent(self.value * d)
        return Cotangent(emit("scale", self.value, d, divide=False))

    def __truediv__(self, d: Any) -> Cotangent:
        if isinstance(d, int | float):
            return Cotangent(self.value / d)
        return Cotangent(emit("scale", self.value, d, divide=True))

    def __neg__(self) -> Cotangent:
        return Cotangent(-self.value)

    def __add__(self, other: Cotangent) -> Cotangent:
        return Cotangent(self.value + other.value)


class Unknown:
    """What a gradient rule gives for an input in which no derivative is known: an error if it is wanted."""

    def __init__(self, what: str) -> None:
        self.what = what

    def error(self, node: Node) -> TraceError:
        return TraceError(
            f"gradc knows no derivative of {node.op.name} in {self.what}",
            node.source,
            "gradc.stop_gradient of it, or a number that no gradient is taken of",
        )


def node_vjp(node: Node, cotangents: list[Value | None], active: Container[Value] = ()) -> list[Value | None]:
    """The cotangents of a node's inputs from those of its results, by the op's rule.

    A rule gives none for inputs that are no floats. A result without a cotangent counts as zero where the op
    has several. Errors: `TraceError` if no derivative is known in one of the inputs that are `active`.
    """
    nothing: list[Value | None] = [None] * len(node.inputs)
    if node.op.vjp is None:
        return nothing
    if len(node.results) == 1:
        (g,) = cotangents
        assert g is not None
        gs = node.op.vjp(Cotangent(g), node.result, *node.inputs, **node.attrs)
    else:
        gs = node.op.vjp(tuple(cotangents), node.results, *node.inputs, **node.attrs)
    if gs is None:
        return nothing
    if not isinstance(gs, tuple):
        gs = (gs,)
    assert len(gs) == len(node.inputs), f"{node.op.name}: {len(gs)} cotangents for {len(node.inputs)} inputs"
    found: list[Value | None] = []
    for g, x in zip(gs, node.inputs, strict=True):
        if isinstance(g, Unknown):
            if x in active:
                raise g.error(node)
            g = None
        assert g is None or x.type.is_float, f"{node.op.name} gives a gradient for its input of type {x.type}"
        found.append(getattr(g, "value", g))
    return found


def full_like(value: float, x: Value) -> Value:
    """A constant of x's type."""
    return constant(value, x.type)
