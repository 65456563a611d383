"""Random programs and their gradients through every prefix of the pipeline: a slice of `make fuzz`.

The id of a failure names its seed; the message names the pass at fault, and shows the smallest such program.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.programs.generate import Program, programs
from tests.programs.stages import exists, native, stages
from tests.programs.trial import examine, trial

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


def test_nothing_is_left_out():
    """What is looked up by presence must be there once the pipeline is."""
    if not exists("gradc.passes.pipeline"):
        pytest.skip("the pipeline is not written yet")
    names = [stage.name for stage in stages()]
    for name in ("stabilize", "simplify", "cse", "dce", "unscale", "fuse", "plan_memory"):
        assert name in names
    assert native() is not None
