"""Statistics, finance, time series: likelihoods, filters, samplers, and what is fitted by them."""

from __future__ import annotations

import itertools
import math
import operator
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property, reduce
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import gradc
from tests.programs.idioms import idiom, normal, uniform

LOG_2PI = np.log(2 * np.pi)

Array = npt.NDArray[np.floating]


def logsumexp(x: Array, axis: int | None = None, keepdims: bool = False) -> Any:
    m = np.max(x, axis=axis, keepdims=True)
    out = m + np.log(np.sum(np.exp(x - m), axis=axis, keepdims=True))
    return out if keepdims else np.squeeze(out, axis=axis)


# Mixtures and Markov models


class MixtureParams(NamedTuple):
    logits: Array
    means: Array
    factors: Array  # lower triangular, log of the diagonal


@idiom(
    lambda r, t: (
        MixtureParams(normal(r, t, 3), normal(r, t, 3, 2), normal(r, t, 3, 2, 2) * t(0.5)),
        normal(r, t, 8, 2),
    )
)
def mixture_with_full_covariances(params: MixtureParams, x: Array) -> float:
    """Triangular systems solved by hand, one component at a time."""
    terms = []
    for k in range(len(params.logits)):
        L = np.tril(params.factors[k], -1) + np.diag(np.exp(np.diag(params.factors[k])))
        d = x - params.means[k]
        z0 = d[:, 0] / L[0, 0]
        z1 = (d[:, 1] - L[1, 0] * z0) / L[1, 1]
        log_det = np.log(L.diagonal()).sum()
        terms.append(-0.5 * (z0**2 + z1**2) - log_det - LOG_2PI)
    log_pi = params.logits - logsumexp(params.logits)
    return -logsumexp(np.array(terms).T + log_pi, axis=1).mean()


@idiom(lambda r, t: ((normal(r, t, 3, 2), normal(r, t, 3)), normal(r, t, 9, 2)))
def step_of_expectation_maximization(params, x):
    """The likelihood after one EM step, through the responsibilities."""
    means, log_pi = params

    def e_step(mu, lp):
        log_r = lp - 0.5 * np.sum((x[:, np.newaxis] - mu[np.newaxis]) ** 2, axis=-1)
        norm = logsumexp(log_r, axis=1, keepdims=True)
        return np.exp(log_r - norm), norm

    r, _ = e_step(means, log_pi)
    weight = r.sum(axis=0)
    means = (r.T @ x) / weight[:, None]
    _, norm = e_step(means, np.log(weight / weight.sum()))
    return -np.sum(norm)


@idiom(
    lambda r, t: (
        {"start": normal(r, t, 3), "step": normal(r, t, 3, 3), "emit": normal(r, t, 3, 4)},
        np.array([0, 3, 1, 1, 2, 0]),
    )
)
def hidden_markov_model_in_log_space(params, observed):
    def normalized(x):
        return x - logsumexp(x, axis=-1, keepdims=True)

    start, step, emit = (normalized(params[k]) for k in ("start", "step", "emit"))
    alpha = np.zeros((len(observed), 3))
    alpha[0] = start + emit[:, observed[0]]
    for t in range(1, len(observed)):
        for j in range(3):
            alpha[t, j] = logsumexp(alpha[t - 1] + step[:, j]) + emit[j, observed[t]]
    return -logsumexp(alpha[-1])


@idiom(lambda r, t: (normal(r, t, 4, 4), [[0, 1, 2], [3, 0], [1, 1, 2, 3]]))
def markov_chain_counts(logits, sequences):
    """Transitions counted in a defaultdict, whose items are then summed."""
    counts = defaultdict(int)
    for sequence in sequences:
        for pair in itertools.pairwise(sequence):
            counts[pair] += 1
    log_p = logits - logsumexp(logits, axis=1, keepdims=True)
    return -sum(count * log_p[pair] for pair, count in counts.items())


# Filters


