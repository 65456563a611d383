"""Convolutions as NumPy users write them: values, gradients, layouts, steps, dilation, and whole networks."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import gradc
from gradc.ir import evaluate
from gradc.passes import pipeline

RNG = np.random.default_rng(3)


def plain(x, w, step=(1, 1), dilation=(1, 1), pad=((0, 0), (0, 0))):
    """[n, y, x, c] with [i, j, c, o], by loops over the kernel."""
    x = np.pad(x, ((0, 0), *pad, (0, 0)))
    reach = [(m - 1) * d + 1 for m, d in zip(w.shape, dilation, strict=False)]
    rows, columns = [(n - r) // s + 1 for n, r, s in zip(x.shape[1:3], reach, step, strict=True)]
    out = np.zeros((len(x), rows, columns, w.shape[3]))
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            a, b = i * dilation[0], j * dilation[1]
            part = x[:, a : a + step[0] * rows : step[0], b : b + step[1] * columns : step[1]]
            out += part[:, :rows, :columns] @ w[i, j]
    return out


def windowed(x, w, step=(1, 1), dilation=(1, 1), pad=((0, 0), (0, 0))):
    x = np.pad(x, ((0, 0), *pad, (0, 0)))
    reach = tuple((m - 1) * d + 1 for m, d in zip(w.shape[:2], dilation, strict=True))
    windows = sliding_window_view(x, reach, axis=(1, 2))
    windows = windows[:, :: step[0], :: step[1], :, :: dilation[0], :: dilation[1]]
    return np.einsum("nyxcij,ijco->nyxo", windows, w)


def ops(f, *args):
    """How often each op stands in the optimized graph of the value and both gradients."""
    loss = gradc.compile(lambda *args: np.sum(np.sin(f(*args))), wrt=tuple(range(len(args))))
    return [node.op.name for node in loss.lower(*args).graph("optimized").walk()]


@pytest.mark.parametrize("pad", [((0, 0), (0, 0)), ((2, 1), (0, 3))], ids=["valid", "padded"])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (1, 3)], ids=str)
@pytest.mark.parametrize("step", [(1, 1), (2, 1), (3, 2)], ids=str)
@pytest.mark.parametrize("size", [(3, 2), (1, 4), (1, 1), (2, 2)], ids=str)
def test_steps_dilation_and_padding(size, step, dilation, pad):
    x, w = RNG.normal(size=(2, 8, 11, 3)), RNG.normal(size=(*size, 3, 5))

    def f(x, w):
        return windowed(x, w, step, dilation, pad)

    np.testing.assert_allclose(
        gradc.compile(f)(x, w), plain(x, w, step, dilation, pad), rtol=1e-12, atol=1e-12
    )
    gradc.check_grad(lambda p: np.sum(np.sin(f(*p))), (x, w))


def rows_first(x, w):
    """im2col and a product."""
    windows = sliding_window_view(x, w.shape[:2], axis=(1, 2))
    n, rows, columns, channels, i, j = windows.shape
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * rows * columns, i * j * channels)
    return (patches @ w.reshape(i * j * channels, -1)).reshape(n, rows, columns, -1)


def columns_first(x, w):
    """Kernel on the left: [o, k] @ [k, positions]."""
    windows = sliding_window_view(x, w.shape[2:], axis=(2, 3))
    n, c, rows, columns, i, j = windows.shape
    patches = windows.transpose(0, 1, 4, 5, 2, 3).reshape(n, c * i * j, rows * columns)
    return (w.reshape(len(w), -1) @ patches).reshape(n, len(w), rows, columns)


def with_tensordot(x, w):
    windows = sliding_window_view(x, w.shape[2:], axis=(2, 3))
    return np.moveaxis(np.tensordot(windows, w, ((1, 4, 5), (1, 2, 3))), -1, 1)


def with_sum(x, w):
    windows = sliding_window_view(x, w.shape, axis=(0, 1))
    return (windows * w).sum(axis=(-2, -1))


def turned(x, w):
    """A convolution proper: the kernel turned around."""
    windows = sliding_window_view(x, w.shape, axis=(0, 1))
    return np.einsum("yxij,ij->yx", windows, w[::-1, ::-1])


def depthwise(x, w):
    return np.einsum("nyxcij,ijc->nyxc", sliding_window_view(x, w.shape[:2], axis=(1, 2)), w)


def grouped(x, w):
    """[n, y, x, g, c] with [i, j, g, c, o]."""
    windows = sliding_window_view(x, w.shape[:2], axis=(1, 2))
    return np.einsum("nyxgcij,ijgco->nyxgo", windows, w)


def solid(x, w):
    return np.einsum("zyxijk,ijk->zyx", sliding_window_view(x, w.shape), w)


def line(x, w):
    return sliding_window_view(x, len(w)) @ w


def lines(x, w):
    """[n, c, t] with [o, c, k]."""
    return np.einsum("nctk,ock->not", sliding_window_view(x, w.shape[2], axis=2), w)


def shifted(x, w):
    return np.convolve(x, w, mode="same")


SPELLINGS = {
    rows_first: ((2, 7, 9, 3), (2, 3, 3, 5)),
    columns_first: ((2, 3, 7, 9), (5, 3, 2, 4)),
    with_tensordot: ((2, 3, 7, 19), (5, 3, 2, 4)),
    with_sum: ((8, 11), (3, 4)),
    turned: ((8, 11), (3, 4)),
    depthwise: ((2, 7, 9, 19), (3, 2, 19)),
    grouped: ((2, 7, 9, 2, 3), (3, 2, 2, 3, 5)),
    solid: ((9, 10, 11), (2, 3, 4)),
    line: ((40,), (7,)),
    lines: ((2, 3, 40), (5, 3, 7)),
    shifted: ((40,), (7,)),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("f", SPELLINGS, ids=lambda f: f.__name__)
def test_every_spelling_is_a_contraction_forward_and_backward(f, dtype):
    x, w = (RNG.normal(size=shape).astype(dtype) for shape in SPELLINGS[f])
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(gradc.compile(f)(x, w), f(x, w), rtol=tolerance, atol=tolerance)
    found = ops(f, x, w)
    assert found.count("contract") == 3
    assert not {"matmul", "fold", "gather", "scatter_add"} & set(found)
    gradc.check_grad(lambda p: np.sum(np.sin(f(*p))), (x, w))


@pytest.mark.parametrize(
    ("image", "kernel"),
    [
        ((1, 5, 6, 1), (2, 3, 1, 1)),
        ((1, 3, 3, 2), (3, 3, 2, 4)),
        ((2, 4, 1, 3), (4, 1, 3, 1)),
        ((0, 4, 5, 3), (2, 2, 3, 2)),
        ((2, 4, 5, 0), (2, 2, 0, 3)),
        ((2, 4, 5, 3), (2, 2, 3, 0)),
        ((2, 4, 5, 3), (0, 2, 3, 2)),
    ],
    ids=str,
)
def test_sizes_of_one_and_none(image, kernel):
    x, w = RNG.normal(size=image), RNG.normal(size=kernel)
    np.testing.assert_allclose(gradc.compile(windowed)(x, w), windowed(x, w), rtol=1e-12, atol=1e-12)
    value, gradients = gradc.value_and_grad(lambda p: np.sum(windowed(*p) ** 2))((x, w))
    np.testing.assert_allclose(value, np.sum(windowed(x, w) ** 2))
    assert [g.shape for g in gradients] == [image, kernel]
    if x.size and w.size:
        gradc.check_grad(lambda p: np.sum(windowed(*p) ** 2), (x, w))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint16])
def test_integers_wrap_around(dtype):
    x, w = RNG.integers(0, 100, (2, 7, 9, 3)).astype(dtype), RNG.integers(0, 100, (3, 2, 3, 5)).astype(dtype)
    result = gradc.compile(windowed)(x, w)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, windowed(x, w))


POOLS = {
    "largest": lambda x: sliding_window_view(x, (2, 2), axis=(1, 2))[:, ::2, ::2].max(axis=(-2, -1)),
    "smallest, overlapping": lambda x: sliding_window_view(x, (3, 2), axis=(1, 2)).min(axis=(-2, -1)),
    "mean": lambda x: sliding_window_view(x, (2, 3), axis=(1, 2))[:, ::2, ::3].mean(axis=(-2, -1)),
    "mean of a line": lambda x: sliding_window_view(x, 5, axis=2).mean(axis=-1),
    "spread": lambda x: sliding_window_view(x, (3, 3), axis=(1, 2)).std(axis=(-2, -1)),
    "dilated": lambda x: sliding_window_view(x, (3, 5), axis=(1, 2))[..., ::2, ::2].max(axis=(-2, -1)),
    "softmax": lambda x: np.exp(x[:, 1:-1]) / np.exp(sliding_window_view(x, 3, axis=1)).sum(axis=-1),
    "median filter's neighbours": lambda x: np.sort(sliding_window_view(x, 3, axis=2), axis=-1)[..., 1],
}


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("shape", [(3, 8, 12, 5), (2, 8, 19), (1, 6, 40)], ids=str)
def test_pooling(pool, shape):
    x = RNG.normal(size=shape)
    np.testing.assert_allclose(gradc.compile(pool)(x), pool(x), rtol=1e-12, atol=1e-12)
    gradc.check_grad(lambda x: np.sum(np.sin(pool(x))), x)


def test_windows_are_never_stored_by_what_reduces_them():
    graph = gradc.compile(POOLS["largest"]).lower("f32[4, 32, 32, 8]").graph("fused")
    assert [node.types[0].shape for node in graph.nodes] == [(4, 16, 16, 8)]
    graph = gradc.compile(windowed).lower("f32[4, 32, 32, 8]", "f32[3, 3, 8, 16]").graph("fused")
    assert [node.types[0].shape for node in graph.nodes] == [(4, 30, 30, 16)]


def network(params, images, labels):
    """Two convolutions with bias, relu and pooling, then a dense layer and softmax cross-entropy."""
    h = images
    for layer in params["convolutions"]:
        padded = np.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = sliding_window_view(padded, (3, 3), axis=(1, 2))
        h = np.einsum("nyxcij,ijco->nyxo", windows, layer["W"]) + layer["b"]
        h = np.maximum(h, 0)
        h = sliding_window_view(h, (2, 2), axis=(1, 2))[:, ::2, ::2].max(axis=(-2, -1))
    logits = h.reshape(len(h), -1) @ params["W"] + params["b"]
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -np.mean(log_probabilities[np.arange(len(labels)), labels])


def problem():
    params = {
        "convolutions": [
            {"W": 0.3 * RNG.normal(size=(3, 3, 2, 4)), "b": 0.1 * RNG.normal(size=4)},
            {"W": 0.3 * RNG.normal(size=(3, 3, 4, 6)), "b": 0.1 * RNG.normal(size=6)},
        ],
        "W": 0.3 * RNG.normal(size=(2 * 3 * 6, 5)),
        "b": np.zeros(5),
    }
    return params, RNG.normal(size=(3, 8, 12, 2)), np.array([0, 4, 2])


def test_a_network_of_convolutions():
    params, images, labels = problem()
    compiled = gradc.compile(network)
    value, _ = compiled.value_and_grad(params, images, labels)
    np.testing.assert_allclose(value, network(params, images, labels), rtol=1e-12)
    gradc.check_grad(network, params, images, labels)
    graph = compiled.lower(params, images, labels).graph("optimized")
    # Three for each convolution, but the gradient with respect to the images is not asked for.
    assert sum(node.op.name == "contract" for node in graph.walk()) == 5


def test_every_stage_of_the_network_means_the_same():
    params, images, labels = problem()
    lowered = gradc.compile(network).lower(params, images, labels)
    named = {"images": images, "labels": labels, "params.W": params["W"], "params.b": params["b"]}
    for i, layer in enumerate(params["convolutions"]):
        named.update({f"params.convolutions[{i}].{k}": layer[k] for k in ("W", "b")})
    first, *others = [lowered.graph(stage) for stage in ("grad", "optimized", "fused", "planned")]
    leaves = [named[x.name or ""] for x in first.inputs]
    wanted = evaluate(first, *leaves)
    for graph in others:
        for a, b in zip(evaluate(graph, *leaves), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_vmap_over_images_and_over_kernels():
    x, w = RNG.normal(size=(4, 7, 9)), RNG.normal(size=(4, 3, 2))
    for axes, wanted in (
        ((0, 0), [with_sum(a, b) for a, b in zip(x, w, strict=True)]),
        ((0, None), [with_sum(a, w[0]) for a in x]),
        ((None, 0), [with_sum(x[0], b) for b in w]),
    ):
        args = (x if axes[0] == 0 else x[0], w if axes[1] == 0 else w[0])
        mapped = gradc.compile(gradc.vmap(with_sum, in_axes=axes))
        np.testing.assert_allclose(mapped(*args), np.stack(wanted), rtol=1e-12, atol=1e-12)
        text = mapped.dump(*args, stage="optimized")
        assert "contract(" in text

    def loss(w, x):
        return np.sum(np.sin(with_sum(x, w)))

    each = gradc.compile(gradc.vmap(gradc.grad(loss), in_axes=(None, 0)))(w[0], x)
    np.testing.assert_allclose(each, np.stack([gradc.grad(loss)(w[0], a) for a in x]), rtol=1e-10)


def test_products_with_the_hessian():
    x, w = RNG.normal(size=(2, 7, 8, 3)), RNG.normal(size=(3, 2, 3, 4))
    v = RNG.normal(size=w.shape)

    def loss(w):
        return np.sum(np.tanh(windowed(x, w, (2, 1), (1, 2))) ** 2)

    _, product = gradc.hvp(loss, (w,), (v,))
    slope, step = gradc.grad(loss), 1e-6
    wanted = (slope(w + step * v) - slope(w - step * v)) / (2 * step)
    np.testing.assert_allclose(product[0], wanted, rtol=1e-5, atol=1e-6)


def test_second_derivatives_of_images_and_kernels():
    def loss(p):
        return np.sum(np.sin(with_sum(*p)))

    gradc.check_grad(
        lambda p: sum(np.sum(g**2) for g in gradc.grad(loss)(p)),
        (RNG.normal(size=(5, 6)), RNG.normal(size=(2, 3))),
    )


def test_the_rules_are_told_by_name():
    fired = []

    class Told:
        def stage(self, name, graph, seconds): ...

        def rule(self, name, node):
            fired.append(name)

    x, w = RNG.normal(size=(2, 7, 9, 3)), RNG.normal(size=(3, 2, 3, 5))
    traced = gradc.compile(windowed).lower(x, w).graph("traced")
    pipeline.run(pipeline.prepare(traced, Told()), observer=Told())
    assert "product_of_windows" in fired


def heads(x):
    return x.reshape(2, 6, 3, 4).transpose(0, 2, 1, 3)


WHERE_THEY_LIE = {
    "attention": (lambda q, k: heads(q) @ np.swapaxes(heads(k), -1, -2), (2, 6, 12), (2, 6, 12)),
    "heads of the result": (lambda s, v: (s @ heads(v)).transpose(0, 2, 1, 3), (2, 3, 6, 6), (2, 6, 12)),
    "every other column": (lambda a, b: a[:, ::2] @ b, (5, 8), (4, 3)),
    "rows from the last": (lambda a, b: a[::-1] @ b, (5, 4), (4, 3)),
    "some columns": (lambda a, b: a @ b[:, 1:4], (5, 4), (4, 6)),
    "tensordot": (lambda a, b: np.tensordot(a, b, ((0, 2), (1, 0))), (3, 4, 5), (5, 3, 2)),
}


@pytest.mark.parametrize("name", WHERE_THEY_LIE)
def test_operands_are_read_where_they_lie(name):
    """Transposes and slices that a product could not read are no copies either."""
    f, *shapes = WHERE_THEY_LIE[name]
    a, b = [RNG.normal(size=shape) for shape in shapes]
    compiled = gradc.compile(f)
    np.testing.assert_allclose(compiled(a, b), f(a, b), rtol=1e-12, atol=1e-12)
    assert len(compiled.lower(a, b).kernels) == 1
    gradc.check_grad(lambda p: np.sum(np.sin(f(*p))), (a, b))
