"""Native code means what NumPy means: every op, all dtypes, special values, sizes around vector widths."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gradc.codegen.accumulate import ARGUMENTS, COMBINE
from gradc.codegen.factor import WRITERS
from gradc.codegen.lower import INDEX_MAPS
from gradc.codegen.nests import ALONE
from gradc.codegen.running import REDUCTION
from gradc.codegen.scalar import ROWS
from gradc.ir import OPS, Builder, Graph, Type, emit
from gradc.ir.types import BOOL, NAMES, SHORT
from tests.codegen.native import KINDS, assert_same
from tests.ir.test_table import single
from tests.programs.strategies import STRATEGIES, accepts

IN_NESTS = {"constant", "iota", "gather", "require", *INDEX_MAPS, *ALONE, *COMBINE, *ARGUMENTS, *REDUCTION}
UNFOLDED = {"custom"}
"""Ops that are gone before code is generated."""
IN_MODULES = {
    *("fuse", "blocks", "tasks", "call", "cond", "matmul", "contract", "sort", "captured", "reshape"),
    *("triangular_solve", *WRITERS),
}

SHAPES = [
    (),
    (1,),
    (0,),
    (17,),
    (33,),
    (3, 1),
    (4, 5),
    (7, 2),
    (2, 8),
    (5, 3),
    (3, 16),
    (2, 31),
    (4, 2, 3),
    (2, 0, 3),
]
FEW_SHAPES = [(), (0,), (17,), (2, 3)]

FLOATS = [0.0, 1.0, 2.0, 0.5, 3.7, 1e-3, 1e10, np.inf]
EXACT = {
    *(
        "add",
        "sub",
        "mul",
        "div",
        "sqrt",
        "neg",
        "abs",
        "sign",
        "floor",
        "ceil",
        "trunc",
        "rint",
        "copy",
        "scale",
        "product",
    ),
    *("eq", "ne", "lt", "le", "gt", "ge", "floor_divide", "remainder", "stop_gradient", "where", "cast"),
}
"""Elementwise ops of floats that give NumPy's bits. Those of integers and booleans all do."""


def test_every_op_has_a_lowering():
    missing = set(OPS) - set(ROWS) - IN_NESTS - IN_MODULES - UNFOLDED
    assert not missing, "each op needs one row in codegen"
    elementwise = {name for name, op in OPS.items() if op.elementwise}
    assert elementwise - {"require"} <= set(ROWS)


def specials(dtype: np.dtype) -> np.ndarray:
    """Values at which the meanings of ops part."""
    if dtype == BOOL:
        return np.array([False, True])
    if dtype.kind == "f":
        info = np.finfo(dtype)
        values = [*FLOATS, info.max, info.tiny, info.smallest_subnormal, 7 * info.smallest_subnormal]
        return np.array([*values, *(-v for v in values), np.nan], dtype)
    info = np.iinfo(dtype)
    bits = info.bits
    values = {0, 1, 2, 3, 7, 100, bits - 1, bits, bits + 1, info.max, info.max - 1, info.min}
    if dtype.kind == "i":
        values |= {-1, -2, -7, -bits, info.min + 1}
    return np.array(sorted(values), dtype)


