"""Mistakes in the derivatives of layers: everything that `tinygan.nn` exports."""

import numpy as np

from tinygan import nn, ops
from tinygan.backend import to_numpy
from tinygan.optable.table import normal

from .elementwise import gelu_with_tanh
from .mechanism import ROWS, case, constant, gradients_of, mistake, planted
from .norms import BATCH, fixed, modulated, normalised


def zero(d):
    """A gradient that is missing."""
    return 0.0 * d


# Linear layers and embeddings

mistake("Linear", "bias", "its gradient is missing", change=zero, of=[2])
mistake("Linear", "bias", "the mean over the batch", change=lambda d: d / 2.0, of=[2])
mistake(
    "Linear no bias",
    "missing sum",
    "of the weight: the first row alone",
    lambda g, x, w: (None, x[:, 0].T @ g[:, 0]),
)
mistake("Conv2d", "bias", "the mean over the pixels", change=lambda d: d / 18.0, of=[2])
mistake("Conv2d", "stride", "of x, off by one pixel", change=lambda d: ops.roll(d, 1, 1), of=[0])
mistake("Conv2d groups", "groups", "of x, the other group", change=lambda d: ops.flip(d, 3), of=[0])
mistake("ConvTranspose2d", "bias", "its gradient is missing", change=zero, of=[2])
mistake(
    "ConvTranspose2d groups",
    "groups",
    "of w, the other group",
    other=lambda x, w: ROWS["ConvTranspose2d groups"].function(ops.roll(x, 2, 3), w),
    of=[1],
)
mistake(
    "Embedding",
    "index",
    "a repeated row is overwritten, not added to",
    lambda g, w: constant(np.eye(5)[:, [2, 0, 2]] * [0, 1, 1], w) @ g,
)
mistake("Embedding", "off by one", "the next row", change=lambda d: ops.roll(d, 1, 0))
mistake("Embedding mixtures", "zero", "of the mixtures", change=zero, of=[0])
mistake(
    "Maxout",
    "formula",
    "every piece receives g",
    lambda g, x, w, b: (
        None,
        None,
        ops.sum(ops.broadcast_to(g.reshape(2, 3, 1), (2, 3, 2)), 0).reshape(6),
    ),
)
mistake(
    "Maxout",
    "index",
    "the piece that is not largest",
    other=lambda x, w, b: ops.min(ops.affine(x, w, b).reshape(2, 3, 2), 2),
)
mistake("Dropout", "settings", "not divided by the probability", change=lambda d: d / 2.0)
mistake(
    "Dropout",
    "index",
    "another mask than forward",
    other=lambda x: nn.Dropout(0.5, rng=np.random.default_rng(8))(x),
)
mistake("Reshape", "transposed", "columns first", lambda g, x: g.transpose(0, 2, 1).reshape(2, 6))
mistake(
    "Flatten", "transposed", "columns first", lambda g, x: g.reshape(2, 4, 3).transpose(0, 2, 1)
)
mistake(
    "Sequential",
    "formula",
    "1 - y in its tanh",
    other=lambda x, w, b, v, c: _with_wrong_tanh(x, w, b) @ v + c,
)
mistake(
    "Sequential",
    "dropped term",
    "the tanh",
    other=lambda x, w, b, v, c: (x @ w + b) @ v + c,
    of=[0, 1, 2],
)
mistake(
    "Sequential",
    "second order",
    "the hidden units are constants, for the last weight",
    lambda g, x, w, b, v, c: (None, None, None, ops.tanh(x @ w + b).detach().T @ g, None),
)


def _with_wrong_tanh(x, w, b):
    return planted(ops.tanh, lambda g, x: g * (1.0 - ops.tanh(x)), "tanh")(x @ w + b)


# Activations

