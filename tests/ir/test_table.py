"""Every op of the table: its types and values are NumPy's, its gradients those of finite differences."""

from __future__ import annotations

import itertools
import math
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.special

from gradc.ir import OPS, Graph, Type, Value, evaluate, parse, verify
from gradc.ir.ops.special import SCIPY_NAMES
from gradc.ir.types import F64, NAMES
from tests.programs.choices import Choices
from tests.programs.generate import Generator, Program
from tests.programs.gradients import backward, check_gradient
from tests.programs.strategies import FACTORED, STRATEGIES, describe
from tests.programs.values import identical

SHAPES = [(), (3,), (1,), (0,), (2, 3), (3, 1), (4, 2, 3), (2, 0, 3)]
FEW_SHAPES = [(), (0,), (2, 3)]
DRAWS = 3


def single(name: str, type: Type, draw: int = 0, smooth: bool = False) -> Program | None:
    """A graph of one op with an operand of this type, or None if the op does not take it."""
    gen = Generator(
        Choices([zlib.crc32(name.encode()), draw, type.size]), smooth=smooth, fresh=True, internal=True
    )
    with gen.builder:
        results = gen.step(name, gen.input(type))
        if results is None:
            return None
        graph = gen.builder.build(name, results, constants=gen.constants)
    return Program(graph, [gen.domains[x] for x in graph.inputs], smooth)


def programs(name: str, type: Type, smooth: bool = False) -> list[Program]:
    drawn = [single(name, type, draw, smooth) for draw in range(DRAWS)]
    return [p for p in drawn if p is not None]


def cases() -> Iterator[Any]:
    for name in OPS:
        for dtype in NAMES.values():
            for shape in SHAPES if dtype == F64 else FEW_SHAPES:
                type = Type(dtype, shape)
                if name in STRATEGIES and programs(name, type):
                    yield pytest.param(name, type, id=f"{name}-{describe(type)}")


def gradient_cases() -> Iterator[Any]:
    for name, op in OPS.items():
        for shape in SHAPES:
            type = Type(F64, shape)
            if op.vjp is not None and name in STRATEGIES and programs(name, type, smooth=True):
                yield pytest.param(name, type, id=f"{name}-{describe(type)}")


CASES, GRADIENT_CASES = list(cases()), list(gradient_cases())


# What each op means, said a second time in NumPy, mostly element by element.


def _slice(x: np.ndarray, *, starts: tuple, sizes: tuple, steps: tuple) -> np.ndarray:
    out = np.empty(sizes, x.dtype)
    for i in np.ndindex(*sizes):
        out[i] = x[tuple(a + k * s for a, k, s in zip(starts, i, steps, strict=True))]
    return out


def _pad(x: np.ndarray, *, shape: tuple, starts: tuple, steps: tuple, value: Any) -> np.ndarray:
    out = np.full(shape, value, x.dtype)
    for i in np.ndindex(*x.shape):
        out[tuple(a + k * s for a, k, s in zip(starts, i, steps, strict=True))] = x[i]
    return out


def _places(shape: tuple, axes: tuple, starts: tuple, steps: tuple) -> Iterator[tuple[tuple, tuple]]:
    """Every index into a reading of this shape with the one into what is read."""
    for i in np.ndindex(*shape):
        place = list(starts)
        for k, axis, step in zip(i, axes, steps, strict=True):
            place[axis] += k * step
        yield i, tuple(place)


def _windows(x: np.ndarray, *, shape: tuple, axes: tuple, starts: tuple, steps: tuple) -> np.ndarray:
    out = np.empty(shape, x.dtype)
    for i, place in _places(shape, axes, starts, steps):
        out[i] = x[place]
    return out


def _fold(x: np.ndarray, *, shape: tuple, axes: tuple, starts: tuple, steps: tuple) -> np.ndarray:
    out = np.zeros(shape, x.dtype)
    reached = set()
    for i, place in _places(x.shape, axes, starts, steps):
        out[place] = out[place] + x[i] if place in reached else x[i]
        reached.add(place)
    return out


