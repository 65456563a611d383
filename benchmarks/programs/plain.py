"""The programs that are measured: plain NumPy functions and their arguments, with sizes as parameters.

`make(xp)` gives the loss, with `xp` NumPy or jax.numpy: gradc, NumPy and JAX run the same text. The same by
means of PyTorch's and JAX's own functions lies in `in_torch` and `in_jax`, by the same names. Arguments are
random numbers of a fixed seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Function = Callable[..., Any]


@dataclass(frozen=True)
class Program:
    """A loss to be differentiated by its argument `wrt` (a position, or several)."""

    make: Callable[[Any], Function]
    arguments: tuple[Any, ...]
    wrt: int | tuple[int, ...] = 0


FAMILIES: dict[str, Callable[..., Program]] = {}
"""The makers of programs by name; their parameters are sizes and dtypes, all of them JSON."""


def family(maker: Callable[..., Program]) -> Callable[..., Program]:
    FAMILIES[maker.__name__] = maker
    return maker


def program(name: str, parameters: dict[str, Any]) -> Program:
    """A program of a family, with its arguments."""
    return FAMILIES[name](**parameters)


class Numbers:
    """Random arrays of one dtype."""

    def __init__(self, dtype: str, seed: int = 0) -> None:
        self.dtype = np.dtype(dtype)
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return (self.rng.normal(size=shape) * scale).astype(self.dtype)

    def positive(self, *shape: int) -> np.ndarray:
        """In [0.5, 2): away from the poles of log and division."""
        return self.rng.uniform(0.5, 2, shape).astype(self.dtype)

    def labels(self, size: int, classes: int) -> np.ndarray:
        return self.rng.integers(0, classes, size)

    def layers(self, sizes: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights that keep the size of a signal, and biases."""
        return [
            (self.normal(n, m, scale=n**-0.5), self.normal(m, scale=0.1))
            for n, m in itertools.pairwise(sizes)
        ]


def cross_entropy_of(xp: Any) -> Function:
    """Mean of -log softmax(z) at the labels y."""

    def cross_entropy(z: Any, y: Any) -> Any:
        z = z - z.max(1, keepdims=True)
        return xp.mean(xp.log(xp.exp(z).sum(1)) - z[xp.arange(len(y)), y])

    return cross_entropy


def network(activation: Function, entropy: Function) -> Function:
    """Dense layers with an activation between them, and a loss of the last one's results and labels."""

    def loss(params: Any, X: Any, y: Any) -> Any:
        h = X
        for W, b in params[:-1]:
            h = activation(h @ W + b)
        W, b = params[-1]
        return entropy(h @ W + b, y)

    return loss


@family
def neuron(dtype: str = "float64") -> Program:
    """Sigmoid of w x + b, three numbers."""

    def make(xp: Any) -> Function:
        return lambda w, x, b: 1 / (1 + xp.exp(-(w * x + b)))

    return Program(make, tuple(np.dtype(dtype).type(x) for x in (0.5, -1.0, 2.0)), wrt=(0, 1, 2))


@family
def logistic(rows: int, columns: int, dtype: str = "float64") -> Program:
    """Logistic regression: stable binary cross-entropy, and an L2 penalty."""
    numbers = Numbers(dtype)

    def make(xp: Any) -> Function:
        def loss(w: Any, X: Any, y: Any) -> Any:
            z = X @ w
            return xp.mean(xp.logaddexp(0, z) - y * z) + 0.1 * xp.sum(w * w)

        return loss

    y = numbers.labels(rows, 2).astype(dtype)
    return Program(make, (numbers.normal(columns), numbers.normal(rows, columns), y))


@family
def mlp(sizes: Sequence[int], batch: int, activation: str = "relu", dtype: str = "float32") -> Program:
    """Dense layers, softmax cross-entropy of integer labels."""
    numbers = Numbers(dtype)

    def make(xp: Any) -> Function:
        act = xp.tanh if activation == "tanh" else lambda x: xp.maximum(x, 0)
        return network(act, cross_entropy_of(xp))

    arguments = numbers.layers(sizes), numbers.normal(batch, sizes[0]), numbers.labels(batch, sizes[-1])
    return Program(make, arguments)


@family
def residual(blocks: int, width: int, batch: int, dtype: str = "float32") -> Program:
    """x + tanh(x W + b), so many times, and the mean of squared errors."""
    numbers = Numbers(dtype)

    def make(xp: Any) -> Function:
        def loss(params: Any, x: Any, y: Any) -> Any:
            for W, b in params:
                x = x + xp.tanh(x @ W + b)
            return xp.mean((x - y) ** 2)

        return loss

    layers = numbers.layers([width] * (blocks + 1))
    return Program(make, (layers, numbers.normal(batch, width), numbers.normal(batch, width)))


