"""How far ops are from the exact value, its derivative and its second derivative, in ulps.

An ulp, a unit in the last place, is the distance between neighbouring floating-point numbers of a
dtype. It is measured at the exact value, which mpmath computes with 50 digits. Where a value is a
sum of terms that cancel, such as a - b, it is measured at the largest term. Below the normal
numbers, an ulp is the smallest number of the dtype.

FUNCTIONS has an entry for every elementwise op and every loss; ROWS has the functions of a row of
logits. `errors` and `row_errors` measure them, `python tests/tools/accuracy.py` prints a table.
"""

import functools
from typing import Any, Callable, NamedTuple

import mpmath as mp
import numpy as np
from host import host

from tinygan import grad, ops, tensor
from tinygan.backend import asarray
from tinygan.gan import losses

mp.mp.dps = 50
NAMES = ["value", "1st derivative", "2nd derivative"]


class Function(NamedTuple):
    """An elementwise op or a loss of one logit.

    ours: a function from Tensors to a Tensor. exact: the same from mpmath's numbers; each result is
    a number, or a list of terms to add. derivatives: its derivatives, in the order a, b or x.
    second: those of second order, in the order aa, ab, bb. points: a function from a dtype to the
    arguments, an array each. elementwise: False for a loss, which is computed for one point at a
    time.
    """

    ours: Callable
    exact: Callable
    derivatives: list[Callable]
    second: list[Callable]
    points: Callable
    elementwise: bool = True


# Exact values


def sigmoid(x):
    return 1 / (1 + mp.exp(-x)) if x > 0 else mp.exp(x) / (1 + mp.exp(x))


def density(x):
    """The derivative of sigmoid."""
    return sigmoid(x) * sigmoid(-x)


def density_slope(x):
    return -density(x) * mp.tanh(x / 2)


def softplus(x):
    return mp.log1p(mp.exp(x)) if x < 0 else x + mp.log1p(mp.exp(-x))


def sech2(x):
    return mp.sech(x) ** 2


def normal_density(x):
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def normal_cdf(x):
    return mp.erfc(-min(max(x, -1000), 1000) / mp.sqrt(2)) / 2  # mpmath limits x


def power(a, b):
    """a ** b as in NumPy: also for a = 0, and for negative a with integer b."""
    if a == 0:
        return mp.mpf(b == 0) if b >= 0 else mp.inf
    if a > 0:
        return mp.exp(b * mp.log(a)) if abs(b * mp.log(a)) < 1e5 else mp.inf * (b * mp.log(a) > 0)
    return mp.power(a, int(b)) if b == int(b) else mp.nan


ZERO = lambda *_: mp.mpf(0)
ONE = lambda *_: mp.mpf(1)
MINUS_ONE = lambda *_: mp.mpf(-1)
HALF = mp.mpf(1) / 2


def step(x):
    return mp.mpf(x > 0)


# Points


def of_range(dtype):
    """Numbers of both signs from the whole range of a dtype, most of them where exp(x) is neither 0
    nor infinite; also 0, and the smallest and largest numbers."""
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    tiny, limit = np.nextafter(dtype(0), dtype(1)), -float(np.log(info.tiny)) + 20
    exponents = np.linspace(np.log2(float(tiny)), info.maxexp - 0.01, 60)
    special = [0, tiny, info.tiny, info.max, 0.5, 1, 2, 1.2785, 10, 17, 20, 40, 88, 700, 2000]
    near_1 = 1 + np.linspace(-0.5, 0.5, 20) ** 3
    parts = [2.0**exponents, special, near_1, rng.uniform(0, limit, 60), rng.uniform(0, 3, 40)]
    positive = np.concatenate([np.asarray(part, dtype) for part in parts])
    return np.concatenate([positive, -positive])


def one(dtype):
    return [of_range(dtype)]


def positive(dtype):
    x = of_range(dtype)
    return [x[x > 0]]


def two(dtype):
    """Pairs: far apart, near each other, and of sizes such as logits have."""
    x, rng = of_range(dtype), np.random.default_rng(1)
    near = x[:80] * (1 - rng.uniform(0, 0.2, 80).astype(dtype))
    logits = rng.uniform(-120, 120, (2, 150)).astype(dtype)
    mixed = np.stack([rng.permutation(x), rng.permutation(x)])
    return list(np.concatenate([mixed, [x[:80], near], logits], 1))


