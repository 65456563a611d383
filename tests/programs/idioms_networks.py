"""Networks: recurrent, convolutional, attentive, generative, and what is trained with them."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import accumulate, pairwise, product

import numpy as np

import gradc
from tests.programs.idioms import idiom, labels, normal, uniform

EPSILON = 1e-5


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x, axis=-1):
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def log_softmax(x, axis=-1):
    top = x.max(axis=axis, keepdims=True)
    return x - top - np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True))


# Recurrent networks


class LSTMCell:
    """Four gates, each with its own weights in a dict, as objects of a class with `__call__`."""

    gates = ("input", "forget", "output", "candidate")

    def __init__(self, weights):
        self.weights = weights
        self.hidden = weights["input"]["b"].shape[0]

    def gate(self, name, x, h):
        w = self.weights[name]
        activation = np.tanh if name == "candidate" else sigmoid
        return activation(x @ w["Wx"] + h @ w["Wh"] + w["b"])

    def __call__(self, state, x):
        h, c = state
        i, f, o, g = (self.gate(name, x, h) for name in self.gates)
        c = f * c + i * g
        return o * np.tanh(c), c


def lstm_weights(r, t, inputs=3, hidden=4):
    return {
        gate: {
            "Wx": normal(r, t, inputs, hidden),
            "Wh": normal(r, t, hidden, hidden),
            "b": normal(r, t, hidden),
        }
        for gate in LSTMCell.gates
    }


@idiom(lambda r, t: (lstm_weights(r, t), normal(r, t, 5, 2, 3), normal(r, t, 2, 4)))
def lstm_of_objects(weights, sequence, target):
    cell = LSTMCell(weights)
    state = (np.zeros((sequence.shape[1], cell.hidden), dtype=sequence.dtype),) * 2
    for x in sequence:
        state = cell(state, x)
    h, _ = state
    return ((h - target) ** 2).mean()


@idiom(
    lambda r, t: (
        {"z": normal(r, t, 7, 4), "r": normal(r, t, 7, 4), "n": normal(r, t, 7, 4)},
        normal(r, t, 6, 3),
    )
)
def gru_by_reduce(params, xs):
    def step(h, x):
        hx = np.concatenate([h, x])
        z, r = sigmoid(hx @ params["z"]), sigmoid(hx @ params["r"])
        n = np.tanh(np.hstack((r * h, x)) @ params["n"])
        return (1 - z) * n + z * h

    return np.linalg.norm(reduce(step, xs, np.zeros(4, xs.dtype)))


RNN = namedtuple("RNN", "W U b out")


@idiom(
    lambda r, t: (
        RNN(normal(r, t, 4, 3) * t(0.5), normal(r, t, 4, 4) * t(0.5), np.zeros(4, t), normal(r, t, 4)),
        normal(r, t, 7, 3),
        normal(r, t, 7),
    )
)
def rnn_by_generator(net, xs, targets):
    """States come from a generator; losses are a generator expression under sum()."""

    def states() -> Iterator:
        h = np.zeros_like(net.b)
        for x in xs:
            h = np.tanh(net.W @ x + net.U @ h + net.b)
            yield h

    return sum((h @ net.out - y) ** 2 for h, y in zip(states(), targets, strict=True)) / len(targets)


@idiom(lambda r, t: ((normal(r, t, 4, 4) * t(0.5), normal(r, t, 4, 2)), normal(r, t, 8, 2)))
def checkpointed_rnn(params, xs):
    W, U = params

    @gradc.checkpoint
    def block(h, chunk):
        for x in chunk:
            h = np.tanh(W @ h + U @ x)
        return h

    h = np.zeros(4, xs.dtype)
    for start in range(0, len(xs), 4):
        h = block(h, xs[start : start + 4])
    return np.sum(h**2)


@idiom(lambda r, t: (normal(r, t, 6), normal(r, t, 9), normal(r, t, 9)))
def reservoir_computing(readout, signal, target):
    """A fixed random network, of whose states only the readout is learned."""
    rng = np.random.default_rng(5)
    W = rng.normal(size=(6, 6))
    W *= 0.9 / np.max(np.abs(np.linalg.eigvals(W)))
    w_in = rng.uniform(-1, 1, 6)
    states = np.empty((len(signal), 6))
    x = np.zeros(6)
    for t, u in enumerate(signal):
        x = 0.7 * x + 0.3 * np.tanh(W @ x + w_in * u)
        states[t] = x
    washed = states[3:]
    return np.mean(np.square(washed @ readout - target[3:])) + 1e-3 * readout @ readout


# Layers as objects


class Layer(ABC):
    @abstractmethod
    def forward(self, x): ...

    def __call__(self, x):
        return self.forward(x)

    def __rshift__(self, other):
        return Sequential([self, other])


class Dense(Layer):
    def __init__(self, W, b, activation=None):
        self.W, self.b = W, b
        self.activation = activation or (lambda x: x)

    def forward(self, x):
        return self.activation(np.dot(x, self.W) + self.b)

    @property
    def penalty(self):
        return np.sum(self.W**2)


class Dropout(Layer):
    def __init__(self, mask, rate):
        self.mask, self.rate = mask, rate

    def forward(self, x):
        return np.where(self.mask, x / (1 - self.rate), 0)


class Sequential(Layer):
    def __init__(self, layers):
        self.layers = list(layers)

    def __rshift__(self, other):
        return Sequential([*self.layers, other])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    @property
    def penalty(self):
        return sum(layer.penalty for layer in self.layers if isinstance(layer, Dense))


@idiom(
    lambda r, t: (
        [(normal(r, t, n, m), normal(r, t, m)) for n, m in pairwise((4, 6, 5, 1))],
        normal(r, t, 7, 4),
        normal(r, t, 7),
        r.random((7, 6)) < 0.8,
    )
)
def layers_as_objects(params, X, y, mask):
    hidden, middle, last = params
    net = Dense(*hidden, np.tanh) >> Dropout(mask, 0.2) >> Dense(*middle, activation=np.tanh) >> Dense(*last)
    prediction = net(X)
    assert prediction.shape == (len(y), 1), f"a column, not {prediction.shape}"
    return np.mean((prediction.squeeze(-1) - y) ** 2) + 0.01 * net.penalty


@dataclass
class Normalizer:
    gain: np.ndarray
    shift: np.ndarray
    momentum: float = 0.9
    history: list = field(default_factory=list)

    def __call__(self, x):
        mean, variance = x.mean(0), x.var(0)
        self.history.append((mean, variance))
        return self.gain * (x - mean) / np.sqrt(variance + EPSILON) + self.shift


@idiom(
    lambda r, t: (
        {
            "layers": [
                {"W": normal(r, t, 4, 4), "norm": (normal(r, t, 4), normal(r, t, 4))} for _ in range(2)
            ],
            "scale": normal(r, t),
        },
        normal(r, t, 6, 4),
    )
)
def batch_norm_with_history(params, x):
    norms = []
    for i, layer in enumerate(params["layers"]):
        norm = Normalizer(*layer["norm"])
        x = np.maximum(0.01 * x, x) @ layer["W"]
        x = norm(x)
        norms.append(norm)
        assert len(norms) == i + 1
    running = 0.0
    for norm in norms:
        for mean, variance in norm.history:
            running = norm.momentum * running + (1 - norm.momentum) * (mean.sum() + variance.sum())
    return params["scale"] * np.mean(np.tanh(x) ** 2) + running


def residual(function: Callable) -> Callable:
    """A decorator: the layer's input is added to its output."""

    @functools.wraps(function)
    def wrapped(x, *args, **kwargs):
        return x + function(x, *args, **kwargs)

    return wrapped


