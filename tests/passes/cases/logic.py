"""Cases of the rules on selections, comparisons, booleans and casts."""

import numpy as np

from gradc.ir import emit
from tests.passes.equivalence import fires, stays
from tests.passes.vocabulary import (
    B,
    N,
    U,
    V,
    W,
    abs_,
    cast,
    const,
    eq,
    ge,
    gt,
    lt,
    maximum,
    minimum,
    ne,
    require,
    where,
    xor,
)


def shared_both(x, y, z):
    other = -z
    return where(x, where(y, z, other), other)


def shared_either(x, y, z):
    other = -z
    return where(x, other, where(y, other, z))


CASES = [
    fires("maximum_of_same", lambda x: maximum(x, x), lambda x: x, V),
    fires("minimum_of_same", lambda x: minimum(x, x), lambda x: x, V),
    fires("double_invert", lambda x: ~~x, lambda x: x, N),
    fires("and_same", lambda x: x & x, lambda x: x, B),
    fires("or_same", lambda x: x | x, lambda x: x, N),
    fires("where_same", lambda x, y: where(x, y, y), lambda x, y: y, B, V),
    fires("where_inverted", lambda x, y, z: where(~x, y, z), lambda x, y, z: where(x, z, y), B, V, V),
    fires(
        "where_true_again",
        lambda x, y, z, w: where(x, where(x, y, z), w),
        lambda x, y, z, w: where(x, y, w),
        B,
        V,
        V,
        V,
    ),
    fires(
        "where_false_again",
        lambda x, y, z, w: where(x, y, where(x, z, w)),
        lambda x, y, z, w: where(x, y, w),
        B,
        V,
        V,
        V,
    ),
    fires("where_constant", lambda x, y: where(const(True, B), x, y), lambda x, y: x, V, V),
    fires("where_constant", lambda x, y: where(const(False, B), x, y), lambda x, y: y, V, V),
    stays("where_constant", lambda x: where(x, const(True, B), const(True, B)), B),
    fires("where_is_condition", lambda x: where(x, const(True, B), const(False, B)), lambda x: x, B),
    fires("where_is_condition", lambda x: where(x, const(False, B), const(True, B)), lambda x: ~x, B),
    stays("where_is_condition", lambda x: where(x, const(1.0, V), const(0.0, V)), B),
    fires("logic_with_constant", lambda x: x & True, lambda x: x, B),
    fires("logic_with_constant", lambda x: x & False, lambda x: const(False, B), B),
    fires("logic_with_constant", lambda x: x | True, lambda x: const(True, B), B),
    fires("logic_with_constant", lambda x: x | False, lambda x: x, B),
    fires("logic_with_constant", lambda x: xor(x, const(True, B)), lambda x: ~x, B),
    fires("logic_with_constant", lambda x: xor(x, const(False, B)), lambda x: x, B),
    stays("logic_with_constant", lambda x: x & 1, N),
    fires("compared_with_constant", lambda x: eq(x, const(True, B)), lambda x: x, B),
    fires("compared_with_constant", lambda x: ne(x, const(True, B)), lambda x: ~x, B),
    fires("compared_with_constant", lambda x: eq(x, const(False, B)), lambda x: ~x, B),
    stays("compared_with_constant", lambda x: eq(x, const(1.0, V)), V),
    fires("compared_with_itself", lambda x: x < x, lambda x: const(False, B), V),
    fires("compared_with_itself", lambda x: ge(x, x), lambda x: const(True, B), N),
    fires("compared_with_itself", lambda x: ne(x, x), lambda x: const(False, B), N),
    stays("compared_with_itself", lambda x: eq(x, x), V),  # this is how NaN is found
    stays("compared_with_itself", lambda x: ge(x, x), V),
    stays("compared_with_itself", lt, N, N),
    fires("inverted_comparison", lambda x, y: ~eq(x, y), ne, V, V),
    fires("inverted_comparison", lambda x, y: ~lt(x, y), ge, N, N),
    stays("inverted_comparison", lambda x, y: ~lt(x, y), V, V),
    fires(
        "two_magnitudes",
        lambda x: eq(x, const(0.0, V)) & eq(abs_(x), const(np.inf, V)),
        lambda x: const(False, B),
        V,
    ),
    stays("two_magnitudes", lambda x: eq(x, const(-np.inf, V)) & eq(abs_(x), const(np.inf, V)), V),
    stays("two_magnitudes", lambda x, y: eq(x, const(0.0, V)) & eq(abs_(y), const(np.inf, V)), V, V),
    fires("compared_cast_bool", lambda x: ne(cast(x, "f64"), const(0.0, V)), lambda x: x, B),
    fires("compared_cast_bool", lambda x: eq(cast(x, "i64"), const(0, N)), lambda x: ~x, B),
    fires("compared_cast_bool", lambda x: ne(cast(x, "i64"), const(1, N)), lambda x: ~x, B),
    stays("compared_cast_bool", lambda x: eq(cast(x, "i64"), const(2, N)), B),
    stays("compared_cast_bool", lambda x: ne(cast(x, "f64"), const(0.0, V)), N),
    fires("cast_to_same", lambda x: cast(x, "f64"), lambda x: x, V),
    stays("cast_to_same", lambda x: cast(x, "f32"), V),
    fires("cast_of_cast", lambda x: cast(cast(x, "f64"), "f32"), lambda x: cast(x, "f32"), W),
    fires("cast_of_cast", lambda x: cast(cast(x, "i32"), "f32"), lambda x: cast(x, "f32"), U),
    fires("cast_of_cast", lambda x: cast(cast(x, "i64"), "i8"), lambda x: cast(x, "i8"), "i32[3]"),
    fires("cast_of_cast", lambda x: cast(cast(x, "f64"), "f32"), lambda x: cast(x, "f32"), "i32[3]"),
    fires("cast_of_cast", lambda x: cast(cast(x, "f32"), "bool"), lambda x: cast(x, "bool"), B),
    stays("cast_of_cast", lambda x: cast(cast(x, "f32"), "f64"), V),
    stays("cast_of_cast", lambda x: cast(cast(x, "f64"), "f32"), N),
    stays("cast_of_cast", lambda x: cast(cast(x, "f64"), "i32"), W),
    stays("cast_of_cast", lambda x: cast(cast(x, "f64"), "i8"), "i32[3]"),
    stays("cast_of_cast", lambda x: cast(cast(x, "bool"), "i64"), N),
    fires("requirement_holds", lambda x: require(x, const(True, B)), lambda x: x, V),
    stays("requirement_holds", lambda x: require(x, const(False, B)), V),
    fires("compared_negatives", lambda x, y: lt(-x, -y), gt, V, V),
    fires("compared_negatives", lambda x: ge(-x, const(0.0, V)), lambda x: emit("le", x, const(-0.0, V)), V),
    fires("compared_negatives", lambda x: eq(-x, const(3.0, V)), lambda x: eq(x, const(-3.0, V)), V),
    stays("compared_negatives", lambda x, y: lt(-x, -y), N, N),
    stays("compared_negatives", lambda x, y: lt(-x, y), V, V),
    fires("extreme_of_infinity", lambda x: maximum(x, const(-np.inf, V)), lambda x: x, V),
    fires("extreme_of_infinity", lambda x: minimum(x, const(np.inf, W)), lambda x: x, W),
    stays("extreme_of_infinity", lambda x: maximum(x, const(np.inf, V)), V),
    fires("gradient_taken", lambda x: emit("stop_gradient", x), lambda x: x, V),
    fires("where_both", shared_both, lambda x, y, z: where(x & y, z, -z), B, B, V),
    fires("where_either", shared_either, lambda x, y, z: where(x | y, -z, z), B, B, V),
]
