"""JAX's side, of any version: jitted functions of arrays on the device and of NumPy arrays, waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from timeit import Timer
from typing import Any

import jax  # type: ignore[import-not-found]
import jax.numpy as jnp  # type: ignore[import-not-found]
import numpy as np

from benchmarks.programs import in_jax, plain
from benchmarks.programs.calls import CALLS, NUMBERS, Neuron, names
from benchmarks.programs.training import B1, B2, EPS, RATE, training
from benchmarks.sides.side import Prepared, SideBase, flat, timed

tree_map = jax.tree_util.tree_map
jax.tree_util.register_pytree_node(
    Neuron, lambda n: ((n.w, n.x, n.b), None), lambda _, children: Neuron(*children)
)


def leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(x) for x in jax.tree_util.tree_leaves(tree)]


class Side(SideBase):
    def info(self) -> dict[str, Any]:
        jax.block_until_ready(jax.jit(lambda x: x + 1)(np.zeros(1)))
        return {"JAX": jax.__version__, "NumPy": np.__version__, "threads": len(os.sched_getaffinity(0))}

    def losses(self, family: str, parameters: dict[str, Any]) -> tuple[plain.Program, dict[str, Any]]:
        """A program, and its jitted loss and gradient in the ways it can be written, by name."""
        jax.clear_caches()
        given = plain.program(family, parameters)
        # JAX's default is to compute in 32 bits, integers too.
        jax.config.update("jax_enable_x64", any(x.dtype == np.float64 for x in flat(given.arguments)))
        ways = {"as written": given.make(jnp)}
        if hasattr(in_jax, family):
            ways["jax.nn"] = getattr(in_jax, family)(**parameters)
        return given, {name: jax.jit(jax.value_and_grad(f, argnums=given.wrt)) for name, f in ways.items()}

    def prepare_loss(self, family: str, parameters: dict[str, Any]) -> Prepared:
        given, ways = self.losses(family, parameters)
        on_device = tree_map(jnp.asarray, given.arguments)
        prepared = Prepared()
        for name, f in ways.items():
            try:
                jax.block_until_ready(f(*on_device))
            except Exception as error:
                prepared.notes.append(f"{name}: {type(error).__name__}: {str(error)[:100]}")
                continue
            for form, arguments in (("on device", on_device), ("NumPy arrays", given.arguments)):
                variables = {"f": f, "args": arguments, "ready": jax.block_until_ready}
                prepared.forms[f"{name}, {form}"] = Timer("ready(f(*args))", globals=variables)
            prepared.result = lambda f=f: leaves(f(*on_device))
        return prepared

    def prepare_call(self, way: str) -> Prepared:
        jax.config.update("jax_enable_x64", False)
        make, hand_over, expression, wrt = CALLS[way]
        gradient = jax.value_and_grad(make(jnp), argnums=wrt)

        def by_name(w: Any, x: Any, b: Any) -> Any:  # JAX has no gradients for arguments given by keyword
            return gradient(w, x, b)

        f = jax.jit(by_name if way == "keywords" else gradient)
        prepared = Prepared(result=lambda: leaves(f(*hand_over(NUMBERS))))
        on_device = tuple(jnp.asarray(x, jnp.float32) for x in NUMBERS)
        for form, numbers in (("on device", on_device), ("floats", NUMBERS)):
            variables = {"f": f, "ready": jax.block_until_ready, **names(hand_over(numbers))}
            prepared.forms[form] = Timer(f"ready({expression})", globals=variables)
        return prepared

    def prepare_training(self, **parameters: Any) -> Prepared:
        """All steps in one `lax.scan`, and a jitted step called from Python."""
        jax.config.update("jax_enable_x64", False)
        given = training(**parameters)
        step = step_of(in_jax.mlp())
        X, y, order = jnp.asarray(given.X), jnp.asarray(given.y), jnp.asarray(given.order())
        zeros = tree_map(jnp.zeros_like, given.params)
        start = tree_map(jnp.asarray, given.params), zeros, zeros, jnp.float32(0)

        @jax.jit
        def run(start: Any, X: Any, y: Any, order: Any) -> Any:
            return jax.lax.scan(lambda carry, rows: step(carry, X[rows], y[rows]), start, order)

        @jax.jit
        def one(state: Any, X: Any, y: Any, rows: Any) -> Any:
            return step(state, X[rows], y[rows])

        def one_by_one() -> None:
            state, losses = start, []
            for rows in order:
                state, loss = one(state, X, y, rows)
                losses.append(loss)
            jax.block_until_ready((state, losses))

        forms = {
            "scan": Timer(lambda: jax.block_until_ready(run(start, X, y, order))),
            "step": Timer(one_by_one),
        }
        return Prepared(forms, lambda: leaves(run(start, X, y, order)[0][0]), per=given.steps)

    def memory(self, family: str, parameters: dict[str, Any]) -> dict[str, float]:
        """Temporary bytes of the compiled program, in the ways it can be written."""
        given, ways = self.losses(family, parameters)
        return {
            name: f.lower(*given.arguments).compile().memory_analysis().temp_size_in_bytes
            for name, f in ways.items()
        }

    def first_call(self, family: str, parameters: dict[str, Any]) -> Callable[[], Any]:
        """As it is written: the same text as gradc's."""
        given, ways = self.losses(family, parameters)
        arguments = tree_map(jnp.asarray, given.arguments)
        return lambda: jax.block_until_ready(ways["as written"](*arguments))

    def trace(self, family: str, parameters: dict[str, Any]) -> dict[str, float]:
        """Seconds for the jaxpr of the value, and of the value with the gradient."""
        given = plain.program(family, parameters)
        loss = given.make(jnp)
        _, value = timed(lambda: jax.make_jaxpr(loss)(*given.arguments))
        _, both = timed(lambda: jax.make_jaxpr(jax.value_and_grad(loss, argnums=given.wrt))(*given.arguments))
        return {"value": value, "value and gradient": both}


def step_of(loss: Callable[..., Any]) -> Callable[..., Any]:
    """A step of Adam: (params, mean, square, t), X, y -> the same after it, and the loss."""

    def step(state: Any, X: Any, y: Any) -> Any:
        params, mean, square, t = state
        value, grads = jax.value_and_grad(loss)(params, X, y)
        t = t + 1
        mean = tree_map(lambda m, g: B1 * m + (1 - B1) * g, mean, grads)
        square = tree_map(lambda v, g: B2 * v + (1 - B2) * g * g, square, grads)
        rate, root = RATE / (1 - B1**t), 1 / jnp.sqrt(1 - B2**t)
        params = tree_map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) * root + EPS), params, mean, square)
        return (params, mean, square, t), value

    return step
