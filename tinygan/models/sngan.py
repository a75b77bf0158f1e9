"""SNGAN (Miyato et al. 2018): residual networks, and spectral normalisation of every layer of D.

The weight of each layer is divided by its largest singular value. This bounds the Lipschitz
constant of each layer (by 1 for a linear layer, by sqrt(kh kw) for a convolution with a window of
kh x kw pixels), and so that of D. The loss is the hinge loss; D has five updates per update of G.
Weights are Glorot-uniform, times sqrt(2) in the residual paths; biases start at 0.

    G:  z -> 4x4 -> three UpBlocks -> 32x32 -> batch-norm, relu, 3x3, tanh
    D:  32x32 -> two DownBlocks -> 8x8 -> two blocks that keep this size -> relu
        -> sum over positions -> logit
"""

from collections.abc import Callable
from dataclasses import dataclass

from tinygan import nn, ops
from tinygan.autograd import Tensor, described
from tinygan.backend import Rng, generator
from tinygan.nn.init import xavier_uniform
from tinygan.settings import setting

from .image_sizes import halved
from .recipe import Recipe
from .settings import Settings


def with_zero_bias(layer):
    layer.bias.assign(0.0 * layer.bias.data)
    return layer


def convolutions(rng, spectral):
    """The function that makes a block's convolutions: 3x3 with the gain of the residual path, 1x1
    without."""

    def conv(inputs, outputs, kernel_size, padding=0):
        init = xavier_uniform(2**0.5 if kernel_size == 3 else 1.0)
        layer = nn.Conv2d(inputs, outputs, kernel_size, padding=padding, rng=rng, init=init)
        with_zero_bias(layer)
        return nn.SpectralNorm(layer, rng=rng) if spectral else layer

    return conv


class Generator(nn.Module):
    """Latents z (N, latent) -> images (N, H, W, image_channels) in [-1, 1].

    image_size: (H, W), or a number for both; multiples of 8. channels: channels of all feature
    maps. classes: the number of classes for conditional batch-norm, whose scale and shift depend on
    labels (N,), the second argument; None for plain batch-norm. upsample: see `nn.UpBlock`.
    """

    conditional = True

    def __init__(
        self,
        latent: int = 128,
        image_size: int | tuple[int, int] = 32,
        image_channels: int = 1,
        channels: int = 64,
        classes: int | None = None,
        upsample: Callable[..., Tensor] = ops.upsample_nearest,
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        height, width = halved(image_size, 3)
        conv = convolutions(rng, spectral=False)
        of_classes = nn.ConditionalBatchNorm.of_classes
        norm = lambda n: of_classes(n, classes) if classes else nn.BatchNorm(n)
        self.latent, self.classes = latent, classes
        project = nn.Linear(latent, height * width * channels, rng=rng, init=xavier_uniform())
        self.project = with_zero_bias(project)
        self.unflatten = nn.Reshape(height, width, channels)
        self.blocks = [
            nn.UpBlock(channels, channels, norm=norm, conv=conv, upsample=upsample)
            for _ in range(3)
        ]
        self.norm = nn.BatchNorm(channels)
        self.to_image = with_zero_bias(
            nn.Conv2d(channels, image_channels, 3, padding=1, rng=rng, init=xavier_uniform())
        )

    def forward(self, z, labels=None):
        x = self.unflatten(self.project(self.expect_shape(z, "N", self.latent, what="latents")))
        if self.classes:
            labels = self.expect_labels(labels, len(x), self.classes)
        for block in self.blocks:
            x = block(x, labels)
        return ops.tanh(self.to_image(ops.relu(self.norm(x))))


class Discriminator(nn.Module):
    """Images (N, H, W, image_channels) -> logits (N,), higher for reals.

    H and W are multiples of 4. channels: channels of all feature maps. relu_shortcut: see
    `nn.DownBlock`.
    """

    def __init__(
        self, image_channels: int = 1, channels: int = 64, relu_shortcut: bool = False, *, rng: Rng
    ) -> None:
        rng = generator(rng)
        conv = convolutions(rng, spectral=True)
        block = lambda inputs, **settings: nn.DownBlock(
            inputs, channels, conv=conv, relu_shortcut=relu_shortcut, **settings
        )
        self.blocks = nn.Sequential(
            block(image_channels, first=True),
            block(channels),
            block(channels, downsample=False),
            block(channels, downsample=False),
            nn.ReLU(),
        )
        to_logit = with_zero_bias(nn.Linear(channels, 1, rng=rng, init=xavier_uniform()))
        self.to_logit = nn.SpectralNorm(to_logit, rng=rng)
        self.image_shape, self.feature_shape = ("H", "W", image_channels), (channels,)

    def features(self, x: Tensor) -> Tensor:
        """Return the last feature maps, summed over positions: (N, channels)."""
        x = self.expect_shape(x, "N", *self.image_shape, what="images")
        if x.shape[1] % 4 or x.shape[2] % 4:
            raise self.argument_error(
                f"takes images whose height and width are multiples of 4, got {described(x)}"
            )
        return ops.sum(self.blocks(x), (1, 2))

    def score(self, features: Tensor) -> Tensor:
        """Return the logits of features."""
        return self.to_logit(features).reshape(-1)

    def forward(self, x):
        return self.score(self.features(x))


@dataclass
class SNGANSettings(Settings):
    g_channels: int = setting(32, "channels of G's feature maps", 1)
    d_channels: int = setting(32, "channels of D's feature maps", 1)


def networks(s, sizes, rng) -> tuple[Generator, Discriminator]:
    *size, channels = sizes.image
    return (
        Generator(sizes.latent, size, channels, s.g_channels, sizes.g_classes, rng=rng),
        Discriminator(sizes.d_image_channels, s.d_channels, rng=rng),
    )


# The paper's structure and constants, but fewer channels (it has 256 in G and 128 in D) and smaller
# batches (it has 64).
RECIPE = Recipe(
    "sngan",
    "residual networks, spectral normalisation and hinge loss (Miyato et al. 2018)",
    SNGANSettings,
    networks,
    {
        "steps": 1700,
        "batch_size": 16,
        "sample_every": 100,
        "loss": "hinge",
        "beta1": 0.0,
        "beta2": 0.9,
        "d_steps": 5,
        "latent": 128,
        "pad": 2,
    },
    g_class_choices=("none", "concat", "cbn"),
)
