"""tanh and erf in float32 by a table of polynomials, whose coefficients a processor with AVX-512 looks up."""

from __future__ import annotations

from gradc.codegen.elementary import avx512
from gradc.codegen.elementary.builder import Value, absolute, copy_sign, fma, maximum, minimum, select

# A quarter of a binade is a piece, from the first on; what is below belongs to that as well.
FIRST, FIRST_END, LAST = 0.125, 0.15625, 31.0
SHIFT = 23 - 2


def by_pieces(x: Value, table: tuple[tuple[float, ...], ...]) -> Value:
    """An odd function that rounds to 1 before the last piece: `start + (a - center) P(a - center)`, a = |x|.

    In the first piece the number itself is what the polynomial is added to.
    """
    a = absolute(x)
    bounded = minimum(a, LAST)
    index = maximum(bounded, FIRST).bits >> SHIFT
    center, start, *coefficients = (avx512.chosen(index, row) for row in table)
    d = bounded - center
    series = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        series = fma(d, series, c)
    return copy_sign(fma(d, series, select(a < FIRST_END, a, start)), x)
