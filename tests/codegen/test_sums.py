"""Sums lose no more digits than NumPy's pairwise ones, along any axes, and are the same at any alignment."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gradc.ir import Graph, Type, parse
from gradc.ir.types import SHORT
from tests.codegen.native import compiled

SHAPES = {
    "a million in a row": ((1_000_000,), (0,)),
    "rows": ((3, 300_001), (1,)),
    "columns": ((200_003, 5), (0,)),
    "wide columns": ((3000, 333), (0,)),
    "both ends": ((300, 5, 700), (0, 2)),
    "the outer two, of three": ((400, 501, 3), (0, 1)),
    "many short rows": ((250_000, 2, 2), (0, 2)),
    "all of a slice": ((1000, 1001), (0, 1)),
}


def reduction(op: str, type: Type, axes: tuple[int, ...], sliced: bool = False) -> Graph:
    """The op on an array, or on all of it but the first column, which keeps its axes apart."""
    shape, name, lines = list(type.shape), "x", []
    dtype = SHORT[type.dtype]
    if sliced:
        shape[-1] -= 1
        name, starts, steps = "y", (*[0] * (len(shape) - 1), 1), (1,) * len(shape)
        lines.append(f"y: {dtype}{shape} = slice(x, starts={starts}, sizes={tuple(shape)}, steps={steps})")
    result = f"{dtype}{[n for a, n in enumerate(shape) if a not in axes]}"
    lines += [f"r: {result} = {op}({name}, axes={axes})", "return r"]
    return parse("\n".join([f"graph f(x: {type}) -> ({result}) {{", *lines, "}"]))


@pytest.mark.parametrize("values", ["positive", "cancelling", "growing"])
@pytest.mark.parametrize("case", SHAPES)
def test_float32_sums(case: str, values: str):
    shape, axes = SHAPES[case]
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 1, shape) if values == "positive" else rng.standard_normal(shape)
    if values == "growing":
        x = x * np.exp(rng.uniform(-20, 20, shape))
    x = x.astype(np.float32)
    sliced = "slice" in case
    (got,) = compiled(reduction("reduce_sum", Type(x.dtype, shape), axes, sliced)).run([x])
    terms = x[:, 1:] if sliced else x
    exact = sum_exactly(terms, axes)
    size = np.abs(terms.astype(np.float64)).sum(axes)
    error = np.abs(got - exact) / size / np.finfo(np.float32).eps
    pairwise = math.log2(terms.size / max(got.size, 1))
    assert np.max(error) < pairwise / 2, "about as good as adding pairwise"


def sum_exactly(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """By fsum where there are few results, else in float64, which is exact enough for float32 terms."""
    if len(axes) == x.ndim:
        return np.array(math.fsum(x.reshape(-1)))
    return np.sum(x, axis=axes, dtype=np.longdouble).astype(np.float64)


@pytest.mark.parametrize("n", [1, 7, 100, 4097, 70_001])
def test_float64_sums_are_near_fsum(n: int):
    program = compiled(reduction("reduce_sum", Type(np.dtype(np.float64), (n,)), (0,)))
    for seed in range(5):
        rng = np.random.default_rng([n, seed])
        x = rng.standard_normal(n) * np.exp(rng.uniform(-30, 30, n))
        (got,) = program.run([x])
        bound = (2 + math.log2(n)) / 2 * np.finfo(np.float64).eps * math.fsum(np.abs(x))
        assert abs(float(got) - math.fsum(x)) <= bound


def test_sums_do_not_depend_on_where_the_array_lies():
    program = compiled(reduction("reduce_sum", Type(np.dtype(np.float32), (1003,)), (0,)))
    x = np.random.default_rng(0).standard_normal(1003).astype(np.float32)
    bits = set()
    for offset in range(0, 64, 4):
        raw = np.empty(1003 * 4 + 128, np.uint8)
        start = -raw.ctypes.data % 64 + offset
        moved = raw[start : start + 4012].view(np.float32)
        moved[:] = x
        bits.add(program.run([moved])[0].tobytes())
    assert len(bits) == 1
