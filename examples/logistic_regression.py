"""Logistic regression: the gradient derived by hand, compared with the compiled one, and put to use.

First for one sample with two features, then for m samples at once, then trained with `gradc.fit` on
scikit-learn's breast-cancer data, where it must be right on at least 97 % of patients it has not seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import gradc


@gradc.compile
def one_sample(params, x, y):
    """The binary cross-entropy of one sample: features `x`, label `y` (0 or 1)."""
    z = np.dot(params["w"], x) + params["b"]
    a = 1 / (1 + np.exp(-z))
    loss = -(y * np.log(a) + (1 - y) * np.log(1 - a))
    return loss


@gradc.compile
def loss(params, X, y):
    """The mean of the above over the m rows of `X`."""
    z = X @ params["w"] + params["b"]
    a = 1 / (1 + np.exp(-z))
    return -np.mean(y * np.log(a) + (1 - y) * np.log(1 - a))


# The gradient by hand, for one sample. From the loss back to the parameters, with dv short for dloss/dv:
#
#   da = -y / a + (1 - y) / (1 - a)
#   dz = da * a (1 - a)                  since sigmoid' = a (1 - a)
#      = -y (1 - a) + (1 - y) a
#      = a - y
#   dw = x dz                            since dz/dw = x
#   db = dz                              since dz/db = 1
#
# For m samples the loss is the mean, so each sample's share is divided by m, and the shares add up:
#
#   dz = (a - y) / m,   dw = X^T dz,   db = sum(dz)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def one_sample_by_hand(params, x, y):
    a = sigmoid(np.dot(params["w"], x) + params["b"])
    dz = a - y
    return {"w": x * dz, "b": dz}


def gradient_by_hand(params, X, y):
    a = sigmoid(X @ params["w"] + params["b"])
    dz = (a - y) / len(y)
    return {"w": X.T @ dz, "b": np.sum(dz)}


def difference(grads: dict[str, Any], by_hand: dict[str, Any]) -> float:
    return max(float(np.max(np.abs(grads[name] - by_hand[name]))) for name in by_hand)


def compare_one_sample() -> dict[str, float]:
    params = {"w": np.array([0.5, -1.0]), "b": np.float64(0.25)}
    x, y = np.array([2.0, 1.5]), 1.0
    value, grads = one_sample.value_and_grad(params, x, y)
    by_hand = one_sample_by_hand(params, x, y)
    edges = {row.name: row for row in one_sample.edges(params, x, y)}
    z, a, dz = (float(each) for each in (edges["z"].value, edges["a"].value, edges["z"].gradient))
    print("One sample, x = (2, 1.5), y = 1, with w = (0.5, -1), b = 0.25")
    print(f"  z = {z:.4f}, a = {a:.4f}, loss = {value:.4f}, dz = a - y = {dz:.4f}")
    print(f"  dw = ({grads['w'][0]:.4f}, {grads['w'][1]:.4f}), db = {grads['b']:.4f}")
    worst = max(difference(grads, by_hand), abs(dz - (a - y)))
    assert worst < 1e-12, "the compiled gradient is not the one derived by hand"
    return {"z": z, "a": a, "loss": float(value), "dz": dz, "difference": worst}


def compare_many_samples(m: int = 1000, n: int = 2) -> float:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(m, n)), rng.integers(0, 2, size=m).astype(np.float64)
    params = {"w": rng.normal(size=n), "b": np.float64(rng.normal())}
    worst = difference(loss.grad(params, X, y), gradient_by_hand(params, X, y))
    print(f"{m} samples: the gradients by hand and compiled differ by {worst:.0e} at most")
    assert worst < 1e-12, "the compiled gradient is not the one derived by hand"
    return worst


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`X, X_held, y, y_held`: 30 measures of a tumour, standardised on the training set; 1 means benign."""
    X, y = load_breast_cancer(return_X_y=True)
    X, X_held, y, y_held = train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)
    mean, deviation = X.mean(axis=0), X.std(axis=0)
    return (X - mean) / deviation, (X_held - mean) / deviation, y.astype(np.float64), y_held


def draw(losses: Any, path: Path) -> Path | None:
    """The loss curve, as a picture; `None` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure  # draws by Agg, without a display
    except ImportError:
        return None
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(np.arange(1, len(losses) + 1), losses)
    axes.set(
        xlabel="step", ylabel="mean cross-entropy", yscale="log", title="Logistic regression, breast cancer"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def main(epochs: int = 300, folder: str | Path = "dumps/logistic_regression") -> dict[str, Any]:
    one = compare_one_sample()
    many = compare_many_samples()

    X, X_held, y, y_held = data()
    params = {"w": np.zeros(X.shape[1]), "b": np.float64(0)}
    print(f"\nGradient descent on {len(X)} patients, all of them in every step:")
    run = gradc.fit(loss, params, (X, y), optimizer=gradc.optim.sgd(0.5), epochs=epochs)
    losses = [float(each) for each in run.history["loss"]]
    accuracy = float(np.mean((X_held @ run.params["w"] + run.params["b"] > 0) == y_held))
    print(f"  the loss falls from {losses[0]:.4f} to {losses[-1]:.4f}")
    print(f"  right on {accuracy:.1%} of the {len(y_held)} patients held out")
    picture = draw(losses, Path(folder) / "loss.png")
    if picture:
        print(f"  the loss curve is in {picture}")
    return {"one": one, "difference": many, "losses": losses, "accuracy": accuracy, "picture": picture}


if __name__ == "__main__":
    main()