def nonzero_second(dtype):
    a, b = two(dtype)
    return a[b != 0], b[b != 0]


def of_power(dtype):
    a, b = two(dtype)
    rng = np.random.default_rng(2)
    base, exponent = rng.uniform(0, 4, 200), rng.uniform(-5, 5, 200)
    wide = 2.0 ** rng.uniform(-100, 100, 100), rng.uniform(-1.2, 1.2, 100)
    near = 1 + rng.uniform(-0.1, 0.1, 100), rng.uniform(-300, 300, 100)
    pairs = np.concatenate([np.stack([base, exponent]), wide, near], 1).astype(dtype)
    a, b = np.concatenate([np.abs(a), pairs[0]]), np.concatenate([b, pairs[1]])
    limit = -np.log(np.finfo(dtype).tiny)
    with np.errstate(all="ignore"):  # keep those whose powers are normal numbers
        sizes = [np.abs((b - k) * np.log(a)) for k in (0, 1, 2)]
    inside = np.max(sizes, 0) < limit - 8
    return a[inside], b[inside]


def few(dtype):
    return [np.concatenate([of_range(dtype)[::6], np.linspace(-120, 120, 50, dtype=dtype)])]


def few_pairs(dtype):
    return [x[::5] for x in two(dtype)]


def logits_and_targets(dtype):
    (x,) = few(dtype)
    targets = np.array([0, 1, 1, 0.9, 0.5, 0.1, 0, 1e-3], dtype)
    return x, np.resize(targets, len(x))


# Functions of a loss: (real) or (real, fake)


def _of_real(name):
    fake = -2000 if name in ("bce", "l2-sigmoid", "l1-sigmoid") else 0  # its loss is 0
    fake = -1 if name == "hinge" else fake
    loss = losses.find(name)
    return lambda x: loss.discriminator(x, tensor(np.full(x.shape, fake), dtype=x.dtype))


def _of_fake(name):
    loss = losses.find(name)
    return lambda x: loss.generator(None, x)


def _relativistic(a, b):
    return losses.find("relativistic").discriminator(a, b)


def _bce_terms(x, t):
    return [(1 - t) * softplus(x), t * softplus(-x)]


def elementwise(ours, exact, derivative, second, points=one):
    return Function(ours, exact, [derivative], [second], points)


def loss(ours, exact, derivative, second):
    return Function(ours, exact, [derivative], [second], few, elementwise=False)


def extremum(ours, exact, sign):
    """The larger (sign 1) or smaller (sign -1) of two numbers; for a tie, d/da = d/db = 1/2."""
    share = lambda a, b: (1 + sign * mp.sign(a - b)) / 2
    return Function(ours, exact, [share, lambda a, b: share(b, a)], [ZERO, ZERO, ZERO], two)


def silu_slope(x):
    return [sigmoid(x), x * density(x)]


def silu_second(x):
    return [2 * density(x), x * density_slope(x)]


def number_power(n):
    exact = mp.mpf(n)
    return elementwise(
        lambda x: ops.pow(x, n),
        lambda x: power(x, exact),
        lambda x: exact * power(x, exact - 1),
        lambda x: exact * (exact - 1) * power(x, exact - 2),
        positive,
    )


SQRT_2 = mp.sqrt(2)

