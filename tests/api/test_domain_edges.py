"""Values, gradients and second derivatives at the edges of domains, at every stage of the compiler."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import scipy.special

import gradc
from gradc.ir import evaluate
from tests.api import edges_elsewhere
from tests.api.edges_cases import SECTIONS, Edge

EDGES = [edge for rows in SECTIONS.values() for edge in rows]
STEP = 1e-5
BESIDE = {"np.clip(x, y, z)"}
"""Their gradients at ties are means of those nearby, but two ties at once are flat along every axis."""


def name(edge: Edge) -> str:
    return f"{edge.code.replace(' ', '')}-at-{edge.point}".replace(" ", "")


every_edge = pytest.mark.parametrize("edge", EDGES, ids=[f"{i}-{name(e)}" for i, e in enumerate(EDGES)])


@cache
def derivatives(code: str, count: int) -> tuple[Callable, Callable]:
    """The value and gradient, and the second derivatives, compiled."""
    function = next(e.function for e in EDGES if e.code == code)
    wrt = tuple(range(count))

    def first(*args):
        return gradc.value_and_grad(function, wrt=wrt)(*args)

    def second(*args):
        return gradc.hessian(function, wrt=wrt)(*args)

    return gradc.compile(first), gradc.compile(second)


def compiled(edge: Edge) -> tuple[Callable, Callable]:
    return derivatives(edge.code, len(edge.point))


def arguments(edge: Edge) -> list:
    return [np.float64(p) if isinstance(p, float) else np.array(p) for p in edge.point]


def check(found, wanted, what: str) -> None:
    np.testing.assert_allclose(
        np.asarray(found, float), np.asarray(wanted, float), rtol=1e-12, atol=1e-300, err_msg=what
    )


def flat(parts) -> np.ndarray:
    return np.concatenate([np.ravel(part) for part in parts])


def matrix(parts: list, sizes: list[int]) -> np.ndarray:
    """Blocks, one for each pair of arguments, as one matrix."""
    blocks = iter(parts)
    return np.block([[np.reshape(next(blocks), (m, n)) for n in sizes] for m in sizes])


def by_stages(function: Callable, point: list) -> dict[str, list[np.ndarray]]:
    """The results of every stage, and of the native code."""
    lowered = function.lower(*point)
    leaves = [np.asarray(p) for p in point]
    stages = {stage: lowered.graph(stage) for stage in ("grad", "optimized", "fused", "planned")}
    results = {s: list(evaluate(g, *leaves, constants=g.constants)) for s, g in stages.items()}
    return {**results, "native": [np.asarray(y) for y in gradc_leaves(function(*point))]}


def gradc_leaves(tree) -> list:
    return [leaf for part in tree for leaf in gradc_leaves(part)] if isinstance(tree, tuple) else [tree]


@every_edge
def test_what_is_written_is_found_at_every_stage(edge: Edge):
    first, second = compiled(edge)
    point = arguments(edge)
    with np.errstate(all="ignore"):
        numpy = edge.function(*point)
    if np.isfinite(numpy) or not np.isfinite(edge.value):  # else a stable formula knows better
        check(numpy, edge.value, "NumPy")
    for stage, (value, *gradient) in by_stages(first, point).items():
        check(value, edge.value, f"value, {stage}")
        wanted = flat(edge.gradient)
        # What becomes NaN may be a number as long as all products with zeros are 0.
        found = np.where((stage == "grad") & np.isnan(wanted), np.nan, flat(gradient))
        check(found, wanted, f"gradient, {stage}")
    if edge.second is None:
        return
    sizes = [np.size(p) for p in point]
    wanted = np.broadcast_to(edge.second, (sum(sizes),) * 2)
    assert np.array_equal(wanted, wanted.T, equal_nan=True)
    for stage, blocks in by_stages(second, point).items():
        check(matrix(blocks, sizes), wanted, f"second derivatives, {stage}")


@pytest.mark.parametrize("edge", [e for e in EDGES if e.code not in BESIDE], ids=name)
def test_gradients_are_subgradients(edge: Edge):
    """They lie between the slopes on both sides, where there are such; so do second derivatives."""
    first, _ = compiled(edge)
    count = sum(np.size(p) for p in edge.point)
    second = np.broadcast_to(np.nan if edge.second is None else edge.second, (count, count))
    for i in range(count):
        if not np.isfinite(flat(edge.point)[i]):
            continue
        left, right = [moved(edge, i, step) for step in (-STEP, STEP)]
        here = np.append(edge.value, flat(edge.gradient))
        with np.errstate(all="ignore"):
            values = [beside(first, point, 1 + count) for point in (left, right)]
            low, high = np.sort([(values[0] - here) / -STEP, (values[1] - here) / STEP], axis=0)
            claims = np.append(
                flat(edge.gradient)[i], np.full(count, np.nan) if second is None else second[:, i]
            )
            usual = (np.maximum(np.abs(low), np.abs(high)) < 0.1 / STEP) & np.isfinite(claims)
            near = 1e-9 / STEP + 1e-3 * np.abs(claims)
            fits = (low - near <= claims) & (claims <= high + near)
        assert np.all(fits | ~usual), (low, high, claims)


def beside(function: Callable, point: list, count: int) -> np.ndarray:
    """Value and gradient near a point; NaN where the function says that it ends before."""
    try:
        return flat(gradc_leaves(function(*point)))
    except ValueError:
        return np.full(count, np.nan)


def moved(edge: Edge, i: int, step: float) -> list:
    """The point with its element i, counted through all arguments, moved."""
    point = [np.array(p, float) for p in edge.point]
    for p in point:
        if 0 <= i < p.size:
            p.reshape(-1)[i] += step
        i -= p.size
    return [p if p.ndim else p[()] for p in point]


@pytest.mark.long
@every_edge
def test_batches_and_single_precision_have_the_same_gradients(edge: Edge):
    wrt = tuple(range(len(edge.point)))
    gradient = gradc.grad(edge.function, wrt=wrt)
    point = arguments(edge)
    batch = gradc.vmap(gradient)(*[np.stack([p, p]) for p in point])
    check(flat(part[1] for part in batch), flat(edge.gradient), "vmap")
    with np.errstate(all="ignore"):
        single = [p.astype(np.float32) for p in point]
    if all(np.array_equal(p, q, equal_nan=True) for p, q in zip(point, single, strict=True)):
        found = flat(gradient(*single))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, flat(edge.gradient).astype(np.float32), rtol=1e-5, atol=1e-30)


SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 2.0, np.inf, -np.inf, np.nan, 1e308, -1e308, 1e-320, 800.0, -800.0])
UNARY = (
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "sin", "cos", "tan", "arcsin"),
    *("arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "reciprocal", "square"),
    *("expit", "erf", "erfc", "logit", "log_expit", "entr"),
)
AROUND: dict[str, Callable] = {
    "f": lambda f, x: f(x),
    "f*x": lambda f, x: f(x) * x,
    "f/x": lambda f, x: f(x) / x,
    "x**f": lambda f, x: x ** f(x),
    "hypot": lambda f, x: np.hypot(f(x), x),
    "arctan2": lambda f, x: np.arctan2(f(x), x),
    "logaddexp": lambda f, x: np.logaddexp(f(x), x),
    "sqrt(f)": lambda f, x: np.sqrt(f(x)),
    "log(f)": lambda f, x: np.log(f(x)),
    "f/norm(f)": lambda f, x: f(x) / np.linalg.norm(f(x)),
}


def masked(around: Callable, function: Callable) -> Callable:
    return lambda x, mask: np.sum(np.where(mask, around(function, x), 0.0))


@pytest.mark.long
@pytest.mark.parametrize("around", AROUND)
def test_what_a_mask_leaves_out_contributes_nothing_to_two_derivatives(around: str):
    weights = np.arange(1.0, len(SPECIAL) + 1)
    nothing = np.zeros(len(SPECIAL), bool)
    for name in UNARY:
        function = getattr(np, name, None) or getattr(scipy.special, name)
        gradient = gradc.grad(masked(AROUND[around], function))

        def weighted(x, mask, gradient=gradient):
            return np.sum(gradient(x, mask) * weights)

        assert not gradient(SPECIAL, nothing).any(), name
        assert not gradc.grad(weighted)(SPECIAL, nothing).any(), name


def test_what_is_said_of_jax_is_so():
    jax = pytest.importorskip("jax")
    if jax.__version__ != edges_elsewhere.VERSION:
        pytest.skip(f"JAX {jax.__version__}, not {edges_elsewhere.VERSION}")
    assert edges_elsewhere.measured() == edges_elsewhere.JAX
