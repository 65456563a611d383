"""GRADC_DEBUG and GRADC_DUMP: what is said on each rung of the ladder, and the files that are left."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc
from gradc import ir
from gradc.api import backend
from gradc.inspect.debug import Debug

x = np.linspace(0.1, 1.0, 40)


def loss(w: Any) -> Any:
    return np.log(np.sum(np.exp(w * x)))


def said(level: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("GRADC_DEBUG", str(level))
    gradc.compile(loss).value_and_grad(np.ones(40))
    out, err = capfd.readouterr()
    assert not out
    return err


def test_nothing_is_said_unasked(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert said(0, monkeypatch, capfd) == ""


def test_the_ladder(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    texts = [said(level, monkeypatch, capfd) for level in (1, 2, 3, 4)]
    for text in texts:
        for name in ("traced", "stabilize", "grad", "dce", "simplify", "fuse", "plan_memory"):
            assert any(line.startswith(name) and " ms " in line for line in text.splitlines()), name
    for step in ("loops and text", "LLVM parse", "LLVM optimize", "LLVM emit", "load"):
        assert re.search(rf"{step} \d+\.\d\d", texts[0]), step
    (last,) = [line for line in texts[0].splitlines() if line.startswith("total")]
    assert re.fullmatch(
        r"total +[\d.]+ ms: trace [\d.]+, passes [\d.]+ \(most: \w+ [\d.]+\), code [\d.]+", last
    )
    lengths = [len(text) for text in texts]
    assert lengths == sorted(set(lengths))
    assert "graph loss" not in texts[0] and "graph loss_grad(w: f64[40])" in texts[1]
    assert "test_debug.py:" in texts[2]
    assert "define " in texts[3] and "; asm of" in texts[3]


def test_the_time_that_gradients_take_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[tuple[str, float]] = []

    class Watch(Debug):
        def stage(self, name: str, graph: ir.Graph, seconds: float) -> None:
            times.append((name, seconds))

    monkeypatch.setattr(backend, "observe", lambda: Watch(0, None))
    gradc.compile(loss).value_and_grad(np.ones(40))
    assert [name for name, _ in times].count("grad") == 1
    assert all(seconds > 0 for _, seconds in times)


def test_it_is_read_once_per_compilation(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    f = gradc.compile(loss)
    f(np.ones(40))
    assert capfd.readouterr().err == ""
    monkeypatch.setenv("GRADC_DEBUG", "1")
    f(np.ones(40))
    assert capfd.readouterr().err == ""
    f.grad(np.ones(40))
    assert "plan_memory" in capfd.readouterr().err


def test_dumped_files_can_be_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADC_DUMP", str(tmp_path))
    f = gradc.compile(loss)
    w = np.linspace(-1.0, 1.0, 40)
    value, gradient = f.value_and_grad(w)
    monkeypatch.delenv("GRADC_DUMP")
    (folder,) = tmp_path.iterdir()
    assert folder.name.endswith("-loss")
    names = sorted(p.name for p in folder.iterdir())
    assert names[0] == "00-traced.ir" and "x.npy" in names
    assert any(n.endswith(".ll") for n in names) and any(n.endswith(".s") for n in names)
    constants = {p.stem: np.load(p) for p in folder.glob("*.npy")}
    graphs = sorted(folder.glob("*.ir"))
    assert len(graphs) > 6
    for path in graphs:
        results = ir.evaluate(ir.parse(path.read_text()), w, constants=constants)
        np.testing.assert_allclose(results[0], value, rtol=1e-12)
        if len(results) > 1:
            np.testing.assert_allclose(results[1], gradient, rtol=1e-10)
    # Another compilation has a folder of its own.
    monkeypatch.setenv("GRADC_DUMP", str(tmp_path))
    gradc.compile(loss)(w)
    assert len(list(tmp_path.iterdir())) == 2
