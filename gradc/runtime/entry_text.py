"""The native routine of all entries, as LLVM text: it runs one call as a plan says.

Three abbreviations keep it readable; `expand` turns them into plain LLVM:

    %x = field TYPE %record Record.name    load a field of a record (`FIELDS`)
    %x = item TYPE %table %i               load word i of a table;  `put TYPE %x %table %i` stores it
    loop %i to %n ... again %i             run what is between for i = 0 .. n-1; `br label %i.latch` goes on

Of memory layouts it assumes that an object's type is the last word of its header, so that NumPy's documented
`PyArrayObject` follows at `object.__basicsize__`; `entry_routine.layout_fault` reads off real objects whether
both hold. Everything else is C API.
"""

from __future__ import annotations

import itertools
import re
from typing import Final

from gradc.ir.types import ALIGNMENT
from gradc.runtime.entry_plan import BUILD, BUILDS, KINDS, LEAF, PLAN, WALK, WALKS
from gradc.runtime.entry_trees import TREES

HEADER: Final = object.__basicsize__

FIELDS: Final = {
    **{f"Plan.{name}": 8 * k for k, name in enumerate(PLAN)},
    **{f"Leaf.{name}": 8 * k for k, name in enumerate(LEAF)},
    **{f"Walk.{name}": 8 * k for k, name in enumerate(WALK)},
    **{f"Build.{name}": 8 * k for k, name in enumerate(BUILD)},
    "Object.type": HEADER - 8,
    "Array.data": HEADER,
    "Array.nd": HEADER + 8,
    "Array.dimensions": HEADER + 16,
    "Array.descr": HEADER + 40,
    "Array.flags": HEADER + 48,
}
"""Byte offsets."""

PYTHON_API: Final = """
declare i64 @PyTuple_Size(ptr)
declare ptr @PyTuple_GetItem(ptr, i64)
declare ptr @PyTuple_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare i64 @PyList_Size(ptr)
declare ptr @PyList_GetItem(ptr, i64)
declare ptr @PyList_New(i64)
declare i32 @PyList_SetItem(ptr, i64, ptr)
declare i64 @PyDict_Size(ptr)
declare i32 @PyDict_Next(ptr, ptr, ptr, ptr)
declare ptr @PyDict_New()
declare i32 @PyDict_SetItem(ptr, ptr, ptr)
declare i32 @PyUnicode_Compare(ptr, ptr)
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare i32 @PyObject_GenericSetAttr(ptr, ptr, ptr)
declare i32 @PyObject_RichCompareBool(ptr, ptr, i32)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyType_GenericAlloc(ptr, i64)
declare ptr @PyErr_NoMemory()
declare ptr @PyErr_Occurred()
declare i32 @PyErr_ExceptionMatches(ptr)
declare void @PyErr_Clear()
declare void @PyErr_SetObject(ptr, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
"""

NUMPY_API: Final = """
declare ptr @PyArray_Scalar(ptr, ptr, ptr)
declare void @PyArray_ScalarAsCtype(ptr, ptr)
declare zeroext i8 @PyArray_EquivTypes(ptr, ptr)
declare ptr @PyArray_NewCopy(ptr, i32)
declare ptr @PyArray_Empty(i32, ptr, ptr, i32)
declare ptr @PyDataMem_SetHandler(ptr)
"""

POOL_API: Final = """
declare ptr @take(i64)
declare void @give(ptr)
"""

DECLARATIONS: Final = PYTHON_API + NUMPY_API + POOL_API

ALIGNED_C_ORDER: Final = 0x0101
"""NPY_ARRAY_ALIGNED | NPY_ARRAY_C_CONTIGUOUS"""

MISSED: Final = 1
"""What an attempt gives where a plan is not for the call: no address of an object."""

