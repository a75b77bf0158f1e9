"""Sums, means, variances and lengths: their errors grow like those of pairwise summation, also
where a channel is nearly constant."""

import math

import numpy as np
import pytest

from tinygan import Tensor, grad, ops, tensor
from tinygan.backend import asarray, to_numpy
from tinygan.kernels import linear, normalize, optim
from tinygan.nn.norms import BatchNorm


def constant(shape):
    """Return the worst case of adding one by one: every addition rounds in the same direction."""
    return np.full(shape, 0.1)


def uniform(shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape)


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def contiguous(x):
    return x


def transposed(x):
    return np.ascontiguousarray(x.T).T


def strided(x):
    return np.repeat(x, 2, -1)[..., ::2]


def reversed_rows(x):
    return np.ascontiguousarray(x[::-1])[::-1]


def middle(x):
    return np.pad(x, [(1, 1)] * x.ndim)[(slice(1, -1),) * x.ndim]


def allowed(terms, dtype):
    """Return the relative error that pairwise summation of positive numbers may have."""
    return (1 + math.log2(max(1, terms))) * np.finfo(dtype).eps


def exact_sum(x, axes):
    """Return the sum of x over axes: float32 in float64, float64 by math.fsum."""
    if x.dtype == np.float32:
        return x.astype(np.float64).sum(axes)
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    rows = x.transpose(*kept, *axes).reshape(math.prod(x.shape[axis] for axis in kept), -1)
    return np.array([math.fsum(row.tolist()) for row in rows]).reshape(
        [x.shape[axis] for axis in kept]
    )


def assert_exact(got, expected, terms, dtype, what):
    got = to_numpy(got)
    assert got.dtype == dtype and got.shape == expected.shape, what
    error = np.max(np.abs(got.astype(np.float64) - expected) / np.abs(expected), initial=0)
    assert error <= allowed(terms, dtype), f"{what}: relative error {error:.2g}"


# ---- sums over all kinds of axes ----

