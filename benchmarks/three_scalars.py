"""Calls with next to no work, beside JAX: a neuron of three numbers in every form, and a step of 12 arrays.

    python -m benchmarks.three_scalars

JAX gets its numbers as arrays on the device, which is what it takes fastest; gradc gets Python floats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import gradc
from benchmarks.rounds import Row, microseconds_each, repeated

CALLS = 2000


@dataclass
class Neuron:
    """Three parameters."""

    w: Any
    x: Any
    b: Any


def forms(exp: Callable[[Any], Any]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """The neuron in each form, and what a gradient of it is taken for."""

    def neuron(w, x, b):
        return 1 / (1 + exp(-(w * x + b)))

    return {
        "three numbers": (neuron, {"wrt": (0, 1, 2)}),
        "keyword arguments": (neuron, {"wrt": (0, 1, 2)}),
        "a dict of three": (lambda p: neuron(p["w"], p["x"], p["b"]), {}),
        "a dataclass of three": (lambda p: neuron(p.w, p.x, p.b), {}),
    }


def layers(dot: Any) -> Any:
    """A loss of a network with six layers."""

    def loss(params, x):
        for layer in params.values():
            x = x @ layer["W"] + layer["b"]
        return dot(x)

    return loss


def measure() -> list[Row]:
    """The rows of the table."""
    import jax
    import jax.numpy as jnp

    jax.tree_util.register_dataclass(Neuron, ["w", "x", "b"], [])
    numbers = {"w": 0.5, "x": -1.0, "b": 2.0}
    on_device = {name: jnp.asarray(x, jnp.float32) for name, x in numbers.items()}
    peer = f"JAX {jax.__version__}"
    rows = []
    for (name, (ours, options)), (theirs, _) in zip(
        forms(np.exp).items(), forms(jnp.exp).values(), strict=True
    ):
        call = gradc.compile(ours, **options).value_and_grad
        jitted = jax.jit(jax.value_and_grad(theirs, argnums=options.get("wrt", 0)))
        goal = round(1 / 12, 3) if name == "three numbers" else 1 / 5
        if name == "three numbers":
            mine, its = bound(call, *numbers.values()), bound(jitted, *on_device.values())
        elif name == "keyword arguments":
            # JAX takes gradients of arguments by position only: here the wrapper is jitted.
            named = jax.jit(lambda w, x, b, f=jitted: f(w, x, b))
            mine, its = bound(call, **numbers), bound(named, **on_device)
        elif name == "a dict of three":
            mine, its = bound(call, numbers), bound(jitted, on_device)
        else:
            mine, its = bound(call, Neuron(**numbers)), bound(jitted, Neuron(**on_device))
        times = microseconds_each(
            repeated(mine, CALLS), repeated(lambda its=its: jax.block_until_ready(its()), CALLS), per=CALLS
        )
        rows.append(Row(f"sigmoid neuron, value and gradient: {name}", peer, goal, *times))
    return [*rows, around_kernels()]


def bound(call: Callable[..., Any], *args: Any, **named: Any) -> Callable[[], Any]:
    """A call without arguments, in the form that these have."""
    if named:
        w, x, b = named.values()
        return lambda: call(w=w, x=x, b=b)
    if len(args) == 1:
        (only,) = args
        return lambda: call(only)
    w, x, b = args
    return lambda: call(w, x, b)


def around_kernels() -> Row:
    """A step with 12 parameter arrays that are next to nothing to compute with, beside 3 microseconds."""
    params = {f"layer{k}": {"W": np.eye(2), "b": np.zeros(2)} for k in range(6)}
    x = np.ones((1, 2))
    call = gradc.compile(layers(np.sum)).value_and_grad
    call(params, x)
    whole, _ = microseconds_each(
        repeated(lambda: call(params, x), CALLS), repeated(lambda: None, CALLS), per=CALLS
    )
    return Row("12 arrays of 2 or 4 in a tree, value and gradient", "3 us", 1, whole, 3.0)


if __name__ == "__main__":
    from benchmarks.__main__ import table

    print(table(measure()))