@residual
def swish_layer(x, W, *, beta=1.0):
    z = x @ W
    return z * sigmoid(beta * z)


@idiom(lambda r, t: ([normal(r, t, 3, 3) * t(0.5) for _ in range(4)], normal(r, t, 5, 3)))
def decorated_residual_layers(weights, x):
    *rest, last = weights
    for i, W in enumerate(rest):
        x = swish_layer(x, W, beta=1 + i)
    return np.abs(swish_layer(x, last)).sum()


@idiom(
    lambda r, t: (
        {f"W{i}": normal(r, t, n, m) for i, (n, m) in enumerate(((3, 5), (5, 5), (5, 2)))},
        normal(r, t, 4, 3),
        labels(r, 4, 2),
    )
)
def network_by_names(params, X, y, n_layers=3):
    """Parameters by f-string; activations by a dict of lambdas."""
    activations = {
        "relu": lambda v: np.where(v > 0, v, 0.1 * v),
        "elu": lambda v: np.where(v > 0, v, np.expm1(v)),
    }
    names = ["relu", "elu", None]
    out = X
    for i in range(n_layers):
        out = out @ params[f"W{i}"]
        if (name := names[i]) is not None:
            out = activations[name](out)
    picked = log_softmax(out)[range(len(y)), y]
    return -np.average(picked, weights=1 + np.arange(len(y)))


