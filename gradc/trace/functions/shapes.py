"""Functions that move elements or change how they are laid out: views where NumPy gives views."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from gradc.ir import ShapeError, emit
from gradc.trace.lift import (
    any_traced,
    cast,
    common_shape,
    key,
    operand,
    plain,
    supported,
    traced,
    tracer,
    wrap,
)
from gradc.trace.methods import converted
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import as_numpy_says, fail
from gradc.trace.table import implements, implements_view, run_concrete
from gradc.trace.tracer import Tracer


def axis_of(axis: Any, ndim: int) -> int:
    """The axis, not negative. Errors: `ShapeError` if there is no such axis."""
    try:
        return normalize_axis_index(operator.index(axis), ndim)
    except ValueError as error:
        fail(str(error), None, ShapeError)


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that an `axis` argument names, not negative; all of them for None."""
    if axis is None:
        return tuple(range(ndim))
    try:
        return normalize_axis_tuple(plain(axis), ndim)
    except ValueError as error:
        fail(str(error), None, ShapeError)


def shape_of(shape: Any) -> tuple[int, ...]:
    """A shape argument: an int or a sequence of ints, which may be concrete tracers."""
    shape = plain(shape)
    if isinstance(shape, Tracer) and shape.traced:
        return (operator.index(shape),)  # says what is wrong
    if isinstance(shape, int | np.integer) or (isinstance(shape, np.ndarray) and shape.ndim == 0):
        return (operator.index(shape),)
    return tuple([operator.index(n) for n in shape])


def reshaped(x: Tracer, shape: tuple[int, ...]) -> Tracer:
    """A view with the same elements in row-major order."""
    return x if x.shape == shape else x.seen("reshape", shape=shape)


def transposed(x: Tracer, axes: tuple[int, ...]) -> Tracer:
    """A view with the axes permuted."""
    return x if axes == tuple(range(len(axes))) else x.seen("transpose", axes=axes)


def sliced(x: Tracer, axis: int, start: int, size: int, step: int = 1) -> Tracer:
    """A view of the elements start, start + step, ... along one axis."""
    starts = tuple(start if i == axis else 0 for i in range(x.ndim))
    sizes = tuple(size if i == axis else n for i, n in enumerate(x.shape))
    steps = tuple(step if i == axis else 1 for i in range(x.ndim))
    return x.seen("slice", starts=starts, sizes=sizes, steps=steps)


def _layout(order: Any) -> str:
    """The order of elements that a name stands for: C, F, A or K. Errors: NumPy's for another name."""
    with as_numpy_says():
        np.zeros(1).ravel(order)
    return "C" if order is None else order.upper()


