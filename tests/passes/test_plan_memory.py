"""Memory plans: lifetimes, in place where it is safe and nowhere else, bytes, and that a wrong plan shows."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from gradc.ir import Graph, Place, evaluate, parse, verify
from gradc.ir.graph import rebuild
from gradc.ir.types import ALIGNMENT
from gradc.passes import arena
from gradc.passes.arena import Arena
from gradc.passes.fuse import fuse
from gradc.passes.plan_memory import plan_memory
from gradc.passes.unfold import unfold
from gradc.runtime.executable import load
from tests.passes.work import FAMILIES, counting, network
from tests.programs.choices import Choices
from tests.programs.generate import generate
from tests.programs.values import Expected


def planned(text: str, donate: dict[int, int] | None = None) -> Graph:
    """The text (with `fuse` nodes written out) with places."""
    graph = plan_memory(parse(text), donate)
    verify(graph, after="plan_memory")
    return graph


def places(graph: Graph) -> dict[str, str]:
    return {y.name or "": str(p) for n in graph.nodes for y, p in zip(n.results, n.places or (), strict=True)}


def kernel(body: str, *inputs: str, result: str = "f64[8, 8]") -> str:
    """`fuse(...)` of a body whose last line is its result."""
    names = ", ".join(inputs)
    types = ", ".join(f"{name}: f64[8, 8]" for name in inputs)
    last = body.strip().splitlines()[-1].split(":")[0].strip()
    return f"fuse({names}, body=graph k({types}) -> ({result}) {{\n{body}\n  return {last}\n}})"


def program(body: str, result: str = "f64[8, 8]") -> str:
    """x = x0 @ x0 is in the arena; `body` makes y of it, which is read by a product in the end."""
    last = "y" if result == "f64[8, 8]" else "x0"
    product = "matmul({}, {}, transpose_a=False, transpose_b=False)"
    return f"""graph f(x0: f64[8, 8]) -> (f64[8, 8]) {{
  x: f64[8, 8] = {product.format("x0", "x0")}
{body}
  z: f64[8, 8] = {product.format(last, "y" if last == "y" else "x0")}
  return z
}}"""


IN_PLACE = {
    "elementwise": "t: f64[8, 8] = exp(x)",
    "read twice, at one element": "s: f64[8, 8] = exp(x)\nt: f64[8, 8] = mul(s, x)",
    "beside a broadcast of something else": ("c: f64[8, 8] = constant(value=2.0)\nt: f64[8, 8] = mul(x, c)"),
}

NOT_IN_PLACE = {
    "transposed": "s: f64[8, 8] = transpose(x, axes=(1, 0))\nt: f64[8, 8] = exp(s)",
    "transposed and not": "s: f64[8, 8] = transpose(x, axes=(1, 0))\nt: f64[8, 8] = mul(s, x)",
    "transposed after it was read in step": (
        "r: f64[8, 8] = exp(x)\ns: f64[8, 8] = transpose(r, axes=(1, 0))\nt: f64[8, 8] = add(r, s)"
    ),
    "reversed": (
        "s: f64[8, 8] = slice(x, starts=(7, 0), sizes=(8, 8), steps=(-1, 1))\nt: f64[8, 8] = add(s, x)"
    ),
    "gathered from": (
        "i: i64[8, 8] = constant(value=3)\n"
        "s: f64[8, 8] = gather(x, i, i, axes=(0, 1))\n"
        "t: f64[8, 8] = add(s, x)"
    ),
    "moved": "t: f64[8, 8] = pad(x, shape=(8, 8), starts=(0, 0), steps=(1, 1), value=0.0)",
}


@pytest.mark.parametrize("case", IN_PLACE)
def test_a_kernel_writes_over_what_it_reads_in_step(case: str):
    graph = planned(program("  y: f64[8, 8] = " + kernel(IN_PLACE[case], "x")))
    assert places(graph)["y"] == places(graph)["x"] == "arena+0"
    same_when_native(graph)


@pytest.mark.parametrize("case", NOT_IN_PLACE)
def test_a_kernel_does_not_write_over_what_it_reads_elsewhere(case: str):
    graph = planned(program("  y: f64[8, 8] = " + kernel(NOT_IN_PLACE[case], "x")))
    assert places(graph)["y"] != places(graph)["x"]
    same_when_native(graph)


def test_what_is_read_later_is_not_overwritten():
    text = program("  y: f64[8, 8] = " + kernel("t: f64[8, 8] = exp(x)", "x")).replace(
        "matmul(y, y", "matmul(y, x"
    )
    assert places(planned(text))["y"] != places(planned(text))["x"]


def test_a_reshape_lies_where_its_operand_lies_and_keeps_it():
    body = f"""  r: f64[64] = reshape(x, shape=(64,))
  y: f64[8, 8] = {kernel("t: f64[8, 8] = exp(x)", "x")}
  q: f64[64] = fuse(r, body=graph k(r: f64[64]) -> (f64[64]) {{
    t: f64[64] = neg(r)
    return t
  }})"""
    graph = planned(program(body))
    at = places(graph)
    assert at["r"] == at["x"]
    assert at["y"] != at["x"], "r is read later"
    assert at["q"] == at["x"], "the last reader may"


def test_two_views_of_one_buffer_are_not_read_in_step():
    body = f"""  r: f64[64] = reshape(x, shape=(64,))
  s: f64[8, 8] = reshape(r, shape=(8, 8))
  y: f64[8, 8] = {kernel("t: f64[8, 8] = mul(x, s)", "x", "s")}"""
    graph = planned(program(body))
    assert places(graph)["y"] != places(graph)["x"]


def test_every_output_reads_before_any_is_written():
    """y0 lies over x, which only y1 reads: each element of x is read before y0 is written there."""
    text = """graph f(a: f64[9], b: f64[9, 9], c: f64[9, 9]) -> (f64[9], f64[9, 9]) {
  x: f64[9, 9] = matmul(b, c, transpose_a=False, transpose_b=False)
  y: f64[9, 9], w: f64[9, 9], s: f64[9] = fuse(b, x,
  body=graph k(b: f64[9, 9], x: f64[9, 9]) -> (f64[9, 9], f64[9, 9], f64[9]) {
    one: f64[9, 9] = constant(value=1.0)
    y: f64[9, 9] = add(b, one)
    w: f64[9, 9] = mul(x, b)
    s: f64[9] = reduce_sum(x, axes=(1,))
    return y, w, s
  })
  z: f64[9, 9] = matmul(y, w, transpose_a=False, transpose_b=False)
  return s, z
}"""
    graph = planned(text)
    assert places(graph)["y"] == places(graph)["x"]
    same_when_native(graph)


@pytest.mark.parametrize("axes", ["(1,)", "()"])
def test_the_tail_of_a_kernel_overwrites_only_what_the_tail_reads(axes: str):
    """x is read by the tail, at the shape that is left; y is written in the body, or in the tail."""
    shape = "f64[9]" if axes == "(1,)" else "f64[9, 9]"
    text = f"""graph f(a: {shape}, b: f64[9, 9]) -> ({shape}, {shape}) {{
  x: {shape} = fuse(a, body=graph k(a: {shape}) -> ({shape}) {{
    t: {shape} = exp(a)
    return t
  }})
  v: f64[9, 9], y: {shape} = fuse(b, x, body=graph k(b: f64[9, 9], x: {shape}) -> (f64[9, 9], {shape}) {{
    v: f64[9, 9] = neg(b)
    r: {shape} = reduce_sum(v, axes={axes})
    y: {shape} = add(r, x)
    return v, y
  }})
  u: {shape} = fuse(y, body=graph k(y: {shape}) -> ({shape}) {{
    t: {shape} = sin(y)
    return t
  }})
  w: {shape} = fuse(v, body=graph k(v: f64[9, 9]) -> ({shape}) {{
    t: {shape} = reduce_max(v, axes={axes})
    return t
  }})
  return u, w
}}"""
    graph = planned(text)
    assert places(graph)["y"] == places(graph)["x"]
    assert places(graph)["v"] != places(graph)["x"]
    same_when_native(graph)


def test_arenas_of_known_sizes():
    chain = "\n".join(f"  x{i}: f64[8, 8] = {matmul(f'x{i - 1}')}" for i in range(1, 20))
    text = f"graph f(x0: f64[8, 8]) -> (f64[8, 8]) {{\n{chain}\n  return x19\n}}"
    assert planned(text).arena == 2 * 512, "two buffers take turns"
    alive = "\n".join(f"  y{i}: f64[8, 8] = {matmul(f'x{i}')}" for i in range(1, 20))
    outputs = ", ".join(f"y{i}" for i in range(1, 20))
    types = ", ".join(["f64[8, 8]"] * 19)
    text = f"graph f(x0: f64[8, 8]) -> ({types}) {{\n{chain}\n{alive}\n  return {outputs}\n}}"
    assert planned(text).arena == 19 * 512
    assert planned("graph f(x: f64[3]) -> (f64[3], f64[3]) {\n  return x, x\n}").arena == 0
    assert plan_memory(fuse(network(100))).arena == 20 * 64 + 64


def matmul(x: str) -> str:
    return f"matmul({x}, {x}, transpose_a=False, transpose_b=False)"


def test_outputs_never_share_memory():
    text = """graph f(x: f64[4], y: f64[4]) -> (f64[4], f64[2, 2], f64[4], f64[4], f64[2, 2]) {
  s: f64[4] = fuse(x, y, body=graph k(x: f64[4], y: f64[4]) -> (f64[4]) {
    t: f64[4] = add(x, y)
    return t
  })
  r: f64[2, 2] = reshape(s, shape=(2, 2))
  q: f64[2, 2] = reshape(y, shape=(2, 2))
  return s, r, x, s, q
}"""
    graph = planned(text)
    at = [y.node.places[y.index] for y in graph.outputs if y.node is not None and y.node.places is not None]
    assert at == [Place("out", i) for i in range(5)]
    x, y = np.arange(4.0), np.ones(4)
    for results in (evaluate(graph, x, y), load(graph).run([x, y])):
        assert [a.reshape(-1).tolist() for a in results] == [[1, 2, 3, 4]] * 2 + [
            [0, 1, 2, 3],
            [1, 2, 3, 4],
            [1] * 4,
        ]


def test_a_reshaped_result_is_not_copied():
    graph = plan_memory(
        fuse(
            parse("""graph f(x: f64[4]) -> (f64[2, 2]) {
  y: f64[4] = exp(x)
  r: f64[2, 2] = reshape(y, shape=(2, 2))
  return r
}""")
        )
    )
    assert [node.op.name for node in graph.nodes] == ["fuse", "reshape"]
    assert set(places(graph).values()) == {"out0"}


STEP = """graph step(p: f64[5], q: f64[5], g: f64[5]) -> (f64[5], f64[5]) {{
  n: f64[5] = fuse(p, g, body=graph k(p: f64[5], g: f64[5]) -> (f64[5]) {{
    n: f64[5] = sub(p, g)
    return n
  }})
  m: f64[5] = fuse(q, {reads}, body=graph k(q: f64[5], {reads}: f64[5]) -> (f64[5]) {{
    m: f64[5] = mul(q, {reads})
    return m
  }})
  return n, m
}}"""


def test_donated_inputs_are_written_if_nobody_reads_them_later():
    donate = {0: 0, 1: 1}
    assert places(planned(STEP.format(reads="g"), donate)) == {"n": "in0", "m": "in1"}
    graph = planned(STEP.format(reads="p"), donate)
    assert places(graph) == {"n": "out0", "m": "in1"}, "p is read after n is made"
    p, q, g = np.arange(5.0), np.full(5, 2.0), np.ones(5)
    leaves = [p.copy(), q.copy(), g.copy()]
    n, m = evaluate(graph, p, q, g)
    assert n.tolist() == (p - g).tolist() and m.tolist() == (p * q).tolist()
    load(graph).run(leaves)
    assert leaves[1].tolist() == m.tolist() and leaves[0].tolist() == p.tolist()


def test_an_input_is_donated_once_and_also_after_its_last_reader():
    assert places(planned(STEP.format(reads="g"), {0: 0, 1: 0})) == {"n": "in0", "m": "out1"}
    assert places(planned(STEP.format(reads="g"), {1: 0})) == {"n": "out0", "m": "in0"}
    assert places(planned(STEP.format(reads="n"), {0: 1})) == {"n": "out0", "m": "out1"}, "q is read later"


def same_when_native(graph: Graph) -> None:
    rng = np.random.default_rng(0)
    leaves = [rng.uniform(0.5, 1.5, x.shape) for x in graph.inputs]
    reference = evaluate(graph.replace(arena=None, nodes=graph.nodes), *leaves)
    for results in (evaluate(graph, *leaves), load(graph).run(leaves)):
        difference = Expected(graph.replace(arena=None), leaves, reference).difference(results)
        assert difference is None, f"{difference}\n{graph}"


@pytest.mark.parametrize("block", range(3))
def test_plans_of_random_programs(block: int):
    for seed in range(block * 40, block * 40 + 40):
        program = generate(Choices([seed, 17]), ops=30)
        leaves = program.leaves(seed)
        graph = fuse(unfold(program.graph))
        plan = plan_memory(graph)
        verify(plan, after="plan_memory")
        no_overlap(plan)
        for a, b in zip(evaluate(graph, *leaves), evaluate(plan, *leaves), strict=True):
            assert a.tobytes() == b.tobytes() or np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def no_overlap(graph: Graph) -> None:
    """No value is written over bytes of another that is still read later."""
    last: dict = {}
    for i, node in enumerate(graph.nodes):
        for x in node.inputs:
            last[x] = i
    alive: list = []
    for i, node in enumerate(graph.nodes):
        assert node.places is not None
        for y, place in zip(node.results, node.places, strict=True):
            if place.where != "arena" or node.op.name == "reshape":
                continue
            assert place.number % ALIGNMENT == 0
            begin, end = place.number, place.number + y.type.nbytes
            for x, low, high in alive:
                assert last.get(x, -1) <= i or end <= low or high <= begin, f"{y} lies over {x}"
        alive += [
            (y, p.number, p.number + y.type.nbytes)
            for y, p in zip(node.results, node.places, strict=True)
            if p.where == "arena"
        ]


def test_a_wrong_plan_gives_wrong_values():
    """Every place of a program in turn is moved onto one that is still needed."""
    text = program(
        "  w: f64[8, 8] = "
        + matmul("x")
        + "\n  y: f64[8, 8] = "
        + kernel("t: f64[8, 8] = mul(x, w)", "x", "w")
    )
    graph = planned(text)
    leaves = [np.random.default_rng(0).uniform(size=(8, 8))]
    (wanted,) = evaluate(graph, *leaves)
    wrong = 0
    for i, node in enumerate(graph.nodes):
        if node.places is None or node.places[0].where != "arena" or node.result.name != "w":
            continue
        moved = rebuild(node, node.inputs)
        moved.places = graph.nodes[0].places  # where x lies, which is read later
        env = {node.result: moved.result}
        rest = []
        for other in graph.nodes[i + 1 :]:
            copy = rebuild(other, tuple(env.get(x, x) for x in other.inputs))
            env.update(zip(other.results, copy.results, strict=True))
            rest.append(copy)
        broken = graph.replace(
            nodes=[*graph.nodes[:i], moved, *rest], outputs=[env[y] for y in graph.outputs]
        )
        assert not np.array_equal(evaluate(broken, *leaves)[0], wanted)
        assert not np.array_equal(load(broken).run(leaves)[0], load(graph).run(leaves)[0])
        wrong += 1
    assert wrong == 1


def test_the_arena_hands_out_every_byte_once():
    rng = np.random.default_rng(0)
    space, held, bytes_held = Arena(), {}, set()
    for _ in range(2000):
        if held and rng.random() < 0.5:
            offset = list(held)[rng.integers(len(held))]
            size = held.pop(offset)
            bytes_held -= set(range(offset, offset + size, 64))
            space.free(offset, size)
        else:
            offset, size = space.allocate(int(rng.choice([0, 1, 64, 65, 200, 500, 1000])))
            piece = set(range(offset, offset + size, 64))
            assert not piece & bytes_held and offset + size <= space.top
            bytes_held |= piece
            held[offset] = size
    for offset, size in held.items():
        space.free(offset, size)
    assert space.size_at == {0: space.top} and list(space.start_of) == [space.top]


def test_the_arena_takes_the_hole_that_fits_best_and_grows_the_last_one():
    space = Arena()
    pieces = [space.allocate(n * 64) for n in (4, 1, 2, 1)]
    space.free(*pieces[0])
    space.free(*pieces[2])
    assert space.allocate(128) == (pieces[2][0], 128)
    space.free(*pieces[3])
    assert space.allocate(5 * 64) == (pieces[3][0], 5 * 64)


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_work_grows_with_the_number_of_nodes(family: str):
    grows_linearly(family, 1000)


@pytest.mark.long
def test_work_grows_with_the_number_of_nodes_at_any_size():
    grows_linearly("holes", 10_000)


def grows_linearly(family: str, n: int) -> None:
    """Ten times the nodes take about ten times the lines."""
    work = []
    for size in (n, 10 * n):
        graph = fuse(FAMILIES[family](size))
        with counting(sys.modules[plan_memory.__module__], arena) as counter:
            plan_memory(graph)
        work.append(counter.lines / len(list(graph.walk())))
    assert work[1] < 1.3 * work[0], work
