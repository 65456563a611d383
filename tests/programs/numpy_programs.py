"""Functions that people write, in plain NumPy: the programs of the differential tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class NumPyProgram:
    """A function, differentiated in its first argument, and what makes arguments of a dtype for it."""

    name: str
    function: Callable[..., Any]
    arguments: Callable[[np.random.Generator, type], tuple]


PROGRAMS: list[NumPyProgram] = []

Rng, DType = np.random.Generator, type


def program(arguments: Callable[[Rng, DType], tuple]) -> Callable[[Callable], Callable]:
    """Enter a function into the list."""

    def enter(function: Callable) -> Callable:
        PROGRAMS.append(NumPyProgram(function.__name__, function, arguments))
        return function

    return enter


def normal(r: Rng, t: DType, *shape: int) -> Any:
    return r.normal(size=shape).astype(t) if shape else t(r.normal())


def labels(r: Rng, n: int, classes: int) -> np.ndarray:
    return r.integers(0, classes, n)


def mlp_parameters(r: Rng, t: DType) -> dict:
    return {
        "W1": normal(r, t, 5, 7),
        "b1": normal(r, t, 7),
        "W2": normal(r, t, 7, 3),
        "b2": normal(r, t, 3),
    }


# Scalars


@program(lambda r, t: (normal(r, t), normal(r, t), normal(r, t)))
def sigmoid_neuron(w, x, b):
    return 1 / (1 + np.exp(-(w * x + b)))


@program(lambda r, t: (normal(r, t, 8),))
def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@program(lambda r, t: (normal(r, t, 3), normal(r, t, 4)))
def polynomial_by_horner(coefficients, x):
    y = np.zeros_like(x)
    for i in range(len(coefficients)):
        y = y * x + coefficients[i]
    return y.sum()


@program(lambda r, t: (normal(r, t, 6),))
def rastrigin(x):
    return 10 * len(x) + np.sum(x**2 - 10 * np.cos(2 * np.pi * x))


@program(lambda r, t: (normal(r, t, 2),))
def newton_steps(x):
    """Five steps towards the square root of x² + 2, unrolled."""
    a = np.sum(x * x) + 2
    y = a
    for _ in range(5):
        y = 0.5 * (y + a / y)
    return y


# Regression


@program(lambda r, t: (normal(r, t, 4), normal(r, t, 9, 4), normal(r, t, 9)))
def least_squares(w, X, y):
    return np.mean((X @ w - y) ** 2)


@program(lambda r, t: (normal(r, t, 4), normal(r, t, 9, 4), normal(r, t, 9), t(0.1)))
def ridge(w, X, y, penalty):
    residual = y - X.dot(w)
    return 0.5 * residual.dot(residual) + penalty * np.sum(np.square(w))


@program(lambda r, t: (normal(r, t, 4), normal(r, t, 9, 4), r.integers(0, 2, 9)))
def logistic_regression(w, X, y):
    z = X @ w
    return np.mean(np.logaddexp(0, z) - y * z)


@program(lambda r, t: ((normal(r, t, 4), normal(r, t)), normal(r, t, 9, 4), r.poisson(2.0, 9)))
def poisson_regression(parameters, X, counts):
    w, b = parameters
    rate = np.exp(X @ w * 0.3 + b)
    return np.sum(rate - counts * np.log(rate))


@program(lambda r, t: (normal(r, t, 4), normal(r, t, 9, 4), normal(r, t, 9)))
def huber(w, X, y):
    error = np.abs(X @ w - y)
    return np.where(error < 1, 0.5 * error**2, error - 0.5).mean()


@program(lambda r, t: (normal(r, t, 4), normal(r, t, 9, 4), r.integers(0, 2, 9) * 2 - 1))
def hinge(w, X, y):
    return np.mean(np.maximum(0, 1 - y * (X @ w))) + 0.01 * np.linalg.norm(w)


@program(lambda r, t: (normal(r, t, 3), np.linspace(0, 1, 11).astype(t), normal(r, t, 11)))
def exponential_decay_fit(parameters, times, values):
    amplitude, rate, offset = parameters
    return np.sum((amplitude * np.exp(-(rate**2) * times) + offset - values) ** 2)


# Networks


@program(lambda r, t: (mlp_parameters(r, t), normal(r, t, 6, 5), normal(r, t, 6)))
def mlp_regression(p, X, y):
    h = np.tanh(X @ p["W1"] + p["b1"])
    z = h @ p["W2"] + p["b2"]
    return np.mean((z[:, 0] - y) ** 2)


@program(lambda r, t: (mlp_parameters(r, t), normal(r, t, 6, 5), labels(r, 6, 3)))
def mlp_cross_entropy(p, X, y):
    h = np.maximum(X @ p["W1"] + p["b1"], 0)
    z = h @ p["W2"] + p["b2"]
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean()


@program(lambda r, t: (normal(r, t, 6, 4), labels(r, 6, 4)))
def cross_entropy_with_one_hot(z, y):
    p = np.exp(z) / np.sum(np.exp(z), axis=-1, keepdims=True)
    return -np.mean(np.sum(np.eye(4)[y] * np.log(p), axis=-1))


@program(lambda r, t: ([normal(r, t, 4, 4) for _ in range(3)], normal(r, t, 5, 4)))
def residual_network(weights, x):
    for W in weights:
        x = x + np.tanh(x @ W)
    return np.sum(x**2) / x.size


@program(lambda r, t: ({k: normal(r, t, 4, 4) for k in "qkv"}, normal(r, t, 5, 4)))
def attention(p, x):
    q, k, v = x @ p["q"], x @ p["k"], x @ p["v"]
    scores = q @ k.T / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return ((weights @ v) ** 2).mean()


@program(lambda r, t: ({k: normal(r, t, 4, 6) for k in "qkv"}, normal(r, t, 2, 5, 4)))
def attention_of_heads(p, x):
    """Two heads of three, causal."""

    def heads(y):
        return y.reshape(2, 5, 2, 3).transpose(0, 2, 1, 3)

    q, k, v = heads(x @ p["q"]), heads(x @ p["k"]), heads(x @ p["v"])
    scores = q @ np.swapaxes(k, -1, -2) / 3**0.5
    scores = np.where(np.tril(np.ones((5, 5), bool)), scores, -np.inf)
    weights = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    weights = weights / np.sum(weights, axis=-1, keepdims=True)
    return np.mean((weights @ v) ** 2)


@program(lambda r, t: ((normal(r, t, 6), normal(r, t, 6)), normal(r, t, 5, 6)))
def layer_norm(parameters, x):
    gain, shift = parameters
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return np.sum(np.tanh(gain * (x - mean) / np.sqrt(variance + 1e-5) + shift))


@program(lambda r, t: (normal(r, t, 8, 3),))
def batch_statistics(x):
    z = (x - np.mean(x, axis=0)) / np.std(x, axis=0)
    return np.sum(np.var(z + x, axis=1)) + np.mean(z**3)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


@program(
    lambda r, t: (
        {"W": normal(r, t, 12, 3), "U": normal(r, t, 12, 3), "b": normal(r, t, 12)},
        normal(r, t, 4, 2, 3),
    )
)
def lstm_unrolled(p, xs):
    h = c = np.zeros((2, 3), xs.dtype)
    for x in xs:
        z = x @ p["W"].T + h @ p["U"].T + p["b"]
        i, f, o, g = np.split(z, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
    return np.mean(h**2)


@program(lambda r, t: (normal(r, t, 3, 3, 2), normal(r, t, 2, 6, 7)))
def convolution_by_slices(kernels, images):
    out = 0
    for i in range(3):
        for j in range(3):
            for c in range(2):
                out = out + kernels[i, j, c] * images[:, i : i + 4, j : j + 5]
    return np.sum(np.maximum(out, 0) ** 2)


@program(lambda r, t: (normal(r, t, 6, 8),))
def pooling_by_reshape(x):
    return np.sum(x.reshape(3, 2, 4, 2).max(axis=(1, 3)) * x.reshape(3, 2, 4, 2).mean(axis=(1, 3)))


@program(lambda r, t: (normal(r, t, 6, 3), labels(r, 8, 6), labels(r, 8, 6)))
def embedding_pairs(table, left, right):
    return np.sum(np.log1p(np.exp(-np.sum(table[left] * table[right], axis=1))))


# Probability


@program(
    lambda r, t: (
        {"weights": normal(r, t, 3), "means": normal(r, t, 3, 2), "scales": normal(r, t, 3, 2)},
        normal(r, t, 7, 2),
    )
)
def mixture_of_gaussians(p, x):
    log_weights = p["weights"] - np.log(np.sum(np.exp(p["weights"])))
    z = (x[:, None, :] - p["means"]) / np.exp(p["scales"])
    terms = log_weights + np.sum(-0.5 * z**2 - p["scales"] - 0.5 * np.log(2 * np.pi), axis=-1)
    top = np.max(terms, axis=1, keepdims=True)
    return -np.sum(top[:, 0] + np.log(np.sum(np.exp(terms - top), axis=1)))


@program(lambda r, t: (normal(r, t, 3, 2), normal(r, t, 9, 2)))
def k_means_loss(centers, x):
    distances = np.sum((x[:, None] - centers[None]) ** 2, axis=2)
    return distances.min(axis=1).mean()


@program(lambda r, t: (normal(r, t, 3, 2), normal(r, t, 9, 2)))
def k_means_by_assignment(centers, x):
    nearest = np.argmin(((x[:, None] - centers) ** 2).sum(-1), axis=1)
    return np.mean(np.linalg.norm(x - centers[nearest], axis=1))


@program(lambda r, t: ((normal(r, t, 4), normal(r, t, 4)), normal(r, t, 4)))
def variational_bound(parameters, noise):
    mean, log_scale = parameters
    z = mean + np.exp(log_scale) * noise
    divergence = 0.5 * np.sum(np.exp(2 * log_scale) + mean**2 - 1 - 2 * log_scale)
    return np.sum(np.log(np.cosh(z))) + divergence


@program(lambda r, t: (normal(r, t, 3), normal(r, t, 6)))
def kalman_filter(parameters, observations):
    log_q, log_r, a = parameters
    mean, variance, loss = 0.0, 1.0, 0.0
    for y in observations:
        mean, variance = a * mean, a**2 * variance + np.exp(log_q)
        gain = variance / (variance + np.exp(log_r))
        loss = loss + (y - mean) ** 2 / (variance + np.exp(log_r)) + np.log(variance + np.exp(log_r))
        mean, variance = mean + gain * (y - mean), (1 - gain) * variance
    return loss


@program(lambda r, t: (normal(r, t, 4, 4), normal(r, t, 4), np.array([0, 2, 1, 1, 3])))
def hidden_markov_likelihood(transitions, start, observed):
    log_t = transitions - np.logaddexp.reduce(transitions, axis=1, keepdims=True)
    state = start
    for o in observed:
        state = np.log(np.sum(np.exp(state[:, None] + log_t), axis=0))
        state = state + np.where(np.arange(4) == o, 0.0, -1.0)
    return np.max(state)


# Geometry and linear algebra


@program(lambda r, t: (normal(r, t, 5, 3), normal(r, t, 4, 3)))
def pairwise_distances(x, y):
    squares = np.sum(x**2, 1)[:, None] + np.sum(y**2, 1) - 2 * x @ y.T
    return np.sum(np.sqrt(np.maximum(squares, 1e-6)))


@program(lambda r, t: (normal(r, t, 5, 2), normal(r, t, 8, 5)))
def linear_autoencoder(components, x):
    centered = x - x.mean(axis=0)
    return np.mean((centered - centered @ components @ components.T) ** 2)


@program(lambda r, t: (normal(r, t, 6, 3),))
def gram_schmidt(a):
    basis: list = []
    for i in range(a.shape[1]):
        v = a[:, i]
        for b in basis:
            v = v - np.dot(b, v) * b
        basis.append(v / np.sqrt(np.dot(v, v)))
    return np.sum(np.stack(basis, axis=1) ** 3)


@program(lambda r, t: (normal(r, t, 3), normal(r, t, 4, 3)))
def rotation_by_rodrigues(axis, points):
    angle = np.sqrt(np.sum(axis**2))
    k = axis / angle
    turned = (
        points * np.cos(angle)
        + np.cross(k, points) * np.sin(angle)
        + np.outer(points @ k, k) * (1 - np.cos(angle))
    )
    return np.sum(turned**3)


@program(lambda r, t: (normal(r, t, 5, 3),))
def coulomb_energy(positions):
    i, j = np.triu_indices(5, 1)
    return np.sum(1 / np.linalg.norm(positions[i] - positions[j], axis=1))


@program(lambda r, t: (normal(r, t, 3, 4, 5), normal(r, t, 5, 2)))
def einsum_contraction(a, b):
    return np.sum(np.einsum("ijk,kl->lji", a, b) ** 2)


# Physics, finance, images


@program(lambda r, t: (normal(r, t, 2), normal(r, t)))
def pendulum_by_leapfrog(state, k):
    angle, speed = state[0], state[1]
    for _ in range(6):
        speed = speed - 0.05 * k * np.sin(angle)
        angle = angle + 0.1 * speed
        speed = speed - 0.05 * k * np.sin(angle)
    return 0.5 * speed**2 - k * np.cos(angle)


@program(lambda r, t: (normal(r, t, 10), t(0.2)))
def heat_equation(u, c):
    for _ in range(4):
        u = u + c * (np.roll(u, 1) - 2 * u + np.roll(u, -1))
    return np.sum(u**2)


@program(lambda r, t: (np.exp(normal(r, t, 3)), np.exp(normal(r, t, 5) * t(0.2))))
def option_prices(parameters, strikes):
    spot, volatility, time = parameters
    d1 = (np.log(spot / strikes) + 0.5 * volatility**2 * time) / (volatility * np.sqrt(time))
    d2 = d1 - volatility * np.sqrt(time)

    def phi(x):
        return 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    return np.sum(spot * phi(d1) - strikes * phi(d2))


@program(lambda r, t: (normal(r, t, 6, 7),))
def total_variation(image):
    dx, dy = np.diff(image, axis=0), np.diff(image, axis=1)
    return np.sum(np.sqrt(dx[:, :-1] ** 2 + dy[:-1, :] ** 2 + 1e-3))


@program(lambda r, t: (normal(r, t, 9),))
def assignments_in_place(x):
    out = np.zeros(12, x.dtype)
    out[1:10] = x
    out[::3] *= 2
    out[-1] = x[0] * x[1]
    return np.sum(out * out[::-1])


@program(lambda r, t: (normal(r, t, 7), normal(r, t, 7)))
def cosine_similarity(x, y):
    return x @ y / (np.linalg.norm(x) * np.linalg.norm(y))


@program(lambda r, t: (normal(r, t, 4, 5),))
def sorted_gaps_and_cumulative_sums(x):
    return np.sum(np.cumsum(x, axis=1)[:, ::2] ** 2) + np.prod(x, axis=0).sum()


@program(lambda r, t: ([normal(r, t, 3), {"a": normal(r, t), "b": (normal(r, t, 2),)}], 3))
def trees_and_static_leaves(tree, count):
    vector, rest = tree
    total = vector.sum() * rest["a"]
    for i in range(count):
        total = total + rest["b"][0][i % 2] ** i
    return total
