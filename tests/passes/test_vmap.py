"""Batched graphs against a loop over the examples: every op, every choice of what is batched."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import pytest

from gradc.ir import OPS, Builder, Graph, Type, constant, emit, emit_node, evaluate, parse, verify
from gradc.ir.errors import IndexOutOfBoundsError
from gradc.ir.types import BOOL, F64, I64
from gradc.passes.vmap import PASSES_ONLY, has_rule, vmap, vmap_where_needed
from tests.programs.choices import Choices
from tests.programs.generate import Generator, Program, generate
from tests.programs.strategies import FACTORED, STRATEGIES

SIZE = 3
TYPES = [
    *[Type(F64, shape) for shape in [(), (3,), (0,), (2, 3), (4, 2, 3)]],
    Type(I64, (2, 3)),
    Type(BOOL, (3,)),
]
NAMES = sorted(set(OPS) - PASSES_ONLY)
ROUNDED = {"contract", "matmul", "reduce_sum", "reduce_prod", "cumsum", "cumprod", *FACTORED}
"""Ops whose terms NumPy may add in another order when there are more axes."""


def single(name: str, type: Type, draw: int) -> Program | None:
    """A graph of one op with an operand of this type, or None if the op does not take it."""
    gen = Generator(Choices([zlib.crc32(name.encode()), draw, type.size]), fresh=True, internal=True)
    with gen.builder:
        results = gen.step(name, gen.input(type))
        if results is None:
            return None
        graph = gen.builder.build(name, results, constants=gen.constants)
    return Program(graph, [gen.domains[x] for x in graph.inputs], False)


def agrees(program: Program, exact: bool) -> None:
    """The batch's graph gives what the graph gives for each example, whichever inputs are batched."""
    graph = program.graph
    examples = [program.leaves(seed) for seed in range(SIZE)]
    for flags in itertools.islice(itertools.product([True, False], repeat=len(graph.inputs)), 16):
        rows = [[(row if b else examples[0])[i] for i, b in enumerate(flags)] for row in examples]
        leaves = [np.stack([row[i] for row in rows]) if b else examples[0][i] for i, b in enumerate(flags)]
        batched = vmap(graph, flags, SIZE)
        verify(batched)
        found = evaluate(batched, *leaves)
        wanted = [np.stack(ys) for ys in zip(*[evaluate(graph, *row) for row in rows], strict=True)]
        for a, b in zip(found, wanted, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            if exact or a.dtype.kind != "f":
                np.testing.assert_array_equal(a, b)
            else:
                np.testing.assert_allclose(a, b, rtol=1e-5 if a.dtype == np.float32 else 1e-12, atol=1e-12)


def test_every_op_has_a_rule() -> None:
    assert {name for name in OPS if not has_rule(name)} == PASSES_ONLY


@pytest.mark.parametrize("name", NAMES)
def test_of_each_op(name: str) -> None:
    assert name in STRATEGIES
    programs = [single(name, type, draw) for type in TYPES for draw in range(4)]
    assert any(programs)
    for program in programs:
        if program is not None:
            agrees(program, name not in ROUNDED | {"call", "cond"})


def test_what_does_not_depend_on_the_batch_stays() -> None:
    graph = parse(
        "graph f(x: f64[3], y: f64[3]) -> (f64[3], f64[3]) { a: f64[3] = exp(y) b: f64[3] = mul(x, a)"
        " return a, b }"
    )
    batched, flags = vmap_where_needed(graph, [True, False], 5)
    assert flags == (False, True)
    assert [y.shape for y in batched.outputs] == [(3,), (5, 3)]


def test_shared_weights_make_one_product() -> None:
    for text, size in (
        ("x: f64[1, 4], w: f64[4, 2]) -> (f64[1, 2]) { y: f64[1, 2] = matmul(x, w, ", (6, 2)),
        ("w: f64[2, 4], x: f64[4, 1]) -> (f64[2, 1]) { y: f64[2, 1] = matmul(w, x, ", (6, 2)),
    ):
        graph = parse(f"graph f({text}transpose_a=False, transpose_b=False) return y }}")
        batched = vmap(graph, [x.name == "x" for x in graph.inputs], 6)
        (product,) = [node for node in batched.nodes if node.op.name == "matmul"]
        assert product.result.shape == size


def lookup() -> Graph:
    """x[i] if p, else the sum of x."""
    types = Type(F64, (3,)), Type(I64)

    def branch(inside: bool) -> Graph:
        with Builder() as builder:
            x, i = [builder.add_input(t) for t in types]
            ok = i < constant(3, i.type)
            y = (
                emit("gather", x, emit("require", i, ok, message="outside"), axes=(0,))
                if inside
                else emit("reduce_sum", x, axes=(0,))
            )
            return builder.build("inside" if inside else "outside", [y])

    with Builder() as builder:
        p, x, i = [builder.add_input(t) for t in (Type(BOOL), *types)]
        node = emit_node("cond", p, x, i, if_true=branch(True), if_false=branch(False))
        return builder.build("lookup", node.results)


def test_a_branch_not_taken_raises_nothing() -> None:
    batched = vmap(lookup(), [True, False, True], 3)
    x = np.array([1.0, 2.0, 4.0])
    (found,) = evaluate(batched, np.array([True, False, True]), x, np.array([2, 7, 0]))
    assert found.tolist() == [4.0, 7.0, 1.0]
    with pytest.raises(IndexOutOfBoundsError):
        evaluate(batched, np.array([True, True, True]), x, np.array([2, 7, 0]))


@pytest.mark.parametrize("seed", range(25))
def test_random_programs(seed: int) -> None:
    program = generate(Choices([seed, 7]), ops=8)
    if any(node.op.name in PASSES_ONLY for node in program.graph.walk()):
        pytest.skip("made by passes")
    agrees(program, exact=False)