SUMS = [
    ((37, 41, 43, 3), axes)
    for axes in ((0,), (1,), (2,), (3,), (0, 1), (1, 2), (0, 2), (0, 3), (0, 1, 2), (1, 2, 3))
] + [
    ((40009, 3), (0,)),
    ((3, 40009), (1,)),
    ((2, 20011, 2), (1,)),
    ((1, 50021, 1, 2), (0, 1, 2)),
    ((60013,), (0,)),
    ((65, 2), (0,)),
    ((33, 2049), (0,)),
    ((300, 301), (0, 1)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", [contiguous, transposed, strided, reversed_rows, middle])
def test_sums_over_any_axes_of_any_layout(layout, dtype, kernel_set):
    for shape, axes in SUMS:
        terms = math.prod(shape[axis] for axis in axes)
        for values in (constant(shape), uniform(shape)):
            x = layout(values.astype(dtype))
            what = f"{axes} of {shape}"
            expected = exact_sum(x, axes)
            assert_exact(linear.sum_over(asarray(x), axes), expected, terms, dtype, what)
            assert_exact(ops.mean(tensor(x), axes).data, expected / terms, terms, dtype, what)


def test_sums_of_repeated_numbers(kernel_set):
    """A broadcast array repeats numbers without memory of their own."""
    for shape, axes in (((30011, 3), (0,)), ((3, 30011), (1,)), ((30011, 3), (0, 1))):
        for one in (np.float32([0.1, 0.2, 0.3]).reshape([n if n == 3 else 1 for n in shape]),):
            x = np.broadcast_to(one, shape)
            got = linear.sum_over(asarray(x), axes)
            assert_exact(got, exact_sum(x, axes), x.size, np.float32, f"{axes} of {shape}")


def test_a_sum_over_no_axes_or_axes_of_length_one_is_a_copy(kernel_set):
    for x, axes in ((normal(3, 1), ()), (normal(3, 1), (1,)), (normal(1, 3), (0,))):
        x = asarray(x)
        y = linear.sum_over(x, axes)
        y += 1
        assert not np.array_equal(to_numpy(y).ravel(), to_numpy(x).ravel())


LARGE = [
    ((10_000_000,), (0,)),
    ((5_000_000, 2), (0,)),
    ((1, 3000, 1000, 3), (1, 2)),
    ((3, 3_333_333), (1,)),
]


@pytest.mark.parametrize("shape, axes", LARGE, ids=str)
def test_sums_of_ten_million_numbers(shape, axes):
    x = constant(shape).astype("float32")
    terms = math.prod(shape[axis] for axis in axes)
    assert_exact(ops.sum(tensor(x), axes).data, exact_sum(x, axes), terms, "float32", "sum")


def test_the_mean_of_a_loss_over_ten_million_logits():
    n = 10_000_000
    loss = ops.binary_cross_entropy_with_logits(tensor(np.full(n, 0.1, np.float32)), np.float32(0))
    exact = np.log1p(np.exp(np.float64(np.float32(0.1))))
    assert_exact(loss.data, exact, n, "float32", "mean of the loss")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", [contiguous, transposed, strided])
@pytest.mark.parametrize("shape, axes", LARGE, ids=str)
def test_all_reductions_of_ten_million_numbers(shape, axes, layout, dtype, kernel_set):
    terms = math.prod(shape[axis] for axis in axes)
    for values in (constant(shape), uniform(shape)):
        x = layout(values.astype(dtype))
        total = exact_sum(x, axes)
        assert_exact(ops.sum(tensor(x), axes).data, total, terms, dtype, "sum")
        # In float64, the squares are rounded once, which their sum hardly shows.
        squares = exact_sum(np.square(x.astype("float64")), axes)
        assert_exact(ops.norm(tensor(x), axes).data, np.sqrt(squares), terms, dtype, "norm")
    keep = [1 if axis in axes else n for axis, n in enumerate(shape)]
    spread = x.astype("float64") - (total / terms).reshape(keep)
    variance = exact_sum(np.square(spread), axes) / terms
    assert_exact(ops.var(tensor(x), axes).data, variance, terms, dtype, "var")


# ---- every op that sums ----

N = 30011  # rows: a prime number, which no block divides


def many(*shape, seed=0):
    return uniform(shape, seed)


SUMMING = {  # name: (function, inputs)
    "mean": (lambda x: ops.mean(x, 0), many(N, 3)),
    "var": (lambda x: ops.var(x, 0), many(N, 3)),
    "var over rows": (lambda x: ops.var(x, (1, 2)), many(2, 151, 199, 3)),
    "norm": (lambda x: ops.norm(x, 0), many(N, 3)),
    "norm over rows": (lambda x: ops.norm(x, (1, 2)), many(2, 151, 199, 3)),
    "broadcasting": (lambda x, b: (x + 1) * b, many(N, 3), many(3)),
    "broadcast_to": (lambda b: ops.broadcast_to(b, (N, 3)), many(3)),
    "bias of affine": (lambda x, b: ops.affine(x, Tensor(np.eye(3, dtype=x.dtype)), b),
                       many(N, 3), many(3)),
    "bias_act": (lambda x, b: ops.bias_act(x, b), many(1, 151, 199, 3), many(3)),
    "batch_norm": (ops.batch_norm, many(1, 151, 199, 3), many(3), many(3)),
    "batch_norm of vectors": (ops.batch_norm, many(N, 3), many(3), many(3)),
    "conditional batch_norm": (
        ops.batch_norm, many(2, 151, 99, 3), many(2, 1, 1, 3), many(2, 1, 1, 3)),
    "instance_norm": (ops.instance_norm, many(2, 151, 199, 3), many(3), many(3)),
    "AdaIN": (ops.instance_norm, many(2, 151, 199, 3), many(2, 1, 1, 3), many(2, 1, 1, 3)),
    "normalize": (lambda x: ops.normalize(x, (0, 2)), many(151, 3, 199)),
    "pixel_norm": (ops.pixel_norm, many(3, N)),
    "minibatch_stddev": (lambda x: ops.minibatch_stddev(x, 2), many(2, 151, 99, 3)),
    "embedding": (lambda w: ops.embedding(w, np.arange(N) % 3), many(3, 2)),
    "indexing": (lambda w: w[np.arange(N) % 3], many(3, 2)),
    "indexing pairs": (lambda w: w[np.arange(N) % 3, np.arange(N) % 2], many(3, 2)),
    "upsample_nearest": (lambda x: ops.upsample_nearest(x, 97), many(1, 2, 2, 3)),
    "mse": (lambda x: ops.mse_loss(x, x.data * 0), many(N, 3)),
    "l1": (lambda x: ops.l1_loss(x, x.data * 0), many(N, 3)),
    "bce": (lambda x: ops.binary_cross_entropy_with_logits(x, 0.0), many(N, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", SUMMING)
def test_ops_that_sum(name, kernel_set):
    """Value and gradients in float32, against float64 of the same numbers. The gradient of a sum is
    the same everywhere: the worst case for adding one by one."""
    function, *inputs = SUMMING[name]
    results = []
    for dtype in ("float32", "float64"):
        xs = [tensor(x.astype("float32").astype(dtype), requires_grad=True) for x in inputs]
        y = function(*xs)
        weights = [np.full(y.shape, 1 / 3), uniform(y.shape, 3)]
        equal, random = (Tensor(asarray(np.float32(w).astype(dtype))) for w in weights)
        results.append([y, *grad(y, xs, equal, retain_graph=True), *grad(y, xs, random)])
    for got, expected in zip(*results):
        assert got.dtype == np.float32
        got, expected = to_numpy(got.data), to_numpy(expected.data)
        # Terms of both signs may cancel: the error is relative to the sum without the signs.
        scale = max(np.abs(expected).max(), 0.3 * max(1, results[0][0].size / expected.size))
        np.testing.assert_allclose(got, expected, rtol=0, atol=4e-6 * scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lookups", [1, 31, 33, 1000, 200_003])
def test_gradients_of_rows_that_are_looked_up_often(lookups, dtype, kernel_set):
    rows, g = np.arange(lookups) % 2, constant((lookups, 2)).astype(dtype)
    got = linear.embedding_gradient(asarray(g), (3, 2), asarray(rows))
    expected = np.array([exact_sum(g[rows == row], (0,)) for row in range(3)])
    np.testing.assert_allclose(to_numpy(got), expected, rtol=allowed(lookups, dtype))


@pytest.mark.parametrize("n", [1, 1000, 5000, 62_721, 3_000_017])
def test_the_norm_of_all_gradients(n, kernel_set):
    gs = [constant(n).astype("float32"), uniform((n // 2, 1)).astype("float32")]
    expected = math.sqrt(sum(exact_sum(np.square(g.astype("float64")), tuple(range(g.ndim)))
                             for g in gs))  # fmt: skip
    got = float(optim.global_norm([asarray(g) for g in gs]))
    assert abs(got - expected) <= allowed(n, np.float32) * expected


# ---- channels that are nearly constant ----

CHANNELS = [  # shape, axes; the large ones are computed in blocks
    ((8, 4, 4, 3), (0, 1, 2)),
    ((8, 4, 4, 3), (1, 2)),
    ((64, 16, 16, 32), (0, 1, 2)),
    ((16, 16, 16, 32), (1, 2)),
    ((3, 61, 67, 3), (0, 1, 2)),
    ((3, 131, 67, 3), (1, 2)),
    ((50, 7), (0,)),
    ((5000, 7), (0,)),
    ((6, 5, 11, 4), (0, 2)),
]
CONSTANTS = [1.0, 1000.1, 12345.678, 1e6 + 0.3, -3e7]


def normalizations(x, axes, eps):
    """Yield (name, a function of x): the kinds of normalisation over these axes."""
    yield "normalize", lambda x: ops.normalize(x, axes, eps)
    channels = x.shape[-1]
    gain, bias = (np.linspace(1, 2, channels, dtype="float32") for _ in range(2))
    style = normal(len(x), *(1,) * (x.ndim - 2), channels).astype("float32")
    convert = lambda array, x: asarray(array.astype(x.dtype))
    if axes == tuple(range(x.ndim - 1)):
        yield "batch_norm", lambda x: ops.batch_norm(x, convert(gain, x), convert(bias, x), eps)
        yield "conditional", lambda x: ops.batch_norm(x, convert(style, x), None, eps)
    if axes == (1, 2):
        yield "instance_norm", lambda x: ops.instance_norm(x, None, convert(bias, x), eps)
        yield "AdaIN", lambda x: ops.instance_norm(x, convert(style, x), convert(style, x), eps)


@pytest.mark.parametrize("shape, axes", CHANNELS, ids=str)
def test_a_constant_channel_becomes_zero(shape, axes, kernel_set):
    for value in CONSTANTS:
        x = np.full(shape, value, "float32")
        mean, rest, var = map(to_numpy, normalize.moments(asarray(x), axes))
        small = 1e-3 * float(np.spacing(np.float32(abs(value))))
        assert np.abs(mean.astype("float64") + rest - np.float32(value)).max() <= small
        x = tensor(x, requires_grad=True)
        assert max(var.max(), to_numpy(ops.var(x, axes).data).max()) <= small**2
        y = ops.normalize(x, axes)
        # Far less than one unit in the last place of x would make.
        assert np.abs(to_numpy(y.data)).max() <= 10 * small + 1e-6, value
        g = asarray(normal(*shape).astype("float32"))
        for create_graph in (False, True):
            dx = to_numpy(grad(y, x, g, create_graph=create_graph, retain_graph=True).data)
            g64 = to_numpy(g).astype("float64")
            expected = (g64 - g64.mean(axes, keepdims=True)) / 1e-5**0.5
            np.testing.assert_allclose(dx, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape, axes", CHANNELS, ids=str)
def test_a_nearly_constant_channel(shape, axes, kernel_set):
    """Against float64 of the same float32 numbers, with noise of a few units in the last place."""
    for value in CONSTANTS:
        noise = 4 * abs(value) * np.finfo(np.float32).eps * normal(*shape)
        x = (value + noise).astype("float32")
        g = normal(*shape, seed=1).astype("float32")
        eps = min(1e-5, 0.1 * float(noise.var()))
        for name, function in normalizations(x, axes, eps):
            results = []
            for dtype in ("float32", "float64"):
                t = tensor(x.astype(dtype), requires_grad=True)
                y = function(t)
                seed = Tensor(asarray(g.astype(dtype)))
                first = grad(y, t, seed, retain_graph=True)
                written_out = grad(y, t, seed, create_graph=True)
                results.append([to_numpy(a.data) for a in (y, first, written_out)])
            for got, expected in zip(*results):
                atol = 1e-5 * np.abs(expected).max()
                np.testing.assert_allclose(got, expected, rtol=0, atol=atol, err_msg=name)
        for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-9)):
            t = tensor(x.astype(dtype), requires_grad=True)
            var = ops.var(t, axes)
            exact = x.astype(np.longdouble)
            centred = exact - exact.mean(axes, keepdims=True)
            expected = np.square(centred).mean(axes).astype("float64")
            np.testing.assert_allclose(to_numpy(var.data), expected, rtol=tolerance)
            slope = to_numpy(grad(ops.sum(var), t).data)
            expected = (centred * (2 * np.prod(centred.shape) / centred.size)).astype("float64")
            terms = math.prod(shape[axis] for axis in axes)
            expected = expected / terms
            np.testing.assert_allclose(slope, expected, atol=10 * tolerance * abs(expected).max())


def test_one_number_apart_in_a_large_channel():
    """Few numbers differ, by one unit in the last place: less than the error of a float32 mean."""
    x = np.full((64, 64, 32, 1), 2**20 + 0.125, "float32")
    x[::7, 3] += 0.125
    for axes in ((0, 1, 2), (1, 2)):
        expected = x.astype("float64").var(axes)
        var = to_numpy(ops.var(tensor(x), axes).data)
        np.testing.assert_allclose(var, expected, rtol=1e-3, atol=1e-9)


@pytest.mark.cpu
def test_layers_of_a_nearly_constant_channel():
    x = (12345.678 + 0.01 * normal(64, 8, 8, 3)).astype("float32")
    exact = x.astype("float64")
    layer = BatchNorm(3, momentum=1.0, unbiased=False)
    layer(tensor(x))
    np.testing.assert_allclose(layer.running_mean, exact.mean((0, 1, 2)), rtol=6e-8)
    np.testing.assert_allclose(layer.running_var, exact.var((0, 1, 2)), rtol=1e-5)
    deviation = ops.minibatch_stddev(tensor(x), group_size=4).data[..., -1]
    grouped = exact.reshape(4, 16, 8, 8, 3)
    expected = np.sqrt(grouped.var(0) + 1e-8).mean((1, 2, 3))
    np.testing.assert_allclose(deviation[:16, 0, 0], expected, rtol=1e-5)
