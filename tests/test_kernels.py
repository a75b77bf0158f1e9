"""The fast kernels for NumPy: compared with other ways to compute the same numbers, on any number
of threads, in forks."""

import hashlib
import importlib
import itertools
import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.bench.workloads import WORKLOADS
from tinygan import Tensor, check_grads, grad, ops
from tinygan.kernels import conv as plain_conv
from tinygan.kernels import pool as plain_pool
from tinygan.kernels.cpu import act, conv, linear, normalize, parallel, pool, warp, winograd
from tinygan.optable import oracles

pytestmark = [pytest.mark.cpu, pytest.mark.fast]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture
def threads():
    before = parallel.num_threads()
    yield parallel.set_num_threads
    parallel.set_num_threads(before)


@pytest.fixture
def small_blocks(monkeypatch):
    """Cut even small arrays into many blocks."""
    monkeypatch.setattr(conv, "BLOCK_BYTES", 1 << 14)
    monkeypatch.setattr(winograd, "BLOCK", 1 << 18)
    monkeypatch.setattr(winograd, "CHUNK_BYTES", 1 << 20)
    monkeypatch.setattr(warp, "BLOCK", 1 << 12)
    for name, value in (("SMALL", 16), ("BLOCK", 1 << 10), ("SHARED", 64)):
        monkeypatch.setattr(parallel, name, value)
    for name, value in (("TINY", 16), ("SMALL", 64), ("BLOCK", 1 << 12)):
        monkeypatch.setattr(linear, name, value)


def three_passes(x, w, g, stride, padding, bias=None):
    """Return a convolution's output, its input gradient and its weight gradient."""
    pairs = (stride, stride), (padding, padding)
    return (
        conv.forward(x, w, *pairs, 1, bias),
        conv.input_gradient(g, w, x.shape[1:3], *pairs, 1),
        conv.weight_gradient(x, g, w.shape[:2], *pairs, 1),
    )


def expected_passes(x, w, g, stride, padding):
    """Like `three_passes`, computed by SciPy or NumPy."""
    rest = [(n + 2 * padding - k) % stride for n, k in zip(x.shape[1:3], w.shape[:2])]
    return (
        oracles.conv2d(x, w, stride, padding),
        oracles.conv_transpose2d(g, w, stride, padding, rest),
        oracles.conv2d_weight_gradient(x, g, w.shape[:2], stride, padding),
    )


