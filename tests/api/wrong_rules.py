"""Wrong gradient rules, as data: the mistakes that people make, each with a program that meets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.special

import gradc
from gradc.ir import OPS, Value, constant, emit, zeros
from gradc.ir.ops.elementwise import where

Rule = Callable[..., Any]

x = np.linspace(0.2, 1.7, 12).reshape(3, 4)
square = np.linspace(0.3, 1.9, 9).reshape(3, 3) + 2 * np.eye(3)
v = np.array([0.7, -0.4, 1.3, 0.2, -1.1])
index = np.array([2, 0, 2, 1])


class Wrong(NamedTuple):
    """`rule` takes the right rule and gives the wrong one of the op; `fn` at `args` meets it."""

    op: str
    rule: Callable[[Rule], Rule]
    fn: Callable[..., Any]
    args: tuple[Any, ...]


@contextmanager
def planted(op: str, rule: Callable[[Rule], Rule]) -> Iterator[None]:
    """The op has this rule in here."""
    row = OPS[op]
    right = row.vjp
    assert right is not None
    object.__setattr__(row, "vjp", rule(right))
    try:
        yield
    finally:
        object.__setattr__(row, "vjp", right)


def instead(vjp: Rule) -> Callable[[Rule], Rule]:
    """Another rule altogether."""
    return lambda right: vjp


def changed(change: Callable[..., Any]) -> Callable[[Rule], Rule]:
    """What the right rule gives, and then a mistake."""

    def wrong(right: Rule) -> Rule:
        def vjp(*args: Any, **attrs: Any) -> Any:
            found = right(*args, **attrs)
            parts = found if isinstance(found, tuple) else (found,)
            return change(*[getattr(part, "value", part) for part in parts])

        return vjp

    return wrong


def flipped(a: Any) -> Value:
    """Its last axis from the end on."""
    a = getattr(a, "value", a)
    starts = tuple(n - 1 if i == len(a.shape) - 1 else 0 for i, n in enumerate(a.shape))
    steps = tuple(-1 if i == len(a.shape) - 1 else 1 for i in range(len(a.shape)))
    return emit("slice", a, starts=starts, sizes=a.shape, steps=steps)


def turned(a: Value) -> Value:
    return emit("transpose", a, axes=tuple(range(len(a.shape)))[::-1])


def first_only(g: Any, y: Any, x: Value, *, shape: Any, axes: Any) -> Value:
    """Of all copies that a broadcast made, the first one's cotangent, instead of the sum."""
    sizes = tuple(n if i in axes else 1 for i, n in enumerate(shape))
    part = emit("slice", g, starts=(0,) * len(shape), sizes=sizes, steps=(1,) * len(shape))
    return emit("reshape", part, shape=x.shape)


def along_sorted(g: Any, y: Any, x: Value) -> Value:
    """The permutation itself, instead of its inverse."""
    return emit("gather", g[0], y[1], axes=(0,))


def windowed(a: Any) -> Any:
    return np.sum(np.sin(np.lib.stride_tricks.sliding_window_view(a, 3) @ np.array([1.0, -2.0, 0.5])))


def chosen(a: Any, k: Any) -> Any:
    return gradc.cond(k > 0, np.sum, lambda a: np.sum(np.sinh(a)), a)


def written(a: Any, u: Any) -> Any:
    y = a * 1.0
    y[index] = u
    return np.sum(np.sin(y))


def added(a: Any, u: Any) -> Any:
    y = a * 1.0
    np.add.at(y, index, u)
    return np.sum(np.sin(y))


