"""Every exact rule, before and after, and where it must not fire."""

import pytest

from gradc.passes.rewrite import rule
from gradc.passes.simplify import rules
from tests.passes.cases import (
    arithmetic,
    constants,
    contractions,
    gathers,
    layout,
    logic,
    overlaps,
    pieces,
    reductions,
)
from tests.passes.equivalence import Case, build, check_case, check_same, fires
from tests.passes.vocabulary import V

CASES = [
    *constants.CASES,
    *arithmetic.CASES,
    *logic.CASES,
    *overlaps.CASES,
    *contractions.CASES,
    *layout.CASES,
    *pieces.CASES,
    *gathers.CASES,
    *reductions.CASES,
]
RULES = {entry.name: entry for entry in rules()}


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case}" for i, case in enumerate(CASES)])
def test_case(case: Case):
    check_case(case, RULES[case.rule])


def test_every_rule_has_cases():
    fired = {case.rule for case in CASES if case.after is not None}
    must_not = {case.rule for case in CASES if case.after is None}
    assert fired == set(RULES)
    assert {name for name, entry in RULES.items() if not entry.equation} <= must_not


def test_names_are_unique():
    assert len(RULES) == len(rules())


def test_a_wrong_rule_is_caught():
    @rule
    def forgets_the_second(x, y):
        return x + y, x

    case = fires("forgets_the_second", lambda x, y: x + y, lambda x, y: x, V, V)
    with pytest.raises(AssertionError, match="forgets_the_second changes values"):
        check_case(case, forgets_the_second)


def test_a_careless_zero_is_caught():
    @rule
    def add_zero(x):
        return x + 0.0, x

    with pytest.raises(AssertionError, match="add_zero changes values"):
        check_case(fires("add_zero", lambda x: x + 0.0, lambda x: x, V), add_zero)


def test_the_check_shows_both_sides():
    before, after = build(lambda x: x * 2, V), build(lambda x: x + x + x, V)
    with pytest.raises(AssertionError, match=r"original: mul\(x.*\n.*rewritten: add\("):
        check_same(before, after, "tripled")
