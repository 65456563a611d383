"""The native entry and its Python reference: what matches and misses, what comes back, what stays alive."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import sys
import threading
import tracemalloc
import warnings
import weakref
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from gradc.runtime import entry as entry_module
from gradc.runtime import entry_routine, entry_text, entry_trial
from gradc.runtime.entry import MISS, LeafSpec, make_entry, make_python_entry

DTYPES = [np.dtype(name) for name in ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")]
F64, F32, I64 = np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.int64)
FLOAT, SCALAR = LeafSpec(F64, (), "float"), LeafSpec(F64, (), "scalar")
MAKERS = pytest.mark.parametrize("make", [make_entry, make_python_entry], ids=["native", "python"])


def array(*shape: int, dtype: Any = F64) -> LeafSpec:
    return LeafSpec(np.dtype(dtype), shape, "array")


class StatusError(Exception):
    pass


def fail(status: int) -> None:
    raise StatusError(status)


# Compute functions, as LLVM text

COPY = """
define void @copy(ptr %from, ptr %to, i64 %bytes) {
start:
  br label %test
test:
  %i = phi i64 [ 0, %start ], [ %next, %body ]
  %more = icmp ult i64 %i, %bytes
  br i1 %more, label %body, label %done
body:
  %a = getelementptr i8, ptr %from, i64 %i
  %b = getelementptr i8, ptr %to, i64 %i
  %x = load i8, ptr %a
  store i8 %x, ptr %b
  %next = add i64 %i, 1
  br label %test
done:
  ret void
}
"""


def copying(pairs: list[tuple[int, int, int]], status: int | None = None, arena_bytes: int = 0) -> str:
    """A compute function that copies (input, output, bytes), after it has written into its arena.

    The status is input `status`, or not 0 where arena or context are not aligned or the status was not 0.
    """
    lines = ["%mis.a = ptrtoint ptr %arena to i64", "%mis.c = ptrtoint ptr %context to i64"]
    lines += ["%mis = or i64 %mis.a, %mis.c", "%off = and i64 %mis, 63", "%old = load i64, ptr %context"]
    lines += ["%bad = or i64 %off, %old", "store i64 %bad, ptr %context"]

    def load(name: str, table: str, index: int) -> None:
        lines.append(f"%{name}.at = getelementptr ptr, ptr %{table}, i64 {index}")
        lines.append(f"%{name} = load ptr, ptr %{name}.at")

    words = range(0, arena_bytes - 7, 8)
    for place in {*words[:100], *words[-100:]}:
        lines.append(f"%arena{place} = getelementptr i8, ptr %arena, i64 {place}")
        lines.append(f"store i64 -1, ptr %arena{place}")
    for n, (source, target, size) in enumerate(pairs):
        load(f"from{n}", "in", source)
        load(f"to{n}", "out", target)
        lines.append(f"call void @copy(ptr %from{n}, ptr %to{n}, i64 {size})")
    if status is not None:
        load("status", "in", status)
        lines += ["%code = load i64, ptr %status", "store i64 %code, ptr %context"]
    body = "\n  ".join([*lines, "ret void"])
    return f"{COPY}\ndefine void @compute(ptr %in, ptr %out, ptr %arena, ptr %context) {{\n  {body}\n}}"


WAIT = """
define void @compute(ptr %in, ptr %out, ptr %arena, ptr %context) {   ; until in[0][0] is not 0
start:
  %flag = load ptr, ptr %in
  br label %test
test:
  %i = phi i64 [ 0, %start ], [ %next, %test ]
  %next = add i64 %i, 1
  %x = load volatile i64, ptr %flag
  %set = icmp ne i64 %x, 0
  %late = icmp ugt i64 %i, 20000000000
  %stop = or i1 %set, %late
  br i1 %stop, label %done, label %test
done:
  %status = zext i1 %late to i64
  store i64 %status, ptr %context
  %y = load ptr, ptr %out
  store i64 %x, ptr %y
  ret void
}
"""


def compiled(text: str) -> tuple[int, Any]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=0)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    return engine.get_function_address("compute"), engine


def make_copying(
    make: Any,
    inputs: list[LeafSpec],
    outputs: list[LeafSpec],
    structure: Any,
    constants: Any = (),
    status: int | None = None,
    arena_bytes: int = 0,
    context_bytes: int = 8,
    release_gil: bool = False,
) -> Any:
    """An entry whose output k is a copy of the k-th of the leaves and constants."""
    pairs = [(k, k, int(np.prod(spec.shape)) * spec.dtype.itemsize) for k, spec in enumerate(outputs)]
    address, engine = compiled(copying(pairs, status, arena_bytes))
    return make(
        address, inputs, constants, outputs, structure, arena_bytes, release_gil, engine, context_bytes, fail
    )


def values(dtype: np.dtype[Any], *shape: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(3)
    return (rng.integers(0, 100, shape) > 50 if dtype.kind == "b" else rng.integers(0, 100, shape)).astype(
        dtype
    )


def test_the_native_entry_is_used() -> None:
    assert type(make_copying(make_entry, [FLOAT], [SCALAR], 0)).__name__ == "builtin_function_or_method"


# What comes back


@MAKERS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(make: Any, dtype: np.dtype[Any]) -> None:
    inputs = [
        LeafSpec(dtype, (), "scalar"),
        array(2, 3, dtype=dtype),
        array(dtype=dtype),
        array(3, 0, dtype=dtype),
    ]
    f = make_copying(make, inputs, inputs, (0, 1, 2, 3))
    leaves = (dtype.type(values(dtype, 5)[-1]), values(dtype, 2, 3), values(dtype), values(dtype, 3, 0))
    leaves = tuple(np.array(x) if s.kind == "array" else x for x, s in zip(leaves, inputs, strict=True))
    results = f(*leaves)
    for x, y in zip(leaves, results, strict=True):
        assert type(y) is type(x) and y.dtype == x.dtype and y.shape == x.shape
        np.testing.assert_array_equal(x, y)
    for x, y in zip(leaves[1:], results[1:], strict=True):
        assert not np.shares_memory(x, y) and y.base is None
        assert y.flags.c_contiguous and y.flags.aligned and y.flags.writeable and y.flags.owndata
    assert f(*leaves)[1] is not results[1]


@MAKERS
def test_a_python_float_comes_back_as_float64(make: Any) -> None:
    f = make_copying(make, [FLOAT], [SCALAR], 0)
    for x in (0.1, -0.0, float("inf"), 5e-324):
        assert type(f(x)) is np.float64
        assert repr(float(f(x))) == repr(x)
    assert np.isnan(f(float("nan")))


@MAKERS
@pytest.mark.parametrize(
    "structure",
    [
        0,
        (0,),
        (),
        None,
        (0, 1, 2),
        (2, (1, 0)),
        (0, (1, (2, (), None)), None),
        ((0, 0), (0, 1)),
        ((None,), ()),
        (1,),
    ],
    ids=repr,
)
def test_structures(make: Any, structure: Any) -> None:
    f = make_copying(make, [FLOAT, FLOAT, array(2)], [SCALAR, SCALAR, array(2)], structure)

    def expected(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(map(expected, part))
        return None if part is None else (1.5, 2.5, [3.0, 4.0])[part]

    def plain(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(map(plain, part))
        return part if part is None else part.tolist()

    for _ in range(100):
        assert plain(f(1.5, 2.5, np.array([3.0, 4.0]))) == expected(structure)


@MAKERS
def test_no_leaves_and_no_results(make: Any) -> None:
    assert make_copying(make, [], [], ())() == ()
    assert make_copying(make, [], [], ())(1.0) is MISS


@pytest.mark.long
@MAKERS
def test_many_leaves(make: Any) -> None:
    count = 3000
    f = make_copying(make, [array(2)] * count, [array(2)] * count, tuple(range(count)))
    leaves = [np.array([k, -k], np.float64) for k in range(count)]
    for x, y in zip(leaves, f(*leaves), strict=True):
        assert (x == y).all()


@MAKERS
def test_constants_follow_the_leaves(make: Any) -> None:
    constants = [np.arange(6.0).reshape(2, 3), np.array(7, np.int64)]
    specs = [FLOAT, array(2, 3), array(dtype=I64)]
    f = make_copying(make, specs[:1], [SCALAR, *specs[1:]], (0, 1, 2), constants=constants)
    x, table, number = f(0.5)
    assert (x, number[()]) == (0.5, 7)
    np.testing.assert_array_equal(table, constants[0])
    constants[0][0, 0] = 9.0
    assert f(0.5)[1][0, 0] == 9.0, "constants are passed by pointer"


@MAKERS
@pytest.mark.parametrize("arena_bytes", [0, 1, 8, 4096, 16 << 10, (16 << 10) + 1, 1 << 20])
@pytest.mark.parametrize("context_bytes", [8, 13, 200])
def test_arena_and_context_are_aligned_and_apart(make: Any, arena_bytes: int, context_bytes: int) -> None:
    leaves = [FLOAT, array(3), LeafSpec(F32, (), "scalar")]
    f = make_copying(
        make,
        leaves,
        [SCALAR, *leaves[1:]],
        (0, 1, 2),
        arena_bytes=arena_bytes,
        context_bytes=context_bytes,
    )
    x, y, z = f(0.5, np.array([1.0, 2.0, 3.0]), np.float32(1.5))
    assert (x, y.tolist(), z) == (0.5, [1.0, 2.0, 3.0], 1.5)


# What misses


class Subarray(np.ndarray):
    pass


class Subfloat(float):
    pass


def unaligned(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    room = np.zeros(x.nbytes + 1, np.uint8)
    y = room[1:].view(x.dtype).reshape(x.shape)
    y[...] = x
    return y


GOOD = np.arange(6.0).reshape(2, 3)
WRONG_ARRAYS = {
    "byte-swapped": GOOD.astype(GOOD.dtype.newbyteorder()),
    "subclass": GOOD.view(Subarray),
    "masked": np.ma.masked_array(GOOD),
    "float32": GOOD.astype(np.float32),
    "int64": GOOD.view(np.int64),
    "complex": np.zeros((2, 3), np.complex128),
    "object": GOOD.astype(object),
    "datetime": np.zeros((2, 3), "M8[s]"),
    "record": np.zeros((2, 3), [("x", "f8")]),
    "string": np.zeros((2, 3), "S8"),
    "other shape": np.zeros((3, 2)),
    "one axis less": np.zeros(6),
    "one axis more": np.zeros((1, 2, 3)),
    "no axes": np.array(1.0),
    "empty": np.zeros((2, 0)),
    "list": GOOD.tolist(),
    "scalar": np.float64(1.0),
    "float": 1.0,
    "None": None,
    "type": np.ndarray,
}


LAYOUTS = {
    "unaligned": unaligned(GOOD),
    "fortran": np.asfortranarray(GOOD),
    "negative stride": GOOD[::-1],
    "gap": np.arange(12.0).reshape(2, 6)[:, ::2],
    "broadcast": np.broadcast_to(np.arange(3.0), (2, 3)),
    "transposed": np.arange(6.0).reshape(3, 2).T,
    "far apart": np.lib.stride_tricks.as_strided(np.zeros(1), (2, 3), (0, 0)),
    "read-only": np.broadcast_to(np.float64(7), (2, 3)),
}


@MAKERS
@pytest.mark.parametrize("name", LAYOUTS)
def test_any_layout(make: Any, name: str) -> None:
    """Arrays that are not C-contiguous and aligned are copied, and the copies given up."""
    x = LAYOUTS[name]
    f = make_copying(make, [FLOAT, array(2, 3)], [SCALAR, array(2, 3)], 1)
    before = sys.getrefcount(x)
    for _ in range(20):
        np.testing.assert_array_equal(f(0.5, x), x)
    assert sys.getrefcount(x) == before


@MAKERS
def test_memory_maps(make: Any, tmp_path: Any) -> None:
    x = np.memmap(tmp_path / "x", np.float64, "w+", shape=(2, 3))
    x[:] = GOOD
    f = make_copying(make, [FLOAT, array(2, 3)], [SCALAR, array(2, 3)], 1)
    for each in (x, x[::-1]):
        y = f(0.5, each)
        assert type(y) is np.ndarray
        np.testing.assert_array_equal(y, each)


@MAKERS
@pytest.mark.parametrize("name", WRONG_ARRAYS)
def test_mismatched_array(make: Any, name: str) -> None:
    f = make_copying(make, [FLOAT, array(2, 3)], [SCALAR], 0)
    assert f(0.5, GOOD) == 0.5
    assert f(0.5, WRONG_ARRAYS[name]) is MISS
    assert repr(f(0.5, WRONG_ARRAYS[name])) == "MISS"


@MAKERS
@pytest.mark.parametrize(
    "leaf",
    [np.float64(1), np.float32(1), Subfloat(1), 1, True, np.array(1.0), None, "1.0", 1j],
    ids=repr,
)
def test_mismatched_float(make: Any, leaf: object) -> None:
    assert make_copying(make, [FLOAT], [SCALAR], 0)(leaf) is MISS


@MAKERS
@pytest.mark.parametrize(
    "leaf", [1.0, np.float32(1), np.int64(1), 1, np.array(1.0), np.bool_(True)], ids=repr
)
def test_mismatched_scalar(make: Any, leaf: object) -> None:
    assert make_copying(make, [SCALAR], [SCALAR], 0)(leaf) is MISS


@MAKERS
def test_wrong_count(make: Any) -> None:
    f = make_copying(make, [FLOAT, FLOAT], [SCALAR], 0)
    assert f() is MISS and f(1.0) is MISS and f(1.0, 2.0, 3.0) is MISS


@MAKERS
def test_a_mismatch_computes_nothing(make: Any) -> None:
    f = make_copying(make, [LeafSpec(I64, (), "scalar"), FLOAT], [], (), status=0)
    assert f(np.int64(5), 1) is MISS
    with pytest.raises(StatusError):
        f(np.int64(5), 1.0)


@MAKERS
def test_dtypes_compare_by_kind_and_size(make: Any) -> None:
    f = make_copying(make, [array(3, dtype=I64)], [array(3, dtype=I64)], 0)
    x = np.arange(3)
    for twin in (np.longlong, np.int_, I64, np.dtype(np.int64, metadata={"unit": "m"})):  # pyright: ignore
        y = f(x.astype(twin))
        assert y.dtype == I64 and y.tolist() == [0, 1, 2]
    assert f(pickle.loads(pickle.dumps(x))).tolist() == [0, 1, 2]
    g = make_copying(make, [LeafSpec(I64, (), "scalar")], [LeafSpec(I64, (), "scalar")], 0)
    assert [g(np.longlong(4)), g(np.int64(-4)), g(np.int_(4))] == [4, -4, 4]
    assert g(np.uint64(4)) is MISS


@MAKERS
def test_layouts_that_are_contiguous_after_all(make: Any) -> None:
    f = make_copying(make, [array(1, 3)], [array(1, 3)], 0)
    x = np.arange(3.0)
    x.flags.writeable = False
    for view in (x[None], np.asfortranarray(x[None]), np.zeros((9, 3))[::9]):
        assert f(view).tolist() == view.tolist()


# What is wrong from the start


def test_specifications_are_checked() -> None:
    for dtype, shape, kind in [
        (">f8", (), "array"),
        ("O", (), "array"),
        ("f4", (), "float"),
        ("f8", (2,), "scalar"),
    ]:
        with pytest.raises(ValueError):
            LeafSpec(np.dtype(dtype), shape, kind)  # pyright: ignore
    with pytest.raises(ValueError, match="negative"):
        array(-1)
    with pytest.raises(ValueError, match="'tensor'"):
        LeafSpec(F64, (), "tensor")  # pyright: ignore


@MAKERS
def test_arguments_are_checked(make: Any) -> None:
    good = dict(address=1, inputs=[], constants=[], outputs=[SCALAR], structure=0, arena_bytes=0)
    good |= dict(release_gil=False, keep_alive=None, context_bytes=8, on_status=fail)
    make(**good)
    wrong = [
        dict(address=0),
        dict(outputs=[FLOAT]),
        dict(structure=1),
        dict(structure=(0, -1)),
        dict(arena_bytes=-1),
    ]
    for change in [*wrong, dict(context_bytes=4), dict(constants=[GOOD.T])]:
        with pytest.raises(ValueError):
            make(**(good | change))
    with pytest.raises(TypeError):
        make(**(good | dict(structure=[0])))


# Status and memory errors


@MAKERS
@pytest.mark.parametrize("release_gil", [False, True])
def test_status_raises(make: Any, release_gil: bool) -> None:
    leaves = [LeafSpec(I64, (), "scalar"), array(3)]
    f = make_copying(make, leaves, leaves, (0, 1), status=0, release_gil=release_gil, arena_bytes=1 << 16)
    assert f(np.int64(0), np.zeros(3))[0] == 0
    for status in (1, -1, 2**62, -(2**63)):
        with pytest.raises(StatusError) as raised:
            f(np.int64(status), np.zeros(3))
        assert raised.value.args == (status,)


@MAKERS
def test_on_status_that_does_not_raise(make: Any) -> None:
    address, engine = compiled(copying([], status=0))
    scalar = LeafSpec(I64, (), "scalar")
    f = make(address, [scalar], [], [], (), 0, False, engine, 8, lambda status: None)
    with pytest.raises(SystemError, match="status 3"):
        f(np.int64(3))


def no_memory(make: Any, arena_bytes: int, *outputs: LeafSpec) -> Any:
    address, engine = compiled(copying([]))
    return make(address, [FLOAT], [], outputs, (0, 1), arena_bytes, False, engine, 8, fail)


@MAKERS
def test_memory_errors(make: Any) -> None:
    for f in (no_memory(make, 1 << 60, SCALAR, array(2)), no_memory(make, 0, array(1000), array(1 << 50))):
        for _ in range(3):
            with pytest.raises(MemoryError):
                f(1.0)


# References and lifetime


def changes(f: Any, leaves: tuple[Any, ...], calls: int = 100_000) -> list[int]:
    """How many references to the leaves and to what the entry itself uses `calls` calls have added."""
    own = [*f.__self__, *f.__self__[0][0]]
    counted = [*leaves, f, *own, MISS, None, F64, F32, np.ndarray, np.float64, fail, ()]
    gc.collect()
    gc.disable()
    try:
        before = [sys.getrefcount(thing) for thing in counted]
        for _ in range(calls):
            with contextlib.suppress(StatusError, MemoryError):
                f(*leaves)
        after = [sys.getrefcount(thing) for thing in counted]
    finally:
        gc.enable()
    return [b - a for a, b in zip(before, after, strict=True)]


def leaky_cases() -> dict[str, tuple[Any, tuple[Any, ...], int]]:
    scalar = LeafSpec(I64, (), "scalar")
    leaves = [FLOAT, scalar, array(3), array(0, dtype=F32)]
    outputs = [SCALAR, scalar, array(3), array(0, dtype=F32)]
    structure = (0, (1, None, (2, 2), ()), 0)
    good = (0.1 + 0.2, np.int64(0), np.arange(3.0), np.zeros(0, np.float32))
    f = make_copying(make_entry, leaves, outputs, structure, constants=[GOOD])
    failing = make_copying(make_entry, leaves, outputs, structure, status=1, arena_bytes=1 << 16)
    many = 100_000
    return {
        "results": (f, good, many),
        "released": (make_copying(make_entry, leaves, outputs, structure, release_gil=True), good, many),
        "on the heap": (
            make_copying(make_entry, leaves, outputs, structure, arena_bytes=1 << 16),
            good,
            many,
        ),
        "too few": (f, good[:2], many),
        "last one wrong": (f, (*good[:3], np.zeros(0)), many),
        "pickled dtype": (f, pickle.loads(pickle.dumps(good)), many),
        "status": (failing, (good[0], np.int64(7), *good[2:]), 20_000),
        "no arena": (no_memory(make_entry, 1 << 60, SCALAR, array(2)), (0.5,), 20_000),
        "no output": (no_memory(make_entry, 0, array(1000), array(1 << 50)), (0.5,), 20_000),
    }


@pytest.mark.long
@pytest.mark.parametrize("name", leaky_cases())
def test_calls_leave_no_references_and_no_memory(name: str) -> None:
    f, leaves, calls = leaky_cases()[name]
    changes(f, leaves, 1000)
    # None and the likes are used by the loop as well; a leak would show as one per call.
    assert all(abs(change) < 100 for change in changes(f, leaves, calls))
    owned = len(leaves) + 1 + len(f.__self__) + len(f.__self__[0][0])
    assert changes(f, leaves, calls)[:owned] == [0] * owned
    tracemalloc.start()
    try:
        changes(f, leaves, 1000)
        before, _ = tracemalloc.get_traced_memory()
        changes(f, leaves, 10_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 10_000


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="resident memory is read from /proc")
def test_ten_thousand_entries_leave_no_memory() -> None:
    address, engine = compiled(copying([(0, 0, 8)]))

    def make_and_call(count: int) -> None:
        for k in range(count):
            f = make_entry(
                address, [FLOAT], [np.zeros(k % 100)], [SCALAR], (0, None), 100, False, engine, 8, fail
            )
            assert f(float(k)) == (k, None)

    make_and_call(2000)
    before = resident_bytes()
    make_and_call(10_000)
    assert resident_bytes() - before < 2 << 20


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="resident memory is read from /proc")
def test_engines_are_freed_with_their_entries() -> None:
    text = copying([(0, 0, 8)])

    def make_and_call(count: int) -> None:
        for _ in range(count):
            address, engine = compiled(text)
            gone = weakref.ref(engine)
            f = make_entry(address, [FLOAT], [], [SCALAR], 0, 0, False, engine, 8, fail)
            del engine
            assert f(1.5) == 1.5 and gone() is not None
            del f
            assert gone() is None

    make_and_call(50)
    before = resident_bytes()
    make_and_call(300)
    assert resident_bytes() - before < 8 << 20


class Owner:
    """Stands for the owner of machine code: says when that would be freed."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.freed = engine, [False]

    def __del__(self) -> None:
        self.freed[0] = True