WRONG: dict[str, Wrong] = {
    "wrong factor": Wrong(
        "mul",
        instead(lambda g, y, a, b: (g * b * 1.0005, g * a)),
        lambda a: np.sum(np.exp(a * np.cos(a))),
        (x,),
    ),
    "wrong factor of 2": Wrong("sin", changed(lambda g: g * 2.001), lambda a: np.sum(np.sin(a) + a), (x,)),
    "missing factor": Wrong("log", instead(lambda g, y, a: g), lambda a: np.sum(np.log(a)), (x,)),
    "missing inner factor": Wrong(
        "tanh", instead(lambda g, y, a: g * (1 - y)), lambda a: np.mean(np.tanh(a)), (x,)
    ),
    "sign": Wrong("sub", instead(lambda g, y, a, b: (g, g)), lambda a: np.sum((1 - a) ** 2), (x,)),
    "sign of the second operand": Wrong(
        "div", instead(lambda g, y, a, b: (g / b, g * y / b)), lambda a: np.sum(1 / a), (x,)
    ),
    "operands swapped": Wrong(
        "mul", instead(lambda g, y, a, b: (g * a, g * b)), lambda a: np.sum(a * np.exp(a)), (x,)
    ),
    "forgotten sum over a broadcast": Wrong(
        "broadcast", instead(first_only), lambda a, b: np.sum(np.sin(a + b)), (x, x[0])
    ),
    "a sum over a broadcast of one size": Wrong(
        "broadcast", changed(flipped), lambda b: np.sum(np.sin(np.ones((3, 3)) * b) * square), (square[0],)
    ),
    "transposed": Wrong("matmul", changed(lambda a, b: (a, turned(b))), lambda a: square @ a, (square,)),
    "wrong axis": Wrong(
        "reduce_sum", changed(turned), lambda a: np.sum(np.exp(np.sum(a, axis=0))), (square,)
    ),
    "scaled by n": Wrong("reduce_sum", changed(lambda g: g / 12), np.sum, (x,)),
    "one of two uses": Wrong(
        "mul", instead(lambda g, y, a, b: (g * b, None)), lambda a: np.sum(a * a.copy()), (x,)
    ),
    "the wrong branch of where": Wrong(
        "where",
        instead(lambda g, y, c, a, b: (None, where(c, g, 0), where(c, g, 0))),
        lambda a: np.sum(np.where(a > 1, a * 2, np.exp(a))),
        (x,),
    ),
    "to both sides of a maximum": Wrong(
        "maximum", instead(lambda g, y, a, b: (g, g)), lambda a: np.sum(np.maximum(a, a**2)), (x,)
    ),
    "wrong beyond 1.5": Wrong(
        "log",
        instead(lambda g, y, a: g * where(a > 1.5, 1.01 / a, 1 / a)),
        lambda a: np.sum(np.log(a)),
        (x,),
    ),
    "wrong second derivative": Wrong(
        "cos", changed(lambda g: g * 1.001), gradc.grad(lambda a: np.sum(np.sin(a))), (x,)
    ),
    "windows": Wrong("windows", changed(flipped), windowed, (v,)),
    "fold": Wrong("fold", changed(flipped), gradc.grad(windowed), (v,)),
    "contract": Wrong(
        "contract",
        changed(lambda a, b: (a, flipped(b))),
        lambda a, b: np.sum(np.sin(np.convolve(a, b))),
        (v, v[:3]),
    ),
    "a running sum that is not turned": Wrong(
        "cumsum",
        instead(lambda g, y, a, *, axis, reverse: emit("cumsum", g, axis=axis, reverse=reverse)),
        lambda a: np.sum(np.cumsum(a) ** 2),
        (v,),
    ),
    "a running product of its own": Wrong(
        "cumprod", changed(flipped), lambda a: np.sum(np.cumprod(a) ** 2), (v,)
    ),
    "the permutation, not its inverse": Wrong(
        "sort", instead(along_sorted), lambda a: np.sum(np.sort(a) * np.arange(5.0)), (v,)
    ),
    "repeated indices": Wrong(
        "gather",
        instead(
            lambda g, y, a, i, *, axes: (
                emit("scatter", zeros(a.type), g, i, axes=axes, distinct=False),
                None,
            )
        ),
        lambda a, i: np.sum(np.exp(a[i])),
        (v, index),
    ),
    "what was overwritten": Wrong(
        "scatter",
        lambda right: lambda g, *args, **attrs: (g, *right(g, *args, **attrs)[1:]),
        written,
        (v, v[:4]),
    ),
    "updates in another order": Wrong(
        "scatter_add", changed(lambda a, u, i: (a, flipped(u), i)), added, (v, v[:4])
    ),
    "triangular solve": Wrong(
        "triangular_solve",
        changed(lambda a, b: (-a, b)),
        lambda a, b: np.sum(np.sin(scipy.linalg.solve_triangular(a, b, lower=True))),
        (square, square[0]),
    ),
    "solve": Wrong(
        "solve",
        changed(lambda a, b: (turned(a), b)),
        lambda a, b: np.sum(np.sin(np.linalg.solve(a, b))),
        (square, square[0]),
    ),
    "cholesky": Wrong(
        "cholesky", changed(lambda a: a * 2.0), lambda a: np.sum(np.linalg.cholesky(a @ a.T)), (square,)
    ),
    "a library's function, a little": Wrong(
        "gammaln", changed(lambda g: g * 1.0001), lambda a: np.sum(scipy.special.gammaln(a)), (x,)
    ),
    "another one": Wrong(
        "j0", changed(lambda g: g * 1.0001), lambda a: np.sum(scipy.special.j0(a)) + np.sum(a), (x,)
    ),
    "a branch": Wrong("sinh", instead(lambda g, y, a: g * y), chosen, (x, -1.0)),
    "a branch that is not taken": Wrong("sinh", instead(lambda g, y, a: g * y), chosen, (x, 1.0)),
    "a gradient for integers": Wrong(
        "gather",
        lambda right: lambda g, y, a, i, *, axes: (right(g, y, a, i, axes=axes)[0], i),
        lambda a, i: np.sum(np.exp(a[i])),
        (v, index),
    ),
    "nothing": Wrong("exp", instead(lambda g, y, a: None), lambda a: np.sum(np.exp(a)) + np.sum(a), (x,)),
    "zeros": Wrong("exp", instead(lambda g, y, a: zeros(a.type)), lambda a: np.sum(np.exp(a)), (x,)),
    "not a number": Wrong(
        "exp", instead(lambda g, y, a: g * constant(np.nan, a.type)), lambda a: np.sum(np.exp(a)), (x,)
    ),
    "another type": Wrong("transpose", instead(lambda g, y, a, *, axes: g), lambda a: np.sin(a.T), (x,)),
    "pieces swapped": Wrong(
        "concat",
        changed(lambda a, b: (b, a)),
        lambda a: np.sum(np.sin(np.concatenate([a, a * 2]) * np.arange(10))),
        (v,),
    ),
    "to all, not to the largest": Wrong(
        "reduce_max",
        instead(lambda g, y, a, *, axes: emit("broadcast", g, shape=a.shape, axes=())),
        lambda a: np.max(a) ** 2,
        (x,),
    ),
    "of one small part": Wrong(
        "expm1",
        changed(lambda g: g * 1.01),
        lambda p: np.sum(1e6 * p["large"] ** 2) + 1e-6 * np.sum(np.expm1(p["small"])),
        ({"large": x, "small": v},),
    ),
}
