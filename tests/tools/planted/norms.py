"""Mistakes in the derivatives of normalisation and of StyleGAN2's convolutions."""

import numpy as np

from tinygan import ops
from tinygan.optable.table import normal

from .mechanism import case, constant, gradients_of, mistake


def same(t):
    """Return t: gradients flow through it."""
    return t


def fixed(t):
    """Return t as a constant: no gradient flows through it."""
    return t.detach()


def normalised(x, axes, mean=same, var=same, eps=1e-5, n=None):
    """(x - mean) / sqrt(var + eps) over `axes`.

    mean, var: `fixed` for a statistic that the gradient takes for a constant. n: the number that
    the variance is divided by; default: how many values there are.
    """
    m = ops.mean(x, axes, keepdims=True)
    v = ops.mean(ops.square(x - m), axes, keepdims=True)
    if n is not None:
        v = v * (x.size / v.size / n)
    return (x - mean(m)) * (var(v) + eps) ** -0.5


BATCH = (0, 1, 2)
OTHER = np.random.default_rng(99).standard_normal((3, 2, 3, 4)) * 1.5 + 0.3  # an earlier batch

# Statistics as constants

for _row, _axes in (
    ("batch_norm", BATCH),
    ("instance_norm", (1, 2)),
    ("normalize axes=(1, 2)", (1, 2)),
    ("normalize axes=(3,)", (3,)),
):
    mistake(
        _row,
        "statistics",
        "the mean is a constant",
        other=lambda x, axes=_axes: normalised(x, axes, mean=fixed),
    )
    mistake(
        _row,
        "statistics",
        "the variance is a constant",
        other=lambda x, axes=_axes: normalised(x, axes, var=fixed),
    )
mistake(
    "batch_norm vectors",
    "statistics",
    "both are constants",
    other=lambda x, a, b: normalised(x, (0,), fixed, fixed) * a + b,
)
mistake(
    "batch_norm scale shift",
    "statistics",
    "of an earlier batch",
    other=lambda x, a, b: (
        (x - OTHER.mean(BATCH)) * constant((OTHER.var(BATCH) + 1e-5) ** -0.5, x) * a + b
    ),
)
mistake(
    "batch_norm",
    "statistics",
    "of the first image",
    other=lambda x: (
        (x - ops.mean(x[0], (0, 1)).detach()) * (ops.var(x[0], (0, 1)).detach() + 1e-5) ** -0.5
    ),
)
mistake(
    "batch_norm per sample",
    "statistics",
    "of each image by itself",
    other=lambda x, a, b: normalised(x, (1, 2)) * a + b,
)
mistake(
    "instance_norm style",
    "statistics",
    "of the batch",
    other=lambda x, a, b: normalised(x, BATCH) * a + b,
)
mistake(
    "batch_norm scale shift",
    "statistics",
    "the normalised x is a constant in second order, for the scale",
    lambda g, x, a, b: (None, ops.sum(g * ops.batch_norm(x).detach(), BATCH), None),
)
mistake(
    "pixel_norm",
    "statistics",
    "the length is a constant",
    other=lambda x: x * (ops.mean(x * x, -1, keepdims=True).detach() + 1e-8) ** -0.5,
)
mistake(
    "pixel_norm",
    "second order",
    "the length is a constant in the second order alone",
    lambda g, x: _pixel_norm_gradient(g, x, fixed),
)


def _pixel_norm_gradient(g, x, treat):
    rate = treat((ops.mean(x * x, -1, keepdims=True) + 1e-8) ** -0.5)
    y = x * rate
    return rate * (g - y * ops.mean(g * y, -1, keepdims=True))


# eps, n, scale and shift

