"""References, threads, pickles and methods: what lives how long, and who may call it."""

from __future__ import annotations

import copy
import ctypes
import gc
import pickle
import resource
import sys
import threading
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.trace import tree

x3 = np.array([1.0, 2.0, 3.0])


@gradc.compile(wrt="w")
def named(x: Any, w: Any) -> Any:
    return np.sum(x * w)


def undecorated(x: Any) -> Any:
    return np.sum(x * x)


compiled_beside = gradc.compile(undecorated, wrt=0)


class Model:
    def __init__(self, k: float) -> None:
        self.k = k

    @gradc.compile
    def loss(self, w: Any, x: Any = 1.0) -> Any:
        return np.sum(w * x) * self.k

    @gradc.compile(wrt="x")
    def by_name(self, w: Any, x: Any) -> Any:
        return np.sum(w * x) * self.k

    @staticmethod
    @gradc.compile
    def square(w: Any) -> Any:
        return np.sum(w * w)

    def plain(self, w: Any) -> Any:
        return np.sum(w) * self.k


@dataclass
class Linear:
    W: Any
    name: str = "linear"

    @gradc.compile
    def loss(self, x: Any) -> Any:
        return np.sum(self.W * x)

    @gradc.compile
    def bare(self) -> Any:
        return np.sum(self.W)


def test_methods() -> None:
    model = Model(2.0)
    assert model.loss(x3) == 12.0
    assert list(model.loss.grad(x3)) == [2, 2, 2]
    assert model.loss.value_and_grad(x3, x=3.0)[0] == 36.0
    assert list(model.by_name.grad(x3, x3)) == [2, 4, 6]
    assert Model(3.0).loss(x3) == 18.0
    assert model.loss(x3) == 12.0
    assert Model.loss(model, x3) == 12.0
    assert list(Model.loss.grad(model, x3)) == [2, 2, 2]
    assert Model.square(x3) == 14.0 and list(model.square.grad(x3)) == [2, 4, 6]
    assert "w: f64[3]" in model.loss.dump(x3, stage="traced")
    assert model.loss.lower(x3).of == "value_and_grad"
    assert model.loss.edges(x3)[0].name == "w"
    assert list(gradc.grad(model.loss)(x3)) == [2, 2, 2]
    assert list(gradc.grad(model.plain)(x3)) == [2, 2, 2]
    assert gradc.compile(model.plain)(x3) == 12.0
    with pytest.raises(gradc.ArgumentError, match="wrt='self'"):
        gradc.compile(Model.plain, wrt="self")._method().grad(model, x3)


def test_self_that_is_a_tree_is_traced() -> None:
    layer = Linear(x3)
    assert layer.loss(x3) == 14.0
    layer.W = np.array([1.0, 1.0, 1.0])
    assert layer.loss(x3) == 6.0  # no attribute is frozen into the code
    assert list(layer.loss.grad(x3)) == [1, 1, 1]
    assert layer.bare() == 3.0
    assert len(Linear.__dict__["loss"]._function.table) == 1


def test_a_function_put_into_a_class_stays_a_function_elsewhere() -> None:
    f = gradc.compile(lambda a, b: np.sum(a) + 2 * np.sum(b))

    class Holder:
        method = f

    assert list(f.grad(x3, x3)) == [1, 1, 1]
    with pytest.raises(TypeError):
        Holder().method.grad(x3)  # `self` is summed here
    assert list(f.grad(x3, x3)) == [1, 1, 1]


def test_instances_are_not_kept_alive() -> None:
    model = Model(5.0)
    model.loss(x3)
    model.loss.grad(x3)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_arguments_and_results_are_not_kept_alive() -> None:
    f = gradc.compile(lambda p, x: np.sum(p["w"] * x))

    class Mine(np.ndarray):
        pass

    x = np.ones(3)
    p = {"w": np.ones(3)}
    value, gradient = f.value_and_grad(p, x)
    before = sys.getrefcount(x), sys.getrefcount(p["w"])
    for _ in range(200):
        value, gradient = f.value_and_grad(p, x)
        f(p, x[::1])
    assert (sys.getrefcount(x), sys.getrefcount(p["w"])) == before
    gone = weakref.ref(gradient["w"])
    del gradient
    assert gone() is None and value == 3.0


def test_static_results_and_dtypes_keep_their_counts() -> None:
    f = gradc.compile(lambda a, b: (a + b, a * b))
    f(1.0, 2.0)
    counted = [np.dtype(np.float64), None, np.float64]
    before = [sys.getrefcount(c) for c in counted]
    for _ in range(5000):
        f(1.0, 2.0)
    after = [sys.getrefcount(c) for c in counted]
    assert all(abs(a - b) < 1000 for a, b in zip(after, before, strict=True))


def test_code_that_can_be_called_stays() -> None:
    def make() -> Any:
        return gradc.compile(lambda x: x * 2).value_and_grad, gradc.compile(lambda x: np.sum(x * 3)).grad

    _, grad = make()
    gc.collect()
    assert list(grad(x3)) == [3, 3, 3]
    lowered = gradc.compile(lambda x: x * 2).lower(x3)
    gc.collect()
    assert list(lowered.run(x3)) == [2, 4, 6]


