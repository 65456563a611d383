"""Stabilizing rules: their forms, and values and gradients at extreme inputs against many digits."""

import mpmath
import numpy as np
import pytest

from gradc.ir import Source, evaluate, verify
from gradc.passes.grad import grad
from gradc.passes.stabilize import STABLE, stabilize, table
from tests.passes.cases import stable
from tests.passes.cases.stable import picked, rows, softmax, user_shifted
from tests.passes.equivalence import Case, build, check_form, draws, expression
from tests.passes.vocabulary import M, V, const, exp, expit, log, log1p, op, power, total


@pytest.mark.parametrize("case", stable.CASES, ids=[f"{i}-{case}" for i, case in enumerate(stable.CASES)])
def test_case(case: Case):
    check_form(case, table(), case.rule)


FIRING = [case for case in stable.CASES if case.after is not None and all(t[0] == "f" for t in case.types)]


@pytest.mark.parametrize("case", FIRING, ids=str)
def test_no_number_becomes_nan(case: Case):
    before = build(case.before, *case.types)
    after = stabilize(before)
    for kind in ("special", "sums", "integers"):
        for inputs in draws(before, kind):
            for plain, better in zip(evaluate(before, *inputs), evaluate(after, *inputs), strict=True):
                lost = np.isfinite(plain) & ~np.isfinite(better)
                assert not lost.any(), (expression(before), inputs, plain, better)


def test_every_rule_has_cases():
    fired = {case.rule for case in stable.CASES if case.after is not None}
    must_not = {case.rule for case in stable.CASES if case.after is None}
    assert fired == {entry.name for entry in STABLE}
    assert {entry.name for entry in STABLE if not entry.equation} <= must_not


def exact(function, x):
    """A function of mpmath numbers and its derivative, at the exact float."""
    return float(function(mpmath.mpf(float(x)))), float(mpmath.diff(function, mpmath.mpf(float(x)), h=1e-30))


def m_expit(x):
    return 1 / (1 + mpmath.exp(-x))


POINTS = [0.0, 1e-9, -1e-9, 0.3, -0.3, 5.0, -5.0, 30.0, -30.0, 300.0, -300.0, 800.0, -800.0]

SCALAR = {
    "softplus": (lambda x: log(1 + exp(x)), lambda x: mpmath.log(1 + mpmath.exp(x))),
    "softplus_log1p": (lambda x: log1p(exp(x)), lambda x: mpmath.log(1 + mpmath.exp(x))),
    "logistic": (lambda x: 1 / (1 + exp(-x)), m_expit),
    "logistic_power": (lambda x: power(1 + exp(-x), const(-1.0, "f64[]")), m_expit),
    "logistic_of_quotient": (lambda x: exp(x) / (1 + exp(x)), m_expit),
    "log_logistic": (lambda x: log(1 / (1 + exp(-x))), lambda x: -mpmath.log(1 + mpmath.exp(-x))),
    "log_expit": (lambda x: log(expit(x)), lambda x: -mpmath.log(1 + mpmath.exp(-x))),
    "log_of_rest": (lambda x: log(1 - 1 / (1 + exp(-x))), lambda x: -mpmath.log(1 + mpmath.exp(x))),
    "log1p_of_rest": (lambda x: log1p(-expit(x)), lambda x: -mpmath.log(1 + mpmath.exp(x))),
    "rest": (lambda x: 1 - expit(x), lambda x: m_expit(-x)),
    "log_cosh": (lambda x: log(op("cosh")(x)), lambda x: mpmath.log(mpmath.cosh(x))),
    "log_two_plus": (lambda x: log(2 + exp(x)), lambda x: mpmath.log(2 + mpmath.exp(x))),
    "log_of_density": (lambda x: log(exp(-(x * x) / 2) / 2.5), lambda x: -x * x / 2 - mpmath.log(2.5)),
}


@pytest.mark.parametrize("name", SCALAR)
def test_values_and_gradients_at_extremes(name):
    function, reference = SCALAR[name]
    graph = stabilize(build(function, "f64[]"))
    verify(graph, after="stabilize")
    both = grad(graph, [0])
    with mpmath.workdps(1000):
        for x in POINTS:
            value, slope = evaluate(both, np.float64(x))
            wanted, wanted_slope = exact(reference, x)
            np.testing.assert_allclose(value, wanted, rtol=1e-14, atol=3e-16, err_msg=f"{name}({x})")
            np.testing.assert_allclose(slope, wanted_slope, rtol=1e-13, atol=3e-16, err_msg=f"{name}'({x})")


SMALL = {
    "expm1": (lambda x: exp(x) - 1, mpmath.expm1),
    "one_minus_exp": (lambda x: 1 - exp(x), lambda x: -mpmath.expm1(x)),
    "log1p": (lambda x: log(1 + x), mpmath.log1p),
    "log_one_minus": (lambda x: log(1 - x), lambda x: mpmath.log1p(-x)),
}


