"""NumPy's linear algebra: its values, gradients of two orders, and its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradc
from tests.programs.gradients import check_gradient
from tests.trace.harness import cases, check, traced

RNG = np.random.default_rng(5)
X = RNG.uniform(-1, 1, (4, 4)) + 2 * np.eye(4)
S = X @ X.T + np.diag([1.0, 2, 3, 4])
TALL, WIDE = RNG.uniform(-1, 1, (5, 3)), RNG.uniform(-1, 1, (3, 5))
MANY = np.stack([S, X.T @ X + np.eye(4), np.diag([9.0, 3, 5, 7]) + X * X.T])
V, W, C = RNG.uniform(-1, 1, 4), RNG.uniform(-1, 1, 5), RNG.uniform(-1, 1, (4, 3))

OPERANDS: dict[str, tuple[Any, ...]] = {
    "matrix": (X, V, C),
    "symmetric": (S, V, C),
    "tall": (TALL, W, RNG.uniform(-1, 1, (5, 2))),
    "wide": (WIDE, RNG.uniform(-1, 1, 3), RNG.uniform(-1, 1, (3, 2))),
    "many": (MANY, V, C),
    "tensor": (RNG.uniform(-1, 1, (2, 3, 6)), RNG.uniform(-1, 1, (2, 3)), RNG.uniform(-1, 1, (6, 3, 2))),
    "small": (X[:3, :3], V[:3], C[:3]),
}

SMOOTH = {
    "matrix": """
        np.linalg.solve(x, y); np.linalg.solve(x, z); np.linalg.inv(x); np.linalg.det(x)
        np.linalg.slogdet(x)[1]
        np.linalg.matrix_power(x, 3); np.linalg.matrix_power(x, -2); np.linalg.svd(x)[1]; np.linalg.qr(x)
        np.linalg.pinv(x); np.linalg.norm(x, 2); np.linalg.norm(x, -2); np.linalg.norm(x, "nuc")
        np.linalg.cond(x); np.linalg.cond(x, 1); np.linalg.cond(x, "fro"); np.linalg.cond(x, -2)
        np.linalg.svd(x)
        np.linalg.lstsq(x, y)[0]; np.linalg.multi_dot([x, z, z.T]); np.linalg.tensorinv(x, ind=1)
        np.linalg.svd(x, compute_uv=False)
    """,
    "symmetric": """
        np.linalg.cholesky(x); np.linalg.cholesky(x, upper=True); np.linalg.eigh(x); np.linalg.eigh(x, "U")
        np.linalg.eigvalsh(x); np.linalg.eigvalsh(x, UPLO="U"); np.linalg.inv(x); np.linalg.slogdet(x)[1]
        y @ np.linalg.solve(x, y) + np.linalg.slogdet(x)[1]; np.linalg.cholesky(x)[..., 2]
    """,
    "tall": """
        np.linalg.svd(x, full_matrices=False); np.linalg.svd(x, False)[0]
        np.linalg.svd(x, full_matrices=False)[2]
        np.linalg.qr(x); np.linalg.qr(x, "r"); np.linalg.pinv(x); np.linalg.lstsq(x, y)[0]; np.linalg.cond(x)
        np.linalg.lstsq(x, z, rcond=None)[1]; np.linalg.lstsq(x, y)[3]; np.linalg.norm(x, "nuc")
    """,
    "wide": """
        np.linalg.svd(x, full_matrices=False); np.linalg.qr(x); np.linalg.qr(x, mode="complete")[0]
        np.linalg.pinv(x); np.linalg.lstsq(x, y)[0]; np.linalg.lstsq(x, z)[0]; np.linalg.norm(x, 2)
    """,
    "many": """
        np.linalg.cholesky(x); np.linalg.solve(x, z); np.linalg.solve(x[0], x); np.linalg.solve(x, y)
        np.linalg.inv(x); np.linalg.det(x); np.linalg.eigh(x)[1][..., 0]; np.linalg.eigvalsh(x)
        np.linalg.svd(x)[1]; np.linalg.qr(x)[1]; np.linalg.pinv(x); np.linalg.cond(x)
        np.linalg.norm(x, 2, axis=(1, 2)); np.linalg.norm(x, "nuc", axis=(0, 2))
        np.linalg.diagonal(x, offset=1)
        np.linalg.norm(x, -2, axis=(2, 0), keepdims=True); np.linalg.slogdet(x)[1]
        np.linalg.trace(x, offset=-1)
        np.linalg.matrix_norm(x, ord="nuc", keepdims=True); np.linalg.vector_norm(x, axis=(0, 1), ord=3)
    """,
    "tensor": """
        np.linalg.tensorsolve(x, y); np.linalg.tensorsolve(z, y.T, axes=(0,)); np.linalg.vecdot(x[0], x[1])
        np.linalg.tensorinv(x); np.linalg.matrix_transpose(x); np.linalg.vector_norm(x)
        np.linalg.cross(y, y * y)
        np.linalg.outer(y[0], y[1]); np.linalg.matmul(x[0], z[:, 0])
        np.linalg.tensordot(x, y, axes=((0, 1), (0, 1)))
    """,
    "small": """
        np.linalg.det(x); np.linalg.det(x[:2, :2]); np.linalg.det(x[:1, :1]); np.linalg.det(x * 0 + 1)
    """,
}

OTHERS = {
    "matrix": """
        np.linalg.matrix_power(x, 0); np.linalg.matrix_rank(x); np.linalg.slogdet(x); np.linalg.lstsq(x, y)
        np.linalg.matrix_rank(x * [[1], [1], [0], [0]]); np.linalg.matrix_rank(x, tol=1.5)
        np.linalg.cond(x * 0 + 1, 1); np.linalg.pinv(x, rcond=0.5); np.linalg.det(x[:0, :0])
        np.linalg.solve(x.astype("f4"), y.astype("f4")); np.linalg.inv(x.astype("i8")); np.linalg.svd(x[:0])
        np.linalg.eigh(x.astype("f4")); np.linalg.qr(x.astype("f4")[:3]); np.linalg.det(x.astype("f4"))
        np.linalg.solve(x.astype("f4"), y); np.linalg.pinv(x.astype("f4")); np.linalg.matrix_rank(x[:, :0])
        np.linalg.cond(x.astype("f4")); np.linalg.slogdet(x * 0); np.linalg.det(x * 0)
    """.replace("np.linalg.svd(x[:0])", "np.linalg.svd(x[:0], full_matrices=False)"),
    "many": """
        np.linalg.matrix_rank(x); np.linalg.slogdet(x); np.linalg.cholesky(x[:0]); np.linalg.inv(x[:, :0, :0])
        np.linalg.cholesky(x[:, :0, :0]); np.linalg.eigh(x[:, :0, :0]); np.linalg.slogdet(x[:, :0, :0])
        np.linalg.solve(x[:, :0, :0], x[:, :0]); np.linalg.qr(x[:, :0])
        np.linalg.matrix_rank(x, rtol=[0.1] * 3)
        np.linalg.svd(x[:, :0], full_matrices=False); np.linalg.cholesky(x.astype("f4"))
    """,
    "tall": "np.linalg.lstsq(x, y); np.linalg.lstsq(x, z); np.linalg.matrix_rank(x); np.linalg.svdvals(x)",
    "wide": "np.linalg.lstsq(x, y); np.linalg.lstsq(x, z); np.linalg.matrix_rank(x)",
}


def function(text: str) -> Any:
    return eval(f"lambda x, y=None, z=None: {text}", {"np": np, "__name__": "case"})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("operands", "text"), cases(SMOOTH, OTHERS))
def test_values_are_those_of_numpy(operands: str, text: str):
    check(function(text), *OPERANDS[operands])


@pytest.mark.parametrize(("operands", "text"), cases(SMOOTH))
def test_gradients_are_those_of_finite_differences(operands: str, text: str):
    result, leaves = traced(function(text), *OPERANDS[operands])
    verdict = check_gradient(result.graph, leaves, order=2)
    assert verdict.message is None, verdict.message
    assert verdict.smooth


def invariant(x: np.ndarray) -> Any:
    """What does not depend on how vectors were chosen: a projector, an orthogonal factor, sums of values."""
    w, v = np.linalg.eigh(x)
    u, s, vt = np.linalg.svd(x)
    return np.sum(v[:, :3] @ v[:, :3].T * SAMPLE + u @ vt * SAMPLE.T) + np.sum(np.exp(w)) + np.sum(1 / s)


SAMPLE = RNG.uniform(-1, 1, (4, 4))


def test_equal_eigenvalues_do_not_spoil_the_gradient_of_what_does_not_depend_on_their_vectors():
    x = np.diag([2.0, 2.0, 2.0, 3.0])
    gradient = gradc.grad(invariant)(x)
    moves = [RNG.uniform(-1, 1, (4, 4)) for _ in range(3)]
    for move in moves:
        step = 1e-5 * (move + move.T)
        wanted = (invariant(x + step) - invariant(x - step)) / 2
        np.testing.assert_allclose(np.sum(gradient * step), wanted, rtol=1e-6)


def pseudo_inverse(x: np.ndarray) -> np.ndarray:
    return np.linalg.pinv(x)


def test_a_pseudo_inverse_has_its_gradient_where_singular_values_are_equal_or_zero():
    for x in (np.eye(4), np.eye(5, 3), np.vstack([np.eye(3), np.eye(3)]).T):
        wanted = np.linalg.pinv(x)
        sample = RNG.uniform(-1, 1, wanted.shape)
        gradient = gradc.grad(lambda x, sample=sample: np.sum(np.linalg.pinv(x) * sample))(x)
        move = 1e-6 * RNG.uniform(-1, 1, x.shape)
        difference = np.sum((np.linalg.pinv(x + move) - np.linalg.pinv(x - move)) * sample) / 2
        np.testing.assert_allclose(np.sum(gradient * move), difference, rtol=1e-6)
    low = TALL @ np.diag([1.0, 2.0, 0.0])
    np.testing.assert_allclose(gradc.compile(pseudo_inverse)(low), np.linalg.pinv(low), atol=1e-12)


def test_the_gradient_is_finite_where_it_depends_on_the_choice_of_vectors():
    def f(x: np.ndarray) -> Any:
        return np.sum(np.linalg.eigh(x)[1] * SAMPLE) + np.sum(np.linalg.svd(x)[0] * SAMPLE)

    assert np.isfinite(gradc.grad(f)(np.eye(4))).all()


ERRORS = {
    "np.linalg.cholesky(x)": "Matrix is not positive definite",
    "np.linalg.inv(x)": "Singular matrix",
    "np.linalg.solve(x, x[0])": "Singular matrix",
    "np.linalg.lstsq(x, x[0])[0]": "full rank",
    "np.linalg.svd(x / (x[0, 0] + 1))[1]": "SVD did not converge",
    "np.linalg.matrix_power(x, -1)": "Singular matrix",
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", ERRORS)
def test_what_has_no_result_raises_numpys_error_when_it_runs(text: str):
    f = gradc.compile(eval(f"lambda x: {text}", {"np": np, "__name__": "case"}))
    with pytest.raises(np.linalg.LinAlgError, match=ERRORS[text]):
        f(np.zeros((3, 3)) - 1)
    assert np.isfinite(f(np.eye(3) * 2 + 1)).all(), "the next call is not the last one's fault"


def positive(x: np.ndarray) -> np.ndarray:
    return np.linalg.cholesky(x)


def test_the_error_names_the_line():
    with pytest.raises(
        gradc.LinearAlgebraError, match=r"test_linalg.py:\d+\n    return np.linalg.cholesky\(x\)"
    ):
        gradc.compile(positive)(-np.eye(2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("np.linalg.eig(x)", "eigh"),
        ("np.linalg.eigvals(x)", "eigvalsh"),
        ("np.linalg.svd(x[:2])", "full_matrices=False"),
        ("np.linalg.qr(x[:, :2], 'complete')", "reduced"),
        ("np.linalg.inv(x[:2])", "square"),
        ("np.linalg.cholesky(x[0])", "two axes"),
        ("np.linalg.solve(x, x[:2])", "does not fit"),
    ],
)
def test_what_cannot_be_traced_names_what_to_write(text: str, message: str):
    with pytest.raises(gradc.GradcError, match=message):
        gradc.compile(eval(f"lambda x: {text}", {"np": np, "__name__": "case"}))(np.eye(3))
