"""Sorting rows of many lengths, and running ops along every axis, natively."""

from __future__ import annotations

import numpy as np
import pytest

from gradc.ir import Builder, Graph, Type, emit, emit_node, evaluate
from gradc.ir.types import NAMES
from tests.codegen.native import compiled
from tests.programs.values import identical

LENGTHS = [1, 2, 15, 16, 17, 31, 32, 33, 64, 65, 100, 127, 1000, 4097]
"""Around the runs that are sorted by insertion, and around the powers of two of them that are merged."""


def sorted_(type: Type) -> Graph:
    with Builder() as builder:
        results = emit_node("sort", builder.add_input(type, "x")).results
        return builder.build("sorted", results)


def elements(rng: np.random.Generator, type: Type) -> np.ndarray:
    """Many ties, and for floats NaN, infinities and zeros of both signs."""
    if not type.is_float:
        return rng.integers(0, 2 if type.is_bool else 40, type.shape).astype(type.dtype)
    special = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], type.shape)
    return np.where(rng.random(type.shape) < 0.4, special, rng.normal(size=type.shape)).astype(type.dtype)


@pytest.mark.parametrize("dtype", ["f64", "f32", "i64", "i8", "u16", "bool"])
def test_sorting_is_stable_and_puts_nan_last(dtype: str):
    rng = np.random.default_rng(3)
    for n in LENGTHS if dtype == "f64" else LENGTHS[::4]:
        graph = sorted_(Type(NAMES[dtype], (3, n) if n < 200 else (n,)))
        run = compiled(graph).run
        rising = np.sort(elements(rng, graph.inputs[0].type), axis=-1)
        for x in (elements(rng, graph.inputs[0].type), rising, np.ascontiguousarray(rising[..., ::-1])):
            for got, wanted in zip(run([x]), evaluate(graph, x), strict=True):
                assert identical(got, wanted).all(), (dtype, n)


def test_an_argument_that_is_computed_and_unused_results():
    x = np.random.default_rng(0).normal(size=(40, 5))
    with Builder() as builder:
        v = builder.add_input(Type(NAMES["f64"], x.shape), "x")
        turned = emit("transpose", v * v, axes=(1, 0))
        values, _ = emit_node("sort", turned).results
        _, order = emit_node("sort", v).results
        graph = builder.build("parts", [emit("reduce_sum", values, axes=(0,)), order])
    got = compiled(graph).run([x])
    np.testing.assert_allclose(got[0], np.sort((x * x).T, axis=1).sum(0))
    assert (got[1] == np.argsort(x, axis=1, kind="stable")).all()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("op", ["cumsum", "cumprod", "cummax", "cummin"])
def test_running_ops_along_every_axis(op: str, axis: int, reverse: bool):
    x = np.random.default_rng(1).normal(size=(5, 9, 37))
    with Builder() as builder:
        v = builder.add_input(Type(NAMES["f64"], x.shape), "x")
        row = emit("slice", v, starts=(1, 2, 0), sizes=(1, 1, 37), steps=(1, 1, 1))
        spread = emit("broadcast", emit("reshape", row, shape=(37,)), shape=(5, 37, 9), axes=(1,))
        outputs = [emit(op, y, axis=axis, reverse=reverse) for y in (v, v * v, spread)]
        graph = builder.build("running", outputs)
    for got, wanted in zip(compiled(graph).run([x]), evaluate(graph, x), strict=True):
        assert identical(got, wanted).all()
