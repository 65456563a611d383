"""Unscale: which products of cotangents must stay `scale`, and which need not."""

import numpy as np
import pytest

from gradc.ir import emit, emit_node, evaluate, verify
from gradc.passes.grad import grad
from gradc.passes.simplify import simplify
from gradc.passes.unscale import unscale
from tests.passes.equivalence import build, draws
from tests.passes.vocabulary import (
    B,
    M,
    N,
    S,
    V,
    broadcast,
    cast,
    concat,
    const,
    exp,
    gather,
    guarded,
    iota,
    log,
    matmul,
    maximum,
    op,
    pad,
    piece,
    scale,
    sqrt,
    tanh,
    total,
    where,
)

sign, abs_ = map(op, ("sign", "abs"))
Q = "f64[3, 3]"


def scales(graph):
    return sum(node.op.name in ("scale", "product") for node in graph.walk())


def twice(x):
    return guarded(x, x)


def square(x):
    return scale(x, x)


def selecting():
    return build(lambda x: where(x > 0, x, const(0.0, V)), V)


PLAIN = {
    "product of inputs": (guarded, V, V),
    "product with itself": (lambda g: twice(where(g > 0, g, const(0.0, V))), V),
    "input": (scale, V, V),
    "quotient of inputs": (lambda g, d: scale(g, d, True), V, V),
    "constant that is not 0": (lambda d: scale(const(2.0, V), d), V),
    "elementwise": (lambda g, d: scale(tanh(g) * 2 + 1, d), V, V),
    "slice": (lambda g, d: scale(piece(g, (1, 2, 1)), d), V, "f64[2]"),
    "sum of a selection and something else": (
        lambda g, d: scale(where(g > 0, g, const(0.0, V)) + d, d),
        V,
        V,
    ),
    "selection without zeros": (lambda g, d: scale(where(g > 0, g, const(1.0, V)), d), V, V),
    "clipped above zero": (lambda g, d: scale(maximum(g, const(1e-7, V)), d), V, V),
    "exp of a selection": (lambda g, d: scale(exp(where(g > 0, g, const(0.0, V))), d), V, V),
    "constant factor": (lambda g: scale(where(g > 0, g, const(0.0, V)), const(3.0, V)), V),
    "constant divisor": (lambda g: scale(where(g > 0, g, const(0.0, V)), const(3.0, V), True), V),
    "divisor that is infinite": (lambda g: scale(where(g > 0, g, const(0.0, V)), const(np.inf, V), True), V),
    "square": (lambda g: square(where(g > 0, g, const(0.0, V))), V),
    "cast factor": (lambda g, n: scale(where(g > 0, g, const(0.0, V)), cast(n, "f64")), V, N),
    "bounded factor": (lambda g, n: scale(where(n, g, const(0.0, V)), exp(-cast(n, "f64")) * 2 - 1), V, B),
    "call": (lambda g, d: scale(emit("call", g, body=build(exp, V)), d), V, V),
    "matrix product": (lambda g, d: scale(matmul(g, d), d), Q, Q),
}

