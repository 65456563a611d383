"""Compiled functions give what the function gives: values, trees, dtypes, gradients."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradc

F32, F64 = np.float32, np.float64


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass
class Layer:
    W: Any
    b: Any
    name: str = "dense"


def mlp(params: dict[str, Any], X: Any, y: Any) -> Any:
    h = np.tanh(X @ params["W1"] + params["b1"])
    z = h @ params["W2"] + params["b2"]
    return np.mean((z[:, 0] - y) ** 2)


def mlp_arguments(dtype: Any = F64) -> tuple[dict[str, Any], Any, Any]:
    rng = np.random.default_rng(0)
    params = {
        "W1": rng.normal(size=(3, 5)).astype(dtype),
        "b1": np.zeros(5, dtype),
        "W2": rng.normal(size=(5, 1)).astype(dtype),
        "b2": np.zeros(1, dtype),
    }
    return params, rng.normal(size=(7, 3)).astype(dtype), rng.normal(size=7).astype(dtype)


def difference(fn: Any, x: np.ndarray) -> np.ndarray:
    """The gradient of a function of one array by central differences."""
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        h = np.zeros_like(x)
        h[i] = 1e-6
        out[i] = (fn(x + h) - fn(x - h)) / 2e-6
    return out


def same(a: Any, b: Any) -> None:
    """Equal trees of equal types, dtypes and shapes."""
    assert type(a) is type(b), (a, b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for k in a:
            same(a[k], b[k])
    elif isinstance(a, tuple | list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, np.ndarray | np.generic):
        assert a.dtype == b.dtype and np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-5 if a.dtype == F32 else 1e-12, atol=1e-12)
    else:
        assert a == b


x3 = np.array([1.0, 2.0, 3.0])
x23 = np.arange(6.0).reshape(2, 3)

VALUES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "array": (lambda x: np.sin(x) * 2, (x3,)),
    "float32-stays": (lambda x: x * 2.5, (x3.astype(F32),)),
    "weak-float": (lambda x, a: x * a, (x3.astype(F32), 2.5)),
    "strong-scalar": (lambda x, a: x * a, (x3.astype(F32), F64(2.5))),
    "number-from-array": (np.sum, (x3,)),
    "number-from-number": (lambda x: x * x, (F32(3.0),)),
    "zero-dimensional": (np.exp, (np.array(0.5),)),
    "int-array": (lambda x: x // 2, (np.arange(5),)),
    "bool-array": (lambda x: ~x, (np.array([True, False]),)),
    "static-int": (lambda x, n: x**n, (x3, 3)),
    "static-string": (lambda x, how: np.sum(x) if how == "sum" else np.max(x), (x3, "max")),
    "static-passes-through": (lambda x, n: (x + n, n, "text", None), (x3, 2)),
    "dict": (lambda d: {"sum": d["a"] + d["b"], "first": d["a"] * 2}, ({"a": x3, "b": x3 * 2},)),
    "list": (lambda xs: [x * 2 for x in xs], ([x3, x23],)),
    "list-of-numbers": (lambda xs: np.sum(np.array(xs)), ([1.0, 2.0, 4.0],)),
    "named-tuple": (lambda p: Point(p.y, p.x), (Point(x3, x23),)),
    "empty-result": (lambda x: (), (x3,)),
    "empty-array": (lambda x: x * 2, (np.zeros((0, 3)),)),
    "empty-sum": (np.sum, (np.zeros(0),)),
    "constant": (lambda x: np.ones(2), (x3,)),
    "input-returned": (lambda x: (x, x), (x3,)),
    "keyword-default": (lambda x, scale=3.0: x * scale, (x3,)),
    "variadic": (lambda *xs: sum(xs), (x3, x3, x3)),
    "nothing-used": (lambda x, y: x + 1, (x3, x23)),
}


@pytest.mark.parametrize("case", VALUES)
def test_value(case: str) -> None:
    fn, args = VALUES[case]
    same(gradc.compile(fn)(*args), fn(*args))


@pytest.mark.parametrize("dtype", [F32, F64])
def test_value_and_grad_of_a_network(dtype: Any) -> None:
    f = gradc.compile(mlp)
    params, X, y = mlp_arguments(dtype)
    value, gradient = f.value_and_grad(params, X, y)
    same(value, mlp(params, X, y))
    assert list(gradient) == list(params)
    for name, g in gradient.items():
        assert g.dtype == dtype and g.shape == params[name].shape
    wide, X64, y64 = mlp_arguments(F64)
    expected = difference(lambda W: mlp({**wide, "W1": W}, X64, y64), wide["W1"])
    np.testing.assert_allclose(gradient["W1"], expected, rtol=1e-3 if dtype is F32 else 1e-6, atol=1e-6)
    same(f.grad(params, X, y), gradient)


def test_gradient_tree_is_that_of_the_parameter() -> None:
    def loss(p: Any) -> Any:
        layer, (a, b), extra = p["layer"], p["pair"], p["extra"]
        return np.sum(layer.W @ x3 + layer.b) * a + b * extra["k"]

    p = {
        "layer": Layer(x23, np.zeros(2, F32)),
        "pair": (2.0, F32(3)),
        "extra": {"k": 2, "unused": x3, "ints": np.arange(3), "none": None, "text": "t"},
    }
    g = gradc.compile(loss).grad(p)
    assert isinstance(g["layer"], Layer) and g["layer"].name is None
    np.testing.assert_allclose(g["layer"].W, 2.0 * np.stack([x3, x3]))
    assert g["layer"].b.dtype == F32 and list(g["layer"].b) == [2, 2]
    assert type(g["pair"]) is tuple and isinstance(g["pair"][0], F64) and isinstance(g["pair"][1], F32)
    assert list(g["extra"]["unused"]) == [0, 0, 0]
    assert [g["extra"][k] for k in ("k", "ints", "none", "text")] == [None] * 4


WRT: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = {
    "position": (1, (2.0, 3.0), {}, 2.0),
    "name": ("b", (2.0, 3.0), {}, 2.0),
    "by-keyword": (1, (2.0,), {"b": 3.0}, 2.0),
    "all-by-keyword": (0, (), {"b": 3.0, "a": 2.0}, 3.0),
    "tuple": ((1, "a"), (2.0, 3.0), {}, (2.0, 3.0)),
    "tuple-of-one": (("b",), (2.0, 3.0), {}, (2.0,)),
    "default": ("c", (2.0, 3.0), {}, 1.0),
    "keyword-only": ("k", (2.0, 3.0), {"k": 5.0}, 1.0),
    "keyword-only-default": ("k", (2.0, 3.0), {}, 1.0),
}


@pytest.mark.parametrize("case", WRT)
def test_wrt(case: str) -> None:
    wrt, args, kwargs, expected = WRT[case]

    def f(a: Any, b: Any, c: Any = 1.0, *, k: Any = 0.5) -> Any:
        return a * b + c + k

    assert gradc.compile(f, wrt=wrt).grad(*args, **kwargs) == expected
    assert gradc.grad(f, wrt=wrt)(*args, **kwargs) == expected


class Scaled:
    factor = 3.0

    @gradc.compile(wrt=("x", 1))
    def by_name_and_position(self, x: Any, y: Any) -> Any:
        return self.factor * x * y


def test_self_does_not_count_in_the_body_of_a_class() -> None:
    assert Scaled().by_name_and_position.grad(2.0, 5.0) == (15.0, 6.0)
    with pytest.raises(gradc.ArgumentError, match=r"one of 0: x"):

        class Unknown:
            @gradc.compile(wrt="z")
            def method(self, x: Any) -> Any:
                return x


def test_wrt_of_variadic_parameters() -> None:
    def f(a: Any, *rest: Any, **options: Any) -> Any:
        return a * rest[0] * rest[1] * options["scale"]

    call = (2.0, 3.0, 5.0)
    assert gradc.grad(f, wrt=2)(*call, scale=7.0) == 42.0
    assert gradc.grad(f, wrt="rest")(*call, scale=7.0) == (70.0, 42.0)
    assert gradc.grad(f, wrt="scale")(*call, scale=7.0) == 30.0


def test_has_aux() -> None:
    @gradc.compile(has_aux=True)
    def f(x: Any, n: int) -> Any:
        y = x * n
        return np.sum(y * y), {"y": y, "n": n}

    (loss, aux), g = f.value_and_grad(x3, 2)
    same(loss, F64(56.0))
    same(aux, {"y": x3 * 2, "n": 2})
    same(g, x3 * 8)
    g, aux = f.grad(x3, 2)
    same((g, aux), (x3 * 8, {"y": x3 * 2, "n": 2}))
    same(f(x3, 2), (F64(56.0), {"y": x3 * 2, "n": 2}))


def test_constant_loss() -> None:
    value, g = gradc.compile(lambda x: 3.0).value_and_grad(x3)
    assert value == 3.0 and list(g) == [0, 0, 0]
    value, g = gradc.compile(lambda x: np.float64(3.0)).value_and_grad(x3)
    assert value == 3.0 and list(g) == [0, 0, 0]
    value, g = gradc.compile(lambda x: np.sum(np.ones(2))).value_and_grad(x3)
    assert value == 2.0 and list(g) == [0, 0, 0]


def test_the_same_argument_twice() -> None:
    f = gradc.compile(lambda a, b: np.sum(a * b * b), wrt=(0, 1))
    ga, gb = f.grad(x3, x3)
    same(ga, x3 * x3)
    same(gb, 2 * x3 * x3)


LAYOUTS: dict[str, Any] = {
    "contiguous": lambda x: x,
    "fortran": np.asfortranarray,
    "negative-strides": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "every-other": lambda x: np.repeat(x, 2, 1)[:, ::2],
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "broadcast": lambda x: np.broadcast_to(x[0], x.shape),
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
    "long-long": lambda x: x.astype(np.longlong),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_is_no_part_of_the_signature(layout: str) -> None:
    f = gradc.compile(lambda x, w: np.sum(x * x * w, 0), wrt="w")
    g = gradc.compile(lambda x, w: np.sum(x * x * w), wrt="w")
    x = x23 if layout != "long-long" else np.arange(6).reshape(2, 3)
    w = np.array([1.0, 2.0, 3.0])
    f(x, w), g.grad(x, w)
    other = LAYOUTS[layout](x)
    before = other.copy()
    same(f(other, w), f.__gradc_original__(np.array(other, x.dtype), w))
    same(g.grad(other, w), np.sum(np.array(other, x.dtype) ** 2.0, 0))
    np.testing.assert_array_equal(other, before)
    assert len(f._function.table) == 1


def test_read_only_and_overlapping_arguments() -> None:
    f = gradc.compile(lambda a, b: a * 2 + b)
    x = np.arange(6.0)
    x.setflags(write=False)
    same(f(x[:4], x[2:]), x[:4] * 2 + x[2:])
    same(f(x[:4], x[:4]), x[:4] * 3)


def test_memory_maps_are_arrays(tmp_path: Any) -> None:
    mapped = np.memmap(tmp_path / "x", F64, "w+", shape=(3,))
    mapped[:] = x3
    result = gradc.compile(lambda x: x * 2)(mapped)
    same(result, x3 * 2)


def test_no_floating_point_warnings() -> None:
    f = gradc.compile(lambda x: np.log(x) + 1 / x)
    with np.errstate(all="raise"):
        assert f(np.array([0.0, -1.0]))[0] != 0


def test_results_are_fresh() -> None:
    x = x3.copy()
    a, b, c = gradc.compile(lambda x: (x, x, x[::-1]))(x)
    assert not any(np.shares_memory(p, q) for p, q in [(a, x), (b, x), (c, x), (a, b), (a, c)])
    a[:] = 0
    b[:] = 1
    np.testing.assert_array_equal(x, x3)


def test_zero_dimensional_arrays_and_numbers_share_code() -> None:
    f = gradc.compile(lambda x: x * 2)
    for x in (np.array(1.5), F64(1.5), np.array(1.5), F64(1.5)):
        same(f(x), F64(3.0))
    assert len(f._function.table) == 1


def test_captured_arrays_are_read_when_traced() -> None:
    weights = np.array([1.0, 2.0, 3.0])
    f = gradc.compile(lambda x: x * weights)
    same(f(x3), x3 * x3)
    weights[:] = 0
    same(f(x3), x3 * x3)


def test_is_a_function_to_look_at() -> None:
    @gradc.compile
    def documented(x: Any, y: Any = 1.0) -> Any:
        """What it does."""
        return x * y

    assert documented.__name__ == "documented" and documented.__doc__ == "What it does."
    assert documented.__module__ == __name__ and "documented" in documented.__qualname__
    assert documented.value_and_grad.__name__ == "value_and_grad"
    import inspect

    assert list(inspect.signature(documented).parameters) == ["x", "y"]
    assert documented.__wrapped__ is documented.__gradc_original__
    assert "documented" in repr(documented)


def test_partial_objects_and_builtins() -> None:
    class Scale:
        def __init__(self, k: float) -> None:
            self.k = k

        def __call__(self, x: Any) -> Any:
            return np.sum(x * self.k)

    same(gradc.compile(functools.partial(lambda a, x: a * x, 2.0))(x3), x3 * 2)
    same(gradc.compile(Scale(3.0))(x3), F64(18.0))
    same(gradc.grad(Scale(3.0))(x3), np.full(3, 3.0))
    same(gradc.compile(np.sum)(x3), F64(6.0))
    same(gradc.grad(np.sum)(x3), np.ones(3))


def test_compiled_of_compiled() -> None:
    inner = gradc.compile(lambda x: np.sum(x * x))
    assert gradc.compile(inner).__gradc_original__ is inner.__gradc_original__
    same(gradc.compile(lambda x: inner(x) * 2)(x3), F64(28.0))
    same(gradc.compile(lambda x: inner.grad(x) + inner.value_and_grad(x)[1])(x3), x3 * 4)


def test_options(monkeypatch: pytest.MonkeyPatch) -> None:
    f = gradc.compile(threads=2, fast_math=True)(lambda x: x + 1)
    same(f(x3), x3 + 1)
    for threads in (0, -1, True, 1.5):
        with pytest.raises(gradc.ArgumentError, match="threads="):
            gradc.compile(lambda x: x, threads=threads)  # pyright: ignore
    monkeypatch.setenv("GRADC_THREADS", "many")
    with pytest.raises(gradc.ArgumentError, match="GRADC_THREADS"):
        gradc.compile(lambda x: x)
    monkeypatch.setenv("GRADC_THREADS", "1")
    same(gradc.compile(lambda x: x + 1)(x3), x3 + 1)
    with pytest.raises(gradc.ArgumentError, match="takes a function"):
        gradc.compile(3)  # pyright: ignore


def test_a_wrong_call_says_so() -> None:
    f = gradc.compile(lambda x, y: x)
    for args, kwargs in [((x3,), {}), ((x3, 1.0, 2.0), {}), ((x3,), {"z": 1.0}), ((x3,), {"x": x3, "y": x3})]:
        with pytest.raises(TypeError, match=r"<lambda>\(x, y\)"):
            f(*args, **kwargs)
    same(f(x3, 1.0), x3)


def test_runtime_errors_leave_the_function_usable() -> None:
    f = gradc.compile(lambda x, i: x[i])
    with pytest.raises(IndexError):
        f(x3, np.array([7]))
    same(f(x3, np.array([2])), x3[[2]])


def test_repeated_calls_go_by_native_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradc.api.function import Function

    f = gradc.compile(lambda w, x, b: np.sum(w * x + b), wrt=(0, 1, 2))
    g = gradc.compile(lambda p, n: np.sum(p["w"]) * n)
    calls = [(1.0, 2.0, 3.0), (x3, x23, F32(1.0))]
    expected = [(f(*args), f.value_and_grad(*args), f.grad(*args)) for args in calls]
    wanted = g.grad({"w": x3}, 3)

    def never(*_: Any) -> Any:
        raise AssertionError("the table was asked")

    monkeypatch.setattr(Function, "call", never)
    same(g.grad({"w": x3 + 1}, 3), wanted)
    for args, results in zip(calls, expected, strict=True):
        for _ in range(3):
            same((f(*args), f.value_and_grad(*args), f.grad(*args)), results)
