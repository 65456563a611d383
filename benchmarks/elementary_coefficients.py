"""Computes the polynomials of the elementary functions and writes `gradc/codegen/elementary/coefficients.py`.

Each is the minimax polynomial (Remez exchange on a dense Chebyshev grid, 150 digits) of what is left of a
function after its leading terms, which the code adds exactly; the weight makes the error printed beside it
relative to the function itself. Run `python -m benchmarks.elementary_coefficients` at the root.
"""

from __future__ import annotations

import struct
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mpmath import mp, mpf

mp.dps = 150
TARGET = Path(__file__).parent.parent / "gradc/codegen/elementary/coefficients.py"
INDENT = {"initial_indent": " " * 8, "subsequent_indent": " " * 8}
STEPS = 8  # coefficients rounded one by one
Function = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Fit:
    """`target` on [low, high] by a polynomial of `degree`; its error is multiplied by `weight`."""

    name: str
    dtype: str
    formula: str
    degree: int
    low: mpf
    high: mpf
    target: Function
    weight: Function


def rounded(x: mpf, dtype: str) -> float:
    """The nearest number of `dtype`."""
    return float(x) if dtype == "f64" else struct.unpack("<f", struct.pack("<f", float(x)))[0]


def minimax(fit: Fit) -> tuple[list[float], float]:
    """Coefficients, lowest first and rounded to the dtype, and log2 of the largest weighted error they leave.

    The lowest coefficient is rounded, the others are fitted again to what it leaves, and so on as far as that
    helps.
    """
    middle, half = (fit.low + fit.high) / 2, (fit.high - fit.low) / 2
    size = 40 * (fit.degree + 2)
    grid = [middle - half * mp.cos(mp.pi * (2 * i + 1) / (2 * size)) for i in range(size)]
    target, weight = [fit.target(x) for x in grid], [abs(fit.weight(x)) for x in grid]
    rest, scale, stored = target, weight, list[float]()
    candidates: list[tuple[mpf, list[float]]] = []
    for degree in range(fit.degree, max(-1, fit.degree - STEPS), -1):
        found = stored + [rounded(c, fit.dtype) for c in remez(grid, rest, scale, degree)]
        exact = [mpf(c) for c in reversed(found)]
        worst = max(abs(t - mp.polyval(exact, x)) * w for x, t, w in zip(grid, target, weight, strict=True))
        candidates.append((worst, found))
        stored = found[: len(stored) + 1]
        rest = [(t - stored[-1]) / x for x, t in zip(grid, rest, strict=True)]
        scale = [w * abs(x) for x, w in zip(grid, scale, strict=True)]
    worst, best = min(candidates)
    return best, float(mp.log(worst, 2))


def remez(grid: list[mpf], target: list[mpf], weight: list[mpf], degree: int) -> list[mpf]:
    """The polynomial, lowest coefficient first, of least max |weight * (target - p)| over the grid."""
    n = degree + 2
    points = [round(i * (len(grid) - 1) / (n - 1)) for i in range(n)]
    coefficients: list[mpf] = []
    for _ in range(40):
        rows = [[grid[p] ** j for j in range(n - 1)] + [(-1) ** i / weight[p]] for i, p in enumerate(points)]
        solution = mp.lu_solve(mp.matrix(rows), mp.matrix([target[p] for p in points]))
        coefficients = [solution[j] for j in range(n - 1)]
        powers = coefficients[::-1]
        errors = [(t - mp.polyval(powers, x)) * w for x, t, w in zip(grid, target, weight, strict=True)]
        chosen = alternation(errors, n)
        if chosen == points:
            break
        points = chosen
    return coefficients


def alternation(errors: list[mpf], n: int) -> list[int]:
    """Indices of `n` extrema of alternating sign, largest ones kept."""
    peaks: list[int] = []
    for i, e in enumerate(errors):
        if peaks and (errors[peaks[-1]] > 0) == (e > 0):
            if abs(e) > abs(errors[peaks[-1]]):
                peaks[-1] = i
        else:
            peaks.append(i)
    while len(peaks) > n:
        if len(peaks) - n == 1:
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        else:
            i = min(
                range(len(peaks) - 1), key=lambda i: max(abs(errors[peaks[i]]), abs(errors[peaks[i + 1]]))
            )
            del peaks[i : i + 2]
    if len(peaks) < n:
        raise ValueError(f"{len(peaks)} sign changes of {n}: the degree is beyond the working precision")
    return peaks


