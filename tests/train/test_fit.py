"""Training runs against the same loops written by hand in NumPy, and what may go wrong on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pytest

from gradc.api.compiled import compile
from gradc.ir.errors import ArgumentError, IndexOutOfBoundsError
from gradc.trace import tree
from gradc.train import optim
from gradc.train import step as steps
from gradc.train.fit import fit
from gradc.train.leaves import Leaves
from gradc.train.loop import BoundStep, Memory

N, D = 23, 5


def examples(dtype=np.float64, rows=N):
    rng = np.random.default_rng(7)
    X = rng.normal(size=(rows, D))
    return X.astype(dtype), (X @ np.arange(D) + 0.3 + 0.1 * rng.normal(size=rows)).astype(dtype)


def start(dtype=np.float64):
    rng = np.random.default_rng(8)
    return {"w": rng.normal(size=D).astype(dtype), "b": dtype(0.2)}


def loss(p, X, y):
    r = np.tanh(X @ p["w"] + p["b"]) - np.tanh(y)
    return np.mean(r * r)


def by_hand(p, X, y):
    """The loss and its gradient."""
    a = np.tanh(X @ p["w"] + p["b"])
    r = a - np.tanh(y)
    da = 2 * r * (1 - a * a) / len(y)
    return np.mean(r * r), {"w": X.T @ da, "b": np.sum(da)}


def orders(epochs, n, seed, shuffle=True):
    for epoch in range(epochs):
        yield np.random.default_rng([seed, epoch]).permutation(n) if shuffle else np.arange(n)


def fit_by_hand(optimizer, p, X, y, epochs, size, seed=0, shuffle=True):
    state, losses, means = optimizer.init(p), [], []
    for order in orders(epochs, len(X), seed, shuffle):
        total = 0.0
        for at in range(0, len(X), size):
            rows = order[at : at + size]
            value, grads = by_hand(p, X[rows], y[rows])
            p, state = optimizer.update(grads, state, p)
            losses.append(value)
            total += value * len(rows)
        means.append(total / len(X))
    return p, np.array(losses), np.array(means)


def close(a, b, rtol=1e-12):
    tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * 1e-2), a, b)


def same(a, b):
    assert tree.structure(a) == tree.structure(b)
    for x, y in zip(tree.flatten(a)[0], tree.flatten(b)[0], strict=True):
        assert type(x) is type(y)
        np.testing.assert_array_equal(x, y)


def quiet(*args, **kwargs):
    return fit(*args, progress=False, **kwargs)


# The same as by hand.

OPTIMIZERS = {
    "sgd": optim.sgd(0.1),
    "decay": optim.sgd(0.1, weight_decay=0.01),
    "momentum": optim.sgd(0.05, momentum=0.9),
    "dampening": optim.sgd(0.05, momentum=0.9, dampening=0.2),
    "nesterov": optim.sgd(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": optim.adam(0.05),
    "adam-decay": optim.adam(0.05, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.01),
    "adamw": optim.adamw(0.05, weight_decay=0.1),
    "exponential": optim.sgd(optim.exponential(0.1, 0.9)),
    "step-decay": optim.sgd(optim.step_decay(0.1, every=4), momentum=0.5),
    "cosine": optim.adam(optim.cosine(0.1, steps=9)),
    "warmup": optim.adamw(optim.warmup(optim.cosine(0.1, steps=9), steps=3)),
    "function": optim.sgd(lambda t: 0.1 / (1 + t)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equals_the_loop_by_hand(name):
    (X, y), p = examples(), start()
    run = quiet(loss, p, (X, y), optimizer=OPTIMIZERS[name], epochs=3, batch_size=5, seed=4)
    params, losses, means = fit_by_hand(OPTIMIZERS[name], p, X, y, 3, 5, seed=4)
    close(run.params, params)
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-12)
    np.testing.assert_allclose(run.history["epoch_loss"], means, rtol=1e-12)
    assert run.history["loss"].dtype == run.history["epoch_loss"].dtype == np.float64
    assert run.stopped is None and not run.interrupted


@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in-order"])
@pytest.mark.parametrize("size", [1, 4, 22, 23, 40, None])
def test_batch_sizes(size, shuffle):
    (X, y), p = examples(), start()
    run = quiet(loss, p, (X, y), optimizer=optim.sgd(0.1), epochs=2, batch_size=size, shuffle=shuffle)
    params, losses, _ = fit_by_hand(optim.sgd(0.1), p, X, y, 2, size or N, shuffle=shuffle)
    close(run.params, params)
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-12)


def test_every_row_once_in_the_documented_order():
    """The loss tells which rows it saw."""
    rows = np.arange(7.0) + 1

    def seen(p, x):
        return 0 * p + np.sum(x * 10.0 ** np.arange(len(x)))

    run = quiet(seen, 0.0, rows, optimizer=optim.sgd(0.1), epochs=2, batch_size=3, seed=5)
    want = []
    for order in orders(2, 7, 5):
        for part in (order[:3], order[3:6], order[6:]):
            want.append(np.sum(rows[part] * 10.0 ** np.arange(len(part))))
    np.testing.assert_array_equal(run.history["loss"], want)


def test_the_same_seed_gives_the_same_bits():
    (X, y), p = examples(np.float32), start(np.float32)
    options: dict[str, Any] = {"optimizer": optim.adam(0.05), "epochs": 3, "batch_size": 4}
    first, again, other = (quiet(loss, p, (X, y), seed=s, **options) for s in (3, 3, 4))
    same(first.params, again.params)
    same(first.history, again.history)
    assert not np.array_equal(first.params["w"], other.params["w"])


# Trees, kinds and dtypes.


@dataclass(frozen=True)
class Layer:
    w: Any
    b: Any
    name: str = "layer"
    sizes: tuple[int, int] = field(default=(D, 1))


class Pair(NamedTuple):
    left: Any
    right: Any


def test_params_keep_their_tree_kinds_and_dtypes():
    params = {
        "float": 0.5,
        "scalar": np.float32(0.25),
        "zero-d": np.array(0.125),
        "layer": Layer(np.ones(D, np.float32), np.float64(0.0)),
        "pair": Pair([np.ones(2)], ()),
        "static": (3, True, "text", None),
        "counts": np.arange(3),
        "count": np.int32(2),
        "swapped": np.ones(2, ">f8"),
        "unused": np.arange(2.0),
    }
    X, y = examples(np.float32)

    def scattered(p, X, y):
        z = X @ p["layer"].w + p["layer"].b * p["float"] + p["scalar"] + p["zero-d"] * p["static"][0]
        z = z + np.sum(p["pair"].left[0]) + p["counts"][1] + np.sum(p["swapped"])
        return np.mean((z - y) ** 2)

    before = tree.map(lambda x: np.array(x) if isinstance(x, np.ndarray) else x, params)
    run = quiet(scattered, params, (X, y), optimizer=optim.adam(0.01), epochs=2, batch_size=6)
    same(params, before)
    got = run.params
    assert tree.structure(got) == tree.structure(params)
    for x, old in zip(tree.flatten(got)[0], tree.flatten(params)[0], strict=True):
        assert type(x) is type(old) and getattr(x, "dtype", None) == getattr(old, "dtype", None)
        assert np.shape(x) == np.shape(old)
        assert not isinstance(x, np.ndarray) or not np.may_share_memory(x, old)
    assert got["float"] != 0.5 and got["scalar"] != 0.25 and np.all(got["layer"].w != 1)
    assert got["layer"].name == "layer" and got["static"] == (3, True, "text", None)
    np.testing.assert_array_equal(got["counts"], [0, 1, 2])
    np.testing.assert_array_equal(got["unused"], [0, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_stay(dtype):
    (X, y), p = examples(dtype), start(dtype)
    run = quiet(loss, p, (X, y), optimizer=optim.adamw(optim.cosine(0.1, 5)), epochs=2, batch_size=6)
    assert run.params["w"].dtype == dtype and type(run.params["b"]) is dtype
    params, losses, _ = fit_by_hand(optim.adamw(optim.cosine(0.1, 5)), p, X, y, 2, 6)
    close(run.params, params, rtol=1e-12 if dtype == np.float64 else 1e-4)
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-12 if dtype == np.float64 else 1e-4)


def test_trees_of_data_in_any_layout_are_read_and_not_modified():
    X, y = examples()
    wide = np.asfortranarray(X)
    every_other = np.repeat(y, 2)[::2]
    readonly = X.copy()
    readonly.setflags(write=False)

    def of_trees(p, batch, y):
        return loss(p, batch["X"][0], y) + loss(p, batch["X"][1].astype(np.float64), y)

    data = {"X": [wide, readonly.astype(">f8")]}, every_other
    before = tree.map(np.array, data)
    run = quiet(of_trees, start(), data, optimizer=optim.sgd(0.1), epochs=2, batch_size=5)
    same(tree.map(np.array, data), before)
    plain = quiet(
        lambda p, X, y: 2 * loss(p, X, y), start(), (X, y), optimizer=optim.sgd(0.1), epochs=2, batch_size=5
    )
    close(run.params, plain.params)


def test_data_that_is_no_tuple_is_one_argument():
    X, y = examples()
    options: dict[str, Any] = {"optimizer": optim.sgd(0.1), "epochs": 2, "batch_size": 5}
    want = quiet(loss, start(), (X, y), **options).params
    same(quiet(lambda p, b: loss(p, b["X"], b["y"]), start(), {"X": X, "y": y}, **options).params, want)
    same(quiet(lambda p, b: loss(p, *b), start(), [X, y], **options).params, want)
    same(quiet(lambda p, b: loss(p, b.left, b.right), start(), Pair(X, y), **options).params, want)
    one = quiet(lambda p, X: loss(p, X, X[:, 0]), start(), X, **options)
    same(one.params, quiet(lambda p, X: loss(p, X, X[:, 0]), start(), (X,), **options).params)


def test_integer_and_bool_data():
    X, y = examples()
    label, mask = (y > 0).astype(np.int64), y > 1

    def of_labels(p, X, label, mask):
        return np.mean(np.where(mask, 2.0, 1.0) * (np.tanh(X @ p["w"]) - label) ** 2)

    run = quiet(
        of_labels, {"w": np.zeros(D)}, (X, label, mask), optimizer=optim.sgd(0.1), epochs=1, batch_size=N
    )
    order = next(orders(1, N, 0))
    first = np.mean(np.where(mask, 2.0, 1.0)[order] * label[order] ** 2)
    np.testing.assert_allclose(run.history["loss"], [first], rtol=1e-14)


# Losses of every kind.


def test_compiled_plain_and_bound_losses_do_the_same():
    (X, y), p = examples(), start()

    class Model:
        scale = 2.0

        @compile
        def loss(self, p, X, y):
            return self.scale * loss(p, X, y)

    options: dict[str, Any] = {"optimizer": optim.sgd(0.1), "epochs": 2, "batch_size": 5}
    plain = quiet(loss, p, (X, y), **options)
    same(quiet(compile(loss), p, (X, y), **options).params, plain.params)
    same(quiet(compile(loss, wrt="p"), p, (X, y), **options).params, plain.params)
    doubled = quiet(lambda p, X, y: 2.0 * loss(p, X, y), p, (X, y), **options)
    same(quiet(Model().loss, p, (X, y), **options).params, doubled.params)


def with_aux(p, X, y):
    r = X @ p["w"] + p["b"] - y
    aux = {"error": {"mean": np.mean(np.abs(r)), "rows": r}, "loss": np.max(r), "n": len(y), "name": "aux"}
    return np.mean(r * r), aux


@pytest.mark.parametrize("fn", [with_aux, compile(with_aux, has_aux=True)], ids=["plain", "compiled"])
def test_scalars_of_aux_are_recorded_by_path(fn):
    (X, y), p = examples(), start()
    run = quiet(fn, p, (X, y), optimizer=optim.sgd(0.01), epochs=2, batch_size=10)
    assert set(run.history) == {"loss", "epoch_loss", "error.mean", "aux.loss", "n"}
    assert len(run.history["error.mean"]) == len(run.history["loss"]) == 6
    np.testing.assert_array_equal(run.history["n"], [10, 10, 3] * 2)
    rows = next(orders(1, N, 0))[:10]
    r = X[rows] @ p["w"] + p["b"] - y[rows]
    np.testing.assert_allclose(run.history["error.mean"][0], np.mean(np.abs(r)), rtol=1e-13)
    np.testing.assert_allclose(run.history["aux.loss"][0], np.max(r), rtol=1e-13)
    np.testing.assert_allclose(run.history["loss"][0], np.mean(r * r), rtol=1e-13)


def test_aux_that_is_one_number():
    (X, y), p = examples(), start()
    run = quiet(
        lambda p, X, y: (loss(p, X, y), np.sum(p["w"])), p, (X, y), optimizer=optim.sgd(0.1), epochs=2
    )
    np.testing.assert_allclose(run.history["aux"][0], np.sum(p["w"]))


def test_a_constant_loss_changes_nothing():
    run = quiet(lambda p, x: 2.5, start(), examples()[0], optimizer=optim.sgd(0.1), epochs=2)
    same(run.params, start())
    np.testing.assert_array_equal(run.history["loss"], [2.5, 2.5])


def test_no_epochs():
    p = start()
    run = quiet(loss, p, examples(), optimizer=optim.sgd(0.1), epochs=0)
    same(run.params, p)
    assert run.params["w"] is not p["w"]
    assert len(run.history["loss"]) == len(run.history["epoch_loss"]) == 0


def test_an_optimizer_of_ones_own():
    class Signed(NamedTuple):
        rate: float

        def init(self, params):
            return {"t": np.int64(0), "average": params}

        def update(self, grads, state, params):
            rate = np.array([self.rate, self.rate / 2])[0]
            params = tree.map(lambda p, g: p - rate * np.sign(g) / (1.0 + state["t"]), params, grads)
            average = tree.map(lambda a, p: 0.5 * (a + p), state["average"], params)
            return params, {"t": state["t"] + 1, "average": average}

    (X, y), p = examples(), start()
    run = quiet(loss, p, (X, y), optimizer=Signed(0.1), epochs=2, batch_size=5)
    close(run.params, fit_by_hand(Signed(0.1), p, X, y, 2, 5)[0])


# Ends that come early.


def exploding(p, x):
    return np.mean(x) * np.exp(p["a"]) + np.sum(0 * p["b"])


@pytest.mark.parametrize("size", [5, 7, None])
def test_a_loss_that_is_not_finite_ends_the_run(size):
    x = np.ones(21)
    p = {"a": np.float64(1.0), "b": np.zeros(3)}
    # a is multiplied by large steps until exp overflows.
    with pytest.warns(RuntimeWarning, match=r"step \d+ \(of epoch \d+") as caught:
        run = quiet(
            exploding, p, x, optimizer=optim.sgd(optim.exponential(-1.0, 4.0)), epochs=100, batch_size=size
        )
    assert caught[0].filename == __file__
    assert f"step {run.stopped} " in str(caught[0].message) and "loss is inf" in str(caught[0].message)
    assert run.stopped == len(run.history["loss"]) - 1
    assert np.isinf(run.history["loss"][-1]) and np.all(np.isfinite(run.history["loss"][:-1]))
    assert len(run.history["epoch_loss"]) == run.stopped // -(-21 // (size or 21))
    a = np.float64(1.0)
    for t in range(run.stopped):
        a = a + 4.0**t * np.exp(a)
    np.testing.assert_allclose(run.params["a"], a, rtol=1e-9)
    assert np.all(np.isfinite(run.params["b"]))


def test_a_gradient_that_is_not_finite_is_not_applied():
    p = {"x": np.array([1.0, 5e-324]), "y": 3.0}

    def steep(p, c):
        return np.mean(c) * np.sum(p["x"] ** 0.01) * 1e300 + p["y"]

    with pytest.warns(RuntimeWarning, match="step 0 .* gradient is not finite"):
        run = quiet(steep, p, np.ones(3), optimizer=optim.sgd(1.0), epochs=3)
    assert run.stopped == 0 and np.isfinite(run.history["loss"][0])
    same(run.params, p)


def test_data_that_are_not_finite_end_the_run_before_they_do_harm():
    x = np.array([1.0, 1.0, np.nan, 1.0])
    with pytest.warns(RuntimeWarning):
        run = quiet(
            lambda p, x: np.mean(x) * p * p,
            1.0,
            x,
            optimizer=optim.adam(0.1),
            epochs=1,
            batch_size=1,
            shuffle=False,
        )
    assert run.stopped == 2 and np.isnan(run.history["loss"][2])
    assert (
        run.params
        == quiet(
            lambda p, x: np.mean(x) * p * p,
            1.0,
            x[:2],
            optimizer=optim.adam(0.1),
            epochs=1,
            batch_size=1,
            shuffle=False,
        ).params
    )


def test_keyboard_interrupt_from_on_epoch_returns_what_was_reached():
    (X, y), p = examples(), start()

    def stop(epoch, params, history):
        if epoch == 1:
            raise KeyboardInterrupt

    run = quiet(loss, p, (X, y), optimizer=optim.adam(0.05), epochs=50, batch_size=5, on_epoch=stop)
    assert run.interrupted and run.stopped is None
    assert len(run.history["loss"]) == 10 and len(run.history["epoch_loss"]) == 2
    same(run.params, quiet(loss, p, (X, y), optimizer=optim.adam(0.05), epochs=2, batch_size=5).params)


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that raises signals")
@pytest.mark.parametrize("milliseconds", [30, 41, 67])
def test_ctrl_c_at_any_moment_leaves_a_whole_number_of_steps(milliseconds):
    (X, y), p = examples(), start()
    fn = compile(loss)
    options: dict[str, Any] = {"optimizer": optim.adam(1e-3), "batch_size": 4}
    quiet(fn, p, (X, y), epochs=1, **options)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, milliseconds / 1000)
        run = quiet(fn, p, (X, y), epochs=10**8, **options)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert run.interrupted and run.stopped is None
    made = len(run.history["loss"])
    assert made > 0
    # The same number of steps by hand.
    params, state = p, optim.adam(1e-3).init(p)
    every = (order[at : at + 4] for order in orders(made, N, 0) for at in range(0, N, 4))
    for rows in islice(every, made):
        params, state = optim.adam(1e-3).update(by_hand(params, X[rows], y[rows])[1], state, params)
    close(run.params, params, rtol=1e-9)


def test_real_ctrl_c():
    code = """
