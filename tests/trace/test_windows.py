"""Sliding windows: the same views as NumPy's, read-only, with its errors."""

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import gradc
from gradc.ir import ShapeError, TraceError
from tests.trace.harness import check, traced

X = np.random.default_rng(0).normal(size=(4, 7, 9))

VIEWS = {
    "one axis": lambda x: sliding_window_view(x, 3, axis=1),
    "last axis": lambda x: sliding_window_view(x, (4,), -1),
    "two axes": lambda x: sliding_window_view(x, (2, 5), axis=(1, 2)),
    "all axes": lambda x: sliding_window_view(x, (1, 2, 3)),
    "an axis twice": lambda x: sliding_window_view(x, (3, 4), axis=(2, 2)),
    "axes in any order": lambda x: sliding_window_view(x, (3, 2), axis=(2, 0)),
    "whole axis": lambda x: sliding_window_view(x, 7, axis=1),
    "single elements": lambda x: sliding_window_view(x, (1, 1), axis=(1, 2)),
    "empty windows": lambda x: sliding_window_view(x, 0, axis=1),
    "steps": lambda x: sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, 1::3],
    "dilated": lambda x: sliding_window_view(x, (5, 4), axis=(1, 2))[..., ::2, ::3],
    "turned around": lambda x: sliding_window_view(x, (3, 4), axis=(1, 2))[:, ::-2, :, ::-1, ::-1],
    "one window": lambda x: sliding_window_view(x, (3, 4), axis=(1, 2))[:, 2, 3],
    "padded": lambda x: sliding_window_view(np.pad(x, ((0, 0), (2, 1), (0, 3))), (3, 3), axis=(1, 2)),
    "of windows": lambda x: sliding_window_view(sliding_window_view(x, 3, axis=2), 2, axis=2),
    "of a slice": lambda x: sliding_window_view(x[:, ::2], 3, axis=1),
    "transposed": lambda x: sliding_window_view(x, (3, 2), axis=(1, 2)).transpose(3, 0, 4, 2, 1),
    "reshaped": lambda x: sliding_window_view(x, (3, 2), axis=(1, 2)).reshape(4, 40, 6),
    "by name": lambda x: np.lib.stride_tricks.sliding_window_view(x, window_shape=3, axis=0),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, bool])
def test_views_are_those_of_numpy(view, dtype):
    x: Any = (X > 0) if dtype is bool else (3 * X).astype(dtype)
    check(view, x)
    np.testing.assert_array_equal(gradc.compile(view)(x), view(x))


def test_windows_see_what_is_written_into_the_array():
    def f(x):
        y = x.copy()
        windows = sliding_window_view(y, 3)
        y[2] = 10.0
        return windows.sum(axis=-1), windows

    check(f, X[0, 0])


def test_windows_of_a_captured_array():
    check(lambda w: sliding_window_view(X[0, 0], 3) @ w, np.arange(3.0))


ERRORS = {
    "`window_shape` cannot contain negative values": lambda x: sliding_window_view(x, (-1,), axis=0),
    "Since axis is `None`, must provide window_shape for all dimensions of `x`; "
    "got 1 window_shape elements and `x.ndim` is 3.": lambda x: sliding_window_view(x, 2),
    "Must provide matching length window_shape and axis; "
    "got 2 window_shape elements and 1 axes elements.": lambda x: sliding_window_view(x, (2, 3), axis=1),
    "window shape cannot be larger than input array shape": lambda x: sliding_window_view(x, 8, axis=1),
    "axis 3 is out of bounds for array of dimension 3": lambda x: sliding_window_view(x, 2, axis=3),
}


@pytest.mark.parametrize("message", ERRORS, ids=[text.split(";")[0].replace(" ", "-") for text in ERRORS])
def test_errors_are_those_of_numpy(message):
    with pytest.raises(ValueError) as plain:
        ERRORS[message](X)
    assert str(plain.value) == message
    with pytest.raises(ShapeError) as error:
        traced(ERRORS[message], X)
    assert message in str(error.value)
    assert "test_windows.py" in str(error.value)


def written(x):
    windows = sliding_window_view(x.copy(), 3, axis=1)
    windows[0] = 1.0
    return windows


def written_slice(x):
    windows = sliding_window_view(x.copy(), 3, axis=1)[:, ::2]
    windows += 1.0
    return windows


def asked_to_write(x):
    return sliding_window_view(x, 3, axis=1, writeable=True)


def strided(x):
    return as_strided(x, (2, 3), (8, 8))


@pytest.mark.parametrize(
    ("function", "what", "instead"),
    [
        (written, "windows are for reading only", "windows.copy()"),
        (written_slice, "windows are for reading only", "windows.copy()"),
        (asked_to_write, "no windows to write into", "write into the array itself"),
        (strided, "as_strided", "sliding_window_view(x, sizes, axis=axes)"),
    ],
    ids=lambda x: getattr(x, "__name__", None),
)
def test_refusals_name_the_line_and_the_spelling(function, what, instead):
    with pytest.raises(TraceError) as error:
        traced(function, X)
    text = str(error.value)
    assert what in text
    assert instead in text
    assert "test_windows.py" in text
