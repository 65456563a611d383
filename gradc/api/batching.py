"""vmap: the function of one example as a function of a batch of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.api.compiled import compile as compile_
from gradc.api.frames import caller, name_of, public
from gradc.api.signature import Parameters
from gradc.api.transforms import cached, named, original
from gradc.ir import Value, emit
from gradc.ir.errors import ArgumentError, ShapeError
from gradc.passes.vmap import vmap_where_needed
from gradc.trace import Static, Tracer, apply_graph, lift, subtrace, tree
from gradc.trace.copying import copied
from gradc.trace.lift import constant_value, wrap
from gradc.trace.state import current_trace

Function = Callable[..., Any]
Axis = int | None


@public
def vmap(fn: Function, in_axes: Any = 0, out_axes: Any = 0) -> Function:
    """The function that does for a batch of examples what `fn` does for one.

    `in_axes` says which axis of the arguments counts the examples: an int for all arrays, or a tuple with an
    entry for each positional argument, which is an int, None (the same for all examples), or a tree of
    these with at most the argument's structure. Keyword arguments that have no entry there have axis 0.
    Python numbers and static leaves have no axes and are the same for all examples. `out_axes` says the same
    of the result: an int, None (for what does not depend on the example), or a tree of these. `fn` sees
    arrays without the axis: f64[n, 3] comes as f64[3], and a result f64[2] becomes f64[n, 2].

    What does not depend on the example is computed once. A `cond` on which examples differ computes both
    branches. Errors: `ArgumentError` for axes that do not fit the arguments or the result, `ShapeError` where
    the arguments have different numbers of examples.
    """
    fn = original(fn)
    for what, axes in (("in_axes", in_axes), ("out_axes", out_axes)):
        _check_axes(what, axes)

    def make() -> Function:
        def batch(*args: Any, **kwargs: Any) -> Any:
            return inline_vmap(fn, in_axes, out_axes, args, kwargs)

        return compile_(named(batch, fn, "vmap", same_parameters=False))

    try:
        key = ("vmap", _hashable(in_axes), _hashable(out_axes))
        compiled = cached(fn, key, make)
    except TypeError:  # axes that cannot be hashed
        compiled = make()

    def batched(*args: Any, **kwargs: Any) -> Any:
        return compiled(*args, **kwargs)

    return named(batched, fn, "vmap")


def inline_vmap(
    fn: Function, in_axes: Any, out_axes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`gradc.vmap` in a trace: the example's graph, batched, goes into the one that is being made."""
    parameters = Parameters(fn)
    parameters.bind(args, kwargs)  # says what is wrong with the call itself
    leaves, treedef = tree.flatten(tree.snapshot((args, kwargs)))
    names = parameters.names_in(treedef)
    axes = _axes_of_arguments(parameters, in_axes, args, kwargs)
    mapped: dict[int, Value] = {}
    sizes: dict[int, int] = {}
    for i, (leaf, axis, name) in enumerate(zip(leaves, axes, names, strict=True)):
        if axis is None or _has_no_axes(leaf):
            continue
        value = lift(leaf).value
        at = _within(axis, len(value.shape), f"{name} ({value.type})", "in_axes")
        sizes[i] = value.shape[at]
        mapped[i] = _moved(value, at, 0)
    size = _common_size(sizes, names, fn)
    for i, value in mapped.items():
        leaves[i] = wrap(Value(value.type.with_shape(value.shape[1:]), name=names[i]))
    inner = copied(fn, current_trace().substitute)
    example_args, example_kwargs = tree.unflatten(treedef, leaves)
    graph, captured, out_treedef, out_leaves = subtrace(
        lambda a, k: inner(*a, **k), example_args, example_kwargs, of="vmap", name=name_of(fn)
    )
    places = [i for i, leaf in enumerate(leaves) if type(leaf) is Tracer and leaf.traced]
    flags = [i in mapped for i in places] + [False] * len(captured)
    batched, depends = vmap_where_needed(graph, flags, size)
    inputs = [mapped[i] if i in mapped else leaves[i] for i in places]
    results = [y.value for y in apply_graph(batched, [*inputs, *captured])]
    given = _spread(out_axes, tree.unflatten(out_treedef, range(len(out_leaves))), "out_axes", "the result")
    finished = []
    for leaf, axis, path in zip(out_leaves, given, tree.paths(out_treedef), strict=True):
        what = f"result{path} of {name_of(fn)}"
        if isinstance(leaf, Static):
            finished.append(_repeated_number(leaf.value, axis, size, what))
        else:
            finished.append(wrap(_finished(results[leaf], depends[leaf], axis, size, what)))
    return tree.unflatten(out_treedef, finished)


