"""Errors while tracing: the user's line, what is wrong, what to write instead, in at most 12 lines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.ir import DomainError, GradcError, IndexOutOfBoundsError, ShapeError, TraceError
from gradc.trace import cond
from tests.trace.harness import run

X = np.array([[0.5, -1.0, 2.0], [3.0, 0.25, -0.125]])
I = np.array([0, 1])  # noqa: E741
LEAKED: list[Any] = []


def shapes(x: Any) -> Any:
    return x + np.ones(2)


def branch(x: Any) -> Any:
    if x > 0:
        return x
    return -x


def branch_of_sum(x: Any) -> Any:
    return x if x.sum() > 0 else -x


def to_float(x: Any) -> Any:
    return float(x[0, 0])


def to_int(x: Any) -> Any:
    return np.ones(3) * int(x[0, 0])


def item(x: Any) -> Any:
    return x.argmax().item()


def math_exp(x: Any) -> Any:
    return math.exp(x[0])


def scalar_type(x: Any) -> Any:
    return np.float16(x[0, 0])


def bits(x: Any) -> Any:
    return x.view(np.int64)


def traced_size(x: Any) -> Any:
    return np.zeros(x.argmax())


def iterated_number(x: Any) -> Any:
    return [k for k in x.argmax()]


def length_of_a_number(x: Any) -> Any:
    return len(x[0, 0])


def traced_range(x: Any) -> Any:
    return sum(x[0] for _ in range(x.argmax()))


def unsupported(x: Any) -> Any:
    return np.linalg.svd(x)


def unsupported_ufunc(x: Any) -> Any:
    return np.frompyfunc(str, 1, 1)(x)


def complex_array(x: Any) -> Any:
    return x * np.array([1j, 2, 3])


def complex_number(x: Any) -> Any:
    return x * 2j


def half(x: Any) -> Any:
    return x.astype(np.float16)


def half_by_promotion(x: Any) -> Any:
    return np.exp((x * 1).astype(np.int8))


def objects(x: Any) -> Any:
    return x * np.array([None, 1, 2])


def out(x: Any) -> Any:
    y = np.zeros((2, 3), int)
    np.add(x, 1, out=y)
    return y


def mask(x: Any) -> Any:
    return x[x > 0]


def where_one(x: Any) -> Any:
    return np.where(x > 0)


def out_of_range(x: Any) -> Any:
    return x[2]


def out_of_range_array(x: Any) -> Any:
    return x[:, [0, 3]]


def too_many(x: Any) -> Any:
    return x[0, 0, 0]


def bool_minus(x: Any) -> Any:
    return (x > 0) - (x < 0)


def matmul(x: Any) -> Any:
    return x @ x


def negative_power(x: Any) -> Any:
    return x.astype(int) ** -1


def bad_axis(x: Any) -> Any:
    return np.sum(x, axis=2)


def bad_reshape(x: Any) -> Any:
    return x.reshape(4, 2)


def branches(x: Any) -> Any:
    return cond(x[0, 0] > 0, lambda: x, lambda: x[0])


def random(x: Any) -> Any:
    return x + np.random.normal(size=3)


def to_array(x: Any) -> Any:
    return list(memoryview(np.zeros(3))) + Opaque().array(x)


class Opaque:
    __slots__ = ("kept",)  # so that no view of it is possible

    def array(self, x: Any) -> Any:
        return np.array([x[0], x[1]])


def method(x: Any) -> Any:
    return x.nonzero()


def resize_in_place(x: Any) -> Any:
    y = np.ones(3)
    y.resize(4)
    return x * y


def accumulate(x: Any) -> Any:
    return np.power.accumulate(np.repeat(x, 200))


def nonzero(x: Any) -> Any:
    return np.nonzero(x > 0)


CASES = [
    (method, TraceError, "ndarray.nonzero"),
    (resize_in_place, TraceError, "np.resize(x, shape)"),
    (accumulate, TraceError, "gradc.scan"),
    (nonzero, TraceError, "np.where"),
    (shapes, ShapeError, "do not broadcast"),
    (branch, TraceError, "np.where"),
    (branch_of_sum, TraceError, "gradc.cond"),
    (to_float, TraceError, "float"),
    (to_int, TraceError, "astype"),
    (item, TraceError, "item"),
    (math_exp, TraceError, "np.exp"),
    (traced_range, TraceError, "range"),
    (unsupported, TraceError, "np.linalg.svd"),
    (unsupported_ufunc, TraceError, "np.vectorize"),
    (complex_array, TraceError, "complex"),
    (complex_number, TraceError, "complex"),
    (half, TraceError, "float32"),
    (half_by_promotion, TraceError, "float32"),
    (objects, TraceError, "object"),
    (out, TraceError, "the other dtype"),
    (mask, TraceError, "np.where"),
    (where_one, TraceError, "np.where"),
    (out_of_range, IndexOutOfBoundsError, "out of bounds"),
    (out_of_range_array, IndexOutOfBoundsError, "out of bounds"),
    (scalar_type, TraceError, "float32"),
    (bits, TraceError, "x.astype(dtype)"),
    (iterated_number, TraceError, "range(n)"),
    (length_of_a_number, TraceError, "len()"),
    (traced_size, TraceError, "np.zeros(len(x))"),
    (too_many, IndexOutOfBoundsError, "too many"),
    (bool_minus, ShapeError, "^"),
    (matmul, ShapeError, "inner sizes"),
    (negative_power, ValueError, "negative"),
    (bad_axis, ShapeError, "axis"),
    (bad_reshape, ShapeError, "reshape"),
    (branches, ShapeError, "cond"),
    (random, TraceError, "gradc.random"),
]


@pytest.mark.parametrize("f,kind,words", CASES, ids=lambda x: getattr(x, "__name__", None))
def test_error(f: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        run(f, X)
    error = caught.value
    assert isinstance(error, GradcError)
    text = str(error)
    assert words in text and len(text.splitlines()) <= 12, text
    first = f.__code__.co_firstlineno
    assert error.source is not None and error.source.file == __file__
    assert first < error.source.line <= first + 3, text


def test_code_out_of_reach_that_needs_the_elements() -> None:
    with pytest.raises(TraceError) as caught:
        run(lambda x, o: o.array(x), X, Opaque())
    assert "np.array" in str(caught.value) and caught.value.source is not None


def test_leaks() -> None:
    def leak(x: Any) -> Any:
        LEAKED.append(x * 2)
        return x

    run(leak, X)
    value = LEAKED[-1]
    with pytest.raises(TraceError, match="outside") as caught:
        value + 1
    assert caught.value.source is not None and caught.value.source.file == __file__
    with pytest.raises(TraceError, match="outside") as caught:
        run(lambda x: x + value, X)
    assert caught.value.source is not None and caught.value.source.file == __file__


def test_traced_indices_are_guarded() -> None:
    with pytest.raises(IndexOutOfBoundsError):
        run(lambda x, i: x[i], X, I + 1)
    with pytest.raises(IndexOutOfBoundsError):
        run(lambda x, i: x[i], X, I - 3)


def test_negative_powers_of_integers_are_a_value_error() -> None:
    with pytest.raises(DomainError, match="negative") as error:
        run(lambda i: i**i, I - 1)
    assert isinstance(error.value, ValueError)
    with pytest.raises(ValueError, match=r"test_errors.py:\d+\n(.*\n)+integers to negative"):
        gradc.compile(lambda i: i**i)(I - 1)


def test_numpy_random_generators_of_the_user_still_work() -> None:
    run(lambda x: x + np.random.default_rng(0).normal(size=3), X)
