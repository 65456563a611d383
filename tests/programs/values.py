"""Sampled arguments, and when results count as equal: bit for bit, or as far as rounding noise explains."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.ir import Graph, Node, Type, Value
from gradc.ir.evaluate import run_node
from tests.programs.strategies import FACTORED

if TYPE_CHECKING:
    from tests.programs.strategies import Domain, Index

FLOAT_SPECIALS = [0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -1.0, 1e-310, 3e38, -1e-45, 1e300]


def array_of(
    rng: np.random.Generator, type: Type, domain: Domain | Index, specials: float = 0.0
) -> np.ndarray:
    """An array of a type from a domain; each element is a special value with some probability."""
    from tests.programs.strategies import Index

    shape, dtype = type.shape, type.dtype
    if isinstance(domain, Index):
        return np.asarray(rng.integers(0, max(domain.size, 1), shape), dtype)
    if dtype.kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.kind == "f":
        array = rng.uniform(domain.low, domain.high, shape)
        with np.errstate(all="ignore"):
            special = np.array(FLOAT_SPECIALS).astype(dtype)
    else:
        array = rng.integers(0 if dtype.kind == "u" else -4, 8, shape)
        info = np.iinfo(dtype)
        special = np.array([info.min, info.max, 0, 1], dtype)
    array = np.asarray(array).astype(dtype)
    mixed = np.where(rng.random(shape) < specials, rng.choice(special, shape), array)
    return np.asarray(mixed, dtype)


def identical(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two arrays have the same bits; all NaNs are the same, and -0.0 is not 0.0."""
    if a.dtype.kind != "f":
        return np.asarray(a == b)
    return ((a == b) & (np.signbit(a) == np.signbit(b))) | (np.isnan(a) & np.isnan(b))


