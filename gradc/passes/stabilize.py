"""Stabilize: formulas that overflow or cancel become the forms that numerical analysts write.

They change rounding for the better, so every one that fires is told in the graph's notes. They hold for all
inputs for which the user's formula is defined; a docstring says where the new one is defined beyond that.
"""

from __future__ import annotations

import math
from functools import cache

from gradc.ir import Graph, Node, Value, constant, emit, zeros
from gradc.passes.pattern import Pattern, applying, splat
from gradc.passes.rewrite import Report, Table, Work, rewrite, rewrites, rule, rules_of
from gradc.passes.rules import cancellation, gathers, pieces, roots, softmax
from gradc.passes.rules.gathers import gather_below
from gradc.passes.rules.layout import made_by
from gradc.passes.simplify import EXACT

Equation = tuple[Pattern, Pattern]

cosh, exp, expit, expm1, log, log1p, logaddexp = applying(
    "cosh", "exp", "expit", "expm1", "log", "log1p", "logaddexp"
)


@rule
def log_exp(x: Pattern) -> Equation:
    """Defined for all x."""
    return log(exp(x)), x


@rule
def log_of_exp_over(x: Pattern, y: Pattern) -> Equation:
    """Defined for all x and y > 0: the logarithm of a softmax."""
    return log(exp(x) / y), x - log(y)


@rule
def log_of_exp_times(x: Pattern, y: Pattern) -> Equation:
    """Defined for all x and y > 0: the logarithm of a density."""
    return log(exp(x) * y), x + log(y)


@rule
def log_cosh(x: Pattern) -> Equation:
    """Defined for all x; cosh overflows."""
    return log(cosh(x)), logaddexp(x, -x) - math.log(2)


@rule
def log_expit(x: Pattern) -> Equation:
    """Defined for all x: expit(-800) is 0, its logarithm is -800."""
    return log(expit(x)), -logaddexp(-x, 0)


@rule
def log1p_minus_expit(x: Pattern) -> Equation:
    """Defined for all x: 1 - expit(800) is 0, its logarithm is -800."""
    return log1p(-expit(x)), -logaddexp(x, 0)


@rule
def logistic(x: Pattern) -> Equation:
    """Defined for all x; the gradient of the quotient is inf / inf where exp overflows."""
    return 1 / (1 + exp(x)), expit(-x)


@rule
def logistic_of_quotient(x: Pattern) -> Equation:
    """Defined for all x, also where the quotient is inf / inf."""
    return exp(x) / (1 + exp(x)), expit(x)


@rule
def one_minus_expit(x: Pattern) -> Equation:
    """Defined for all x: 1 - expit(40) is 0, expit(-40) is 4e-18."""
    return 1 - expit(x), expit(-x)


@rule
def exp_minus_one(x: Pattern) -> Equation:
    """Defined for all x; the difference cancels near 0."""
    return exp(x) - 1, expm1(x)


@rule
def exp_plus_minus_one(x: Pattern) -> Equation:
    """As `exp_minus_one`."""
    return exp(x) + -1, expm1(x)


@rule
def one_minus_exp(x: Pattern) -> Equation:
    """Defined for all x; the difference cancels near 0."""
    return 1 - exp(x), -expm1(x)


DEPTH = 8
"""How far a rule looks into sums and layouts."""


def is_exponential(value: Value, depth: int = DEPTH) -> bool:
    """Is it made of exponentials: exp(x), sums of such over axes, positive constants, sums of all these?"""
    node = value.node
    if node is None or not depth:
        return False
    if node.op.name == "exp":
        return True
    if node.op.name == "constant":
        number = splat(value)
        return number is not None and 0 < number < math.inf
    if node.op.name in ("add", "reduce_sum"):
        return all(is_exponential(x, depth - 1) for x in node.inputs)
    return False


def _sum_of_exponentials(value: Value) -> bool:
    return made_by(value, "add", "reduce_sum") is not None and is_exponential(value)


@rewrites("log")
def log_add_exp(node: Node) -> Value | None:
    """log(exp(x) + exp(y)) => logaddexp(x, y), and so for sums of exponentials and positive constants

    Defined for all x and y: exp overflows, and forgets the smaller one.
    """
    inner = made_by(node.inputs[0], "add")
    if inner is None or not is_exponential(inner.result):
        return None
    u, v = inner.inputs
    return emit("logaddexp", emit("log", u), emit("log", v))


@rewrites("log1p")
def softplus(node: Node) -> Value | None:
    """log1p(exp(x)) => logaddexp(x, 0), and so for sums of exponentials

    Defined for all x: exp overflows.
    """
    (u,) = node.inputs
    if splat(u) is not None or not is_exponential(u):
        return None
    return emit("logaddexp", emit("log", u), constant(0, u.type))


@rewrites("log")
def log_of_multiple(node: Node) -> Value | None:
    """log(sum(exp(x)) * c) => log(sum(exp(x))) + log(c), for c > 0; so for / c

    Defined for all x: the sum is found by `log_sum_exp` then.
    """
    inner = made_by(node.inputs[0], "mul", "div")
    if inner is None:
        return None
    (s, c), number = inner.inputs, splat(inner.inputs[1])
    if number is None or not 0 < number < math.inf or not _sum_of_exponentials(s):
        return None
    return emit("add" if inner.op.name == "mul" else "sub", emit("log", s), emit("log", c))


MOVED = ("reshape", "transpose", "slice", "gather")


def _moved(layout: Node, x: Value) -> Value:
    """What the layout would make of another value."""
    inner = made_by(x, "broadcast")
    if layout.op.name == "gather" and inner is not None:
        # Indices into new axes go; the gather from the numerator still sees them, and what checks them.
        return gather_below(layout, inner)
    return emit(layout.op, x, *layout.inputs[1:], **layout.attrs)


