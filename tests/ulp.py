"""Measures the errors of the elementary functions, of gradc and its peers: `python -m tests.ulp`. A long run.

    python -m tests.ulp --write --jax PYTHON --torch PYTHON     # all functions; half an hour
    python -m tests.ulp exp log --stride 16                     # some, with every 16th float32

For gradc in float32: all 2**32 arguments of a function, or ten million pairs, beside its float64 function,
natively. In float64: 100,000 points in each binade where the function varies, of which long double finds the
worst, and `--points` points with every switch between formulas among them, all by mpmath. Peers get the same
`--points` points, and a million in float32, without subnormal arguments and results, which some of them take
for zeros. Largest errors go into `benchmarks/elementary.json`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import gradc
from benchmarks.elementary import interpreters, processor, side, update
from benchmarks.elementary_side import NAMES
from gradc.codegen.elementary import NAMES as ARGUMENTS
from tests.codegen.elementary_harness import DTYPES, apply
from tests.codegen.elementary_reference import (
    REFERENCE,
    Reference,
    binades,
    extended,
    promised_errors,
    sample,
    switches,
)
from tests.codegen.elementary_sweep import errors, largest_error

SEEDS = range(10)
PAIRS = 1 << 20


def largest_f32(name: str, stride: int) -> float:
    """Over all arguments, or many pairs."""
    if ARGUMENTS[name] == 1:
        return largest_error(name, stride)[0]
    worst = 0.0
    for seed in SEEDS:
        pairs = [np.resize(a, -(-a.size // 8) * 8) for a in sample(name, "f32", PAIRS // stride, seed)]
        found = errors(name, *pairs)
        exact = apply(name, "f64", *pairs), np.zeros(pairs[0].size)
        if name == "logaddexp":  # promised in units of the terms where they cancel
            found = promised_errors(name, apply(name, "f32", *pairs), pairs, exact)
        worst = max(worst, float(np.max(found)))
    return worst


def largest_f64_in_binades(name: str, size: int) -> float:
    """The worst points that long double finds, measured by mpmath."""
    worst = 0.0
    for arguments in binades(name, "f64", size):
        found = apply(name, "f64", *arguments)
        doubtful = np.argsort(promised_errors(name, found, arguments, extended(name, "f64", *arguments)))[
            -10:
        ]
        points = [a[doubtful] for a in arguments]
        exact = REFERENCE[name, "f64"](*points)
        worst = max(worst, float(np.max(promised_errors(name, found[doubtful], points, exact))))
    return worst


def points(name: str, dtype: str, size: int) -> list[np.ndarray]:
    """What all libraries are measured at."""
    drawn = sample(name, dtype, size)
    if ARGUMENTS[name] == 2:
        return drawn
    return [np.concatenate([drawn[0], switches(dtype, size)])]


def exactly(name: str, dtype: str, drawn: list[np.ndarray]) -> Reference:
    if dtype == "f64":
        return REFERENCE[name, dtype](*drawn)
    exact = apply(name, "f64", *drawn)
    return exact, np.zeros_like(exact)


def normal(drawn: list[np.ndarray], exact: np.ndarray, dtype: str) -> np.ndarray:
    """Where neither arguments nor result are subnormal."""
    tiny = np.finfo(DTYPES[dtype]).tiny
    return np.all([(np.abs(a) >= tiny) | (a == 0) for a in (*drawn, exact)], axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stride", type=int, default=1, help="every so many of the float32 numbers")
    parser.add_argument("--points", type=int, default=20_000, help="float64 points for all libraries")
    pythons = interpreters(parser)
    options = argparse.Namespace(**{k: parser.get_default(k) for k in ("stride", "points", "names", "write")})
    versions = {"gradc": f"{gradc.__version__} on {processor()}"}
    names = options.names or list(NAMES)
    for name in names:
        start = time.perf_counter()
        found: dict[str, dict[str, float]] = {library: {} for library in pythons}
        with tempfile.TemporaryDirectory() as folder:
            drawn = {d: points(name, d, options.points * (50 if d == "f32" else 1)) for d in DTYPES}
            exact = {d: exactly(name, d, x) for d, x in drawn.items()}
            listed = {f"{name}/{d}/{i}": a for d, x in drawn.items() for i, a in enumerate(x)}
            np.savez(Path(folder) / "points.npz", **listed)
            for library in ("numpy", "jax", "torch"):
                paths = [str(Path(folder) / f) for f in ("points.npz", "values.npz")]
                told = side(pythons[library], library, "values", *paths)
                if told is None:
                    continue
                versions[library] = told["version"]
                values = np.load(paths[1])
                for d in DTYPES:
                    if f"{name}/{d}" in values:
                        usual = normal(drawn[d], exact[d][0], d)
                        off = promised_errors(name, values[f"{name}/{d}"], drawn[d], exact[d])
                        found[library][d] = float(np.max(off[usual]))
        ours = promised_errors(name, apply(name, "f64", *drawn["f64"]), drawn["f64"], exact["f64"])
        found["gradc"]["f64"] = max(float(np.max(ours)), largest_f64_in_binades(name, 5 * options.points))
        found["gradc"]["f32"] = largest_f32(name, options.stride)
        row = (
            f"{library} {e.get('f32', np.nan):.4g} {e.get('f64', np.nan):.4g}" for library, e in found.items()
        )
        print(f"{name:10}", *row, f"{time.perf_counter() - start:.0f} s", sep="  ", flush=True)
        if options.write:
            for library, version in versions.items():
                cells = {d: float(f"{e:.4g}") for d, e in found[library].items()}
                update("errors", library, {name: cells}, version)


if __name__ == "__main__":
    main()
