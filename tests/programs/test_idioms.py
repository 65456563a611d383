"""Whole programs in the manners of many people: compiled as they stand, value and gradient are right."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

import gradc
from gradc.trace import tree
from tests.programs.idioms import IDIOMS
from tests.programs.numpy_programs import NumPyProgram

for module in sorted(Path(__file__).parent.glob("idioms_*.py")):
    importlib.import_module(f"tests.programs.{module.stem}")

STEP = 3e-5

BROKEN: dict[str, str] = {
    "structural_similarity": "sliding_window_view",
}
"""Programs that fail, and why; one that passes must leave this list."""

QUICK = 6
"""One in so many programs is run where the long tests are not."""


def marks(i: int, name: str) -> list[pytest.MarkDecorator]:
    broken = [pytest.mark.xfail(reason=BROKEN[name], strict=True)] if name in BROKEN else []
    return broken + ([] if i % QUICK == 0 else [pytest.mark.long])


EVERY = pytest.mark.parametrize(
    "program", [pytest.param(p, id=p.name, marks=marks(i, p.name)) for i, p in enumerate(IDIOMS)]
)


def test_names_are_distinct():
    names = [p.name for p in IDIOMS]
    assert len(set(names)) == len(names) >= 80
    assert set(BROKEN) <= set(names)


@EVERY
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
@EVERY
def test_value_in_float32(program: NumPyProgram):
    args = program.arguments(np.random.default_rng(2), np.float32)
    with np.errstate(all="ignore"):
        wanted = program.function(*args)
    got = gradc.compile(program.function)(*args)
    assert got.dtype == np.asarray(wanted).dtype
    assert got == pytest.approx(wanted, rel=1e-3, abs=1e-4)
