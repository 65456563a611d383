"""Cases of the stabilizing rules; the exact rules apply as well."""

import math

from tests.passes.equivalence import fires, stays
from tests.passes.vocabulary import (
    M,
    S,
    V,
    broadcast,
    cast,
    const,
    eq,
    exp,
    expit,
    expm1,
    gather,
    iota,
    log,
    log1p,
    logaddexp,
    lt,
    most,
    neg,
    op,
    reshape,
    stop_gradient,
    total,
    transpose,
    where,
)

abs_, arcsinh, arctanh, cos, cosh, hypot, sin, sinh, sqrt, tanh = map(
    op, ("abs", "arcsinh", "arctanh", "cos", "cosh", "hypot", "sin", "sinh", "sqrt", "tanh")
)
N2 = "i64[2]"


def finite_maximum(x, *axes):
    m = stop_gradient(most(x, *axes))
    type = str(m.type)
    return where(lt(abs_(m), const(float("inf"), type)), m, const(0.0, type))


def rows(r):
    """One number for each row, along the rows of a matrix M."""
    return broadcast(r, (2, 3), (0,))


def shifted(x):
    return x - rows(finite_maximum(x, 1))


def log_sum_exp(x):
    m = stop_gradient(most(x, 1))
    sums = total(exp(x - rows(finite_maximum(x, 1))), 1)
    return log(sums + cast(eq(sums, const(0.0, "f64[2]")), "f64")) + m


def user_shifted(x):
    return x - rows(most(x, 1))


def free_shifted(x):
    return x - rows(stop_gradient(most(x, 1)))


def log_of(s):
    return s - rows(log(total(exp(s), 1)))


def picked_loss(s, i, y):
    return log(total(exp(s), 1)) - gather(s, i, y, axes=(0, 1))


def softmax(x):
    e = exp(x)
    return e / rows(total(e, 1))


def stable_softmax(x):
    e = exp(shifted(x))
    return e / rows(total(e, 1))


def log_softmax(x):
    return shifted(x) - rows(log(total(exp(shifted(x)), 1)))


def picked(p, y):
    return gather(p, iota(N2), y, axes=(0, 1))


def picked_log_softmax(x, y):
    return picked(shifted(x), y) - log(total(exp(shifted(x)), 1))


def root(s):
    """The root, 0 without derivatives at 0."""
    type = str(s.type)
    nothing = eq(s, const(0.0, type))
    return where(nothing, const(0.0, type), sqrt(where(nothing, const(1.0, type), s)))


def squares(x, *axes):
    return total(x * x, *axes)


def split(x, near, other):
    other = const(other, str(x.type))
    return where(near, x, other), where(near, other, x)


def log_of_one_minus_exp(x):
    near = x > -math.log(2)
    small, large = split(x, near, -1.0)
    return where(near, log(0.0 - expm1(small)), log1p(-exp(large)))


def log_of_expm1(x):
    near = x < 1
    small, large = split(x, near, 1.0)
    rest = where(near, const(-1.0, str(x.type)), -x)
    return where(near, log(expm1(small)), large + log1p(-exp(rest)))


def variance(x, axis, count):
    u = x - broadcast(total(x, axis) / count, (2, 3), (1 - axis,))
    return total(u * u, axis) / count


def relative_exponential(x, size=None):
    near = abs_(x if size is None else size) < 1
    type = str(x.type)
    small = where(near, x, const(0.0, type))
    large = where(near, const(1.0, type), x)
    terms = [1 / math.factorial(k) for k in range(19, 0, -1)]
    series = small * terms[0] + terms[1]
    for term in terms[2:]:
        series = series * small + term
    return where(near, series, expm1(large) / large)


def spread(number):
    return broadcast(number, (3,), ())


def versine(x):
    return sin(x * 0.5) * sin(x * 0.5)


