"""Two moons: a small network learns to tell two interlocking half circles apart, all of them.

The network 2-16-16-1 is trained on 100 points by full-batch gradient descent with the hinge loss of support
vector machines and an L2 penalty, in the manner of Andrej Karpathy's micrograd, whose demonstration this is.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import gradc

SIZES = (2, 16, 16, 1)
STEPS = 200


def two_moons(n: int = 100, noise: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`X, y`: (n, 2) points on two half circles, each reaching into the other, and their labels 1 and -1."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi, n)
    y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    return np.where(y[:, None] > 0, upper, lower) + noise * rng.normal(size=(n, 2)), y


def initial_params(seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(n, m)) * np.sqrt(2 / n), np.zeros(m)) for n, m in pairwise(SIZES)]


def scores(params, X):
    """(n, 2) points -> (n,) scores: positive for the upper moon, negative for the lower one."""
    *hidden, (W, b) = params
    for W_hidden, b_hidden in hidden:
        X = np.maximum(X @ W_hidden + b_hidden, 0)
    return (X @ W + b)[:, 0]


def loss(params, X, y, alpha=1e-4):
    """The mean hinge loss and alpha times the squares of the parameters; the accuracy as aux.

    The hinge is 0 where a point is on its side with a margin of 1 or more: such points no longer pull. The
    others pull with constant force, however wrong they are.
    """
    score = scores(params, X)
    hinge = np.mean(np.maximum(0, 1 - y * score))
    penalty = alpha * sum(np.sum(p * p) for layer in params for p in layer)
    return hinge + penalty, {"accuracy": np.mean((score > 0) == (y > 0))}


def ascii_picture(params: Any, X: np.ndarray, y: np.ndarray, columns: int = 64, rows: int = 22) -> str:
    """The plane as text: o and x are the points of the moons, dots where the network says o."""
    low, high = X.min(axis=0) - 0.3, X.max(axis=0) + 0.3
    across, down = np.linspace(low[0], high[0], columns), np.linspace(high[1], low[1], rows)
    plane = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    says_upper = gradc.compile(scores)(params, plane).reshape(rows, columns) > 0
    text = [["." if upper else " " for upper in line] for line in says_upper]
    for (a, b), label in zip((X - low) / (high - low), y, strict=True):
        text[round((1 - b) * (rows - 1))][round(a * (columns - 1))] = "o" if label > 0 else "x"
    return "\n".join("  " + "".join(line) for line in text)


def draw(params: Any, X: np.ndarray, y: np.ndarray, losses: Any, path: Path) -> Path | None:
    """The decision boundary and the loss curve; `None` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    low, high = X.min(axis=0) - 0.5, X.max(axis=0) + 0.5
    a, b = np.meshgrid(np.linspace(low[0], high[0], 300), np.linspace(low[1], high[1], 200))
    plane = np.stack([a, b], axis=-1).reshape(-1, 2)
    score = gradc.compile(scores)(params, plane).reshape(a.shape)
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    left.contourf(a, b, score, levels=[-np.inf, -1, 0, 1, np.inf], colors=["#d98", "#ecb", "#bce", "#89d"])
    left.contour(a, b, score, levels=[0], colors="k")
    left.scatter(*X.T, c=y, cmap="coolwarm_r", edgecolors="k")
    left.set(title="the boundary, and the margin on both sides")
    right.plot(losses)
    right.set(title="loss", xlabel="step", yscale="log")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def main(steps: int = STEPS, folder: str | Path = "dumps/micrograd_moons") -> dict[str, Any]:
    X, y = two_moons()
    params = initial_params()
    count = sum(p.size for layer in params for p in layer)
    print(f"A network {'-'.join(map(str, SIZES))} of {count} parameters learns {len(X)} points of two moons.")

    run = gradc.fit(
        gradc.compile(loss, has_aux=True),
        params,
        (X, y),
        optimizer=gradc.optim.sgd(gradc.optim.cosine(1.0, steps)),
        epochs=steps,
        progress=False,
    )
    losses, accuracy = run.history["loss"], run.history["accuracy"]
    shown = sorted({*range(0, steps, max(1, steps // 8)), steps - 1})
    for step in shown:
        print(f"  step {step:3}   loss {losses[step]:.4f}   accuracy {accuracy[step]:4.0%}")

    score = scores(run.params, X)
    right = float(np.mean((score > 0) == (y > 0)))
    X_new, y_new = two_moons(1000, seed=1)
    right_new = float(np.mean((scores(run.params, X_new) > 0) == (y_new > 0)))
    supports = int(np.sum(y * score < 1.01))
    print(f"right on {right:.0%} of the points, and on {right_new:.1%} of 1000 new ones")
    print(f"{supports} points at the margin hold the boundary in place; the others have no say\n")
    picture_text = ascii_picture(run.params, X, y)
    print(picture_text)
    picture = draw(run.params, X, y, losses, Path(folder) / "moons.png")
    if picture:
        print(f"\nThe boundary and the loss curve are drawn in {picture}")
    return {
        "losses": [float(each) for each in losses],
        "accuracy": right,
        "accuracy_new": right_new,
        "supports": supports,
        "text": picture_text,
        "picture": picture,
    }


if __name__ == "__main__":
    main()
