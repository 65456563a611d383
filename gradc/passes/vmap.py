"""Batching: a graph for one example becomes the graph for a batch of them, by one rule an op.

A value that depends on the batch gets a leading axis of the batch's size; any other stays as it is. A rule is
given the node and its operands, some of which have that axis, and emits what the node means for all examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gradc.ir import Graph, Node, Type, Value, emit, emit_node
from gradc.ir.graph import Builder, current, zeros
from gradc.ir.op import OPS
from gradc.ir.ops.matrices import identity, per_matrix
from gradc.ir.types import BOOL, I64


class Operand(NamedTuple):
    """A value, and whether it has the batch as its first axis."""

    value: Value
    batched: bool


Flags = tuple[bool, ...]
Rule = Callable[["Batch", Node, Sequence[Operand]], "Value | tuple[Value, ...]"]
"""The result (or results) for all examples, when at least one operand depends on the batch."""

PASSES_ONLY = frozenset({"fuse", "blocks", "tasks"})
"""Ops that only passes make, after all transforms: they need no rule."""

SOURCES = frozenset({"constant", "captured", "iota"})
"""Ops without operands: they never depend on the batch."""

SOLVERS = ("solve", "triangular_solve")

RULES: dict[str, Rule] = {}
"""By name. Elementwise ops share one rule; ops that hold graphs have theirs in `HOLDING`."""


def vmap(graph: Graph, batched_inputs: Sequence[bool], size: int) -> Graph:
    """The graph for `size` examples: the inputs marked in `batched_inputs` and all outputs have a first axis
    of that size."""
    return vmap_where_needed(graph, batched_inputs, size, [True] * len(graph.outputs))[0]


def vmap_where_needed(
    graph: Graph, batched_inputs: Sequence[bool], size: int, wanted: Sequence[bool] = ()
) -> tuple[Graph, tuple[bool, ...]]:
    """As `vmap`, but of the outputs only those that depend on the batch, or are `wanted` so, have its axis;
    and which ones have."""
    return Batch(size).graph(graph, tuple(batched_inputs), tuple(wanted))


class Batch:
    """A batch in the making.

    `guard` is set in a branch that runs for all examples though only some have chosen it: bool[size], true
    for these. What the others compute there has no say, so it must not raise an error either.
    """

    def __init__(self, size: int, guard: Value | None = None) -> None:
        self.size = size
        self.guard = guard
        self.made: dict[tuple[Graph, Flags, Flags, int | None], tuple[Graph, Flags]] = {}

    def graph(
        self, graph: Graph, batched: Flags, wanted: Flags = (), guard_at: int | None = None
    ) -> tuple[Graph, Flags]:
        """A graph for the batch: see `vmap_where_needed`. Graphs that nodes share stay shared.

        With `guard_at`, it has a guard as one more input, at that position.
        """
        key = graph, batched, wanted, guard_at
        if key not in self.made:
            state = self
            with Builder() as builder:
                inputs = []
                for i, (x, b) in enumerate(zip(graph.inputs, batched, strict=True)):
                    if i == guard_at:
                        state = self.guarding(builder)
                    inputs.append(Operand(builder.add_input(self.type(x.type) if b else x.type, x.name), b))
                if guard_at == len(graph.inputs):
                    state = self.guarding(builder)
                outputs = state.run(graph, inputs)
                wide = wanted or (False,) * len(outputs)
                outputs = [
                    Operand(self.widen(y), True) if w else y for y, w in zip(outputs, wide, strict=True)
                ]
                notes = tuple(dict.fromkeys([*graph.notes, *builder.notes]))
                values = [y.value for y in outputs]
                made = builder.build(graph.name, values, constants=graph.constants, notes=notes)
            self.made[key] = made, tuple([y.batched for y in outputs])
        return self.made[key]

    def guarding(self, builder: Builder) -> Batch:
        """The same batch under a guard that is an input of the graph in the making."""
        return Batch(self.size, builder.add_input(Type(BOOL, (self.size,)), "chosen"))

    def type(self, one: Type) -> Type:
        """The type of a batch of values of type `one`."""
        return one.with_shape((self.size, *one.shape))

    def widen(self, x: Operand) -> Value:
        """The operand with the batch's axis."""
        if x.batched:
            return x.value
        shape = x.value.shape
        axes = tuple(range(1, len(shape) + 1))
        return emit("broadcast", x.value, shape=(self.size, *shape), axes=axes)

    def numbers(self, shape: tuple[int, ...]) -> Value:
        """For each element of a batch of arrays of this shape, the number of its example."""
        return emit("iota", axis=0, type=Type(I64, (self.size, *shape)))

    def run(self, graph: Graph, inputs: Sequence[Operand]) -> list[Operand]:
        """Emit the graph's nodes for the batch; its outputs."""
        env = dict(zip(graph.inputs, inputs, strict=True))
        builder = current()
        for node in graph.nodes:
            with builder.at(node.source):
                results = self.node(node, [env[x] for x in node.inputs])
            for old, new in zip(node.results, results, strict=True):
                if new.value.name is None and new.value.node is not None:
                    new.value.name = old.name
                env[old] = new
        return [env[y] for y in graph.outputs]

    def node(self, node: Node, xs: list[Operand]) -> list[Operand]:
        """The results of one node for the batch."""
        name = node.op.name
        if self.guard is not None and name == "require":
            return [Operand(self.guarded(node, *xs), True)]
        if name in HOLDING and (self.guard is not None or any(x.batched for x in xs)):
            return HOLDING[name](self, node, xs)
        if not any(x.batched for x in xs):
            made = emit_node(node.op, *[x.value for x in xs], type=node.types[0], **node.attrs)
            return [Operand(y, False) for y in made.results]
        results = (elementwise if node.op.elementwise else RULES[name])(self, node, xs)
        return [Operand(y, True) for y in (results if isinstance(results, tuple) else (results,))]

    def guarded(self, node: Node, x: Operand, ok: Operand) -> Value:
        """`require` for the examples that have chosen this branch; the others go on with zeros, which are
        indices that any axis has."""
        assert self.guard is not None
        value, fine = self.widen(x), self.widen(ok)
        idle = emit("broadcast", ~self.guard, shape=fine.shape, axes=(0,))
        value = emit("where", fine, value, zeros(value.type))
        return emit("require", value, fine | idle, **node.attrs)