mistake(
    "batch_norm scale",
    "settings",
    "eps is forgotten",
    other=lambda x, a: normalised(x, BATCH, eps=0.0) * a,
)
mistake(
    "batch_norm scale",
    "settings",
    "the default eps",
    other=lambda x, a: normalised(x, BATCH, eps=1e-5) * a,
)
SMALL = case(
    "batch_norm of small variance", ops.batch_norm, lambda rng: 1e-2 * rng.standard_normal((6, 4))
)
mistake(SMALL, "settings", "eps is forgotten", other=lambda x: normalised(x, (0,), eps=0.0))
mistake("batch_norm", "n", "n - 1 instead of n", other=lambda x: normalised(x, BATCH, n=17))
mistake(
    "batch_norm vectors",
    "n",
    "n - 1 instead of n",
    other=lambda x, a, b: normalised(x, (0,), n=5) * a + b,
)
mistake(
    "batch_norm vectors",
    "dropped term",
    "the scale, for x",
    other=lambda x, a, b: normalised(x, (0,)) + 0.0 * (a + b),
    of=[0],
)
mistake(
    "batch_norm vectors",
    "formula",
    "x before it is normalised, for the scale",
    lambda g, x, a, b: (None, ops.sum(g * x, 0), None),
)
mistake("batch_norm vectors", "bias", "the mean over the batch", change=lambda d: d / 6.0, of=[2])
mistake(
    "batch_norm per sample",
    "missing sum",
    "of the shift: the mean over the pixels",
    change=lambda d: d / 6.0,
    of=[2],
)
mistake(
    "batch_norm per sample",
    "axis",
    "of the scale: summed over the batch, too",
    lambda g, x, a, b: (None, ops.sum(g * ops.batch_norm(x), BATCH, keepdims=True) + 0.0 * a, None),
)
mistake(
    "instance_norm style",
    "arguments",
    "scale and shift",
    lambda g, x, a, b: (
        None,
        ops.sum(g, (1, 2), keepdims=True),
        ops.sum(g * ops.instance_norm(x), (1, 2), keepdims=True),
    ),
)
mistake(
    "modulate",
    "missing sum",
    "of the scale: the first image alone",
    lambda g, x, a, b: (None, ops.sum((g * x)[0], (0, 1)), None),
)
mistake("modulate", "dropped term", "the scale, for x", lambda g, x, a, b: (g, None, None))
mistake(
    "modulate",
    "second order",
    "x is a constant",
    lambda g, x, a, b: (None, ops.sum(g * x.detach(), BATCH), None),
)
mistake(
    "pixel_norm",
    "formula",
    "centred",
    lambda g, x: _pixel_norm_gradient(g - ops.mean(g, -1, keepdims=True), x, same),
)
mistake("pixel_norm", "n", "the sum of squares, not the mean", change=lambda d: d / 2.0)

# The deviation of a minibatch

GROUPS3, GROUPS2 = "minibatch_stddev group_size=3", "minibatch_stddev group_size=2 features=2"
mistake(GROUPS3, "dropped term", "the new channel", lambda g, x: g[..., :2] + 0.0 * x)
mistake(GROUPS3, "zero", "the channels of x", lambda g, x: _without_x(g, x, 3, 1))
mistake(
    GROUPS3,
    "groups",
    "of images side by side",
    other=lambda x: _other_groups(x, np.array([0, 3, 1, 4, 2, 5]), 3, 1),
)
mistake(
    GROUPS2,
    "arguments",
    "the new channels are swapped",
    lambda g, x: _gradient_with(g[..., [0, 1, 2, 3, 5, 4]], x, 2, 2),
)
mistake(
    GROUPS3,
    "n",
    "the sum over the pixels, not the mean",
    lambda g, x: _gradient_with(g * constant([1.0, 1.0, 6.0], g), x, 3, 1),
)


def _gradient_with(g, x, group, features):
    return gradients_of(lambda x: ops.minibatch_stddev(x, group, features=features), [x], g)[0]


def _without_x(g, x, group, features):
    return _gradient_with(
        g * constant([0.0] * x.shape[3] + [1.0] * features, g), x, group, features
    )


