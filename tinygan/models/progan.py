"""Progressive GAN (Karras, Aila, Laine and Lehtinen 2018): begin with 4x4 pixels, and let each next size fade in.

    G:  z -> pixel norm -> 4x4 -> 8x8 -> ... -> size;  an image can be made of each of these feature maps (1x1)
    D:  the mirror image:  an image of any size -> ... -> 8x8 -> 4x4 -> minibatch stddev -> logit

`lod`, the level of detail, says where both are: 0 is the full size, 1 half of it, 2 a quarter. Between two whole numbers
the larger size fades in: G blends its image with that of the smaller size, enlarged, and D its features with those of the
halved image. Images always come and go at full size; at lod 2, each pixel is a square of 4x4.

Equalised learning rate everywhere; leaky relu .2, in G followed by pixel norm; G's images have no tanh.
"""

import math

import numpy as np

from tinygan import nn, ops
from tinygan.backend import from_host


class Growing(nn.Module):
    """What G and D share: `lod`, a buffer in host memory, and blocks and image layers for sizes 4, 8, ... (0, 1, ...)."""

    buffer_names = ("lod",)

    def __init__(self, image_size, widths, rng):
        if image_size != 4 << (len(widths) - 1):
            raise ValueError(f"images of {image_size} pixels: growing from 4x4 by doubling takes a size of 8, 16, 32, "
                             "64...: pad them")
        self.lod, self.rng = np.zeros((), "float32"), rng

    def conv(self, *shape, gain=2 ** 0.5, kind=nn.Conv2d, fan_in=None, **settings):
        return nn.Equalized(kind(*shape, **settings, rng=self.rng), gain, fan_in, rng=self.rng)

    def conv3(self, inputs, outputs, **settings):
        return self.conv(inputs, outputs, 3, padding=1, **settings)

    def stage(self):
        """(number of the finest block in use, is it still blended with the next coarser one?)"""
        return len(self.blocks) - 1 - math.floor(self.lod), self.lod % 1 > 0

    def blend(self, finer, coarser):
        """The way from one to the other, by the share of the coarser one, which changes from step to step."""
        dtype = finer.dtype  # not `finer` itself, which a recorded step would keep
        share = from_host(lambda: (self.lod % 1).astype(dtype))
        return finer + (coarser - finer) * share

    def draw(self, x, coarser):
        """G's image, at full size, of the finest feature maps in use and of the next coarser ones."""
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
        first = self.conv(latent, widths[0], 4, gain=2 ** 0.5 / 4, kind=nn.ConvTranspose2d, fan_in=latent)
        self.blocks = [nn.Sequential(*self.normalized(first), *self.normalized(self.conv3(widths[0], widths[0])))]
        self.blocks += [nn.Sequential(*self.normalized(self.conv3(a, b)), *self.normalized(self.conv3(b, b)))
                        for a, b in zip(widths, widths[1:])]
        self.to_image = [self.conv(width, image_channels, 1, gain=1.0) for width in widths]

    @staticmethod
    def normalized(layer):
        return layer, nn.LeakyReLU(0.2), nn.PixelNorm()

    def forward(self, z):
        z = self.take(z, "N", self.latent, what="latents")
        x = self.norm(z).reshape(-1, 1, 1, self.latent)
        for i, block in enumerate(self.blocks[:self.stage()[0] + 1]):
            coarser, x = x, block(ops.upsample_nearest(x) if i else x)
        return self.draw(x, coarser)


class Discriminator(Growing):
    """Images (N, size, size, image_channels) -> logits (N,): positive means real.

    widths: channels of the feature maps of 4x4, 8x8, ... up to the full size, as G's. Groups of 4 images are compared
    with each other, so that N must be a multiple of 4 (or less).
    `features` (N, widths[0]) are those of the last hidden layer; `score` makes logits of them.
    """

    def __init__(self, image_size=32, image_channels=1, widths=(64, 64, 32, 16), *, rng):
        super().__init__(image_size, widths, rng)
        act, top = lambda layer: (layer, nn.LeakyReLU(0.2)), widths[0]
        self.from_image = [nn.Sequential(*act(self.conv(image_channels, width, 1))) for width in widths]
        self.blocks = [nn.Sequential(
            nn.MinibatchStddev(), *act(self.conv(top + 1, top, 3, padding=1)),
            nn.Flatten(), *act(self.conv(16 * top, top, kind=nn.Linear)))]
        self.blocks += [self.block(b, a) for a, b in zip(widths, widths[1:])]
        self.to_logit = self.conv(top, 1, gain=1.0, kind=nn.Linear)
        self.image_shape, self.feature_shape = (image_size, image_size, image_channels), (top,)

    def block(self, inputs, outputs):
        return nn.Sequential(self.conv3(inputs, inputs), nn.LeakyReLU(0.2), self.conv3(inputs, outputs),
                             nn.LeakyReLU(0.2), nn.AvgPool2d(2))

    def features(self, x):
        x = self.take(x, "N", *self.image_shape, what="images")
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
