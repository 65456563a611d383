"""The rewrite engine: rules as equations or guarded functions, and the one driver that applies them.

```python
@rule
def double_neg(x): return -(-x), x

@rewrites("broadcast", "reshape")
def identity_shape(node):
    \"\"\"reshape(x, shape=x.shape) => x\"\"\"
    (x,) = node.inputs
    return x if x.type == node.types[0] else None
```

The driver sweeps forward once: when a node is reached, the nodes that make its inputs are final, so a rule
that looks at what its node is made of never has to be tried again. Only rules that ask how often a value is
used (`uses`) look the other way; they may call for a second sweep.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradc.ir import Builder, Graph, Node, Value, VerifyError
from gradc.ir.graph import current, rebuild
from gradc.passes.dce import live_nodes
from gradc.passes.nested import inside_out, renamed
from gradc.passes.pattern import Apply, Bindings, Variable, emit_pattern, matcher, pattern, variants

SWEEPS = 4
"""Sweeps after which the driver gives up, and says so in the graph's notes."""
BUDGET = 64
"""Rules that may fire in the place of one node: a table that goes in circles ends, and says so."""

Replacement = Value | Sequence[Value] | None
Report = Callable[[str, Node], None]


@dataclass(frozen=True, eq=False)
class Rule:
    """A law `a => b`, tried on nodes of the ops `roots`.

    `apply(node)` emits what the node becomes and gives the value (or one value for each result), or None.
    `remark` is what else its docstring says.
    """

    name: str
    law: str
    roots: tuple[str, ...]
    apply: Callable[[Node], Replacement]
    equation: bool = False
    remark: str = ""


def rule(equation: Callable[..., tuple[Any, Any]]) -> Rule:
    """An equation: called with pattern variables it gives the pattern and what replaces it."""
    name = getattr(equation, "__name__", "")
    variables = [Variable(parameter) for parameter in inspect.signature(equation).parameters]
    left, right = map(pattern, equation(*variables))
    assert isinstance(left, Apply), f"{name}: the left side must be an op"
    matchers = [matcher(tree) for tree in variants(left)]

    def apply(node: Node) -> Replacement:
        for match in matchers:
            bound: Bindings = {}
            if match(node.result, bound):
                return emit_pattern(right, bound, node.result.type)
        return None

    return Rule(name, f"{left} => {right}", (left.op,), apply, True, inspect.getdoc(equation) or "")


def rewrites(*roots: str) -> Callable[[Callable[[Node], Replacement]], Rule]:
    """A guarded function on nodes of these ops; the first line of its docstring is the law `a => b`."""

    def decorate(function: Callable[[Node], Replacement]) -> Rule:
        law, _, remark = (inspect.getdoc(function) or "").partition("\n")
        name = getattr(function, "__name__", "")
        assert "=>" in law, f"{name}: the docstring must begin with the law `a => b`"
        return Rule(name, law, roots, function, remark=remark.strip())

    return decorate


def rules_of(*namespaces: Mapping[str, Any]) -> list[Rule]:
    """The rules that modules define, in the order of their definition: earlier ones go first."""
    return [value for names in namespaces for value in names.values() if isinstance(value, Rule)]


