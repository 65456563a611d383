"""The memory of large results: used again once it is free, and never before."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.runtime.buffers import address_of
from gradc.runtime.pool import FLOOR, LIMIT, SLOTS, flush, kept

handler_of = np._core.multiarray.get_handler_name  # type: ignore[attr-defined]
N = 4 * FLOOR // 8


@gradc.compile
def shifted(x: Any) -> Any:
    return x + 1


@gradc.compile
def several(x: Any) -> Any:
    return x * 2, x[:5] + 1, x.sum(), -x


@pytest.fixture(autouse=True)
def empty() -> None:
    gc.collect()
    flush()


def test_memory_is_used_again_once_it_is_free() -> None:
    x = np.arange(float(N))
    y = shifted(x)
    assert handler_of(y) == "gradc" and y.flags.owndata and y.ctypes.data % 64 == 0
    first = address_of(y)
    z = shifted(x)
    assert address_of(z) != first and kept() == 0
    del y
    assert kept() == 8 * N
    y = shifted(x)
    assert address_of(y) == first and kept() == 0
    np.testing.assert_array_equal(y, x + 1)
    np.testing.assert_array_equal(z, x + 1)


def test_small_results_are_numpys() -> None:
    y = shifted(np.arange(10.0))
    assert handler_of(y) == "default_allocator"
    shifted(np.arange(float(N)))
    assert handler_of(np.ones(N)) == "default_allocator", "the handler is there for the call only"


def test_several_results() -> None:
    x = np.arange(float(N))
    for _ in range(5):
        a, b, s, c = several(x)
        np.testing.assert_array_equal(a, 2 * x)
        np.testing.assert_array_equal(b, x[:5] + 1)
        np.testing.assert_array_equal(c, -x)
        assert s == x.sum()
        assert len({address_of(y) for y in (a, b, c)}) == 3
    view = a[3:7]
    del a
    x = several(x)
    np.testing.assert_array_equal(view, 2 * np.arange(3.0, 7))


def test_what_is_kept_is_bounded() -> None:
    alive = [shifted(np.ones(N + 8 * k)) for k in range(3 * SLOTS)]
    alive.clear()
    assert 0 < kept() <= min(LIMIT, SLOTS * 8 * (N + 24 * SLOTS))
    shifted(np.ones(LIMIT // 8 + 64))
    assert kept() <= LIMIT
    flush()
    assert kept() == 0


def test_results_are_ordinary_arrays() -> None:
    y = shifted(np.zeros(N))
    y.resize(2 * N, refcheck=False)
    assert (y[:N] == 1).all() and (y[N:] == 0).all()
    y.resize(3, refcheck=False)
    y = shifted(np.zeros(N)).reshape(4, -1)
    y.base.shape = (2, -1)
    assert (y.astype(np.float32) == 1).all() and (np.sort(y) == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        y.flags.writeable = False
        y[0] = 0


def test_workspaces_come_from_the_pool_too() -> None:
    @gradc.compile
    def f(x: Any) -> Any:
        return np.sort(np.sort(x)[::-1] * 2 - x).sum()

    x = np.random.default_rng(0).normal(size=N)
    np.testing.assert_allclose(f(x), f(x))
    assert kept() >= 8 * N


def test_no_memory() -> None:
    @gradc.compile
    def f(x: Any) -> Any:
        return np.broadcast_to(x, (1 << 26, 1 << 20)) * 1

    for _ in range(2):
        with pytest.raises(MemoryError):
            f(np.ones(1 << 20))
        assert handler_of(np.ones(N)) == "default_allocator"
        assert shifted(np.ones(3))[0] == 2


def test_many_threads() -> None:
    failures: list[Any] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        alive: list[tuple[np.ndarray, float]] = []
        for _ in range(150):
            k = float(rng.integers(1000))
            y = shifted(np.full(N + 8 * int(rng.integers(3)), k))
            alive.append((y, k + 1))
            if len(alive) > 4:
                z, value = alive.pop(int(rng.integers(len(alive))))
                if not (z == value).all():
                    failures.append((seed, value))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_arrays_outlive_everything() -> None:
    code = f"""
import gc, sys, numpy as np, gradc
f = gradc.compile(lambda x: x + 1)
y = f(np.ones({N}))
del f
gc.collect()
assert (y == 2).all()
sys.kept_until_the_end = y
class Late:
    def __init__(self, y): self.y = y
    def __del__(self): assert (self.y == 2).all()
late = Late(y)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=os.getcwd())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_after_a_fork() -> None:
    y = shifted(np.ones(N))
    child = os.fork()
    if child == 0:
        z = shifted(y)
        del y
        os._exit(0 if (shifted(z) == 4).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
