"""Linear algebra inside of programs: Gaussian processes, batches, branches, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import gradc

RNG = np.random.default_rng(3)


def marginal(params: dict, x: np.ndarray, y: np.ndarray) -> Any:
    """A Gaussian process's negative log marginal likelihood: Rasmussen and Williams (2006), algorithm 2.1."""
    distance = (x[:, None] - x[None, :]) / np.exp(params["length"])
    kernel = np.exp(2 * params["size"] - 0.5 * distance**2)
    factor = np.linalg.cholesky(kernel + np.exp(2 * params["noise"]) * np.eye(len(x)))
    weights = np.linalg.solve(factor.T, np.linalg.solve(factor, y))
    return 0.5 * y @ weights + np.sum(np.log(np.diag(factor))) + 0.5 * len(x) * np.log(2 * np.pi)


def density(mean: np.ndarray, covariance: np.ndarray, x: np.ndarray) -> Any:
    """The logarithm of a multivariate normal density, summed over rows."""
    rest = x - mean
    _, logarithm = np.linalg.slogdet(2 * np.pi * covariance)
    return -0.5 * np.sum(rest * np.linalg.solve(covariance, rest.T).T) - 0.5 * len(x) * logarithm


X = np.sort(RNG.uniform(-2, 2, 17))
Y = np.sin(X) + 0.1 * RNG.normal(size=17)
PARAMS = {"length": np.float64(-0.3), "size": np.float64(0.2), "noise": np.float64(-1.0)}
FACTOR = RNG.uniform(-1, 1, (3, 3))
COVARIANCE = FACTOR @ FACTOR.T + np.eye(3)
ROWS = RNG.normal(size=(6, 3))


def test_a_gaussian_process_and_its_gradient():
    f = gradc.compile(marginal)
    value, gradient = f.value_and_grad(PARAMS, X, Y)
    np.testing.assert_allclose(value, marginal(PARAMS, X, Y), rtol=1e-12)
    for name, at in PARAMS.items():
        step = {**PARAMS, name: at + 1e-6}, {**PARAMS, name: at - 1e-6}
        wanted = (marginal(step[0], X, Y) - marginal(step[1], X, Y)) / 2e-6
        np.testing.assert_allclose(gradient[name], wanted, rtol=1e-6)
    gradc.check_grad(marginal, PARAMS, X, Y)


def test_a_normal_density_has_its_hessian():
    f = gradc.compile(density)
    np.testing.assert_allclose(f(ROWS[0], COVARIANCE, ROWS), density(ROWS[0], COVARIANCE, ROWS), rtol=1e-12)
    gradc.check_grad(density, ROWS[0], COVARIANCE, ROWS)
    hessian = gradc.hessian(density)(ROWS[0], COVARIANCE, ROWS)
    np.testing.assert_allclose(hessian, -6 * np.linalg.inv(COVARIANCE), rtol=1e-9)


def test_batches_are_those_of_examples():
    many = np.stack([COVARIANCE, COVARIANCE @ COVARIANCE, np.eye(3)])

    def f(a: np.ndarray, b: np.ndarray) -> Any:
        return np.linalg.solve(a, b), np.linalg.cholesky(a), np.linalg.eigvalsh(a), np.linalg.det(a)

    for axes in ((0, 0), (0, None), (None, 0)):
        found = gradc.vmap(f, in_axes=axes)(
            many if axes[0] == 0 else many[0], ROWS[:3] if axes[1] == 0 else ROWS[0]
        )
        for i in range(3):
            wanted = f(many[i if axes[0] == 0 else 0], ROWS[i if axes[1] == 0 else 0])
            for a, b in zip(found, wanted, strict=True):
                np.testing.assert_allclose(a[i], b, rtol=1e-12, atol=1e-14)


def guarded(a: np.ndarray, use: Any) -> Any:
    """The logarithm of the determinant by Cholesky's factor where it is asked for, else a trace."""
    return gradc.cond(use, lambda a: np.sum(np.log(np.diag(np.linalg.cholesky(a)))), np.trace, a)


@pytest.mark.filterwarnings("error")
def test_a_branch_not_taken_raises_nothing():
    f = gradc.compile(guarded)
    assert f(-COVARIANCE, np.bool_(False)) == np.trace(-COVARIANCE)
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        f(-COVARIANCE, np.bool_(True))
    many, use = np.stack([COVARIANCE, -COVARIANCE, np.zeros((3, 3))]), np.array([True, False, False])
    values = gradc.vmap(guarded)(many, use)
    np.testing.assert_allclose(values, [0.5 * np.log(np.linalg.det(COVARIANCE)), -np.trace(COVARIANCE), 0])
    gradients = gradc.vmap(gradc.grad(guarded))(many, use)
    np.testing.assert_array_equal(gradients[1:], [np.eye(3)] * 2)
    np.testing.assert_allclose(gradients[0], gradc.grad(guarded)(COVARIANCE, np.bool_(True)), rtol=1e-12)
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        gradc.vmap(guarded)(many, ~use)


def test_a_gradient_alone_raises_too():
    for f in (lambda a: np.sum(np.linalg.inv(a)), lambda a: np.sum(np.linalg.cholesky(a))):
        with pytest.raises(np.linalg.LinAlgError):
            gradc.compile(f).grad(np.zeros((3, 3)))


def test_threads_do_not_see_each_others_failures():
    f = gradc.compile(lambda a: np.linalg.cholesky(a) + np.linalg.inv(a))
    good, bad = COVARIANCE, np.zeros((3, 3))
    wanted = f(good)

    def work(number: int) -> bool:
        fine = True
        for _ in range(200):
            if number % 2:
                fine &= bool((f(good) == wanted).all())
            else:
                with pytest.raises(np.linalg.LinAlgError):
                    f(bad)
        return fine

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_flags_of_earlier_computations_are_no_failure():
    def f(x: np.ndarray) -> Any:
        return np.sum(np.sqrt(x) + np.log(x)), np.linalg.inv(np.outer(x, x) + 9 * np.eye(3))

    value, inverse = gradc.compile(f)(np.array([-1.0, 2.0, 3.0]))  # invalid operations before LAPACK
    assert np.isnan(value) and np.isfinite(inverse).all()