# Attention


@idiom(
    lambda r, t: (
        {
            "embed": normal(r, t, 7, 6),
            "attn": {k: normal(r, t, 6, 6) * t(0.4) for k in ("q", "k", "v", "o")},
            "mlp": [
                (normal(r, t, 6, 8) * t(0.4), np.zeros(8, t)),
                (normal(r, t, 8, 6) * t(0.4), np.zeros(6, t)),
            ],
            "ln": [(np.ones(6, t), np.zeros(6, t)), (np.ones(6, t), np.zeros(6, t))],
        },
        labels(r, 5, 7),
    )
)
def transformer_language_model(p, tokens, heads=2):
    def layer_norm(x, g, b):
        u = x.mean(-1, keepdims=True)
        s = np.mean(np.square(x - u), axis=-1, keepdims=True)
        return g * (x - u) / np.sqrt(s + EPSILON) + b

    def gelu(x):
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def attention(q, k, v, mask):
        return softmax(q @ k.T / np.sqrt(q.shape[-1]) + mask) @ v

    n = len(tokens) - 1
    positions = np.arange(n)[:, None] / 10.0 ** (np.arange(6)[None, :] / 6)
    x = p["embed"][tokens[:-1]] + np.where(np.arange(6) % 2, np.cos(positions), np.sin(positions))
    mask = (1 - np.tri(n)) * -1e10
    h = layer_norm(x, *p["ln"][0])
    q, k, v = (np.split(h @ p["attn"][name], heads, axis=-1) for name in "qkv")
    x = x + np.hstack([attention(*qkv, mask) for qkv in zip(q, k, v, strict=True)]) @ p["attn"]["o"]
    h = layer_norm(x, *p["ln"][1])
    (W1, b1), (W2, b2) = p["mlp"]
    x = x + gelu(h @ W1 + b1) @ W2 + b2
    return -np.mean(log_softmax(x @ p["embed"].T)[np.arange(n), tokens[1:]])


@idiom(
    lambda r, t: (
        (normal(r, t, 2, 4, 3), normal(r, t, 2, 5, 3), normal(r, t, 2, 5, 3)),
        np.array([3, 5]),
    )
)
def attention_with_padding(qkv, lengths):
    """Batched, masked by lengths, in einsum with ellipses."""
    q, k, v = qkv
    scores = np.einsum("bqd,bkd->bqk", q, k) * q.shape[-1] ** -0.5
    padding = np.arange(k.shape[1])[None, None, :] >= lengths[:, None, None]
    scores = np.where(padding, -np.inf, scores)
    weights = softmax(scores)
    entropy = -np.sum(np.where(weights > 0, weights * np.log(np.where(weights > 0, weights, 1)), 0))
    return np.sum(np.einsum("...qk,...kd->...qd", weights, v) ** 2) + 0.1 * entropy


# Convolution, images, graphs


@idiom(lambda r, t: ((normal(r, t, 2, 1, 3, 3), normal(r, t, 2)), normal(r, t, 2, 1, 6, 6)))
def convolution_with_loops(params, images):
    """All the loops of the textbook, into an array of zeros, then pooling with a dict of windows."""
    kernel, bias = params
    n, _, height, width = images.shape
    f, _, kh, kw = kernel.shape
    out = np.zeros((n, f, height - kh + 1, width - kw + 1), images.dtype)
    for b, o in product(range(n), range(f)):
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                out[b, o, i, j] = np.sum(images[b, :, i : i + kh, j : j + kw] * kernel[o]) + bias[o]
    out = np.maximum(out, 0)
    pooled = {(i, j): out[:, :, i : i + 2, j : j + 2].max(axis=(2, 3)) for i in (0, 2) for j in (0, 2)}
    return sum(np.sum(window**2) * (1 + i + j) for (i, j), window in pooled.items())


@idiom(lambda r, t: (normal(r, t, 9, 4), normal(r, t, 2, 5, 5)))
def convolution_by_im2col(W, images):
    n, h, _ = images.shape
    rows = np.arange(3)[:, None] + np.arange(h - 2)[None, :]
    patches = images[:, rows[:, None, :, None], rows[None, :, None, :]]
    columns = patches.reshape(n, 9, -1).transpose(0, 2, 1)
    features = columns @ W
    return np.tanh(features).mean(axis=1).max(axis=0).sum()