def has_rule(name: str) -> bool:
    """Whether an op can be batched."""
    return OPS[name].elementwise or name in RULES or name in HOLDING or name in SOURCES


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter a rule into the table."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return enter


def elementwise(batch: Batch, node: Node, xs: Sequence[Operand]) -> Value:
    """The op on operands that all have the axis."""
    inputs = [batch.widen(x) for x in xs]
    return emit(node.op, *inputs, type=batch.type(node.types[0]), **node.attrs)


# Ops that move elements: the axes behind the new one count one more.


@rule("broadcast", "reshape", "transpose", "slice", "pad")
def move(batch: Batch, node: Node, xs: Sequence[Operand]) -> Value:
    """The whole of the first axis, and the rest as for one example."""
    lead = {"shape": batch.size, "sizes": batch.size, "starts": 0, "steps": 1, "axes": 0}
    attrs = dict(node.attrs)
    for k, first in lead.items():
        if k in attrs:
            rest = [a + 1 for a in attrs[k]] if k == "axes" else attrs[k]
            attrs[k] = (first, *rest)
    return emit(node.op, xs[0].value, **attrs)


@rule("windows", "fold")
def overlap(batch: Batch, node: Node, xs: Sequence[Operand]) -> Value:
    """Readings of every example's array."""
    axes, starts, steps = (node.attrs[k] for k in ("axes", "starts", "steps"))
    return emit(
        node.op,
        xs[0].value,
        shape=(batch.size, *node.attrs["shape"]),
        axes=(0, *[a + 1 for a in axes]),
        starts=(0, *starts),
        steps=(1, *steps),
    )


@rule("contract")
def contract(batch: Batch, node: Node, xs: Sequence[Operand]) -> Value:
    """The batch is one more label, of the operands that depend on it and of the result."""
    new = max((*node.attrs["a"], *node.attrs["b"]), default=0) + 1
    a, b = [(new, *node.attrs[k]) if x.batched else node.attrs[k] for k, x in zip("ab", xs, strict=True)]
    return emit("contract", *[x.value for x in xs], a=a, b=b, result=(new, *node.attrs["result"]))


@rule("reduce_sum", "reduce_prod", "reduce_max", "reduce_min")
def reduce(batch: Batch, node: Node, xs: Sequence[Operand]) -> Value:
    return emit(node.op, xs[0].value, axes=tuple([a + 1 for a in node.attrs["axes"]]))


@rule("argmax", "argmin", "concat", "cumsum", "cumprod", "cummax", "cummin")
def along(batch: Batch, node: Node, xs: Sequence[Operand]) -> Value:
    """Ops along one axis."""
    attrs = {**node.attrs, "axis": node.attrs["axis"] + 1}
    return emit(node.op, *[batch.widen(x) for x in xs], **attrs)


@rule("sort")
def last(batch: Batch, node: Node, xs: Sequence[Operand]) -> tuple[Value, ...]:
    """Ops along the last axis."""
    return emit_node(node.op, xs[0].value, **node.attrs).results


