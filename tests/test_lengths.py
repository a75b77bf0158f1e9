"""Lengths and what is divided by them: norm, pixel-norm, demodulation and spectral norm, over the
whole range of float32 and float64."""

import warnings

import numpy as np
import pytest

from tinygan import Tensor, grad, nn, ops, tensor
from tinygan.backend import asarray, to_numpy, xp
from tinygan.gan import penalties


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


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
