"""Reductions cut into chunks: what is cut, what is not, and that the results are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.ir import Graph, evaluate, parse, verify
from gradc.passes import pipeline
from gradc.passes.split import COMBINING, split
from tests.codegen.native import assert_same

N, PRIME = 600_000, 600_011
ROWS = (3_000, 400)


def fused(function: Callable[..., Any], *types: str, grad: bool = False) -> Graph:
    lowered = gradc.compile(function).lower(*types)
    graph = lowered.graph("grad" if grad else "traced")
    for step in (*pipeline.STAGES["optimized"], pipeline.fuse):
        graph = step(graph)
    return graph


def norm(x: Any) -> Any:
    return np.sqrt(np.sum(np.exp(x) * x) / x.size) + 1


def both(x: Any) -> Any:
    y = np.tanh(x)
    return y * 2, y.sum(), y.max()


def columns(x: Any) -> Any:
    return np.exp(x).sum(0) / len(x), np.exp(x).max(0)


def everything(x: Any) -> Any:
    return np.exp(x).sum()


def any_of(x: Any) -> Any:
    return np.any(np.exp(np.sin(x)) > 2.7182), np.all(np.exp(np.sin(x)) < 3)


CASES: dict[str, tuple[Callable[..., Any], str, bool]] = {
    "a sum with a tail": (norm, f"f64[{N}]", True),
    "a sum whose length has no divisors": (norm, f"f32[{PRIME}]", True),
    "with results of the elements too": (both, f"f64[{N}]", True),
    "columns": (columns, f"f64[{ROWS[0]}, {ROWS[1]}]", True),
    "all of a matrix": (everything, f"f32[{ROWS[0]}, {ROWS[1]}]", True),
    "logical": (any_of, f"f64[{PRIME}]", True),
    "not with results of a length that has no divisors": (both, f"f64[{PRIME}]", False),
    "not what is short": (norm, "f64[1000]", False),
    "not rows": (lambda x: np.exp(x).sum(1), f"f64[{ROWS[0]}, {ROWS[1]}]", False),
    "not the place of the largest": (lambda x: np.argmax(np.exp(np.sin(x))), f"f64[{N}]", False),
}


@pytest.mark.parametrize("name", CASES)
def test_split(name: str) -> None:
    function, kind, fires = CASES[name]
    before = fused(function, kind)
    after = split(before)
    verify(after, after="split")
    assert (after is not before) == fires, after
    assert str(parse(str(after))) == str(after)
    (type,) = [x.type for x in before.inputs]
    x = np.asarray(np.random.default_rng(0).normal(size=type.shape), type.dtype)
    wanted, found = evaluate(before, x), evaluate(after, x)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5 if type.dtype == np.float32 else 1e-13)
        assert a.dtype == b.dtype
    if fires:
        assert_same([after], [[x]], exact=False)


def test_special_values() -> None:
    """What fills the last chunk changes nothing: not a maximum of -inf, not NaN."""

    def f(x: Any) -> Any:
        y = np.maximum(np.minimum(x, np.inf), -np.inf) * 1.0
        return y.sum(), y.max(), y.min(), np.prod(y * 0 + 1)

    compiled = gradc.compile(f)
    for fill in (-0.0, np.inf, -np.inf, np.nan, 1.0):
        x = np.full(5 * PRIME, fill)
        with np.errstate(all="ignore"):
            wanted = f(x)
        found = compiled(x)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_gradients_in_one_pass() -> None:
    graph = split(fused(lambda x: np.mean(np.tanh(x) ** 2), f"f64[{N}]", grad=True))
    reductions = [
        n.op.name for node in graph.nodes if node.op.name == "fuse" for n in node.attrs["body"].nodes
    ]
    assert sum(name in COMBINING for name in reductions) == 2
    assert len([node for node in graph.nodes if node.op.name == "fuse"]) == 2


def test_dtypes() -> None:
    rng = np.random.default_rng(1)
    for dtype in (np.int32, np.uint8, np.int64):
        x = rng.integers(0, 100, 2 * PRIME).astype(dtype)

        def f(x: Any) -> Any:
            y = x // 3 % 7 * 2 - 1 + x // 5
            return y.sum(), y.max(), y.min()

        for a, b in zip(gradc.compile(f)(x), f(x), strict=True):
            assert a == b and a.dtype == b.dtype
