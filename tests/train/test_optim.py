"""Optimizers and schedules against their published recurrences, and against PyTorch where it is installed."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from gradc.trace import tree
from gradc.train import optim, schedules

STEPS = 6


def sgd_by_hand(p, grads, rates, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    b = None
    for g, lr in zip(grads, rates, strict=True):
        g = g + weight_decay * p
        if momentum != 0:
            b = g if b is None else momentum * b + (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        p = p - lr * g
    return p


def adam_by_hand(p, grads, rates, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    m = v = 0.0
    for t, (g, lr) in enumerate(zip(grads, rates, strict=True), start=1):
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def adamw_by_hand(p, grads, rates, weight_decay=1e-2, **options):
    return adam_by_hand(p, grads, rates, weight_decay=weight_decay, decoupled=True, **options)


CASES = [
    (optim.sgd, sgd_by_hand, {}),
    (optim.sgd, sgd_by_hand, {"weight_decay": 0.1}),
    (optim.sgd, sgd_by_hand, {"momentum": 0.9}),
    (optim.sgd, sgd_by_hand, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (optim.sgd, sgd_by_hand, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (optim.adam, adam_by_hand, {}),
    (optim.adam, adam_by_hand, {"betas": (0.5, 0.8), "eps": 1e-3, "weight_decay": 0.1}),
    (optim.adam, adam_by_hand, {"betas": (0.0, 0.0)}),
    (optim.adamw, adamw_by_hand, {}),
    (optim.adamw, adamw_by_hand, {"betas": (0.5, 0.8), "eps": 1e-3, "weight_decay": 0.1}),
]
case_ids = [f"{make.__name__}-{'-'.join(options) or 'default'}" for make, _, options in CASES]


def some_params(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return {"W": rng.normal(size=(3, 4)).astype(dtype), "b": [rng.normal(size=5).astype(dtype), dtype(0.7)]}


def run(optimizer, params, all_grads):
    state = optimizer.init(params)
    for grads in all_grads:
        params, state = optimizer.update(grads, state, params)
    return params, state


@pytest.mark.parametrize("make, by_hand, options", CASES, ids=case_ids)
def test_recurrence(make, by_hand, options):
    params = some_params()
    all_grads = [some_params(seed=1 + t) for t in range(STEPS)]
    got, state = run(make(0.05, **options), params, all_grads)
    want = tree.map(lambda p, *gs: by_hand(p, gs, [0.05] * STEPS, **options), params, *all_grads)
    tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), got, want)
    assert state.step == STEPS and state.step.dtype == np.int64


@pytest.mark.parametrize("make, by_hand, options", CASES, ids=case_ids)
def test_schedule_is_asked_with_the_number_of_updates_made(make, by_hand, options):
    rate = schedules.exponential(0.05, 0.7)
    params = some_params()
    all_grads = [some_params(seed=1 + t) for t in range(STEPS)]
    got, _ = run(make(rate, **options), params, all_grads)
    rates = [0.05 * 0.7**t for t in range(STEPS)]
    want = tree.map(lambda p, *gs: by_hand(p, gs, rates, **options), params, *all_grads)
    tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), got, want)


@pytest.mark.parametrize("rate", [0.05, schedules.exponential(0.05, 0.7)], ids=["number", "schedule"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("make, by_hand, options", CASES, ids=case_ids)
def test_dtypes_and_types_stay(make, by_hand, options, dtype, rate):
    params = some_params(dtype)
    optimizer = make(rate, **options)
    start = optimizer.init(params)
    new, state = run(optimizer, params, [some_params(dtype, seed=t) for t in range(3)])
    for before, after in [(params, new), (start, state)]:
        assert tree.structure(before) == tree.structure(after)
        for x, y in zip(tree.flatten(before)[0], tree.flatten(after)[0], strict=True):
            assert type(x) is type(y)
            assert x is None or (x.dtype, x.shape) == (y.dtype, y.shape)


class Layer(NamedTuple):
    W: Any
    activation: str


@dataclass
class Model:
    layer: Layer
    table: Any
    count: int
    scale: float
    missing: Any = None


@pytest.mark.parametrize("make", [optim.sgd, lambda lr: optim.sgd(lr, momentum=0.9), optim.adam, optim.adamw])
def test_leaves_without_a_gradient_pass_through(make):
    table = np.arange(3)
    params = Model(Layer(np.ones(2), "tanh"), table, 3, 0.5)
    grads = Model(Layer(np.ones(2), None), None, None, np.float64(1.0))
    new, state = run(make(0.1), params, [grads] * 2)
    assert new.layer.activation == "tanh" and new.table is table and new.count == 3 and new.missing is None
    assert type(new.scale) is float and new.scale < 0.5
    assert np.all(new.layer.W < 1)
    assert tree.structure(state) == tree.structure(make(0.1).init(params))


def test_a_float_leaf_may_lack_a_gradient():
    params = {"a": np.ones(2), "frozen": np.ones(3)}
    for optimizer in (optim.sgd(0.1, momentum=0.9), optim.adam(0.1)):
        new, _ = run(optimizer, params, [{"a": np.ones(2), "frozen": None}] * 2)
        assert new["frozen"] is params["frozen"] and np.all(new["a"] < 1)


def test_nothing_is_changed_in_place():
    for optimizer in (optim.sgd(0.1), optim.sgd(0.1, momentum=0.9), optim.adam(), optim.adamw()):
        params, grads = some_params(), some_params(seed=1)
        state = optimizer.init(params)
        before = tree.map(np.copy, (params, grads))
        state_before = tree.map(lambda x: None if x is None else np.copy(x), state)
        optimizer.update(grads, state, params)
        tree.map(np.testing.assert_array_equal, (params, grads, state), (*before, state_before))


def test_empty_tree():
    for optimizer in (optim.sgd(0.1, momentum=0.9), optim.adam()):
        assert run(optimizer, {}, [{}])[0] == {}


def test_optimizers_are_values():
    assert optim.adam(schedules.warmup(1e-3, 10)) == optim.adam(schedules.warmup(1e-3, 10))
    assert hash(optim.sgd(0.1)) == hash(optim.sgd(0.1))
    assert optim.adam(1e-3) != optim.adam(1e-2)
    assert optim.adam(lr=1e-2) == optim.adam(1e-2)  # the name it has in torch.optim
    assert optim.adam(weight_decay=0.1) != optim.adamw(weight_decay=0.1)
    optimizer = optim.adamw(schedules.cosine(1e-3, 5))
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.sgd(-1.0),
        lambda: optim.sgd(math.nan),
        lambda: optim.sgd(0.1, nesterov=True),
        lambda: optim.sgd(0.1, momentum=0.9, dampening=0.1, nesterov=True),
        lambda: optim.adam(betas=(0.9, 1.0)),
        lambda: optim.adam(eps=-1e-8),
        lambda: schedules.cosine(0.1, 0),
        lambda: schedules.step_decay(0.1, 0),
        lambda: schedules.warmup(0.1, 0),
    ],
)
def test_bad_parameters(make):
    with pytest.raises(ValueError):
        make()


SCHEDULES = {
    "constant": (schedules.constant(0.3), lambda t: 0.3),
    "step_decay": (schedules.step_decay(0.3, 3, 0.5), lambda t: 0.3 * 0.5 ** (t // 3)),
    "exponential": (schedules.exponential(0.3, 0.9), lambda t: 0.3 * 0.9**t),
    "cosine": (
        schedules.cosine(0.3, 7, floor=0.1),
        lambda t: 0.1 + 0.1 * (1 + math.cos(math.pi * t / 7)) if t < 7 else 0.1,
    ),
    "warmup": (
        schedules.warmup(schedules.exponential(0.3, 0.9), 4),
        lambda t: 0.3 * (t + 1) / 5 if t < 4 else 0.3 * 0.9 ** (t - 4),
    ),
    "warmup to a number": (schedules.warmup(0.3, 4), lambda t: 0.3 * min((t + 1) / 5, 1)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name):
    schedule, formula = SCHEDULES[name]
    for t in range(12):
        for step in (t, np.int64(t), np.array(t)):
            assert schedule(step) == pytest.approx(formula(t), rel=1e-14, abs=1e-16)


@pytest.mark.parametrize("make, by_hand, options", CASES, ids=case_ids)
def test_as_in_torch(make, by_hand, options):
    torch = pytest.importorskip("torch")
    theirs = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}[make.__name__]
    start = some_params()["W"]
    grads = [some_params(seed=1 + t)["W"] for t in range(STEPS)]
    p = torch.tensor(start, requires_grad=True)
    optimizer = theirs([p], lr=0.05, **options)
    for g in grads:
        p.grad = torch.tensor(g)
        optimizer.step()
    np.testing.assert_allclose(run(make(0.05, **options), start, grads)[0], p.detach().numpy(), rtol=1e-12)


def test_defaults_of_torch():
    torch = pytest.importorskip("torch")
    p = torch.zeros(1, requires_grad=True)
    for ours, theirs in [
        (optim.sgd(), torch.optim.SGD([p])),
        (optim.adam(), torch.optim.Adam([p])),
        (optim.adamw(), torch.optim.AdamW([p])),
    ]:
        for name in vars(ours):
            assert theirs.defaults[name] == getattr(ours, name)


def test_schedules_as_in_torch():
    torch = pytest.importorskip("torch")
    lrs = torch.optim.lr_scheduler

    def rates(make, steps):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
        scheduler, got = make(optimizer), []
        for _ in range(steps):
            got.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return got

    for schedule, make, steps in [
        (schedules.step_decay(0.3, 3, 0.5), lambda o: lrs.StepLR(o, step_size=3, gamma=0.5), 10),
        (schedules.exponential(0.3, 0.9), lambda o: lrs.ExponentialLR(o, gamma=0.9), 10),
        (schedules.cosine(0.3, 7, 0.1), lambda o: lrs.CosineAnnealingLR(o, T_max=7, eta_min=0.1), 8),
        (
            schedules.warmup(schedules.exponential(0.3, 0.9), 4),
            lambda o: lrs.SequentialLR(
                o,
                [lrs.LinearLR(o, start_factor=1 / 5, total_iters=4), lrs.ExponentialLR(o, gamma=0.9)],
                milestones=[4],
            ),
            10,
        ),
    ]:
        np.testing.assert_allclose([schedule(t) for t in range(steps)], rates(make, steps), rtol=1e-12)
