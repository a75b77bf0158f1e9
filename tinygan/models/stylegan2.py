"""StyleGAN2 (Karras et al. 2020b): StyleGAN without the droplets, and without growing.

AdaIN normalises each feature map by itself, and so loses how large they are compared with each
other. StyleGAN's G found a way to keep that: a spot ("droplet") so strong that it alone sets the
deviation of its map. The redesign has four steps (figure 2 of the paper). Each is a layer below,
from feature maps and a style w to feature maps:

    a  AdaIN        conv -> noise, bias, leaky relu -> AdaIN(w)
    b  Detailed     the same function: AdaIN drawn as normalisation, by mean and deviation, and
                    modulation, by both
    c  Deviation    modulate by scale(w) -> conv -> divide by the deviation
                    -> noise, bias, leaky relu
    d  Demodulated  the same, but with the deviation that the weights make likely: nothing is
                    measured

In c and d, the constant at 4x4 goes into the first convolution as it is. In d, a strong spot no
longer buys anything. Growing made G and D learn coarse things first; here, skips and residual
connections do that, in networks of full size from the start:

    skip      G: every size adds its part to the image
              D: every size also sees the image, made smaller
    residual  G, D: blocks with a shortcut; their sum is scaled by 1/sqrt(2)
    original  G, D: one path

The authors' final choice is d, a G of skips and a residual D. Every convolution has equalised
weights, and filters what it makes larger or smaller.
"""

from dataclasses import dataclass

import numpy as np

from tinygan import nn, ops
from tinygan.autograd import Parameter
from tinygan.backend import normal
from tinygan.errors import InputError
from tinygan.settings import setting

from .progan import channels_by_size
from .recipe import Recipe
from .stylegan import StyleSettings

PIXELS = 1, 2  # the axes of an image that a feature map is normalised over
EPS = 1e-8
ARCHITECTURES = "skip", "residual", "original"


def conv(inputs, outputs, kernel_size, gain=1.0, *, rng, **resampling):
    layer = nn.ResampledConv2d(inputs, outputs, kernel_size, **resampling, rng=rng)
    return nn.Equalized(layer, gain, rng=rng)


def style_layer(style, scales, shifts=0, *, rng):
    """w -> scales, which begin at 1, and shifts, at 0."""
    layer = nn.Equalized(nn.Linear(style, scales + shifts, rng=rng), 1.0, rng=rng)
    layer.layer.bias.assign(np.repeat([1.0, 0.0], [scales, shifts]))
    return layer


class Activation(nn.Module):
    """x -> leaky relu (x + noise + bias) * sqrt(2); the noise has one strength for all channels."""

    def __init__(self, channels, size, *, rng):
        self.noise = nn.Noise(channels, size, shared=True, rng=rng)
        self.bias = Parameter(np.zeros(channels, np.float32))

    def forward(self, x):
        return ops.bias_act(self.noise(x), self.bias, 0.2, 2**0.5)


# The redesign: layers (x (N, H, W, in), w (N, style)) -> (N, H, W, out), or twice the size with
# `up`


