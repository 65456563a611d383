"""Object files into memory: every kind of reference, data that is written, damaged files, LLVM's loader."""

from __future__ import annotations

import ctypes
import gc
import os
import random

import numpy as np
import pytest

from gradc.codegen import elf, jit
from gradc.codegen.jit import Code, object_code

pytestmark = pytest.mark.skipif(not elf.runs_here(), reason="not x86-64 Linux")

REFERENCES = """
@counter = internal global i64 5
@cleared = internal global [1000 x i64] zeroinitializer, align 64
@table = internal constant [4 x i64] [i64 10, i64 20, i64 30, i64 40]
@pointer = internal global ptr @table
@record = external global [2 x ptr]
declare i64 @outside(i64)
declare ptr @memcpy(ptr, ptr, i64)

define i64 @count() {
  %old = load i64, ptr @counter
  %new = add i64 %old, 1
  store i64 %new, ptr @counter
  %sum = getelementptr [1000 x i64], ptr @cleared, i64 0, i64 999
  %more = load i64, ptr %sum
  %both = add i64 %new, %more
  store i64 100, ptr %sum
  ret i64 %both
}

define i64 @look(i64 %i) {
  %table = load ptr, ptr @pointer
  %at = getelementptr i64, ptr %table, i64 %i
  %x = load i64, ptr %at
  %y = call i64 @outside(i64 %x)
  ret i64 %y
}

define i64 @recorded() {
  %second = getelementptr ptr, ptr @record, i64 1
  %p = load ptr, ptr %second
  %x = ptrtoint ptr %p to i64
  ret i64 %x
}

define i64 @choose(i64 %i) {
  switch i64 %i, label %other [ i64 0, label %a
    i64 1, label %b
    i64 2, label %c
    i64 3, label %d
    i64 4, label %e ]
a:
  %x = call i64 @look(i64 3)
  ret i64 %x
b:
  ret i64 17
c:
  %y = call i64 @count()
  ret i64 %y
d:
  ret i64 -4
e:
  ret i64 1234567890123
other:
  ret i64 0
}

define double @polynomial(double %x) {
  %a = fmul double %x, 0x3FB999999999999A
  %b = fadd double %a, 0x400921FB54442D18
  ret double %b
}
"""


@ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
def outside(x: int) -> int:
    return x + 1


RECORD = (ctypes.c_void_p * 2)(111, 222)
OUTSIDE = {
    "outside": ctypes.cast(outside, ctypes.c_void_p).value or 0,
    "record": ctypes.addressof(RECORD),
}


def function(code: Code, name: str, *types: type, result: type = ctypes.c_int64):
    return ctypes.CFUNCTYPE(result, *types)(code.address(name))


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("loader", ["own", "llvm"])
def test_references_of_every_kind(level: int, loader: str, monkeypatch: pytest.MonkeyPatch):
    data = object_code(REFERENCES, level=level)
    if loader == "llvm":
        monkeypatch.setattr(elf, "runs_here", lambda: False)
    for _ in range(2):  # each with data of its own
        code = Code(data, OUTSIDE)
        count = function(code, "count")
        assert [count(), count(), count()] == [6, 107, 108]
        look = function(code, "look", ctypes.c_int64)
        assert [look(i) for i in range(4)] == [11, 21, 31, 41]
        assert function(code, "recorded")() == 222
        choose = function(code, "choose", ctypes.c_int64)
        assert [choose(i) for i in range(6)] == [41, 17, 109, -4, 1234567890123, 0]
        polynomial = function(code, "polynomial", ctypes.c_double, result=ctypes.c_double)
        assert polynomial(2.0) == 2.0 * 0.1 + np.pi


def test_code_is_not_writable_and_data_does_not_run():
    code = Code(object_code(REFERENCES), OUTSIDE)
    start = code.address("count")
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, access = line.split()[:2]
            low, high = (int(x, 16) for x in span.split("-"))
            if low <= start < high:
                assert access == "r-xp"
                break
        else:
            raise AssertionError("not mapped")
        _, access = next(maps).split()[:2]
        assert access == "rw-p"


def test_what_a_child_process_writes_is_its_own():
    code = Code(object_code(REFERENCES), OUTSIDE)
    count = function(code, "count")
    if (child := os.fork()) == 0:
        os._exit(count())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 6
    assert count() == 6


def test_memory_is_given_back():
    data = object_code(REFERENCES)

    def mapped() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0])

    Code(data, OUTSIDE)
    gc.collect()
    before = mapped()
    for _ in range(300):
        Code(data, OUTSIDE)
    assert mapped() - before < 300


def test_names_that_nobody_knows():
    with pytest.raises(elf.FormatError, match="names outside"):
        Code(object_code(REFERENCES), {"record": 1})


def test_damaged_files_are_errors_or_harmless():
    """Bytes are authenticated before they come here; even so the layout does not reach out of its memory."""
    data = object_code(REFERENCES)
    rng = random.Random(0)
    for size in [*range(0, 80), *rng.sample(range(80, len(data)), 60)]:
        try:
            elf.Image(data[:size], lambda name: OUTSIDE.get(name, 1))
        except elf.FormatError:
            continue
        assert size > 80
    for _ in range(500):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            elf.Image(bytes(damaged), lambda name: OUTSIDE.get(name, 1))
        except (elf.FormatError, MemoryError):
            continue


def test_what_is_loaded_is_what_llvm_loads(monkeypatch: pytest.MonkeyPatch):
    text = "define i64 @f(i64 %x) {\n  %y = mul i64 %x, 3\n  ret i64 %y\n}"
    first = "declare i64 @f(i64)\ndefine i64 @g(i64 %x) {\n  %y = call i64 @f(i64 %x)\n  ret i64 %y\n}"
    data, caller = object_code(text), object_code(first)

    def loaded(kind: type) -> None:
        code = Code(data)
        assert [type(x) for x in code._loaded] == [kind]
        assert function(code, "f", ctypes.c_int64)(14) == 42
        code = Code(caller, others=[data])
        assert function(code, "g", ctypes.c_int64)(15) == 45

    loaded(elf.Image)
    monkeypatch.setattr(elf, "runs_here", lambda: False)
    loaded(jit._Engine)
