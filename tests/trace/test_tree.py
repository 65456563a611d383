"""Trees come apart and together again, whatever they are made of."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pytest

from gradc.trace import tree

T = TypeVar("T")


class Layer(NamedTuple):
    W: Any
    b: Any


@dataclass
class Model:
    first: Any
    rest: Any = ()


@dataclass(frozen=True, slots=True)
class Frozen:
    x: Any
    y: Any = 2.0


@dataclass(kw_only=True)
class Demanding(Generic[T]):
    """Its constructor accepts arrays only, so it cannot rebuild a tree of anything else."""

    W: T
    n: int = field(init=False)

    def __post_init__(self):
        self.n = len(self.W)


Point = namedtuple("Point", "x y")

TREES = {
    "leaf": 1.0,
    "none": None,
    "string": "mean",
    "empty": {"a": (), "b": [], "c": {}},
    "nested": {"b": (1, [2.0, None]), "a": {"z": 3}},
    "array": [np.arange(3), np.float32(2)],
    "namedtuple": [Layer(1, Layer(2, 3)), Point(4, 5)],
    "dataclass": Model(1, [Model(2, None), Layer(3, Frozen(4))]),
    "slots": Frozen(Frozen(1.0), {"k": Frozen(None)}),
    "post_init": Demanding(W=[1.0, 2.0, 3.0]),
    "ordered": OrderedDict(b=1, a=2),
}


@pytest.mark.parametrize("name", TREES)
def test_round_trip(name):
    leaves, treedef = tree.flatten(TREES[name])
    again = tree.unflatten(treedef, leaves)
    assert repr(again) == repr(TREES[name])
    assert tree.structure(again) == treedef and hash(tree.structure(again)) == hash(treedef)
    assert len(tree.paths(TREES[name])) == len(leaves) == treedef.num_leaves


@pytest.mark.parametrize("name", TREES)
def test_paths_lead_to_the_leaves(name):
    root = TREES[name]
    for path, leaf in zip(tree.paths(root), tree.flatten(root)[0], strict=True):
        assert eval("root" + path, {"root": Attributes(root)}).value is leaf


class Attributes:
    """`x.key` for `x["key"]`, as in the paths."""

    def __init__(self, value):
        self.value = value

    def __getattr__(self, name):
        return Attributes(self.value[name] if isinstance(self.value, dict) else getattr(self.value, name))

    def __getitem__(self, key):
        return Attributes(self.value[key])


def test_paths_are_written_as_in_source():
    root = {"W1": 0, "odd key": 1, 3: [2, (3,)], "m": Model(Layer(4, 5), {"x": Frozen(6)})}
    assert tree.paths(root) == [
        ".W1",
        "['odd key']",
        "[3][0]",
        "[3][1][0]",
        ".m.first.W",
        ".m.first.b",
        ".m.rest.x.x",
        ".m.rest.x.y",
    ]
    assert tree.paths(1.0) == [""]
    assert tree.paths(tree.structure(root)) == tree.paths(root)


def test_none_is_a_leaf():
    assert tree.flatten((None, [None]))[0] == [None, None]


def test_dict_order_is_the_insertion_order_and_part_of_the_structure():
    ab, ba = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    assert tree.flatten(ba)[0] == [2, 1]
    assert list(tree.map(lambda x: x, ba)) == ["b", "a"]
    assert tree.structure(ab) != tree.structure(ba)
    assert tree.flatten({1: "int", "a": "str"})[0] == ["int", "str"]  # keys without an order among them


def test_dict_order_holds_in_other_threads():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(tree.flatten({"b": 1, "a": 2})[0]))
    thread.start()
    thread.join()
    assert seen == [[1, 2]]


def test_the_interpreter_ends_in_silence():
    code = "from gradc.trace import tree; keep = tree.structure({'b': 1, 'a': 2})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == ended.stderr == ""


def test_structure_knows_types_and_fields():
    @dataclass
    class Other:
        first: Any
        rest: Any = ()

    assert tree.structure(Model(1)) != tree.structure(Other(1))
    assert tree.structure(Layer(1, 2)) != tree.structure((1, 2)) != tree.structure([1, 2])
    assert tree.structure(Model(1)) == tree.structure(Model("x"))


def test_map_goes_by_key():
    assert tree.map(lambda x, y: x - y, {"a": 1, "b": 2}, {"b": 20, "a": 10}) == {"a": -9, "b": -18}


def test_map_of_several_trees_stops_at_the_leaves_of_the_first():
    assert tree.map(lambda x, y: (x, y), [1, None], [(2, 3), {"a": 4}]) == [(1, (2, 3)), (None, {"a": 4})]


@pytest.mark.parametrize("other", [(1, 2), [1], [1, 2, 3], {"a": 1}, None])
def test_map_refuses_another_structure(other):
    with pytest.raises(ValueError):
        tree.map(lambda x, y: x, [1, 2], other)


def test_unflatten_refuses_another_count():
    with pytest.raises(ValueError):
        tree.unflatten(tree.structure((1, 2)), [1])


def test_dataclass_is_rebuilt_without_init():
    model = Demanding(W=[1.0, 2.0])
    types = tree.map(type, model)
    assert types.W[1] is float
    assert types.n is int


def test_dataclass_field_without_a_value_stays_so():
    model = object.__new__(Demanding)
    model.W = 1.0
    again = tree.map(lambda x: x + 1, model)
    assert again.W == 2.0 and not hasattr(again, "n")
    assert tree.structure(model) != tree.structure(Demanding(W=(1.0,)))


def test_subclass_of_a_dataclass_is_itself():
    class Special(Model):
        pass

    assert type(tree.map(lambda x: x, Special(1))) is Special


def test_dataclass_that_is_an_array_is_a_leaf():
    @dataclass(init=False, eq=False)
    class Tagged(np.ndarray):
        tag: str = ""

    x = np.zeros(3).view(Tagged)
    assert tree.flatten([x])[0][0] is x


def test_leaf_type():
    @tree.leaf_type
    @dataclass(frozen=True)
    class Symbol:
        name: str

    assert tree.flatten((Symbol("x"), Frozen(Symbol("y"))))[0] == [Symbol("x"), Symbol("y"), 2.0]


def test_dataclass_class_is_a_leaf():
    assert tree.flatten([Model])[0] == [Model]


def test_many_threads_see_a_new_dataclass_at_once():
    for _ in range(20):

        @dataclass
        class New:
            x: Any
            y: Any = None

        start, results = threading.Barrier(4), []

        def look(start=start, New=New, results=results):
            start.wait()
            results.append(tree.flatten([New(1, New(2, 3))])[0])

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [[1, 2, 3]] * 4
