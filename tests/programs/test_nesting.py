"""Every op, and random programs, under every nesting of vmap, vjp and jvp: a slice of `make fuzz`."""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import numpy as np
import pytest

from gradc.ir import OPS, Graph, Type, Value, emit, parse
from gradc.ir.types import F64
from gradc.passes.vmap import RULES
from tests.api.wrong_rules import changed, planted
from tests.programs.check import BrokenError
from tests.programs.choices import Choices
from tests.programs.generate import Generator, Program
from tests.programs.nesting import TRANSFORMS, finite, nest
from tests.programs.repro import from_text, to_text
from tests.programs.strategies import STRATEGIES
from tests.programs.trial import nestings, recheck, smallest

QUICK = 20
FULL = 200
TYPES = [Type(F64, shape) for shape in [(), (3,), (2, 3), (4, 2, 3)]]
NAMES = sorted(name for name, op in OPS.items() if op.vjp is not None and name != "fuse")
WAYS = list(itertools.product(TRANSFORMS, repeat=2))
DEEP = list(itertools.product(TRANSFORMS, repeat=3))


def single(name: str, type: Type) -> Program | None:
    """A graph of one op with an operand of this type, or None if the op does not take it."""
    choices = Choices([zlib.crc32(name.encode()), type.size])
    gen = Generator(choices, smooth=True, fresh=True, internal=True, kinks=True)
    with gen.builder:
        results = gen.step(name, gen.input(type))
        if results is None:
            return None
        graph = gen.builder.build(name, results, constants=gen.constants)
    return Program(graph, [gen.domains[x] for x in graph.inputs], smooth=True)


def nested(name: str, ways: list[tuple[str, ...]]) -> None:
    """The op of several types, under every one of these nestings."""
    programs = [p for type in TYPES if (p := single(name, type)) is not None]
    assert programs
    for seed, program in enumerate(programs):
        leaves = program.leaves(seed)
        if finite(program.graph, leaves):
            for way in ways:
                nest(program.graph, leaves, Choices([seed, 5]), way, smooth=STRATEGIES[name].smooth)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.long] if i % 6 else []) for i, n in enumerate(NAMES)]
)
def test_every_op_under_two(name: str) -> None:
    nested(name, WAYS)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_every_op_under_three(name: str) -> None:
    nested(name, DEEP)


@pytest.mark.parametrize(
    "seed", [pytest.param(s, marks=[pytest.mark.long] if s >= QUICK else []) for s in range(FULL)]
)
def test_a_random_program_under_a_random_nesting(seed: int) -> None:
    nestings(seed)


# The checks themselves: a mistake in any of the three is found.


def test_a_wrong_rule_of_batches_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def along_the_batch(batch: Any, node: Any, xs: Any) -> Value:
        return emit("cumsum", xs[0].value, axis=0, reverse=False)

    monkeypatch.setitem(RULES, "cumsum", along_the_batch)
    with pytest.raises(BrokenError, match=r"nesting vmap of jvp: vmap.*elements of result 0 differ"):
        nested("cumsum", [("vmap", "jvp")])


def test_a_wrong_gradient_is_found() -> None:
    with planted("cumsum", changed(lambda g: g * 1.001)), pytest.raises(BrokenError, match="nesting : grad"):
        nested("cumsum", [("vmap", "vjp")])


def test_a_rule_that_is_not_linear_is_found() -> None:
    with (
        planted("sin", changed(lambda g: g * g)),
        pytest.raises(BrokenError, match=r"nesting jvp: transposes: <u, J t> is"),
    ):
        nest(*sine(), Choices(0), ["jvp"])


def test_a_failure_is_made_small_and_comes_back_from_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "cumsum", lambda batch, node, xs: emit("neg", xs[0].value))
    graph = parse(
        "graph f(x: f64[2, 3]) -> (f64[2, 3]) { a: f64[2, 3] = sin(x)"
        " b: f64[2, 3] = cumsum(a, axis=1, reverse=True) c: f64[2, 3] = mul(a, b) return c }"
    )
    with pytest.raises(BrokenError) as caught:
        nest(graph, [np.linspace(0.1, 1, 6).reshape(2, 3)], Choices(0), ["vmap"])
    broken = smallest(caught.value, tries=60)
    assert [node.op.name for node in broken.graph.nodes] == ["cumsum"]
    graph, leaves = from_text(to_text(broken.graph, broken.leaves, f"{broken.stage}: {broken.problem}"))
    with pytest.raises(BrokenError, match="nesting vmap"):
        recheck(broken.stage, graph, leaves)


def sine() -> tuple[Graph, list[np.ndarray]]:
    return parse("graph f(x: f64[3]) -> (f64[3]) { y: f64[3] = sin(x) return y }"), [
        np.array([0.3, 1.0, -2.0])
    ]
