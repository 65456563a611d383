"""Matrix products as steps of a graph: whole or in parts, alone or with what follows their tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradc.codegen.matmul import Product, Task
from gradc.codegen.tiles import Follow, following, goes_by_tiles, is_shared, overlaps
from gradc.ir.graph import Builder, Graph, Node, constant
from gradc.ir.ops.reduce import identity
from gradc.ir.types import round_up

if TYPE_CHECKING:
    from gradc.codegen.driver import Driver


def product_alone(driver: Driver, node: Node, operands: list[str], used: int = 0) -> None:
    """A matrix product alone; so many bytes of workspace are in use."""
    task = None if driver.is_alone else driver.module.product_in_parts(node)
    if task is not None:
        symbol, made = task
        scratch = driver.scratch_pointer(0, made.scratch, made.parts, used=used)
        driver.in_chunks(symbol, symbol, [*operands, scratch], made.parts)
        return
    whole = driver.module.product(node)
    assert whole is not None, "only what follows may be refused"
    driver.call(whole[0], [*operands, driver.scratch_pointer(whole[1].scratch, used=used)])


def product_and_more(driver: Driver, body: Graph, node: Node, inputs: list[str], outputs: list[str]) -> None:
    """A matrix product and the kernel that follows it: tile by tile, or else one after the other."""
    graph, taken, given = following(body, node)
    operands = [inputs[body.inputs.index(x)] for x in node.inputs]
    before, after = [inputs[i] for i in taken], [outputs[o] for o in given]
    # The product lies where it is wanted, else where a result of its elements will, else in scratch.
    places = [outputs[o] for o, y in enumerate(body.outputs) if y is node.result]
    follow = Follow(graph, overlaps(before, after), bool(places))
    found = _followed(driver, node, follow)
    for p, y in zip(after, graph.outputs, strict=True):
        of_elements = y.type.nbytes == node.types[0].nbytes and (found or y.shape == node.types[0].shape)
        places += [p] if of_elements and p not in inputs else []
    size = 0 if places else round_up(node.types[0].nbytes)
    if found is None:
        c = places[0] if places else driver.scratch_pointer(size)
        product_alone(driver, node, [*operands, c], size)
        driver.kernel(graph, [*before, c], after)
        return
    symbol, made = found
    driver.step.by_tiles = True
    for o, reduction in follow.sums.items():
        driver.kernel(_filled(reduction), [], [after[o]])
    size = size if made.stores else 0
    c = "null"
    if made.stores:
        c = places[0] if places else driver.scratch_pointer(size)
    if isinstance(made, Task):
        scratch = driver.scratch_pointer(0, made.scratch, made.parts, used=size)
        driver.in_chunks(symbol, symbol, [*operands, c, scratch, *before, *after], made.parts)
    else:
        scratch = driver.scratch_pointer(made.scratch, used=size)
        driver.call(symbol, [*operands, c, scratch, driver.array("%table", [*before, *after]), "%context"])


def _followed(driver: Driver, node: Node, follow: Follow) -> tuple[str, Task] | tuple[str, Product] | None:
    """A product whose tiles something follows; None if that is to come after it, as another kernel."""
    if not goes_by_tiles(follow.graph):
        return None
    if not driver.is_alone:
        task = driver.module.product_in_parts(node, follow)
        if task is not None or is_shared(follow.graph):
            return task
    return driver.module.product(node, follow)


def _filled(reduction: Node) -> Graph:
    """A kernel that sets a result of a reduction to what it begins with."""
    with Builder() as builder:
        y = constant(identity(reduction.op.name, reduction.inputs[0].type), reduction.types[0])
        return builder.build("fill", [y])
