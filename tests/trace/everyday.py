"""A case for every name of NumPy's and SciPy's: an example call with traced arguments.

A line is a name and statements, the last of which is the result. Several lines may have one name. The
operands are those of `OPERANDS`, all of them traced.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy
import scipy.linalg
import scipy.special

RNG = np.random.default_rng(5)

OPERANDS: dict[str, Any] = {
    "x": RNG.uniform(-3, 3, (3, 4)),
    "y": RNG.uniform(-3, 3, (3, 4)),
    "p": RNG.uniform(0.1, 0.9, (3, 4)),
    "q": RNG.uniform(-2, 2, (3, 3)),
    "t": RNG.uniform(-2, 2, (2, 3, 4)),
    "v": RNG.uniform(-3, 3, 5),
    "w": RNG.uniform(0.5, 2, 5),
    "u": RNG.uniform(-2, 2, 3),
    "s": np.float64(0.7),
    "f": 1.3,
    "a": RNG.uniform(-3, 3, (3, 4)).astype("f4"),
    "i": RNG.integers(-9, 9, (3, 4)),
    "j": RNG.integers(0, 3, 5),
    "k": RNG.integers(1, 9, (3, 4)).astype("u1"),
    "b": RNG.random((3, 4)) > 0.4,
    "m": np.array([True, False, True, True, False]),
}
"""Floats x, y[3, 4], p in (0, 1), q[3, 3], t[2, 3, 4], v, w[5] with w positive, u[3]; numbers s and
f, Python's; a is float32, i and j are int64, k is uint8, b and m are bool."""

GENERIC = [
    *("x", "p", "q", "u", "v", "s", "q @ q.T + 4 * np.eye(3)", "j"),
    *("q, u", "q, q", "p, p + 1", "2, p", "p, 2", "u, u", "x, y", "j, v", "s, u", "u, 2", "[q, q]"),
    *("p, p + 1, p + 2", "0.3, p, p + 1", "p, p + 1, 0.3", "2, 1, p", "u, u, u", "u, u, q", "x, j[:2], 0"),
    *("u, u, u, t[:, :3, :3]", "u, u, u, u", "s, s, [1, 2]", "u, [1, 2]", "u, u, [1, 2]", "2, 0.5, p, p"),
    *("u, u, u, [1, 2, 3]", "p + 1, p + 2, p + 3, 0.3", "q, 2", "np.ones((6, 2, 3)), 2", "x, (2, 2)"),
]
"""Arguments, some of which every function takes that has no case of its own."""

ELEMENTWISE = """
absolute abs fabs negative positive sign square sin cos tan arctan atan sinh cosh tanh arcsinh asinh exp exp2
expm1 cbrt reciprocal floor ceil rint trunc fix isfinite isinf isnan signbit conjugate conj deg2rad rad2deg
degrees radians sinc logical_not isneginf isposinf nan_to_num spacing real imag angle iscomplex isreal
real_if_close
"""
IN_UNIT = "sqrt log log2 log10 log1p arcsin asin arccos acos arctanh atanh"
BINARY = """
add subtract multiply divide true_divide floor_divide remainder mod fmod maximum minimum fmax fmin arctan2
atan2 hypot logaddexp logaddexp2 copysign heaviside less less_equal greater greater_equal equal not_equal
logical_and logical_or logical_xor nextafter isclose
"""
INTEGER = """
bitwise_and bitwise_or bitwise_xor gcd lcm left_shift right_shift bitwise_left_shift bitwise_right_shift
"""

