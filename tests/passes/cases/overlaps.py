"""Cases of the rules on windows and fold."""

from tests.passes.equivalence import INTEGERS, fires, stays
from tests.passes.vocabulary import abs_, fold, most, pad, piece, reshape, total, transpose, windows

L, P = "f64[9]", "f64[7, 8]"
SLIDING = (0, 1), (0, 1)

CASES = [
    fires(
        "windows_of_reading",
        lambda x: windows(piece(x, (1, 4, 2)), (3, 2), *SLIDING),
        lambda x: windows(x, (3, 2), (0, 2), (0, 2), starts=(1,)),
        L,
    ),
    fires(
        "windows_of_reading",
        lambda x: windows(transpose(x, 1, 0), (7, 6, 2), (1, 1), (0, 1), (0, 2)),
        lambda x: windows(x, (7, 6, 2), (0, 1), (1, 1), (1, 2)),
        P,
    ),
    fires(
        "windows_of_reading",
        lambda x: windows(windows(x, (8, 2), *SLIDING), (6, 2, 3), (0, 1), (1, -1), (0, 1), starts=(0, 1)),
        lambda x: windows(x, (6, 2, 3), (0, 1), (0, -1), (0, 1), starts=(1,)),
        L,
    ),
    stays("windows_of_reading", lambda x: windows(abs_(x), (8, 2), *SLIDING), L),
    stays("windows_of_reading", lambda x: windows(piece(x, (1, 4, 2)), (0, 2), *SLIDING), L),
    fires(
        "reading_of_windows",
        lambda x: piece(windows(x, (7, 3), *SLIDING), (6, 3, -2), (1, 2, 1)),
        lambda x: windows(x, (3, 2), (0, -2), (0, 1), starts=(7,)),
        L,
    ),
    fires(
        "reading_of_windows",
        lambda x: transpose(windows(x, (7, 3), *SLIDING), 1, 0),
        lambda x: windows(x, (3, 7), *SLIDING),
        L,
    ),
    stays("reading_of_windows", lambda x: piece(reshape(windows(x, (7, 3), *SLIDING), 21), (0, 4, 2)), L),
    fires(
        "fold_of_spread",
        lambda g: fold(pad(g, (0, 7, 2), (1, 3, 1)), (9,), *SLIDING),
        lambda g: fold(g, (9,), (0, 2), (0, 1), starts=(1,)),
        "f64[4, 2]",
        inputs=INTEGERS,
    ),
    fires(
        "fold_of_spread",
        lambda g: fold(transpose(g, 1, 0), (9,), (0, 1), (0, 3)),
        lambda g: fold(g, (9,), (0, 3), (0, 1)),
        "f64[2, 4]",
        inputs=INTEGERS,
    ),
    fires(
        "fold_of_spread",
        lambda g: fold(fold(g, (5, 2), (0, 1), (0, 1), (1, 1)), (9,), (0, 1), (0, 2)),
        lambda g: fold(g, (9,), (0, 1), (0, 1), (0, 2)),
        "f64[3, 2, 2]",
        inputs=INTEGERS,
    ),
    stays(
        "fold_of_spread", lambda g: fold(pad(g, (0, 7, 2), (1, 3, 1), value=2.0), (9,), *SLIDING), "f64[4, 2]"
    ),
    stays("fold_of_spread", lambda g: fold(abs_(g), (9,), *SLIDING), "f64[4, 2]"),
    fires(
        "transpose_of_fold",
        lambda g: transpose(fold(g, (5, 9), (1, 1), (0, 1), (1, 2)), 1, 0),
        lambda g: fold(g, (9, 5), (0, 1), (1, 1), (0, 2)),
        "f64[3, 4, 2]",
        inputs=INTEGERS,
    ),
    stays(
        "transpose_of_fold",
        lambda g: transpose(abs_(fold(g, (5, 2), (0, 1), (0, 1), (1, 1))), 1, 0),
        "f64[4, 2, 2]",
    ),
    fires(
        "windows_without_overlap",
        lambda x: windows(x, (3, 5), (1, 2), (0, 1), starts=(2, 3)),
        lambda x: transpose(piece(x, (2, 5, 1), (3, 3, 2)), 1, 0),
        P,
    ),
    fires(
        "windows_without_overlap",
        lambda x: windows(x, (3,), (1, -2), starts=(2, 7)),
        lambda x: reshape(piece(x, (2, 1, 1), (7, 3, -2)), 3),
        P,
    ),
    stays("windows_without_overlap", lambda x: windows(x, (3, 3), *SLIDING), L),
    fires(
        "fold_without_overlap",
        lambda g: fold(g, (7, 8), (1, 2), (0, 1), starts=(2, 3)),
        lambda g: pad(transpose(g, 1, 0), (2, 7, 1), (3, 8, 2)),
        "f64[3, 5]",
        inputs=INTEGERS,
    ),
    fires(
        "fold_without_overlap",
        lambda g: fold(g, (2, 5), (1, 1), starts=(1, 0)),
        lambda g: pad(reshape(g, 1, 5), (1, 2, 1), (0, 5, 1)),
        "f64[5]",
        inputs=INTEGERS,
    ),
    stays("fold_without_overlap", lambda g: fold(g, (6,), (0, 3), (0, 1)), "f64[2, 3]"),
    fires(
        "windows_reduced_first",
        lambda x: most(windows(x, (2, 16, 3), (0, 1), (1, 1), (1, 1)), 2),
        lambda x: most(windows(x, (3, 2, 16), (1, 1), (0, 1), (1, 1)), 0),
        "f64[2, 18]",
    ),
    fires(
        "windows_reduced_first",
        lambda x: total(windows(x, (4, 3, 4, 3), (0, 1), (0, 1), (1, 1), (1, 1)), 1, 3),
        lambda x: total(windows(x, (3, 3, 4, 4), (0, 1), (1, 1), (0, 1), (1, 1)), 0, 1),
        "f64[6, 6]",
        inputs=INTEGERS,
    ),
    # Few windows that are long, all axes, and what is first already.
    stays("windows_reduced_first", lambda x: most(windows(x, (2, 8), *SLIDING), 1), L),
    stays("windows_reduced_first", lambda x: most(windows(x, (2, 8), *SLIDING)), L),
    stays("windows_reduced_first", lambda x: most(windows(x, (7, 3), *SLIDING), 0, 1), L),
    stays("windows_reduced_first", lambda x: most(windows(x, (3, 7), *SLIDING), 0), L),
    stays("windows_reduced_first", lambda x: most(x, 1), P),
]
