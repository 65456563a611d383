"""Linear algebra, signals and tables by hand: eliminations, transforms and recurrences, mostly in place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache, reduce
from itertools import pairwise, permutations

import numpy as np

from tests.programs.idioms import idiom, normal, uniform


def positive(r, t, n):
    a = r.normal(size=(n, n))
    return (a @ a.T / n + np.eye(n)).astype(t)


def dominant(r, t, n):
    return (r.normal(size=(n, n)) + n * np.eye(n)).astype(t)


# Factorizations


@idiom(lambda r, t: (positive(r, t, 4),))
def cholesky_in_place(A):
    L = np.tril(A).copy()
    n = L.shape[0]
    for k in range(n):
        L[k, k] = np.sqrt(L[k, k])
        L[k + 1 :, k] /= L[k, k]
        for j in range(k + 1, n):
            L[j:, j] -= L[j:, k] * L[j, k]
    return 2 * np.sum(np.log(np.diag(L))) + np.sum(L * np.arange(n))


@idiom(lambda r, t: (dominant(r, t, 4), normal(r, t, 4)))
def lu_in_place_and_solve(A, b):
    LU = np.array(A, copy=True)
    n = len(LU)
    for k in range(n - 1):
        LU[k + 1 :, k] /= LU[k, k]
        LU[k + 1 :, k + 1 :] -= np.outer(LU[k + 1 :, k], LU[k, k + 1 :])
    x = b.copy()
    for i in range(n):
        x[i] -= LU[i, :i] @ x[:i]
    for i in range(n - 1, -1, -1):
        x[i] = (x[i] - np.dot(LU[i, i + 1 :], x[i + 1 :])) / LU[i, i]
    return x @ x + np.prod(np.diagonal(LU))


@idiom(lambda r, t: (dominant(r, t, 4),))
def gauss_and_jordan_inverse(A):
    n = A.shape[0]
    M = np.hstack([A, np.eye(n)])
    for i in range(n):
        M[i] /= M[i, i]
        for j in range(n):
            if i != j:
                M[j] -= M[j, i] * M[i]
    return np.sum(M[:, n:] ** 2) * 100


@idiom(lambda r, t: (normal(r, t, 5, 3), normal(r, t, 5)))
def householder_least_squares(A, b):
    R, y = A.copy(), b.copy()
    m, n = R.shape
    for k in range(n):
        x = R[k:, k].copy()
        x[0] += np.sign(x[0]) * np.linalg.norm(x)
        x /= np.linalg.norm(x)
        R[k:, k:] -= 2 * np.outer(x, x @ R[k:, k:])
        y[k:] -= 2 * x * (x @ y[k:])
    assert m > n
    return np.sum(y[n:] ** 2) + np.abs(np.diag(R)).sum()


@idiom(lambda r, t: (positive(r, t, 3),))
def jacobi_eigenvalues(A):
    """Rotations that make a symmetric matrix diagonal, each applied as a matrix."""
    for _ in range(3):
        for p in range(2):
            for q in range(p + 1, 3):
                theta = 0.5 * np.arctan2(2 * A[p, q], A[q, q] - A[p, p])
                c, s = np.cos(theta), np.sin(theta)
                J = np.identity(3)
                J[[p, p, q, q], [p, q, p, q]] = [c, s, -s, c]
                A = J.T @ A @ J
    return np.sum(np.sort(np.diag(A)) * np.array([1.0, 2.0, 3.0]))


@idiom(lambda r, t: (positive(r, t, 4), normal(r, t, 4)))
def power_iteration_with_deflation(A, start):
    values = []
    for k in range(2):
        v = start
        for _ in range(8):
            v = A @ v
            v = v / np.sqrt(v @ v)
        values.append(v @ A @ v)
        A = A - values[-1] * np.outer(v, v)
        assert k == len(values) - 1
    first, second = values
    return first - second**2


@idiom(lambda r, t: (positive(r, t, 5), normal(r, t, 5)))
def conjugate_gradients(A, b):
    x = np.zeros_like(b)
    r = b - A @ x
    p, rr = r, r @ r
    for _ in range(len(b) - 1):
        Ap = A @ p
        alpha = rr / (p @ Ap)
        x = x + alpha * p
        r = r - alpha * Ap
        rr, old = r @ r, rr
        p = r + (rr / old) * p
    return 0.5 * x @ A @ x - b @ x


@idiom(lambda r, t: ((normal(r, t, 6), normal(r, t, 6) + t(4), normal(r, t, 6)), normal(r, t, 6)))
def tridiagonal_solver_in_place(diagonals, d):
    """Thomas's algorithm on copies: what it writes, it reads in the next turn."""
    a, b, c = (x.copy() for x in diagonals)
    d = d.copy()
    n = len(d)
    for i in range(1, n):
        w = a[i] / b[i - 1]
        b[i] -= w * c[i - 1]
        d[i] -= w * d[i - 1]
    x = np.empty_like(d)
    x[-1] = d[-1] / b[-1]
    for i in range(n - 2, -1, -1):
        x[i] = (d[i] - c[i] * x[i + 1]) / b[i]
    return np.sum(x**2)


