"""Optimizers inside of what is differentiated: steps of Newton and others, implicit functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, fields
from functools import partial, reduce
from itertools import count, cycle, pairwise, takewhile
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

import gradc
from tests.programs.idioms import idiom, normal, uniform

T = TypeVar("T")


# Functions to be minimized


@idiom(lambda r, t: (uniform(r, t, 4, low=-2, high=2),))
def many_test_functions(x):
    """Each is a lambda in a dict; the sum of all, weighted by their order."""
    d = len(x)
    functions = {
        "rosenbrock": lambda x: sum(100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in pairwise(x)),
        "ackley": lambda x: (
            -20 * np.exp(-0.2 * np.sqrt(np.mean(x**2))) - np.exp(np.mean(np.cos(2 * np.pi * x))) + 20 + np.e
        ),
        "rastrigin": lambda x: 10 * d + np.sum(x**2 - 10 * np.cos(2 * np.pi * x)),
        "griewank": lambda x: 1 + x @ x / 4000 - np.prod(np.cos(x / np.sqrt(1 + np.arange(d)))),
        "styblinski": lambda x: 0.5 * np.polyval([1, 0, -16, 5, 0], x).sum(),
        "levy": lambda x: np.sin(np.pi * (w := 1 + (x - 1) / 4)[0]) ** 2 + (w[-1] - 1) ** 2,
        "himmelblau": lambda x: (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2,
        "beale": lambda x: sum(
            (c - x[0] + x[0] * x[1] ** i) ** 2 for i, c in enumerate((1.5, 2.25, 2.625), 1)
        ),
        "booth": lambda x: (x[0] + 2 * x[1] - 7) ** 2 + (2 * x[0] + x[1] - 5) ** 2,
        "easom": lambda x: -np.cos(x[0]) * np.cos(x[1]) * np.exp(-((x[:2] - np.pi) ** 2).sum()),
        "michalewicz": lambda x: -np.sum(np.sin(x) * np.sin((1 + np.arange(d)) * x**2 / np.pi) ** 20),
        "zakharov": lambda x: x @ x + (s := 0.5 * np.arange(1, d + 1) @ x) ** 2 + s**4,
    }
    return sum(f(x) / (1 + i) for i, f in enumerate(functions.values()))


# Steps of optimizers as part of the function


@idiom(lambda r, t: (normal(r, t, 2), normal(r, t, 2)))
def newtons_method(x, target):
    """Three damped steps with gradient and Hessian, the system of two solved by hand."""

    def objective(x):
        return np.sum(np.cosh(x - target)) + 0.5 * (x[0] * x[1]) ** 2

    gradient, hessian = gradc.grad(objective), gradc.hessian(objective)
    for _ in range(3):
        g, H = gradient(x), hessian(x) + 0.1 * np.eye(2)
        det = H[0, 0] * H[1, 1] - H[0, 1] * H[1, 0]
        step = np.array([H[1, 1] * g[0] - H[0, 1] * g[1], H[0, 0] * g[1] - H[1, 0] * g[0]]) / det
        x = x - 0.5 * step
    return objective(x)


@idiom(lambda r, t: (np.array([1.0, 0.5], t), np.linspace(0, 1, 6).astype(t), uniform(r, t, 6)))
def gauss_newton_with_damping(theta, times, values):
    def residual(theta):
        return theta[0] * np.exp(-theta[1] * times) - values

    for damping in (1.0, 0.1):
        r, J = residual(theta), gradc.jacobian(residual)(theta)
        A = J.T @ J + damping * np.eye(2)
        b = J.T @ r
        adjugate = np.array([[A[1, 1], -A[0, 1]], [-A[1, 0], A[0, 0]]])
        theta = theta - adjugate @ b / (A[0, 0] * A[1, 1] - A[0, 1] ** 2)
    return residual(theta) @ residual(theta)


class Optimizer(Protocol):
    def step(self, params: list, grads: list) -> list: ...


class Momentum:
    def __init__(self, rate, decay):
        self.rate, self.decay = rate, decay
        self.velocity: list | None = None

    def step(self, params, grads):
        if self.velocity is None:
            self.velocity = [np.zeros_like(p) for p in params]
        for i, g in enumerate(grads):
            self.velocity[i] = self.decay * self.velocity[i] - self.rate * g
        return [p + v for p, v in zip(params, self.velocity, strict=True)]


class Adam:
    def __init__(self, rate=0.1, b1=0.9, b2=0.999):
        self.rate, self.b1, self.b2 = rate, b1, b2
        self.t = 0
        self.moments: dict[int, tuple] = {}

    def step(self, params, grads):
        self.t += 1
        out = []
        for i, (p, g) in enumerate(zip(params, grads, strict=True)):
            m, v = self.moments.get(i, (0.0, 0.0))
            m, v = self.b1 * m + (1 - self.b1) * g, self.b2 * v + (1 - self.b2) * g**2
            self.moments[i] = m, v
            m_hat, v_hat = m / (1 - self.b1**self.t), v / (1 - self.b2**self.t)
            out.append(p - self.rate * m_hat / (np.sqrt(v_hat) + 1e-8))
        return out


@idiom(lambda r, t: (np.array([0.05, 0.8], t), [normal(r, t, 3), normal(r, t, 2)]))
def hyperparameters_of_momentum(hyper, params):
    """The loss after training, differentiated in the learning rate and the decay."""
    rate, decay = hyper

    def loss(params):
        a, b = params
        return np.sum(a**4) + np.sum((b - 1) ** 2) + a[0] * b[0]

    optimizer: Optimizer = Momentum(rate, decay)
    for _ in range(4):
        params = optimizer.step(params, gradc.grad(loss)(params))
    return loss(params)


@idiom(lambda r, t: (t(0.05), [normal(r, t, 3), normal(r, t, 2)]))
def learning_rate_of_adam(rate, params):
    def loss(params):
        a, b = params
        return np.sum(np.cosh(a)) + np.sum((b - 1) ** 2)

    optimizer = Adam(rate)
    while optimizer.t < 3:
        value, grads = gradc.value_and_grad(loss)(params)
        params = optimizer.step(params, grads)
    return value + loss(params)


@idiom(lambda r, t: (normal(r, t, 4), normal(r, t, 4)))
def limited_memory_bfgs(x, target):
    """The two-loop recursion over lists of steps."""

    def f(x):
        return np.sum((x - target) ** 2) + 0.1 * np.sum(x**4)

    gradient = gradc.grad(f)
    steps, changes = [], []
    g = gradient(x)
    for _ in range(3):
        q, alphas = g, []
        for s, y in zip(reversed(steps), reversed(changes), strict=True):
            alphas.append(a := s @ q / (y @ s))
            q = q - a * y
        if steps:
            q = q * (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
        for s, y, a in zip(steps, changes, alphas[::-1], strict=True):
            q = q + (a - y @ q / (y @ s)) * s
        new = x - 0.3 * q
        steps, changes = [*steps, new - x][-2:], [*changes, gradient(new) - g][-2:]
        x, g = new, gradient(new)
    return f(x)


@idiom(lambda r, t: (normal(r, t, 6, 4), normal(r, t, 6)))
def iterative_soft_thresholding(A, b, penalty=0.1):
    """Proximal steps, with momentum, for a lasso."""
    step = 1 / np.sum(A**2)
    x = z = np.zeros(A.shape[1])
    t = 1.0
    for _ in range(6):
        u = z - step * A.T @ (A @ z - b)
        following = np.sign(u) * np.maximum(np.abs(u) - step * penalty, 0)
        t, last = (1 + np.sqrt(1 + 4 * t**2)) / 2, t
        z = following + (last - 1) / t * (following - x)
        x = following
    return 0.5 * np.sum((A @ x - b) ** 2) + penalty * np.abs(x).sum()


@idiom(lambda r, t: (normal(r, t, 4), normal(r, t, 4)))
def projections(x, direction):
    """Onto a simplex by sorting, onto a ball and a box, one after the other."""

    def simplex(v):
        u = np.sort(v)[::-1]
        excess = (np.cumsum(u) - 1) / np.arange(1, len(u) + 1)
        rho = np.sum(u > excess) - 1
        return np.maximum(v - excess[rho], 0)

    def ball(v, radius=1.0):
        norm = np.linalg.norm(v)
        return np.where(norm > radius, v * radius / norm, v)

    box = partial(np.clip, a_min=-0.5, a_max=0.5)
    steps = (simplex, ball, box)
    return sum(direction @ project(x) for project in steps) + direction @ reduce(lambda v, f: f(v), steps, x)


@idiom(lambda r, t: (normal(r, t, 3), normal(r, t, 3)))
def augmented_lagrangian(x, center):
    def constraint(x):
        return np.array([x @ x - 1, x[0] + x[1]])

    def lagrangian(x, multipliers, rho):
        c = constraint(x)
        return 0.5 * np.sum((x - center) ** 2) + multipliers @ c + 0.5 * rho * c @ c

    multipliers = np.zeros(2)
    for rho in (0.5, 1.0):
        for _ in range(2):
            x = x - 0.1 * gradc.grad(lagrangian)(x, multipliers, rho)
        multipliers = multipliers + rho * constraint(x)
    return lagrangian(x, multipliers, 1.0)


# Implicit functions


@gradc.custom_gradient
def kepler(eccentricity, anomaly):
    """E with E - e sin E = M, by Newton; its derivatives by the implicit function theorem."""
    E = anomaly
    for _ in range(12):
        E = E - (E - eccentricity * np.sin(E) - anomaly) / (1 - eccentricity * np.cos(E))
    slope = 1 - eccentricity * np.cos(E)

    def pullback(g):
        return g * np.sin(E) / slope, g / slope

    return E, pullback


@idiom(lambda r, t: ((uniform(r, t, 4, low=0.1, high=0.6), uniform(r, t, 4, low=0.3, high=2.5)),))
def implicit_orbits(elements):
    eccentricity, anomaly = elements
    E = kepler(eccentricity, anomaly)
    radius = 1 - eccentricity * np.cos(E)
    return np.sum(radius**2 + np.sin(E))


@idiom(lambda r, t: (normal(r, t, 3, 3) * t(0.2), normal(r, t, 3)))
def fixed_point_layer(W, x):
    """An equilibrium z = tanh(W z + x), whose pullback iterates the transposed linear map."""

    @gradc.custom_gradient
    def equilibrium(W, x):
        z = np.zeros_like(x)
        for _ in range(60):
            z = np.tanh(W @ z + x)
        slope = 1 - z**2

        def pullback(g):
            u = g
            for _ in range(60):
                u = g + W.T @ (slope * u)
            return np.outer(slope * u, z), slope * u

        return z, pullback

    return np.sum(equilibrium(W, x) ** 2)


@idiom(lambda r, t: (uniform(r, t, 3, low=0.5, high=2.0),))
def roots_by_bisection_and_a_last_step(c):
    """Bisection tells nothing about derivatives; one step of Newton with stop_gradient does."""

    def f(x):
        return x**3 + c[0] * x - c[1]

    low, high = np.zeros(()), np.full((), 3.0)
    for _ in range(50):
        middle = 0.5 * (low + high)
        above = f(middle) > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    x = gradc.stop_gradient(0.5 * (low + high))
    root = x - f(x) / gradc.stop_gradient(3 * x**2 + c[0])
    return root**2 * c[2]


@idiom(lambda r, t: (t(0.3), normal(r, t, 8, 3), normal(r, t, 8), normal(r, t, 5, 3), normal(r, t, 5)))
def ridge_penalty_by_validation(log_penalty, X, y, X_valid, y_valid):
    """Two levels: the inner problem by gradient steps, the outer in the penalty."""
    penalty = np.exp(log_penalty)

    def inner(w):
        return np.mean((X @ w - y) ** 2) + penalty * w @ w

    w = np.zeros(X.shape[1])
    for _ in takewhile(lambda k: k < 5, count()):
        w = w - 0.1 * gradc.grad(inner)(w)
    return np.mean((X_valid @ w - y_valid) ** 2)


# Records of all kinds


@dataclass
class Point(Generic[T]):
    x: T
    y: T

    def __add__(self, other: Point[T]) -> Point[T]:
        return type(self)(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def map(self, f: Callable) -> Point:
        return Point(**{item.name: f(getattr(self, item.name)) for item in fields(self)})


@idiom(lambda r, t: (Point(normal(r, t, 2), normal(r, t, 3)), Point(normal(r, t, 2), normal(r, t, 3))))
def arithmetic_of_dataclasses(p, q):
    total = (p + q).map(np.tanh)
    return np.sum(total.x**2) * np.sum(total.y)


class Parameters(Mapping):
    """A mapping of one's own over one flat vector, cut by shapes."""

    def __init__(self, flat, shapes: dict):
        self.slices, start = {}, 0
        self.shapes = shapes
        self.flat = flat
        for name, shape in shapes.items():
            size = int(np.prod(shape))
            self.slices[name] = slice(start, start + size)
            start += size
        if start != flat.size:
            raise ValueError(f"{flat.size} numbers for {start}")

    def __getitem__(self, name):
        return self.flat[self.slices[name]].reshape(self.shapes[name])

    def __iter__(self):
        return iter(self.shapes)

    def __len__(self):
        return len(self.shapes)


