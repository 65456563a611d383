"""The programs with PyTorch's own functions: of each family a maker, which takes the family's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch  # type: ignore[import-not-found]
from torch import nn

Function = Callable[..., Any]


def neuron(**_: Any) -> Function:
    return lambda w, x, b: torch.sigmoid(w * x + b)


def logistic(**_: Any) -> Function:
    return lambda w, X, y: nn.functional.binary_cross_entropy_with_logits(X @ w, y) + 0.1 * (w * w).sum()


def mlp(activation: str = "relu", **_: Any) -> Function:
    act = torch.tanh if activation == "tanh" else torch.relu

    def loss(params: Any, X: Any, y: Any) -> Any:
        h = X
        for W, b in params[:-1]:
            h = act(torch.addmm(b, h, W))
        W, b = params[-1]
        return nn.functional.cross_entropy(torch.addmm(b, h, W), y)

    return loss


def residual(**_: Any) -> Function:
    def loss(params: Any, x: Any, y: Any) -> Any:
        for W, b in params:
            x = x + torch.tanh(torch.addmm(b, x, W))
        return nn.functional.mse_loss(x, y)

    return loss


def tanh_net(**_: Any) -> Function:
    def loss(params: Any, x: Any) -> Any:
        for W, b in params:
            x = torch.tanh(torch.addmm(b, x, W))
        return (x**2).mean()

    return loss


def rosenbrock(**_: Any) -> Function:
    return lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def cross_entropy(**_: Any) -> Function:
    return nn.functional.cross_entropy


def chain(**_: Any) -> Function:
    def loss(p: Any) -> Any:
        a, b, c, d, e = p
        return ((torch.log(a) * torch.sqrt(b) + torch.exp(c) * torch.tanh(d) / e) ** 2).mean()

    return loss


def transformer(heads: int, width: int, **_: Any) -> Function:
    def split(x: Any) -> Any:
        return x.unflatten(-1, (heads, width // heads)).transpose(1, 2)

    def loss(p: Any, x: Any) -> Any:
        h = nn.functional.layer_norm(x, (width,), p["gain1"], p["bias1"])
        q, k, v = split(h @ p["q"]), split(h @ p["k"]), split(h @ p["v"])
        x = x + nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2) @ p["o"]
        h = nn.functional.layer_norm(x, (width,), p["gain2"], p["bias2"]) @ p["up"] + p["up_bias"]
        return ((x + nn.functional.gelu(h, approximate="tanh") @ p["down"] + p["down_bias"]) ** 2).mean()

    return loss