class AdaIN(nn.Module):
    """Step a. in = None: the layer of the constant, which has no convolution."""

    conditional = True

    def __init__(self, inputs, outputs, size, style, up=False, *, rng):
        self.conv = conv(inputs, outputs, 3, up=up, rng=rng) if inputs else None
        self.activation = Activation(outputs, size, rng=rng)
        self.style = style_layer(style, outputs, outputs, rng=rng)

    def forward(self, x, w):
        scale, shift = self.scale_and_shift(w)
        x = self.conv(x) if self.conv else x
        x = self.activation(x)
        return ops.instance_norm(x, scale, shift, EPS)

    def scale_and_shift(self, w):
        both = self.style(w)
        both = ops.reshape(both, (len(w), 2, 1, 1, both.shape[1] // 2))
        return both[:, 0], both[:, 1]


class Detailed(AdaIN):
    """Step b."""

    def forward(self, x, w):
        scale, shift = self.scale_and_shift(w)
        x = self.conv(x) if self.conv else x
        x = self.activation(x)
        mean = ops.mean(x, PIXELS, keepdims=True)
        deviation = (ops.mean(ops.square(x - mean), PIXELS, keepdims=True) + EPS) ** 0.5
        x = (x - mean) / deviation
        return x * scale + shift


class Deviation(nn.Module):
    """Step c."""

    conditional = True

    def __init__(self, inputs, outputs, size, style, up=False, *, rng):
        self.style = style_layer(style, inputs, rng=rng)
        self.conv = conv(inputs, outputs, 3, up=up, rng=rng)
        self.activation = Activation(outputs, size, rng=rng)

    def forward(self, x, w):
        scale = self.style(w)
        scale = ops.reshape(scale, (len(w), 1, 1, scale.shape[1]))
        x = self.conv(x * scale)
        x = x * (ops.var(x, PIXELS, keepdims=True) + EPS) ** -0.5
        return self.activation(x)


class Demodulated(nn.Module):
    """Step d."""

    conditional = True

    def __init__(self, inputs, outputs, size, style, up=False, *, rng):
        self.style = style_layer(style, inputs, rng=rng)
        self.conv = nn.ModulatedConv2d(inputs, outputs, 3, up=up, rng=rng)
        self.activation = Activation(outputs, size, rng=rng)

    def forward(self, x, w):
        x = self.conv(x, self.style(w))
        return self.activation(x)


CONFIGURATIONS = {"a": AdaIN, "b": Detailed, "c": Deviation, "d": Demodulated}


class ToImage(nn.Module):
    """Feature maps -> images, 1x1. In c and d, whose feature maps have no style, it has its own."""

    conditional = True

    def __init__(self, inputs, channels, style, styled, *, rng):
        self.style = style_layer(style, inputs, rng=rng) if styled else None
        self.conv = (
            nn.ModulatedConv2d(inputs, channels, 1, demodulate=False, rng=rng)
            if styled
            else conv(inputs, channels, 1, rng=rng)
        )
        self.bias = Parameter(np.zeros(channels, np.float32))

    def forward(self, x, w):
        return (self.conv(x, self.style(w)) if self.style else self.conv(x)) + self.bias


# The networks


class Generator(nn.StyleGenerator):
    """Latents z (N, latent), and classes (N,) if there are any -> images (N, size, size, channels).

    The values of the images are about [-1, 1].
    widths: channels of the feature maps of 4x4, 8x8, ... up to the full size. style: length of w.
    layers, hidden, rate: of the mapping (`nn.Mapping`). mixing, psi, cutoff: see
    `nn.StyleGenerator`. configuration: "a" to "d". architecture: "skip", "residual" or "original".
    """

    def __init__(
        self,
        latent=64,
        image_size=32,
        image_channels=1,
        widths=(64, 64, 32, 16),
        style=64,
        layers=8,
        classes=None,
        mixing=0.9,
        hidden=None,
        rate=0.01,
        configuration="d",
        architecture="skip",
        *,
        rng,
    ):
        check(image_size, widths, architecture)
        mapping = nn.Mapping(
            latent, style, layers, classes, rate, separate_norms=True, hidden=hidden, rng=rng
        )
        self.set_styles(mapping, style, 2 * len(widths), mixing, rng)
        layer, styled = CONFIGURATIONS[configuration], configuration in "cd"
        self.constant = Parameter(normal(rng, (4, 4, widths[0])))
        first = [] if styled else [layer(None, widths[0], 4, style, rng=rng)]
        self.blocks = [nn.Sequential(*first, layer(widths[0], widths[0], 4, style, rng=rng))]
        self.blocks += [
            nn.Sequential(
                layer(a, b, 8 << i, style, up=True, rng=rng), layer(b, b, 8 << i, style, rng=rng)
            )
            for i, (a, b) in enumerate(zip(widths, widths[1:]))
        ]
        self.shortcuts = [
            conv(a, b, 1, up=True, rng=rng)
            for a, b in zip(widths, widths[1:])
            if architecture == "residual"
        ]
        self.to_image = [
            ToImage(width, image_channels, style, styled, rng=rng)
            for width in (widths if architecture == "skip" else widths[-1:])
        ]

    def synthesis(self, ws):
        """Styles (N, style_layers, style) -> images."""
        ws = self.expect_shape(ws, "N", self.style_layers, len(self.w_average), what="styles")
        x = ops.broadcast_to(self.constant, (len(ws), *self.constant.shape))
        image, used = None, 0
        for i, block in enumerate(self.blocks):
            shortcut = self.shortcuts[i - 1](x) if self.shortcuts and i else None
            for layer in block:
                x = layer(x, ws[:, used])
                used += 1
            if shortcut is not None:
                x = (x + shortcut) * 0.5**0.5
            later = len(self.blocks) - 1 - i
            if later < len(self.to_image):  # with the style of the layer that comes next
                part = self.to_image[-1 - later](x, ws[:, min(used, self.style_layers - 1)])
                image = part if image is None else ops.upsample2d(image) + part
        return image


class Layer(nn.Module):
    """D's: convolution -> leaky relu (x + bias) * gain."""

    def __init__(self, inputs, outputs, kernel_size, down=False, gain=2**0.5, *, rng):
        self.conv, self.gain = conv(inputs, outputs, kernel_size, down=down, rng=rng), gain
        self.bias = Parameter(np.zeros(outputs, np.float32))

    def forward(self, x):
        return ops.bias_act(self.conv(x), self.bias, 0.2, self.gain)


class Discriminator(nn.Module):
    """Images (N, size, size, channels), and classes (N,) if there are any -> logits (N,).

    Positive means real.
    widths: as G's. architecture: "residual", "skip" or "original". group: images that are compared
    with each other, of which N must be a multiple (or less). With classes, the features are
    compared with a mapping of the class, as long as they are: logit = features . map(y) /
    sqrt(length) (StyleGAN2-ADA, after Miyato and Koyama 2018). `features` (N, widths[0]) are those
    of the last hidden layer; `score` makes logits of them.
    """

    def __init__(
        self,
        image_size=32,
        image_channels=1,
        widths=(64, 64, 32, 16),
        architecture="residual",
        group=4,
        classes=None,
        layers=8,
        rate=0.01,
        *,
        rng,
    ):
        check(image_size, widths, architecture)
        top, pairs = widths[0], list(zip(widths, widths[1:]))
        self.conditional, self.skip = classes is not None, architecture == "skip"
        self.from_image = [
            Layer(image_channels, width, 1, rng=rng)
            for width in (widths if self.skip else widths[-1:])
        ]
        residual = architecture == "residual"
        half = 0.5**0.5 if residual else 1.0  # both paths have it: their sum keeps the variance
        self.blocks = [
            nn.Sequential(
                Layer(b, b, 3, rng=rng), Layer(b, a, 3, down=True, gain=2**0.5 * half, rng=rng)
            )
            for a, b in pairs
        ]
        self.shortcuts = [conv(b, a, 1, half, down=True, rng=rng) for a, b in pairs if residual]
        self.last = nn.Sequential(
            nn.MinibatchStddev(group), Layer(top + 1, top, 3, rng=rng), nn.Flatten()
        )
        self.hidden = nn.Equalized(nn.Linear(16 * top, top, rng=rng), 1.0, rng=rng)
        self.to_logit = nn.Equalized(nn.Linear(top, top if classes else 1, rng=rng), 1.0, rng=rng)
        self.mapping = (
            nn.Mapping(0, top, layers, classes, rate, separate_norms=True, rng=rng)
            if classes
            else None
        )
        self.image_shape, self.feature_shape = (image_size, image_size, image_channels), (top,)

    def features(self, image):
        image = self.expect_shape(image, "N", *self.image_shape, what="images")
        x = self.from_image[-1](image)
        for i in reversed(range(len(self.blocks))):
            shortcut = self.shortcuts[i](x) if self.shortcuts else None
            x = self.blocks[i](x)
            if shortcut is not None:
                x = x + shortcut
            if self.skip:
                image = ops.downsample2d(image)
                x = x + self.from_image[i](image)
        return ops.leaky_relu(self.hidden(self.last(x)), 0.2, 2**0.5)

    def score(self, features):
        return self.to_logit(features).reshape(-1)

    def forward(self, x, labels=None):
        features = self.features(x)
        if not self.conditional:
            return self.score(features)
        target = self.mapping(None, self.expect_labels(labels, len(features), self.mapping.classes))
        return ops.sum(self.to_logit(features) * target, 1) * target.shape[1] ** -0.5


def check(image_size, widths, architecture):
    if not widths or image_size != 4 << (len(widths) - 1):
        raise InputError(
            f"images of {image_size} pixels: doubling 4x4 takes a size of 8, 16, 32, "
            "64...: pad them"
        )
    if architecture not in ARCHITECTURES:
        raise InputError(f"architecture {architecture!r}: there are {', '.join(ARCHITECTURES)}")


@dataclass
class StyleGAN2Settings(StyleSettings):
    g_channels: int = setting(
        8,
        "channels of G at full size; each halving of the size doubles them, up to max_channels",
        1,
    )
    d_channels: int = setting(8, "channels of D at full size, likewise", 1)
    max_channels: int = setting(64, "most channels of a feature map", 1)
    configuration: str = setting(
        "d",
        "steps of the redesign from StyleGAN, a, to StyleGAN2, d (models/stylegan2.py)",
        choices=tuple(CONFIGURATIONS),
    )
    g_architecture: str = setting("skip", "how G's sizes are joined", choices=ARCHITECTURES)
    d_architecture: str = setting("residual", "how D's sizes are joined", choices=ARCHITECTURES)


def networks(s, sizes, rng):
    size, _, channels = sizes.image
    g_widths = channels_by_size(s.g_channels, s.max_channels, size)
    d_widths = channels_by_size(s.d_channels, s.max_channels, size)
    return (
        Generator(
            sizes.latent,
            size,
            channels,
            g_widths,
            s.style,
            s.mapping_layers,
            sizes.g_classes,
            s.mixing,
            rate=s.mapping_rate,
            configuration=s.configuration,
            architecture=s.g_architecture,
            rng=rng,
        ),
        Discriminator(
            size,
            sizes.d_image_channels,
            d_widths,
            s.d_architecture,
            classes=sizes.d_classes,
            layers=s.mapping_layers,
            rate=s.mapping_rate,
            rng=rng,
        ),
    )


# The authors' networks, loss, penalties and average, for 160,000 images instead of 25 million. With
# rates like theirs and a small gamma, G drew one image for all latents, and took long to learn to
# draw others: without batch-norm, nothing but D sees that all images are the same.
RECIPE = Recipe(
    "stylegan2",
    "demodulated weights, skips, path-length penalty (Karras et al. 2020b)",
    StyleGAN2Settings,
    networks,
    {
        "steps": 10000,
        "batch_size": 16,
        "sample_every": 500,
        "beta1": 0.0,
        "beta2": 0.99,
        "latent": 64,
        "pad": 2,
        "ema_images": 10_000,
        "path_length": 2.0,
        "path_every": 4,
        "sanitize": True,
        # Two things prevent that. First, D learns twice as fast as G, and gamma is larger: a held-out
        # FID of 7 after 32,000 images, instead of 79. (The authors' rate is 2.5e-3 for both, and 4e-3
        # for both was tried; their rule gives a gamma of .0064, and .1 was tried.)
        "lr": 4e-3,
        "d_lr": 8e-3,
        "r1": 4.0,
        "penalty_every": 4,
        # Second, the mapping is short and learns faster. (Theirs has 8 layers and .01 of the rate.)
        "mapping_layers": 2,
        "mapping_rate": 0.1,
        # In so few images, mixing styles costs too much: an FID of 21 at mixing=.9, where it was 8
        # without. (The authors leave it out for CIFAR-10, too.)
        "mixing": 0.0,
        # The projection learns faster than their D, which compares its features with a mapping of the
        # class (d_class=mapping): an FID of 8 instead of 13.
        "g_class": "mapping",
        "d_class": "projection",
    },
    truncation="w",
    g_class_choices=("none", "mapping"),
    d_class_choices=("none", "concat", "auxiliary", "projection", "mapping"),
)
