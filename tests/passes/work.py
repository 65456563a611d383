"""How much a pass does, counted in executed lines of its modules; and graphs of any length to run it on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any

from gradc.ir import Builder, Graph, Value, emit, parse_type


class Counter:
    lines = 0


@contextmanager
def counting(*modules: ModuleType) -> Iterator[Counter]:
    """Counts the lines that run in these modules."""
    files, counter = {module.__file__ for module in modules}, Counter()

    def line(_frame: FrameType, event: str, _argument: Any) -> Any:
        counter.lines += event == "line"
        return line

    def call(frame: FrameType, _event: str, _argument: Any) -> Any:
        return line if frame.f_code.co_filename in files else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        yield counter
    finally:
        sys.settrace(before)


def chain(n: int) -> Graph:
    """Elementwise ops, one after another."""
    with Builder() as builder:
        x = y = builder.add_input(parse_type("f64[8]"), "x")
        for i in range(n):
            y = y * x if i % 2 else emit("tanh", y)
        return builder.build("chain", [y])


def network(n: int) -> Graph:
    """Layers forwards, then backwards: everything computed on the way up is read on the way down."""
    with Builder() as builder:
        x, w = (
            builder.add_input(parse_type(t), name) for t, name in (("f64[2, 3]", "x"), ("f64[3, 3]", "w"))
        )
        layers: list[Value] = []
        for _ in range(n // 5):
            x = emit("tanh", emit("matmul", x, w, transpose_a=False, transpose_b=False))
            layers.append(x)
        g = x
        for y in reversed(layers):
            d = emit("sub", emit("copy", g), emit("mul", g, y))
            g = emit("matmul", d, w, transpose_a=False, transpose_b=True)
        return builder.build("network", [g])


def fan(n: int) -> Graph:
    """One value that everything reads, reduced over either axis."""
    with Builder() as builder:
        x = builder.add_input(parse_type("f64[3, 3]"), "x")
        total = builder.add_input(parse_type("f64[3]"), "t")
        for i in range(n // 3):
            total = total + emit("reduce_sum", emit("tanh", x) if i % 2 else x, axes=(i % 2,))
        return builder.build("fan", [total])


def holes(n: int) -> Graph:
    """Every second result is kept to the end, so that what is freed in between stays in pieces."""
    with Builder() as builder:
        x, w = (
            builder.add_input(parse_type(t), name) for t, name in (("f64[2, 3]", "x"), ("f64[9, 3]", "w"))
        )
        kept = []
        for i in range(n // 4):
            wide = emit("matmul", x, w, transpose_a=False, transpose_b=True)
            x = emit("matmul", wide, w, transpose_a=False, transpose_b=False)
            kept.append(wide if i % 2 else x)
        last = emit("matmul", x, x, transpose_a=True, transpose_b=False)
        for value in reversed(kept):
            y = (
                value
                if value.shape == (2, 3)
                else emit("matmul", value, w, transpose_a=False, transpose_b=False)
            )
            last = emit(
                "matmul",
                last,
                emit("matmul", y, y, transpose_a=True, transpose_b=False),
                transpose_a=False,
                transpose_b=False,
            )
        return builder.build("holes", [last])


FAMILIES: dict[str, Callable[[int], Graph]] = {f.__name__: f for f in (chain, network, fan, holes)}
