"""The reference meaning of a graph: every node run by NumPy, planned graphs in a real arena."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradc.ir.errors import ArgumentError
from gradc.ir.graph import Graph, Node, Place, Value


def evaluate(
    graph: Graph, *leaves: Any, constants: Mapping[str, np.ndarray] | None = None
) -> tuple[np.ndarray, ...]:
    """Run a graph on flat leaves in the order of `graph.inputs`; the flat tuple of its results.

    `constants` gives captured arrays by name, for graphs that were parsed from text. A planned graph runs in
    an arena of its own, at its offsets, so that a wrong plan gives wrong values. Arguments are not modified.
    Errors: `ArgumentError` for a wrong number or type of leaves, or a captured array that is missing.
    """
    known = {**graph.constants, **(constants or {})}
    if len(leaves) != len(graph.inputs):
        raise ArgumentError(f"{graph.name} takes {len(graph.inputs)} leaves, not {len(leaves)}")
    env: dict[Value, np.ndarray] = {}
    for x, leaf in zip(graph.inputs, leaves, strict=True):
        array = np.asarray(leaf)
        if array.dtype.newbyteorder("=") != x.dtype or array.shape != x.shape:
            raise ArgumentError(f"input {x.name} is {x.type}, not {array.dtype}{list(array.shape)}")
        # Inputs that a plan writes to are copied: the caller keeps his arrays.
        planned = graph.arena is not None
        env[x] = (np.array if planned else np.asarray)(array, x.dtype, order="C")
    memory = _Memory(graph, env) if graph.arena is not None else None
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            for y, array in zip(
                node.results, run_node(node, [env[x] for x in node.inputs], known), strict=True
            ):
                assert array.dtype == y.dtype and array.shape == y.shape, (
                    node.op,
                    array.dtype,
                    array.shape,
                    y.type,
                )
                env[y] = memory.store(y, array) if memory is not None else array
    return tuple(np.array(env[y]) for y in graph.outputs)


def run_node(node: Node, inputs: list[np.ndarray], constants: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """One node by NumPy: its results as arrays of the declared dtypes."""
    if node.op.name == "captured":
        name = node.attrs["name"]
        if name not in constants:
            raise ArgumentError(
                f"the captured array {name} is not there", hint=f"evaluate(..., constants={{{name!r}: ...}})"
            )
        array, type = np.asarray(constants[name]), node.types[0]
        if array.dtype.newbyteorder("=") != type.dtype or array.shape != type.shape:
            raise ArgumentError(f"the captured array {name} is {type}, not {array.dtype}{list(array.shape)}")
        results: Any = np.asarray(array, type.dtype)
    elif node.op.infer is None:
        results = node.op.numpy(*inputs, **node.attrs, type=node.types[0])
    else:
        results = node.op.numpy(*inputs, **node.attrs)
    # Row-major, whatever views the meaning makes: some loops of NumPy round otherwise along strides. But a
    # constant
    # stays one number repeated, by which NumPy knows that x ** 2 is a square.
    order = "K" if node.op.name == "constant" else "C"
    return [np.asarray(r, order=order) for r in (results if isinstance(results, tuple) else (results,))]


class _Memory:
    """The buffers of a planned graph, as bytes: the arena, the outputs, the inputs (which may be written)."""

    def __init__(self, graph: Graph, env: dict[Value, np.ndarray]) -> None:
        # Garbage, so that reading what was not written shows.
        self.arena = np.full(graph.arena or 0, 0xA5, np.uint8)
        self.outputs = [np.full(y.type.nbytes, 0xA5, np.uint8) for y in graph.outputs]
        self.inputs = [env[x].reshape(-1).view(np.uint8) for x in graph.inputs]

    def store(self, value: Value, array: np.ndarray) -> np.ndarray:
        """Copy a result to its place and give the view there."""
        assert value.node is not None and value.node.places is not None
        place: Place = value.node.places[value.index]
        if place.where == "captured":
            return array
        buffer, start = self.arena, place.number
        if place.where != "arena":
            buffer, start = (self.outputs if place.where == "out" else self.inputs)[place.number], 0
        view = buffer[start : start + value.type.nbytes].view(value.dtype).reshape(value.shape)
        view[...] = array
        return view