mistake("LeakyReLU", "settings", "the default slope", other=lambda x: ops.leaky_relu(x, 0.2))
mistake("ReLU", "settings", "with a slope", other=lambda x: ops.leaky_relu(x, 0.01))
mistake(
    "Tanh", "second order", "y is a constant", lambda g, x: g * (1.0 - ops.tanh(x).detach() ** 2)
)
mistake(
    "Sigmoid",
    "second order",
    "y is a constant",
    lambda g, x: g * fixed(ops.sigmoid(x) * ops.sigmoid(-x)),
)
mistake("GELU", "formula", "of the approximation by tanh", other=gelu_with_tanh)
mistake("SiLU", "formula", "the sigmoid's", lambda g, x: g * ops.sigmoid(x) * ops.sigmoid(-x))
mistake("Softplus", "formula", "the sigmoid's", lambda g, x: g * ops.sigmoid(x) * ops.sigmoid(-x))

# Normalisation

for _what, _statistics in (
    ("the mean is a constant", {"mean": fixed}),
    ("the variance is a constant", {"var": fixed}),
    ("both are constants", {"mean": fixed, "var": fixed}),
):
    mistake(
        "BatchNorm train",
        "statistics",
        _what,
        other=lambda x, a, b, s=_statistics: normalised(x, BATCH, **s) * a + b,
    )
mistake(
    "BatchNorm train",
    "statistics",
    "the running averages, as in evaluation",
    other=lambda x, a, b: x * a + b,
)
mistake("BatchNorm plain", "settings", "the default eps", other=lambda x: normalised(x, (0,)))
mistake(
    "BatchNorm plain", "n", "n - 1 instead of n", other=lambda x: normalised(x, (0,), eps=0.1, n=4)
)
mistake(
    "BatchNorm eval",
    "statistics",
    "those of the batch, as in training",
    other=lambda x, a, b: normalised(x, BATCH) * a + b,
)
mistake(
    "ConditionalBatchNorm",
    "dropped term",
    "the 1 of the scale, for x",
    other=lambda x, c, a, b: (
        normalised(x, BATCH) * (c @ a).reshape(3, 1, 1, 4) + 0.0 * (c @ b).reshape(3, 1, 1, 4)
    ),
    of=[0],
)
mistake("ConditionalBatchNorm", "zero", "of the condition", change=zero, of=[1])
mistake(
    "ConditionalBatchNorm",
    "statistics",
    "of each image by itself",
    other=lambda x, c, a, b: (
        normalised(x, (1, 2)) * (1.0 + c @ a).reshape(3, 1, 1, 4) + (c @ b).reshape(3, 1, 1, 4)
    ),
    of=[0],
)
mistake(
    "ConditionalBatchNorm classes",
    "labels",
    "the other class",
    change=lambda d: ops.flip(d, 0),
    of=[1],
)
mistake(
    "ConditionalBatchNorm classes",
    "labels",
    "a repeated class is overwritten, not added to",
    lambda g, x, a, b: (None, None, constant([[0, 1, 0], [0, 0, 1]], x) @ ops.sum(g, (1, 2))),
)
mistake("PixelNorm", "settings", "eps is forgotten", other=lambda x: ops.pixel_norm(x, 0.0))
mistake(
    "PixelNorm",
    "statistics",
    "the length is a constant",
    other=lambda x: x * fixed((ops.mean(x * x, -1, keepdims=True) + 0.1) ** -0.5),
)
mistake("MinibatchStddev", "dropped term", "the new channel", lambda g, x: g[..., :2] + 0.0 * x)
mistake(
    "MinibatchStddev",
    "settings",
    "another size of the groups",
    other=lambda x: ops.minibatch_stddev(x, 4),
)
mistake("AvgPool2d", "n", "the sum", change=lambda d: d * 4.0)
mistake("Blur", "padding", "off by one row", change=lambda d: ops.roll(d, 1, 1))
mistake("Blur", "settings", "not divided by 16", change=lambda d: 16.0 * d)

# Spectral norm and equalised layers