CASES = [
    fires("log_of_one_minus_exp", lambda x: log(1 - exp(x)), log_of_one_minus_exp, V),
    fires("log_of_one_minus_exp", lambda x: log1p(-exp(x)), log_of_one_minus_exp, V),
    stays("log_of_one_minus_exp", lambda x: log(-exp(x)), V),
    stays("log_of_one_minus_exp", log_of_one_minus_exp, V),
    fires("log_of_expm1", lambda x: log(exp(x) - 1), log_of_expm1, V),
    stays("log_of_expm1", lambda x: log(exp(x) - 2), V),
    stays("log_of_expm1", log_of_expm1, V),
    fires("root_of_square", lambda x: sqrt(x * x), abs_, V),
    stays("root_of_square", lambda x, y: sqrt(x * y), V, V),
    fires("root_of_two_squares", lambda x, y: sqrt(x * x + y * y), hypot, V, V),
    stays("root_of_two_squares", lambda x, y: sqrt(x * x - y * y), V, V),
    fires("root_of_sum_of_squares", lambda x: sqrt(squares(x, 1)), lambda x: root(squares(x, 1)), M),
    fires("root_of_sum_of_squares", lambda x: sqrt(squares(x, 1) / 3), lambda x: root(squares(x, 1) / 3), M),
    fires(
        "root_of_sum_of_squares", lambda x: sqrt(squares(x, 0) / 2), lambda x: root(squares(x, 0) * 0.5), M
    ),
    fires(
        "root_of_sum_of_squares",
        lambda x, y, z: sqrt(x * x + y * y + z * z),
        lambda x, y, z: root(x * x + y * y + z * z),
        V,
        V,
        V,
    ),
    stays("root_of_sum_of_squares", lambda x: sqrt(total(x, 1)), M),
    stays("root_of_sum_of_squares", lambda x: sqrt(squares(x, 1) / -3), M),
    stays("root_of_sum_of_squares", lambda x: sqrt(squares(x, 1) + 1e-8), M),
    stays("root_of_sum_of_squares", lambda x: root(squares(x, 1)), M),
    fires(
        "difference_of_roots",
        lambda x: sqrt(x + 1) - sqrt(x),
        lambda x: 1 / (sqrt(x + 1) + sqrt(x)),
        V,
    ),
    fires(
        "difference_of_roots",
        lambda x: sqrt(x - 2) - sqrt(x + 1),
        lambda x: -3 / (sqrt(x - 2) + sqrt(x + 1)),
        V,
    ),
    stays("difference_of_roots", lambda x, y: sqrt(x + y) - sqrt(x), V, V),
    stays("difference_of_roots", lambda x, y: sqrt(y + 1) - sqrt(x), V, V),
    stays("difference_of_roots", lambda x: sqrt(x + 0.0) - sqrt(x), V),
    fires("one_minus_cos", lambda x: 1 - cos(x), lambda x: versine(x) * 2, V),
    fires("cos_minus_one", lambda x: cos(x) - 1, lambda x: versine(x) * -2, V),
    fires("cos_plus_minus_one", lambda x: -1 + cos(x), lambda x: versine(x) * -2, V),
    stays("one_minus_cos", lambda x: 2 - cos(x), V),
    fires("arcsinh_of_logarithm", lambda x: log(sqrt(1 + x * x) + x), arcsinh, V),
    stays("arcsinh_of_logarithm", lambda x, y: log(sqrt(1 + x * x) + y), V, V),
    fires("arctanh_of_logarithm", lambda x: log((1 + x) / (1 - x)), lambda x: arctanh(x) * 2, V),
    stays("arctanh_of_logarithm", lambda x, y: log((1 + x) / (1 - y)), V, V),
    fires("relative_exponential", lambda x: (exp(x) - 1) / x, relative_exponential, V),
    fires("relative_exponential", lambda x: (1 - exp(-x)) / x, lambda x: relative_exponential(-x, x), V),
    stays("relative_exponential", lambda x, y: (exp(x) - 1) / y, V, V),
    stays("relative_exponential", lambda x: (1 - exp(x)) / x, V),
    stays("relative_exponential", relative_exponential, V),
    fires("tanh_of_expm1", lambda x: (exp(x) - 1) / (exp(x) + 1), lambda x: tanh(x * 0.5), V),
    fires("tanh_of_negative_expm1", lambda x: (1 - exp(x)) / (1 + exp(x)), lambda x: tanh(x * -0.5), V),
    stays("tanh_of_expm1", lambda x, y: (exp(x) - 1) / (exp(y) + 1), V, V),
    fires("difference_of_exponentials", lambda x: exp(x) - exp(-x), lambda x: sinh(x) * 2, V),
    fires("difference_of_exponentials", lambda x: exp(-x) - exp(x), lambda x: sinh(-x) * 2, V),
    fires("difference_of_exponentials", lambda x: exp(x * 2) - exp(x * -2), lambda x: sinh(x * 2) * 2, V),
    stays("difference_of_exponentials", lambda x, y: exp(x) - exp(-y), V, V),
    stays("difference_of_exponentials", lambda x: exp(x * 2) - exp(x * -3), V),
    fires("mean_of_exponentials", lambda x: (exp(x) + exp(-x)) / 2, cosh, V),
    stays("mean_of_exponentials", lambda x: (exp(x) + exp(-x)) / 3, V),
    stays("mean_of_exponentials", lambda x: (exp(x) + exp(x * 2)) / 2, V),
    fires("tanh_of_exponentials", lambda x: (exp(x) - exp(-x)) / (exp(x) + exp(-x)), tanh, V),
    fires("tanh_of_exponentials", lambda x: (exp(-x) - exp(x)) / (exp(x) + exp(-x)), lambda x: tanh(-x), V),
    stays("tanh_of_exponentials", lambda x, y: (exp(x) - exp(-x)) / (exp(y) + exp(-y)), V, V),
    fires(
        "covariance_by_differences",
        lambda x: squares(x, 1) / 3 - (total(x, 1) / 3) * (total(x, 1) / 3),
        lambda x: variance(x, 1, 3.0),
        M,
    ),
    fires(
        "covariance_by_differences",
        lambda x, y: total(x * y, 0) / 3 - (total(y, 0) / 3) * (total(x, 0) / 3),
        lambda x, y: total((x - spread(total(x, 0) / 3)) * (y - spread(total(y, 0) / 3)), 0) / 3,
        V,
        V,
    ),
    stays(
        "covariance_by_differences", lambda x: squares(x, 1) / 2 - (total(x, 1) / 2) * (total(x, 1) / 2), M
    ),
    stays(
        "covariance_by_differences",
        lambda x, y: total(x * x, 0) / 3 - (total(y, 0) / 3) * (total(x, 0) / 3),
        V,
        V,
    ),
    fires("log_exp", lambda x: log(exp(x)), lambda x: x, V),
    fires("log_of_exp_over", lambda x, y: log(exp(x) / y), lambda x, y: x - log(y), V, V),
    fires("log_of_exp_over", lambda x: log(softmax(x)), log_softmax, M),
    fires("log_of_exp_times", lambda x, y: log(y * exp(x)), lambda x, y: x + log(y), V, V),
    fires("log_cosh", lambda x: log(cosh(x)), lambda x: logaddexp(x, -x) - 0.6931471805599453, V),
    fires("log_expit", lambda x: log(expit(x)), lambda x: neg(logaddexp(-x, const(0.0, V))), V),
    fires("log1p_minus_expit", lambda x: log1p(-expit(x)), lambda x: neg(logaddexp(x, const(0.0, V))), V),
    fires("logistic", lambda x: 1 / (1 + exp(-x)), expit, V),
    fires("logistic", lambda x: 1 / (exp(x * -2) + 1), lambda x: expit(x * 2), V),
    fires("logistic", lambda x: log(1 / (1 + exp(-x))), lambda x: -logaddexp(-x, const(0.0, V)), V),
    fires("logistic_of_quotient", lambda x: exp(x) / (exp(x) + 1), expit, V),
    fires("one_minus_expit", lambda x: 1 - expit(x), lambda x: expit(-x), V),
    fires("one_minus_expit", lambda x: log(1 - expit(x)), lambda x: -logaddexp(x, const(0.0, V)), V),
    fires("exp_minus_one", lambda x: exp(x) - 1, expm1, V),
    fires("exp_plus_minus_one", lambda x: exp(x) + -1, expm1, V),
    fires("one_minus_exp", lambda x: 1 - exp(x), lambda x: -expm1(x), V),
    fires("log_one_plus", lambda x: log(x + 1), log1p, V),
    fires("log_one_minus", lambda x: log(1 - x), lambda x: log1p(-x), V),
    fires("softplus", lambda x: log1p(exp(x)), lambda x: logaddexp(x, const(0.0, V)), V),
    fires("log_add_exp", lambda x: log(1 + exp(x)), lambda x: logaddexp(x, const(0.0, V)), V),
    stays("softplus", log1p, V),
    stays("softplus", lambda x: log1p(-exp(x)), V),
    fires("log_add_exp", lambda x, y: log(exp(x) + exp(y)), logaddexp, V, V),
    fires("log_add_exp", lambda x: log(exp(x) + 2), lambda x: logaddexp(x, const(0.6931471805599453, V)), V),
    stays("log_add_exp", lambda x: log(exp(x) + -2), V),
    stays("log_add_exp", lambda x, y: log(exp(x) + y), V, V),
    fires(
        "log_of_multiple",
        lambda x: log(total(exp(x), 1) / 3),
        lambda x: log_sum_exp(x) - 1.0986122886681098,
        M,
    ),
    fires(
        "log_of_multiple",
        lambda x: log(total(exp(x), 1) * 3),
        lambda x: log_sum_exp(x) + 1.0986122886681098,
        M,
    ),
    stays("log_of_multiple", lambda x: log(total(exp(x), 1) * -3), M),
    stays("log_of_multiple", lambda x: log(total(x, 1) * 3), M),
    fires(
        "log_of_moved_quotient",
        lambda x, y: log(picked(softmax(x), y)),
        picked_log_softmax,
        M,
        N2,
        inputs="columns",
    ),
    fires(
        "log_of_moved_quotient",
        lambda x: log(transpose(softmax(x), 1, 0)),
        lambda x: transpose(shifted(x), 1, 0) - broadcast(log(total(exp(shifted(x)), 1)), (3, 2), (1,)),
        M,
    ),
    stays("log_of_moved_quotient", lambda x, y: log(transpose(x / y, 1, 0)), M, M),
    stays("log_of_moved_quotient", lambda x: log(transpose(exp(x) + x, 1, 0)), M),
    fires(
        "log_of_moved_sum",
        lambda x: log(reshape(total(exp(x), 1), 2, 1)),
        lambda x: reshape(log_sum_exp(x), 2, 1),
        M,
    ),
    fires(
        "log_of_moved_sum",
        lambda x: log(transpose(expit(x), 1, 0)),
        lambda x: transpose(-logaddexp(-x, const(0.0, M)), 1, 0),
        M,
    ),
    stays("log_of_moved_sum", lambda x: log(reshape(x, 3, 2)), M),
    fires("log_sum_exp", lambda x: log(total(exp(x), 1)), log_sum_exp, M),
    stays("log_sum_exp", lambda x: log(total(exp(user_shifted(x)), 1)), M),
    stays("log_sum_exp", lambda x: log(total(exp(user_shifted(x) / 3), 1)), M),
    stays("log_sum_exp", lambda x: log(total(exp(x), 0)), "f64[0]"),
    stays("log_sum_exp", lambda x: log(total(x, 1)), M),
    fires("softmax", softmax, stable_softmax, M),
    fires("softmax", lambda x: softmax(user_shifted(x)), lambda x: softmax(free_shifted(x)), M),
    stays("softmax", lambda x: softmax(free_shifted(x)), M),
    stays("softmax", lambda x: softmax(user_shifted(x) * 2), M),
    fires("log_softmax_of_shifted", lambda x: log_of(user_shifted(x)), lambda x: log_of(free_shifted(x)), M),
    fires(
        "log_softmax_of_shifted", lambda x: -log_of(user_shifted(x)), lambda x: -log_of(free_shifted(x)), M
    ),
    fires(
        "log_softmax_of_shifted",
        lambda x, y: picked_loss(user_shifted(x), iota(N2), y),
        lambda x, y: picked_loss(free_shifted(x), iota(N2), y),
        M,
        N2,
    ),
    stays("log_softmax_of_shifted", lambda x, y: picked_loss(user_shifted(x), y, y), M, N2),
    stays("log_softmax_of_shifted", lambda x: log_of(free_shifted(x)), M),
    stays(
        "log_softmax_of_shifted",
        lambda x, y: user_shifted(x) - rows(log(total(exp(user_shifted(y)), 1))),
        M,
        M,
    ),
    stays("softmax", lambda x, y: exp(x) / rows(total(exp(y), 1)), M, M),
    stays("softmax", lambda x: exp(x) / broadcast(total(exp(x), 1), (3, 3), (1,)), "f64[3, 3]"),
    stays("softmax", lambda x: x / rows(total(x, 1)), M),
    stays("logistic", lambda x: 2 / (1 + exp(x)), V),
    stays("log_exp", lambda x: exp(log(x)), S),
]