class Table:
    """Rules in order of priority, ready to be looked up by op."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self.by_op: dict[str, list[Rule]] = {}
        for entry in self.rules:
            for op in entry.roots:
                self.by_op.setdefault(op, []).append(entry)


@dataclass
class Work:
    """What a rewriting did, counted."""

    nodes: int = 0
    attempts: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    settled: bool = True


def rewrite(graph: Graph, table: Table, report: Report | None = None, work: Work | None = None) -> Graph:
    """Apply a table of rules until none fires, in nested graphs too; what becomes unused is dropped.

    New nodes carry the source line of the node they replace, and a value without a name takes over the name
    of the one it replaces. `report(rule's name, node)` is called for every rule that fires. The work is
    linear in the number of nodes.
    """
    done = work if work is not None else Work()
    return inside_out(graph, lambda inner: _settle(inner, table, report, done))


def uses(value: Value) -> int:
    """For rules: how often nodes and outputs of the graph use a value now."""
    sweep = current()
    assert isinstance(sweep, _Sweep), "uses() is for rules"
    count = sweep.counts[value]
    sweep.asked = sweep.asked or count > 1
    return count


def _settle(graph: Graph, table: Table, report: Report | None, work: Work) -> Graph:
    for _ in range(SWEEPS):
        sweep = _Sweep(graph, table, report, work)
        graph = sweep.run()
        if sweep.spent:
            break
        if not (sweep.fired and sweep.asked):
            return graph
    work.settled = False
    note = f"rules still fired in {graph.name} after {SWEEPS} sweeps"
    return graph if note in graph.notes else graph.replace(notes=(*graph.notes, note))


class _Sweep(Builder):
    """One forward sweep. It is the current builder of the rules and keeps what they emit."""

    def __init__(self, graph: Graph, table: Table, report: Report | None, work: Work) -> None:
        super().__init__()
        self.graph, self.table, self.report, self.work = graph, table, report, work
        self.env: dict[Value, Value] = {}
        self.fresh: set[Node] = set()
        self.names: dict[Value, str] = {}
        self.counts: Counter[Value] = Counter(graph.outputs)
        for node in graph.nodes:
            for x in node.inputs:
                self.counts[x] += 1
        self.fired = self.asked = self.spent = False

    def own(self, value: Value) -> Value:
        """Rules use what they matched, which was defined before."""
        return value

    def add(self, node: Node) -> Node:
        self.nodes.append(node)
        return node

    def run(self) -> Graph:
        kept: list[Node] = []
        with self:
            for original in self.graph.nodes:
                pending, budget = [original], BUDGET
                while pending:
                    node = self.settled(pending.pop())
                    self.work.nodes += 1
                    if self.replace(node):
                        pending.extend(reversed(self.nodes))
                        budget -= 1
                        if budget == 0:
                            self.spent = True
                            kept.extend(self.settled(last) for last in reversed(pending))
                            break
                    else:
                        kept.append(node)
        if not self.fired:
            return self.graph
        result = self.graph.replace(nodes=kept, outputs=[self.latest(y) for y in self.graph.outputs])
        return renamed(result.replace(nodes=live_nodes(result)), self.names)

    def latest(self, value: Value) -> Value:
        """What stands for a value now."""
        while value in self.env:
            value = self.env[value]
        return value

    def settled(self, node: Node) -> Node:
        """The node on the values that stand for its inputs now."""
        env = self.env
        if env.keys().isdisjoint(node.inputs):
            return node
        copy = rebuild(node, tuple([self.latest(x) for x in node.inputs]))
        self.fresh.add(copy)
        for old, new in zip(node.results, copy.results, strict=True):
            env[old] = new
            self.counts[new] = self.counts[old]
        return copy

    def replace(self, node: Node) -> bool:
        """Try the rules on a node; on success `self.nodes` are what it becomes, to be tried in turn."""
        for entry in self.table.by_op.get(node.op.name, ()):
            self.work.attempts += 1
            self.nodes = []
            self.source = node.source
            replacement = entry.apply(node)
            if replacement is None:
                continue
            values = (replacement,) if isinstance(replacement, Value) else tuple(replacement)
            if tuple([y.type for y in values]) != node.types or values == node.results:
                raise VerifyError(
                    f"the rule {entry.name} ({entry.law}) made {[y.type for y in values]} "
                    f"of {node.op.name}: {list(node.types)}",
                    node.source,
                )
            self.work.fired[entry.name] += 1
            self.fired = True
            if self.report is not None:
                self.report(entry.name, node)
            self.take_over(node, values)
            return True
        return False

    def take_over(self, node: Node, values: tuple[Value, ...]) -> None:
        """Let the values stand for the results of the node."""
        self.fresh.update(self.nodes)
        for new_node in self.nodes:
            for x in new_node.inputs:
                self.counts[x] += 1
        for x in node.inputs:
            self.counts[x] -= 1
        for old, new in zip(node.results, values, strict=True):
            self.env[old] = new
            self.counts[new] += self.counts[old]
            if old.name and not new.name and new.node is not None and new not in self.names:
                if new.node in self.fresh:
                    new.name = old.name
                else:  # a node of the argument, which must not change
                    self.names[new] = old.name
