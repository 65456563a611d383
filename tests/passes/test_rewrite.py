"""The engine: linear work, names, sources, sweeps, nested graphs, errors."""

import pytest

from gradc.ir import OPS, Builder, Source, VerifyError, emit, emit_node, parse, parse_type, verify
from gradc.passes.pattern import Apply, Variable, variants
from gradc.passes.rewrite import BUDGET, Table, Work, rewrite, rewrites, rule, rules_of, uses
from gradc.passes.simplify import rules, simplify
from gradc.passes.stabilize import stabilize
from tests.passes.equivalence import build, expression
from tests.passes.vocabulary import B, V, exp, neg, where


@rule
def double_neg(x):
    return -Apply("neg", (x,)), x


@rewrites("mul")
def single_use(node):
    """exp(x) * y => expm1(x) * y, wrong but asks for uses"""
    x, y = node.inputs
    if x.node is None or x.node.op.name != "exp" or uses(x) > 1:
        return None
    return emit("expm1", *x.node.inputs) * y


def layers(count):
    """A deep program in which rules fire at every layer."""

    def program(x):
        for i in range(count // 4):
            x = neg(neg(x)) + -x * 2 if i % 2 else exp(x * 1)
        return x

    return build(program, V)


@pytest.mark.long
@pytest.mark.parametrize("run", [simplify, stabilize], ids=["simplify", "stabilize"])
def test_work_is_linear(run):
    attempts = []
    for count in (10_000, 100_000):
        graph, work = layers(count), Work()
        run(graph, work=work)
        assert work.settled and sum(work.fired.values()) > count / 8
        attempts.append(work.attempts / len(graph.nodes))
    assert attempts[0] < 2 * len(rules()) and abs(attempts[1] / attempts[0] - 1) < 0.01


@pytest.mark.long
def test_a_deep_graph_needs_no_stack():
    graph = build(lambda x: chain(x, 50_000), V)
    assert simplify(graph).nodes == []


def chain(x, count):
    for _ in range(count):
        x = neg(x)
    return x


def test_an_unchanged_graph_is_the_same_graph():
    graph = build(exp, V)
    assert rewrite(graph, Table([double_neg])) is graph


def test_the_argument_stays_as_it_is():
    text = """graph f(x: f64[3]) -> (f64[3]) {
  %0: f64[3] = exp(x)
  h: f64[3] = neg(%0)
  y: f64[3] = neg(h)
  return y
}"""
    graph = parse(text)
    after = rewrite(graph, Table([double_neg]))
    assert str(graph) == text
    assert str(after) == "graph f(x: f64[3]) -> (f64[3]) {\n  y: f64[3] = exp(x)\n  return y\n}"


def test_names_and_lines_of_the_user_stay():
    graph = parse("""graph f(x: f64[3]) -> (f64[3], f64[3]) {
  a: f64[3] = exp(x)          # net.py:1
  b: f64[3] = neg(a)          # net.py:2
  c: f64[3] = sub(x, b)       # net.py:3
  d: f64[3] = neg(b)          # net.py:4
  return c, d
}""")
    after = simplify(graph)
    a, c = after.nodes
    assert [y.name for y in after.outputs] == ["c", "a"]  # the first name of a value stays
    assert (a.result.name, c.result.name) == ("a", "c")
    assert c.op is OPS["add"] and c.source == Source("net.py", 3)


def used_twice(x, y):
    e = exp(x)
    return e * y, where(neg(e) < e, y, y)


def test_uses_are_counted_and_may_need_a_second_sweep():
    graph, work = build(used_twice, V, V), Work()
    assert rewrite(graph, Table([single_use])) is graph
    after = rewrite(graph, Table([single_use, rewrites("where")(where_same)]), work=work)
    assert work.settled and expression(after) == "mul(expm1(x), y), y"


def where_same(node):
    """where(c, x, x) => x"""
    _, x, y = node.inputs
    return x if x is y else None


def test_a_table_that_goes_in_circles_ends_and_says_so():
    @rule
    def there(x, y):
        return x + y, x - y

    @rule
    def back(x, y):
        return x - y, x + y

    graph, work = build(lambda x, y: exp(x + y), V, V), Work()
    after = rewrite(graph, Table([there, back]), work=work)
    verify(after)
    assert not work.settled and work.attempts <= 2 * BUDGET
    assert after.notes == ("rules still fired in f after 4 sweeps",)


def test_a_rule_that_changes_the_type_is_named():
    @rewrites("exp")
    def shrinks(node):
        """exp(x) => sum(x)"""
        return emit("reduce_sum", *node.inputs, axes=(0,))

    with pytest.raises(
        VerifyError, match=r"the rule shrinks \(exp\(x\) => sum\(x\)\) made \[f64\[\]\] of exp"
    ):
        rewrite(build(exp, V), Table([shrinks]))


def test_a_rule_that_changes_nothing_is_named():
    @rewrites("exp")
    def idle(node):
        """exp(x) => exp(x)"""
        return node.result

    with pytest.raises(VerifyError, match="the rule idle"):
        rewrite(build(exp, V), Table([idle]))


def test_nested_graphs_are_entered_and_stay_shared():
    body = build(lambda x: neg(neg(exp(x))), V, name="layer")

    def program(x, y):
        x = emit("call", emit("call", x, body=body), body=body)
        return emit("cond", y, neg(neg(x)), if_true=body, if_false=body)

    graph = build(program, V, "bool[]")
    after = simplify(graph)
    verify(after)
    bodies = {id(g) for node in after.nodes for _, g in node.graphs}
    assert len(bodies) == 1 and len(after.nodes) == 3
    assert [node.op.name for _, g in after.nodes[0].graphs for node in g.nodes] == ["exp"]
    assert len(body.nodes) == 3


def test_every_fired_rule_is_reported():
    told = []
    simplify(build(lambda x: neg(neg(x)) * 1, V), report=lambda name, node: told.append((name, node.op.name)))
    assert told == [("double_neg", "neg"), ("mul_one", "mul")]


def test_commutative_patterns_match_in_either_order():
    x, y = Variable("x"), Variable("y")
    assert len(variants((x + y) * (x * x))) == 4
    assert len(variants(x - y)) == 1
    found = simplify(build(lambda x, y: (-x + y, y + -x), V, V))
    assert [node.op.name for node in found.nodes] == ["sub", "sub"]


def test_a_repeated_variable_is_one_value():
    table = Table([entry for entry in rules() if entry.name == "where_same"])
    assert rewrite(build(lambda c, x: where(c, x, x), B, V), table).nodes == []
    assert len(rewrite(build(lambda c, x: where(c, x, exp(x)), B, V), table).nodes) == 2


def test_a_negative_number_matches_no_unsigned_constant():
    graph = build(lambda x: x + 255, "u8[2]")
    assert stabilize(graph) is graph and simplify(graph) is graph


def test_rules_are_found_in_the_order_of_their_definition():
    assert [entry.name for entry in rules_of({"b": single_use, "n": 3, "a": double_neg})] == [
        "single_use",
        "double_neg",
    ]
    assert double_neg.law == "neg(neg(x)) => x" and double_neg.equation


def test_several_results_are_replaced_together():
    body = build(lambda x: (exp(x), neg(x)), V, name="pair")

    @rewrites("call")
    def unpacked(node):
        """call(x) => exp(x), neg(x)"""
        (x,) = node.inputs
        return [exp(x), neg(x)]

    with Builder() as builder:
        x = builder.add_input(parse_type(V), "x")
        first, second = emit_node("call", x, body=body).results
        graph = builder.build("f", [second, first])
    assert expression(rewrite(graph, Table([unpacked]))) == "neg(x), exp(x)"
