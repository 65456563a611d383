"""Calls that go natively: arguments in every form, the results of the walk, no call mistaken for another."""

from __future__ import annotations

import collections
import inspect
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
def test_results_are_those_of_the_walk(case: str) -> None:
    p = TREES[case]
    f = gradc.compile(total)
    first = f.value_and_grad(p, x3)
    front: Any = f.value_and_grad.__self__  # type: ignore[attr-defined]
    assert len(front[0]) == (case != "ordered")
    if front[0]:
        front[1] = None  # a call that no plan takes would fail
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


def plain(w: Any, b: Any = 0.5, *, x: Any = 1.5, how: str = "sum") -> Any:
    return w * x + b if how == "sum" else w


def only_by_position(w: Any, b: Any = 2.0, /, **more: Any) -> Any:
    return w * b + sum(more.values())


def any_number(first: Any, *rest: Any, scale: Any = 2.0) -> Any:
    return (first + sum(np.sum(r) for r in rest)) * scale


def default_tree(x: Any, p: Any = {"a": x3, "b": (2.0, None)}) -> Any:  # noqa: B006
    return np.sum(p["a"] * x) * p["b"][0]


class Plain:
    k = 2.0

    @gradc.compile
    def loss(self, w: Any, b: Any = 1.0) -> Any:
        return w * b * self.k


@dataclass
class Tree:
    k: Any

    @gradc.compile
    def loss(self, w: Any, b: Any = 1.0) -> Any:
        return w * b * self.k


def named_by(kind: Any, x: Any, dtype: Any = np.float32) -> Any:
    return kind(x).astype(dtype)


FORMS: dict[str, tuple[Any, list[tuple[tuple[Any, ...], dict[str, Any]]]]] = {
    "defaults-and-names": (
        plain,
        [
            ((1.0,), {}),
            ((1.0, 2.0), {}),
            ((1.0,), {"b": 2.0}),
            ((), {"b": 2.0, "w": 1.0}),
            ((), {"x": 4.0, "w": 1.0}),
            ((3.0,), {"how": "sum", "x": 0.25}),
        ],
    ),
    "by-position-only": (
        only_by_position,
        [((1.0,), {}), ((1.0, 3.0), {}), ((1.0,), {"c": 4.0}), ((1.0, 0.5), {"w": 4.0, "b": 5.0})],
    ),
    "star": (any_number, [((1.0,), {}), ((1.0, 2.0, x3), {}), ((1.0, 2.0), {"scale": 3.0})]),
    "default-tree": (default_tree, [((2.0,), {}), ((2.0, {"a": x3, "b": (1.5, None)}), {})]),
    "functions-and-dtypes": (named_by, [((np.tanh, x3), {}), ((np.sinh, x3, np.dtype("f4")), {})]),
    "method": (Plain().loss, [((1.5,), {}), ((1.5, x3), {}), ((), {"w": x3})]),
    "method-of-a-tree": (Tree(2.5).loss, [((1.5,), {}), ((1.5, x3), {}), ((), {"w": x3})]),
}


@pytest.mark.parametrize("case", FORMS)
def test_arguments_in_every_form(case: str) -> None:
    """After one call each, in any order, none of them asks the table."""
    fn, calls = FORMS[case]
    f = fn if case.startswith("method") else gradc.compile(fn)
    compiled = getattr(f, "__func__", f)
    original = f.__gradc_original__
    expected = [original(*args, **named) for args, named in calls]
    for args, named in calls:
        f(*args, **named)
    front: Any = compiled._value.__self__
    front[1] = None  # a call that no plan takes would fail
    for _ in range(2):
        for (args, named), wanted in zip(calls, expected, strict=True):
            np.testing.assert_allclose(f(*args, **named), wanted, rtol=1e-15)
    for args, named in calls:  # names that were not interned
        spelt = {"".join(list(name)): value for name, value in named.items()}
        f(*args, **spelt)


def test_other_orders_of_options_are_other_signatures() -> None:
    f = gradc.compile(lambda **options: list(options.items()))
    for _ in range(2):
        assert f(a=1.0, b=2.0) == [("a", 1.0), ("b", 2.0)]
        assert f(b=2.0, a=1.0) == [("b", 2.0), ("a", 1.0)]


def test_wrong_calls_after_right_ones() -> None:
    """Missing, doubled and misspelt arguments: Python's words, at the line of the call."""
    f = gradc.compile(plain)
    assert f(1.0, b=2.0) == 3.5
    wrong: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((), {}, "missing a required argument: 'w'"),
        ((1.0, 2.0, 3.0), {}, "too many positional arguments"),
        ((1.0,), {"w": 2.0}, "multiple values for argument 'w'"),
        ((1.0,), {"hwo": "sum"}, "unexpected keyword argument 'hwo'"),
    ]
    for args, named, words in wrong:
        for call in (f, f.value_and_grad, f.grad):
            with pytest.raises(TypeError, match=words) as caught:
                call(*args, **named)
            assert caught.value.source.file == __file__  # type: ignore[attr-defined]
    assert f(1.0, b=2.0) == 3.5


@pytest.mark.filterwarnings("ignore:<lambda> was compiled")
def test_static_objects_are_told_apart() -> None:
    """By identity, not by address: an object made where another one died has a signature of its own."""

    class Option:
        def __init__(self, k: float) -> None:
            self.k = k

    f = gradc.compile(lambda x, option: x * option.k)
    for k in range(40):
        option = Option(float(k))
        for _ in range(2):
            assert f(1.0, option) == k
        del option


def test_values_that_change_behind_their_identity_are_seen() -> None:
    class Option:
        def __init__(self, k: float) -> None:
            self.k = k

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Option) and other.k == self.k

        def __hash__(self) -> int:
            return hash(self.k)

    f, option = gradc.compile(lambda x, option: x * option.k), Option(2.0)
    assert f(3.0, option) == f(3.0, option) == 6.0
    option.k = 5.0
    assert f(3.0, option) == 15.0


def test_without_a_native_routine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same calls by Python alone, where the routine is of no use."""
    from gradc.runtime import entry

    monkeypatch.setattr(entry, "native_routine", lambda: None)
    for case, (fn, calls) in FORMS.items():
        if not case.startswith("method"):
            f = gradc.compile(fn)
            for args, named in calls * 2:
                np.testing.assert_allclose(f(*args, **named), fn(*args, **named), rtol=1e-15)
    f = gradc.compile(total)
    assert "slow" in repr(f.value_and_grad)
    for case in ("dict", "named", "dataclass", "ordered"):
        value, gradient = f.value_and_grad(TREES[case], x3)
        same(tree.structure(gradient), tree.structure(TREES[case]))
        np.testing.assert_allclose(value, total(TREES[case], x3))
    with pytest.raises(TypeError):
        f(1.0, 2.0, 3.0)


def test_native_functions_have_names_and_documents() -> None:
    f = gradc.compile(plain)
    for name in ("value_and_grad", "grad"):
        call = getattr(f, name)
        assert call.__name__ == name and "gradient" in call.__doc__
        assert str(inspect.signature(call)) == "(*args, **kwargs)"
        assert getattr(f, name) is call


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
        assert [entry.path.name for entry in error.traceback] == ["test_forms.py"]  # type: ignore[union-attr]


def test_very_deep_results() -> None:
    def nested(x: Any) -> Any:
        y = x * 2
        for _ in range(120):
            y = [y]
        return y

    f = gradc.compile(nested)
    for _ in range(2):
        same(f(x3), nested(x3))
