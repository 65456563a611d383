"""Join: a kernel that reads a matrix product element by element holds the product itself.

What follows a product (a bias, an activation, the slope of one, sums of columns) is then computed tile by
tile, while a tile is in registers and L1, and the product is stored only if something else reads it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from gradc.ir.effort import NEAR, depth_of, domain_of
from gradc.ir.graph import Builder, Graph, Node, Value, emit, rebuild
from gradc.ir.ops.reduce import REDUCTIONS, reduced_axes, tail_of
from gradc.passes.kernels import FUSE, is_index_map, kernel_name, squeezed
from gradc.passes.nested import inside_out
from gradc.passes.split import COMBINING, Copy

MOST_ROWS = 4096
"""Tiles one above the other add to the sums of their columns: of more rows, these would lose digits."""


def join(graph: Graph) -> Graph:
    """Move products into the kernels that follow them. Must come after `fuse` and `group`."""
    return inside_out(graph, _join)


def _join(graph: Graph) -> Graph:
    followers = _followers(graph)
    if not followers:
        return graph
    products = {follower.product for follower in followers.values()}
    views = {follower.view: follower for follower in followers.values() if follower.view is not None}
    users = graph.users()
    env: dict[Value, Value] = {x: x for x in graph.inputs}
    builder = Builder(graph.inputs)

    def copy(node: Node) -> None:
        made = builder.add(rebuild(node, tuple([env[x] for x in node.inputs])))
        env.update(zip(node.results, made.results, strict=True))

    for node in graph.nodes:
        follower = followers.get(node)
        if follower is not None:
            keep = follower.is_wanted(graph, users)
            env.update(follower.emit(builder, env, keep))
            if follower.view is not None and keep:
                copy(follower.view)
        elif node not in products and node not in views:
            copy(node)
    return graph.replace(nodes=builder.nodes, outputs=[env[y] for y in graph.outputs])


def _followers(graph: Graph) -> dict[Node, _Follower]:
    """The kernels that are to hold a product."""
    users = graph.users()
    order = {node: i for i, node in enumerate(graph.nodes)}
    found: dict[Node, _Follower] = {}
    taken: set[Node] = set()
    for node in graph.nodes:
        if node.op is FUSE and (kernel := _Kernel(node)).goes_by_elements():
            choices = [
                follower
                for follower in kernel.products()
                if follower.product not in taken and follower.is_first(order, users)
            ]
            if choices:
                found[node] = best = max(choices, key=lambda follower: follower.work)
                taken.add(best.product)
    return found


class _Kernel:
    """A kernel that may follow a product."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.body: Graph = node.attrs["body"]
        self.reductions = [n for n in self.body.nodes if n.op.name in REDUCTIONS]
        self.domain = domain_of(node)

    def goes_by_elements(self) -> bool:
        """Does it compute elements of rows and columns, and reduce at most the rows?"""
        *rows, columns = self.domain or (0,)
        if prod(rows) < 2 or columns < 2:
            return False
        if any(
            not (n.op.elementwise or is_index_map(n)) for n in self.body.nodes if n not in self.reductions
        ):
            return False
        for n in self.reductions:
            axes = {a for a in reduced_axes(n) if self.domain[a] != 1}
            if n.op.name not in COMBINING or axes != {a for a, size in enumerate(rows) if size != 1}:
                return False
        return not self.reductions or prod(rows) <= MOST_ROWS

    def products(self) -> list[_Follower]:
        """Itself after each of the products that it reads element by element."""
        found = []
        for x, outer in zip(self.body.inputs, self.node.inputs, strict=True):
            view, y = None, outer
            if y.node is not None and y.node.op.name == "reshape":
                view, y = y.node, y.node.inputs[0]
            if y.node is None or y.node.op.name != "matmul" or self.node.inputs.count(outer) > 1:
                continue
            if not y.node.inputs[0].type.size:  # sums of nothing have no tiles
                continue
            fits = y.shape[-1] == self.domain[-1] and squeezed(x.shape) == squeezed(self.domain)
            splits = y.shape == x.shape or len(y.shape) == 2  # rows may be several axes
            if fits and splits and self.is_near(x) and self.reads_elements(x):
                found.append(_Follower(self, x, y.node, view))
        return found

    def is_near(self, x: Value) -> bool:
        """Does it read no elements beside those of the product, or few enough to be in a cache?

        Tiles are narrow: elements from further away come faster row by row, in a kernel of their own.
        """
        others = [z for z in self.body.inputs if z is not x and z.type.size == x.type.size]
        moved = sum(z.type.nbytes for z in (x, *others))
        return moved <= NEAR or not (others or self.reductions)

    def reads_elements(self, x: Value) -> bool:
        """Are an input, and what is computed of it, read only at the element that is computed?

        A transpose of either would want elements of tiles that are not there yet.
        """
        users = self.body.users()
        views, pending, seen = {x}, [x], {x}
        while pending:
            z = pending.pop()
            for n in users.get(z, ()):
                if n in self.reductions:
                    continue
                if not (n.op.elementwise or n.op.name == "reshape"):
                    return False
                if n.op.name == "reshape" and z in views:
                    views.add(n.result)
                if n.result not in seen:
                    seen.add(n.result)
                    pending.append(n.result)
        return views.isdisjoint(self.body.outputs)


