"""Elementwise ops: each element of the result comes from the same element of every input."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.ir.errors import RAISED_BY_CHECKS, ShapeError
from gradc.ir.graph import Value, constant, emit
from gradc.ir.op import Cotangent, Op, full_like
from gradc.ir.types import BOOL, Type

FLOAT, NUMBER, INTEGER, LOGICAL, ANY = "f", "iuf", "iu", "iub", "iufb"
"""Which dtype kinds an op takes."""


def same_type(name: str, kinds: str, result: np.dtype | None = None) -> Callable[..., Type]:
    """All inputs have one type, of the given kinds; so has the result (or it has dtype `result`)."""

    def infer(*types: Type) -> Type:
        first = types[0]
        for t in types[1:]:
            if t != first:
                raise ShapeError(f"{name} takes inputs of one type, not {' and '.join(map(str, types))}")
        if first.dtype.kind not in kinds:
            raise ShapeError(f"{name} does not take {first.dtype.name}")
        return first if result is None else first.with_dtype(result)

    return infer


def unary(name: str, meaning: Callable, vjp: Callable | None = None, kinds: str = FLOAT) -> Op:
    """A row for an op of one input: `vjp(g, y, x)`."""
    return Op(name, meaning, same_type(name, kinds), vjp, elementwise=True, arity=1)


def binary(name: str, meaning: Callable, vjp: Callable | None = None, kinds: str = NUMBER) -> Op:
    """A row for an op of two inputs of one type: `vjp(g, y, a, b)`."""
    return Op(name, meaning, same_type(name, kinds), vjp, elementwise=True, arity=2)


def comparison(name: str, meaning: Callable) -> Op:
    return Op(name, meaning, same_type(name, ANY, BOOL), elementwise=True, arity=2)


def _apply(name: str) -> Callable[..., Value]:
    return lambda *xs: emit(name, *xs)


_exp, _log, _sin, _cos, _sinh, _cosh = map(_apply, ("exp", "log", "sin", "cos", "sinh", "cosh"))
_tanh, _sech2 = map(_apply, ("tanh", "sech2"))
_sqrt, _sign, _abs, _power, _hypot, _expit = map(_apply, ("sqrt", "sign", "abs", "power", "hypot", "expit"))


def where(condition: Value, a: Any, b: Any) -> Value:
    """Emit a selection; scalars become constants of the other branch's type."""
    a, b = getattr(a, "value", a), getattr(b, "value", b)
    type = a.type if isinstance(a, Value) else b.type
    a, b = [x if isinstance(x, Value) else constant(x, type) for x in (a, b)]
    return emit("where", condition, a, b)


def equal(a: Value, b: Value | float) -> Value:
    """Emit a == b (values compare by identity in Python)."""
    return emit("eq", a, b if isinstance(b, Value) else full_like(b, a))


# NumPy has neither erf nor expit. Their meaning here needs no SciPy.
def erf_meaning(x: np.ndarray) -> np.ndarray:
    """The error function, by the C library, in float64."""
    return np.vectorize(math.erf, otypes=[np.float64])(np.asarray(x, np.float64)).astype(x.dtype)


def erfc_meaning(x: np.ndarray) -> np.ndarray:
    """1 - erf(x) without cancellation."""
    return np.vectorize(math.erfc, otypes=[np.float64])(np.asarray(x, np.float64)).astype(x.dtype)


