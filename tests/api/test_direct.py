"""Calls of trees in one step: the same results as by the walk, and no call is mistaken for another."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradc
from gradc.trace import tree

x3 = np.array([1.0, 2.0, 3.0])


@dataclass
class Layer:
    w: Any
    b: Any = 0.5
    name: str = "layer"


@dataclass(frozen=True, slots=True)
class Slim:
    w: Any


class Pair(NamedTuple):
    first: Any
    second: Any


TREES: dict[str, Any] = {
    "dict": {"w": x3, "b": 2.0},
    "odd-keys": {1: x3, "a b": 2.0, ("t", 0): np.float64(3.0)},
    "list": [x3, [2.0, [x3]]],
    "tuple": (x3, (), {}, [], (2.0,)),
    "named": Pair(x3, {"a": Pair(2.0, x3)}),
    "dataclass": Layer(x3, 2.0),
    "slots": [Slim(x3), Slim(2.0)],
    "ordered": collections.OrderedDict(a=x3, b=2.0),
    "static": {"w": x3, "how": "sum", "n": 2, "none": None, "kind": np.float32},
    "deep": [[[[[[x3, 1.0]]]]]],
    "one-leaf": [x3],
}


def total(p: Any, x: Any) -> Any:
    leaves = [leaf for leaf in tree.flatten(p)[0] if not isinstance(leaf, int | str | None | type)]
    return sum(np.sum(leaf * leaf * (i + 1)) for i, leaf in enumerate(leaves)) * np.sum(x)


def same(a: Any, b: Any) -> None:
    (found, treedef), (wanted, other) = tree.flatten(a), tree.flatten(b)
    assert treedef == other
    for x, y in zip(found, wanted, strict=True):
        assert type(x) is type(y)
        if isinstance(x, np.ndarray | np.generic):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
        else:
            assert x == y


@pytest.mark.parametrize("case", TREES)
def test_results_are_those_of_the_walk(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    p = TREES[case]
    f = gradc.compile(total)
    first = f.value_and_grad(p, x3)
    front = f.value_and_grad.__closure__[0].cell_contents  # type: ignore[attr-defined]
    assert len(front.recent) == (case != "ordered")
    if front.recent:
        monkeypatch.setattr(front.__class__, "slow", None)
    same(f.value_and_grad(p, x3), first)
    again = tree.map(lambda leaf: leaf * 2 if isinstance(leaf, np.ndarray) else leaf, p)
    value, _ = f.value_and_grad(again, x3 * 2)
    np.testing.assert_allclose(value, total(again, x3 * 2), rtol=1e-14)


@pytest.mark.parametrize(
    "result",
    [
        lambda p: {"a": p["w"] + 1, "b": [p["b"], (p["w"],)]},
        lambda p: [p["b"], "static", None, 3],
        lambda p: Layer(p["w"] * 2, p["b"]),
        lambda p: Pair({"x": p["b"]}, ()),
        lambda p: ({}, [], "nothing"),
        lambda p: p["w"],
        lambda p: collections.OrderedDict(b=p["b"], a=p["w"]),
    ],
)
def test_trees_of_results(result: Any) -> None:
    f = gradc.compile(result)
    p: Any = {"w": x3, "b": np.float64(2.0)}
    f(p)
    for _ in range(2):
        same(f(p), result(p))


def test_no_call_is_mistaken_for_another() -> None:
    """Trees that are alike in all but one respect, called in turn."""
    traced = []

    def fn(p: Any, q: Any = None) -> Any:
        traced.append(1)
        return (
            str(tree.structure(p)),
            [x * 2 if isinstance(x, np.ndarray) else x for x in tree.flatten(p)[0]],
            q,
        )

    f = gradc.compile(fn)
    trees: list[Any] = [
        {"a": x3, "b": x3 + 1},
        {"b": x3, "a": x3 + 1},
        {"a": x3, "c": x3 + 1},
        {"a": x3},
        {"a": x3, "b": x3 + 1, "c": x3},
        collections.OrderedDict(a=x3, b=x3 + 1),
        collections.defaultdict(None, a=x3, b=x3 + 1),
        [x3, x3 + 1],
        (x3, x3 + 1),
        Pair(x3, x3 + 1),
        [x3, [x3 + 1]],
        [x3, x3 + 1, x3],
        [x3],
        x3,
        {"a": x3, "b": "x"},
        {"a": x3, "b": "y"},
        {"a": x3, "b": 1},
        {"a": x3, "b": True},
        {"a": x3, "b": None},
        Layer(x3, x3 + 1),
        Layer(x3, x3 + 1, "other"),
        [Slim(x3)],
    ]
    for _ in range(3):
        for p in trees:
            structure, leaves, q = f(p)
            wanted = fn(p)
            traced.pop()
            assert structure == wanted[0] and q is None
            same(leaves, wanted[1])
            assert f(p, 5)[2] == 5
            assert f(p, q=6)[2] == 6
    assert len(traced) == 3 * len(trees)


def test_arguments_that_do_not_fit_any_more() -> None:
    layer = Layer(x3, 2.0)
    f = gradc.compile(lambda p: np.sum(p.w) * p.b)
    assert f(layer) == 12 and f(layer) == 12
    layer.w = np.ones(4)
    assert f(layer) == 8
    layer.w = np.ones(8)[::2]  # another layout of the same type
    assert f(layer) == 8
    del layer.w
    with pytest.raises(AttributeError):
        f(layer)
    with pytest.raises(gradc.ArgumentError):
        f(layer, 1)


def test_errors_of_the_call_show_no_frames_of_ours() -> None:
    f = gradc.compile(lambda p: p["x"][p["i"]])
    assert f({"x": x3, "i": np.int64(1)}) == 2
    for _ in range(2):
        with pytest.raises(gradc.IndexOutOfBoundsError) as error:
            f({"x": x3, "i": np.int64(7)})
        assert [entry.path.name for entry in error.traceback] == ["test_direct.py"]  # type: ignore[union-attr]


def test_very_deep_results() -> None:
    def nested(x: Any) -> Any:
        y = x * 2
        for _ in range(120):
            y = [y]
        return y

    f = gradc.compile(nested)
    for _ in range(2):
        same(f(x3), nested(x3))
