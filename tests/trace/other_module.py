"""A helper module of the user's, for the tests of copying."""

import numpy as np
from numpy import tanh
from scipy.special import logsumexp

OFFSET = np.array([1.0, 2.0, 3.0])
LAYERS = [lambda x: np.array([x[0], x[1], x[2]]) * 2, tanh]
COUNT = 0


def shifted(x, scale=2.0, offset=OFFSET):
    return np.array([x[0], x[1], x[2]]) * scale + offset


def deep(x):
    return logsumexp(shifted(x))


def factorial(x, n):
    return x if n <= 1 else np.array([x[0], x[1], x[2]]) * factorial(x, n - 1)


def counting(x):
    global COUNT  # noqa: PLW0603
    COUNT += 1
    return x * 2
