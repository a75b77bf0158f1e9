"""Progressive GAN (Karras et al. 2018): begin at 4x4 pixels, and let larger sizes fade in.

    G:  z -> pixel norm -> 4x4 -> 8x8 -> ... -> full size
        an image can be made of each of these feature maps (1x1)
    D:  the mirror image:  an image of any size -> ... -> 8x8 -> 4x4 -> minibatch stddev -> logit

`lod`, the level of detail, says how far both have grown: 0 is the full size, 1 half of it, 2 a
quarter. Between two whole numbers the larger size fades in: G blends its image with that of the
smaller size, enlarged, and D blends its features with those of the halved image. Images always come
and go at full size; at lod 2, each of their pixels is a square of 4x4.

Equalised learning rate everywhere; leaky relu .2, in G followed by pixel norm; no tanh after G.
"""

import math
from dataclasses import dataclass

import numpy as np

from tinygan import nn, ops
from tinygan.backend import from_host
from tinygan.errors import InputError
from tinygan.settings import setting

from .growth import START, GrowthSettings
from .recipe import Recipe


class Growing(nn.Module):
    """What G and D share: `lod`, a buffer in host memory, and `blocks`, one for each size 4, 8, ...
    A layer for each size, in `to_image` or `from_image`, leads from and to images."""

    buffer_names = ("lod",)

    def __init__(self, image_size, widths, rng):
        if not widths or image_size != START << (len(widths) - 1):
            raise InputError(
                f"images of {image_size} pixels: growing from 4x4 by doubling takes "
                "a size of 8, 16, 32, 64...: pad them"
            )
        self.lod, self.rng = np.zeros((), "float32"), rng

    def conv(self, *shape, gain=2**0.5, kind=nn.Conv2d, fan_in=None, **settings):
        return nn.Equalized(kind(*shape, **settings, rng=self.rng), gain, fan_in, rng=self.rng)

    def conv3(self, inputs, outputs, **settings):
        return self.conv(inputs, outputs, 3, padding=1, **settings)

    def stage(self):
        """(number of the finest block in use, is it still blended with the next coarser one?)"""
        return len(self.blocks) - 1 - math.floor(self.lod), self.lod % 1 > 0

    def blend(self, finer, coarser):
        """Between the two, by the share of the coarser one, which changes from step to step."""
        dtype = finer.dtype  # the function below may outlive this call: it must not hold `finer`
        share = from_host(lambda: (self.lod % 1).astype(dtype))
        return finer + (coarser - finer) * share

    def draw(self, x, coarser):
        """G's image, at full size, from the finest feature maps in use and the next coarser."""
        finest, blended = self.stage()
        image = self.to_image[finest](x)
        if blended:
            image = self.blend(image, ops.upsample_nearest(self.to_image[finest - 1](coarser)))
        return ops.upsample_nearest(image, self.size // image.shape[1])


class Generator(Growing):
    """Latents z (N, latent) -> images (N, size, size, image_channels), about [-1, 1].

    widths: channels of the feature maps of 4x4, 8x8, ... up to the full size.
    """

    def __init__(self, latent=64, image_size=32, image_channels=1, widths=(64, 64, 32, 16), *, rng):
        super().__init__(image_size, widths, rng)
        self.latent, self.classes, self.size = latent, None, image_size
        self.norm = nn.PixelNorm()
        # The first layer's gain is a quarter of the others': so the authors have it.
        first = self.conv(
            latent, widths[0], 4, gain=2**0.5 / 4, kind=nn.ConvTranspose2d, fan_in=latent
        )
        second = self.conv3(widths[0], widths[0])
        self.blocks = [nn.Sequential(*self.normalized(first), *self.normalized(second))]
        self.blocks += [
            nn.Sequential(*self.normalized(self.conv3(a, b)), *self.normalized(self.conv3(b, b)))
            for a, b in zip(widths, widths[1:])
        ]
        self.to_image = [self.conv(width, image_channels, 1, gain=1.0) for width in widths]

    @staticmethod
    def normalized(layer):
        return layer, nn.LeakyReLU(0.2), nn.PixelNorm()

    def forward(self, z):
        z = self.expect_shape(z, "N", self.latent, what="latents")
        x = self.norm(z).reshape(-1, 1, 1, self.latent)
        for i, block in enumerate(self.blocks[: self.stage()[0] + 1]):
            coarser, x = x, block(ops.upsample_nearest(x) if i else x)
        return self.draw(x, coarser)


class Discriminator(Growing):
    """Images (N, size, size, image_channels) -> logits (N,): positive means real.

    widths: channels of the feature maps of 4x4, 8x8, ... up to the full size, as G's. Groups of 4
    images are compared with each other, so that N must be a multiple of 4 (or less). `features` (N,
    widths[0]) are those of the last hidden layer; `score` makes logits of them.
    """

    def __init__(self, image_size=32, image_channels=1, widths=(64, 64, 32, 16), *, rng):
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
                *act(self.conv(16 * top, top, kind=nn.Linear)),
            )
        ]
        self.blocks += [self.block(b, a) for a, b in zip(widths, widths[1:])]
        self.to_logit = self.conv(top, 1, gain=1.0, kind=nn.Linear)
        self.image_shape, self.feature_shape = (image_size, image_size, image_channels), (top,)

    def block(self, inputs, outputs):
        return nn.Sequential(
            self.conv3(inputs, inputs),
            nn.LeakyReLU(0.2),
            self.conv3(inputs, outputs),
            nn.LeakyReLU(0.2),
            nn.AvgPool2d(2),
        )

    def features(self, x):
        x = self.expect_shape(x, "N", *self.image_shape, what="images")
        finest, blended = self.stage()
        image = shrink(x, 1 << (len(self.blocks) - 1 - finest))
        x = self.from_image[finest](image)
        for i in range(finest, 0, -1):
            x = self.blocks[i](x)
            if blended and i == finest:
                x = self.blend(x, self.from_image[i - 1](shrink(image, 2)))
        return self.blocks[0](x)

    def score(self, features):
        return self.to_logit(features).reshape(-1)

    def forward(self, x):
        return self.score(self.features(x))


def shrink(x, factor):
    return ops.avg_pool2d(x, factor) if factor > 1 else x


def channels_by_size(channels, most, size):
    """Channels of the feature maps of 4x4, 8x8, ...: `channels` at full size, twice as many at each
    halving of the size, but at most `most`."""
    return [min(channels << i, most) for i in reversed(range((size // START).bit_length()))]


@dataclass
class ProGANSettings(GrowthSettings):
    channels: int = setting(
        8, "channels at full size; each halving of the size doubles them, up to max_channels", 1
    )
    max_channels: int = setting(64, "most channels of a feature map", 1)


def networks(s, sizes, rng):
    size, _, channels = sizes.image
    of_both = channels_by_size(s.channels, s.max_channels, size)
    return (
        Generator(sizes.latent, size, channels, of_both, rng=rng),
        Discriminator(size, sizes.d_image_channels, of_both, rng=rng),
    )


# The paper's constants, but smaller: it has 600,000 images in each phase, and up to 512 channels.
RECIPE = Recipe(
    "progan",
    "begin at 4x4 pixels, and let larger sizes fade in (Karras et al. 2018)",
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
        # The paper has 1e-3, for many more steps. Half of this rate gave an FID of 10.8 instead of
        # 6.2.
        "lr": 4e-3,
    },
    truncation=None,
)  # G puts each latent on a sphere, where none is farther out than the others
