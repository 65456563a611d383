"""Dead code goes: nodes, results and inputs of nested graphs."""

from gradc.ir import Builder, emit_node, parse_type, verify
from gradc.passes.dce import dce
from tests.passes.equivalence import build, check_same, expression
from tests.passes.vocabulary import V, exp, neg


def holding(op, body, *types, use, **attrs):
    """A graph that uses some results of a node that holds graphs."""
    with Builder() as builder:
        inputs = [builder.add_input(parse_type(t), "xyzw"[i]) for i, t in enumerate(types)]
        results = emit_node(op, *inputs, **attrs, **body).results
        return builder.build("f", [results[i] for i in use])


def check(graph):
    text = str(graph)
    after = dce(graph)
    verify(after, after="dce")
    assert str(graph) == text
    check_same(graph, after, "dce")
    return after


def test_unused_nodes_go():
    def program(x):
        neg(exp(x))
        return exp(neg(x))

    after = check(build(program, V))
    assert expression(after) == "exp(neg(x))" and len(after.nodes) == 2


def test_nothing_to_do_gives_the_same_graph():
    graph = build(exp, V)
    assert dce(graph) is graph
    body = build(exp, V)
    graph = holding("call", {"body": body}, V, use=[0])
    assert dce(graph) is graph


def test_inputs_of_the_graph_stay():
    after = check(build(lambda x, y: x, V, V))
    assert len(after.inputs) == 2


def test_a_call_loses_results_and_inputs():
    body = build(lambda x, y: (exp(x), neg(y), x), V, V)
    after = check(holding("call", {"body": body}, V, V, use=[1]))
    (node,) = after.nodes
    assert node.inputs == (after.inputs[1],) and len(node.results) == 1
    assert [inner.op.name for inner in node.attrs["body"].nodes] == ["neg"]


def test_what_fed_a_lost_input_goes():
    body = build(lambda x, y: (exp(x), neg(y)), V, V)

    def program(x):
        return emit_node("call", exp(x), neg(x), body=body).results[1]

    after = check(build(program, V))
    assert [node.op.name for node in after.nodes] == ["neg", "call"]


def test_a_cond_keeps_what_one_branch_needs():
    yes = build(lambda x, y, z: (exp(x), z), V, V, V)
    no = build(lambda x, y, z: (neg(y), z), V, V, V)
    branches = {"if_true": yes, "if_false": no}
    after = check(holding("cond", branches, "bool[]", V, V, V, use=[0]))
    (node,) = after.nodes
    assert node.inputs == tuple(after.inputs[:3]) and len(node.results) == 1
    after = check(holding("cond", branches, "bool[]", V, V, V, use=[1]))
    assert after.nodes[0].inputs == (after.inputs[0], after.inputs[3])


def test_shared_graphs_stay_shared():
    body = build(lambda x, y: (exp(x), neg(y)), V, V)

    def program(x):
        for _ in range(3):
            x = emit_node("call", x, x, body=body).results[0]
        return x

    after = check(build(program, V))
    assert len({id(node.attrs["body"]) for node in after.nodes}) == 1
    assert [node.op.name for node in after.walk()].count("exp") == 3
    assert [node.op.name for node in after.walk()].count("neg") == 0


def test_nested_graphs_of_other_ops_are_entered():
    def wasteful(x):
        neg(x)
        return exp(x)

    after = check(holding("fuse", {"body": build(wasteful, V)}, V, use=[0]))
    assert [node.op.name for node in after.walk()] == ["fuse", "exp"]


def test_names_stay():
    graph = build(lambda x: emit_node("call", x, body=build(lambda x: (exp(x), neg(x)), V)).results[1], V)
    graph.outputs[0].name = "h"
    assert check(graph).outputs[0].name == "h"


def test_a_deep_graph():
    def program(x):
        for _ in range(50_000):
            x = neg(x)
        exp(x)
        return x

    assert len(dce(build(program, V)).nodes) == 50_000
