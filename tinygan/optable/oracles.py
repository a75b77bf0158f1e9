"""Oracles: slow reference implementations of ops, with NumPy and SciPy alone.

Each follows the definition of its op, not the op's implementation. The op table compares the two.
"""

import functools
import importlib

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def scipy(name):
    """A function of SciPy, such as scipy("special.expit"), that is imported when it is called."""
    module, _, function = f"scipy.{name}".rpartition(".")
    return lambda *args, **settings: getattr(importlib.import_module(module), function)(
        *args, **settings
    )


# Convolutions: one call of scipy.signal for each pair of channels


def pair(n):
    """An int or a pair of ints, as a pair."""
    return tuple(np.broadcast_to(n, 2).tolist())


def zero_stuffed(x, up):
    """x (N, H, W, ...) with up - 1 zeros after each pixel; up is a pair (rows, columns)."""
    y = np.zeros((len(x), x.shape[1] * up[0], x.shape[2] * up[1], *x.shape[3:]))
    y[:, :: up[0], :: up[1]] = x
    return y


def connections(inputs, outputs, groups):
    """A list with (o, c, i) for each weight w[:, :, c, o], which connects channel i of the image to
    output channel o."""
    return [
        (o, c, o // (outputs // groups) * inputs + c) for o in range(outputs) for c in range(inputs)
    ]


def conv2d(x, w, stride=1, padding=0, groups=1):
    rows, columns = pair(stride)
    x = np.pad(x, ((0, 0), *((p, p) for p in pair(padding)), (0, 0)))
    y = [0] * w.shape[3]
    for o, c, i in connections(*w.shape[2:], groups):
        y[o] += scipy("signal.correlate")(x[..., i], w[None, ..., c, o], "valid", "direct")[
            :, ::rows, ::columns
        ]
    return np.stack(y, -1)


def conv_transpose2d(x, w, stride=1, padding=0, output_padding=0, groups=1):
    stride, padding, extra = pair(stride), pair(padding), pair(output_padding)
    size = [
        (n - 1) * s - 2 * p + k + e
        for n, s, p, k, e in zip(x.shape[1:3], stride, padding, w.shape, extra)
    ]
    image = np.index_exp[:, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    x = zero_stuffed(x, stride)
    y = [0] * w.shape[2] * groups
    for o, c, i in connections(*w.shape[2:], groups):
        y[i] += scipy("signal.convolve")(x[..., o], w[None, ..., c, o], "full", "direct")[image]
    return np.stack(y, -1)


def conv2d_weight_gradient(x, g, kernel_size, stride=1, padding=0, groups=1):
    window, stride = pair(kernel_size), pair(stride)
    x = np.pad(x, ((0, 0), *((p, p + s - 1) for p, s in zip(pair(padding), stride)), (0, 0)))
    g = zero_stuffed(g, stride)
    w = np.zeros((*window, x.shape[3] // groups, g.shape[3]))
    for o, c, i in connections(*w.shape[2:], groups):
        products = scipy("signal.correlate")(x[..., i], g[..., o], "valid", "direct")[0]
        w[:, :, c, o] = products[: window[0], : window[1]]
    return w


# Images


def pooled(reduce):
    """Pooling with the function `reduce`, such as np.mean."""

    def reference(x, kernel_size=2, stride=None):
        rows, columns = pair(kernel_size if stride is None else stride)
        return reduce(
            sliding_window_view(x, pair(kernel_size), (1, 2))[:, ::rows, ::columns], axis=(-2, -1)
        )

    return reference


def zoomed(order):
    """Upsampling with splines of this order: 0 for nearest, 1 for bilinear."""
    return lambda x, factor=2: scipy("ndimage.zoom")(
        x, (1, factor, factor, 1), order=order, mode="nearest", grid_mode=True
    )


def upfirdn2d(x, f, up=1, down=1, padding=0, flip_filter=False, gain=1.0):
    """Insert zeros after each pixel, pad or crop, filter, and keep every down-th pixel."""
    f = np.outer(f, f) if np.ndim(f) == 1 else np.array(f)
    left, right, top, bottom = np.broadcast_to(padding, 4)
    x = zero_stuffed(x, pair(up))
    x = np.pad(x, ((0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)), (0, 0)))
    crop_top, crop_bottom, crop_left, crop_right = (max(-n, 0) for n in (top, bottom, left, right))
    x = x[:, crop_top : x.shape[1] - crop_bottom, crop_left : x.shape[2] - crop_right]
    rows, columns = pair(down)
    apply = scipy("signal.correlate" if flip_filter else "signal.convolve")
    return gain * apply(x, f[None, :, :, None], "valid", "direct")[:, ::rows, ::columns]


def upfirdn2d_by_axis(x, f, up, down, padding):
    """scipy.signal.upfirdn along each axis, for a filter of one dimension. It pads by taps - 1 on
    the left and taps - up on the right."""
    upfirdn = scipy("signal.upfirdn")
    return upfirdn(f, upfirdn(f, x, up, down, axis=1), up, down, axis=2)


def translate(x, shifts):
    """scipy.ndimage.shift of each image."""
    shift = scipy("ndimage.shift")
    return np.stack(
        [shift(image, (*by, 0), order=0, mode="constant") for image, by in zip(x, shifts)]
    )


def affine_warp(x, theta, size=None):
    """scipy.ndimage.map_coordinates at the position where each output pixel samples the image; zero
    outside the image."""
    (height, width), size = x.shape[1:3], size or x.shape[1:3]
    v, u = np.meshgrid(*((2 * np.arange(n) + 1) / n - 1 for n in size), indexing="ij")
    y = np.empty((len(x), *size, x.shape[3]))
    for n, c in np.ndindex(len(x), x.shape[3]):
        across, down = np.tensordot(theta[n], np.stack([u, v, np.ones(size)]), 1)
        positions = ((down + 1) * height - 1) / 2, ((across + 1) * width - 1) / 2
        y[n, ..., c] = scipy("ndimage.map_coordinates")(
            x[n, ..., c], positions, order=1, mode="grid-constant"
        )
    return y


# Normalisation and losses


def normalized(x, scale=1.0, shift=0.0, axes=None, eps=1e-5):
    """Normalise over axes (default: all but the last), then scale and shift."""
    axes = tuple(range(x.ndim - 1)) if axes is None else axes
    centred = x - x.mean(axes, keepdims=True)
    return scale * centred / np.sqrt(x.var(axes, keepdims=True) + eps) + shift


def minibatch_stddev(x, group_size=4, eps=1e-8, features=1):
    """Add channels with the mean standard deviation within a group of images, one for each of
    `features` parts of the channels."""
    groups, added = len(x) // min(group_size, len(x)), []
    for part in np.split(x, features, 3):
        deviations = [np.sqrt(part[m::groups].var(0) + eps).mean() for m in range(groups)]
        added.append(np.full((*x.shape[:3], 1), np.resize(deviations, (len(x), 1, 1, 1))))
    return np.concatenate([x, *added], 3)


FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def conv2d_up(x, w):
    """The transposed convolution, then the filter. For 1x1, the filter, then the convolution, which
    gives the same."""
    if w.shape[0] == 1:
        return conv2d(upfirdn2d(x, FIR, up=2, padding=(2, 1, 2, 1), gain=4), w)
    return upfirdn2d(conv_transpose2d(x, w.swapaxes(2, 3), 2), FIR, padding=1, gain=4)


def conv2d_down(x, w):
    """The filter, then the convolution at full size, of which every second pixel is kept."""
    k = len(w) // 2
    return conv2d(upfirdn2d(x, FIR, padding=(2 + k, 1 + k, 2 + k, 1 + k)), w)[:, 1::2, 1::2]


def modulated_conv2d(x, w, style, up=False, demodulate=True):
    """Convolve each image with its own weight (Karras et al. 2020b, equations 1 and 3)."""
    images = []
    for image, s in zip(x, style):
        own_w = w * s[:, None]
        own_w = own_w / np.sqrt((own_w**2).sum((0, 1, 2)) + 1e-8) if demodulate else own_w
        conv = conv2d_up if up else functools.partial(conv2d, padding=len(w) // 2)
        images.append(conv(image[None], own_w))
    return np.concatenate(images)


def binary_cross_entropy(x, target):
    log_p = scipy("special.log_expit")
    return -np.mean(target * log_p(x) + (1 - target) * log_p(-x))


def cross_entropy(x, labels):
    return -np.mean([scipy("special.log_softmax")(line)[label] for line, label in zip(x, labels)])


def sigma(weight, seed):
    """v' W u, where W is the weight as a matrix (inputs, outputs), and u and v are the initial unit
    vectors of a SpectralNorm with this seed."""
    matrix, rng = weight.reshape(-1, weight.shape[-1]), np.random.default_rng(seed)
    u, v = (rng.standard_normal(n) for n in matrix.shape[::-1])
    u, v = (np.float32(x / np.linalg.norm(x)).astype(float) for x in (u, v))
    return np.einsum("i,ij,j", v, matrix, u)


def self_attention(x, gamma, theta, phi, g, o):
    """Self-attention, one position of one image at a time; weights (1, 1, in, out)."""
    result = np.empty_like(x)
    for n, image in enumerate(x):
        keys, values = (
            pooled(np.max)((image @ w[0, 0])[None])[0].reshape(-1, w.shape[3]) for w in (phi, g)
        )
        for position in np.ndindex(image.shape[:2]):
            weights = np.exp(keys @ (image[position] @ theta[0, 0]))
            attention = weights / weights.sum() @ values @ o[0, 0]
            result[n][position] = image[position] + gamma * attention
    return result


def up_block(x, gain1, bias1, gain2, bias2, w1, w2, w):
    """Batch-norm, relu, upsampling, 3x3, batch-norm, relu, 3x3; plus the shortcut, which is
    convolved after upsampling."""
    upsample = zoomed(0)
    h = conv2d(upsample(np.maximum(normalized(x, gain1, bias1), 0), 2), w1, padding=1)
    h = conv2d(np.maximum(normalized(h, gain2, bias2), 0), w2, padding=1)
    return h + conv2d(upsample(x, 2), w)


def down_block(x, w1, b1, w2, b2, w=None, b=None, first=False, pool=None):
    """Relu (unless `first`), 3x3, relu, 3x3, pooling; plus the shortcut, which is convolved before
    pooling."""
    pool = pool or pooled(np.mean)
    h = conv2d(x if first else np.maximum(x, 0), w1, padding=1) + b1
    h = conv2d(np.maximum(h, 0), w2, padding=1) + b2
    return pool(h) + pool(x if w is None else conv2d(x, w) + b)