FUNCTIONS = {
    "add": Function(ops.add, lambda a, b: [a, b], [ONE, ONE], [ZERO, ZERO, ZERO], two),
    "sub": Function(ops.sub, lambda a, b: [a, -b], [ONE, MINUS_ONE], [ZERO, ZERO, ZERO], two),
    "mul": Function(
        ops.mul, lambda a, b: a * b, [lambda a, b: b, lambda a, b: a], [ZERO, ONE, ZERO], two
    ),
    "div": Function(
        ops.div,
        lambda a, b: a / b,
        [lambda a, b: 1 / b, lambda a, b: -a / b**2],
        [ZERO, lambda a, b: -1 / b**2, lambda a, b: 2 * a / b**3],
        nonzero_second,
    ),
    "pow": Function(
        ops.pow,
        power,
        [
            lambda a, b: b * power(a, b - 1) if b else mp.mpf(0),
            lambda a, b: power(a, b) * mp.log(a) if a else mp.mpf(0),
        ],
        [
            lambda a, b: b * (b - 1) * power(a, b - 2) if b not in (0, 1) else mp.mpf(0),
            lambda a, b: [power(a, b - 1), b * power(a, b - 1) * mp.log(a)] if a else mp.nan,
            lambda a, b: power(a, b) * mp.log(a) ** 2 if a else mp.mpf(0),
        ],
        of_power,
    ),
    "pow 3": number_power(3),
    "pow -0.5": number_power(-0.5),
    "pow 0.1": number_power(0.1),
    "pow 2.7": number_power(2.7),
    "neg": elementwise(ops.neg, lambda x: -x, MINUS_ONE, ZERO),
    "exp": elementwise(ops.exp, mp.exp, mp.exp, mp.exp),
    "log": elementwise(ops.log, mp.log, lambda x: 1 / x, lambda x: -1 / x**2, positive),
    "sin": elementwise(ops.sin, mp.sin, mp.cos, lambda x: -mp.sin(x)),
    "cos": elementwise(ops.cos, mp.cos, lambda x: -mp.sin(x), lambda x: -mp.cos(x)),
    "sqrt": elementwise(
        ops.sqrt,
        mp.sqrt,
        lambda x: 1 / (2 * mp.sqrt(x)),
        lambda x: -1 / (4 * x * mp.sqrt(x)),
        positive,
    ),
    "square": elementwise(ops.square, lambda x: x * x, lambda x: 2 * x, lambda x: mp.mpf(2)),
    "abs": elementwise(ops.abs, abs, mp.sign, ZERO),
    "tanh": elementwise(ops.tanh, mp.tanh, sech2, lambda x: -2 * mp.tanh(x) * sech2(x)),
    "sech_squared": elementwise(
        ops.sech_squared if hasattr(ops, "sech_squared") else None,
        sech2,
        lambda x: -2 * mp.tanh(x) * sech2(x),
        lambda x: [4 * mp.tanh(x) ** 2 * sech2(x), -2 * sech2(x) ** 2],
    ),
    "sigmoid": elementwise(ops.sigmoid, sigmoid, density, density_slope),
    "softplus": elementwise(ops.softplus, softplus, sigmoid, density),
    "softplus_of_difference": Function(
        ops.softplus_of_difference if hasattr(ops, "softplus_of_difference") else None,
        lambda a, b: softplus(a - b),
        [lambda a, b: sigmoid(a - b), lambda a, b: -sigmoid(a - b)],
        [lambda a, b: density(a - b), lambda a, b: -density(a - b), lambda a, b: density(a - b)],
        two,
    ),
    "silu": elementwise(ops.silu, lambda x: x * sigmoid(x), silu_slope, silu_second),
    "normal_cdf": elementwise(
        ops.normal_cdf, normal_cdf, normal_density, lambda x: -x * normal_density(x)
    ),
    "gelu": elementwise(
        ops.gelu,
        lambda x: x * normal_cdf(x),
        lambda x: [normal_cdf(x), x * normal_density(x)],
        lambda x: [2 * normal_density(x), -x * x * normal_density(x)],
    ),
    "relu": elementwise(ops.relu, lambda x: max(x, 0), step, ZERO),
    "leaky_relu": elementwise(
        lambda x: ops.leaky_relu(x, 0.25, float(SQRT_2)),
        lambda x: SQRT_2 * max(x, x / 4),
        lambda x: SQRT_2 * (1 if x > 0 else mp.mpf(0.25)),
        ZERO,
    ),
    "bias_act": Function(
        lambda x, b: ops.bias_act(x.reshape(1, -1), b, 0.25, 2.0).reshape(-1),
        lambda x, b: [2 * x, 2 * b] if x + b > 0 else [x / 2, b / 2],
        [lambda x, b: mp.mpf(2 if x + b > 0 else 0.5)] * 2,
        [ZERO, ZERO, ZERO],
        two,
    ),
    "clip": elementwise(
        lambda x: ops.clip(x, -0.5, 2.0),
        lambda x: min(max(x, -HALF), 2),
        lambda x: mp.mpf(-HALF <= x <= 2),
        ZERO,
    ),
    "maximum": extremum(ops.maximum, max, 1),
    "minimum": extremum(ops.minimum, min, -1),
    "where": Function(
        lambda a, b: ops.where(a.data > b.data, a, b),
        max,
        [lambda a, b: step(a - b), lambda a, b: 1 - step(a - b)],
        [ZERO, ZERO, ZERO],
        two,
    ),
    "mul_constant": elementwise(
        lambda x: ops.mul_constant(x, asarray(np.full(x.shape, 3, x.dtype))),
        lambda x: 3 * x,
        lambda x: mp.mpf(3),
        ZERO,
    ),
    "leaky_relu_gradient": elementwise(
        lambda x: ops.leaky_relu_gradient(x, asarray(np.full(x.shape, -1, x.dtype)), 0.25, 2.0),
        lambda x: x / 2,
        lambda x: HALF,
        ZERO,
    ),
    "binary_cross_entropy_with_logits": Function(
        ops.binary_cross_entropy_with_logits,
        _bce_terms,
        [lambda x, t: [(1 - t) * sigmoid(x), -t * sigmoid(-x)], lambda x, t: -x],
        [lambda x, t: density(x), MINUS_ONE, ZERO],
        logits_and_targets,
        elementwise=False,
    ),
    "mse_loss": Function(
        ops.mse_loss,
        lambda a, b: (a - b) ** 2,
        [lambda a, b: 2 * (a - b), lambda a, b: 2 * (b - a)],
        [lambda a, b: mp.mpf(2), lambda a, b: mp.mpf(-2), lambda a, b: mp.mpf(2)],
        few_pairs,
        elementwise=False,
    ),
    "l1_loss": Function(
        ops.l1_loss,
        lambda a, b: abs(a - b),
        [lambda a, b: mp.sign(a - b), lambda a, b: mp.sign(b - a)],
        [ZERO, ZERO, ZERO],
        few_pairs,
        elementwise=False,
    ),
    "bce, D": loss(_of_real("bce"), lambda x: softplus(-x), lambda x: -sigmoid(-x), density),
    "bce, G": loss(_of_fake("bce"), lambda x: softplus(-x), lambda x: -sigmoid(-x), density),
    "bce-minimax, G": loss(
        _of_fake("bce-minimax"),
        lambda x: -softplus(x),
        lambda x: -sigmoid(x),
        lambda x: -density(x),
    ),
    "l2, D": loss(_of_real("l2"), lambda x: (x - 1) ** 2 / 2, lambda x: x - 1, lambda x: mp.mpf(1)),
    "l1, D": loss(_of_real("l1"), lambda x: abs(x - 1), lambda x: mp.sign(x - 1), ZERO),
    "hinge, D": loss(_of_real("hinge"), lambda x: max(1 - x, 0), lambda x: -step(1 - x), ZERO),
    "wasserstein, D": loss(_of_real("wasserstein"), lambda x: -x, MINUS_ONE, ZERO),
    "l2-sigmoid, D": loss(
        _of_real("l2-sigmoid"),
        lambda x: sigmoid(-x) ** 2 / 2,
        lambda x: -sigmoid(-x) * density(x),
        lambda x: [density(x) ** 2, -sigmoid(-x) * density_slope(x)],
    ),
    "l2-sigmoid, G": loss(
        _of_fake("l2-sigmoid"),
        lambda x: sigmoid(-x) ** 2 / 2,
        lambda x: -sigmoid(-x) * density(x),
        lambda x: [density(x) ** 2, -sigmoid(-x) * density_slope(x)],
    ),
    "l1-sigmoid, D": loss(
        _of_real("l1-sigmoid"),
        lambda x: sigmoid(-x),
        lambda x: -density(x),
        lambda x: -density_slope(x),
    ),
    "l1-sigmoid, G": loss(
        _of_fake("l1-sigmoid"),
        lambda x: sigmoid(-x),
        lambda x: -density(x),
        lambda x: -density_slope(x),
    ),
    "relativistic, D": Function(
        _relativistic,
        lambda real, fake: softplus(fake - real),
        [lambda real, fake: -sigmoid(fake - real), lambda real, fake: sigmoid(fake - real)],
        [
            lambda real, fake: density(fake - real),
            lambda real, fake: -density(fake - real),
            lambda real, fake: density(fake - real),
        ],
        few_pairs,
        elementwise=False,
    ),
}