@rewrites("log")
def log_of_moved_quotient(node: Node) -> Value | None:
    """log(gather(exp(x) / y, i)) => gather(x, i) - log(gather(y, i))

    So for slices, reshapes and transposes, and for products. Defined for all x and y > 0: a quotient that
    underflows has no logarithm.
    """
    layout = made_by(node.inputs[0], *MOVED)
    if layout is None:
        return None
    inner = made_by(layout.inputs[0], "div", "mul")
    if inner is None:
        return None
    u, y = inner.inputs
    if made_by(u, "exp") is None:
        if inner.op.name == "div" or made_by(y, "exp") is None:
            return None
        u, y = y, u
    assert u.node is not None
    (x,) = u.node.inputs
    return emit("sub" if inner.op.name == "div" else "add", _moved(layout, x), emit("log", _moved(layout, y)))


@rewrites("log")
def log_of_moved_sum(node: Node) -> Value | None:
    """log(reshape(sum(exp(x)))) => reshape(log(sum(exp(x)))); so for other layouts, and for expit

    Defined for all x: the sum is found by `log_sum_exp` then.
    """
    layout = made_by(node.inputs[0], *MOVED)
    if layout is None:
        return None
    core = layout.inputs[0]
    for _ in range(DEPTH):
        deeper = made_by(core, *MOVED)
        if deeper is None:
            break
        core = deeper.inputs[0]
    if made_by(core, "expit") is None and not _sum_of_exponentials(core):
        return None
    return _moved(layout, emit("log", layout.inputs[0]))


LN2 = math.log(2)


def _split(x: Value, near: Value, inside: float) -> tuple[Value, Value]:
    """x where it is near and where it is not, and a harmless number elsewhere, which also says: done."""
    other = constant(inside, x.type)
    return emit("where", near, x, other), emit("where", near, other, x)


def _is_split(x: Value, inside: float) -> bool:
    inner = made_by(x, "where")
    return inner is not None and any(splat(branch) == inside for branch in inner.inputs[1:])


@rewrites("log", "log1p")
def log_of_one_minus_exp(node: Node) -> Value | None:
    """log(-expm1(x)) => where(x > -log(2), log(-expm1(x)), log1p(-exp(x))); so for log1p(-exp(x))

    For x < 0: either form alone loses its digits on one side. As Mächler, "Accurately computing log(1 -
    exp(-|a|))", 2012.
    """
    inner = made_by(node.inputs[0], "neg")
    power = None if inner is None else made_by(inner.inputs[0], "expm1" if node.op.name == "log" else "exp")
    if power is None or _is_split(power.inputs[0], -1.0):
        return None
    (x,) = power.inputs
    near = x > -LN2
    small, large = _split(x, near, -1.0)
    # Not the negative, which is -0.0 at 0: the gradient would be +inf.
    gap = emit("sub", zeros(x.type), emit("expm1", small))
    return emit("where", near, emit("log", gap), emit("log1p", emit("neg", emit("exp", large))))


@rewrites("log")
def log_of_expm1(node: Node) -> Value | None:
    """log(expm1(x)) => where(x < 1, log(expm1(x)), x + log1p(-exp(-x)))

    For x > 0, the inverse of softplus: exp overflows, and so does its derivative, inf / inf.
    """
    power = made_by(node.inputs[0], "expm1")
    if power is None or _is_split(power.inputs[0], 1.0):
        return None
    (x,) = power.inputs
    near = x < 1
    small, large = _split(x, near, 1.0)
    # -1 in place of the other numbers tells `log_of_one_minus_exp` that this is split already.
    rest = emit("where", near, constant(-1.0, x.type), -x)
    return emit(
        "where",
        near,
        emit("log", emit("expm1", small)),
        large + emit("log1p", emit("neg", emit("exp", rest))),
    )


@rule
def log_one_plus(x: Pattern) -> Equation:
    """Defined for x > -1; 1 + x forgets a small x."""
    return log(1 + x), log1p(x)


@rule
def log_one_minus(x: Pattern) -> Equation:
    """Defined for x < 1; 1 - x forgets a small x."""
    return log(1 - x), log1p(-x)


STABLE = rules_of(globals(), vars(softmax), vars(roots), vars(cancellation))


@cache
def table() -> Table:
    # The exact rules keep the graph in the normal forms that the patterns are written in. Taking pieces first
    # would tear quotients apart before the logarithm that comes next is seen.
    torn = gathers.gather_of_elementwise, pieces.slice_of_elementwise
    return Table([*STABLE, *[entry for entry in EXACT if entry not in torn]])


def stabilize(graph: Graph, *, report: Report | None = None, work: Work | None = None) -> Graph:
    """Replace unstable formulas by stable ones, and simplify exactly on the way.

    Comes before `grad`, so that gradients are those of the stable formulas. Needs no other pass; formulas
    that use a value twice (softmax) are found if it is one value, as after `cse`. Every rule of the table
    that fires is told once for each line of the user's in `graph.notes`, and by `report(rule's name, node)`.
    """
    names = {entry.name for entry in STABLE}
    notes: dict[str, None] = {}

    def note(name: str, node: Node) -> None:
        if name in names:
            notes[f"stabilize: {name}" + (f" ({node.source})" if node.source else "")] = None
        if report is not None:
            report(name, node)

    graph = rewrite(graph, table(), note, work)
    new = tuple(remark for remark in notes if remark not in graph.notes)
    return graph.replace(notes=(*graph.notes, *new)) if new else graph
