"""Short names for ops on values and for types, with which the cases of rules are written."""

from functools import partial

from gradc.ir import constant, emit, parse_type

V, W, M, S = "f64[3]", "f32[5]", "f64[2, 3]", "f64[]"
N, U, B = "i64[3]", "u8[4]", "bool[3]"


def op(name):
    return partial(emit, name)


abs_, exp, expit, expm1, log, log1p, logaddexp, power, neg, sqrt = map(
    op, ("abs", "exp", "expit", "expm1", "log", "log1p", "logaddexp", "power", "neg", "sqrt")
)
maximum, minimum, where, invert, xor = map(op, ("maximum", "minimum", "where", "invert", "xor"))
eq, ne, lt, gt, le, ge = map(op, ("eq", "ne", "lt", "gt", "le", "ge"))
stop_gradient, tanh = map(op, ("stop_gradient", "tanh"))


def cast(x, dtype):
    return emit("cast", x, type=x.type.with_dtype(parse_type(dtype + "[]").dtype))


def const(value, type):
    return constant(value, parse_type(type))


def iota(type, axis=0):
    return emit("iota", axis=axis, type=parse_type(type))


def broadcast(x, shape, axes):
    return emit("broadcast", x, shape=shape, axes=axes)


def reshape(x, *shape):
    return emit("reshape", x, shape=shape)


def transpose(x, *axes):
    return emit("transpose", x, axes=axes)


def concat(*xs, axis=0):
    return emit("concat", *xs, axis=axis)


def scale(g, d, divide=False):
    return emit("scale", g, d, divide=divide)


def guarded(a, b):
    return emit("product", a, b)


def gather(x, *indices, axes=(0,)):
    return emit("gather", x, *indices, axes=axes)


def require(x, ok):
    return emit("require", x, ok, message="no")


def total(x, *axes):
    return emit("reduce_sum", x, axes=axes)


def product(x, *axes):
    return emit("reduce_prod", x, axes=axes)


def most(x, *axes):
    return emit("reduce_max", x, axes=axes)


def least(x, *axes):
    return emit("reduce_min", x, axes=axes)


def matmul(a, b, ta=False, tb=False):
    return emit("matmul", a, b, transpose_a=ta, transpose_b=tb)


def piece(x, *spans):
    """Slice with (start, size, step) for each axis."""
    starts, sizes, steps = zip(*spans, strict=True)
    return emit("slice", x, starts=starts, sizes=sizes, steps=steps)


def pad(x, *spans, value=0.0):
    """Pad with (start, size of the whole, step) for each axis."""
    starts, shape, steps = zip(*spans, strict=True)
    return emit("pad", x, shape=shape, starts=starts, steps=steps, value=value)


def windows(x, shape, *walks, starts=None):
    """Windows by an (axis, step) for each axis of the shape."""
    axes, steps = zip(*walks, strict=True)
    return emit("windows", x, shape=shape, axes=axes, starts=starts or (0,) * len(x.shape), steps=steps)


def fold(g, shape, *walks, starts=None):
    """The adjoint of windows of an array of this shape."""
    axes, steps = zip(*walks, strict=True)
    return emit("fold", g, shape=shape, axes=axes, starts=starts or (0,) * len(shape), steps=steps)


def contract(x, y, labels):
    """As einsum, with digits for labels: contract(x, y, "02,21->01")."""
    given, _, result = labels.partition("->")
    a, b = given.split(",")
    return emit("contract", x, y, a=tuple(map(int, a)), b=tuple(map(int, b)), result=tuple(map(int, result)))
