"""The compute layer is plain C: no globals, no library, no addresses; threads, repetition and guard bytes."""

from __future__ import annotations

import ctypes
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest

import gradc
from gradc.codegen.binary import ENTRY
from gradc.codegen.library import symbols_in
from gradc.ir import Graph, IndexOutOfBoundsError, parse
from gradc.passes.fuse import fuse
from gradc.passes.plan_memory import plan_memory
from gradc.passes.unfold import unfold
from gradc.runtime.executable import Executable, load
from tests.programs.choices import Choices
from tests.programs.generate import generate

LIBRARY = {"memcpy", "memmove", "memset"}
LOOP = re.compile(r"gradc\.library\.(?:(?:numpy\.linalg|scipy\.special)\.\w+\.f(?:32|64)|c\.fe\w+except)")
"""The names of loops of NumPy and SciPy, and of what reads and clears the status flags they set."""
UNDEFINED, ABSOLUTE, COMMON = 0, 0xFFF1, 0xFFF2
OBJECT, FILE = 1, 4
PC_RELATIVE = {2, 4, 9, 41, 42}
"""R_X86_64_PC32, PLT32, GOTPCREL and its relaxable forms: they hold a distance, not an address."""


def network(params: dict, x: np.ndarray, y: np.ndarray) -> np.floating:
    """A classifier: matrix products, tanh, softmax, indexing."""
    h = np.tanh(x @ params["W1"] + params["b1"])
    z = h @ params["W2"] + params["b2"]
    m = z - z.max(axis=1, keepdims=True)
    logp = m - np.log(np.exp(m).sum(axis=1, keepdims=True))
    return -np.mean(logp[np.arange(len(y)), y])


def network_graph() -> Graph:
    params = {"W1": "f32[37, 19]", "b1": "f32[19]", "W2": "f32[19, 5]", "b2": "f32[5]"}
    return gradc.compile(network).lower(params, "f32[33, 37]", "i64[33]").graph("planned")


