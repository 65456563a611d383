"""Loops of NumPy's and SciPy's ufuncs, by name: what object code refers to, found when it is loaded.

Object code names a loop by an external symbol such as `gradc.library.numpy.linalg.cholesky_lo.f64`. It is the
address of a record of two pointers: the loop, a C function
`void loop(char **args, intptr_t *dimensions, intptr_t *steps, void *data)`, and its data. So code holds no
address and can be cached, and what it needs is found anew in every process. `gradc.library.c.*` are functions
of the C library, with the constant that they are called with in place of the data.

Loops are read from the fields `functions`, `data` and `types` of NumPy's `PyUFuncObject`, whose layout has
been the same since NumPy 1.0; it is checked against what Python says of the same ufunc.
"""

from __future__ import annotations

import ctypes
import importlib
import re
import sys
from functools import cache

import numpy as np

from gradc.ir.errors import GradcError
from gradc.ir.types import NAMES

PREFIX = "gradc.library."

HOMES = {"numpy.linalg": "numpy.linalg._umath_linalg", "scipy.special": "scipy.special._ufuncs"}
"""The modules that hold the ufuncs, by the name that symbols have for them."""

NUMBERS = {"f32": "f", "f64": "d"}
"""The characters by which NumPy lists the dtypes of loops."""

FE_INVALID = 0x10 if sys.platform == "win32" else 1
"""The floating-point status flag for invalid operations, in C's <fenv.h> on x86-64 and AArch64."""

Record = ctypes.c_void_p * 2


class _Fields(ctypes.Structure):
    """What follows the object's head in a `PyUFuncObject`."""

    _fields_ = (
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("types", ctypes.POINTER(ctypes.c_ubyte)),
    )


def symbol(module: str, function: str, dtype: str) -> str:
    """The name of the loop that takes and gives numbers of one dtype ("f32", "f64"; flags aside)."""
    return f"{PREFIX}{module}.{function}.{dtype}"


def symbols_in(text: str) -> set[str]:
    """The loops that a module's text names."""
    return set(re.findall(rf"@({re.escape(PREFIX)}[\w.]+)", text))


@cache
def record(name: str) -> ctypes.Array[ctypes.c_void_p]:
    """The two pointers for which a symbol stands; they live as long as the process.

    Errors: `GradcError` if this NumPy or SciPy has no such loop, or keeps its loops in another way.
    """
    module, _, rest = name.removeprefix(PREFIX).rpartition(".")
    if module == "c":
        return Record(_c_function(rest), FE_INVALID)
    module, _, function = module.rpartition(".")
    return Record(*_loop(getattr(importlib.import_module(HOMES[module]), function), NUMBERS[rest]))


def _c_function(name: str) -> int:
    library = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


def _loop(ufunc: np.ufunc, kind: str) -> tuple[int | None, int | None]:
    """The loop of a ufunc all of whose operands have one dtype, and its data."""
    fields = _Fields.from_address(id(ufunc) + object.__basicsize__)
    known = (ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes)
    if (fields.nin, fields.nout, fields.nargs, fields.ntypes) != known:
        raise _unknown_layout(ufunc)
    rows = [
        "".join(_character(fields.types[row * ufunc.nargs + i]) for i in range(ufunc.nargs))
        for row in range(ufunc.ntypes)
    ]
    if rows != [types.replace("->", "") for types in ufunc.types]:
        raise _unknown_layout(ufunc)
    wanted = kind * ufunc.nargs
    if wanted not in rows:
        raise GradcError(f"{ufunc.__name__} has no loop for {np.dtype(kind).name}")
    row = rows.index(wanted)
    return fields.functions[row], fields.data[row]


def _character(number: int) -> str:
    """NumPy's character for the number of a dtype."""
    return _CHARACTERS.get(number, "?")


_CHARACTERS = {np.dtype(c).num: np.dtype(c).char for c in np.typecodes["All"]}


def _unknown_layout(ufunc: np.ufunc) -> GradcError:
    return GradcError(
        f"the loops of {ufunc.__name__} are not where NumPy {np.__version__} should have them",
        hint="report it, with the versions of NumPy and SciPy",
    )


def fetch(name: str, function: str, data: str) -> list[str]:
    """Instructions that load both pointers of a record into two registers."""
    return [
        f"  {function} = load ptr, ptr @{name}, align 8",
        f"  {data}.at = getelementptr ptr, ptr @{name}, i64 1",
        f"  {data} = load ptr, ptr {data}.at, align 8",
    ]


def declaration(name: str) -> str:
    return f"@{name} = external global [2 x ptr]"


def elementwise(own: str, function: str, dtype: str, lanes: int, arity: int) -> str:
    """The text of `own`, a function of vectors (scalars for one lane) that runs one of SciPy's loops on them.

    The loop reads and writes a few bytes of stack. It is not inlined: a call costs little beside the loop.
    """
    name = symbol("scipy.special", function, dtype)
    item = {"f32": "float", "f64": "double"}[dtype]
    t = item if lanes == 1 else f"<{lanes} x {item}>"
    size = NAMES[dtype].itemsize
    parameters = ", ".join(f"{t} %x{i}" for i in range(arity))
    lines = [f"define internal {t} @{own}({parameters}) #1 {{", "entry:"]
    lines += [f"  %b{i} = alloca {t}, align 64" for i in range(arity + 1)]
    lines += [
        f"  %args = alloca [{arity + 1} x ptr], align 8",
        f"  %steps = alloca [{arity + 1} x i64], align 8",
        "  %count = alloca i64, align 8",
        f"  store i64 {lanes}, ptr %count, align 8",
    ]
    for i in range(arity + 1):
        if i < arity:
            lines.append(f"  store {t} %x{i}, ptr %b{i}, align {size}")
        lines += [
            f"  %args.{i} = getelementptr ptr, ptr %args, i64 {i}",
            f"  store ptr %b{i}, ptr %args.{i}, align 8",
            f"  %steps.{i} = getelementptr i64, ptr %steps, i64 {i}",
            f"  store i64 {size}, ptr %steps.{i}, align 8",
        ]
    lines += [
        *fetch(name, "%loop", "%data"),
        "  call void %loop(ptr %args, ptr %count, ptr %steps, ptr %data)",
        f"  %y = load {t}, ptr %b{arity}, align {size}",
        f"  ret {t} %y",
        "}",
    ]
    return "\n".join([declaration(name), *lines])
