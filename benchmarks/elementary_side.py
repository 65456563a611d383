"""One library's elementary functions: their values at given points, or their times.

    python benchmarks/elementary_side.py jax times
    python benchmarks/elementary_side.py torch values points.npz values.npz

It imports one library only, so that any environment will do; `benchmarks.elementary` calls it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Functions = dict[str, Callable[..., Any]]
SIZES = 64, 4096
DTYPES = {"f32": np.float32, "f64": np.float64}
TWO_ARGUMENTS = {"arctan2", "hypot", "logaddexp", "power"}
# fmt: off
NAMES = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan",
    "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
    "power", "cbrt", "hypot", "erf", "erfc", "expit", "softplus", "logaddexp",
)
# fmt: on

SPECIAL = ("erf", "erfc", "expit")


def numpy_functions() -> Functions:
    """NumPy's, and SciPy's where NumPy has none."""
    import scipy.special

    found: Functions = {name: getattr(np, name, None) or getattr(scipy.special, name, None) for name in NAMES}
    return found | {"softplus": lambda x, **k: np.logaddexp(x.dtype.type(0), x, **k)}


def gradc_functions() -> Functions:
    """The same functions, compiled."""
    import gradc

    return {name: gradc.compile(f, threads=1) for name, f in numpy_functions().items()}


def jax_functions() -> Functions:
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    jax.config.update("jax_enable_x64", True)
    found: Functions = {name: getattr(jax.numpy, name, None) for name in NAMES}
    found |= {name: getattr(jax.scipy.special, name) for name in SPECIAL}
    return found | {"softplus": jax.nn.softplus}


def torch_functions() -> Functions:
    import torch

    torch.set_num_threads(1)
    found: Functions = {name: getattr(torch, name, None) for name in NAMES}
    found |= {name: getattr(torch.special, name) for name in SPECIAL}
    found |= {"power": torch.pow, "softplus": torch.nn.functional.softplus}
    return {name: f for name, f in found.items() if f is not None}


LIBRARIES: dict[str, Callable[[], Functions]] = {
    "gradc": gradc_functions,
    "numpy": numpy_functions,
    "jax": jax_functions,
    "torch": torch_functions,
}


def version(library: str) -> str:
    return "" if library == "gradc" else str(__import__(library).__version__)


def arguments(name: str, dtype: str, size: int) -> list[np.ndarray]:
    """Points within every domain, away from edges."""
    rng = np.random.default_rng(0)
    low, high = (1, 3) if name == "arccosh" else (0.1, 0.9) if name.startswith("arc") else (0.1, 3)
    return [rng.uniform(low, high, size).astype(DTYPES[dtype]) for _ in range(1 + (name in TWO_ARGUMENTS))]


def values(library: str, function: Callable[..., Any], points: list[np.ndarray]) -> np.ndarray:
    """The function at the points, by the library."""
    if library == "torch":
        import torch

        return function(*map(torch.from_numpy, points)).numpy()
    with np.errstate(all="ignore"):
        return np.asarray(function(*points))


def repetition(library: str, function: Callable[..., Any], points: list[np.ndarray]) -> Callable[[int], None]:
    """Calls the function so many times in a row; JAX within one compiled loop, so that no call is timed."""
    if library == "jax":
        import jax

        def step(i: Any, _: Any) -> Any:
            moved = points[0] + i.astype(points[0].dtype) * 1e-9  # else the value is known before the loop
            return function(moved, *points[1:])

        loop = jax.jit(lambda n: jax.lax.fori_loop(0, n, step, points[0]))
        return lambda n: loop(n).block_until_ready()
    if library == "torch":
        import torch

        tensors = [torch.from_numpy(x) for x in points]
        options = {} if function is torch.nn.functional.softplus else {"out": torch.empty_like(tensors[0])}
    else:
        tensors, options = points, {"out": np.empty_like(points[0])} if library == "numpy" else {}

    def repeated(n: int) -> None:
        for _ in range(n):
            function(*tensors, **options)

    return repeated


def nanoseconds(library: str, function: Callable[..., Any], name: str, dtype: str) -> float:
    """Per element, from cache: the slope from 64 to 4096 elements, which leaves out the cost of a call."""
    best = []
    for size in SIZES:
        run = repetition(library, function, arguments(name, dtype, size))
        run(2)
        repeats, took = 100, float("inf")
        for _ in range(15):
            start = time.perf_counter()
            run(repeats)
            took = min(took, time.perf_counter() - start)
        best.append(took / repeats)
    return (best[1] - best[0]) / (SIZES[1] - SIZES[0]) * 1e9


def times(library: str, names: list[str]) -> Iterator[tuple[str, str, float]]:
    for name, function in LIBRARIES[library]().items():
        for dtype in DTYPES:
            if function is not None and (not names or name in names):
                yield name, dtype, nanoseconds(library, function, name, dtype)


def main(library: str, task: str, *rest: str) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if task == "times":
        rows = list(times(library, list(rest)))
        print(json.dumps({"version": version(library), "times": rows}))
        return
    points, results = np.load(rest[0]), {}
    functions = LIBRARIES[library]()
    for key in {key.rpartition("/")[0] for key in points.files}:
        name, _, _ = key.partition("/")
        if functions.get(name) is not None:
            operands = [points[f"{key}/{i}"] for i in range(1 + (name in TWO_ARGUMENTS))]
            results[key] = values(library, functions[name], operands)
    np.savez(rest[1], **results)
    print(json.dumps({"version": version(library)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
