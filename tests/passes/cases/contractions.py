"""Cases of the rules that find convolutions."""

from tests.passes.equivalence import POSITIVE, fires, stays
from tests.passes.vocabulary import (
    abs_,
    broadcast,
    concat,
    contract,
    fold,
    matmul,
    pad,
    piece,
    reshape,
    total,
    transpose,
    windows,
)

LINE, KERNEL = "f64[9]", "f64[3]"
IMAGE, WEIGHTS = "f64[2, 5, 6, 3]", "f64[2, 3, 3, 4]"
PATCHES = (2, 4, 4, 3, 2, 3), (0, 1), (1, 1), (2, 1), (3, 1), (1, 1), (2, 1)


def line(x, count=7, size=3):
    return windows(x, (count, size), (0, 1), (0, 1))


def twice(x, w):
    products = line(x) * broadcast(w, (7, 3), (1,))
    return total(products, 1), products


def product_and_transpose(x, w):
    y = contract(x, w, "02,21->01")
    return transpose(y, 1, 0), y


def fold_and_product(g, w):
    y = contract(g, w, "0,1->01")
    return fold(y, (9,), (0, 1), (0, 1)), y


def in_two_phases(g, w):
    padded = pad(g, (1, 9, 1))
    even = contract(windows(padded, (8, 2), (0, 1), (0, -1), starts=(1,)), piece(w, (0, 2, 2)), "01,1->0")
    odd = contract(windows(padded, (8, 1), (0, 1), (0, -1), starts=(1,)), piece(w, (1, 1, 1)), "01,1->0")
    both = reshape(concat(reshape(even, 1, 8), reshape(odd, 1, 8)), 2, 8)
    return piece(fold(both, (16,), (0, 1), (0, 2)), (0, 15, 1))


