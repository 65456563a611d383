"""Random programs and their gradients through every prefix of the pipeline: a slice of `make fuzz`.

The id of a failure names its seed; the message names the pass at fault, and shows the smallest such program.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tests.programs.choices import Choices
from tests.programs.generate import Program, generate, programs
from tests.programs.numpy_source import function_of
from tests.programs.stages import compiler, exists, native, stages
from tests.programs.trial import examine, trial
from tests.programs.values import Expected

QUICK = 12
FULL = 110


@pytest.mark.parametrize(
    "seed", [pytest.param(s, marks=[pytest.mark.long] if s >= QUICK else []) for s in range(FULL)]
)
def test_a_random_program_keeps_its_meaning(seed: int):
    trial(seed)


@pytest.mark.long
@given(programs(ops=8))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_drawn_program_keeps_its_meaning(program: Program):
    examine(program, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(60))
def test_a_random_numpy_function_compiles_to_itself(seed: int):
    """Through the tracer too. Numbers come back as NumPy scalars, so their class is not compared."""
    program = generate(Choices(seed), smooth=seed % 3 == 0, ops=4 + seed % 4 * 5)
    function = function_of(program.graph)
    if function is None or compiler() is None:
        return
    leaves = program.leaves(seed, 0.1 if seed % 3 == 2 else 0.0)
    with np.errstate(all="ignore"):
        wanted = [np.asarray(y) for y in function(*[a.copy() for a in leaves])]
    got = compiler()(function)(*leaves)
    problem = Expected(program.graph, leaves, wanted).difference(got, excuses={"better"})
    assert problem is None, f"{problem}\n{program.graph}"


def test_nothing_is_left_out():
    """What is looked up by presence must be there once the pipeline is."""
    if not exists("gradc.passes.pipeline"):
        pytest.skip("the pipeline is not written yet")
    names = [stage.name for stage in stages()]
    for name in ("stabilize", "simplify", "cse", "dce", "unscale", "fuse", "plan_memory"):
        assert name in names
    assert native() is not None
    assert compiler() is not None
