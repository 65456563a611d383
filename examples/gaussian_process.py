"""A Gaussian process learns how smooth a curve is, and how noisy its data, from 40 points.

A Gaussian process says of function values only how they vary together: by a kernel, here the squared
exponential, whose three parameters (length scale, amplitude, noise) are found by maximizing the likelihood of
the data. Its gradient goes through a Cholesky factorization and a linear system; a formula for it exists, and
is compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import gradc


def truth(x: Any) -> Any:
    return np.sin(2 * x) + 0.5 * x


NOISE = 0.2


def data(n: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, n)
    return x, truth(x) + NOISE * rng.normal(size=n)


def kernel(p, a, b):
    """How values at a (n,) and at b (m,) vary together: amplitude^2 exp(-distance^2 / (2 length^2))."""
    distance = (a[:, None] - b[None, :]) / np.exp(p["log_length"])
    return np.exp(2 * p["log_amplitude"] - 0.5 * distance**2)


def covariance(p, x):
    return kernel(p, x, x) + np.exp(2 * p["log_noise"]) * np.eye(len(x))


@gradc.compile
def loss(p, x, y):
    """The negative log likelihood of the data, y ~ N(0, K), for each point.

    With K = L L^T, the quadratic form y^T K^-1 y is the squared length of L^-1 y, and log det K is twice the
    sum of the logarithms on the diagonal of L.
    """
    L = np.linalg.cholesky(covariance(p, x))
    z = np.linalg.solve(L, y)
    return (0.5 * z @ z + np.sum(np.log(np.diag(L))) + 0.5 * len(x) * np.log(2 * np.pi)) / len(x)


# The gradient by hand. With a = K^-1 y, for any parameter t of the kernel,
#
#   d(y^T K^-1 y) / dt = -a^T (dK / dt) a         since d(K^-1) = -K^-1 dK K^-1
#   d(log det K)  / dt = trace(K^-1 dK / dt)
#
# and the three derivatives of K by the logarithms of its parameters are
#
#   length       kernel * distance^2 / length^2, elementwise
#   amplitude    2 kernel
#   noise        2 noise^2 I


def gradient_by_hand(p: dict[str, Any], x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    K, inverse = kernel(p, x, x), np.linalg.inv(covariance(p, x))
    a = inverse @ y
    squares = ((x[:, None] - x) / np.exp(p["log_length"])) ** 2
    slopes = {
        "log_length": K * squares,
        "log_amplitude": 2 * K,
        "log_noise": 2 * np.exp(2 * p["log_noise"]) * np.eye(len(x)),
    }
    return {name: 0.5 * (np.trace(inverse @ dK) - a @ dK @ a) / len(x) for name, dK in slopes.items()}


# The same once more in another manner: the matrix filled element by element, in place, and mirrored; noise
# added to its diagonal by index. gradc unrolls the loops when it traces, so this is for few points.


@gradc.compile
def loss_in_place(p, x, y):
    n = len(x)
    K = np.empty((n, n))
    for i in range(n):
        for j in range(i + 1):
            K[i, j] = np.exp(2 * p["log_amplitude"] - 0.5 * ((x[i] - x[j]) / np.exp(p["log_length"])) ** 2)
    upper = np.triu_indices(n, 1)
    K[upper] = K.T[upper]
    K[np.diag_indices(n)] += np.exp(2 * p["log_noise"])
    L = np.linalg.cholesky(K)
    z = np.zeros(n)
    for i in range(n):  # L z = y, from the first unknown to the last
        z[i] = (y[i] - L[i, :i] @ z[:i]) / L[i, i]
    return (0.5 * z @ z + np.sum(np.log(L.diagonal())) + 0.5 * n * np.log(2 * np.pi)) / n


@gradc.compile
def predict(p, x, y, new):
    """`mean, deviation` of the curve at new points: what the data at x leave possible there."""
    L = np.linalg.cholesky(covariance(p, x))
    A = np.linalg.solve(L, kernel(p, x, new))
    mean = A.T @ np.linalg.solve(L, y)
    variance = np.exp(2 * p["log_amplitude"]) - np.sum(A**2, axis=0)
    return mean, np.sqrt(np.maximum(variance, 0))


START = {"log_length": np.float64(1.0), "log_amplitude": np.float64(0.0), "log_noise": np.float64(0.0)}


def compare_gradients() -> dict[str, float]:
    x, y = data(8)
    value, grads = loss.value_and_grad(START, x, y)
    in_place, grads_in_place = loss_in_place.value_and_grad(START, x, y)
    by_hand = gradient_by_hand(START, x, y)
    print("8 points: the derivatives of the loss by the logarithms of the parameters")
    for name, slope in grads.items():
        others = f"by hand {by_hand[name]:9.6f}   in place {grads_in_place[name]:9.6f}"
        print(f"  {name:14}{slope:9.6f}   {others}")
    return {
        "by_hand": max(abs(float(grads[name] - by_hand[name])) for name in grads),
        "in_place": max(abs(float(grads[name] - grads_in_place[name])) for name in grads),
        "values": abs(float(value - in_place)),
    }


def text(p: dict[str, Any]) -> str:
    return ", ".join(f"{name.removeprefix('log_')} {np.exp(value):.3f}" for name, value in p.items())


def draw(p: dict[str, Any], x: np.ndarray, y: np.ndarray, path: Path) -> Path | None:
    """The curve with its uncertainty, before and after; `None` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    new = np.linspace(-5, 5, 201)
    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, params, title in zip(axes, (START, p), ("at the start", "most likely"), strict=True):
        mean, deviation = predict(params, x, y, new)
        ax.fill_between(new, mean - 2 * deviation, mean + 2 * deviation, alpha=0.3)
        ax.plot(new, mean)
        ax.plot(new, truth(new), "k:")
        ax.plot(x, y, "k.")
        ax.set(title=f"{title}: {text(params)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def main(steps: int = 300, folder: str | Path = "dumps/gaussian_process") -> dict[str, Any]:
    differences = compare_gradients()

    x, y = data()
    print(f"\n{len(x)} points of a curve, with noise of {NOISE}: the likelihood is maximized by Adam")
    run = gradc.fit(
        loss, START, (x, y), optimizer=gradc.optim.adam(0.05), epochs=steps, shuffle=False, progress=False
    )
    losses = run.history["loss"]
    for step in sorted({*range(0, steps, max(1, steps // 6)), steps - 1}):
        print(f"  step {step:3}   negative log likelihood of a point {losses[step]:8.5f}")
    slope = max(abs(float(g)) for g in loss.grad(run.params, x, y).values())
    print(f"  found: {text(run.params)}; the largest derivative left is {slope:.0e}")

    # How far the curve is from the truth, in deviations, tells whether the process knows what it knows.
    new = np.linspace(-3, 3, 121)
    mean, deviation = predict(run.params, x, y, new)
    error = float(np.sqrt(np.mean((mean - truth(new)) ** 2)))
    inside = float(np.mean(np.abs(mean - truth(new)) < 2 * deviation))
    print(
        f"  the curve misses the truth by {error:.3f} on average; {inside:.0%} of it is within 2 deviations"
    )
    _, far = predict(run.params, x, y, np.array([-20.0, 20.0]))
    print(f"  far from the data the deviation is the amplitude again: {far[0]:.3f}")
    picture = draw(run.params, x, y, Path(folder) / "process.png")
    if picture:
        print(f"  the process before and after is drawn in {picture}")
    return {
        "differences": differences,
        "losses": [float(each) for each in losses],
        "params": run.params,
        "slope": slope,
        "error": error,
        "inside": inside,
        "far": far,
        "picture": picture,
    }


if __name__ == "__main__":
    main()
