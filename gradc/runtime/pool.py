"""Memory of large results and workspaces, kept for the next call once it is free.

A fresh page costs more than computing what goes on it: an array of 8 MB has 2,000 of them. Result arrays are
allocated by a handler of NumPy's (NEP 49) whose blocks come from here and go back here when the array dies.
The blocks are few (`SLOTS`) and bounded (`LIMIT` bytes); a block serves requests of its own size only. Small
ones are the business of `PyMem_RawMalloc`, as are all when another thread is just here: nobody waits.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any, Final, NamedTuple

from gradc.ir.types import ALIGNMENT
from gradc.runtime.forever import address_in, keep_forever, load_forever

FLOOR: Final = 64 << 10
"""Smaller blocks are not kept: their pages are the heap's, and stay."""
LIMIT: Final = 128 << 20
"""So many bytes are kept at most."""
SLOTS: Final = 16
HUGE: Final = 4 << 20
"""From here on the system is asked for large pages, as NumPy asks."""

NAME: Final = b"gradc"
"""What NumPy calls the handler, in `get_handler_name`."""
KIND: Final = b"mem_handler"
"""The name of capsules with handlers. (NumPy keeps no copy of it.)"""

TEXT: Final = """
%slot = type { ptr, i64 }
@slots = internal global [SLOTS x %slot] zeroinitializer
@held = internal global i64 0
@turn = internal global i64 0
@lock = internal global i8 0

declare ptr @PyMem_RawMalloc(i64)
declare void @PyMem_RawFree(ptr)
declare i32 @madvise(ptr, i64, i32)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

; Whether this thread has the slots to itself now. After a fork nobody may ever give them back.
define internal i1 @enter() {
entry:
  br label %try
try:
  %n = phi i64 [ 0, %entry ], [ %next, %again ]
  %before = atomicrmw xchg ptr @lock, i8 1 acquire
  %free = icmp eq i8 %before, 0
  br i1 %free, label %yes, label %again
again:
  %next = add i64 %n, 1
  %more = icmp ult i64 %next, 100
  br i1 %more, label %try, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

define internal void @leave() {
  store atomic i8 0, ptr @lock release, align 1
  ret void
}

; A block from the system. Before its first byte lie where it really starts and its size.
define internal ptr @fresh(i64 %size) {
  %bytes = add i64 %size, OVERHEAD
  %short = icmp ult i64 %bytes, %size
  br i1 %short, label %none, label %ask
ask:
  %raw = call ptr @PyMem_RawMalloc(i64 %bytes)
  %failed = icmp eq ptr %raw, null
  br i1 %failed, label %none, label %made
none:
  ret ptr null
made:
  %number = ptrtoint ptr %raw to i64
  %past = add i64 %number, OVERHEAD_LESS_ONE
  %start = and i64 %past, -ALIGNMENT
  %block = inttoptr i64 %start to ptr
  %raw.at = getelementptr i8, ptr %block, i64 -16
  store ptr %raw, ptr %raw.at
  %size.at = getelementptr i8, ptr %block, i64 -8
  store i64 %size, ptr %size.at
  %huge = icmp uge i64 %size, HUGE
  br i1 %huge, label %advise, label %done
advise:
  %page.past = add i64 %start, 4095
  %page = and i64 %page.past, -4096
  %skipped = sub i64 %page, %start
  %length = sub i64 %size, %skipped
  %from = inttoptr i64 %page to ptr
  call i32 @madvise(ptr %from, i64 %length, i32 14)
  br label %done
done:
  ret ptr %block
}

define internal void @release(ptr %block) {
  %raw.at = getelementptr i8, ptr %block, i64 -16
  %raw = load ptr, ptr %raw.at
  call void @PyMem_RawFree(ptr %raw)
  ret void
}

; Give everything that is kept back to the system.
define void @flush() {
entry:
  %mine = call i1 @enter()
  br i1 %mine, label %each, label %out
each:
  %k = phi i64 [ 0, %entry ], [ %next, %latch ]
  %at = getelementptr %slot, ptr @slots, i64 %k
  %block = load ptr, ptr %at
  %empty = icmp eq ptr %block, null
  br i1 %empty, label %latch, label %full
full:
  store ptr null, ptr %at
  call void @release(ptr %block)
  br label %latch
latch:
  %next = add i64 %k, 1
  %more = icmp ult i64 %next, SLOTS
  br i1 %more, label %each, label %end
end:
  store i64 0, ptr @held
  call void @leave()
  br label %out
out:
  ret void
}

define i64 @kept() {
  %held = load i64, ptr @held
  ret i64 %held
}

; A block of so many bytes, null if there is no memory.
define ptr @take(i64 %bytes) {
entry:
  %past = add i64 %bytes, ALIGNMENT_LESS_ONE
  %size = and i64 %past, -ALIGNMENT
  %large = icmp uge i64 %size, FLOOR
  br i1 %large, label %ask, label %new
ask:
  %mine = call i1 @enter()
  br i1 %mine, label %each, label %new
each:
  %k = phi i64 [ 0, %ask ], [ %next, %latch ]
  %at = getelementptr %slot, ptr @slots, i64 %k
  %block = load ptr, ptr %at
  %empty = icmp eq ptr %block, null
  br i1 %empty, label %latch, label %full
full:
  %size.at = getelementptr %slot, ptr %at, i64 0, i32 1
  %have = load i64, ptr %size.at
  %fits = icmp eq i64 %have, %size
  br i1 %fits, label %found, label %latch
found:
  store ptr null, ptr %at
  %held = load i64, ptr @held
  %less = sub i64 %held, %size
  store i64 %less, ptr @held
  call void @leave()
  ret ptr %block
latch:
  %next = add i64 %k, 1
  %more = icmp ult i64 %next, SLOTS
  br i1 %more, label %each, label %none
none:
  call void @leave()
  br label %new
new:
  %first = call ptr @fresh(i64 %size)
  %failed = icmp eq ptr %first, null
  br i1 %failed, label %again, label %done
again:
  call void @flush()
  %second = call ptr @fresh(i64 %size)
  ret ptr %second
done:
  ret ptr %first
}

; Take a block back.
define void @give(ptr %block) {
entry:
  %nothing = icmp eq ptr %block, null
  br i1 %nothing, label %out, label %look
look:
  %known.at = getelementptr i8, ptr %block, i64 -8
  %size = load i64, ptr %known.at
  %large = icmp uge i64 %size, FLOOR
  %small = icmp ule i64 %size, LIMIT
  %right = and i1 %large, %small
  br i1 %right, label %ask, label %drop
drop:
  call void @release(ptr %block)
  br label %out
ask:
  %mine = call i1 @enter()
  br i1 %mine, label %room, label %drop
room:
  %held = load i64, ptr @held
  %sum = add i64 %held, %size
  %over = icmp ugt i64 %sum, LIMIT
  br i1 %over, label %evict, label %each
each:
  %k = phi i64 [ 0, %room ], [ %next, %latch ]
  %at = getelementptr %slot, ptr @slots, i64 %k
  %there = load ptr, ptr %at
  %empty = icmp eq ptr %there, null
  br i1 %empty, label %keep, label %latch
latch:
  %next = add i64 %k, 1
  %more = icmp ult i64 %next, SLOTS
  br i1 %more, label %each, label %evict
keep:
  store ptr %block, ptr %at
  %size.at = getelementptr %slot, ptr %at, i64 0, i32 1
  store i64 %size, ptr %size.at
  store i64 %sum, ptr @held
  call void @leave()
  br label %out
evict:
  %turn = load i64, ptr @turn
  %after = add i64 %turn, 1
  %around = urem i64 %after, SLOTS
  store i64 %around, ptr @turn
  %victim.at = getelementptr %slot, ptr @slots, i64 %turn
  %victim = load ptr, ptr %victim.at
  %gone = icmp eq ptr %victim, null
  br i1 %gone, label %room, label %free
free:
  store ptr null, ptr %victim.at
  %victim.size.at = getelementptr %slot, ptr %victim.at, i64 0, i32 1
  %victim.size = load i64, ptr %victim.size.at
  %now = load i64, ptr @held
  %left = sub i64 %now, %victim.size
  store i64 %left, ptr @held
  call void @release(ptr %victim)
  br label %room
out:
  ret void
}

; What NumPy calls.
define ptr @array_malloc(ptr %context, i64 %size) {
  %block = call ptr @take(i64 %size)
  ret ptr %block
}

define ptr @array_calloc(ptr %context, i64 %count, i64 %each) {
  %size = mul i64 %count, %each
  %block = call ptr @take(i64 %size)
  %failed = icmp eq ptr %block, null
  br i1 %failed, label %out, label %clear
clear:
  call void @llvm.memset.p0.i64(ptr %block, i8 0, i64 %size, i1 false)
  br label %out
out:
  ret ptr %block
}

define ptr @array_realloc(ptr %context, ptr %old, i64 %size) {
  %new = call ptr @take(i64 %size)
  %failed = icmp eq ptr %new, null
  %first = icmp eq ptr %old, null
  %skip = or i1 %failed, %first
  br i1 %skip, label %out, label %copy
copy:
  %old.size.at = getelementptr i8, ptr %old, i64 -8
  %old.size = load i64, ptr %old.size.at
  %shorter = icmp ult i64 %old.size, %size
  %count = select i1 %shorter, i64 %old.size, i64 %size
  call void @llvm.memcpy.p0.p0.i64(ptr %new, ptr %old, i64 %count, i1 false)
  call void @give(ptr %old)
  br label %out
out:
  ret ptr %new
}

define void @array_free(ptr %context, ptr %block, i64 %size) {
  call void @give(ptr %block)
  ret void
}
"""


class Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )


class Pool(NamedTuple):
    """Addresses of the pool's C functions, and the capsule that NumPy takes for its arrays."""

    take: int
    give: int
    flush: int
    kept: int
    handler: Any


@functools.cache
def pool() -> Pool:
    """The pool of this process. It is never unloaded: arrays may outlive everything else of gradc."""
    numbers = {
        "OVERHEAD_LESS_ONE": ALIGNMENT + 15,
        "OVERHEAD": ALIGNMENT + 16,
        "ALIGNMENT_LESS_ONE": ALIGNMENT - 1,
        "ALIGNMENT": ALIGNMENT,
        "FLOOR": FLOOR,
        "LIMIT": LIMIT,
        "SLOTS": SLOTS,
        "HUGE": HUGE if sys.platform == "linux" else 1 << 62,
    }
    # Where there is no madvise, nothing is huge, and it is not called.
    linux = sys.platform == "linux"
    advise = (ctypes.CDLL(None), "madvise") if linux else (ctypes.pythonapi, "Py_IsInitialized")
    outside = {
        "PyMem_RawMalloc": address_in(ctypes.pythonapi, "PyMem_RawMalloc"),
        "PyMem_RawFree": address_in(ctypes.pythonapi, "PyMem_RawFree"),
        "madvise": address_in(*advise),
    }
    code = load_forever(TEXT, numbers, outside)
    array = [code.address(f"array_{name}") for name in ("malloc", "calloc", "realloc", "free")]
    handler = Handler(NAME, 1, None, *array)
    keep_forever(handler)
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    capsule = new(("PyCapsule_New", ctypes.pythonapi))(ctypes.addressof(handler), KIND, None)
    take, give, flush, kept = map(code.address, ("take", "give", "flush", "kept"))
    return Pool(take, give, flush, kept, capsule)


def kept() -> int:
    """How many bytes are kept now."""
    return ctypes.CFUNCTYPE(ctypes.c_int64)(pool().kept)()


def flush() -> None:
    """Give all that is kept back to the system."""
    ctypes.CFUNCTYPE(None)(pool().flush)()
