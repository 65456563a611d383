"""Indexing: random indices of every kind, read and written, as NumPy means them; traced and out of bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.ir import GradcError

SHAPES = [(5,), (3, 4), (2, 3, 4), (2, 1, 3, 2)]

Index = tuple[Any, ...]


def random_index(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Index, list[np.ndarray]]:
    """An index with places for integer arrays that are to be traced: a callable of these stands there."""
    items: list[Any] = []
    given: list[np.ndarray] = []
    common = [(), (2,), (3, 1), (1, 2)][rng.integers(4)]
    axis, dots = 0, rng.random() < 0.3
    while axis < len(shape):
        n = shape[axis]
        kind = rng.integers(10)
        if dots and rng.random() < 0.3:
            items.append(Ellipsis)
            dots = False
            axis += int(rng.integers(0, len(shape) - axis + 1))
        elif kind == 0:
            items.append(None)
        elif kind < 3:
            items.append(int(rng.integers(-n, n)))
        elif kind < 6:
            a, b = (int(k) for k in rng.integers(-n - 1, n + 2, 2))
            step = [None, 1, 2, -1, -2][rng.integers(5)]
            items.append(
                [slice(a, b, step), slice(None), slice(a, None), slice(None, b, step)][rng.integers(4)]
            )
        elif kind == 6:
            array = rng.integers(-n, n, common)
            items.append(
                [array, array.tolist(), array.astype(np.int8), array[..., None][..., 0]][rng.integers(4)]
            )
        elif kind == 7:
            given.append(rng.integers(-n, n, common))
            items.append(len(given) - 1 + 1000)
        elif kind == 8:
            mask = rng.random(n) < 0.6
            if common not in ((), (2,)) or mask.sum() not in (1, 2):
                continue
            items.append(mask if common == () or mask.sum() in (1, 2) else slice(None))
            if mask.sum() != 1 and common == ():
                items[-1] = slice(None)
        elif axis + 1 < len(shape) and not any(isinstance(i, np.ndarray | list) for i in items):
            mask = rng.random(shape[axis : axis + 2]) < 0.5
            if given or common != ():
                continue
            items.append(mask)
            axis += 1
        else:
            continue
        axis += items[-1] is not None and items[-1] is not Ellipsis
        if rng.random() < 0.15:
            break
    return tuple(items), given


def filled(index: Index, given: tuple[Any, ...]) -> Any:
    index = tuple([given[i - 1000] if type(i) is int and i >= 1000 else i for i in index])
    return index[0] if len(index) == 1 else index


def outcome(f: Callable[..., Any], *args: Any) -> Any:
    try:
        return f(*args)
    except (IndexError, ValueError) as error:
        return type(error).__mro__[-4:]


@pytest.mark.parametrize(
    "seed", [*range(60), *[pytest.param(k, marks=pytest.mark.long) for k in range(60, 160)]]
)
def test_random_index(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = SHAPES[rng.integers(len(SHAPES))]
    index, given = random_index(rng, shape)
    x = rng.standard_normal(shape)

    def read(x: Any, *given: Any) -> Any:
        return x[filled(index, given)]

    wanted = outcome(read, x, *given)
    found = outcome(gradc.compile(read), x, *given)
    shown = (shape, index, given)
    assert isinstance(wanted, np.ndarray | np.generic) == isinstance(found, np.ndarray | np.generic), (
        *shown, wanted, found,
    )  # fmt: skip
    if not isinstance(wanted, np.ndarray | np.generic):
        return
    np.testing.assert_array_equal(found, wanted, str(shown))
    assert found.dtype == wanted.dtype and type(found) is type(wanted[()]), shown
    weights = rng.standard_normal(wanted.shape)

    def loss(x: Any, *given: Any) -> Any:
        return np.sum(weights * read(x, *given) ** 2)

    slow = np.zeros(shape)
    np.add.at(slow, filled(index, tuple(given)), 2 * weights * wanted)
    np.testing.assert_allclose(gradc.grad(loss)(x, *given), slow, rtol=1e-13, atol=1e-15)

    def write(x: Any, v: Any, *given: Any) -> Any:
        x = x * 1
        x[filled(index, given)] = v
        x[filled(index, given)] *= 2
        return x

    values = rng.standard_normal(wanted.shape)
    for v in (values, values[..., :1] if values.ndim else values, np.float32(3), 2):
        np.testing.assert_array_equal(
            gradc.compile(write)(x, v, *given), write(x, v, *given), str((*shown, np.shape(v)))
        )


def test_bools_as_indices() -> None:
    x = np.arange(6.0).reshape(2, 3)
    for index in (True, False, np.True_, (True, 1), (1, True), (..., False), ([True, False], 1)):

        def f(x: Any, index: Any = index) -> Any:
            y = x * 1
            y[index] = 5
            return x[index], y

        for found, wanted in zip(gradc.compile(lambda x, f=f: f(x))(x), f(x), strict=True):
            np.testing.assert_array_equal(found, wanted, str(index))


BAD: list[tuple[Any, type[Exception]]] = [
    (7, IndexError),
    ((0, 0, 0), IndexError),
    ((slice(None), -5), IndexError),
    ([0, 5], IndexError),
    (1.5, IndexError),
    ("a", IndexError),
    (np.array([0.5]), IndexError),
    ((..., ...), IndexError),
    (np.ones(3, bool), IndexError),
    (np.ones((2, 2), bool), IndexError),
    (([0, 1], [0, 1, 2]), IndexError),
    (slice(0, 2, 0), ValueError),
]


@pytest.mark.parametrize("index,kind", BAD, ids=lambda x: str(x).replace("\n", ""))
def test_bad_index(index: Any, kind: type[Exception]) -> None:
    x = np.arange(8.0).reshape(2, 4)
    with pytest.raises(kind):
        x[index]
    with pytest.raises(kind) as caught:
        gradc.compile(lambda x: x[index])(x)
    assert isinstance(caught.value, GradcError) and caught.value.source is not None

    def write(x: Any) -> Any:
        y = x * 1
        y[index] = 0
        return y

    with pytest.raises(kind):
        gradc.compile(write)(x)


@pytest.mark.parametrize("bad", [4, -5, 2**40, -(2**63)])
def test_traced_index_out_of_bounds(bad: int) -> None:
    def read(x: Any, i: Any) -> Any:
        return x[i].sum()

    def rows(x: Any, i: Any) -> Any:
        return x[np.array([0, 1]), i].sum()

    def write(x: Any, i: Any) -> Any:
        y = x * 1
        y[i] = 0
        return y.sum()

    def add(x: Any, i: Any) -> Any:
        y = x * 1
        np.add.at(y, i, 1.0)
        return y.sum()

    def taken(x: Any, i: Any) -> Any:
        return np.take(x, i).sum()

    x = np.arange(8.0).reshape(4, 2)
    for f in (read, write, add):
        compiled = gradc.compile(f)
        assert compiled(x, np.array([-4, 3])) == f(x, np.array([-4, 3]))
        for call in (compiled, compiled.value_and_grad):
            with pytest.raises(IndexError) as caught:
                call(x, np.array([0, bad]))
            assert isinstance(caught.value, GradcError)
            assert caught.value.source is not None and caught.value.source.file == __file__
    for f, i in ((rows, bad if abs(bad) > 4 else 2), (taken, 2 * bad)):
        if abs(i) < 2**62:
            with pytest.raises(IndexError):
                gradc.compile(f)(x, np.array([0, i]))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_index_dtypes(dtype: Any) -> None:
    x = np.arange(200.0)
    i = np.array([0, 127, 5], dtype)
    assert (gradc.compile(lambda x, i: x[i])(x, i) == x[i]).all()
    with pytest.raises(IndexError):
        gradc.compile(lambda x, i: x[:100][i])(x, i)


def test_constant_tables_indexed_by_traced_values() -> None:
    table, rows = np.arange(30.0).reshape(10, 3), [[1.0, 2.0], [3.0, 4.0]]

    def f(i: Any, x: Any) -> Any:
        return table[i] * x, np.eye(10)[i], np.array(rows)[i % 2], np.arange(10)[i] * x, (i * 2)[::-1]

    i, x = np.array([3, -1, 0]), np.arange(3.0)
    for found, wanted in zip(gradc.compile(f)(i, x), f(i, x), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_slices_of_an_index_of_nothing() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    read = gradc.compile(lambda x: x[1, None, :0, np.array([2, 0])])
    assert read(x).shape == (2, 1, 0)
    assert gradc.compile(lambda x: np.exp(x[1, :0]).ravel() + 1)(x).shape == (0,)