# Errors


def value_and_ulp(exact, dtype):
    """Return an exact value, and an ulp there. exact: a number, or a list of terms to add."""
    terms = exact if isinstance(exact, list) else [exact]
    largest, info = max(abs(term) for term in terms), np.finfo(dtype)
    exponent = mp.frexp(min(largest, mp.mpf(float(info.max))))[1] if largest else 0
    return mp.fsum(terms), mp.ldexp(1, max(exponent, info.minexp + 1) - info.nmant - 1)


def error_in_ulps(ours, exact, ulp, dtype):
    """Return |ours - exact| in ulps. If exact is NaN, anything is right."""
    if mp.isnan(exact):
        return 0.0
    if np.isinf(ours):  # where the exact value is beyond the range of the dtype
        largest = mp.mpf(float(np.finfo(dtype).max))
        return 0.0 if exact * np.sign(ours) > largest - 8 * ulp else np.inf
    if np.isnan(ours) or mp.isinf(exact):
        return np.inf
    return float(abs(mp.mpf(float(ours)) - exact) / ulp)


def largest_errors(ours, exact, points, dtype):
    """Return (error in ulps, point) where the error is largest, for value and derivatives.

    ours: a list of arrays for each order. exact: lists of `value_and_ulp` in the same order.
    """
    worst = []
    for arrays, right in zip(ours, exact, strict=True):
        errors = [
            (error_in_ulps(y, *r, dtype), i)
            for array, values in zip(arrays, right, strict=True)
            for i, (y, r) in enumerate(zip(array, values, strict=True))
        ]
        error, i = max(errors)
        worst.append((error, [x[i] for x in points]))
    return worst


