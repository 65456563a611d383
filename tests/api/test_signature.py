"""When two calls are the same: which leaves are traced, which are static, and how these are compared."""

from __future__ import annotations

import array
import enum
import gc
import warnings
import weakref
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.trace import tree

F32, F64 = np.float32, np.float64
x3 = np.array([1.0, 2.0, 3.0])


class Colour(enum.Enum):
    RED = 1


def traces(*calls: tuple[Any, ...]) -> int:
    """How often a function is traced for these calls."""
    seen: list[int] = []

    def fn(*args: Any) -> Any:
        seen.append(1)
        return args

    f = gradc.compile(fn)
    for args in calls:
        f(*args)
    return len(seen)


SAME: dict[str, tuple[Any, Any]] = {
    "other-numbers": (np.ones(3), np.zeros(3)),
    "other-strides": (np.ones((2, 3)), np.ones((3, 2)).T),
    "other-float": (1.0, 2.5),
    "array-and-scalar": (np.array(1.0), F64(1.0)),
    "long-and-long-long": (np.ones(3, "l"), np.ones(3, "q")),
    "equal-string": ("sum", "".join(["s", "um"])),
    "equal-int": (1000, int("1000")),
    "equal-dtype": (np.dtype("f4"), np.dtype(np.float32)),
    "same-function": (np.sin, np.sin),
    "enum": (Colour.RED, Colour(1)),
    "frozenset": (frozenset({1, 2}), frozenset({2, 1})),
}

