"""Progressive GAN (Karras et al. 2018): start at 4x4 pixels, and let larger sizes fade in.

    G:  z -> pixel norm -> 4x4 -> 8x8 -> ... -> full size
        a 1x1 layer for each size turns its feature maps into an image
    D:  the same in reverse:  an image of any size -> ... -> 8x8 -> 4x4 -> minibatch stddev -> logit

The level of detail `lod` says how far both have grown: 0 is full size, 1 is half of it, 2 is a
quarter. Between two integers, the larger size fades in: G blends its image with the enlarged image
of the smaller size, and D blends its features with those of the halved image. The images between G
and D always have full size; at lod 2, they consist of squares of 4x4 equal pixels. Images that are
not square start at 4xN or Nx4 pixels: 32x48 at 4x6, and 32x64 at 4x8.

All layers have equalised learning rate, and leaky relu with slope .2, followed by pixel norm in G.
G has no tanh.
"""

import math
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np

from tinygan import nn, ops
from tinygan.autograd import Tensor
from tinygan.backend import Rng, from_host, generator
from tinygan.ops.bilinear import as_pair
from tinygan.settings import setting

from .growth import GrowthSettings
from .image_sizes import smallest_map, start_shape
from .recipe import Recipe


class Growing(nn.Module):
    """The base class of G and D. A subclass defines `blocks`, one for each size 4x4, 8x8, ...; G
    also `to_image`, and D `from_image`, a layer for each size.

    lod: the level of detail, a buffer in host memory. start: the size (height, width) of the
    smallest feature map, 4x4 for square images. widths: channels of the feature maps of 4x4, 8x8,
    ... up to full size. Raises InputError if image_size is not `start`, doubled for every width but
    the first.
    """

    buffer_names: tuple[str, ...] = ("lod",)

    def __init__(self, image_size: int | tuple[int, int], widths: Sequence[int], rng: Rng) -> None:
        self.start = smallest_map(image_size, widths)
        self.lod, self.rng = np.zeros((), "float32"), generator(rng)

    def conv(
        self,
        *shape: int | tuple[int, int],
        gain: float = 2**0.5,
        kind: Callable[..., nn.Module] = nn.Conv2d,
        fan_in: float | None = None,
        **settings: Any,
    ) -> nn.Equalized:
        """Return an equalised layer: kind(*shape, **settings)."""
        return nn.Equalized(kind(*shape, **settings, rng=self.rng), gain, fan_in, rng=self.rng)

    def conv3(self, inputs: int, outputs: int, **settings: Any) -> nn.Equalized:
        """Return an equalised 3x3 convolution."""
        return self.conv(inputs, outputs, 3, padding=1, **settings)

    def stage(self) -> tuple[int, bool]:
        """Return the index of the finest block in use, and whether it is still fading in."""
        return len(self.blocks) - 1 - math.floor(self.lod), self.lod % 1 > 0

    def blend(self, finer: Tensor, coarser: Tensor) -> Tensor:
        """Return finer + weight (coarser - finer), with a weight that changes from step to step."""
        dtype = finer.dtype  # the function below may outlive this call: it must not hold `finer`
        weight = from_host(lambda: (self.lod % 1).astype(dtype))
        return finer + (coarser - finer) * weight

    def full_size_image(self, x: Tensor, coarser: Tensor) -> Tensor:
        """Return G's image at full size, from the finest feature maps in use and the next coarser
        ones."""
        finest, fading = self.stage()
        image = self.to_image[finest](x)
        if fading:
            image = self.blend(image, ops.upsample_nearest(self.to_image[finest - 1](coarser)))
        return ops.upsample_nearest(image, 1 << (len(self.blocks) - 1 - finest))