@dataclass(frozen=True)
class LinearModel:
    F: Array
    H: Array
    log_q: Any
    log_r: Any

    @cached_property
    def process_noise(self):
        return np.exp(self.log_q) * np.eye(len(self.F))

    @property
    def sensor_noise(self):
        return np.exp(self.log_r) * np.eye(len(self.H))


@idiom(
    lambda r, t: (
        LinearModel(np.array([[1, 0.5], [-0.2, 0.9]], t), normal(r, t, 1, 2), t(-1.0), t(-0.5)),
        normal(r, t, 6, 1),
    )
)
def kalman_filter_of_matrices(model, observations):
    m, P = np.zeros(2), np.eye(2)
    log_likelihood = 0.0
    for y in observations:
        m, P = model.F @ m, model.F @ P @ model.F.T + model.process_noise
        S = model.H @ P @ model.H.T + model.sensor_noise
        v = y - model.H @ m
        K = P @ model.H.T / S[0, 0]
        log_likelihood += -0.5 * (v[0] ** 2 / S[0, 0] + np.log(2 * np.pi * S[0, 0]))
        m = m + K @ v
        P = (np.eye(2) - K @ model.H) @ P
    return -log_likelihood


@idiom(lambda r, t: (np.array([-1.0, 0.5, -0.5], t), normal(r, t, 8), normal(r, t, 8, 5)))
def particle_filter_without_resampling(theta, observations, noise):
    log_q, phi, log_r = theta
    particles = np.linspace(-1, 1, noise.shape[1])
    log_w = np.zeros(noise.shape[1])
    for y, e in zip(observations, noise, strict=True):
        particles = np.tanh(phi) * particles + np.exp(log_q) * e
        log_w = log_w - 0.5 * ((y - particles) / np.exp(log_r)) ** 2 - log_r
    return -(logsumexp(log_w) - np.log(log_w.size))


@idiom(lambda r, t: (np.array([-2.0, -1.5, 1.0], t), normal(r, t, 12) * t(0.1)))
def garch_likelihood(params, returns):
    """Variances in a preallocated array that a loop fills, each from the one before."""
    omega = np.exp(params[0])
    alpha, beta = 1 / (1 + np.exp(-params[1:]))
    n = returns.shape[0]
    h = np.empty(n, dtype=returns.dtype)
    h[0] = np.var(returns)
    for t in range(1, n):
        h[t] = omega + alpha * returns[t - 1] ** 2 + beta * h[t - 1]
    return 0.5 * np.sum(np.log(h) + returns**2 / h)


@idiom(
    lambda r, t: (
        {"ar": normal(r, t, 2) * t(0.3), "ma": normal(r, t, 1) * t(0.3), "c": normal(r, t)},
        normal(r, t, 10),
    )
)
def arma_residuals(params, y):
    p, q = len(params["ar"]), len(params["ma"])
    e = np.zeros_like(y)
    for t in range(max(p, q), len(y)):
        prediction = params["c"]
        prediction += sum(params["ar"][i] * y[t - 1 - i] for i in range(p))
        prediction += sum(params["ma"][i] * e[t - 1 - i] for i in range(q))
        e[t] = y[t] - prediction
    return e[max(p, q) :] @ e[max(p, q) :]


@idiom(lambda r, t: (uniform(r, t, 3, low=0.2, high=0.8), normal(r, t, 10), 4))
def triple_exponential_smoothing(smoothing, series, season):
    """Holt and Winters; a list of seasonal terms that is written to."""
    a, b, c = smoothing
    level, trend = series[0], series[1] - series[0]
    seasonal = [series[i] - np.mean(series[:season]) for i in range(season)]
    error = 0
    for i, value in enumerate(series):
        s = seasonal[i % season]
        error += (value - (level + trend + s)) ** 2
        last, level = level, a * (value - s) + (1 - a) * (level + trend)
        trend = b * (level - last) + (1 - b) * trend
        seasonal[i % season] = c * (value - level) + (1 - c) * s
    return error / len(series)


# Regression of many kinds


class Link(Enum):
    IDENTITY = "identity"
    LOG = "log"
    LOGIT = "logit"


