"""One seed, one trial: a random program and its gradients, after every pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gradc.ir import Graph
from tests.programs.check import BrokenError, check, check_backward, check_smooth, check_variants
from tests.programs.choices import Choices
from tests.programs.generate import Program, generate
from tests.programs.gradients import backward
from tests.programs.nesting import NESTING, again, nesting_trial
from tests.programs.shrink import shrink


def program_of(seed: int) -> tuple[Program, float]:
    """The program of a seed, and which part of its arguments is special values. A third of all is smooth."""
    ops = 6 + seed % 5 * 6
    return generate(
        Choices(seed), smooth=seed % 3 == 0, ops=ops, wide=seed % 2 == 1
    ), 0.15 if seed % 3 == 2 else 0.0


def examine(program: Program, seed: int, specials: float = 0.0) -> None:
    """All checks of one program. Errors: `BrokenError`."""
    leaves = program.leaves(seed, specials)
    check(program.graph, leaves)
    if program.smooth:
        check_variants(program.graph, leaves)
    if backward(program.graph)[0].outputs:
        check_backward(program.graph, leaves, seed)
    if program.smooth:
        check_smooth(program.graph, leaves, order=1 + seed % 2, seed=seed)


def trial(seed: int, tries: int = 60) -> None:
    """Examine a seed's program. Errors: `BrokenError`, with the smallest program that fails likewise."""
    program, specials = program_of(seed)
    try:
        examine(program, seed, specials)
    except BrokenError as broken:
        raise smallest(broken, tries) from None


def nestings(seed: int, tries: int = 60) -> None:
    """Examine a seed's nesting. Errors: as for `trial`."""
    try:
        nesting_trial(seed)
    except BrokenError as broken:
        raise smallest(broken, tries) from None


def kind(stage: str) -> str:
    """The stage without the transforms that led there: a smaller program starts anew."""
    return NESTING if stage.startswith(NESTING) else stage


def smallest(broken: BrokenError, tries: int) -> BrokenError:
    """The same failure with the smallest program found."""
    found = broken

    def fails(graph: Graph, leaves: Sequence[np.ndarray]) -> bool:
        nonlocal found
        repeated = failure(lambda: recheck(broken.stage, graph, leaves))
        if repeated is None or kind(repeated.stage) != kind(broken.stage):
            return False
        found = repeated
        return True

    shrink(broken.graph, broken.leaves, fails, tries)
    return found


def recheck(stage: str, graph: Graph, leaves: Sequence[np.ndarray]) -> None:
    """The check in which this stage is a step."""
    if stage.startswith(NESTING):
        again(graph, list(leaves))
    elif stage == "gradients":
        check_smooth(graph, leaves, order=2)
    elif stage in ("donation", "fast_math"):
        check_variants(graph, leaves)
    else:
        check(graph, leaves)


def failure(run: Callable[[], None]) -> BrokenError | None:
    """What a check found, or None if it passes or does not apply."""
    try:
        run()
    except BrokenError as broken:
        return broken
    except Exception:
        return None
    return None
