"""DiffAugment: both of D's inputs, and what G is judged by, are augmented, always and
differentiably (Zhao et al. 2020).

    color         brightness, saturation and contrast, each by a random amount
    translation   a shift by up to an eighth of the image; what comes in is 0, grey
    cutout        a square half as wide as the image, around a random pixel, becomes 0

Each image has draws of its own. Sizes and amounts are those of the authors' code.
"""

import numpy as np

from tinygan.backend import from_host
from tinygan.errors import InputError
from tinygan.ops import mean, translate


def brightness(x, rng):
    """Add U(-.5, .5)."""
    return x + (_amounts(x, rng) - 0.5)


def saturation(x, rng):
    """Stretch the colours around each pixel's mean over the channels by U(0, 2). An image of one
    channel stays as it is."""
    amounts = _amounts(x, rng) * 2
    if x.shape[3] == 1:
        return x
    grey = mean(x, 3, keepdims=True)
    return x * amounts + grey * (1 - amounts)


def contrast(x, rng):
    """Stretch the values around their mean by U(.5, 1.5)."""
    middle = mean(x, (1, 2, 3), keepdims=True)
    amounts = _amounts(x, rng) + 0.5
    # Fewer passes over the images than (x - middle) * amounts + middle.
    return x * amounts + middle * (1 - amounts)


def translation(x, rng, ratio=0.125):
    """Shift by whole pixels, up to `ratio` of the image in each direction; 0 comes in."""
    n, limits = len(x), [int(size * ratio + 0.5) for size in x.shape[1:3]]
    return translate(
        x,
        from_host(
            lambda: -np.stack([rng.integers(-limit, limit + 1, size=n) for limit in limits], 1)
        ),
    )


def cutout(x, rng, ratio=0.5):
    """Set a rectangle of `ratio` of the image's size to 0. Its centre may be any pixel, so that it
    may stick out."""
    (n, *lengths, _), dtype = x.shape, x.dtype

    def mask():
        gone = True
        for axis, length in enumerate(lengths):
            size = int(length * ratio + 0.5)
            first = rng.integers(0, length + (1 - size % 2), size=n) - size // 2
            # The authors move pixels beyond the border onto it.
            low, high = (
                np.clip(edge, 0, length - 1)[:, None] for edge in (first, first + size - 1)
            )
            inside = (np.arange(length) >= low) & (np.arange(length) <= high)
            gone = gone & (inside[:, :, None] if axis == 0 else inside[:, None, :])
        return (~gone[..., None]).astype(dtype)

    return x * from_host(mask)


POLICIES = {
    "color": (brightness, saturation, contrast),
    "translation": (translation,),
    "cutout": (cutout,),
}


class DiffAugment:
    """The transforms of a policy, one after another: call it with images and a generator.

    policy: names of POLICIES, separated by commas. Raises InputError for others.
    """

    def __init__(self, policy="color,translation,cutout"):
        names = policy.split(",")
        if unknown := [name for name in names if name not in POLICIES]:
            raise InputError(
                f"setting policy={policy}: diffaug has {', '.join(POLICIES)}, not {unknown[0]!r}"
            )
        self.fixed_operations = True  # every batch goes through the same operations
        self.transforms = [transform for name in names for transform in POLICIES[name]]

    def __call__(self, x, rng):
        """Images x, a Tensor (N, H, W, C), augmented; rng: a numpy Generator."""
        for transform in self.transforms:
            x = transform(x, rng)
        return x


def _amounts(x, rng):
    n, dtype = len(x), x.dtype
    return from_host(lambda: rng.random((n, 1, 1, 1)).astype(dtype))
