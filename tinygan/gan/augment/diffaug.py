"""DiffAugment: differentiable augmentation of everything that D sees, reals and fakes, in the steps
of D and of G, at all times (Zhao et al. 2020).

    color         random changes of brightness, saturation and contrast
    translation   a shift by up to an eighth of the image; the uncovered part becomes 0, grey
    cutout        a rectangle half as wide and as high as the image, around a random pixel, becomes
                  0, grey

Random numbers are drawn for each image separately. Sizes and strengths are those of the authors'
code.
"""

import numpy as np

from tinygan.backend import Rng, from_host, generator
from tinygan.errors import InputError, choose_from
from tinygan.ops import mean, translate


def brightness(x, rng: Rng):
    """Add U(-.5, .5) to each image."""
    return x + (_uniform(x, rng) - 0.5)


def saturation(x, rng: Rng):
    """Scale each pixel's colours around their mean by U(0, 2). Images with one channel stay as they
    are."""
    factors = _uniform(x, rng) * 2
    if x.shape[3] == 1:
        return x
    grey = mean(x, 3, keepdims=True)
    return x * factors + grey * (1 - factors)


def contrast(x, rng: Rng):
    """Scale each image's values around their mean by U(.5, 1.5)."""
    centre = mean(x, (1, 2, 3), keepdims=True)
    factors = _uniform(x, rng) + 0.5
    # This reads the images fewer times than (x - centre) * factors + centre.
    return x * factors + centre * (1 - factors)


def translation(x, rng: Rng, ratio: float = 0.125):
    """Shift each image by whole pixels, in each direction by up to `ratio` of its size. The
    uncovered pixels become 0."""
    rng = generator(rng)
    n, limits = len(x), [int(size * ratio + 0.5) for size in x.shape[1:3]]
    draw_shifts = lambda: [rng.integers(-limit, limit + 1, size=n) for limit in limits]
    return translate(x, from_host(lambda: -np.stack(draw_shifts(), 1)))


def cutout(x, rng: Rng, ratio: float = 0.5):
    """Set a rectangle in each image, of `ratio` times its height and width, to 0. Its centre may be
    any pixel, so a part of it may lie outside the image."""
    (n, *lengths, _), dtype, rng = x.shape, x.dtype, generator(rng)

    def mask():
        cut = True
        for axis, length in enumerate(lengths):
            size = int(length * ratio + 0.5)
            first = rng.integers(0, length + (1 - size % 2), size=n) - size // 2
            # The authors' code moves pixels beyond the border onto the border.
            low, high = (
                np.clip(edge, 0, length - 1)[:, None] for edge in (first, first + size - 1)
            )
            inside = (np.arange(length) >= low) & (np.arange(length) <= high)
            cut = cut & (inside[:, :, None] if axis == 0 else inside[:, None, :])
        return (~cut[..., None]).astype(dtype)

    return x * from_host(mask)


POLICIES = {
    "color": (brightness, saturation, contrast),
    "translation": (translation,),
    "cutout": (cutout,),
}


class DiffAugment:
    """Applies the transforms of a policy, one after another.

    policy: names in POLICIES, separated by commas. Raises InputError for any other name.
    """

    def __init__(self, policy: str = "color,translation,cutout"):
        names = policy.split(",")
        if unknown := [name for name in names if name not in POLICIES]:
            raise InputError(
                f"setting policy={policy}: unknown transform {unknown[0]!r}: "
                f"{choose_from(POLICIES, unknown[0])}"
            )
        # Every batch runs the same operations, so that a GPU can replay a recorded step.
        self.fixed_operations = True
        self.transforms = [transform for name in names for transform in POLICIES[name]]

    def __call__(self, x, rng: Rng):
        """Return images x (N, H, W, C), augmented."""
        rng = generator(rng)
        for transform in self.transforms:
            x = transform(x, rng)
        return x


def _uniform(x, rng):
    """Return draws from U(0, 1), one for each image: an array (N, 1, 1, 1)."""
    n, dtype, rng = len(x), x.dtype, generator(rng)
    return from_host(lambda: rng.random((n, 1, 1, 1)).astype(dtype))