@MAKERS
def test_constants_and_owner_live_as_long_as_the_function(make: Any) -> None:
    address, engine = compiled(copying([(1, 0, 24)]))
    owner, constant = Owner(engine), np.arange(3.0)
    freed, dead = owner.freed, weakref.ref(constant)
    f = make(address, [FLOAT], [constant], [array(3)], 0, 0, False, owner, 8, fail)
    del owner, constant, engine
    gc.collect()
    assert f(0.0).tolist() == [0, 1, 2] and not freed[0]
    y = f(0.0)
    del f
    assert freed[0] and dead() is None and y.tolist() == [0, 1, 2]


@pytest.mark.long
@MAKERS
def test_a_finalizer_in_a_dead_cycle_may_call_the_function(make: Any) -> None:
    heard: list[Any] = []

    class Model:
        def __init__(self, address: int, owner: Owner) -> None:
            self.owner, self.freed = owner, owner.freed
            self.f = make(address, [FLOAT], [], [SCALAR], 0, 0, False, owner, 8, self.fail)

        def fail(self, status: int) -> None:
            raise StatusError(status)

        def __del__(self) -> None:
            heard.append((self.freed[0], self.f(2.5)))

    address, engine = compiled(copying([(0, 0, 8)]))
    owner = Owner(engine)
    freed = owner.freed
    gone = weakref.ref(Model(address, owner))
    del owner, engine
    gc.collect()
    gc.collect()
    assert heard == [(False, 2.5)] and gone() is None and freed[0]


