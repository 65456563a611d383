"""Loss and gradient of programs that people train, beside JAX: steady state, compiling excluded.

    python -m benchmarks.workloads

Both sides use as many threads as they like. JAX has its arguments on the device and is waited for; gradc
takes NumPy arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import gradc
from benchmarks.rounds import Row, microseconds_each, repeated

Function = Callable[..., Any]


class Workload(NamedTuple):
    """A function of a namespace (NumPy's, or JAX's), the arguments, and the ratio that is asked for."""

    name: str
    make: Callable[[Any], Function]
    arguments: tuple[Any, ...]
    goal: float


def cross_entropy(xp: Any) -> Function:
    def loss(z: Any, y: Any) -> Any:
        z = z - z.max(1, keepdims=True)
        return xp.mean(xp.log(xp.exp(z).sum(1)) - z[xp.arange(len(y)), y])

    return loss


def classifier(activation: str) -> Callable[[Any], Function]:
    def make(xp: Any) -> Function:
        act = xp.tanh if activation == "tanh" else lambda x: xp.maximum(x, 0)
        entropy = cross_entropy(xp)

        def loss(params: Any, X: Any, y: Any) -> Any:
            h = X
            for W, b in params[:-1]:
                h = act(h @ W + b)
            W, b = params[-1]
            return entropy(h @ W + b, y)

        return loss

    return make


def residual(xp: Any) -> Function:
    def loss(params: Any, x: Any, y: Any) -> Any:
        for W, b in params:
            x = x + xp.tanh(x @ W + b)
        return xp.mean((x - y) ** 2)

    return loss


def logistic(xp: Any) -> Function:
    return lambda w, X, y: xp.mean(xp.logaddexp(0, X @ w) - y * (X @ w)) + 0.1 * xp.sum(w * w)


def rosenbrock(xp: Any) -> Function:
    return lambda x: xp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def chain(xp: Any) -> Function:
    return lambda a, b, c, d, e: xp.mean((xp.log(a) * xp.sqrt(b) + xp.exp(c) * xp.tanh(d) / e) ** 2)


def transformer(xp: Any) -> Function:
    heads = 4

    def normalized(x: Any) -> Any:
        return (x - x.mean(-1, keepdims=True)) / xp.sqrt(x.var(-1, keepdims=True) + 1e-5)

    def loss(p: Any, x: Any) -> Any:
        batch, length, width = x.shape
        h = normalized(x)
        q, k, v = [
            (h @ p[n]).reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3) for n in "qkv"
        ]
        s = q @ xp.swapaxes(k, -1, -2) / (width // heads) ** 0.5
        e = xp.exp(s - s.max(-1, keepdims=True))
        mixed = (e / e.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(batch, length, width)
        x = x + mixed @ p["o"]
        h = normalized(x) @ p["up"]
        h = 0.5 * h * (1 + xp.tanh(0.7978845608 * (h + 0.044715 * h**3)))
        return xp.mean((x + h @ p["down"]) ** 2)

    return loss


def workloads() -> list[Workload]:
    """All of them."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    def network(sizes: tuple[int, ...], rows: int) -> tuple[Any, ...]:
        layers = [(normal(n, m) / np.float32(n**0.5), normal(m)) for n, m in itertools.pairwise(sizes)]
        return layers, normal(rows, sizes[0]), rng.integers(0, sizes[-1], rows)

    labels = rng.integers(0, 2, 569).astype(np.float64)
    block = {n: normal(128, 128) / np.float32(11) for n in "qkvo"}
    block |= {"up": normal(128, 512) / np.float32(11), "down": normal(512, 128) / np.float32(22)}
    five = tuple(np.abs(normal(1_000_000)) + np.float32(0.5) for _ in range(5))
    layers = [(normal(64, 64) / np.float32(8), normal(64)) for _ in range(8)]
    return [
        Workload(
            "logistic regression 569x30 f64",
            logistic,
            (rng.normal(size=30), rng.normal(size=(569, 30)), labels),
            0.29,
        ),
        Workload("MLP 64-32-10 tanh, batch 32", classifier("tanh"), network((64, 32, 10), 32), 0.4),
        Workload(
            "residual tanh, 8 of 64, batch 64", residual, (layers, normal(64, 64), normal(64, 64)), 0.59
        ),
        Workload(
            "MLP 784-256-128-10 relu, batch 128",
            classifier("relu"),
            network((784, 256, 128, 10), 128),
            0.91,
        ),
        Workload(
            "MLP 784-1024-1024-10 relu, batch 512",
            classifier("relu"),
            network((784, 1024, 1024, 10), 512),
            1,
        ),
        Workload("Rosenbrock 1M f64", rosenbrock, (rng.normal(size=1_000_000),), 1),
        Workload(
            "softmax cross-entropy 4096x1000",
            cross_entropy,
            (normal(4096, 1000), rng.integers(0, 1000, 4096)),
            0.67,
        ),
        Workload("elementwise chain, five of 1M f32", chain, five, 0.67),
        Workload("attention and MLP block 8x64x128", transformer, (block, normal(8, 64, 128)), 0.77),
    ]


def measure() -> list[Row]:
    """The rows of the table."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    rows = []
    for name, make, arguments, goal in workloads():
        ours = gradc.compile(make(np)).value_and_grad
        theirs = jax.jit(jax.value_and_grad(make(jnp)))
        on_device = jax.tree.map(jnp.asarray, arguments)
        np.testing.assert_allclose(ours(*arguments)[0], theirs(*on_device)[0], rtol=1e-3)

        def peer(theirs: Any = theirs, given: Any = on_device) -> Any:
            return jax.block_until_ready(theirs(*given))

        def own(ours: Any = ours, given: Any = arguments) -> Any:
            return ours(*given)

        times = microseconds_each(repeated(own, 5), repeated(peer, 5), per=5)
        rows.append(Row(name, f"JAX {jax.__version__}", goal, *times))
    return rows


if __name__ == "__main__":
    from benchmarks.__main__ import table

    print(table(measure()))
