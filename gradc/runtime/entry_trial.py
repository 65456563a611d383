"""The self-test of the native routine, at its first use: the rehearsal of two calls.

What it checks is what differs between Pythons and NumPys: layouts, reference counts, the C API's behaviour.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.runtime.entry_plan import make_plan
from gradc.runtime.entry_python import python_entry
from gradc.runtime.entry_routine import Routine, missed
from gradc.runtime.entry_spec import MISS, Call, Container, Entry, Fixed, Form, LeafSpec


def try_out(routine: Routine) -> None:
    """Run the routine beside the Python entry; `RuntimeError` unless both do the same and leak nothing."""
    try_leaves(routine)
    try_trees(routine)


def try_leaves(routine: Routine) -> None:
    """See to it that a routine checks, computes and wraps flat leaves as the Python entry does."""
    call, cases = rehearsal()
    native, python = routine.entry(call), python_entry(call)
    for case in cases:
        found, expected = outcome(native, case), outcome(python, case)
        if found != expected:
            raise RuntimeError(f"the native entry gave {found}, not {expected}")
        counted = [*case, *(spec.dtype for spec in call.outputs)]
        before = [sys.getrefcount(thing) for thing in counted]
        for _ in range(8):
            outcome(native, case)
        after = [sys.getrefcount(thing) for thing in counted]
        if after != before:
            raise RuntimeError("the native entry changes the reference counts of what it is given")


def try_trees(routine: Routine) -> None:
    """See to it that it takes and gives containers of every kind, and arguments in every way."""

    def compute(ins: Any, outs: Any, arena: int, context: int) -> None:
        for k in range(3):
            ctypes.memmove(outs[k], ins[k], 8)

    callback = compute_function(compute)
    number = LeafSpec(np.dtype(np.float64), (), "float")
    result = LeafSpec(np.dtype(np.float64), (), "scalar")
    parts = Container(
        Rehearsed, ("x", "y"), (1, Container(list, (), (Fixed("s", "equal"), Container(tuple, (), (2,)))))
    )
    form = Form(
        (Container(dict, ("w", 1), (0, Fixed(None, "is"))), parts, Fixed(2.0, "bits")),
        ("p", "q", "scale"),
        (MISS, MISS, 2.0),
        2,
        2,
    )
    structure = Container(dict, ("a", "b"), (Container(list, (), (0, Fixed("c"))), (1, 2)))
    call = Call(
        address=ctypes.cast(callback, ctypes.c_void_p).value or 0,
        inputs=(number,) * 3,
        constants=(),
        outputs=(result,) * 3,
        structure=Container(Rehearsed, ("x", "y"), (structure, 0), None),
        arena_bytes=0,
        release_gil=False,
        keep_alive=callback,
        context_bytes=8,
        on_status=raise_for_rehearsal,
    )
    function = routine.function([(make_plan(call, form),), missed], "entry", "A rehearsal.")
    p, q = {"w": 1.5, 1: None}, Rehearsed(2.5, ["s", (3.5,)])
    for _ in range(3):
        for good in (function(p, q), function(q=q, p=p), function(p, scale=2.0, q=q)):
            if type(good) is not Rehearsed or (good.x, good.y) != ({"a": [1.5, "c"], "b": (2.5, 3.5)}, 1.5):
                raise RuntimeError(f"the native entry gave {good!r} for trees")
        wrong = ({1: None, "w": 1.5}, {"w": 1.5}, {"w": 1.5, 1: 0}, [1.5, None])
        others = [Rehearsed(2.5, y) for y in (["t", (3.5,)], ["s", (3.5, 1.0)], ["s"], ("s", (3.5,)), 1.0)]
        calls = [((w, q), {}) for w in wrong] + [((p, other), {}) for other in others]
        for args, named in [*calls, ((p,), {}), ((p, q), {"scale": -2.0}), ((p, q), {"other": 2.0})]:
            if function(*args, **named) is not MISS:
                raise RuntimeError("the native entry takes trees that are not its own")


class Rehearsed:
    """Two fields, as a dataclass has them."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y


def compute_function(compute: Callable[[Any, Any, int, int], None]) -> Any:
    """A compute function in Python."""
    table = ctypes.POINTER(ctypes.c_void_p)
    return ctypes.CFUNCTYPE(None, table, table, ctypes.c_void_p, ctypes.c_void_p)(compute)


def rehearsal() -> tuple[Call, list[tuple[Any, ...]]]:
    """A small call with leaves of every kind, computed in Python, and leaves that fit it and that do not."""
    # Dtypes of its own, whose reference counts nothing else changes.
    f64, f32 = np.dtype(np.float64, False, True), np.dtype(np.float32, False, True)

    def compute(ins: Any, outs: Any, arena: int, context: int) -> None:
        ctypes.memset(arena, 0, 64)
        for source, target, size in ((0, 0, 8), (1, 1, 4), (2, 2, 48), (3, 3, 8)):
            ctypes.memmove(outs[target], ins[source], size)
        if ctypes.c_float.from_address(ins[1]).value < 0:
            ctypes.c_int64.from_address(context).value = -7

    callback = compute_function(compute)
    array = LeafSpec(f64, (2, 3), "array")
    call = Call(
        address=ctypes.cast(callback, ctypes.c_void_p).value or 0,
        inputs=(LeafSpec(f64, (), "float"), LeafSpec(f32, (), "scalar"), array),
        constants=(np.array([4.5]),),
        outputs=(
            LeafSpec(f64, (), "scalar"),
            LeafSpec(f32, (), "scalar"),
            array,
            LeafSpec(f64, (1,), "array"),
        ),
        structure=(0, (1, None, 2), 3, ()),
        arena_bytes=64,
        release_gil=True,
        keep_alive=callback,
        context_bytes=8,
        on_status=raise_for_rehearsal,
    )
    x, y, z = float("0.5"), np.float32(1.5), np.arange(6.0).reshape(2, 3)
    wrong = [z.T, z[:1], z[:, 0].copy(), np.asfortranarray(z), z.astype(">f8"), z.view(np.int64), x]
    cases = [(x, y, z), (x, y), (x, x, z), (np.float64(x), y, z), (x, np.float64(x), z)]
    return call, [*cases, *((x, y, w) for w in wrong), (x, -y, z), (x, y, z.view(f64))]


def raise_for_rehearsal(status: int) -> None:
    """Raise for a status of the rehearsal."""
    raise ArithmeticError(status)


def outcome(entry: Entry, leaves: tuple[Any, ...]) -> str:
    """What a call of the rehearsal gives, in comparable form."""
    try:
        result = entry(*leaves)
    except ArithmeticError as error:
        return repr(error)
    if result is MISS:
        return "MISS"
    a, (b, nothing, c), d, empty = result
    results = [a, b, c, d]
    return repr([(type(r), r.dtype.str, r.tolist()) for r in results] + [nothing, empty])
