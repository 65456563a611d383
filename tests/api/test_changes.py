"""Functions that change their arguments: called plainly as NumPy does, under gradients not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradc
from gradc.ir.errors import ArgumentError, GradcError


@dataclass
class State:
    position: Any
    steps: int = 0


class Pair(NamedTuple):
    a: Any
    b: Any


def x4() -> np.ndarray:
    return np.array([0.5, -1.0, 2.0, 0.25])


def elements(x: Any) -> Any:
    x[0] = 7
    x[1:3] += x[0]
    return x.sum()


def through_a_view(x: Any) -> Any:
    v = x[1:]
    v *= 2
    w = v[::-1]
    w[0] = v[1]
    return (x**2).sum()


def nothing_returned(x: Any) -> None:
    x[::2] = 0


def returned_itself(x: Any) -> Any:
    x -= 1
    return x, x


def two_arrays(x: Any, y: Any) -> Any:
    x[:], y[:] = y * 1, x * 1
    return (x * y).sum()


def with_out(x: Any, y: Any) -> Any:
    np.multiply(x, 3, out=y)
    np.exp(x, out=x, where=x > 0)
    return y.sum()


def masked(x: Any) -> Any:
    x[x < 0] = 0
    return x.sum()


def scattered(x: Any) -> Any:
    np.add.at(x, [0, 0, 2], 1.0)
    x[np.array([3, 1])] = x[:2]
    return x.sum()


def sorted_in_place(x: Any) -> Any:
    x.sort()
    return x[-1]


def rows(x: Any) -> Any:
    for row in x.reshape(2, 2):
        row /= np.abs(row).sum()
    return x.sum()


def matrices(x: Any) -> Any:
    m = x.reshape(2, 2)
    m[0] += m[1]
    np.fill_diagonal(m, 5.0)
    return m.T


def in_a_list(xs: Any) -> Any:
    xs[0][...] = 1
    xs[1], xs[0] = xs[0], xs[1]
    xs.append(xs[0] * 2)
    return len(xs)


def in_a_dict(p: Any) -> Any:
    p["w"] -= 0.1 * p["w"]
    p["b"] = p["w"] + 1
    p["layers"] = [*p["layers"], p["b"][:1]]
    p["layers"][0][:] = 3
    return p


def popped(p: Any) -> Any:
    w = p.pop("w")
    p.setdefault("seen", []).append(w[0])
    return w.sum()


def in_a_dataclass(s: Any) -> Any:
    s.position += 1
    s.position = s.position * 2
    s.position[0] = 0
    s.steps += 1
    return s.position.sum()


def in_a_tuple(pair: Any) -> Any:
    pair.a[...] = pair.b[0]
    pair.b[0] = pair.a[1]
    return pair


def by_a_helper(x: Any) -> Any:
    def normalize(v: Any) -> None:
        v -= v.mean()

    normalize(x)
    normalize(x[:2])
    return x.max()


def counted(x: Any, n: int) -> Any:
    for _ in range(n):
        x *= 0.5
    return x[0]


def zero_d(x: Any) -> Any:
    x[...] = 3.0
    return x * 2


CASES: dict[str, tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]] = {
    f.__name__: (f, make)
    for f, make in [
        (elements, lambda: (x4(),)),
        (through_a_view, lambda: (x4(),)),
        (nothing_returned, lambda: (x4(),)),
        (returned_itself, lambda: (x4(),)),
        (two_arrays, lambda: (x4(), x4()[::-1].copy())),
        (with_out, lambda: (x4(), np.zeros(4))),
        (masked, lambda: (x4(),)),
        (scattered, lambda: (x4(),)),
        (sorted_in_place, lambda: (x4(),)),
        (rows, lambda: (x4(),)),
        (matrices, lambda: (x4(),)),
        (in_a_list, lambda: ([x4(), x4() * 2],)),
        (in_a_dict, lambda: ({"w": x4(), "b": np.zeros(4), "layers": [np.ones(2)]},)),
        (popped, lambda: ({"w": x4(), "b": np.ones(1)},)),
        (in_a_dataclass, lambda: (State(x4()),)),
        (in_a_tuple, lambda: (Pair(x4(), np.ones(2)),)),
        (by_a_helper, lambda: (x4(),)),
        (counted, lambda: (x4(), 3)),
        (zero_d, lambda: (np.array(1.0),)),
    ]
}


def assert_same(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted), (found, wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        found, wanted = list(found.values()), list(wanted.values())
    if isinstance(wanted, State):
        found, wanted = [found.position, found.steps], [wanted.position, wanted.steps]
    if isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for x, y in zip(found, wanted, strict=True):
            assert_same(x, y)
    elif wanted is not None:
        np.testing.assert_allclose(found, wanted, rtol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_plain_call(name: str) -> None:
    f, make = CASES[name]
    compiled = gradc.compile(f)
    for _ in range(2):  # the second one by what the first one made
        wanted_args, found_args = make(), make()
        wanted, found = f(*wanted_args), compiled(*found_args)
        assert_same(found, wanted)
        assert_same(found_args, wanted_args)


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("nothing_returned", "in_a_list")])
def test_gradient_leaves_the_arguments(name: str) -> None:
    f, make = CASES[name]

    def loss(*args: Any) -> Any:
        leaves: list[Any] = []

        def visit(x: Any) -> None:
            if isinstance(x, dict):
                x = list(x.values())
            if isinstance(x, list | tuple):
                for y in x:
                    visit(y)
            elif not isinstance(x, int):
                leaves.append(np.sum(x * x))

        visit(f(*args))
        return sum(leaves, 0.0)

    args, before = make(), make()
    wanted = loss(*make())
    value, gradient = gradc.value_and_grad(loss)(*args)
    np.testing.assert_allclose(value, wanted, rtol=1e-13)
    assert_same(args, before)
    gradc.grad(loss)(*args)
    gradc.jvp(loss, args, make())
    gradc.vjp(loss, *args)
    assert_same(args, before)
    assert_same(gradient, gradc.grad(loss)(*args))


@pytest.mark.parametrize("name", ["elements", "through_a_view", "masked", "scattered", "rows", "by_a_helper"])
def test_gradient_is_that_of_the_meaning(name: str) -> None:
    f, make = CASES[name]
    gradc.check_grad(f, *make())
    gradc.check_grad(lambda x: (f(x * 1) * x).sum() if name != "rows" else (x * f(x)).sum(), *make())


def test_layouts() -> None:
    compiled = gradc.compile(elements)
    for make in (
        lambda: np.asarray(np.arange(8.0)[::2]),
        lambda: np.arange(4.0)[::-1],
        lambda: np.arange(4.0).astype(">f8"),
        lambda: np.arange(4, dtype=np.int32),
        lambda: np.frombuffer(bytearray(33), np.uint8)[1:33].view(np.float64),  # not aligned
    ):
        x, y = make(), make()
        assert elements(x) == compiled(y)
        np.testing.assert_array_equal(x, y)


def test_identity_in_containers() -> None:
    """What NumPy only moves around stays the very object."""
    xs = [x4(), x4()]
    first, second = xs
    gradc.compile(in_a_list)(xs)
    assert xs[0] is second and xs[1] is first
    p = {"w": x4(), "b": np.zeros(4), "layers": [np.ones(2)]}
    w, layer = p["w"], p["layers"][0]
    result = gradc.compile(in_a_dict)(p)
    assert p["w"] is w and p["layers"][0] is layer
    assert not np.shares_memory(result["w"], w)


def test_nothing_happens_if_the_call_fails() -> None:
    @gradc.compile
    def f(x: Any, i: Any) -> Any:
        x[:] = 0
        return x[i]

    x = x4()
    with pytest.raises(IndexError):
        f(x, np.int64(9))
    np.testing.assert_array_equal(x, x4())


@pytest.mark.parametrize(
    "make,words",
    [
        (lambda: (np.broadcast_to(1.0, 4), np.ones(4)), "read-only"),
        (lambda: (np.float64(1.0), np.ones(4)), "np.array(x)"),
        (lambda: ((x := x4()), x), "shares memory with y"),
        (lambda: (np.lib.stride_tricks.as_strided(x4(), (3, 3), (8, 8)), np.ones(3)), "with each other"),
        (lambda: (x4().reshape(2, 2).T, np.ones(2)), "np.ascontiguousarray(x)"),
    ],
)
def test_arrays_that_cannot_be_written(make: Callable[[], tuple[Any, ...]], words: str) -> None:
    @gradc.compile
    def f(x: Any, y: Any) -> Any:
        x.reshape(-1)[...] = 0
        return (x * y).sum()

    args = make()
    before = [np.array(a) for a in args]
    with pytest.raises(ArgumentError) as caught:
        f(*args)
    assert words in str(caught.value), caught.value
    for a, b in zip(args, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_interleaved_arrays_do_not_overlap() -> None:
    @gradc.compile
    def f(x: Any, y: Any) -> Any:
        x += y
        return x.sum()

    z = np.arange(6.0)
    f(z[::2], z[1::2])
    np.testing.assert_array_equal(z, [1, 1, 5, 3, 9, 5])


def test_in_a_trace() -> None:
    """Called in a trace, a compiled function writes into the arrays that it is given there."""
    inner = gradc.compile(elements)

    @gradc.compile
    def f(x: Any) -> Any:
        y = x * 2
        s = inner(y)
        t = gradc.grad(inner)(y)
        return s, y, t

    def plain(x: Any) -> Any:
        y = x * 2
        return elements(y), y

    s, y, t = f(x4())
    assert_same((s, y), plain(x4()))
    np.testing.assert_array_equal(t, [0, 1, 1, 1])


@pytest.mark.parametrize("who", ["cond", "vmap", "checkpoint", "custom_gradient"])
def test_refused(who: str) -> None:
    def write(x: Any) -> Any:
        x[0] = 1.0
        return x

    def f(x: Any) -> Any:
        if who == "cond":
            return gradc.cond(x[0, 0] > 0, write, lambda x: x, x)
        if who == "vmap":
            return gradc.vmap(write)(x)
        if who == "checkpoint":
            return gradc.checkpoint(write)(x)
        return gradc.custom_gradient(lambda x: (write(x), lambda g: g))(x)

    with pytest.raises(GradcError, match=r"x.copy\(\)|y = x"):
        gradc.compile(f)(np.ones((2, 2)))


def test_lowered() -> None:
    lowered = gradc.compile(nothing_returned).lower(x4())
    x = x4()
    assert lowered.run(x) is None and x[0] == x[2] == 0
    assert "return" in lowered.dump("traced") and "where" in lowered.dump("traced")
    with pytest.raises(ArgumentError):
        lowered.run(x, out=())


def test_from_many_threads() -> None:
    compiled = gradc.compile(elements)
    arrays = [x4() + k for k in range(8)]
    threads = [threading.Thread(target=lambda a=a: [compiled(a) for _ in range(200)]) for a in arrays]
    wanted = [x4() + k for k in range(8)]
    for x in wanted:
        for _ in range(200):
            elements(x)
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for x, y in zip(arrays, wanted, strict=True):
        np.testing.assert_array_equal(x, y)