def _contract(x: np.ndarray, y: np.ndarray, *, a: tuple, b: tuple, result: tuple) -> np.ndarray:
    sizes = {**dict(zip(a, x.shape, strict=True)), **dict(zip(b, y.shape, strict=True))}
    labels = tuple(sizes)
    spread = [
        np.expand_dims(np.transpose(v, sorted(range(v.ndim), key=lambda i: labels.index(t[i]))),
                       tuple(i for i, k in enumerate(labels) if k not in t))
        for v, t in ((x, a), (y, b))
    ]  # fmt: skip
    total = (spread[0] * spread[1]).sum(
        tuple(i for i, k in enumerate(labels) if k not in result), dtype=x.dtype
    )
    left = [k for k in labels if k in result]
    return np.transpose(total, [left.index(k) for k in result])


def _broadcast(x: np.ndarray, *, shape: tuple, axes: tuple) -> np.ndarray:
    out = np.empty(shape, x.dtype)
    for i in np.ndindex(*shape):
        out[i] = x[tuple(i[a] for a in axes)]
    return out


def _positions(shape: tuple, indices: tuple, axes: tuple, ndim: int) -> Iterator[tuple[tuple, tuple]]:
    """Every index into the gathered array with the one into the source."""
    lead = indices[0].ndim
    for i in np.ndindex(*shape):
        given = dict(zip(axes, [int(index[i[:lead]]) for index in indices], strict=True))
        rest = iter(i[lead:])
        yield i, tuple(given[a] if a in given else next(rest) for a in range(ndim))


def _gather(x: np.ndarray, *indices: np.ndarray, axes: tuple) -> np.ndarray:
    shape = (*indices[0].shape, *[n for a, n in enumerate(x.shape) if a not in axes])
    out = np.empty(shape, x.dtype)
    for i, source in _positions(shape, indices, axes, x.ndim):
        out[i] = x[source]
    return out


def _scatter_add(x: np.ndarray, updates: np.ndarray, *indices: np.ndarray, axes: tuple) -> np.ndarray:
    out = x.copy()
    for i, target in _positions(updates.shape, indices, axes, x.ndim):
        out[target] += updates[i]
    return out


def _scatter(
    x: np.ndarray, updates: np.ndarray, *indices: np.ndarray, axes: tuple, distinct: bool
) -> np.ndarray:
    out = x.copy()
    for i, target in _positions(updates.shape, indices, axes, x.ndim):
        out[target] = updates[i]
    return out


def _matmul(a: np.ndarray, b: np.ndarray, *, transpose_a: bool, transpose_b: bool) -> np.ndarray:
    a = np.swapaxes(a, -1, -2) if transpose_a else a
    b = np.swapaxes(b, -1, -2) if transpose_b else b
    return np.array(a @ b)


def _running(step: Callable) -> Callable:
    def meaning(x: np.ndarray, *, axis: int, reverse: bool) -> np.ndarray:
        out = np.moveaxis(x.copy(), axis, 0)
        order = range(len(out))[:: -1 if reverse else 1]
        for before, i in itertools.pairwise(order):
            out[i] = step(out[before], out[i])
        return np.moveaxis(out, 0, axis)

    return meaning


