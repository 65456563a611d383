"""`Lowered.kernels`: rows that say what was fused, where it runs, and what it reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.codegen.listing import Kernel, Kernels, Operand, Within
from gradc.ir import parse_type
from gradc.passes import group as grouping

PARAMS = {"W1": "f32[10, 32]", "b1": "f32[32]", "W2": "f32[32, 4]", "b2": "f32[4]"}


@gradc.compile
def loss(p: Any, x: Any, y: Any) -> Any:
    h = np.tanh(x @ p["W1"] + p["b1"])
    return np.mean((h @ p["W2"] + p["b2"] - y) ** 2)


def lowered(rows: int, of: str = "value_and_grad") -> Any:
    return loss.lower(PARAMS, f"f32[{rows}, 10]", f"f32[{rows}, 4]", of=of)


def operand(name: str, type: str) -> Operand:
    return Operand(name, parse_type(type))


def writer(kernels: tuple[Kernel, ...], result: str) -> Kernel:
    """The one kernel that writes a result."""
    (found,) = [kernel for kernel in kernels if result in [y.name for y in kernel.results]]
    return found


def test_a_row_tells_what_was_fused() -> None:
    first = lowered(16, "value").kernels[0]
    assert first.ops == ("matmul", "add", "tanh") and first.name == "matmul_add_tanh"
    assert first.product == "x @ p.W1" and first.by_tiles
    assert first.work == "x @ p.W1, tile by tile: add tanh"
    assert (first.space, first.reduced) == ((16, 32, 10), (2,))
    assert first.operands == (
        operand("x", "f32[16, 10]"),
        operand("p.W1", "f32[10, 32]"),
        operand("p.b1", "f32[32]"),
    )
    assert first.results == (operand("h", "f32[16, 32]"),)
    assert not first.is_shared and first.within == () and first.chunks == 1
    (line,) = first.sources
    assert line.file == __file__ and first.where == f"test_kernels.py:{line.line}"
    assert len(first.symbols) == 1 and first.symbols[0].startswith("matmul")


def test_results_go_by_what_they_are() -> None:
    kernels = lowered(64).kernels
    assert writer(kernels, "value").reduced == (0, 1)
    for name, type in PARAMS.items():
        assert operand(f"grad(p.{name})", type) in writer(kernels, f"grad(p.{name})").results
    assert "h" in [x.name for x in writer(kernels, "grad(p.W2)").operands]
    alone = lowered(64, "grad").kernels
    assert writer(alone, "grad(p.W1)").space == writer(kernels, "grad(p.W1)").space == (10, 32, 64)
    assert not any(y.name == "value" for kernel in alone for y in kernel.results)


def test_every_operand_is_an_input_or_was_written_before() -> None:
    """Names hold across blocks, reshapes and nested graphs."""
    for rows in (64, 20_000):
        known = {"x", "y", *[f"p.{name}" for name in PARAMS]}
        kernels = lowered(rows).kernels
        for kernel in kernels:
            assert known.issuperset([x.name for x in kernel.operands]), kernel
            known |= {y.name for y in kernel.results}
        assert known.issuperset(["value", *[f"grad(p.{name})" for name in PARAMS]])


def test_blocks_and_chunks_are_shared_by_threads() -> None:
    kernels = lowered(20_000).kernels
    inside = [kernel for kernel in kernels if kernel.within]
    assert inside
    (around,) = inside[0].within
    assert around.kind == "blocks" and around.times > 1 and all(kernel.is_shared for kernel in inside)
    assert inside[0].space[0] == 20_000 // around.times
    assert f"in each of {around.times} blocks of rows:" in str(kernels)
    chunked = gradc.compile(lambda x: np.exp(np.sin(x))).lower("f64[1000000]").kernels
    assert len(chunked) == 1 and chunked[0].chunks > 1 and chunked[0].is_shared


def test_tasks_are_listed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "LEAST", 1)
    monkeypatch.setattr(grouping, "ENOUGH", 2)
    kernels = (
        gradc.compile(lambda a, b, c: (a @ b, a @ c)).lower("f64[9, 8]", "f64[8, 7]", "f64[8, 6]").kernels
    )
    assert [kernel.product for kernel in kernels] == ["a @ b", "a @ c"]
    assert [kernel.results[0].name for kernel in kernels] == ["value[0]", "value[1]"]
    assert {kernel.within for kernel in kernels} == {kernels[0].within}
    (around,) = kernels[0].within
    assert (around.kind, around.times) == ("tasks", 2) and "in 2 tasks:" in str(kernels)


def test_branches_of_a_cond() -> None:
    @gradc.compile
    def either(x: Any, w: Any) -> Any:
        return np.sum(gradc.cond(x[0] > 0, lambda: np.tanh(w * x), lambda: np.exp(w * x)))

    kernels = either.lower("f64[3]", "f64[3]", of="value").kernels
    branches = {kernel.within[0].kind: kernel for kernel in kernels if kernel.within}
    assert branches["if_true"].ops == ("mul", "tanh") and branches["if_false"].ops == ("mul", "exp")
    assert branches["if_true"].results == branches["if_false"].results
    assert not branches["if_true"].is_shared
    assert all(isinstance(part, Within) for kernel in kernels for part in kernel.within)


def test_nothing_and_one_thing() -> None:
    assert str(gradc.compile(lambda x: x).lower("f64[3]").kernels).count("copy") == 2
    (kernel,) = gradc.compile(lambda x: np.sum(x * x)).lower("f64[3]", of="value").kernels
    assert str(kernel).splitlines()[1:] == ["    mul reduce_sum", "    x: f64[3] -> value: f64[]"]
    repeated = gradc.compile(lambda x: x @ x).lower("f64[3, 3]").kernels[0]
    assert repeated.operands == (operand("x", "f64[3, 3]"),) and repeated.product == "x @ x"
    empty = gradc.compile(lambda: 1.0).lower().kernels
    assert not [kernel for kernel in empty if kernel.operands] and "kernel" in str(empty)


def test_the_table(golden: Callable[[str, str], None]) -> None:
    """Of a small network. The scratch depends on the processor."""
    kernels = lowered(16).kernels
    golden("network.kernels", str(Kernels(kernel._replace(scratch=0) for kernel in kernels)))
    assert repr(kernels) == str(kernels) == lowered(16).dump("kernels")