CASES = [
    fires(
        "product_of_windows",
        lambda x, w: matmul(line(x), reshape(w, 3, 1)),
        lambda x, w: reshape(contract(line(x), w, "01,1->0"), 7, 1),
        *(LINE, KERNEL),
        inputs=POSITIVE,
    ),
    fires(
        "product_of_windows",
        lambda x, w: matmul(reshape(windows(x, *PATCHES), 32, 18), reshape(transpose(w, 2, 0, 1, 3), 18, 4)),
        lambda x, w: reshape(
            contract(
                windows(x, *PATCHES),
                transpose(w, 3, 2, 0, 1),
                "012456,3456->0123",
            ),
            32,
            4,
        ),
        *(IMAGE, WEIGHTS),
        inputs=POSITIVE,
    ),
    fires(
        "product_of_windows",
        lambda x, w: matmul(w, line(x), False, True),
        lambda x, w: contract(w, line(x), "02,12->01"),
        *(LINE, "f64[2, 3]"),
        inputs=POSITIVE,
    ),
    fires(
        "product_of_windows",
        lambda x, w: matmul(line(x), w, True, False),
        lambda x, w: contract(windows(x, (3, 7), (0, 1), (0, 1)), transpose(w, 1, 0), "02,12->01"),
        *(LINE, "f64[7, 2]"),
        inputs=POSITIVE,
    ),
    fires(
        "product_of_windows",
        lambda x, w: matmul(windows(x, (2, 5, 3), (0, 1), (1, 1), (1, 1)), w),
        lambda x, w: contract(
            windows(x, (2, 5, 3), (0, 1), (1, 1), (1, 1)), transpose(w, 0, 2, 1), "013,023->012"
        ),
        *("f64[2, 7]", "f64[2, 3, 4]"),
        inputs=POSITIVE,
    ),
    stays("product_of_windows", matmul, "f64[7, 3]", "f64[3, 2]"),
    stays(
        "product_of_windows", lambda x, w: matmul(windows(x, (2, 3), (0, 3), (0, 1)), w), LINE, "f64[3, 0]"
    ),
    stays("product_of_windows", lambda x, w: matmul(abs_(line(x)), w), LINE, "f64[3, 2]"),
    fires(
        "sum_of_products_with_windows",
        lambda x, w: total(line(x) * broadcast(w, (7, 3), (1,)), 1),
        lambda x, w: contract(line(x), w, "01,1->0"),
        *(LINE, KERNEL),
        inputs=POSITIVE,
    ),
    fires(
        "sum_of_products_with_windows",
        lambda x, w: total(broadcast(w, (7, 2, 3), (2,)) * windows(x, (7, 2, 3), (0, 1), (1, 1), (0, 1)), 2),
        lambda x, w: contract(w, windows(x, (7, 2, 3), (0, 1), (1, 1), (0, 1)), "2,012->01"),
        *("f64[9, 2]", KERNEL),
        inputs=POSITIVE,
    ),
    stays("sum_of_products_with_windows", twice, LINE, KERNEL),
    stays(
        "sum_of_products_with_windows",
        lambda x, w: total(line(x) * broadcast(w, (7, 3), (1,)), 0, 1),
        LINE,
        KERNEL,
    ),
    stays("sum_of_products_with_windows", lambda x: total(line(x) * line(x), 0, 1), LINE),
    stays(
        "sum_of_products_with_windows",
        lambda x, w: total(line(x) * broadcast(w, (7, 3), ()), 1),
        LINE,
        "f64[]",
    ),
    stays(
        "sum_of_products_with_windows",
        lambda x, w: total(x * broadcast(w, (7, 3), (1,)), 1),
        "f64[7, 3]",
        KERNEL,
    ),
    fires(
        "transposed_contraction",
        lambda x, w: transpose(contract(x, w, "02,21->01"), 1, 0),
        lambda x, w: contract(x, w, "02,21->10"),
        *("f64[5, 3]", "f64[3, 4]"),
        inputs=POSITIVE,
    ),
    fires(
        "transposed_contraction",
        lambda x, w: transpose(reshape(contract(x, w, "013,32->012"), 10, 4), 1, 0),
        lambda x, w: reshape(contract(x, w, "013,32->201"), 4, 10),
        *("f64[5, 2, 3]", "f64[3, 4]"),
        inputs=POSITIVE,
    ),
    stays("transposed_contraction", product_and_transpose, "f64[5, 3]", "f64[3, 4]"),
    stays(
        "transposed_contraction",
        lambda x, w: transpose(reshape(contract(x, w, "02,21->01"), 5, 2, 2), 0, 2, 1),
        "f64[5, 3]",
        "f64[3, 4]",
    ),
    fires(
        "fold_of_contraction",
        lambda g, w: fold(contract(g, w, "0,1->01"), (9,), (0, 1), (0, 1)),
        lambda g, w: contract(
            windows(pad(g, (2, 11, 1)), (9, 3), (0, 1), (0, -1), starts=(2,)), w, "01,1->0"
        ),
        *("f64[7]", KERNEL),
        inputs=POSITIVE,
    ),
    fires(
        "fold_of_contraction",
        lambda g, w: fold(contract(w, g, "21,02->01"), (12,), (0, 1), (0, 2), starts=(1,)),
        lambda g, w: contract(
            w,
            windows(
                pad(transpose(g, 1, 0), (0, 2, 1), (5, 16, 1)),
                (2, 12, 3),
                (0, 1),
                (1, 1),
                (1, -2),
                starts=(0, 4),
            ),
            "21,201->0",
        ),
        *("f64[7, 2]", "f64[2, 3]"),
        inputs=POSITIVE,
    ),
    # Every other element of the image gets the kernel's places 0 and 2, the others only place 1.
    fires(
        "fold_of_contraction",
        lambda g, w: fold(contract(g, w, "0,1->01"), (15,), (0, 2), (0, 1)),
        in_two_phases,
        "f64[7]",
        KERNEL,
        inputs=POSITIVE,
    ),
    # Steps without overlap, positions fewer than places, a use elsewhere, an axis that both walk along.
    stays(
        "fold_of_contraction",
        lambda g, w: fold(contract(g, w, "0,1->01"), (21,), (0, 3), (0, 1)),
        "f64[7]",
        KERNEL,
    ),
    stays(
        "fold_of_contraction",
        lambda g, w: fold(contract(g, w, "01,23->0123"), (3, 3), (0, 1), (1, 1), (0, 1), (1, 1)),
        "f64[2, 2]",
        "f64[2, 2]",
    ),
    stays("fold_of_contraction", fold_and_product, "f64[7]", KERNEL),
    stays(
        "fold_of_contraction",
        lambda g, w: fold(contract(g, w, "02,102->01"), (9,), (0, 1), (0, 1)),
        "f64[7, 2]",
        "f64[3, 7, 2]",
    ),
    stays("fold_of_contraction", lambda g: fold(g, (9,), (0, 1), (0, 1)), "f64[7, 3]"),
]
