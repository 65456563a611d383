"""A call with next to no work, the sigmoid neuron of three numbers and its gradient, beside JAX.

    python -m benchmarks.three_scalars

JAX gets its numbers as arrays on the device, which is what it takes fastest; gradc gets Python floats.
"""

from __future__ import annotations

import numpy as np

import gradc
from benchmarks.rounds import Row, microseconds_each, repeated

CALLS = 2000


def neuron(w, x, b):
    return 1 / (1 + np.exp(-(w * x + b)))


def measure() -> list[Row]:
    """The rows of the table."""
    import jax
    import jax.numpy as jnp

    def neuron_in_jax(w, x, b):
        return 1 / (1 + jnp.exp(-(w * x + b)))

    numbers = 0.5, -1.0, 2.0
    compiled = gradc.compile(neuron, wrt=(0, 1, 2))
    call = compiled.value_and_grad
    jitted = jax.jit(jax.value_and_grad(neuron_in_jax, argnums=(0, 1, 2)))
    on_device = [jnp.asarray(x, jnp.float32) for x in numbers]
    np.testing.assert_allclose(call(*numbers)[1], jitted(*on_device)[1], rtol=1e-5)
    times = microseconds_each(
        repeated(lambda: call(*numbers), CALLS),
        repeated(lambda: jax.block_until_ready(jitted(*on_device)), CALLS),
        per=CALLS,
    )
    return [Row("sigmoid neuron, value and gradient", f"JAX {jax.__version__}", 0.1, *times)]


if __name__ == "__main__":
    from benchmarks.__main__ import table

    print(table(measure()))
