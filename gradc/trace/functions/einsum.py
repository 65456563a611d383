"""einsum: diagonals, sums, then one matrix product for each pair of operands."""

from __future__ import annotations

import math
import string
from typing import Any

import numpy as np

from gradc.ir import ShapeError, emit
from gradc.trace.functions.products import operands
from gradc.trace.functions.shapes import reshaped, transposed
from gradc.trace.lift import broadcast, cast, plain, wrap
from gradc.trace.source import fail
from gradc.trace.table import implements
from gradc.trace.tracer import Tracer

Labels = tuple[str, ...]


@implements(np.einsum, views=True)
def einsum(*args: Any, out: Any = None, optimize: Any = False, dtype: Any = None, **kwargs: Any) -> Tracer:
    arrays, subscripts = _arguments(args)
    xs, common = operands(*arrays)
    if dtype is not None:
        common = np.dtype(dtype)
        xs = [wrap(cast(x.value, common)) for x in xs]
    terms, result = _parsed(subscripts, xs)
    sizes = _sizes(terms, xs, subscripts)
    pairs = [_prepared(x, labels, sizes) for x, labels in zip(xs, terms, strict=True)]
    for i, j in _order(pairs, result, sizes):
        b, a = pairs.pop(max(i, j)), pairs.pop(min(i, j))
        needed = set(result).union(*[labels for _, labels in pairs])
        pairs.append(_contracted(a, b, needed))
    x, labels = _summed(*pairs[0], set(result))
    x = transposed(x, tuple(labels.index(c) for c in result if c in labels))
    shape = tuple(sizes[c] for c in result)
    if x.shape != shape:  # labels of size 1 were dropped
        x = reshaped(x, tuple(sizes[c] if c in labels else 1 for c in result))
    return x if x.dtype == common else wrap(cast(x.value, common))


def _arguments(args: tuple[Any, ...]) -> tuple[list[Any], str]:
    """The operands and the subscripts, of both of NumPy's ways of calling einsum."""
    if isinstance(args[0], str):
        return list(args[1:]), args[0]
    letters = string.ascii_letters

    def text(labels: Any) -> str:
        return "".join("..." if i is Ellipsis else letters[i] for i in plain(labels))

    pairs = [args[i : i + 2] for i in range(0, len(args) - 1, 2)]
    subscripts = ",".join(text(labels) for _, labels in pairs)
    if len(args) % 2:
        subscripts += "->" + text(args[-1])
    return [x for x, _ in pairs], subscripts


def _parsed(subscripts: str, xs: list[Tracer]) -> tuple[list[Labels], Labels]:
    """A label for every axis of each operand, and those of the result; an ellipsis gives numbered labels."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(xs):
        fail(f"einsum {subscripts!r} is for {len(texts)} operands, not {len(xs)}", None, ShapeError)
    terms: list[Labels] = []
    wide = 0
    for text, x in zip(texts, xs, strict=True):
        count = x.ndim - len(text.replace("...", ""))
        if count < 0 or (count and "..." not in text):
            fail(
                f"einsum {subscripts!r}: {text!r} does not fit an array of shape {x.shape}", None, ShapeError
            )
        wide = max(wide, count if "..." in text else 0)
        terms.append(_labels(text, count))
    if arrow:
        result = _labels(right, wide)
    else:
        letters = sorted(c for c in set(left) - set(",.") if left.count(c) == 1)
        result = (*_labels("...", wide), *letters)
    known = {c for term in terms for c in term}
    if not known.issuperset(result) or len(set(result)) < len(result):
        fail(
            f"einsum {subscripts!r}: the labels of the result must be among the operands', once",
            None,
            ShapeError,
        )
    return terms, result


def _labels(text: str, count: int) -> Labels:
    before, dots, after = text.partition("...")
    inner = [f"...{count - i}" for i in range(count)] if dots else []  # counted from the last axis
    return (*before, *inner, *after)


def _sizes(terms: list[Labels], xs: list[Tracer], subscripts: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for term, x in zip(terms, xs, strict=True):
        for label, n in zip(term, x.shape, strict=True):
            if sizes.setdefault(label, n) != n and n != 1:
                if sizes[label] != 1:
                    fail(
                        f"einsum {subscripts!r}: {label!r} has sizes {sizes[label]} and {n}", None, ShapeError
                    )
                sizes[label] = n
    return sizes


Pair = tuple[Tracer, Labels]


def _prepared(x: Tracer, labels: Labels, sizes: dict[str, int]) -> Pair:
    """An operand with every label once (a repeated one means the diagonal), and none that broadcasts."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            order = (i, j, *[k for k in range(len(labels)) if k not in (i, j)])
            x, labels = transposed(x, order), tuple(labels[k] for k in order)
            if x.shape[0] != x.shape[1]:
                fail(f"einsum: the diagonal along {label!r} of sizes {x.shape[:2]}", None, ShapeError)
            n = x.shape[0]
            line = reshaped(x, (n * n, *x.shape[2:]))
            steps = (n + 1, *[1] * (line.ndim - 1))
            if line.cell is not x.cell:
                line = Tracer(line.cell, fixed="the diagonal of a part of an array, by einsum")
            x = line.seen("slice", starts=(0,) * line.ndim, sizes=(n, *line.shape[1:]), steps=steps)
            labels = labels[1:]
    kept = [i for i, label in enumerate(labels) if x.shape[i] == sizes[label] or x.shape[i] != 1]
    return reshaped(x, tuple(x.shape[i] for i in kept)), tuple(labels[i] for i in kept)


