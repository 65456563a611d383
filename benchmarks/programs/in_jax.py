"""Programs with the functions of jax.nn, where those may be faster than the NumPy text with jax.numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax  # type: ignore[import-not-found]
import jax.numpy as jnp  # type: ignore[import-not-found]

from benchmarks.programs import plain

Function = Callable[..., Any]


def entropy(z: Any, y: Any) -> Any:
    """Softmax cross-entropy whose gradient is a softmax, without a scatter or a way through the maximum."""
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], 1)[:, 0])


def cross_entropy(**_: Any) -> Function:
    return entropy


def mlp(activation: str = "relu", **_: Any) -> Function:
    return plain.network(jnp.tanh if activation == "tanh" else jax.nn.relu, entropy)


def logistic(**_: Any) -> Function:
    def loss(w: Any, X: Any, y: Any) -> Any:
        z = X @ w
        return jnp.mean(jax.nn.softplus(z) - y * z) + 0.1 * jnp.sum(w * w)

    return loss


def transformer(heads: int, width: int, batch: int, length: int, **_: Any) -> Function:
    def normalized(x: Any, gain: Any, bias: Any) -> Any:
        return jax.nn.standardize(x, epsilon=1e-5) * gain + bias

    def split(x: Any) -> Any:
        return x.reshape(batch, length, heads, width // heads)

    def loss(p: Any, x: Any) -> Any:
        h = normalized(x, p["gain1"], p["bias1"])
        mixed = jax.nn.dot_product_attention(split(h @ p["q"]), split(h @ p["k"]), split(h @ p["v"]))
        x = x + mixed.reshape(batch, length, width) @ p["o"]
        h = normalized(x, p["gain2"], p["bias2"]) @ p["up"] + p["up_bias"]
        return jnp.mean((x + jax.nn.gelu(h) @ p["down"] + p["down_bias"]) ** 2)

    return loss
