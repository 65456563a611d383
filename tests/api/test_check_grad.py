"""check_grad passes what is right, at any scale, and names the op whose rule is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.ir import OPS

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


@pytest.mark.parametrize("case", RIGHT)
def test_right_gradients_pass(case: str) -> None:
    fn, args = RIGHT[case]
    assert gradc.check_grad(fn, *args) is None
    gradc.check_grad(gradc.compile(fn), *args)


@contextmanager
def planted(op: str, vjp: Any) -> Iterator[None]:
    """The op has this rule in here."""
    row = OPS[op]
    right = row.vjp
    object.__setattr__(row, "vjp", vjp)
    try:
        yield
    finally:
        object.__setattr__(row, "vjp", right)


WRONG: dict[str, tuple[str, Any, Callable[..., Any]]] = {
    "factor": ("mul", lambda g, y, a, b: (g * b * 1.0005, g * a), lambda x: np.sum(np.exp(x * x.copy()))),
    "unary-factor": ("sin", lambda g, y, x: g * y * 2.001, lambda x: np.sum(np.sin(x) + x)),
    "sign": ("tanh", lambda g, y, x: -(g * (1 - y * y)), lambda x: np.mean(np.tanh(x @ w))),
    "nothing": ("exp", lambda g, y, x: None, lambda x: np.sum(np.exp(x)) + np.sum(x)),
    "second-input": ("div", lambda g, y, a, b: (g / b, g * y / b), lambda x: np.sum(1 / x)),
    "type": ("transpose", lambda g, y, x, *, axes: g, lambda x: np.sum(np.sin(x.T))),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_rule_is_caught_and_named(case: str) -> None:
    op, vjp, fn = WRONG[case]
    with planted(op, vjp), pytest.raises(AssertionError, match=rf"rule of `{op}` is at fault") as caught:
        gradc.check_grad(fn, x)
    assert isinstance(caught.value, gradc.GradcError)
    assert ("it gives f64[4, 3]" if case == "type" else "finite differences give") in str(caught.value)
    assert caught.value.source is not None and caught.value.source.file == __file__
    gradc.check_grad(fn, x)


def test_a_wrong_rule_inside_of_a_branch_is_named() -> None:
    fn = lambda x, k: gradc.cond(k > 0, lambda v: np.sum(np.sinh(v)), np.sum, x)  # noqa: E731
    with (
        planted("sinh", lambda g, y, x: g * y),
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
