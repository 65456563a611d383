"""Writes the pages that are made of facts in the code: `python -m docs`.

`docs/edges.md` shows what `tests/api/edges_cases.py` and `gradient_accuracy.py` say and the tests check,
`docs/stabilize.md` what the docstrings of the stabilizing rules say, `docs/coverage.md` what the tables of
functions have, `docs/elementary.md` what the long runs measured that are named there.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from docs import coverage, elementary
from gradc.passes.stabilize import STABLE
from tests.api import edges_elsewhere
from tests.api.edges_cases import SECTIONS, Edge
from tests.api.gradient_accuracy import SLOPES

FOLDER = Path(__file__).parent

EDGES = """# Gradients at the edge

What gradc gives where a function has a kink, a pole, a tie, or ends. Values are NumPy's and SciPy's. Where a
function has no derivative the gradient is a subgradient: the mean of the slopes around, or the slope of the
branch that is taken. Shares of a tie sum to 1. Where a derivative is infinite, so is the gradient. A branch
that `np.where` does not take contributes 0, whatever its value or slope is.

`python -m docs` writes this page from `tests/api/edges_cases.py`. The tests find the same numbers in the
graphs of all stages and in the native code, and hold them against the slopes on both sides. The second
derivatives are those of `gradc.hessian`: for arrays a matrix; none is given where the order of derivatives
matters, or there is none. The last column has the gradient of JAX in float64 (not compiled) where it is
another, as `tests/api/edges_elsewhere.py` has measured it.
"""

ACCURACY = """
## Digits of gradients

The largest errors that the tests allow, in units of the last place of the derivative, over the whole range in
float64 and float32 (below the normal numbers a few more). The code of `tests/api/gradient_accuracy.py`.

"""

RULES = """# Formulas that become stable

Before a gradient is taken, gradc rewrites formulas that overflow or lose digits to the forms that numerical
analysts write, and the gradient is then that of the stable form. What fired, and at which line, stands in the
first lines of `f.dump(...)` (`# note: stabilize: log_exp (model.py:12)`), and `GRADC_DEBUG=3` tells it too.
Ordinary values change by rounding only; an infinity or NaN may become the number that was meant, but no
number becomes NaN. `gradc/passes/stabilize.py` and `gradc/passes/rules/` have the rules, `tests/passes/` what
they gain. `python -m docs` writes this page.

"""


def number(x: float) -> str:
    """At most five digits."""
    if np.isinf(x):
        return "∞" if x > 0 else "-∞"
    text = f"{x:.5g}"
    return "0" if text == "-0" else text


def numbers(x: object) -> str:
    """A number, or nested lists of numbers."""
    return f"[{', '.join(map(numbers, x))}]" if isinstance(x, list | tuple) else number(float(x))  # type: ignore[arg-type]


def row(edge: Edge) -> str:
    """One line of the table."""
    point = ", ".join(f"{n} = {numbers(p)}" for n, p in zip("xyz", edge.point, strict=False))
    gradient = ", ".join(map(numbers, edge.gradient))
    second = "" if edge.second is None else numbers(edge.second)
    other = edges_elsewhere.JAX.get(edge.code, {}).get(str(edge.point), "").replace("inf", "∞")
    return table_row(f"`{edge.code}`", point, numbers(edge.value), gradient, second, edge.why, other)


def table_row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def table(head: Iterable[str], rows: Iterable[str]) -> str:
    names = list(head)
    return "\n".join([table_row(*names), "|" + "---|" * len(names), *rows])


def edges() -> str:
    """The page of `docs/edges.md`."""
    head = ("function", "at", "value", "gradient", "second", "why", f"JAX {edges_elsewhere.VERSION}")
    parts = [f"\n## {title}\n\n{table(head, map(row, rows))}\n" for title, rows in SECTIONS.items()]
    digits = [
        table_row(f"`{slope.code}`", f"{slope.ulps} + ..." if slope.growth else f"{slope.ulps}", slope.why)
        for slope in SLOPES
    ]
    return EDGES + "".join(parts) + ACCURACY + table(("function", "ulps", ""), digits) + "\n"


def rules() -> str:
    """The page of `docs/stabilize.md`."""
    rows = [table_row(f"`{r.name}`", f"`{r.law}`", " ".join(r.remark.split())) for r in STABLE]
    return RULES + table(("rule", "formula", "where, and why"), rows) + "\n"


PAGES = {
    "coverage.md": coverage.text,
    "edges.md": edges,
    "elementary.md": elementary.text,
    "stabilize.md": rules,
}
"""What is written where."""


def main() -> None:
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