class _Follower:
    """A kernel after a product, which is its input `x`, perhaps as a reshape gives it (`view`)."""

    def __init__(self, kernel: _Kernel, x: Value, product: Node, view: Node | None) -> None:
        self.kernel, self.x, self.product, self.view = kernel, x, product, view

    @property
    def work(self) -> int:
        """Multiply-adds of the product."""
        return self.product.result.type.size * depth_of(self.product)

    def others(self, users: Mapping[Value, list[Node]]) -> list[Node]:
        """What else reads the product."""
        values = [self.product.result, *(self.view.results if self.view is not None else ())]
        mine = self.kernel.node, self.view
        return [node for x in values for node in users.get(x, ()) if node not in mine]

    def is_first(self, order: Mapping[Node, int], users: Mapping[Value, list[Node]]) -> bool:
        """Does everything else that reads the product come later?"""
        here = order[self.kernel.node]
        return all(order[node] > here for node in self.others(users))

    def is_wanted(self, graph: Graph, users: Mapping[Value, list[Node]]) -> bool:
        """Is the product read by others too?"""
        values = {self.product.result, *(self.view.results if self.view is not None else ())}
        return bool(self.others(users)) or not values.isdisjoint(graph.outputs)

    def emit(self, builder: Builder, env: Mapping[Value, Value], keep: bool) -> dict[Value, Value]:
        """The kernel with its product, then what it makes of sums; what takes the place of their results."""
        node, body = self.kernel.node, self.kernel.body
        given = dict(zip(body.inputs, [env.get(x, x) for x in node.inputs], strict=True))
        tail = tail_of(body) - {n.result for n in self.kernel.reductions}
        ends = [y for y in body.outputs if y in tail]
        sums = [n.result for n in self.kernel.reductions]
        first = [y for y in body.outputs if y not in tail]
        first += [y for y in sums if ends and y not in first]
        with (copy := Copy(body, given)):
            with copy.at(self.product.source):
                a, b = [copy.read(env[x]) for x in self.product.inputs]
                y = emit("matmul", a, b, **self.product.attrs)
            y.name = self.product.result.name
            copy.copies[self.x] = y if y.shape == self.x.shape else emit("reshape", y, shape=self.x.shape)
            outputs = [copy.value(z) for z in first] + ([y] if keep else [])
        made = copy.fuse(builder, node, outputs, kernel_name(copy.nodes))
        inner = dict(zip(first, made, strict=False))
        if ends:
            with (rest := Copy(body, given)):
                rest.copies.update({z: rest.read(inner[z]) for z in sums})
                last = [rest.value(z) for z in ends]
            inner.update(zip(ends, rest.fuse(builder, node, last, kernel_name(rest.nodes)), strict=True))
        results = dict(zip(node.results, [inner[z] for z in body.outputs], strict=True))
        if keep:
            results[self.product.result] = made[-1]
        for old, new in results.items():
            new.name = old.name
        return results
