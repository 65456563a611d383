"""Cases of the rules on constants."""

import numpy as np

from gradc.ir import emit
from tests.passes.equivalence import fires, stays
from tests.passes.vocabulary import (
    B,
    M,
    N,
    S,
    V,
    W,
    broadcast,
    cast,
    const,
    exp,
    gather,
    gt,
    lt,
    maximum,
    piece,
    power,
    require,
    reshape,
    total,
)

CASES = [
    fires("fold_splats", lambda: exp(const(0.0, V)), lambda: const(1.0, V)),
    fires("fold_splats", lambda: const(1e300, V) * 1e300, lambda: const(np.inf, V)),
    fires("fold_splats", lambda: -const(0.0, W), lambda: const(-0.0, W)),
    fires("fold_splats", lambda: cast(const(2.9, V), "i64"), lambda: const(2, N)),
    fires("fold_splats", lambda: emit("floor_divide", const(7, N), const(0, N)), lambda: const(0, N)),
    stays("fold_splats", lambda x: x + 1, V),
    stays("fold_splats", lambda: power(const(2, N), const(-1, N))),
    stays("fold_splats", lambda: require(const(1.0, V), const(False, B))),
    fires("move_splat", lambda: broadcast(const(2.0, S), (3,), ()), lambda: const(2.0, V)),
    fires(
        "move_splat", lambda: piece(const(-0.0, M), (0, 2, 1), (2, 1, 1)), lambda: const(-0.0, "f64[2, 1]")
    ),
    stays("move_splat", lambda: reshape(const([1.0, 2.0], "f64[2]"), 2, 1)),
    fires("written_splat", lambda: const([2.0, 2.0], "f64[2]"), lambda: const(2.0, "f64[2]")),
    stays("written_splat", lambda: const([0.0, -0.0], "f64[2]")),
    stays("written_splat", lambda: const([], "f64[0]")),
    fires("fold_small", lambda: const([1.0, 2.0], "f64[2]") * 3, lambda: const([3.0, 6.0], "f64[2]")),
    fires(
        "fold_small",
        lambda: reshape(const([1.0, 2.0], "f64[2]"), 2, 1),
        lambda: const([[1.0], [2.0]], "f64[2, 1]"),
    ),
    fires("fold_small", lambda: total(const([1.0, 2.0], "f64[2]"), 0), lambda: const(3.0, S)),
    stays("fold_small", lambda: broadcast(const([1.0, 2.0], "f64[2]"), (9, 2), (1,))),
    stays("fold_small", lambda: gather(const([1.0, 2.0], "f64[2]"), const(2, "i64[]"))),
    fires("constant_right", lambda x: 2 + x, lambda x: x + 2, V),
    fires("constant_right", lambda x: lt(const(2.0, V), x), lambda x: gt(x, const(2.0, V)), V),
    fires("constant_right", lambda x: maximum(const(2.0, V), x), lambda x: maximum(x, const(2.0, V)), V),
    stays("constant_right", lambda x: 2 - x, V),
    stays("constant_right", lambda x: x + 2, V),
    stays("constant_right", lambda x: maximum(const(0.0, V), x), V),
]