NUMPY = """
power np.power(p, y)
power np.power(x, 2)
power np.power(i, 3)
pow np.pow(p, y)
float_power np.float_power(p, y)
float_power np.float_power(i, 2)
arccosh np.arccosh(p + 1)
acosh np.acosh(p + 1)
invert np.invert(i)
invert ~b
bitwise_not np.bitwise_not(i)
bitwise_invert np.bitwise_invert(i)
bitwise_count np.bitwise_count(i)
bitwise_count np.bitwise_count(k)
gcd np.gcd.reduce(i, axis=1)
lcm np.lcm(k, k + np.uint8(1))
divmod np.divmod(x, p)
divmod divmod(i, 4)
divmod z = np.zeros((3, 4)); r = np.zeros((3, 4)); np.divmod(x, p, z, r); (z, r)
divmod z = np.zeros((3, 4)); r = np.zeros((3, 4)); np.divmod(x, p, out=(z, r)); (z, r)
divmod z = np.zeros((3, 4)); h, r = np.divmod(x, p, out=(z, None)); (z, h, r)
modf np.modf(x)
modf np.modf(a)
modf np.modf(np.array([np.inf, -np.inf, np.nan, -0.0, -0.5, 2.0]) * s)
modf z = np.zeros((3, 4)); r = np.zeros((3, 4)); np.modf(x, z, r); (z, r)
frexp np.frexp(x)
frexp np.frexp(a)
frexp np.frexp(np.array([np.inf, -np.inf, np.nan, -0.0, 0.5, 1.0, 5e-324, 1e308, 2.2e-308]) * np.sign(s))
ldexp np.ldexp(x, j[:4])
ldexp np.ldexp(a, -j[:4])
ldexp np.ldexp(x, 3)
ldexp np.ldexp(x, np.array([-1100, -1060, 1000, 2000]))
nextafter z = np.array([0.0, -0.0, 1, np.inf, np.nan, 5e-324, 1]) * np.sign(s); np.nextafter(z, -z + 1)
nextafter np.nextafter(a, a + np.float32(1))
spacing np.spacing(np.array([0.0, -0.0, 1.0, -1.0, 5e-324, 1e300, np.inf, np.nan]) * np.sign(s))
spacing np.spacing(a)
where np.where(b, x, y)
where np.where(x > 0, 1.0, y)
where np.where(np.array([True, False, True]))
select np.select([x > 1, x < 0], [x, -y], 7.0)
select np.select([b, x > 0], [x, 2 * x])
select np.select([b], [i])
select np.select([np.array([True, False, True, False]), x > 0], [x, y], default=s)
piecewise np.piecewise(x, [x < 0, x >= 1], [lambda z: -z, lambda z: z**2, 0.5])
piecewise np.piecewise(x, [x < 0, x >= 1], [-1, 1])
piecewise np.piecewise(v, v < 0, [lambda z: z - 1, lambda z: z * 3])
piecewise np.piecewise(v, [m], [lambda z, k: z * k, 2.0], 3.0)
piecewise np.piecewise(i, [i > 2], [lambda z: z // 2])
piecewise np.piecewise(s, [s > 0, s <= 0], [lambda z: z * 2, 1.0])
piecewise np.piecewise(x, [np.arange(12).reshape(3, 4) > 5], [np.sin])
choose np.choose(j, [v, w, v * w])
choose np.choose(np.array([0, 1, 2, 1, 0]), [v, w, 2.0])
choose np.choose(j + 1, [v, w, v * w], mode="clip")
choose np.choose(j - 4, [v, w, v * w], mode="wrap")
choose np.choose(j, np.stack([v, w, v * w]))
choose np.choose(j[0], [v, w, v * w])
choose np.choose(b, [x, y])
clip np.clip(x, -1, 1)
clip np.clip(x, None, p)
clip np.clip(x, min=-1)
clip np.clip(i, 0, 4)
clip np.clip(k, -1, 300)
clip np.clip(v, w, w + 1)
insert np.insert(x, 1, 5.0, axis=1)
insert np.insert(v, [1, 3], [s, 2.0])
insert np.insert(v, 2, [s, 2.0])
insert np.insert(v, -1, s)
insert np.insert(x, 1, x[:, 0], axis=1)
insert np.insert(x, [0, 2], [[1.0], [2.0]], axis=0)
insert np.insert(x, [1], x[:, :2], axis=1)
insert np.insert(x, slice(0, 3), s, axis=0)
insert np.insert(x, 3, [1, 2])
insert np.insert(v, np.array([True, False, True, False, False]), w[:2])
insert np.insert(i, 1, 2.7)
insert np.insert(v, [2, 2, 0], [1.0, 2.0, 3.0])
delete np.delete(x, 1, axis=0)
delete np.delete(x, [0, -1], axis=1)
delete np.delete(x, slice(None, None, 2), 1)
delete np.delete(v, [1, 1])
delete np.delete(x, 5)
delete np.delete(v, np.array([True, False, True, False, False]))
delete np.delete(v, [])
append np.append(v, s)
append np.append(x, y, axis=0)
append np.append(x, [1, 2])
block np.block([[x, y], [y, x]])
block np.block([v, 1.0, w])
block np.block([[x, np.zeros((3, 1))], [np.ones((1, 5))]])
block np.block([s, f])
block np.block(x)
lexsort np.lexsort((v, j))
lexsort np.lexsort((j, v))
lexsort np.lexsort(x)
lexsort np.lexsort((x, i), axis=0)
isin np.isin(i, [1, 2, 3])
isin np.isin(j, i)
isin np.isin([1.0, 2.0], x, invert=True)
isin np.isin(x, y)
bincount np.bincount(np.array([0, 1, 1, 3, 0]), v)
bincount np.bincount(np.array([0, 1, 1, 3, 0]), weights=v, minlength=6)
bincount np.bincount([0, 2, 1, 2, 0], j)
histogram np.histogram(x, [-3.0, -1.0, 0.0, 3.0])
histogram np.histogram(x, bins=5, range=(-2, 2))
histogram np.histogram(v, bins=4, range=(-3, 3), weights=w)
histogram np.histogram(v, bins=[-3, 0, 1, 3], density=True)
histogram np.histogram(v, bins=[-3, 0, 1, 3], weights=w, density=True)
histogram np.histogram(i, bins=[-9, 0, 3, 9])
histogram np.histogram(np.array([0.0, 1.0, 2.0, 3.0, 3.5]) * np.sign(s), bins=3, range=(0.0, 3.0))
histogram np.histogram(a, bins=7, range=(-2, 2))
histogram2d np.histogram2d(v, w, bins=[[-3.0, 0.0, 3.0], [0.5, 1.0, 2.0]])[0]
histogramdd np.histogramdd((v, w), bins=([-3.0, 0.0, 3.0], [0.5, 1.0, 2.0]))[0]
histogram_bin_edges np.histogram_bin_edges(x, 4)
histogram_bin_edges np.histogram_bin_edges(x, bins=5, range=(-1, 1)) * s
histogram_bin_edges np.histogram_bin_edges(x, [1, 2, 3]) * s
digitize np.digitize(x, [-1.0, 0.0, 1.0])
digitize np.digitize(x, [1.0, 0.0, -1.0], right=True)
digitize np.digitize(i, [1.0, 0.0, -1.0], right=True)
digitize np.digitize(i, [1, 0, -1])
searchsorted np.searchsorted(np.sort(v), x)
cross np.cross(u, q)
cross np.cross(q, q.T, axisa=0, axisb=1, axisc=0)
cross np.cross(u[:2], q[:, :2])
cross np.cross(q[:, :2], q)
cross np.cross(q, u[:2])
cross np.cross(q, q.T, axis=0)
diff np.diff(x, n=2, axis=0)
diff np.diff(v, prepend=s, append=[1.0, 2.0])
diff np.diff(x, prepend=0.0, axis=0)
diff np.diff(b)
diff np.diff(x, append=y)
ediff1d np.ediff1d(v, to_end=s, to_begin=[1.0])
trapezoid np.trapezoid(x, np.sort(v)[:4])
trapezoid np.trapezoid(x, dx=0.5, axis=0)
trapezoid np.trapezoid(x, np.cumsum(p, 1), axis=1)
trapezoid np.trapezoid(x, np.cumsum(p, 0), axis=0)
trapezoid np.trapezoid(v, w)
trapezoid np.trapezoid(i)
quantile np.quantile(x, 0.3)
quantile np.quantile(v, 0.3, weights=w, method="inverted_cdf")
quantile np.quantile(x, [0.2, 0.8], axis=1, weights=np.array([1.0, 2.0, 0.0, 3.0]), method="inverted_cdf")
quantile np.quantile(x, 0.5, axis=0, weights=p, method="inverted_cdf")
quantile np.quantile(x, 0.5, weights=p, method="inverted_cdf", keepdims=True)
quantile np.quantile(x, p[0, 0])
quantile np.quantile(v, p[0], method="hazen")
quantile np.quantile(v, p[0], method="lower")
quantile np.quantile(v, p[0], method="higher")
quantile np.quantile(v, p[0], method="nearest")
quantile np.quantile(v, p[0], method="midpoint")
quantile np.quantile(v, p[0], method="weibull")
quantile np.quantile(v, p[0], method="median_unbiased")
quantile np.quantile(v, p[0], method="normal_unbiased")
quantile np.quantile(v, p[0], method="interpolated_inverted_cdf")
quantile np.quantile(v, p[0], method="inverted_cdf")
quantile np.quantile(v, p[0], method="averaged_inverted_cdf")
quantile np.quantile(v, p[0], method="closest_observation")
quantile np.quantile(v, 0.3, method="normal_unbiased")
quantile np.quantile(v, 0.3, method="interpolated_inverted_cdf")
percentile np.percentile(x, [10, 50], axis=0)
percentile np.percentile(v, 30, weights=w, method="inverted_cdf")
nanquantile np.nanquantile(x, 0.4, axis=1)
nanquantile np.nanquantile(x, 0.4, axis=1, method="lower")
nanquantile np.nanquantile(x, p[0, 0])
nanquantile np.nanquantile(a, p[0, 0])
nanquantile np.nanquantile(i, 0.4, axis=1, method="lower")
nanpercentile np.nanpercentile(a, [10, 50], axis=1)
nanmedian np.nanmedian(np.where(b, x / 0, np.nan), axis=0)
nanpercentile np.nanpercentile(x, [10, 50], axis=1)
nanmedian np.nanmedian(np.where(b, x, np.nan), axis=0)
median np.median(x, axis=(0, 1), keepdims=True)
average np.average(x, axis=1, weights=w[:4], returned=True)
average np.average(x, returned=True)
average np.average(x, weights=p)
average np.average(t, axis=(0, 2), weights=t[:, 0] ** 2)
average np.average(i, axis=0, returned=True)
ptp np.ptp(x)
ptp np.ptp(x, axis=1, keepdims=True)
ptp np.ptp(i, axis=(0, 1))
sum np.sum(x, axis=(0, 1), keepdims=True)
sum np.sum(x, axis=1, initial=s, where=b)
sum z = np.zeros(4); np.sum(x, axis=0, out=z); z
sum np.sum(b)
sum np.sum(a, axis=1, initial=s, where=b)
sum z = np.zeros(4); np.sum(a, axis=0, out=z); z
sum z = np.zeros(4, "f4"); np.sum(x, axis=0, out=z); z
sum np.sum(a, dtype=np.float64)
sum np.sum([x, y])
prod np.prod(x, axis=0)
prod np.prod(x, where=b, axis=1)
mean np.mean(x, axis=0)
mean np.mean(x, 0, None, np.zeros(4))
var np.var(x, axis=1, ddof=1)
var np.var(x, axis=1, where=b)
var np.var(x, axis=1, correction=1, mean=np.mean(x, axis=1, keepdims=True))
std np.std(x, axis=1, where=b, keepdims=True)
std np.std(x)
max np.max(x, axis=1)
max np.max(i, initial=1.0)
max np.max(x[:0], axis=0, initial=0.5)
max np.max(x, axis=(0, 1), initial=1.0, where=b)
amax np.amax(x)
min np.min(x, axis=0)
amin np.amin(x)
any np.any(x > 2, axis=1)
any np.any(b, where=x > 0)
all np.all(b, axis=0, keepdims=True)
count_nonzero np.count_nonzero(b, axis=1)
argmax np.argmax(x, axis=1)
argmin np.argmin(x)
nansum np.nansum(x, axis=0)
nanprod np.nanprod(x, axis=0)
nanmean np.nanmean(np.where(b, x, np.nan), axis=0)
nanvar np.nanvar(x, axis=0)
nanstd np.nanstd(x, axis=0)
nanmax np.nanmax(np.where(b, x, np.nan), axis=0)
nanmin np.nanmin(x)
nanargmax np.nanargmax(x, axis=1)
nanargmin np.nanargmin(x)
nancumsum np.nancumsum(x, axis=1)
nancumprod np.nancumprod(x, axis=1)
cumsum np.cumsum(x, axis=0)
cumprod np.cumprod(x, axis=1)
cumulative_sum np.cumulative_sum(v)
cumulative_sum np.cumulative_sum(x, axis=1, include_initial=True)
cumulative_prod np.cumulative_prod(x, axis=0, include_initial=True)
unique np.unique(np.array([3, 1, 1])) * s
unique_all np.unique_all(np.array([3, 1, 1]))[0] * s
unique_counts np.unique_counts(np.array([3, 1, 1]))[1] * s
unique_inverse np.unique_inverse(np.array([3, 1, 1]))[1] * s
unique_values np.unique_values(np.array([3, 1, 1])) * s
union1d np.union1d([1, 2], [2, 3]) * s
intersect1d np.intersect1d([1, 2], [2, 3]) * s
setdiff1d np.setdiff1d([1, 2], [2, 3]) * s
setxor1d np.setxor1d([1, 2], [2, 3]) * s
nonzero x[np.nonzero(np.eye(3, 4))]
argwhere np.argwhere(np.eye(3, 4)) * s
flatnonzero np.flatnonzero([0, 1, 1]) * s
extract np.extract([True, False, True, False, True], v)
extract np.extract(np.eye(3, 4, dtype=bool), x)
compress np.compress([True, False, True], x, axis=0)
compress np.compress([False, True], x)
compress np.compress([False, True, True], x, axis=1)
trim_zeros np.trim_zeros(np.array([0.0, 1.0, 0.0])) * s
putmask z = x.copy(); np.putmask(z, b, y); z
putmask z = x.copy(); np.putmask(z, x > 0, [1.0, 2.0, 3.0]); z
putmask z = np.zeros((3, 4)); np.putmask(z, b, s); z
putmask z = x.T.copy(); np.putmask(z, b, y); z
put z = x.copy(); np.put(z, [0, 5, -1], v[:3]); z
put z = x.copy(); np.put(z, [0, 5, 20], v[:2], mode="clip"); z
put z = x.copy(); np.put(z, [0, 5, -20], s, mode="wrap"); z
put z = x.copy(); np.put(z, j, v); z
put_along_axis z = x.copy(); np.put_along_axis(z, np.argmax(x, 1, keepdims=True), s, 1); z
put_along_axis z = x.copy(); np.put_along_axis(z, np.array([[0, 1, 2, 0]]), y[:1], axis=0); z
put_along_axis z = v.copy(); np.put_along_axis(z, np.array([1, 2]), w[:2], None); z
take_along_axis np.take_along_axis(x, np.argsort(x, 1), 1)
place z = x.copy(); np.place(z, np.eye(3, 4, dtype=bool), v); z
place z = x.copy(); np.place(z, np.eye(3, 4, dtype=bool), v[:2]); z
place z = x.copy(); np.place(z, x > 0, v); z
place z = i.copy(); np.place(z, b, [7, 8]); z
copyto z = np.zeros((3, 4)); np.copyto(z, x, where=b); z
copyto z = np.zeros((3, 4)); np.copyto(z, v[:4]); z
copyto z = np.zeros((3, 4), "f4"); np.copyto(z, x); z
fill_diagonal z = q.copy(); np.fill_diagonal(z, s); z
fill_diagonal z = x.copy(); np.fill_diagonal(z, u); z
fill_diagonal z = x.T.copy(); np.fill_diagonal(z, [1.0, 2.0]); z
fill_diagonal z = np.tile(u, (5, 1)); np.fill_diagonal(z, s, wrap=True); z
fill_diagonal z = np.zeros((3, 3, 3)) + u; np.fill_diagonal(z, s); z
tri np.tri(3, 4) * x
tri np.tri(3, 4, -1, dtype=bool) & b
tril np.tril(x, 1)
tril np.tril(u)
triu np.triu(t, -1)
tril_indices q[np.tril_indices(3)]
triu_indices q[np.triu_indices(3, 1)]
tril_indices_from q[np.tril_indices_from(q, -1)]
triu_indices_from q[np.triu_indices_from(q)]
diag_indices q[np.diag_indices(3)]
diag_indices_from q[np.diag_indices_from(q)]
mask_indices q[np.mask_indices(3, np.triu)]
vander np.vander(u)
vander np.vander(i[0], 3, increasing=True)
kron np.kron(x, u)
kron np.kron(q, x)
meshgrid np.meshgrid(u, v)
meshgrid np.meshgrid(u, v, s, indexing="ij", sparse=True)
ix_ x[np.ix_([0, 2], [1, 3])]
ix_ x[np.ix_(j[:2], [1, 3])]
ix_ x[np.ix_([True, False, True], [1, 3])]
indices np.indices((3, 4)) * x
indices np.indices((3, 4), sparse=True)[0] * x
unravel_index x[np.unravel_index([1, 5], (3, 4))]
unravel_index np.unravel_index(j, (2, 3))
unravel_index np.unravel_index(5, (2, 3))[0] * s
unravel_index np.unravel_index(np.argmax(x), x.shape)
unravel_index np.unravel_index(j, (2, 3), order="F")
ravel_multi_index np.ravel_multi_index((j, j), (3, 4))
ravel_multi_index np.ravel_multi_index((np.array([1, 2]), np.array([0, 3])), (3, 4)) * s
ravel_multi_index np.ravel_multi_index((j, j + 2), (3, 4), mode="wrap", order="F")
ravel_multi_index np.ravel_multi_index((j, j + 2), (3, 4), mode=("raise", "clip"))
broadcast_arrays np.broadcast_arrays(x, u[:, None], s)
broadcast_to np.broadcast_to(u[:, None], (2, 3, 4))
broadcast_shapes np.zeros(np.broadcast_shapes(x.shape, (4,))) + x
apply_along_axis np.apply_along_axis(lambda z: z.sum() * z, 1, x)
apply_along_axis np.apply_along_axis(np.sort, 0, x)
apply_along_axis np.apply_along_axis(lambda z: z.max(), 0, t)
apply_along_axis np.apply_along_axis(lambda z: z @ q, 1, t)
apply_along_axis np.apply_along_axis(lambda z, k: [z[0], k * z[-1]], 0, x, 3.0)
apply_over_axes np.apply_over_axes(np.sum, t, [0, 2])
frompyfunc np.frompyfunc(lambda z: z + 1, 1, 1)(np.arange(3)).astype(float) * s
gradient np.gradient(x, axis=1)
interp np.interp(x, [0.0, 1.0, 2.0], u)
convolve np.convolve(v, u)
convolve np.convolve(v, u, mode="same")
correlate np.correlate(v, u, "full")
unwrap np.unwrap(x * 3)
unwrap np.unwrap(i, period=6)
unwrap np.unwrap(x, discont=4.0, axis=0)
cov np.cov(x)
corrcoef np.corrcoef(x)
isclose np.isclose(x, x + 1e-9 * y, equal_nan=True)
allclose np.allclose(x, y, atol=p[0, 0])
array_equal np.array_equal(x, y)
array_equiv np.array_equiv(x, x[0])
array_equiv np.array_equiv(x * 0, s * 0)
poly np.poly(u)
poly1d np.poly1d([1.0, 2.0])(s)
polyval np.polyval(u, x)
polyval np.polyval([1, 2, 3], x)
polyval np.polyval(i[0], s)
polyfit np.polyfit(v, w, 2)
polyfit np.polyfit(v, w, 1, w=w)
polyfit np.polyfit(v, np.stack([w, v * w], 1), 2)
polyfit np.polyfit(v, w, 2, cov=True)
polyfit np.polyfit(v, w, 1, cov="unscaled", w=w)
polyfit np.polyfit(v, w, 1, full=True)
polyder np.polyder(v, 2)
polyint np.polyint(v)
polyint np.polyint(v, 2, k=[s, 1.0])
polymul np.polymul([1, 2], [3, 4]) * s
polyadd np.polyadd(u, v)
polysub np.polysub(v, [1, 2])
polydiv np.polydiv([1.0, 2, 3], [3, 4])[0] * s
dot np.dot(q, x)
dot np.dot(2.0, x)
dot np.dot(2.0, a)
dot z = np.zeros((3, 3)); np.dot(x, y.T, out=z); z
dot z = np.zeros((3, 3)); np.dot(x, y.T, z); z
inner np.inner(x, y)
inner np.inner(s, x)
vdot np.vdot(x, y)
outer np.outer(u, v)
matmul np.matmul(x, y.T)
matmul np.matmul(x, y.T, dtype=np.float32, casting="same_kind")
matmul z = np.zeros((3, 3)); np.matmul(x, y.T, out=z); z
matmul z = np.zeros((3, 3)); np.matmul(x, y.T, z); z
matmul np.matmul(t, t, axes=[(-2, -1), (-1, -2), (-2, -1)])
vecdot np.vecdot(x, y)
vecdot np.vecdot(x, y, axis=0)
vecdot np.vecdot(t, x, keepdims=True)
vecdot z = np.zeros(3); np.vecdot(x, y, out=z); z
matvec np.matvec(x, v[:4])
matvec np.matvec(t, x[0])
vecmat np.vecmat(u, x)
vecmat np.vecmat(q, t[0])
tensordot np.tensordot(t, x, axes=([1, 2], [0, 1]))
tensordot np.tensordot(q, x, 1)
tensordot np.tensordot(u, v, 0)
tensordot np.tensordot(t, x, axes=(1, 0))
tensordot np.tensordot(t, x, axes=((-1,), (-1,)))
einsum np.einsum("ij,jk", q, x)
einsum np.einsum("...ij,...j->...i", t, x[0])
einsum np.einsum("ii->i", q)
einsum np.einsum("ii", q)
einsum np.einsum(q, [0, 1], x, [1, 2])
einsum np.einsum(t, [Ellipsis, 0, 1], x, [0, 1], [Ellipsis])
einsum np.einsum("i...->...", x)
einsum np.einsum("ij,ij,j->", x, y, v[:4], optimize=True)
einsum np.einsum("ij,jk", q, x, optimize="optimal")
einsum np.einsum("ij,jk", q, x, optimize=["einsum_path", (0, 1)])
einsum z = np.zeros((3, 4)); np.einsum("ij,jk", q, x, out=z); z
einsum np.einsum("ij->ji", i)
einsum np.einsum("...", x)
einsum np.einsum(" i j , j k -> i k ", q, x)
einsum np.einsum("ij,kl->", q, x)
einsum np.einsum("ij,kj->ik", a, x, dtype=np.float32, casting="unsafe")
einsum_path np.einsum(x, [0, 1], y, [0, 1], optimize=np.einsum_path("ij,ij->", x, y)[0])
array_split np.array_split(v, 2)
array_split np.array_split(x, [1, 3], axis=1)
split np.split(x, 2, axis=1)
hsplit np.hsplit(x, [1])
vsplit np.vsplit(x, 3)
dsplit np.dsplit(t, 2)
unstack np.unstack(x, axis=1)
unstack c, d, e = np.unstack(x); c * d + e
concat np.concat([x, y], axis=1)
concatenate np.concatenate([x, y])
concatenate np.concatenate([x, y], axis=None)
concatenate z = np.zeros((6, 4)); np.concatenate([x, y], out=z); z
concatenate np.concatenate([x, i], dtype=np.float32, casting="same_kind")
concatenate np.concatenate(x)
stack np.stack([x, y], -1)
stack np.stack(x)
vstack np.vstack([u, q])
row_stack np.row_stack([u, q])
hstack np.hstack([u, v, s])
dstack np.dstack([x, y])
column_stack np.column_stack([u, q])
permute_dims np.permute_dims(t, (2, 0, 1))
matrix_transpose np.matrix_transpose(t)
astype np.astype(x, np.float32)
astype np.astype(i, float)
asarray np.asarray(x)
asarray np.asarray([s, 1.0, f])
asarray np.asarray(x, dtype="f4")
asarray np.asarray(x, np.float32, "C")
asarray np.asarray(x, copy=True)
asarray_chkfinite np.asarray_chkfinite([1.0, 2.0]) * s
array np.array([[s, 1], [x[0, 0], f]])
array np.array(x, copy=True, ndmin=3)
array np.array([x, y], dtype=np.float32)
array np.array((u, [1, 2, 3]))
array np.array([])
array np.array([i[0, 0], s])
array np.array(np.float32(2)) * s
ascontiguousarray np.ascontiguousarray(x.T)
ascontiguousarray np.ascontiguousarray(s)
asfortranarray np.asfortranarray(x)
asanyarray np.asanyarray(x)
require np.require(x, np.float64, ["C", "W"])
require np.require(x, "f4")
copy np.copy(x)
fromiter np.fromiter([1.0, 2.0], float) * s
fromiter np.fromiter((z * 2 for z in v), float)
fromiter np.fromiter([s, f], dtype=np.float32, count=2)
fromfunction np.fromfunction(lambda c, d: c + d, (3, 4)) * x
fromfunction np.fromfunction(lambda c, d: c * s + d, (3, 4))
full np.full((2, 3), s)
full np.full(3, u)
full np.full((2,), s, dtype=np.float32)
full_like np.full_like(x, s)
full_like np.full_like(i, 2.5)
full_like np.full_like(x, u[:, None], dtype=np.float32)
full_like np.full_like(x, 7, shape=(2,))
zeros_like np.zeros_like(x) + s
ones_like np.ones_like(a) * x
empty_like z = np.empty_like(x); z[:] = y; z
zeros np.zeros(3) + s
zeros np.zeros_like(x, shape=(2, 2), dtype=int) + s
ones np.ones((3, 1)) + x
empty z = np.empty((3, 4)); z[...] = x; z
eye np.eye(3, k=1) @ q
identity np.identity(3) + q
arange np.arange(4) * x
arange np.arange(0, 2, 0.5) * x
arange np.arange(len(x))[:, None] * x
linspace np.linspace(s, u, 5)
linspace np.linspace(0.0, s, 4, endpoint=False)
linspace np.linspace(0.0, s, 4, retstep=True)
linspace np.linspace(u, 1.0, 4, axis=-1)
linspace np.linspace(s, 1.0, 1)
linspace np.linspace(s, 9.0, 5, dtype=int)
linspace np.linspace(a[0, 0], a[0, 1], 3)
linspace np.linspace(s, 1.0, 0)
linspace np.linspace(s, s, 3)
logspace np.logspace(s, 1.0, 5)
logspace np.logspace(0.0, u, 5, base=2.0)
logspace np.logspace(0.0, 1.0, 3, base=w[0])
geomspace np.geomspace(w[0], 10.0, 5)
geomspace np.geomspace(1.0, w, 3, endpoint=False)
roll np.roll(x, (1, 2), axis=(0, 1))
roll np.roll(x, 3)
roll np.roll(x, (1, 1), axis=0)
roll np.roll(x, -7, 1)
roll np.roll(v, j[0])
rollaxis np.rollaxis(t, 2)
rollaxis np.rollaxis(t, 0, 3)
moveaxis np.moveaxis(t, (0, 1), (-1, 0))
swapaxes np.swapaxes(t, 0, -1)
transpose np.transpose(t, (1, 0, 2))
reshape np.reshape(x, (2, -1))
reshape np.reshape(x, (4, 3), order="F")
reshape np.reshape(x, shape=(4, 3), copy=True)
ravel np.ravel(x, "F")
squeeze np.squeeze(x[None], 0)
expand_dims np.expand_dims(x, (0, -1))
atleast_1d np.atleast_1d(s, x)
atleast_2d np.atleast_2d(u)
atleast_3d np.atleast_3d(x)
flip np.flip(x, (0, 1))
fliplr np.fliplr(x)
flipud np.flipud(x)
rot90 np.rot90(t, 3, (1, 2))
rot90 np.rot90(x, -1)
resize np.resize(x, (2, 3))
resize np.resize(v, 12)
resize np.resize(x, (5, 5))
tile np.tile(x, (2, 1, 2))
repeat np.repeat(x, [1, 0, 2], axis=0)
repeat np.repeat(x, 2)
pad np.pad(x, ((1, 2), (0, 1)))
pad np.pad(x, 2, constant_values=s)
pad np.pad(x, 2, mode="edge")
pad np.pad(x, 2, mode="reflect")
pad np.pad(x, ((2, 4), (1, 5)), mode="reflect", reflect_type="odd")
pad np.pad(x, 2, mode="symmetric")
pad np.pad(x, (2, 5), mode="symmetric", reflect_type="odd")
pad np.pad(x, 2, mode="wrap")
pad np.pad(x, (3, 2), mode="linear_ramp", end_values=(1.0, -2.0))
pad np.pad(x, (3, 2), mode="linear_ramp", end_values=s)
pad np.pad(x, 2, mode="mean")
pad np.pad(x, (1, 2), mode="mean", stat_length=2)
pad np.pad(x, (1, 2), mode="maximum", stat_length=((1, 2), (3, 2)))
pad np.pad(x, (1, 2), "minimum")
pad np.pad(x, (1, 2), "median")
pad np.pad(x, (1, 2), "median", stat_length=3)
pad np.pad(i, 1, "mean")
pad np.pad(i, 1, "linear_ramp")
pad np.pad(x, {0: 1, -1: (0, 2)})
take np.take(x, [0, -1], axis=1)
take np.take(x, j, axis=1, mode="wrap")
take np.take(x, j * 9, mode="clip")
take np.take(x, 2)
take z = np.zeros((3, 2)); np.take(x, [0, 1], 1, out=z); z
sort np.sort(x, axis=0)
sort np.sort(i, stable=True)
argsort np.argsort(x, axis=None)
partition np.partition(x, 2)[:, 2]
argpartition np.argpartition(v, 2)[2]
sort_complex x + len(np.sort_complex([2.0, 1.0]))
round np.round(x, 2)
round np.round(i, 1)
round np.round(i, -1)
round np.round(x, -1)
round np.round(a, 2)
around np.around(x, 1)
diag np.diag(u, 1)
diag np.diag(x)
diagflat np.diagflat(q)
diagonal np.diagonal(t, 1, 1, 2)
trace np.trace(x)
trace np.trace(t, 1, 1, 2, dtype=np.float32)
shape x * np.shape(x)[0]
ndim x * np.ndim(x)
size x * np.size(x, 1)
isscalar x if np.isscalar(s) else y
iscomplexobj y if np.iscomplexobj(x) else x
isrealobj x if np.isrealobj(x) else y
isfortran y if np.isfortran(np.ones((2, 2))) else x
result_type x.astype(np.result_type(x, np.float32))
promote_types x.astype(np.promote_types("f4", "i2"))
can_cast x if np.can_cast(x.dtype, "f8") else y
mintypecode x.astype(np.mintypecode(["f", "d"]))
typename x if np.typename("f") else y
common_type x.astype(np.common_type(x, x))
min_scalar_type np.ones(2, np.min_scalar_type(3)) * x[:, :2]
issubdtype x if np.issubdtype(x.dtype, np.floating) else y
isdtype x if np.isdtype(x.dtype, "real floating") else y
iterable x if np.iterable(x) else y
may_share_memory x if np.may_share_memory(np.zeros(2), np.ones(2)) else y
shares_memory x if np.shares_memory(np.zeros(2), np.ones(2)) else y
bartlett np.bartlett(4) * x
blackman np.blackman(4) * x
hamming np.hamming(4) * x
hanning np.hanning(4) * x
kaiser np.kaiser(4, 2.0) * x
i0 np.i0(np.array([1.0])) * s
"""