def _order(pairs: list[Pair], result: Labels, sizes: dict[str, int]) -> list[tuple[int, int]]:
    """Which operands to multiply with which, as positions in the shrinking list: NumPy's greedy order."""
    if len(pairs) < 3:
        return [(0, 1)] if len(pairs) == 2 else []
    letters = dict(zip(sizes, string.ascii_letters, strict=False))
    text = ",".join("".join(letters[c] for c in labels) for _, labels in pairs)
    text += "->" + "".join(letters[c] for c in result if any(c in labels for _, labels in pairs))
    shapes = [np.broadcast_to(np.float64(0), x.shape) for x, _ in pairs]  # no memory behind them
    path = np.einsum_path(text, *shapes, optimize=("greedy", 2**62))[0][1:]
    order: list[tuple[int, int]] = []
    count = len(pairs)
    for step in path:
        # Several at once, where no order is better than another: one after the other, the product being last.
        first, *others = sorted(map(int, step))
        for k, other in enumerate(others):
            order.append((first, other) if k == 0 else (other - 1 - k, count - 1))
            count -= 1
    return order


def _summed(x: Tracer, labels: Labels, needed: set[str]) -> Pair:
    """The operand summed over the labels that nothing else has."""
    axes = tuple(i for i, label in enumerate(labels) if label not in needed)
    if not axes:
        return x, labels
    return wrap(emit("reduce_sum", x.value, axes=axes)), tuple(c for c in labels if c in needed)


def _contracted(left: Pair, right: Pair, needed: set[str]) -> Pair:
    """The product of two operands, summed over the labels that are not needed any more."""
    a, la = _summed(*left, needed | set(right[1]))
    b, lb = _summed(*right, needed | set(left[1]))
    size = {**dict(zip(la, a.shape, strict=True)), **dict(zip(lb, b.shape, strict=True))}
    shared = [c for c in la if c in lb]
    batch = [c for c in shared if c in needed]
    inner = [c for c in shared if c not in needed]
    rows = [c for c in la if c not in shared]
    columns = [c for c in lb if c not in shared]
    if not inner or not (rows or columns):  # elementwise, then a sum
        order = batch + rows + columns + inner
        shape = tuple(size[c] for c in order)
        values = []
        for x, labels in ((a, la), (b, lb)):
            mine = [c for c in order if c in labels]
            x = transposed(x, tuple(labels.index(c) for c in mine))
            x = reshaped(x, tuple(size[c] if c in mine else 1 for c in order))
            values.append(broadcast(x.value, shape))
        return _summed(wrap(emit("mul", *values)), tuple(order), needed)

    def matrix(x: Tracer, labels: Labels, first: list[str], second: list[str]) -> Tracer:
        x = transposed(x, tuple(labels.index(c) for c in batch + first + second))
        flat = [math.prod(size[c] for c in part) for part in (first, second)]
        return reshaped(x, (*[size[c] for c in batch], *flat))

    y = emit(
        "matmul",
        matrix(a, la, rows, inner).value,
        matrix(b, lb, inner, columns).value,
        transpose_a=False,
        transpose_b=False,
    )
    labels = (*batch, *rows, *columns)
    return reshaped(wrap(y), tuple(size[c] for c in labels)), labels