def convolution(size, channels, kernel_size, stride, padding, batch=2, dtype="float64"):
    """Return random x, w and g for a convolution of these shapes."""
    out = [(n + 2 * padding - kernel_size) // stride + 1 for n in size]
    arrays = (
        normal(batch, *size, channels[0], seed=1),
        normal(kernel_size, kernel_size, *channels, seed=2),
        normal(batch, *out, channels[1], seed=3),
    )
    return [a.astype(dtype) for a in arrays]


# ---- Winograd ----

SHAPES = [  # size, (in, out), kernel, stride, padding
    ((8, 8), (32, 32), 3, 1, 1),
    ((7, 10), (33, 34), 3, 1, 1),
    ((9, 5), (32, 40), 3, 1, 0),
    ((5, 4), (40, 32), 3, 1, 2),
    ((28, 12), (32, 32), 3, 1, 1),
    ((14, 14), (32, 64), 4, 2, 1),
    ((9, 11), (36, 33), 4, 2, 1),
    ((8, 10), (32, 32), 4, 2, 0),
    ((10, 7), (33, 32), 4, 2, 2),
    ((11, 13), (32, 32), 4, 2, 3),
    ((8, 16), (32, 33), 3, 2, 1),
    ((9, 12), (33, 32), 3, 2, 1),
    ((10, 7), (32, 32), 3, 2, 0),
    ((7, 8), (32, 36), 3, 2, 2),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_winograd_computes_the_same_convolution(shape, monkeypatch):
    size, channels, kernel_size, stride, padding = shape
    x, w, g = convolution(*shape)
    used, make_plan = [], winograd.make_plan
    monkeypatch.setattr(winograd, "make_plan", lambda *a: used.append(make_plan(*a)) or used[-1])
    for got, expected in zip(
        three_passes(x, w, g, stride, padding), expected_passes(x, w, g, stride, padding)
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
    always, full = (kernel_size, stride) in winograd.SIZES, all(n % 8 == 0 for n in size)
    assert list(map(bool, used)) == [always, always or full, always]
    if not always and not full:  # Winograd's method is not used, because it is slower; but correct
        sizes = winograd.INPUT_SIZES
        plan = make_plan((kernel_size,) * 2, (stride,) * 2, g.shape[1:3], w.shape[2:], 1, sizes)
        dx = np.empty_like(x)
        winograd.input_gradient(g, w, plan, (padding,) * 2, dx)
        expected = expected_passes(x, w, g, stride, padding)[1]
        np.testing.assert_allclose(dx, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


def test_winograd_with_a_bias():
    for shape in (SHAPES[0], SHAPES[1], SHAPES[5]):
        x, w, _ = convolution(*shape)
        bias = normal(w.shape[3], seed=4)
        y = conv.forward(x, w, (shape[3],) * 2, (shape[4],) * 2, 1, bias)
        np.testing.assert_allclose(
            y, oracles.conv2d(x, w, shape[3], shape[4]) + bias, rtol=1e-12, atol=1e-11
        )
        g = normal(*y.shape, seed=5)
        back = normal(w.shape[2], seed=6)
        dx = conv.input_gradient(g, w, x.shape[1:3], (shape[3],) * 2, (shape[4],) * 2, 1, back)
        np.testing.assert_allclose(
            dx,
            conv.input_gradient(g, w, x.shape[1:3], (shape[3],) * 2, (shape[4],) * 2, 1) + back,
            rtol=1e-12,
            atol=1e-11,
        )


@pytest.mark.parametrize("kernel_size, stride", winograd.INPUT_SIZES)
def test_second_derivatives_of_winograd(kernel_size, stride):
    x, w, _ = convolution((6, 5), (32, 32), kernel_size, stride, 1, batch=1)
    check_grads(lambda x, w: ops.conv2d(x, w, stride, 1), [x, 0.1 * w])


@pytest.mark.parametrize("kernel_size, stride", winograd.INPUT_SIZES)
def test_the_rounding_of_winograd_stays_small(kernel_size, stride):
    """In float32, below 4e-6 of the root mean square of the result. A plain sum has 0.6e-6."""
    arrays = convolution((12, 12), (128, 48), kernel_size, stride, 1, batch=1, dtype="float32")
    exact = expected_passes(*(a.astype("float64") for a in arrays), stride, 1)
    for got, expected in zip(three_passes(*arrays, stride, 1), exact):
        assert got.dtype == np.float32
        assert np.sqrt(((got - expected) ** 2).mean() / (expected**2).mean()) < 4e-6


def test_the_matrices_of_winograd_are_right():
    """A tile of one row: At ((G w) * (Bt x)) is the correlation of x with w."""
    for taps in winograd.POINTS:
        at, g, bt = winograd.transform_matrices(taps, np.dtype("float64"))
        x, w = normal(len(bt)), normal(taps)
        np.testing.assert_allclose(at @ ((g @ w) * (bt @ x)), np.correlate(x, w), rtol=1e-12)


# ---- few channels ----


@given(st.data())
def test_convolutions_of_few_channels(data):
    """All passes, by whichever way: merged pixels, folding, phases of the stride."""
    size = data.draw(st.tuples(st.integers(3, 12), st.integers(3, 12)), "size")
    channels = data.draw(
        st.tuples(st.sampled_from([1, 2, 3, 5, 9]), st.sampled_from([1, 2, 7, 16])), "channels"
    )
    kernel_size = data.draw(st.integers(1, 3), "kernel size")
    stride = data.draw(st.integers(1, 3), "stride")
    padding = data.draw(st.integers(0, 2), "padding")
    x, w, g = convolution(size, channels, kernel_size, stride, padding)
    for got, expected in zip(
        three_passes(x, w, g, stride, padding), expected_passes(x, w, g, stride, padding)
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("t", [0, 1, 2, 7])
@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (1, 3)])
def test_neighbouring_windows_may_be_folded_as_one(t, stride, padding, monkeypatch):
    monkeypatch.setattr(conv, "_pixels_to_fold", lambda *_: t)
    g, w, bias = normal(3, 6, 14, 5), normal(4, 3, 2, 5, seed=1), normal(2, seed=2)
    for beyond in (0, 1):  # columns that no window reaches, if the stride is more than 1
        size = tuple(
            (out - 1) * s + k - 2 * padding + beyond * (s - 1)
            for out, s, k in zip(g.shape[1:3], stride, w.shape)
        )
        if min(size) > 0:
            arguments = (g, w, size, stride, (padding, padding), 1, bias)
            expected = plain_conv.input_gradient.__wrapped__(*arguments)
            got = conv.input_gradient(*arguments)
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "out, kernel_size, stride, channels, t",
    [
        ((10, 10), (5, 5), (1, 1), (6, 16), 5),  # LeNet's second layer
        ((16, 16), (4, 4), (2, 2), (3, 64), 2),  # the first layer of D, for colours
        ((32, 32), (3, 3), (1, 1), (3, 32), 4),
        ((28, 28), (3, 3), (1, 1), (16, 16), 0),  # correlations are faster
        ((14, 14), (4, 4), (2, 2), (64, 64), 0),
    ],
)
def test_windows_are_folded_where_it_is_faster(out, kernel_size, stride, channels, t):
    """The choice that was measured to be the fastest."""
    size = tuple(o * s + k - s for o, s, k in zip(out, stride, kernel_size))
    assert conv._pixels_to_fold(out, size, kernel_size, stride, channels) == t


@pytest.mark.parametrize("t", [1, 2, 7])
def test_neighbouring_pixels_may_be_merged(t, monkeypatch):
    def pixels_to_merge(pixels, *rest):
        return t if pixels.flags.c_contiguous and pixels.shape[2] % t == 0 else 1

    monkeypatch.setattr(conv, "_pixels_to_merge", pixels_to_merge)
    for channels in ((1, 6), (5, 3)):
        for kernel_size, stride, padding in ((5, 1, 2), (4, 2, 1), (3, 3, 0)):
            size = (12, 14 * stride + kernel_size - stride - 2 * padding)
            x, w, g = convolution(size, channels, kernel_size, stride, padding)
            assert g.shape[2] == 14
            for got, expected in zip(
                three_passes(x, w, g, stride, padding), expected_passes(x, w, g, stride, padding)
            ):
                np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


# ---- max pooling ----


@pytest.mark.parametrize(
    "kernel_size, stride", [((2, 2), (2, 2)), ((3, 2), (3, 2)), ((1, 3), (1, 3)), ((3, 3), (2, 1))]
)
def test_ties_share_the_gradient_of_a_maximum(kernel_size, stride):
    x = np.random.default_rng(0).integers(0, 3, (3, 7, 8, 2)).astype(float)
    y = pool.max_pool(x, kernel_size, stride)
    g, dx = normal(*y.shape), np.zeros(x.shape)
    for n, r, c, channel in np.ndindex(y.shape):
        rows = slice(r * stride[0], r * stride[0] + kernel_size[0])
        columns = slice(c * stride[1], c * stride[1] + kernel_size[1])
        window = x[n, rows, columns, channel]
        hit = window == window.max()
        assert y[n, r, c, channel] == window.max()
        dx[n, rows, columns, channel] += g[n, r, c, channel] * hit / hit.sum()
    np.testing.assert_allclose(pool.max_pool_gradient(g, x, y, kernel_size, stride), dx, atol=1e-14)
    h = normal(*x.shape, seed=1)
    np.testing.assert_allclose(
        np.sum(plain_pool.max_pool_gradient_adjoint(h, x, y, kernel_size, stride) * g),
        np.sum(h * dx),
        rtol=1e-12,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize("kernel_size", [(2, 2), (3, 2), (1, 3)])
def test_pooling_returns_exactly_what_the_plain_version_does(
    kernel_size, channels, dtype, small_blocks
):
    """Also of NaN, infinities and zeros of both signs, which a maximum of windows between the tiles
    must not spread to the tiles beside them."""
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0])
    rng = np.random.default_rng(0)
    x = rng.choice(values, (40, 7, 11, channels), p=[0.02, *[0.98 / 6] * 6]).astype(dtype)
    with np.errstate(all="ignore"):
        y = pool.max_pool(x, kernel_size, kernel_size)
        arguments = normal(*y.shape).astype(dtype), x, y, kernel_size, kernel_size
        dx = pool.max_pool_gradient(*arguments)
        expected = plain_pool.max_pool_gradient.__wrapped__(*arguments)
    assert np.isnan(y).any() and np.isfinite(y).any()
    np.testing.assert_array_equal(y, plain_pool.max_pool.__wrapped__(x, kernel_size, kernel_size))
    np.testing.assert_array_equal(dx, expected)


# ---- normalisation ----

normalize_modulate = importlib.import_module("tinygan.ops.normalize")._normalize_modulate
BATCH, IMAGE = (0, 1, 2), (1, 2)
# (shape, axes, is it computed in blocks?). With small blocks, some blocks hold several images, and
# some images have several blocks.
NORMS = [
    ((5, 7, 9, 6), BATCH, True),
    ((5, 7, 9, 6), IMAGE, True),
    ((1, 13, 11, 20), BATCH, True),
    ((1, 13, 11, 20), IMAGE, True),
    ((3, 16, 16, 64), BATCH, True),
    ((3, 16, 16, 64), IMAGE, True),
    ((6, 7, 7, 3), IMAGE, True),
    ((9, 2, 1, 5), BATCH, True),
    ((9, 2, 1, 5), IMAGE, True),
    ((4, 37, 1, 1), IMAGE, True),
    ((3, 2, 600, 1), BATCH, True),
    ((5, 1, 1, 8), IMAGE, False),
    ((3, 4, 5, 6), (3,), False),
    ((3, 4, 5, 6), (0, 2), False),
    ((37, 20), (0,), True),
    ((4, 11, 13), (1,), True),
    ((4, 11, 13), (0, 1), True),
]


def vectors_of(shape):
    """Return the shapes of scale or shift: none, shared by all images, or one for each image."""
    return None, shape[-1:], (shape[0], *(1,) * (len(shape) - 2), shape[-1])


@pytest.fixture
def passes(monkeypatch):
    """A list of the views of all passes through blocks; it grows with each pass."""
    views, for_each_block = [], normalize._for_each_block

    def recorded(function, view, *rest):
        views.append(view)
        return for_each_block(function, view, *rest)

    monkeypatch.setattr(normalize, "_for_each_block", recorded)
    return views


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape, axes, in_blocks", NORMS, ids=str)
def test_normalisation_in_blocks_agrees_with_its_definition(
    shape, axes, in_blocks, dtype, small_blocks, passes
):
    tolerance = 1e-11 if dtype == "float64" else 2e-4
    x, g = normal(*shape) * 2 + 1, normal(*shape, seed=1)
    for shapes in itertools.product(vectors_of(shape), repeat=2):
        vectors = [None if s is None else normal(*s, seed=2 + i) for i, s in enumerate(shapes)]
        arrays = [x, *vectors]
        fast = [None if a is None else a.astype(dtype) for a in arrays]
        exact = [
            None if a is None else Tensor(a.astype("float64"), requires_grad=True) for a in fast
        ]
        y = normalize_modulate.definition(*exact, axes, 1e-3)
        used = [i for i, a in enumerate(arrays) if a is not None]
        weights = Tensor(g.astype(dtype).astype("float64"))
        expected = dict(zip(used, grad(y, [exact[i] for i in used], weights)))
        passes.clear()
        value, saved = normalize.normalize(*fast, axes, 1e-3)
        # A scale or shift as large as x is not computed in blocks.
        as_large = len(shape) == 2 and shape in shapes
        assert len(passes) == (2 if in_blocks and not as_large else in_blocks)
        assert value.dtype == dtype
        np.testing.assert_allclose(value, y.data, rtol=tolerance, atol=tolerance)
        for needed in itertools.product([False, True], repeat=3):
            needed = [need and a is not None for need, a in zip(needed, arrays)]
            passes.clear()
            got = normalize.normalize_gradient(g.astype(dtype), saved, needed)
            assert len(passes) == (1 + needed[0] if in_blocks and not as_large else 0)
            for i in (i for i in range(3) if needed[i]):
                assert got[i].dtype == dtype and got[i].shape == arrays[i].shape
                scale = np.abs(expected[i].data).max()
                np.testing.assert_allclose(
                    got[i], expected[i].data, rtol=tolerance, atol=tolerance * scale
                )


@pytest.mark.parametrize("axes", [BATCH, IMAGE])
def test_moments_stay_accurate_far_from_zero(axes, small_blocks):
    x = (normal(3, 20, 31, 8) + 3000).astype("float32")
    exact = x.astype("float64")
    moments = normalize.moments(x, axes)
    expected_mean, expected_var = exact.mean(axes, keepdims=True), exact.var(axes, keepdims=True)
    for got in moments:
        assert got.dtype == np.float32 and got.shape == expected_mean.shape
    mean, rest, var = (got.astype("float64") for got in moments)
    np.testing.assert_allclose(mean + rest, expected_mean, rtol=0, atol=1e-6)
    np.testing.assert_allclose(var, expected_var, rtol=1e-5)


@pytest.mark.parametrize("axes", [BATCH, IMAGE])
def test_normalisation_accepts_any_strides(axes, small_blocks, passes):
    wide = normal(10, 9, 14, 12).astype("float32")
    for x in (
        wide[::2],
        wide[:, ::-1],
        wide[:, :, 3:9],
        wide[..., ::3],
        wide.transpose(0, 2, 1, 3),
        wide.transpose(3, 1, 2, 0),
        np.broadcast_to(wide[:1], (4, *wide.shape[1:])),
        np.asfortranarray(wide),
    ):
        vector = normal(2 * len(x), 1, 1, x.shape[3], seed=1).astype("float32")[::2]
        g = np.broadcast_to(normal(x.shape[2], 1, seed=2).astype("float32"), x.shape)
        results = []
        for x, g, vector in ((x, g, vector), map(np.ascontiguousarray, (x, g, vector))):
            y, saved = normalize.normalize(x, vector, vector, axes, 1e-5)
            results.append([y, *normalize.normalize_gradient(g, saved, [True] * 3)])
        for a, b in zip(
            *results
        ):  # on some processors, the layout changes the order of BLAS's sums
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(b).max())
    assert len(passes) == 8 * 2 * 4


