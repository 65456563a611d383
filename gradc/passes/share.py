"""Share: chains of kernels whose rows do not depend on each other become blocks of rows for threads.

A forward and backward pass over a batch goes from kernel to kernel, each too small to be worth handing out;
but what happens to one part of the batch does not depend on the others. Such a chain becomes one `blocks`
node: threads take a block each through the whole chain, whose values stay in their caches. How many blocks
there are depends on shapes alone.

The nodes that can be cut are on *levels*. Along an operand that both sides cut the level stays; what reads a
cut value whole, and what cannot be cut itself, comes after that level. So the nodes of a level need nothing
of each other but their own blocks, and nothing that comes later.
"""

from __future__ import annotations

from collections import Counter

from gradc.ir.effort import CHUNK, NEAR, domain_of, effort_of
from gradc.ir.graph import Builder, Graph, Node, Value, rebuild
from gradc.ir.op import OPS
from gradc.ir.ops.reduce import REDUCTIONS, reduced_axes
from gradc.passes.block import Block, block_of, cut
from gradc.passes.kernels import FUSE
from gradc.passes.nested import inside_out
from gradc.passes.split import COMBINING, Halves

ENOUGH_BLOCKS = 16
"""So many keep the threads of a machine busy."""
LEAST_ROWS = 32
"""Products of fewer rows read their other operand too often."""
LARGEST_OPERAND = 1 << 19
"""Bytes that every block of a product reads again; larger ones are shared on their own."""


def share(graph: Graph) -> Graph:
    """Make chains of kernels into blocks. Must come after `fuse`."""
    return inside_out(graph, _share)


def _share(graph: Graph) -> Graph:
    efforts = {node: effort_of(node) for node in graph.nodes if _may_be_cut(node)}
    count = _count(efforts)
    if count < 2:
        return graph
    reducing = {node for node in efforts if _reduces_rows(node, count)}
    halved, originals = _halve(graph, reducing, count)
    chains = Chains(halved, count)
    used = {originals[node] for chain in chains.found for node in chain if node in originals}
    if used != reducing:
        chains = Chains(_halve(graph, used, count)[0], count)
    return chains.write() if chains.found else graph


def _may_be_cut(node: Node) -> bool:
    """Kernels, and products of rows by something that is not too large."""
    if node.op.name != "matmul":
        return node.op is FUSE and (bool(node.types[0].shape) or _reduces_rows(node, 1))
    _, b = node.inputs
    is_batch = len(node.types[0].shape) > 2
    return is_batch or (not node.attrs["transpose_a"] and b.type.nbytes <= LARGEST_OPERAND)


def _reduces_rows(node: Node, count: int) -> bool:
    """Is it a kernel that reduces over its first axis, in a way that parts can be reduced again?"""
    reductions = _reductions(node)
    if not reductions or any(n.op.name not in COMBINING for n in reductions):
        return False
    rows, *_ = *domain_of(node), 0
    return 0 in reduced_axes(reductions[0]) and rows > 0 and rows % count == 0