class Generator(Growing):
    """Latents z (N, latent) -> images (N, H, W, image_channels), about in [-1, 1].

    image_size: (H, W), or a number for both. widths: channels of the feature maps of 4x4, 8x8, ...
    up to full size.
    """

    def __init__(
        self,
        latent: int = 64,
        image_size: int | tuple[int, int] = 32,
        image_channels: int = 1,
        widths: Sequence[int] = (64, 64, 32, 16),
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        super().__init__(image_size, widths, rng)
        self.latent, self.classes = latent, None
        self.norm = nn.PixelNorm()
        # The gain of the first layer is a quarter of that of the others, as in the authors' code.
        first = self.conv(
            latent, widths[0], self.start, gain=2**0.5 / 4, kind=nn.ConvTranspose2d, fan_in=latent
        )
        second = self.conv3(widths[0], widths[0])
        act = lambda layer: (layer, nn.LeakyReLU(0.2), nn.PixelNorm())
        self.blocks = [nn.Sequential(*act(first), *act(second))]
        self.blocks += [
            nn.Sequential(*act(self.conv3(a, b)), *act(self.conv3(b, b)))
            for a, b in zip(widths, widths[1:])
        ]
        self.to_image = [self.conv(width, image_channels, 1, gain=1.0) for width in widths]

    def forward(self, z):
        z = self.expect_shape(z, "N", self.latent, what="latents")
        x = self.norm(z).reshape(-1, 1, 1, self.latent)
        for i, block in enumerate(self.blocks[: self.stage()[0] + 1]):
            coarser, x = x, block(ops.upsample_nearest(x) if i else x)
        return self.full_size_image(x, coarser)


class Discriminator(Growing):
    """Images (N, H, W, image_channels) -> logits (N,), higher for reals.

    image_size: (H, W), or a number for both. widths: channels of the feature maps of 4x4, 8x8, ...
    up to full size, as in G. D compares images in groups of 4: N must be a multiple of 4, or less
    than 4.
    """

    def __init__(
        self,
        image_size: int | tuple[int, int] = 32,
        image_channels: int = 1,
        widths: Sequence[int] = (64, 64, 32, 16),
        *,
        rng: Rng,
    ) -> None:
        rng = generator(rng)
        super().__init__(image_size, widths, rng)
        act, top = lambda layer: (layer, nn.LeakyReLU(0.2)), widths[0]
        self.from_image = [
            nn.Sequential(*act(self.conv(image_channels, width, 1))) for width in widths
        ]
        self.blocks = [
            nn.Sequential(
                nn.MinibatchStddev(),
                *act(self.conv(top + 1, top, 3, padding=1)),
                nn.Flatten(),
                *act(self.conv(math.prod(self.start) * top, top, kind=nn.Linear)),
            )
        ]
        self.blocks += [self.block(b, a) for a, b in zip(widths, widths[1:])]
        self.to_logit = self.conv(top, 1, gain=1.0, kind=nn.Linear)
        self.image_shape, self.feature_shape = (*as_pair(image_size), image_channels), (top,)

    def block(self, inputs: int, outputs: int) -> nn.Sequential:
        """Return a block that halves height and width."""
        return nn.Sequential(
            self.conv3(inputs, inputs),
            nn.LeakyReLU(0.2),
            self.conv3(inputs, outputs),
            nn.LeakyReLU(0.2),
            nn.AvgPool2d(2),
        )

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer, (N, widths[0])."""
        x = self.expect_shape(x, "N", *self.image_shape, what="images")
        finest, fading = self.stage()
        image = downsample(x, 1 << (len(self.blocks) - 1 - finest))
        x = self.from_image[finest](image)
        for i in range(finest, 0, -1):
            x = self.blocks[i](x)
            if fading and i == finest:
                x = self.blend(x, self.from_image[i - 1](downsample(image, 2)))
        return self.blocks[0](x)

    def score(self, features: Tensor) -> Tensor:
        """Return the logits of features."""
        return self.to_logit(features).reshape(-1)

    def forward(self, x):
        return self.score(self.features(x))


def downsample(x, factor):
    return ops.avg_pool2d(x, factor) if factor > 1 else x


def channels_by_size(channels: int, max_channels: int, size: int | tuple[int, int]) -> list[int]:
    """Return the channels of the feature maps of 4x4, 8x8, ...: `channels` at full size, doubled at
    each halving of the size, but at most max_channels."""
    _, doublings = start_shape(size)
    return [min(channels << i, max_channels) for i in reversed(range(doublings + 1))]


@dataclass
class ProGANSettings(GrowthSettings):
    channels: int = setting(
        8, "channels at full size, doubled at each halving of the size up to max_channels", 1
    )
    max_channels: int = setting(64, "maximum number of channels of a feature map", 1)


def networks(s, sizes, rng) -> tuple[Generator, Discriminator]:
    *size, channels = sizes.image
    widths = channels_by_size(s.channels, s.max_channels, size)
    return (
        Generator(sizes.latent, size, channels, widths, rng=rng),
        Discriminator(size, sizes.d_image_channels, widths, rng=rng),
    )


# The paper's constants, with shorter phases (in the paper, 600,000 images each) and fewer channels
# (in the paper, up to 512).
RECIPE = Recipe(
    "progan",
    "progressive growing, from 4x4 pixels to full size (Karras et al. 2018)",
    ProGANSettings,
    networks,
    {
        "steps": 6800,
        "batch_size": 16,
        "loss": "wasserstein",
        "gp": 10.0,
        "drift": 0.001,
        "beta1": 0.0,
        "beta2": 0.99,
        "latent": 64,
        "pad": 2,
        "ema": 0.999,
        # The paper has 1e-3, for many more steps. Half of the rate here gave an FID of 10.8 instead
        # of 6.2.
        "lr": 4e-3,
    },
    truncation=None,  # G puts all latents on a sphere, so that none is farther out than others
)