@idiom(lambda r, t: (normal(r, t, 3 * 4 + 4 + 4 + 1), normal(r, t, 6, 3), normal(r, t, 6)))
def flat_parameters_as_a_mapping(theta, X, y):
    p = Parameters(theta, {"W1": (3, 4), "b1": (4,), "W2": (4, 1), "b2": ()})
    h = np.tanh(X @ p["W1"] + p["b1"])
    out = (h @ p["W2"] + p["b2"]).ravel()
    regularizer = sum(np.vdot(v, v) for k, v in p.items() if k.startswith("W"))
    return ((out - y) ** 2).sum() / y.size + 0.1 * regularizer


@idiom(lambda r, t: (normal(r, t, 5), normal(r, t, 4)))
def policy_gradient(logits, rewards, discount=0.9):
    """Returns by a loop from the end, a baseline that is not differentiated, an entropy bonus."""
    returns = np.zeros_like(rewards)
    running = 0
    for t in reversed(range(rewards.size)):
        running = rewards[t] + discount * running
        returns[t] = running
    actions = [1, 0, 4, 2]
    log_p = logits - np.log(np.exp(logits).sum())
    value = np.tanh(logits.mean())
    advantage = returns - gradc.stop_gradient(value) * np.ones(len(returns))
    entropy = -np.sum(np.exp(log_p) * log_p)
    exact = returns - np.tanh(0.0)  # advantages as far as finite differences see them
    return -np.sum(log_p[actions] * exact) - 0.01 * entropy + 0 * np.sum(advantage)


@idiom(lambda r, t: (normal(r, t, 6), normal(r, t, 3)))
def cyclic_schedules_and_sentinels(x, rates):
    missing = object()
    cache: dict[Any, Any] = {}
    schedule = cycle(rates)
    for i in range(4):
        step = next(schedule)
        found = cache.get(i % 2, missing)
        if found is missing:
            found = cache[i % 2] = np.tanh(x * (1 + i))
        x = x - step * found
    return x @ x