def _sort(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.empty(x.shape, np.int64)
    for i in np.ndindex(*x.shape[:-1]):
        row = x[i].tolist()
        nan = [v != v for v in row]
        order[i] = sorted(range(len(row)), key=lambda k: (nan[k], 0 if nan[k] else row[k]))
    return np.take_along_axis(x, order, -1), order


def _triangular_solve(
    a: np.ndarray, b: np.ndarray, *, lower: bool, transpose: bool, unit: bool
) -> np.ndarray:
    a = np.swapaxes(a, -1, -2) if transpose else a
    n, x = a.shape[-1], np.zeros_like(b)
    for at in np.ndindex(*b.shape[:-2], b.shape[-1]):
        lead, column = at[:-1], at[-1]
        for i in range(n)[:: 1 if lower != transpose else -1]:
            y = b[(*lead, i, column)]
            for k in range(i) if lower != transpose else range(i + 1, n):
                y = y - a[(*lead, i, k)] * x[(*lead, k, column)]
            x[(*lead, i, column)] = y if unit else y / a[(*lead, i, i)]
    return x


def _each(run: Callable) -> Callable:
    """A function of NumPy's for one matrix after the other: NaN and a false flag where it raises."""

    def meaning(*arrays: np.ndarray, **attrs: Any) -> tuple:
        batch = arrays[0].shape[:-2]
        shapes = [
            y.shape for y in run(*[np.ones(a.shape[-2:]) + np.eye(*a.shape[-2:]) for a in arrays], **attrs)
        ]
        results, ok = [np.full((*batch, *shape), np.nan) for shape in shapes], np.ones(batch, bool)
        for i in np.ndindex(*batch):
            try:
                for result, y in zip(results, run(*[a[i] for a in arrays], **attrs), strict=True):
                    result[i] = y
            except np.linalg.LinAlgError:
                ok[i] = False
        return *results, ok

    return meaning


MEANINGS: dict[str, Callable] = {
    "cholesky": _each(lambda a: (np.linalg.cholesky(a),)),
    "solve": _each(lambda a, b, transpose: (np.linalg.solve(a.T if transpose else a, b),)),
    "slogdet": np.linalg.slogdet,
    "eigh": _each(lambda a, lower: np.linalg.eigh(a, "L" if lower else "U")),
    "svd": _each(lambda a: np.linalg.svd(a, full_matrices=False)),
    "qr": np.linalg.qr,
    "triangular_solve": _triangular_solve,
    **{name: getattr(scipy.special._ufuncs, of) for name, of in SCIPY_NAMES.items()},
    "neg": np.negative,
    "div": np.divide,
    "sub": np.subtract,
    "mul": np.multiply,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shift_left": np.left_shift,
    "shift_right": np.right_shift,
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "expit": scipy.special.expit,
    "sech2": lambda x: 1 / np.cosh(x) ** 2,
    "product": lambda a, b: np.where((a == 0) | (b == 0), np.zeros((), a.dtype), a * b),
    "scale": lambda g, d, *, divide: np.where(g == 0, np.zeros((), g.dtype), g / d if divide else g * d),
    "require": lambda x, ok, *, message: x,
    "stop_gradient": np.copy,
    "constant": lambda *, value, type: np.full(type.shape, np.array(value, type.dtype)),
    "iota": lambda *, axis, type: np.indices(type.shape)[axis].astype(type.dtype),
    "cast": lambda x, *, type: x.astype(type.dtype),
    "reshape": lambda x, *, shape: np.array(list(x.flat), x.dtype).reshape(shape),
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "windows": _windows,
    "fold": _fold,
    "contract": _contract,
    "concat": lambda *xs, axis: np.concatenate(xs, axis),
    "gather": _gather,
    "scatter_add": _scatter_add,
    "scatter": _scatter,
    "matmul": _matmul,
    "reduce_sum": lambda x, *, axes: np.add.reduce(x, axes, dtype=x.dtype),
    "reduce_prod": lambda x, *, axes: np.multiply.reduce(x, axes, dtype=x.dtype),
    "reduce_max": lambda x, *, axes: np.maximum.reduce(x, axes, initial=False if x.dtype == bool else None),
    "reduce_min": lambda x, *, axes: np.minimum.reduce(x, axes, initial=True if x.dtype == bool else None),
    "cumsum": _running(np.add),
    "cumprod": _running(np.multiply),
    "cummax": _running(np.maximum),
    "cummin": _running(np.minimum),
    "sort": _sort,
    "argmax": np.argmax,
    "argmin": np.argmin,
}

ROUNDED = {"erf", "erfc", "expit", "sech2", "matmul", "contract"}
"""Ops whose reference is computed in another way, so that it may round differently."""


def numpy_meaning(graph: Graph, leaves: list[np.ndarray]) -> list[np.ndarray]:
    """The graph by the table above."""
    env: dict[Value, Any] = dict(zip(graph.inputs, leaves, strict=True))
    for node in graph.nodes:
        name, attrs = node.op.name, dict(node.attrs)
        xs = [env[x] for x in node.inputs]
        if name in ("call", "custom", "fuse", "tasks"):
            results = numpy_meaning(attrs["body"], xs)
        elif name == "cond":
            results = numpy_meaning(attrs["if_true" if xs[0] else "if_false"], xs[1:])
        elif name == "blocks":
            count, cut = attrs["count"], attrs["cut"]
            parts = [np.split(x, count) if c else [x] * count for x, c in zip(xs, cut, strict=True)]
            found = [numpy_meaning(attrs["body"], list(part)) for part in zip(*parts, strict=True)]
            results = [np.concatenate(pieces) for pieces in zip(*found, strict=True)]
        elif name == "captured":
            results = [graph.constants[attrs["name"]]]
        else:
            if node.op.infer is None:
                attrs["type"] = node.types[0]
            results = (MEANINGS.get(name) or getattr(np, name))(*xs, **attrs)
            results = [np.asarray(y) for y in (results if isinstance(results, tuple) else (results,))]
        env.update(zip(node.results, results, strict=True))
    return [np.asarray(env[y]) for y in graph.outputs]


def test_every_op_has_a_strategy_and_cases():
    assert set(STRATEGIES) == set(OPS), "each op needs one row in tests/programs/strategies.py"
    assert {case.values[0] for case in CASES} == set(OPS)
    assert {case.values[0] for case in GRADIENT_CASES} == {name for name, op in OPS.items() if op.vjp}


@pytest.mark.parametrize(("name", "type"), CASES)
def test_types_and_values_are_those_of_numpy(name: str, type: Type):
    for draw, program in enumerate(programs(name, type)):
        graph = program.graph
        verify(graph)
        for specials in (0.0, 0.3):
            leaves = program.leaves(draw, specials)
            kept = [leaf.copy() for leaf in leaves]
            with np.errstate(all="ignore"):
                wanted = numpy_meaning(graph, leaves)
            got = evaluate(graph, *leaves)
            for g, w, y in zip(got, wanted, graph.outputs, strict=True):
                assert (g.dtype, g.shape) == (w.dtype, w.shape) == (y.dtype, y.shape), str(graph)
                names = {node.op.name for node in graph.walk()}
                if not names.isdisjoint(ROUNDED | FACTORED) and g.dtype.kind == "f":
                    rtol = 1e-14 if g.dtype == F64 else 1e-6
                    largest = np.max(np.abs(w), initial=0, where=np.isfinite(w))
                    atol = 100 * rtol * largest if not names.isdisjoint(FACTORED) else 0
                    np.testing.assert_allclose(g, w, rtol=rtol, atol=atol, err_msg=str(graph))
                else:
                    assert identical(g, w).all(), f"{graph}\n{leaves}\n{g}\nbut NumPy gives\n{w}"
            assert all(identical(a, b).all() for a, b in zip(leaves, kept, strict=True)), "arguments modified"


@pytest.mark.parametrize(("name", "type"), CASES)
def test_text_comes_back(name: str, type: Type):
    for draw, program in enumerate(programs(name, type)):
        text = str(program.graph)
        back = parse(text)
        assert str(back) == text
        leaves = program.leaves(draw, 0.2)
        wanted = evaluate(program.graph, *leaves)
        got = evaluate(back, *leaves, constants=program.graph.constants)
        assert all(identical(g, w).all() for g, w in zip(got, wanted, strict=True)), text


@pytest.mark.parametrize(("name", "type"), GRADIENT_CASES)
def test_gradients_of_two_orders_are_those_of_finite_differences(name: str, type: Type):
    checked = 0
    for draw, program in enumerate(programs(name, type, smooth=True)):
        verdict = check_gradient(program.graph, program.leaves(draw), order=2, seed=draw)
        assert verdict.message is None, f"{verdict.message}\n{program.graph}"
        checked += verdict.smooth
    assert checked, "no sample was smooth"


KINKS = {
    "maximum(a, b)": (0.5, 0.5),
    "minimum(a, b)": (0.5, 0.5),
    "hypot(a, b)": (0.0, 0.0),
    "arctan2(a, b)": (0.0, 0.0),
    "power(a, b)": (0.0, 0.0),
    "abs(a)": (0.0,),
    "sqrt(a)": (math.inf,),
}
"""Cotangents at the origin: shares of one at ties, a subgradient at kinks, else the limit."""


@pytest.mark.parametrize("expression", KINKS)
def test_gradients_at_kinks(expression: str):
    names = re.findall(r"\b[ab]\b", expression)
    inputs = ", ".join(f"{name}: f64[]" for name in names)
    graph = parse(f"graph f({inputs}) -> (f64[]) {{\n  y: f64[] = {expression}\n  return y\n}}")
    got = evaluate(backward(graph)[0], *[np.zeros(())] * len(names), np.ones(()))
    assert tuple(map(float, got)) == KINKS[expression]


@pytest.mark.parametrize("op", ["reduce_max", "reduce_min"])
def test_ties_of_an_extreme_share(op: str):
    graph = parse(f"graph f(x: f64[4]) -> (f64[]) {{\n  y: f64[] = {op}(x, axes=(0,))\n  return y\n}}")
    (g,) = evaluate(backward(graph)[0], np.zeros(4), np.ones(()))
    assert g.tolist() == [0.25] * 4
