"""Kernels: which ops they hold, and how they are written down as `fuse` nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gradc.ir.graph import Builder, Graph, Node, Value, inline, rebuild
from gradc.ir.op import OPS, Op

FUSE: Op = OPS["fuse"]
ALONE = frozenset(
    {
        *("concat", "pad", "scatter_add", "scatter", "fold", "contract"),
        *("cumsum", "cumprod", "cummax", "cummin"),
    }
)
"""Ops that move elements to computed places, or carry a value along an axis: kernels of their own."""
OPAQUE = frozenset(
    {
        *("matmul", "sort", "cond", "call", "blocks", "tasks", "fuse", "captured", "reshape"),
        *("cholesky", "triangular_solve", "solve", "slogdet", "eigh", "svd", "qr"),
    }
)
"""Ops that no kernel holds."""

Recomputed = Mapping[Value, list[Value]]
"""Values that every kernel computes for itself, and of what in memory."""

MADE_UP = frozenset({"pad", "constant", "iota"})
"""Index maps that give elements which are nowhere in memory."""

MAX_OPS = 160
"""Larger kernels spill registers and gain nothing."""


def is_index_map(node: Node) -> bool:
    """Does the node only choose, repeat or make up elements, so that a reader can do it while loading?"""
    name = node.op.name
    if name == "reshape":  # dropping or adding axes of size 1
        return squeezed(node.inputs[0].shape) == squeezed(node.types[0].shape)
    if name == "constant":
        return not isinstance(node.attrs["value"], list)
    if name == "pad":  # elements side by side, of what is in memory: a comparison of indices
        return all(step == 1 for step in node.attrs["steps"])
    return name in ("broadcast", "transpose", "slice", "windows", "iota")


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without axes of size 1."""
    return tuple(n for n in shape if n != 1)


def is_pointwise(node: Node) -> bool:
    """Does each element of the result need one element of each operand (gather: at computed places)?"""
    return node.op.elementwise or node.op.name == "gather"


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


def is_constant(node: Node) -> bool:
    return node.op.name == "constant"


def in_memory(node: Node, i: int) -> Value | None:
    """What must be in memory for operand i: the operand, where the node reads it at computed places or as a
    whole; what it is a view of, where the node reads it by strides. None if the operand can be computed."""
    name, x = node.op.name, node.inputs[i]
    if name == "contract":
        while x.node is not None and is_index_map(x.node) and x.node.op.name not in MADE_UP:
            (x,) = x.node.inputs
        return x
    return x if (name in OPAQUE and not is_index_map(node)) or (name == "gather" and i == 0) else None


def stands_alone(node: Node) -> bool:
    """No other node joins its kernel (constants that get here are the written-out ones)."""
    return node.op.name in OPAQUE or node.op.name in ALONE or is_constant(node)


def unfuse(graph: Graph) -> Graph:
    """The nodes of kernels out in the open again, without places: such a graph comes from text."""
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


def write_kernels(
    graph: Graph,
    kernels: Iterable[Kernel],
    kernel_of: Mapping[Node, Kernel],
    ready: Mapping[Value, int],
    recomputed: Recomputed,
    fuse: Callable[[Graph], Graph],
) -> Graph:
    """The graph with its kernels as `fuse` nodes, in the order of their levels.

    `ready` has the level on which each value can be read; `recomputed` are those that every kernel computes
    for itself; `fuse` is for the graphs that nodes hold.
    """
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
        home = kernel_of[node]
        for i, x in enumerate(node.inputs):
            exact = in_memory(node, i)
            if exact is not None:
                store(exact)
            root = index_root(x)
            if root is None:
                continue
            inside = root.node is not None and root is x and exact is None and kernel_of[root.node] is home
            if not inside:
                for source in recomputed.get(root, [root]):
                    needed.add(source)
                    assert source.node is None or kernel_of[source.node].level < home.level, node
    builder = Builder([*graph.inputs])
    env: dict[Value, Value] = {x: x for x in graph.inputs}
    filled = [k for k in kernels if k.nodes]
    filled.sort(key=lambda k: (k.level, min(order[n] for n in k.nodes)))
    maps = [v for n in graph.nodes if is_index_map(n) for v in n.results if v in needed]
    maps.sort(key=ready.__getitem__)

    def emit_map(y: Value) -> None:
        if y in views and y.node is not None:
            emit_opaque(builder, env, y.node, fuse)
        else:
            emit_kernel(builder, env, [], [y], recomputed)

    pending = iter([*maps, None])
    next_map = next(pending)
    for kernel in filled:
        while next_map is not None and ready[next_map] <= kernel.level:
            emit_map(next_map)
            next_map = next(pending)
        kernel.nodes.sort(key=order.__getitem__)
        first = kernel.nodes[0]
        if first.op.name in OPAQUE:
            emit_opaque(builder, env, first, fuse)
        else:
            outputs = [y for n in kernel.nodes for y in n.results if y in needed]
            if outputs:
                emit_kernel(builder, env, kernel.nodes, outputs, recomputed)
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


def emit_opaque(
    builder: Builder, env: dict[Value, Value], node: Node, fuse: Callable[[Graph], Graph]
) -> None:
    """The node itself, with fused graphs inside."""
    attrs = {**node.attrs, **{key: fuse(inner) for key, inner in node.graphs}}
    copy = Node(node.op, tuple(env[x] for x in node.inputs), attrs, node.types, node.source)
    _adopt(builder, env, node, copy)


def _adopt(builder: Builder, env: dict[Value, Value], node: Node, copy: Node) -> None:
    builder.add(copy)
    for old, new in zip(node.results, copy.results, strict=True):
        new.name = old.name
        env[old] = new


def emit_kernel(
    builder: Builder,
    env: dict[Value, Value],
    nodes: list[Node],
    outputs: list[Value],
    recomputed: Recomputed,
) -> None:
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
            if x in recomputed:
                compute(x, recomputed[x])
                break
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
        arguments = []
        for i, x in enumerate(node.inputs):
            stored = in_memory(node, i)
            if stored is not None and stored is not x:
                local[stored] = read(stored)
            arguments.append(read(x) if stored is x else use(x))
        copy = Node(node.op, tuple(arguments), node.attrs, node.types, node.source)
        _adopt(inner, local, node, copy)

    def compute(x: Value, leaves: list[Value]) -> None:
        """Compute a value again of these, which are in memory."""
        pending = [x]
        while pending:
            y = pending[-1]
            if y in local or y.node is None or is_index_map(y.node) or y in leaves:
                use(pending.pop())
                continue
            missing = [z for z in y.node.inputs if z not in local]
            if not missing:
                clone(pending.pop().node)  # type: ignore[arg-type]
            pending.extend(missing)

    live = set(outputs)
    for node in reversed(nodes):
        if not live.isdisjoint(node.results):
            live.update(node.inputs)
    for node in nodes:
        if not live.isdisjoint(node.results):
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


def kernel_name(nodes: list[Node]) -> str:
    """What a kernel does, in its first few ops: `mul_add_tanh`."""
    names = [n.op.name.removeprefix("reduce_") for n in nodes if n.op.name not in ("constant", "broadcast")]
    kept = [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
    return "_".join(kept[:5]) + ("_etc" if len(kept) > 5 else "") or "fill"
