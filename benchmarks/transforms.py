"""What gradients cost: value and gradient, and Hessian times vector, beside the value alone.

    python -m benchmarks.transforms

Both sides are gradc's. By the count of operations a gradient costs two to three times the value, and a
Hessian-vector product, the tangent of a gradient, twice to three times that again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import gradc
from benchmarks.rounds import Row, microseconds_each, repeated

GRADIENT, PRODUCT = 4.0, 10.0
"""The most that a value with its gradient, and a Hessian-vector product, may cost, in values alone."""


def network(params: Any, X: Any, y: Any) -> Any:
    h = X
    for W, b in params[:-1]:
        h = np.maximum(h @ W + b, 0)
    W, b = params[-1]
    z = h @ W + b
    z = z - z.max(1, keepdims=True)
    return np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y])


def logistic(w: Any, X: Any, y: Any) -> Any:
    z = X @ w
    return np.mean(np.logaddexp(0, z) - y * z) + 0.1 * np.sum(w * w)


def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def chain(x: Any) -> Any:
    return np.mean((np.tanh(np.log(1 + x * x)) / np.sqrt(1 + np.exp(-x))) ** 2)


def attention(x: Any, W: Any) -> Any:
    h = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    q, k, v = h @ W[0], h @ W[1], h @ W[2]
    s = q @ np.swapaxes(k, -1, -2) / 8.0
    e = np.exp(s - s.max(-1, keepdims=True))
    return np.mean((e / e.sum(-1, keepdims=True) @ v) ** 2)


def recurrence(w: Any, x: Any) -> Any:
    h = np.zeros(w.shape[0])
    out = np.empty((len(x), w.shape[0]))
    for t in range(len(x)):
        h = np.tanh(w @ h + x[t])
        out[t] = h
    return np.mean(out**2)


def ordered(x: Any) -> Any:
    y = np.sort(x)
    return np.sum(np.cumsum(y) * y)


def programs() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Functions and their arguments."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    sizes = (784, 256, 128, 10)
    layers = [(normal(n, m) / np.float32(n**0.5), normal(m)) for n, m in itertools.pairwise(sizes)]
    return {
        "MLP 784-256-128-10, batch 128": (network, (layers, normal(128, 784), rng.integers(0, 10, 128))),
        "logistic regression 569x30 f64": (
            logistic,
            (rng.normal(size=30), rng.normal(size=(569, 30)), rng.integers(0, 2, 569)),
        ),
        "Rosenbrock 1,000,000 f64": (rosenbrock, (rng.normal(size=1_000_000),)),
        "elementwise chain 100,000 f32": (chain, (normal(100_000),)),
        "attention 8x64x64 f32": (attention, (normal(8, 64, 64), normal(3, 64, 64) / np.float32(8))),
        "recurrence 32 wide, 20 steps f64": (
            recurrence,
            (rng.normal(size=(32, 32)) / 6, rng.normal(size=(20, 32))),
        ),
        "sort and cumsum of 10,000 f64": (ordered, (rng.normal(size=10_000),)),
    }


def _tangents(x: Any) -> Any:
    """A direction like the arguments; None where they are no floats."""
    if isinstance(x, list | tuple):
        return type(x)([_tangents(y) for y in x])
    return np.ones_like(x) if x.dtype.kind == "f" else None


def measure() -> list[Row]:
    """The rows of the table."""
    rows = []
    for name, (f, args) in programs().items():
        compiled = gradc.compile(f)

        @gradc.compile
        def product(first: Any, rest: Any, tangent: Any, f: Any = f) -> Any:
            return gradc.hvp(lambda x: f(x, *rest), (first,), (tangent,))

        tangent = _tangents(args[0])
        first, rest = args[0], args[1:]
        compiled(*args)
        calls = 20

        def value(compiled: Any = compiled, args: Any = args) -> Any:
            return compiled(*args)

        def gradient(compiled: Any = compiled, args: Any = args) -> Any:
            return compiled.value_and_grad(*args)

        def hessian(product: Any = product, given: Any = (first, rest, tangent)) -> Any:
            return product(*given)

        for what, work, goal in (
            ("value and gradient", gradient, GRADIENT),
            ("Hessian times vector", hessian, PRODUCT),
        ):
            times = microseconds_each(repeated(work, calls), repeated(value, calls), per=calls)
            rows.append(Row(f"{what}: {name}", "the value", goal, *times))
    return rows


if __name__ == "__main__":
    from benchmarks.__main__ import table

    print(table(measure()))