def unrolled(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """So many sines, cosines and exponentials in one kernel that copies of them would cost seconds."""
    for k in range(40):
        x = np.sin(x + 0.1 * k) + np.exp(-x) * np.cos(y - k)
    return x


def unrolled_graph() -> Graph:
    return gradc.compile(unrolled).lower("f64[37]", "f64[]").graph("planned")


def layers(x: np.ndarray, weights: list[np.ndarray]) -> np.floating:
    for w in weights:
        x = np.tanh(x @ w)
    return np.sum(x)


def layers_graph() -> Graph:
    f = gradc.compile(layers, wrt=1)
    return f.lower("f64[3, 5]", ["f64[5, 5]"] * 200).graph("planned")


def batch_graph() -> Graph:
    """Layers over a batch, which threads share, and gradients of weights, of which they take one each."""
    f = gradc.compile(layers, wrt=1)
    return f.lower("f32[256, 64]", ["f32[64, 64]"] * 20).graph("planned")


def factors(x: np.ndarray, b: np.ndarray) -> tuple:
    """Every loop of NumPy's that there is an op for."""
    a = x @ x.T + 9 * np.eye(len(x))
    s, v = np.linalg.eigh(a)
    u, w, vt = np.linalg.svd(x, full_matrices=False)
    q, r = np.linalg.qr(x)
    y = np.linalg.solve(a, b) + np.linalg.inv(a) @ b
    return np.linalg.cholesky(a), s, v, u, w, vt, q, r, y, np.linalg.slogdet(a), np.linalg.eigvalsh(a[:3, :3])


def factors_graph() -> Graph:
    return gradc.compile(factors).lower("f64[5, 4]", "f64[5, 2]").graph("planned")


CHOOSE = """graph choose(p: bool[], x: f64[17, 3], i: i64[5]) -> (f64[17, 3], f64[5, 3]) {
  y: f64[17, 3], z: f64[5, 3] = cond(p, x, i,
  if_true=graph yes(x: f64[17, 3], i: i64[5]) -> (f64[17, 3], f64[5, 3]) {
    a: f64[17, 3] = sin(x)
    b: f64[17, 3] = remainder(a, x)
    c: f64[5, 3] = gather(b, i, axes=(0,))
    return b, c
  }, if_false=graph no(x: f64[17, 3], i: i64[5]) -> (f64[17, 3], f64[5, 3]) {
    c: f64[5, 3] = gather(x, i, axes=(0,))
    d: f64[17, 3] = scatter_add(x, c, i, axes=(0,))
    return d, c
  })
  return y, z
}"""

ELEMENTWISE = """graph elementwise(x: f32[1000], y: f32[1000]) -> (f32[1000], f64[], i32[1000]) {
  a: f32[1000] = power(x, y)
  b: f32[1000] = erf(a)
  c: f64[1000] = cast(b)
  d: f64[] = reduce_sum(c, axes=(0,))
  e: i32[1000] = cast(a)
  f: i32[1000] = floor_divide(e, e)
  return b, d, f
}"""


def random_graph(seed: int) -> Graph:
    """A planned graph of random ops, none of which the passes take out."""
    return plan_memory(fuse(unfold(generate(Choices([seed, 7]), ops=14).graph)))


GRAPHS = {
    "network": network_graph,
    "unrolled": unrolled_graph,
    "layers": layers_graph,
    "batch": batch_graph,
    "choose": lambda: plan_memory(fuse(parse(CHOOSE))),
    "factors": factors_graph,
    "elementwise": lambda: plan_memory(fuse(parse(ELEMENTWISE))),
    **{f"random{i}": lambda i=i: random_graph(i) for i in range(6)},
}


@cache
def executable(name: str) -> Executable:
    return load(GRAPHS[name]())


def leaves_of(program: Executable, seed: int = 0) -> list[np.ndarray]:
    """Arguments that no check minds."""
    rng = np.random.default_rng(seed)
    return [
        np.asarray(rng.uniform(0.5, 2, t.shape) if t.is_float else rng.integers(0, 2, t.shape)).astype(
            t.dtype
        )
        for t in program.inputs
    ]


class Elf:
    """Sections, symbols and relocations of a 64-bit object file."""

    def __init__(self, data: bytes) -> None:
        assert data[:5] == b"\x7fELF\x02"
        start, size, count, names = (
            *struct.unpack_from("<Q", data, 40),
            *struct.unpack_from("<3H", data, 58),
        )
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, start + i * size) for i in range(count)]
        bodies = [b"" if h[1] == 8 else data[h[4] : h[4] + h[5]] for h in headers]

        def text(table: int, offset: int) -> str:
            return bodies[table][offset:].split(b"\0", 1)[0].decode()

        self.sections = [(text(names, h[0]), h[2], h[5]) for h in headers]
        self.symbols: list[tuple[str, int, int, int]] = []  # name, binding, kind, section
        self.relocations: list[tuple[int, int]] = []  # kind, symbol
        for header, body in zip(headers, bodies, strict=True):
            if header[1] == 2:
                for name, info, _, section, _, _ in struct.iter_unpack("<IBBHQQ", body):
                    self.symbols.append((text(header[6], name), info >> 4, info & 15, section))
            elif header[1] == 4:
                self.relocations += [
                    (info & 0xFFFFFFFF, info >> 32) for _, info, _ in struct.iter_unpack("<QQq", body)
                ]


