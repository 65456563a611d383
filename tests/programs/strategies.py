"""How each op gets its operands and attributes in generated programs: one row an op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradc.ir import OPS, Builder, Graph, Type, Value, emit, emit_node
from gradc.ir.ops.control import vjp_graph
from gradc.ir.ops.matrices import is_diagonal, numbers
from gradc.ir.types import BOOL, F64, I64, NAMES, SHORT

if TYPE_CHECKING:
    from tests.programs.generate import Generator


class Domain(NamedTuple):
    """An interval in which an operand is smooth and far from poles."""

    low: float
    high: float


class Index(NamedTuple):
    """Integers from 0 to size - 1."""

    size: int


EVERYWHERE = Domain(-2.0, 2.0)
POSITIVE = Domain(0.3, 3.0)
INSIDE = Domain(-0.9, 0.9)

Emitter = Callable[["Generator", Value], "tuple[Value, ...] | None"]


@dataclass(frozen=True)
class Strategy:
    """`emit(generator, x)` emits the op with x as an operand, or gives None if the op does not take x.

    `smooth` ops are differentiable inside of their domains, so finite differences check them. `internal` ops
    are made by passes only, and are left out of programs that run through these passes.
    """

    emit: Emitter
    smooth: bool = True
    internal: bool = False


STRATEGIES: dict[str, Strategy] = {}
"""Every op of the table has its row here."""


def strategy(name: str, *, smooth: bool = True, internal: bool = False) -> Callable[[Emitter], Emitter]:
    """Enter an emitter into the table."""

    def enter(emitter: Emitter) -> Emitter:
        STRATEGIES[name] = Strategy(emitter, smooth, internal)
        return emitter

    return enter


def accepts(name: str, *types: Type, **attrs: object) -> bool:
    """Does the op's own type rule take these types?"""
    try:
        OPS[name].types(types, attrs, None)
    except ValueError:
        return False
    return True


# Elementwise ops with operands of one type: their smooth domains.

DOMAINS: dict[str, tuple[Domain, ...]] = {
    **{
        name: (EVERYWHERE,)
        for name in ("neg", "copy", "exp", "exp2", "expm1", "sin", "cos", "arctan", "sinh")
    },
    **{name: (EVERYWHERE,) for name in ("cosh", "tanh", "sech2", "arcsinh", "erf", "erfc", "expit")},
    **{name: (POSITIVE,) for name in ("log", "log2", "log10", "sqrt", "cbrt")},
    **{name: (INSIDE,) for name in ("log1p", "tan", "arcsin", "arccos", "arctanh")},
    "arccosh": (Domain(1.3, 4.0),),
    **{name: (EVERYWHERE, EVERYWHERE) for name in ("add", "sub", "mul", "logaddexp")},
    "div": (EVERYWHERE, POSITIVE),
    "arctan2": (EVERYWHERE, POSITIVE),
    "hypot": (POSITIVE, EVERYWHERE),
    "power": (POSITIVE, EVERYWHERE),
}

_UNIT, _ABOVE = Domain(0.1, 0.9), Domain(1.2, 6.0)

SPECIAL: dict[str, tuple[Domain | float, ...]] = {
    **{
        name: (_ABOVE,)
        for name in ("gammaln", "gamma", "psi", "exp1", "expi", "y0", "y1", "k0", "k1", "k0e", "k1e")
    },
    **{name: (EVERYWHERE,) for name in ("erfcx", "log_ndtr", "dawsn", "exprel", "j0", "j1", "i0", "i1")},
    **{name: (POSITIVE,) for name in ("i0e", "i1e", "spence")},
    "erfinv": (INSIDE,),
    "erfcinv": (Domain(0.1, 1.9),),
    "ndtri": (_UNIT,),
    "zeta": (3.5, _ABOVE),
    **{name: (_ABOVE, _ABOVE) for name in ("beta", "betaln")},
    "binom": (Domain(6.2, 9.0), _ABOVE),
    **{name: (2.5, _ABOVE) for name in ("gammainc", "gammaincc")},
    **{name: (2.5, _UNIT) for name in ("gammaincinv", "gammainccinv")},
    **{name: (2.5, 1.5, _UNIT) for name in ("betainc", "betaincinv")},
    "stdtr": (3.5, EVERYWHERE),
    "stdtrit": (3.5, _UNIT),
    **{name: (1.5, _ABOVE) for name in ("jv", "yv", "iv", "kv", "ive", "kve")},
}
"""Ops that SciPy computes: the domains, or the numbers, of their operands."""

