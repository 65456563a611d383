"""Cases of the rules under `fast_math`: equal for ordinary numbers, but for rounding."""

from tests.passes.equivalence import fires, stays
from tests.passes.vocabulary import M, V, abs_, const, exp, log, power, sqrt, total


def squared_root(x):
    root = sqrt(x)
    return root * root


CASES = [
    fires("add_zero", lambda x: x + 0.0, lambda x: x, V),
    fires("from_zero", lambda x: 0.0 - x, lambda x: -x, V),
    fires("sub_negative_zero", lambda x: x - -0.0, lambda x: x, V),
    fires("sub_same", lambda x: x - x, lambda x: x * 0, V),
    fires("sub_added", lambda x, y: (x + y) - y, lambda x, y: x, V, V),
    fires("add_subtracted", lambda x, y: (x - y) + y, lambda x, y: x, V, V),
    fires("exp_log", lambda x: exp(log(x)), lambda x: x, V),
    fires("log_sqrt", lambda x: log(sqrt(x)), lambda x: log(x) * 0.5, V),
    fires("sqrt_of_square", lambda x: sqrt(x * x), abs_, V),
    fires("square_of_sqrt", squared_root, lambda x: x, V),
    fires("neg_of_difference", lambda x, y: -(x - y), lambda x, y: y - x, V, V),
    fires("product_of_exps", lambda x, y: exp(x) * exp(y), lambda x, y: exp(x + y), V, V),
    fires("div_of_div", lambda x, y, z: (x / y) / z, lambda x, y, z: x / (y * z), V, V, V),
    fires("div_by_div", lambda x, y, z: x / (y / z), lambda x, y, z: (x * z) / y, V, V, V),
    fires("cube", lambda x: power(x, const(3.0, V)), lambda x: (x * x) * x, V),
    fires("square_root", lambda x: power(x, const(0.5, V)), sqrt, V),
    fires("times_zero", lambda x: x * 0, lambda x: const(0.0, V), V),
    stays("times_zero", lambda x: x * 1, V),
    fires("div_same", lambda x: x / x, lambda x: const(1.0, V), V),
    stays("div_same", lambda x, y: x / y, V, V),
    fires("reciprocal", lambda x: x / 3, lambda x: x * (1 / 3), V),
    stays("reciprocal", lambda x: x / 0, V),
    stays("reciprocal", lambda x: x / 5e-324, V),
    stays("reciprocal", lambda x: x / float("nan"), V),
    fires(
        "reassociated_constants", lambda x: (x * 3) * 0.7, lambda x: x * (const(3.0, V) * const(0.7, V)), V
    ),
    fires(
        "reassociated_constants", lambda x: (x + 3) + 0.7, lambda x: x + (const(3.0, V) + const(0.7, V)), V
    ),
    stays("reassociated_constants", lambda x: (x + 3) * 0.7, V),
    stays("reassociated_constants", lambda x, y: (x + y) + 0.7, V, V),
    fires("sum_of_multiple", lambda x: total(x * 3, 1), lambda x: total(x, 1) * 3, M),
    fires("sum_of_multiple", lambda x: total(-x, 1), lambda x: -total(x, 1), M),
    stays("sum_of_multiple", lambda x, y: total(x * y, 1), M, M),
    stays("sum_of_multiple", lambda x: total(x + 3, 1), M),
]
