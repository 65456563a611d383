"""Cases of the rules on gather and scatter_add."""

from gradc.ir import emit
from tests.passes.equivalence import fires, stays
from tests.passes.vocabulary import (
    M,
    N,
    S,
    V,
    broadcast,
    const,
    eq,
    gather,
    iota,
    piece,
    reshape,
    transpose,
    where,
)

T = "f64[4, 6]"


def scatter(x, *indices, axes=(0, 1), into=None):
    return emit("scatter_add", const(0.0, into or T), x, *indices, axes=axes)


def one_hot(x, y):
    return where(
        eq(broadcast(y, (4, 6), (0,)), iota("i64[4, 6]", 1)), broadcast(x + 0.0, (4, 6), (0,)), const(0.0, T)
    )


def both(x, y):
    square = x * x
    return gather(square, y), square


CASES = [
    fires(
        "gather_constant_index",
        lambda x: gather(x, iota("i64[6]"), axes=(1,)),
        lambda x: transpose(piece(x, (0, 4, 1), (0, 6, 1)), 1, 0),
        T,
    ),
    fires(
        "gather_constant_index",
        lambda x: gather(x, const(2, "i64[]"), axes=(1,)),
        lambda x: reshape(transpose(piece(x, (0, 4, 1), (2, 1, 1)), 1, 0), 4),
        T,
    ),
    fires(
        "gather_constant_index",
        lambda x: gather(x, const([3, 1], "i64[2]")),
        lambda x: transpose(piece(x, (3, 2, -2), (0, 6, 1)), 0, 1),
        T,
    ),
    stays("gather_constant_index", lambda x: gather(x, const([3, 1, 2], "i64[3]")), T),
    stays("gather_constant_index", lambda x: gather(x, const([4, 5], "i64[2]")), T),
    stays("gather_constant_index", lambda x: gather(x, const(1, "i64[2]")), T),
    stays("gather_constant_index", lambda x: gather(x, iota("i64[5]")), T),
    fires(
        "gather_of_broadcast",
        lambda x: gather(broadcast(x, (3, 4), (0,)), iota("i64[3]"), const(1, N), axes=(0, 1)),
        lambda x: gather(x, iota("i64[3]")),
        V,
    ),
    fires(
        "gather_of_broadcast",
        lambda x: gather(broadcast(x, (3, 4), (0,)), iota("i64[2]"), axes=(1,)),
        lambda x: broadcast(x, (2, 3), (1,)),
        V,
    ),
    fires(
        "gather_of_broadcast",
        lambda x: gather(broadcast(x, (2, 5, 3), (0, 2)), iota("i64[2]"), iota("i64[2]"), axes=(0, 1)),
        lambda x: gather(x, iota("i64[2]")),
        M,
    ),
    stays("gather_of_broadcast", lambda x: gather(broadcast(x, (3, 4), (0,)), iota("i64[5]"), axes=(1,)), V),
    stays(
        "gather_of_broadcast",
        lambda x, y: gather(broadcast(x, (3, 4), (0,)), iota("i64[3]"), y, axes=(0, 1)),
        V,
        N,
    ),
    stays("gather_of_broadcast", lambda x: gather(broadcast(x, (4, 3), (1,)), iota("i64[3]"), axes=(1,)), V),
    fires(
        "gather_of_broadcast",
        lambda x: gather(broadcast(x, (3, 4), (0,)), const([3, 0], "i64[2]"), axes=(1,)),
        lambda x: broadcast(x, (2, 3), (1,)),
        V,
    ),
    stays(
        "gather_of_broadcast",
        lambda x: gather(broadcast(x, (3, 4), (0,)), const([3, 4], "i64[2]"), axes=(1,)),
        V,
    ),
    fires(
        "gather_of_elementwise",
        lambda x, y, z: gather(z - broadcast(x, (4, 6), (0,)), iota("i64[4]"), y, axes=(0, 1)),
        lambda x, y, z: gather(z, iota("i64[4]"), y, axes=(0, 1)) - gather(x, iota("i64[4]")),
        "f64[4]",
        "i64[4]",
        T,
        inputs="places",
    ),
    fires(
        "gather_of_elementwise",
        lambda x, y: gather(x * 2, y),
        lambda x, y: gather(x, y) * 2,
        V,
        N,
        inputs="places",
    ),
    fires(
        "gather_of_elementwise",
        lambda x, y, z: gather(x * broadcast(z, (4, 6), (0,)), y),
        lambda x, y, z: gather(x, y) * gather(broadcast(z, (4, 6), (0,)), y),
        T,
        N,
        "f64[4]",
        inputs="places",
    ),
    stays("gather_of_elementwise", lambda x, y, z: gather(x * z, y), V, N, V),
    stays("gather_of_elementwise", lambda y: gather(broadcast(const(2.0, S), (3,), ()) * 2, y), N),
    stays("gather_of_elementwise", both, V, N),
    fires(
        "one_for_each_row",
        lambda x, y: scatter(x, iota("i64[4]"), y),
        one_hot,
        "f64[4]",
        "i64[4]",
        inputs="places",
    ),
    fires(
        "one_for_each_row",
        lambda x, y: scatter(x, const([0, 1, 2, 3], "i64[4]"), y),
        one_hot,
        "f64[4]",
        "i64[4]",
        inputs="places",
    ),
    stays("one_for_each_row", lambda x, y: scatter(x, iota("i64[3]"), y), V, N),
    stays("one_for_each_row", scatter, V, N, N),
    stays(
        "one_for_each_row",
        lambda x, y: emit("scatter_add", const(1.0, T), x, iota("i64[4]"), y, axes=(0, 1)),
        "f64[4]",
        "i64[4]",
    ),
    stays("one_for_each_row", lambda x, y: scatter(x, y, axes=(0,)), "f64[3, 6]", N),
]
