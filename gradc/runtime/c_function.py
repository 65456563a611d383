"""C functions of another signature than the general one: what SciPy and the like call, with plain numbers.

The general function takes tables of pointers, an arena and a context. An adapter, made for one signature such
as `double (double)` or `int (double *, intptr_t, double *, void *)`, lays these out on its stack, calls it,
and gives what it computed. It needs neither Python nor the GIL.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from gradc.codegen.jit import Code, object_code
from gradc.ir.types import ALIGNMENT, Type
from gradc.runtime.buffers import address_of
from gradc.runtime.pool import pool

if TYPE_CHECKING:
    from gradc.runtime.executable import Executable

NUMBERS: Final[dict[str, tuple[str, str, Any]]] = {
    "double": ("float64", "double", ctypes.c_double),
    "float": ("float32", "float", ctypes.c_float),
    "int": ("int32", "i32", ctypes.c_int),
    "long": ("int64" if ctypes.sizeof(ctypes.c_long) == 8 else "int32", "", ctypes.c_long),
    "int64_t": ("int64", "i64", ctypes.c_int64),
    "intptr_t": ("int64", "i64", ctypes.c_ssize_t),
    "npy_intp": ("int64", "i64", ctypes.c_ssize_t),
}
"""Names of C's numbers: NumPy's dtype, LLVM's type, and that of ctypes."""

STACK: Final = 16 << 10
"""A larger arena is allocated for each call."""


class CType(NamedTuple):
    """One type of a signature; `pointer` to such numbers, or one itself."""

    name: str
    pointer: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(NUMBERS[self.name][0])

    @property
    def is_float(self) -> bool:
        return self.name in ("double", "float")

    @property
    def llvm(self) -> str:
        if self.pointer:
            return "ptr"
        return "void" if self.name == "void" else NUMBERS[self.name][1] or f"i{8 * self.dtype.itemsize}"

    @property
    def ctypes(self) -> Any:
        if self.name == "void":
            return ctypes.c_void_p if self.pointer else None
        plain = NUMBERS[self.name][2]
        return ctypes.POINTER(plain) if self.pointer else plain


def parse_signature(text: str) -> tuple[CType, list[CType]]:
    """What `"int (double *, intptr_t)"` returns and takes. Names of parameters may stand there too.

    Errors: `ValueError`.
    """
    whole = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", text)
    if whole is None:
        raise ValueError(f"{text!r} is no signature like 'double (double)'")
    parts = [p for p in whole[2].split(",") if p.strip() not in ("", "void")]
    return ctype(whole[1]), [ctype(part) for part in parts]


def ctype(text: str) -> CType:
    found = re.fullmatch(r"\s*(?:const\s+)?(\w+)\s*(\*?)\s*(?:const\s+)?\w*\s*", text)
    if found is None or (found[1] not in NUMBERS and found[1] != "void"):
        raise ValueError(
            f"{text.strip()!r} is none of {', '.join([*NUMBERS, 'void *'])}, nor a pointer to one"
        )
    return CType(found[1], bool(found[2]))


class Parts(NamedTuple):
    """What the parameters are for: numbers that are inputs, or the pointer to all inputs; that to outputs."""

    numbers: list[int]
    source: int | None
    target: int | None


def parts_of(
    result: CType, parameters: Sequence[CType], inputs: Sequence[Type], outputs: Sequence[Type]
) -> Parts:
    """Which parameter is which. Errors: `ValueError` where the signature does not fit what is computed.

    Floats by value are the inputs in order; where there are none, the first pointer is to the elements of all
    inputs, one after another. The next pointer is to those of all outputs, unless one is returned. Integers
    by value are counts, `void *` is a caller's own: nobody reads them.
    """
    numbers = [i for i, p in enumerate(parameters) if p.is_float and not p.pointer]
    pointers = [i for i, p in enumerate(parameters) if p.pointer and p.name != "void"]
    source = pointers.pop(0) if not numbers and inputs and pointers else None
    target = pointers.pop(0) if not result.is_float and pointers else None
    there = f"{_listed(inputs)} -> {_listed(outputs)}"
    if pointers or result.pointer or result.name not in ("double", "float", "int", "void"):
        raise ValueError(f"it has too many pointers for {there}, or returns none of double, float, int, void")
    if numbers:
        fits = [Type(parameters[i].dtype) for i in numbers] == list(inputs)
    else:
        fits = not inputs or (source is not None and all(t.dtype == parameters[source].dtype for t in inputs))
    if not fits:
        raise ValueError(f"its numbers are not the inputs of {there}")
    if result.is_float:
        fits = list(outputs) == [Type(result.dtype)]
    else:
        fits = target is not None and all(t.dtype == parameters[target].dtype for t in outputs)
    if not fits:
        raise ValueError(f"what it gives is not the result of {there}")
    return Parts(numbers, source, target)


