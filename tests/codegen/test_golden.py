"""Three small programs through every stage, as files to read: `--update-golden` writes them anew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import gradc
from gradc.codegen.driver import generate
from gradc.codegen.listing import listing
from gradc.codegen.target import Target

STAGES = ("traced", "grad", "optimized", "fused", "planned")
TARGET = Target("x86_64-unknown-linux-gnu", "x86-64-v4", "", 64)
"""The loops are those for this target on every machine."""


def neuron(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray) -> np.floating:
    """Logistic regression: the mean of softplus(-y z), which is stabilized."""
    z = x @ w + b
    return np.mean(np.log(1 + np.exp(-y * z)))


def classifier(params: dict, x: np.ndarray, y: np.ndarray) -> np.floating:
    """Two layers, softmax, cross-entropy by indexing."""
    h = np.tanh(x @ params["W1"] + params["b1"])
    z = h @ params["W2"] + params["b2"]
    m = z - z.max(axis=1, keepdims=True)
    logp = m - np.log(np.exp(m).sum(axis=1, keepdims=True))
    return -np.mean(logp[np.arange(len(y)), y])


def normalize(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Rows to mean 0 and variance 1, the last column first."""
    centred = x - x.mean(axis=1, keepdims=True)
    return (centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * scale)[:, ::-1]


PROGRAMS: dict[str, tuple[Callable, tuple]] = {
    "neuron": (neuron, ("f64[30]", "f64[]", "f64[569, 30]", "f64[569]")),
    "classifier": (
        classifier,
        (
            {"W1": "f32[64, 32]", "b1": "f32[32]", "W2": "f32[32, 10]", "b2": "f32[10]"},
            "f32[50, 64]",
            "i64[50]",
        ),
    ),
    "normalize": (normalize, ("f32[20, 37]", "f32[37]")),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_stages_are_as_written(name: str, stage: str, golden: Callable[[str, str], None]):
    function, types = PROGRAMS[name]
    golden(f"{name}.{stage}.ir", str(gradc.compile(function).lower(*types).graph(stage)))


@pytest.mark.parametrize("name", PROGRAMS)
def test_loops_are_as_written(name: str, golden: Callable[[str, str], None]):
    function, types = PROGRAMS[name]
    planned = gradc.compile(function).lower(*types).graph("planned")
    golden(f"{name}.loops", "\n\n".join(map(str, generate(planned, TARGET).kernels.values())))


@pytest.mark.parametrize("name", PROGRAMS)
def test_kernels_are_as_written(name: str, golden: Callable[[str, str], None]):
    function, types = PROGRAMS[name]
    planned = gradc.compile(function).lower(*types).graph("planned")
    golden(f"{name}.kernels", str(listing(planned, generate(planned, TARGET).steps)))