@idiom(lambda r, t: ([normal(r, t, 3, 5), normal(r, t, 5, 2)], normal(r, t, 6, 3), labels(r, 6, 2)))
def graph_convolution(weights, features, classes):
    edges = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (1, 4)]
    A = np.eye(6)
    for i, j in edges:
        A[i, j] = A[j, i] = 1
    d = np.sum(A, axis=1) ** -0.5
    A_hat = d[:, None] * A * d
    h = features
    for i, W in enumerate(weights):
        h = A_hat @ h @ W
        if i < len(weights) - 1:
            h = np.clip(h, 0, 6)
    return -np.sum(log_softmax(h)[np.arange(6), classes])


@idiom(lambda r, t: (normal(r, t, 5, 4), normal(r, t, 4, 4)))
def message_passing_by_add_at(nodes, W):
    source, target = np.array([0, 0, 1, 2, 3, 4, 4]), np.array([1, 2, 2, 0, 1, 3, 0])
    for _ in range(2):
        messages = np.tanh(nodes[source] @ W)
        inbox = np.zeros_like(nodes)
        np.add.at(inbox, target, messages)
        degree = np.bincount(target, minlength=len(nodes))
        nodes = nodes + inbox / np.maximum(degree, 1)[:, np.newaxis]
    return np.mean(nodes**2)


# Embeddings and rankings


@idiom(
    lambda r, t: (
        {"in": normal(r, t, 8, 3), "out": normal(r, t, 8, 3)},
        np.array([[0, 1], [2, 1], [5, 7], [0, 3]]),
        r.integers(0, 8, (4, 3)),
    )
)
def word2vec_with_negative_samples(vectors, pairs, negatives):
    center, context = pairs.T
    u = vectors["in"][center]
    positive = np.einsum("ij,ij->i", u, vectors["out"][context])
    negative = np.einsum("id,ikd->ik", u, vectors["out"][negatives])
    loss = np.logaddexp(0, -positive) + np.logaddexp(0, negative).sum(1)
    counts = np.zeros(8)
    np.add.at(counts, center, 1)
    return np.sum(loss / counts[center])


@idiom(lambda r, t: (normal(r, t, 4, 3), normal(r, t, 6, 4), normal(r, t, 6, 4), normal(r, t, 6, 4)))
def triplet_loss(W, anchors, positives, negatives, margin=1.0):
    def embed(x):
        y = x @ W
        return y / np.linalg.norm(y, axis=-1, keepdims=True)

    a, p, n = map(embed, (anchors, positives, negatives))
    d_p, d_n = (((a - other) ** 2).sum(axis=1) for other in (p, n))
    return np.maximum(d_p - d_n + margin, 0.0).mean()


@idiom(lambda r, t: (normal(r, t, 5), normal(r, t, 7, 5), tuple(r.permutation(7).tolist())))
def ranking_losses(w, documents, relevance):
    """A pairwise and a listwise loss, and the likelihood of a ranking, under one roof."""
    scores = documents @ w
    pairs = [(i, j) for i in range(7) for j in range(7) if relevance[i] > relevance[j]]
    pairwise_loss = sum(np.log1p(np.exp(-(scores[i] - scores[j]))) for i, j in pairs) / len(pairs)
    gains = np.asarray(relevance)
    target = np.exp(gains) / np.exp(gains).sum()
    listwise = -(target * log_softmax(scores)).sum()
    ordered = scores[np.argsort(-gains)]
    tails = np.logaddexp.accumulate(ordered[::-1])[::-1]
    return pairwise_loss + listwise + np.sum(tails - ordered)


@idiom(
    lambda r, t: (
        (normal(r, t, 5, 2), normal(r, t, 6, 2), normal(r, t, 5), normal(r, t, 6)),
        normal(r, t, 5, 6),
        r.random((5, 6)) < 0.6,
    )
)
def matrix_factorization(factors, ratings, observed):
    users, items, user_bias, item_bias = factors
    mean = ratings[observed].mean()
    predicted = mean + users @ items.T + user_bias[:, None] + item_bias[None, :]
    error = (ratings - predicted)[observed]
    return error @ error + 0.05 * sum(np.sum(f**2) for f in factors)


# Sequences and tables