# Indexing: with indices that all examples share the batch is one more axis that is not indexed; otherwise
# it is one that the number of the example indexes.


@rule("gather")
def gather(batch: Batch, node: Node, xs: Sequence[Operand]) -> Value:
    x, *indices = xs
    axes = node.attrs["axes"]
    if batch.guard is not None and not all(node.inputs[0].shape[a] for a in axes):
        return zeros(batch.type(node.types[0]))  # whoever has chosen this branch asks for nothing
    if not any(i.batched for i in indices):
        shifted = tuple([a + 1 for a in axes])
        y = emit("gather", x.value, *[i.value for i in indices], axes=shifted)
        return _axis_to_front(y, len(indices[0].value.shape))
    wide = [batch.widen(i) for i in indices]
    if not x.batched:
        return emit("gather", x.value, *wide, axes=axes)
    wide.insert(0, batch.numbers(wide[0].shape[1:]))
    return emit("gather", x.value, *wide, axes=(0, *[a + 1 for a in axes]))


@rule("scatter", "scatter_add")
def scatter(batch: Batch, node: Node, xs: Sequence[Operand]) -> Value:
    x, updates, *indices = xs
    op, attrs = node.op.name, dict(node.attrs)
    target, added = batch.widen(x), batch.widen(updates)
    shifted = tuple([a + 1 for a in node.attrs["axes"]])
    if batch.guard is not None and not all(node.inputs[0].shape[a] for a in node.attrs["axes"]):
        return target
    if not any(i.batched for i in indices):
        lead = len(indices[0].value.shape)
        order = (*range(1, lead + 1), 0, *range(lead + 1, len(added.shape)))
        added = emit("transpose", added, axes=order) if lead else added
        return emit(op, target, added, *[i.value for i in indices], **{**attrs, "axes": shifted})
    wide = [batch.widen(i) for i in indices]
    number = batch.numbers(wide[0].shape[1:])
    return emit(op, target, added, number, *wide, **{**attrs, "axes": (0, *shifted)})


def _axis_to_front(x: Value, axis: int) -> Value:
    if axis == 0:
        return x
    rest = [a for a in range(len(x.shape)) if a != axis]
    return emit("transpose", x, axes=(axis, *rest))


# Matrix products: where one operand is shared, many small products are one large one.


@rule("matmul")
def matmul(batch: Batch, node: Node, xs: Sequence[Operand]) -> Value:
    a, b = xs
    swap_a, swap_b = node.attrs["transpose_a"], node.attrs["transpose_b"]
    plain = all(len(x.shape) == 2 for x in node.inputs)
    (m, n), k = node.types[0].shape[-2:], node.inputs[0].shape[-2 if swap_a else -1]
    if plain and not b.batched and (not swap_a or m == 1):
        rows = emit("reshape", a.value, shape=(batch.size * m, k))
        y = emit("matmul", rows, b.value, transpose_a=False, transpose_b=swap_b)
        return emit("reshape", y, shape=(batch.size, m, n))
    if plain and not a.batched and n == 1:  # a matrix times a vector: the vectors are rows
        rows = emit("reshape", b.value, shape=(batch.size, k))
        y = emit("matmul", rows, a.value, transpose_a=False, transpose_b=not swap_a)
        return emit("reshape", y, shape=(batch.size, m, 1))
    lead = node.types[0].shape[:-2]
    operands = []
    for x, one in zip(xs, node.inputs, strict=True):
        if x.batched or len(one.shape) > 2 or lead:
            x = Operand(_with_lead(batch, x, one, lead), True)
        operands.append(x.value)
    return emit("matmul", *operands, **node.attrs)


def _with_lead(batch: Batch, x: Operand, one: Value, lead: tuple[int, ...]) -> Value:
    """An operand with the batch's axis and all leading axes of the product."""
    shape = (batch.size, *lead, *one.shape[-2:])
    if x.batched and x.value.shape == shape:
        return x.value
    own = tuple(range(len(shape) - len(one.shape), len(shape)))
    axes = (0, *own) if x.batched else own
    return emit("broadcast", x.value, shape=shape, axes=axes)


# Factorizations: what they are told of matrices, they are told of matrices with one more leading axis.


@rule(*SOLVERS, "slogdet", "cholesky", "eigh", "svd", "qr")
def factorization(batch: Batch, node: Node, xs: Sequence[Operand]) -> tuple[Value, ...]:
    if node.op.name in SOLVERS and not xs[0].batched and batch.guard is None and len(xs[0].value.shape) == 2:
        return _one_matrix(batch, node, xs[0].value, xs[1].value)
    inputs = [batch.widen(x) for x in xs]
    if batch.guard is not None:  # whoever has not chosen this branch has a matrix with which nothing fails
        chosen = per_matrix(batch.guard, inputs[0].type.with_dtype(BOOL))
        inputs[0] = emit("where", chosen, inputs[0], identity(inputs[0].type))
    return emit_node(node.op, *inputs, **node.attrs).results


