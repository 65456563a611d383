"""Cases of the rules on broadcast, reshape and transpose."""

from tests.passes.equivalence import fires, stays
from tests.passes.vocabulary import B, M, S, V, abs_, broadcast, cast, exp, require, reshape, transpose

CASES = [
    fires("identity_layout", lambda x: reshape(x, 3), lambda x: x, V),
    fires("identity_layout", lambda x: broadcast(x, (3,), (0,)), lambda x: x, V),
    fires("identity_layout", lambda x: transpose(x, 0, 1), lambda x: x, M),
    stays("identity_layout", lambda x: transpose(x, 1, 0), "f64[3, 3]"),
    stays("identity_layout", lambda x: reshape(x, 3, 2), M),
    fires(
        "broadcast_of_broadcast",
        lambda x: broadcast(broadcast(x, (2, 3), (1,)), (5, 2, 4, 3), (1, 3)),
        lambda x: broadcast(x, (5, 2, 4, 3), (3,)),
        V,
    ),
    stays("broadcast_of_broadcast", lambda x: broadcast(reshape(x, 6), (2, 6), (1,)), M),
    fires("reshape_of_reshape", lambda x: reshape(reshape(x, 6), 3, 2), lambda x: reshape(x, 3, 2), M),
    stays("reshape_of_reshape", lambda x: reshape(transpose(x, 1, 0), 6), M),
    fires(
        "transpose_of_transpose",
        lambda x: transpose(transpose(x, 1, 2, 0), 0, 2, 1),
        lambda x: transpose(x, 1, 0, 2),
        "f64[2, 3, 4]",
    ),
    stays("transpose_of_transpose", lambda x: transpose(reshape(x, 3, 2), 1, 0), M),
    fires("broadcast_to_ones", lambda x: broadcast(x, (1, 3, 1), (1,)), lambda x: reshape(x, 1, 3, 1), V),
    stays("broadcast_to_ones", lambda x: broadcast(x, (2, 3, 1), (1,)), V),
    stays("broadcast_to_ones", lambda x: broadcast(x, (2, 0), (1,)), "f64[0]"),
    fires(
        "transpose_of_ones", lambda x: transpose(x, 1, 2, 0), lambda x: reshape(x, 2, 3, 1), "f64[1, 2, 3]"
    ),
    stays("transpose_of_ones", lambda x: transpose(x, 1, 0), M),
    fires(
        "transpose_of_broadcast",
        lambda x: transpose(broadcast(x, (2, 3), (1,)), 1, 0),
        lambda x: broadcast(x, (3, 2), (0,)),
        V,
    ),
    fires(
        "transpose_of_broadcast",
        lambda x: transpose(broadcast(x, (2, 4, 3), (0, 2)), 2, 1, 0),
        lambda x: broadcast(transpose(x, 1, 0), (3, 4, 2), (0, 2)),
        M,
    ),
    stays("transpose_of_broadcast", lambda x: transpose(exp(x), 1, 0), M),
    fires(
        "reshape_of_broadcast",
        lambda x: reshape(broadcast(x, (4, 3), (1,)), 2, 2, 3),
        lambda x: broadcast(x, (2, 2, 3), (2,)),
        V,
    ),
    fires(
        "reshape_of_broadcast",
        lambda x: reshape(broadcast(x, (2, 2, 2, 3), (2, 3)), 4, 6),
        lambda x: broadcast(reshape(x, 6), (4, 6), (1,)),
        M,
    ),
    fires(
        "reshape_of_broadcast",
        lambda x: reshape(broadcast(x, (2, 6), ()), 3, 4),
        lambda x: broadcast(x, (3, 4), ()),
        S,
    ),
    stays("reshape_of_broadcast", lambda x: reshape(broadcast(x, (4, 3), (1,)), 12), V),
    stays("reshape_of_broadcast", lambda x: reshape(broadcast(x, (3, 4), (0,)), 3, 2, 2), V),
    fires(
        "compute_before_broadcast",
        lambda x: abs_(broadcast(x, (2, 3), (1,))),
        lambda x: broadcast(abs_(x), (2, 3), (1,)),
        V,
    ),
    fires(
        "compute_before_broadcast",
        lambda x: cast(broadcast(x, (2, 3), (1,)), "f32"),
        lambda x: broadcast(cast(x, "f32"), (2, 3), (1,)),
        V,
    ),
    fires(
        "compute_before_broadcast",
        lambda x, y: broadcast(x, (2, 3), (1,)) * broadcast(y, (2, 3), (1,)),
        lambda x, y: broadcast(x * y, (2, 3), (1,)),
        V,
        V,
    ),
    fires(
        "compute_before_broadcast",
        lambda x: broadcast(x, (2, 3), (1,)) * 2,
        lambda x: broadcast(x * 2, (2, 3), (1,)),
        V,
    ),
    fires(
        "compute_before_broadcast",
        lambda x, y: broadcast(x, (4, 2, 3), (2,)) + broadcast(y, (4, 2, 3), (1, 2)),
        lambda x, y: broadcast(broadcast(x, (2, 3), (1,)) + y, (4, 2, 3), (1, 2)),
        V,
        M,
    ),
    stays(
        "compute_before_broadcast",
        lambda x, y: broadcast(x, (2, 3), (1,)) + broadcast(y, (2, 3), (0,)),
        V,
        "f64[2]",
    ),
    stays("compute_before_broadcast", lambda x, y: broadcast(x, (2, 3), (1,)) + y, V, M),
    fires(
        "compute_before_ones", lambda x: abs_(reshape(x, 3, 1)) * 2, lambda x: reshape(abs_(x) * 2, 3, 1), V
    ),
    fires(
        "compute_before_ones",
        lambda x, y: reshape(x, 1, 3) - reshape(y, 1, 3),
        lambda x, y: reshape(x - y, 1, 3),
        V,
        V,
    ),
    stays("compute_before_ones", lambda x: abs_(reshape(x, 3)), "f64[3, 1]"),
    stays("compute_before_ones", lambda x: abs_(reshape(x, 1, 2, 3)), "f64[6]"),
    stays("compute_before_ones", lambda x, y: reshape(x, 1, 3) - y, V, "f64[1, 3]"),
    stays("compute_before_ones", lambda x, y: reshape(x, 1, 1) - reshape(y, 1, 1), "f64[]", "f64[1]"),
    stays(
        "compute_before_broadcast",
        lambda x, y: require(broadcast(x, (0, 3), (1,)), broadcast(y, (0, 3), (1,))),
        V,
        B,
    ),
]
