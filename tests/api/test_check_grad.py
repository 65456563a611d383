"""check_grad passes what is right, at any scale, and names the op whose rule is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.special

import gradc
from tests.api import wrong_rules
from tests.api.wrong_rules import WRONG, changed, instead, planted

x = np.linspace(0.2, 1.7, 12).reshape(3, 4)
w = np.cos(np.arange(20.0)).reshape(4, 5)

RIGHT: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "network": (lambda x, w: np.mean(np.tanh(x @ w) ** 2), (x, w)),
    "float32": (lambda x: np.sum(np.exp(x)), (x.astype(np.float32),)),
    "float32-inside": (lambda x: np.sum(np.exp(x.astype(np.float32))), (x,)),
    "large": (lambda x: np.sum(x**2), (x * 1e6,)),
    "small": (lambda x: np.sum(np.log(x)), (x * 1e-6,)),
    "vector": (lambda x: np.sin(x) * x, (x,)),
    "several-results": (lambda x: {"a": np.sin(x), "b": np.sum(x), "n": 3}, (x,)),
    "number": (lambda a, b: a * np.log(b), (2.0, 3.0)),
    "static": (lambda x, n: np.sum(x**n), (x, 3)),
    "kink-elsewhere": (lambda x: np.sum(np.maximum(x, 0.5)), (x,)),
    "masked-singularity": (lambda x: np.sum(np.where(x > 1, np.sqrt(x - 1), 0.0)), (x,)),
    "unused": (lambda x, w: np.sum(x), (x, w)),
    "cond": (lambda x, k: gradc.cond(k > 0, np.sum, lambda v: np.sum(v**2), x), (x, -1.0)),
}

v = np.array([0.7, -0.4, 1.3, 0.2, -1.1])
zeros = np.array([0.0, 1.0, -2.0, 0.0])
many = np.sin(np.arange(1e6)) + 1.5
nearly_singular = np.vander(np.linspace(0.5, 1.0, 7))
mixed = np.array([1e-12, 3e-5, 1.0, 2e6, 1e12])


@gradc.custom_gradient
def clipped_backward(x: Any) -> Any:
    """With the gradient that it has anyway, written down."""
    return x**3, lambda g: (3 * g * x**2,)


@gradc.checkpoint
def shifted_logsumexp(x: Any) -> Any:
    top = gradc.stop_gradient(np.max(x))
    return np.log(np.sum(np.exp(x - top))) + top


class Point(NamedTuple):
    x: Any
    name: str
    n: int


NASTY: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "steep": (lambda x: np.sum(np.exp(50 * x)), (v,)),
    "flat": (lambda x: np.sum(np.exp(-50 * x**2)), (v,)),
    "steep step": (lambda x: np.sum(np.tanh(1e4 * (x - 0.7001))), (v,)),
    "tiny arguments": (lambda x: np.sum(np.log(x) ** 2), (x * 1e-12,)),
    "tiny value": (lambda x: 1e-12 * np.sum(np.sin(x)), (v,)),
    "huge arguments": (lambda x: np.sum(np.sqrt(x) * np.log(x)), (x * 1e12,)),
    "huge value": (lambda x: 1e12 * np.sum(np.sin(x)), (v,)),
    "huge and squared": (lambda x: np.sum(x**2) ** 2, (x * 1e12,)),
    "tiny and squared": (lambda x: np.sum(x**2) ** 2, (x * 1e-12,)),
    "of many sizes": (lambda x: np.sum(np.log(x) ** 3), (mixed,)),
    "a small slope on a large value": (lambda x: 1e12 + np.sum(np.sin(x)) * 1e-3, (v,)),
    "lost in rounding": (lambda x: np.sum((x + 1e14) - 1e14 + np.sin(x)), (v,)),
    "a million terms": (lambda x: np.sum(np.log(x)), (many,)),
    "a million terms that cancel": (lambda x: np.sum(np.sin(1000 * x)), (many,)),
    "mean": (lambda x: np.mean(x**2), (many,)),
    "always one": (lambda x: np.sum(np.exp(x) / np.sum(np.exp(x))), (v,)),
    "oscillating": (lambda x: np.sum(np.sin(1e5 * x)), (v,)),
    "oscillating fast": (lambda x: np.sum(np.sin(1e9 * x)), (v,)),
    "float32 oscillating": (lambda x: np.sum(np.sin(100 * x)), (v.astype(np.float32),)),
    "float32 mean of many": (lambda x: np.mean(np.sqrt(x)), (many.astype(np.float32)[:100000],)),
    "float32 inside, large": (lambda x: np.sum(x.astype(np.float32) ** 2), (x * 1e3,)),
    "nearly singular": (lambda a: np.sum(np.linalg.solve(a, np.ones(7))), (nearly_singular,)),
    "nearly singular inverse": (lambda a: np.linalg.inv(a)[0, 0], (nearly_singular,)),
    "determinant of a nearly singular matrix": (np.linalg.det, (nearly_singular,)),
    "near a pole": (lambda x: np.sum(1 / (x - 0.7000001)), (v,)),
    "near a border": (lambda x: np.sum(np.sqrt(x - 0.2 + 1e-9)), (x,)),
    "near a kink": (lambda x: np.sum(np.abs(x - 0.7000001)), (v,)),
    "jumps elsewhere": (lambda x: np.sum(np.floor(3 * x) * x), (v,)),
    "at a jump": (lambda x: np.sum(np.floor(x)), (zeros,)),
    "sign at 0": (lambda x: np.sum(np.sign(x) + x), (zeros,)),
    "rounding": (lambda x: np.sum(np.rint(x) + x % 0.3), (v,)),
    "abs at 0": (lambda x: np.sum(np.abs(x)), (zeros,)),
    "relu at 0": (lambda x: np.sum(np.maximum(x, 0)), (zeros,)),
    "clip at its ends": (lambda x: np.sum(np.clip(x, -2, 1) * np.arange(4)), (zeros,)),
    "ties of a maximum": (lambda x: np.max(x) * 2, (np.ones(4),)),
    "ties of sort": (lambda x: np.sum(np.sort(x) * np.arange(4)), (zeros,)),
    "norm at 0": (np.linalg.norm, (np.zeros(3),)),
    "hypot at 0": (lambda x: np.hypot(x[0], x[1]), (np.zeros(2),)),
    "sqrt at 0": (lambda x: np.sum(np.sqrt(x)), (np.array([0.0, 1.0, 2.0]),)),
    "power at 0": (lambda x: np.sum(x**1.5 + x**0), (np.array([0.0, 1.0, 2.0]),)),
    "cube root at 0": (lambda x: np.sum(np.cbrt(x)), (zeros,)),
    "x log x at 0": (lambda x: np.sum(scipy.special.xlogy(x, x)), (np.array([0.0, 1.0, 2.0]),)),
    "masked pole": (lambda x: np.sum(np.where(x != 0, 1 / x, 0.0)), (zeros,)),
    "product with zeros": (lambda x: np.prod(x) + np.prod(x[1:3]), (zeros,)),
    "constant": (lambda x: 0.0 * np.sum(x) + 3.0, (v,)),
    "empty": (lambda x: np.sum(x) + 1.0, (np.zeros((0, 3)),)),
    "integers, trees": (
        lambda p, n, flag: np.sum(p["a"][0].x ** n) * p["b"] if flag else 0.0,
        ({"a": [Point(v, "p", 3)], "b": 2.0, "k": np.arange(3)}, 2, True),
    ),
    "integer arrays": (
        lambda x, i, m: np.sum(np.where(m, x[i], 0.0) * i),
        (v, np.array([1, 1, 4]), v[:3] > 0),
    ),
    "a right pullback": (lambda x: np.sum(clipped_backward(x)), (v,)),
    "stopped": (lambda x: np.sum(x * gradc.stop_gradient(np.exp(x))), (v,)),
    "stopped twice": (lambda x: np.sum(gradc.stop_gradient(gradc.stop_gradient(x) * x) * x), (v,)),
    "stopped where it counts nothing": (lambda x: shifted_logsumexp(x) ** 2, (v,)),
    "a branch that is not meant for this": (
        lambda x: gradc.cond(x[0] > 0, np.sum, lambda x: np.sum(np.log(x[0] - 1)), x),
        (v,),
    ),
    "a gradient": (gradc.grad(lambda x: np.sum(np.exp(np.sin(x)))), (v,)),
    "a hessian": (gradc.hessian(lambda x: np.sum(np.tanh(x) ** 3) * x[0]), (v,)),
    "eigenvalues that nearly meet": (
        lambda a: np.sum(np.linalg.eigvalsh(a + a.T) * np.arange(3)),
        (np.diag([1.0, 1.0 + 1e-5, 2.0]),),
    ),
    "parameters of special functions": (lambda x: np.sum(scipy.special.gammainc(2.5, x)), (x,)),
}
"""Honest functions, whatever finite differences make of them."""


@pytest.mark.parametrize("case", NASTY)
def test_no_false_alarm(case: str) -> None:
    fn, args = NASTY[case]
    gradc.check_grad(fn, *args)


@pytest.mark.parametrize("case", RIGHT)
def test_right_gradients_pass(case: str) -> None:
    fn, args = RIGHT[case]
    assert gradc.check_grad(fn, *args) is None
    gradc.check_grad(gradc.compile(fn), *args)


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_rule_is_caught_and_named(case: str) -> None:
    op, rule, fn, args = WRONG[case]
    gradc.check_grad(fn, *args)
    with planted(op, rule), pytest.raises(AssertionError, match=rf"rule of `{op}` is at fault") as caught:
        gradc.check_grad(fn, *args)
    assert isinstance(caught.value, gradc.GradcError)
    assert caught.value.source is not None
    assert caught.value.source.file in (__file__, wrong_rules.__file__)
    if case not in ("another type", "a gradient for integers"):
        assert "it gives " in str(caught.value) and "finite differences" in str(caught.value)


def test_a_wrong_rule_inside_of_a_branch_is_named() -> None:
    fn = lambda x, k: gradc.cond(k > 0, lambda v: np.sum(np.sinh(v)), np.sum, x)  # noqa: E731
    with (
        planted("sinh", instead(lambda g, y, x: g * y)),
        pytest.raises(gradc.GradientError, match="rule of `sinh`"),
    ):
        gradc.check_grad(fn, x, 1.0)


def test_a_wrong_pullback_is_named_by_its_function() -> None:
    @gradc.custom_gradient
    def hasty_softplus(x: Any) -> Any:
        return np.log1p(np.exp(x)), lambda g: (g / (1 + np.exp(x)),)

    with pytest.raises(
        gradc.GradientError, match=r"the pullback of hasty_softplus is at fault: for its input 0"
    ):
        gradc.check_grad(lambda x: np.sum(np.sin(hasty_softplus(x))), x)


def test_a_pullback_that_differs_on_purpose_is_named() -> None:
    @gradc.custom_gradient
    def rounded(x: Any) -> Any:
        """The straight-through estimator."""
        return np.rint(x), lambda g: (g,)

    for fn in (rounded, gradc.checkpoint(rounded), lambda x: gradc.cond(x[0] > 0, rounded, np.sin, x)):
        with pytest.raises(
            gradc.GradientError, match=r"the pullback of rounded is at fault.*differences give 0"
        ):
            gradc.check_grad(lambda x: np.sum(fn(3 * x) ** 2), v)  # noqa: B023


def test_kinks_that_do_not_compose_are_named() -> None:
    """The slope is 1 on both sides of 0, but a quarter of one and half of another do not cancel."""
    fn = lambda x: np.sum(np.maximum(np.maximum(x, 0), 0) - np.maximum(x, 0) + x)  # noqa: E731
    gradc.check_grad(fn, v)
    with pytest.raises(gradc.GradientError, match=r"there are kinks here, of `maximum` ") as caught:
        gradc.check_grad(fn, zeros)
    assert "check at other arguments" in str(caught.value)


def test_a_wrong_slope_at_a_kink_is_found() -> None:
    """The slopes of the two sides are 0 and 1, so 1.5 is none of a subgradient's."""
    wrong = instead(lambda g, y, a, b: (g * 1.5, None))
    with planted("maximum", wrong), pytest.raises(gradc.GradientError, match=r"`maximum` .*there is a kink"):
        gradc.check_grad(lambda x: np.sum(np.maximum(x, 0)), zeros)


