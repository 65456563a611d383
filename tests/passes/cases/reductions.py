"""Cases of the rules on reductions and matrix products."""

import numpy as np

from gradc.ir import emit
from tests.passes.equivalence import INTEGERS, fires, stays
from tests.passes.vocabulary import (
    M,
    S,
    V,
    broadcast,
    const,
    exp,
    least,
    matmul,
    most,
    product,
    reshape,
    total,
    transpose,
)


def product_and_transpose(x, y):
    shared = matmul(x, y)
    return transpose(shared, 1, 0), shared


CASES = [
    fires("reduce_nothing", total, lambda x: x, V, inputs="sums"),
    fires("reduce_nothing", lambda x: most(x, 1), lambda x: reshape(x, 3), "f64[3, 1]"),
    fires("reduce_nothing", lambda x: total(x, 0, 1), reshape, "f64[1, 1]", inputs="sums"),
    stays("reduce_nothing", lambda x: total(x, 0, 1), "f64[3, 1]"),
    fires("reduce_empty", lambda x: total(x, 0), lambda x: const(0.0, S), "f64[0]"),
    fires("reduce_empty", lambda x: product(x, 0), lambda x: const(1.0, V), "f64[0, 3]"),
    stays("reduce_empty", lambda x: total(x, 0), V),
    fires("reduce_of_reduce", lambda x: total(total(x, 1), 0), lambda x: total(x, 0, 1), M, inputs="sums"),
    fires(
        "reduce_of_reduce",
        lambda x: least(least(x, 0), 1),
        lambda x: least(x, 0, 2),
        "f64[2, 3, 4]",
        inputs="sums",
    ),
    stays("reduce_of_reduce", lambda x: total(most(x, 1), 0), M),
    fires(
        "reduce_of_broadcast",
        lambda x: total(broadcast(x, (4, 3), (1,)), 0),
        lambda x: x * 4,
        V,
        inputs="sums",
    ),
    fires("reduce_of_broadcast", lambda x: most(broadcast(x, (4, 3), (1,)), 0), lambda x: x, V),
    fires(
        "reduce_of_broadcast",
        lambda x: total(broadcast(x, (4, 3), (1,)), 1),
        lambda x: broadcast(total(x, 0), (4,), ()),
        V,
        inputs="sums",
    ),
    fires(
        "reduce_of_broadcast",
        lambda x: total(broadcast(x, (5, 2, 4, 3), (1, 3)), 0, 3),
        lambda x: broadcast(total(x, 1), (2, 4), (0,)) * 5,
        M,
        inputs="sums",
    ),
    fires(
        "reduce_of_broadcast",
        lambda x: product(broadcast(x, (4, 3), (1,)), 1),
        lambda x: broadcast(product(x, 0), (4,), ()),
        V,
        inputs="sums",
    ),
    stays("reduce_of_broadcast", lambda x: product(broadcast(x, (4, 3), (1,)), 0), V),
    stays("reduce_of_broadcast", lambda x: total(broadcast(x, (0, 3), (1,)), 0), V),
    fires("reduce_of_splat", lambda: total(const(0.5, M), 1), lambda: const(0.5, "f64[2]") * 3),
    fires("reduce_of_splat", lambda: most(const(np.nan, M), 0), lambda: const(np.nan, V)),
    stays("reduce_of_splat", lambda: product(const(0.5, M), 0)),
    stays("reduce_of_splat", lambda: total(const(0.5, "f64[0]"), 0)),
    fires(
        "reduce_of_transpose", lambda x: total(transpose(x, 1, 0), 0), lambda x: total(x, 1), M, inputs="sums"
    ),
    fires(
        "reduce_of_transpose",
        lambda x: most(transpose(x, 2, 1, 0), 1),
        lambda x: transpose(most(x, 1), 1, 0),
        "f64[2, 3, 4]",
        inputs="sums",
    ),
    stays("reduce_of_transpose", lambda x: emit("argmax", transpose(x, 1, 0), axis=0), M),
    fires(
        "reduce_all_of_reshape",
        lambda x: total(reshape(x, 3, 2), 0, 1),
        lambda x: total(x, 0, 1),
        M,
        inputs="sums",
    ),
    stays("reduce_all_of_reshape", lambda x: total(reshape(x, 3, 2), 0), M),
    fires(
        "transposed_operands",
        lambda x, y: matmul(transpose(x, 1, 0), y),
        lambda x, y: matmul(x, y, True),
        M,
        "f64[2, 4]",
        inputs=INTEGERS,
    ),
    fires(
        "transposed_operands",
        lambda x, y: matmul(transpose(x, 1, 0), transpose(y, 0, 2, 1), True),
        lambda x, y: matmul(x, y, False, True),
        M,
        "f64[5, 4, 3]",
        inputs=INTEGERS,
    ),
    stays("transposed_operands", lambda x, y: matmul(transpose(x, 1, 0, 2), y), "f64[2, 5, 3]", "f64[3, 4]"),
    fires(
        "transposed_product",
        lambda x, y: transpose(matmul(x, y), 1, 0),
        lambda x, y: matmul(y, x, True, True),
        M,
        "f64[3, 4]",
        inputs=INTEGERS,
    ),
    fires(
        "transposed_product",
        lambda x, y: transpose(matmul(x, y, True), 1, 0),
        lambda x, y: matmul(y, x, True, False),
        M,
        "f64[2, 4]",
        inputs=INTEGERS,
    ),
    stays("transposed_product", product_and_transpose, M, "f64[3, 4]"),
    stays("transposed_product", lambda x: transpose(exp(x), 1, 0), M),
]
