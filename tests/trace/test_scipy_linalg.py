"""SciPy's linear algebra: SciPy's values, gradients of two orders, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg

import gradc
from tests.programs.gradients import check_gradient
from tests.trace.harness import cases, check, traced

RNG = np.random.default_rng(8)
X = RNG.uniform(-1, 1, (4, 4)) + 2 * np.eye(4)
S = X @ X.T + np.diag([1.0, 2, 3, 4])
OPERANDS: dict[str, tuple[Any, ...]] = {
    "matrix": (X, RNG.uniform(-1, 1, 4), RNG.uniform(-1, 1, (4, 3))),
    "symmetric": (S, RNG.uniform(-1, 1, 4), X.T @ X + np.diag([4.0, 1, 2, 3])),
    "tall": (RNG.uniform(-1, 1, (5, 3)), RNG.uniform(-1, 1, 5), RNG.uniform(-1, 1, (5, 2))),
}

SMOOTH = {
    "matrix": """
        solve(x, y); solve(x, z); solve(x, y, transposed=True); inv(x); det(x); norm(x); norm(x, 1); norm(y)
        solve_triangular(x, y); solve_triangular(x, z, lower=True); solve_triangular(x, y, trans=1)
        solve_triangular(x, z, trans="T", lower=True); solve_triangular(x, y, unit_diagonal=True, lower=True)
        solve(x, y, assume_a="gen"); solve(x, y, assume_a="lower triangular"); svd(x); svdvals(x); pinv(x)
        solve(x, y, assume_a="upper triangular"); solve(x, y, assume_a="diagonal")[:0]; qr(x); qr(x, mode="r")
        expm(x); expm(x * 9); expm(x * 0.01); block_diag(x, y, z); toeplitz(y); toeplitz(y, z[:, 0])
        circulant(y); toeplitz(z, x); toeplitz(z[:, 0], x); circulant(z)
        inv(x, assume_a="sym"); inv(x, assume_a="her", lower=True)
        inv(x, assume_a="upper triangular"); inv(x, assume_a="lower triangular")
        hankel(y); hankel(y, z[:, 1]); polar(x); polar(x, side="left"); lstsq(x, y)[0]; expm(x - x.T)
    """,
    "symmetric": """
        cholesky(x); cholesky(x, lower=True); cho_solve(cho_factor(x), y)
        cho_solve(cho_factor(x, lower=True), z)
        solve(x, y, assume_a="pos"); solve(x, y, assume_a="pos", lower=True); solve(x, y, assume_a="sym")
        solve(x, y, assume_a="sym", lower=True); eigh(x)[1] ** 2; eigh(x, lower=False)[1] ** 2
        eigvalsh(x); eigh(x, z)[0]
        eigh(x, z, lower=False)[0]; eigh(x, eigvals_only=True); eigvalsh(x, z); eigh(x, z)[1][:, 0] ** 2
    """,
    "tall": """
        qr(x, mode="economic"); svd(x, full_matrices=False); pinv(x); lstsq(x, y)[0]; lstsq(x, z)[0]
    """,
}

OTHERS = {
    "matrix": """
        solve(x.astype("f4"), y.astype("f4")); solve_triangular(x.astype("f4"), y.astype("f4"))
        inv(x.astype("i8")); block_diag(x.astype("f4"), y.astype("f4")); expm(x.astype("f4")); expm(x[:0, :0])
        expm(-400 * np.abs(x)); toeplitz(y.astype("f4")); solve(x[:0, :0], y[:0])
        np.float32(det(x.astype("f4"))); solve(x.astype("i8"), y.astype("f4"))
    """,
    "symmetric": """
        inv(x, assume_a="pos"); inv(x, assume_a="pos", lower=True)
        cholesky(x.astype("f4")); eigh(x.astype("f4"))[0]
    """,
}


def function(text: str) -> Any:
    scope = {name: getattr(scipy.linalg, name) for name in scipy.linalg.__all__}
    return eval(f"lambda x, y=None, z=None: {text}", {**scope, "np": np, "__name__": "case"})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("operands", "text"), cases(SMOOTH, OTHERS))
def test_values_are_those_of_scipy(operands: str, text: str):
    check(function(text), *OPERANDS[operands], rtol=2e-5)


@pytest.mark.parametrize(("operands", "text"), cases(SMOOTH))
def test_gradients_are_those_of_finite_differences(operands: str, text: str):
    result, leaves = traced(function(text), *OPERANDS[operands])
    verdict = check_gradient(result.graph, leaves, order=2)
    assert verdict.message is None, verdict.message
    assert verdict.smooth or "[:0]" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cholesky(-x)", "positive definite"),
        ("solve_triangular(x * 0, y)", "Singular"),
        ("solve(x * 0, y)", "Singular"),
        ("inv(x * 0)", "Singular"),
        ("expm(x * 1e12)", "1-norm"),
    ],
)
def test_what_has_no_result_raises_when_it_runs(text: str, message: str):
    with pytest.raises(np.linalg.LinAlgError, match=message):
        gradc.compile(function(text))(S, X[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sqrtm(x)", "eigh"),
        ("logm(x)", "eigh"),
        ("eig(x)", "eigh"),
        ("qr(x[:, :2])", "economic"),
        ("svd(x[:, :2])", "full_matrices=False"),
        ("solve(x, y[:2])", "does not fit"),
    ],
)
def test_what_cannot_be_traced_names_what_to_write(text: str, message: str):
    with pytest.raises(gradc.GradcError, match=message):
        traced(function(text), X, X[0])


def test_compiled_programs_are_those_of_scipy():
    def f(a: np.ndarray, b: np.ndarray) -> Any:
        factor = scipy.linalg.cho_factor(a, lower=True)
        half = scipy.linalg.solve_triangular(factor[0], b, lower=True)
        return (
            scipy.linalg.cho_solve(factor, b),
            half,
            scipy.linalg.expm(a / 4),
            scipy.linalg.block_diag(a, b),
        )

    for a, b in zip(gradc.compile(f)(S, X[0]), f(S, X[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