@idiom(lambda r, t: (normal(r, t, 3, 3), 8))
def matrix_exponential_by_scaling(A, terms):
    scaled = A / 2**3
    total = term = np.eye(len(A))
    for k in range(1, terms):
        term = term @ scaled / k
        total = total + term
    for _ in range(3):
        total = total @ total
    return np.log(np.abs(total).sum()) + np.trace(total) / np.exp(np.trace(A))


@idiom(lambda r, t: (normal(r, t, 4, 4),))
def determinant_by_permutations(A):
    def sign(p):
        inversions = sum(p[i] > p[j] for i in range(len(p)) for j in range(i + 1, len(p)))
        return -1 if inversions % 2 else 1

    return sum(sign(p) * math.prod(A[i, j] for i, j in enumerate(p)) for p in permutations(range(len(A))))


@idiom(lambda r, t: (normal(r, t, 4, 4), normal(r, t, 4, 4)))
def strassen_by_recursion(A, B):
    def multiply(A, B):
        n = len(A)
        if n == 1:
            return A * B
        h = n // 2
        a, b, c, d = A[:h, :h], A[:h, h:], A[h:, :h], A[h:, h:]
        e, f, g, k = B[:h, :h], B[:h, h:], B[h:, :h], B[h:, h:]
        p1, p2, p3, p4 = multiply(a, f - k), multiply(a + b, k), multiply(c + d, e), multiply(d, g - e)
        p5, p6, p7 = multiply(a + d, e + k), multiply(b - d, g + k), multiply(a - c, e + f)
        upper = np.concatenate([p5 + p4 - p2 + p6, p1 + p2], axis=1)
        lower = np.concatenate([p3 + p4, p1 + p5 - p3 - p7], axis=1)
        return np.concatenate([upper, lower])

    product = multiply(A, B)
    return np.sum(product**2) - np.sum((A @ B) ** 2) + np.sum(np.triu(product))


@idiom(lambda r, t: ((normal(r, t, 2, 3), normal(r, t, 3, 2)), normal(r, t, 6)))
def kronecker_and_vectorization(factors, x):
    A, B = factors
    K = np.kron(A, B)
    y = (B @ x.reshape(A.shape[1], B.shape[1]).T @ A.T).flatten("F")
    return np.sum(K @ x * y) + np.sum(np.cross(A[:, :3], B.T))


# Graphs and transport


@idiom(lambda r, t: (uniform(r, t, 5, 5, low=0.1, high=1.0),))
def page_rank(links, damping=0.85):
    links = links * ~np.eye(5, dtype=bool)
    M = links / links.sum(axis=0)
    rank = np.repeat(1 / 5, 5)
    for _ in range(8):
        rank = (1 - damping) / 5 + damping * M @ rank
    return -(rank * np.log(rank)).sum()


@idiom(lambda r, t: (normal(r, t, 5, 2), normal(r, t, 4, 2), 0.5))
def sinkhorn_transport(x, y, epsilon):
    C = np.linalg.norm(x[:, None] - y[None], axis=-1) ** 2
    f, g = np.zeros(5), np.zeros(4)
    a, b = np.log(np.full(5, 1 / 5)), np.log(np.full(4, 1 / 4))
    for _ in range(5):
        f = epsilon * (a - np.logaddexp.reduce((g[None, :] - C) / epsilon, axis=1))
        g = epsilon * (b - np.logaddexp.reduce((f[:, None] - C) / epsilon, axis=0))
    P = np.exp((f[:, None] + g - C) / epsilon)
    return (P * C).sum()


@idiom(lambda r, t: (uniform(r, t, 7, low=0.2, high=1.5), normal(r, t, 5, 2)))
def laplacian_smoothing(weights, x):
    edges = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 2), (1, 3))
    L = np.zeros((5, 5))
    for w, (i, j) in zip(weights, edges, strict=True):
        L[i, i] += w
        L[j, j] += w
        L[i, j] -= w
        L[j, i] -= w
    for _ in range(3):
        x = x - 0.1 * L @ x
    return np.einsum("ik,ij,jk->", x, L, x)