NDARRAY = """
T x.T
mT t.mT
all b.all(axis=1)
any b.any()
argmax x.argmax(1)
argmin x.argmin(axis=0, keepdims=True)
argpartition v.argpartition(2)[2]
argsort x.argsort(0)
astype x.astype(np.float32, copy=False)
astype x.astype("i4")
astype z = x.astype(float); z[0] = 0; z + x
choose j.choose([v, w, v * w])
choose j.choose([v, w, v * w], mode="wrap")
clip x.clip(-1, 1)
clip x.clip(max=0.5)
compress x.compress([True, False, True], axis=0)
conj x.conj()
conj b.conj()
conjugate x.conjugate()
copy x.copy()
cumprod x.cumprod(0)
cumsum x.cumsum(1)
diagonal x.diagonal(1)
device x if x.device == "cpu" else y
dot x.dot(v[:4])
dtype x.astype(a.dtype)
fill z = np.zeros(3); z.fill(s); z
flags x if np.ones(3).flags.c_contiguous else y
flat [e * 2 for e in u.flat]
flat x.flat[5]
flat x.T.flat[2:5]
flat x.flat[[0, 5]]
flat z = x.copy(); z.flat[3] = s; z
flat z = x.copy(); z.flat[::2] = v[0]; z
flat z = x.T.copy(); z.flat[[1, 2]] = v[:2]; z
flat z = np.zeros((2, 3)); z.flat[:] = s; z
flat z = np.zeros((2, 3)); z.flat = u; z
flat z = x.copy(); z.flat[x.ravel() > 0] = 0.0; z
flat len(x.flat) * x
flat np.array(list(x.flat))
flat x.flat.copy()
flatten x.flatten("F")
imag x.imag
item u.item(1) * x
item s.item() * x
item x.item(1, 2) + f
item x.item((1, 2))
itemsize x * x.itemsize
max x.max(axis=(0, 1))
mean x.mean(axis=1, dtype=np.float32)
min x.min(where=b, initial=0.0)
nbytes x * x.nbytes
ndim x * x.ndim
nonzero np.eye(3)[np.eye(3).nonzero()] * s
partition z = x.copy(); z.partition(2); z[:, 2]
prod x.prod(axis=1)
put z = x.copy(); z.put([0, 3], v[:2]); z
ravel x.ravel(order="F")
real x.real
repeat x.repeat(2, axis=1)
reshape x.reshape(2, -1)
reshape x.reshape((4, 3), order="F")
reshape x.reshape(4, 3, copy=True)
round x.round(1)
searchsorted np.sort(v).searchsorted(x)
shape np.zeros(x.shape) + x
size x * x.size
sort z = x.copy(); z.sort(axis=0); z
squeeze x[None].squeeze(axis=0)
std x.std(axis=0, ddof=1)
strides x * np.ones(3).strides[0]
sum x.sum(axis=(0, 1))
sum x.sum(0, np.float32)
sum z = np.zeros(3); x.sum(1, out=z); z
swapaxes x.swapaxes(0, 1)
take x.take([1, 2], axis=1)
take x.take(j, mode="clip")
tolist [row[0] * 2 for row in x.tolist()]
tolist s.tolist() * x
tolist np.array(x.tolist())
trace x.trace()
transpose t.transpose(1, 0, 2)
var x.var(0)
__abs__ abs(x)
__add__ x + 1
__and__ i & 3
__array__ np.asarray(np.ones(3).__array__()) * s
__bool__ x if np.ones(1) else y
__contains__ x if 1.0 in np.ones(3) else y
__copy__ import copy; copy.copy(x)
__deepcopy__ import copy; copy.deepcopy(x)
__divmod__ divmod(x, p)
__eq__ x == y
__float__ float(np.float64(2)) * x
__floordiv__ x // p
__ge__ x >= y
__getitem__ x[1:, [0, 2]]
__gt__ x > y
__iadd__ z = x.copy(); z += y; z
__iand__ z = i.copy(); z &= 3; z
__ifloordiv__ z = x.copy(); z //= p; z
__ilshift__ z = i.copy(); z <<= 1; z
__imatmul__ z = q.copy(); z @= q.T; z
__imod__ z = x.copy(); z %= p; z
__imul__ z = x.copy(); z *= y; z
__index__ x[np.int64(1)]
__int__ x * int(np.int64(2))
__invert__ ~b
__ior__ z = b.copy(); z |= x > 0; z
__ipow__ z = p.copy(); z **= y; z
__irshift__ z = i.copy(); z >>= 1; z
__isub__ z = x.copy(); z -= y; z
__iter__ [r * 2 for r in x]
__iter__ c, d, e = u; c * d - e
__iter__ (c, *d), *e = q; (c, d, e)
__itruediv__ z = x.copy(); z /= p; z
__ixor__ z = i.copy(); z ^= 5; z
__le__ x <= y
__len__ x * len(x)
__lshift__ i << 2
__lt__ x < y
__matmul__ x @ y.T
__mod__ x % p
__mul__ x * y
__ne__ x != y
__neg__ -x
__or__ b | (x > 0)
__pos__ +x
__pow__ p ** y
__radd__ 1 + x
__rand__ 3 & i
__rdivmod__ divmod(7.0, p)
__rfloordiv__ 7 // p
__rlshift__ 1 << j
__rmatmul__ [1.0, 2.0, 3.0] @ x
__rmod__ 7 % p
__rmul__ 2 * x
__ror__ True | b
__rpow__ 2.0 ** x
__rrshift__ 64 >> j
__rshift__ i >> 1
__rsub__ 1 - x
__rtruediv__ 1 / p
__rxor__ 5 ^ i
__setitem__ z = x.copy(); z[1:, [0, 2]] = s; z
__sub__ x - y
__truediv__ x / p
__xor__ i ^ 5
"""

