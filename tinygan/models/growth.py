"""Progressive growing: a run's image size, by the images seen (Karras et al. 2018, section 2)."""

import math
from dataclasses import dataclass

import numpy as np

from tinygan.backend import xp
from tinygan.errors import InputError
from tinygan.settings import MANY, setting

from .settings import Settings

START = 4  # pixels on a side


@dataclass
class GrowthSettings(Settings):
    """The settings of recipes whose networks can grow."""

    grow: bool = setting(
        True, "begin at 4x4 pixels and let larger sizes fade in; false: full size from the start"
    )
    stable_images: int = setting(
        8_000, "images of D's updates at one size, before the next fades in", 0, MANY
    )
    fade_images: int = setting(8_000, "images of D's updates while it does", 0, MANY)
    batch_sizes: str = setting(
        "4:32,8:32", "batch sizes of some sizes, as size:images,...; others: batch_size"
    )


class Growth:
    """The schedule: stable_images at 4x4, fade_images while 8x8 fades in, stable_images at 8x8...

    size: pixels on a side, in the end. The level of detail `lod` is 0 at full size, 1 at half of
    it; between two whole numbers, the larger size fades in (see models/progan.py). Raises
    InputError for batch_sizes that cannot be read.
    """

    def __init__(self, settings, size):
        self.size, self.stable, self.fade = size, settings.stable_images, settings.fade_images
        self.levels = (size // START).bit_length() - 1
        if not self.stable + self.fade:
            raise InputError(
                "settings stable_images=0 fade_images=0: one of them must be larger; "
                "to begin at full size, set grow=false"
            )
        self.batch_sizes = {START << i: settings.batch_size for i in range(self.levels + 1)}
        for part in filter(None, settings.batch_sizes.split(",")):
            try:
                side, n = map(int, part.split(":"))
                if side not in self.batch_sizes or not 2 <= n <= MANY:
                    raise ValueError
            except ValueError:
                raise InputError(
                    f"setting batch_sizes={settings.batch_sizes}: {part!r} is not size:images, "
                    f"with a size of {', '.join(map(str, self.batch_sizes))} and at least 2 images"
                ) from None
            self.batch_sizes[side] = n

    def lod(self, images):
        """The level of detail of the next batch after so many images."""
        stages, within = divmod(images, self.stable + self.fade)
        faded = max(within - self.stable, 0) / self.fade if self.fade else 0.0
        return max(self.levels - stages - faded, 0.0)

    def batch_size(self, lod):
        return self.batch_sizes[self.size >> math.floor(lod)]

    def describe(self, lod):
        """'8x8', or '8x8, 40% of 16x16'."""
        side, share = self.size >> math.ceil(lod), math.ceil(lod) - lod
        return f"{side}x{side}" + (f", {share:.0%} of {2 * side}x{2 * side}" if share else "")


def set_lod(network, lod):
    """Bring all growing parts of a network to a level of detail."""
    for _, module in network.modules():
        if "lod" in module.buffer_names:
            module.lod = np.asarray(lod, module.lod.dtype)


def at_lod(images, lod, blend=None):
    """Images (N, H, W, C) of full size as they are at a level of detail.

    Squares of 2^lod pixels are averaged; between two whole numbers, both versions are blended as
    G's are. blend: the share of the coarser one, if it is at hand as an array.
    """
    whole = math.floor(lod)
    images = _squares(images, 1 << whole)
    if lod == whole:
        return images
    share = lod - whole if blend is None else blend
    return images + (_squares(images, 2 << whole) - images) * share


def _squares(images, side):
    if side == 1:
        return images
    n, height, width, channels = images.shape
    squares = images.reshape(n, height // side, side, width // side, side, channels)
    return xp.broadcast_to(squares.mean((2, 4), keepdims=True), squares.shape).reshape(images.shape)