def root(f: Function) -> Function:
    """`f` of the square root: for even functions, as polynomials of the square."""
    return lambda z: f(mp.sqrt(z))


HALF_LN2 = mp.ln(2) / 2 * mpf("1.0005")  # the nearest multiple of ln 2 is found in rounded arithmetic
QUARTER_PI2 = (mp.pi / 4 * mpf("1.0005")) ** 2
LARGEST_S = mpf(1) / 5  # s = f / (2 + f) at 1 + f = 3/2
ERF_SPLIT = mpf(3) / 4
ERFC_SPLIT = mpf(5) / 8


def scaled_erfc(x: mpf) -> mpf:
    """(x + 5/8) exp(x**2) erfc(x), which varies little, and hardly at the lower end."""
    return (x + mpf(5) / 8) * mp.exp(x * x) * mp.erfc(x)


PIECES = [(1 + mpf(i) / 16, 1 + mpf(i + 1) / 16) for i in range(16)]  # of [1, 2), by four bits


def reciprocals() -> list[float]:
    """For each piece a reciprocal of five bits, so that its product with a float32 less 1 is one."""
    scales = [32 if high <= 1.5 else 64 for _, high in PIECES]
    inner = [float(mp.nint(2 * s / (low + high))) / s for s, (low, high) in zip(scales, PIECES, strict=True)]
    return [1.0, *inner[1:-1], 0.5]


def piece_ends() -> tuple[mpf, mpf]:
    """The least and the largest m c - 1, for an m in a piece and its reciprocal c."""
    ends = [x * c - 1 for piece, c in zip(PIECES, reciprocals(), strict=True) for x in piece]
    return min(ends), max(ends)


