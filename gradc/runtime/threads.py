"""The threads that kernels are split over: started when they are first needed, asleep when they are not.

One job at a time: a task, and a number of chunks that the caller and the threads take one after another, by a
counter. Each of them has a number in the job, the caller 0, and workspace by that number. A caller that finds
the threads at another job does its own alone, so nobody waits for a stranger and nothing can lock up. What a
chunk computes does not depend on who takes it. After a fork the child has no threads, and starts its own.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys

from gradc.runtime.forever import address_in, load_forever

MOST = 64
"""So many threads are started at most."""
SPIN = 10_000
"""How often a thread looks for a new job before it sleeps, pausing each time: some hundreds of microseconds.
To wake one that sleeps takes tens of them, more than a kernel of a small network."""
PAUSE = {
    **dict.fromkeys(("x86_64", "AMD64"), "call void @llvm.x86.sse2.pause()"),
    **dict.fromkeys(("aarch64", "arm64"), "call void @llvm.aarch64.hint(i32 1)"),
}
"""What tells a core that a thread waits, by machine."""

TEXT = """
%job = type { ptr, ptr, ptr, i64, i64, i64, i64 }  ; task, data, context, chunks, next, joined, limit

@mutex = internal global [128 x i8] zeroinitializer, align 16
@work = internal global [128 x i8] zeroinitializer, align 16
@done = internal global [128 x i8] zeroinitializer, align 16
@job = internal global ptr null
@generation = internal global i64 0
@active = internal global i64 0
@busy = internal global i8 0
@threads = internal global i64 0

declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)

; As at the start of the process: also what a forked child begins with.
define void @reset() {
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @work, ptr null)
  call i32 @pthread_cond_init(ptr @done, ptr null)
  store ptr null, ptr @job
  store i64 0, ptr @generation
  store i64 0, ptr @active
  store i8 0, ptr @busy
  store i64 0, ptr @threads
  ret void
}

define internal void @take_part(ptr %job, i64 %number) {
entry:
  %task.at = getelementptr %job, ptr %job, i64 0, i32 0
  %task = load ptr, ptr %task.at
  %data.at = getelementptr %job, ptr %job, i64 0, i32 1
  %data = load ptr, ptr %data.at
  %context.at = getelementptr %job, ptr %job, i64 0, i32 2
  %context = load ptr, ptr %context.at
  %chunks.at = getelementptr %job, ptr %job, i64 0, i32 3
  %chunks = load i64, ptr %chunks.at
  %next.at = getelementptr %job, ptr %job, i64 0, i32 4
  br label %take
take:
  %chunk = atomicrmw add ptr %next.at, i64 1 acq_rel
  %more = icmp ult i64 %chunk, %chunks
  br i1 %more, label %do, label %out
do:
  call void %task(ptr %data, i64 %chunk, ptr %context, i64 %number)
  br label %take
out:
  ret void
}

define internal ptr @thread(ptr %nothing) {
entry:
  br label %look
look:
  %seen = phi i64 [ 0, %entry ], [ %now, %finished ], [ %now, %missed ]
  br label %spin
spin:
  %n = phi i64 [ 0, %look ], [ %n.next, %spin ]
  PAUSE
  %glance = load atomic i64, ptr @generation acquire, align 8
  %changed = icmp ne i64 %glance, %seen
  %n.next = add i64 %n, 1
  %tired = icmp uge i64 %n.next, SPIN
  %stop = or i1 %changed, %tired
  br i1 %stop, label %lock, label %spin
lock:
  call i32 @pthread_mutex_lock(ptr @mutex)
  br label %check
check:
  %known = phi i64 [ %seen, %lock ], [ %known, %sleep ]
  %now = load i64, ptr @generation
  %new = icmp ne i64 %now, %known
  br i1 %new, label %which, label %sleep
sleep:
  call i32 @pthread_cond_wait(ptr @work, ptr @mutex)
  br label %check
which:
  %job = load ptr, ptr @job
  %over = icmp eq ptr %job, null
  br i1 %over, label %missed, label %room
missed:                                         ; too late: awake for the next one
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %look
room:
  %joined.at = getelementptr %job, ptr %job, i64 0, i32 5
  %joined = load i64, ptr %joined.at
  %limit.at = getelementptr %job, ptr %job, i64 0, i32 6
  %limit = load i64, ptr %limit.at
  %full = icmp uge i64 %joined, %limit
  br i1 %full, label %missed, label %join
join:
  %joined.next = add i64 %joined, 1
  store i64 %joined.next, ptr %joined.at
  atomicrmw add ptr @active, i64 1 acq_rel
  call i32 @pthread_mutex_unlock(ptr @mutex)
  call void @take_part(ptr %job, i64 %joined.next)
  call i32 @pthread_mutex_lock(ptr @mutex)
  %before = atomicrmw sub ptr @active, i64 1 acq_rel
  %last = icmp eq i64 %before, 1
  br i1 %last, label %tell, label %leave
tell:
  call i32 @pthread_cond_signal(ptr @done)
  br label %leave
leave:
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %finished
finished:
  br label %look
}