def test_what_is_no_number_cannot_be_checked() -> None:
    with pytest.raises(gradc.GradientError, match="is nan here"):
        gradc.check_grad(lambda x: np.sum(np.log(x)), v)
    with pytest.raises(gradc.GradientError, match="is inf here"):
        gradc.check_grad(lambda x: np.sum(1 / x**2), zeros)


def test_every_rule_of_a_program_counts() -> None:
    """A thousandth more in any one op's rule is found, and that op is named."""
    fn, args = lambda x, b: np.mean(np.tanh(x @ w + b) ** 2 / np.exp(b)), (x, w[0])
    for op in ("mul", "div", "add", "matmul", "tanh", "exp", "broadcast", "reduce_sum"):
        wrong = changed(lambda *gs: tuple([g * 1.001 for g in gs]))
        with planted(op, wrong), pytest.raises(gradc.GradientError, match=f"rule of `{op}` is at fault"):
            gradc.check_grad(fn, *args)


def test_wrong_code_is_told_from_a_wrong_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradc.api import backend

    build = backend.build

    def wrong(graph: Any, options: Any) -> Any:
        made = build(graph, options)
        run = made.run
        made.run = lambda *args, **kwargs: [r if r.ndim == 0 else r * 1.01 for r in run(*args, **kwargs)]
        return made

    monkeypatch.setattr(backend, "build", wrong)
    with pytest.raises(gradc.GradientError, match="compiled code is at fault"):
        gradc.check_grad(lambda x: np.sum(np.exp(x)), x)


def test_nothing_to_check() -> None:
    with pytest.raises(gradc.ArgumentError, match="no float"):
        gradc.check_grad(lambda n: n, 3)
    with pytest.raises(gradc.ArgumentError, match="no float"):
        gradc.check_grad(lambda x: x > 0, x)
    gradc.check_grad(lambda x, y: np.sum(x * y), x, x, wrt="y")


def test_gradients_whose_squares_overflow() -> None:
    gradc.check_grad(np.exp, np.array([692.0, -3.0]))
    gradc.check_grad(lambda x: np.power(x, 300), np.array([2.2, -3.1, 5.5]))
