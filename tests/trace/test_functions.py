"""Every function of the table: its graph gives what NumPy and SciPy give, in value, dtype and shape."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest
import scipy.special

from gradc.ir import TraceError
from tests.trace.harness import check, traced

RNG = np.random.default_rng(7)


def array(shape: Any, dtype: Any = "f8", low: float = -3.0, high: float = 3.0) -> Any:
    if dtype == "?":
        return RNG.random(shape) > 0.5
    x = RNG.uniform(low, high, shape)
    return (
        np.asarray(x).astype(dtype) if np.dtype(dtype).kind == "f" else np.asarray(np.rint(x)).astype(dtype)
    )


def case(text: str, *args: Any) -> None:
    """Check an expression in x, y, z."""
    scope = {"np": np, "special": scipy.special, "__name__": "case"}
    check(eval(f"lambda x, y=None, z=None: {text}", scope), *args)


def words(text: str) -> list[str]:
    return text.split()


UNARY = words(
    """
    exp exp2 expm1 log log2 log10 log1p sqrt square cbrt reciprocal abs absolute fabs sign negative
    positive sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh floor ceil trunc
    rint isfinite isnan isinf logical_not deg2rad rad2deg degrees radians signbit conjugate fix sinc
    nan_to_num
    """
)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4", "u8"])
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, dtype: str) -> None:
    if name == "reciprocal" and dtype[0] in "iu":
        x = np.array([1, 2, 7], dtype)  # 1 // 0 is C's
    else:
        x = array((2, 3), dtype, 0.1, 0.9) if dtype[0] == "f" else array((2, 3), dtype, 1, 3)
    case(f"np.{name}(x)", x)
    if dtype[0] == "f" and name not in ("reciprocal",):
        case(f"np.{name}(x)", np.array([-1.5, -0.0, 0.0, np.inf, -np.inf, np.nan, 2.5, 0.5], dtype))


BINARY = words(
    """
    add subtract multiply divide true_divide floor_divide remainder mod fmod power float_power maximum
    minimum fmax fmin arctan2 hypot logaddexp logaddexp2 copysign heaviside less less_equal greater
    greater_equal equal not_equal logical_and logical_or logical_xor divmod
    """
)


@pytest.mark.parametrize("dtypes", ["f8,f8", "f4,f4", "f4,f8", "i4,i8", "i4,f4", "u1,i2", "i8,u8"])
@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str, dtypes: str) -> None:
    a, b = dtypes.split(",")
    case(f"np.{name}(x, y)", array((4, 1, 3), a, 1, 5), array((2, 1), b, 1, 5))


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u8"])
def test_edges_of_integers(dtype: str) -> None:
    limits = np.iinfo(dtype)
    x = np.array([limits.min, limits.min + 1, 1, 3, limits.max], dtype)
    y = np.array([[limits.min], [7], [limits.max]], dtype)
    case("np.fmod(y, x)", x[1:], y)
    case("np.fmod(x, y)", x, y[1:])
    case("np.reciprocal(x)", x[x != 0])
    if dtype[0] == "i":
        for other in (np.array([0, 1, 2**63, 2**64 - 1], np.uint64), np.uint64(limits.max)):
            for symbol in ("<", "<=", "==", "!=", ">"):
                case(f"x[:, None] {symbol} y", x, other)
                case(f"y {symbol} x[:, None]", x, other)


@pytest.mark.parametrize(
    "symbol",
    ["+", "-", "*", "/", "//", "%", "**", "<", "<=", ">", ">=", "==", "!=", "&", "|", "^", "<<", ">>"],
)
@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i1", "u1", "?"])
def test_operators(symbol: str, dtype: str) -> None:
    if symbol in ("&", "|", "^", "<<", ">>") and dtype[0] == "f":
        return
    if (symbol == "-" and dtype == "?") or (
        symbol in ("/", "**") and dtype in ("i1", "u1") and symbol == "/"
    ):
        return
    if dtype == "?" and symbol in ("/", "//", "%", "**", "<<", ">>"):
        return
    x, y = array((2, 3), dtype, 1, 4), array((3,), dtype, 1, 4)
    case(f"x {symbol} y", x, y)
    case(f"x[0, 0] {symbol} y", x, y)
    if dtype != "?":
        case(f"x {symbol} 2", x)
        case(f"2 {symbol} x", x)
    if dtype[0] == "f":
        case(f"x {symbol} 2.5", x)
        case(f"x {symbol} y", x, 1.5)
        case(f"y {symbol} x", x, 1.5)
        case(f"x {symbol} y", 2.5, 1.5)
        case(f"x {symbol} np.float32(2)", x)
        case(f"x {symbol} [1, 2, 3]", x)


EXPRESSIONS = {
    "f8[2,3]": """
        x**2; x**0; x**1; x**3; x**4; x**-1; np.abs(x)**0.5; np.abs(x)**1.7; 2.0**x; x**np.float32(2); -x
        +x; abs(x); np.power(x, 2); np.power(x, [1, 2, 3]); np.power(np.abs(x), x); divmod(x, 2.0)
        divmod(3.0, x); round(x[0, 1], 2); x < 1; np.clip(x, -1, 1); np.clip(x, None, 0.5); x.clip(0.0)
        np.clip(x, x - 1, 0); np.where(x > 0, x, 0); np.where(x > 0, 1, 2); np.where(x > 0, x, x[0])
        np.where([True, False, True], x, 1); np.round(x, 2); np.around(x); x.round(1); np.round(x, -1)
        np.isclose(x, x + 1e-9); np.allclose(x, x); np.array_equal(x, x); np.array_equal(x, x[0])
        np.select([x > 1, x < 0], [x, -x], 7); np.nan_to_num(x / 0.0); np.nan_to_num(x, nan=1.0)
        np.polyval([1.0, 2.0, 3.0], x); np.trapezoid(x); np.trapezoid(x, dx=0.5, axis=0)
        np.linspace(x[0], x[1], 5); np.linspace(0, x[0, 0], 4, endpoint=False); np.diff(x)
        np.diff(x, axis=0); np.diff(x, n=2); np.diff(x, prepend=0.0); np.diff(x, append=x); np.real(x)
        np.imag(x); x.real; np.result_type(x, np.float32).name; np.ndim(x); np.shape(x); np.size(x, 1)
        len(x); x.shape; x.ndim; x.size; x.itemsize; x.nbytes; x.dtype.name; np.isscalar(x[0, 0])
        np.iscomplexobj(x); x.T; x.mT; x.copy(); x.flatten(); x.ravel(); x.ravel("F"); x.reshape(3, 2)
        x.reshape((3, -1)); x.reshape(-1); np.reshape(x, (1, 6)); x.reshape(3, 2, order="F")
        np.reshape(x, 6); x.transpose(); x.transpose(1, 0); x.transpose((1, 0)); np.transpose(x, (1, 0))
        x.swapaxes(0, 1); np.moveaxis(x, 0, 1); np.moveaxis(x, -1, 0); np.expand_dims(x, 1)
        np.expand_dims(x, (0, 3)); x[:, None].squeeze(); x[:, None].squeeze(1); np.atleast_1d(x[0, 0])
        np.atleast_2d(x[0]); np.atleast_3d(x); np.atleast_1d(x, 2.0); np.broadcast_to(x, (4, 2, 3))
        np.broadcast_to(x[0], (2, 3)); np.broadcast_arrays(x, x[0]); np.flip(x); np.flip(x, 0)
        np.flipud(x); np.fliplr(x); np.rot90(x); np.rot90(x, 2); np.rot90(x, 3); np.roll(x, 1)
        np.roll(x, -2, 1); np.roll(x, (1, 2), (0, 1)); np.rollaxis(x, 1); x.astype(np.float32)
        x.astype("f4"); x.astype(int); x.astype(bool); x.astype(np.int8); x.astype(float)
        np.zeros_like(x) + x; np.ones_like(x, dtype=np.float32); np.full_like(x, 2) * x
        np.full_like(x, x[0, 0]); np.full((2, 2), x[0, 0]); np.empty_like(x).shape; np.zeros(x.shape) + x
        np.concatenate([x, x]); np.concatenate([x, x[:, :1]], axis=1); np.concatenate([x, [[1, 2, 3]]])
        np.concatenate((x, x), axis=None); np.concatenate([x, x], dtype=np.float32); np.concatenate([x])
        np.stack([x, x]); np.stack([x, x], axis=1); np.stack([x, x], -1); np.stack([x[0, 0], 1.0])
        np.vstack([x, x[0]]); np.hstack([x, x]); np.hstack([x[0], x[1]]); np.dstack([x, x])
        np.column_stack([x[0], x[1]]); np.column_stack([x, x[:, 0]]); np.append(x, x)
        np.append(x, x, axis=0); np.append(x, 1.0); np.c_[x, x[:, 0]]; np.c_[x[0], [1.0, 2, 3]]
        np.r_[x[0], 1.0, x[1]]; np.r_[0:3, x[0]]; np.split(x, 3, axis=1); np.split(x, [1], axis=1)
        np.array_split(x, 2, axis=1); np.vsplit(x, 2); np.hsplit(x, 3); np.split(x, [1, 1, 5], axis=1)
        np.tile(x, 2); np.tile(x, (2, 1)); np.tile(x, (2, 1, 1)); np.tile(x[0], (3, 1)); np.repeat(x, 2)
        np.repeat(x, 2, axis=0); np.repeat(x, [1, 0, 2], axis=1); x.repeat(3, 1); np.pad(x, 1)
        np.pad(x, (1, 2)); np.pad(x, ((1, 0), (0, 2)), constant_values=3.0); np.pad(x, 1, mode="edge")
        np.pad(x, 1, mode="reflect"); np.pad(x, 2, mode="symmetric"); np.pad(x, 2, mode="wrap")
        np.pad(x, ((1, 2), (0, 1)), constant_values=((1, 2), (3, 4)))
        np.pad(x, 1, constant_values=x[0, 0]); np.array([x[0, 0], x[1, 1]])
        np.array([[x[0, 0], 1], [0, x[1, 2]]]); np.array([x, x]); np.array(x)
        np.array(x, dtype=np.float32); np.array([x[0], [1, 2, 3]]); np.asarray(x)
        np.array([1.0, 2.0]) * x[0, 0]; np.array([x[0, 0], 2], dtype="f4"); np.array((x[0, 0], (x[0, 1])))
        np.array(x, ndmin=3); np.asarray([x[0, 0]]); np.array([[[x[0, 0]]]])
        np.array([[x[0, 0], x[0, 1]], x[1, :2]]); np.meshgrid(x[0], x[1])
        np.meshgrid(x[0], [1.0, 2.0], indexing="ij"); np.meshgrid(x[0], x[1], sparse=True); np.diag(x[0])
        np.diag(x); np.diag(x[0], 1); np.diag(x, -1); np.diagonal(x, 1); np.trace(x); x.trace(1)
        x.diagonal(); np.tril(x); np.triu(x, 1); np.tril(x, -1); np.diagflat(x)
        np.take(x, [0, 2], axis=1); np.take(x, 4); np.take(x, [[0, -1]], axis=0); x.take([5, 1])
        np.take(x, [9], mode="clip"); np.take_along_axis(x, np.array([[0], [2]]), axis=1)
        np.take(x, [-4, 9], mode="wrap"); np.logical_and(x > 0, x < 1); (x > 0) & (x < 1); ~(x > 0)
        (x > 0) | (x < -1); (x > 0) ^ (x < 1); (x > 0) + (x < 1); (x > 0) * x; (x > 0) * 2
        (x > 0).astype(int); True + x; x + np.True_; np.add.outer(x[0], x[1]); np.multiply.outer(x, x)
        np.add.reduce(x); np.maximum.reduce(x, axis=1); np.logaddexp.reduce(x); np.hypot.reduce(x, axis=-1)
        np.logaddexp.reduce(x, axis=None); np.fmax.reduce(x, axis=(0, 1)); np.logaddexp.reduce(x[:0])
        np.logaddexp.reduce(x, axis=1, keepdims=True); np.fmin.reduce(x, axis=None, keepdims=True)
        x if isinstance(x, np.ndarray) else 0
        [r for r in x]; sum(x); sum(r.sum() for r in x); max([1, 2]) * x; np.exp([x[0, 0], 1.0])
        np.add(x, [1, 2, 3]); x + (1, 2, 3); np.float64(2) * x; np.float32(2) * x; np.int8(2) * x
        x * np.arange(3); x + np.ones((2, 1)); np.eye(2) @ x; np.arange(30.0).reshape(10, 3) @ x.T
        np.zeros((0, 3)) @ x.T; np.array([1, 2, 3])[1] * x; np.eye(3)[2] + x; np.mean(np.eye(3)) * x
        np.linspace(0, 1, 3) * x; x * np.pi; np.isnan(np.nan) * x
    """,
    "f4[2,3];f4[3]": """
        x @ y; np.dot(x, y); x.dot(y); np.matmul(x, y); y @ x.T; np.inner(x, y); np.inner(y, y)
        np.vdot(y, y); np.outer(y, x); y @ y; np.tensordot(x, y, 1); np.einsum("ij,j", x, y)
        np.einsum("ij,j->ij", x, y); np.einsum("ij->ji", x); np.einsum("ij->", x); np.einsum("ij->j", x)
        np.einsum("i,i", y, y); np.einsum("i,j->ji", y, y); np.einsum("ij,kj->ik", x, x)
        np.einsum("ij,ij->i", x, x); np.einsum("...j,j->...", x, y); np.einsum("ij,jk", x, x.T)
        np.einsum("ij,kj,k->i", x, x, x[:, 0]); np.einsum(x, [0, 1], y, [1], [0])
        np.einsum("ii->i", x[:, :2]); np.einsum("ii", x @ x.T); np.einsum("ij,i->", x, x[:, 0])
        np.einsum("i,j,k->ijk", y, y, y); np.einsum("i,j,k,l->lkji", y, y, x[:, 0], x[:, 1])
        np.einsum("...", x); np.einsum("ba", x); np.kron(x, y); np.kron(x, x); np.cross(x, y)
        np.cross(y, x[0]); np.linalg.multi_dot([x, x.T, x]); np.linalg.matrix_power(x @ x.T, 3)
        np.linalg.outer(y, y); np.linalg.norm(x); np.linalg.norm(y); np.linalg.norm(x, axis=1)
        np.linalg.norm(x, 1, axis=0); np.linalg.norm(x, np.inf, axis=1); np.linalg.norm(y, 3)
        np.linalg.norm(y, 0); np.linalg.norm(x, "fro"); np.linalg.norm(x, 1); np.linalg.norm(x, np.inf)
        np.linalg.norm(x, -1); np.linalg.norm(x, axis=1, keepdims=True); np.linalg.norm(y, -np.inf)
        np.linalg.norm(x, keepdims=True); np.linalg.norm(x, ord=np.inf, keepdims=True); np.average(x)
        np.average(x, axis=1); np.average(x, axis=1, weights=y); np.average(x, weights=x, axis=0)
        np.average(x, axis=1, weights=y, returned=True); np.average(x, axis=1, weights=[1, 2, 3])
        special.softmax(x); special.softmax(x, axis=1); special.log_softmax(x, axis=-1)
        special.logsumexp(x); special.logsumexp(x, axis=1); special.logsumexp(x, axis=0, keepdims=True)
        special.logsumexp(x, b=y); special.logsumexp(x, axis=1, b=[1.0, 0.0, 2.0])
        special.logsumexp(x, axis=1, b=y, return_sign=True); special.expit(x); special.erf(x)
        special.erfc(x); special.xlogy(x, np.abs(y)); special.xlog1py(x, np.abs(y)); special.log_expit(x)
        special.entr(x); special.logit(special.expit(x)); special.rel_entr(x, y); special.kl_div(x, y)
        special.ndtr(x); special.huber(1.0, x); special.expm1(x); special.log1p(x); special.cbrt(x)
        special.exp2(x); special.xlogy(np.zeros(3), y); special.expit(y.sum()); special.expit(2)*y
        np.sum(x * y, where=x > 0); np.mean(x, where=x > 0); np.max(x, where=x > 0, initial=-9.0)
        np.any(x, where=y > 0)
    """,
    "f8[4,2,3];f8[3,5]": """
        x @ y; np.dot(x, y); np.matmul(x, y); np.tensordot(x, y, 1); np.tensordot(x, y, ([2], [0]))
        np.inner(x, y.T); np.einsum("bij,jk->bik", x, y); np.einsum("bij,bij->b", x, x)
        np.einsum("bij,bkj->bik", x, x); x @ x.mT; np.einsum("bij,bij,jk->k", x, x, y)
        np.einsum("...ij,jk->...ik", x, y); np.einsum("bij->ijb", x); y.T @ x.mT; x[:1] @ x.mT
        x @ x[0, 0]; y[:, 0] @ x.mT; np.dot(x, y[:, 0]); np.tensordot(x, x, ([0, 1], [0, 1]))
        np.matmul(x[:, None], y); np.einsum("abc,cd,de->abe", x, y, y.T); np.vecdot(x, x[0]); x.sum()
        x.sum(0); x.sum((0, 2)); x.sum(axis=-1, keepdims=True); np.sum(x, axis=(1, 2), dtype=np.float32)
        np.sum(x, initial=1.0); np.sum(x, axis=()); x.prod(1); np.prod(x, keepdims=True); x.mean()
        x.mean((0, 1)); x.var(0); x.var(ddof=1); x.std(axis=(0, 2), keepdims=True); np.std(x, ddof=1)
        x.max(); x.max(1); x.min((0, 1)); np.amax(x, 0); np.amin(x, -1, keepdims=True); x.argmax()
        x.argmax(1); np.argmin(x, axis=2, keepdims=True); np.argmax(x, keepdims=True); np.ptp(x, 1)
        np.any(x > 2); np.all(x > -2, axis=0); (x > 0).any(1); (x > 0).all(); np.count_nonzero(x > 0)
        np.count_nonzero(x > 0, axis=1); (x > 0).sum(); (x > 0).mean(0); np.nansum(x / x)
        np.nanmean(x, 0); np.nanprod(x); np.max(x, initial=5.0); np.swapaxes(x, 0, 2)
        np.moveaxis(x, (0, 1), (2, 0)); x.T; x.mT; np.linalg.norm(x); np.linalg.norm(x, axis=(1, 2))
        np.linalg.norm(x, 1, axis=(0, 1)); np.mean(x, axis=1, dtype=np.float32)
        np.diagonal(x, axis1=1, axis2=2); np.trace(x, axis1=0, axis2=2); np.tril(x)
        np.average(x, axis=(0, 1)); np.std(x[:1], axis=0); np.sum(x[:0]); np.prod(x[:0], axis=0)
        np.any(x[:0]); x[:0].sum(1)
    """,
    "i8[4,3]": """
        x.sum(); x.mean(); x.var(0); x.prod(0); x.max(1); x / 2; x // 2; x % 2; x + 0.5
        x * np.float32(0.5); x ** 2; x**3; np.exp(x); np.sqrt(np.abs(x)); np.round(x, 1); np.floor(x); -x
        abs(x); x & 1; x | 3; x ^ 1; ~x; x << 2; x >> 1; x.astype(np.uint8) + 1; x.astype(np.int8).sum()
        x.astype(np.float32).mean(); x > 1.5; x == 2; x.argmax(0); np.where(x > 0, x, 0.5)
        np.where(x > 0, x, 1); np.maximum(x, 0.5); np.clip(x, 0, 1); np.clip(x, 0.5, 2)
        x.astype(np.uint8) < 300; x.astype(np.uint8) > -1; x.astype(np.uint8) == 300
        x.astype(np.uint64) > x; x < x.astype(np.uint64); special.expit(x); special.softmax(x)
        special.logsumexp(x); np.linalg.norm(x, axis=1); x @ x.T; np.einsum("ij,kj->ik", x, x); x.std()
        np.average(x); np.isnan(x); np.isfinite(x); x.cumsum if 0 else x; np.concatenate([x, x * 0.5])
        np.array([x[0, 0], 0.5]); np.array([x[0, 0], 1]); np.hypot(x, x); np.arctan2(x, 1)
        np.sum(x, dtype=np.float32); np.abs(x.astype(np.int8)); np.sign(x); np.square(x)
        np.float_power(x, 2); np.full_like(x, 7); np.full_like(x, 2.5, dtype=float) * x
        np.arange(4)[:, None] * x; x.astype(bool).sum(0)
    """,
    "?[4,3]": """
        x.sum(); x.mean(); x.any(0); x.all(); ~x; x & True; x | x; x ^ x; x + x; x * x; x * 2; x * 0.5
        x + 1; x.astype(float); np.logical_not(x); x.argmax(1); x.max(); x.min(0); np.where(x, 1.0, 0.0)
        np.count_nonzero(x); x == True; x < x; x.prod(); x.var(); x @ x.T; abs(x); np.square(x)
        np.maximum(x, False); x.astype(np.int32) - 1; np.power(x, x); np.concatenate([x, x]); x.T; x[::2]
        x / 2; x // True; np.diff(x); np.average(x); x.sum(dtype=np.int8)
    """,
    "f8[3,4,5];i8[2,6]": """
        x[0]; x[-1]; x[0, 1]; x[0, 1, 2]; x[1:]; x[::2]; x[::-1]; x[2:0:-1]; x[:, ::-2]; x[..., 0]
        x[None]; x[:, None, 1]; x[..., None]; x[5:]; x[1:1]; x[()]; x[...]; x[:, 1:3, ::2]; x[-2:, -1]
        x[(0, 1)]; x[np.int64(1)]; x[np.array(1)]; x[[0, 2]]; x[[0, 2], 1]; x[[0, 2], :, 1]
        x[1, :, [0, 2]]; x[:, [0, 2]]; x[:, [0, 2], [1, 3]]; x[[0, 1], :, [0, 1]]; x[:, 1, [0, 1]]
        x[None, [0, 1], :, 2]; x[[0, 1], None, [0, 1]]; x[0, [0, 1], None]; x[..., [0, -1]]
        x[np.array([[0, 1], [2, 2]])]; x[[True, False, True]]; x[:, [True, False, True, False]]
        x[np.eye(3, 4, dtype=bool)]; x[[]]; x[[0, 1], 1:3]; x[np.arange(3), np.arange(3)]
        x[np.ix_([0, 1], [1, 2])]; x[:, np.array([1, 2]), 1:]; x[1:, [[0], [1]], [0, 1, 2]]; x[y]; x[:, y]
        x[..., y]; x[y, y]; x[y, 0]; x[0, y]; x[:, y, y]; x[y, :, y]; x[:, None, y]; x[y[0], 1:, y[0]]
        x[y[0, 0]]; x[:, y[0, 0]]; x[0, y[0, 0], 1]; x[y[0, 0], y[1, 1]]; x[y.astype(np.int32)]
        x[y.astype(np.uint8) % 3]; x[y // 2]; x[[0, 1], y[:, :1]]; x[y, None]; np.take(x, y)
        np.take(x, y, axis=1); np.take(x, y, axis=2, mode="wrap"); x.take(y[0], 0); np.eye(4)[y]
        np.arange(3.0)[y] + 1; np.array([5, 6, 7])[y]; np.take_along_axis(x[:2, 0], y, axis=1)
        [v.shape for v in x]; x[1:][0]; x.T[0]; x.reshape(12, 5)[y]; x[:, 1][:, 2]; x[1][2][3]
        x[slice(1, None)]; x[::-1, ::-1]; x[::3][0]; x[2:100]; x[-100:2]; x[:, -1:0:-2]
    """,
}


def _cases() -> list[Any]:
    return [
        pytest.param(types, text.strip(), id=f"{text.strip()} {types}")
        for types, block in EXPRESSIONS.items()
        for line in block.splitlines()
        for text in line.split(";")
        if text.strip()
    ]


def _argument(text: str, indices: bool) -> Any:
    dtype, _, shape = text.rstrip("]").partition("[")
    if indices:
        return RNG.integers(-3, 3, [int(n) for n in shape.split(",")])
    return array([int(n) for n in shape.split(",")], dtype)


# Not in the table: NumPy's own code for them runs on tracers.
LIBRARY = words(
    """
    np.polyadd(x[0],x[1]) np.polyder(x[0]) np.resize(x,(2,2)) np.angle(x) np.iscomplex(x) np.real_if_close(x)
    np.apply_over_axes(np.sum,x,[0]) np.linalg.vector_norm(x) np.linalg.matrix_norm(x) np.linalg.trace(x)
    np.linalg.cross(x,x) np.logspace(x[0],x[1],3) np.matvec(x,x[0]) np.vecmat(x[:,0],x)
    """
)


@pytest.mark.parametrize("text", LIBRARY)
def test_library(text: str) -> None:
    if hasattr(np, text[3:9]) or not text.startswith(("np.matvec", "np.vecmat")):  # newer than NumPy 2.0
        case(text, array((4, 3)))


@pytest.mark.parametrize("types,text", _cases())
def test_expression(types: str, text: str) -> None:
    case(text, *[_argument(t, i == 1 and t[0] == "i") for i, t in enumerate(types.split(";"))])


@pytest.mark.parametrize(
    "function", ["logsumexp", "softmax", "log_softmax", "xlogy", "entr", "log_expit", "erf", "expit"]
)
def test_special_edges(function: str) -> None:
    x = np.array([[np.inf, 1.0, 800.0], [-np.inf, -np.inf, -np.inf], [1e3, -1e3, 0.0], [np.nan, 0.0, 1.0]])
    if function in ("logsumexp", "softmax", "log_softmax"):
        for row in x:
            case(f"special.{function}(x)", row)
    elif function == "xlogy":
        case("special.xlogy(x, y)", x, x[::-1].copy())
    else:
        case(f"special.{function}(x)", x)


def test_sequences_of_all_kinds_are_arrays() -> None:
    pair = collections.namedtuple("pair", "a b")
    x = np.array([0.5, -1.0, 2.0])
    check(lambda x: np.array(collections.deque(x)) * np.mean(collections.deque([x[0], 1.0])), x)
    check(lambda x: np.stack(collections.deque([x, x], maxlen=2)) + np.array(pair(x[0], 2.0)) @ x[:2], x)
    check(lambda x: np.max(pair(x[0], x[1])) * x[:2] * pair(1, 2), x)


def test_inner_products_of_what_a_mask_selects() -> None:
    x, m = np.arange(12.0).reshape(3, 4) / 7, np.arange(12).reshape(3, 4) % 3 > 0
    check(lambda x, m: np.atleast_1d((e := (x - 1)[m]) @ e + np.dot(e, x[m]) + e.dot(2 * e)), x, m)
    check(lambda x, m: np.atleast_1d(np.inner(x[0][m], x[1][m]) + np.matmul(x[0][m], x[0][m])), x, m[0])
    with pytest.raises(TraceError, match="selects a number of elements"):
        traced(lambda x, m: x[m] @ x[~m], x, m)
    with pytest.raises(TraceError, match="selects a number of elements"):
        traced(lambda x, m: x[m] @ x[m], x, m[:, 0])
