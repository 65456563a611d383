"""Kernels split over threads: the same bits for any number of them, from any caller, also after a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.runtime import threads
from gradc.runtime.threads import count, helpers

rng = np.random.default_rng(0)
LONG = rng.normal(size=1_000_003)
ROWS = rng.normal(size=(701, 1_003)).astype(np.float32)


def chain(x: Any) -> Any:
    return np.tanh(x * x + 1) - np.exp(-np.abs(x)) / (1 + x * x)


def shifted(x: Any) -> Any:
    return x[2:] * x[:-2] - np.sqrt(np.abs(x[1:-1]))


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def columns(x: Any) -> Any:
    return np.exp(x).sum(0), np.exp(x).mean(1), x.T * 2


def products(x: Any) -> Any:
    w = x[:300, :517]
    return x.T @ x[:, :600], x[:, :800] @ x.T[:800], x @ x.T[:, :9], w @ w.T, x[:64] @ x.T


def gathered(x: Any) -> Any:
    return np.exp(x)[(np.arange(x.shape[0]) * 7) % x.shape[0]]


CASES = [(chain, LONG), (shifted, LONG), (softmax, ROWS), (columns, ROWS), (products, ROWS), (gathered, LONG)]


def bits(tree: Any) -> list[bytes]:
    return [np.asarray(x).tobytes() for x in (tree if isinstance(tree, tuple) else (tree,))]


@pytest.mark.parametrize("f,x", CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_bits_do_not_depend_on_the_number_of_threads(f: Any, x: np.ndarray) -> None:
    one = gradc.compile(f, threads=1)
    wanted = bits(one(x))
    assert "gradc.parallel" in one.dump(x, stage="llvm", of="value")
    for n in (2, 3, 7):
        many = gradc.compile(f, threads=n)
        for _ in range(3):
            assert bits(many(x)) == wanted
    for found, reference in zip(wanted, bits(f(x)), strict=True):
        a, b = (np.frombuffer(y, x.dtype) for y in (found, reference))
        np.testing.assert_allclose(a, b, rtol=1e-3 if x.dtype == np.float32 else 1e-11, atol=1e-3)


def test_gradients() -> None:
    def loss(x: Any) -> Any:
        return np.mean(chain(x) ** 2)

    one, many = (gradc.compile(loss, threads=n).value_and_grad(LONG) for n in (1, 4))
    assert bits(one) == bits(many)


def test_small_kernels_stay_whole() -> None:
    assert "in parallel" not in gradc.compile(chain).dump(np.ones(1000), stage="loops", of="value")


def test_no_thread_before_it_is_needed() -> None:
    code = """
import numpy as np, gradc, threading
from gradc.runtime import threads
f = gradc.compile(lambda x: np.exp(x) * 2, threads=3)
f(np.ones(1000))
assert threads.count() == 0
f(np.ones(1_000_000))
assert threads.count() == 2, threads.count()
gradc.compile(lambda x: np.exp(x) * 3, threads=1)(np.ones(1_000_000))
assert threads.count() == 2
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_environment_says_how_many() -> None:
    code = """
import numpy as np, gradc
from gradc.runtime import threads
gradc.compile(lambda x: np.exp(x) * 2)(np.ones(1_000_000))
assert threads.count() == 4, threads.count()
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "GRADC_THREADS": "5"})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity")
def test_one_cpu() -> None:
    code = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import numpy as np, gradc
from gradc.runtime import threads
gradc.compile(lambda x: np.exp(x) * 2)(np.ones(1_000_000))
assert threads.count() == 0, threads.count()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_many_callers() -> None:
    compiled = gradc.compile(chain, threads=4)
    inputs = [LONG[k : k + 300_000 + 1000 * k] for k in range(6)]
    wanted = [bits(gradc.compile(chain, threads=1)(x)) for x in inputs]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(15):
            if bits(compiled(inputs[k])) != wanted[k]:
                wrong.append(k)

    callers = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in callers:
        t.start()
    for t in callers:
        t.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_after_a_fork() -> None:
    compiled = gradc.compile(chain, threads=3)
    wanted = bits(compiled(LONG))
    assert count() >= 2
    child = os.fork()
    if child == 0:
        good = count() == 0 and bits(compiled(LONG)) == wanted and count() == 2
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bits(compiled(LONG)) == wanted


def test_checks_in_chunks() -> None:
    @gradc.compile(threads=3)
    def f(x: Any, i: Any) -> Any:
        return np.exp(x[i]) * 2 + np.sin(x)

    x, i = LONG[:900_000], np.arange(900_000)
    np.testing.assert_allclose(f(x, i), np.exp(x) * 2 + np.sin(x), rtol=1e-12, atol=1e-15)
    i[777_777] = 900_000
    with pytest.raises(IndexError):
        f(x, i)


def test_helpers() -> None:
    assert helpers(1) == 0 and helpers(5) == 4 and helpers(10**6) == threads.MOST - 1
    assert helpers(None) == len(os.sched_getaffinity(0)) - 1 if hasattr(os, "sched_getaffinity") else True
