"""The native call entry: a built-in function that checks flat leaves, computes, and wraps the results.

`make_entry` wraps one routine in machine code (`entry_text`, `entry_routine`) that every entry shares and
steers by a table of its own (`entry_plan`). Code specialized for each signature was the alternative: it saves
a nanosecond or two per leaf, which calls into Python and NumPy hide (a scalar result alone costs 25 ns), and
it costs milliseconds and the memory of an engine for every signature.

**Lifetime.** An entry is a `PyCFunction` whose `m_self` holds all that a call uses: `keep_alive` (the owner
of the compute code), the constants, `on_status`, the dtypes, the plan, and the routine with its
`PyMethodDef`. `m_self` is a plain tuple, which never changes and has no `tp_clear`, so that all of it lasts
until the function is deallocated; code is owned where the cycle collector does not see it
(`entry_spec.unseen`), and so outlives every finalizer that may call it. The routine takes no reference of its
own: CPython's callers hold the callable and its arguments for as long as the call runs, also while the GIL is
released, and the function holds `m_self` until it dies.

**Threads.** Plans are read only, the working memory belongs to the call, and there is no other state.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.runtime.entry_python import python_entry
from gradc.runtime.entry_spec import MISS, Call, Entry, LeafSpec, Structure

if TYPE_CHECKING:
    from gradc.runtime.entry_routine import Routine

__all__ = ["MISS", "Entry", "LeafSpec", "Structure", "make_entry", "make_python_entry"]


def make_entry(
    address: int,
    inputs: Sequence[LeafSpec],
    constants: Sequence[np.ndarray[Any, Any]],
    outputs: Sequence[LeafSpec],
    structure: Structure,
    arena_bytes: int,
    release_gil: bool,
    keep_alive: object,
    context_bytes: int,
    on_status: Callable[[int], object],
    parallel: tuple[int, int] = (0, 0),
    *,
    native: bool = True,
) -> Entry:
    """A function of flat leaves that runs the compute function at `address`.

    The compute function is `void f(void **in, void **out, char *arena, void *context)`: `in` points to the
    elements of the leaves, then of `constants` (C-contiguous, aligned, of native byte order); `out` to room
    for the outputs; the arena has `arena_bytes` (64-byte aligned, not cleared); the context has
    `context_bytes`, all zero. Its first field is an int64 status: where it is not zero afterwards,
    `on_status(status)` is called, which must raise.

    The result, of fresh arrays and NumPy scalars, is put together as `structure` says: `(0, (1, None))` is a
    tuple of output 0 and a tuple of output 1 and `None`. Leaves that are not exactly as `inputs` says (count,
    types, dtypes, shapes; arrays C-contiguous and aligned) give `MISS`, and nothing has happened. A call
    raises `MemoryError` where its arena or results do not fit, and what `on_status` raises. With
    `release_gil` other Python threads run meanwhile.

    `parallel`, the address of a function that runs chunks and how many threads may help it, go to the second
    and third word of the context (see `gradc.runtime.threads`). Without `native` the entry is in Python.

    `keep_alive`, the owner of the compute code, lives as long as the function; it must not lead back to the
    function, for the cycle collector does not look into it (`entry_spec.unseen`). Raises `ValueError` for
    arguments that do not fit together.
    """
    call = Call(
        address,
        tuple(inputs),
        tuple(constants),
        tuple(outputs),
        structure,
        arena_bytes,
        release_gil,
        keep_alive,
        context_bytes,
        on_status,
        parallel,
    )
    routine = native_routine() if native else None
    return routine.wrap(call) if routine else python_entry(call)


make_python_entry = functools.partial(make_entry, native=False)
"""What `make_entry` makes, in Python and ctypes: far slower, and the meaning the native one must have."""


@functools.cache
def native_routine() -> Routine | None:
    """The native routine, compiled and tried out at first use; `None`, with a warning, if that fails."""
    from gradc.runtime.entry_routine import Routine

    try:
        routine = Routine()
        try_out(routine)
    except Exception as error:
        warnings.warn(f"calls of compiled functions are slower than they could be: {error}", stacklevel=3)
        return None
    return routine


def try_out(routine: Routine) -> None:
    """Run the routine beside the Python entry; `RuntimeError` unless both do the same and leak nothing."""
    call, cases = rehearsal()
    native, python = routine.wrap(call), python_entry(call)
    for case in cases:
        found, expected = outcome(native, case), outcome(python, case)
        if found != expected:
            raise RuntimeError(f"the native entry gave {found}, not {expected}")
        counted = [*case, *(spec.dtype for spec in call.outputs)]
        before = [sys.getrefcount(thing) for thing in counted]
        for _ in range(64):
            outcome(native, case)
        after = [sys.getrefcount(thing) for thing in counted]
        if after != before:
            raise RuntimeError("the native entry changes the reference counts of what it is given")


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

    table = ctypes.POINTER(ctypes.c_void_p)
    callback = ctypes.CFUNCTYPE(None, table, table, ctypes.c_void_p, ctypes.c_void_p)(compute)
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