@implements_view(np.reshape)
def reshape(a: Any, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Tracer:
    x, order = tracer(a), _layout(order)
    wanted = shape_of(newshape if shape is None else shape)
    if wanted.count(-1) == 1:
        rest = int(np.prod([n for n in wanted if n != -1]))
        size = x.size // rest if rest and x.size % rest == 0 else -1
        wanted = tuple(size if n == -1 else n for n in wanted)
    if any(n < 0 for n in wanted) or int(np.prod(wanted)) != x.size:
        shown = shape_of(newshape if shape is None else shape)
        fail(f"cannot reshape an array of shape {x.shape} ({x.size} elements) into {shown}", None, ShapeError)
    if order in ("A", "K") and sum(n > 1 for n in x.shape) > 1:
        fail(
            f"order={order!r} depends on how an array lies in memory, which a trace does not know",
            'order="C"',
        )
    if order == "F":
        return transpose(reshaped(transpose(x), wanted[::-1]))
    return reshaped(x, wanted)


@implements_view(np.ravel)
def ravel(a: Any, order: str = "C") -> Tracer:
    return reshape(a, -1, order=order)


@implements_view(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Tracer:
    x = tracer(a)
    if axes is None:
        return transposed(x, tuple(range(x.ndim))[::-1])
    order = axes_of(axes, x.ndim)
    if len(order) != x.ndim:
        fail(
            f"the axes {axes} are no permutation of the axes of an array of shape {x.shape}", None, ShapeError
        )
    return transposed(x, order)


@implements_view(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Any) -> Tracer:
    return swapaxes(x, -1, -2)


@implements_view(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Tracer:
    x = tracer(a)
    order = list(range(x.ndim))
    i, j = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    order[i], order[j] = order[j], order[i]
    return transposed(x, tuple(order))


@implements_view(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Tracer:
    x = tracer(a)
    sources, destinations = axes_of(source, x.ndim), axes_of(destination, x.ndim)
    if len(sources) != len(destinations):
        fail("moveaxis takes as many destinations as sources", None, ShapeError)
    order = [i for i in range(x.ndim) if i not in sources]
    for to, axis in sorted(zip(destinations, sources, strict=True)):
        order.insert(to, axis)
    return transposed(x, tuple(order))


@implements_view(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Tracer:
    x = tracer(a)
    axis = axis_of(axis, x.ndim)
    if not -x.ndim <= start <= x.ndim:
        fail(f"np.rollaxis takes a start from {-x.ndim} to {x.ndim}, not {start}", None, ShapeError)
    start = start + x.ndim if start < 0 else start
    return moveaxis(x, axis, start - 1 if axis < start else start)


@implements_view(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Tracer:
    x = tracer(a)
    axes = axes_of(axis, x.ndim + (1 if np.ndim(axis) == 0 else len(axis)))
    sizes = iter(x.shape)
    ndim = x.ndim + len(axes)
    return reshaped(x, tuple(1 if i in axes else next(sizes) for i in range(ndim)))


@implements_view(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Tracer:
    x = tracer(a)
    axes = tuple(i for i, n in enumerate(x.shape) if n == 1) if axis is None else axes_of(axis, x.ndim)
    if any(x.shape[i] != 1 for i in axes):
        fail(f"cannot squeeze axes {axes} of shape {x.shape}: their size is not 1", None, ShapeError)
    return reshaped(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


@implements_view(np.atleast_1d)
def atleast_1d(*arrays: Any) -> Any:
    return _each(lambda x: x if x.ndim else reshaped(x, (1,)), arrays)


@implements_view(np.atleast_2d)
def atleast_2d(*arrays: Any) -> Any:
    return _each(lambda x: x if x.ndim > 1 else reshaped(x, (1, x.size)), arrays)


@implements_view(np.atleast_3d)
def atleast_3d(*arrays: Any) -> Any:
    def three(x: Tracer) -> Tracer:
        return reshaped(x, {0: (1, 1, 1), 1: (1, *x.shape, 1), 2: (*x.shape, 1)}.get(x.ndim, x.shape))

    return _each(three, arrays)


def _each(fn: Any, arrays: tuple[Any, ...]) -> Any:
    results = tuple([fn(tracer(x)) for x in arrays])
    return results[0] if len(results) == 1 else results


@implements_view(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Tracer:
    x, wanted = tracer(array), shape_of(shape)
    if any(n < 0 for n in wanted):
        fail("all elements of broadcast shape must be non-negative", None, ShapeError)
    tail = wanted[len(wanted) - x.ndim :]
    if len(wanted) < x.ndim or any(n not in (1, m) for n, m in zip(x.shape, tail, strict=True)):
        fail(f"an array of shape {x.shape} does not broadcast to {wanted}", None, ShapeError)
    return _repeated(x, wanted)


def _repeated(x: Tracer, shape: tuple[int, ...]) -> Tracer:
    """A view in which elements are repeated, for reading only."""
    lead = len(shape) - x.ndim
    axes = tuple(lead + i for i, n in enumerate(x.shape) if n == shape[lead + i])
    y = reshaped(x, tuple(shape[a] for a in axes))
    if y.shape != shape:
        y = y.seen("broadcast", shape=shape, axes=axes)
    return Tracer(y.cell, y.path, fixed="a broadcast view, whose elements share memory")


@implements_view(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Tracer, ...]:
    xs = [tracer(x) for x in args]
    shape = common_shape(*xs)
    return tuple([_repeated(x, shape) for x in xs])


@implements_view(np.flip)
def flip(m: Any, axis: Any = None) -> Tracer:
    x = tracer(m)
    for i in axes_of(axis, x.ndim):
        if x.shape[i] > 1:
            x = sliced(x, i, x.shape[i] - 1, x.shape[i], -1)
    return x


@implements_view(np.fliplr)
def fliplr(m: Any) -> Tracer:
    return flip(m, 1)


@implements_view(np.flipud)
def flipud(m: Any) -> Tracer:
    return flip(m, 0)


@implements_view(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Tracer:
    x = tracer(m)
    i, j = axes_of(axes, x.ndim)
    k %= 4
    if k == 2:
        return flip(flip(x, i), j)
    return x if k == 0 else swapaxes(flip(x, j), i, j) if k == 1 else flip(swapaxes(x, i, j), j)


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Tracer:
    x = traced(a)
    if axis is None:
        return reshaped(roll(reshaped(x, (x.size,)), shift, 0), x.shape)
    if any_traced(shift):
        return _roll_by(x, operand(shift), plain(axis))
    shifts, axes = np.broadcast_arrays(plain(shift), plain(axis))
    for count, i in zip(shifts.flat, axes.flat, strict=True):
        i = axis_of(i, x.ndim)
        n = x.shape[i]
        k = int(count) % n if n else 0
        if k:
            parts = sliced(x, i, n - k, k).value, sliced(x, i, 0, n - k).value
            x = wrap(emit("concat", *parts, axis=i))
    return x


def _roll_by(x: Tracer, shift: Any, axis: Any) -> Tracer:
    """The same for shifts that are not known, one axis after the other."""
    counts = [shift] if np.ndim(axis) == 0 and not shift.ndim else list(FUNCTIONS[np.ravel](shift))
    axes = np.atleast_1d(axis).tolist()
    for k in range(max(len(counts), len(axes))):
        i = axis_of(axes[k % len(axes)], x.ndim)
        places = (np.arange(x.shape[i]) - counts[k % len(counts)]) % x.shape[i]
        x = FUNCTIONS[np.take](x, places, i)
    return x


@implements(converted, *([np.astype] if hasattr(np, "astype") else []))
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tracer:
    wanted = supported(np.dtype(dtype), "astype")
    return wrap(cast(traced(x).value, wanted))


@implements(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Tracer:
    return wrap(traced(a).value)


@implements(np.zeros_like, np.empty_like)
def zeros_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> Any:
    return full_like(a, 0, dtype, shape=shape)


@implements(np.ones_like)
def ones_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> Any:
    return full_like(a, 1, dtype, shape=shape)


@implements(np.full_like)
def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None
) -> Any:
    """A concrete array, unless the value to fill with is traced."""
    x = operand(a)
    wanted = np.shape(x) if shape is None else shape_of(shape)
    return full(wanted, fill_value, np.asarray(x).dtype if not isinstance(x, Tracer) else dtype or x.dtype)


@implements(np.full)
def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", **kwargs: Any) -> Any:
    if not any_traced(fill_value):
        return run_concrete(np.full, (shape_of(shape), fill_value, dtype), {})
    x = traced(fill_value)
    return broadcast_to(x if dtype is None else astype(x, dtype), shape)


@implements(np.shape)
def shape(a: Any) -> tuple[int, ...]:
    return traced(a).shape


@implements(np.ndim)
def ndim(a: Any) -> int:
    return traced(a).ndim


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    x = traced(a)
    return x.size if axis is None else int(np.prod([x.shape[i] for i in axes_of(axis, x.ndim)]))


@implements(np.isscalar)
def isscalar(element: Any) -> bool:
    return isinstance(element, Tracer) and not element.shape


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    return False


@implements(np.isrealobj)
def isrealobj(x: Any) -> bool:
    return True


@implements_view(np.real)
def real(val: Any) -> Tracer:
    return tracer(val)


@implements(np.imag)
def imag(val: Any) -> Any:
    return zeros_like(val)


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    kinds = [key(x) if isinstance(x, Tracer) else plain(x) for x in arrays_and_dtypes]
    return np.result_type(*[k(0) if k is int or k is float else k for k in kinds])
