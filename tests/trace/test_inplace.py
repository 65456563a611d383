"""Code that writes into arrays: the same values as NumPy's, through views and aliases, and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradc
from gradc.ir import GradcError, IndexOutOfBoundsError, ShapeError, TraceError
from tests.trace.harness import check, run, traced

X = np.array([0.5, -1.0, 2.0, 0.25])
M = np.arange(12.0).reshape(3, 4) / 7 - 0.6
I = np.array([2, 0])  # noqa: E741
OUTER = np.ones(4)


def fill(x: Any) -> Any:
    out = np.zeros(4)
    for i in range(4):
        out[i] = x[i] ** 2
    return out


def recurrence(x: Any) -> Any:
    out = np.empty_like(x)
    out[0] = x[0]
    for i in range(1, len(x)):
        out[i] = 0.5 * out[i - 1] + x[i]
    return out


def fill_matrix(x: Any) -> Any:
    out = np.zeros((4, 4))
    for i in range(4):
        for j in range(i, 4):
            out[i, j] = x[i] * x[j]
            out[j, i] = out[i, j]
    return out


def rows_and_columns(x: Any) -> Any:
    out = np.zeros((4, 4))
    out[1] = x
    out[:, 2] = x * 2
    out[2, 1:3] = x[:2]
    out[1:3, 0:2] += 1
    return out


def blocks(x: Any) -> Any:
    out = np.zeros((6, 5, 2))
    out[1:3, 2:4, 0] = x[:4].reshape(2, 2)
    out[2:5, 1:, 1] = x[0]
    out[::2, ::-2, 1] = x[:3]
    out[-1, -1] = x[:2]
    out[3:3] = 7.0
    return out


def strided(x: Any) -> Any:
    y = x * 1
    y[::2] = y[1::2]
    y[::-1] = y * np.array([1.0, 2.0, 3.0, 4.0])
    y[3:0:-2] *= x[:2]
    return y


def slices(x: Any) -> Any:
    y = x * 2
    y[1:3] = x[:2]
    y[2:] += x[2]
    y[:-1] *= y[1:]
    y[...] = y + 1
    y[:, None] += 1
    return y


def augmented(x: Any) -> Any:
    y = x + 1
    z = y
    y += x
    y *= 2
    y -= 0.5
    y /= x
    y **= 2
    y //= 0.75
    y %= 3
    return y, z, z + 0


def matrix_augmented(x: Any) -> Any:
    y = np.outer(x, x)
    y @= np.eye(4)[::-1].copy() * x
    return y


def views(x: Any) -> Any:
    y = x * 1
    v = y[1:]
    v[:] = x[0]
    w = v[::2]
    w += x[1]
    y[-1] = x[3]
    return y, v, w


def layouts(x: Any) -> Any:
    y = np.zeros((3, 4))
    y.T[1] = x[:3]
    y.reshape(2, 6)[1] = x[0]
    y.ravel()[::5] = x[2]
    t = y.transpose()
    t[2, 1] = x[3]
    r = y.T.reshape(-1)  # a copy, here as in NumPy
    r[:] = 9.0
    y[:, ::2].reshape(-1)[0] = 5.0  # so is this
    np.swapaxes(y, 0, 1)[0] += 1
    y[:2].reshape(8)[3] = x[1]
    f = y.flatten()
    f[0] = 77.0
    return y, t, r, f


def numbers_are_no_views(x: Any) -> Any:
    y = x * 1
    first = y[0]
    row = np.outer(x, x)
    corner, line = row[0, 0], row[0]
    y[0] = 5.0
    row[0] = x
    return y, first, corner, line


def copies(x: Any) -> Any:
    y = x * 1
    z, a, b, c = y.copy(), y + 0, np.array(y), np.clip(y, -9, 9)
    y[0] = 3.0
    c[1] = 4.0
    return y, z, a, b, c


def asarray_is_the_same(x: Any) -> Any:
    y = x * 1
    z = np.asarray(y)
    z[0] = 3.0
    return y


def masks(x: Any) -> Any:
    y = x * 1
    y[y < 0] = 0.0
    y[x > 1] = x[0]
    m = np.outer(x, x)
    m[x > 0] = x
    m[m > 1] = 1
    m[np.array([True, False, False, True])] = x * 2
    m[np.eye(4, dtype=bool)] = x
    m[np.eye(4, dtype=bool)] += 1
    return y, m


def selections(x: Any) -> Any:
    x = x * 1.37 + 0.113  # no element at the edge of a mask
    y, m = x * 1, np.outer(x, x)
    y[y < 0] *= 0.1
    low = x < 1
    y[low] = np.exp(x[low]) + 2 * y[low] - x[low] / x[0]
    m[m > 0.2] -= 0.7 * x[0]
    m[low] += x
    m[~low] = -m[~low] * 2
    m[x > 0] = (m * x)[x > 0]
    k = np.zeros(4, int)
    k[low] = x[low] * 7
    return y, m, k, x[low].sum(), np.mean(x[low]), x[low].max(), np.min(m[m > 0] ** 2)


def index_arrays(x: Any) -> Any:
    y = np.zeros(6)
    y[[4, 1, 1]] = x[:3]
    y[np.array([0, 5])] += x[2:]
    m = np.zeros((4, 5))
    m[np.arange(4), [0, 2, 4, 2]] = x
    m[[0, 1], 1:3] = x[:2]
    m[:, [4, 3]] -= x[:, None]
    m[1, [0, 4]] = x[1:3]
    c = np.zeros((2, 3, 4))
    c[0, :, [1, 2]] = x[:3]
    c[:, [0, 2, 2], [3, 1, 1]] = x[:3]
    c[..., None, [0]] *= 2
    return y, m, c


def traced_indices(x: Any, i: Any) -> Any:
    y = x * 1
    y[i] = x[:2] * 3
    y[i[0]] += 10
    z = np.zeros((3, 4))
    z[np.arange(2), i] = x[:2]
    z[i] = x
    z[1:, i] -= x[2]
    w = np.zeros(4)
    w[np.array([1, 1]) * i[0]] = x[1:3]  # twice the same place
    z[i[0], i[1]] = 8.0
    return y, z, w


def add_at(x: Any, i: Any) -> Any:
    y = np.zeros(4)
    np.add.at(y, [0, 2, 2], x[:3])
    np.add.at(y, i, 1.0)
    np.subtract.at(y, i[0], x[3])
    z = np.zeros((4, 3))
    np.add.at(z, (slice(None), [0, 0, 2]), x[:, None])  # pyright: ignore
    np.add.at(z, 1, x[:3])
    k = np.zeros(3)
    np.add.at(k, [0, 0], 1.0)
    np.add.at(y, x > 0, x[1])
    return y, z, k


def out_arguments(x: Any) -> Any:
    y, s, t = np.empty(4), np.empty(()), np.zeros(4)
    r = np.exp(x, out=y)
    np.add(y, 1, y)
    np.multiply(x, 2, out=t, where=x > 0)
    np.sum(x, out=s[...])
    m = np.empty((4, 4))
    np.dot(x[:, None], x[None], out=m)
    np.clip(m, 0, 1, out=m)
    m.sum(axis=0, out=t)
    np.add.reduce(m, axis=1, out=y[:])
    np.concatenate([x[:2], x[2:]], out=m[0])
    q, rest = np.empty(4), np.empty(4)
    np.divmod(x, 0.3, out=(q, rest))
    return y, r is y, t, m, q, rest


def functions_that_write(x: Any) -> Any:
    y = np.zeros(4)
    np.copyto(y, x)
    np.copyto(y, 5.0, where=x > 1)
    np.putmask(y, x < 0, x * 2)
    y.fill(2.0)
    np.put(y, [0, 2], x)
    y[1:].fill(x[0])
    m = np.outer(x, x)
    np.fill_diagonal(m, 7.0)
    np.fill_diagonal(m[:3], x)
    np.put_along_axis(m, np.array([[0], [1], [2], [1]]), x[:, None] * 3, axis=1)
    m.put([3, 4], x)
    return y, m


def concrete_first(x: Any) -> Any:
    y = np.zeros(4)
    before = x + y
    y[1:] = 5
    v = y[1:]
    v[0] = 2
    after = x + y
    y += np.arange(4)
    y[[0, 3]] = 1
    y[y == 1] = 9
    z = np.ones(4)
    z[2] = x[0]
    y.sort()
    k = np.zeros(3, int)
    k[0] = 2.7
    k += 1
    return before, after, y, v, z, x[k[0]]


def helper(out: Any, x: Any) -> None:
    out[1:3] = x[:2]
    out += 1


def through_a_helper(x: Any) -> Any:
    y = np.zeros(4)
    helper(y, x)
    helper(y[:3], x)
    return y


def casts(x: Any) -> Any:
    y = np.zeros(4, np.float32)
    y[:] = x
    y += x
    k = np.zeros(4, int)
    k[1:] = x[:3] * 3
    b = np.zeros(4, bool)
    b[:] = x
    b |= x > 0.3
    k += b
    return y, k, b


def lists(x: Any) -> Any:
    y = np.zeros((2, 2))
    y[0] = [x[0], x[1]]
    y[1:] = [[x[2], 3.0]]
    rows = [np.zeros(2) for _ in range(2)]
    for row in rows:
        row[:] = x[:2]
    rows[0][0] = 1.0
    for row in y:
        row += 1
    y[0][1] = 4.0
    return y, rows


def swapped(x: Any) -> Any:
    y = x * 1
    y[0], y[1] = y[1], y[0]
    y[[2, 3]] = y[[3, 2]]
    return y


def sorting(x: Any) -> Any:
    y = x * 1
    n = len(y)
    for i in range(n):
        for j in range(n - 1 - i):
            low, high = np.minimum(y[j], y[j + 1]), np.maximum(y[j], y[j + 1])
            y[j], y[j + 1] = low, high
    return y


def heat(x: Any) -> Any:
    u = x.copy()
    for _ in range(5):
        new = u.copy()
        new[1:-1] = u[1:-1] + 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2])
        new[0], new[-1] = 0.0, u[-2]
        u = new
    return u


def cholesky(x: Any) -> Any:
    a = np.outer(x, x) + 3 * np.eye(4)
    low = np.zeros_like(a)
    for j in range(4):
        low[j, j] = np.sqrt(a[j, j] - np.sum(low[j, :j] ** 2))
        for i in range(j + 1, 4):
            low[i, j] = (a[i, j] - np.sum(low[i, :j] * low[j, :j])) / low[j, j]
    return low


def elimination(x: Any) -> Any:
    a = np.outer(x, x) + 5 * np.eye(4)
    b = x.copy()
    for k in range(4):
        for i in range(k + 1, 4):
            f = a[i, k] / a[k, k]
            a[i, k:] -= f * a[k, k:]
            b[i] -= f * b[k]
    for k in range(3, -1, -1):
        b[k] = (b[k] - a[k, k + 1 :] @ b[k + 1 :]) / a[k, k]
    return b


FLOATS = [fill, recurrence, fill_matrix, rows_and_columns, blocks, strided, slices, matrix_augmented, views]
FLOATS += [layouts, numbers_are_no_views, copies, asarray_is_the_same, masks, index_arrays, concrete_first]
FLOATS += [
    through_a_helper,
    lists,
    swapped,
    sorting,
    heat,
    cholesky,
    elimination,
    functions_that_write,
    selections,
]
OTHERS = [augmented, casts, out_arguments]
INDEXED = [traced_indices, add_at]


@pytest.mark.parametrize("f", [*FLOATS, *OTHERS], ids=lambda f: f.__name__)
def test_values(f: Any) -> None:
    check(f, X)


@pytest.mark.parametrize("f", INDEXED, ids=lambda f: f.__name__)
def test_values_with_traced_indices(f: Any) -> None:
    check(f, X, I)
    check(f, X, I - 3 if f is traced_indices else I)


def total(result: Any) -> Any:
    """A number that depends on every element of the result."""
    leaves = [y for y in gradc.trace.tree.flatten(result)[0] if hasattr(y, "dtype") and y.dtype.kind == "f"]
    return sum(np.sum(np.sin(y) * (1 + np.arange(y.size).reshape(y.shape))) for y in leaves)


@pytest.mark.long
@pytest.mark.parametrize("f", [*FLOATS, *INDEXED], ids=lambda f: f.__name__)
def test_gradients(f: Any) -> None:
    args = (X, I) if f in INDEXED else (X,)
    grad = gradc.grad(lambda *a: total(f(*a)))(*args)
    assert gradc.compile(lambda *a: total(f(*a)))(*args) == pytest.approx(total(f(*args)), rel=1e-12)
    h = 1e-6
    for k in range(4):
        step = np.where(np.arange(4) == k, h, 0.0)
        up, down = (total(f(X + s, *args[1:])) for s in (step, -step))
        assert grad[k] == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-7), k


def test_reading_what_was_put_takes_the_piece() -> None:
    n = 60

    def chain(x: Any) -> Any:
        out = np.zeros(n)
        out[0] = x[0]
        for i in range(1, n):
            out[i] = np.tanh(out[i - 1])
        return out

    check(chain, X)
    names = [node.op.name for node in traced(chain, X)[0].graph.nodes]
    assert names.count("concat") == 1


# ufunc.at, and indices that are traced and repeated.

AT = [np.add, np.subtract, np.multiply, np.maximum, np.minimum]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("ufunc", [*AT, np.divide, np.power, np.logaddexp, np.fmax, np.hypot, np.arctan2])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_ufunc_at(ufunc: np.ufunc, known: bool) -> None:
    if not known and ufunc not in AT:
        return
    places = [0, 2, 2, 3, -1]

    def f(x: Any, v: Any, i: Any) -> Any:
        y = x * x
        ufunc.at(y, places if known else i, v)
        z = np.ones((2, 3, 4)) * x
        ufunc.at(z[:, 1:], (slice(None), [1, 1] if known else i[:2] - i[:2] + 1), v[:2, None])
        ufunc.at(z, (1, 0), v[0])
        return y, z

    v, i = np.array([3.0, 0.5, 0.7, 2.0, 1.5]), np.array(places)
    for found, wanted in zip(gradc.compile(f)(X, v, i), f(X, v, i), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
    gradc.check_grad(lambda x, v: sum((y * y[..., ::-1]).sum() for y in f(x, v, i)), np.abs(X) + 0.3, v)


def test_traced_indices_that_are_repeated() -> None:
    def f(x: Any, i: Any) -> Any:
        y = np.zeros((3, 4))
        y[i] = x
        y[0, i] += 1
        y[i, [1, 2, 1]] = x[:, 0] * x[:, 1]
        y[i[0]] *= 2
        return y

    x, i = np.linspace(-1, 2, 12).reshape(3, 4), np.array([2, 0, 2])
    np.testing.assert_array_equal(gradc.compile(f)(x, i), f(x, i))
    gradc.check_grad(lambda x: (f(x, i) ** 3).sum(), x)
    gradc.check_grad(gradc.grad(lambda x: (f(x, i) ** 3).sum()), x)
    assert [n.op.name for n in traced(f, x, i)[0].graph.nodes].count("scatter") >= 3


def test_negative_at() -> None:
    def f(x: Any) -> Any:
        y = x * 1
        np.negative.at(y, [0, 0, 1])
        return y

    check(f, X)


# Errors.


def captured(x: Any) -> Any:
    OUTER[0] = 1
    return x


def captured_augmented(x: Any) -> Any:
    y = OUTER[1:]
    y += x[1:]
    return y


def captured_out(x: Any) -> Any:
    return np.exp(x, out=OUTER)


def in_a_branch(x: Any) -> Any:
    y = np.zeros(4)

    def write() -> Any:
        y[0] = x[0]
        return y

    return gradc.trace.cond(x[0] > 0, write, lambda: y)


def under_grad(x: Any) -> Any:
    y = np.zeros(4)

    def loss(w: Any) -> Any:
        y[0] = w[0]
        return np.sum(y)

    return gradc.grad(loss)(x)


def too_long(x: Any) -> Any:
    y = np.zeros(3)
    y[:] = x
    return y


def too_large(x: Any) -> Any:
    y = np.zeros((1, 4))
    y += np.outer(x, x)
    return y


def integers(x: Any) -> Any:
    y = np.zeros(4, int)
    y += x
    return y


def out_of_bounds(x: Any) -> Any:
    y = np.zeros(4)
    y[4] = x[0]
    return y


def many_at_a_traced_mask(x: Any) -> Any:
    y = x * 1
    y[x > 0] = x
    return y


def selected_by_another(x: Any) -> Any:
    y = x * 1
    y[x > 0] = x[x > 0.3]
    return y


def returned_selection(x: Any) -> Any:
    return (x * 2)[x > 0] + 1


def length_of_a_selection(x: Any) -> Any:
    return x / len(x[x > 0])


def divide_at(x: Any) -> Any:
    y = x * 1
    np.divide.at(y, np.argsort(x)[:2], x[0])
    return y


ERRORS: list[tuple[Any, type[Exception], str]] = [
    (captured, TraceError, "OUTER"),
    (captured_augmented, TraceError, "OUTER"),
    (captured_out, TraceError, "OUTER"),
    (in_a_branch, TraceError, "inside"),
    (under_grad, TraceError, "inside"),
    (too_long, ShapeError, "(4,)"),
    (too_large, ShapeError, "(1, 4)"),
    (integers, TraceError, "float64 into an array of int64"),
    (out_of_bounds, IndexOutOfBoundsError, "out of bounds"),
    (many_at_a_traced_mask, TraceError, "np.where"),
    (selected_by_another, TraceError, "np.where"),
    (returned_selection, TraceError, "np.where"),
    (length_of_a_selection, TraceError, "np.where"),
    (divide_at, TraceError, "np.add.at"),
]


@pytest.mark.parametrize("f,kind,words", ERRORS, ids=lambda x: getattr(x, "__name__", None))
def test_errors(f: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        run(f, X)
    error = caught.value
    assert isinstance(error, GradcError) and words in str(error), str(error)
    assert error.source is not None and error.source.file == __file__
    assert (np.ones(4) == OUTER).all() and X[0] == 0.5


# Random programs: arrays, views of them, and writes into both.


def random_slice(rng: np.random.Generator, n: int) -> slice:
    start, stop = (int(k) for k in rng.integers(-n, n + 1, 2))
    return slice(start, stop, int(rng.choice([1, 1, 2, -1, -2])))


def random_view(rng: np.random.Generator, y: Any) -> Any:
    kind = rng.integers(5)
    if kind == 0:
        return y.T
    if kind == 1:
        return y.reshape(-1)
    if kind == 2 and y.ndim > 1:
        return y[int(rng.integers(len(y)))] if len(y) else y
    if kind == 3:
        return y[..., None]
    return y[tuple(random_slice(rng, n) for n in y.shape[: int(rng.integers(1, 3))])]


def random_write(rng: np.random.Generator, y: Any, x: Any) -> None:
    value = rng.choice([1.5, -2.0]) * x[int(rng.integers(4))] if rng.random() < 0.7 else 0.25
    kind = rng.integers(8)
    if kind == 0:
        y[:] = value
    elif kind == 1:
        y += value
    elif kind == 2:
        y[y > 0.3] = value
    elif kind == 3:
        y *= y[::-1] * 0.5
    elif kind == 4 and len(y):
        y[rng.integers(0, len(y), 3)] = value
    elif kind == 5 and len(y):
        places = rng.integers(0, len(y), 4)
        y[places] = np.outer(x, np.ones(y[0].size)).reshape(4, *y.shape[1:])
    elif kind == 6 and len(y):
        np.subtract.at(y, rng.integers(0, len(y), 4), value)
    else:
        np.tanh(y, out=y)
        y[random_slice(rng, len(y))] = value


@pytest.mark.parametrize("seed", range(60))
def test_random_programs(seed: int) -> None:
    def program(x: Any) -> Any:
        rng = np.random.default_rng(seed)
        arrays = [np.zeros((3, 4)), np.outer(x, x), np.arange(6.0)]
        for _ in range(12):
            y = arrays[int(rng.integers(len(arrays)))]
            if rng.random() < 0.4 and y.ndim < 4:
                arrays.append(random_view(rng, y))
            elif rng.random() < 0.1:
                arrays.append(y.copy())
            else:
                random_write(rng, y, x)
        return arrays

    check(program, X)
