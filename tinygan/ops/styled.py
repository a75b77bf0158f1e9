"""The convolutions of StyleGAN2: resampling, and modulated by a style (Karras et al. 2020b)."""

import numpy as np

from tinygan.autograd import described
from tinygan.kernels.normalize import safe_scale

from .bilinear import conv2d, conv_transpose2d, matmul
from .composite import composite_op
from .elementwise import square
from .linear import reshape, sum, transpose
from .normalize import divided
from .resample import upfirdn2d

FIR = np.array([1.0, 3.0, 3.0, 1.0]) / 8  # the authors' filter, used along rows and columns


@composite_op(1)
def upsample2d(x, f=FIR):
    """x (N, H, W, C) -> (N, 2H, 2W, C): insert zeros, then filter with f (4,) or (4, 4)."""
    # gain=4, because three of four pixels are inserted zeros. The padding keeps the image centred
    # and makes its size 2H x 2W.
    return upfirdn2d(x, f, up=2, padding=(2, 1, 2, 1), gain=4.0)


@composite_op(1)
def downsample2d(x, f=FIR):
    """x (N, H, W, C) -> (N, H/2, W/2, C): filter with f (4,) or (4, 4), keep every second pixel."""
    return upfirdn2d(x, f, down=2, padding=1)


def _check_weight(name, w):
    if w.ndim != 4 or w.shape[:2] not in ((1, 1), (3, 3)):
        raise ValueError(f"{name}: w must be (k, k, in, out) with k = 1 or 3, got {described(w)}")


@composite_op(2)
def conv2d_up(x, w, f=FIR):
    """Convolve and upsample: x (N, H, W, in), w (k, k, in, out) -> (N, 2H, 2W, out).

    For k = 3, a transposed convolution with stride 2, which applies w rotated by 180 degrees
    relative to `conv2d`, and then the filter f. For k = 1, the convolution comes first, while the
    image is small.
    """
    _check_weight("conv2d_up", w)
    if w.shape[0] == 1:
        return upsample2d(conv2d(x, w), f)
    # gain=4 as in `upsample2d`: here, the transposed convolution inserts the zeros.
    return upfirdn2d(conv_transpose2d(x, transpose(w, (0, 1, 3, 2)), 2), f, padding=1, gain=4.0)


@composite_op(2)
def conv2d_down(x, w, f=FIR):
    """Convolve and downsample: x (N, H, W, in), w (k, k, in, out) -> (N, H/2, W/2, out).

    k = 1 or 3. The filter f comes first, to avoid aliasing.
    """
    _check_weight("conv2d_down", w)
    if w.shape[0] == 1:
        return conv2d(downsample2d(x, f), w)
    return conv2d(upfirdn2d(x, f, padding=2), w, stride=2)


@composite_op(3)
def modulated_conv2d(x, w, style, up=False, demodulate=True, f=FIR):
    """Convolve each image with a weight of its own: w, scaled by the image's style.

    x: (N, H, W, in). w: (k, k, in, out), k odd; with `up`, k = 1 or 3. style: (N, in).
    demodulate: divide the weight w' = w * style (equation 1) by sqrt(sum over k, k, in of w'^2
    + 1e-8) (equation 3). The output then has unit variance if the input has.
    up: convolve to twice the size, with `conv2d_up` and its filter f.

    Convolution is linear, so scaling the input channels by the style and the output channels by the
    demodulation gives the same result, with one convolution for all images.
    """
    fits = x.ndim == w.ndim == 4 and style.shape == (x.shape[0], x.shape[3])
    if not fits or w.shape[0] != w.shape[1] or w.shape[0] % 2 == 0:
        raise ValueError(
            "modulated_conv2d takes x (N, H, W, in), w (k, k, in, out), k odd, and style (N, in), "
            f"got {described(x)}, {described(w)} and {described(style)}"
        )
    n, channels = style.shape
    eps = 1e-8
    if demodulate:  # equation 3 does not change if w' and sqrt(eps) are divided by the same number
        style_scale = safe_scale(style.data, (1,), eps)
        w_scale = safe_scale(w.data.reshape(-1, w.shape[3]), (0,), eps)
        style, w = divided(style, style_scale), divided(w, w_scale)
        eps = eps / style_scale / style_scale / w_scale / w_scale
    y = x * reshape(style, (n, 1, 1, channels))
    y = conv2d_up(y, w, f) if up else conv2d(y, w, padding=w.shape[0] // 2)
    if demodulate:
        scale = (matmul(square(style), sum(square(w), (0, 1))) + eps) ** -0.5
        y = y * reshape(scale, (n, 1, 1, w.shape[3]))
    return y