KINKED: dict[str, int] = {
    **{name: 1 for name in ("abs", "sign", "floor", "ceil", "trunc", "rint", "invert", "stop_gradient")},
    **{
        name: 2
        for name in ("floor_divide", "remainder", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge")
    },
    **{name: 2 for name in ("and", "or", "xor", "shift_left", "shift_right")},
}
"""Elementwise ops with kinks, jumps or integers, and how many operands they take."""


def _elementwise(name: str, domains: tuple[Domain, ...]) -> Emitter:
    def emitter(gen: Generator, x: Value) -> tuple[Value, ...] | None:
        if not accepts(name, *[x.type] * len(domains)):
            return None
        at = gen.choices.integer(0, len(domains) - 1)
        operands = [x if i == at else gen.supply(x.type) for i in range(len(domains))]
        if x.type.is_float:
            operands = [gen.within(v, domain) for v, domain in zip(operands, domains, strict=True)]
        elif name == "power":  # NumPy refuses negative integer powers
            operands[1] = gen.count(operands[1])
        return (emit(name, *operands),)

    return emitter


def _special(name: str, domains: tuple[Domain | float, ...]) -> Emitter:
    def emitter(gen: Generator, x: Value) -> tuple[Value, ...] | None:
        if not x.type.is_float:
            return None
        operands: list[Value] = []
        for domain in domains[::-1]:
            if isinstance(domain, float):
                operands.insert(0, emit("constant", value=domain, type=x.type))
            else:
                operands.insert(0, gen.within(gen.supply(x.type) if operands else x, domain, always=True))
        return (emit(name, *operands),)

    return emitter


for _name, _operands_of in SPECIAL.items():
    strategy(_name)(_special(_name, _operands_of))
for _name, _domains in DOMAINS.items():
    strategy(_name)(_elementwise(_name, _domains))
for _name, _arity in KINKED.items():
    strategy(_name, smooth=False)(_elementwise(_name, (EVERYWHERE,) * _arity))


@strategy("scale", internal=True)
def scale(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    if not x.type.is_float:
        return None
    d = gen.within(gen.supply(x.type), POSITIVE)
    return (emit("scale", x, d, divide=gen.choices.chance(50)),)


@strategy("product", internal=True)
def product(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    return (emit("product", x, gen.supply(x.type)),) if x.type.is_float else None


@strategy("where")
def where(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    if x.type.is_bool and gen.choices.chance(50):
        a = gen.supply(Type(gen.dtype(), x.shape))
        return (emit("where", x, a, gen.supply(a.type)),)
    return (emit("where", gen.supply(x.type.with_dtype(BOOL)), x, gen.supply(x.type)),)


@strategy("require")
def require(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    ok = gen.supply(x.type.with_dtype(BOOL))
    return (emit("require", x, ok | ~ok, message='it\'s out of bounds,\n\tsays "require"'),)


@strategy("cast")
def cast(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    dtype = F64 if gen.smooth else gen.choices.pick(list(NAMES.values()))
    if x.type.is_float and dtype.kind in "iu":  # outside of the range the result is not defined
        x = gen.within(x, Domain(0, 100), always=True)
    return (emit("cast", x, type=x.type.with_dtype(dtype)),)


# Ops without operands: x gives the type only.


@strategy("constant")
def constant(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    return (gen.constant(x.type),)


@strategy("captured")
def captured(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    return (gen.captured(x.type),) if not gen.nested else None


@strategy("iota")
def iota(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    if not x.type.ndim or x.type.is_bool:
        return None
    return (emit("iota", type=x.type, axis=gen.choices.integer(0, x.type.ndim - 1)),)


# Ops that move elements.


@strategy("broadcast")
def broadcast(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    shape, axes = list(x.shape), list(range(x.type.ndim))
    for _ in range(gen.choices.integer(0 if x.type.ndim else 1, 2)):
        at = gen.choices.integer(0, len(shape))
        shape.insert(at, gen.size())
        axes = [a + (a >= at) for a in axes]
    if not gen.fits(shape):
        return None
    return (emit("broadcast", x, shape=tuple(shape), axes=tuple(axes)),)


@strategy("reshape")
def reshape(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    shape = list(x.shape)
    if len(shape) > 1 and gen.choices.chance(60):
        at = gen.choices.integer(0, len(shape) - 2)
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    for at, n in enumerate(shape):
        if n > 3 and gen.choices.chance(50):
            small = next((d for d in (2, 3, 5) if n % d == 0), 1)
            shape[at : at + 1] = gen.choices.pick([[n // small, small], [small, n // small]])
            break
    if gen.choices.chance(30):
        shape.insert(gen.choices.integer(0, len(shape)), 1)
    elif 1 in shape:
        shape.remove(1)
    return (emit("reshape", x, shape=tuple(shape)),)


@strategy("transpose")
def transpose(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    return (emit("transpose", x, axes=tuple(gen.choices.shuffled(range(x.type.ndim)))),)


def _part(gen: Generator, n: int) -> tuple[int, int, int]:
    """A start, size and step inside of an axis of n elements."""
    size = gen.choices.pick([n, *range(n + 1)])
    if not size:
        return 0, 0, gen.choices.pick([1, -1, 2])
    most = (n - 1) // max(size - 1, 1)
    step = gen.choices.integer(1, max(most, 1))
    start = gen.choices.integer(0, n - 1 - (size - 1) * step)
    if gen.choices.chance(40):
        return start + (size - 1) * step, size, -step
    return start, size, step


@strategy("slice")
def slice_(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    parts = [_part(gen, n) for n in x.shape]
    starts, sizes, steps = zip(*parts, strict=True) if parts else ((), (), ())
    return (emit("slice", x, starts=starts, sizes=sizes, steps=steps),)


@strategy("pad")
def pad(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    shape, starts, steps = [], [], []
    for n in x.shape:
        step = gen.choices.pick([1, 2, -1, -2, 3])
        before, after = gen.choices.integer(0, 2), gen.choices.integer(0, 2)
        reach = max(n - 1, 0) * abs(step)
        shape.append(before + after + (reach + 1 if n else gen.size()))
        starts.append(before + (reach if step < 0 else 0) if n else 0)
        steps.append(step)
    if not gen.fits(shape):
        return None
    value = gen.scalar(x.dtype)
    return (emit("pad", x, shape=tuple(shape), starts=tuple(starts), steps=tuple(steps), value=value),)


def _reading(gen: Generator, whole: Sequence[int]) -> dict[str, Any] | None:
    """A reading of an array of this shape: some axes not, or by one walker, or by two that overlap."""
    walks: list[tuple[int, int, int]] = []
    starts = []
    for axis, n in enumerate(whole):
        start = gen.choices.integer(0, max(n - 1, 0))
        low, high = start, max(n - 1, 0) - start
        for _ in range(gen.choices.pick([1, 2, 2, 0])):
            step = gen.choices.pick([1, 1, 2, -1])
            room = (low if step < 0 else high) // abs(step)
            size = gen.choices.integer(0, room + 1) if gen.choices.chance(15) else room // 2 + 1
            size = size if n else 0
            low, high = (
                low - (max(size, 1) - 1) * max(-step, 0),
                high - (max(size, 1) - 1) * max(step, 0),
            )
            walks.append((axis, size, step))
        starts.append(start)
    if 0 in whole and not any(size == 0 for _, size, _ in walks):
        return None
    walks = gen.choices.shuffled(walks)
    if not gen.fits([size for _, size, _ in walks]):
        return None
    axes, shape, steps = zip(*walks, strict=True) if walks else ((), (), ())
    return {"shape": shape, "axes": axes, "starts": tuple(starts), "steps": steps}


@strategy("windows")
def windows(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    reading = _reading(gen, x.shape)
    return None if reading is None else (emit("windows", x, **reading),)


@strategy("fold")
def fold(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    """Pairs of neighbouring axes overlap in one of the result, or an axis is spread out."""
    if x.type.is_bool:
        return None
    axes: list[int] = []
    steps, starts, shape = [], [], []
    r = 0
    while r < x.type.ndim:
        count = min(gen.choices.pick([1, 2]), x.type.ndim - r)
        low = high = 0
        for n in x.shape[r : r + count]:
            step = gen.choices.pick([1, 1, 2, -1, -2])
            span = max(n - 1, 0) * step
            low, high = low + min(span, 0), high + max(span, 0)
            axes.append(len(shape))
            steps.append(step)
        before = gen.choices.integer(0, 2)
        starts.append(before - low)
        shape.append(before - low + high + 1 + gen.choices.integer(0, 2))
        r += count
    if gen.choices.chance(20):  # an axis along which nothing walks
        starts.append(1)
        shape.append(2)
    if not gen.fits(shape):
        return None
    attrs = {"shape": tuple(shape), "axes": tuple(axes), "starts": tuple(starts), "steps": tuple(steps)}
    return (emit("fold", x, **attrs),)


@strategy("contract")
def contract(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    """Labels of x that are summed or kept, shared or its own; and some of the other operand's own."""
    if x.type.is_bool:
        return None
    a = tuple(range(x.type.ndim))
    summed = gen.choices.subset(a)
    shared = sorted({*summed, *gen.choices.subset(a)})
    sizes = dict(enumerate(x.shape))
    sizes.update({len(a) + i: n for i, n in enumerate(gen.shape(2))})
    b = tuple(gen.choices.shuffled([*shared, *[k for k in sizes if k >= len(a)]]))
    result = tuple(gen.choices.shuffled([k for k in sizes if k not in summed]))
    if not gen.fits([sizes[k] for k in b]) or not gen.fits([sizes[k] for k in result]):
        return None
    y = gen.supply(x.type.with_shape(tuple(sizes[k] for k in b)))
    return (emit("contract", x, y, a=a, b=b, result=result),)


@strategy("concat")
def concat(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    if not x.type.ndim:
        return None
    axis = gen.choices.integer(0, x.type.ndim - 1)
    parts = [x]
    for _ in range(gen.choices.integer(0, 2)):
        sizes = list(x.shape)
        sizes[axis] = gen.choices.pick([sizes[axis], gen.size()])
        parts.insert(gen.choices.integer(0, len(parts)), gen.supply(x.type.with_shape(tuple(sizes))))
    return (emit("concat", *parts, axis=axis),)


def _axes(gen: Generator, x: Value) -> tuple[int, ...]:
    return tuple(gen.choices.subset(range(x.type.ndim)))


@strategy("gather")
def gather(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    axes = _axes(gen, x)
    shape = gen.shape(2)
    if not axes or not gen.fits((*shape, *x.shape)) or (0 in [x.shape[a] for a in axes] and 0 not in shape):
        return None
    return (emit("gather", x, *[gen.indices(shape, x.shape[a]) for a in axes], axes=axes),)


@strategy("scatter")
def scatter(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    axes = _axes(gen, x)
    shape = gen.shape(2)
    if not axes or not gen.fits((*shape, *x.shape)):
        return None
    if 0 in [x.shape[a] for a in axes] and 0 not in shape:
        return None
    updates = gen.supply(x.type.with_shape(shape + tuple(n for i, n in enumerate(x.shape) if i not in axes)))
    indices = [gen.indices(shape, x.shape[a]) for a in axes]
    return (emit("scatter", x, updates, *indices, axes=axes, distinct=False),)


@strategy("scatter_add")
def scatter_add(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    axes = _axes(gen, x)
    shape = gen.shape(2)
    if x.type.is_bool or not axes or not gen.fits((*shape, *x.shape)):
        return None
    if 0 in [x.shape[a] for a in axes] and 0 not in shape:
        return None
    rest = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    updates = gen.supply(x.type.with_shape(shape + rest))
    return (emit("scatter_add", x, updates, *[gen.indices(shape, x.shape[a]) for a in axes], axes=axes),)


# Reductions and products.


def _reduction(name: str) -> Emitter:
    def emitter(gen: Generator, x: Value) -> tuple[Value, ...] | None:
        axes = _axes(gen, x)
        if not accepts(name, x.type, axes=axes):
            return None
        return (emit(name, x, axes=axes),)

    return emitter


for _name in ("reduce_sum", "reduce_prod"):
    strategy(_name)(_reduction(_name))
for _name in ("reduce_max", "reduce_min"):
    strategy(_name, smooth=False)(_reduction(_name))


def _argument(name: str) -> Emitter:
    def emitter(gen: Generator, x: Value) -> tuple[Value, ...] | None:
        axis = gen.choices.integer(0, max(x.type.ndim - 1, 0))
        return (emit(name, x, axis=axis),) if accepts(name, x.type, axis=axis) else None

    return emitter


for _name in ("argmax", "argmin"):
    strategy(_name, smooth=False)(_argument(_name))


def _running(name: str) -> Emitter:
    def emitter(gen: Generator, x: Value) -> tuple[Value, ...] | None:
        axis = gen.choices.integer(0, max(x.type.ndim - 1, 0))
        reverse = gen.choices.chance(40)
        if not accepts(name, x.type, axis=axis, reverse=reverse):
            return None
        return (emit(name, x, axis=axis, reverse=reverse),)

    return emitter


for _name in ("cumsum", "cumprod"):
    strategy(_name)(_running(_name))
for _name in ("cummax", "cummin"):
    strategy(_name, smooth=False)(_running(_name))


@strategy("sort", smooth=False)
def sort(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    return emit_node("sort", x).results if x.type.ndim else None


@strategy("matmul")
def matmul(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    if x.type.ndim < 2:
        return None
    swap, other_swap = gen.choices.chance(30), gen.choices.chance(30)
    rows, columns = x.shape[-2:][::-1] if swap else x.shape[-2:]
    free = gen.size()
    batch = gen.choices.pick([x.shape[:-2], ()]) if x.type.ndim > 2 else gen.choices.pick([(), gen.shape(1)])
    if not gen.fits((*(x.shape[:-2] or batch), rows, columns, free)):
        return None
    left = gen.choices.chance(50)
    matrix = (columns, free) if left else (free, rows)
    other = gen.supply(x.type.with_shape((*batch, *(matrix[::-1] if other_swap else matrix))))
    if left:
        y = emit("matmul", x, other, transpose_a=swap, transpose_b=other_swap)
    else:
        y = emit("matmul", other, x, transpose_a=other_swap, transpose_b=swap)
    return (y, *_layer(gen, y)) if not y.type.is_bool and gen.choices.chance(50) else (y,)


def _layer(gen: Generator, y: Value) -> tuple[Value, ...]:
    """What often follows a product: its rows as several axes, a bias, an activation, another product's slope,
    sums of columns."""
    *outer, rows, columns = y.shape
    if not outer and rows % 2 == 0 and rows > 2 and gen.choices.chance(30):
        y = emit("reshape", y, shape=(2, rows // 2, columns))
    last = (len(y.shape) - 1,)
    bias = gen.supply(y.type.with_shape((columns,)))
    z = y + emit("broadcast", bias, shape=y.shape, axes=last) if gen.choices.chance(70) else y
    if y.type.is_float and gen.choices.chance(50):
        z = emit("tanh", z)
    if gen.choices.chance(50):
        z = z * gen.supply(z.type)
    found = [z]
    if gen.choices.chance(40):
        found.append(emit("reduce_sum", z, axes=tuple(range(last[0]))))
    return tuple(found)


# Linear algebra: matrices whose diagonal keeps them regular, and eigenvalues apart.


FACTORED = frozenset({"cholesky", "solve", "slogdet", "eigh", "svd", "qr", "triangular_solve"})
"""Ops in which elements come from sums that cancel: they are as exact as the largest one is."""


def _tame(gen: Generator, x: Value) -> Value:
    """Elements up to 1, no NaN: LAPACK adds up in an order of its own, and so meets others when it
    overflows."""
    domain = Domain(-1.0, 1.0)
    x = gen.within(x, domain)
    if gen.smooth:
        return x
    low, high = [emit("constant", value=v, type=x.type) for v in domain]
    return emit("minimum", emit("maximum", emit("where", emit("ne", x, x), low, x), low), high)


def _matrices(gen: Generator, x: Value) -> Value:
    """More than all of a row on the diagonal: 4, 8, 12, ... more."""
    x = _tame(gen, x)
    steps = emit("cast", numbers(x.type, -2), type=x.type) * 4.0 + (4.0 + x.shape[-1])
    return emit("where", is_diagonal(x.type), x + steps, x)


def _square(gen: Generator, x: Value) -> Value:
    if x.shape[-1] == x.shape[-2]:
        return _matrices(gen, x)
    x, other = _tame(gen, x), _tame(gen, gen.supply(x.type))
    y = emit("matmul", x, other, transpose_a=False, transpose_b=True)
    return _matrices(gen, y * (1.0 / max(x.shape[-1], 1)))


def _factorization(name: str, square: bool, **attrs: tuple[object, ...]) -> None:
    def emitter(gen: Generator, x: Value) -> tuple[Value, ...] | None:
        if x.dtype != F64 or x.type.ndim < 2:
            return None
        a = _square(gen, x) if square else _matrices(gen, x)
        chosen = {key: gen.choices.pick(list(values)) for key, values in attrs.items()}
        return emit_node(name, a, **chosen).results

    strategy(name)(emitter)


_factorization("cholesky", True)
_factorization("slogdet", True)
_factorization("eigh", True, lower=(True, False))
_factorization("svd", False)
_factorization("qr", False)


def _solution(name: str, *flags: str) -> None:
    def emitter(gen: Generator, x: Value) -> tuple[Value, ...] | None:
        if x.type.ndim < 2 or not x.type.is_float or (name == "solve" and x.dtype != F64):
            return None
        a = _square(gen, x)
        b = _tame(gen, gen.supply(a.type.with_shape((*a.shape[:-1], gen.size()))))
        return emit_node(name, a, b, **{flag: gen.choices.chance(50) for flag in flags}).results

    strategy(name)(emitter)


_solution("solve", "transpose")
_solution("triangular_solve", "lower", "transpose", "unit")


# Ops that hold graphs.


def _operands(gen: Generator, x: Value) -> list[Value]:
    return [x, *[gen.choices.pick(gen.values) for _ in range(gen.choices.integer(0, 2))]]


@strategy("call")
def call(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    if gen.nested > 1:
        return None
    operands = _operands(gen, x)
    body = gen.body("called", [v.type for v in operands])
    return emit_node("call", *operands, body=body).results


@strategy("custom")
def custom(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    """With the pullback that the body has by itself."""
    if gen.nested > 1:
        return None
    operands = _operands(gen, x)
    body = gen.body("steered", [v.type for v in operands])
    floats = [y.type.is_float for y in body.outputs]
    pullback, targets = vjp_graph(body, floats)
    return emit_node("custom", *operands, body=body, pullback=pullback, targets=tuple(targets)).results


@strategy("cond", smooth=False)
def cond(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    if gen.nested > 1:
        return None
    operands = _operands(gen, x)
    types = [v.type for v in operands]
    if_true = gen.body("if_true", types)
    if_false = gen.body("if_false", types, [y.type for y in if_true.outputs])
    predicate = gen.supply(Type(BOOL))
    return emit_node("cond", predicate, *operands, if_true=if_true, if_false=if_false).results


@strategy("fuse", internal=True)
def fuse(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    """A body of elementwise ops over the shape of x."""
    if gen.nested:
        return None
    operands = [x, gen.supply(x.type)]
    body: Graph = gen.body("fused", [v.type for v in operands], elementwise=True)
    return emit_node("fuse", *operands, body=body).results


@strategy("blocks", internal=True)
def blocks(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    """A body of elementwise ops for each of some equal parts of x."""
    if gen.nested or not x.shape or not x.shape[0]:
        return None
    count = next((n for n in (3, 2) if x.shape[0] % n == 0), 1)
    operands = [x, gen.supply(x.type)]
    part = x.type.with_shape((x.shape[0] // count, *x.shape[1:]))
    body: Graph = gen.body("block", [part, part], elementwise=True)
    if any(y.shape != part.shape for y in body.outputs):
        return None
    return emit_node("blocks", *operands, body=body, count=count, cut=(True, True)).results


@strategy("tasks", internal=True)
def tasks(gen: Generator, x: Value) -> tuple[Value, ...] | None:
    """Two nodes of which neither needs the other."""
    if gen.nested:
        return None
    with Builder() as builder:
        inside = builder.add_input(x.type)
        results = [emit("copy", inside), emit("eq", inside, inside)]
        body = builder.build("tasks", results)
    return emit_node("tasks", x, body=body).results


def describe(type: Type) -> str:
    """A type in a test's name."""
    return f"{SHORT[type.dtype]}[{','.join(map(str, type.shape))}]"


def index_type(shape: tuple[int, ...]) -> Type:
    return Type(np.dtype(I64), shape)
