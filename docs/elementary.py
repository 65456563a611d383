"""The page of elementary functions: errors and times, of gradc and its peers, as they were measured last."""

from __future__ import annotations

from collections.abc import Iterable
from math import isinf

from benchmarks.elementary import LIBRARIES, results
from benchmarks.elementary_side import NAMES

HEAD = """# Elementary functions

gradc computes these with vector code of its own (`gradc/codegen/elementary`): no library is called.
Special values (signed zeros, infinities, NaN, subnormal numbers) are NumPy's and IEEE 754's, a vector's
lanes give the same bits as scalars, and no result was found to be off by a unit of the last place (ulp).
gradc {gradc}, NumPy {numpy} (SciPy for erf, erfc, expit), JAX {jax}, PyTorch {torch}.

## Errors

The largest found, in ulps; 0.5 is the least that a rounded result can have. For gradc in float32 that is
over all 2**32 arguments (ten million pairs for functions of two), beside its float64 function. In
float64 it is over 100,000 points of either sign in each binade where a function varies, of which long
double finds the worst (2,000 points of erf and erfc, which it lacks), and over 20,000 points more with
the borders of all formulas among them, measured by mpmath. Those 20,000, and a million in float32, are
what the peers are measured at, without subnormal arguments and results. Written by `python -m tests.ulp
--write`, some twenty minutes.

{errors}

For logaddexp the error is in ulps of the larger of result and arguments: where its two terms cancel, the
result has fewer correct digits (and in NumPy too).

## Times

Nanoseconds per element on one core, from cache: the slope from 64 to 4096 elements, so that the cost of
a call is left out. The last column is the time of the fastest peer by that of gradc. Written by `python
-m benchmarks.elementary --write`.

{times}

The polynomials are minimax approximations, computed by `benchmarks/elementary_coefficients.py` with 150
digits. Huge arguments of sin, cos and tan are reduced exactly (Payne and Hanek), behind a branch that
other vectors skip. Where the processor has no fused multiply-add, it is put together from exact
products: errors stay the same, and times are several times as long.
"""
TITLES = {"gradc": "gradc", "numpy": "NumPy", "jax": "JAX", "torch": "PyTorch"}
DTYPES = ("f32", "f64")


def _cell(x: float | None, digits: int) -> str:
    if x is None:
        return "-"
    return "∞" if isinf(x) else f"{x:.{digits}f}" if x < 1e4 else f"{x:.0e}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text() -> str:
    """The page of `docs/elementary.md`."""
    measured = results()
    errors, times = measured["errors"], measured["times"]

    def cell(section: dict, library: str, name: str, dtype: str) -> float | None:
        return section.get(library, {}).get(name, {}).get(dtype)

    def timed(name: str, dtype: str) -> list[str]:
        took = {library: cell(times, library, name, dtype) for library in LIBRARIES}
        ours, peers = (
            took["gradc"],
            [t for library, t in took.items() if t is not None and library != "gradc"],
        )
        ratio = f"{min(peers) / ours:.2f}" if ours is not None and peers else "-"
        return [name, dtype, *(_cell(t, 2) for t in took.values()), ratio]

    wide = [f"{TITLES[library]} {dtype}" for library in LIBRARIES for dtype in DTYPES]
    return HEAD.format(
        **measured["versions"],
        errors=_table(
            ["function", *wide],
            (
                [name, *(_cell(cell(errors, lib, name, dtype), 2) for lib in LIBRARIES for dtype in DTYPES)]
                for name in NAMES
            ),
        ),
        times=_table(
            ["function", "dtype", *(TITLES[library] for library in LIBRARIES), "best peer / gradc"],
            (timed(name, dtype) for name in NAMES for dtype in DTYPES),
        ),
    )