def fits() -> list[Fit]:
    """Every polynomial of the library."""
    out: list[Fit] = []

    def add(
        name: str, formula: str, degrees: tuple[int, int], interval: tuple, target: Function, weight: Function
    ):
        for dtype, degree in zip(("f32", "f64"), degrees, strict=True):
            if degree:
                out.append(
                    Fit(name, dtype, formula, degree, mpf(interval[0]), mpf(interval[1]), target, weight)
                )

    add("EXP", "(exp(r) - 1 - r) / r**2", (4, 9), (-HALF_LN2, HALF_LN2),
        lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 * mp.exp(-r))  # fmt: skip
    add("EXPM1", "(exp(r) - 1 - r) / r**2", (5, 10), (-HALF_LN2, HALF_LN2),
        lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 / mp.expm1(r))  # fmt: skip
    add("EXP2", "(2**f - 1) / f - LN2_HIGH", (6, 0), (-mpf("0.5"), mpf("0.5")),
        lambda f: (mpf(2) ** f - 1) / f - mpf(0.6931471824645996), lambda f: f * mpf(2) ** -f)  # fmt: skip
    add("EXP2", "(2**f - 1) / f - LN2_HIGH", (0, 10), (-mpf("0.5"), mpf("0.5")),
        lambda f: (mpf(2) ** f - 1) / f - mpf(0.6931471805599453), lambda f: f * mpf(2) ** -f)  # fmt: skip
    add("SINH", "(sinh(r) - r) / r**3 of r**2", (2, 5), (0, HALF_LN2**2),
        root(lambda r: (mp.sinh(r) - r) / r**3), root(lambda r: r**3 / mp.sinh(r)))  # fmt: skip
    add("COSH", "(cosh(r) - 1) / r**2 of r**2", (2, 4), (0, HALF_LN2**2),
        root(lambda r: (mp.cosh(r) - 1) / r**2), root(lambda r: r**2 / mp.cosh(r)))  # fmt: skip
    add("LOG", "(log(1 + f) - f + f**2 / 2) / f**3", (9, 0), (mp.sqrt(0.5) - 1, mpf(1) / 2),
        lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, lambda f: f**3 / mp.log1p(f))  # fmt: skip
    add("ATANH", "(2 atanh(s) - 2 s) / s**3 of s**2", (0, 7), (0, LARGEST_S**2),
        root(lambda s: (2 * mp.atanh(s) - 2 * s) / s**3), root(lambda s: s**2))  # fmt: skip
    add("SIN", "(sin(r) - r) / r**3 of r**2", (3, 6), (0, QUARTER_PI2),
        root(lambda r: (mp.sin(r) - r) / r**3), root(lambda r: r**3 / mp.sin(r)))  # fmt: skip
    add("COS", "(cos(r) - 1 + r**2 / 2) / r**4 of r**2", (2, 5), (0, QUARTER_PI2),
        root(lambda r: (mp.cos(r) - 1 + r**2 / 2) / r**4), root(lambda r: r**4 / mp.cos(r)))  # fmt: skip
    add("ERF", "erf(x) / x - 1 of x**2", (6, 12), (0, ERF_SPLIT**2),
        root(lambda x: mp.erf(x) / x - 1), root(lambda x: x / mp.erf(x)))  # fmt: skip
    # For power: float64 in twice its precision, and float32 in float64.
    add("ATANH_LONG", "(2 atanh(s) - 2 s - 2/3 s**3) / s**5 of s**2", (0, 9), (0, LARGEST_S**2),
        root(lambda s: (2 * mp.atanh(s) - 2 * s - 2 * s**3 / 3) / s**5),
        root(lambda s: s**5 / (2 * mp.atanh(s))))  # fmt: skip
    add("LOG2_SHORT", "log2((1 + s) / (1 - s)) / s of s**2", (0, 4), (0, LARGEST_S**2),
        root(lambda s: 2 * mp.atanh(s) / s / mp.ln(2)),
        root(lambda s: s * mp.ln(2) / mp.atanh(s) / 2))  # fmt: skip
    add("LOG2_PIECE", "log2(1 + r) / r", (0, 5), piece_ends(), lambda r: mp.log1p(r) / r / mp.ln(2),
        lambda r: r * mp.ln(2) / mp.log1p(r))  # fmt: skip
    add("EXP2_SHORT", "2**f", (0, 6), (-mpf("0.0001"), mpf("1.0001")),
        lambda f: mpf(2) ** f, lambda f: mpf(2) ** -f)  # fmt: skip
    add("TANH", "(tanh(x) - x) / x**3 of x**2", (7, 0), (0, 1),
        root(lambda x: (mp.tanh(x) - x) / x**3), root(lambda x: x**3 / mp.tanh(x)))  # fmt: skip
    add("ATAN", "(atan(t) - t) / t**3 of t**2", (5, 10), (0, (mp.tan(mp.pi / 8) * mpf("1.0005")) ** 2),
        root(lambda t: (mp.atan(t) - t) / t**3), root(lambda t: t**3 / mp.atan(t)))  # fmt: skip
    add("ASIN", "(asin(t) - t) / t**3 of t**2", (5, 12), (0, mpf("0.25")),
        root(lambda t: (mp.asin(t) - t) / t**3), root(lambda t: t**3 / mp.asin(t)))  # fmt: skip
    add("RECIPROCAL_ROOT", "m**(-1/3)", (3, 6), (mpf(3) / 4, mpf(3) / 2),
        lambda m: m ** (-mpf(1) / 3), mp.cbrt)  # fmt: skip
    for dtype, degree, end in (("f32", 9, 10.1), ("f64", 21, 27.3)):
        out.append(Fit("ERFC", dtype, "(x + 5/8) exp(x**2) erfc(x) - 41/64 of t = (x - 4) / (x + 4)", degree,
                       (ERFC_SPLIT - 4) / (ERFC_SPLIT + 4), mpf((end - 4) / (end + 4)),
                       lambda t: scaled_erfc(4 * (1 + t) / (1 - t)) - mpf(41) / 64,
                       lambda t: 1 / scaled_erfc(4 * (1 + t) / (1 - t))))  # fmt: skip
    corner = mp.log(mp.erfc(ERF_SPLIT))
    for dtype, degree, end in (("f32", 6, 4), ("f64", 19, 6)):
        out.append(Fit("ERF_TAIL", dtype, "(log(erfc(x)) - log(erfc(3/4))) / t of t = x - 3/4", degree,
                       mpf(0), end - ERF_SPLIT,
                       lambda t: (mp.log(mp.erfc(ERF_SPLIT + t)) - corner) / t,
                       lambda t: mp.erfc(ERF_SPLIT + t) * t))  # fmt: skip
    return out


