"""A ball on a mountain: gradient descent, momentum, Adam and a schedule, and the ways they take downhill.

The height is a function of two coordinates, and its gradient points straight uphill. All optimizers step
against it; they differ in what they remember of earlier steps. Here that decides where the ball ends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import gradc

START = np.array([-4.2, 2.2])
STEPS = 300


@gradc.compile
def height(position):
    """The height at (x, y): a bent valley that falls towards x = 3, with a hollow on the way."""
    x, y = position
    valley = 2 * (y - np.sin(x)) ** 2 / (1 + 0.1 * x**2)
    fall = 0.05 * (x - 3) ** 2
    hollow = -0.25 * np.exp(-4 * ((x + 1.5) ** 2 + (y + 1) ** 2))
    return valley + fall + hollow


def roll(optimizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """`path, heights`: where the ball is before each step and after the last, and how high it is there."""
    position, state = START, optimizer.init(START)
    path, heights = [position], []
    for _ in range(STEPS):
        value, uphill = height.value_and_grad(position)
        position, state = optimizer.update(uphill, state, position)
        path.append(position)
        heights.append(value)
    return np.array(path), np.array([*heights, height(position)])


# Gradient descent steps by rate * gradient, and nothing else: it comes down the slope, creeps along the
# bottom of the valley and stays in the first hollow, where the gradient is 0.
#
# With twelve times the rate it is thrown from one side of the valley to the other: across the valley the
# gradient changes faster than the step allows for (steps of rate r along a curvature c shrink if r c < 2). A
# schedule that lets the rate fall to 0 has both: large steps first, and rest at the end. In the same hollow.
#
# Momentum steps by a decaying sum of all gradients so far: 10 times one gradient if they agree, nearly
# nothing if they alternate. So the ball gathers speed along the valley, and rolls through the hollow.
#
# Adam divides the average gradient by the size of recent ones, each coordinate for itself: steps of about its
# rate, steep or flat. It does not creep, and its average carries it out of the hollow too.

OPTIMIZERS = {
    "sgd": gradc.optim.sgd(0.05),
    "sgd, too fast": gradc.optim.sgd(0.6),
    "sgd, cosine": gradc.optim.sgd(gradc.optim.cosine(0.6, STEPS)),
    "momentum": gradc.optim.sgd(0.05, momentum=0.9),
    "adam": gradc.optim.adam(0.1),
}


def draw(paths: dict[str, np.ndarray], path: Path) -> Path | None:
    """The paths over the contour lines of the mountain; `None` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    x, y = np.meshgrid(np.linspace(-5, 5, 201), np.linspace(-3.2, 3.2, 129))
    levels = gradc.vmap(gradc.vmap(height))(np.stack([x, y], axis=-1))
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    for ax, (name, points) in zip(axes, paths.items(), strict=False):
        ax.contour(x, y, np.sqrt(levels - levels.min()), 24, cmap="terrain", linewidths=0.8)
        ax.plot(*points.T, "k.-", linewidth=0.8, markersize=3)
        ax.plot(*points[-1], "ro")
        ax.set(title=name, xlim=(-5, 5), ylim=(-3.2, 3.2))
    for name, points in paths.items():
        axes[-1].plot([height(p) for p in points], label=name)
    axes[-1].set(title="height", xlabel="step")
    axes[-1].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def main(folder: str | Path = "dumps/downhill") -> dict[str, Any]:
    shown = (0, 5, 20, 50, 100, 200, STEPS)
    print(
        f"A ball starts at ({START[0]:g}, {START[1]:g}). How high it is after some steps, and where it ends:"
    )
    print(f"  {'':14}" + "".join(f"{step:8}" for step in shown))
    rolled = {name: roll(optimizer) for name, optimizer in OPTIMIZERS.items()}
    for name, (points, heights) in rolled.items():
        x, y = points[-1]
        print(
            f"  {name:14}" + "".join(f"{heights[step]:8.3f}" for step in shown) + f"   ({x:5.2f}, {y:5.2f})"
        )

    # At rest, the gradient is 0. Whether a place is a bottom, a top or a pass, the curvatures tell: the
    # eigenvalues of the matrix of second derivatives. All positive: a bottom.
    bottoms = {}
    for name in ("sgd", "momentum"):
        point = rolled[name][0][-1]
        slope = float(np.linalg.norm(gradc.grad(height)(point)))
        curvatures = np.linalg.eigvalsh(gradc.hessian(height)(point))
        bottoms[name] = slope, curvatures
        print(f"  {name} ends at slope {slope:.0e}, curvatures {curvatures[0]:.2f} and {curvatures[1]:.2f}")
    picture = draw({name: points for name, (points, _) in rolled.items()}, Path(folder) / "paths.png")
    if picture:
        print(f"  the ways down are drawn in {picture}")
    return {"rolled": rolled, "bottoms": bottoms, "picture": picture}


if __name__ == "__main__":
    main()
