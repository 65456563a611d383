"""SciPy's special functions: SciPy's values, gradients of two orders, and what has no gradient."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import scipy.special

import gradc
from tests.programs.gradients import check_gradient
from tests.trace.harness import cases, check, traced

RNG = np.random.default_rng(21)
OPERANDS = {
    "above": RNG.uniform(1.2, 6, (3, 5)),
    "unit": RNG.uniform(0.1, 0.9, (3, 5)),
    "any": RNG.uniform(-2, 2, (3, 5)),
}

SMOOTH = {
    "above": """
        gammaln(x); loggamma(x); gamma(x); rgamma(x); psi(x); digamma(x); polygamma(0, x); polygamma(1, x)
        polygamma(3, x); polygamma([0, 1, 2, 3, 4], x); zeta(2.5, x); zeta(3, x); beta(x, 2 * x)
        betaln(x, x * x)
        binom(x + 6, x); comb(x + 6, x); perm(x + 6, x); factorial(x); multigammaln(x + 2, 3); exp1(x)
        expi(x)
        gammainc(2.5, x); gammaincc(2, x); chdtr(3, x); chdtrc(3, x); gdtr(1.5, 2.5, x); gdtrc(1.5, 2.5, x)
        pdtr(3, x); pdtrc(2, x); jv(1, x); jv(0.5, x); yv(2, x); iv(0.3, x); kv(2, x); ive(1, x); kve(1, x)
        y0(x); y1(x); k0(x); k1(x); k0e(x); k1e(x); spence(x); boxcox(x, x - 3); inv_boxcox(x, 0.5)
        boxcox1p(x, 0.3); inv_boxcox1p(x, 0.5); pseudo_huber(x, x - 2); jv(np.arange(5), x); xlogy(x, x)
    """,
    "unit": """
        erfinv(x); erfcinv(x); ndtri(x); gammaincinv(2.5, x); gammainccinv(2.5, x); betainc(2.5, 1.5, x)
        betaincinv(2.5, 1.5, x); betaincc(2.5, 1.5, x); stdtrit(3, x); logit(x); boxcox(x, 0.0); entr(x)
    """,
    "any": """
        ndtr(x); log_ndtr(x); erfcx(x); dawsn(x); j0(x); j1(x); i0(x); i1(x); i0e(x + 3); i1e(x + 3)
        exprel(x)
        exprel(x * 0.02); stdtr(3.5, x); cosm1(x); expit(x); log_expit(x); sinc(x); np.i0(x + 3); jv(2, x)
        logsumexp(x, axis=1); softmax(x, axis=0); log_softmax(x, 1); pseudo_huber(1.5, x); log_ndtr(x * 20)
        erfcx(x + 60)
    """,
}

OTHERS = {
    "any": """
        gamma(x); gammaln(x); factorial(x); rgamma(np.round(x)); loggamma(x); pseudo_huber(x, x[::-1])
        comb(4, x)
        factorial(np.abs(np.round(x)).astype(int)); comb(np.arange(5), 2) * x; perm(5, np.round(x)); ndtri(x)
        i0e(x); i1e(x); boxcox(x, 2.0); zeta(x, x); jv(1, x.astype("f4")); gammaln(x.astype("f4"))
        psi(x.astype("f4")); betainc(2.0, 3.0, np.abs(x.astype("f4")) / 2); erfinv(x); jv(x, 2.0)
        betaln(np.arange(1, 6), x); gammaln(np.arange(5) + 0 * x.astype(int)); gammainc(np.abs(x), 2.0)
    """,
}


def function(text: str) -> Any:
    return eval(f"lambda x: {text}", {**vars(scipy.special), "np": np, "__name__": "case"})


@pytest.mark.parametrize(("operands", "text"), cases(SMOOTH, OTHERS))
def test_values_are_those_of_scipy(operands: str, text: str):
    check(function(text), OPERANDS[operands])


@pytest.mark.parametrize(("operands", "text"), cases(SMOOTH))
def test_gradients_are_those_of_finite_differences(operands: str, text: str):
    result, leaves = traced(function(text), OPERANDS[operands])
    verdict = check_gradient(result.graph, leaves, order=2)
    assert verdict.message is None, verdict.message
    assert verdict.smooth


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(), (1,), (0,), (37,), (5, 8)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_compiled_values_have_scipys_bits(shape: tuple[int, ...], dtype: str):
    def f(x: np.ndarray) -> tuple:
        return scipy.special.gammaln(x), scipy.special.jv(1, x), scipy.special.betainc(x, x, x / 40)

    x = np.asarray(RNG.uniform(-0.5, 30, shape)).astype(dtype)
    for a, b in zip(gradc.compile(f)(x[()]), f(x), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


def test_an_unknown_derivative_is_an_error_where_it_is_wanted():
    def f(v: Any, x: Any) -> Any:
        return scipy.special.jv(v, x)

    assert gradc.grad(f, wrt=1)(1.5, 2.0) == pytest.approx(scipy.special.jvp(1.5, 2.0))
    with pytest.raises(gradc.TraceError, match=r"no derivative of jv in its order(.|\n)*stop_gradient"):
        gradc.grad(f, wrt=0)(np.float64(1.5), np.float64(2.0))
    with pytest.raises(gradc.TraceError, match=r"test_special.py:\d+"):
        gradc.grad(lambda a: scipy.special.gammainc(a, 2.0))(np.float64(1.5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lambertw(x)", "no complex numbers"),
        ("comb(x, 2, exact=True)", "exact=False"),
        ("zeta(x)", "zeta\\(x, 1.0\\)"),
        ("polygamma(x, x)", "known only"),
    ],
)
def test_what_cannot_be_traced_names_what_to_write(text: str, message: str):
    with pytest.raises(gradc.GradcError, match=message):
        traced(function(text), OPERANDS["above"])


def test_scipy_is_not_imported_unless_it_is_used():
    code = "import sys, numpy as np, gradc; gradc.compile(lambda a: np.linalg.inv(a))(np.eye(3));"
    code += "gradc.grad(lambda x: np.sum(np.tanh(x)))(np.ones(3)); assert 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
