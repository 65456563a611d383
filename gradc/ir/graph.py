"""The graph: values, nodes in order, and the builder that every emitter of IR appends to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradc.ir.errors import Source, TraceError
from gradc.ir.types import Type

if TYPE_CHECKING:
    import networkx

    from gradc.ir.op import Op


class Place(NamedTuple):
    """Where a planned value lives: in the arena at a byte offset, or in an output, input or captured array by
    number."""

    where: str
    number: int

    def __str__(self) -> str:
        return f"arena+{self.number}" if self.where == "arena" else f"{self.where}{self.number}"


class Value:
    """One typed result of a node, or an input of a graph (`node` is None). Compared by identity.

    Operators on values emit nodes, so that a gradient rule or a composition is an ordinary expression;
    Python scalars become constants of the other operand's type.
    """

    __array_ufunc__ = None  # a NumPy array on the left must not swallow a value on the right
    __slots__ = ("index", "name", "node", "type")

    def __init__(self, type: Type, node: Node | None = None, index: int = 0, name: str | None = None) -> None:
        self.type = type
        self.node = node
        self.index = index
        self.name = name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> np.dtype:
        return self.type.dtype

    def __repr__(self) -> str:
        what = "input" if self.node is None else self.node.op.name
        return f"<{self.name or 'value'}: {self.type} = {what}>"

    def __add__(self, other: Operand) -> Value:
        return _binary("add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return _binary("add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return _binary("sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return _binary("sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return _binary("mul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return _binary("mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return _binary("div", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return _binary("div", other, self)

    def __and__(self, other: Operand) -> Value:
        return _binary("and", self, other)

    def __or__(self, other: Operand) -> Value:
        return _binary("or", self, other)

    def __lt__(self, other: Operand) -> Value:
        return _binary("lt", self, other)

    def __le__(self, other: Operand) -> Value:
        return _binary("le", self, other)

    def __gt__(self, other: Operand) -> Value:
        return _binary("gt", self, other)

    def __ge__(self, other: Operand) -> Value:
        return _binary("ge", self, other)

    def __neg__(self) -> Value:
        return emit("neg", self)

    def __invert__(self) -> Value:
        return emit("invert", self)


Operand = Value | float | int | bool


class Node:
    """An op applied to values. Immutable once built, so graphs may share nodes.

    `graphs` are the closed graphs it holds, by attribute name.
    """

    __slots__ = ("attrs", "graphs", "inputs", "op", "places", "results", "source", "types")

    def __init__(
        self,
        op: Op,
        inputs: tuple[Value, ...],
        attrs: dict[str, Any],
        types: tuple[Type, ...],
        source: Source | None = None,
        places: tuple[Place, ...] | None = None,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.attrs = attrs
        self.types = types
        self.source = source
        self.places = places
        self.graphs: tuple[tuple[str, Graph], ...] = (
            tuple([item for item in attrs.items() if type(item[1]) is Graph]) if attrs else ()
        )
        self.results: tuple[Value, ...] = tuple([Value(t, self, i) for i, t in enumerate(types)])

    @property
    def result(self) -> Value:
        """The result of a node that has exactly one."""
        (value,) = self.results
        return value


@dataclass(eq=False)
class Graph:
    """A closed, static, typed program: inputs, nodes in an order that respects dependence, outputs.

    `constants` holds the captured arrays by name; the text shows their type and digest only.
    `notes` are remarks of passes (which stabilizing rule fired where), shown in the text.
    `arena` is the number of workspace bytes of a planned graph.
    """

    name: str
    inputs: list[Value]
    nodes: list[Node]
    outputs: list[Value]
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    arena: int | None = None

    def __str__(self) -> str:
        from gradc.ir.text import graph_text

        return graph_text(self)

    def __repr__(self) -> str:
        return f"<graph {self.name}: {len(self.inputs)} inputs, {len(self.nodes)} nodes>"

    def replace(self, **changes: Any) -> Graph:
        """A copy with some fields changed."""
        from dataclasses import replace

        return replace(self, **changes)

    def walk(self) -> Iterator[Node]:
        """Every node, those of nested graphs included, outer before inner."""
        pending: list[Graph] = [self]
        while pending:
            for node in pending.pop().nodes:
                yield node
                pending.extend(graph for _, graph in node.graphs)

    def users(self) -> dict[Value, list[Node]]:
        """For every value, the nodes of this graph that use it (once per use)."""
        users: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                users.setdefault(value, []).append(node)
        return users

    def to_networkx(self) -> networkx.DiGraph:
        """An analysis view: a `networkx.DiGraph` of nodes, edges labelled with the values they carry."""
        import networkx

        view = networkx.DiGraph()
        view.add_nodes_from(self.nodes)
        for node in self.nodes:
            for value in node.inputs:
                if value.node is not None:
                    view.add_edge(value.node, node, value=value)
        return view


class Builder:
    """Collects nodes in order. The innermost builder of the thread receives what is emitted.

    With `captures`, using a value of an outer graph adds an input to this one, and `captured` remembers
    which: that keeps nested graphs closed. Otherwise such a value is an error (it leaked out of its trace).
    """

    def __init__(
        self, inputs: Iterable[Value] = (), nodes: Iterable[Node] = (), *, captures: bool = False
    ) -> None:
        self.inputs = list(inputs)
        self.nodes = list(nodes)
        self.known = set(self.inputs)
        self.known.update(*[node.results for node in self.nodes])
        self.captures = captures
        self.captured: dict[Value, Value] = {}
        self.notes: dict[str, None] = {}
        self.source: Source | None = None
        self.locate: Callable[[], Source | None] | None = None

    def __enter__(self) -> Builder:
        _stack().append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _stack().remove(self)

    @contextmanager
    def at(self, source: Source | None) -> Iterator[None]:
        """Nodes emitted inside carry this source line."""
        before, self.source = self.source, source
        try:
            yield
        finally:
            self.source = before

    def own(self, value: Value) -> Value:
        """The value as seen in this graph: itself, or the input that stands for an outer one."""
        if value in self.known:
            return value
        if value not in self.captured:
            if not self.captures:
                raise TraceError(
                    f"a traced value ({value.type}) is used outside of the trace it belongs to",
                    self.locate() if self.locate else self.source,
                    "return it from the compiled function instead of storing it somewhere",
                )
            self.captured[value] = self.add_input(value.type, value.name)
        return self.captured[value]

    def add_input(self, type: Type, name: str | None = None) -> Value:
        value = Value(type, name=name)
        self.inputs.append(value)
        self.known.add(value)
        return value

    def add(self, node: Node) -> Node:
        self.nodes.append(node)
        self.known.update(node.results)
        return node

    def emit(
        self, op: Op, inputs: tuple[Value, ...], attrs: dict[str, Any], type: Type | None = None
    ) -> Node:
        if not self.known.issuperset(inputs):
            inputs = tuple([self.own(x) for x in inputs])
        source = self.source or (self.locate() if self.locate else None)
        types = op.types(tuple([x.type for x in inputs]), attrs, type, source)
        return self.add(Node(op, inputs, attrs, types, source))

    def build(self, name: str, outputs: Iterable[Value], **fields: Any) -> Graph:
        fields.setdefault("notes", tuple(self.notes))
        return Graph(name, self.inputs, self.nodes, [self.own(x) for x in outputs], **fields)


_local = threading.local()


def _stack() -> list[Builder]:
    try:
        return _local.stack
    except AttributeError:
        _local.stack = []
        return _local.stack


def current() -> Builder:
    """The builder that receives what is emitted now."""
    stack = _stack()
    if not stack:
        raise TraceError(
            "a traced value is used outside of a trace", hint="return it from the compiled function"
        )
    return stack[-1]


def is_building() -> bool:
    return bool(_stack())


def builders() -> tuple[Builder, ...]:
    """The thread's builders, outermost first."""
    return tuple(_stack())