def _axes_of_arguments(
    parameters: Parameters, in_axes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[Axis]:
    """The axis of every leaf of the arguments."""
    if not isinstance(in_axes, tuple | list):
        return [in_axes] * len(tree.flatten((args, kwargs))[0])
    missing = args[len(in_axes) :]
    by_name = dict(zip(parameters.positional, in_axes, strict=False))
    if any(not _has_no_axes(x) for x in tree.flatten(missing)[0]) or (
        len(in_axes) > len(args) + sum(name in by_name for name in kwargs)
    ):
        raise ArgumentError(
            f"in_axes={in_axes!r:.60} has {len(in_axes)} entries for {len(args)} arguments",
            caller(),
            "one entry for each positional argument, None for what all examples share",
        )
    axes: list[Axis] = []
    for entry, (name, arg) in zip(in_axes, parameters.describe(args, {}), strict=False):
        axes += _spread(entry, arg, "in_axes", name)
    axes += [None] * len(tree.flatten(missing)[0])
    for name, arg in kwargs.items():
        axes += _spread(by_name.get(name, 0), arg, "in_axes", name)
    return axes


def _spread(axes: Any, given: Any, what: str, name: str) -> list[Axis]:
    """One axis for each leaf of `given`, from a tree that may end earlier."""
    found, treedef = tree.flatten(axes)
    try:
        parts = tree.flatten_up_to(treedef, given)
    except ValueError:
        raise ArgumentError(
            f"{what}={axes!r:.60} does not fit the structure of {name}",
            caller(),
            "an int or None for the whole, or the same containers with ints and None",
        ) from None
    return [axis for axis, part in zip(found, parts, strict=True) for _ in tree.flatten(part)[0]]


def _check_axes(what: str, axes: Any) -> None:
    for axis in tree.flatten(axes)[0]:
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, int)):
            raise ArgumentError(
                f"{what}={axes!r:.60} holds {axis!r:.40}, which is no axis", caller(), "ints and None"
            )


def _hashable(axes: Any) -> Any:
    leaves, treedef = tree.flatten(axes)
    return treedef, tuple(leaves)


def _has_no_axes(leaf: Any) -> bool:
    """Whether all examples share a leaf: a Python number, or what is static."""
    if type(leaf) is Tracer:
        return leaf.weak
    return not isinstance(leaf, np.ndarray | np.generic) or leaf.dtype.kind not in "biuf"


def _within(axis: int, ndim: int, what: str, option: str) -> int:
    if not -ndim <= axis < ndim:
        raise ArgumentError(
            f"{what} has no axis {axis}", caller(), f"{option}=None where there is no axis of examples"
        )
    return axis % ndim


def _common_size(sizes: dict[int, int], names: Sequence[str], fn: Function) -> int:
    """The number of examples. Errors: `ShapeError` that names arguments which differ in it."""
    if not sizes:
        raise ArgumentError(
            f"vmap of {name_of(fn)}: no argument has an axis of examples", caller(), "in_axes=0 for an array"
        )
    (first, size), *others = sizes.items()
    for i, other in others:
        if other != size:
            raise ShapeError(
                f"{names[first]} has {size} examples, but {names[i]} has {other}",
                caller(),
                "the axes that in_axes names have one size; None for what all examples share",
            )
    return size


def _moved(value: Value, source: int, target: int) -> Value:
    """The value with an axis at another place."""
    if source == target:
        return value
    order = [a for a in range(len(value.shape)) if a != source]
    order.insert(target, source)
    return emit("transpose", value, axes=tuple(order))


def _finished(value: Value, depends: bool, axis: Axis, size: int, what: str) -> Value:
    """A result with its axis of examples where it shall be."""
    if axis is None:
        if depends:
            raise ArgumentError(
                f"{what} depends on the example, so out_axes=None cannot be", caller(), "out_axes=0"
            )
        return value
    if depends:
        return _moved(value, 0, _within(axis, len(value.shape), what, "out_axes"))
    ndim = len(value.shape) + 1
    at = _within(axis, ndim, what, "out_axes")
    shape = (*value.shape[:at], size, *value.shape[at:])
    return emit("broadcast", value, shape=shape, axes=tuple([a for a in range(ndim) if a != at]))


def _repeated_number(leaf: Any, axis: Axis, size: int, what: str) -> Any:
    """A number that depends on no argument, once for each example; other static leaves as they are."""
    if axis is None or not isinstance(leaf, bool | int | float | np.generic):
        return leaf
    _within(axis, 1, what, "out_axes")
    return wrap(constant_value(leaf, None, (size,)))
