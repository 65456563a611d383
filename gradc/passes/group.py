"""Group: nodes that need nothing of each other become one node, whose threads take one each.

After the blocks of a batch have been through a network, the gradients of its weights are left: a product
each, over the whole batch, too small to be shared by threads and too many to be done by one.
"""

from __future__ import annotations

from gradc.ir.effort import CHUNK, effort_of
from gradc.ir.graph import Builder, Graph, Node, Value, rebuild
from gradc.ir.op import OPS
from gradc.passes.nested import inside_out

LEAST, MOST = CHUNK // 20, 2 * CHUNK
"""The effort of a task: less is not worth the trouble, more is shared by threads in itself."""
ENOUGH = 2 * CHUNK
"""The effort of all of them that is worth a thread's while."""


def group(graph: Graph) -> Graph:
    """Make nodes that do not depend on each other into tasks. Must come after `share`."""
    busy = {node.attrs["body"] for node in graph.walk() if node.op.name == "blocks"}  # a thread's own work
    return inside_out(graph, lambda inner: inner if inner in busy else _group(inner))


def _group(graph: Graph) -> Graph:
    groups = _groups(graph)
    if not groups:
        return graph
    group_of = {node: members for members in groups for node in members}
    env: dict[Value, Value] = {x: x for x in graph.inputs}
    builder = Builder(graph.inputs)
    for node in graph.nodes:
        # Members wait until all are wanted: what they read lives on for them, what they make is short-lived.
        pending = [] if node in group_of else [node]
        _emit(pending, group_of, builder, env)
    _emit([y.node for y in graph.outputs if y.node is not None], group_of, builder, env)
    return graph.replace(nodes=builder.nodes, outputs=[env[y] for y in graph.outputs])


def _groups(graph: Graph) -> list[tuple[Node, ...]]:
    """Nodes of one depth, each too small for several threads, together large enough."""
    depth: dict[Node, int] = {}
    levels: dict[int, list[Node]] = {}
    for node in graph.nodes:
        below = max((depth[x.node] for x in node.inputs if x.node is not None), default=0)
        depth[node] = below + (node.op.name not in ("reshape", "captured", "constant"))
        if LEAST <= effort_of(node) < MOST:
            levels.setdefault(depth[node], []).append(node)
    return [
        tuple(sorted(nodes, key=effort_of, reverse=True))
        for nodes in levels.values()
        if len(nodes) > 1 and sum(map(effort_of, nodes)) >= ENOUGH
    ]


def _emit(
    pending: list[Node], group_of: dict[Node, tuple[Node, ...]], builder: Builder, env: dict[Value, Value]
) -> None:
    """Write nodes, after what they need."""
    while pending:
        node = pending[-1]
        if node.results[0] in env:
            pending.pop()
            continue
        members = group_of.get(node, (node,))
        missing = [x.node for n in members for x in n.inputs if x.node is not None and x not in env]
        if missing:
            pending.extend(reversed(missing))
        elif len(members) == 1:
            copy = builder.add(rebuild(node, tuple([env[x] for x in node.inputs])))
            env.update(zip(node.results, copy.results, strict=True))
        else:
            _write(members, builder, env)


def _write(members: tuple[Node, ...], builder: Builder, env: dict[Value, Value]) -> None:
    """The members as one node."""
    operands = list(dict.fromkeys(x for node in members for x in node.inputs))
    inner = Builder()
    inside = {x: inner.add_input(x.type, x.name) for x in operands}
    for node in members:
        copy = inner.add(rebuild(node, tuple([inside[x] for x in node.inputs])))
        inside.update(zip(node.results, copy.results, strict=True))
    results = [y for node in members for y in node.results]
    body = inner.build("tasks", [inside[y] for y in results])
    types = tuple([y.type for y in results])
    source = members[0].source
    tasks = builder.add(Node(OPS["tasks"], tuple([env[x] for x in operands]), {"body": body}, types, source))
    for old, new in zip(results, tasks.results, strict=True):
        new.name = old.name
        env[old] = new
