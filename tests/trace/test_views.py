"""Which results share memory with what: writes through every kind of view, and reads after writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.ir import GradcError

X = np.arange(12.0).reshape(3, 4) + 0.5

VIEWS: dict[str, Callable[[Any], Any]] = {
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "transpose": lambda x: np.transpose(x, (1, 0)),
    "permute_dims": lambda x: np.permute_dims(x, (1, 0)),
    "matrix_transpose": np.matrix_transpose,
    "reshape": lambda x: x.reshape(2, 6),
    "reshape of transposed": lambda x: x.T.reshape(6, 2),
    "reshape F": lambda x: x.reshape(2, 6, order="F"),
    "ravel": lambda x: x.ravel(),
    "ravel of transposed": lambda x: np.ravel(x.T),
    "ravel F": lambda x: x.ravel("F"),
    "flatten": lambda x: x.flatten(),
    "squeeze": lambda x: np.squeeze(x[:, :1]),
    "squeeze axis": lambda x: x[:1].squeeze(0),
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "moveaxis": lambda x: np.moveaxis(x, 0, 1),
    "rollaxis": lambda x: np.rollaxis(x, 1),
    "flip": np.flip,
    "fliplr": np.fliplr,
    "flipud": np.flipud,
    "rot90": np.rot90,
    "rot180": lambda x: np.rot90(x, 2),
    "rot360": lambda x: np.rot90(x, 4),
    "split": lambda x: np.split(x, 2, 1)[1],
    "array_split": lambda x: np.array_split(x, 2)[0],
    "hsplit": lambda x: np.hsplit(x, 2)[0],
    "vsplit": lambda x: np.vsplit(x, 3)[0],
    "unstack": lambda x: np.unstack(x)[0],
    "atleast_1d": np.atleast_1d,
    "atleast_3d": np.atleast_3d,
    "asarray": np.asarray,
    "asarray same dtype": lambda x: np.asarray(x, dtype=np.float64),
    "asarray other dtype": lambda x: np.asarray(x, dtype=np.float32),
    "asanyarray": np.asanyarray,
    "require": np.require,
    "array": np.array,
    "array without copy": lambda x: np.array(x, copy=None),
    "ascontiguousarray": np.ascontiguousarray,
    "ascontiguousarray of transposed": lambda x: np.ascontiguousarray(x.T),
    "ascontiguousarray of columns": lambda x: np.ascontiguousarray(x[:, 1:]),
    "asfortranarray": np.asfortranarray,
    "asfortranarray of transposed": lambda x: np.asfortranarray(x.T),
    "astype": lambda x: x.astype(np.float64),
    "astype without copy": lambda x: x.astype(np.float64, copy=False),
    "copy": np.copy,
    "+x": lambda x: +x,
    "real": lambda x: x.real,
    "np.real": np.real,
    "real_if_close": np.real_if_close,
    "nan_to_num without copy": lambda x: np.nan_to_num(x, copy=False),
    "clip": lambda x: np.clip(x, 0, 99),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 3, 4)),
    "diagonal": np.diagonal,
    "diagonal below": lambda x: x.diagonal(-1),
    "diag": np.diag,
    "einsum transposed": lambda x: np.einsum("ij->ji", x),
    "einsum diagonal": lambda x: np.einsum("ii->i", x.ravel()[:9].reshape(3, 3)),
    "einsum sum": lambda x: np.einsum("ij->i", x),
    "list of indices": lambda x: x[[0, 1]],
    "mask": lambda x: x[np.array([True, False, True])],
    "ix_": lambda x: x[np.ix_([0], [1])],
    "ellipsis": lambda x: x[..., 1],
    "newaxis": lambda x: x[None],
    "steps": lambda x: x[::2, ::-1],
    "row": lambda x: list(x)[1],
    "unpacked": lambda x: next(b for a, b, c in [x]),
    "take": lambda x: x.take([1], 0),
    "repeat": lambda x: np.repeat(x, 1),
    "resize": lambda x: np.resize(x, (3, 4)),
    "view of a view": lambda x: x[1:].T[1:].reshape(3, 2),
}


def outcome(f: Callable[..., Any], x: np.ndarray) -> Any:
    """The result and what the argument is after the call; the kind of error if there is one."""
    try:
        return [np.asarray(y) for y in f(x)], x
    except (ValueError, GradcError):
        return "error"


def same(found: Any, wanted: Any) -> bool:
    if "error" in (found, wanted) if isinstance(found, str) or isinstance(wanted, str) else False:
        return isinstance(found, str) and isinstance(wanted, str)
    return all(map(np.array_equal, found[0], wanted[0])) and np.array_equal(found[1], wanted[1])


@pytest.mark.parametrize("origin", ["made", "argument"])
@pytest.mark.parametrize("name", VIEWS)
def test_write_through(name: str, origin: str) -> None:
    view = VIEWS[name]

    def f(x: Any) -> Any:
        if origin == "made":
            x = x * 1
        v = view(x)
        v[...] = -7.0
        return x, v * 1

    found, wanted = outcome(gradc.compile(f), X.copy()), outcome(f, X.copy())
    assert same(found, wanted), (found, wanted)


@pytest.mark.parametrize("origin", ["made", "argument"])
@pytest.mark.parametrize("name", VIEWS)
def test_read_after_a_write(name: str, origin: str) -> None:
    view = VIEWS[name]

    def f(x: Any) -> Any:
        if origin == "made":
            x = x * 1
        v = view(x)
        x[...] = x * 2 + 1
        x[1, 1:] -= v.sum()
        return x, v * 1

    found, wanted = outcome(gradc.compile(f), X.copy()), outcome(f, X.copy())
    assert same(found, wanted), (found, wanted)


def test_order_in_memory_is_not_known() -> None:
    with pytest.raises(GradcError, match='order="C"'):
        gradc.compile(lambda x: np.ravel(x.T, order="K"))(X)