@idiom(lambda r, t: (uniform(r, t, 5, 5, low=0.5, high=2.0),))
def soft_shortest_paths(W):
    """Floyd and Warshall's recurrence with a smooth minimum."""
    D = W.copy()
    D[np.diag_indices_from(D)] = 0
    for k in range(5):
        D = -0.1 * np.logaddexp(-D / 0.1, -np.add.outer(D[:, k], D[k, :]) / 0.1)
    return D[np.triu_indices(5, 1)].sum()


@idiom(lambda r, t: (uniform(r, t, 4, low=0.5, high=3.0), (2, 3, 1, 4), 6))
def soft_knapsack(values, weights, capacity):
    @cache
    def best(i, room):
        if i == len(weights):
            return 0.0
        skip = best(i + 1, room)
        if weights[i] > room:
            return skip
        return np.logaddexp(skip, values[i] + best(i + 1, room - weights[i]))

    return best(0, capacity)


# Transforms


@idiom(lambda r, t: (normal(r, t, 8),))
def haar_wavelet_in_place(x):
    y = x.copy()
    n = len(y)
    while n > 1:
        even, odd = y[:n:2].copy(), y[1:n:2].copy()
        y[: n // 2] = (even + odd) / np.sqrt(2)
        y[n // 2 : n] = (even - odd) / np.sqrt(2)
        n //= 2
    y[np.abs(y) < 0.3] = 0
    return np.sum(np.abs(y[1:])) + y[0] ** 2


@idiom(lambda r, t: (normal(r, t, 8),))
def fourier_transform_by_recursion(x):
    """Pairs of real and imaginary parts; halves by slices with a step."""

    def fft(re, im):
        n = len(re)
        if n == 1:
            return re, im
        (er, ei), (dr, di) = (fft(re[i::2], im[i::2]) for i in (0, 1))
        angle = -2 * np.pi * np.arange(n // 2) / n
        tr = np.cos(angle) * dr - np.sin(angle) * di
        ti = np.cos(angle) * di + np.sin(angle) * dr
        return np.r_[er + tr, er - tr], np.r_[ei + ti, ei - ti]

    re, im = fft(x, np.zeros_like(x))
    power = re**2 + im**2
    return np.sum(np.log1p(power)) + power[1:4].max()


@idiom(lambda r, t: ({"a": normal(r, t, 4), "b": normal(r, t, 4)}, np.linspace(0, 1, 9)))
def fourier_series(coefficients, times):
    def series(t: float):
        return coefficients["a"][0] / 2 + sum(
            a * np.cos(2 * np.pi * n * t) + b * np.sin(2 * np.pi * n * t)
            for n, (a, b) in enumerate(zip(coefficients["a"], coefficients["b"], strict=True))
            if n > 0
        )

    signal = np.array([series(t) for t in times])
    return np.sum((signal - np.sign(times - 0.5)) ** 2)


@idiom(lambda r, t: (normal(r, t, 12), 5, 2))
def savitzky_golay_filter(y, window, order):
    """Weights by a pseudoinverse of what is known; a convolution of what is not."""
    half = window // 2
    A = np.array([[k**i for i in range(order + 1)] for k in range(-half, half + 1)], dtype=float)
    weights = np.linalg.pinv(A)[0]
    smooth = np.convolve(y, weights[::-1], mode="valid")
    rough = y[half:-half] - smooth
    return np.sum(np.diff(smooth, n=2) ** 2) + rough @ rough


@idiom(lambda r, t: (normal(r, t, 3, 3), normal(r, t, 6, 6)))
def cosine_transform_of_blocks(quality, image):
    N = 3
    k, n = np.mgrid[0:N, 0:N]
    D = np.sqrt(2 / N) * np.cos(np.pi * (2 * n + 1) * k / (2 * N))
    D[0] /= np.sqrt(2)
    blocks = image.reshape(2, N, 2, N).swapaxes(1, 2)
    spectrum = D @ blocks @ D.T
    kept = spectrum / (1 + np.exp(-quality))
    restored = (D.T @ kept @ D).swapaxes(1, 2).reshape(6, 6)
    return np.mean((restored - image) ** 2)


@idiom(lambda r, t: (normal(r, t, 5), np.linspace(-0.9, 0.9, 7)))
def chebyshev_by_clenshaw(c, x):
    b1 = b2 = np.zeros_like(x)
    for ck in c[:0:-1]:
        b1, b2 = ck + 2 * x * b1 - b2, b1
    return np.sum((c[0] + x * b1 - b2) ** 2)


@idiom(lambda r, t: (normal(r, t, 10), normal(r, t, 3) * t(0.3)))
def recursive_filter(signal, poles):
    out = []
    for n, s in enumerate(signal):
        y = s
        for k, p in enumerate(poles, start=1):
            if n - k >= 0:
                y += p * out[n - k]
        out.append(y)
    out = np.stack(out)
    return np.mean(out**2) + np.sum(np.correlate(out, signal, "full")[8:11])


# Curves and interpolation


@idiom(lambda r, t: (normal(r, t, 6), np.linspace(0.1, 4.9, 7)))
def natural_cubic_spline(y, at):
    n = len(y)
    h = 1.0
    A = np.diag(np.full(n - 2, 4.0)) + np.diag(np.ones(n - 3), 1) + np.diag(np.ones(n - 3), -1)
    inverse = np.linalg.inv(A)
    M = np.concatenate([[0.0], inverse @ (6 * (y[2:] - 2 * y[1:-1] + y[:-2]) / h**2), [0.0]])
    i = np.searchsorted(np.arange(1, n), at)
    t = at - i
    s = (
        M[i] * (1 - t) ** 3 / 6
        + M[i + 1] * t**3 / 6
        + (y[i] - M[i] / 6) * (1 - t)
        + (y[i + 1] - M[i + 1] / 6) * t
    )
    return np.sum(s**2) + np.sum(np.diff(y, 2) ** 2)


@idiom(lambda r, t: (normal(r, t, 5, 2), np.linspace(0, 1, 6)))
def bezier_by_de_casteljau(control, ts):
    def point(t):
        p = [*control]
        while len(p) > 1:
            p = [(1 - t) * a + t * b for a, b in pairwise(p)]
        return p[0]

    curve = np.vstack([point(t) for t in ts])
    return np.linalg.norm(np.diff(curve, axis=0), axis=1).sum()


@idiom(lambda r, t: (normal(r, t, 6), uniform(r, t, 5, low=2.1, high=2.9), np.arange(9.0)))
def b_splines_by_recursion(coefficients, x, knots):
    def basis(i, k, x):
        if k == 0:
            return np.where((x >= knots[i]) & (x < knots[i + 1]), 1.0, 0.0)
        left = (x - knots[i]) / (knots[i + k] - knots[i]) * basis(i, k - 1, x)
        right = (knots[i + k + 1] - x) / (knots[i + k + 1] - knots[i + 1]) * basis(i + 1, k - 1, x)
        return left + right

    knots = list(knots)
    return np.sum(sum(c * basis(i, 2, x) for i, c in enumerate(coefficients)) ** 2)


@idiom(lambda r, t: (normal(r, t, 5), [0.0, 1.0, 2.5, 3.0, 4.5], uniform(r, t, 6, low=0.1, high=4.4)))
def interpolation_three_ways(y, nodes, at):
    """Lagrange's polynomial, Newton's differences in place, and straight lines."""
    lagrange = 0.0
    for i, xi in enumerate(nodes):
        others = [xj for j, xj in enumerate(nodes) if j != i]
        lagrange = lagrange + y[i] * math.prod((at - xj) / (xi - xj) for xj in others)
    d = y.copy()
    for k in range(1, len(d)):
        d[k:] = [(d[i] - d[i - 1]) / (nodes[i] - nodes[i - k]) for i in range(k, len(d))]
    newton = d[-1] * np.ones_like(at)
    for k in range(len(d) - 2, -1, -1):
        newton = newton * (at - nodes[k]) + d[k]
    lines = np.interp(at, nodes, y)
    return np.sum((lagrange - newton) ** 2) + np.sum(newton * lines)


# Numbers


class Dual:
    """Forward differentiation by operators, inside of what is differentiated."""

    def __init__(self, value, slope=0.0):
        self.value, self.slope = value, slope

    def __add__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        return Dual(self.value * other.value, self.slope * other.value + self.value * other.slope)

    __radd__, __rmul__ = __add__, __mul__

    def __pow__(self, n: int):
        return reduce(lambda a, b: a * b, [self] * n)

    def sin(self):
        return Dual(np.sin(self.value), self.slope * np.cos(self.value))


@idiom(lambda r, t: (normal(r, t, 4),))
def dual_numbers(x):
    d = Dual(x, np.ones_like(x))
    y = (3 * d**3 + d * 2 + 1).sin()
    return np.sum(y.slope**2) + np.sum(y.value)


@idiom(lambda r, t: (uniform(r, t, 5, low=0.5, high=2.0),))
def continued_fractions_and_series(x):
    def fraction(values: Iterable):
        first, *rest = values
        return first if not rest else first + 1 / fraction(rest)

    def exponential(v, terms=6):
        total, term = 1.0, 1.0
        for n in range(1, terms):
            term *= v / n
            total += term
        return total

    agm = x[0], x[1]
    for _ in range(3):
        agm = (agm[0] + agm[1]) / 2, np.sqrt(agm[0] * agm[1])
    return fraction(x) + exponential(x[2]) + agm[0]
