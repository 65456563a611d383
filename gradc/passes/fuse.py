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

from dataclasses import dataclass, field

from gradc.ir.graph import Builder, Graph, Node, Value, inline, rebuild
from gradc.ir.op import OPS, Op

REDUCTIONS = frozenset({"reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "argmax", "argmin"})
ALONE = frozenset({"concat", "pad", "scatter_add", "cumsum", "cumprod", "cummax", "cummin"})
"""Ops that move elements to computed places, or carry a value along an axis: kernels of their own."""
OPAQUE = frozenset({"matmul", "sort", "cond", "call", "fuse", "captured", "reshape"})
"""Ops that no kernel holds."""

MAX_OPS = 160
"""Larger kernels spill registers and gain nothing."""


def is_index_map(node: Node) -> bool:
    """Does the node only choose, repeat or make up elements, so that a reader can do it while loading?"""
    name = node.op.name
    if name == "reshape":  # dropping or adding axes of size 1
        return squeezed(node.inputs[0].shape) == squeezed(node.types[0].shape)
    if name == "constant":
        return not isinstance(node.attrs["value"], list)
    return name in ("broadcast", "transpose", "slice", "iota")


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without axes of size 1."""
    return tuple(n for n in shape if n != 1)


def is_pointwise(node: Node) -> bool:
    """Does each element of the result need one element of each operand (gather: at computed places)?"""
    return node.op.elementwise or node.op.name == "gather"


def reduced_axes(node: Node) -> tuple[int, ...]:
    axis = node.attrs.get("axis")
    return node.attrs["axes"] if axis is None else (axis,)


@dataclass(eq=False)
class Kernel:
    """A kernel in the making."""

    level: int
    domain: tuple[int, ...]
    axes: tuple[int, ...] | None = None
    nodes: list[Node] = field(default_factory=list)
    body: set[Value] = field(default_factory=set)  # values over the domain
    tail: set[Value] = field(default_factory=set)  # reduced values, and what is computed from them

    def add(self, node: Node, stage: set[Value]) -> None:
        self.nodes.append(node)
        stage.update(node.results)

    @property
    def is_full(self) -> bool:
        return len(self.nodes) >= MAX_OPS


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
        return self.new(node, max((self.ready[x] for x in node.inputs), default=0), node.types[0].shape)

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


def is_constant(node: Node) -> bool:
    return node.op.name == "constant"


def stands_alone(node: Node) -> bool:
    """No other node joins its kernel (constants that get here are the written-out ones)."""
    return node.op.name in OPAQUE or node.op.name in ALONE or is_constant(node)


def unfuse(graph: Graph) -> Graph:
    """The nodes of kernels out in the open again, without places, as when such a graph comes back from text."""
    if graph.arena is None and all(node.op is not FUSE for node in graph.nodes):
        return graph
    env: dict[Value, Value] = {x: x for x in graph.inputs}
    with Builder(graph.inputs) as builder:
        for node in graph.nodes:
            inputs = tuple([env[x] for x in node.inputs])
            if node.op is FUSE:
                env.update(zip(node.results, inline(node.attrs["body"], inputs), strict=True))
            else:
                env.update(zip(node.results, builder.add(rebuild(node, inputs)).results, strict=True))
    return graph.replace(nodes=builder.nodes, outputs=[env[y] for y in graph.outputs], arena=None)


def fuse(graph: Graph) -> Graph:
    """Replace groups of nodes by `fuse` nodes that hold them.

    Afterwards the only nodes are fuse, matmul, sort, reshape, captured, written-out constants, cond and call
    (whose graphs are fused as well).
    """
    graph = unfuse(graph)
    fuser = Fuser(graph)
    fuser.assign()
    sink(graph, fuser)
    return emit_kernels(graph, fuser)


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
    return node.op.elementwise or node.op.name in REDUCTIONS


def emit_kernels(graph: Graph, fuser: Fuser) -> Graph:
    """Write the kernels down in the order of their levels."""
    order = {node: i for i, node in enumerate(graph.nodes)}
    # What must be in memory: outputs, and what a node outside of the producer's kernel reads through index
    # maps.
    needed: set[Value] = set()
    views: set[Value] = set()  # reshapes of what is in memory anyway

    def store(x: Value) -> None:
        """Have a value in memory as it is, not only what it is read from."""
        needed.add(x)
        while x.node is not None and x.node.op.name == "reshape":
            views.add(x)
            (x,) = x.node.inputs
            needed.add(x)
        if (root := index_root(x)) is not None:
            needed.add(root)

    for y in graph.outputs:
        store(y)
    for node in graph.nodes:
        if is_index_map(node):
            continue
        home = fuser.kernel_of[node]
        for i, x in enumerate(node.inputs):
            exact = node.op.name in OPAQUE or (node.op.name == "gather" and i == 0)
            if exact:
                store(x)
            root = index_root(x)
            if root is None:
                continue
            inside = root.node is not None and root is x and not exact and fuser.kernel_of[root.node] is home
            if not inside:
                needed.add(root)
                assert root.node is None or fuser.kernel_of[root.node].level < home.level, node
    builder = Builder([*graph.inputs])
    env: dict[Value, Value] = {x: x for x in graph.inputs}
    kernels = [k for k in fuser.kernels if k.nodes]
    kernels.sort(key=lambda k: (k.level, min(order[n] for n in k.nodes)))
    maps = [v for n in graph.nodes if is_index_map(n) for v in n.results if v in needed]
    maps.sort(key=fuser.ready.__getitem__)

    def emit_map(y: Value) -> None:
        if y in views and y.node is not None:
            emit_opaque(builder, env, y.node)
        else:
            emit_kernel(builder, env, [], [y])

    pending = iter([*maps, None])
    next_map = next(pending)
    for kernel in kernels:
        while next_map is not None and fuser.ready[next_map] <= kernel.level:
            emit_map(next_map)
            next_map = next(pending)
        kernel.nodes.sort(key=order.__getitem__)
        first = kernel.nodes[0]
        if first.op.name in OPAQUE:
            emit_opaque(builder, env, first)
        else:
            outputs = [y for n in kernel.nodes for y in n.results if y in needed]
            if outputs:
                emit_kernel(builder, env, kernel.nodes, outputs)
    while next_map is not None:
        emit_map(next_map)
        next_map = next(pending)
    outputs = [env[y] for y in graph.outputs]
    return graph.replace(inputs=builder.inputs, nodes=builder.nodes, outputs=outputs)


def index_root(x: Value) -> Value | None:
    """The value in memory that a chain of index maps reads; None for constants and iota."""
    while x.node is not None and is_index_map(x.node):
        if not x.node.inputs:
            return None
        (x,) = x.node.inputs
    return x


def emit_opaque(builder: Builder, env: dict[Value, Value], node: Node) -> None:
    """The node itself, with fused graphs inside."""
    attrs = {**node.attrs, **{key: fuse(inner) for key, inner in node.graphs}}
    copy = Node(node.op, tuple(env[x] for x in node.inputs), attrs, node.types, node.source)
    _adopt(builder, env, node, copy)


def _adopt(builder: Builder, env: dict[Value, Value], node: Node, copy: Node) -> None:
    builder.add(copy)
    for old, new in zip(node.results, copy.results, strict=True):
        new.name = old.name
        env[old] = new


def emit_kernel(builder: Builder, env: dict[Value, Value], nodes: list[Node], outputs: list[Value]) -> None:
    """A `fuse` node for these nodes and the index maps they read through."""
    inner = Builder()
    local: dict[Value, Value] = {}
    inputs: dict[Value, Value] = {}
    operands: list[Value] = []

    def read(x: Value) -> Value:
        """A value in memory, as an input."""
        if x not in inputs:
            inputs[x] = inner.add_input(x.type, x.name)
            operands.append(env[x])
        return inputs[x]

    def use(x: Value) -> Value:
        """A value as seen inside: computed here, an index map copied with what it reads, or an input."""
        chain = []
        wanted = x
        while x not in local:
            if x.node is None or not is_index_map(x.node):
                local[x] = read(x)
                break
            chain.append(x.node)
            if not x.node.inputs:
                break
            (x,) = x.node.inputs
        for node in reversed(chain):
            clone(node)
        return local[wanted]

    def clone(node: Node) -> None:
        gathered = node.op.name == "gather"  # what it reads at computed places is in memory, index map or not
        arguments = tuple([read(x) if gathered and i == 0 else use(x) for i, x in enumerate(node.inputs)])
        copy = Node(node.op, arguments, node.attrs, node.types, node.source)
        _adopt(inner, local, node, copy)

    for node in nodes:
        clone(node)
    for y in outputs:
        if y not in local:
            use(y)
    body = inner.build(kernel_name(inner.nodes), [local[y] for y in outputs])
    types = tuple(y.type for y in outputs)
    source = outputs[-1].node.source if outputs[-1].node is not None else None
    node = builder.add(Node(FUSE, tuple(operands), {"body": body}, types, source))
    for y, new in zip(outputs, node.results, strict=True):
        new.name = y.name
        env[y] = new


FUSE: Op = OPS["fuse"]


def kernel_name(nodes: list[Node]) -> str:
    """What a kernel does, in its first few ops: `mul_add_tanh`."""
    names = [n.op.name.removeprefix("reduce_") for n in nodes if n.op.name not in ("constant", "broadcast")]
    kept = [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
    return "_".join(kept[:5]) + ("_etc" if len(kept) > 5 else "") or "fill"
