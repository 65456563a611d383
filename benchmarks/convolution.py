"""Convolutions and pooling written with windows, beside NumPy itself, SciPy, PyTorch and JAX on one thread.

    python -m benchmarks.convolution [part of a title]

Each row is one function of an image and a kernel, `sliding_window_view` and `einsum`, tensordot or `max`, and
the value and both gradients of the mean of its squares. Times are microseconds, the best of rounds in turns,
calls from Python included. The floor is the larger of the multiply-adds at the measured peak of one core and
the bytes of arguments and results at the measured rate of a copy; a gradient has three times the
multiply-adds. Peers that are not installed are left out; NumPy and SciPy have no gradients.
"""

from __future__ import annotations

import os

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import scipy.signal
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import threadpool_limits

import gradc
from benchmarks.matmul import peak

ROUNDS = 9
SECONDS = 0.02
"""How long a function runs in one round, about."""


@dataclass(frozen=True)
class Case:
    """A function of an image and a kernel in NumPy, and in other libraries; `products` are multiply-adds."""

    title: str
    image: tuple[int, ...]
    kernel: tuple[int, ...]
    numpy: Callable[..., Any]
    products: int
    scipy: Callable[..., Any] | None = None
    torch: Callable[..., Any] | None = None
    jax: Callable[..., Any] | None = None


def convolved(x: Any, w: Any) -> Any:
    """[n, y, x, c] with [i, j, c, o]."""
    return np.einsum("nyxcij,ijco->nyxo", sliding_window_view(x, w.shape[:2], axis=(1, 2)), w)


def convolved_channels_first(x: Any, w: Any) -> Any:
    """[n, c, y, x] with [o, c, i, j]."""
    windows = sliding_window_view(x, w.shape[2:], axis=(2, 3))
    return np.tensordot(windows, w, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)


