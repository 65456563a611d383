"""The examples run, and the numbers they print are the right ones."""

from __future__ import annotations

import re

import numpy as np
import pytest

from examples import circuits, digits, logistic_regression


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_circuits(capsys):
    result = circuits.main()
    printed = capsys.readouterr().out
    assert result["product"] == {
        "x": (-2, -4),
        "y": (5, -4),
        "z": (-4, 3),
        "q": (3, -4),
        "f": (-12, 1),
    }
    assert result["gates"] == {
        "x": (3, -8),
        "y": (-4, 6),
        "z": (2, 2),
        "w": (-1, 0),
        "p": (-12, 2),
        "m": (2, 2),
        "s": (-10, 2),
        "f": (-20, 1),
    }
    neuron = {name: (round(value, 2), round(grad, 2)) for name, (value, grad) in result["neuron"].items()}
    assert neuron == {
        "w[0]": (2, -0.20),
        "w[1]": (-3, -0.39),
        "w[2]": (-3, 0.20),
        "x[0]": (-1, 0.39),
        "x[1]": (-2, -0.59),
        "a": (-2, 0.20),
        "b": (6, 0.20),
        "c": (4, 0.20),
        "d": (1, 0.20),
        "e": (-1, -0.20),
        "f": (0.37, -0.53),
        "g": (1.37, -0.53),
        "h": (0.73, 1),
    }
    assert "compiled: f = -12, df/dx = -4, df/dy = -4, df/dz = 3" in printed
    assert "compiled: h = 0.73" in printed
    assert "dh/dw = (-0.20, -0.39, 0.20)" in printed and "dh/dx = (0.39, -0.59)" in printed
    (q,) = [row for row in rows(printed) if row[:1] == ["q"]]
    assert q[1:3] == ["3.00", "-4.00"] and ("x + y" in " ".join(q) or "circuits.py" in " ".join(q))


def test_logistic_regression(capsys, tmp_path):
    result = logistic_regression.main(folder=tmp_path)
    printed = capsys.readouterr().out
    one = result["one"]
    assert one["z"] == pytest.approx(0.5 * 2 - 1.5 + 0.25)
    assert one["a"] == pytest.approx(1 / (1 + np.exp(0.25)))
    assert one["loss"] == pytest.approx(np.log(1 + np.exp(0.25)))
    assert one["dz"] == pytest.approx(one["a"] - 1, abs=1e-12)
    assert "z = -0.2500, a = 0.4378, loss = 0.8259, dz = a - y = -0.5622" in printed
    assert "dw = (-1.1244, -0.8433), db = -0.5622" in printed
    assert one["difference"] < 1e-12 and result["difference"] < 1e-12
    assert result["losses"][0] == pytest.approx(np.log(2)) and result["losses"][-1] < 0.06
    assert len(result["losses"]) == 300
    assert result["accuracy"] >= 0.97
    assert f"right on {result['accuracy']:.1%} of the 114 patients held out" in printed
    assert result["picture"].read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_digits(capsys, tmp_path):
    result = digits.main(rounds=1, folder=tmp_path)
    captured = capsys.readouterr()
    assert result["difference"] < 1e-3
    assert len(result["epoch_loss"]) == len(result["accuracy"]) == digits.EPOCHS
    assert result["epoch_loss"][-1] < 0.01 < result["epoch_loss"][0]
    assert result["accuracy"][-1] >= 0.97
    shown = re.findall(r"epoch +(\d+) +loss (\d\.\d{4}) +held-out +([\d.]+)%", captured.out)
    assert [int(epoch) for epoch, _, _ in shown] == list(range(1, digits.EPOCHS + 1))
    assert float(shown[-1][2]) == pytest.approx(100 * result["accuracy"][-1], abs=0.01)
    assert "%" in captured.err  # the progress bar
    assert result["seconds_by_gradc"] > 0 and result["seconds_by_hand"] > 0
    names = [path.name for path in result["files"]]
    assert [name.partition("-")[2].partition(".")[0] for name in names] == list(digits.STAGES)
    for path in result["files"]:
        assert path.parent == tmp_path and path.read_text(encoding="utf-8").strip()
        assert path.name in captured.out
