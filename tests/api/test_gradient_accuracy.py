"""Gradients of elementary functions, compiled, against derivatives in many digits, over the whole range."""

import mpmath
import numpy as np
import pytest

import gradc
from tests.api.gradient_accuracy import SLOPES, Slope
from tests.codegen.elementary_reference import Reference, ulps

DIGITS = 400
"""Bits in which derivatives are computed: enough for what cancels."""


def arguments(slope: Slope, dtype: type, size: int = 200) -> list[np.ndarray]:
    """Near 0 and ±1, of usual size, and of every exponent."""
    rng, limits = np.random.default_rng(7), np.finfo(dtype)

    def draw() -> np.ndarray:
        small, all_ = ((-limits.nmant - 3, 11), (limits.minexp, limits.maxexp - 1))
        powers = [np.exp2(rng.uniform(*e, size)) * rng.choice([-1, 1], size) for e in (small, all_)]
        near = np.exp2(-rng.uniform(1, limits.nmant, size))
        spans = [rng.uniform(-r, r, size) for r in (3, 60, 800)]
        x = np.concatenate([*powers, *spans, 1 - near, near - 1, 1 + near]).astype(dtype)
        return x[(x > slope.low) & (x < slope.high) & (x != 0)]

    drawn = [rng.permutation(draw()) for _ in range(slope.count)]
    shortest = min(map(len, drawn))
    return [x[:shortest] for x in drawn]


def exact(slope: Slope, points: list[np.ndarray]) -> Reference:
    """The derivative at every point, as the nearest float64 and the rest in its last places."""
    nearest, rest = [], []
    with mpmath.workprec(DIGITS):
        for point in zip(*(x.astype(np.float64).tolist() for x in points), strict=True):
            value = slope.derivative(*map(mpmath.mpf, point))
            rounded = float(value)
            nearest.append(rounded)
            place = max(int(np.frexp(rounded)[1]) - 53, -1074)
            rest.append(float(mpmath.ldexp(value - rounded, -place)) if np.isfinite(rounded) else 0.0)
    return np.array(nearest), np.array(rest)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("slope", SLOPES, ids=lambda slope: slope.code.replace(" ", ""))
def test_gradients_have_the_digits_that_are_promised(slope: Slope, dtype: type):
    points = arguments(slope, dtype)
    function = slope.function

    def gradient(x, *rest):
        return gradc.grad(lambda x: np.sum(function(x, *rest)))(x)

    found = gradc.compile(gradient)(*points)
    assert found.dtype == dtype
    with np.errstate(all="ignore"):
        errors = ulps(found, exact(slope, points))
        allowed = slope.ulps + (0 if slope.growth is None else slope.growth(*points))
    tiny = np.abs(found) < 2 * np.finfo(dtype).tiny  # products round once more below the normal numbers
    worst = np.argmax(np.where(tiny, 0, errors - allowed))
    assert np.all((errors <= allowed) | tiny & (errors <= 16 + allowed)), (
        f"at {[x[worst] for x in points]}: {found[worst]!r}, {errors[worst]} ulps off"
    )
