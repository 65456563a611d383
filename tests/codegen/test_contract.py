"""Contractions in machine code: any labels, strides, overlaps and sizes around vectors and tiles."""

import numpy as np
import pytest

import gradc
from gradc.codegen.contract import Label, define, plan
from gradc.codegen.contract.plan import merged
from gradc.ir import Builder, Type, emit, evaluate
from gradc.ir.types import NAMES
from gradc.passes import pipeline
from gradc.runtime.executable import load
from tests.codegen.native import compiled

DRAWS = 40


def drawn(seed: int, dtype: np.dtype):
    """A contraction of two readings, with overlaps, steps, turns, repeated elements, in any order of axes."""
    rng = np.random.default_rng(seed)
    labels = list(range(rng.integers(1, 6)))
    size = {k: int(rng.choice([1, 2, 3, 5, 8, 9, 16, 17, 33])) for k in labels}
    while np.prod([size[k] for k in labels]) > 60000:
        size[max(labels, key=lambda k: size[k])] = 3
    summed = [k for k in labels if rng.random() < 0.45]
    kept = [k for k in labels if k not in summed]
    names = []
    for _ in range(2):
        names.append([k for k in labels if k in summed or rng.random() < 0.6])
    names[0] += [k for k in kept if k not in names[0] and k not in names[1]]
    result = tuple(int(k) for k in rng.permutation(kept)) if kept else ()
    with Builder() as builder:
        operands, orders = [], []
        for i, name in enumerate(names):
            order = tuple(int(k) for k in rng.permutation(name)) if name else ()
            axes, steps, starts, whole = [], [], [], []
            for k in order:
                step = int(rng.choice([1, 1, 1, 2, 3, 5, -1, -2]))
                if whole and rng.random() < 0.4:  # along an axis that another one walks along already
                    a = int(rng.integers(len(whole)))
                else:
                    a = len(whole)
                    whole.append(1)
                    starts.append(int(rng.integers(0, 2)))
                span = (size[k] - 1) * step
                whole[a] += abs(span)
                starts[a] += max(-span, 0)
                axes.append(a)
                steps.append(step)
            shape = tuple(n + s if s else n for n, s in zip(whole, [2] * len(whole), strict=True))
            x = builder.add_input(Type(dtype, shape), "ab"[i])
            sizes = tuple(size[k] for k in order)
            operands.append(
                emit("windows", x, shape=sizes, axes=tuple(axes), starts=tuple(starts), steps=tuple(steps))
            )
            orders.append(order)
        y = emit("contract", *operands, a=orders[0], b=orders[1], result=result)
        graph = builder.build("contraction", [y])
    leaves = [(rng.integers(-4, 5, x.shape)).astype(dtype) for x in graph.inputs]
    return graph, leaves


