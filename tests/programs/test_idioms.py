"""Whole programs in the manners of many people: compiled as they stand, value and gradient are right."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.trace import tree
from tests.programs.idioms import IDIOMS
from tests.programs.numpy_programs import NumPyProgram

for module in sorted(Path(__file__).parent.glob("idioms_*.py")):
    importlib.import_module(f"tests.programs.{module.stem}")

STEP = 3e-5

BROKEN: dict[str, str] = {}
"""Programs that fail, and why; one that passes must leave this list."""

QUICK = 6
"""One in so many programs is run where the long tests are not."""


def programs(every: int = 1, start: int = 0, without: str = "") -> pytest.MarkDecorator:
    """One in so many of the programs, as parameters; the long ones marked."""
    found = []
    for i, p in enumerate(IDIOMS):
        if i % every == start and p.name != without:
            marks = [pytest.mark.xfail(reason=BROKEN[p.name], strict=True)] if p.name in BROKEN else []
            found.append(
                pytest.param(p, id=p.name, marks=[*marks, *([pytest.mark.long] if i % QUICK else [])])
            )
    return pytest.mark.parametrize("program", found)


def test_names_are_distinct():
    names = [p.name for p in IDIOMS]
    assert len(set(names)) == len(names) >= 80
    assert set(BROKEN) <= set(names)


@programs()
def test_value_and_gradient(program: NumPyProgram):
    args = program.arguments(np.random.default_rng(1), np.float64)
    with np.errstate(all="ignore"):
        wanted = program.function(*args)
    function = gradc.compile(program.function)
    value, gradient = function.value_and_grad(*args)
    assert type(value) is type(np.float64(wanted)) and value == pytest.approx(wanted, rel=1e-10, abs=1e-12)
    leaves, treedef = tree.flatten(args[0])
    found, found_treedef = tree.flatten(gradient)
    assert treedef == found_treedef
    rng = np.random.default_rng(3)
    directions = [rng.uniform(-1, 1, np.shape(a)) for a in leaves]

    def moved(t: float) -> float:
        first = tree.unflatten(treedef, [a + t * v for a, v in zip(leaves, directions, strict=True)])
        with np.errstate(all="ignore"):
            return float(program.function(first, *args[1:]))

    coarse, fine = ((moved(h) - moved(-h)) / (2 * h) for h in (2 * STEP, STEP))
    measured = (4 * fine - coarse) / 3
    terms = [np.sum(g * v) for g, v in zip(found, directions, strict=True)]
    scale = sum(np.sum(np.abs(g * v)) for g, v in zip(found, directions, strict=True))
    assert scale > 0
    assert abs(sum(terms) - measured) <= 1e-6 * scale + 1e-9 * abs(value) / 1e-3


@pytest.mark.long
@programs(3, 1)
def test_value_in_float32(program: NumPyProgram):
    args = program.arguments(np.random.default_rng(2), np.float32)
    with np.errstate(all="ignore"):
        wanted = program.function(*args)
    got = gradc.compile(program.function)(*args)
    assert got.dtype == np.asarray(wanted).dtype
    assert got == pytest.approx(wanted, rel=1e-3, abs=1e-4)


@pytest.mark.long
@programs(QUICK, 3)
def test_batches(program: NumPyProgram):
    """vmap over the first argument: values and gradients are those of the examples."""
    several = [program.arguments(np.random.default_rng(seed), np.float64) for seed in (1, 7)]
    rest = several[0][1:]

    def function(first: Any) -> Any:
        return program.function(first, *rest)

    batch = tree.map(lambda *leaves: np.stack(leaves), *[args[0] for args in several])
    wanted = [function(args[0]) for args in several]
    assert gradc.vmap(function)(batch) == pytest.approx(wanted, rel=1e-9)
    gradients = gradc.vmap(gradc.grad(function))(batch)
    for i, args in enumerate(several):
        one = tree.flatten(gradc.grad(function)(args[0]))[0]
        for g, own in zip(tree.flatten(gradients)[0], one, strict=True):
            assert g[i] == pytest.approx(own, rel=1e-7, abs=1e-9)


@pytest.mark.long
@programs(
    QUICK, 0, without="roots_by_bisection_and_a_last_step"
)  # whose last step has a first derivative only
def test_second_derivatives(program: NumPyProgram):
    """hvp against finite differences of the compiled gradient."""
    args = program.arguments(np.random.default_rng(1), np.float64)
    leaves, treedef = tree.flatten(args[0])
    rng = np.random.default_rng(4)
    v, w = ([rng.uniform(-1, 1, np.shape(a)) for a in leaves] for _ in range(2))
    _, (product,) = gradc.hvp(
        lambda first: program.function(first, *args[1:]), (args[0],), (tree.unflatten(treedef, v),)
    )
    function = gradc.compile(program.function)

    def slope(t: float) -> float:
        first = tree.unflatten(treedef, [a + t * d for a, d in zip(leaves, v, strict=True)])
        gradient = tree.flatten(function.grad(first, *args[1:]))[0]
        return float(sum(np.sum(g * d) for g, d in zip(gradient, w, strict=True)))

    coarse, fine = ((slope(h) - slope(-h)) / (2 * h) for h in (2 * STEP, STEP))
    terms = [p * d for p, d in zip(tree.flatten(product)[0], w, strict=True)]
    scale = sum(np.sum(np.abs(t)) for t in terms)
    assert abs(sum(np.sum(t) for t in terms) - (4 * fine - coarse) / 3) <= 1e-5 * (scale + 1)