def strided(x: Any, w: Any) -> Any:
    """Every second window of the padded image."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = sliding_window_view(padded, w.shape[:2], axis=(1, 2))[:, ::2, ::2]
    return np.einsum("nyxcij,ijco->nyxo", windows, w)


def filtered(x: Any, w: Any) -> Any:
    """[n] with [k]."""
    return sliding_window_view(x, len(w)) @ w


def depthwise(x: Any, w: Any) -> Any:
    """[n, y, x, c] with [i, j, c]."""
    return np.einsum("nyxcij,ijc->nyxc", sliding_window_view(x, w.shape[:2], axis=(1, 2)), w)


def pooled(x: Any, w: Any) -> Any:
    """The largest of two by two, channels last."""
    return sliding_window_view(x, (2, 2), axis=(1, 2))[:, ::2, ::2].max(axis=(-2, -1)) * w


def pooled_channels_first(x: Any, w: Any) -> Any:
    return sliding_window_view(x, (2, 2), axis=(2, 3))[:, :, ::2, ::2].max(axis=(-2, -1)) * w


def torch_image(step: int = 1, pad: int = 0, groups: bool = False) -> Callable[..., Any]:
    """conv2d of an image that lies channels last, as PyTorch likes it."""

    def run(torch: Any, x: Any, w: Any) -> Any:
        weights = w.permute(2, 0, 1)[:, None] if groups else w.permute(3, 2, 0, 1)
        image = x.permute(0, 3, 1, 2)
        y = torch.nn.functional.conv2d(
            image, weights, stride=step, padding=pad, groups=x.shape[3] if groups else 1
        )
        return y.permute(0, 2, 3, 1)

    return run


def torch_first(torch: Any, x: Any, w: Any) -> Any:
    return torch.nn.functional.conv2d(x, w)


def torch_line(torch: Any, x: Any, w: Any) -> Any:
    return torch.nn.functional.conv1d(x[None, None], w[None, None])[0, 0]


def torch_pool(torch: Any, x: Any, w: Any) -> Any:
    return torch.nn.functional.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1) * w


def torch_pool_first(torch: Any, x: Any, w: Any) -> Any:
    return torch.nn.functional.max_pool2d(x, 2) * w


def jax_image(step: int = 1, pad: int = 0, groups: bool = False, first: bool = False) -> Callable[..., Any]:
    def run(jax: Any, x: Any, w: Any) -> Any:
        layout = ("NCHW", "OIHW", "NCHW") if first else ("NHWC", "HWIO", "NHWC")
        channels = x.shape[3]
        return jax.lax.conv_general_dilated(
            x,
            w[:, :, None, :] if groups else w,
            (step, step),
            [(pad, pad)] * 2,
            dimension_numbers=layout,
            feature_group_count=channels if groups else 1,
        )

    return run


def jax_line(jax: Any, x: Any, w: Any) -> Any:
    return jax.numpy.convolve(x, w[::-1], mode="valid")


def jax_pool(first: bool = False) -> Callable[..., Any]:
    def run(jax: Any, x: Any, w: Any) -> Any:
        window = (1, 1, 2, 2) if first else (1, 2, 2, 1)
        return jax.lax.reduce_window(x, -np.inf, jax.lax.max, window, window, "VALID") * w

    return run


CASES = [
    Case(
        "3x3, 32x32x16 to 32, batch 16",
        (16, 32, 32, 16),
        (3, 3, 16, 32),
        convolved,
        16 * 30 * 30 * 9 * 16 * 32,
        torch=torch_image(),
        jax=jax_image(),
    ),
    Case(
        "3x3, channels first",
        (16, 16, 32, 32),
        (32, 16, 3, 3),
        convolved_channels_first,
        16 * 30 * 30 * 9 * 16 * 32,
        torch=torch_first,
        jax=jax_image(first=True),
    ),
    Case(
        "3x3, 14x14x256 to 256, batch 4",
        (4, 14, 14, 256),
        (3, 3, 256, 256),
        convolved,
        4 * 12 * 12 * 9 * 256 * 256,
        torch=torch_image(),
        jax=jax_image(),
    ),
    Case(
        "3x3 padded, step 2, 32x32x16 to 32",
        (16, 32, 32, 16),
        (3, 3, 16, 32),
        strided,
        16 * 16 * 16 * 9 * 16 * 32,
        torch=torch_image(2, 1),
        jax=jax_image(2, 1),
    ),
    Case(
        "5x5, 28x28x1 to 8, batch 32",
        (32, 28, 28, 1),
        (5, 5, 1, 8),
        convolved,
        32 * 24 * 24 * 25 * 8,
        torch=torch_image(),
        jax=jax_image(),
    ),
    Case(
        "31 along 10,000",
        (10000,),
        (31,),
        filtered,
        9970 * 31,
        scipy=lambda x, w: scipy.signal.correlate(x, w, "valid", "direct"),
        torch=torch_line,
        jax=jax_line,
    ),
    Case(
        "depthwise 3x3, 32x32x32, batch 16",
        (16, 32, 32, 32),
        (3, 3, 32),
        depthwise,
        16 * 30 * 30 * 9 * 32,
        torch=torch_image(groups=True),
        jax=jax_image(groups=True),
    ),
    Case(
        "largest of 2x2, 32x32x16, batch 16",
        (16, 32, 32, 16),
        (16,),
        pooled,
        0,
        torch=torch_pool,
        jax=jax_pool(),
    ),
    Case(
        "largest of 2x2, channels first",
        (16, 16, 32, 32),
        (1,),
        pooled_channels_first,
        0,
        torch=torch_pool_first,
        jax=jax_pool(first=True),
    ),
]

Work = Callable[[], Any]


def in_torch(case: Case, x: np.ndarray, w: np.ndarray) -> tuple[Work, Work]:
    """Forward, and value with gradients."""
    import torch  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    assert case.torch is not None
    run = case.torch
    a, b = torch.tensor(x), torch.tensor(w)
    c, d = a.clone().requires_grad_(), b.clone().requires_grad_()

    def forward() -> Any:
        with torch.no_grad():
            return run(torch, a, b)

    def both() -> Any:
        c.grad = d.grad = None
        (run(torch, c, d) ** 2).mean().backward()
        return c.grad, d.grad

    return forward, both


def in_jax(case: Case, x: np.ndarray, w: np.ndarray) -> tuple[Work, Work]:
    import jax  # type: ignore[import-not-found]

    assert case.jax is not None
    run = case.jax
    a, b = jax.numpy.asarray(x), jax.numpy.asarray(w)
    forward = jax.jit(lambda x, w: run(jax, x, w))
    both = jax.jit(jax.value_and_grad(lambda x, w: (run(jax, x, w) ** 2).mean(), (0, 1)))
    return lambda: jax.block_until_ready(forward(a, b)), lambda: jax.block_until_ready(both(a, b))


def works(case: Case) -> tuple[dict[str, Work], dict[str, Work]]:
    """Who computes the value, and who the gradients too."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (case.image, case.kernel))
    forward = gradc.compile(case.numpy)
    loss = gradc.compile(lambda x, w: np.mean(case.numpy(x, w) ** 2), wrt=(0, 1))
    values: dict[str, Work] = {"gradc": lambda: forward(x, w), "numpy": lambda: case.numpy(x, w)}
    gradients: dict[str, Work] = {"gradc": lambda: loss.value_and_grad(x, w)}
    if case.scipy is not None:
        scipy_function = case.scipy
        values["scipy"] = lambda: scipy_function(x, w)
    for name, peer in (("torch", in_torch), ("jax", in_jax)):
        with contextlib.suppress(ImportError):
            values[name], gradients[name] = peer(case, x, w)
    for name, work in values.items():
        np.testing.assert_allclose(np.asarray(work()), case.numpy(x, w), rtol=1e-3, atol=1e-3, err_msg=name)
    return values, gradients


