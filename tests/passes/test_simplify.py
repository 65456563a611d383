"""Simplify as a whole: rules together, gradients that become what one writes by hand, `fast_math`."""

import numpy as np
import pytest

from gradc.ir import evaluate, verify
from gradc.passes.cse import cse
from gradc.passes.grad import grad
from gradc.passes.rewrite import Table, Work
from gradc.passes.rules import inexact as inexact_rules
from gradc.passes.simplify import INEXACT, rules, simplify
from gradc.passes.stabilize import stabilize
from gradc.passes.unscale import unscale
from tests.passes.cases import inexact
from tests.passes.equivalence import build, check_form, check_same, draws, expression
from tests.passes.vocabulary import (
    M,
    V,
    broadcast,
    const,
    matmul,
    maximum,
    neg,
    op,
    piece,
    power,
    reshape,
    tanh,
    total,
    transpose,
)

INEXACT_RULES = {entry.name: entry for entry in INEXACT}


@pytest.mark.parametrize("case", inexact.CASES, ids=[f"{i}-{case}" for i, case in enumerate(inexact.CASES)])
def test_inexact_case(case):
    graphs = check_form(case, Table([INEXACT_RULES[case.rule]]), case.rule)
    if graphs is not None:
        before, after = graphs
        for inputs in draws(before, "integers"):
            inputs = [np.abs(x) + 0.5 for x in inputs]
            np.testing.assert_allclose(
                evaluate(after, *inputs), evaluate(before, *inputs), rtol=1e-14, atol=1e-14
            )


def test_every_inexact_rule_has_cases():
    fired = {case.rule for case in inexact.CASES if case.after is not None}
    must_not = {case.rule for case in inexact.CASES if case.after is None}
    assert fired == set(INEXACT_RULES)
    assert {name for name, entry in INEXACT_RULES.items() if not entry.equation} <= must_not


def test_inexact_rules_need_fast_math():
    graph = build(lambda x: (x * 0, x + 0.0, x / 3), V)
    assert simplify(graph) is graph
    assert expression(simplify(graph, fast_math=True)) == (
        "0.0: f64[3], x, mul(x, 0.3333333333333333: f64[3])"
    )
    assert set(rules(True)) - set(rules()) == set(INEXACT)
    assert inexact_rules.__doc__


TOGETHER = {
    "keepdims": (
        lambda x: x - broadcast(reshape(reshape(total(x, 1), 2, 1), 2), (2, 3), (0,)),
        lambda x: x - broadcast(total(x, 1), (2, 3), (0,)),
    ),
    "constants through everything": (
        lambda x: x + broadcast(reshape(-const(2.0, "f64[1]") * 3, *()), (2, 3), ()),
        lambda x: x + -6,
    ),
    "there and back": (
        lambda x: -transpose(reshape(reshape(transpose(-x, 1, 0), 6), 3, 2), 1, 0) * 1,
        lambda x: x,
    ),
    "products of transposes": (
        lambda x: transpose(matmul(transpose(x, 1, 0), x), 1, 0),
        lambda x: matmul(x, x, True, False),
    ),
    "relu of a sum of nothing": (
        lambda x: maximum(x + total(const(0.0, "f64[0, 2, 3]"), 0), const(0.0, M)),
        lambda x: maximum(x + 0.0, const(0.0, M)),
    ),
    "small before large": (
        lambda x: tanh(broadcast(piece(x, (0, 1, 1), (1, 1, 1)), (4, 1, 1), (1, 2)) * 2),
        lambda x: broadcast(tanh(piece(x, (0, 1, 1), (1, 1, 1)) * 2), (4, 1, 1), (1, 2)),
    ),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_rules_together(name):
    before, after = TOGETHER[name]
    graph, work = build(before, M), Work()
    found = simplify(graph, work=work)
    assert work.settled
    verify(found, after="simplify")
    check_same(graph, found, name, "integers")
    assert expression(found) == expression(build(after, M))
    assert simplify(found) is found


def optimized(function, *types):
    graph = grad(stabilize(build(function, *types)), range(len(types)))
    return cse(simplify(cse(unscale(simplify(cse(graph))))))


def test_the_gradient_of_a_mean_square_is_what_one_writes_by_hand():
    found = optimized(lambda x, y: total(power(x - y, const(2.0, V)), 0) / 4, V, V)
    names = [node.op.name for node in found.nodes if node.op.name != "constant"]
    assert names == ["sub", "mul", "reduce_sum", "mul", "mul", "mul", "mul"]


def test_the_gradient_of_tanh_of_a_product():
    found = optimized(lambda x, y: total(tanh(matmul(x, y)), 0, 1), M, "f64[3, 4]")
    names = [node.op.name for node in found.nodes]
    assert "scale" not in names and "transpose" not in names and "broadcast" not in names
    assert names.count("matmul") == 3 and names.count("tanh") == 1


def test_values_survive_on_special_inputs():
    def program(x, y):
        z = neg(neg(x)) * 2 + y * 1 - const(0.0, V)
        z = op("where")(z > y, z, op("abs")(-z)) / 8
        return total(broadcast(z, (5, 3), (1,)), 0), op("cast")(z, type=z.type), z

    graph = build(program, V, V)
    found = simplify(graph)
    assert len(found.nodes) < len(graph.nodes)
    check_same(graph, found, "simplify", "sums")