@idiom(lambda r, t: (normal(r, t, 3), normal(r, t, 8, 3), r.integers(0, 2, 8)))
def generalized_linear_models(w, X, y):
    """A match over an enum; the likelihoods of three links, summed."""

    def mean(eta, link):
        match link:
            case Link.IDENTITY:
                return eta
            case Link.LOG:
                return np.exp(eta)
            case Link.LOGIT:
                return 1 / (1 + np.exp(-eta))
        raise ValueError(link)

    total = 0.0
    for link in Link:
        mu = mean(X @ w, link)
        if link is Link.IDENTITY:
            total += 0.5 * np.sum((y - mu) ** 2)
        elif link is Link.LOG:
            total += np.sum(mu - y * np.log(mu))
        else:
            total -= np.sum(y * np.log(mu) + (1 - y) * np.log1p(-mu))
    return total


@idiom(
    lambda r, t: (
        normal(r, t, 3),
        normal(r, t, 8, 3),
        uniform(r, t, 8, low=0.5, high=4.0),
        r.integers(0, 2, 8).astype(bool),
    )
)
def cox_regression(beta, X, times, event):
    order = np.argsort(-times)
    eta = (X @ beta)[order]
    log_risk = np.logaddexp.accumulate(eta)
    return -np.sum((eta - log_risk)[event[order]])


@idiom(lambda r, t: ((t(0.3), t(0.8)), uniform(r, t, 9, low=0.2, high=3.0), r.integers(0, 2, 9)))
def weibull_survival_with_censoring(params, times, died):
    log_scale, shape = params
    z = (times / np.exp(log_scale)) ** shape
    log_hazard = np.log(shape) - log_scale + (shape - 1) * (np.log(times) - log_scale)
    return -np.where(died, log_hazard - z, -z).sum()


@idiom(lambda r, t: (normal(r, t, 4), normal(r, t, 10, 4), normal(r, t, 10), (0.1, 0.5, 0.9)))
def quantile_regression(w, X, y, quantiles):
    residual = y - X @ w
    pinball = [np.maximum(q * residual, (q - 1) * residual) for q in quantiles]
    return np.mean(pinball)


@idiom(lambda r, t: (normal(r, t, 5), normal(r, t, 9, 5), normal(r, t, 9)))
def elastic_net_with_keywords(w, X, y):
    options = {"l1": 0.3, "l2": 0.1}

    def penalty(w, *, l1=0.0, l2=0.0, **unknown):
        if unknown:
            raise TypeError(f"unknown options: {', '.join(unknown)}")
        return l1 * np.linalg.norm(w, 1) + 0.5 * l2 * np.linalg.norm(w) ** 2

    def loss(*arrays, reduction=np.mean, **kwargs):
        w, X, y = arrays
        return reduction((X @ w - y) ** 2) + penalty(w, **kwargs)

    return loss(w, X, y, **options)


@idiom(lambda r, t: (normal(r, t, 4), uniform(r, t, 7, low=-1, high=1), normal(r, t, 7)))
def polynomial_fit_with_vander(coefficients, x, y):
    V = np.vander(x, N=len(coefficients), increasing=True)
    return np.sum((V @ coefficients - np.polyval(coefficients[::-1], x) + y - V @ coefficients) ** 2)


@idiom(lambda r, t: (normal(r, t, 6, 2), normal(r, t, 6), normal(r, t, 4, 2)))
def kernel_regression(x, y, at, width=0.7):
    """Nadaraya and Watson's, through a table of distances by broadcasting."""
    distance = np.sqrt(((at[:, None] - x[None, :]) ** 2).sum(axis=-1))
    K = np.exp(-0.5 * (distance / width) ** 2)
    K /= K.sum(axis=1, keepdims=True)
    return np.sum((K @ y) ** 2)


@idiom(lambda r, t: (normal(r, t, 3, 4), normal(r, t, 7, 3)))
def principal_components_by_gradient(W, X):
    centered = X - X.mean(0)
    C = centered.T @ centered / (len(X) - 1)
    WtW = W @ W.T
    return -np.trace(W.T @ C @ W) + 0.5 * np.sum((WtW - np.eye(3)) ** 2)


