"""The op table's rows of layers: everything that `tinygan.nn` exports."""

import functools

import numpy as np

from tinygan import nn
from tinygan.backend import asarray

from . import oracles
from .normalisation import IMAGES
from .oracles import normalized, scipy
from .table import distinct, layer, normal, row

MEAN, VAR = [0.5, -1.0, 0.0, 2.0], [4.0, 1.0, 0.5, 9.0]
LABELS = np.array([1, 0, 1])


def spectral(layer):
    """A SpectralNorm in evaluation, where u and v are constant, as the gradient assumes."""
    return nn.SpectralNorm(layer, rng=np.random.default_rng(7)).eval()


def sphere(z):
    return z / np.sqrt((z**2).mean(1, keepdims=True) + 1e-8)


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def _batch_norm_with_statistics():
    norm = nn.BatchNorm(4).eval()
    norm.running_mean, norm.running_var = asarray(MEAN, "float32"), asarray(VAR, "float32")
    return norm


layer(lambda: nn.Linear(4, 3), lambda x, w, b: x @ w + b, normal(2, 4), linear=True)
layer(
    lambda: nn.Linear(4, 3, bias=False),
    lambda x, w: x @ w,
    normal(2, 5, 4),
    note="no bias",
    linear=True,
)
layer(
    lambda: nn.Conv2d(2, 3, 4, 2, 1),
    lambda x, w, b: oracles.conv2d(x, w, 2, 1) + b,
    normal(2, 6, 6, 2),
    linear=True,
)
layer(
    lambda: nn.Conv2d(2, 4, (1, 3), groups=2, bias=False),
    lambda x, w: oracles.conv2d(x, w, groups=2),
    normal(2, 2, 4, 2),
    note="groups",
    linear=True,
)
layer(
    lambda: nn.ConvTranspose2d(2, 3, 4, 2, 1),
    lambda x, w, b: oracles.conv_transpose2d(x, w, 2, 1) + b,
    normal(2, 3, 3, 2),
    linear=True,
)
layer(
    lambda: nn.ConvTranspose2d(4, 2, 3, 2, output_padding=1, groups=2, bias=False),
    lambda x, w: oracles.conv_transpose2d(x, w, 2, 0, 1, 2),
    normal(2, 2, 3, 4),
    note="groups",
    linear=True,
)
layer(lambda: nn.BatchNorm(4), normalized, IMAGES, note="train")
layer(
    lambda: nn.BatchNorm(4, eps=0.1, affine=False),
    lambda x: normalized(x, eps=0.1),
    normal(5, 4),
    note="plain",
)
layer(
    _batch_norm_with_statistics,
    lambda x, a, b: (x - MEAN) / np.sqrt(np.add(VAR, 1e-5)) * a + b,
    IMAGES,
    note="eval",
    linear=True,
)
layer(
    lambda: nn.ConditionalBatchNorm(4, nn.Linear(2, 4, bias=False), nn.Linear(2, 4, bias=False)),
    lambda x, c, gain, bias: normalized(
        x, 1 + (c @ gain)[:, None, None], (c @ bias)[:, None, None]
    ),
    IMAGES,
    normal(3, 2),
)
row(
    lambda x, gain, bias: nn.ConditionalBatchNorm.of_classes(4, 2).as_function(x.dtype)[0](
        x, LABELS, gain, bias
    ),
    lambda x, gain, bias: normalized(
        x, 1 + gain[LABELS][:, None, None], bias[LABELS][:, None, None]
    ),
    IMAGES,
    normal(2, 4),
    normal(2, 4),
    name="ConditionalBatchNorm",
    note="classes",
)
layer(
    lambda: nn.PixelNorm(0.1),
    lambda x: x / np.sqrt((x**2).mean(-1, keepdims=True) + 0.1),
    normal(3, 4),
)
layer(lambda: nn.MinibatchStddev(2), lambda x: oracles.minibatch_stddev(x, 2), normal(4, 2, 3, 2))
layer(
    lambda: nn.AvgPool2d(2),
    lambda x: x.reshape(2, 2, 2, 3, 2, 3).mean((2, 4)),
    normal(2, 4, 6, 3),
    linear=True,
)
layer(
    nn.Blur,
    lambda x: oracles.upfirdn2d(x, np.outer([1, 2, 1], [1, 2, 1]) / 16, padding=1),
    normal(2, 4, 5, 3),
    linear=True,
)
layer(
    lambda: nn.Mapping(3, 2, 1, rate=0.5, rng=np.random.default_rng(0)),
    lambda z, w, b: leaky(0.5 * (sphere(z) @ w * (2 / 3) ** 0.5 + b)),
    normal(2, 3),
)
layer(
    lambda: nn.Mapping(3, 2, 1, rate=0.5, separate_norms=True, rng=np.random.default_rng(0)),
    lambda z, w, b: 2**0.5 * leaky(0.5 * (sphere(z) @ w / 3**0.5 + b)),
    normal(2, 3),
    note="separate_norms",
)
layer(
    lambda: nn.Noise(3, 4, rng=np.random.default_rng(7)).eval(),
    lambda x, strength: (
        x + strength * np.random.default_rng(7).standard_normal((4, 4), np.float32)[..., None]
    ),
    normal(2, 4, 4, 3),
)
layer(
    lambda: nn.ResampledConv2d(2, 3, 3, down=True, rng=np.random.default_rng(0)),
    oracles.conv2d_down,
    normal(2, 4, 6, 2),
    linear=True,
)
layer(
    lambda: nn.ModulatedConv2d(2, 3, 3, rng=np.random.default_rng(0)),
    lambda x, style, w: oracles.modulated_conv2d(x, w, style),
    normal(2, 4, 4, 2),
    normal(2, 2),
)
layer(
    lambda: nn.Maxout(4, 3, 2), lambda x, w, b: (x @ w + b).reshape(-1, 3, 2).max(2), normal(2, 4)
)
layer(
    lambda: nn.Dropout(0.5, rng=np.random.default_rng(7)),
    lambda x: 2 * x * (np.random.default_rng(7).random(x.shape, np.float32) > 0.5),
    normal(3, 4),
    linear=True,
)
layer(nn.Flatten, lambda x: x.reshape(len(x), -1), normal(2, 3, 4), linear=True)
layer(lambda: nn.Reshape(3, 2), lambda x: x.reshape(-1, 3, 2), normal(2, 6), linear=True)
layer(
    lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)),
    lambda x, w, b, w2, b2: np.tanh(x @ w + b) @ w2 + b2,
    normal(2, 4),
)
row(
    lambda weight: nn.Embedding(5, 3).as_function(weight.dtype)[0](asarray([2, 0, 2]), weight),
    lambda weight: weight[[2, 0, 2]],
    normal(5, 3),
    name="Embedding",
    linear=True,
)
layer(
    lambda: nn.Embedding(4, 3),
    lambda mixtures, weight: mixtures @ weight,
    normal(2, 4),
    note="mixtures",
)
layer(
    lambda: spectral(nn.Linear(4, 3)), lambda x, w, b: x @ w / oracles.sigma(w, 7) + b, normal(2, 4)
)
layer(
    lambda: spectral(nn.Conv2d(2, 3, 3)),
    lambda x, w, b: oracles.conv2d(x, w / oracles.sigma(w, 7)) + b,
    normal(2, 4, 4, 2),
    note="Conv2d",
)
layer(
    lambda: spectral(nn.ConvTranspose2d(2, 3, 3, bias=False)),
    lambda x, w: oracles.conv_transpose2d(x, w / oracles.sigma(w.swapaxes(2, 3), 7)),
    normal(2, 3, 3, 2),
    note="ConvTranspose2d",
)
row(
    lambda w: spectral(nn.Embedding(5, 3)).as_function(w.dtype)[0](LABELS, w),
    lambda w: (w / oracles.sigma(w.T, 7))[LABELS],
    normal(5, 3),
    name="SpectralNorm",
    note="Embedding",
)
layer(
    lambda: nn.Equalized(nn.Linear(8, 3), rng=np.random.default_rng(0)),
    lambda x, w, b: x @ w / 2 + b,
    normal(2, 8),
    linear=True,
)
layer(
    lambda: nn.Equalized(
        nn.ConvTranspose2d(2, 3, 4, 2, 1, bias=False), 1.0, rng=np.random.default_rng(0)
    ),
    lambda x, w: oracles.conv_transpose2d(x, w, 2, 1) / 8**0.5,
    normal(2, 3, 3, 2),
    note="ConvTranspose2d",
    linear=True,
)
layer(lambda: nn.SelfAttention(8), oracles.self_attention, normal(2, 2, 4, 8))
layer(
    lambda: nn.UpBlock(2, 3, norm=nn.BatchNorm, conv=functools.partial(nn.Conv2d, bias=False)),
    oracles.up_block,
    normal(2, 2, 3, 2),
)
layer(lambda: nn.DownBlock(2, 3), oracles.down_block, normal(2, 4, 4, 2))
layer(
    lambda: nn.DownBlock(3, 3, downsample=False, relu_shortcut=True),
    lambda x, *w: oracles.down_block(np.maximum(x, 0), *w, pool=lambda x: x),
    normal(2, 3, 3, 3),
    note="same size",
)
layer(
    lambda: nn.DownBlock(2, 3, first=True),
    lambda x, *w: oracles.down_block(x, *w, first=True),
    normal(2, 4, 4, 2),
    note="first",
)
layer(
    lambda: nn.GroupedBlock(2, 2),
    lambda x, w1, w2, w3, b1, b2: (
        x + leaky(oracles.conv2d(leaky(x @ w1[0, 0] + b1), w2, padding=1, groups=2) + b2) @ w3[0, 0]
    ),
    normal(2, 4, 3, 2),
)
layer(
    lambda: nn.Resample(2, 3, up=True),
    lambda x, w: oracles.conv2d_up(x, w),
    normal(2, 2, 3, 2),
    note="up",
    linear=True,
)
layer(
    lambda: nn.Resample(2, 3, up=False),
    lambda x, w: oracles.conv2d_down(x, w),
    normal(2, 4, 6, 2),
    note="down",
    linear=True,
)
layer(lambda: nn.LeakyReLU(0.3), lambda x: np.where(x > 0, x, 0.3 * x), distinct(3, 4))
layer(nn.ReLU, lambda x: np.maximum(x, 0), distinct(3, 4))
layer(nn.Tanh, np.tanh, normal(3, 4))
layer(nn.Sigmoid, scipy("special.expit"), normal(3, 4))
layer(nn.GELU, lambda x: x * scipy("special.ndtr")(x), normal(3, 4))
layer(nn.SiLU, lambda x: x * scipy("special.expit")(x), normal(3, 4))
layer(nn.Softplus, lambda x: np.logaddexp(0, x), normal(3, 4))