INTERVALS = [  # those of `avx512.chosen` by three bits of the exponent and two of the fraction, from 1/8 on
    (2.0**e * (1 + q / 4), 2.0**e * (1 + (q + 1) / 4)) for e in range(-3, 5) for q in range(4)
]


def piecewise(function: Function, end: float) -> list[list[float]]:
    """Rows of 32 numbers: centers c and coefficients, lowest first, of polynomials of degree 6 in x - c.

    c lies where function(c) is nearly a float32. The first interval begins at 0, and there the polynomial is
    that of function(x) - x at c = 0. From `end` on the function is 1.
    """
    columns = []
    for low, high in INTERVALS:
        if low >= end:
            columns.append([low, 1.0, *[0.0] * 6])
            continue
        if low == INTERVALS[0][0]:
            fit = Fit("", "f32", "", 5, mpf(2) ** -20, mpf(high), lambda x: (function(x) - x) / x,
                      lambda x: x / function(x))  # fmt: skip
            columns.append([0.0, 0.0, *minimax(fit)[0]])
            continue
        middle = rounded(mpf(low + high) / 2, "f32")
        near = [rounded(mpf(middle * (1 + i * 2.0**-22)), "f32") for i in range(-400, 400)]
        c = min(near, key=lambda x: abs(function(mpf(x)) - mpf(rounded(function(mpf(x)), "f32"))))
        start = rounded(function(mpf(c)), "f32")
        fit = Fit("", "f32", "", 5, mpf(low) - mpf(c), mpf(high) - mpf(c),
                  lambda d, c=c, start=start: (function(c + d) - start) / d if d else mp.diff(function, c),
                  lambda d, c=c: abs(d) / function(c + d))  # fmt: skip
        columns.append([c, start, *minimax(fit)[0]])
    turn = 16  # the exponent of 1/8 ends in the bits 100
    columns = columns[turn:] + columns[:turn]
    return [list(row) for row in zip(*columns, strict=True)]


def wrapped(row: list[float]) -> str:
    """A tuple as lines of text."""
    return f"    (\n{textwrap.fill(', '.join(map(repr, row)), 105, **INDENT)},\n    ),\n"


def main() -> None:
    lines = [
        '"""Coefficients of polynomials, written by benchmarks/elementary_coefficients.py."""\n',
        "# The lowest comes first. A comment gives what the polynomial stands for, its interval, and log2 of",
        "# the error (of rounded coefficients) relative to the function it serves.\n",
    ]
    tables: dict[str, list[str]] = {}
    for fit in fits():
        coefficients, error = minimax(fit)
        domain = f"[{float(fit.low):.6g}, {float(fit.high):.6g}]"
        print(fit.name, fit.dtype, domain, f"{error:.2f}")
        body = "".join(f"        {c!r},\n" for c in coefficients)
        tables.setdefault(fit.name, []).append(
            f'    # {fit.formula} on {domain}: {error:.1f}\n    "{fit.dtype}": (\n{body}    ),\n'
        )
    lines += [f"{name} = {{\n{''.join(rows)}}}" for name, rows in tables.items()]
    lines.append("# Rows of 32: the centers of pieces, and coefficients from the lowest to the highest.")
    lines.append("# fmt: off")
    for name, function, end in (("TANH", mp.tanh, 10), ("ERF", mp.erf, 4)):
        lines.append(f"{name}_PIECES = (\n{''.join(map(wrapped, piecewise(function, end)))})")
    lines.append("# Reciprocals of pieces of [1, 2), and the logarithms to base 2 that they take off.")
    logarithms = [float(-mp.log(c, 2)) + 0.0 for c in reciprocals()]
    lines.append(f"RECIPROCALS = (\n{wrapped(reciprocals())}{wrapped(logarithms)})")
    lines.append("# fmt: on")
    TARGET.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
