"""The copy of the user's function: what it sees in place of its globals, cells and defaults."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy as xp
import pytest
from numpy import exp
from numpy.linalg import norm

from gradc.ir import TraceError
from tests.trace import other_module
from tests.trace.harness import check, run, traced
from tests.trace.other_module import deep, shifted

X = np.array([0.5, -1.0, 2.0])
W = np.arange(9.0).reshape(3, 3) / 7
BIG = np.arange(60.0).reshape(20, 3) ** 2
TABLE = {np.tanh: 2.0, np.exp: 3.0}
WEIGHTS = {"a": W, "b": [np.ones(3), 2.0]}


def pair(x: Any) -> Any:
    return np.array([x[0], x[1]])  # NumPy's protocols do not reach this


def test_globals_and_helpers() -> None:
    check(lambda x: pair(x) * 2, X)
    check(lambda x: xp.array([x[0], exp(x[1])]) + norm(x), X)
    check(lambda x: shifted(x) + deep(x), X)
    check(lambda x: other_module.shifted(x, 3.0) + other_module.OFFSET, X)


def test_methods_of_captured_arrays() -> None:
    check(lambda x: W.dot(x) + W.T[0].dot(x), X)
    dot = W.dot
    check(lambda x: dot(x) + 0, X)
    check(lambda i: W[i] + BIG[i], np.array([2, 0]))
    check(lambda x: WEIGHTS["a"].dot(x) + WEIGHTS["b"][0].dot(x) * WEIGHTS["b"][1], X)


def test_static_uses_of_captured_arrays() -> None:
    n = np.array([2, 1])
    assert run(lambda x: x * float(W[0, 1]) + int(n[0]) + (1 if W[0, 0] == 0 else 9), X).shape == (3,)
    check(lambda x: x[n[0]] + x[: n[1]] + sum(x[i] for i in range(n[0])), X)
    check(lambda x: np.ones(n) * x[0], X)
    check(lambda x: x * np.cumsum(W[1]) + W.cumsum()[-1] + np.add.accumulate(W[0]) + np.sort(W[2]), X)
    check(lambda x: x * W.strides[0] + W.flat[3] + W.astype("f4").std() + W.copy()[1], X)
    check(lambda x: {np.tanh: 2.0, np.exp: 3.0}[np.exp] * x + TABLE[np.exp] * x, X)
    check(lambda x: x * len(W) + max(W[0]) * x + sorted(W[1])[0], X)


def test_closures() -> None:
    scale = np.array([2.0, 3.0, 4.0])
    helpers = [pair, lambda x: x * 2]

    def inner(x: Any) -> Any:
        return scale.dot(x) + helpers[0](x)[0]

    check(lambda x: inner(x) * 2, X)


def test_recursion_through_globals_and_cells() -> None:
    def power(x: Any, n: int) -> Any:
        return x if n == 1 else np.array([x[0], x[1], x[2]]) * power(x, n - 1)

    check(lambda x: power(x, 4), X)
    check(lambda x: other_module.factorial(x, 3), X)


def test_a_long_chain_of_closures() -> None:
    def after(f: Any) -> Any:
        return lambda x: f(x) + 1

    f = pair
    for _ in range(300):
        f = after(f)
    check(f, X)


def test_inner_functions_and_lambdas() -> None:
    def outer(x: Any) -> Any:
        def helper(y: Any) -> Any:
            return np.array([y[0], x[1]])

        return (
            helper(x) + next(iter([lambda z: np.array([z[1], z[0]])]))(x) + sum([np.array([v, v]) for v in x])
        )

    check(outer, X)


def test_defaults() -> None:
    def f(x: Any, w: Any = W, *, g: Any = pair, h: Any = np.array) -> Any:
        return w.dot(x)[0] + g(x) + h([x[0], x[1]])

    check(f, X)


def test_partials_methods_and_callables() -> None:
    class Model:
        scale = 3.0

        def __init__(self) -> None:
            self.w = W

        def forward(self, x: Any) -> Any:
            return np.array([x[0], x[1]]) * self.scale + (self.w @ x)[:2]

        def __call__(self, x: Any) -> Any:
            return np.array([x[0], x[2]])

        @staticmethod
        def fixed(x: Any) -> Any:
            return np.array([x[0]])

        @classmethod
        def of_class(cls, x: Any) -> Any:
            return np.array([x[0]]) * cls.scale

    model = Model()
    check(model.forward, X)
    check(model, X)
    check(Model.fixed, X)
    check(Model.of_class, X)
    check(functools.partial(shifted, scale=4.0), X)
    part = functools.partial(np.dot, W)
    check(lambda x: part(x) + 0, X)
    forward = model.forward
    check(lambda x: forward(x) + 0, X)


def test_decorated_helpers() -> None:
    def twice(f: Any) -> Any:
        @functools.wraps(f)
        def wrapper(*args: Any) -> Any:
            return f(*args) + f(*args)

        return wrapper

    check(twice(pair), X)
    cached = functools.lru_cache(lambda n: np.arange(n) * 1.0)
    check(lambda x: x.dot(cached(3)), X)


def test_containers() -> None:
    check(lambda x: sum(layer(x) for layer in other_module.LAYERS), X)
    table = {"f": [pair, (np.tanh, W)]}
    check(lambda x: table["f"][0](x)[0] + table["f"][1][0](x) + table["f"][1][1].dot(x), X)

    class Point(NamedTuple):
        a: Any
        f: Any

    point = Point(W, np.array)
    check(lambda x: point.a.dot(x)[:2] + point.f([x[0], x[1]]), X)
    loop: list[Any] = [W]
    loop.append(loop)
    check(lambda x: loop[1][1][0].dot(x) * 2, X)


def test_functions_as_arguments() -> None:
    check(lambda f, x: f([x[0], x[1]]), np.array, X)
    check(lambda f, x: f(x), pair, X)


def test_imports_inside() -> None:
    def f(x: Any) -> Any:
        import numpy
        import numpy.linalg as la
        import scipy.special
        from numpy import array
        from scipy.special import expit

        import tests.trace.other_module as helpers

        return (
            numpy.array([x[0]])
            + array([x[1]])
            + la.norm(x)
            + expit(x[0])
            + scipy.special.logsumexp(x)
            + helpers.deep(x)
        )

    check(f, X)


def test_a_class_in_the_function() -> None:
    def f(x: Any) -> Any:
        class Local:
            make = np.array
            weight = W

        @dataclass
        class Pair:
            a: Any
            b: Any

        p = Pair(x[0], x[1])
        return Local.make([p.a, p.b]) + Local.weight.dot(x)[0]

    check(f, X)


def test_assignments_to_globals_and_cells_are_kept() -> None:
    before = other_module.COUNT
    run(other_module.counting, X)
    assert before + 1 == other_module.COUNT
    calls = 0

    def f(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return x * 2

    run(f, X)
    assert calls == 1


def test_math_works_on_plain_numbers() -> None:
    check(lambda x: x * math.sqrt(2.0) * math.pi, X)
    check(lambda x, s: x * math.exp(s), X, 0.5)  # as np.exp


def test_math_works_on_traced_numbers() -> None:
    check(lambda x: x * math.exp(x[0]) + math.sqrt(x @ x) + math.hypot(x[0], 2) + math.log(x[0] ** 2, 3), X)
    check(lambda x: x * math.fsum(x) + math.fsum(v * v for v in x) + math.prod(x) + math.prod([2, x[1]]), X)
    single = run(lambda x: math.exp(x[0]) * x, X.astype(np.float32))  # math gives Python floats
    assert single.dtype == np.float32
    for f, instead in ((math.floor, "np.floor"), (math.gamma, "scipy.special.gamma"), (math.exp, "np.exp")):
        argument = (lambda x: x) if f is math.exp else (lambda x: x[0])
        with pytest.raises(TraceError, match=instead):
            run(lambda x, f=f, argument=argument: x * f(argument(x)), X)


class Plain:
    pass


def test_builtins_that_compare() -> None:
    check(lambda x: max(x[0], x[1]) * x + min(0, x[1]) + max(0.0, x[1]) + max(x) - min(v * v for v in x), X)
    check(
        lambda x: max(x[1], np.nan * x[0]) + max(np.nan * x[0], x[1], 1), X
    )  # the first one, then the second
    assert run(lambda x: max(x[0], 0), X.astype(np.float32)).dtype == np.float32
    check(lambda x: x * max(3, 4) + max([1, 2], key=lambda v: -v) + max([], default=2) + min([x[0]]), X)
    check(lambda x: sum(i * v for i, v in enumerate(sorted(x, reverse=True))) + sorted([x[1], 2])[0], X)
    check(lambda x: sorted({2: x[0], 1: x[1]}.items(), key=lambda pair: pair[0])[0][1] * 1, X)
    with pytest.raises(ValueError, match="empty"):
        run(lambda x: x * max([]), X)


def test_types_of_traced_values() -> None:
    def f(x: Any, s: Any) -> Any:
        assert type(x) is np.ndarray and type(x[0]) is np.float64 and type(s) is float
        assert type(Plain()) is Plain and type(Plain) is type and isinstance(Plain, type)
        assert type(np.float32(1)) is np.float32 and {np.ndarray: 1}[type(x)] == 1

        class Meta(type):
            def __call__(cls, *args: Any) -> Any:
                made = super().__call__(*args)
                made.k = 2.0
                return made

        class Made(metaclass=Meta):
            pass

        assert type(Made) is Meta and isinstance(Made, Meta) and not isinstance(Plain, Meta)
        return x * Made().k + type("Other", (), {"f": lambda self: s})().f()

    check(f, X, 0.5)


def test_originals_stay_what_they_are() -> None:
    code, defaults = shifted.__code__, shifted.__defaults__
    check(lambda x: shifted(x) + 0, X)
    assert shifted.__code__ is code and shifted.__defaults__ is defaults
    assert np.array([1]).__class__ is np.ndarray and other_module.np is np
    assert run(lambda x: {"f": pair, "x": x, "m": np}, X)["f"] is pair


def test_an_object_with_an_original_runs_as_that() -> None:
    class Compiled:
        def __init__(self, fn: Any) -> None:
            self.__gradc_original__ = fn

        def __call__(self, *args: Any) -> Any:
            raise AssertionError

    compiled = Compiled(pair)
    check(lambda x: pair(x) + 0, X)
    np.testing.assert_array_equal(run(lambda x: compiled(x) + 0, X), X[:2])


def test_captured_arrays_are_read_when_traced() -> None:
    big = np.arange(25.0).reshape(5, 5)
    result, _ = traced(lambda x: big @ x, np.ones(5))
    big[:] = 7
    assert result.graph.constants["big"].max() == 24


def test_the_same_array_is_one_node() -> None:
    result, _ = traced(lambda x: BIG @ x + BIG @ (x * 2), X)
    assert [node.op.name for node in result.graph.nodes].count("captured") == 1
    assert list(result.graph.constants) == ["BIG"]


def test_code_that_the_copy_does_not_reach() -> None:
    class Plain:
        def forward(self, x: Any) -> Any:
            return np.tanh(W @ x) + np.sum(x) + np.concatenate([x, x])[:3]

    plain = Plain()
    check(lambda x: plain.forward(x) + 0, X)


@pytest.mark.parametrize("module", [np, np.linalg, math])
def test_module_views_look_like_the_module(module: Any) -> None:
    seen = []
    run(lambda x: seen.append((repr(module), module.__name__)) or x, X)
    assert seen == [(repr(module), module.__name__)]