def expit_meaning(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), in float64, without overflow."""
    z = np.asarray(x, np.float64)
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


def sech2_meaning(x: np.ndarray) -> np.ndarray:
    """1 / cosh(x)², the slope of tanh, as 4 e / (1 + e)² with e = exp(-2 |x|): 1 - tanh(x)² cancels."""
    e = np.exp(np.abs(x) * -2)
    return 4 * e / ((1 + e) * (1 + e))


neg = unary("neg", np.negative, vjp=lambda g, y, x: -g, kinds=NUMBER)
abs_ = unary("abs", np.abs, vjp=lambda g, y, x: g * _sign(x), kinds=NUMBER)
sign = unary("sign", np.sign, kinds=NUMBER)
exp = unary("exp", np.exp, vjp=lambda g, y, x: g * y)
exp2 = unary("exp2", np.exp2, vjp=lambda g, y, x: g * (y * math.log(2)))
# Not y + 1, which cancels where exp(x) is small.
expm1 = unary("expm1", np.expm1, vjp=lambda g, y, x: g * _exp(x))
log = unary("log", np.log, vjp=lambda g, y, x: g / x)
# The constants apart: x times one may overflow.
log2 = unary("log2", np.log2, vjp=lambda g, y, x: g / x * (1 / math.log(2)))
log10 = unary("log10", np.log10, vjp=lambda g, y, x: g / x * (1 / math.log(10)))
log1p = unary("log1p", np.log1p, vjp=lambda g, y, x: g / (x + 1))
sqrt = unary("sqrt", np.sqrt, vjp=lambda g, y, x: g / (y * 2))
cbrt = unary("cbrt", np.cbrt, vjp=lambda g, y, x: g / (y * y * 3))
sin = unary("sin", np.sin, vjp=lambda g, y, x: g * _cos(x))
cos = unary("cos", np.cos, vjp=lambda g, y, x: -g * _sin(x))
tan = unary("tan", np.tan, vjp=lambda g, y, x: g * (1 + y * y))
arcsin = unary("arcsin", np.arcsin, vjp=lambda g, y, x: g / _sqrt((1 - x) * (1 + x)))
arccos = unary("arccos", np.arccos, vjp=lambda g, y, x: -g / _sqrt((1 - x) * (1 + x)))
arctan = unary("arctan", np.arctan, vjp=lambda g, y, x: g / (1 + x * x))
sinh = unary("sinh", np.sinh, vjp=lambda g, y, x: g * _cosh(x))
cosh = unary("cosh", np.cosh, vjp=lambda g, y, x: g * _sinh(x))
tanh = unary("tanh", np.tanh, vjp=lambda g, y, x: g * _sech2(x))
sech2 = unary("sech2", sech2_meaning, vjp=lambda g, y, x: g * (y * _tanh(x) * -2))
arcsinh = unary("arcsinh", np.arcsinh, vjp=lambda g, y, x: g / _hypot(x, full_like(1, x)))
arccosh = unary("arccosh", np.arccosh, vjp=lambda g, y, x: g / (_sqrt(x - 1) * _sqrt(x + 1)))
arctanh = unary("arctanh", np.arctanh, vjp=lambda g, y, x: g / ((1 - x) * (1 + x)))
erf = unary("erf", erf_meaning, vjp=lambda g, y, x: g * (_exp(-(x * x)) * (2 / math.sqrt(math.pi))))
erfc = unary("erfc", erfc_meaning, vjp=lambda g, y, x: g * (_exp(-(x * x)) * (-2 / math.sqrt(math.pi))))
# Not 1 - y, which cancels where y is near 1.
expit = unary("expit", expit_meaning, vjp=lambda g, y, x: g * (y * _expit(-x)))
floor = unary("floor", np.floor)
ceil = unary("ceil", np.ceil)
trunc = unary("trunc", np.trunc)
rint = unary("rint", np.rint)
invert = unary("invert", np.invert, kinds=LOGICAL)
copy = unary("copy", np.copy, vjp=lambda g, y, x: g, kinds=ANY)
stop_gradient = unary("stop_gradient", np.copy, kinds=ANY)

add = binary("add", np.add, vjp=lambda g, y, a, b: (g, g))
sub = binary("sub", np.subtract, vjp=lambda g, y, a, b: (g, -g))
mul = binary("mul", np.multiply, vjp=lambda g, y, a, b: (g * b, g * a))
div = binary("div", np.divide, vjp=lambda g, y, a, b: (g / b, -(g * y / b)), kinds=FLOAT)
floor_divide = binary("floor_divide", np.floor_divide)
remainder = binary("remainder", np.remainder, vjp=lambda g, y, a, b: (g, -(g * emit("floor_divide", a, b))))
arctan2 = binary(
    "arctan2",
    np.arctan2,
    vjp=lambda g, y, a, b: (g * _unit(b, a), -(g * _unit(a, b))),
    kinds=FLOAT,
)
hypot = binary(
    "hypot",
    np.hypot,
    vjp=lambda g, y, a, b: (g * _part(a, y), g * _part(b, y)),
    kinds=FLOAT,
)


def _part(a: Value, y: Value) -> Value:
    """a / y, and 0 at the origin, with all its derivatives."""
    origin = equal(y, 0)
    return where(origin, 0, a / where(origin, 1, y))


def _unit(a: Value, b: Value) -> Value:
    """a / (a² + b²), without overflow in the squares; 0 at the origin and at infinity."""
    h = _hypot(a, b)
    edge = equal(h, 0) | equal(h, math.inf)
    h = where(edge, 1, h)
    return where(edge, 0, a / h / h)


def logaddexp_vjp(g: Cotangent, y: Value, a: Value, b: Value) -> tuple[Cotangent, Cotangent]:
    """The weights expit(a - b) and expit(b - a); a half each where both are the same infinity."""
    tie = equal(a, b) & equal(_abs(a), math.inf)
    share = where(tie, 0.5, _expit(a - b))
    return g * share, g * where(tie, 0.5, _expit(b - a))


def power_vjp(g: Cotangent, y: Value, a: Value, b: Value) -> tuple[Cotangent, Cotangent]:
    """b a**(b-1) and y log(a); 0 for 0**0 in `a`, and for a <= 0 in `b` (a subgradient at a = 0)."""
    slope = _power(a, b - 1)
    # Only where 0 meets an infinity: elsewhere b = 0 has second derivatives.
    da = b * where(equal(b, 0) & equal(_abs(slope), math.inf), 0, slope)
    positive = a > 0
    return g * da, g * where(positive, y * _log(where(positive, a, 1)), 0)


def maximum_vjp(g: Cotangent, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
    """All to the larger one; a half each at ties, which is what central differences give."""
    tied = where(equal(a, b), g * 0.5, 0)
    return where(a > b, g, tied), where(b > a, g, tied)


def minimum_vjp(g: Cotangent, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
    """All to the smaller one; a half each at ties."""
    tied = where(equal(a, b), g * 0.5, 0)
    return where(a < b, g, tied), where(b < a, g, tied)


logaddexp = binary("logaddexp", np.logaddexp, vjp=logaddexp_vjp, kinds=FLOAT)
power = binary("power", np.power, vjp=power_vjp)
maximum = binary("maximum", np.maximum, vjp=maximum_vjp, kinds=ANY)
minimum = binary("minimum", np.minimum, vjp=minimum_vjp, kinds=ANY)
eq = comparison("eq", np.equal)
ne = comparison("ne", np.not_equal)
lt = comparison("lt", np.less)
le = comparison("le", np.less_equal)
gt = comparison("gt", np.greater)
ge = comparison("ge", np.greater_equal)
and_ = binary("and", np.bitwise_and, kinds=LOGICAL)
or_ = binary("or", np.bitwise_or, kinds=LOGICAL)
xor = binary("xor", np.bitwise_xor, kinds=LOGICAL)
shift_left = binary("shift_left", np.left_shift, kinds=INTEGER)
shift_right = binary("shift_right", np.right_shift, kinds=INTEGER)


def scale_meaning(g: np.ndarray, d: np.ndarray, *, divide: bool) -> np.ndarray:
    """g * d or g / d, but 0 wherever g is 0."""
    return np.where(g == 0, np.zeros_like(g), np.divide(g, d) if divide else np.multiply(g, d))


def scale_vjp(g: Cotangent, y: Value, x: Value, d: Value, *, divide: bool) -> tuple[Cotangent, Cotangent]:
    """`scale` again: the cotangent of the factor carries x, so it is 0 where x is, and where g is."""
    if divide:
        return g / d, -(_product(g, y) / d)
    return g * d, _product(g, x)


def product_meaning(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a * b, but 0 wherever a or b is 0."""
    return np.where((a == 0) | (b == 0), np.zeros_like(a), np.multiply(a, b))