def test_what_outlives_the_function() -> None:
    """Pullbacks, bound methods, entries of signatures that were replaced since."""

    def pullback() -> Any:
        return gradc.vjp(lambda x: {"y": np.tanh(x) * 2}, x3)[1]

    pull = pullback()
    bound = Model(3.0).loss.value_and_grad
    f = gradc.compile(lambda x: x * 2.0)
    call = f._value
    for n in range(1, 30):  # more than are kept at hand
        assert call(np.ones(n)).shape == (n,)
    gone = weakref.ref(f._function)
    del f
    gc.collect()
    np.testing.assert_allclose(pull({"y": np.ones(3)})[0], 2 * (1 - np.tanh(x3) ** 2))
    assert bound(x3)[0] == 18.0
    assert call(np.ones(3)).tolist() == [2, 2, 2] and gone() is not None
    del call
    gc.collect()
    assert gone() is None


def test_a_function_that_dies_while_it_runs() -> None:
    """Nothing but the call itself holds the function and its code then."""

    @dataclass
    class Late:
        value: Any

    def value(self: Late) -> float:
        held.clear()
        gc.collect()
        return 2.0

    Late.value = property(value, lambda self, _: None)  # type: ignore[assignment]
    late = object.__new__(Late)
    for _ in range(3):
        held: list[Any] = [None]
        f = gradc.compile(lambda p, x: np.sum(np.exp(x)) * p.value)
        assert f(late, x3) == f(late, x3)
        held[:] = [f._value]
        wanted = np.sum(np.exp(x3)) * 2
        del f
        np.testing.assert_allclose(held[0](late, x3), wanted, rtol=1e-14)
        assert not held


def test_functions_that_die_while_other_threads_call_them() -> None:
    wrong: list[Any] = []

    def work(call: Any, x: Any, wanted: float) -> None:
        for _ in range(20):
            if call(x)[0] != wanted:
                wrong.append(wanted)

    x = np.ones(50_000)
    for k in range(5):
        f = gradc.compile(lambda x, k=k: np.sum(np.exp(x) * (k + 0.5)))
        wanted = f.value_and_grad(x)[0]
        callers = [threading.Thread(target=work, args=(f.value_and_grad, x, wanted)) for _ in range(3)]
        for t in callers:
            t.start()
        del f
        gc.collect()
        for t in callers:
            t.join()
    assert not wrong


def test_results_outlive_the_function() -> None:
    f = gradc.compile(lambda x: x * 2)
    result = f(np.arange(1000.0))
    del f
    gc.collect()
    np.testing.assert_array_equal(result, np.arange(1000.0) * 2)


def test_compiled_functions_die() -> None:
    f = gradc.compile(lambda x: np.sum(x * x))
    f(x3), f.grad(x3)
    gone = weakref.ref(f)
    del f
    gc.collect()
    assert gone() is None


