"""Normalisation combines two ideas: `normalize` over some axes, `modulate` by a scale and a shift.

batch-norm              axes (0, 1, 2)  scale, shift: parameters (C,)
conditional batch-norm  axes (0, 1, 2)  scale, shift: looked up from the class (N, 1, 1, C)
instance-norm           axes (1, 2)     scale, shift: parameters (C,), or none
AdaIN                   axes (1, 2)     scale, shift: an affine map of the style w (N, 1, 1, C)
pixel-norm              axis 3, not centred, no scale or shift
"""

from tinygan.autograd import described
from tinygan.kernels import normalize as normalize_kernels

from .composite import check_images, composite_op
from .elementwise import square
from .fused import fused
from .linear import axes_of, broadcast_to, concatenate, mean, reshape
from .reduce import centred, var


@composite_op(1)
def modulate(x, scale=None, shift=None):
    """x * scale + shift, where scale and shift broadcast over x. Either may be None."""
    y = x if scale is None else x * scale
    y = y if shift is None else y + shift
    return _same_shape("modulate", x, y, scale, shift)


def _same_shape(name, x, y, scale, shift):
    """y, the result for x. Raises ValueError if x was broadcast to the shape of scale or shift."""
    if y.shape != x.shape:
        raise ValueError(
            f"{name}: scale {described(scale)} and shift {described(shift)} do not broadcast over "
            f"{described(x)}"
        )
    return y


@fused(normalize_kernels.normalize, normalize_kernels.normalize_gradient)
def _normalize_modulate(x, scale, shift, /, axes, eps, statistics=None):
    # `statistics` saves work in the kernel; the definition computes them, for their gradients.
    x = centred(x, axes)
    y = x * (mean(square(x), axes, keepdims=True) + eps) ** -0.5
    return modulate(y, scale, shift)


@composite_op(1)
def normalize(x, axes, eps=1e-5):
    """(x - mean) / sqrt(var + eps), with the mean and variance (divided by n) over `axes`.

    Raises ValueError if there is nothing to average.
    """
    axes = axes_of(axes, x.ndim)
    if not x.size and not all(x.shape[axis] for axis in axes):
        raise ValueError(f"normalize: there is no mean over the axes {axes} of {described(x)}")
    return _normalize_modulate(x, None, None, axes, eps)


@composite_op(1)
def batch_norm(x, scale=None, shift=None, eps=1e-5, statistics=None):
    """Normalise each channel over the batch (Ioffe and Szegedy 2015), then modulate.

    x: (N, H, W, C) or (N, C). scale, shift: (C,), or (N, 1, 1, C) for conditional batch-norm.
    statistics: `kernels.normalize.moments` of x, if they are known already. They must be those of
    this x, because gradients flow through them.
    """
    if x.ndim < 2:
        raise ValueError(f"batch_norm takes (N, H, W, C) or (N, C), got {described(x)}")
    y = _normalize_modulate(x, scale, shift, tuple(range(x.ndim - 1)), eps, statistics)
    return _same_shape("batch_norm", x, y, scale, shift)


@composite_op(1)
def instance_norm(x, scale=None, shift=None, eps=1e-5):
    """Normalise each channel of each image over its pixels (Ulyanov et al. 2016), then modulate.

    x: images (N, H, W, C). With scale and shift (N, 1, 1, C) computed from a style, this is AdaIN
    (Huang and Belongie 2017).
    """
    check_images("instance_norm", x)
    if not x.shape[1] * x.shape[2]:
        raise ValueError(f"instance_norm: images without pixels, {described(x)}, have no mean")
    y = _normalize_modulate(x, scale, shift, (1, 2), eps)
    return _same_shape("instance_norm", x, y, scale, shift)


@composite_op(1)
def pixel_norm(x, eps=1e-8):
    """x / sqrt(mean of x^2 over the channels + eps) (Karras et al. 2018, section 4.2)."""
    scale = normalize_kernels.safe_scale(x.data, (x.ndim - 1,), eps)
    x = divided(x, scale)  # and eps by scale^2, so the result is the same
    return x * (mean(square(x), -1, keepdims=True) + float(eps) / scale / scale) ** -0.5


def divided(x, scale):
    """x / scale, for the result of `safe_scale`, a constant."""
    return x if isinstance(scale, float) else x / scale


@composite_op(1)
def minibatch_stddev(x, group_size=4, eps=1e-8, features=1):
    """Append channels that show how much images differ (Karras et al. 2018, section 3).

    x: (N, H, W, C) -> (N, H, W, C + features).
    group_size: G = min(group_size, N) images form a group, strided through the batch: m, m + N/G,
    m + 2N/G, ... None: all N images form one group.
    features: the number of new channels. The channels of x are divided into `features` parts. A new
    channel holds the standard deviation sqrt(var + eps) within the group, averaged over the pixels
    and channels of its part.
    Raises ValueError if G does not divide N, or features does not divide C.
    """
    n, height, width, channels = x.shape
    group = n if group_size is None else min(group_size, n)
    if n % group or channels % features:
        raise ValueError(
            f"minibatch_stddev: cannot divide a batch of {n} into groups of {group}, "
            f"or {channels} channels into {features} parts"
        )
    grouped = reshape(x, (group, n // group, height, width, features, channels // features))
    deviation = mean((var(grouped, 0) + eps) ** 0.5, (1, 2, 4))  # (N/G, features)
    deviation = reshape(deviation, (1, n // group, 1, 1, features))
    deviation = broadcast_to(deviation, (group, n // group, height, width, features))
    return concatenate([x, reshape(deviation, (n, height, width, features))], axis=3)
