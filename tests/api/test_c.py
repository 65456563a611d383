"""Compiled functions called from C: by ctypes, cffi and SciPy, in every signature, as long as needed."""

from __future__ import annotations

import ctypes
import gc
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc

scipy = pytest.importorskip("scipy")
from scipy import LowLevelCallable, integrate, ndimage  # noqa: E402

ROOT = Path(__file__).parents[2]
TABLE = np.linspace(0.5, 2.0, 40)


def plain_bump(x: Any, width: Any = 0.5) -> Any:
    return np.exp(-((x / width) ** 2)) * np.cos(x)


two_numbers = gradc.compile(plain_bump)
bump = gradc.compile(lambda x: plain_bump(x, 0.5))


def test_what_the_page_shows() -> None:
    """All blocks of docs/c.md, one after another."""
    scope: dict[str, Any] = {}
    pytest.importorskip("cffi")
    page = ROOT / "docs" / "c.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, str(page), "exec"), scope)
    bump, wave, robust = (scope[name].__gradc_original__ for name in ("bump", "wave", "robust"))
    assert abs(scope["integral"] - integrate.quad(bump, -1, 1)[0]) < 1e-12
    assert abs(scope["sine"] - integrate.quad(wave, 0, 1, args=(3.0,))[0]) < 1e-12
    np.testing.assert_allclose(scope["smooth"], ndimage.generic_filter(scope["image"], robust, size=3))
    np.testing.assert_allclose([scope["value"], *scope["slopes"]], [9, 6, 6, 6], rtol=1e-14)


@pytest.mark.parametrize("signature", ["double (double)", "double (double x, void *data)", "double(double)"])
def test_numbers_by_value(signature: str) -> None:
    f = bump.lower("f64[]", of="value").c_function(signature)
    rest = [None] * (signature.count(","))
    for x in (0.25, -1.5, 0.0, np.inf):
        np.testing.assert_array_equal(f(x, *rest), bump(x))


def test_quad_takes_each_of_its_signatures() -> None:
    expected = integrate.quad(plain_bump, -1, 2)[0]
    one, two = bump.lower("f64[]", of="value"), two_numbers.lower("f64[]", "f64[]", of="value")
    for signature in ("double (double)", "double (double, void *)"):
        assert abs(integrate.quad(LowLevelCallable(one.c_function(signature)), -1, 2)[0] - expected) < 1e-12
    for signature in ("double (int, double *)", "double (int, double *, void *)"):
        low = LowLevelCallable(two.c_function(signature))
        assert abs(integrate.quad(low, -1, 2, args=(0.5,))[0] - expected) < 1e-12
    whole = gradc.compile(lambda v: plain_bump(v[0], v[1])).lower("f64[2]", of="value")
    low = LowLevelCallable(whole.c_function("double (int n, double *xs)"))
    assert abs(integrate.quad(low, -1, 2, args=(0.5,))[0] - expected) < 1e-12


def test_filters_of_ndimage() -> None:
    image = np.random.default_rng(0).normal(size=(20, 30))

    def spread(window: Any) -> Any:
        return np.max(window) - np.min(window)

    f = gradc.compile(spread).lower("f64[6]", of="value")
    low = LowLevelCallable(f.c_function("int (double *, npy_intp, double *, void *)"))
    np.testing.assert_array_equal(
        ndimage.generic_filter(image, low, size=(2, 3)), ndimage.generic_filter(image, spread, size=(2, 3))
    )

    def sums(line: Any) -> Any:
        return np.cumsum(line)[4:] - np.cumsum(line)[:-4]

    def in_place(line: Any, out: Any) -> None:
        out[:] = sums(line)

    g = gradc.compile(sums).lower("f64[34]", of="value")
    low = LowLevelCallable(g.c_function("int (double *, npy_intp, double *, npy_intp, void *)"))
    np.testing.assert_allclose(
        ndimage.generic_filter1d(image, low, 5, axis=1), ndimage.generic_filter1d(image, in_place, 5, axis=1)
    )

    def turned(at: Any) -> Any:
        return at[::-1] * 0.5 + 1.0

    h = gradc.compile(lambda at: turned(at).astype(np.float64)).lower("i64[2]", of="value")
    low = LowLevelCallable(h.c_function("int (npy_intp *, double *, int, int, void *)"))
    np.testing.assert_allclose(
        ndimage.geometric_transform(image, low),
        ndimage.geometric_transform(image, lambda at: tuple(turned(np.array(at, float)))),
    )


