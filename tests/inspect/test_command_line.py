"""`python -m gradc`: a bug report that is a text file of IR runs; stages; dumps of functions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradc.__main__ import main

TEXT = """
graph neuron(w: f64[3], x: f64[3], n: i64[2]) -> (f64[], f64[2]) {
  weights: f64[40] = captured(name='weights', digest='')
  %0: f64[3] = mul(w, x)
  %1: f64[] = reduce_sum(%0, axes=(0,))                        # model.py:3
  %2: f64[] = tanh(%1)
  %3: f64[2] = gather(weights, n, axes=(0,))
  return %2, %3
}
"""

FUNCTION = """
import numpy as np
import gradc

def loss(w, x, how):
    return np.sum(np.tanh(w * x)) if how == "sum" else w

class Model:
    @gradc.compile
    def value(w):
        return w * 2
"""


@pytest.fixture
def graph(tmp_path: Path) -> str:
    path = tmp_path / "neuron.ir"
    path.write_text(TEXT)
    return str(path)


def test_run_with_random_inputs(graph: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", graph]) == 0
    out = capsys.readouterr().out
    assert "compiled in" in out and "output 0: f64[]" in out and "output 1: f64[2]" in out
    assert "reference" in out


def test_run_with_given_inputs(graph: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {"w": np.zeros(3), "x": np.ones(3), "n": np.array([1, 3])}
    files = []
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        files.append(str(tmp_path / f"{name}.npy"))
    np.save(tmp_path / "weights.npy", np.arange(40.0))
    assert main(["run", graph, "--inputs", *files, "--constants", str(tmp_path / "weights.npy")]) == 0
    out = capsys.readouterr().out
    assert "0." in out and "[1. 3.]" in out and out.count("equal to the reference") == 2


def test_stages(graph: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stages", graph]) == 0
    captured = capsys.readouterr()
    for stage in ("optimized", "fused", "planned"):
        assert f"# {stage}\n" in captured.out
    assert captured.out.count("# output 0:") == 3


def test_dump(tmp_path: Path) -> None:
    (tmp_path / "somewhere.py").write_text(FUNCTION)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "gradc", "dump", *arguments]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(__file__).parents[2])},
            check=True,
        )
        return done.stdout

    text = run("somewhere:loss", "f32[3]", "f32[3]", "sum", "--stage", "grad")
    assert text.startswith("graph loss_grad(w: f32[3], x: f32[3])") and "tanh" in text
    assert "f64[2]" in run("somewhere:Model.value", "f64[2]", "--stage", "traced")
    assert "define" in run("somewhere:loss", "f32[3]", "f32[3]", "sum", "--stage", "llvm", "--of", "value")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("graph f(x: f64[3]) -> (f64[3]) {\n  %0: f64[3] = nope(x)\n  return %0\n}", "no op 'nope'"),
        ("graph f(x: f64[3]) -> (f64[4]) {\n  return x\n}", "declares"),
    ],
)
def test_errors(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.ir"
    path.write_text(text)
    assert main(["run", str(path)]) == 1
    assert message in capsys.readouterr().err
    assert main(["run", str(tmp_path / "missing.ir")]) == 1


@pytest.mark.parametrize("name", ["nosuchmodule:f", "math", "math:nosuch", "math:pi.real.nosuch"])
def test_functions_that_are_not_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", name]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"ArgumentError: {name}") and "module:function" in error