@idiom(lambda r, t: (normal(r, t, 3, 2), normal(r, t, 10, 2)))
def k_means_step_with_masks(centers, x):
    """Lloyd's step: each center moves to the mean of its points, which masks select."""
    nearest = ((x[:, None] - centers[None]) ** 2).sum(-1).argmin(1)
    new = np.zeros_like(centers)
    for k in range(len(centers)):
        members = nearest == k
        count = np.count_nonzero(members)
        new[k] = np.where(count > 0, (x * members[:, None]).sum(0) / np.maximum(count, 1), centers[k])
    return np.sum((new - 0.5 * centers) ** 2)


# Sampling and variational inference


@idiom(lambda r, t: (normal(r, t, 4), normal(r, t, 4)))
def hamiltonian_monte_carlo_step(q, p):
    """Leapfrog through the gradient of a potential; the change of the energy."""

    def potential(q):
        return 0.5 * np.sum(q**2) + 0.1 * np.sum(q[1:] ** 2 * q[:-1])

    force = gradc.grad(potential)
    step, n = 0.1, 4
    before = potential(q) + 0.5 * p @ p
    p = p - 0.5 * step * force(q)
    for i in range(n):
        q = q + step * p
        if i != n - 1:
            p = p - step * force(q)
    p = p - 0.5 * step * force(q)
    return potential(q) + 0.5 * p @ p - before + np.sum(q)


@idiom(
    lambda r, t: (
        OrderedDict(mean=normal(r, t, 3), log_sd=normal(r, t, 3) * t(0.3)),
        normal(r, t, 8, 3),
        r.integers(0, 2, 8),
        normal(r, t, 5, 3),
    )
)
def bayesian_logistic_regression(q, X, y, noise):
    samples = q["mean"] + np.exp(q["log_sd"]) * noise

    def log_joint(w):
        z = X.dot(w)
        return np.sum(y * z - np.logaddexp(0, z)) - 0.5 * w.dot(w)

    expected = np.mean([log_joint(w) for w in samples])
    entropy = q["log_sd"].sum() + 0.5 * q["mean"].size * (1 + LOG_2PI)
    return -(expected + entropy)


@idiom(lambda r, t: (normal(r, t, 3, 3), normal(r, t, 9, 3)))
def multivariate_t_likelihood(A, x, df=5.0):
    """`math` for numbers that are known, NumPy for the others; a determinant by cofactors."""

    def determinant(M):
        if M.shape == (1, 1):
            return M[0, 0]
        minors = (np.delete(np.delete(M, 0, 0), j, 1) for j in range(M.shape[1]))
        return sum((-1) ** j * M[0, j] * determinant(minor) for j, minor in enumerate(minors))

    d = A.shape[0]
    P = A.T @ A + np.eye(d)
    quadratic = np.einsum("ni,ij,nj->n", x, P, x)
    constant = math.lgamma((df + d) / 2) - math.lgamma(df / 2) - 0.5 * d * math.log(df * math.pi)
    log_p = constant + 0.5 * np.log(determinant(P)) - 0.5 * (df + d) * np.log1p(quadratic / df)
    return -np.sum(log_p)


@idiom(lambda r, t: (normal(r, t, 4, 4) * t(0.3), normal(r, t, 4)))
def mean_field_of_an_ising_model(J, h):
    J = 0.5 * (J + J.T) * (1 - np.eye(4))
    m = np.zeros_like(h)
    for _ in range(6):
        m = 0.5 * m + 0.5 * np.tanh(J @ m + h)
    p = (1 + m) / 2
    entropy = -np.sum(p * np.log(p) + (1 - p) * np.log(1 - p))
    return -0.5 * m @ J @ m - h @ m - entropy


@idiom(lambda r, t: (normal(r, t, 4), normal(r, t, 4)))
def exact_ising_partition_function(h, J):
    """All 16 states of a ring, from itertools.product."""
    states = np.array(list(itertools.product([-1, 1], repeat=4)))
    energies = -(states * np.roll(states, -1, axis=1)) @ J - states @ h
    return np.log(np.sum(np.exp(-energies)))


