"""What the elementary functions are measured against: arguments, exact values, errors in ulps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import frexp, inf, isfinite, pi

import mpmath
import numpy as np
import scipy.special

from tests.codegen.elementary_harness import DTYPES

# An exact value is kept as the nearest float64 and the rest, in units of the last place of that float64.
Reference = tuple[np.ndarray, np.ndarray]


def last_place(x: np.ndarray, limits: np.finfo) -> np.ndarray:
    """The exponent of the last place of numbers of x's size (below the normal numbers, of the smallest)."""
    return np.maximum(np.frexp(x)[1] - 1, limits.minexp) - limits.nmant


def ulps(results: np.ndarray, reference: Reference) -> np.ndarray:
    """|result - exact| in units of the last place of the exact value.

    Infinities and NaN count as 0 if the exact value rounds to them, as infinite errors if not.
    """
    exact, rest = reference
    limits = np.finfo(results.dtype)
    with np.errstate(all="ignore"):
        place = last_place(exact, limits)
        rest = np.ldexp(rest, last_place(exact, np.finfo(np.float64)) - place)
        error = np.abs(np.ldexp(results.astype(np.float64) - exact, -place) - rest)
        rounded = exact.astype(results.dtype)
    same = (results == rounded) | (np.isnan(results) & np.isnan(exact))
    finite = np.isfinite(results) & np.isfinite(rounded)
    return np.where(finite, error, np.where(same, 0.0, inf))


def promised_errors(
    name: str, results: np.ndarray, arguments: list[np.ndarray], reference: Reference
) -> np.ndarray:
    """The errors in ulps; those of logaddexp, where its terms cancel, in ulps of the terms."""
    errors = ulps(results, reference)
    if name == "logaddexp":
        errors = errors * np.minimum(1.0, np.abs(reference[0]) / np.max(np.abs(np.array(arguments)), axis=0))
    return errors


def by_mpmath(function: Callable[..., mpmath.mpf], *arguments: np.ndarray) -> Reference:
    """The function at every point, by mpmath with 120 bits."""
    nearest, rest = [], []
    for point in zip(*(a.astype(np.float64).tolist() for a in arguments), strict=True):
        with mpmath.workprec(120):
            value = function(*map(mpmath.mpf, point))
            value = mpmath.nan if isinstance(value, mpmath.mpc) else value
            nearest.append(float(value))
            place = max(frexp(nearest[-1])[1] - 53, -1074)
            rest.append(float(mpmath.ldexp(value - nearest[-1], -place)) if isfinite(nearest[-1]) else 0.0)
    return np.array(nearest), np.array(rest)


def by_float64(function: Callable[..., np.ndarray], *arguments: np.ndarray) -> Reference:
    """The function in NumPy's or SciPy's float64: exact enough for float32."""
    with np.errstate(all="ignore"):
        high = function(*(a.astype(np.float64) for a in arguments))
    return high, np.zeros_like(high)


def without_long_double(name: str) -> bool:
    """Whether only mpmath computes the function beyond float64."""
    return name in ("erf", "erfc") or np.finfo(np.longdouble).nmant < 63


def extended(name: str, dtype: str, *arguments: np.ndarray) -> Reference:
    """The function in long double where that has 64 bits, in float64 for float32: it finds worst points."""
    if dtype == "f32":
        return by_float64(NUMPY[name], *arguments)
    if without_long_double(name):
        return REFERENCE[name, dtype](*arguments)
    x = [a.astype(np.longdouble) for a in arguments]
    with np.errstate(all="ignore"):
        value = np.exp(-np.logaddexp(0, -x[0])) if name == "expit" else NUMPY[name](*x)
        nearest = value.astype(np.float64)
        rest = np.ldexp(value - nearest, -last_place(nearest, np.finfo(np.float64))).astype(np.float64)
    return nearest, np.where(np.isfinite(nearest), rest, 0.0)