def operands(dtype: np.dtype, arity: int) -> list[np.ndarray]:
    """Every combination of special values, as many of them as give an odd length."""
    values = specials(dtype)
    if arity > 2:
        values = values[:: max(len(values) // 8, 1)]
    rows = np.array(list(itertools.product(values, repeat=arity)), dtype)
    columns = [np.ascontiguousarray(column) for column in rows.T]
    return [c[: len(c) - 1 + len(c) % 2] for c in columns]


def elementwise(
    name: str, dtype: np.dtype, arity: int, attrs: dict[str, Any]
) -> Iterator[tuple[Graph, list]]:
    """The op on arrays of special values, and on scalars."""
    full = operands(dtype, arity)
    if name == "power" and dtype.kind in "iu":  # NumPy refuses negative exponents
        full = [a[full[1] >= 0] for a in full]
    picks = np.linspace(0, len(full[0]) - 1, 3).astype(int)
    for leaves in (full, *([np.array(a[i]) for a in full] for i in picks[: None if arity < 2 else 1])):
        with Builder() as builder:
            xs = [builder.add_input(Type(dtype, a.shape), f"x{i}") for i, a in enumerate(leaves)]
            yield builder.build(name, [emit(name, *xs, **attrs)]), leaves


def elementwise_cases() -> Iterator[Any]:
    for name, op in OPS.items():
        if not op.elementwise or name in ("cast", "require", "where"):
            continue
        for kind, dtypes in KINDS.items():
            arity = op.arity or 1
            variants = [{"divide": False}, {"divide": True}] if name == "scale" else [{}]
            if accepts(name, *[Type(dtypes[0])] * arity, **variants[0]):
                yield pytest.param(name, dtypes, arity, variants, id=f"{name}-{kind}")


@pytest.mark.parametrize(("name", "dtypes", "arity", "variants"), list(elementwise_cases()))
def test_elementwise_ops_on_special_values(name: str, dtypes: list, arity: int, variants: list[dict]):
    cases = [
        case for dtype in dtypes for attrs in variants for case in elementwise(name, dtype, arity, attrs)
    ]
    exact = name in EXACT or dtypes[0].kind != "f"
    assert_same([graph for graph, _ in cases], [leaves for _, leaves in cases], exact=exact)


@pytest.mark.parametrize("source", NAMES)
def test_casts_are_those_of_numpy_on_this_machine(source: str):
    x = specials(NAMES[source])
    if x.dtype.kind == "f":
        edges = [
            2.0**bits + d for bits in (7, 8, 15, 16, 31, 32, 53, 63, 64) for d in (-1.0, -0.5, 0.0, 0.5, 1.0)
        ]
        x = np.concatenate([x, np.array([*edges, *(-e for e in edges)], x.dtype)])
    # Out of range, NumPy converts what is left after the last full vector as it converts scalars.
    x = np.resize(x, -(-len(x) // 64) * 64)
    graphs, leaves = [], []
    for dtype in NAMES.values():
        for leaf in (x, *map(np.array, x[:: len(x) // 5])):
            with Builder() as builder:
                value = builder.add_input(Type(x.dtype, leaf.shape), "x")
                graphs.append(
                    builder.build(SHORT[dtype], [emit("cast", value, type=Type(dtype, leaf.shape))])
                )
            leaves.append([leaf])
    assert_same(graphs, leaves, exact=True)


@pytest.mark.parametrize("kind", KINDS)
def test_where_chooses(kind: str):
    graphs, leaves = [], []
    for dtype in KINDS[kind]:
        a, b = operands(dtype, 2)
        arrays = [np.arange(len(a)) % 3 == 0, a, b]
        with Builder() as builder:
            xs = [builder.add_input(Type(x.dtype, x.shape), f"x{i}") for i, x in enumerate(arrays)]
            graphs.append(builder.build("where", [emit("where", *xs)]))
        leaves.append(arrays)
    assert_same(graphs, leaves, exact=True)


MOVING = sorted(
    {name for name, op in OPS.items() if not op.elementwise} - {"fuse", *UNFOLDED, *COMBINE, *ARGUMENTS}
    | {"require", "add", "cast"}
)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MOVING)
def test_ops_of_all_shapes(name: str, kind: str):
    """What the generator of programs makes of the op, in two variants for each shape."""
    graphs, leaves = [], []
    for dtype in KINDS[kind]:
        for shape in SHAPES if dtype in (NAMES["f64"], NAMES["i8"]) else FEW_SHAPES:
            for draw in range(2):
                program = single(name, Type(dtype, shape), draw) if name in STRATEGIES else None
                if program is not None:
                    graphs.append(program.graph)
                    leaves.append(program.leaves(draw, 0.1))
    if graphs:
        assert_same(graphs, leaves, exact=False)


REDUCED = [
    *[
        (1,),
        (17,),
        (33,),
        (300,),
        (2500,),
        (5, 1),
        (4, 5),
        (2, 8),
        (3, 16),
        (2, 31),
        (3, 300),
        (300, 3),
        (0, 3),
    ],
    *[(4, 2, 3), (2, 0, 3), (3, 40, 5), (40, 3, 5), (2, 3, 2, 9)],
]


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted({*COMBINE, *ARGUMENTS}))
def test_reductions_over_all_axes(name: str, kind: str):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    graphs, leaves = [], []
    for dtype in KINDS[kind]:
        for shape in REDUCED if dtype.itemsize in (8, 1) else REDUCED[:6]:
            for axes in subsets(range(len(shape))):
                attrs = {"axis": axes[0]} if name in ARGUMENTS and len(axes) == 1 else {"axes": axes}
                try:
                    with Builder() as builder:
                        graph = builder.build(
                            name, [emit(name, builder.add_input(Type(dtype, shape)), **attrs)]
                        )
                except (TypeError, ValueError):
                    continue
                graphs.append(graph)
                leaves.append([sample(rng, dtype, shape, plain=name in ("reduce_sum", "reduce_prod"))])
    if graphs:
        assert_same(graphs, leaves, exact=dtypes_exact(name, kind))


def dtypes_exact(name: str, kind: str) -> bool:
    return kind != "float" or name not in ("reduce_sum", "reduce_prod")


def subsets(axes: range) -> Iterator[tuple[int, ...]]:
    for count in range(len(axes) + 1):
        yield from itertools.combinations(axes, count)


def sample(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...], plain: bool) -> np.ndarray:
    """Values with ties; NaN and infinities now and then, unless only plain numbers are wanted.

    No -0.0: which zero is the smaller one depends on NumPy's vectors.
    """
    if dtype == BOOL:
        return rng.random(shape) < rng.choice([0.05, 0.5, 0.95])
    if dtype.kind != "f":
        return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    array = rng.integers(-4, 5, shape) / 4 if not plain else rng.uniform(0.5, 1.5, shape)
    rare = rng.random(shape) < 0.02
    return (array if plain else np.where(rare, rng.choice([np.nan, np.inf, -np.inf], shape), array)).astype(
        dtype
    )