NEEDED = {
    "where": (lambda g, d: scale(where(g > 0, g, const(0.0, V)), d), V, V),
    "where, divided": (lambda g, d: scale(where(g > 0, g, const(0.0, V)), d, True), V, V),
    "negated and broadcast": (
        lambda g, d: scale(-broadcast(where(g > 0, g, const(0.0, V)), (2, 3), (1,)), d),
        V,
        M,
    ),
    "pad": (lambda g, d: scale(pad(g, (1, 5, 1)), d), V, "f64[5]"),
    "scatter": (
        lambda g, d: scale(emit("scatter_add", const(0.0, V), g, iota("i64[2]"), axes=(0,)), d),
        "f64[2]",
        V,
    ),
    "gather from a selection": (lambda g, d: scale(gather(pad(g, (1, 5, 1)), iota("i64[3]")), d), V, V),
    "sign": (lambda g, d: scale(g * sign(d), d), V, V),
    "mask": (lambda n, d: scale(cast(n, "f64"), d), B, V),
    "relu": (lambda g, d: scale(maximum(g, const(0.0, V)), d), V, V),
    "sum of selections": (
        lambda g, d: scale(where(g > 0, g, const(0.0, V)) + where(g < 0, d, const(0.0, V)), d),
        V,
        V,
    ),
    "product, of a selection": (lambda g, d: guarded(d, where(g > 0, g, const(0.0, V))), V, V),
    "masked softmax": (lambda g, d: scale(exp(where(g > 0, g, const(-np.inf, V)) - 3), d), V, V),
    "over infinity": (lambda g, d: scale(g / where(g > 0, g, const(np.inf, V)), d), V, V),
    "infinite factor": (lambda g: scale(where(g > 0, g, const(0.0, V)), const(np.inf, V)), V),
    "zero divisor": (lambda g: scale(where(g > 0, g, const(0.0, V)), const(0.0, V), True), V),
    "factor that may overflow": (
        lambda g, n: scale(where(n, g, const(0.0, V)), exp(cast(n, "f64") * 1000)),
        V,
        B,
    ),
    "factor that may be NaN": (lambda g, d: scale(where(g > 0, g, const(0.0, V)), tanh(d)), V, V),
    "concat": (lambda g, d: scale(concat(g, const(0.0, "f64[1]")), d), "f64[2]", V),
    "call that selects": (lambda g, d: scale(emit("call", g, body=selecting()), d), V, V),
    "within a call": (
        lambda g, d: emit("call", where(g > 0, g, const(0.0, V)), d, body=build(scale, V, V)),
        V,
        V,
    ),
    "cond that selects": (
        lambda g, d, p: scale(emit_node("cond", p, g, if_true=selecting(), if_false=build(exp, V)).result, d),
        *(V, V, "bool[]"),
    ),
    "matrix product": (lambda g, d: scale(matmul(where(g > 0, g, const(0.0, Q)), d), d), Q, Q),
}


@pytest.mark.parametrize("name", PLAIN)
def test_becomes_plain(name):
    function, *types = PLAIN[name]
    graph = build(function, *types)
    text = str(graph)
    after = unscale(graph)
    verify(after, after="unscale")
    assert str(graph) == text
    assert scales(after) == 0
    for inputs in draws(graph, "integers"):
        for a, b in zip(evaluate(graph, *inputs), evaluate(after, *inputs), strict=True):
            np.testing.assert_array_equal(a + 0.0, np.where(np.isnan(b), 0, b) + 0.0)


@pytest.mark.parametrize("name", NEEDED)
def test_must_stay(name):
    function, *types = NEEDED[name]
    graph = build(function, *types)
    assert unscale(graph) is graph and scales(graph) == 1


def test_masked_inputs_count_as_selections():
    graph = build(scale, V, V)
    assert scales(unscale(graph)) == 0
    assert scales(unscale(graph, masked=[0])) == 1
    assert scales(unscale(graph, masked=[1])) == 0


def test_a_body_is_done_for_each_way_it_is_called():
    body = build(scale, V, V)

    def program(g, d):
        chosen = where(g > 0, g, const(0.0, V))
        return tuple(emit("call", x, d, body=body) for x in (g, chosen, g))

    after = unscale(build(program, V, V))
    assert scales(after) == 1
    calls = [node for node in after.nodes if node.op.name == "call"]
    assert calls[0].attrs["body"] is calls[2].attrs["body"]


def gradient(function, *types):
    return unscale(simplify(grad(build(function, *types), [0])))


def test_smooth_losses_need_no_scale():
    assert scales(gradient(lambda w, x: total(tanh(matmul(x, w)), 0, 1), "f64[3, 4]", M)) == 0
    assert scales(gradient(lambda x: log(total(exp(x), 0)), V)) == 0
    assert scales(gradient(lambda x: total(sqrt(x) / (1 + x * x), 0), V)) == 0


def test_what_was_not_selected_contributes_nothing():
    graph = gradient(lambda x: total(where(x > 0, sqrt(x), const(0.0, V)), 0), V)
    assert scales(graph) == 1
    _, found = evaluate(graph, np.array([0.0, 4.0, -1.0]))
    np.testing.assert_array_equal(found, [0.0, 0.25, 0.0])
    graph = gradient(lambda x: sqrt(abs_(gather(x, const(1, "i64[]")))), V)
    _, found = evaluate(graph, np.array([0.0, 4.0, np.nan]))
    np.testing.assert_array_equal(found, [0.0, 0.25, 0.0])


def test_second_derivatives_before_unscale():
    once = grad(build(lambda x: where(x > 0, sqrt(x), const(0.0, S)), S), [0], keep=[])
    twice = unscale(simplify(grad(once, [0], keep=[])))
    assert [float(evaluate(twice, np.float64(x))[0]) for x in (4.0, 0.0, -1.0)] == [-1 / 32, 0.0, 0.0]