class Noisy:
    """The reference meaning with rounding errors added at every op: how far results move, noise explains.

    Each float result of a node moves by a few units in its last place; sums and products by what reordering
    their terms can do. A rounding-level change anywhere in a compiled function lies within that.
    """

    def __init__(self, constants: Mapping[str, np.ndarray], seed: int = 0, plain: bool = False) -> None:
        self.constants = constants
        self.plain = plain
        self.rng = np.random.default_rng(seed)

    def run(self, graph: Graph, leaves: Sequence[np.ndarray]) -> list[np.ndarray]:
        known = {**graph.constants, **self.constants}
        env: dict[Value, np.ndarray] = dict(zip(graph.inputs, leaves, strict=True))
        with np.errstate(all="ignore"):
            for node in graph.nodes:
                inputs = [env[x] for x in node.inputs]
                env.update(zip(node.results, self.node(node, inputs, known), strict=True))
        return [np.array(env[y]) for y in graph.outputs]

    def node(self, node: Node, inputs: list[np.ndarray], known: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        if node.op.name in ("call", "custom", "fuse", "tasks"):
            return self.run(node.attrs["body"], inputs)
        if node.op.name == "cond":
            return self.run(node.attrs["if_true" if inputs[0] else "if_false"], inputs[1:])
        if self.plain and node.op.name == "scale":
            return [(np.divide if node.attrs["divide"] else np.multiply)(*inputs)]
        if self.plain and node.op.name == "product":
            return [np.multiply(*inputs)]
        return [self.moved(node, y, inputs) for y in run_node(node, inputs, known)]

    def moved(self, node: Node, y: np.ndarray, inputs: list[np.ndarray]) -> np.ndarray:
        if y.dtype.kind != "f" or node.op.name in EXACT:
            return y
        eps = np.finfo(y.dtype).eps
        size, terms = np.abs(y), 1
        if node.op.name in ("reduce_sum", "matmul", "contract", "scatter_add", "fold"):
            absolute = [np.abs(x) if x.dtype.kind == "f" else x for x in inputs]
            (size,) = run_node(node, absolute, {})
            terms = max(inputs[0].size // max(y.size, 1), 1)
            if node.op.name == "matmul":
                terms = inputs[0].shape[-2 if node.attrs["transpose_a"] else -1]
        elif node.op.name in FACTORED:
            size, terms = np.full(y.shape, np.max(size, initial=0)), inputs[0].shape[-1]
        elif node.op.name == "logaddexp":  # its own operands cancel in it
            size = np.maximum(size, np.abs(inputs[0]))
        elif node.op.name == "reduce_prod":
            terms = max(inputs[0].size // max(y.size, 1), 1)
        unit = eps * (2 + np.sqrt(terms)) * self.rng.uniform(-1, 1, y.shape)
        with np.errstate(all="ignore"):
            moved = y + (unit * size).astype(y.dtype)
        return np.where(np.isfinite(y), moved, y).astype(y.dtype)


EXACT = {
    *(
        "neg",
        "abs",
        "sign",
        "copy",
        "floor",
        "ceil",
        "trunc",
        "rint",
        "where",
        "maximum",
        "minimum",
        "require",
    ),
    *(
        "constant",
        "captured",
        "iota",
        "broadcast",
        "reshape",
        "transpose",
        "slice",
        "pad",
        "windows",
        "concat",
        "gather",
    ),
    *("reduce_max", "reduce_min", "cummax", "cummin", "sort"),
}
"""Ops that every stage computes without rounding."""

RUNS = 5
FACTOR = 8.0


class Expected:
    """The results of a program by the reference, and how far others may be from them."""

    def __init__(self, graph: Graph, leaves: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> None:
        self.graph = graph
        self.leaves = leaves
        self.reference = [np.array(r) for r in reference]

    @cached_property
    def noise(self) -> list[list[np.ndarray]]:
        """The results of some runs with rounding errors added."""
        return [Noisy({}, seed).run(self.graph, self.leaves) for seed in range(RUNS)]

    @cached_property
    def unscaled(self) -> list[np.ndarray]:
        """The results if `scale` were an ordinary product."""
        return Noisy({}, 0, plain=True).run(self.graph, self.leaves)

    def difference(
        self, got: Sequence[Any], *, exact: Sequence[bool] = (), excuses: Collection[str] = ()
    ) -> str | None:
        """None if the results agree, else what differs.

        `exact` tells which results must agree bit for bit; `excuses` are those of `Stage`.
        """
        if len(got) != len(self.reference):
            return f"{len(got)} results, not {len(self.reference)}"
        for i, (g, r) in enumerate(zip(got, self.reference, strict=True)):
            g = np.asarray(g)
            if g.dtype != r.dtype or g.shape != r.shape:
                return f"result {i} is {g.dtype}{list(g.shape)}, not {r.dtype}{list(r.shape)}"
            wrong = ~identical(g, r)
            if wrong.any() and not (exact and exact[i]):
                wrong &= ~self._explained(i, g, excuses)
            if wrong.any():
                at = tuple(int(n[0]) for n in np.nonzero(np.atleast_1d(wrong)))
                a, b = np.atleast_1d(g)[at], np.atleast_1d(r)[at]
                where = f"[{', '.join(map(str, at))}]" if g.ndim else ""
                many = f" ({np.count_nonzero(wrong)} of {wrong.size} elements differ)"
                return f"result {i}{where} is {a!r}, not {b!r}{many}"
        return None

    def _explained(self, i: int, got: np.ndarray, excuses: Collection[str]) -> np.ndarray:
        """Where noise explains the difference, or the reference itself is not stable."""
        reference = self.reference[i]
        runs = [run[i] for run in self.noise]
        with np.errstate(all="ignore"):
            if reference.dtype.kind != "f":
                return np.any([run != reference for run in runs], axis=0)
            wide = np.asarray(reference, np.float64)
            spread = np.max([np.abs(run.astype(np.float64) - wide) for run in runs], axis=0)
            info = np.finfo(reference.dtype)
            tolerance = FACTOR * spread + 4 * info.eps * np.abs(wide) + 8 * info.smallest_subnormal
            near = np.abs(got.astype(np.float64) - wide) <= tolerance
            patterns = [np.isfinite(run) != np.isfinite(reference) for run in runs]
            unstable = np.any(patterns, axis=0) | (np.isnan(tolerance) & np.isfinite(reference))
            excused = np.zeros(reference.shape, bool)
            if "better" in excuses:
                excused |= ~np.isfinite(reference)
            if "unscaled" in excuses:
                excused |= np.isnan(self.unscaled[i])
            return near | unstable | excused