OBJECTS = """
np.linalg.svd np.linalg.svd(x, full_matrices=False)
np.linalg.svd np.linalg.svd(q, compute_uv=False)
np.linalg.tensorinv np.linalg.tensorinv((np.eye(4) + 0.1 * s).reshape(4, 2, 2), ind=1)
np.linalg.tensorsolve np.linalg.tensorsolve((np.eye(4) + 0.1 * s).reshape(2, 2, 4), p[:2, :2])
np.linalg.solve np.linalg.solve(q, u)
np.linalg.inv np.linalg.inv(q)
np.linalg.lstsq np.linalg.lstsq(x.T, v[:4])
np.linalg.cholesky np.linalg.cholesky(q @ q.T + np.eye(3))
np.r_ np.r_[v, 1.0, s]
np.r_ np.r_[0:3, v, [7, 8]]
np.r_ np.r_["0,2", u, u]
np.r_ np.r_["1", x, y]
np.r_ np.r_[0:1:3j, s]
np.r_ np.r_["r", u, 1.0] if False else s
np.c_ np.c_[u, q]
np.c_ np.c_[u, u]
np.s_ x[np.s_[1:, ::2]]
np.index_exp x[np.index_exp[..., 1]]
np.mgrid np.mgrid[0:3, 0:4][0] * x
np.ogrid np.ogrid[0:3, 0:4][0] * x
np.ndindex [x[c] for c in np.ndindex(2, 2)]
np.ndenumerate [n[0] + e for n, e in np.ndenumerate(u)]
np.broadcast x * np.broadcast(np.ones(3), np.ones((2, 1))).ndim
np.float64 np.float64(s) * x
np.float64 np.float64(f)
np.float64 np.float64(x)
np.float32 np.float32(s)
np.float32 np.float32(x)
np.float32 np.float32(f) * a
np.int64 np.int64(s * 9)
np.int64 np.int64(x)
np.uint8 np.uint8(j[0])
np.bool_ np.bool_(s)
np.bool_ np.bool(j)
np.vectorize np.vectorize(lambda c, d: c * d + 1)(x, u[:, None])
np.vectorize np.vectorize(lambda c: c if True else 0, otypes=[float])(v)
np.vectorize np.vectorize(lambda n: v[n] * 2)(np.arange(3))
np.vectorize np.vectorize(lambda c, d: (c, d * 2))(u, 1.0)
np.ufunc.reduce np.add.reduce(x, axis=(0, 1), keepdims=True)
np.ufunc.reduce np.add.reduce(x, initial=s, where=b)
np.ufunc.reduce np.subtract.reduce(x, axis=1)
np.ufunc.reduce np.divide.reduce(p, axis=1)
np.ufunc.reduce np.power.reduce(p, axis=0)
np.ufunc.reduce np.bitwise_or.reduce(i)
np.ufunc.reduce np.logical_xor.reduce(b, axis=1)
np.ufunc.reduce np.maximum.reduce(x, axis=None, initial=0.0)
np.ufunc.reduce np.logaddexp.reduce(x, axis=(0, 1))
np.ufunc.reduce np.hypot.reduce(x, axis=1, initial=2.0)
np.ufunc.reduce np.fmax.reduce(x, axis=0, where=b, initial=-5.0)
np.ufunc.reduce np.gcd.reduce(i)
np.ufunc.reduce np.add.reduce(x, 0, np.float32)
np.ufunc.reduce z = np.zeros(4); np.add.reduce(x, out=z); z
np.ufunc.reduce z = np.zeros(4); np.add.reduce(x, 0, None, z); z
np.ufunc.reduce np.copysign.reduce(x, axis=1)
np.ufunc.reduce np.logical_and.reduce(x, axis=1)
np.ufunc.reduce np.subtract.reduce(x, axis=1, keepdims=True)
np.ufunc.reduce np.multiply.reduce(b)
np.ufunc.accumulate np.add.accumulate(x, axis=1)
np.ufunc.accumulate z = np.zeros((3, 4)); np.multiply.accumulate(a, out=z); z
np.ufunc.accumulate np.subtract.accumulate(x)
np.ufunc.accumulate np.divide.accumulate(p, axis=1)
np.ufunc.accumulate np.power.accumulate(p, axis=1)
np.ufunc.accumulate np.add.accumulate(x, 0, np.float32)
np.ufunc.accumulate z = np.zeros((3, 4)); np.multiply.accumulate(x, out=z); z
np.ufunc.accumulate np.remainder.accumulate(i * 7 + 1, axis=1)
np.ufunc.accumulate np.arctan2.accumulate(v)
np.ufunc.outer np.subtract.outer(u, v)
np.ufunc.outer np.maximum.outer(x, u)
np.ufunc.outer np.greater.outer(u, 1.0)
np.ufunc.reduceat np.add.reduceat(v, [0, 2, 4])
np.ufunc.reduceat np.add.reduceat(x, [0, 3, 1], axis=1)
np.ufunc.reduceat np.maximum.reduceat(x, [0, 2], axis=0)
np.ufunc.reduceat np.subtract.reduceat(v, [0, 3])
np.ufunc.reduceat np.multiply.reduceat(i, [1, 1, 0])
np.ufunc.at z = x.copy(); np.add.at(z, (j, 0), v); z
np.ufunc.at z = x.copy(); np.subtract.at(z, [0, 0], y[:2]); z
np.ufunc.at z = v.copy(); np.multiply.at(z, [0, 0, 1], w[:3]); z
np.ufunc.at z = v.copy(); np.maximum.at(z, [0, 0, 1], w[:3]); z
np.ufunc.at z = v.copy(); np.negative.at(z, [0, 2]); z
np.ufunc.at z = v.copy(); np.maximum.at(z, j, w); z
np.ufunc.at z = v.copy(); np.multiply.at(z, j, w); z
np.ufunc.at z = i.copy(); np.add.at(z, (slice(None), [0, 0]), 2); z
np.ufunc.at z = x.copy(); np.divide.at(z, (0, [0, 1]), w[:2]); z
np.ufunc.__call__ z = np.zeros((3, 4)); np.add(x, y, z); z
np.ufunc.__call__ z = np.zeros((3, 4)); np.add(x, y, out=(z,)); z
np.ufunc.__call__ z = np.zeros((3, 4)); np.exp(x, out=z, where=b); z
np.ufunc.__call__ np.add(x, y, dtype=np.float32)
np.ufunc.__call__ np.add(i, 1, dtype=float)
np.ufunc.__call__ np.exp(x, None)
np.ufunc.__call__ np.multiply(x, y, where=True)
np.ufunc.__call__ np.add(x, y, casting="same_kind", order="C", subok=True)
scipy.linalg.cho_factor np.triu(linalg.cho_factor(q @ q.T + np.eye(3))[0])
scipy.linalg.cho_solve linalg.cho_solve(linalg.cho_factor(q @ q.T + np.eye(3)), u)
scipy.linalg.cholesky linalg.cholesky(q @ q.T + np.eye(3), lower=True)
scipy.linalg.solve linalg.solve(q, u)
scipy.linalg.solve_triangular linalg.solve_triangular(np.tril(q) + 3 * np.eye(3), u, lower=True)
scipy.linalg.svd linalg.svd(x, full_matrices=False)
scipy.linalg.qr linalg.qr(x.T, mode="economic")
scipy.linalg.eigh linalg.eigh(q + q.T)[1] ** 2
scipy.linalg.eigvalsh linalg.eigvalsh(q + q.T)
scipy.linalg.expm linalg.expm(q)
scipy.linalg.toeplitz linalg.toeplitz(u, v)
scipy.linalg.hankel linalg.hankel(u)
scipy.linalg.circulant linalg.circulant(u)
scipy.linalg.block_diag linalg.block_diag(q, x)
scipy.linalg.polar linalg.polar(q)
scipy.linalg.lstsq linalg.lstsq(x.T, v[:4])[0]
scipy.special.multigammaln special.multigammaln(p + 3, 2)
scipy.special.zeta special.zeta(3.0, p)
np.fft.fftshift np.fft.fftshift(x)
np.fft.ifftshift np.fft.ifftshift(x, axes=1)
np.lib.stride_tricks.sliding_window_view np.lib.stride_tricks.sliding_window_view(v, 3)
np.lib.stride_tricks.sliding_window_view np.lib.stride_tricks.sliding_window_view(x, (2, 3))
np.lib.stride_tricks.sliding_window_view np.lib.stride_tricks.sliding_window_view(t, 2, axis=1).mean(-1)
np.polynomial.polynomial.polyvander3d np.polynomial.polynomial.polyvander3d(u, u, u, [1, 1, 2])
np.polynomial.polynomial.polyval np.polynomial.polynomial.polyval(x, u)
np.linalg.matrix_power np.linalg.matrix_power(q, 3)
np.random np.random.default_rng(0).normal(size=3) * s
builtins round(s, 1) * x
builtins round(s, 1) * a
builtins round(f, 1) * a
builtins abs(s) * x
builtins pow(x, 2)
builtins sum(x) + sum(u)
builtins max(np.ones(3)) * x
builtins divmod(s, 0.3)
builtins [c * d for c, d in zip(x, y)]
builtins [n * r for n, r in enumerate(x)]
builtins list(reversed(u))
builtins sorted([3, 1]) * 2 + [s]
"""