def _other_groups(x, order, group, features):
    return ops.minibatch_stddev(x[order], group, features=features)[np.argsort(order)]


# Modulated convolutions

UP, PLAIN = "modulated_conv2d up=True", "modulated_conv2d demodulate=False"


def modulated(
    x, w, style, up=False, demodulated=same, eps=1e-8, style_of_scale=same, w_of_scale=same
):
    """modulated_conv2d by its definition.

    demodulated: what happens to the factor of the demodulation, style_of_scale and w_of_scale to
    its arguments: `fixed` makes them constants.
    """
    n, channels = style.shape
    y = x * style.reshape(n, 1, 1, channels)
    y = ops.conv2d_up(y, w) if up else ops.conv2d(y, w, padding=1)
    square = ops.square(style_of_scale(style)) @ ops.sum(ops.square(w_of_scale(w)), (0, 1))
    return y * demodulated((square + eps) ** -0.5).reshape(n, 1, 1, w.shape[3])


for _row, _up in (("modulated_conv2d", False), (UP, True)):
    mistake(
        _row,
        "dropped term",
        "the demodulation is a constant",
        other=lambda x, w, s, up=_up: modulated(x, w, s, up, demodulated=fixed),
    )
    mistake(
        _row,
        "dropped term",
        "the style in the demodulation",
        other=lambda x, w, s, up=_up: modulated(x, w, s, up, style_of_scale=fixed),
        of=[2],
    )
    mistake(
        _row,
        "dropped term",
        "the weight in the demodulation",
        other=lambda x, w, s, up=_up: modulated(x, w, s, up, w_of_scale=fixed),
        of=[1],
    )
mistake(
    "modulated_conv2d",
    "settings",
    "not demodulated",
    other=lambda x, w, s: ops.modulated_conv2d(x, w, s, demodulate=False),
)
mistake(
    "modulated_conv2d",
    "arguments",
    "the styles of the images are swapped",
    other=lambda x, w, s: modulated(x, w, s[::-1]),
    of=[0],
)
mistake(PLAIN, "n", "of the style: the mean over the pixels", change=lambda d: d / 16.0, of=[2])
mistake(
    PLAIN,
    "second order",
    "x is a constant in the derivative of the style",
    other=lambda x, w, s: ops.modulated_conv2d(x.detach(), w, s, demodulate=False),
    of=[2],
)
mistake(
    PLAIN,
    "missing sum",
    "of the weight: the style of the first image for all",
    other=lambda x, w, s: ops.modulated_conv2d(x, w, s[np.array([0, 0])], demodulate=False),
    of=[1],
)
TINY = case(
    "modulated_conv2d of small styles",
    ops.modulated_conv2d,
    normal(2, 3, 3, 2),
    normal(3, 3, 2, 2),
    lambda rng: 1e-5 * (1.0 + rng.random((2, 2))),
    arguments=["x", "w", "style"],
)
mistake(TINY, "settings", "eps is forgotten", other=lambda x, w, s: modulated(x, w, s, eps=0.0))
mistake(
    "conv2d_up 3x3",
    "filter",
    "the weight is not rotated, for x",
    other=lambda x, w: ops.conv2d_up(x, ops.flip(w, (0, 1))),
    of=[0],
)
mistake(
    "conv2d_up 3x3",
    "dropped term",
    "the filter",
    other=lambda x, w: ops.conv2d(ops.upsample_nearest(x), w, 1, 1),
)
mistake("conv2d_up 1x1", "settings", "the gain of 4 is forgotten", change=lambda d: d / 4.0)
mistake(
    "conv2d_down 3x3",
    "dropped term",
    "the filter",
    other=lambda x, w: ops.conv2d(ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), w, 2),
)
mistake("conv2d_down 1x1", "stride", "the other pixels", change=lambda d: ops.roll(d, 1, 2), of=[0])
