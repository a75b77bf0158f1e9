"""Sums, means, variances and lengths: their errors grow like those of pairwise summation, and their
range is that of the numbers."""

import math
import warnings

import numpy as np
import pytest

from tinygan import Tensor, grad, nn, ops, tensor
from tinygan.backend import asarray, to_numpy, xp
from tinygan.gan import penalties
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
    return np.array([math.fsum(row) for row in rows]).reshape([x.shape[axis] for axis in kept])


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


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape, axes", LARGE, ids=str)
def test_all_reductions_of_ten_million_numbers(shape, axes, dtype, kernel_set):
    terms = math.prod(shape[axis] for axis in axes)
    for values in (constant(shape), uniform(shape)):
        for layout in (contiguous, transposed, strided):
            x = layout(values.astype(dtype))
            expected = exact_sum(x, axes)
            assert_exact(ops.sum(tensor(x), axes).data, expected, terms, dtype, "sum")
            squares = exact_sum(np.square(x.astype(np.longdouble)).astype("float64"), axes)
            length = ops.norm(tensor(x), axes).data
            assert_exact(length, np.sqrt(squares), terms, dtype, "norm")
        spread = np.square(x - (expected / terms).reshape([1] * (x.ndim - 1) + [-1]))
        if values.std() > 0 and axes == tuple(range(x.ndim - 1)):
            variance = exact_sum(spread.astype("float64"), axes) / terms
            assert_exact(ops.var(tensor(x), axes).data, variance, 4 * terms**2, dtype, "var")


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


# ---- lengths over the whole range ----

DTYPES = ["float32", "float64"]


def powers_of_two(dtype):
    """Return exponents e, so that 2^e covers the range of the dtype, with the subnormal numbers."""
    info = np.finfo(dtype)
    return np.unique(np.linspace(info.minexp - info.nmant + 9, info.maxexp - 4, 50).astype(int))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), None])
def test_norm_over_the_whole_range(axis, dtype, kernel_set):
    """norm(s x) is s norm(x): its gradient does not depend on s, and the next one is divided by
    s."""
    x = np.round(64 * normal(3, 4, 5)).astype(dtype) / 64  # few digits: exact when subnormal
    v = Tensor(asarray(normal(3, 4, 5, seed=1).astype(dtype)))
    info = np.finfo(dtype)

    def derivatives(scale):
        t = tensor(np.ldexp(x, scale), requires_grad=True)
        y = ops.norm(t, axis)
        first = grad(y, t, Tensor(xp.ones(y.shape, dtype)), create_graph=True)
        with np.errstate(all="ignore"):  # the second derivative of tiny numbers overflows
            second = grad(ops.sum(first * v), t)
        return [to_numpy(a.data) for a in (y, first, second)]

    length, direction, curvature = derivatives(0)
    axes = tuple(range(3)) if axis is None else axis
    expected = np.sqrt(np.square(x.astype("float64")).sum(axes))
    np.testing.assert_allclose(length, expected, rtol=4 * info.eps)
    for e in powers_of_two(dtype):
        got = derivatives(int(e))
        smallest = float(info.smallest_subnormal)
        np.testing.assert_allclose(
            got[0], np.ldexp(length, e), rtol=4 * info.eps, atol=smallest, err_msg=str(e)
        )
        np.testing.assert_allclose(got[1], direction, rtol=0, atol=8 * info.eps, err_msg=str(e))
        if info.minexp + 4 < e and -e < info.maxexp - 4:
            with np.errstate(all="ignore"):
                expected = np.ldexp(curvature, -e)
            atol = max(32 * info.eps * np.abs(expected).max(), 4 * smallest)
            np.testing.assert_allclose(got[2], expected, rtol=0, atol=atol, err_msg=str(e))


