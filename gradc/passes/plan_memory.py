"""Give every value a place: an output buffer, or an offset in one arena that is reused as values die."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping

from gradc.ir.graph import Builder, Graph, Node, Place, Value
from gradc.ir.op import OPS

ALIGNMENT = 64


def plan_memory(graph: Graph, donate: Mapping[int, int] | None = None) -> Graph:
    """Place every result of a fused graph (needs `fuse`).

    Lifetimes come from one sweep over the nodes; free space is a list of holes sorted by offset, taken
    first-fit. A kernel writes over an operand that dies in it, if it reads that operand at the element it
    writes. A reshape lies where its operand lies. Outputs that are inputs, captured arrays or other outputs
    are copied.

    `donate` maps outputs to inputs whose memory they take over (a training step updates its parameters): the
    kernel that makes such an output writes into the input's buffer if nobody reads the input later.
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
    return graph.replace(nodes=graph.nodes, arena=planner.top)


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
    """Copy outputs that are not made by a kernel of their own, so that each has a buffer of its own."""
    seen: set[Value] = set()
    builder = Builder(graph.inputs, graph.nodes)
    outputs = []
    for y in graph.outputs:
        if y.node is None or y.node.op.name in ("captured", "reshape") or y in seen:
            with Builder() as inner:
                x = inner.add_input(y.type)
                copied = inner.emit(OPS["copy"], (x,), {}).result
                body = inner.build("copy", [copied])
            copy = builder.add(Node(OPS["fuse"], (y,), {"body": body}, (y.type,), None))
            copy.result.name = y.name
            y = copy.result
        seen.add(y)
        outputs.append(y)
    return graph.replace(nodes=builder.nodes, outputs=outputs)


class Planner:
    """One sweep: places are taken when a node runs and given back after the last reader of the value."""

    def __init__(self, graph: Graph, donate: Mapping[int, int]) -> None:
        self.graph = graph
        self.number = {y: i for i, y in enumerate(graph.outputs)}
        self.donated = {graph.outputs[o]: i for o, i in donate.items()}
        self.place_of: dict[Value, Place] = {x: Place("in", i) for i, x in enumerate(graph.inputs)}
        self.root: dict[Value, Value] = {}
        self.last_use: dict[Value, int] = {}
        for i, node in enumerate(graph.nodes):
            for x in node.inputs:
                root = self.root.get(x, x)
                self.last_use[root] = i
            if node.op.name == "reshape":
                self.root[node.result] = self.root.get(node.inputs[0], node.inputs[0])
        for y in graph.outputs:
            self.last_use[self.root.get(y, y)] = len(graph.nodes)
        self.dying: dict[int, list[Value]] = {}
        for value, i in self.last_use.items():
            self.dying.setdefault(i, []).append(value)
        self.size: dict[Value, int] = {}  # bytes held in the arena, by value
        self.holes: list[tuple[int, int]] = []  # (offset, bytes), sorted
        self.top = 0
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
        for y, place in zip(node.results, places, strict=True):
            self.place_of[y] = place
            if y not in self.last_use and y in self.size:
                self.free(y)
        for x in self.dying.get(i, ()):
            if x in self.size:
                self.free(x)

    def place_result(self, i: int, node: Node, k: int, taken: set[Value]) -> Place:
        y = node.results[k]
        if y in self.donated:
            source = self.graph.inputs[self.donated[y]]
            if self.may_overwrite(i, node, k, source) and source not in taken:
                taken.add(source)
                return Place("in", self.donated[y])
        if y in self.number:
            return Place("out", self.number[y])
        for x in node.inputs:
            root = self.root.get(x, x)
            fits = root in self.size and root not in taken and x.type.nbytes == y.type.nbytes
            if fits and self.may_overwrite(i, node, k, x):
                taken.add(root)
                self.size[y] = self.size.pop(root)
                return self.place_of[x]
        return Place("arena", self.allocate(y))

    def may_overwrite(self, i: int, node: Node, k: int, x: Value) -> bool:
        """Does `x` die here, read only at the very element that result k writes?"""
        if node.op.name != "fuse" or self.last_use.get(self.root.get(x, x)) != i:
            return False
        same = [
            inner for outer, inner in zip(node.inputs, node.attrs["body"].inputs, strict=True) if outer is x
        ]
        aliases = [o for o in node.inputs if o is not x and self.root.get(o, o) is self.root.get(x, x)]
        return not aliases and all(reads_in_step(node.attrs["body"], inner, k) for inner in same)

    def allocate(self, y: Value) -> int:
        wanted = max(-(-y.type.nbytes // ALIGNMENT), 1) * ALIGNMENT
        for j, (offset, size) in enumerate(self.holes):
            if size >= wanted:
                self.holes[j : j + 1] = [(offset + wanted, size - wanted)] if size > wanted else []
                self.size[y] = wanted
                return offset
        offset = self.top
        if self.holes and sum(self.holes[-1]) == self.top:  # grow the last hole
            offset = self.holes.pop()[0]
        self.top = offset + wanted
        self.size[y] = wanted
        return offset

    def free(self, x: Value) -> None:
        """Give the bytes back; neighbouring holes become one."""
        offset, size = self.place_of[x].number, self.size.pop(x)
        insort(self.holes, (offset, size))
        j = self.holes.index((offset, size))
        if j + 1 < len(self.holes) and offset + size == self.holes[j + 1][0]:
            size += self.holes.pop(j + 1)[1]
            self.holes[j] = (offset, size)
        if j and sum(self.holes[j - 1]) == offset:
            self.holes[j - 1] = (self.holes[j - 1][0], self.holes[j - 1][1] + size)
            self.holes.pop(j)


def reads_in_step(body: Graph, x: Value, k: int) -> bool:
    """Is input x read only elementwise, over the loops that also write output k?

    Then each element is read before it is written: all its readers, and the writer, are in the same loop
    step.
    """
    y = body.outputs[k]
    if y.shape != x.shape or y.dtype.itemsize != x.dtype.itemsize or x in body.outputs:
        return False
    if any(node.op.name in ("concat", "pad", "scatter_add") for node in body.nodes):
        return False
    domain = {v.shape for node in body.nodes if node.op.elementwise for v in node.results}
    if not domain <= {x.shape}:  # a tail runs after the loops that read x
        reduced = any(node.op.name.startswith(("reduce_", "arg")) for node in body.nodes)
        if reduced and not _before_reduction(body, y):
            return False
    for node in body.nodes:
        if x in node.inputs and not (node.op.elementwise or node.op.name.startswith("reduce_")):
            return False
        if node.op.name == "gather" and node.inputs[0] is x:
            return False
    return True


def _before_reduction(body: Graph, y: Value) -> bool:
    """Is y computed in the loops over the domain, that is, does it not depend on a reduction?"""
    after: set[Value] = set()
    for node in body.nodes:
        if node.op.name.startswith(("reduce_", "arg")) or not after.isdisjoint(node.inputs):
            after.update(node.results)
    return y not in after