def rss() -> int:
    """The memory that the process has, in bytes, without what the allocator only keeps for later."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, AttributeError):
        pytest.skip("this system does not tell")


def arrays_in_trees() -> tuple[Any, tuple[Any, ...]]:
    def fn(p: Any, x: Any) -> Any:
        return np.mean(np.tanh(x @ p["w"] + p["b"]) ** 2)

    arguments = {"w": np.ones((4, 3)), "b": np.zeros(3)}, np.ones((5, 4))
    return gradc.compile(fn).value_and_grad, arguments


def flat_arrays() -> tuple[Any, tuple[Any, ...]]:
    return gradc.compile(lambda w, x: np.sum(np.tanh(w * x))).value_and_grad, (np.ones(7), np.ones(7))


def scalars() -> tuple[Any, tuple[Any, ...]]:
    f = gradc.compile(lambda w, b, x: np.tanh(w * x + b), wrt=(0, 1))
    return f.value_and_grad, (0.5, np.float64(1.5), 2.5)


def known_floats() -> tuple[Any, tuple[Any, ...]]:
    return gradc.compile(lambda x, a: np.sum(a) * x if x > 0 else x).value_and_grad, (1.25, np.ones(3))


def other_layouts() -> tuple[Any, tuple[Any, ...]]:
    f = gradc.compile(lambda w, x: np.sum(w * x) + x[0])
    return f.value_and_grad, (np.ones(14)[::2], np.ones(7, ">f8"))


def checks_that_fail() -> tuple[Any, tuple[Any, ...]]:
    grad = gradc.compile(lambda w, i: w[i] * 2).value_and_grad

    def call(w: Any, i: Any) -> Any:
        try:
            grad(w, i)
        except gradc.IndexOutOfBoundsError:
            return
        raise AssertionError

    return call, (np.ones(3), np.int64(3))


CALLS = {
    arrays_in_trees: 100_000,
    flat_arrays: 100_000,
    scalars: 100_000,
    known_floats: 20_000,
    other_layouts: 20_000,
    checks_that_fail: 2_000,
}


@pytest.mark.long
@pytest.mark.parametrize("make", CALLS, ids=lambda make: make.__name__)
def test_many_calls_take_no_memory(make: Any) -> None:
    """Python's and NumPy's own memory, that of the process, and references: all as before."""
    call, arguments = make()
    leaves = tree.flatten(arguments)[0]
    counted = [*leaves, np.dtype(np.float64), None, np.float64]

    def run(times: int) -> None:
        for _ in range(times):
            call(*arguments)

    run(500)
    process = rss()  # which collects garbage
    before = [sys.getrefcount(x) for x in counted]
    run(CALLS[make])
    grown = rss() - process
    after = [sys.getrefcount(x) for x in counted]
    # Nobody else holds the arguments; dtypes and the like come and go elsewhere.
    assert after[: len(leaves)] == before[: len(leaves)]
    assert all(abs(a - b) < 100 for a, b in zip(after, before, strict=True))
    assert grown < 1_000_000
    tracemalloc.start()
    try:
        run(1000)
        gc.collect()
        traced = tracemalloc.get_traced_memory()[0]
        run(5000)
        gc.collect()
        # Less than the smallest object for each call; free lists fill up meanwhile.
        assert tracemalloc.get_traced_memory()[0] - traced < 40_000
    finally:
        tracemalloc.stop()


def compile_one(k: int) -> list[weakref.ref[Any]]:
    """Make a function with a constant of its own, call it, drop it; references to what was compiled."""
    f = gradc.compile(lambda w, x: np.sum(np.tanh(w * (k + 0.25)) * x))
    f.value_and_grad(x3, x3)
    special, _ = f._function.specialize((x3, x3), {})
    executable = special["value_and_grad"].executable
    return [weakref.ref(x) for x in (f, executable, executable.code, *executable.code._loaded)]


def test_code_is_freed_with_its_function() -> None:
    gone = compile_one(-1)
    gc.collect()
    assert [ref() for ref in gone] == [None] * 4


@pytest.mark.long
def test_many_compilations_take_no_memory() -> None:
    for k in range(30):
        compile_one(-k - 2)
    before, objects = rss(), len(gc.get_objects())
    gone = [ref for k in range(200) for ref in compile_one(k)]
    grown = rss() - before
    assert not any(ref() for ref in gone)
    # Code takes 30 kB a function, its graphs as much again.
    assert grown < 1_500_000
    assert len(gc.get_objects()) - objects < 2_000 + len(gone)


def test_pickled_by_name() -> None:
    for f in (named, Model.loss):
        assert pickle.loads(pickle.dumps(f)) is f
        assert copy.deepcopy(f) is f and copy.copy(f) is f
    again = pickle.loads(pickle.dumps(compiled_beside))
    assert again.__gradc_original__ is undecorated and again(x3) == 14.0
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(gradc.compile(lambda x: x))
    model = pickle.loads(pickle.dumps(Model(4.0).loss))
    assert model(x3) == 24.0


def test_first_calls_on_several_threads_compile_once() -> None:
    traced = []
    barrier = threading.Barrier(8)

    def fn(x: Any, n: int) -> Any:
        traced.append(n)
        return np.sum(x * n)

    f = gradc.compile(fn)

    def call(i: int) -> Any:
        barrier.wait()
        return f(x3, i % 2 + 1), f.grad(x3, i % 2 + 1)[0]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(call, range(8)))
    assert results == [(6.0 * (i % 2 + 1), i % 2 + 1.0) for i in range(8)]
    assert sorted(traced) == [1, 2]


def test_calls_from_several_threads_do_not_mix() -> None:
    f = gradc.compile(lambda x, y: np.sum(np.tanh(x @ y)), wrt=(0, 1))
    rng = np.random.default_rng(0)
    inputs = [(rng.normal(size=(16, 16)), rng.normal(size=(16, 16))) for _ in range(8)]
    expected = [f.value_and_grad(*pair) for pair in inputs]

    def work(i: int) -> bool:
        value, (gx, gy) = expected[i]
        for _ in range(100):
            v, (a, b) = f.value_and_grad(*inputs[i])
            if v != value or (a != gx).any() or (b != gy).any():
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_traces_of_threads_are_apart() -> None:
    """A thread that traces does not see another one's tracers, also when both are inside of user code."""
    inside = threading.Barrier(2, timeout=30)

    def fn(x: Any, n: int) -> Any:
        inside.wait()
        y = x * n
        inside.wait()
        return np.sum(y)

    f = gradc.compile(fn)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda n: f(x3, n), [2, 3])) == [12.0, 18.0]


def test_a_recursive_function() -> None:
    @gradc.compile
    def power(x: Any, n: int) -> Any:
        return x if n == 1 else x * power(x, n - 1)

    assert power(2.0, 5) == 32.0
    assert power.grad(2.0, 5) == 80.0
