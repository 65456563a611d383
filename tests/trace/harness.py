"""Run a function plainly and as a graph, and hold the two against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gradc.ir import evaluate, parse, type_of, verify
from gradc.trace import Input, NeedStatic, Static, Traced, rebuild, trace, tree


def leaf_of(x: Any, name: str) -> Input | Static:
    """How the compiled function sees an argument's leaf."""
    if isinstance(x, np.ndarray | np.generic) and x.dtype.kind in "biuf":
        return Input(type_of(x), False, name)
    if type(x) is float:
        return Input(type_of(x), True, name)
    return Static(x)


def traced(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Traced, list[Any]]:
    """The trace of a call and the leaves to run its graph on, floats knowing their values where needed."""
    values, treedef = tree.flatten((args, kwargs))
    leaves = [leaf_of(x, f"x{i}") for i, x in enumerate(values)]
    while True:
        try:
            result = trace(fn, treedef, leaves, name=getattr(fn, "__name__", "f"))
            break
        except NeedStatic as need:
            for i in need.positions:
                leaves[i] = replace(leaves[i], value=values[i])
    verify(result.graph)
    return result, [x for x, leaf in zip(values, leaves, strict=True) if isinstance(leaf, Input)]


def run(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The function's result by its graph, which must also survive as text."""
    result, inputs = traced(fn, *args, **kwargs)
    text = str(result.graph)
    again = parse(text)
    assert str(again) == text
    outputs = evaluate(again, *inputs, constants=result.graph.constants)
    # A NumPy scalar for every number, as the compiled function gives it.
    return rebuild(result.treedef, result.leaves, [y[()] if y.shape == () else y for y in outputs])


def check(fn: Callable[..., Any], *args: Any, rtol: float = 2e-6, **kwargs: Any) -> Any:
    """The graph's result is that of the plain function: structure, dtypes, shapes and values."""
    with np.errstate(all="ignore"):
        wanted = fn(*args, **kwargs)
    got = run(fn, *args, **kwargs)
    expected, structure = tree.flatten(wanted)
    found, other = tree.flatten(got)
    assert structure == other
    for a, b in zip(expected, found, strict=True):
        if not isinstance(a, np.ndarray | np.generic | float):
            if isinstance(b, np.generic):  # a Python number that depends on a traced value
                b = b.item()
            assert a == b and type(a) is type(b)
            continue
        assert np.shape(a) == np.shape(b), (np.shape(a), np.shape(b))
        assert np.asarray(a).dtype == np.asarray(b).dtype, (np.asarray(a).dtype, np.asarray(b).dtype)
        tolerance = rtol if np.asarray(a).dtype == np.float32 else 1e-12
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance, equal_nan=True)
    return got


def cases(*blocks: dict[str, str]) -> list[Any]:
    """A case for each expression: blocks have, by the name of operands, expressions between semicolons."""
    return [
        pytest.param(operands, part.strip(), id=f"{part.strip()} {operands}")
        for block in blocks
        for operands, text in block.items()
        for part in text.replace("\n", ";").split(";")
        if part.strip()
    ]