@family
def tanh_net(layers: int, width: int, batch: int, dtype: str = "float32") -> Program:
    """An unrolled network of equal layers: what grows is the program."""
    numbers = Numbers(dtype)

    def make(xp: Any) -> Function:
        def loss(params: Any, x: Any) -> Any:
            for W, b in params:
                x = xp.tanh(x @ W + b)
            return xp.mean(x**2)

        return loss

    return Program(make, (numbers.layers([width] * (layers + 1)), numbers.normal(batch, width)))


@family
def rosenbrock(size: int, dtype: str = "float64") -> Program:
    """The sum of 100 (x[i+1] - x[i]²)² + (1 - x[i])²."""

    def make(xp: Any) -> Function:
        return lambda x: xp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    return Program(make, (Numbers(dtype).normal(size),))


@family
def cross_entropy(rows: int, classes: int, dtype: str = "float32") -> Program:
    """Softmax cross-entropy over logits, with integer labels."""
    numbers = Numbers(dtype)
    return Program(cross_entropy_of, (numbers.normal(rows, classes), numbers.labels(rows, classes)))


@family
def chain(size: int, dtype: str = "float32") -> Program:
    """A long elementwise expression of five arrays, the mean of its squares; gradients for all five."""
    numbers = Numbers(dtype)

    def make(xp: Any) -> Function:
        def loss(p: Any) -> Any:
            a, b, c, d, e = p
            return xp.mean((xp.log(a) * xp.sqrt(b) + xp.exp(c) * xp.tanh(d) / e) ** 2)

        return loss

    positive, signed = numbers.positive, numbers.normal
    return Program(make, ((positive(size), positive(size), signed(size), signed(size), positive(size)),))


@family
def transformer(batch: int, length: int, width: int, heads: int, dtype: str = "float32") -> Program:
    """Layer norm, attention of several heads, layer norm, two dense layers with GELU, mean of squares."""
    numbers = Numbers(dtype)
    inner = width // heads

    def make(xp: Any) -> Function:
        def normalized(x: Any, gain: Any, bias: Any) -> Any:
            return (x - x.mean(-1, keepdims=True)) / xp.sqrt(x.var(-1, keepdims=True) + 1e-5) * gain + bias

        def split(x: Any) -> Any:
            return x.reshape(batch, length, heads, inner).transpose(0, 2, 1, 3)

        def loss(p: Any, x: Any) -> Any:
            h = normalized(x, p["gain1"], p["bias1"])
            q, k, v = split(h @ p["q"]), split(h @ p["k"]), split(h @ p["v"])
            s = q @ xp.swapaxes(k, -1, -2) / inner**0.5
            e = xp.exp(s - s.max(-1, keepdims=True))
            mixed = (e / e.sum(-1, keepdims=True)) @ v
            x = x + mixed.transpose(0, 2, 1, 3).reshape(batch, length, width) @ p["o"]
            h = normalized(x, p["gain2"], p["bias2"]) @ p["up"] + p["up_bias"]
            h = 0.5 * h * (1 + xp.tanh(0.7978845608 * (h + 0.044715 * h**3)))
            return xp.mean((x + h @ p["down"] + p["down_bias"]) ** 2)

        return loss

    p = {name: numbers.normal(width, width, scale=width**-0.5) for name in "qkvo"}
    p |= {f"gain{i}": 1 + numbers.normal(width, scale=0.1) for i in (1, 2)}
    p |= {f"bias{i}": numbers.normal(width, scale=0.1) for i in (1, 2)}
    p["up"] = numbers.normal(width, 4 * width, scale=width**-0.5)
    p["up_bias"] = numbers.normal(4 * width, scale=0.1)
    p["down"] = numbers.normal(4 * width, width, scale=(4 * width) ** -0.5)
    p["down_bias"] = numbers.normal(width, scale=0.1)
    return Program(make, (p, numbers.normal(batch, length, width)))


@family
def recurrence(width: int, steps: int, dtype: str = "float64") -> Program:
    """A recurrent network whose states are written into an array; the mean of their squares."""
    numbers = Numbers(dtype)

    def make(xp: Any) -> Function:
        def loss(w: Any, x: Any) -> Any:
            h = xp.zeros(width, dtype)
            out = xp.empty((steps, width), dtype)
            for t in range(steps):
                h = xp.tanh(w @ h + x[t])
                out[t] = h
            return xp.mean(out**2)

        return loss

    return Program(make, (numbers.normal(width, width, scale=width**-0.5), numbers.normal(steps, width)))


@family
def ordered(size: int, dtype: str = "float64") -> Program:
    """Sums of what is sorted."""

    def make(xp: Any) -> Function:
        def loss(x: Any) -> Any:
            y = xp.sort(x)
            return xp.sum(xp.cumsum(y) * y)

        return loss

    return Program(make, (Numbers(dtype).normal(size),))