# Finance and epidemics


@dataclass
class Option:
    spot: Any
    strike: Any
    rate: Any
    volatility: Any
    maturity: Any

    def d(self, sign):
        drift = (self.rate + sign * self.volatility**2 / 2) * self.maturity
        return (np.log(self.spot / self.strike) + drift) / (self.volatility * np.sqrt(self.maturity))

    def price(self, cdf):
        discounted = self.strike * np.exp(-self.rate * self.maturity)
        return self.spot * cdf(self.d(+1)) - discounted * cdf(self.d(-1))


def normal_cdf(x):
    return 0.5 * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


@idiom(lambda r, t: (Option(t(100), t(95), t(0.03), t(0.25), t(0.5)),))
def black_scholes_and_greeks(option):
    """A price, its delta and gamma by gradc.grad, and a bumped one by dataclasses.replace."""

    def price(spot):
        return replace(option, spot=spot).price(normal_cdf)

    delta = gradc.grad(price)
    gamma = gradc.grad(delta)
    bumped = replace(option, volatility=option.volatility + 0.01)
    return price(option.spot) + delta(option.spot) + gamma(option.spot) + bumped.price(normal_cdf)


@idiom(lambda r, t: (np.array([1.0, 0.2, 0.05], t), normal(r, t, 16, 5)))
def asian_option_by_paths(market, noise, strike=1.0, T=1.0):
    spot, volatility, rate = market
    steps = noise.shape[1]
    dt = T / steps
    increments = (rate - 0.5 * volatility**2) * dt + volatility * np.sqrt(dt) * noise
    paths = spot * np.exp(np.cumsum(increments, axis=1))
    payoff = np.log1p(np.exp(20 * (np.mean(paths, axis=1) - strike))) / 20
    return np.exp(-rate * T) * np.average(payoff)


@idiom(lambda r, t: (np.array([100.0, 0.3], t), 102.0, 6))
def american_option_on_a_tree(market, strike, steps):
    spot, volatility = market
    dt = 1.0 / steps
    up = np.exp(volatility * np.sqrt(dt))
    down = 1 / up
    p = (np.exp(0.02 * dt) - down) / (up - down)
    prices = np.array([spot * up**j * down ** (steps - j) for j in range(steps + 1)])
    values = np.maximum(strike - prices, 0)
    for i in range(steps - 1, -1, -1):
        values = np.exp(-0.02 * dt) * (p * values[1:] + (1 - p) * values[:-1])
        prices = np.array([spot * up**j * down ** (i - j) for j in range(i + 1)])
        np.maximum(values, strike - prices, out=values)
    return values[0]


@idiom(lambda r, t: (normal(r, t, 5), normal(r, t, 30, 5) * t(0.02)))
def portfolio_with_transaction_costs(logits, returns):
    w = np.exp(logits) / sum(np.exp(logits))
    mean, cov = returns.mean(axis=0), np.cov(returns, rowvar=False)
    wealth = np.cumprod(1 + returns @ w)
    drawdown = np.max(1 - wealth / np.maximum.accumulate(wealth))
    turnover = np.abs(w - 1 / len(w)).sum()
    return -(w @ mean) / np.sqrt(w @ cov @ w) + 0.01 * turnover + drawdown


@idiom(lambda r, t: (np.array([0.9, 0.3], t), np.array([1.0, 3.0, 7.0, 12.0, 10.0, 6.0], t) / t(100)))
def epidemic_fit(rates, observed, substeps=4):
    beta, gamma = rates
    state = {"S": 0.99, "I": 0.01, "R": 0.0}
    trajectory = []
    for _ in range(len(observed)):
        for _ in range(substeps):
            infections = beta * state["S"] * state["I"] / substeps
            recoveries = gamma * state["I"] / substeps
            state = {
                "S": state["S"] - infections,
                "I": state["I"] + infections - recoveries,
                "R": state["R"] + recoveries,
            }
        trajectory.append(state["I"])
    assert set(state) == {"S", "I", "R"}
    return np.sum((np.asarray(trajectory) - observed) ** 2) * 100