ROUTINE: Final = """
; The METH_FASTCALL | METH_KEYWORDS function. `state` is a list of a tuple of plans, which are tried one after
; another, and of what to call if none fits. (The tuple may be replaced, and the list emptied, meanwhile.)
define ptr @entry(ptr %state, ptr %args, i64 %count, ptr %names) {
  %plans = call ptr @PyList_GetItem(ptr %state, i64 0)
  %dead = icmp eq ptr %plans, null
  br i1 %dead, label %gone, label %alive
gone:
  ret ptr null
alive:
  call void @Py_IncRef(ptr %plans)
  %plan_count = call i64 @PyTuple_Size(ptr %plans)
  loop %p to %plan_count
  %owner = call ptr @PyTuple_GetItem(ptr %plans, i64 %p)
  %words = call ptr @PyTuple_GetItem(ptr %owner, i64 0)
  %plan = field ptr %words Array.data
  %answer = call ptr @attempt(ptr %plan, ptr %args, i64 %count, ptr %names)
  %missed = icmp eq ptr %answer, inttoptr (i64 MISSED to ptr)
  br i1 %missed, label %p.latch, label %answered
  again %p
  %slow = call ptr @PyList_GetItem(ptr %state, i64 1)
  call void @Py_IncRef(ptr %slow)
  %other = call ptr @PyObject_Vectorcall(ptr %slow, ptr %args, i64 %count, ptr %names)
  call void @Py_DecRef(ptr %slow)
  br label %answered
answered:
  %result = phi ptr [ %answer, %p.body ], [ %other, %p.done ]
  call void @Py_DecRef(ptr %plans)
  ret ptr %result
}

; One call by one plan: gives it its frame, and takes that back. A new reference to the result, null with an
; exception set, or MISSED. (A frame on the stack is small enough to need no probe, which on Windows would be
; a library's function.)
define internal ptr @attempt(ptr %plan, ptr %args, i64 %count, ptr %names) "no-stack-arg-probe" {
  %positional = field i64 %plan Plan.positional
  %many = icmp sgt i64 %count, %positional
  br i1 %many, label %miss, label %open
miss:
  ret ptr inttoptr (i64 MISSED to ptr)
open:
  %bytes = field i64 %plan Plan.frame_bytes
  %on_heap = field i64 %plan Plan.on_heap
  %large = icmp ne i64 %on_heap, 0
  br i1 %large, label %heap, label %stack
stack:
  %local = alloca i8, i64 %bytes, align ALIGNMENT
  %quick = call ptr @run(ptr %plan, ptr %args, i64 %count, ptr %names, ptr %local)
  ret ptr %quick
heap:
  %block = call ptr @take(i64 %bytes)
  %empty = icmp eq ptr %block, null
  br i1 %empty, label %full, label %held
full:
  %raised = call ptr @PyErr_NoMemory()
  ret ptr %raised
held:
  %result = call ptr @run(ptr %plan, ptr %args, i64 %count, ptr %names, ptr %block)
  call void @give(ptr %block)
  ret ptr %result
}

; The address of an input's elements, or null where the object is not what the leaf says. An array in another
; layout is copied; the call owns the copy, in a slot.
define internal ptr @read(ptr %leaf, ptr %object, ptr %frame, ptr %slot) {
  %type = field ptr %object Object.type
  %first = field ptr %leaf Leaf.type
  %is_first = icmp eq ptr %type, %first
  br i1 %is_first, label %typed, label %other
other:
  %twin = field ptr %leaf Leaf.twin
  %is_twin = icmp eq ptr %type, %twin
  br i1 %is_twin, label %typed, label %miss
typed:
  %place = field i64 %leaf Leaf.number
  %number = getelementptr i8, ptr %frame, i64 %place
  %kind = field i64 %leaf Leaf.kind
  switch i64 %kind, label %array [ i64 KIND_FLOAT, label %float  i64 KIND_SCALAR, label %scalar ]
float:
  %x = call double @PyFloat_AsDouble(ptr %object)
  store double %x, ptr %number
  ret ptr %number
scalar:
  call void @PyArray_ScalarAsCtype(ptr %object, ptr %number)
  ret ptr %number
array:
  %have.nd = field i32 %object Array.nd
  %nd = zext i32 %have.nd to i64
  %want.nd = field i64 %leaf Leaf.nd
  %same.nd = icmp eq i64 %nd, %want.nd
  br i1 %same.nd, label %axes, label %miss
axes:
  %have.shape = field ptr %object Array.dimensions
  %want.shape = field ptr %leaf Leaf.shape
  loop %axis to %nd
  %have.size = item i64 %have.shape %axis
  %want.size = item i64 %want.shape %axis
  %same.size = icmp eq i64 %have.size, %want.size
  br i1 %same.size, label %axis.latch, label %miss
  again %axis
  %have.descr = field ptr %object Array.descr
  %want.descr = field ptr %leaf Leaf.descr
  %same.descr = icmp eq ptr %have.descr, %want.descr
  br i1 %same.descr, label %accept, label %compare
compare:                                        ; unpickled dtypes, and twins, are other objects
  %equivalent = call zeroext i8 @PyArray_EquivTypes(ptr %have.descr, ptr %want.descr)
  %equal = icmp ne i8 %equivalent, 0
  br i1 %equal, label %accept, label %miss
accept:
  %flags = field i32 %object Array.flags
  %layout = and i32 %flags, ALIGNED_C_ORDER
  %plain = icmp eq i32 %layout, ALIGNED_C_ORDER
  br i1 %plain, label %here, label %copy
here:
  %data = field ptr %object Array.data
  ret ptr %data
copy:
  %ordered = call ptr @PyArray_NewCopy(ptr %object, i32 0)
  store ptr %ordered, ptr %slot
  %failed = icmp eq ptr %ordered, null
  br i1 %failed, label %miss, label %copied
copied:
  %ordered.data = field ptr %ordered Array.data
  ret ptr %ordered.data
miss:
  ret ptr null
}

; One call with a frame: see `attempt`.
define internal ptr @run(ptr %plan, ptr %args, i64 %count, ptr %names, ptr %frame) {
  %slots.place = field i64 %plan Plan.slots
  %slots = getelementptr i8, ptr %frame, i64 %slots.place
  %arena.place = field i64 %plan Plan.arena
  %arena = getelementptr i8, ptr %frame, i64 %arena.place
  %in.place = field i64 %plan Plan.in
  %in = getelementptr i8, ptr %frame, i64 %in.place
  %out.place = field i64 %plan Plan.out
  %out = getelementptr i8, ptr %frame, i64 %out.place
  %inputs = field i64 %plan Plan.inputs
  %outputs = field i64 %plan Plan.outputs
  %cleared_words = field i64 %plan Plan.cleared_words
  loop %z to %cleared_words
  put i64 0 %frame %z
  br label %z.latch
  again %z

  %accepted = call i1 @bind(ptr %plan, ptr %args, i64 %count, ptr %names, ptr %slots)
  br i1 %accepted, label %taken, label %miss
taken:
  %fitting = call i1 @walk(ptr %plan, ptr %slots)
  br i1 %fitting, label %walked, label %miss
walked:
  %input_slots = field ptr %plan Plan.input_slots
  %input_leaves = field ptr %plan Plan.input_leaves
  %copies.first = field i64 %plan Plan.copies
  %copies = getelementptr ptr, ptr %slots, i64 %copies.first
  loop %i to %inputs
  %i.place = mul i64 %i, LEAF_BYTES
  %i.leaf = getelementptr i8, ptr %input_leaves, i64 %i.place
  %i.slot = item i64 %input_slots %i
  %argument = item ptr %slots %i.slot
  %i.copy = getelementptr ptr, ptr %copies, i64 %i
  %input = call ptr @read(ptr %i.leaf, ptr %argument, ptr %frame, ptr %i.copy)
  put ptr %input %in %i
  %wrong = icmp eq ptr %input, null
  br i1 %wrong, label %miss, label %i.latch
  again %i

  %constants = field i64 %plan Plan.constants
  %constant_data = field ptr %plan Plan.constant_data
  loop %c to %constants
  %constant = item ptr %constant_data %c
  %c.in = add i64 %inputs, %c
  put ptr %constant %in %c.in
  br label %c.latch
  again %c

  %run = field ptr %plan Plan.run
  %single = icmp eq ptr %run, null
  br i1 %single, label %allocation, label %parallel
parallel:
  %helpers = field i64 %plan Plan.helpers
  %run.place = getelementptr i8, ptr %frame, i64 8
  store ptr %run, ptr %run.place
  %helpers.place = getelementptr i8, ptr %frame, i64 16
  store i64 %helpers, ptr %helpers.place
  br label %allocation
allocation:
  ; Large results come from the pool: its handler takes the place of the usual one meanwhile.
  %handler = field ptr %plan Plan.handler
  %pooled = icmp ne ptr %handler, null
  br i1 %pooled, label %hook, label %prepare
hook:
  %usual = call ptr @PyDataMem_SetHandler(ptr %handler)
  %unhooked = icmp eq ptr %usual, null
  br i1 %unhooked, label %close, label %prepare
prepare:
  %before = phi ptr [ null, %allocation ], [ %usual, %hook ]
  %output_leaves = field ptr %plan Plan.output_leaves
  %made.first = field i64 %plan Plan.made
  %made = getelementptr ptr, ptr %slots, i64 %made.first
  loop %o to %outputs
  %o.place = mul i64 %o, LEAF_BYTES
  %o.leaf = getelementptr i8, ptr %output_leaves, i64 %o.place
  %o.kind = field i64 %o.leaf Leaf.kind
  %o.array = icmp eq i64 %o.kind, KIND_ARRAY
  br i1 %o.array, label %allocate, label %reserve
reserve:
  %number.place = field i64 %o.leaf Leaf.number
  %room = getelementptr i8, ptr %frame, i64 %number.place
  put ptr %room %out %o
  br label %o.latch
allocate:
  %descr = field ptr %o.leaf Leaf.descr
  call void @Py_IncRef(ptr %descr)              ; PyArray_Empty takes it over
  %nd = field i64 %o.leaf Leaf.nd
  %axes = trunc i64 %nd to i32
  %shape = field ptr %o.leaf Leaf.shape
  %array = call ptr @PyArray_Empty(i32 %axes, ptr %shape, ptr %descr, i32 0)
  put ptr %array %made %o
  %refused = icmp eq ptr %array, null
  br i1 %refused, label %refusal, label %allocated
refusal:
  call void @restore(ptr %before)
  %no_memory = call ptr @PyErr_NoMemory()
  br label %close
allocated:
  %data = field ptr %array Array.data
  put ptr %data %out %o
  br label %o.latch
  again %o

  call void @restore(ptr %before)
  %compute = field ptr %plan Plan.compute
  %release_gil = field i64 %plan Plan.release_gil
  %released = icmp ne i64 %release_gil, 0
  br i1 %released, label %without_gil, label %with_gil
without_gil:
  %thread = call ptr @PyEval_SaveThread()
  call void %compute(ptr %in, ptr %out, ptr %arena, ptr %frame)
  call void @PyEval_RestoreThread(ptr %thread)
  br label %computed
with_gil:
  call void %compute(ptr %in, ptr %out, ptr %arena, ptr %frame)
  br label %computed
computed:
  %status = load i64, ptr %frame
  %failed = icmp ne i64 %status, 0
  br i1 %failed, label %report, label %wrap
report:
  %error = field ptr %plan Plan.error
  call void @raise(ptr %error, i64 %status)
  br label %close

wrap:
  loop %s to %outputs
  %s.place = mul i64 %s, LEAF_BYTES
  %s.leaf = getelementptr i8, ptr %output_leaves, i64 %s.place
  %s.kind = field i64 %s.leaf Leaf.kind
  %s.array = icmp eq i64 %s.kind, KIND_ARRAY
  br i1 %s.array, label %s.latch, label %scalar
scalar:
  %value = item ptr %out %s
  %s.type = field ptr %s.leaf Leaf.simple
  %s.general = icmp eq ptr %s.type, null
  br i1 %s.general, label %general, label %number
general:
  %s.descr = field ptr %s.leaf Leaf.descr
  %boxed = call ptr @PyArray_Scalar(ptr %value, ptr %s.descr, ptr null)
  put ptr %boxed %made %s
  %unboxed = icmp eq ptr %boxed, null
  br i1 %unboxed, label %close, label %s.latch
number:                                         ; as PyArray_Scalar does it after a number of questions
  %new = call ptr @PyType_GenericAlloc(ptr %s.type, i64 0)
  put ptr %new %made %s
  %no_new = icmp eq ptr %new, null
  br i1 %no_new, label %close, label %assign
assign:
  %bits = load i64, ptr %value
  %new.value = getelementptr i8, ptr %new, i64 OBJECT_BYTES
  store i64 %bits, ptr %new.value
  br label %s.latch
  again %s

  %whole = call i1 @build(ptr %plan, ptr %slots)
  br i1 %whole, label %ready, label %close
ready:
  %root.slot = field i64 %plan Plan.root
  %root = item ptr %slots %root.slot
  call void @Py_IncRef(ptr %root)
  br label %close
miss:                                           ; or an error on the way
  %pending = call ptr @PyErr_Occurred()
  %clear = icmp eq ptr %pending, null
  %nothing = select i1 %clear, ptr inttoptr (i64 MISSED to ptr), ptr null
  br label %close
close:                                          ; give up what the call owns
  %result = phi ptr [ %root, %ready ], [ %nothing, %miss ], [ null, %hook ], [ null, %refusal ],
                    [ null, %report ], [ null, %general ], [ null, %number ], [ null, %s.done ]
  %owned = field i64 %plan Plan.owned
  %slot_count = field i64 %plan Plan.slot_count
  %owning = sub i64 %slot_count, %owned
  %first_owned = getelementptr ptr, ptr %slots, i64 %owned
  loop %d to %owning
  %object = item ptr %first_owned %d
  call void @Py_DecRef(ptr %object)             ; does nothing to null
  br label %d.latch
  again %d
  ret ptr %result
}

; Make a handler, if there is one, NumPy's own again.
define internal void @restore(ptr %before) {
  %none = icmp eq ptr %before, null
  br i1 %none, label %done, label %set
set:
  %pool = call ptr @PyDataMem_SetHandler(ptr %before)
  call void @Py_DecRef(ptr %pool)
  call void @Py_DecRef(ptr %before)
  br label %done
done:
  ret void
}

; Set the exception that `error(status)` gives.
define internal void @raise(ptr %error, i64 %status) {
  %arguments = alloca ptr
  %number = call ptr @PyLong_FromLongLong(i64 %status)
  store ptr %number, ptr %arguments
  %no_number = icmp eq ptr %number, null
  br i1 %no_number, label %done, label %ask
ask:
  %exception = call ptr @PyObject_Vectorcall(ptr %error, ptr %arguments, i64 1, ptr null)
  call void @Py_DecRef(ptr %number)
  %no_exception = icmp eq ptr %exception, null
  br i1 %no_exception, label %done, label %set
set:
  %type = field ptr %exception Object.type
  call void @PyErr_SetObject(ptr %type, ptr %exception)
  call void @Py_DecRef(ptr %exception)
  br label %done
done:
  ret void
}
"""