def test_normalisation_changes_neither_numpys_buffer_nor_its_arguments(threads):
    threads(2)
    x, g = normal(20, 32, 32, 64), normal(20, 32, 32, 64, seed=1)
    vector = normal(20, 1, 1, 64, seed=2)
    before, copies = np.getbufsize(), [a.copy() for a in (x, g, vector)]
    _, saved = normalize.normalize(x, vector, vector, IMAGE, 1e-5)
    first = normalize.normalize_gradient(g, saved, [True] * 3)
    assert np.getbufsize() == before and all(map(np.array_equal, copies, (x, g, vector)))
    assert all(map(np.array_equal, first, normalize.normalize_gradient(g, saved, [True] * 3)))


def test_instance_norm_of_an_empty_batch():
    y, saved = normalize.normalize(np.zeros((0, 3, 3, 4)), None, np.zeros(4), IMAGE, 1e-5)
    dx, _, dshift = normalize.normalize_gradient(y, saved, [True, False, True])
    assert y.shape == dx.shape == (0, 3, 3, 4) and not dshift.any()


# ---- blocks and threads ----


def mean_and_variance(x, axes):
    mean, rest, var = normalize.moments(x, axes)
    return mean + rest, var


def results_of_all_kinds():
    """Return the results of every kernel that cuts its work into blocks, most in float32."""
    results = []
    for shape in (
        SHAPES[1],
        SHAPES[5],
        ((9, 14), (1, 6), 5, 1, 2),
        ((14, 14), (6, 16), 5, 1, 0),
        ((16, 16), (3, 64), 4, 2, 1),
        ((9, 8), (6, 16), 3, 2, 1),
        ((6, 6), (20, 9), 1, 1, 0),
    ):
        arrays = convolution(*shape, batch=5, dtype="float32")
        results += three_passes(*arrays, *shape[3:])
    x, g = normal(6, 7, 9, 20).astype("float32"), normal(6, 7, 9, 20, seed=1).astype("float32")
    scale = normal(20, seed=2).astype("float32")
    scales = normal(6, 1, 1, 20, seed=2).astype("float32")  # one for each image
    for vector, axes in ((scales, BATCH), (scales, IMAGE), (scale, IMAGE), (scale, BATCH)):
        y, saved = normalize.normalize(x, vector, vector, axes, 1e-5)
        results += [y, *normalize.normalize_gradient(g, saved, [True] * 3)]
    a, b, c = normal(90, 70), normal(70, 80), normal(90, 80)
    f, maxima = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64, pool.max_pool(x, (2, 2), (2, 2))
    return [
        *results,
        *mean_and_variance(x, BATCH),
        *mean_and_variance(x[:, :3, :2], IMAGE),
        act.leaky_relu(x, 0.2, 1.5, scale),
        act.leaky_relu_gradient(g, x, 0.2, 1.5),
        linear.sum_channels(x),
        linear.matmul(a, b),
        *linear.affine_gradient(c, (a, b), [True] * 3),
        warp.upfirdn2d(x, f, (2, 2), (1, 1), (2, 1, 2, 1)),
        maxima,
        pool.max_pool_gradient(y[:, :3, :4], x, maxima, (2, 2), (2, 2)),
    ]


