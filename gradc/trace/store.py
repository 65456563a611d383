"""Writing into the memory that arrays share: a new value for the cell; NumPy itself where it is concrete."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.ir import IndexOutOfBoundsError, ShapeError, Value, constant, emit
from gradc.ir.graph import current
from gradc.ir.ops.elementwise import where as where_value
from gradc.ir.ops.shape import inverse
from gradc.ir.types import BOOL, Type
from gradc.trace.cell import COPY, ArgumentCell, Step
from gradc.trace.lift import any_traced, constant_value, key, operand, plain, shape_of, value_of, wrap
from gradc.trace.pieces import put
from gradc.trace.registry import FUNCTIONS
from gradc.trace.source import described, fail
from gradc.trace.tracer import Tracer

Ints = tuple[int, ...]


def check_writable(x: Any, instead: str | None = None) -> None:
    """Errors: `TraceError` if the array is from outside, or belongs to another graph than the current one."""
    if type(x) is not Tracer:
        fail(
            f"gradc writes into arrays that the function makes, not into {described(x)}",
            "make the array in the function, as in out = np.zeros(shape)",
        )
    if any(step.op == "windows" for step in x.path):
        fail(
            "windows are for reading only: they overlap",
            "write into the array itself, or into a copy: w = windows.copy()",
        )
    cell = x.cell
    if x.weak:
        fail("a Python float is a number, which cannot be written into", "x = np.array(x) first")
    if cell.fixed == COPY:
        cell.fixed = None
        cell.write(np.array(cell.content))
    if fixed := x.fixed or cell.fixed:
        name = cell.name or (cell.content.name if isinstance(cell.content, Value) else None)
        what = "an array from outside of the function" if fixed == "captured" else fixed
        fail(
            f"gradc does not write into {what}{f': {name}' if name else ''}",
            instead or f"y = {name or 'x'}.copy() first, then write into y",
        )
    if cell.builder is not current():
        fail(
            "a function under a transform or a branch writes into an array that was made outside of it",
            "x = x.copy() inside, and return it",
        )


def to_graph(x: Tracer) -> None:
    """Make the array one whose elements are in the graph: something traced will be written."""
    if not x.traced:
        x.cell.write(constant_value(x.cell.content))


def assign(x: Tracer, value: Any, casting: Any = "unsafe") -> None:
    """`x[...] = value`: broadcast and cast as NumPy does."""
    check_writable(x)
    value = operand(value)
    if type(value) is Tracer and value.cell is x.cell and value.path == x.path:
        return
    kind = key(value)
    dtype = np.dtype(kind) if isinstance(kind, type) else kind
    if casting != "unsafe" and not np.can_cast(dtype, x.dtype, casting):
        fail(
            f"NumPy does not write {dtype} into an array of {x.dtype}",
            "make the array of the other dtype, or cast the values: v.astype(x.dtype)",
        )
    value = fitted(value, x.shape)
    if not x.traced and not any_traced(value):
        write_now(x, ..., value)
        return
    to_graph(x)
    store(x, value_of(value, x.dtype, x.shape))


def fitted(value: Any, shape: Ints) -> Any:
    """The value without the leading axes of size 1 that are too many. Errors: `ShapeError`."""
    given = shape_of(value)
    lead = len(given) - len(shape)
    if lead > 0 and all(n == 1 for n in given[:lead]):
        value, given = FUNCTIONS[np.reshape](value, given[lead:]), given[lead:]
    if len(given) > len(shape) or any(
        n not in (1, m) for n, m in zip(given[::-1], shape[::-1], strict=False)
    ):
        fail(f"an array of shape {given} cannot be written into shape {shape}", None, ShapeError)
    return value


def write_now(x: Tracer, index: Any, value: Any) -> None:
    """Write into a concrete array, whose views see the same memory."""
    array = x.array
    if not array.flags.writeable:
        fail("this array is a view for reading only", "x = x.copy() first")
    try:
        with np.errstate(all="ignore"):
            array[plain(index)] = plain(value)
    except IndexError as error:
        fail(str(error), None, IndexOutOfBoundsError)
    except ValueError as error:
        fail(str(error), None, ShapeError)
    content = x.cell.content
    assert isinstance(content, np.ndarray)
    # Another object, so that what was captured before stays what it was.
    x.cell.write(content.view())


def store(x: Tracer, value: Value) -> None:
    """Make `value`, of the type of x, what x is, by way of the views between it and its cell."""
    cell = x.cell
    shapes = [Tracer(cell).shape]
    for step in x.path:
        shapes.append(_shape_after(step, shapes[-1]))
    for k in reversed(range(len(x.path))):
        step = x.path[k]
        if step.op == "reshape":
            if isinstance(cell, ArgumentCell) and _long(shapes[k]) != _long(shapes[k + 1]):
                cell.reshaped = True
            value = emit("reshape", value, shape=shapes[k])
        elif step.op == "transpose":
            value = emit("transpose", value, axes=inverse(step.attrs["axes"]))
        elif k == 0 and step.is_block:
            assert cell.builder is not None and not isinstance(cell.content, np.ndarray)
            if value.type.size:
                cell.write(put(cell.content, step.attrs["starts"], value, cell.builder))
            return
        else:
            value = _overlaid(Tracer(cell, x.path[:k]).value, step, value)
    cell.write(value)


def _shape_after(step: Step, shape: Ints) -> Ints:
    if step.op == "transpose":
        return tuple(shape[a] for a in step.attrs["axes"])
    return step.attrs["shape" if step.op == "reshape" else "sizes"]


def _long(shape: Ints) -> Ints:
    """The sizes of the axes that are not of size 1."""
    return tuple(n for n in shape if n != 1)


def _overlaid(content: Value, step: Step, value: Value) -> Value:
    """The content with what a slice takes of it replaced."""
    starts, sizes, steps = step.attrs["starts"], step.attrs["sizes"], step.attrs["steps"]
    if not value.type.size:
        return content
    if step.is_block:
        done = wrap(content)
        done.cell.write(put(content, starts, value, current()))
        return done.value
    if any(s < 0 for s in steps):
        back = [(n - 1, -1) if s < 0 else (0, 1) for n, s in zip(sizes, steps, strict=True)]
        value = emit(
            "slice", value, starts=tuple(a for a, _ in back), sizes=sizes, steps=tuple(b for _, b in back)
        )
        starts = tuple(a + (n - 1) * min(s, 0) for a, n, s in zip(starts, sizes, steps, strict=True))
        steps = tuple(map(abs, steps))
    place = {"shape": content.shape, "starts": starts, "steps": steps}
    there = emit("pad", constant(True, Type(BOOL, sizes)), value=False, **place)
    fill = content.dtype.type(0).item()
    return where_value(there, emit("pad", value, value=fill, **place), content)
