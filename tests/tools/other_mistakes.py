"""Forty planted derivative mistakes, written once for several libraries. other_checks.py runs them.

`xp` stands for the functions of one library, which other_checks.py collects:
exp, tanh, sqrt, sum, max, where, concatenate, einsum, as in NumPy; detach(x), the same values
without a gradient; constant(array, like), a NumPy array as a constant with the dtype of `like`.

A function is forward(xp, *xs). Its vector-Jacobian product is vjp(xp, g, y, *xs), where g is the
gradient of the result y; it returns a tuple with one gradient for each argument.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Mistake(NamedTuple):
    """A function, its right derivative, and a wrong one.

    inputs: inputs(rng) returns the NumPy arrays at which the derivative is checked. They show the
    mistake (they hold ties, for instance, where it is wrong at ties alone).
    order: 1 where no second derivative exists at the inputs.
    repaired: the library whose engine repairs this mistake, so that there is nothing to catch.
    """

    kind: str
    name: str
    forward: Callable
    right: Callable
    wrong: Callable
    inputs: Callable
    order: int = 2
    repaired: str = ""


def normal(*shapes):
    """Return a function of a generator that draws normal arrays of the shapes."""
    return lambda rng: [rng.standard_normal(shape) for shape in shapes]


def scaled(vjp, factor, argument=0):
    """The vjp with the gradient of one argument multiplied by `factor`."""

    def wrong(xp, g, y, *xs):
        gradients = list(vjp(xp, g, y, *xs))
        gradients[argument] = gradients[argument] * factor
        return tuple(gradients)

    return wrong


def one_entry(vjp, index, factor):
    """The vjp with one entry of the gradient of the only argument multiplied by `factor`."""

    def wrong(xp, g, y, x):
        factors = np.ones(x.shape)
        factors[index] = factor
        return (vjp(xp, g, y, x)[0] * xp.constant(factors, x),)

    return wrong


def in_single_precision(wrong, right):
    """`wrong` in float32, `right` in every other dtype."""

    def vjp(xp, g, y, *xs):
        return (wrong if "float32" in str(g.dtype) else right)(xp, g, y, *xs)

    return vjp


# ---- elementwise functions ----


def cube(xp, x):
    return x * x * x


def cube_vjp(xp, g, y, x):
    return (3.0 * g * x * x,)


def cube_x_detached(xp, g, y, x):
    return (3.0 * g * xp.detach(x * x),)


def cube_g_detached(xp, g, y, x):
    return (3.0 * xp.detach(g) * x * x,)


def cube_second_derivative_scaled(xp, g, y, x):
    d = 3.0 * x * x
    return (g * (xp.detach(d) + 2.001 * (d - xp.detach(d))),)


def tanh(xp, x):
    return xp.tanh(x)


def tanh_vjp(xp, g, y, x):
    return (g * (1.0 - y * y),)


def tanh_y_detached(xp, g, y, x):
    return (g * (1.0 - xp.detach(y * y)),)


def sigmoid(xp, x):
    return 1.0 / (1.0 + xp.exp(-x))


def sigmoid_vjp(xp, g, y, x):
    return (g * y * (1.0 - y),)


def exp(xp, x):
    return xp.exp(x)


def exp_vjp(xp, g, y, x):
    return (g * y,)


def product(xp, a, b, c):
    return a * b * c


def product_vjp(xp, g, y, a, b, c):
    return g * b * c, g * a * c, g * a * b


def difference(xp, a, b):
    return a - b


def difference_vjp(xp, g, y, a, b):
    return g, -g


def difference_sign(xp, g, y, a, b):
    return g, g


def quotient(xp, a, b):
    return a / b


def quotient_vjp(xp, g, y, a, b):
    return g / b, -g * a / (b * b)


def numerators_and_denominators(rng):
    return [rng.standard_normal((3, 4)), rng.uniform(1.0, 2.0, (3, 4))]


# ---- sums ----


def mean(xp, x):
    return xp.sum(x, 0) / x.shape[0]


def mean_vjp(xp, g, y, x):
    return (g * xp.constant(np.ones(x.shape), x) / x.shape[0],)


def row_sums(xp, x):
    return xp.sum(xp.tanh(x), 1)


def row_sums_vjp(xp, g, y, x):
    t = xp.tanh(x)
    return (g.reshape((-1, 1)) * (1.0 - t * t),)


def thousand(rng):
    x = rng.standard_normal((40, 25))
    x[17, 11] = 0.1  # where the derivative is large
    return [x]


def light_penalty(xp, x):
    return 1e-6 * xp.sum(x * x)


def light_penalty_vjp(xp, g, y, x):
    return (2e-6 * g * x,)


def add_bias(xp, x, b):
    return x + b


def add_bias_vjp(xp, g, y, x, b):
    return g, xp.sum(g, 0)


def bias_not_summed(xp, g, y, x, b):
    return g, g


def bias_of_the_first_row(xp, g, y, x, b):
    return g, g[0]


def bias_over_the_wrong_axis(xp, g, y, x, b):
    return g, xp.sum(g, 1)


def softmax(xp, x):
    e = xp.exp(x)
    return e / xp.sum(e, 1, keepdims=True)


def softmax_vjp(xp, g, y, x):
    return (y * (g - xp.sum(g * y, 1, keepdims=True)),)


def softmax_without_the_sum(xp, g, y, x):
    return (g * y,)


# ---- products of matrices ----


def matmul(xp, a, b):
    return a @ b


def matmul_vjp(xp, g, y, a, b):
    return g @ b.T, a.T @ g


def matmul_b_not_transposed(xp, g, y, a, b):
    return g @ b, a.T @ g


def matmul_in_blocks_of_four_rows(xp, g, y, a, b):
    rows = a.shape[0] // 4 * 4
    return g @ b.T, a[:rows].T @ g[:rows]


def grouped(xp, x, w):
    return xp.einsum("ngc,gck->ngk", x, w)


def grouped_vjp(xp, g, y, x, w):
    return xp.einsum("ngk,gck->ngc", g, w), xp.einsum("ngk,ngc->gck", g, x)


def weights_of_the_first_group(xp, g, y, x, w):
    return xp.einsum("ngk,ck->ngc", g, w[0]), xp.einsum("ngk,ngc->gck", g, x)


# ---- indices ----


def steps(xp, x):
    return x[1:] - x[:-1]


def steps_vjp(xp, g, y, x):
    zero = g[:1] * 0.0
    return (xp.concatenate([zero, g]) - xp.concatenate([g, zero]),)


def steps_shifted(xp, g, y, x):
    d = steps_vjp(xp, g, y, x)[0]
    return (xp.concatenate([d[1:], d[:1]]),)


def running_sum(xp, x):
    return xp.constant(np.tril(np.ones((6, 6))), x) @ x


def running_sum_vjp(xp, g, y, x):
    return (xp.constant(np.triu(np.ones((6, 6))), x) @ g,)


def running_sum_without_itself(xp, g, y, x):
    return (xp.constant(np.triu(np.ones((6, 6)), 1), x) @ g,)


PLACES = np.array([0, 2, 2, 5])


def gather(xp, x):
    return x[PLACES]


def gather_vjp(xp, g, y, x):
    return (xp.constant(np.eye(6)[:, PLACES], x) @ g,)


def gather_overwrites(xp, g, y, x):
    places = np.eye(6)[:, PLACES]
    places[:, 1] = 0  # the second 2 overwrites the first
    return (xp.constant(places, x) @ g,)


# ---- a correlation: y[i] = sum over k of w[k] x[stride i + k] ----


def correlation(stride):
    def forward(xp, x, w):
        count = (x.shape[0] - w.shape[0]) // stride + 1
        return sum(w[k] * x[k : k + stride * (count - 1) + 1 : stride] for k in range(w.shape[0]))

    return forward


def correlation_vjp(stride, flipped=True, late=0, weight_stride=None):
    """The vjp. Mistakes: the kernel is not flipped; g lies `late` places after its own; the
    gradient of w reads x with another stride."""

    def vjp(xp, g, y, x, w):
        n, size, count = x.shape[0], w.shape[0], g.shape[0]
        spread = [g.reshape((-1, 1))] + [0.0 * g.reshape((-1, 1))] * (stride - 1)
        spread = xp.concatenate(spread, 1).reshape((-1,))[: stride * (count - 1) + 1]
        border = xp.constant(np.zeros(size - 1), g)
        padded = xp.concatenate([border, spread, border])
        padded = xp.concatenate([padded[:1] * 0.0] * late + [padded])[: padded.shape[0]]
        step = weight_stride or stride
        d_x = 0.0
        d_w = []
        for k in range(size):
            start = size - 1 - k if flipped else k
            d_x = d_x + w[k] * padded[start : start + n]
            d_w.append(xp.sum(g * x[k : k + step * (count - 1) + 1 : step]).reshape((1,)))
        return d_x, xp.concatenate(d_w)

    return vjp


# ---- normalisation ----


def spread_of(xp, x):
    """The standard deviation over axis 0."""
    centred = x - xp.sum(x, 0) / x.shape[0]
    return xp.sqrt(xp.sum(centred * centred, 0) / x.shape[0] + 1e-3)


def standardise(xp, x):
    return (x - xp.sum(x, 0) / x.shape[0]) / spread_of(xp, x)


def standardise_vjp(xp, g, y, x):
    n = x.shape[0]
    return ((g - xp.sum(g, 0) / n - y * xp.sum(g * y, 0) / n) / spread_of(xp, x),)


def statistics_as_constants(xp, g, y, x):
    return (g / spread_of(xp, x),)


def variance_as_a_constant(xp, g, y, x):
    return ((g - xp.sum(g, 0) / x.shape[0]) / spread_of(xp, x),)


def statistics_of_an_earlier_batch(xp, g, y, x):
    n, earlier = x.shape[0], xp.constant(np.array([0.9, 1.0, 1.1]), x)
    return ((g - xp.sum(g, 0) / n - y * xp.sum(g * y, 0) / n) / earlier,)


def centre_groups(xp, x):
    x = x.reshape((4, 2, 3))
    return (x - xp.sum(x, 2, keepdims=True) / 3.0).reshape((4, 6))


def centre_groups_vjp(xp, g, y, x):
    return (centre_groups(xp, g),)


def centre_all_groups_together(xp, g, y, x):
    return (g - xp.sum(g, 1, keepdims=True) / 6.0,)


# ---- ties and zeros ----


def maximum(xp, a, b):
    return xp.where(a > b, a, b)


def maximum_vjp(xp, g, y, a, b):
    nothing = 0.0 * g
    return tuple(
        0.5 * (xp.where(p > q, g, nothing) + xp.where(p >= q, g, nothing))
        for p, q in ((a, b), (b, a))
    )


def maximum_counts_ties_twice(xp, g, y, a, b):
    return xp.where(a >= b, g, 0.0 * g), xp.where(b >= a, g, 0.0 * g)


def pairs_with_ties(rng):
    a, b = rng.permutation(12).reshape(2, 6) / 8.0
    b[[1, 4]] = a[[1, 4]]
    return [a, b]


def row_maxima(xp, x):
    return xp.max(x, 1)


def row_maxima_at_every_tie(xp, g, y, x):
    g = g.reshape((-1, 1)) * xp.constant(np.ones(x.shape), x)
    return (xp.where(x >= y.reshape((-1, 1)), g, 0.0 * g),)


def row_maxima_vjp(xp, g, y, x):
    winners = row_maxima_at_every_tie(xp, 1.0 + 0.0 * g, y, x)[0]
    return (g.reshape((-1, 1)) * winners / xp.sum(winners, 1, keepdims=True),)


def rows_with_ties(rng):
    x = rng.permutation(12).reshape(3, 4) / 8.0
    x[1, :2] = x[2, 1:3] = 2.0
    return [x]


def row_products(xp, x):
    return x[:, 0] * x[:, 1] * x[:, 2]


def row_products_vjp(xp, g, y, x):
    a, b, c = (x[:, i].reshape((-1, 1)) for i in range(3))
    return (g.reshape((-1, 1)) * xp.concatenate([b * c, a * c, a * b], 1),)


def row_products_by_division(xp, g, y, x):
    ones = xp.constant(np.ones(x.shape), x)
    ratio = (g * y).reshape((-1, 1)) / xp.where(x * x > 0, x, ones)
    return (xp.where(x * x > 0, ratio, 0.0 * ratio),)


def rows_with_a_zero(rng):
    x = rng.standard_normal((4, 3))
    x[2, 1] = 0.0
    return [x]


# fmt: off
MISTAKES = [
    Mistake("factor 2 or N", "cube, twice too large",
            cube, cube_vjp, scaled(cube_vjp, 2.0), normal((3, 4))),
    Mistake("factor 2 or N", "mean with the derivative of a sum",
            mean, mean_vjp, scaled(mean_vjp, 5.0), normal((5, 3))),
    Mistake("factor 2.001", "tanh",
            tanh, tanh_vjp, scaled(tanh_vjp, 2.001), normal((3, 4))),
    Mistake("factor 2.001", "second argument of a product",
            product, product_vjp, scaled(product_vjp, 2.001, 1), normal((3, 4), (3, 4), (3, 4))),
    Mistake("factor 1 + 1e-4", "sigmoid",
            sigmoid, sigmoid_vjp, scaled(sigmoid_vjp, 1 + 1e-4), normal((3, 4))),
    Mistake("factor 1 + 1e-4", "second argument of matmul",
            matmul, matmul_vjp, scaled(matmul_vjp, 1 + 1e-4, 1), normal((4, 3), (3, 5))),
    Mistake("factor 1 + 1e-7", "cube",
            cube, cube_vjp, scaled(cube_vjp, 1 + 1e-7), normal((3, 4))),
    Mistake("factor 1 + 1e-7", "softmax",
            softmax, softmax_vjp, scaled(softmax_vjp, 1 + 1e-7), normal((3, 4))),
    Mistake("sign", "second argument of a difference",
            difference, difference_vjp, difference_sign, normal((3, 4), (3, 4))),
    Mistake("sign", "denominator of a quotient",
            quotient, quotient_vjp, scaled(quotient_vjp, -1.0, 1), numerators_and_denominators),
    Mistake("small gradient", "penalty with a weight of 1e-6, wrong sign",
            light_penalty, light_penalty_vjp, scaled(light_penalty_vjp, -1.0), normal((3, 4))),
    Mistake("transposed", "square matrix not transposed",
            matmul, matmul_vjp, matmul_b_not_transposed, normal((4, 4), (4, 4))),
    Mistake("transposed", "kernel of a correlation not flipped",
            correlation(1), correlation_vjp(1), correlation_vjp(1, flipped=False),
            normal(9, 3)),
    Mistake("broadcast sum missing", "gradient of a bias not summed",
            add_bias, add_bias_vjp, bias_not_summed, normal((4, 3), 3), repaired="PyTorch"),
    Mistake("broadcast sum missing", "gradient of a bias from the first row alone",
            add_bias, add_bias_vjp, bias_of_the_first_row, normal((4, 3), 3)),
    Mistake("broadcast sum missing", "gradient of a bias summed over the wrong axis",
            add_bias, add_bias_vjp, bias_over_the_wrong_axis, normal((3, 3), 3)),
    Mistake("index off by one", "differences, shifted by one",
            steps, steps_vjp, steps_shifted, normal(7)),
    Mistake("index off by one", "running sum without the entry itself",
            running_sum, running_sum_vjp, running_sum_without_itself, normal((6, 2))),
    Mistake("one entry of 1,000", "twice too large",
            row_sums, row_sums_vjp, one_entry(row_sums_vjp, (17, 11), 2.0), thousand),
    Mistake("one entry of 1,000", "1% too large",
            row_sums, row_sums_vjp, one_entry(row_sums_vjp, (17, 11), 1.01), thousand),
    Mistake("one entry of 1,000", "0.03% too large",
            row_sums, row_sums_vjp, one_entry(row_sums_vjp, (17, 11), 1.0003), thousand),
    Mistake("second order only", "cube with x detached",
            cube, cube_vjp, cube_x_detached, normal((3, 4))),
    Mistake("second order only", "cube with g detached",
            cube, cube_vjp, cube_g_detached, normal((3, 4))),
    Mistake("second order only", "tanh with its result detached",
            tanh, tanh_vjp, tanh_y_detached, normal((3, 4))),
    Mistake("second order only", "second derivative of cube, factor 2.001",
            cube, cube_vjp, cube_second_derivative_scaled, normal((3, 4))),
    Mistake("stale statistics", "mean and variance taken for constants",
            standardise, standardise_vjp, statistics_as_constants, normal((6, 3))),
    Mistake("stale statistics", "variance taken for a constant",
            standardise, standardise_vjp, variance_as_a_constant, normal((6, 3))),
    Mistake("stale statistics", "variance of an earlier batch",
            standardise, standardise_vjp, statistics_of_an_earlier_batch, normal((6, 3))),
    Mistake("ties and zeros only", "both sides of a tie get the whole gradient",
            maximum, maximum_vjp, maximum_counts_ties_twice, pairs_with_ties, order=1),
    Mistake("ties and zeros only", "every largest entry gets the whole gradient",
            row_maxima, row_maxima_vjp, row_maxima_at_every_tie, rows_with_ties, order=1),
    Mistake("ties and zeros only", "product divided by the entry, 0 at zero",
            row_products, row_products_vjp, row_products_by_division, rows_with_a_zero),
    Mistake("at stride 2 only", "gradient one place late",
            correlation(2), correlation_vjp(2), correlation_vjp(2, late=1), normal(9, 3)),
    Mistake("at stride 2 only", "gradient of the kernel ignores the stride",
            correlation(2), correlation_vjp(2), correlation_vjp(2, weight_stride=1), normal(9, 3)),
    Mistake("with groups only", "weights of the first group for all",
            grouped, grouped_vjp, weights_of_the_first_group, normal((3, 2, 3), (2, 3, 2))),
    Mistake("with groups only", "mean over all groups",
            centre_groups, centre_groups_vjp, centre_all_groups_together, normal((4, 6))),
    Mistake("in float32 only", "exp, factor 1.1",
            exp, exp_vjp, in_single_precision(scaled(exp_vjp, 1.1), exp_vjp), normal((3, 4))),
    Mistake("in float32 only", "square matrix not transposed",
            matmul, matmul_vjp, in_single_precision(matmul_b_not_transposed, matmul_vjp),
            normal((4, 4), (4, 4))),
    Mistake("for some shapes only", "last rows lost unless they are a multiple of 4",
            matmul, matmul_vjp, matmul_in_blocks_of_four_rows, normal((5, 3), (3, 2))),
    Mistake("a term missing", "softmax without the sum",
            softmax, softmax_vjp, softmax_without_the_sum, normal((3, 4))),
    Mistake("a term missing", "a repeated index counts once",
            gather, gather_vjp, gather_overwrites, normal((6, 2))),
]
# fmt: on
