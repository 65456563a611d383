"""Give every value a place: an output buffer, or an offset in one arena that is reused as values die."""

from __future__ import annotations

from collections.abc import Mapping

from gradc.ir.graph import Builder, Graph, Node, Place, Value
from gradc.ir.op import OPS
from gradc.ir.ops.reduce import REDUCTIONS, tail_of
from gradc.passes.arena import Arena
from gradc.passes.kernels import ALONE


def plan_memory(graph: Graph, donate: Mapping[int, int] | None = None) -> Graph:
    """Place every result of a fused graph (needs `fuse`).

    Lifetimes come from one sweep over the nodes; free space is taken best-fit. A kernel writes over an
    operand that dies in it, if it reads that operand at the element it writes. A reshape lies where its
    operand lies. Outputs that are inputs, captured arrays or other outputs are copied.

    `donate` maps outputs to inputs whose memory they take over (a training step updates its parameters): the
    node that makes such an output writes into the input's buffer if nobody reads the input any more, or only
    this node, at the element it writes.
    """
    graph = separate_outputs(graph)
    nested = [
        node if not any(True for _ in node.graphs) or node.op.name == "fuse" else _plan_nested(node)
        for node in graph.nodes
    ]
    graph = replace_nodes(graph, nested)
    planner = Planner(graph, donate or {})
    for i, node in enumerate(graph.nodes):
        planner.place(i, node)
    return graph.replace(nodes=graph.nodes, arena=planner.arena.top)


def _plan_nested(node: Node) -> Node:
    """The graphs of cond and call run in their caller's arena, after what the caller has placed there."""
    attrs = {**node.attrs, **{key: plan_memory(inner) for key, inner in node.graphs}}
    return Node(node.op, node.inputs, attrs, node.types, node.source)


def replace_nodes(graph: Graph, nodes: list[Node]) -> Graph:
    """The graph with nodes exchanged one for one; every node is copied, so that places can be set."""
    env: dict[Value, Value] = {x: x for x in graph.inputs}
    copies = []
    for old, node in zip(graph.nodes, nodes, strict=True):
        copy = Node(node.op, tuple(env[x] for x in node.inputs), node.attrs, node.types, node.source)
        for a, b in zip(old.results, copy.results, strict=True):
            b.name = a.name
            env[a] = b
        copies.append(copy)
    return graph.replace(nodes=copies, outputs=[env[y] for y in graph.outputs])


def separate_outputs(graph: Graph) -> Graph:
    """Copy outputs that share memory with an input, a captured array or an earlier output."""
    roots = roots_of(graph)
    seen: set[Value] = set()
    builder = Builder(graph.inputs, graph.nodes)
    outputs = []
    for y in graph.outputs:
        root = roots.get(y, y)
        if root.node is None or root.node.op.name == "captured" or root in seen:
            with Builder() as inner:
                x = inner.add_input(y.type)
                copied = inner.emit(OPS["copy"], (x,), {}).result
                body = inner.build("copy", [copied])
            copy = builder.add(Node(OPS["fuse"], (y,), {"body": body}, (y.type,), None))
            copy.result.name = y.name
            y = copy.result
        seen.add(root)
        outputs.append(y)
    return graph.replace(nodes=builder.nodes, outputs=outputs)


def roots_of(graph: Graph) -> dict[Value, Value]:
    """For every reshape, the value whose memory it shares."""
    roots: dict[Value, Value] = {}
    for node in graph.nodes:
        if node.op.name == "reshape":
            (x,) = node.inputs
            roots[node.result] = roots.get(x, x)
    return roots


