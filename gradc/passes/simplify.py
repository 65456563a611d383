"""Simplify: rules that are exact in IEEE arithmetic, always on; with `fast_math`, those that are not."""

from __future__ import annotations

from functools import cache

from gradc.ir import Graph
from gradc.passes.pattern import Pattern, applying
from gradc.passes.rewrite import Report, Rule, Table, Work, rewrite, rule, rules_of
from gradc.passes.rules import (
    arithmetic,
    constants,
    contractions,
    gathers,
    images,
    inexact,
    layout,
    logic,
    overlaps,
    pieces,
    reductions,
)

(stop_gradient,) = applying("stop_gradient")


@rule
def gradient_taken(x: Pattern) -> tuple[Pattern, Pattern]:
    return stop_gradient(x), x


MODULES = constants, arithmetic, logic, overlaps, contractions, images, layout, pieces, gathers, reductions
EXACT = rules_of(*[vars(module) for module in MODULES])
"""Hold before and after gradients are taken."""
INEXACT = rules_of(vars(inexact))


@cache
def _table(fast_math: bool) -> Table:
    return Table([gradient_taken, *EXACT, *(INEXACT if fast_math else ())])


def simplify(
    graph: Graph, *, fast_math: bool = False, report: Report | None = None, work: Work | None = None
) -> Graph:
    """Rewrite by the exact rules, and by the inexact ones if asked, until none applies.

    All gradients must have been taken, since `stop_gradient` goes. Needs no other pass; after `cse` more is
    equal, so that more rules apply. Sums may be added in another order. `report(rule's name, node)` is called
    for every rule that fires.
    """
    return rewrite(graph, _table(fast_math), report, work)


def rules(fast_math: bool = False) -> tuple[Rule, ...]:
    """The rules in use, in the order in which they are tried."""
    return _table(fast_math).rules
