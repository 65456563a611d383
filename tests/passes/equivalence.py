"""Cases of rewrite rules, before and after, and the check that both give the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.ir import Builder, Graph, Node, Value, evaluate, parse_type, verify
from gradc.passes.rewrite import Rule, Table, Work, rewrite

Function = Callable[..., Any]
INTEGERS = "integers"
"""Inputs whose sums are exact in any order."""
POSITIVE = "positive"
"""The same without zeros and signs, for sums of zeros of either sign."""


@dataclass(frozen=True)
class Case:
    """A function of values before a rule, and after it (None: the rule must not fire)."""

    rule: str
    before: Function
    after: Function | None
    types: Sequence[str]
    inputs: str = "special"

    def __str__(self) -> str:
        return f"{self.rule}{'' if self.after else '-not'}-{'-'.join(self.types).replace(' ', '')}"


def fires(rule: str, before: Function, after: Function, *types: str, inputs: str = "special") -> Case:
    return Case(rule, before, after, types, inputs)


def stays(rule: str, before: Function, *types: str) -> Case:
    return Case(rule, before, None, types)


def build(function: Function, *types: str, name: str = "f") -> Graph:
    """The graph of a function of values, which may return several. Inputs are x, y, z, w."""
    with Builder() as builder:
        inputs = [builder.add_input(parse_type(t), "xyzw"[i]) for i, t in enumerate(types)]
        outputs = function(*inputs)
        return builder.build(name, outputs if isinstance(outputs, tuple) else (outputs,))


def expression(graph: Graph) -> str:
    """The outputs as nested calls: equal for graphs that compute the same in the same way, in any order."""
    texts: dict[Value, str] = {x: str(x.name) for x in graph.inputs}
    for node in graph.nodes:
        for y in node.results:
            texts[y] = _call(node, y, texts)
    return ", ".join(texts[y] for y in graph.outputs)


def _call(node: Node, y: Value, texts: dict[Value, str]) -> str:
    if node.op.name == "constant":
        return f"{node.attrs['value']}: {y.type}"
    attrs = [f"{k}={expression(v) if isinstance(v, Graph) else v}" for k, v in node.attrs.items()]
    index = f"[{y.index}]" if len(node.results) > 1 else ""
    declared = f"{y.type}" if node.op.infer is None else ""
    return f"{node.op.name}{declared}({', '.join([*[texts[x] for x in node.inputs], *attrs])}){index}"


SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, np.nan, np.inf, -np.inf, 0.1, 1e300, -1e-300, 88.0, -745.0]
"""Floats at which careless rules fail; denormals and the ends of the range are added for each dtype."""


def specials(dtype: np.dtype, kind: str) -> np.ndarray:
    """The numbers that inputs are drawn from."""
    if dtype.kind == "b":
        return np.array([False, True])
    if kind == "places" and dtype.kind == "i":
        return np.array([0, 1, 2])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.array([0, 1, 2, 3, 7, info.max, info.min, info.max // 2], dtype)
    if kind == INTEGERS:
        return np.array([0, 1, 2, 3, 4, 5, -1, -2, -3], dtype)
    if kind == POSITIVE:
        return np.array([1, 2, 3, 4, 5], dtype)
    if kind == "sums":
        return np.array([0.0, 1, 2, 3, -1, -2, np.inf, np.nan], dtype)
    info = np.finfo(dtype)
    ends = [info.max, -info.max, info.tiny, info.smallest_subnormal, -3 * float(info.smallest_subnormal)]
    with np.errstate(all="ignore"):
        return np.array([*SPECIAL, *map(float, ends)]).astype(dtype)


def draws(graph: Graph, kind: str = "special", count: int = 40) -> list[list[np.ndarray]]:
    """Inputs drawn from the special values, the same at every run."""
    random = np.random.default_rng(7)
    return [
        [np.asarray(random.choice(specials(x.dtype, kind), x.shape), x.dtype) for x in graph.inputs]
        for _ in range(count)
    ]


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal in every bit, but that a NaN is a NaN."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    both = np.isnan(a) & np.isnan(b)
    return bool(np.all(both | ((a == b) & (np.signbit(a) == np.signbit(b)))))


def check_same(before: Graph, after: Graph, what: str, kind: str = "special") -> None:
    """Both graphs give the same bits on special inputs; else an error that shows both, and the values."""
    for inputs in draws(before, kind):
        expected, found = evaluate(before, *inputs), evaluate(after, *inputs)
        if not all(map(same_bits, expected, found)):
            raise AssertionError(
                f"{what} changes values\noriginal: {expression(before)}\nrewritten: {expression(after)}\n"
                f"inputs: {inputs}\nexpected: {expected}\nfound: {found}"
            )


def check_form(case: Case, table: Table, rule: str) -> tuple[Graph, Graph] | None:
    """The table makes `after` of `before` and the rule takes part; or it does not. Gives both graphs."""
    before = build(case.before, *case.types)
    verify(before)
    text, work = str(before), Work()
    after = rewrite(before, table, work=work)
    assert work.settled
    assert str(before) == text, f"{rule} changed its argument"
    if case.after is None:
        assert rule not in work.fired, f"{rule} fired: {expression(before)} became {expression(after)}"
        return None
    verify(after, after=rule)
    assert rule in work.fired, f"{rule} did not fire on {expression(before)}"
    assert expression(after) == expression(build(case.after, *case.types))
    return before, after


def check_case(case: Case, rule: Rule) -> None:
    """The rule alone makes `after` of `before`, with the same values; or does not fire."""
    graphs = check_form(case, Table([rule]), rule.name)
    if graphs is not None:
        check_same(*graphs, rule.name, case.inputs)
