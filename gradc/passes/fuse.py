"""Gather nodes into kernels: small graphs that run over one iteration space.

A kernel computes elementwise ops over a domain (its loops), may reduce over some axes of it, and may compute
elementwise ops on the reduced shape afterwards (its tail). Ops that only choose or repeat elements
(broadcast, transpose, slice, constants) are copied into every kernel that reads them, where they cost an
index computation.

Cycles are impossible by construction. Every kernel has a *level*; a node enters a kernel only if all it needs
from outside was made on lower levels, so edges between kernels go strictly upwards (a counter checks it).
Levels are one sweep over the nodes, hence linear, where reachability queries between groups would not be.
"""

from __future__ import annotations

from gradc.ir.graph import Graph, Node, Value
from gradc.ir.ops.reduce import REDUCTIONS, reduced_axes
from gradc.passes.kernels import (
    MAX_OPS,
    Kernel,
    is_constant,
    is_index_map,
    is_pointwise,
    stands_alone,
    unfuse,
    write_kernels,
)
from gradc.passes.recompute import recomputed


class Fuser:
    """Assigns every node that is no index map to a kernel."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.kernel_of: dict[Node, Kernel] = {}
        self.ready: dict[Value, int] = dict.fromkeys(graph.inputs, 0)
        self.kernels: list[Kernel] = []
        self.readers: dict[tuple[Value, int, tuple[int, ...]], list[Kernel]] = {}
        self.into: dict[Kernel, Kernel] = {}  # where the nodes of a merged kernel are now

    def assign(self) -> None:
        for node in self.graph.nodes:
            if is_index_map(node):
                level = max((self.ready[x] for x in node.inputs), default=0)
                self.ready.update(dict.fromkeys(node.results, level))
                continue
            kernel = self.place(node)
            self.kernel_of[node] = kernel
            self.ready.update(dict.fromkeys(node.results, kernel.level + 1))

    def place(self, node: Node) -> Kernel:
        """The kernel a node joins: one that computes its operands, else one that reads the same, else a new
        one."""
        if is_pointwise(node):
            return self.place_pointwise(node)
        if node.op.name in REDUCTIONS:
            return self.place_reduction(node)
        # The loops of most that stand alone run over the result, those of fold over what it adds up.
        domain = node.inputs[0].shape if node.op.name == "fold" else node.types[0].shape
        return self.new(node, max((self.ready[x] for x in node.inputs), default=0), domain)

    def new(self, node: Node, level: int, domain: tuple[int, ...]) -> Kernel:
        kernel = Kernel(level, domain)
        kernel.add(node, kernel.body)
        self.kernels.append(kernel)
        return kernel

    def producers(self, node: Node) -> list[tuple[Value, Kernel]]:
        """Operands that come straight from a kernel (not through an index map)."""
        found = []
        for i, x in enumerate(node.inputs):
            if node.op.name == "gather" and i == 0:
                continue  # read at computed places: must be in memory
            if x.node is not None and x.node in self.kernel_of and not stands_alone(x.node):
                found.append((x, self.kernel_of[x.node]))
        return found

    def place_pointwise(self, node: Node) -> Kernel:
        shape = node.types[0].shape
        visible: dict[Value, Kernel] = {}
        for x, kernel in self.producers(node):
            if x.shape == shape and (x in kernel.tail or kernel.domain == shape) and not kernel.is_full:
                visible[x] = kernel
        level = 0
        for i, x in enumerate(node.inputs):
            in_memory = x not in visible or (node.op.name == "gather" and i == 0)
            level = max(level, self.ready[x] if in_memory else visible[x].level)
        inside = [(x, kernel) for x, kernel in visible.items() if kernel.level == level]
        if not inside:
            return self.fresh(node, level, shape)
        target = inside[0][1]
        if all(x in kernel.body for x, kernel in inside):
            if all(kernel is target or self.merge(target, kernel) for _, kernel in inside):
                target.add(node, target.body)
                return target
        elif all(kernel is target and x in target.tail for x, kernel in inside):
            target.add(node, target.tail)
            return target
        return self.fresh(node, level + 1, shape)

    def fresh(self, node: Node, level: int, shape: tuple[int, ...]) -> Kernel:
        """A kernel of this level and domain that reads one of the operands already, else a new one."""
        operands = [x for x in node.inputs if x.node is None or not is_constant(x.node)]
        for x in operands:
            if x.shape == shape and (kernel := self.reader(x, level)) is not None:
                kernel.add(node, kernel.body)
                return kernel
        kernel = self.new(node, level, shape)
        for x in operands:
            if x.shape == shape:
                self.readers.setdefault((x, level, shape), []).append(kernel)
        return kernel

    def reader(self, x: Value, level: int, axes: tuple[int, ...] | None = None) -> Kernel | None:
        """A kernel of this level with room that runs over x (and reduces these axes, if any)."""
        known = self.readers.get((x, level, x.shape), [])
        for i in range(len(known)):
            while known[i] in self.into:
                known[i] = self.into[known[i]]
        known[:] = [kernel for kernel in dict.fromkeys(known) if not kernel.is_full]
        return next((k for k in known if axes is None or k.axes in (None, axes)), None)

    def merge(self, target: Kernel, other: Kernel) -> bool:
        """Move the other kernel's nodes into the target, if both run over one domain on one level."""
        if not other.nodes:  # moved already
            return True
        if target.axes is not None and other.axes is not None and target.axes != other.axes:
            return False
        if len(target.nodes) + len(other.nodes) > MAX_OPS:
            return False
        for node in other.nodes:
            self.kernel_of[node] = target
        target.nodes += other.nodes
        target.body |= other.body
        target.tail |= other.tail
        target.axes = other.axes if target.axes is None else target.axes
        other.nodes = []
        self.into[other] = target
        return True

    def place_reduction(self, node: Node) -> Kernel:
        (x,) = node.inputs
        axes = reduced_axes(node)
        for _, kernel in self.producers(node):
            if (
                x in kernel.body
                and kernel.domain == x.shape
                and kernel.axes in (None, axes)
                and not kernel.is_full
            ):
                kernel.axes = axes
                kernel.add(node, kernel.tail)
                return kernel
        level = self.ready[x]
        kernel = self.reader(x, level, axes)
        if kernel is None:
            kernel = Kernel(level, x.shape)
            self.kernels.append(kernel)
            self.readers.setdefault((x, level, x.shape), []).append(kernel)
        kernel.axes = axes
        kernel.add(node, kernel.tail)
        return kernel


