"""Bad input: what is said (golden files), where, and that nothing is broken afterwards."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc

x23 = np.arange(1.0, 7.0).reshape(2, 3)
x3 = np.array([1.0, 2.0, 3.0])
LEAKED: list[Any] = []


def shapes_that_do_not_broadcast(x: Any, y: Any) -> Any:
    scaled = x * 2
    return np.sum(scaled + y)


def matrices_that_do_not_fit(x: Any, y: Any) -> Any:
    return np.sum(x @ y)


def branch_on_an_array(x: Any) -> Any:
    if np.sum(x) > 0:
        return np.sum(x)
    return np.sum(-x)


def float_of_an_array(x: Any) -> Any:
    return float(np.sum(x)) * 2


def math_of_an_array(x: Any) -> Any:
    return np.sum(math.exp(x))


def range_over_a_traced_length(x: Any) -> Any:
    return sum(x[i] for i in range(np.argmax(x)))


def unsupported_function(x: Any) -> Any:
    return np.sum(np.linalg.eig(x @ x.T)[0])


def not_a_number(x: Any) -> Any:
    return x * 2


def several_numbers(x: Any) -> Any:
    return np.sum(x), np.max(x)


def an_integer(x: Any) -> Any:
    return np.argmax(x)


def aux_without_saying_so(x: Any) -> Any:
    return np.sum(x), {"x": x}


def helper(x: Any) -> Any:
    return x + np.ones(17)


def deep_in_a_helper(x: Any) -> Any:
    return np.sum(helper(x))


def leak(x: Any) -> Any:
    LEAKED.append(x * 2)
    return np.sum(x)


def uses_a_leaked_tracer(x: Any) -> Any:
    return np.sum(x * LEAKED[0])


class Box:
    def __init__(self, content: Any) -> None:
        self.content = content


def returns_an_object(x: Any) -> Any:
    return {"box": Box(x * 2)}


def returns_a_generator(x: Any) -> Any:
    return (x * i for i in range(3))


def returns_a_closure(x: Any) -> Any:
    y = x * 2
    return lambda: y


def raises_an_error_of_its_own(x: Any) -> Any:
    raise RuntimeError("from the user's code")


def halves(x: Any) -> Any:
    return np.sum(x * 0.5)


def fine(x: Any, *rest: Any) -> Any:
    return np.sum(x * x)


def leaked() -> Any:
    LEAKED.clear()
    gradc.compile(leak)(x3)
    return gradc.compile(uses_a_leaked_tracer)(x3)


CAPTURED = np.ones(3)


def write_into_an_argument(x: Any, y: Any = 1.0) -> Any:
    x[0] = 1.0
    return np.sum(x * y)


def write_into_a_view(x: Any) -> Any:
    np.broadcast_to(x, (2, 3))[0] = 1.0
    return x


def write_in_a_branch(x: Any) -> Any:
    def doubled(x: Any) -> Any:
        x *= 2
        return x

    return gradc.cond(x[0] > 0, doubled, lambda x: x, x)


def add_to_a_dict_in_a_branch(x: Any) -> Any:
    def added(d: Any) -> Any:
        d["y"] = d["x"]
        return d["x"]

    return gradc.cond(x[0] > 0, added, lambda d: d["x"], {"x": x})


def write_into_a_captured_array(x: Any) -> Any:
    CAPTURED[:] = x
    return np.sum(CAPTURED)


def unknown_length(x: Any) -> Any:
    positive = x[x > 0]
    return np.sum(x) / len(positive)


class Recurrent:
    def __init__(self) -> None:
        self.state: Any = np.zeros(3)

    @gradc.compile
    def step(self, x: Any) -> Any:
        self.state = np.tanh(self.state + x)
        return np.sum(self.state)


CASES: dict[str, Callable[[], Any]] = {
    "broadcast": lambda: gradc.compile(shapes_that_do_not_broadcast)(x23, np.ones(4)),
    "matmul": lambda: gradc.compile(matrices_that_do_not_fit)(x23, x23),
    "branch": lambda: gradc.compile(branch_on_an_array)(x3),
    "float": lambda: gradc.compile(float_of_an_array)(x3),
    "math": lambda: gradc.compile(math_of_an_array)(x3),
    "range": lambda: gradc.compile(range_over_a_traced_length)(x3),
    "unsupported": lambda: gradc.compile(unsupported_function)(x23),
    "write-read-only": lambda: gradc.compile(write_into_an_argument)(np.broadcast_to(1.0, 3)),
    "write-overlap": lambda: gradc.compile(write_into_an_argument)(x3[1:], x3[:-1]),
    "write-broadcast": lambda: gradc.compile(write_into_a_view)(x3),
    "write-branch": lambda: gradc.compile(write_in_a_branch)(x3),
    "write-dict-in-branch": lambda: gradc.compile(add_to_a_dict_in_a_branch)(x3),
    "write-captured": lambda: gradc.compile(write_into_a_captured_array)(x3),
    "unknown-length": lambda: gradc.compile(unknown_length)(x3),
    "attribute": lambda: Recurrent().step(x3),
    "non-scalar-loss": lambda: gradc.compile(not_a_number).grad(x3),
    "tuple-loss": lambda: gradc.compile(several_numbers).value_and_grad(x3),
    "integer-loss": lambda: gradc.grad(an_integer)(x3),
    "aux-unsaid": lambda: gradc.compile(aux_without_saying_so).grad(x3),
    "aux-missing": lambda: gradc.compile(fine, has_aux=True).grad(x3),
    "wrt-without-floats": lambda: gradc.compile(halves).grad(np.arange(3)),
    "wrt-static": lambda: gradc.compile(fine, wrt=1).grad(x3, "text"),
    "wrt-unknown-name": lambda: gradc.compile(shapes_that_do_not_broadcast, wrt="z"),
    "wrt-unknown-position": lambda: gradc.compile(shapes_that_do_not_broadcast, wrt=2),
    "wrt-negative": lambda: gradc.grad(fine, wrt=-1),
    "wrt-twice": lambda: gradc.compile(shapes_that_do_not_broadcast, wrt=(0, "x")),
    "wrt-list": lambda: gradc.grad(fine, wrt=[0]),
    "wrt-empty": lambda: gradc.compile(fine, wrt=()),
    "wrt-not-passed": lambda: gradc.compile(fine, wrt=3).grad(x3),
    "complex": lambda: gradc.compile(fine)(x3 + 0j),
    "object": lambda: gradc.compile(fine)({"inner": [np.array([1, "a"], object)]}),
    "strings": lambda: gradc.compile(fine)(np.array(["a"])),
    "half": lambda: gradc.compile(fine)(x3.astype(np.float16)),
    "unhashable": lambda: gradc.compile(fine)(x3, {1, 2}),
    "masked": lambda: gradc.compile(fine)(np.ma.masked_array(x3, [True, False, False])),
    "missing-argument": lambda: gradc.compile(shapes_that_do_not_broadcast)(x3),
    "leaked-tracer": leaked,
    "helper": lambda: gradc.compile(deep_in_a_helper)(x3),
    "classmethod": lambda: gradc.compile(classmethod(fine)),  # pyright: ignore
    "not-a-function": lambda: gradc.compile(x3),  # pyright: ignore
    "own-error": lambda: gradc.compile(raises_an_error_of_its_own)(x3),
    "returned-object": lambda: gradc.compile(returns_an_object)(x3),
    "returned-generator": lambda: gradc.compile(returns_a_generator)(x3),
    "returned-closure": lambda: gradc.compile(returns_a_closure)(x3),
    "index-out-of-bounds": lambda: gradc.compile(lambda x, i: x[i])(x3, np.array([3])),
}


@pytest.mark.parametrize("case", CASES)
def test_message(case: str, golden: Callable[[str, str], None]) -> None:
    before = x3.copy(), x23.copy()
    with pytest.raises(Exception) as caught:
        CASES[case]()
    error = caught.value
    text = f"{type(error).__name__}: {error}"
    assert len(text.splitlines()) <= 12
    if case != "own-error":
        assert isinstance(error, gradc.GradcError)
        assert case == "index-out-of-bounds" or __file__ in text, text
    golden(f"errors/{case}.txt", text)
    # The traceback is the user's: below the call, no line of gradc, and at most one frame of its front.
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "/gradc/" in f.filename]
    assert len(ours) <= 2, ours
    assert error.__suppress_context__ or error.__context__ is None, repr(error.__context__)
    # Nothing was changed, and the next call is right.
    np.testing.assert_array_equal(before[0], x3)
    np.testing.assert_array_equal(before[1], x23)
    value, gradient = gradc.compile(fine).value_and_grad(x3)
    assert value == 14.0 and list(gradient) == [2.0, 4.0, 6.0]


def test_the_same_function_works_after_an_error() -> None:
    f = gradc.compile(shapes_that_do_not_broadcast)
    with pytest.raises(gradc.ShapeError):
        f(x23, np.ones(4))
    assert f(x23, x3) == np.sum(x23 * 2 + x3)
    with pytest.raises(gradc.ShapeError):
        f(x23, np.ones(4))
    assert list(f.grad(x23, x3)[0]) == [2, 2, 2]


def test_the_traceback_ends_in_the_users_line() -> None:
    with pytest.raises(gradc.ShapeError) as caught:
        gradc.compile(deep_in_a_helper)(x3)
    frames = traceback.extract_tb(caught.value.__traceback__)
    names = [f.name for f in frames]
    assert names[-2:] == ["deep_in_a_helper", "helper"], names


def test_the_users_own_errors_keep_their_context() -> None:
    def fn(x: Any) -> Any:
        try:
            raise KeyError("first")
        except KeyError:
            raise RuntimeError("second")  # noqa: B904

    with pytest.raises(RuntimeError) as caught:
        gradc.compile(fn)(x3)
    assert isinstance(caught.value.__context__, KeyError) and not caught.value.__suppress_context__


def test_all_frames_stay_for_debugging(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setenv("GRADC_DEBUG", "1")
    with pytest.raises(gradc.ShapeError) as caught:
        gradc.compile(deep_in_a_helper)(x3)
    assert any("gradc/trace" in f.filename for f in traceback.extract_tb(caught.value.__traceback__))