def _log1p(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.log1p(x) if x > -1 else (-mpmath.inf if x == -1 else mpmath.nan)


def _log(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.log(x) if x > 0 else (-mpmath.inf if x == 0 else mpmath.nan)


def _expit(x: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + mpmath.exp(-x))


def _erfc(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.erfc(min(max(x, mpmath.mpf(-100)), mpmath.mpf(100)))


def _cbrt(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.sign(x) * mpmath.cbrt(abs(x))


_EXACT: dict[str, Callable[..., mpmath.mpf]] = {
    "exp": mpmath.exp, "exp2": lambda x: mpmath.mpf(2) ** x, "expm1": mpmath.expm1, "expit": _expit,
    "log": _log, "log1p": _log1p, "tanh": mpmath.tanh, "sin": mpmath.sin, "cos": mpmath.cos,
    "erf": mpmath.erf, "erfc": _erfc, "power": mpmath.power,
    "log2": lambda x: _log(x) / mpmath.log(2), "log10": lambda x: _log(x) / mpmath.log(10),
    "sinh": mpmath.sinh, "cosh": mpmath.cosh, "tan": mpmath.tan,
    "arctan": mpmath.atan, "arctan2": mpmath.atan2, "arcsin": mpmath.asin, "arccos": mpmath.acos,
    "arcsinh": mpmath.asinh, "arccosh": mpmath.acosh, "arctanh": mpmath.atanh, "hypot": mpmath.hypot,
    "cbrt": _cbrt,
    "logaddexp": lambda x, y: mpmath.log(mpmath.exp(x) + mpmath.exp(y)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
}  # fmt: skip


def _numpy_softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x.dtype.type(0), x)


NUMPY: dict[str, Callable[..., np.ndarray]] = {
    name: getattr(np, name, None) or getattr(scipy.special, name, None) or _numpy_softplus for name in _EXACT
}
REFERENCE: dict[tuple[str, str], Callable[..., Reference]] = {}
for _name, _exact in _EXACT.items():
    REFERENCE[_name, "f64"] = partial(by_mpmath, _exact)
    REFERENCE[_name, "f32"] = partial(by_float64, NUMPY[_name])

# Where a function is neither constant nor out of range, in float32 and float64.
_RANGES = {
    "exp": ((-104, 89), (-746, 710)), "exp2": ((-150, 128), (-1075, 1024)), "expm1": ((-18, 89), (-38, 710)),
    "expit": ((-104, 20), (-746, 40)), "log": ((0, 4), (0, 4)), "log1p": ((-1, 4), (-1, 4)),
    "tanh": ((-10, 10), (-20, 20)), "sin": ((-200, 200), (-200, 200)), "cos": ((-200, 200), (-200, 200)),
    "erf": ((-4, 4), (-6, 6)), "erfc": ((-4, 10.1), (-6, 27)),
    "log2": ((0, 4), (0, 4)), "log10": ((0, 4), (0, 4)),
    "sinh": ((-90, 90), (-711, 711)), "cosh": ((-90, 90), (-711, 711)), "tan": ((-200, 200), (-200, 200)),
    "arctan": ((-4, 4), (-4, 4)), "arcsin": ((-1, 1), (-1, 1)), "arccos": ((-1, 1), (-1, 1)),
    "arcsinh": ((-4, 4), (-4, 4)), "arccosh": ((1, 4), (1, 4)), "arctanh": ((-1, 1), (-1, 1)),
    "cbrt": ((-8, 8), (-8, 8)), "softplus": ((-104, 20), (-746, 40)),
}  # fmt: skip


def sample(name: str, dtype: str, size: int, seed: int = 0) -> list[np.ndarray]:
    """About `size` points: over the range that matters, near 0 and 1, of every exponent, and near k pi/2.

    For power, pairs whose result neither overflows nor vanishes; others are special values' business.
    """
    rng = np.random.default_rng([seed, size])
    kind = DTYPES[dtype]
    limits = np.finfo(kind)
    if name == "power":
        x = np.concatenate([
            np.exp2(rng.uniform(limits.minexp, limits.maxexp, size // 2)),
            rng.uniform(0.5, 2, size // 4),
            1 + rng.uniform(-1, 1, size // 4) * np.exp2(-rng.uniform(0, limits.nmant, size // 4)),
        ]).astype(kind)  # fmt: skip
        largest = -limits.minexp - limits.nmant + 1
        with np.errstate(all="ignore"):
            bound = np.minimum(largest / np.abs(np.log2(x.astype(np.float64))), limits.max / 2)
        y = (rng.uniform(-1.0, 1.0, x.size) * bound).astype(kind)
        whole = rng.uniform(size=x.size) < 0.25
        return [np.where(whole, -x, x), np.where(whole, np.rint(y), y)]
    if name in ("arctan2", "hypot", "logaddexp"):
        exponents = (-20, 10) if name == "logaddexp" else (limits.minexp, limits.maxexp - 1)
        x, y = (rng.choice([-1, 1], size) * np.exp2(rng.uniform(*exponents, size)) for _ in range(2))
        close = x + rng.uniform(-9, 9, size) if name == "logaddexp" else x * rng.uniform(-1, 1, size)
        return [x.astype(kind), np.where(rng.uniform(size=size) < 0.6, close, y).astype(kind)]
    low, high = _RANGES[name][dtype == "f64"]
    bits = np.dtype(f"u{kind.itemsize}")
    patterns = rng.integers(0, 1 << (8 * kind.itemsize), size // 4, dtype=bits).view(kind)
    tiny = np.exp2(rng.uniform(-limits.nmant - 4, 2, size // 4)) * rng.choice([-1, 1], size // 4)
    points = [patterns[np.isfinite(patterns)], tiny, rng.uniform(low, high, size // 2)]
    if name in ("sin", "cos", "tan"):
        points.append(np.arange(-200, 200) * (pi / 2))
        points.append(np.exp2(rng.uniform(3, 40, size // 4)))
        # The float64 nearest to a multiple of pi/2, relative to its size.
        points.append(np.array([6381956970095103 * 2.0**797 if dtype == "f64" else 16367173 * 2.0**72]))
    if name.startswith("log"):
        points.append(np.exp2(rng.uniform(-1, 1, size // 4)) - (name == "log1p"))
    with np.errstate(over="ignore"):
        return [np.concatenate(points).astype(kind)]


def binades(name: str, dtype: str, size: int) -> Iterator[list[np.ndarray]]:
    """`size` points for each binade where the function varies, and for all smaller and all larger numbers.

    A fiftieth of them where only mpmath will do. Functions of two arguments: ten samples of that size.
    """
    if dtype == "f64" and without_long_double(name):
        size //= 50
    kind = DTYPES[dtype]
    limits = np.finfo(kind)
    if name not in _RANGES:
        for seed in range(10):
            yield sample(name, dtype, size, seed)
        return
    rng = np.random.default_rng(0)
    inner = list(range(-limits.nmant - 3, 12))
    groups = [(limits.minexp - limits.nmant, inner[0]), *((e, e + 1) for e in inner), (12, limits.maxexp)]
    for low, high in groups:
        size_of = np.exp2(rng.uniform(low, high, size).astype(np.longdouble)) * (1 - limits.eps)
        for sign in (1, -1):
            yield [(sign * size_of).astype(kind)]
    yield [(1 + rng.uniform(-1, 1, size) * np.exp2(-rng.uniform(1, limits.nmant + 1, size))).astype(kind)]


def switches(dtype: str, size: int) -> np.ndarray:
    """Where formulas change, and the numbers beside: simple fractions, and what argument reductions round at.

    Multiples of 1/16, halves of multiples of ln 2, multiples of pi/4, powers of two and of sqrt(2), 3/4 of
    powers of two.
    """
    limits = np.finfo(DTYPES[dtype])
    exponents = np.arange(-limits.nmant - 4, limits.maxexp - 1, dtype=np.float64)
    whole = np.arange(1.0, 1 + size // 60)
    lists = [whole / 16, whole * (np.log(2) / 2), whole * (pi / 4), np.exp2(exponents)]
    lists += [np.exp2(exponents) * np.sqrt(2), np.exp2(exponents) * 0.75, np.tan([pi / 8, 3 * pi / 8])]
    middle = np.concatenate(lists).astype(DTYPES[dtype])
    steps = np.arange(-2, 3, dtype=f"i{limits.dtype.itemsize}")
    near = (middle.view(steps.dtype)[:, None] + steps).ravel().view(limits.dtype)
    return np.concatenate([near, -near])