@pytest.fixture(params=["whole", "in parts"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one piece, and in as many parts as there can be."""
    monkeypatch.setattr(plan, "PART_CYCLES", 16 if request.param == "in parts" else 1 << 40)


@pytest.mark.parametrize("dtype", ["f32", "f64", "i8", "i64", "u16"])
@pytest.mark.parametrize("part", range(4))
def test_any_contraction(dtype: str, part: int, cut: None):
    # Small integers: sums are exact in any order.
    for seed in range(part * DRAWS // 4, (part + 1) * DRAWS // 4):
        graph, leaves = drawn(seed, NAMES[dtype])
        (wanted,) = evaluate(graph, *leaves)
        (got,) = compiled(graph).run(leaves)
        np.testing.assert_array_equal(got, wanted, err_msg=f"{seed}\n{graph}")
        (got,) = load(pipeline.run(pipeline.prepare(graph))).run(leaves)
        np.testing.assert_array_equal(got, wanted, err_msg=f"simplified {seed}\n{graph}")


LARGE = {
    "blocks of sums": ((2, 9, 10, 130), (3, 2, 130, 40), "nyxcij,ijco->nyxo"),
    "weights of many channels": ((2, 12, 12, 160), (2, 11, 11, 170), "nyxcij,nyxo->ijco"),
    "channels first": ((2, 20, 14, 35), (33, 20, 3, 3), "ncyxij,ocij->noyx"),
    "weights, channels first": ((2, 20, 14, 35), (2, 33, 12, 33), "ncyxij,noyx->ocij"),
    "a long line": ((5000,), (600,), "ti,i->t"),
    "a long line's weights": ((5000,), (4990,), "ti,t->i"),
    "depthwise": ((2, 9, 40, 37), (3, 3, 37), "nyxcij,ijc->nyxc"),
    "a result too large to stay near": ((40, 300), (40, 400), "ti,to->io"),
}


@pytest.mark.parametrize("case", LARGE.values(), ids=LARGE)
def test_large_ones(case, cut: None):
    image, kernel, text = case
    left, right = text.split("->")[0].split(",")
    result = text.split("->")[1]
    rng = np.random.default_rng(0)
    letters = {c: i for i, c in enumerate(dict.fromkeys(left + right))}
    with Builder() as builder:
        x = builder.add_input(Type(NAMES["f32"], image), "x")
        w = builder.add_input(Type(NAMES["f32"], kernel), "w")
        size = dict(zip(right, kernel, strict=True))
        # Along the axis of y and x (or t) also i and j walk.
        with_place = dict(zip("ij", "yx", strict=True)) if "y" in left else {"i": "t"}
        axes = [left.index(with_place.get(c, c)) for c in left[: len(image)]]
        axes += [left.index(with_place[c]) for c in left[len(image) :]]
        if len(left) == len(image):
            axes = list(range(len(image)))
        reach = {c: 0 for c in left}
        for c in left[len(image) :]:
            known = size.get(c) or image[left.index(with_place[c])] - size[with_place[c]] + 1
            size[c] = known
            reach[with_place[c]] = known - 1
        sizes = tuple(
            size[c] if c in size and i >= len(image) else image[i] - reach[c] for i, c in enumerate(left)
        )
        read = emit(
            "windows",
            x,
            shape=sizes,
            axes=tuple(axes),
            starts=(0,) * len(image),
            steps=(1,) * len(left),
        )
        named = {k: tuple(letters[c] for c in t) for k, t in (("a", left), ("b", right), ("result", result))}
        graph = builder.build("large", [emit("contract", read, w, **named)])
    leaves = [rng.integers(-2, 3, shape).astype(np.float32) for shape in (image, kernel)]
    (wanted,) = evaluate(graph, *leaves)
    (got,) = compiled(graph).run(leaves)
    np.testing.assert_array_equal(got, wanted)


def test_threads_share_convolutions():
    """The value and both gradients, with the same bits for any number of threads."""

    def loss(x, w):
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
        return np.mean(np.einsum("nyxcij,ijco->nyxo", windows, w) ** 2)

    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 14, 14, 40)), rng.standard_normal((3, 3, 40, 24))
    results = []
    for threads in (1, 2, 3, 4):
        f = gradc.compile(loss, wrt=(0, 1), threads=threads)
        assert f.lower(x, w).dump("llvm").count(".part(ptr %a") == 3  # the value's, and both gradients'
        results.append(f.value_and_grad(x, w))
    for value, (dx, dw) in results[1:]:
        assert value == results[0][0]
        assert np.array_equal(dx, results[0][1][0]) and np.array_equal(dw, results[0][1][1])


def test_loops_that_continue_each_other_are_one():
    assert merged([Label(4, 12, 0, 36), Label(3, 4, 0, 12), Label(4, 1, 5, 0)]) == [
        Label(4, 1, 5, 0),
        Label(12, 4, 0, 12),
    ]
    assert merged([Label(1, 7, 7, 7)]) == []
    overlapping = [Label(6, 1, 0, 1), Label(3, 1, 1, 0)]
    assert merged(overlapping) == overlapping


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
def test_other_widths_are_written_too(vector_bytes: int):
    labels = [Label(30, 16, 0, 32), Label(3, 16, 512, 0), Label(16, 1, 32, 0), Label(32, 0, 1, 1)]
    text = define("f", "f32", labels, (0, 0), vector_bytes).text
    assert f"<{vector_bytes // 4} x float>" in text
    assert f"<{vector_bytes // 2} x float>" not in text
