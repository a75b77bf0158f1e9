"""DCGAN (Radford, Metz and Chintala 2016): convolutions only, and a few rules that made GANs train.

The rules: strided convolutions instead of pooling; batch-norm everywhere but in G's last layer and
in D's first and last; relu in G, leaky relu with slope .2 in D; tanh at the end of G; weights drawn
from N(0, .02^2), batch-norm gains from N(1, .02^2). The convolutions of G have no bias; nor have
those of D if D has batch-norm.

    MNIST:  z 100 -> 7x7x128 -> 14x14x64 -> 28x28x1         28x28x1 -> 14x14x32 -> 7x7x64 -> logit

The critics of WGAN-GP and of spectrally normalised GANs are D without batch-norm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tinygan import nn
from tinygan.autograd import Tensor
from tinygan.backend import Rng, generator
from tinygan.errors import InputError
from tinygan.ops.bilinear import as_pair
from tinygan.settings import setting

from .image_sizes import halved
from .recipe import Recipe
from .settings import Settings

WEIGHTS = nn.init.normal(0.02)
GAINS = nn.init.normal(0.02, mean=1.0)


class Generator(nn.Module):
    """Latents z (N, latent) -> images (N, H, W, image_channels) in [-1, 1].

    image_size: (H, W), or a number for both; each width halves both sides.
    widths: channels of the feature maps, from the smallest map (a projection of z) to the largest.
    classes: the number of classes for conditional batch-norm, whose scale and shift depend on
    labels (N,), the second argument; None for plain batch-norm. equalized: equalised learning rate
    (Karras et al. 2018) instead of weights drawn from N(0, .02^2).
    """

    conditional = True

    def __init__(
        self,
        latent: int = 100,
        image_size: int | tuple[int, int] = 28,
        image_channels: int = 1,
        widths: Sequence[int] = (128, 64),
        classes: int | None = None,
        equalized: bool = False,
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        smallest = halved(image_size, len(widths))

        def conv(*shape, gain=2**0.5, fan_in=None):
            layer = nn.ConvTranspose2d(*shape, bias=False, rng=rng, init=WEIGHTS)
            return nn.Equalized(layer, gain, fan_in, rng=rng) if equalized else layer

        def norm_relu(channels):
            norm = (
                nn.ConditionalBatchNorm.of_classes(channels, classes)
                if classes
                else nn.BatchNorm(channels, rng=rng, init=GAINS)
            )
            return [norm, nn.ReLU()]

        self.latent, self.classes = latent, classes
        first = conv(latent, widths[0], smallest, fan_in=latent)
        self.main = nn.Sequential(first, *norm_relu(widths[0]))
        for a, b in zip(widths, widths[1:]):
            self.main.layers += [conv(a, b, 4, 2, 1), *norm_relu(b)]
        self.main.layers += [conv(widths[-1], image_channels, 4, 2, 1, gain=1.0), nn.Tanh()]

    def forward(self, z, labels=None):
        z = self.expect_shape(z, "N", self.latent, what="latents")
        if self.classes:
            labels = self.expect_labels(labels, len(z), self.classes)
        return self.main(z.reshape(-1, 1, 1, self.latent), labels)


class Discriminator(nn.Module):
    """Images (N, H, W, image_channels) -> logits (N,), higher for reals.

    image_size: (H, W), or a number for both; each width halves both sides.
    widths: channels of the feature maps, from the largest map to the smallest.
    norm: "batch" for batch-norm, "spectral" to normalise the weights of every layer, or "none".
    patches: True returns logits (N, h, w), one for each position of the smallest feature map, which
    sees a patch of the image.
    equalized: equalised learning rate instead of weights drawn from N(0, .02^2).
    """

    def __init__(
        self,
        image_size: int | tuple[int, int] = 28,
        image_channels: int = 1,
        widths: Sequence[int] = (64, 128),
        norm: str = "batch",
        patches: bool = False,
        equalized: bool = False,
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        smallest = halved(image_size, len(widths))
        if equalized and norm == "spectral":
            raise InputError(
                "equalized and norm=spectral both scale D's weights: choose one of them"
            )

        def conv(*shape, gain=2**0.5):
            layer = nn.Conv2d(*shape, bias=norm != "batch", rng=rng, init=WEIGHTS)
            if norm == "spectral":
                return nn.SpectralNorm(layer, rng=rng)
            return nn.Equalized(layer, gain, rng=rng) if equalized else layer

        self.main = nn.Sequential(conv(image_channels, widths[0], 4, 2, 1), nn.LeakyReLU(0.2))
        for a, b in zip(widths, widths[1:]):
            batch_norm = [nn.BatchNorm(b, rng=rng, init=GAINS)] if norm == "batch" else []
            self.main.layers += [conv(a, b, 4, 2, 1), *batch_norm, nn.LeakyReLU(0.2)]
        last = (3, 1, 1) if patches else (smallest,)
        self.main.layers += [conv(widths[-1], 1, *last, gain=1.0)]
        self.image_shape = (*as_pair(image_size), image_channels)
        self.feature_shape, self.patches = (*smallest, widths[-1]), patches

    def features(self, x: Tensor) -> Tensor:
        """Return the smallest feature map, (N, *feature_shape)."""
        return self.main[:-1](self.expect_shape(x, "N", *self.image_shape, what="images"))

    def score(self, features: Tensor) -> Tensor:
        """Return the logits of features."""
        logits = self.main[-1](features)
        return logits.reshape(logits.shape[:3]) if self.patches else logits.reshape(-1)

    def forward(self, x):
        return self.score(self.features(x))


@dataclass
class DCGANSettings(Settings):
    g_channels: int = setting(
        64, "channels of G's largest feature map, doubled for each smaller map", 1
    )
    d_channels: int = setting(
        32, "channels of D's largest feature map, doubled for each smaller map", 1
    )
    layers: int = setting(2, "number of stride-2 layers, in G and in D", 1, 6)
    d_norm: str = setting("batch", "normalisation in D", choices=("batch", "none", "spectral"))
    equalized: bool = setting(
        False, "use equalised learning rates in G and D, instead of weights drawn from N(0, .02^2)"
    )
    patches: bool = setting(
        False, "score overlapping patches of the image instead of the whole image"
    )


def networks(s, sizes, rng) -> tuple[Generator, Discriminator]:
    *size, channels = sizes.image
    doublings = [1 << i for i in range(s.layers)]
    g_widths = [s.g_channels * n for n in reversed(doublings)]
    d_widths = [s.d_channels * n for n in doublings]
    return (
        Generator(sizes.latent, size, channels, g_widths, sizes.g_classes, s.equalized, rng=rng),
        Discriminator(
            size, sizes.d_image_channels, d_widths, s.d_norm, s.patches, s.equalized, rng=rng
        ),
    )


# The paper's constants, with two exceptions. D has half of G's channels, which saves half of the
# time; with as many channels as G, the digits look no better. And batches are smaller.
RECIPE = Recipe(
    "dcgan",
    "convolutions and batch-norm (Radford et al. 2016)",
    DCGANSettings,
    networks,
    {
        "steps": 10000,
        "sample_every": 500,
        # The paper has 128. At the paper's learning rate, quality depends on the number of steps,
        # hardly on the number of images.
        "batch_size": 16,
    },
    g_class_choices=("none", "concat", "cbn"),
)