DIFFERENT: dict[str, tuple[Any, Any]] = {
    "shape": (np.ones(3), np.ones(4)),
    "rank": (np.ones(3), np.ones((3, 1))),
    "dtype": (np.ones(3), np.ones(3, F32)),
    "signedness": (np.ones(3, np.int64), np.ones(3, np.uint64)),
    "weak-and-strong": (1.0, F64(1.0)),
    "int-and-bool": (1, True),
    "int-and-float": (1, 1.0),
    "bool-and-float": (True, 1.0),
    "int": (1, 2),
    "none-and-zero": (None, 0),
    "string-and-bytes": ("a", b"a"),
    "list-and-tuple": ([1.0], (1.0,)),
    "dict-keys": ({"a": 1.0}, {"b": 1.0}),
    "dict-order": ({"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0}),
    "functions": (np.sin, np.cos),
    "complex-zeros": (complex(0.0, 0.0), complex(0.0, -0.0)),
}


@pytest.mark.parametrize("case", SAME)
def test_traced_once(case: str) -> None:
    a, b = SAME[case]
    assert traces((a,), (b,), (a,)) == 1


@pytest.mark.parametrize("case", DIFFERENT)
def test_traced_for_each(case: str) -> None:
    a, b = DIFFERENT[case]
    assert traces((a,), (b,), (a,), (b,)) == 2


def test_defaults_and_keywords_make_no_difference() -> None:
    seen = []

    def fn(x: Any, k: Any = 2.0, *, how: str = "sum") -> Any:
        seen.append(1)
        return np.sum(x) * k

    f = gradc.compile(fn)
    for result in (f(x3), f(x3, 2.0), f(x=x3), f(k=2.0, x=x3), f(x3, how="sum"), f(x3, 2.0, how="sum")):
        assert result == 12.0
    assert f(x3, 3.0) == 18.0 and len(seen) == 1
    assert f(x3, how="mean") == 12.0 and len(seen) == 2


SIGNATURES = {
    "regular": lambda a, b, c=3, *, d=4, e: (a, b, c, d, e),
    "positional-only": lambda a, b=2, /, c=3: (a, b, c),
    "variadic": lambda a, *rest, k=1, **options: (a, rest, k, options),
    "nothing": lambda: (),
}
CALLS = [
    ((), {}),
    ((1,), {}),
    ((1, 2), {}),
    ((1, 2), {"e": 5}),
    ((1,), {"b": 2, "e": 5}),
    ((), {"e": 5, "b": 2, "a": 1, "d": 7}),
    ((1, 2, 3), {"c": 4, "e": 1}),
    ((1, 2, 3, 4), {"e": 5}),
    ((1,), {"a": 1}),
    ((1, 2), {"nope": 3}),
    ((1, 2), {"k": 3, "x": 4, "b": 5}),
    ((1,), {"c": 9}),
]


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize("number", range(len(CALLS)))
def test_binding_is_pythons(name: str, number: int) -> None:
    fn, (args, kwargs) = SIGNATURES[name], CALLS[number]
    try:
        expected = fn(*args, **kwargs)
    except TypeError:
        with pytest.raises(gradc.ArgumentError, match="lambda"):
            gradc.compile(fn)(*args, **kwargs)
        return
    assert gradc.compile(fn)(*args, **kwargs) == expected


def test_a_float_whose_value_is_needed_becomes_static() -> None:
    seen = []

    def fn(x: Any, lam: float, scale: float) -> Any:
        seen.append(1)
        return np.sum(x * lam) * scale if lam > 0 else np.sum(x) * scale

    f = gradc.compile(fn)
    assert f(x3, 2.0, 1.0) == 12.0
    first = len(seen)
    assert f(x3, 2.0, 10.0) == 120.0  # scale is traced still
    assert len(seen) == first
    assert f(x3, -1.0, 1.0) == 6.0
    assert f(x3, 3.0, 1.0) == 18.0
    assert len(seen) == first + 2
    assert list(f.grad(x3, 2.0, 1.0)) == [2.0, 2.0, 2.0]
    assert len(seen) == first + 2


def test_static_floats_compare_by_their_bits() -> None:
    f = gradc.compile(lambda x, s: x * (np.copysign(1.0, float(s))))
    assert f(x3, 0.0)[0] == 1.0 and f(x3, -0.0)[0] == -1.0
    g = gradc.compile(lambda x, s: x if s == s else -x)
    for _ in range(3):
        assert g(x3, float("nan"))[0] == -1.0
    assert len(g._function.table) == 1


def test_many_values_of_a_static_leaf_are_worth_one_warning() -> None:
    f = gradc.compile(lambda x, options: x + options["step"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(40):
            f(x3, {"step": step})
    (warning,) = caught
    assert "options.step" in str(warning.message) and warning.filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        g = gradc.compile(lambda x, n: x + n)
        for n in range(40):
            g(x3, float(n))
            g(np.ones(n), 1)


def test_static_objects_are_not_kept_alive() -> None:
    class Config:
        k = 2.0

    f = gradc.compile(lambda x, config: x * config.k)
    config = Config()
    gone = weakref.ref(config)
    assert f(x3, config)[0] == 2.0 and f(x3, config)[1] == 4.0
    assert len(f._function.table) == 1
    del config
    gc.collect()
    assert gone() is None and not f._function.table


def test_a_tree_of_one_leaf_is_no_leaf() -> None:
    f = gradc.compile(lambda x: x[0] * 2)
    for _ in range(3):
        assert list(f([x3])) == [2.0, 4.0, 6.0]
        assert f(x3) == 2.0
        assert list(f({0: x3})) == [2.0, 4.0, 6.0]


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_subclasses_are_refused_after_arrays_too() -> None:
    f = gradc.compile(lambda x: x * x)
    for shape in ((1, 1), (2, 2)):
        f(np.ones(shape))
        for wrong in (
            np.ones(shape).view(np.matrix),
            np.ma.masked_array(np.ones(shape), np.ones(shape, bool)),
        ):
            with pytest.raises(gradc.ArgumentError, match=r"np\.asarray"):
                f(wrong)


def test_leaf_names() -> None:
    f = gradc.compile(lambda p, *rest, **options: (p, rest, options))
    text = f.dump({"W": x3, "odd key": [x3]}, x3, x3, scale=1.0, stage="traced")
    head = text.splitlines()[0]
    for name in ("p.W: f64[3]", "p.odd_key[0]: f64[3]", "rest[0]: f64[3]", "rest[1]: f64[3]", "scale: f64[]"):
        assert name in head


class Mine(np.ndarray):
    """A subclass of the user's."""


class NoArray:
    """Pretends to be an array, but has none to give."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("asked for an array")


class Unhashable(NoArray):
    __hash__ = None  # type: ignore[assignment]


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize(
    ("leaf", "what"),
    [
        (NoArray(), "NoArray, which is no NumPy array"),
        (Unhashable(), "Unhashable, which is no NumPy array"),
        (np.ones(3).view(Mine), "Mine, whose operations"),
        (array.array("d", [1.0]), "array.array"),
        (np.timedelta64(3), "timedelta64"),
        (np.zeros(2, [("a", "f8")]), r"\('a', '<f8'\)"),
        (np.ones(3, complex), "complex128"),
        (np.array([1, "a"], object), "object"),
        (np.array(["a"]), "<U1"),
        (np.ones(3, np.float16), "float16"),
        (np.ones(3, np.longdouble), "float"),
        (np.array(["2020-01-01"], "M8[D]"), "datetime64"),
        (np.complex64(1), "complex64"),
        (np.ones((1, 1)).view(np.matrix), "matrix"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), "Masked"),
        ({1, 2}, "set"),
        (bytearray(b"a"), "bytearray"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_leaves_that_cannot_be(leaf: Any, what: str) -> None:
    f = gradc.compile(lambda x, p: x)
    f(x3, 1.0)
    with pytest.raises(gradc.ArgumentError, match=what) as caught:
        f(x3, {"inner": leaf})
    assert "p.inner" in str(caught.value) and caught.value.source is not None
    assert caught.value.source.file == __file__
    assert [entry.path.name for entry in caught.traceback] == ["test_signature.py"]  # type: ignore[union-attr]
    f(x3, 1.0)


def test_a_list_in_place_of_an_array_is_another_signature() -> None:
    f = gradc.compile(lambda p: np.sum(np.asarray(p["w"]) * 2.0))
    for w in (x3, [1.0, 2.0, 3.0], [[1.0, 2.0], [3.0, 4.0]], 4.0, x3, [x3, x3]):
        for _ in range(2):
            assert f({"w": w}) == np.sum(np.asarray(w) * 2.0)
            assert tree.structure(f.grad({"w": w})["w"]) == tree.structure(w)


def test_integers_of_any_size_are_static() -> None:
    f = gradc.compile(lambda x, n: x * float(n))
    for n in (2**63 - 1, 2**63, -(2**70), 0):
        assert f(2.0, n) == f(2.0, n) == 2.0 * float(n)