def test_several_inputs_and_outputs_lie_one_after_another() -> None:
    f = gradc.compile(lambda p, s: np.sum(np.tanh(p["w"] @ p["v"])) * s + TABLE[3], wrt=(0, 1))
    p = {"w": np.arange(6.0).reshape(2, 3), "v": np.array([1.0, -1.0, 0.5])}
    c = f.lower(p, 2.0).c_function("void (const double *, double *)")
    given = (ctypes.c_double * 10)(*np.concatenate([p["w"].ravel(), p["v"], [2.0]]))
    room = (ctypes.c_double * 11)()
    c(given, room)
    value, (grads, slope) = f.value_and_grad(p, 2.0)
    expected = np.concatenate([[value], grads["w"].ravel(), grads["v"], [slope]])
    np.testing.assert_array_equal(np.array(room), expected)


def test_single_precision() -> None:
    f = gradc.compile(lambda x, y: np.sin(x) * y).lower("f32[]", "f32[]", of="value")
    assert f.c_function("float (float, float)")(0.5, 2.0) == np.sin(np.float32(0.5)) * np.float32(2.0)


def test_large_arenas_constants_and_threads() -> None:
    w = np.random.default_rng(1).normal(size=(300, 300))
    f = gradc.compile(lambda x: np.sum(np.tanh(np.sort(w * x, axis=0) @ w)), threads=2)
    low = f.lower("f64[]", of="value")
    assert low.memory > 16 << 10
    c, wanted = low.c_function("double (double)"), f(0.125)
    found: list[float] = []
    callers = [threading.Thread(target=lambda: found.append(c(0.125))) for _ in range(6)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert found == [wanted] * 6


def test_failures_are_answers() -> None:
    f = gradc.compile(lambda v: TABLE[v.astype(np.int64)]).lower("f64[1]", of="value")
    c = f.c_function("int (double *, double *)")
    room = (ctypes.c_double * 1)()
    assert c((ctypes.c_double * 1)(3.0), room) == 1 and room[0] == TABLE[3]
    assert c((ctypes.c_double * 1)(40.0), room) == 0
    g = gradc.compile(lambda x: TABLE[x.astype(np.int64)]).lower("f64[]", of="value")
    c = g.c_function("double (double)")
    assert c(2.0) == TABLE[2] and np.isnan(c(40.0))


def test_the_function_keeps_its_code_alive() -> None:
    def make() -> Any:
        big = np.arange(50.0)
        f = gradc.compile(lambda x: np.sum(big * x))
        return f.lower("f64[]", of="value").c_function("double (double)")

    made = [make() for _ in range(5)]
    callables = [LowLevelCallable(make()) for _ in range(5)]
    gc.collect()
    for c in made:
        assert c(2.0) == 2450
    for low in callables:
        assert abs(integrate.quad(low, 0, 1)[0] - 612.5) < 1e-9


def test_the_code_is_freed_with_the_function() -> None:
    import weakref

    low = gradc.compile(lambda x: x * 3.0).lower("f64[]", of="value")
    c = low.c_function("double (double)")
    gone = weakref.ref(low._special["value"].executable)
    del low
    gc.collect()
    assert gone() is not None and c(2.0) == 6
    del c
    gc.collect()
    assert gone() is None


WRONG = {
    "double": "no signature",
    "double (string)": "'string' is none of",
    "double (double, double)": "not the inputs",
    "float (double)": "not the result",
    "double (float)": "not the inputs",
    "double ()": "not the inputs",
    "double (double *, double *)": "too many pointers",
    "double * (double)": "no signature",
    "int (double)": "not the result",
    "long (double)": "returns none of",
}


@pytest.mark.parametrize("signature", WRONG)
def test_signatures_that_do_not_fit(signature: str) -> None:
    low = bump.lower("f64[]", of="value")
    with pytest.raises(gradc.ArgumentError, match=WRONG[signature]) as caught:
        low.c_function(signature)
    assert caught.value.source is not None and caught.value.source.file == __file__
    with pytest.raises(gradc.ArgumentError, match="of='value'"):
        bump.lower("f64[]").c_function("double (double)")