def words(text: str) -> list[str]:
    return text.split()


class Case(NamedTuple):
    """An example call: the function of the operands, its name and its text."""

    name: str
    text: str

    @property
    def function(self) -> Callable[..., Any]:
        """The call as a function of all operands."""
        *statements, result = [part.strip() for part in self.text.split(";")]
        lines = [*statements, f"return {result}"]
        source = f"def case({', '.join(OPERANDS)}):\n" + "".join(f"    {line}\n" for line in lines)
        module = types.ModuleType("case")
        scope = vars(module)
        scope.update(np=np, special=scipy.special, linalg=scipy.linalg)
        exec(compile(source, "<case>", "exec"), scope)
        return scope["case"]


def parsed(prefix: str, block: str) -> Iterator[Case]:
    for line in block.strip().splitlines():
        name, _, text = line.partition(" ")
        yield Case(prefix + name, text)


def exists(name: str) -> bool:
    """Whether the installed versions have the name, such as `np.sum` or `ndarray.sum`."""
    roots: dict[str, Any] = {"np": np, "ndarray": np.ndarray, "scipy": scipy}
    root, *parts = name.split(".")
    value = roots.get(root)
    for part in parts if root in roots else []:
        value = getattr(value, part, None)
    return value is not None or root not in roots


def example(name: str) -> Case | None:
    """A case for a function that has none of its own: the first arguments that give real numbers."""
    short = name.replace("scipy.special", "special").replace("scipy.linalg", "linalg")
    for arguments in GENERIC:
        case = Case(name, f"{short}({arguments})")
        try:
            with np.errstate(all="ignore"):
                result = case.function(**OPERANDS)
        except Exception:  # NumPy's own answer to arguments that do not fit
            continue
        leaves = result if isinstance(result, tuple | list) else [result]
        if all(isinstance(x, np.ndarray | np.generic | float) and _is_usual(np.asarray(x)) for x in leaves):
            return case
    return None


def _is_usual(x: Any) -> bool:
    return x.dtype.kind in "biu" or (x.dtype.kind == "f" and bool(np.all(np.isfinite(x))))


def cases() -> list[Case]:
    """All of them."""
    elementwise = [Case(f"np.{n}", f"np.{n}({x})") for n in words(ELEMENTWISE) for x in ("x", "a", "i", "s")]
    in_unit = [Case(f"np.{n}", f"np.{n}({x})") for n in words(IN_UNIT) for x in ("p", "p.astype('f4')", "s")]
    binary = [
        Case(f"np.{n}", f"np.{n}({x})") for n in words(BINARY) for x in ("x, y", "a, 0.5", "x[:, :1], v[:4]")
    ]
    integer = [Case(f"np.{n}", f"np.{n}({x})") for n in words(INTEGER) for x in ("i, j[:4]", "k, 3")]
    found = [
        *elementwise,
        *in_unit,
        *binary,
        *integer,
        *parsed("np.", NUMPY),
        *parsed("ndarray.", NDARRAY),
        *parsed("", OBJECTS),
    ]
    return [case for case in found if exists(case.name)]