def test_the_bits_of_no_kernel_depend_on_threads(threads, small_blocks):
    results = [threads(n) or results_of_all_kinds() for n in (1, 2, 4, 1)]
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert np.array_equal(a, b)


def test_blocks_change_nothing_but_rounding(small_blocks):
    in_blocks = results_of_all_kinds()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "SMALL", 1 << 40)
        patch.setattr(linear, "TINY", 1 << 40)
        for a, b in zip(in_blocks, results_of_all_kinds(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


def train(name):
    """Return a digest of the losses and parameters after one step of each kind of a workload."""
    job = WORKLOADS[name].make(8, WORKLOADS[name].image_size)
    losses = [step() for step in job.parts.values()]
    digest = hashlib.sha256(repr(losses).encode())
    for network in job.networks:
        for parameter in network.parameters():
            digest.update(parameter.data.tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_bits_of_training_do_not_depend_on_threads(name, threads, small_blocks):
    assert len({threads(n) or train(name) for n in (1, 2, 4)}) == 1


def test_the_bits_of_training_do_not_depend_on_the_threads_of_blas():
    code = "import test_kernels; print(test_kernels.train('dcgan-r1'), test_kernels.train('mlp'))"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            cwd=os.path.dirname(__file__),
            env={
                **os.environ,
                "PYTHONPATH": os.path.dirname(os.path.dirname(__file__)),
                "OPENBLAS_NUM_THREADS": n,
            },
        ).stdout
        for n in ("1", "2", "4")
    }
    assert len(digests) == 1 and len(digests.pop().split()) == 2


# name: (module, a function that runs inside its blocks, a call of the kernel)
KERNELS = {
    "winograd": (
        winograd,
        "_transform",
        lambda: three_passes(*convolution((14, 14), (32, 32), 3, 1, 1, 6), 1, 1),
    ),
    "batch-norm": (normalize, "_sums", lambda: normalize.moments(normal(6, 7, 9, 20), BATCH)),
    "instance-norm": (normalize, "_sums", lambda: normalize.moments(normal(60, 3, 3, 20), IMAGE)),
    "activation": (act, "scratch", lambda: act.leaky_relu(normal(6, 7, 9, 20), 0.2)),
    "filter": (
        warp,
        "scratch",
        lambda: warp.upfirdn2d(normal(6, 7, 9, 20), np.ones((4, 4)), (1, 1), (1, 1), (1,) * 4),
    ),
    "maximum": (pool, "_write_maxima", lambda: pool.max_pool(normal(64, 8, 8, 20), (2, 2), (2, 2))),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_really_use_two_threads(name, threads, small_blocks, monkeypatch):
    """The first blocks of two threads wait for each other, so one thread alone would fail."""
    module, function, call = KERNELS[name]
    threads(2)
    meeting, original, workers = threading.Barrier(2, timeout=10), getattr(module, function), set()

    def waiting(*args, **settings):
        # The pool may have more than two threads by now.
        if len(workers) < 2 and threading.get_ident() not in workers:
            workers.add(threading.get_ident())
            meeting.wait()
        return original(*args, **settings)

    monkeypatch.setattr(module, function, waiting)
    call()
    assert len(workers) == 2


def test_threads_share_both_products_of_an_affine_gradient_at_once(small_blocks, monkeypatch):
    runs, run = [], parallel.run

    def counting(function, items, shared=True):
        runs.append(len(items))
        run(function, items, shared)

    monkeypatch.setattr(parallel, "run", counting)
    linear.affine_gradient(normal(90, 80), (normal(90, 70), normal(70, 80)), [True, True, False])
    assert len(runs) == 1 and runs[0] >= 4


# ---- the pool of threads ----


def test_every_item_runs_once(threads):
    for n in (1, 2, 5):
        threads(n)
        done = []
        parallel.run(done.append, range(50))
        assert sorted(done) == list(range(50))


def test_several_threads_may_call_kernels_at_the_same_time(threads):
    threads(2)
    x, w, g = convolution((16, 16), (32, 32), 3, 1, 1, batch=8, dtype="float32")
    expected, results = three_passes(x, w, g, 1, 1), {}

    def work(i):
        results[i] = [three_passes(x, w, g, 1, 1) for _ in range(5)]

    users = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.join(timeout=60)
    for rounds in results.values():
        for passes in rounds:
            for a, b in zip(expected, passes):
                assert np.array_equal(a, b)
    assert len(results) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only Unix can fork")
def test_kernels_work_in_a_fork(threads):
    threads(2)
    x, w, g = convolution((16, 16), (32, 32), 3, 1, 1, batch=8, dtype="float32")
    expected = three_passes(x, w, g, 1, 1)  # the pool of threads exists now
    with warnings.catch_warnings():  # Python 3.12 warns about forks of a process with threads
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if all(map(np.array_equal, expected, three_passes(x, w, g, 1, 1))) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_scratch_buffers_are_aligned_reused_and_private_to_a_thread():
    a = parallel.scratch("test", (5, 3), np.dtype("float32"))
    assert a.shape == (5, 3) and a.ctypes.data % parallel.ALIGNMENT == 0
    assert parallel.scratch("test", (5, 3), np.dtype("float32")) is a
    assert np.shares_memory(parallel.scratch("test", (2,), np.dtype("float64")), a)
    others = []
    other = threading.Thread(
        target=lambda: others.append(parallel.scratch("test", (5, 3), np.dtype("float32")))
    )
    other.start()
    other.join()
    assert not np.shares_memory(others[0], a)


def test_results_share_no_memory_with_scratch_buffers():
    x, w, g = convolution((8, 8), (32, 32), 3, 1, 1, dtype="float32")
    first = three_passes(x, w, g, 1, 1)
    copies = [a.copy() for a in first]
    three_passes(x + 1, w - 1, g * 2, 1, 1)
    assert all(map(np.array_equal, first, copies))


def test_a_graph_keeps_the_result_of_an_activation_not_its_argument():
    x = Tensor(normal(4, 5), requires_grad=True)
    y = ops.leaky_relu(x * 2.0, 0.2, gain=1.5)
    np.testing.assert_allclose(grad(y.sum(), x).data, np.where(x.data > 0, 3.0, 0.6))


# ---- special cases ----


def blas_threads():
    return [library.get_num_threads() for library in parallel._libraries()]


def test_any_thread_may_limit_blas_and_the_last_one_releases_it():
    before, inside = blas_threads(), []

    def other():
        with parallel.single_threaded_blas():
            inside.append(blas_threads())
            entered.set()
            leave.wait(10)

    parallel.run(lambda item: inside.append(blas_threads()), [0])  # the main thread comes first
    entered, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=other)
    with parallel.single_threaded_blas():
        thread.start()
        assert entered.wait(10)
    inside.append(blas_threads())  # the other thread still limits it
    leave.set()
    thread.join()
    assert set(sum(inside, [])) == {1} and blas_threads() == before


def test_an_interrupt_before_the_exit_does_not_limit_blas_for_ever():
    before = blas_threads()
    limit = parallel.single_threaded_blas()
    limit.__enter__()
    del limit  # as when an interrupt ends the frame between __enter__ and the with block
    with parallel.single_threaded_blas():
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_every_thread_uses_the_callers_errstate(threads):
    threads(2)
    x = np.full(1 << 21, 3e38, np.float32)
    with np.errstate(over="ignore"):  # warnings are errors in tests
        for _ in range(5):
            act.leaky_relu(x, 0.2, 2.0)


def test_after_an_error_no_further_item_begins(threads):
    threads(2)
    began, both = [], threading.Barrier(2, timeout=10)

    def work(item):
        began.append(item)
        if item < 2:
            both.wait()
        if item == 1:
            raise ValueError("item 1")
        failed.wait(0.05)

    failed = threading.Event()
    with pytest.raises(ValueError, match="item 1"):
        parallel.run(work, range(1000))
    count = len(began)
    failed.wait(0.2)
    assert len(began) == count < 100  # and no item began later


def test_empty_batches():
    for size, kernel_size in (((7, 7), 7), ((3, 6), 3), ((8, 8), 3)):
        for channels in ((1, 2), (32, 32)):
            x, w, g = convolution(size, channels, kernel_size, 1, 0, batch=0)
            y, dx, dw = three_passes(x, w, g, 1, 0)
            assert (y.shape, dx.shape, dw.shape) == (g.shape, x.shape, w.shape) and not dw.any()
    x, b = (Tensor(np.zeros(shape), requires_grad=True) for shape in ((0, 3, 3, 4), 4))
    dx, db = grad(ops.bias_act(x, b).sum(), [x, b])
    assert dx.shape == x.shape and db.shape == b.shape
    with pytest.raises(ValueError, match="empty batch"):
        ops.batch_norm(x)
        normalize.moments(x.data, (0, 1, 2))


def test_batched_products(small_blocks):
    for a, b in (
        ((6, 9, 8), (6, 8, 7)),
        ((1, 9, 8), (6, 8, 7)),
        ((6, 9, 8), (8, 7)),
        ((9, 8), (6, 8, 7)),
        ((2, 5, 9, 8), (5, 8, 7)),
        ((3, 1, 9, 8), (4, 8, 7)),
        ((0, 9, 8), (8, 7)),
    ):
        x, y = normal(*a), normal(*b, seed=1)
        np.testing.assert_allclose(linear.matmul(x, y), x @ y, atol=1e-12)


def test_noncontiguous_arrays_leave_no_large_scratch_buffers():
    def sizes_in_a_new_thread():  # where no other test has left buffers
        y = normal(1 << 10, 1 << 11).astype("float32")
        out = act.leaky_relu_gradient(np.broadcast_to(np.float32(1), y.shape), y, 0.2)
        np.testing.assert_array_equal(out, np.where(y > 0, np.float32(1), np.float32(0.2)))
        return parallel.scratch("activation", (1,), np.dtype("float32")).base.nbytes

    with ThreadPoolExecutor(1) as threads:
        size = threads.submit(sizes_in_a_new_thread).result()
    assert 4 <= size <= 4 * parallel.BLOCK + 2 * parallel.ALIGNMENT


def test_relu_with_gain_keeps_infinities():
    x = np.array([-np.inf, -1, 0, 1, np.inf], np.float32)
    np.testing.assert_array_equal(act.leaky_relu(x, 0.0, 2.0), [0, 0, 0, 2, np.inf])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: ops.upfirdn2d(x, []), "must not be empty"),
        (lambda x: ops.upfirdn2d(x, [1.0], down=0), "1 or more"),
        (lambda x: ops.upfirdn2d(x, [1.0], padding=(1, 1)), "left, right, top, bottom"),
        (lambda x: ops.max_pool2d(x, 2, 0), "stride"),
        (lambda x: ops.max_pool2d(x, 2, -1), "stride"),
        (lambda x: ops.bias_act(x, Tensor(np.zeros(3))), "bias"),
        (lambda x: ops.bias_act(x, gain=0), "gain"),
        (lambda x: ops.affine(x, Tensor(np.zeros((3, 2))), Tensor(np.zeros(2))), "do not fit"),
        (
            lambda x: ops.conv2d(x, Tensor(np.zeros((1, 1, 4, 2))), bias=Tensor(np.zeros(3))),
            r"not \(2,\)",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(Tensor(np.zeros((1, 4, 4, 4))))