def _spectral(make, treat=lambda t: t):
    """The layer with its weight divided by `treat` of its spectral norm."""
    layer = nn.SpectralNorm(make(), rng=np.random.default_rng(7)).eval()

    def function(x, w, b):
        u, v = (constant(to_numpy(t), w) for t in (layer.u, layer.v))
        sigma = v @ w.reshape(-1, w.shape[-1]) @ u
        w = w / treat(sigma)
        return (x @ w if w.ndim == 2 else ops.conv2d(x, w)) + b

    return function


_LINEAR, _CONV = lambda: nn.Linear(4, 3), lambda: nn.Conv2d(2, 3, 3)
mistake("SpectralNorm", "statistics", "the norm is a constant", other=_spectral(_LINEAR, fixed))
mistake(
    "SpectralNorm",
    "dropped term",
    "the division by the norm",
    other=lambda x, w, b: x @ w + b,
    of=[0],
)
mistake(
    "SpectralNorm",
    "bias",
    "divided by the norm, too",
    lambda g, x, w, b: (None, None, ops.sum(g, 0) / ops.norm(w)),
)
mistake(
    "SpectralNorm Conv2d", "statistics", "the norm is a constant", other=_spectral(_CONV, fixed)
)
mistake("SpectralNorm ConvTranspose2d", "factor", "2", change=lambda d: 2.0 * d, of=[1])
mistake("SpectralNorm Embedding", "labels", "the next row", change=lambda d: ops.roll(d, 1, 0))
mistake(
    "Equalized", "settings", "the gain of the weight is forgotten", change=lambda d: 2.0 * d, of=[1]
)
mistake("Equalized", "settings", "the gain, on the bias, too", change=lambda d: d / 2.0, of=[2])
mistake(
    "Equalized ConvTranspose2d",
    "settings",
    "the stride, in the gain",
    change=lambda d: d / 2.0,
    of=[1],
)

# Layers of StyleGAN and StyleGAN2

mistake(
    "Mapping",
    "settings",
    "the learning rate of the weight is forgotten",
    change=lambda d: 2.0 * d,
    of=[1],
)
mistake("Mapping", "bias", "the learning rate is forgotten", change=lambda d: 2.0 * d, of=[2])
mistake(
    "Mapping",
    "dropped term",
    "the projection to the sphere",
    lambda g, x, w, b: (_through_sphere(g, x, w, b), None, None),
)
mistake(
    "Mapping separate_norms",
    "settings",
    "the gain of the activation is forgotten",
    change=lambda d: d / 2**0.5,
)
mistake("Noise", "zero", "of the strength", change=zero, of=[1])
mistake(
    "Noise",
    "index",
    "another noise than forward",
    other=lambda x, s: x + s * constant(np.random.default_rng(8).standard_normal((4, 4, 1)), x),
    of=[1],
)
mistake("Noise", "n", "of the strength: the mean over the batch", change=lambda d: d / 2.0, of=[1])
mistake("ResampledConv2d", "stride", "the other pixels", change=lambda d: ops.roll(d, 1, 1), of=[0])
mistake(
    "ModulatedConv2d",
    "dropped term",
    "the demodulation is a constant",
    other=lambda x, s, w: modulated(x, w, s, demodulated=fixed),
)
mistake(
    "ModulatedConv2d",
    "second order",
    "the demodulation is a constant in second order, for x",
    other=lambda x, s, w: modulated(x, w, s, demodulated=fixed),
    of=[0],
)


def _through_sphere(g, x, w, b):
    """The gradient of x, with the length of x as a constant."""
    length = fixed((ops.mean(x * x, 1, keepdims=True) + 1e-8) ** 0.5)
    layer = lambda x: ops.leaky_relu(0.5 * ((x / length) @ w * (2 / 3) ** 0.5 + b))
    return gradients_of(layer, [x], g)[0]


# Attention and residual blocks

ATTENTION = "SelfAttention"