def derivatives(function, xs):
    """Return the arrays [value, first derivatives, second derivatives] of an elementwise function.
    A Tensor that does not depend on x has the derivative 0."""
    y = function(*xs)
    ones = lambda x: tensor(np.ones(x.shape, x.dtype))
    first = grad(y, xs, ones(y), create_graph=True)
    results = [[y], first, []]
    for i, d in enumerate(first):
        more = xs[i:]
        second = (
            grad(d, more, ones(d), retain_graph=True) if d.requires_grad else [None] * len(more)
        )
        results[2] += [ones(x) * 0.0 if g is None else g for x, g in zip(more, second)]
    return [[host(r) for r in order] for order in results]


def errors(name, dtype):
    """Return the largest error of FUNCTIONS[name] and of its derivatives, with the point where it
    is: [(error in ulps, arguments)], in the order of NAMES."""
    f = FUNCTIONS[name]
    arguments = f.points(dtype)
    with np.errstate(all="ignore"):
        if f.elementwise:
            found = derivatives(f.ours, [leaf(x) for x in arguments])
        else:
            points = [[leaf(x) for x in point] for point in zip(*(x[:, None] for x in arguments))]
            single = [derivatives(f.ours, point) for point in points]
            found = [
                [
                    np.array([host(s[k][i]).reshape(()) for s in single])
                    for i in range(len(single[0][k]))
                ]
                for k in range(3)
            ]
    return largest_errors(found, exact_values(name, dtype), arguments, dtype)


@functools.cache
def exact_values(name, dtype):
    """Return the exact values for `errors`; mpmath takes longer than everything else."""
    f = FUNCTIONS[name]
    points = [[mp.mpf(float(x)) for x in point] for point in zip(*f.points(dtype))]
    return [
        [[value_and_ulp(function(*point), dtype) for point in points] for function in functions]
        for functions in ([f.exact], f.derivatives, f.second)
    ]


def leaf(array):
    return tensor(array, requires_grad=True, dtype=array.dtype)


# Rows of logits


def softmax_terms(x, i):
    """The probability p_i of logits x, and 1 - p_i."""
    weights = [mp.exp(v - max(x)) for v in x]
    others = mp.fsum(w for j, w in enumerate(weights) if j != i)
    return weights[i] / mp.fsum(weights), others / mp.fsum(weights)


