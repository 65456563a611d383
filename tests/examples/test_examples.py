"""The examples run, and the numbers they print are the right ones."""

from __future__ import annotations

import re

import numpy as np
import pytest

from examples import (
    chain_rule,
    circuits,
    digits,
    downhill,
    finite_differences,
    gaussian_process,
    logistic_regression,
    micrograd_moons,
)


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


def test_chain_rule(capsys, tmp_path):
    result = chain_rule.main(folder=tmp_path)
    printed = capsys.readouterr().out
    along = result["chain"]
    assert [j.shape for j in along["jacobians"]] == [(6, 8), (6, 6), (15, 6), (15, 15), (1, 15)]
    assert along["difference"] < 1e-14 and result["batch"]["difference"] < 1e-12
    assert along["backward"] == 15 * 15 + 15 * 6 + 6 * 6 + 6 * 8
    assert along["forward"] == 8 * (6 * 6 + 15 * 6 + 15 * 15 + 15)
    assert f"from the loss backward: {along['backward']}; from X0 forward: {along['forward']}" in printed
    assert result["paths"]["paths"] == 13 and result["paths"]["edges"] == 6 + 5
    assert result["paths"]["by_paths"] < 1e-13 and result["paths"]["by_edges"] < 1e-13
    assert "13 paths from X0 to X6 over 11 edges" in printed
    assert result["batch"]["shape"] == (50, 4, 3) and np.all(result["batch"]["norms"] > 0)
    assert result["picture"].read_bytes().startswith(b"\x89PNG")


def test_finite_differences(capsys, tmp_path):
    result = finite_differences.main(folder=tmp_path)
    printed = capsys.readouterr().out
    steps, error = result["steps"], result["forward"]
    large = steps >= 1e-6
    assert np.allclose(error[large], steps[large], rtol=1e-2)  # truncation, e for x^2
    rounding = 2 * finite_differences.EPS * 4 / steps
    assert np.all(error <= steps + rounding) and np.all(error[-4:] > 1e-4)
    assert error[-1] == 4  # 2 + e is 2
    assert 1e-9 <= result["best"] <= 1e-7
    assert 1e-7 <= result["best_central"] <= 1e-4
    assert result["central"].min() < 1e-9 < 1e-8 < result["one_sided"].min() < 1e-6
    assert f"best at e = {result['best']:.0e}; sqrt(2 eps f / f'') is 3.0e-08" in printed
    assert "the gradient of the network is right" in printed
    assert "the pullback of hasty_softplus is at fault: for its input 0, f64[20, 5]" in result["report"]
    assert (
        'h = activation(X @ params["W1"] + params["b1"])' in result["report"] and result["report"] in printed
    )
    assert result["picture"].read_bytes().startswith(b"\x89PNG")


def test_downhill(capsys, tmp_path):
    result = downhill.main(folder=tmp_path)
    printed = capsys.readouterr().out
    rolled = result["rolled"]
    ends = {name: path[-1] for name, (path, _) in rolled.items()}
    heights = {name: heights for name, (_, heights) in rolled.items()}
    for name in ("sgd", "sgd, cosine"):  # in the hollow
        assert ends[name] == pytest.approx([-1.2276, -0.9590], abs=1e-2)
        assert heights[name][-1] == pytest.approx(0.7096, abs=1e-3)
    for name in ("momentum", "adam"):  # at the bottom
        assert ends[name] == pytest.approx([3, np.sin(3)], abs=0.03)
    assert np.argmax(heights["momentum"] < 0.01) < np.argmax(heights["adam"] < 0.01)
    thrown = heights["sgd, too fast"]
    assert np.sum(np.diff(thrown) > 0) > 100 and np.all(np.diff(heights["sgd"]) < 1e-12)
    for slope, curvatures in result["bottoms"].values():
        assert slope < 1e-3 and np.all(curvatures > 0)
    assert "momentum         3.869" in printed and "( 3.00,  0.14)" in printed
    assert result["picture"].read_bytes().startswith(b"\x89PNG")


def test_micrograd_moons(capsys, tmp_path):
    result = micrograd_moons.main(folder=tmp_path)
    printed = capsys.readouterr().out
    assert len(result["losses"]) == micrograd_moons.STEPS
    assert result["losses"][-1] < 0.01 < 1 < result["losses"][0]
    assert result["accuracy"] == 1 and result["accuracy_new"] > 0.98
    assert 0 < result["supports"] < 50
    assert "a network 2-16-16-1 of 337 parameters" in printed.lower()
    assert "right on 100% of the points" in printed and result["text"] in printed
    assert result["text"].count("o") > 30 and result["text"].count("x") > 30
    # Dots, where the network says o, are on the side of the upper moon.
    lines = result["text"].splitlines()
    assert "." in lines[0] and lines[-1].rstrip().endswith(".") and len(set(map(len, lines))) == 1
    assert result["picture"].read_bytes().startswith(b"\x89PNG")


def test_gaussian_process(capsys, tmp_path):
    result = gaussian_process.main(folder=tmp_path)
    printed = capsys.readouterr().out
    assert all(difference < 1e-12 for difference in result["differences"].values())
    x, y = gaussian_process.data()
    K = gaussian_process.covariance(result["params"], x)
    likelihood = 0.5 * (y @ np.linalg.inv(K) @ y + np.linalg.slogdet(2 * np.pi * K)[1]) / len(x)
    assert result["losses"][-1] == pytest.approx(likelihood) and result["slope"] < 1e-4
    assert result["losses"][0] == pytest.approx(1.25718, abs=1e-5)
    assert result["losses"][-1] == pytest.approx(0.41877, abs=1e-5)
    found = {name: float(np.exp(value)) for name, value in result["params"].items()}
    assert found == pytest.approx({"log_length": 1.016, "log_amplitude": 1.593, "log_noise": 0.235}, abs=2e-3)
    assert result["error"] < gaussian_process.NOISE / 2 and result["inside"] > 0.9
    assert result["far"] == pytest.approx([found["log_amplitude"]] * 2)
    assert "found: length 1.016, amplitude 1.593, noise 0.235" in printed
    assert "log_length     0.064442   by hand  0.064442   in place  0.064442" in printed
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
