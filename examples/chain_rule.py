"""The chain rule: a gradient is a product of Jacobians, a sum over paths, and a sum over examples.

A chain of arrows carries a tensor X0 through X1, X2, ... to Xm, and the mean squared error of Xm is the loss.
Each arrow has a Jacobian, the matrix of all its derivatives. Multiplied along the chain they are the gradient
that `gradc.grad` compiles; where arrows skip layers, the products along all paths are added.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import gradc

rng = np.random.default_rng(0)
A, B, C = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(5, 2))
TARGET = rng.normal(size=(5, 3))


# The arrows. Each is a function of one tensor; the shapes differ on purpose.


def affine(x):
    """(2, 4) -> (2, 3)"""
    return x @ A + B


def squash(x):
    """(2, 3) -> (2, 3)"""
    return np.tanh(x)


def mix_rows(x):
    """(2, 3) -> (5, 3)"""
    return C @ x


def softmax(x):
    """(5, 3) -> (5, 3), each row for itself"""
    e = np.exp(x)
    return e / np.sum(e, axis=1, keepdims=True)


def error(x):
    """(5, 3) -> a number"""
    return np.mean((x - TARGET) ** 2)


ARROWS = [affine, squash, mix_rows, softmax, error]


def chain(x):
    for arrow in ARROWS:
        x = arrow(x)
    return x


def matrix(arrow: Any, x: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """The Jacobian as a matrix: a row for each number in the result, a column for each number in x."""
    derivatives = gradc.jacobian(arrow)(x, *others)
    return derivatives.reshape(-1, x.size)


def multiply_along_the_chain() -> dict[str, Any]:
    x0 = np.random.default_rng(1).normal(size=(2, 4))
    x, jacobians = x0, []
    print("A chain: the Jacobian of each arrow, where the tensor passes it")
    for i, arrow in enumerate(ARROWS):
        jacobians.append(matrix(arrow, x))
        y = arrow(x)
        shape = " x ".join(map(str, jacobians[-1].shape))
        print(f"  X{i} {np.shape(x)!s:7} -> {arrow.__name__:8} -> {np.shape(y)!s:7} Jacobian {shape}")
        x = y

    # The last arrow comes first, as in f(g(x))' = f'(g(x)) g'(x). From left to right every product is a row
    # times a matrix: that is backpropagation. From right to left they are products of matrices, which cost
    # more: that is why the gradient of one number is computed backward.
    product = reduce(np.matmul, reversed(jacobians)).reshape(x0.shape)
    gradient = gradc.grad(chain)(x0)
    difference = float(np.max(np.abs(product - gradient)))
    print(f"  the loss is {x:.4f}")
    print(f"  the product of {len(jacobians)} Jacobians and the compiled gradient differ by {difference:.0e}")

    rows, columns = zip(*(j.shape for j in jacobians), strict=True)
    backward = sum(r * c for r, c in zip(rows[:-1], columns[:-1], strict=True))
    forward = sum(r * c for r, c in zip(rows[1:], columns[1:], strict=True)) * x0.size
    print(f"  multiplications from the loss backward: {backward}; from X0 forward: {forward}\n")
    return {"jacobians": jacobians, "difference": difference, "backward": backward, "forward": forward}


# Arrows that skip a layer: Xi = tanh(Xi-1 Wi) + Xi-2 * si. A step is one edge of a graph, a skip is another,
# and from X0 to Xm lead as many paths as there are ways to write m as a sum of ones and twos.

DEPTH = 6
STEPS = [rng.normal(size=(3, 3)) for _ in range(DEPTH)]
SKIPS = [rng.normal(size=(2, 3)) for _ in range(DEPTH)]
GOAL = rng.normal(size=(2, 3))


def step(x, W):
    return np.tanh(x @ W)


def skip(x, s):
    return x * s


def network(x):
    """X0, X1, ... Xm, and the mean squared error of Xm."""
    layers = [x]
    for i in range(DEPTH):
        x = step(layers[-1], STEPS[i])
        if i > 0:
            x = x + skip(layers[-2], SKIPS[i])
        layers.append(x)
    return np.mean((x - GOAL) ** 2), layers


def paths(start: int, end: int) -> list[list[int]]:
    """All ways from layer `start` to layer `end`, by steps of 1 and skips of 2."""
    if start == end:
        return [[end]]
    return [[start, *rest] for jump in (1, 2) if start + jump <= end for rest in paths(start + jump, end)]


def add_over_paths() -> dict[str, Any]:
    x0 = np.random.default_rng(2).normal(size=(2, 3))
    _, layers = network(x0)

    def edge(i: int, j: int) -> np.ndarray:
        """The Jacobian of the arrow from layer i to layer j."""
        arrow, weight = (step, STEPS) if j - i == 1 else (skip, SKIPS)
        return matrix(arrow, layers[i], weight[j - 1])

    edges = {(i, i + jump): edge(i, i + jump) for jump in (1, 2) for i in range(DEPTH + 1 - jump)}
    last = 2 * (layers[-1] - GOAL).reshape(1, -1) / GOAL.size  # the Jacobian of the mean squared error
    ways = paths(0, DEPTH)
    total = sum(reduce(np.matmul, [last, *(edges[e] for e in reversed(list(pairwise(way))))]) for way in ways)

    # Backpropagation gets the same sum and visits every edge once: what arrives at a layer from all arrows
    # that leave it is added up before it travels on.
    arrived = {DEPTH: last}
    for i in reversed(range(DEPTH)):
        arrived[i] = sum(arrived[j] @ edges[i, j] for j in (i + 1, i + 2) if j <= DEPTH)

    gradient, _ = gradc.grad(network, has_aux=True)(x0)
    by_paths = float(np.max(np.abs(total.reshape(x0.shape) - gradient)))
    by_edges = float(np.max(np.abs(arrived[0].reshape(x0.shape) - gradient)))
    print(f"Arrows that skip: {len(ways)} paths from X0 to X{DEPTH} over {len(edges)} edges")
    print(f"  the products of Jacobians, added over the paths, differ from the gradient by {by_paths:.0e}")
    print(f"  added edge by edge, from the loss back, they differ by {by_edges:.0e}\n")
    return {"paths": len(ways), "edges": len(edges), "by_paths": by_paths, "by_edges": by_edges}


# A batch: the loss of many examples is the sum of their losses, and differentiation is linear.


def example_loss(w, x, y):
    """The squared error of one example: x has 3 features."""
    return (np.tanh(np.dot(w["hidden"], x)) @ w["out"] - y) ** 2


def batch_loss(w, X, y):
    """The same for all rows of X, in matrix form."""
    return np.sum((np.tanh(X @ w["hidden"].T) @ w["out"] - y) ** 2)


def add_over_examples(count: int = 50) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    w = {"hidden": rng.normal(size=(4, 3)), "out": rng.normal(size=4)}
    X, y = rng.normal(size=(count, 3)), rng.normal(size=count)
    each = gradc.vmap(gradc.grad(example_loss), in_axes=(None, 0, 0))(w, X, y)
    whole = gradc.grad(batch_loss)(w, X, y)
    difference = max(float(np.max(np.abs(each[k].sum(axis=0) - whole[k]))) for k in w)
    norms = np.sqrt(sum(np.sum(g.reshape(count, -1) ** 2, axis=1) for g in each.values()))
    print(f"A batch of {count}: vmap(grad(f)) gives each example's gradient, shape {each['hidden'].shape}")
    print(f"  their sum differs from the gradient of the batch by {difference:.0e}")
    print(f"  the smallest of them has length {norms.min():.3f}, the largest {norms.max():.1f}")
    return {"shape": each["hidden"].shape, "difference": difference, "norms": norms}


def draw(jacobians: list[np.ndarray], path: Path) -> Path | None:
    """The Jacobians side by side, as they are multiplied; `None` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    factors = [*reversed(jacobians), reduce(np.matmul, reversed(jacobians))]
    names = [*(arrow.__name__ for arrow in reversed(ARROWS)), "= the gradient"]
    axes = figure.subplots(1, len(factors), width_ratios=[max(f.shape[1], 5) for f in factors])
    for ax, factor, name in zip(axes, factors, names, strict=True):
        limit = np.max(np.abs(factor))
        ax.imshow(factor, cmap="RdBu", vmin=-limit, vmax=limit)
        ax.set(title=name, xlabel=f"{factor.shape[0]} x {factor.shape[1]}", xticks=[], yticks=[])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def main(folder: str | Path = "dumps/chain_rule") -> dict[str, Any]:
    along = multiply_along_the_chain()
    over_paths = add_over_paths()
    over_examples = add_over_examples()
    picture = draw(along["jacobians"], Path(folder) / "jacobians.png")
    if picture:
        print(f"\nThe Jacobians, as they are multiplied, are in {picture}")
    return {"chain": along, "paths": over_paths, "batch": over_examples, "picture": picture}


if __name__ == "__main__":
    main()