def plain_llvm() -> str:
    """The whole module as plain LLVM."""
    return expand(DECLARATIONS + ROUTINE + TREES)


def expand(text: str) -> str:
    """`text` without abbreviations, and with the numbers that its names in capitals stand for."""
    numbers = {
        "ALIGNMENT": ALIGNMENT,
        "OBJECT_BYTES": HEADER,
        "ALIGNED_C_ORDER": ALIGNED_C_ORDER,
        "LEAF_BYTES": 8 * len(LEAF),
        "WALK_BYTES": 8 * len(WALK),
        "BUILD_BYTES": 8 * len(BUILD),
        "MISSED": MISSED,
        **{f"KIND_{name.upper()}": number for name, number in KINDS.items()},
        **{f"WALK_{name.upper()}": number for name, number in WALKS.items()},
        **{f"BUILD_{name.upper()}": number for name, number in BUILDS.items()},
    }
    text = re.sub(r"\b[A-Z_]+\b", lambda m: str(numbers.get(m[0], m[0])), text)
    text = re.sub(
        r"(%\S+) = field (\S+) (%\S+) (\S+)",
        lambda m: (
            f"{m[1]}.at = getelementptr i8, ptr {m[3]}, i64 {FIELDS[m[4]]}\n"
            f"  {m[1]} = load {m[2]}, ptr {m[1]}.at"
        ),
        text,
    )
    text = re.sub(
        r"(%\S+) = item (\S+) (%\S+) (%\S+)",
        r"\1.at = getelementptr i64, ptr \3, i64 \4\n  \1 = load \2, ptr \1.at",
        text,
    )
    count = itertools.count()
    text = re.sub(
        r"put (\S+) (\S+) (%\S+) (%\S+)",
        lambda m: (
            f"%put{(n := next(count))} = getelementptr i64, ptr {m[3]}, i64 {m[4]}\n"
            f"  store {m[1]} {m[2]}, ptr %put{n}"
        ),
        text,
    )
    text = re.sub(
        r"loop %(\S+) to (%\S+)",
        r"br label %\1.enter\n\1.enter:\n  br label %\1.test\n"
        r"\1.test:\n  %\1 = phi i64 [ 0, %\1.enter ], [ %\1.next, %\1.latch ]\n"
        r"  %\1.more = icmp ult i64 %\1, \2\n  br i1 %\1.more, label %\1.body, label %\1.done\n\1.body:",
        text,
    )
    return re.sub(
        r"again %(\S+)", r"\1.latch:\n  %\1.next = add i64 %\1, 1\n  br label %\1.test\n\1.done:", text
    )
