"""What a run minimizes: the arguments of `fit` checked, and the steps that are compiled for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from gradc.api.compiled import BoundCompiled, Compiled, compile
from gradc.api.frames import definition, name_of
from gradc.api.signature import Parameters
from gradc.ir.errors import ArgumentError
from gradc.trace import tree
from gradc.train.batches import Batches, as_arguments, batches, count_rows
from gradc.train.leaves import Leaves
from gradc.train.optim import Optimizer
from gradc.train.step import Step, compile_step, is_float, training_step

KEPT = 16
"""So many compiled steps are kept for each compiled loss, the last used ones."""


@dataclass
class Problem:
    """A loss, what it is of, and how it is minimized; `step(rows)` is the compiled step for so many rows."""

    loss: Compiled | BoundCompiled
    plain: bool
    params: Leaves
    state: Leaves
    data: Leaves
    batches: Batches
    optimizer: Optimizer

    def step(self, rows: int) -> Step:
        """The compiled step, kept with a compiled loss if the optimizer is a value that cannot change."""
        if self.plain or isinstance(self.loss, BoundCompiled) or not is_frozen(self.optimizer):
            return self.compile(rows)
        signatures = [leaves.signature for leaves in (self.params, self.state, self.data)]
        key: Hashable = (rows, self.optimizer, *signatures)
        with _lock:
            kept = _kept.setdefault(self.loss, OrderedDict())
            if key in kept:
                kept.move_to_end(key)
                return kept[key]
        step = self.compile(rows)
        with _lock:
            kept[key] = step
            while len(kept) > KEPT:
                kept.popitem(last=False)
        return step

    def compile(self, rows: int) -> Step:
        """Trace and compile a step."""
        _, has_aux, options = self.loss._options
        # A plain function says by what it returns whether there is an aux.
        step = training_step(self.loss.__gradc_original__, None if self.plain else has_aux, self.optimizer)
        return compile_step(step, self.params, self.state, self.data, rows, options)


_kept: WeakKeyDictionary[Compiled, OrderedDict[Hashable, Step]] = WeakKeyDictionary()
_lock = threading.Lock()


def problem(
    loss: Any, params: Any, data: Any, optimizer: Any, batch_size: Any, shuffle: Any, seed: Any
) -> Problem:
    """Check the arguments of `fit`. Errors: `ArgumentError` that names the one that is wrong."""
    check_optimizer(optimizer)
    if not callable(loss):
        raise ArgumentError(f"loss={loss!r:.60} is no function", hint="a function loss(params, *batch)")
    plain = not isinstance(loss, Compiled | BoundCompiled)
    compiled = compiled_function(loss) if plain else loss
    original = compiled.__gradc_original__
    parameters = Parameters(original)
    data = as_arguments(data)
    check_parameters(parameters, compiled._options[0], len(data))
    arguments = (params, *data)
    parameters.bind(arguments, {})
    first, *others = [name for name, _ in parameters.describe(arguments, {})]
    param_leaves = Leaves(params, [first + path for path in tree.paths(params)])
    names = [name + path for name, each in zip(others, data, strict=True) for path in tree.paths(each)]
    data_leaves = Leaves(data, names)
    if not any(map(is_float, param_leaves.inputs())):
        raise ArgumentError(
            f"{first} has no float leaves, so that there is nothing to train",
            hint=f"pass arrays of floats, as in {first}.astype(np.float64)",
        )
    rows = batches(count_rows(data_leaves), batch_size, shuffle, seed)
    state = optimizer.init(params)
    state_leaves = Leaves(state, ["state" + path for path in tree.paths(state)])
    return Problem(compiled, plain, param_leaves, state_leaves, data_leaves, rows, optimizer)


def compiled_function(fn: Callable[..., Any]) -> Compiled:
    """A plain function compiled, with the options that are usual."""
    return compile(fn)


def check_parameters(parameters: Parameters, wrt: Any, count: int) -> None:
    """See to it that the loss can be trained with `count` arguments of data. Errors: `ArgumentError`."""
    fn = parameters.fn
    if parameters.targets(wrt) != parameters.targets(0):
        raise ArgumentError(
            f"fit trains the first parameter of {name_of(fn)}, but it was compiled with wrt={wrt!r}",
            definition(fn),
            "make the trained parameters the first one, without wrt=",
        )
    if "key" in [*parameters.positional[1 + count :], *parameters.by_name]:
        raise ArgumentError(
            f"{name_of(fn)} takes a key, but gradc has no random numbers yet",
            definition(fn),
            "draw outside, and pass what was drawn as one of the arrays in data",
        )


def check_optimizer(optimizer: Any) -> None:
    """See to it that it has `init` and `update`. Errors: `ArgumentError`."""
    if isinstance(optimizer, type):
        name = optimizer.__name__
        raise ArgumentError(
            f"optimizer={name} is a class, not an optimizer", hint=f"{name}(...), with its learning rate"
        )
    if not callable(getattr(optimizer, "init", None)) or not callable(getattr(optimizer, "update", None)):
        raise ArgumentError(
            f"optimizer={optimizer!r:.60} has no init and update",
            hint="an optimizer such as gradc.optim.adam(1e-3)",
        )


def is_frozen(optimizer: Any) -> bool:
    """Whether an optimizer is a value: a frozen dataclass whose fields can be hashed."""
    parameters = getattr(optimizer, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        return False
    try:
        hash(optimizer)
    except TypeError:
        return False
    return True
