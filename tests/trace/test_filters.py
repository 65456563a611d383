"""Convolution and correlation: NumPy's and SciPy's values, modes, boundaries and errors."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

import gradc
from gradc.ir import ShapeError, TraceError
from tests.trace.harness import check, traced

RNG = np.random.default_rng(1)
LINE, SHORT, EVEN = RNG.normal(size=11), RNG.normal(size=3), RNG.normal(size=4)
PLANE, SPOT, WIDE = RNG.normal(size=(7, 9)), RNG.normal(size=(3, 4)), RNG.normal(size=(9, 11))
SOLID, CUBE = RNG.normal(size=(4, 5, 6)), RNG.normal(size=(2, 3, 2))
MODES = "full", "same", "valid"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("function", [np.convolve, np.correlate])
@pytest.mark.parametrize(
    ("x", "w"),
    [(LINE, SHORT), (SHORT, LINE), (LINE, EVEN), (EVEN, LINE), (LINE, LINE), (SHORT[:1], LINE)],
)
@pytest.mark.parametrize("dtype", ["f8", "f4", "i4"])
def test_numpy(function, mode, x, w, dtype):
    check(lambda x, w: function(x, w, mode), *[(3 * v).astype(dtype) for v in (x, w)], rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["convolve", "correlate"])
@pytest.mark.parametrize(
    ("x", "w"),
    [(LINE, EVEN), (EVEN, LINE), (PLANE, SPOT), (SPOT, PLANE), (SOLID, CUBE), (PLANE, PLANE)],
)
def test_signal(name, mode, x, w):
    function = getattr(scipy.signal, name)
    check(lambda x, w: function(x, w, mode=mode, method="direct"), x, w)
    check(lambda x, w: function(x, w, mode), x, w)


@pytest.mark.parametrize("boundary", ["fill", "wrap", "symm"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
@pytest.mark.parametrize(("x", "w"), [(PLANE, SPOT), (WIDE, SPOT[:, :3]), (SPOT[:2], PLANE)])
def test_planes(name, mode, boundary, x, w):
    function = getattr(scipy.signal, name)
    check(lambda x, w: function(x, w, mode, boundary), x, w)
    if boundary == "fill":
        check(lambda x, w: function(x, w, mode=mode, fillvalue=2.5), x, w)


@pytest.mark.parametrize("mode", ["reflect", "constant", "nearest", "mirror", "wrap"])
@pytest.mark.parametrize("name", ["correlate1d", "convolve1d"])
@pytest.mark.parametrize("weights", [SHORT, EVEN])
@pytest.mark.parametrize("origin", [0, 1, -1])
def test_along_an_axis(name, mode, weights, origin):
    function = getattr(scipy.ndimage, name)
    check(lambda x, w: function(x, w, axis=0, mode=mode, cval=1.5, origin=origin), PLANE, weights)
    check(lambda x, w: function(x, w, mode=mode), PLANE, weights)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, w: np.convolve(x, w, "same"),
        lambda x, w: np.correlate(x, w, "full"),
        lambda x, w: scipy.signal.convolve2d(np.outer(x, w), np.outer(w, w), "same", "wrap"),
        lambda x, w: scipy.ndimage.convolve1d(np.outer(x, w), w, axis=0),
    ],
)
def test_gradients(f):
    gradc.check_grad(lambda p: np.sum(np.sin(f(*p))), (LINE, SHORT))


def test_they_are_contractions_of_windows():
    text = gradc.compile(np.convolve).dump(LINE, SHORT, stage="optimized")
    assert "contract(" in text
    assert "gather(" not in text


@pytest.mark.parametrize(
    ("f", "error", "what"),
    [
        (lambda x: np.convolve(x, SHORT, "some"), ShapeError, "valid, same or full, not 'some'"),
        (lambda x: np.correlate(x, x[:0]), ShapeError, "neither of them empty"),
        (lambda x: np.correlate(PLANE * x[0], SPOT), ShapeError, "one axis"),
        (lambda x: scipy.signal.convolve(x, SPOT), ShapeError, "as many axes"),
        (lambda x: scipy.signal.convolve2d(x, SHORT), ShapeError, "two axes"),
        (
            lambda x: scipy.signal.convolve(PLANE * x[0], RNG.normal(size=(2, 10)), "valid"),
            ShapeError,
            "one must be at least as large as the other in every dimension",
        ),
        (lambda x: scipy.ndimage.correlate1d(x, SHORT, mode="some"), ShapeError, "not 'some'"),
        (lambda x: scipy.ndimage.correlate1d(x, SHORT, origin=5), ShapeError, "invalid origin 5"),
        (lambda x: scipy.ndimage.correlate1d(x.astype(int), SHORT), TraceError, "of floats"),
    ],
)
def test_errors(f, error, what):
    with pytest.raises(error) as raised:
        traced(f, LINE)
    assert what in str(raised.value)
    assert "test_filters.py" in str(raised.value)
