"""Cases of the rules on slice, pad and concat."""

from tests.passes.equivalence import fires, stays
from tests.passes.vocabulary import (
    B,
    M,
    V,
    W,
    abs_,
    broadcast,
    cast,
    concat,
    const,
    pad,
    piece,
    require,
    reshape,
)

T = "f64[4, 6]"


def small_of_two(x):
    square = x * x
    return piece(square, (1, 1, 1)), square


def small_of_a_chain(x):
    y = -x * x
    return piece(y, (1, 1, 1)), y


def large_of_two(x):
    square = x * x
    return piece(square, (1, 5, 1)), square


CASES = [
    fires("whole_slice", lambda x: piece(x, (0, 3, 1)), lambda x: x, V),
    fires("whole_slice", lambda x: piece(x, (0, 1, -1)), lambda x: x, "f64[1]"),
    stays("whole_slice", lambda x: piece(x, (2, 3, -1)), V),
    stays("whole_slice", lambda x: piece(x, (0, 2, 1)), V),
    fires(
        "slice_of_slice",
        lambda x: piece(piece(x, (5, 3, -2)), (1, 2, 1)),
        lambda x: piece(x, (3, 2, -2)),
        "f64[6]",
    ),
    fires(
        "slice_of_slice",
        lambda x: piece(piece(x, (1, 0, 1)), (0, 0, 5)),
        lambda x: piece(x, (0, 0, 1)),
        "f64[6]",
    ),
    stays("slice_of_slice", lambda x: piece(abs_(x), (1, 2, 1)), "f64[6]"),
    fires(
        "slice_of_broadcast",
        lambda x: piece(broadcast(x, (4, 3), (1,)), (1, 2, 2), (1, 2, 1)),
        lambda x: broadcast(piece(x, (1, 2, 1)), (2, 2), (1,)),
        V,
    ),
    fires(
        "slice_of_broadcast",
        lambda x: piece(broadcast(x, (4, 3), (1,)), (1, 2, 2), (0, 3, 1)),
        lambda x: broadcast(x, (2, 3), (1,)),
        V,
    ),
    stays("slice_of_broadcast", lambda x: piece(x, (1, 2, 2), (1, 2, 1)), T),
    fires("slice_of_pad", lambda x: piece(pad(x, (1, 6, 2)), (3, 2, 2)), lambda x: piece(x, (1, 2, 1)), V),
    fires("slice_of_pad", lambda x: piece(pad(x, (1, 6, 2)), (5, 2, -4)), lambda x: piece(x, (2, 2, -2)), V),
    fires("slice_of_pad", lambda x: piece(pad(x, (5, 6, -2)), (1, 3, 2)), lambda x: piece(x, (2, 3, -1)), V),
    fires(
        "slice_of_pad", lambda x: piece(pad(x, (1, 6, 2), value=-0.0), (0, 3, 2)), lambda x: const(-0.0, V), V
    ),
    fires("slice_of_pad", lambda x: piece(pad(x, (0, 6, 1)), (3, 3, 1)), lambda x: const(0.0, V), V),
    stays("slice_of_pad", lambda x: piece(pad(x, (0, 6, 1)), (2, 3, 1)), V),
    stays("slice_of_pad", lambda x: piece(pad(x, (0, 6, 2)), (0, 3, 1)), V),
    fires(
        "slice_of_concat",
        lambda x, y: piece(concat(x, y), (4, 2, -1)),
        lambda x, y: piece(y, (1, 2, -1)),
        V,
        V,
    ),
    stays("slice_of_concat", lambda x, y: piece(concat(x, y), (2, 2, 1)), V, V),
    fires("whole_pad", lambda x: pad(x, (0, 3, 1)), lambda x: x, V),
    fires("whole_pad", lambda x: pad(x, (2, 3, -1)), lambda x: piece(x, (2, 3, -1)), V),
    stays("whole_pad", lambda x: pad(x, (0, 4, 1)), V),
    fires("pad_with_itself", lambda: pad(const(0.0, V), (1, 5, 1)), lambda: const(0.0, "f64[5]")),
    fires("pad_with_itself", lambda x: pad(x, (0, 5, 1), value=2.0), lambda x: const(2.0, W), "f32[0]"),
    stays("pad_with_itself", lambda: pad(const(-0.0, V), (1, 5, 1))),
    stays("pad_with_itself", lambda x: pad(x, (1, 5, 1)), V),
    fires("pad_of_pad", lambda x: pad(pad(x, (1, 7, 2)), (9, 12, -1)), lambda x: pad(x, (8, 12, -2)), V),
    stays("pad_of_pad", lambda x: pad(pad(x, (1, 7, 2)), (9, 12, -1), value=-0.0), V),
    fires("concat_of_one", concat, lambda x: x, V),
    stays("concat_of_one", concat, V, V),
    fires("concat_of_empty", concat, lambda x, y, z: concat(x, z), V, "f64[0]", V),
    fires("concat_of_empty", concat, lambda x, y: concat(x), "f64[0]", "f64[0]"),
    stays("concat_of_empty", concat, V, V),
    fires("concat_of_splats", lambda: concat(const(1.0, V), const(1.0, V)), lambda: const(1.0, "f64[6]")),
    stays("concat_of_splats", lambda: concat(const(0.0, V), const(-0.0, V))),
    stays("concat_of_splats", lambda x: concat(const(0.0, V), x), V),
    fires(
        "concat_of_neighbours",
        lambda x: concat(piece(x, (0, 2, 1)), piece(x, (2, 3, 1))),
        lambda x: piece(x, (0, 5, 1)),
        "f64[6]",
    ),
    fires(
        "concat_of_neighbours",
        lambda x: concat(piece(x, (5, 1, 1)), piece(x, (3, 2, -2))),
        lambda x: piece(x, (5, 3, -2)),
        "f64[6]",
    ),
    stays("concat_of_neighbours", lambda x: concat(piece(x, (0, 2, 1)), piece(x, (3, 3, 1))), "f64[6]"),
    stays("concat_of_neighbours", lambda x, y: concat(piece(x, (0, 2, 1)), piece(y, (2, 1, 1))), V, V),
    stays("concat_of_neighbours", lambda x: concat(piece(x, (0, 1, 1)), piece(x, (0, 1, 1))), V),
    fires(
        "compute_before_pad",
        lambda x, y: pad(x, (1, 6, 2)) + pad(y, (1, 6, 2), value=2.0),
        lambda x, y: pad(x + y, (1, 6, 2), value=2.0),
        V,
        V,
    ),
    fires(
        "compute_before_pad",
        lambda x: pad(x, (1, 6, 2)) * -3,
        lambda x: pad(x * -3, (1, 6, 2), value=-0.0),
        V,
    ),
    fires(
        "compute_before_pad",
        lambda x: cast(pad(x, (1, 6, 2), value=0.1), "f32"),
        lambda x: pad(cast(x, "f32"), (1, 6, 2), value=0.10000000149011612),
        V,
    ),
    stays("compute_before_pad", lambda x, y: pad(x, (1, 6, 2)) + pad(y, (0, 6, 2)), V, V),
    stays("compute_before_pad", lambda x, y: pad(x, (1, 6, 2)) + y, V, "f64[6]"),
    fires(
        "slice_of_elementwise",
        lambda x, y: piece(x * y, (0, 2, 1)),
        lambda x, y: piece(x, (0, 2, 1)) * piece(y, (0, 2, 1)),
        V,
        V,
    ),
    fires(
        "slice_of_elementwise",
        lambda x: piece(cast(x, "f32"), (0, 2, 1)),
        lambda x: cast(piece(x, (0, 2, 1)), "f32"),
        V,
    ),
    fires(
        "slice_of_elementwise",
        small_of_two,
        lambda x: (piece(x, (1, 1, 1)) * piece(x, (1, 1, 1)), x * x),
        "f64[6]",
    ),
    stays("slice_of_elementwise", large_of_two, "f64[6]"),
    stays("slice_of_elementwise", small_of_a_chain, "f64[6]"),
    stays("slice_of_elementwise", lambda x, y: piece(require(x, y), (0, 2, 1)), V, B),
    stays("slice_of_elementwise", lambda x: piece(reshape(x, 6), (0, 2, 1)), M),
]
