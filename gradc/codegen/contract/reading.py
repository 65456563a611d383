"""From a kernel's graph that ends in `contract` to labels with strides."""

from __future__ import annotations

from gradc.codegen.contract.plan import Label
from gradc.codegen.loops import Affine
from gradc.codegen.lower import INDEX_MAPS, ZERO
from gradc.ir.graph import Graph, Value


def element(x: Value, index: tuple[Affine, ...]) -> tuple[Value, Affine]:
    """What an element of a view is read from, and where in memory it lies, in elements."""
    while x.node is not None:
        index = INDEX_MAPS[x.node.op.name](x.node, index)
        (x,) = x.node.inputs
    place = ZERO
    for position, stride in zip(index, x.type.strides, strict=True):
        place = place + position * stride
    return x, place


def contraction(graph: Graph) -> tuple[list[Label], tuple[int, int], tuple[int, int]]:
    """The labels, where reading begins in both operands, and the numbers of the inputs they are."""
    node = graph.nodes[-1]
    labels = [node.attrs[k] for k in ("a", "b", "result")]
    sizes = {}
    for names, value in zip(labels, (*node.inputs, node.result), strict=True):
        sizes.update(zip(names, value.shape, strict=True))
    places, roots = [], []
    for names, value in zip(labels[:2], node.inputs, strict=True):
        root, place = element(value, tuple(Affine.variable(f"l{name}") for name in names))
        places.append(place)
        roots.append(graph.inputs.index(root))
    result = dict(zip(labels[2], node.types[0].strides, strict=True))
    found = [
        Label(n, places[0].coefficient(f"l{name}"), places[1].coefficient(f"l{name}"), result.get(name, 0))
        for name, n in sizes.items()
    ]
    return found, (places[0].constant, places[1].constant), (roots[0], roots[1])
