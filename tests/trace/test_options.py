"""Options at their limits: what NumPy refuses is refused at the line, the rest means the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest

import gradc
from gradc.ir import GradcError
from tests.trace.harness import check

np: Any = numpy
"""What is wrong here is meant to be wrong: no type checker looks at it."""

X = np.array([3.0, -1.0, 2.0, 0.5])
M = np.arange(6.0).reshape(2, 3)
I = np.array([2, 0, 1])  # noqa: E741
B = np.array([True, False, True, True])

REFUSED: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "sort-kind": (lambda x: np.sort(x, kind="nonsense"), (X,)),
    "argsort-kind": (lambda x: x.argsort(kind="nonsense"), (X,)),
    "sort-method-kind": (lambda x: x.sort(kind="nonsense"), (X,)),
    "sort-kind-and-stable": (lambda x: np.sort(x, kind="quicksort", stable=True), (X,)),
    "partition-kth": (lambda x: np.partition(x, 4), (X,)),
    "partition-method-kth": (lambda x: x.partition(4), (X,)),
    "argpartition-kth-of-an-axis": (lambda x: np.argpartition(x, 2, axis=0), (M,)),
    "argpartition-one-kth-of-many": (lambda x: x.argpartition((0, -5)), (X,)),
    "partition-kind": (lambda x: np.partition(x, 1, kind="nonsense"), (X,)),
    "partition-kind-type": (lambda x: np.partition(x, 1, kind=1), (X,)),
    "ravel-order": (lambda x: x.ravel("Z"), (M,)),
    "flatten-order": (lambda x: x.flatten("Fortran"), (M,)),
    "reshape-order-type": (lambda x: x.reshape(6, order=1), (M,)),
    "rollaxis-start": (lambda x: np.rollaxis(x, 0, -3), (M,)),
    "clip-one-bound": (lambda x: np.clip(x, 2), (X,)),
    "clip-upper-bound-only": (lambda x: np.clip(x, a_max=2), (X,)),
    "clip-both-spellings": (lambda x: np.clip(x, 0, 1, max=2), (X,)),
    "var-ddof-and-correction": (lambda x: np.var(x, ddof=1, correction=0), (X,)),
    "where-by-name": (lambda c, x: np.where(c, x=x, y=x), (B, X)),
    "argmax-out-shape": (lambda x, out: np.argmax(x, axis=0, out=out), (M, np.zeros((2, 3), int))),
    "mean-out-shape": (lambda x, out: np.mean(x, axis=1, out=out), (M, np.zeros((3, 2)))),
    "take-out-shape": (lambda x, out: np.take(x, 1, out=out), (X, np.zeros(1))),
    "add-out-of-fewer-axes": (lambda x, out: np.add(x[:1], 1, out), (X, np.array(0.0))),
    "add-two-outs": (lambda x, a, b: np.add(x, 1, out=(a, b)), (X, X, X)),
    "add-two-outs-by-position": (lambda x, a, b: np.add(x, 1, a, b), (X, X, X)),
    "add-out-twice": (lambda x, a: np.add(x, 1, None, out=a), (X, X)),
    "frexp-one-out": (lambda x, a: np.frexp(x, out=a), (X, X)),
    "negative-bool": (lambda b: -b, (B,)),
    "subtract-bool": (lambda b: b - b, (B,)),
    "positive-bool": (np.positive, (B,)),
    "gcd-float": (lambda x: np.gcd(x, 4), (X,)),
    "lcm-float": (lambda x: np.lcm(x, x), (X,)),
    "negative-power": (lambda i: i ** (i - 2), (I,)),
    "searchsorted-sorter-size": (lambda x: np.searchsorted(x, 1.0, sorter=[0, 1]), (X,)),
    "searchsorted-sorter-range": (lambda x: np.searchsorted(x, -5.0, sorter=[-1, 0, 1, 2]), (X,)),
    "searchsorted-sorter-dtype": (lambda x: np.searchsorted(x, 1.0, sorter=[0.0, 1, 2, 3]), (X,)),
    "choose-by-float": (lambda x: np.choose(x, [1.0, 2.0]), (X,)),
    "putmask-size": (lambda x: np.putmask(x, [True], 5.0), (X,)),
    "putmask-by-name": (lambda x, m: np.putmask(a=x, mask=m, values=5.0), (X, B)),
}


def copies(args: tuple[Any, ...]) -> list[Any]:
    return [x.copy() for x in args]


@pytest.mark.parametrize("name", REFUSED)
def test_what_numpy_refuses_is_refused_with_its_kind_of_error(name: str) -> None:
    fn, args = REFUSED[name]
    with pytest.raises((TypeError, ValueError)) as wanted:
        fn(*copies(args))
    with pytest.raises(TypeError if isinstance(wanted.value, TypeError) else ValueError) as found:
        gradc.compile(fn)(*copies(args))
    if isinstance(found.value, GradcError):
        assert found.value.source is not None
        assert found.value.source.file == __file__


SAME: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "flatten-f": (lambda x: x.flatten("f"), (M,)),
    "reshape-f": (lambda x: x.reshape((3, 2), order="f"), (M,)),
    "ravel-none": (lambda x: x.ravel(None), (M,)),
    "sort-kinds": (lambda x: [np.sort(x, kind=k) for k in (None, "quick", "stable")], (X,)),
    "clip-method-lower": (lambda x: x.clip(0.0), (X,)),
    "clip-method-upper": (lambda x: x.clip(max=1.0), (X,)),
    "clip-by-name": (lambda x: np.clip(x, min=0.0, max=1.0), (X,)),
    "clip-neither": (lambda x: np.clip(x, None, None), (X,)),
    "clip-dtype": (lambda x: np.clip(x, 0.0, 1.0, dtype=np.float64), (X.astype(np.float32),)),
    "clip-spreads-into-out": (lambda x, out: np.clip(x, 0.0, 1.0, out=out).copy(), (X, np.zeros((2, 4)))),
    "add-spreads-into-out": (lambda x, out: np.add(x, 1.0, out=out).copy(), (X, np.zeros((2, 4)))),
    "add-out-by-position": (lambda x, out: np.add(x, 1.0, out).copy(), (X, np.zeros(4))),
    "bitwise-and-of-none": (np.bitwise_and.reduce, (np.zeros(0, np.uint8),)),
    "bitwise-and-of-no-rows": (np.bitwise_and.reduce, (np.zeros((0, 3), np.uint64),)),
    "reduceat-nothing": (lambda x: np.add.reduceat(x, np.array([], int), axis=1), (M,)),
    "reduceat-nothing-of-rows": (lambda x: np.multiply.reduceat(x, np.array([], int)), (M,)),
    "choose-wraps": (lambda x: np.choose([0, 1, 0], (-1, x)), (np.array([1, 2, 3], np.uint8),)),
    "choose-wraps-far": (lambda x: np.choose([0, 1, 0], (1000, x)), (np.array([1, 2, 3], np.uint8),)),
    "isclose-of-weak": (
        lambda x: np.isclose(x, 2, atol=0, rtol=0.5 - 1e-16),
        (np.ones(2, np.float32),),
    ),
    "isclose-of-weak-float": (lambda x: np.isclose(x, 2.0, atol=0, rtol=0.5), (np.ones(2, np.float32),)),
    "equal-none": (lambda x: [x == None, x != None], (X,)),  # noqa: E711
    "equal-text": (lambda x: [x == "a", x != "a"], (X,)),
    "conj-bool": (lambda b: [b.conj(), b.conjugate()], (B,)),
    "conj": (lambda x: x.conj(), (X,)),
    "putmask-other-shape": (lambda x: _put(x.copy(), np.ones((3, 2), bool), [7.0, 8.0]), (M,)),
    "putmask-nothing": (lambda x: _put(x.copy(), np.ones((2, 3), bool), []), (M,)),
}


def _put(x: Any, mask: Any, values: Any) -> Any:
    np.putmask(x, mask, values)
    return x


@pytest.mark.parametrize("name", SAME)
def test_what_numpy_takes_means_the_same(name: str) -> None:
    fn, args = SAME[name]
    check(fn, *copies(args))