def _count(efforts: dict[Node, int]) -> int:
    """The number of blocks: as many as most of the effort allows, and as are worth a thread's while.

    Of one block a kernel reads and writes so little that the next one finds it in a cache which is near.
    """
    widest = max((_bytes(node) for node in efforts), default=0)
    most = min(max(ENOUGH_BLOCKS, -(-widest // NEAR)), sum(efforts.values()) // CHUNK)
    shares: Counter[int] = Counter()
    for node, effort in efforts.items():
        rows = domain_of(node)[0]
        least = LEAST_ROWS if node.op.name == "matmul" and len(node.types[0].shape) == 2 else 1
        for count in range(2, most + 1):
            if rows % count == 0 and rows >= least * count:
                shares[count] += effort
    best = max(shares.values(), default=0)
    return max((count for count, share in shares.items() if share >= 0.9 * best), default=1)


def _bytes(node: Node) -> int:
    """What a kernel reads and writes."""
    return sum(x.type.nbytes for x in (*node.inputs, *node.results))


def _reductions(node: Node) -> list[Node]:
    """The reductions of a kernel."""
    return [n for n in node.attrs["body"].nodes if n.op.name in REDUCTIONS] if node.op is FUSE else []


def _halve(graph: Graph, nodes: set[Node], count: int) -> tuple[Graph, dict[Node, Node]]:
    """The graph with these kernels reducing block by block, and others that reduce what they give.

    Also, what the former are made of.
    """
    env: dict[Value, Value] = {x: x for x in graph.inputs}
    originals: dict[Node, Node] = {}
    with Builder(graph.inputs) as builder:
        for node in graph.nodes:
            inputs = [env[x] for x in node.inputs]
            if node in nodes:
                at = len(builder.nodes)
                results = Halves(node, inputs, count, domain_of(node)[0] // count).emit(builder)
                originals[builder.nodes[at]] = node
            else:
                results = list(builder.add(rebuild(node, tuple(inputs))).results)
            for old, new in zip(node.results, results, strict=True):
                new.name = old.name
                env[old] = new
    return graph.replace(nodes=builder.nodes, outputs=[env[y] for y in graph.outputs]), originals


class Chains:
    """The nodes of a graph that can be cut into blocks, by level and by what they read of each other."""

    def __init__(self, graph: Graph, count: int) -> None:
        self.graph = graph
        self.count = count
        self.root: dict[Value, Value] = {}  # of reshapes, what they are of
        self.blocks: dict[Node, Block] = {}
        self.place: dict[Node, int] = {}  # even: between the levels
        self.above: dict[Node, Node] = {}  # towards the representative of a node's chain
        for node in graph.nodes:
            self.enter(node)
        chains: dict[Node, list[Node]] = {}
        for node in self.blocks:
            chains.setdefault(self.representative(node), []).append(node)
        self.found = [chain for chain in chains.values() if self.is_worthwhile(chain)]

    def enter(self, node: Node) -> None:
        """The level of a node, and the chain it belongs to."""
        if node.op.name == "reshape":
            (x,) = node.inputs
            self.root[node.result] = x = self.root.get(x, x)
            place = self.place[x.node] if x.node is not None else 0
            self.place[node] = place + place % 2  # after the level
            return
        block = block_of(node, self.count) if _may_be_cut(node) else None
        if block is None:
            self.place[node] = max((self.after(x) for x in node.inputs), default=0)
            return
        level, joined = 1, []
        for x, is_cut in block.reads:
            maker = self.root.get(x, x).node
            if is_cut and maker in self.blocks:
                level = max(level, self.place[maker])
                joined.append(maker)
            else:
                level = max(level, self.after(x) + 1)
        self.blocks[node], self.place[node], self.above[node] = block, level, node
        for maker in joined:
            if self.place[maker] == level:
                self.above[self.representative(maker)] = node

    def after(self, x: Value) -> int:
        """The place from which on a value can be read whole."""
        maker = self.root.get(x, x).node
        place = 0 if maker is None else self.place[maker]
        return place + place % 2

    def representative(self, node: Node) -> Node:
        while self.above[node] is not node:
            self.above[node] = node = self.above[self.above[node]]
        return node

    def is_worthwhile(self, chain: list[Node]) -> bool:
        """Is there enough to do, and not all of it in one kernel, which threads share anyway?"""
        efforts = [effort_of(node) for node in chain]
        return sum(efforts) >= max(CHUNK * self.count, max(efforts) * 1.1)

    def write(self) -> Graph:
        """The graph with its chains as `blocks` nodes."""
        chain_of = {node: chain for chain in map(tuple, self.found) for node in chain}
        wanted = self.wanted(chain_of)
        order = sorted(self.graph.nodes, key=self.place.__getitem__)
        builder = Builder(self.graph.inputs)
        env: dict[Value, Value] = {x: x for x in self.graph.inputs}
        for node in order:
            chain = chain_of.get(node)
            if chain is not None:
                if node is chain[-1]:
                    self.write_chain(chain, wanted, builder, env)
            elif node.op.name != "reshape" or node.result in wanted:
                copy = builder.add(rebuild(node, tuple([env[x] for x in node.inputs])))
                env.update(zip(node.results, copy.results, strict=True))
        return self.graph.replace(nodes=builder.nodes, outputs=[env[y] for y in self.graph.outputs])

    def wanted(self, chain_of: dict[Node, tuple[Node, ...]]) -> set[Value]:
        """What is read whole, or by another chain than the one that makes it; reshapes that lead there."""
        found: set[Value] = set(self.graph.outputs)
        for node in self.graph.nodes:
            chain = chain_of.get(node)
            if chain is None:
                found.update(node.inputs if node.op.name != "reshape" else ())
                continue
            for x, is_cut in self.blocks[node].reads:
                maker = self.root.get(x, x).node
                if not is_cut or maker is None or chain_of.get(maker) is not chain:
                    found.add(x)
        for node in reversed(self.graph.nodes):
            if node.op.name == "reshape" and node.result in found:
                found.update(node.inputs)
        return found

    def write_chain(
        self, chain: tuple[Node, ...], wanted: set[Value], builder: Builder, env: dict[Value, Value]
    ) -> None:
        """One chain as a node."""
        inner = _Inside(self)
        for node in chain:
            block = self.blocks[node]
            copy = inner.add(block.on([inner.read(x, is_cut) for x, is_cut in block.reads]))
            for old, new in zip(node.results, copy.results, strict=True):
                new.name = old.name
                inner.made[old] = new
        outputs = [y for node in chain for y in node.results if y in wanted]
        body = inner.build("block", [inner.made[y] for y in outputs])
        attrs = {"body": body, "count": self.count, "cut": tuple([is_cut for _, is_cut in inner.given])}
        types = tuple([y.type for y in outputs])
        operands = tuple([env[x] for x, _ in inner.given])
        node = builder.add(Node(OPS["blocks"], operands, attrs, types, chain[-1].source))
        for old, new in zip(outputs, node.results, strict=True):
            new.name = old.name
            env[old] = new


class _Inside(Builder):
    """The graph of one block."""

    def __init__(self, chains: Chains) -> None:
        super().__init__()
        self.chains = chains
        self.made: dict[Value, Value] = {}
        self.given: dict[tuple[Value, bool], Value] = {}

    def read(self, x: Value, is_cut: bool) -> Value:
        """An operand as a block sees it: made in it, perhaps of another shape, or an input."""
        shape = cut(x.shape, 0, self.chains.count) if is_cut else x.shape
        root = self.chains.root.get(x, x)
        if not is_cut or root not in self.made:
            if (x, is_cut) not in self.given:
                self.given[x, is_cut] = self.add_input(x.type.with_shape(shape), x.name)
            return self.given[x, is_cut]
        if x not in self.made:
            self.made[x] = self.emit(OPS["reshape"], (self.made[root],), {"shape": shape}).result
        return self.made[x]