@pytest.mark.parametrize("name", SMALL)
def test_nothing_cancels(name):
    function, reference = SMALL[name]
    both = grad(stabilize(build(function, "f64[]")), [0])
    with mpmath.workdps(100):
        for x in (1e-300, -1e-300, 1e-20, -1e-20, 1e-9, 0.1, -0.1):
            np.testing.assert_allclose(
                [float(y) for y in evaluate(both, np.float64(x))], exact(reference, x), rtol=1e-15
            )


def cross_entropy(x, y):
    """As it is often written, from probabilities."""
    return -total(log(picked(softmax(x), y)), 0)


def one_hot_entropy(x, y):
    return -total(y * log(softmax(x)), 0, 1)


LOGITS = {
    "mild": [[0.5, -1.0, 2.0], [0.0, 0.0, 0.0]],
    "large": [[800.0, -800.0, 0.0], [-800.0, -801.0, -800.0]],
    "far apart": [[1e5, 0.0, -1e5], [-1e300, 1.0, 2.0]],
    "left out": [[-np.inf, 0.0, 3.0], [5.0, -np.inf, -np.inf]],
}


def m_log_softmax(row):
    numbers = [mpmath.mpf(float(v)) for v in row]
    lse = mpmath.log(sum(mpmath.exp(v) for v in numbers))
    return [v - lse for v in numbers]


@pytest.mark.parametrize("name", LOGITS)
def test_cross_entropy(name):
    x, y = np.array(LOGITS[name]), np.array([2, 0])
    with mpmath.workdps(400):
        rows_ = [m_log_softmax(row) for row in x]
        wanted = float(-sum(row[i] for row, i in zip(rows_, y, strict=True)))
        slope = np.array([[float(mpmath.exp(v)) for v in row] for row in rows_])
    slope[np.arange(2), y] -= 1
    graph = stabilize(build(cross_entropy, M, "i64[2]"))
    value, found = evaluate(grad(graph, [0]), x, y)
    np.testing.assert_allclose(value, wanted, rtol=1e-14)
    np.testing.assert_allclose(found, slope, rtol=1e-13, atol=1e-15)
    if name != "left out":  # 0 * -inf is NaN, and stays so
        hot = np.eye(3)[y]
        value, found = evaluate(grad(stabilize(build(one_hot_entropy, M, M)), [0]), x, hot)
        np.testing.assert_allclose(value, wanted, rtol=1e-14)
        np.testing.assert_allclose(found, slope, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    "row", [[np.inf, 1.0, 2.0], [-np.inf, -np.inf, -np.inf], [np.nan, 1.0, 2.0], [800.0, 800.0, 1.0]]
)
def test_log_sum_exp_of_infinities(row):
    graph = stabilize(build(lambda x: log(total(exp(x), 1)), M))
    x = np.array([row, [1.0, 2.0, 3.0]])
    (found,) = evaluate(graph, x)
    with np.errstate(invalid="ignore"):
        wanted = np.logaddexp.reduce(x, axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-15)


def by_hand(x, y):
    """As the textbook has it, with the maximum subtracted."""
    s = user_shifted(x)
    return total(log(total(exp(s), 1)) - picked(s, y), 0)


def test_a_maximum_that_cancels_has_no_gradient():
    x, y = np.array([[800.0, -3.0, 800.0], [0.1, 0.2, 0.3]]), np.array([2, 0])
    graph = grad(stabilize(build(by_hand, M, "i64[2]")), [0])
    assert not [node for node in graph.nodes if node.op.name == "eq"]
    plain = grad(build(by_hand, M, "i64[2]"), [0])
    for a, b in zip(evaluate(graph, x, y), evaluate(plain, x, y), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-16)


def test_what_the_user_shifted_is_not_shifted_again():
    graph = build(lambda x: log(softmax(user_shifted(x))), M)
    after = stabilize(graph)
    assert sum(node.op.name == "reduce_max" for node in after.nodes) == 1
    assert sum(node.op.name == "exp" for node in after.nodes) == 1
    np.testing.assert_allclose(evaluate(after, np.ones((2, 3)) * 800), [np.full((2, 3), -np.log(3))])


def test_fired_rules_are_noted_once_with_the_line():
    graph = build(lambda x: (log(1 + exp(x)), log(1 + exp(x * 3))), V)
    for node in graph.nodes:
        node.source = Source("/home/me/net.py", 12)
    told = []
    after = stabilize(graph, report=lambda rule, node: told.append(rule))
    assert after.notes == ("stabilize: log_add_exp (net.py:12)", "stabilize: log_exp (net.py:12)")
    assert told.count("log_add_exp") == 2
    assert graph.notes == () and all(node.source.line == 12 for node in after.nodes)


def test_a_stable_graph_is_left_alone():
    graph = build(lambda x: rows(total(x, 1)) + x, M)
    assert stabilize(graph) is graph
    once = stabilize(build(softmax, M))
    assert stabilize(once).notes == once.notes
    assert expression(stabilize(once)) == expression(once)
