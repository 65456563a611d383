"""One training step as one native function: gather of the batch, loss, gradient, check, update in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gradc.api import backend
from gradc.api.backend import Options
from gradc.api.frames import definition, name_of
from gradc.api.transforms import value_and_grad
from gradc.ir import Type, emit
from gradc.ir.errors import ArgumentError
from gradc.ir.types import I64
from gradc.runtime.executable import Executable
from gradc.trace import Input, NeedStatic, Static, Tracer, trace, tree
from gradc.trace.lift import value_of, wrap
from gradc.train.leaves import Leaves
from gradc.train.optim import Optimizer


class Results(NamedTuple):
    """What a step returns.

    `done`: the number of the next step; `finite`: whether the step was applied; `aux`: the scalars among the
    leaves of aux, by path; `params`, `state`: the leaves that it updates, in order.
    """

    done: Any
    finite: Any
    loss: Any
    aux: dict[str, Any]
    params: list[Any]
    state: list[Any]


def training_step(
    loss: Callable[..., Any], has_aux: bool | None, optimizer: Optimizer
) -> Callable[..., Results]:
    """The step as a function in plain NumPy, to be traced.

    With `has_aux` None, whether there is an aux shows in what the loss returns.
    """
    update = optimizer.update

    def with_aux(params: Any, *batch: Any) -> tuple[Any, Any]:
        return loss_and_aux(loss, loss(params, *batch), has_aux)

    def step(params: Any, state: Any, data: tuple[Any, ...], rows: Any, number: Any) -> Results:
        batch = tree.map(lambda x: take_rows(x, rows), data)
        (value, aux), grads = value_and_grad(with_aux, has_aux=True)(params, *batch)
        finite = np.isfinite(value)
        for g in tree.flatten(grads)[0]:
            if g is not None:
                finite = finite & np.all(np.isfinite(g))
        # The update waits for the check. Computed with the gradients, it would be stored once before it is
        # known whether the step is to be applied, and once after.
        grads = tree.map(lambda g: g if g is None else np.where(finite, g, 0), grads)
        new_params, new_state = update(grads, state, params)
        return Results(
            number + 1,
            finite,
            np.asarray(value),
            scalars(aux),
            updated("params", finite, new_params, params),
            updated("state", finite, new_state, state),
        )

    return step


def loss_and_aux(loss: Callable[..., Any], result: Any, has_aux: bool | None) -> tuple[Any, Any]:
    """What a loss returned, as a pair. Errors: `ArgumentError` unless the loss is one float number."""
    pair = type(result) is tuple and len(result) == 2
    if has_aux and not pair:
        raise ArgumentError(
            f"with has_aux=True, {name_of(loss)} returns (loss, aux), not {described(result)}",
            definition(loss),
            "return loss, aux",
        )
    value, aux = result if pair and has_aux is not False else (result, None)
    number = type(value) is float or isinstance(value, np.floating)
    if not number and not (type(value) is Tracer and value.type.is_float and not value.shape):
        raise ArgumentError(
            f"fit minimizes one float number, but {name_of(loss)} returns {described(value)}",
            definition(loss),
            "return np.mean(...) or np.sum(...) of it",
        )
    return value, aux


def described(result: Any) -> str:
    """A traced result as messages show it."""
    if type(result) is Tracer:
        return str(result.type)
    if type(result) is tuple:
        return f"({', '.join([described(each) for each in result])}{',' * (len(result) == 1)})"
    return repr(result)[:40] if isinstance(result, int | float | str | None) else f"a {type(result).__name__}"


def take_rows(x: Any, rows: Any) -> Any:
    """`x[rows]`, without the checks that this would make: the driver's row numbers are in range."""
    return wrap(emit("gather", value_of(x), value_of(rows), axes=(0,)))


