"""The NumPy programs: compiled value is NumPy's, gradient that of finite differences, at every stage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradc.ir import Graph, evaluate
from gradc.trace import tree
from tests.programs.check import check
from tests.programs.numpy_programs import PROGRAMS, NumPyProgram
from tests.programs.stages import compiler, stages
from tests.programs.values import Expected

PENDING: dict[str, str] = {}
"""Programs that gradc cannot trace yet, and why; one that it can trace must leave this list."""

STEP = 3e-5

BOTH = pytest.mark.parametrize(
    "dtype", [np.float64, pytest.param(np.float32, marks=pytest.mark.long)], ids=["f64", "f32"]
)
EVERY = pytest.mark.parametrize(
    "program",
    [
        pytest.param(
            p, id=p.name, marks=[pytest.mark.xfail(reason=PENDING[p.name])] if p.name in PENDING else []
        )
        for p in PROGRAMS
    ],
)


def arguments(program: NumPyProgram, dtype: type, seed: int = 1) -> tuple:
    return program.arguments(np.random.default_rng(seed), dtype)


def compiled(program: NumPyProgram) -> Any:
    compile_ = compiler()
    if compile_ is None:
        pytest.skip("gradc.compile is not written yet")
    return compile_(program.function)


def leaves_of(args: tuple, graph: Graph) -> list[np.ndarray]:
    """The traced leaves of arguments: arrays and floats, in the order of the graph's inputs."""
    leaves = [np.asarray(a) for a in tree.flatten(args)[0] if isinstance(a, np.ndarray | np.generic | float)]
    assert [(a.dtype, a.shape) for a in leaves] == [(x.dtype, x.shape) for x in graph.inputs]
    return leaves


def test_names_are_distinct_and_pending_ones_exist():
    names = [p.name for p in PROGRAMS]
    assert len(set(names)) == len(names) >= 40
    assert set(PENDING) <= set(names)


@EVERY
@BOTH
def test_the_value_is_that_of_numpy(program: NumPyProgram, dtype: type):
    function = compiled(program)
    for seed in (1, 2):
        args = arguments(program, dtype, seed)
        with np.errstate(all="ignore"):
            wanted = program.function(*args)
        got = function(*args)
        assert type(got) is type(wanted), f"{type(got).__name__}, not {type(wanted).__name__}"
        graph = function.lower(*args).graph("traced")
        (reference,) = evaluate(graph, *leaves_of(args, graph))
        expected = Expected(graph, leaves_of(args, graph), [reference])
        for name, value in (("compiled", got), ("undecorated", wanted)):
            problem = expected.difference([np.asarray(value)], excuses={"better"})
            assert problem is None, f"{name}: {problem}"


@pytest.mark.long
@EVERY
def test_the_gradient_is_that_of_finite_differences(program: NumPyProgram):
    function = compiled(program)
    args = arguments(program, np.float64)
    value, gradient = function.value_and_grad(*args)
    assert value == pytest.approx(program.function(*args), rel=1e-12)
    leaves, treedef = tree.flatten(args[0])
    found, found_treedef = tree.flatten(gradient)
    assert treedef == found_treedef
    rng = np.random.default_rng(3)
    directions = [rng.uniform(-1, 1, np.shape(a)) for a in leaves]

    def moved(t: float) -> float:
        first = tree.unflatten(treedef, [a + t * v for a, v in zip(leaves, directions, strict=True)])
        return float(program.function(first, *args[1:]))

    coarse, fine = ((moved(h) - moved(-h)) / (2 * h) for h in (2 * STEP, STEP))
    measured = (4 * fine - coarse) / 3
    terms = [np.sum(g * v) for g, v in zip(found, directions, strict=True)]
    scale = sum(np.sum(np.abs(g * v)) for g, v in zip(found, directions, strict=True))
    assert abs(sum(terms) - measured) <= 1e-6 * scale + 1e-9 * abs(value) / 1e-3


@pytest.mark.long
@EVERY
@BOTH
def test_every_stage_of_the_value_keeps_it(program: NumPyProgram, dtype: type):
    args = arguments(program, dtype)
    graph = compiled(program).lower(*args).graph("traced")
    check(graph, leaves_of(args, graph))


@pytest.mark.long
@EVERY
@BOTH
def test_every_stage_of_the_gradient_keeps_it(program: NumPyProgram, dtype: type):
    args = arguments(program, dtype)
    graph = compiled(program).lower(*args).graph("grad")
    check(graph, leaves_of(args, graph), [stage for stage in stages() if stage.excuse != "better"])


@pytest.mark.long
@EVERY
def test_the_second_derivative_is_that_of_the_gradient(program: NumPyProgram):
    """The derivative of the directional derivative, against finite differences of the compiled gradient."""
    import gradc

    args = arguments(program, np.float64)
    leaves, treedef = tree.flatten(args[0])
    rng = np.random.default_rng(4)
    v = tree.unflatten(treedef, [rng.uniform(-1, 1, np.shape(a)) for a in leaves])
    w = [rng.uniform(-1, 1, np.shape(a)) for a in leaves]
    _, products = gradc.hvp(lambda first: program.function(first, *args[1:]), (args[0],), (v,))
    function = compiled(program)

    def slope(t: float) -> list:
        first = tree.unflatten(treedef, [a + t * d for a, d in zip(leaves, tree.flatten(v)[0], strict=True)])
        return tree.flatten(function.grad(first, *args[1:]))[0]

    got = sum(np.sum(p * d) for p, d in zip(tree.flatten(products[0])[0], w, strict=True))

    def difference(h: float) -> float:
        pairs = zip(slope(h), slope(-h), w, strict=True)
        return float(sum(np.sum((a - b) * d) for a, b, d in pairs)) / (2 * h)

    measured = (4 * difference(STEP) - difference(2 * STEP)) / 3
    scale = sum(np.sum(np.abs(p * d)) for p, d in zip(tree.flatten(products[0])[0], w, strict=True))
    assert abs(got - measured) <= 1e-5 * (scale + 1)