def best(works: dict[str, Work]) -> dict[str, float]:
    """Microseconds of each, the best of rounds in turns."""
    times = {}
    for name, work in works.items():
        start = time.perf_counter()
        work()
        times[name] = max(time.perf_counter() - start, 1e-7)
    counts = {name: max(1, int(SECONDS / seconds)) for name, seconds in times.items()}
    for _ in range(ROUNDS):
        for name, work in works.items():
            start = time.perf_counter()
            for _ in range(counts[name]):
                work()
            times[name] = min(times[name], (time.perf_counter() - start) / counts[name])
    return {name: 1e6 * seconds for name, seconds in times.items()}


def bandwidth() -> float:
    """Bytes a second that a copy of a megabyte reads and writes."""
    x, y = np.zeros(1 << 18, np.float32), np.zeros(1 << 18, np.float32)
    return 2 * x.nbytes / (1e-6 * best({"copy": lambda: np.copyto(y, x)})["copy"])


def main() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    with threadpool_limits(1):
        flops, bytes_ = 1e9 * peak("f32", 64), bandwidth()
        print(f"peak {flops / 1e9:.0f} GFLOP/s, a copy {bytes_ / 1e9:.0f} GB/s; microseconds:\n")
        names = ["floor", "gradc", "numpy", "scipy", "torch", "jax"]
        print(f"{'':44}" + "".join(f"{name:>9}" for name in names))
        for case in CASES:
            if wanted not in case.title:
                continue
            values, gradients = works(case)
            x, w = (4 * int(np.prod(shape)) for shape in (case.image, case.kernel))
            y = case.numpy(np.zeros(case.image, np.float32), np.zeros(case.kernel, np.float32)).nbytes
            for what, work, factor, moved in (
                ("value", values, 1, x + w + y),
                ("gradients", gradients, 3, 2 * (x + w) + 2 * y),
            ):
                floor = max(2 * factor * case.products / flops, moved / bytes_)
                times = {"floor": 1e6 * floor, **best(work)}
                line = "".join(f"{times[name]:9.0f}" if name in times else f"{'-':>9}" for name in names)
                print(f"{case.title + ', ' + what:44}{line}", flush=True)


if __name__ == "__main__":
    main()