def scalars(aux: Any) -> dict[str, Any]:
    """The leaves of aux that are one number, by path: `accuracy`, `layers[0].norm`; `aux` if it is one."""
    leaves, treedef = tree.flatten(aux)
    found = {}
    for leaf, path in zip(leaves, tree.paths(treedef), strict=True):
        if (type(leaf) is Tracer and not leaf.shape) or isinstance(leaf, int | float | np.number | np.bool_):
            name = path.removeprefix(".") or "aux"
            found[f"aux.{name}" if name in ("loss", "epoch_loss") else name] = np.asarray(leaf)
    return found


def updated(what: str, finite: Any, new: Any, old: Any) -> list[Any]:
    """The leaves that a step writes: the new ones, or the old ones if the step is not to be applied.

    Errors: `ArgumentError` if `optimizer.update` does not give leaves of the same types.
    """
    before, treedef = tree.flatten(old)
    try:
        after = tree.flatten_up_to(treedef, new)
    except ValueError as error:
        raise ArgumentError(
            f"optimizer.update returns {what} of another tree: {error}",
            hint="return a tree like the one that was passed in",
        ) from None
    kept = []
    for path, x, y in zip(tree.paths(treedef), before, after, strict=True):
        name = what + path
        if type(x) is not Tracer:
            if type(y) is Tracer or (y is not x and y != x):
                raise ArgumentError(
                    f"optimizer.update changes {name}, which is static because it is {x!r:.40}",
                    hint="keep numbers that change as NumPy numbers, such as np.int64(0)",
                )
            continue
        if what == "params" and not x.type.is_float:
            continue
        y = np.asarray(y)
        if (y.dtype, y.shape) != (x.dtype, x.shape):
            raise ArgumentError(
                f"optimizer.update returns {name} as {Type(y.dtype, y.shape)}, but it was {x.type}",
                hint="keep shapes and dtypes: .astype(p.dtype)",
            )
        kept.append(np.where(finite, y, x))
    return kept


@dataclass(frozen=True)
class Step:
    """A step compiled for one number of rows.

    The executable takes the traced leaves of params, state and data, the numbers of the rows (i64[rows]) and
    that of the step (i64[]). `carried` are, for the leaves that are updated, the positions of the input and
    of the output; where the native code writes over the input, both are the same memory (`in_place`).
    """

    rows: int
    executable: Executable
    aux: dict[str, int]
    carried: list[tuple[int, int]]
    in_place: list[bool]
    done: int
    finite: int
    loss: int


def compile_step(
    step: Callable[..., Results], params: Leaves, state: Leaves, data: Leaves, rows: int, options: Options
) -> Step:
    """Trace and compile a step for trees of these types. Errors: as for compiled functions."""
    inputs = [
        *params.inputs(),
        *state.inputs(),
        *data.inputs(),
        Input(Type(I64, (rows,)), False, "rows"),
        Input(Type(I64), False, "number"),
    ]
    arguments = (
        *[tree.unflatten(x.treedef, x.leaves) for x in (params, state, data)],
        np.zeros(rows, np.int64),
        np.int64(0),
    )
    try:
        traced = trace(step, tree.structure((arguments, {})), inputs, name="step")
    except NeedStatic as need:
        names = ", ".join([x.name for i in need.positions if isinstance(x := inputs[i], Input)])
        raise ArgumentError(
            f"the loss needs the value of {names} while it is traced, so that it cannot be trained",
            hint="np.where(condition, a, b) in place of `if`; or leave it out of params",
        ) from None
    results: Results = tree.unflatten(traced.treedef, traced.leaves)
    first_state = len(params.traced)
    floats = [i for i, at in enumerate(params.traced) if is_float(inputs[at])]
    carried = [
        *zip(floats, results.params, strict=True),
        *enumerate(results.state, start=first_state),
    ]
    executable = backend.build(traced.graph, options, donate={y: x for x, y in carried})
    return Step(
        rows,
        executable,
        results.aux,
        carried,
        [executable.binary.over[y] == x for x, y in carried],
        results.done,
        results.finite,
        results.loss,
    )


def is_float(leaf: Input | Static) -> bool:
    """Whether a leaf is a traced float."""
    return isinstance(leaf, Input) and leaf.type.is_float