import numpy as np
from gradc.train.fit import fit
from gradc.train import optim
r = fit(lambda p, x: np.mean((x - p) ** 2), 0.0, np.ones(100), optimizer=optim.sgd(1e-3), epochs=10**9,
        progress=False, on_epoch=lambda e, p, h: print("going", flush=True) if e == 10 else None)
print(r.interrupted, len(r.history["loss"]) > 10)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "going"
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=60)
    assert out.strip() == "True True" and child.returncode == 0


def test_errors_of_on_epoch_pass_through():
    class OwnError(Exception):
        pass

    def fail(*_):
        raise OwnError

    with pytest.raises(OwnError):
        quiet(loss, start(), examples(), optimizer=optim.sgd(0.1), epochs=2, on_epoch=fail)


def test_an_index_out_of_bounds_is_an_error():
    def indexed(p, i):
        return np.sum(p[i])

    with pytest.raises(IndexOutOfBoundsError):
        quiet(indexed, np.ones(3), np.array([0, 5]), optimizer=optim.sgd(0.1), epochs=1)


# What is called and shown.


def test_on_epoch_gets_copies():
    (X, y), p = examples(), start()
    seen = []

    def keep(epoch, params, history):
        seen.append((epoch, params, len(history["loss"]), history["epoch_loss"][-1]))
        params["w"][:] = np.nan

    run = quiet(loss, p, (X, y), optimizer=optim.sgd(0.1), epochs=3, batch_size=5, on_epoch=keep)
    assert [(e, n) for e, _, n, _ in seen] == [(0, 5), (1, 10), (2, 15)]
    np.testing.assert_array_equal([mean for *_, mean in seen], run.history["epoch_loss"])
    assert np.all(np.isfinite(run.params["w"]))
    assert seen[0][1]["b"] != seen[1][1]["b"]