def _listed(types: Sequence[Type]) -> str:
    return f"({', '.join(map(str, types))})"


def c_function(executable: Executable, signature: str) -> Any:
    """A ctypes function of a signature that computes what `executable` does, and keeps it alive.

    Errors: `ValueError` for a signature that does not fit.
    """
    result, parameters = parse_signature(signature)
    parts = parts_of(result, parameters, executable.inputs, executable.outputs)
    text = adapter(executable, result, parameters, parts)
    outside = {"take": pool().take, "give": pool().give}
    code = Code(object_code(text), {name: at for name, at in outside.items() if f"@{name}(" in text})
    prototype = ctypes.CFUNCTYPE(result.ctypes, *[p.ctypes for p in parameters])
    function = prototype(code.address("adapter"))
    function.owner = code, executable  # pyright: ignore[reportAttributeAccessIssue]
    return function


def adapter(executable: Executable, result: CType, parameters: Sequence[CType], parts: Parts) -> str:
    """The adapter as LLVM text."""
    ins = executable.inputs
    count = len(ins) + len(executable.constants)
    lines = [
        f"%in = alloca ptr, i64 {max(count, 1)}",
        f"%out = alloca ptr, i64 {max(len(executable.outputs), 1)}",
        f"%context = alloca i8, i64 {executable.context_bytes}, align {ALIGNMENT}",
        *[
            f"%word{k} = getelementptr i64, ptr %context, i64 {k}"
            for k in range(executable.context_bytes // 8)
        ],
        *[f"store i64 0, ptr %word{k}" for k in range(executable.context_bytes // 8)],
    ]
    if executable.parallel[0]:
        lines += [f"store i64 {word}, ptr %word{k}" for k, word in enumerate(executable.parallel, 1)]
    large = executable.memory > STACK
    if large:
        lines += [
            f"%arena = call ptr @take(i64 {executable.memory})",
            "%none = icmp eq ptr %arena, null",
            "br i1 %none, label %full, label %start",
            "start:",
        ]
    else:
        lines.append(f"%arena = alloca i8, i64 {max(executable.memory, 1)}, align {ALIGNMENT}")

    def put(table: str, k: int, pointer: str) -> None:
        lines.append(f"%{table}{k} = getelementptr ptr, ptr %{table}, i64 {k}")
        lines.append(f"store ptr {pointer}, ptr %{table}{k}")

    for k, i in enumerate(parts.numbers):
        lines.append(f"%number{k} = alloca {parameters[i].llvm}")
        lines.append(f"store {parameters[i].llvm} %p{i}, ptr %number{k}")
        put("in", k, f"%number{k}")
    if parts.source is not None:
        for k, place in enumerate(_places(ins)):
            lines.append(f"%source{k} = getelementptr i8, ptr %p{parts.source}, i64 {place}")
            put("in", k, f"%source{k}")
    for k, constant in enumerate(executable.constants, len(ins)):
        put("in", k, f"inttoptr (i64 {address_of(constant)} to ptr)")
    if parts.target is not None:
        for k, place in enumerate(_places(executable.outputs)):
            lines.append(f"%target{k} = getelementptr i8, ptr %p{parts.target}, i64 {place}")
            put("out", k, f"%target{k}")
    else:
        lines.append(f"%result = alloca {result.llvm}")
        put("out", 0, "%result")
    lines.append(
        f"call void inttoptr (i64 {executable.address} to ptr)(ptr %in, ptr %out, ptr %arena, ptr %context)"
    )
    if large:
        lines.append("call void @give(ptr %arena)")
    lines.append("%status = load i64, ptr %word0")
    lines.append("%good = icmp eq i64 %status, 0")
    lines += ["br i1 %good, label %done, label %full", "done:"]
    if result.is_float:
        lines += [f"%value = load {result.llvm}, ptr %result", f"ret {result.llvm} %value"]
        failed = f"ret {result.llvm} 0x7FF8000000000000"
    else:
        lines.append("ret i32 1" if result.name == "int" else "ret void")
        failed = "ret i32 0" if result.name == "int" else "ret void"
    lines += ["full:", failed]
    head = ", ".join([f"{p.llvm} %p{i}" for i, p in enumerate(parameters)])
    body = "\n  ".join(lines)
    declarations = "declare ptr @take(i64)\ndeclare void @give(ptr)\n" if large else ""
    return f"{declarations}define {result.llvm} @adapter({head}) {{\n  {body}\n}}\n"


def _places(types: Sequence[Type]) -> list[int]:
    """Where each of several arrays starts that lie one after another, in bytes."""
    places, at = [], 0
    for t in types:
        places.append(at)
        at += t.dtype.itemsize * math.prod(t.shape)
    return places