def fuse(graph: Graph) -> Graph:
    """Replace groups of nodes by `fuse` nodes that hold them.

    Afterwards the only nodes are fuse, matmul, sort, reshape, captured, written-out constants, cond and call
    (whose graphs are fused as well).
    """
    graph = unfuse(graph)
    fuser = Fuser(graph)
    fuser.assign()
    sink(graph, fuser)
    again = recomputed(graph, fuser.kernel_of)
    return write_kernels(graph, fuser.kernels, fuser.kernel_of, fuser.ready, again, fuse)


def sink(graph: Graph, fuser: Fuser) -> None:
    """Move elementwise nodes to the one kernel that reads them, so that their values are never stored.

    The sweep computes everything as early as it can: 1 - y * y beside y = tanh(x), long before the backward
    pass wants it. A node moves if all its readers are in one later kernel over the same domain, and if moving
    it does not force more than one of its operands into memory instead.
    """
    readers = graph.users()
    kernel_of = fuser.kernel_of
    outputs = set(graph.outputs)

    def body_readers(x: Value) -> set[Kernel] | None:
        """The kernels that read x element by element; None if something else reads it."""
        if x in outputs:
            return None
        nodes = readers.get(x, [])
        if any(n not in kernel_of or not reads_elements(n, x) for n in nodes):
            return None
        return {kernel_of[n] for n in nodes}

    for node in reversed(graph.nodes):
        home = kernel_of.get(node)
        if home is None or not node.op.elementwise or node.results[0] not in home.body:
            continue
        (y,) = node.results
        targets = body_readers(y)
        if not targets or len(targets) > 1 or home in targets:
            continue
        (target,) = targets
        if target.domain != home.domain or target.is_full:
            continue
        # Operands made here that only this kernel reads would have to be stored.
        forced = [x for x in set(node.inputs) if x in home.body and body_readers(x) == {home}]
        if len(forced) > 1:
            continue
        home.nodes.remove(node)
        home.body.discard(y)
        target.add(node, target.body)
        kernel_of[node] = target


def reads_elements(node: Node, x: Value) -> bool:
    """Does the node need, at each point of its loops, the element of x there?"""
    if node.op.name == "gather":
        return x is not node.inputs[0] and x.shape == node.types[0].shape
    return node.op.elementwise or node.op.name in REDUCTIONS or node.op.name == "fold"
