"""Finite differences: how good they are, why not better, and how they catch a wrong gradient.

The derivative of x^2 at 2 is 4. The quotient (f(2 + e) - f(2)) / e comes close as e shrinks, then gets worse
again, long before e is 0. Knowing its best, `gradc.check_grad` holds gradients against it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gradc

EPS = np.finfo(np.float64).eps  # 2.2e-16: the distance from 1 to the next float64


def square(x):
    return x**2


def forward(f: Callable, x: float, e: np.ndarray) -> np.ndarray:
    return (f(x + e) - f(x)) / e


def central(f: Callable, x: float, e: np.ndarray) -> np.ndarray:
    return (f(x + e) - f(x - e)) / (2 * e)


# What is wrong with the forward quotient, for a step e:
#
#   truncation   Taylor: f(x + e) = f(x) + f'(x) e + f''(x) e^2 / 2 + ...; divided by e, the quotient is off
#                by f''(x) e / 2. For x^2 that is e, exactly.
#   rounding     f(x + e) and f(x) are rounded, each by up to eps / 2 of itself; their difference is small,
#                the error is not, and e divides it: up to eps |f(x)| / e. (x + e is rounded too, so that
#                the step is not quite e. Here that errs by as much again at most, and is left out below.)
#
# The sum, f'' e / 2 + eps f / e, is smallest where both are equal: at e = sqrt(2 eps f / f''), about
# sqrt(eps) = 1.5e-8 times something of the size of x. Half of the 16 digits are lost there, at best.
#
# The central quotient has no e^1 in its error: by symmetry it cancels, and f'''(x) e^2 / 6 is what is left.
# Best is e = (3 eps f / f''')^(1/3), about 9e-6, and two thirds of the digits survive. (For x^2 itself f'''
# is 0 and there is nothing but rounding: the larger e, the better. So exp serves as the example.)


def errors_of_one_derivative() -> dict[str, Any]:
    e = 10.0 ** -np.arange(1, 17)
    exact = float(gradc.grad(square)(2.0))
    by_forward = np.abs(forward(square, 2.0, e) - exact)
    print(f"The derivative of x^2 at 2 is {exact:g}: the error of the quotient, and where it comes from")
    print(f"  {'e':>7}{'quotient':>22}{'error':>10}{'truncation':>12}{'rounding':>10}")
    for step, error in zip(e, by_forward, strict=True):
        quotient = forward(square, 2.0, step)
        print(f"  {step:7.0e}{quotient:22.16f}{error:10.1e}{step:12.1e}{EPS * 4 / step:10.1e}")
    best = float(e[np.argmin(by_forward)])
    print(f"  best at e = {best:.0e}; sqrt(2 eps f / f'') is {np.sqrt(2 * EPS * 4 / 2):.1e}")

    exact = float(np.exp(2.0))
    by_central = np.abs(central(np.exp, 2.0, e) - exact)
    one_sided = np.abs(forward(np.exp, 2.0, e) - exact)
    best_central = float(e[np.argmin(by_central)])
    print(f"  exp at 2, forward: {one_sided.min():.0e} at best, at e = {e[np.argmin(one_sided)]:.0e}")
    print(f"  exp at 2, central: {by_central.min():.0e} at best, at e = {best_central:.0e}\n")
    return {
        "steps": e,
        "forward": by_forward,
        "best": best,
        "central": by_central,
        "one_sided": one_sided,
        "best_central": best_central,
    }


def draw(path: Path) -> Path | None:
    """Error against e, on logarithmic axes; `None` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    e = np.logspace(-16, 0, 400)
    figure = Figure(figsize=(10, 4), layout="constrained")
    cases = [
        ("$x^2$ at 2, forward", square, forward, 4.0, e, 4 * EPS / e),
        ("exp at 2, central", np.exp, central, np.exp(2), np.exp(2) * e**2 / 6, np.exp(2) * EPS / e),
    ]
    for ax, (title, f, quotient, exact, truncation, rounding) in zip(
        figure.subplots(1, 2), cases, strict=True
    ):
        error = np.abs(quotient(f, 2.0, e) - exact)
        ax.loglog(e, np.maximum(error, 1e-17), ".", markersize=3, label="error")
        ax.loglog(e, truncation, label="truncation")
        ax.loglog(e, rounding, label="rounding, at most")
        ax.set(title=title, xlabel="e", ylim=(1e-17, 1e2))
        ax.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


# A network, and the same with a softplus of our own. `custom_gradient` lets a function bring its gradient
# along; the one of `hasty_softplus` forgets a sign and takes the sigmoid of -x for that of x.


@gradc.custom_gradient
def hasty_softplus(x):
    def pullback(g):
        return (g / (1 + np.exp(x)),)  # the right one is g / (1 + exp(-x))

    return np.log1p(np.exp(x)), pullback


def softplus(x):
    return np.log1p(np.exp(x))


def network(activation: Callable) -> Callable:
    def loss(params, X, y):
        h = activation(X @ params["W1"] + params["b1"])
        return np.mean((h @ params["W2"] + params["b2"] - y) ** 2)

    return loss


def check_a_network() -> str:
    rng = np.random.default_rng(0)
    params = {"W1": rng.normal(size=(3, 5)), "b1": np.zeros(5), "W2": rng.normal(size=5), "b2": np.float64(0)}
    X, y = rng.normal(size=(20, 3)), rng.normal(size=20)

    # check_grad moves all parameters and data at once along a few random directions, and compares slopes: two
    # runs of the function for a direction, where every single derivative would take two for each number. A
    # wrong gradient is wrong along almost every direction.
    gradc.check_grad(network(softplus), params, X, y)
    print("check_grad: the gradient of the network is right.")
    try:
        gradc.check_grad(network(hasty_softplus), params, X, y)
    except gradc.GradientError as error:
        report = str(error)
    else:
        raise AssertionError("the wrong rule was not found")
    print(f"check_grad, of the network with a wrong rule:\n{report}")
    return report


def main(folder: str | Path = "dumps/finite_differences") -> dict[str, Any]:
    result = errors_of_one_derivative()
    result["report"] = check_a_network()
    result["picture"] = draw(Path(folder) / "errors.png")
    if result["picture"]:
        print(f"\nThe error against e is drawn in {result['picture']}")
    return result


if __name__ == "__main__":
    main()