def _attention(x, gamma, theta, phi, g, o, weights=lambda t: t, keys=lambda t: t, residual=1.0):
    """SelfAttention by its definition. weights, keys: what happens to them on the way."""
    n, pixels, c = x.shape[0], x.shape[1] * x.shape[2], x.shape[3]
    queries = ops.conv2d(x, theta).reshape(n, pixels, -1)
    pooled = lambda w: ops.max_pool2d(ops.conv2d(x, w)).reshape(n, pixels // 4, -1)
    a = weights(ops.softmax(queries @ keys(pooled(phi)).transpose(0, 2, 1)))
    y = (a @ pooled(g)).reshape(n, x.shape[1], x.shape[2], c // 2)
    return residual * x + gamma * ops.conv2d(y, o)


mistake(
    ATTENTION,
    "dropped term",
    "the residual path",
    other=lambda *xs: _attention(*xs, residual=0.0),
    of=[0],
)
mistake(ATTENTION, "zero", "of gamma", change=zero, of=[1])
mistake(
    ATTENTION,
    "dropped term",
    "gamma, for the last weight",
    other=lambda x, gamma, *w: _attention(x, constant(1.0, x), *w) + 0.0 * gamma,
    of=[5],
)
PIXELS = case(
    "SelfAttention 4x4",
    lambda *xs: _attention(*xs),
    normal(1, 4, 4, 8),
    normal(),
    normal(1, 1, 8, 1),
    normal(1, 1, 8, 1),
    normal(1, 1, 8, 4),
    normal(1, 1, 4, 8),
    arguments=["x", "gamma", "theta", "phi", "g", "o"],
)
mistake(
    PIXELS,
    "dropped term",
    "the attention weights are constants",
    other=lambda *xs: _attention(*xs, weights=fixed),
)
mistake(
    PIXELS, "dropped term", "the keys are constants", other=lambda *xs: _attention(*xs, keys=fixed)
)
mistake(
    "UpBlock",
    "dropped term",
    "the shortcut",
    lambda g, *xs: [_no_shortcut("UpBlock", g, xs, 7), *[None] * 7],
)
mistake("UpBlock", "zero", "the bias of the second norm", change=zero, of=[4])
mistake(
    "UpBlock",
    "transposed",
    "the channels of the second weight",
    change=lambda d: ops.swapaxes(d, 2, 3),
    of=[6],
)
mistake(
    "DownBlock",
    "dropped term",
    "the shortcut",
    lambda g, *xs: [_no_shortcut("DownBlock", g, xs, 5), *[None] * 6],
)
mistake("DownBlock", "n", "the pool of the shortcut: the sum", change=lambda d: 4.0 * d, of=[5])
mistake(
    "DownBlock same size",
    "formula",
    "the shortcut without its relu",
    lambda g, x, *w: [_no_relu(g, x, w), *[None] * 4],
)
mistake(
    "DownBlock first",
    "formula",
    "with a first relu",
    other=lambda *xs: ROWS["DownBlock"].function(*xs),
)
mistake(
    "GroupedBlock",
    "dropped term",
    "the shortcut",
    lambda g, *xs: [gradients_of(ROWS["GroupedBlock"].function, xs, g)[0] - g, *[None] * 5],
)
mistake("GroupedBlock", "zero", "the bias of the second activation", change=zero, of=[5])
mistake("Resample up", "settings", "the gain of 4 is forgotten", change=lambda d: d / 4.0, of=[0])
mistake("Resample down", "stride", "the other pixels", change=lambda d: ops.roll(d, 1, 1), of=[0])


def _no_shortcut(name, g, xs, index):
    """The gradient of x where the weight of the shortcut, argument `index`, is 0."""
    xs = [0.0 * x if i == index else x for i, x in enumerate(xs)]
    return gradients_of(ROWS[name].function, xs, g)[0]


def _no_relu(g, x, w):
    """The gradient of x: that of the block, with all of g for the shortcut."""
    gradient = gradients_of(ROWS["DownBlock same size"].function, [x, *w], g)[0]
    return gradient + g * constant(x.data < 0, x)