@pytest.mark.parametrize("name", GRAPHS)
def test_object_code_stands_alone(name: str):
    files = [Elf(data) for data in executable(name).binary.code]
    symbols = [symbol for elf in files for symbol in elf.symbols]
    undefined = {symbol for symbol, _, _, section in symbols if section == UNDEFINED and symbol}
    visible = [{s for s, binding, _, at in elf.symbols if binding and at != UNDEFINED} for elf in files]
    assert visible[0] == {ENTRY} and len(set().union(*visible)) == sum(map(len, visible))
    named = {symbol for symbol in undefined if LOOP.fullmatch(symbol)}
    assert undefined - named - set().union(*visible[1:]) <= LIBRARY
    assert named == symbols_in(executable(name).llvm)
    assert named or name != "factors"
    assert not [
        s
        for s, _, kind, section in symbols
        if kind == OBJECT or (kind != FILE and section in (ABSOLUTE, COMMON))
    ]
    write = 1
    assert not [section for elf in files for section, flags, size in elf.sections if flags & write and size]
    assert {kind for elf in files for kind, _ in elf.relocations} <= PC_RELATIVE, "an absolute address"


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_modules_side_by_side_compute_the_same(name: str, count: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gradc.codegen.parts.LEAST", 1)
    monkeypatch.setattr("gradc.codegen.driver.workers", lambda: count)
    program = load(GRAPHS[name]())
    if name in ("network", "factors"):
        assert len(program.binary.code) == count
    leaves = leaves_of(program)
    for a, b in zip(program.run(leaves), executable(name).run(leaves), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", GRAPHS)
def test_llvm_text_has_no_globals_and_no_addresses(name: str):
    text = executable(name).llvm
    globals = re.findall(r"^@(.*)$", text, re.MULTILINE)
    table = r"[\w.]+\.(?:table|starts|strides|places\d+) = private constant \[\d+ x i64\] \[[i\d, ]*\]"
    assert all(re.fullmatch(rf"{LOOP.pattern} = external global \[2 x ptr\]|{table}", x) for x in globals)
    assert "inttoptr" not in text
    external = set(re.findall(r"^declare .*@([\w.]+)\(", text, re.MULTILINE))
    assert not {symbol for symbol in external if not symbol.startswith("llvm.")} - LIBRARY


def test_functions_called_very_often_are_not_copied():
    program = executable("unrolled")
    assert re.search(r"gradc\.sin", program.dump("asm")) and not re.search(
        r"gradc\.", executable("network").dump("asm")
    )
    leaves = leaves_of(program)
    (result,), _ = call(program, leaves)
    np.testing.assert_allclose(result, unrolled(leaves[0], leaves[1]), rtol=1e-12)


def test_no_function_grows_with_the_program():
    text = executable("layers").llvm
    functions = re.findall(r"^define .*?^}$", text, re.MULTILINE | re.DOTALL)
    assert len(functions) < 40 and max(f.count("\n") for f in functions if "@gradc_compute" in f) < 100
    program = executable("layers")
    assert len(program.kernels()) > 500


@pytest.mark.parametrize("name", GRAPHS)
def test_calls_in_a_table_compute_the_same(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gradc.codegen.driver.STRAIGHT", 0)
    monkeypatch.setattr("gradc.codegen.driver.MANY", 0)
    program = load(GRAPHS[name]())
    assert ".table" in program.llvm and (name != "batch" or program.llvm.count("@gradc.places(") > 2)
    leaves = leaves_of(program)
    for a, b in zip(program.run(leaves), executable(name).run(leaves), strict=True):
        assert a.tobytes() == b.tobytes()


def call(
    program: Executable, leaves: list[np.ndarray], arena_guard: int = 64
) -> tuple[list[np.ndarray], int]:
    """Call the C function on buffers between guard bytes, only element-aligned; results and status."""
    keep = []

    def buffer(nbytes: int, itemsize: int, align: int = 0) -> tuple[int, np.ndarray, slice]:
        raw = np.full(nbytes + 256, 0x5A, np.uint8)
        base = raw.ctypes.data
        start = 64 + (-(base + 64) % 64) + (0 if align else itemsize % 64)
        keep.append((raw, start, nbytes))
        return base + start, raw, slice(start, start + nbytes)

    def array(pointers: list[int]) -> ctypes.Array:
        return (ctypes.c_void_p * max(len(pointers), 1))(*pointers)

    ins = []
    for leaf in [*leaves, *program.constants]:
        address, raw, where = buffer(leaf.nbytes, leaf.itemsize)
        raw[where] = np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)
        ins.append(address)
    outs, views = [], []
    for t in program.outputs:
        address, raw, where = buffer(t.nbytes, t.dtype.itemsize)
        outs.append(address)
        views.append((raw, where, t))
    arena, _, _ = buffer(program.memory, 1, align=64)
    context, raw_context, where = buffer(program.context_bytes, 8, align=64)
    raw_context[where] = 0
    before = raw_context.copy()
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(program.address)
    inputs = [raw.copy() for raw, _, _ in keep[: len(ins)]]
    in_array, out_array = array(ins), array(outs)
    function(ctypes.addressof(in_array), ctypes.addressof(out_array), arena, context)
    for raw, start, nbytes in keep:
        assert (raw[:start] == 0x5A).all() and (raw[start + nbytes :] == 0x5A).all(), "written out of bounds"
    assert all((a == raw).all() for a, (raw, _, _) in zip(inputs, keep, strict=False)), "an input was written"
    status = int(raw_context[where].view(np.int64)[0])
    raw_context[where][:8] = before[where][:8]
    assert (raw_context == before).all(), "the context holds more than a status"
    return [raw[where].view(t.dtype).reshape(t.shape).copy() for raw, where, t in views], status


@pytest.mark.parametrize("name", GRAPHS)
def test_c_signature_and_guard_bytes(name: str):
    program = executable(name)
    leaves = leaves_of(program)
    got, status = call(program, leaves)
    assert status == 0
    for a, b in zip(got, program.run(leaves), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", GRAPHS)
def test_threads_and_repetition_give_the_same_bits(name: str):
    program = executable(name)
    arguments = [leaves_of(program, seed) for seed in range(4)]
    wanted = [[a.tobytes() for a in program.run(leaves)] for leaves in arguments]

    def work(k: int) -> bool:
        same = True
        for i in range(20):
            which = (k + i) % len(arguments)
            same &= [a.tobytes() for a in program.run(arguments[which])] == wanted[which]
        return same

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


REQUIRE = """graph f(x: f32[{n}], i: i64[{m}]) -> (f32[{m}]) {{
  low: i64[{m}] = constant(value=0)
  size: i64[{m}] = constant(value={n})
  a: bool[{m}] = ge(i, low)
  b: bool[{m}] = lt(i, size)
  c: bool[{m}] = and(a, b)
  j: i64[{m}] = require(i, c, message="index is out of bounds")
  y: f32[{m}] = gather(x, j, axes=(0,))
  return y
}}"""


@pytest.mark.parametrize("size", [1, 5, 8, 16, 33])
@pytest.mark.parametrize("bad", [-1, 7, 2**62, -(2**63)])
def test_a_failed_check_sets_the_status_and_nothing_else(size: int, bad: int):
    program = load(plan_memory(fuse(parse(REQUIRE.format(n=7, m=size)))))
    x, i = np.arange(7, dtype=np.float32), np.arange(size) % 7
    got, status = call(program, [x, i])
    assert status == 0 and got[0].tolist() == x[i].tolist()
    for at in {0, size - 1, size // 2}:
        j = i.copy()
        j[at] = bad
        _, status = call(program, [x, j])
        assert program.messages[status - 1].text == "index is out of bounds"
        with pytest.raises(IndexOutOfBoundsError, match="index is out of bounds"):
            program.run([x, j])
    assert program.run([x, i])[0].tolist() == x[i].tolist(), "the next call is not the last one's fault"


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_checks_of_nothing_and_indices_into_nothing(n: int, m: int):
    program = load(plan_memory(fuse(parse(REQUIRE.format(n=n, m=m)))))
    _, status = call(program, [np.zeros(n, np.float32), np.zeros(m, np.int64)])
    assert (status != 0) == (m > 0)


def test_a_check_over_an_empty_axis_passes():
    graph = parse(
        """graph f(x: f32[3, 0], ok: bool[3]) -> (f32[3, 0], f32[3]) {
  b: bool[3, 0] = broadcast(ok, shape=(3, 0), axes=(0,))
  y: f32[3, 0] = require(x, b, message="no")
  s: f32[3] = reduce_sum(y, axes=(1,))
  return y, s
}"""
    )
    _, sums = load(plan_memory(fuse(graph))).run([np.zeros((3, 0), np.float32), np.zeros(3, bool)])
    assert sums.tolist() == [0, 0, 0]


def test_scatter_into_nothing_writes_nothing():
    text = """graph f(x: f32[0, 5], u: f32[3, 5], i: i64[3]) -> (f32[0, 5]) {
  y: f32[0, 5] = scatter_add(x, u, i, axes=(0,))
  return y
}"""
    program = load(plan_memory(fuse(parse(text))))
    call(program, [np.zeros((0, 5), np.float32), np.ones((3, 5), np.float32), np.zeros(3, np.int64)])