@idiom(lambda r, t: (normal(r, t, 6), [(0, 1), (2, 1), (3, 5), (4, 0), (5, 2), (3, 4)]))
def bradley_terry_by_operators(strengths, games):
    differences = [operator.sub(*map(strengths.__getitem__, game)) for game in games]
    losses = map(lambda d: np.log1p(np.exp(-d)), differences)
    return reduce(operator.add, losses, 0.01 * operator.matmul(strengths, strengths))


@idiom(lambda r, t: (uniform(r, t, 4, low=0.5, high=2.0), uniform(r, t, 4, low=0.5, high=2.0)))
def divergences(p, q):
    """Between two distributions: Kullback and Leibler's, Jensen and Shannon's, Hellinger's, Rényi's."""
    p, q = p / p.sum(), q / q.sum()

    def kl(a, b):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(a > 0, a * np.log(a / b), 0).sum()

    m = 0.5 * (p + q)
    js = 0.5 * (kl(p, m) + kl(q, m))
    hellinger = np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2)
    renyi = np.log(np.sum(p**2 / q))
    earth = np.abs(np.cumsum(p - q)).sum()
    return kl(p, q) + js + hellinger + renyi + earth


@idiom(lambda r, t: (normal(r, t, 12), 3))
def robust_location_by_reweighting(x, iterations):
    """Iteratively reweighted means, from a median and its absolute deviations."""
    center = np.median(x)
    scale = np.median(np.abs(x - center)) * 1.4826 + 1e-3
    for _ in range(iterations):
        z = (x - center) / (4.685 * scale)
        w = np.where(np.abs(z) < 1, (1 - z**2) ** 2, 0.0)
        center = np.average(x, weights=w)
    low, high = np.percentile(x, [25, 75])
    return center**2 + (high - low) * scale


@idiom(lambda r, t: (normal(r, t, 5, 8),))
def moments_and_correlations(x):
    centered = x - x.mean(axis=1, keepdims=True)
    m2, m3, m4 = (np.mean(centered**k, axis=1) for k in (2, 3, 4))
    skewness, kurtosis = m3 / m2**1.5, m4 / m2**2 - 3
    lag = [np.sum(centered[:, :-k] * centered[:, k:], axis=1) / m2 for k in (1, 2)]
    R = np.corrcoef(x)
    return np.sum(skewness**2) + np.sum(np.abs(kurtosis)) + np.sum(np.array(lag)) + np.sum(np.triu(R, 1) ** 2)


class Distribution:
    """Inheritance: the base knows sums, the others know their densities."""

    def log_prob(self, x):
        raise NotImplementedError

    def __add__(self, other):
        return Product(self, other)

    def score(self, data: Sequence):
        return sum(self.log_prob(x) for x in data) / len(data)


class Normal(Distribution):
    def __init__(self, mean, sd):
        self.mean, self.sd = mean, sd

    def log_prob(self, x):
        return -0.5 * ((x - self.mean) / self.sd) ** 2 - np.log(self.sd) - 0.5 * LOG_2PI


class Laplace(Normal):
    def log_prob(self, x):
        return -np.abs(x - self.mean) / self.sd - np.log(2 * self.sd)


class Cauchy(Laplace):
    def log_prob(self, x):
        inherited = super().log_prob(x)
        return 0.1 * inherited - np.log1p(((x - self.mean) / self.sd) ** 2)


class Product(Distribution):
    def __init__(self, *parts):
        self.parts = parts

    def log_prob(self, x):
        return sum(part.log_prob(x) for part in self.parts)


@idiom(lambda r, t: ({"mean": normal(r, t), "sd": t(0.8)}, normal(r, t, 6)))
def distributions_by_inheritance(params, data):
    kinds = [Normal, Laplace, Cauchy]
    joint = reduce(operator.add, (kind(**params) for kind in kinds))
    return -joint.score(data)