def _one_matrix(batch: Batch, node: Node, a: Value, b: Value) -> tuple[Value, ...]:
    """Many right sides of one matrix are one right side with many columns."""
    n, k = node.inputs[1].shape
    wide = emit("reshape", emit("transpose", b, axes=(1, 0, 2)), shape=(n, batch.size * k))
    x, *flags = emit_node(node.op, a, wide, **node.attrs).results
    x = emit("transpose", emit("reshape", x, shape=(n, batch.size, k)), axes=(1, 0, 2))
    return x, *[batch.widen(Operand(flag, False)) for flag in flags]


# Ops that hold graphs.


# Their graphs are closed: a guard goes in as one more operand.


def call(batch: Batch, node: Node, xs: list[Operand]) -> list[Operand]:
    """A call of the batch's graph: it stays a call, for the sake of who made it one."""
    at = None if batch.guard is None else len(xs)
    made, flags = batch.graph(node.attrs["body"], tuple([x.batched for x in xs]), guard_at=at)
    results = emit_node("call", *_with_guard(batch, xs), body=made).results
    return [Operand(y, flag) for y, flag in zip(results, flags, strict=True)]


def _with_guard(batch: Batch, xs: list[Operand]) -> list[Value]:
    return [x.value for x in xs] + ([] if batch.guard is None else [batch.guard])


def cond(batch: Batch, node: Node, xs: list[Operand]) -> list[Operand]:
    """A choice by element where examples choose differently; else the branches, each for the whole batch."""
    predicate, *operands = xs
    branches = node.attrs["if_true"], node.attrs["if_false"]
    if predicate.batched or batch.guard is not None:
        chosen = batch.widen(predicate)
        return _choose(batch, branches, chosen, operands)
    flags = tuple([x.batched for x in operands])
    batched = [batch.graph(graph, flags)[1] for graph in branches]
    either = tuple([a or b for a, b in zip(*batched, strict=True)])
    if_true, if_false = [batch.graph(graph, flags, either)[0] for graph in branches]
    inputs = [x.value for x in xs]
    made = emit_node("cond", *inputs, if_true=if_true, if_false=if_false)
    return [Operand(y, flag) for y, flag in zip(made.results, either, strict=True)]


def _choose(
    batch: Batch, branches: tuple[Graph, Graph], chosen: Value, operands: list[Operand]
) -> list[Operand]:
    """Both branches for all examples, and the results of the one that each has chosen."""
    sides = []
    for graph, guard in zip(branches, (chosen, ~chosen), strict=True):
        if batch.guard is not None:
            guard = guard & batch.guard
        sides.append([batch.widen(y) for y in Batch(batch.size, guard).run(graph, operands)])
    results = []
    for a, b in zip(*sides, strict=True):
        mask = emit("broadcast", chosen, shape=a.shape, axes=(0,)) if len(a.shape) > 1 else chosen
        results.append(Operand(emit("where", mask, a, b), True))
    return results


def custom(batch: Batch, node: Node, xs: list[Operand]) -> list[Operand]:
    """Both graphs for the batch; an operand that all examples share gets the sum of its gradients."""
    body, pullback, targets = [node.attrs[k] for k in ("body", "pullback", "targets")]
    flags = tuple([x.batched for x in xs])
    at = None if batch.guard is None else len(xs)
    made, depends = batch.graph(body, flags, guard_at=at)
    seeds = tuple([d for d, y in zip(depends, body.outputs, strict=True) if y.type.is_float])
    wanted = tuple([flags[i] for i in targets])
    back, found = batch.graph(pullback, flags + seeds, wanted, at)
    if found != wanted:
        with Builder(back.inputs, back.nodes) as builder:
            outputs = [
                emit("reduce_sum", g, axes=(0,)) if has and not wants else g
                for g, has, wants in zip(back.outputs, found, wanted, strict=True)
            ]
            back = builder.build(back.name, outputs, constants=back.constants, notes=back.notes)
    inputs = _with_guard(batch, xs)
    results = emit_node("custom", *inputs, body=made, pullback=back, targets=targets).results
    return [Operand(y, d) for y, d in zip(results, depends, strict=True)]


HOLDING: dict[str, Callable[[Batch, Node, list[Operand]], list[Operand]]] = {
    "call": call,
    "cond": cond,
    "custom": custom,
}
"""Rules of ops that hold graphs. Under a guard they apply also where no operand depends on the batch."""