def test_the_progress_bar(capsys):
    (X, y), p = examples(), start()
    run = fit(loss, p, (X, y), optimizer=optim.sgd(0.1), epochs=3, batch_size=5)
    shown = capsys.readouterr().err
    assert "15/15" in shown and "100%" in shown and f"{run.history['loss'][-1]:.4g}" in shown
    quiet(loss, p, (X, y), optimizer=optim.sgd(0.1), epochs=3, batch_size=5)
    assert capsys.readouterr() == ("", "")


def test_without_progress_tqdm_is_not_loaded():
    code = """
import sys, numpy as np
from gradc.train.fit import fit
from gradc.train import optim
fit(lambda p, x: np.mean((x - p) ** 2), 0.0, np.ones(3), optimizer=optim.sgd(0.1), epochs=1, progress=False)
assert "tqdm" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# One native call for a step, on memory that stays.


def bound_step(optimizer, params, data, rows):
    step = steps.training_step(loss, None, optimizer)
    trees = [
        Leaves(x, ["x" + path for path in tree.paths(x)]) for x in (params, optimizer.init(params), data)
    ]
    compiled = steps.compile_step(step, *trees, rows, compile(loss)._options[2])
    memory = Memory(*trees)
    return BoundStep(compiled, memory), memory


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_a_step_updates_its_memory(name):
    (X, y), p = examples(), start()
    bound, memory = bound_step(OPTIMIZERS[name], p, (X, y), 5)
    before = [array.copy() for array in memory.inputs]
    addresses = [array.ctypes.data for array in memory.inputs]
    bound.rows[:] = [3, 1, 4, 15, 9]
    side = 0
    for number in range(4):
        memory.number[()] = number
        assert bound[side]() == 0
        side ^= bound.flips
        assert memory.done == number + 1 and memory.finite
        # Single numbers may have two buffers, used in turns; arrays stay where they are.
        for array, buffer, address in zip(memory.values(side), memory.inputs, addresses, strict=True):
            assert buffer.ctypes.data == address and (array is buffer or not array.ndim)
    assert all(not x.ndim for x in memory.spares.values())
    assert [array.ctypes.data for array in memory.values(side)] == addresses
    assert all(not np.array_equal(a, b) for a, b in zip(before, memory.values(side), strict=True))
    q, slots = p, OPTIMIZERS[name].init(p)
    for _ in range(4):
        q, slots = OPTIMIZERS[name].update(by_hand(q, X[bound.rows], y[bound.rows])[1], slots, q)
    # Leaves in the order of the trees: w and b, then the state.
    close(
        memory.values(side),
        [np.asarray(x) for x in (*tree.flatten(q)[0], *tree.flatten(slots)[0]) if x is not None],
    )


def test_two_buffers_in_turn_do_the_same(monkeypatch):
    """As if the plan could not write anything in place, for the large batch only, or for both."""
    (X, y), p = examples(), start()
    options: dict[str, Any] = {"optimizer": optim.adam(0.05), "epochs": 3, "batch_size": 5}
    want = quiet(loss, p, (X, y), **options)
    build = steps.backend.build
    for sizes in [(5,), (3,), (5, 3)]:

        def without(graph, options, *, donate, sizes=sizes):
            rows = next(x for x in graph.inputs if x.name == "rows").shape[0]
            return build(graph, options, donate={} if rows in sizes else donate)

        monkeypatch.setattr(steps.backend, "build", without)
        got = quiet(loss, p, (X, y), **options)
        close(got.params, want.params)
        np.testing.assert_allclose(got.history["loss"], want.history["loss"], rtol=1e-12)


def test_no_python_runs_inside_of_a_step():
    (X, y), p = examples(), start()
    bound, memory = bound_step(optim.adam(0.1), p, (X, y), 5)
    bound.rows[:] = np.arange(5)
    call = bound[0]
    call()
    events = []
    sys.setprofile(lambda frame, event, arg: events.append((event, frame.f_code.co_name)))
    try:
        call()
    finally:
        sys.setprofile(None)
    frames = [name for event, name in events if event == "call"]
    assert len(frames) <= 1, frames  # that of the call itself
    assert memory.done == 1


def test_compiled_losses_keep_their_steps(monkeypatch):
    (X, y), p = examples(), start()
    compiled, made = compile(loss), []
    original = steps.compile_step
    monkeypatch.setattr("gradc.train.problem.compile_step", lambda *a: made.append(a[4]) or original(*a))

    def run(rate=0.1, fn=compiled, X=X):
        quiet(fn, p, (X, y), optimizer=optim.adam(rate), epochs=2, batch_size=5)

    run()
    assert made == [5, 3]
    run()
    assert made == [5, 3]
    run(rate=0.2)
    run(X=X.astype(np.float32))
    assert len(made) == 6
    run(fn=loss)
    run(fn=loss)
    assert len(made) == 10


def test_runs_on_several_threads_at_once():
    (X, y), p = examples(), start()
    fn = compile(loss)
    options: dict[str, Any] = {"optimizer": optim.adam(0.05), "epochs": 40, "batch_size": 5}
    want = [quiet(fn, p, (X, y), seed=seed, **options).params for seed in range(4)]
    got: dict[int, Any] = {}
    threads = [
        threading.Thread(
            target=lambda seed=seed: got.update({seed: quiet(fn, p, (X, y), seed=seed, **options).params})
        )
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        same(got[seed], want[seed])


# Arguments that do not fit.

X, Y = examples()
OK: dict[str, Any] = {
    "loss": loss,
    "params": start(),
    "data": (X, Y),
    "optimizer": optim.sgd(0.1),
    "epochs": 1,
}


def compiled_for_data(p, X, y):
    return loss(p, X, y)


BAD = {
    "lengths": ({"data": (X, Y[:-1])}, r"different first lengths \(X: 23, y: 22\)"),
    "empty": ({"data": (X[:0], Y[:0])}, "no rows"),
    "no-arrays": ({"data": ([], {}), "loss": lambda p, a, b: p["b"]}, "no arrays"),
    "number-in-data": ({"data": (X, 3.0)}, "3.0 as y, which has no rows"),
    "0-d-in-data": ({"data": (X, np.array(1.0))}, "as y, which has no rows"),
    "strings-in-data": ({"data": (X, np.array(["a"] * N))}, "argument y is an array of dtype"),
    "batch-size-0": ({"batch_size": 0}, "batch_size=0"),
    "batch-size-float": ({"batch_size": 2.5}, r"batch_size=2\.5"),
    "batch-size-bool": ({"batch_size": True}, "batch_size=True"),
    "epochs": ({"epochs": -1}, "epochs=-1"),
    "epochs-float": ({"epochs": 1.0}, r"epochs=1\.0"),
    "seed": ({"seed": -1}, "seed=-1"),
    "vector-loss": (
        {"loss": lambda p, X, y: X @ p["w"] - y},
        r"one float number, but <lambda> returns f64\[23\]",
    ),
    "integer-loss": ({"loss": lambda p, X, y: np.sum(X > 0)}, r"returns i64\[\]"),
    "no-loss": ({"loss": lambda p, X, y: None}, "returns None"),
    "three-results": ({"loss": lambda p, X, y: (loss(p, X, y), 1, 2)}, r"returns \(f64\[\], 1, 2\)"),
    "no-aux": ({"loss": compile(compiled_for_data, has_aux=True)}, r"returns \(loss, aux\), not f64\[\]"),
    "no-floats": ({"params": {"n": np.arange(3), "k": 2}}, "p has no float leaves"),
    "loss": ({"loss": None}, "loss=None is no function"),
    "wrt": ({"loss": compile(compiled_for_data, wrt="X")}, "wrt='X'"),
    "arguments": ({"data": (X, Y, Y)}, "too many positional arguments"),
    "optimizer": ({"optimizer": "adam"}, "optimizer='adam' has no init and update"),
    "optimizer-class": ({"optimizer": optim.adam}, "optimizer=Adam is a class"),
    "key": ({"loss": lambda p, X, y, key: loss(p, X, y)}, "takes a key"),
    "object-in-params": ({"params": {**start(), "o": np.array([None])}}, "argument p.o is"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    changes, message = BAD[case]
    with pytest.raises(ArgumentError, match=message):
        quiet(**{**OK, **changes})


def test_errors_name_the_line_of_the_call_and_show_no_frames_of_gradc():
    with pytest.raises(ArgumentError) as caught:
        quiet(**{**OK, "epochs": -1})
    source = caught.value.source
    assert source is not None and source.file == __file__
    # The frame of `fit` itself is where the error is raised; below it there is nothing.
    files = [entry.path.name for entry in caught.traceback]
    assert set(files[:-1]) == {"test_fit.py"} and files[-1] in ("test_fit.py", "fit.py")


def test_a_loss_that_branches_on_a_parameter_is_refused():
    with pytest.raises(ArgumentError, match=r"value of p\.lam"):
        quiet(
            lambda p, X, y: loss(p, X, y) if p["lam"] > 0 else p["lam"],
            {**start(), "lam": 0.5},
            (X, Y),
            optimizer=optim.sgd(0.1),
            epochs=1,
        )


class Wrong(NamedTuple):
    change: Any

    def init(self, params):
        return np.int64(0), 0

    def update(self, grads, state, params):
        return self.change(grads, state, params)


WRONG = {
    "tree": (lambda g, s, p: (p["w"], s), "params of another tree"),
    "dtype": (
        lambda g, s, p: ({**p, "w": p["w"].astype(np.float32)}, s),
        r"params.w as f32\[5\], but it was f64\[5\]",
    ),
    "shape": (lambda g, s, p: ({**p, "w": p["b"]}, s), r"params.w as f64\[\], but it was f64\[5\]"),
    "state": (lambda g, s, p: (p, (s[0], s[1] + 1)), r"changes state\[1\], which is static because it is 0"),
    "state-dtype": (lambda g, s, p: (p, (s[0] + 0.5, 0)), r"state\[0\] as f64\[\], but it was i64\[\]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_optimizers_that_break_their_contract(case):
    change, message = WRONG[case]
    with pytest.raises(ArgumentError, match=message):
        quiet(loss, start(), (X, Y), optimizer=Wrong(change), epochs=1)


def test_no_warnings_in_a_plain_run():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet(loss, start(), (X, Y), optimizer=optim.adam(0.1), epochs=2, batch_size=5)


@pytest.mark.parametrize("leaves", [1, 12])
def test_a_step_takes_a_few_python_calls_whatever_the_params(leaves):
    p = [np.ones(3) for _ in range(leaves)]
    fn = compile(lambda p, x: np.mean(x) * sum(np.sum(each * each) for each in p))

    def calls(epochs):
        events = []
        sys.setprofile(lambda frame, event, arg: events.append(event) if event == "call" else None)
        try:
            quiet(fn, p, np.ones(200), optimizer=optim.sgd(0.1), epochs=epochs, batch_size=1)
        finally:
            sys.setprofile(None)
        return len(events)

    calls(1)
    assert (calls(3) - calls(1)) / 400 < 6


def test_leaves_without_elements():
    p = {"a": np.ones(3), "empty": np.zeros((0, 3))}

    def fn(p, x):
        return np.mean(x) * np.sum(p["a"] ** 2) + np.sum(p["empty"])

    run = quiet(fn, p, np.ones((4, 2)), optimizer=optim.adam(0.1), epochs=2, batch_size=3)
    params, state = p, optim.adam(0.1).init(p)
    for _ in range(4):
        grads = {"a": 2 * params["a"], "empty": np.zeros((0, 3))}
        params, state = optim.adam(0.1).update(grads, state, params)
    close(run.params, params)


def test_losses_are_stabilized_before_their_gradient_is_taken():
    Z, Y = np.array([[1000.0, -1000.0, 0.0]] * 4), np.eye(3)[[0, 1, 2, 1]]

    def cross_entropy(p, z, y):
        z = z * p
        return -np.mean(np.sum(y * (z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))), axis=1))

    run = quiet(cross_entropy, 1.0, (Z, Y), optimizer=optim.sgd(1e-4), epochs=2)
    assert run.stopped is None
    np.testing.assert_allclose(run.history["loss"], [1250.0, 1250.0 * (1 - 0.125)], rtol=1e-12)
