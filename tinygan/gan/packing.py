"""PacGAN: D judges several images together (Lin et al. 2018).

A pack is m images of one kind, all real or all fake, joined along their channels. It has one logit,
and D's only change is its first layer, which takes m times the channels. If G generates few
distinct images, those of a pack are too much alike, which D sees at once: so G is punished for a
lack of variety, which a D that sees one image at a time cannot notice.
"""

from typing import Any

from tinygan import nn
from tinygan.autograd import as_tensors


def packed(x: Any, m: int) -> Any:
    """Return packs (N / m, H, W, m C) of images x (N, H, W, C), or packs (N / m, 2 m) of points
    (N, 2), a Tensor or an array: pack k holds the images k m to k m + m - 1. x itself if m is 1."""
    if m == 1:
        return x
    x = x.reshape(len(x) // m, m, *x.shape[1:])
    front = range(2, x.ndim - 1)  # the axes before the channels
    x = x.transpose((0, *front, 1, x.ndim - 1))
    return x.reshape(*x.shape[:-2], m * x.shape[-1])


def unpacked(x: Any, m: int) -> Any:
    """Return the images of packs: the inverse of `packed`."""
    if m == 1:
        return x
    x = x.reshape(*x.shape[:-1], m, x.shape[-1] // m)
    front = range(1, x.ndim - 2)
    x = x.transpose((0, x.ndim - 2, *front, x.ndim - 1))
    return x.reshape(len(x) * m, *x.shape[2:])


class Packed(nn.Module):
    """A discriminator of packs: D, which takes packs of m images, called with the images.

    N images, a multiple of m -> logits (N / m, ...).
    """

    def __init__(self, D, m: int):
        self.D, self.m = D, m

    def forward(self, x):
        (x,) = as_tensors("Packed", (x,))
        if len(x) % self.m:
            raise self.argument_error(f"takes packs of {self.m} images, got {len(x)} images")
        return self.D(packed(x, self.m))