class Planner:
    """One sweep: places are taken when a node runs and given back after the last reader of the value."""

    def __init__(self, graph: Graph, donate: Mapping[int, int]) -> None:
        self.graph = graph
        self.root = roots_of(graph)
        self.number = {self.root.get(y, y): i for i, y in enumerate(graph.outputs)}
        self.donated = {graph.outputs[o]: i for o, i in donate.items()}
        self.given: set[int] = set()  # inputs whose memory an output has taken over
        self.place_of: dict[Value, Place] = {x: Place("in", i) for i, x in enumerate(graph.inputs)}
        self.last_use: dict[Value, int] = {}
        for i, node in enumerate(graph.nodes):
            for x in node.inputs:
                self.last_use[self.root.get(x, x)] = i
        for y in self.number:
            self.last_use[y] = len(graph.nodes)
        self.dying: dict[int, list[Value]] = {}
        for value, i in self.last_use.items():
            self.dying.setdefault(i, []).append(value)
        self.size: dict[Value, int] = {}  # bytes held in the arena, by value
        self.arena = Arena()
        self.captured = 0

    def place(self, i: int, node: Node) -> None:
        """Set the places of a node's results, then free what nobody reads any more."""
        if node.op.name == "reshape":
            places = [self.place_of[node.inputs[0]]]
        elif node.op.name == "captured":
            places = [Place("captured", self.captured)]
            self.captured += 1
        else:
            taken: set[Value] = set()
            places = [self.place_result(i, node, k, taken) for k in range(len(node.results))]
        node.places = tuple(places)
        self.place_of.update(zip(node.results, places, strict=True))
        for x in (*node.results, *self.dying.get(i, ())):
            if self.last_use.get(x, i) == i and x in self.size:
                self.arena.free(self.place_of[x].number, self.size.pop(x))

    def place_result(self, i: int, node: Node, k: int, taken: set[Value]) -> Place:
        y = node.results[k]
        if y in self.donated and self.may_take(i, node, k, self.donated[y]):
            self.given.add(self.donated[y])
            return Place("in", self.donated[y])
        if y in self.number:
            return Place("out", self.number[y])
        for x in node.inputs if node.op.name == "fuse" else ():
            root = self.root.get(x, x)
            if root in self.size and root not in taken and self.may_overwrite(i, node, k, x):
                taken.add(root)
                self.size[y] = self.size.pop(root)
                return self.place_of[x]
        offset, self.size[y] = self.arena.allocate(y.type.nbytes)
        return Place("arena", offset)

    def may_take(self, i: int, node: Node, k: int, number: int) -> bool:
        """May result k lie in this input's memory?"""
        x = self.graph.inputs[number]
        if number in self.given or x.type.nbytes != node.types[k].nbytes:
            return False
        return self.last_use.get(x, -1) < i or self.may_overwrite(i, node, k, x)

    def may_overwrite(self, i: int, node: Node, k: int, x: Value) -> bool:
        """Does `x` die here, read only at the very element that result k writes?"""
        if node.op.name != "fuse" or self.last_use.get(self.root.get(x, x)) != i:
            return False
        same = [
            inner for outer, inner in zip(node.inputs, node.attrs["body"].inputs, strict=True) if outer is x
        ]
        aliases = [o for o in node.inputs if o is not x and self.root.get(o, o) is self.root.get(x, x)]
        return not aliases and all(reads_in_step(node.attrs["body"], inner, k) for inner in same)


def _is_product(y: Value) -> bool:
    while y.node is not None and y.node.op.name == "reshape":
        (y,) = y.node.inputs
    return y.node is not None and y.node.op.name == "matmul"


def reads_in_step(body: Graph, x: Value, k: int) -> bool:
    """Is input x read only at the element of output k, in the very step of the loops that writes it?

    A kernel's body runs over its domain, and its tail (what depends on a reduction) over the axes that are
    left; each reads its operands at an element before it writes there. So x must be read where y is written,
    in the body or in the tail, by ops that read it element by element; and what they make of it must not be
    moved either (transposed, say), for a kernel computes that anew at the element where it comes from.
    """
    y = body.outputs[k]
    if y.shape != x.shape or y.dtype.itemsize != x.dtype.itemsize or x in body.outputs:
        return False
    if _is_product(y):  # it is written before what follows it reads anything
        return False
    tail = tail_of(body)
    made = {x}
    readers = []
    for node in body.nodes:
        if node.op.name in ALONE:
            return False
        if not made.isdisjoint(node.inputs):
            if not (node.op.elementwise or node.op.name in REDUCTIONS):
                return False
            made.update(node.results)
        if x in node.inputs:
            readers.append(node)
    return all((node.op.name not in REDUCTIONS and node.result in tail) == (y in tail) for node in readers)