def _product(g: Cotangent, x: Value) -> Cotangent:
    """g * x, in which either being 0 gives 0 whatever the other is, at every order of derivatives."""
    return Cotangent(emit("product", g.value, x))


product = binary(
    "product", product_meaning, vjp=lambda g, y, a, b: (_product(g, b), _product(g, a)), kinds=FLOAT
)
_scaled = same_type("scale", FLOAT)


def scale_type(g: Type, d: Type, *, divide: bool) -> Type:
    """A float cotangent and a factor (or divisor) of its type."""
    return _scaled(g, d)


scale = Op("scale", scale_meaning, scale_type, scale_vjp, elementwise=True, arity=2)


def where_type(condition: Type, a: Type, b: Type) -> Type:
    """A bool condition and two branches of one type, all of one shape."""
    if not condition.is_bool or a != b or condition.shape != a.shape:
        raise ShapeError(f"where takes bool[s], t[s], t[s], not {condition}, {a}, {b}")
    return a


Op(
    "where",
    np.where,
    where_type,
    vjp=lambda g, y, c, a, b: (None, where(c, g, 0), where(c, 0, g)),
    elementwise=True,
    arity=3,
)


def require_meaning(
    x: np.ndarray, ok: np.ndarray, *, message: str, error: str = "IndexOutOfBoundsError"
) -> np.ndarray:
    """x, or the error (one of `RAISED_BY_CHECKS`) if `ok` fails anywhere."""
    if not np.all(ok):
        raise RAISED_BY_CHECKS[error](message)
    return x


def require_type(x: Type, ok: Type, *, message: str, error: str = "IndexOutOfBoundsError") -> Type:
    """A value and a bool of its shape."""
    if not ok.is_bool or ok.shape != x.shape:
        raise ShapeError(f"require takes t[s], bool[s], not {x}, {ok}")
    if error not in RAISED_BY_CHECKS:
        raise ShapeError(f"require raises one of {', '.join(RAISED_BY_CHECKS)}, not {error}")
    return x


Op(
    "require",
    require_meaning,
    require_type,
    # The cotangent asks too: a gradient alone does not compute y.
    vjp=lambda g, y, x, ok, **attrs: (emit("require", g, ok, **attrs), None),
    elementwise=True,
    arity=2,
)


def cast_vjp(g: Cotangent, y: Value, x: Value) -> Value | None:
    """Back to the input's dtype; none through integers."""
    return emit("cast", g, type=x.type) if x.type.is_float and y.type.is_float else None


Op("cast", lambda x, *, type: np.asarray(x).astype(type.dtype), None, cast_vjp, elementwise=True, arity=1)