@pytest.mark.parametrize("dtype", DTYPES)
def test_norm_of_infinities_and_other_special_vectors(dtype, kernel_set):
    largest, smallest = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    with np.errstate(all="ignore"):
        for x, expected in (
            ([np.inf, 1], np.inf),
            ([-np.inf, np.inf], np.inf),
            ([np.nan, 1], np.nan),
            ([np.nan, np.inf], np.nan),
            ([largest, largest], np.inf),
            ([largest, 0], largest),
            ([-largest / 2, 1], largest / 2),
            ([smallest, 0], smallest),
            ([3 * smallest, 4 * smallest], 5 * smallest),
            ([largest, smallest], largest),
            ([0, 0], 0),
            ([], 0),
        ):
            y = ops.norm(tensor(np.array(x, dtype)))
            np.testing.assert_array_equal(to_numpy(y.data), np.array(expected, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_norm_at_zero(dtype, kernel_set):
    """The first derivative is 0 by choice. The next do not exist, and are not 0 in silence."""
    for power in (lambda n: n, ops.square, lambda n: n * n, lambda n: n**2):
        x = tensor(np.array([[0, 0], [3, 4]], dtype), requires_grad=True)
        with np.errstate(all="ignore"):
            first = grad(ops.sum(power(ops.norm(x, 1))), x, create_graph=True)
            second = to_numpy(grad(ops.sum(first), x).data)
        assert not to_numpy(first.data)[0].any() and np.isfinite(to_numpy(first.data)).all()
        assert not np.isfinite(second[0]).any() and np.isfinite(second[1]).all()
    x = tensor(np.zeros((2, 2), dtype), requires_grad=True)
    first = grad(ops.sum(ops.square(x)), x, create_graph=True)  # how to write norm(x) ** 2
    assert (to_numpy(grad(ops.sum(first), x).data) == 2).all()


@pytest.mark.parametrize("value", [0.0, 1e20, 1e-25])
def test_penalties_where_the_gradient_of_the_critic_is_zero_or_huge(value, kernel_set):
    """A critic that ignores its input has the gradient 0, and trains on: nothing is NaN."""
    w = tensor(np.full((3, 1), value, "float32"), requires_grad=True)
    D = lambda x: ops.matmul(x, w)
    x = asarray(normal(4, 3).astype("float32"))
    with np.errstate(over="ignore"):  # the square of a norm of 1e20
        penalty = penalties.wgan_gp(D, x, x, np.random.default_rng(0))
        slope = to_numpy(grad(penalty, w).data)
    length = 3**0.5 * value
    expected = (length - 1) ** 2 if value < 1 else np.inf
    assert float(to_numpy(penalty.data)) == pytest.approx(expected)
    np.testing.assert_allclose(slope, 0 if value == 0 else 2 * (length - 1) / 3**0.5, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pixel_norm_over_the_whole_range(dtype, kernel_set):
    info = np.finfo(dtype)
    x, v = normal(2, 3, 5).astype(dtype), normal(2, 3, 5, seed=1).astype(dtype)

    def derivatives(scale, eps):
        t = tensor(np.ldexp(x, scale), requires_grad=True)
        y = ops.pixel_norm(t, eps)
        first = grad(y, t, Tensor(asarray(v)), create_graph=True)
        with np.errstate(all="ignore"):
            second = grad(ops.sum(first * Tensor(asarray(v))), t)
        return [to_numpy(a.data) for a in (y, first, second)]

    expected = derivatives(0, 0.0)
    for e in powers_of_two(dtype):
        for eps in (0.0, 1e-8):
            # Above, eps makes no difference; below, the result is x / sqrt(eps), as it should be.
            if 12 < e or eps == 0 and info.minexp + 4 < e:
                got = derivatives(int(e), eps)
                np.testing.assert_allclose(got[0], expected[0], rtol=1e-5, err_msg=str(e))
                slope = np.ldexp(expected[1], -e)
                atol = max(1e-5 * np.abs(slope).max(), 4 * float(info.smallest_subnormal))
                np.testing.assert_allclose(got[1], slope, rtol=0, atol=atol, err_msg=str(e))
            if 12 < e < 50:
                atol = 1e-5 * np.abs(np.ldexp(expected[2], -2 * e)).max()
                np.testing.assert_allclose(got[2], np.ldexp(expected[2], -2 * e), atol=atol)
    for e in (-40, -60):
        y, first, _ = derivatives(e, 1e-4)
        np.testing.assert_allclose(y, np.ldexp(x, e) * 100, rtol=1e-5)
        np.testing.assert_allclose(first, 100 * v, rtol=1e-5)


def test_pixels_of_very_different_sizes(kernel_set):
    x = np.float32([[0, 0], [1e-30, 0], [3, 4], [3e20, 4e20], [1e38, 1e38]])
    y = ops.pixel_norm(tensor(x), 1e-8)
    exact = x.astype("float64")
    expected = exact / np.sqrt(np.square(exact).mean(1, keepdims=True) + 1e-8)
    np.testing.assert_allclose(to_numpy(y.data), expected, rtol=1e-6)


def test_demodulation_of_large_styles_and_weights(kernel_set):
    x, w, style = normal(2, 5, 5, 3), normal(3, 3, 3, 4, seed=1), normal(2, 3, seed=2)
    arrays = [a.astype("float32") for a in (x, w, style)]
    expected = ops.modulated_conv2d(*(tensor(a) for a in arrays))
    for w_scale, style_scale in ((1e21, 1.0), (1.0, 1e22), (1e20, 1e15), (1e-6, 1e25)):
        scaled = [arrays[0], arrays[1] * np.float32(w_scale), arrays[2] * np.float32(style_scale)]
        xs = [tensor(a, requires_grad=True) for a in scaled]
        y = ops.modulated_conv2d(*xs)
        np.testing.assert_allclose(to_numpy(y.data), to_numpy(expected.data), rtol=1e-4, atol=1e-5)
        assert all(np.isfinite(to_numpy(g.data)).all() for g in grad(ops.sum(y), xs))


@pytest.mark.parametrize("scale", [1e-8, 1e20])
def test_spectral_norm_of_large_and_small_weights(scale, kernel_set):
    layer = nn.SpectralNorm(nn.Linear(4, 3, rng=np.random.default_rng(0)))
    w = to_numpy(layer.layer.weight.data) * np.float32(scale)
    layer.layer.weight.assign(asarray(w))
    x = asarray(normal(2, 4).astype("float32"))
    for _ in range(50):
        y = layer(tensor(x))
    largest = np.linalg.svd(w.astype("float64"))[1][0]
    expected = to_numpy(x) @ (w / np.float32(largest)) + to_numpy(layer.layer.bias.data)
    np.testing.assert_allclose(to_numpy(y.data), expected, rtol=1e-4, atol=1e-5)


def test_no_warning_where_nothing_is_wrong(kernel_set):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for scale in (0.0, 1e-45, 1e-30, 1.0, 1e20, 1e37):
            x = tensor(np.full((3, 4), scale, "float32"), requires_grad=True)
            grad(ops.sum(ops.norm(x, 1)), x)
            grad(ops.sum(ops.pixel_norm(x)), x)
