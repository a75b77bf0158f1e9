"""Progressive growing: the image size of a run as a function of the number of images so far (Karras
et al. 2018, section 2)."""

import math
from dataclasses import dataclass

import numpy as np

from tinygan import nn
from tinygan.autograd import Array
from tinygan.backend import xp
from tinygan.errors import InputError
from tinygan.settings import MAX_COUNT, setting

from .image_sizes import start_shape
from .settings import Settings

START = 4  # the shorter side of the first images, in pixels


@dataclass
class GrowthSettings(Settings):
    """The settings of recipes whose networks can grow."""

    grow: bool = setting(
        True,
        "start at 4x4 pixels (4xN if images are not square) and fade in larger sizes; false: start "
        "at full size",
    )
    stable_images: int = setting(
        8_000,
        "number of images that D sees at one size, before the next size fades in",
        0,
        MAX_COUNT,
        group="run",
    )
    fade_images: int = setting(
        8_000, "number of images that D sees while a size fades in", 0, MAX_COUNT, group="run"
    )
    batch_sizes: str = setting(
        "4:32,8:32",
        "batch sizes for some image sizes, as size:images,..., where size is the shorter side; "
        "batch_size for the others",
        group="run",
    )


class Growth:
    """The schedule: stable_images at 4x4, fade_images while 8x8 fades in, stable_images at 8x8, ...

    size: (height, width) of the full-size images, or a number for both. The level of detail `lod`
    is 0 at full size, 1 at half of it, and so on; between two integers, the larger size fades in
    (models/progan.py). Raises InputError for batch_sizes that cannot be read, and for a schedule
    without images.
    """

    def __init__(self, settings, size: int | tuple[int, int]) -> None:
        self.start, self.levels = start_shape(size)
        self.stable, self.fade = settings.stable_images, settings.fade_images
        if not self.stable + self.fade:
            raise InputError(
                "settings stable_images=0 fade_images=0: one of them must be larger; "
                "to start at full size, set grow=false"
            )
        self.batch_sizes = {START << i: settings.batch_size for i in range(self.levels + 1)}
        for part in filter(None, settings.batch_sizes.split(",")):
            try:
                side, n = map(int, part.split(":"))
                if side not in self.batch_sizes or not 2 <= n <= MAX_COUNT:
                    raise ValueError
            except ValueError:
                raise InputError(
                    f"setting batch_sizes={settings.batch_sizes}: {part!r} is not size:images, "
                    f"with a size of {', '.join(map(str, self.batch_sizes))} and at least 2 images"
                ) from None
            self.batch_sizes[side] = n

    def lod(self, images: int) -> float:
        """Return the level of detail of the next batch, given the number of images so far."""
        stages, within = divmod(images, self.stable + self.fade)
        faded = max(within - self.stable, 0) / self.fade if self.fade else 0.0
        return max(self.levels - stages - faded, 0.0)

    def batch_size(self, lod: float) -> int:
        """Return the batch size at a level of detail."""
        return self.batch_sizes[self.short_side(lod)]

    def short_side(self, lod: float) -> int:
        """Return the shorter side of the largest images at a level of detail, in pixels."""
        return START << (self.levels - math.floor(lod))

    def describe(self, lod: float) -> str:
        """Return a level of detail as text: '8x12', or '8x12, 40% of 16x24'."""
        height, width = (side << (self.levels - math.ceil(lod)) for side in self.start)
        share = math.ceil(lod) - lod
        larger = f", {share:.0%} of {2 * height}x{2 * width}" if share else ""
        return f"{height}x{width}{larger}"


def set_lod(network: nn.Module, lod: float) -> None:
    """Set the level of detail of all growing parts of a network."""
    for _, module in network.modules():
        if "lod" in module.buffer_names:
            module.lod = np.asarray(lod, module.lod.dtype)


def at_lod(images: Array, lod: float, blend: Array | None = None) -> Array:
    """Return full-size images (N, H, W, C) at a level of detail: squares of 2^lod x 2^lod pixels
    are set to their mean.

    Between two integers, the images of both levels are blended, as G's are. blend: the weight of
    the coarser level, which is the fraction of lod, as an array on the device (for recorded steps);
    default: computed from lod.
    """
    level = math.floor(lod)
    images = _average_squares(images, 1 << level)
    if lod == level:
        return images
    weight = lod - level if blend is None else blend
    return images + (_average_squares(images, 2 << level) - images) * weight


def _average_squares(images, side):
    """Set every square of side x side pixels to its mean."""
    if side == 1:
        return images
    n, height, width, channels = images.shape
    squares = images.reshape(n, height // side, side, width // side, side, channels)
    return xp.broadcast_to(squares.mean((2, 4), keepdims=True), squares.shape).reshape(images.shape)
