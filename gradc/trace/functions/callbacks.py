"""Functions that call the user's function, unrolled: apply_along_axis, piecewise, vectorize, ndenumerate."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradc.ir import ShapeError
from gradc.trace.functions.shapes import axis_of
from gradc.trace.lift import any_traced, common_shape, operand, tracer
from gradc.trace.registry import CLASSES, FUNCTIONS
from gradc.trace.source import fail
from gradc.trace.table import run_concrete

LIMIT = 256
"""How many calls are unrolled into one graph."""


def _check(count: int, name: str) -> None:
    if count > LIMIT:
        fail(
            f"{name} would call the function {count} times while tracing",
            f"the same on whole arrays, or gradc.vmap(f), for more than {LIMIT} calls",
        )


def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """`func1d` of every line along an axis, the results in place of that axis."""
    x = tracer(arr)
    along = axis_of(axis, x.ndim)
    lead, rest = x.shape[:along], x.shape[along + 1 :]
    count = math.prod(lead + rest)
    if not count:
        fail("np.apply_along_axis of an empty array", None, ShapeError)
    if not any_traced((x, *args)) and count > LIMIT:
        return run_concrete(np.apply_along_axis, (func1d, axis, x, *args), kwargs)
    _check(count, "np.apply_along_axis")
    lines = FUNCTIONS[np.reshape](FUNCTIONS[np.moveaxis](x, along, -1), (count, x.shape[along]))
    results = [FUNCTIONS[np.asarray](func1d(lines[i], *args, **kwargs)) for i in range(count)]
    stacked = FUNCTIONS[np.stack](results)
    inner = np.shape(stacked)[1:]
    y = FUNCTIONS[np.reshape](stacked, (*lead, *rest, *inner))
    # The axes of the results go where the line was.
    k, n = len(lead), len(lead + rest)
    order = (*range(k), *range(n, n + len(inner)), *range(k, n))
    return FUNCTIONS[np.copy](FUNCTIONS[np.transpose](y, order)) if order else y


def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Where a condition holds, the function of those elements; of several, the last one counts.

    Where the mask is not known, the function is applied to all of x.
    """
    v = tracer(x)
    n = len(funclist)
    scalar = bool(np.isscalar(condlist))
    several = not scalar and (isinstance(condlist[0], list | np.ndarray) or v.ndim == 0)
    conditions = [tracer(c) for c in condlist] if several else [tracer(condlist)]
    if n == len(conditions) + 1:
        covered = functools.reduce(FUNCTIONS[np.logical_or], conditions)
        conditions.append(FUNCTIONS[np.logical_not](covered))
    elif n != len(conditions):
        count = len(conditions)
        fail(f"np.piecewise of {count} conditions takes {count} or {count + 1} functions", None, ShapeError)
    y = FUNCTIONS[np.copy](FUNCTIONS[np.zeros_like](v))
    for condition, function in zip(conditions, funclist, strict=True):
        known = not any_traced(condition) and v.ndim > 0
        value = function
        if callable(function):
            value = function(v[condition] if known else v, *args, **kw)
        if known:
            y[condition] = value
        else:
            y = FUNCTIONS[np.where](condition, FUNCTIONS[np.asarray](value, v.dtype), y)
    return y


class Vectorize:
    """np.vectorize in a trace: one call for each element."""

    def __init__(
        self,
        pyfunc: Callable[..., Any] | None = None,
        otypes: Any = None,
        doc: str | None = None,
        excluded: Any = None,
        cache: bool = False,
        signature: str | None = None,
    ) -> None:
        self.pyfunc = pyfunc
        self.otypes = otypes
        self.excluded = set(excluded or ())
        self.cache = cache
        self.signature = signature
        self.__doc__ = doc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.pyfunc is None:  # used as a decorator with options
            self.pyfunc = args[0]
            return self
        known = not any_traced(args) and not any_traced(kwargs)
        if self.signature is not None:
            if not known:
                fail("gradc traces np.vectorize without signature=", "gradc.vmap(f)")
            return self._in_numpy(args, kwargs)
        names = [name for name in kwargs if name not in self.excluded]
        places = [i for i in range(len(args)) if i not in self.excluded]
        arrays = [operand(args[i]) for i in places] + [operand(kwargs[name]) for name in names]
        shape = common_shape(*arrays)
        count = math.prod(shape)
        if known and count > LIMIT:
            return self._in_numpy(args, kwargs)
        _check(count, "np.vectorize")
        if not count:
            fail("np.vectorize of no elements", None, ShapeError)
        flat = [FUNCTIONS[np.ravel](FUNCTIONS[np.broadcast_to](x, shape)) for x in arrays]
        results = []
        for k in range(count):
            given, named = list(args), dict(kwargs)
            for i, x in zip(places, flat, strict=False):
                given[i] = x[k]
            named.update({name: x[k] for name, x in zip(names, flat[len(places) :], strict=True)})
            results.append(self.pyfunc(*given, **named))
        if isinstance(results[0], tuple):
            return tuple(
                [self._gathered(list(r), shape, i) for i, r in enumerate(zip(*results, strict=True))]
            )
        return self._gathered(results, shape, 0)

    def _in_numpy(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        function: Any = self.pyfunc
        options = {name: getattr(self, name) for name in ("otypes", "excluded", "cache", "signature")}
        return run_concrete(np.vectorize(function, **options), args, kwargs)

    def _gathered(self, results: list[Any], shape: tuple[int, ...], i: int) -> Any:
        dtype = None
        if self.otypes is not None:
            dtype = np.dtype(self.otypes[i])
        else:  # as NumPy does, the first result decides
            dtype = FUNCTIONS[np.asarray](results[0]).dtype
        return FUNCTIONS[np.reshape](FUNCTIONS[np.array](results, dtype=dtype), shape)


def ndenumerate(arr: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
    """np.ndenumerate: every index with its element."""
    x = operand(arr)
    return ((index, x[index]) for index in itertools.product(*map(range, np.shape(x))))


def fromiter(iter: Any, dtype: Any, count: int = -1, *, like: Any = None) -> Any:
    """The elements of an iterable that ends, one by one."""
    items = list(itertools.islice(iter, count) if count >= 0 else iter)
    if not any_traced(items):
        return run_concrete(np.fromiter, (items, dtype, count), {})
    if len(items) < count:
        fail(f"np.fromiter found {len(items)} elements, not {count}", None, ShapeError)
    return FUNCTIONS[np.array](items, dtype=dtype)


# Always ours: the arrays may be known where what the function gives is traced.
FUNCTIONS[np.apply_along_axis] = apply_along_axis
FUNCTIONS[np.piecewise] = piecewise
FUNCTIONS[np.fromiter] = fromiter
CLASSES[np.vectorize] = Vectorize
CLASSES[np.ndenumerate] = ndenumerate
