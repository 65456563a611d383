"""The native routine of all entries, compiled once in a process, and made into functions.

Checks first that this Python and this NumPy are as the routine's text (`entry_text`) assumes.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import struct
import sys
from typing import Any, Final, cast

import numpy as np

from gradc.codegen.jit import Code, object_code
from gradc.runtime import entry_text
from gradc.runtime.buffers import address_of
from gradc.runtime.entry_plan import make_plan
from gradc.runtime.entry_spec import MISS, Call, Entry, flat_form
from gradc.runtime.forever import keep, keep_forever, kept
from gradc.runtime.pool import pool

NUMPY_ABI: Final = 0x02000000
NUMPY_TABLE: Final = {
    "PyArray_GetNDArrayCVersion": 0,
    "PyArray_Type": 2,
    "PyDoubleArrType_Type": 31,
    "PyArray_Scalar": 60,
    "PyArray_ScalarAsCtype": 62,
    "PyArray_NewCopy": 85,
    "PyArray_EquivTypes": 182,
    "PyArray_Empty": 184,
    "PyDataMem_SetHandler": 304,
}
"""Places in NumPy's table of C functions and types."""

METH_FASTCALL_KEYWORDS: Final = 0x0080 | 0x0002


class MethodDef(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class Routine:
    """The compiled routine, which is never unloaded. `RuntimeError` where it cannot be used."""

    def __init__(self) -> None:
        fault = layout_fault()
        if fault:
            raise RuntimeError(fault)
        rows = entry_text.DECLARATIONS.splitlines()
        names = [row.split("@")[1].split("(")[0] for row in rows if row.startswith("declare")]
        outside = {name: api_address(name) for name in names}
        self._key = f"{entry_text.DECLARATIONS}{entry_text.ROUTINE}{entry_text.TREES}{entry_text.FIELDS}"
        code, self._new = kept(self._key, outside), b""
        if code is None:
            self._new = object_code(entry_text.plain_llvm(), level=0)
            code = Code(self._new, outside)
        self.code = code
        keep_forever(self.code)
        self.address = self.code.address("entry")
        self.methods: dict[tuple[str, str], MethodDef] = {}

    @property
    def is_new(self) -> bool:
        """Whether it does not come from the cache, where it is kept for the Python, the NumPy and the machine
        that it was tried out with."""
        return bool(self._new)

    def keep(self) -> None:
        """Put the routine into the cache: it was tried out."""
        keep(self._key, self._new)

    def function(self, state: list[Any], name: str, doc: str) -> Entry:
        """A built-in function with the given state: a tuple of plans, and what to call if none fits."""
        method = self.methods.get((name, doc))
        if method is None:
            signature = f"{name}($self, /, *args, **kwargs)\n--\n\n"
            method = MethodDef(
                name.encode(), self.address, METH_FASTCALL_KEYWORDS, (signature + doc).encode()
            )
            keep_forever(method)
            method = self.methods.setdefault((name, doc), method)
        new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
        new_function = new(("PyCFunction_NewEx", ctypes.pythonapi))
        return new_function(ctypes.addressof(method), state, None)

    def entry(self, call: Call) -> Entry:
        """The function of the leaves of a call, or `MISS`."""
        plan = make_plan(call, flat_form(len(call.inputs)))
        return self.function([(plan,), missed], "entry", "A compiled function: flat leaves in, results out.")


def missed(*args: object, **kwargs: object) -> object:
    """What an entry gives for a call that is not its own."""
    return MISS


def api_address(name: str) -> int:
    """The address of a C function of Python, NumPy or the pool."""
    if name in ("take", "give"):
        return getattr(pool(), name)
    if name in NUMPY_TABLE:
        return numpy_table()[NUMPY_TABLE[name]]
    return cast(int, ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value)


@functools.cache
def numpy_table() -> ctypes.Array[ctypes.c_size_t]:
    """NumPy's table of C functions and types."""
    capsule = importlib.import_module("numpy._core._multiarray_umath")._ARRAY_API
    prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    address = prototype(("PyCapsule_GetPointer", ctypes.pythonapi))(capsule, None)
    return (ctypes.c_size_t * (max(NUMPY_TABLE.values()) + 1)).from_address(address)


def layout_fault() -> str | None:
    """What is not as the routine assumes in this Python and NumPy, if anything."""
    if struct.calcsize("P") != 8:
        return "pointers are not 64 bits wide"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "without the GIL, containers may change while they are read"
    array = np.zeros((2, 3), np.float32)[:, ::2]
    for thing in (1.5, np.float32(1.5), array, array.dtype, (), None):
        if peek(thing, "Object.type") != id(type(thing)):
            return f"the type of a {type(thing).__name__} is not at the end of its header"
    table = numpy_table()
    version = ctypes.CFUNCTYPE(ctypes.c_uint)(table[NUMPY_TABLE["PyArray_GetNDArrayCVersion"]])()
    if version != NUMPY_ABI:
        return f"NumPy's C ABI is {version:#x}, not {NUMPY_ABI:#x}"
    types = (table[NUMPY_TABLE["PyArray_Type"]], table[NUMPY_TABLE["PyDoubleArrType_Type"]])
    if types != (id(np.ndarray), id(np.float64)):
        return "NumPy's table of C functions is not in its usual order"
    for number in (np.float64(-1.5), np.float32(-1.5), np.int64(-3), np.int32(-3), np.int8(-3), np.uint64(3)):
        value = ctypes.string_at(id(number) + entry_text.HEADER, number.nbytes)
        if value != number.tobytes() or type(number).__basicsize__ < entry_text.HEADER + 8:
            return f"the value of a {type(number).__name__} is not behind its header"
    int_bits = 0xFFFFFFFF
    found = {
        "data": peek(array, "Array.data"),
        "nd": peek(array, "Array.nd") & int_bits,
        "descr": peek(array, "Array.descr"),
        "flags": peek(array, "Array.flags") & int_bits,
    }
    known = {"data": address_of(array), "nd": 2, "descr": id(array.dtype), "flags": array.flags.num}
    if found != known:
        return "the fields of an array are not where NumPy's headers say"
    # Read last: what is between the right nd and the right descr is a pointer.
    if tuple((ctypes.c_ssize_t * 2).from_address(peek(array, "Array.dimensions"))) != array.shape:
        return "the shape of an array is not where NumPy's headers say"
    return None


def peek(thing: Any, field: str) -> int:
    """The word in a field of an object."""
    return ctypes.c_size_t.from_address(id(thing) + entry_text.FIELDS[field]).value