def emit(op: str | Op, *inputs: Any, type: Type | None = None, **attrs: Any) -> Value:
    """Append a node with one result to the current builder and return that result."""
    return emit_node(op, *inputs, type=type, **attrs).result


def emit_node(op: str | Op, *inputs: Any, type: Type | None = None, **attrs: Any) -> Node:
    """Append a node to the current builder. Inputs may be values or cotangents."""
    from gradc.ir.op import OPS

    row = OPS[op] if isinstance(op, str) else op
    return current().emit(row, tuple([getattr(x, "value", x) for x in inputs]), attrs, type)


def constant(value: Any, type: Type) -> Value:
    """A typed splat (a scalar value for every element), or a small array written out."""
    if isinstance(value, np.ndarray) and not value.size:
        value = 0  # a list of nothing would not say its shape
    elif isinstance(value, np.ndarray) and value.ndim:
        value = value.tolist()
    elif isinstance(value, np.ndarray | np.generic):
        value = value.item()
    return emit(
        "constant", type=type, value=type.dtype.type(value).item() if not isinstance(value, list) else value
    )


def zeros(type: Type) -> Value:
    return constant(0, type)


def _binary(op: str, a: Any, b: Any) -> Value:
    if not isinstance(a, Value):
        a = constant(a, b.type)
    elif not isinstance(b, Value):
        if not isinstance(b, float | int | bool | np.generic):
            return NotImplemented
        b = constant(b, a.type)
    return emit(op, a, b)


def inline(graph: Graph, inputs: Iterable[Value]) -> list[Value]:
    """Emit a graph's nodes into the current builder on other inputs; its outputs there."""
    env: dict[Value, Value] = dict(zip(graph.inputs, inputs, strict=True))
    builder = current()
    builder.notes.update(dict.fromkeys(graph.notes))
    for node in graph.nodes:
        with builder.at(node.source):
            copy = builder.emit(node.op, tuple([env[x] for x in node.inputs]), node.attrs, node.types[0])
        for old, new in zip(node.results, copy.results, strict=True):
            new.name = old.name
            env[old] = new
    return [env[x] for x in graph.outputs]


def rebuild(node: Node, inputs: tuple[Value, ...], **attrs: Any) -> Node:
    """The node on other inputs (same types), with its names, place and source."""
    copy = Node(node.op, inputs, {**node.attrs, **attrs}, node.types, node.source, node.places)
    for old, new in zip(node.results, copy.results, strict=True):
        new.name = old.name
    return copy


def substitute(graph: Graph, mapping: Mapping[Value, Value], nodes: Iterable[Node] | None = None) -> Graph:
    """The graph with values replaced; nodes that do not change are shared, not copied."""
    env = dict(mapping)
    out = []
    for node in graph.nodes if nodes is None else nodes:
        inputs = tuple([env.get(x, x) for x in node.inputs])
        if any(a is not b for a, b in zip(inputs, node.inputs, strict=True)):
            copy = rebuild(node, inputs)
            env.update(zip(node.results, copy.results, strict=True))
            node = copy
        out.append(node)
    return graph.replace(nodes=out, outputs=[env.get(x, x) for x in graph.outputs])