; Have so many threads, if the system gives them. They leave signals to the others.
define internal void @start(i64 %wanted) {
entry:
  %all = alloca [256 x i8], align 16
  %old = alloca [256 x i8], align 16
  %id = alloca i64
  %there = load i64, ptr @threads
  %enough = icmp uge i64 %there, %wanted
  br i1 %enough, label %out, label %mask
mask:
  call i32 @sigfillset(ptr %all)
  call i32 @pthread_sigmask(i32 SETMASK, ptr %all, ptr %old)
  br label %each
each:
  %count = phi i64 [ %there, %mask ], [ %count.next, %made ]
  %failed = call i32 @pthread_create(ptr %id, ptr null, ptr @thread, ptr null)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %made, label %end
made:
  %number = load i64, ptr %id
  call i32 @pthread_detach(i64 %number)
  %count.next = add i64 %count, 1
  store i64 %count.next, ptr @threads
  %more = icmp ult i64 %count.next, %wanted
  br i1 %more, label %each, label %end
end:
  call i32 @pthread_sigmask(i32 SETMASK, ptr %old, ptr null)
  br label %out
out:
  ret void
}

; Do all chunks of a task, with the help of at most `limit` threads.
define void @run(ptr %task, ptr %data, i64 %chunks, ptr %context, i64 %limit) {
entry:
  %job = alloca %job
  %job.task = getelementptr %job, ptr %job, i64 0, i32 0
  store ptr %task, ptr %job.task
  %job.data = getelementptr %job, ptr %job, i64 0, i32 1
  store ptr %data, ptr %job.data
  %job.context = getelementptr %job, ptr %job, i64 0, i32 2
  store ptr %context, ptr %job.context
  %job.chunks = getelementptr %job, ptr %job, i64 0, i32 3
  store i64 %chunks, ptr %job.chunks
  %job.next = getelementptr %job, ptr %job, i64 0, i32 4
  store i64 0, ptr %job.next
  %job.joined = getelementptr %job, ptr %job, i64 0, i32 5
  store i64 0, ptr %job.joined
  %job.limit = getelementptr %job, ptr %job, i64 0, i32 6
  store i64 %limit, ptr %job.limit
  %others = atomicrmw xchg ptr @busy, i8 1 acquire
  %mine = icmp eq i8 %others, 0
  br i1 %mine, label %together, label %alone
alone:
  call void @take_part(ptr %job, i64 0)
  ret void
together:
  call void @start(i64 %limit)
  call i32 @pthread_mutex_lock(ptr @mutex)
  store ptr %job, ptr @job
  %old = load i64, ptr @generation
  %new = add i64 %old, 1
  store atomic i64 %new, ptr @generation release, align 8
  call i32 @pthread_cond_broadcast(ptr @work)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  call void @take_part(ptr %job, i64 0)
  call i32 @pthread_mutex_lock(ptr @mutex)
  store ptr null, ptr @job                      ; nobody joins any more
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %spin
spin:
  %n = phi i64 [ 0, %together ], [ %n.next, %spin ]
  PAUSE
  %left = load atomic i64, ptr @active acquire, align 8
  %quiet = icmp eq i64 %left, 0
  %n.next = add i64 %n, 1
  %tired = icmp uge i64 %n.next, SPIN
  %stop = or i1 %quiet, %tired
  br i1 %stop, label %lock, label %spin
lock:
  call i32 @pthread_mutex_lock(ptr @mutex)
  br label %check
check:
  %active = load i64, ptr @active
  %none = icmp eq i64 %active, 0
  br i1 %none, label %end, label %sleep
sleep:
  call i32 @pthread_cond_wait(ptr @done, ptr @mutex)
  br label %check
end:
  call i32 @pthread_mutex_unlock(ptr @mutex)
  store atomic i8 0, ptr @busy release, align 1
  ret void
}

define i64 @count() {
  %count = load i64, ptr @threads
  ret i64 %count
}
"""


@functools.cache
def _functions() -> dict[str, int]:
    """The addresses of `run` and `count`; nothing where there are no such threads."""
    if os.name != "posix" or sys.maxsize < 1 << 32:
        return {}
    library = ctypes.CDLL(None)
    names = [line.split("@")[1].split("(")[0] for line in TEXT.splitlines() if line.startswith("declare")]
    numbers: dict[str, object] = {"SPIN": SPIN, "SETMASK": 2 if sys.platform == "linux" else 3}
    numbers["PAUSE"] = PAUSE.get(platform.machine(), "")
    code = load_forever(TEXT, numbers, {name: address_in(library, name) for name in names})
    reset = ctypes.CFUNCTYPE(None)(code.address("reset"))
    reset()
    os.register_at_fork(after_in_child=reset)
    return {name: code.address(name) for name in ("run", "count")}


def run_address() -> int:
    """The address of the C function that does the chunks of a job; 0 where there are no threads."""
    return _functions().get("run", 0)


def count() -> int:
    """How many threads there are now, without those of the callers."""
    functions = _functions()
    return ctypes.CFUNCTYPE(ctypes.c_int64)(functions["count"])() if functions else 0


def helpers(threads: int | None) -> int:
    """How many threads may help a caller, if there may be `threads` in all; None: as many as there are CPUs
    that this process may use."""
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(threads, MOST) - 1