def logsumexp(values):
    top = functools.reduce(np.maximum, values)
    return top + np.log(sum(np.exp(v - top) for v in values))


@idiom(lambda r, t: ((normal(r, t, 6, 3), normal(r, t, 3, 3)), np.array([0, 2, 2, 1, 0, 1])))
def conditional_random_field(parameters, tags):
    emissions, transitions = parameters
    n = len(tags)
    gold = emissions[np.arange(n), tags].sum() + transitions[tags[:-1], tags[1:]].sum()
    alpha = emissions[0]
    for t in range(1, n):
        alpha = np.array(
            [logsumexp([alpha[i] + transitions[i, j] for i in range(3)]) + emissions[t, j] for j in range(3)]
        )
    return logsumexp(list(alpha)) - gold


@idiom(lambda r, t: (normal(r, t, 6, 4), [1, 2, 1]))
def connectionist_temporal_classification(logits, target):
    """The forward table in log space, filled element by element, blanks between the labels."""
    log_p = log_softmax(logits)
    extended = [0]
    for label in target:
        extended += [label, 0]
    T, S = len(log_p), len(extended)
    alpha = np.full((T, S), -1e30)
    alpha[0, 0] = log_p[0, 0]
    alpha[0, 1] = log_p[0, extended[1]]
    for t in range(1, T):
        for s in range(S):
            best = alpha[t - 1, s]
            if s >= 1:
                best = np.logaddexp(best, alpha[t - 1, s - 1])
            if s >= 2 and extended[s] != 0 and extended[s] != extended[s - 2]:
                best = np.logaddexp(best, alpha[t - 1, s - 2])
            alpha[t, s] = best + log_p[t, extended[s]]
    return -np.logaddexp(alpha[-1, -1], alpha[-1, -2])


