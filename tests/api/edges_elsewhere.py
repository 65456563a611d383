"""The gradients of JAX where they are others: `python -m tests.api.edges_elsewhere` measures them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.api.edges_cases import SECTIONS, Edge

VERSION = "0.10.2"
"""Of JAX, in float64."""


def gradient(edge: Edge) -> list[Any] | None:
    """JAX's, or None where JAX does not have the function."""
    import jax
    import jax.numpy
    import jax.scipy.special

    jax.config.update("jax_enable_x64", True)
    names = "xyz"[: len(edge.point)]
    modules = {"np": jax.numpy, "special": jax.scipy.special}
    function = eval(f"lambda {', '.join(names)}: {edge.code}", modules)
    point = [jax.numpy.asarray(p, dtype=float) for p in edge.point]
    try:
        found = jax.grad(function, argnums=tuple(range(len(point))))(*point)
    except (AttributeError, TypeError):
        return None
    return [np.asarray(g) for g in found]


def shown(x: np.ndarray) -> str:
    """The elements with five digits."""
    return f"[{', '.join(map(shown, x))}]" if x.ndim else f"{float(x) + 0.0:.5g}"


def measured() -> dict[str, dict[str, str]]:
    """What `JAX` says, measured: the gradients by code and point."""
    others: dict[str, dict[str, str]] = {}
    for edge in [edge for rows in SECTIONS.values() for edge in rows]:
        found = gradient(edge)
        ours = [np.asarray(g, float) for g in edge.gradient]
        if found is None or all(map(same, found, ours)):
            continue
        others.setdefault(edge.code, {})[str(edge.point)] = ", ".join(map(shown, found))
    return others


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.allclose(a, b, rtol=1e-9, atol=0, equal_nan=True)


JAX: dict[str, dict[str, str]] = {
    "np.abs(x)": {"(0.0,)": "1"},
    "np.fmax(x, y)": {"(1.0, 1.0)": "0, 1"},
    "(x + np.abs(x)) / 2": {"(0.0,)": "1"},
    "np.quantile(x, y)": {"([1.0, 2.0, 4.0], 0.5)": "[0, 1, 0], 0", "([1.0, 2.0, 4.0], 1.0)": "[0, 0, 1], 0"},
    "np.maximum.accumulate(x)[2]": {"([1.0, 1.0, 0.0],)": "[0.5, 0.5, 0]"},
    "np.interp(x, np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 4.0]))": {"(2.0,)": "3"},
    "np.copysign(x, y)": {"(0.0, 1.0)": "1, 0"},
    "np.where(x > 0, np.sqrt(x), 0)": {"(0.0,)": "nan", "(-1.0,)": "nan"},
    "np.sqrt(x * x)": {"(0.0,)": "nan"},
    "np.sqrt(x * x + y * y)": {"(0.0, 0.0)": "nan, nan", "(3e+200, 4e+200)": "0, 0"},
    "np.sqrt(np.sum(x**2))": {"([0.0, 0.0],)": "[nan, nan]"},
    "np.sqrt(np.mean(x**2))": {"([0.0, 0.0],)": "[nan, nan]"},
    "np.hypot(x, y)": {"(0.0, 0.0)": "0.5, 0.5"},
    "np.linalg.norm(x)": {
        "([0.0, 0.0],)": "[nan, nan]",
        "([[0.0, 0.0], [0.0, 0.0]],)": "[[nan, nan], [nan, nan]]",
    },
    "np.linalg.norm(x, axis=1).sum()": {"([[0.0, 0.0], [3.0, 4.0]],)": "[[nan, nan], [0.6, 0.8]]"},
    "np.linalg.norm(x, ord=1)": {"([1.0, 0.0],)": "[1, 1]"},
    "np.linalg.norm(x, ord=np.inf)": {"([0.0, 0.0],)": "[0.25, 0.25]"},
    "np.linalg.norm(x, ord=3)": {"([0.0, 0.0],)": "[nan, nan]"},
    "np.linalg.norm(x - y)": {"([1.0, 2.0], [1.0, 2.0])": "[nan, nan], [nan, nan]"},
    "np.std(x)": {"([1.0, 1.0],)": "[nan, nan]", "([2.0],)": "[nan]"},
    "np.nanstd(x)": {"([1.0, 1.0, nan],)": "[nan, nan, 0]"},
    "np.arctan2(x, y)": {"(0.0, 0.0)": "nan, nan", "(1.0, inf)": "nan, 0"},
    "np.where(np.linalg.norm(x) > 0, x / np.linalg.norm(x), 0).sum()": {"([0.0, 0.0],)": "[nan, nan]"},
    "np.where(np.linalg.norm(x) > 0, x @ y / (np.linalg.norm(x) * np.linalg.norm(y)), 0)": {
        "([0.0, 0.0], [1.0, 0.0])": "[nan, nan], [nan, nan]"
    },
    "x ** y": {"(0.0, 0.0)": "nan, 0", "(-2.0, 3.0)": "12, nan"},
    "np.where(y != 0, x / y, 0)": {"(0.0, 0.0)": "nan, nan"},
    "np.where(x > 0, x * np.log(x), 0)": {"(0.0,)": "nan"},
    "np.where(x > 0, np.where(x > 1, np.log(x - 1), np.sqrt(x)), 0)": {"(0.0,)": "nan", "(1.0,)": "nan"},
    "special.xlogy(x, y)": {"(0.0, 0.0)": "-inf, nan"},
    "special.xlog1py(x, y)": {"(0.0, -1.0)": "-inf, nan"},
    "special.entr(x)": {"(0.0,)": "inf"},
    "np.logaddexp(x, y)": {"(inf, inf)": "1, 1", "(-inf, -inf)": "nan, nan"},
    "np.logaddexp2(x, y)": {"(-inf, -inf)": "nan, nan"},
    "special.logsumexp(x)": {"([-inf, -inf],)": "[nan, nan]"},
    "np.log(np.sum(np.exp(x)))": {"([-inf, -inf],)": "[nan, nan]", "([800.0, -800.0],)": "[nan, 0]"},
    "(1 - np.exp(-x)) / x": {"(0.0,)": "nan"},
    "1 / (1 + np.exp(-x))": {"(-800.0,)": "nan"},
    "np.log(1 + np.exp(x))": {"(800.0,)": "nan"},
    "np.tanh(x)": {"(30.0,)": "0"},
    "np.sinc(x)": {"(1e-09,)": "0"},
    "np.where(x == 0, 1, np.sin(x) / x)": {"(0.0,)": "nan"},
}


def main() -> None:
    for code, found in measured().items():
        print(f"    {code!r}: {found!r},")


if __name__ == "__main__":
    main()
