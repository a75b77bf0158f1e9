"""StyleGAN2 (Karras et al. 2020b): StyleGAN without droplets, and without growing.

AdaIN normalises each feature map separately, and so loses their relative sizes. StyleGAN's G found
a way to keep these: a spot (a "droplet") so strong that it alone determines the deviation of its
map. The redesign has four steps, a to d in figure 2 of the paper (not its configurations A to F).
Each is a class of layers below, from feature maps and a style w to feature maps:

    a  AdaIN              conv -> noise, bias, leaky relu -> AdaIN(w)
    b  AdaINWrittenOut    the same function, but AdaIN is written as a normalisation and a
                          modulation, each by a mean and a deviation
    c  MeasuredDeviation  modulate by scale(w) -> conv -> divide by the deviation
                          -> noise, bias, leaky relu
    d  Demodulated        like c, but with the deviation that the weights lead us to expect, so that
                          nothing is measured

In c and d, the constant at 4x4 enters the first convolution directly. In d, a strong spot has no
advantage any more. Growing made G and D learn coarse structure first. Instead, networks of full
size now have skip or residual connections:

    skip      G: every size adds its part to the image
              D: every size also sees the downsampled image
    residual  G, D: blocks with a shortcut; their sum is scaled by 1/sqrt(2)
    original  G, D: neither

The authors chose d, a skip G and a residual D. Every convolution has equalised weights, and filters
what it resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygan import nn, ops
from tinygan.autograd import Parameter, Tensor
from tinygan.backend import Rng, generator, normal
from tinygan.errors import InputError, choose_from
from tinygan.ops.bilinear import as_pair
from tinygan.settings import setting

from .image_sizes import smallest_map
from .progan import channels_by_size
from .recipe import Recipe
from .stylegan import StyleSettings

PIXELS = 1, 2  # the axes to normalise a feature map over
EPS = 1e-8
ARCHITECTURES = "skip", "residual", "original"


def conv(inputs, outputs, kernel_size, gain=1.0, *, rng, **resampling):
    layer = nn.ResampledConv2d(inputs, outputs, kernel_size, **resampling, rng=rng)
    return nn.Equalized(layer, gain, rng=rng)


def style_layer(style, scales, shifts=0, *, rng):
    """A layer w -> (N, scales + shifts): scales that are 1 at first, and shifts that are 0."""
    layer = nn.Equalized(nn.Linear(style, scales + shifts, rng=rng), 1.0, rng=rng)
    layer.layer.bias.assign(np.repeat([1.0, 0.0], [scales, shifts]))
    return layer


class Activation(nn.Module):
    """x -> leaky relu (x + noise + bias) * sqrt(2); the noise has one strength for all channels."""

    def __init__(self, channels, size, *, rng) -> None:
        self.noise = nn.Noise(channels, size, shared=True, rng=rng)
        self.bias = Parameter(np.zeros(channels, np.float32))

    def forward(self, x):
        return ops.bias_act(self.noise(x), self.bias, 0.2, 2**0.5)


# The redesign: layers x (N, H, W, in), w (N, style) -> (N, H, W, out), or (N, 2H, 2W, out) if `up`


class AdaIN(nn.Module):
    """Step a. inputs=None: no convolution, for the layer of the constant."""

    conditional, styles_its_input = True, False

    def __init__(self, inputs, outputs, size, style, up=False, *, rng) -> None:
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


class AdaINWrittenOut(AdaIN):
    """Step b."""

    def forward(self, x, w):
        scale, shift = self.scale_and_shift(w)
        x = self.conv(x) if self.conv else x
        x = self.activation(x)
        mean = ops.mean(x, PIXELS, keepdims=True)
        deviation = (ops.mean(ops.square(x - mean), PIXELS, keepdims=True) + EPS) ** 0.5
        x = (x - mean) / deviation
        return x * scale + shift


class MeasuredDeviation(nn.Module):
    """Step c."""

    conditional, styles_its_input = True, True

    def __init__(self, inputs, outputs, size, style, up=False, *, rng) -> None:
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

    conditional, styles_its_input = True, True

    def __init__(self, inputs, outputs, size, style, up=False, *, rng) -> None:
        self.style = style_layer(style, inputs, rng=rng)
        self.conv = nn.ModulatedConv2d(inputs, outputs, 3, up=up, rng=rng)
        self.activation = Activation(outputs, size, rng=rng)

    def forward(self, x, w):
        x = self.conv(x, self.style(w))
        return self.activation(x)


CONFIGURATIONS = {"a": AdaIN, "b": AdaINWrittenOut, "c": MeasuredDeviation, "d": Demodulated}


class ToImage(nn.Module):
    """A 1x1 convolution from feature maps to images. It has its own style in c and d (`styled`)."""

    conditional = True

    def __init__(self, inputs, channels, style, styled, *, rng) -> None:
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
    """Latents z (N, latent), and labels (N,) if there are classes -> images (N, H, W,
    image_channels), about in [-1, 1].

    image_size: (H, W), or a number for both. widths: channels of the feature maps of 4x4, 8x8, ...
    up to full size (4xN or Nx4, ... if H is not W). style: the length of w. layers, classes,
    hidden, rate: see `nn.Mapping`. mixing, psi, cutoff: see `nn.StyleGenerator`.
    layer: the class of a step of the redesign. architecture: "skip", "residual" or "original".
    """

    def __init__(
        self,
        latent: int = 64,
        image_size: int | tuple[int, int] = 32,
        image_channels: int = 1,
        widths: Sequence[int] = (64, 64, 32, 16),
        style: int = 64,
        layers: int = 8,
        classes: int | None = None,
        mixing: float = 0.9,
        hidden: int | None = None,
        rate: float = 0.01,
        layer: type[nn.Module] = Demodulated,
        architecture: str = "skip",
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        start = height, width = check_arguments(image_size, widths, architecture)
        mapping = nn.Mapping(
            latent, style, layers, classes, rate, separate_norms=True, hidden=hidden, rng=rng
        )
        self.init_styles(mapping, style, 2 * len(widths), mixing, rng)
        styled, pairs = layer.styles_its_input, list(zip(widths, widths[1:]))
        self.constant = Parameter(normal(rng, (*start, widths[0])))
        first = [] if styled else [layer(None, widths[0], start, style, rng=rng)]
        self.blocks = [nn.Sequential(*first, layer(widths[0], widths[0], start, style, rng=rng))]
        for i, (a, b) in enumerate(pairs, 1):
            size = height << i, width << i
            up = layer(a, b, size, style, up=True, rng=rng)
            self.blocks.append(nn.Sequential(up, layer(b, b, size, style, rng=rng)))
        residual = architecture == "residual"
        self.shortcuts = [conv(a, b, 1, up=True, rng=rng) for a, b in pairs if residual]
        image_widths = widths if architecture == "skip" else widths[-1:]
        self.to_image = [ToImage(n, image_channels, style, styled, rng=rng) for n in image_widths]

    def synthesis(self, ws: Tensor) -> Tensor:
        """Return the images of styles (N, style_layers, style)."""
        ws = self.expect_shape(ws, "N", self.style_layers, len(self.w_average), what="styles")
        x = ops.broadcast_to(self.constant, (len(ws), *self.constant.shape))
        image, index = None, 0  # of the next style
        for i, block in enumerate(self.blocks):
            shortcut = self.shortcuts[i - 1](x) if self.shortcuts and i else None
            for layer in block:
                x = layer(x, ws[:, index])
                index += 1
            if shortcut is not None:
                x = (x + shortcut) * 0.5**0.5
            blocks_left = len(self.blocks) - 1 - i
            if blocks_left < len(self.to_image):  # its style is that of the next layer
                part = self.to_image[-1 - blocks_left](x, ws[:, min(index, self.style_layers - 1)])
                image = part if image is None else ops.upsample2d(image) + part
        return image


class Layer(nn.Module):
    """A layer of D: convolution -> leaky relu (x + bias) * gain."""

    def __init__(self, inputs, outputs, kernel_size, down=False, gain=2**0.5, *, rng) -> None:
        self.conv, self.gain = conv(inputs, outputs, kernel_size, down=down, rng=rng), gain
        self.bias = Parameter(np.zeros(outputs, np.float32))

    def forward(self, x):
        return ops.bias_act(self.conv(x), self.bias, 0.2, self.gain)


class Discriminator(nn.Module):
    """Images (N, H, W, image_channels), and labels (N,) if there are classes -> logits (N,), higher
    for reals.

    image_size, widths, architecture: as in G. group: the number of images to compare; N must be a
    multiple of it, or smaller. classes: the number of classes, or None. With classes, the logit is
    features . map(y) / sqrt(length), where map is an `nn.Mapping`, with `layers` and `rate`, from a
    class to the length of the features (StyleGAN2-ADA, after Miyato and Koyama 2018).
    """

    def __init__(
        self,
        image_size: int | tuple[int, int] = 32,
        image_channels: int = 1,
        widths: Sequence[int] = (64, 64, 32, 16),
        architecture: str = "residual",
        group: int = 4,
        classes: int | None = None,
        layers: int = 8,
        rate: float = 0.01,
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        height, width = check_arguments(image_size, widths, architecture)
        top, pairs = widths[0], list(zip(widths, widths[1:]))
        self.conditional, self.skip = classes is not None, architecture == "skip"
        image_widths = widths if self.skip else widths[-1:]
        self.from_image = [Layer(image_channels, n, 1, rng=rng) for n in image_widths]
        residual = architecture == "residual"
        gain = 0.5**0.5 if residual else 1.0  # of both paths, so that their sum keeps the variance
        down = lambda b, a: Layer(b, a, 3, down=True, gain=2**0.5 * gain, rng=rng)
        self.blocks = [nn.Sequential(Layer(b, b, 3, rng=rng), down(b, a)) for a, b in pairs]
        self.shortcuts = [conv(b, a, 1, gain, down=True, rng=rng) for a, b in pairs if residual]
        self.last = nn.Sequential(
            nn.MinibatchStddev(group), Layer(top + 1, top, 3, rng=rng), nn.Flatten()
        )
        self.hidden = nn.Equalized(nn.Linear(height * width * top, top, rng=rng), 1.0, rng=rng)
        self.to_logit = nn.Equalized(nn.Linear(top, top if classes else 1, rng=rng), 1.0, rng=rng)
        mapping = lambda: nn.Mapping(0, top, layers, classes, rate, separate_norms=True, rng=rng)
        self.mapping = mapping() if classes else None
        self.image_shape, self.feature_shape = (*as_pair(image_size), image_channels), (top,)

    def features(self, image: Tensor) -> Tensor:
        """Return the last hidden layer, (N, widths[0])."""
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

    def score(self, features: Tensor) -> Tensor:
        """Return the logits of features, for a D without classes."""
        return self.to_logit(features).reshape(-1)

    def forward(self, x, labels=None):
        features = self.features(x)
        if not self.conditional:
            return self.score(features)
        target = self.mapping(None, self.expect_labels(labels, len(features), self.mapping.classes))
        return ops.sum(self.to_logit(features) * target, 1) * target.shape[1] ** -0.5


def check_arguments(image_size, widths, architecture):
    """Return the size (height, width) of the smallest feature map."""
    if architecture not in ARCHITECTURES:
        raise InputError(f"architecture={architecture}: {choose_from(ARCHITECTURES, architecture)}")
    return smallest_map(image_size, widths)


@dataclass
class StyleGAN2Settings(StyleSettings):
    g_channels: int = setting(
        8, "channels of G at full size, doubled at each halving of the size up to max_channels", 1
    )
    d_channels: int = setting(
        8, "channels of D at full size, doubled at each halving of the size up to max_channels", 1
    )
    max_channels: int = setting(64, "maximum number of channels of a feature map", 1)
    configuration: str = setting(
        "d",
        "step of the redesign, from a (StyleGAN) to d (StyleGAN2; see models/stylegan2.py)",
        choices=tuple(CONFIGURATIONS),
    )
    g_architecture: str = setting("skip", "connections between G's sizes", choices=ARCHITECTURES)
    d_architecture: str = setting(
        "residual", "connections between D's sizes", choices=ARCHITECTURES
    )


def networks(s, sizes, rng, layers=CONFIGURATIONS) -> tuple[Generator, Discriminator]:
    *size, channels = sizes.image
    g_widths = channels_by_size(s.g_channels, s.max_channels, size)
    d_widths = channels_by_size(s.d_channels, s.max_channels, size)
    common = {"layers": s.mapping_layers, "rate": s.mapping_rate, "rng": rng}
    layer, architecture = layers[s.configuration], s.g_architecture
    g = {"mixing": s.mixing, "layer": layer, "architecture": architecture}
    d = {"classes": sizes.d_classes, "architecture": s.d_architecture}
    return (
        Generator(
            sizes.latent, size, channels, g_widths, s.style, classes=sizes.g_classes, **g, **common
        ),
        Discriminator(size, sizes.d_image_channels, d_widths, **d, **common),
    )


# The authors' networks, loss, penalties and average of G, for 160,000 images instead of 25 million.
# With learning rates like theirs and a small gamma, G generated one image for all latents, and was
# slow to learn others: without batch-norm, D alone sees that all images are equal.
RECIPE = Recipe(
    "stylegan2",
    "demodulated weights, skip connections, path-length penalty (Karras et al. 2020b)",
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
        # Two things keep G from generating one image for all latents. First, D learns twice as fast
        # as G, and gamma is larger. After 32,000 images, this gave a held-out FID of 7 instead of
        # 79. (The authors' learning rate is 2.5e-3 for both networks, and 4e-3 for both was tried;
        # their rule gives a gamma of .0064, and .1 was tried.)
        "lr": 4e-3,
        "d_lr": 8e-3,
        "r1": 4.0,
        "penalty_every": 4,
        # Second, the mapping is short and learns faster. (The authors' mapping has 8 layers and .01
        # of the learning rate.)
        "mapping_layers": 2,
        "mapping_rate": 0.1,
        # With so few images, mixing styles costs too much: the FID was 21 with mixing=.9, and 8
        # without. (The authors do not mix styles for CIFAR-10 either.)
        "mixing": 0.0,
        # The projection learns faster than the authors' D, which compares its features with a
        # mapping of the class (d_class=mapping): an FID of 8 instead of 13.
        "g_class": "mapping",
        "d_class": "projection",
    },
    truncation="w",
    g_class_choices=("none", "mapping"),
    d_class_choices=("none", "concat", "auxiliary", "projection", "mapping"),
)