@idiom(lambda r, t: (normal(r, t, 5, 2), normal(r, t, 4, 2), 0.5))
def soft_dynamic_time_warping(x, y, gamma):
    def softmin(*values):
        z = -np.array(values) / gamma
        return -gamma * (z.max() + np.log(np.exp(z - z.max()).sum()))

    D = ((x[:, None, :] - y[None, :, :]) ** 2).sum(-1)
    n, m = D.shape
    R = np.full((n + 1, m + 1), 1e10)
    R[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            R[i, j] = D[i - 1, j - 1] + softmin(R[i - 1, j], R[i, j - 1], R[i - 1, j - 1])
    return R[n, m]


@idiom(lambda r, t: (uniform(r, t, 4, low=0.5, high=1.5), "kitten", "sitting"))
def soft_edit_distance(costs, first, second):
    """Rows of a table as lists of numbers; the costs of insert, delete, replace, and a temperature."""
    insert, delete, replace, temperature = costs

    def smooth_min(*xs):
        return -temperature * np.log(sum(np.exp(-x / temperature) for x in xs))

    previous = list(accumulate([insert] * len(second), initial=0.0))
    for a in first:
        current = [previous[0] + delete]
        for j, b in enumerate(second):
            change = previous[j] + (0 if a == b else replace)
            current.append(smooth_min(change, previous[j + 1] + delete, current[j] + insert))
        previous = current
    return previous[-1]


# Generative models


@idiom(
    lambda r, t: (
        {
            "enc": [normal(r, t, 5, 4), normal(r, t, 4, 4)],
            "dec": [normal(r, t, 2, 4), normal(r, t, 4, 5)],
        },
        r.integers(0, 2, (6, 5)).astype(t),
        normal(r, t, 6, 2),
    )
)
def variational_autoencoder(params, x, noise):
    def mlp(weights, h):
        for W in weights[:-1]:
            h = np.tanh(h @ W)
        return h @ weights[-1]

    mean, log_var = np.split(mlp(params["enc"], x), 2, axis=1)
    z = mean + np.exp(0.5 * log_var) * noise
    logits = mlp(params["dec"], z)
    log_likelihood = -np.sum(np.logaddexp(0, np.where(x == 1, -1, 1) * logits), axis=1)
    divergence = -0.5 * np.sum(1 + log_var - mean**2 - np.exp(log_var), axis=1)
    return np.mean(divergence - log_likelihood)


@idiom(
    lambda r, t: (
        [{"s": normal(r, t, 2, 2) * t(0.3), "t": normal(r, t, 2, 2) * t(0.3)} for _ in range(3)],
        normal(r, t, 6, 4),
    )
)
def normalizing_flow(couplings, x):
    log_det = np.zeros(len(x), dtype=x.dtype)
    for i, net in enumerate(couplings):
        a, b = (x[:, :2], x[:, 2:]) if i % 2 == 0 else (x[:, 2:], x[:, :2])
        s = np.tanh(a @ net["s"])
        b = b * np.exp(s) + a @ net["t"]
        log_det += s.sum(axis=1)
        x = np.concatenate((a, b) if i % 2 == 0 else (b, a), axis=1)
    log_p = -0.5 * np.sum(x * x + np.log(2 * np.pi), axis=1) + log_det
    return -log_p.mean()


@idiom(lambda r, t: (normal(r, t, 3, 9) * t(0.5), normal(r, t, 6, 3), normal(r, t, 6)))
def mixture_density_network(W, X, y):
    logits, means, raw = np.array_split(X @ W, 3, axis=1)
    scales = np.log1p(np.exp(raw)) + 1e-3
    log_normal = -0.5 * ((y[:, None] - means) / scales) ** 2 - np.log(scales) - 0.5 * np.log(2 * np.pi)
    joint = log_softmax(logits) + log_normal
    return -np.logaddexp.reduce(joint, axis=1).sum()


@idiom(lambda r, t: ((normal(r, t, 3, 6) * t(0.5), normal(r, t, 6, 2) * t(0.5)), normal(r, t, 4, 2)))
def neural_ode(params, y0):
    """Runge and Kutta through a network whose input has the time as a column."""
    W1, W2 = params

    def f(t, y):
        time = np.full((len(y), 1), t, dtype=y.dtype)
        return np.tanh(np.concatenate([y, time], axis=1) @ W1) @ W2

    def rk4(f, y, t, h):
        k1 = f(t, y)
        k2 = f(t + h / 2, y + h / 2 * k1)
        k3 = f(t + h / 2, y + h / 2 * k2)
        k4 = f(t + h, y + h * k3)
        return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    y = y0
    for t, nxt in pairwise(np.linspace(0.0, 1.0, 5)):
        y = rk4(f, y, t, nxt - t)
    return np.sum((y - 1) ** 2)


@idiom(
    lambda r, t: (
        {"centers": normal(r, t, 4, 2), "log_width": normal(r, t, 4), "weights": normal(r, t, 4)},
        normal(r, t, 9, 2),
        normal(r, t, 9),
    )
)
def radial_basis_network(params, X, y):
    phi = np.column_stack(
        [
            np.exp(-np.sum((X - c) ** 2, axis=1) * np.exp(w))
            for c, w in zip(params["centers"], params["log_width"], strict=True)
        ]
    )
    return np.mean((phi @ params["weights"] - y) ** 2)


@idiom(
    lambda r, t: (
        (normal(r, t, 1, 5), normal(r, t, 5), normal(r, t, 5, 1)),
        [(normal(r, t, 4, 1), normal(r, t, 4, 1)) for _ in range(2)],
    )
)
def gradient_of_a_gradient_step(params, tasks, rate=0.1):
    """Model-agnostic meta-learning: the loss after a step of gradient descent on each task."""

    def loss(p, x, y):
        W1, b1, W2 = p
        return np.mean((np.tanh(x @ W1 + b1) @ W2 - y) ** 2)

    total = 0
    for x, y in tasks:
        grads = gradc.grad(loss)(params, x, y)
        adapted = tuple(p - rate * g for p, g in zip(params, grads, strict=True))
        total = total + loss(adapted, x, y)
    return total / len(tasks)


@contextmanager
def recording(log: list):
    log.append("start")
    try:
        yield log.append
    finally:
        log.append("end")


@idiom(lambda r, t: (normal(r, t, 4, 4), normal(r, t, 3, 4)))
def energy_of_a_hopfield_network(W, patterns):
    """With a context manager, a try, and a class of constants in use."""

    class Config:
        steps = 3
        beta = 2.0

    log: list = []
    with recording(log) as note:
        W = (W + W.T) / 2
        np.fill_diagonal(W, 0)
        x = patterns
        for k in range(Config.steps):
            note(k)
            x = np.tanh(Config.beta * x @ W)
    assert log == ["start", 0, 1, 2, "end"]
    try:
        energy = -0.5 * np.einsum("pi,ij,pj->p", x, W, x)
    except ValueError as error:
        raise RuntimeError(f"shapes {x.shape} and {W.shape}") from error
    return energy.sum()


@idiom(lambda r, t: (normal(r, t, 3, 4), normal(r, t, 5, 3), labels(r, 5, 4)))
def focal_loss_with_label_smoothing(W, X, y, *, gamma=2, smoothing=0.1):
    k = W.shape[1]
    targets = np.full((len(y), k), smoothing / (k - 1))
    targets[np.arange(len(y)), y] = 1 - smoothing
    log_p = log_softmax(X @ W)
    focus = (1 - np.exp(log_p)) ** gamma
    return -np.mean(np.sum(targets * focus * log_p, axis=1))


@idiom(lambda r, t: (normal(r, t, 6, 4), normal(r, t, 6, 4), 0.5))
def contrastive_loss(a, b, temperature):
    """Each row of a belongs to that row of b: the diagonal of a table of similarities."""
    normalize = partial(np.linalg.norm, axis=1, keepdims=True)
    a, b = a / normalize(a), b / normalize(b)
    logits = a @ b.T / temperature
    return -0.5 * (np.diag(log_softmax(logits)).mean() + np.trace(log_softmax(logits, axis=0)) / len(a))


# Frameworks inside of what is differentiated


class Module:
    """Parameters and modules register themselves when they are assigned to attributes."""

    def __init__(self):
        object.__setattr__(self, "own", {})
        object.__setattr__(self, "children", {})

    def __setattr__(self, name, value):
        if isinstance(value, Module):
            self.children[name] = value
        elif isinstance(value, np.ndarray):
            self.own[name] = value
        object.__setattr__(self, name, value)

    def named_parameters(self, prefix=""):
        yield from ((prefix + name, p) for name, p in self.own.items())
        for name, child in self.children.items():
            yield from child.named_parameters(f"{prefix}{name}.")

    def load(self, flat):
        start = 0
        for name, p in list(self.own.items()):
            setattr(self, name, flat[start : start + p.size].reshape(p.shape))
            start += p.size
        return start + sum(child.load(flat[start:]) for child in self.children.values())

    def __call__(self, *args):
        return self.forward(*args)


class Affine(Module):
    def __init__(self, n, m):
        super().__init__()
        self.W, self.b = np.zeros((n, m)), np.zeros(m)

    def forward(self, x):
        return x @ self.W + self.b


class Gated(Module):
    def __init__(self, n, m):
        super().__init__()
        self.value = Affine(n, m)
        self.scale = np.ones(m)

    def forward(self, x):
        return np.array([self.scale[j] * np.tanh(column) for j, column in enumerate(self.value(x).T)]).T


@idiom(lambda r, t: (normal(r, t, 3 * 4 + 4 + 4), normal(r, t, 5, 3)))
def modules_that_register_parameters(theta, x):
    net = Gated(3, 4)
    assert net.load(theta) == theta.size
    parameters = dict(net.named_parameters())
    assert list(parameters) == ["scale", "value.W", "value.b"]
    return np.mean(net(x) ** 2) + 0.1 * sum(np.sum(p**2) for p in parameters.values())


class Number:
    """Backpropagation over scalars, by closures: differentiated once more from outside."""

    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = data, 0.0, parents
        self.propagate = lambda: None

    def __add__(self, other):
        out = Number(self.data + other.data, (self, other))

        def propagate():
            self.grad += out.grad
            other.grad += out.grad

        out.propagate = propagate
        return out

    def __mul__(self, other):
        out = Number(self.data * other.data, (self, other))

        def propagate():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out.propagate = propagate
        return out

    def relu(self):
        out = Number(max(self.data, 0.1 * self.data), (self,))

        def propagate():
            self.grad += np.where(self.data > 0, 1.0, 0.1) * out.grad

        out.propagate = propagate
        return out

    def backward(self):
        order, seen = [], set()

        def visit(node):
            if node not in seen:
                seen.add(node)
                for parent in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        self.grad = 1.0
        for node in reversed(order):
            node.propagate()


@idiom(lambda r, t: (normal(r, t, 4), normal(r, t, 4)))
def backpropagation_inside(w, x):
    """The loss and the squared length of its gradient, which an engine of objects finds."""
    weights = [Number(v) for v in w]
    out = reduce(lambda a, b: a + b, (a * Number(b) for a, b in zip(weights, x, strict=True)))
    loss = (out * out).relu() + out.relu() * weights[0]
    loss.backward()
    return loss.data + 0.1 * sum(v.grad**2 for v in weights)
