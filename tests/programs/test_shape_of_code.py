"""What programs become: every node keeps its user line, and kernels and memory stay what they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import gradc

rng = np.random.default_rng(0)


def neuron(w, x):
    z = w[0] * x[0] + w[1] * x[1] + w[2]
    return 1 / (1 + np.exp(-z))


def logistic_regression(w, b, X, y):
    z = X @ w + b
    return np.mean(np.log1p(np.exp(z)) - y * z) + 0.01 * np.sum(w * w)


def network(params, X, Y):
    h = np.maximum(X @ params["W1"] + params["b1"], 0)
    h = np.tanh(h @ params["W2"] + params["b2"])
    z = h @ params["W3"] + params["b3"]
    log_p = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return -np.mean(np.sum(Y * log_p, axis=1))


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def softmax_cross_entropy(z, y):
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    return -np.mean(np.log(p[np.arange(len(y)), y]))


def weights(*sizes: int) -> dict[str, np.ndarray]:
    params: dict[str, np.ndarray] = {}
    for i, (n, m) in enumerate(pairwise(sizes), start=1):
        params[f"W{i}"] = rng.normal(size=(n, m)).astype(np.float32)
        params[f"b{i}"] = np.zeros(m, np.float32)
    return params


ARGUMENTS: dict[Callable[..., Any], tuple[Any, ...]] = {
    neuron: ((2.0, -3.0, -3.0), (-1.0, -2.0)),
    logistic_regression: (rng.normal(size=30), 0.1, rng.normal(size=(569, 30)), np.ones(569)),
    network: (
        weights(64, 64, 32, 10),
        rng.normal(size=(32, 64)).astype(np.float32),
        np.eye(10, dtype=np.float32)[np.arange(32) % 10],
    ),
    rosenbrock: (rng.normal(size=1000),),
    softmax_cross_entropy: (rng.normal(size=(50, 7)), np.arange(50) % 7),
}


@pytest.mark.parametrize("fn", [neuron, network, softmax_cross_entropy], ids=lambda f: f.__name__)
@pytest.mark.parametrize("stage", ["traced", "grad", "optimized"])
def test_every_node_has_its_user_line(fn, stage):
    lines, first = inspect.getsourcelines(fn)
    graph = gradc.compile(fn).lower(*ARGUMENTS[fn]).graph(stage)
    assert len(graph.nodes) > 5
    for node in graph.walk():
        assert node.source is not None, node
        assert node.source.file == __file__
        assert first < node.source.line < first + len(lines), node


# Functions that run in one call (kernels, matrix products), and bytes of workspace. A change wants a look:
# fewer is better.
@pytest.mark.parametrize(
    ("fn", "kernels", "memory"),
    [
        (neuron, 1, 0),
        (logistic_regression, 5, 9280),
        (network, 15, 36736),
        (rosenbrock, 2, 0),
        (softmax_cross_entropy, 5, 5056),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_kernels_and_memory(fn, kernels, memory):
    lowered = gradc.compile(fn).lower(*ARGUMENTS[fn])
    called = [symbol for kernel in lowered.kernels for symbol in kernel.symbols]
    assert (len(called), lowered.memory) == (kernels, memory)