def test_a_running_call_keeps_its_code() -> None:
    address, engine = compiled(WAIT)
    owner = Owner(engine)
    freed, flag, heard = owner.freed, np.zeros(1, np.int64), []
    i64 = LeafSpec(I64, (), "scalar")
    held = [make_entry(address, [array(1, dtype=I64)], [], [i64], 0, 64, True, owner, 8, fail)]
    started = threading.Event()
    del owner, engine

    def call() -> None:
        started.set()
        heard.append(held.pop()(flag))

    thread = threading.Thread(target=call)
    thread.start()
    started.wait()
    while held:
        pass
    gc.collect()
    assert not freed[0] and not heard
    flag[0] = 42
    thread.join()
    assert heard == [42] and freed[0]


# Threads


@pytest.mark.parametrize("arena_bytes", [256, 1 << 16])
def test_many_threads_at_once(arena_bytes: int) -> None:
    specs = [FLOAT, array(50), LeafSpec(I64, (), "scalar")]
    f = make_copying(
        make_entry,
        specs,
        [SCALAR, *specs[1:]],
        (0, (1, 2)),
        status=2,
        arena_bytes=arena_bytes,
        release_gil=True,
    )
    wrong: list[Any] = []

    def work(seed: int) -> None:
        for k in range(3000):
            x, y = float(seed * 10_000 + k), np.full(50, seed + k / 4)
            a, (b, c) = f(x, y, np.int64(0))
            if a != x or c != 0 or not (b == y).all():
                wrong.append((seed, k))
            if f(x, y[:49], np.int64(0)) is not MISS:
                wrong.append((seed, k, "miss"))
            try:
                f(x, y, np.int64(seed + 1))
                wrong.append((seed, k, "status"))
            except StatusError as error:
                if error.args != (seed + 1,):
                    wrong.append((seed, k, error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# The self-test


def test_the_python_entry_serves_where_the_native_one_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_routine, "layout_fault", lambda: "this Python is not as expected")
    entry_module.native_routine.cache_clear()
    try:
        with pytest.warns(UserWarning, match="not as expected"):
            f = make_copying(make_entry, [FLOAT], [SCALAR], (0,))
        assert f(0.5) == (0.5,) and f(1) is MISS
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            make_copying(make_entry, [FLOAT], [SCALAR], (0,))
    finally:
        entry_module.native_routine.cache_clear()


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%same.nd = icmp eq i64 %nd, %want.nd", "%same.nd = icmp eq i64 %nd, %nd"),
        (
            "%same.size = icmp eq i64 %have.size, %want.size",
            "%same.size = icmp eq i64 %have.size, %have.size",
        ),
        ("%plain = icmp eq i32 %layout, ALIGNED_C_ORDER", "%plain = icmp eq i32 %layout, %layout"),
        ("br i1 %equal, label %accept, label %miss", "br label %accept"),
        ("br i1 %is_twin, label %typed, label %miss", "br label %typed"),
        ("@Py_IncRef(ptr %descr) ", "@Py_IncRef(ptr %descr)\n  call void @Py_IncRef(ptr %descr) "),
        ("br i1 %failed, label %report, label %wrap", "br label %wrap"),
    ],
    ids=["nd", "shape", "layout", "dtype", "type", "references", "status"],
)
def test_the_self_test_finds_a_routine_that_errs(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    monkeypatch.setattr(entry_text, "ROUTINE", replaced(entry_text.ROUTINE, old, new))
    with pytest.raises(Exception, match="the native entry"):
        entry_trial.try_out(entry_routine.Routine())


def test_a_layout_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert entry_routine.layout_fault() is None
    for field in ("Object.type", "Array.data", "Array.nd", "Array.descr", "Array.flags"):
        offset = entry_text.FIELDS[field]
        monkeypatch.setitem(entry_text.FIELDS, field, offset - 8)
        assert entry_routine.layout_fault(), field
        monkeypatch.setitem(entry_text.FIELDS, field, offset)
