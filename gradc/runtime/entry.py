"""The native call entry: a built-in function that binds arguments, checks them, computes, and wraps results.

All entries share one routine in machine code (`entry_text`, `entry_trees`, `entry_routine`), steered by plans
(`entry_plan`), one for each signature. Code specialized for each signature was the alternative: it saves a
nanosecond or two per leaf, which calls into Python and NumPy hide (a scalar result alone costs 25 ns), and it
costs milliseconds and the memory of an engine for every signature.

**Lifetime.** A function's `m_self` is a list: of a tuple of plans, and of what is called if none of them fits
(`native_function`). Plans come and go: the tuple is replaced as a whole, and a call holds the one that it
found. A plan owns all that it points to, in plain tuples, which never change and have no `tp_clear`, so that
all of it lasts as long as the plan; machine code is owned where the cycle collector does not see it
(`entry_spec.unseen`), and so outlives every finalizer that may call it. The routine itself is never unloaded.
CPython's callers hold the function and its arguments for as long as the call runs, also while the GIL is
released; what the routine takes out of containers it owns.

**Threads.** Plans are read only, the working memory belongs to the call, and there is no other state.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.runtime.entry_python import python_entry
from gradc.runtime.entry_spec import (
    MISS,
    Call,
    Entry,
    Form,
    LeafSpec,
    Structure,
)

if TYPE_CHECKING:
    from gradc.runtime.entry_plan import Plan
    from gradc.runtime.entry_routine import Routine

__all__ = [
    "MISS",
    "Entry",
    "LeafSpec",
    "Structure",
    "make_entry",
    "make_plan",
    "make_python_entry",
    "native_function",
]


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
    types, dtypes, shapes) give `MISS`, and nothing has happened. A call
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
    if native and (routine := native_routine()):
        return routine.entry(call)
    return python_entry(call)


def make_plan(call: Call, form: Form) -> Plan:
    """The plan of `call` for arguments of a form: see `gradc.runtime.entry_plan`."""
    from gradc.runtime import entry_plan

    return entry_plan.make_plan(call, form)


def native_function(state: list[Any], name: str, doc: str) -> Entry | None:
    """A built-in function, with any arguments, that tries the plans of `state[0]`, a tuple, and gives what
    `state[1]` gives for the same arguments if none fits; `None` where there is no native routine."""
    routine = native_routine()
    return routine.function(state, name, doc) if routine else None


make_python_entry = functools.partial(make_entry, native=False)
"""What `make_entry` makes, in Python and ctypes: far slower, and the meaning the native one must have."""


@functools.cache
def native_routine() -> Routine | None:
    """The native routine, compiled and tried out at first use; `None`, with a warning, if that fails."""
    from gradc.runtime.entry_routine import Routine

    try:
        routine = Routine()
        if routine.is_new:
            from gradc.runtime.entry_trial import try_out

            try_out(routine)
            routine.keep()
    except Exception as error:
        warnings.warn(f"calls of compiled functions are slower than they could be: {error}", stacklevel=3)
        return None
    return routine