def kronecker_minus_p(x, i, j):
    p, rest = softmax_terms(x, j)
    return rest if i == j else -p


def softmax_derivative(x, i, j):
    return softmax_terms(x, i)[0] * kronecker_minus_p(x, i, j)


def softmax_second(x, i, j, k):
    p = softmax_terms(x, i)[0]
    return [
        p * kronecker_minus_p(x, i, j) * kronecker_minus_p(x, i, k),
        -p * softmax_derivative(x, j, k),
    ]


def log_softmax(x, i):
    top = max(x)
    weights = [mp.exp(v - top) for v in x]
    first = list(x).index(top)
    rest = mp.log1p(mp.fsum(w for j, w in enumerate(weights) if j != first))
    return x[i] - top - rest


def logsumexp(x, i):
    return [max(x), max(x) - x[list(x).index(max(x))] - log_softmax(x, list(x).index(max(x)))]


# name: (ours, exact value of result i, d/dx_j, d2/dx_j dx_k)
ROWS = {
    "softmax": (
        ops.softmax,
        lambda x, i: softmax_terms(x, i)[0],
        softmax_derivative,
        softmax_second,
    ),
    "log_softmax": (
        ops.log_softmax,
        log_softmax,
        kronecker_minus_p,
        lambda x, i, j, k: -softmax_derivative(x, j, k),
    ),
    "logsumexp": (
        lambda x: ops.logsumexp(x, -1, keepdims=True),
        logsumexp,
        lambda x, i, j: softmax_terms(x, j)[0],
        lambda x, i, j, k: softmax_derivative(x, j, k),
    ),
    "cross_entropy": (
        lambda x: ops.stack([ops.cross_entropy(row[None], np.array([0])) for row in x])[:, None],
        lambda x, i: -log_softmax(x, 0),
        lambda x, i, j: -kronecker_minus_p(x, 0, j),
        lambda x, i, j, k: softmax_derivative(x, j, k),
    ),
}


def rows_of_logits(dtype):
    """Rows of three logits: alike, far apart, huge, tiny."""
    rng, limit = np.random.default_rng(0), -float(np.log(np.finfo(dtype).tiny))
    rows = [
        rng.normal(size=(15, 3)),
        rng.uniform(-limit, 0.5, (40, 3)),
        rng.uniform(-2 * limit, 2 * limit, (10, 3)),
        rng.uniform(-limit, 0, (10, 3)) + 1e4,
        rng.normal(size=(5, 3)) * 1e30,
        rng.normal(size=(5, 3)) * 1e-30,
        [[0, -20, -30], [1e8, 1e8, 0], [0, 0, 0], [17, 17, -40]],
    ]
    return np.concatenate(rows).astype(dtype)


def row_errors(name, dtype):
    """Like `errors`, for ROWS[name]."""
    rows, function = rows_of_logits(dtype), ROWS[name][0]
    x, found = leaf(rows), [[], [], []]
    with np.errstate(all="ignore"):
        y = function(x)
        for i in range(y.shape[1]):
            found[0].append(host(y)[:, i])
            g = grad(y[:, i].sum(), x, create_graph=True)
            found[1] += list(host(g).T)
            for j in range(3):
                found[2] += list(host(grad(g[:, j].sum(), x, retain_graph=True)).T)
    return largest_errors(found, exact_rows(name, dtype), [rows], dtype)


@functools.cache
def exact_rows(name, dtype):
    """Return the exact values for `row_errors`."""
    _, value, first, second = ROWS[name]
    rows = [[mp.mpf(float(v)) for v in row] for row in rows_of_logits(dtype)]
    every = lambda function, *indices: [
        value_and_ulp(function(row, *indices), dtype) for row in rows
    ]
    i, j = range(1 if name in ("logsumexp", "cross_entropy") else 3), range(3)
    return [
        [every(value, a) for a in i],
        [every(first, a, b) for a in i for b in j],
        [every(second, a, b, c) for a in i for b in j for c in j],
    ]


def all_errors(dtype) -> "dict[str, list[Any]]":
    """Return {name: errors} of everything in FUNCTIONS and ROWS."""
    found = {name: errors(name, dtype) for name in FUNCTIONS if FUNCTIONS[name].ours}
    return found | {name: row_errors(name, dtype) for name in ROWS}
