"""PacGAN: D judges several images together (Lin et al. 2018).

A pack is m images of one kind, all real or all fake, joined along their channels. It has one logit;
D's first layer takes m times the channels, and nothing else changes. If G generates few distinct
images, those of a pack are too much alike, so D recognises what it could not see in any one image.
"""

from typing import Any

from tinygan import nn
from tinygan.autograd import as_tensors


def packed(x: Any, m: int) -> Any:
    """Return packs (N / m, H, W, m C) of images x (N, H, W, C), or packs (N / m, 2 m) of points
    (N, 2); a Tensor or an array. x itself if m is 1.

    Pack k holds the images k, k + N / m, k + 2 N / m, ... (as the groups of minibatch stddev do).
    """
    if m == 1:
        return x
    x = x.reshape(m, len(x) // m, *x.shape[1:])
    return x.transpose((*range(1, x.ndim - 1), 0, x.ndim - 1)).reshape(*x.shape[1:-1], -1)


def unpacked(x: Any, m: int) -> Any:
    """Return the images of packs: the inverse of `packed`."""
    if m == 1:
        return x
    x = x.reshape(*x.shape[:-1], m, x.shape[-1] // m)
    x = x.transpose((x.ndim - 2, *range(x.ndim - 2), x.ndim - 1))
    return x.reshape(-1, *x.shape[2:])


class Packed(nn.Module):
    """A discriminator of packs: D, which takes packs of `pack` images, called with the images.

    Images (N, H, W, C), where N is a multiple of `pack` -> logits (N / pack, ...).
    """

    def __init__(self, D: nn.Module, pack: int) -> None:
        self.D, self.pack = D, pack
        if hasattr(D, "image_shape"):
            *size, channels = D.image_shape
            self.image_shape = (*size, channels // pack)

    def forward(self, x):
        (x,) = as_tensors("Packed", (x,))
        if len(x) % self.pack:
            raise self.argument_error(f"takes packs of {self.pack} images, got {len(x)} images")
        return self.D(packed(x, self.pack))
