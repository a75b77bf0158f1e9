"""ADA: adaptive discriminator augmentation (Karras et al. 2020a).

    geometry   x-flip, rotation by multiples of 90 degrees, shift by whole pixels ("blit"); scale,
               rotation, anisotropic scale, and shift by any distance. Together they are one affine
               map and one warp of each image (geometry.py)
    colour     brightness, contrast, luma flip, hue, saturation. Together they are one affine map of
               each image's colours
    filter     amplifies or weakens each of four frequency bands
    noise      of a random strength
    cutout     sets a square to 0, or in images that are not square, a rectangle of their shape

Each transform is applied to each image with probability p. If p is below about .8, an image most
often stays as it is, so G cannot fool D by generating images that are already transformed.
`Controller` adapts p so that D does not overfit. Constants and the order of draws are those of the
authors' code. Images are in [-1, 1].
"""

import functools

import numpy as np

from tinygan.autograd import Tensor
from tinygan.backend import Rng, from_host, generator
from tinygan.errors import InputError, choose_from
from tinygan.ops import matmul, transpose

from . import geometry
from .geometry import rotate2d, scale2d, translate2d

# transform -> {its strength: the published value}. Shifts and cutout are measured as a share of the
# image's size, rotations and hue in units of pi, noise and brightness in units of [-1, 1], and the
# others as a power of 2.
TRANSFORMS = {
    "xflip": {},
    "rotate90": {},
    "xint": {"xint_max": 0.125},
    "scale": {"scale_std": 0.2},
    "rotate": {"rotate_max": 1.0},
    "aniso": {"aniso_std": 0.2},
    "xfrac": {"xfrac_std": 0.125},
    "brightness": {"brightness_std": 0.2},
    "contrast": {"contrast_std": 0.5},
    "lumaflip": {},
    "hue": {"hue_max": 1.0},
    "saturation": {"saturation_std": 1.0},
    "imgfilter": {"imgfilter_std": 1.0},
    "noise": {"noise_std": 0.1},
    "cutout": {"cutout_size": 0.5},
}
_NAMES = list(TRANSFORMS)
_BLIT, _GEOMETRY, _COLOUR, _CORRUPTION = _NAMES[:3], _NAMES[3:7], _NAMES[7:12], _NAMES[12:]
POLICIES = {
    "blit": _BLIT,
    "geom": _GEOMETRY,
    "color": _COLOUR,
    "filter": ["imgfilter"],
    "bg": _BLIT + _GEOMETRY,
    "bgc": _BLIT + _GEOMETRY + _COLOUR,
    "bgcf": _NAMES[:13],
    "bgcfn": _NAMES[:14],
    "bgcfnc": _NAMES,
    # A digit must stay that digit, so there are no flips (of space or of brightness) and no
    # rotations. Small rotations would be harmless, but would take most of the time: without
    # rotations, all maps are diagonal.
    "digits": ["xint", "scale", "aniso", "xfrac", "brightness", "contrast"],
}


class ADA:
    """The augmentation pipe of a policy.

    policy: names in POLICIES or TRANSFORMS, separated by commas.
    p: the probability of each transform. It may be changed at any time; above 1 it acts like 1.
    strengths: values that replace those in TRANSFORMS.

    Raises InputError for an unknown name or strength, and for a negative p.
    """

    def __init__(self, policy: str = "bgc", p: float = 0.0, **strengths: float):
        self.transforms = set()
        for name in policy.split(","):
            if name not in POLICIES and name not in TRANSFORMS:
                advice = choose_from([*POLICIES, *TRANSFORMS], name)
                raise InputError(f"setting policy={policy}: unknown transform {name!r}: {advice}")
            self.transforms |= set(POLICIES.get(name, [name]))
        known = {
            name: value for transform in TRANSFORMS.values() for name, value in transform.items()
        }
        if unknown := set(strengths) - set(known):
            name = min(unknown)
            raise InputError(f"ada: unknown strength {name!r}: {choose_from(known, name)}")
        if not p >= 0:
            raise InputError(f"ada: p must not be negative, but is {p}")
        self.p, self.strengths = p, known | strengths

    def __call__(self, x: Tensor, rng: Rng) -> Tensor:
        """Return images x (N, H, W, 1) or (N, H, W, 3), augmented. Raises ValueError for another
        shape."""
        if x.ndim != 4 or x.shape[3] not in (1, 3):
            raise ValueError(
                f"ada: images have shape {x.shape}; it must be (N, H, W, 1) or (N, H, W, 3)"
            )
        if not self.p:
            return x
        rng = generator(rng)
        (n, height, width, channels), dtype, draws = x.shape, x.dtype, ImageDraws(self, rng, len(x))
        if self.transforms & {*_BLIT, *_GEOMETRY}:
            if self.fixed_operations:
                x = geometry.warp_diagonal(x, lambda: self.geometric_maps(draws, height, width))
            else:
                x = geometry.warp(x, self.geometric_maps(draws, height, width))
        if self.transforms & set(_COLOUR if channels > 1 else _COLOUR[:3]):
            x = transform_colours(x, lambda: self.colour_maps(draws, channels))
        if "imgfilter" in self.transforms:
            x = filter_bands(x, lambda: self.band_gains(draws))
        if "noise" in self.transforms:

            def noise():
                sigma = np.abs(draws.normal(1, 1, 1)) * self.strengths["noise_std"]
                sigma = draws.apply_at_random(sigma, 0.0)
                values = rng.standard_normal((n, channels, height, width))
                return (values.transpose(0, 2, 3, 1) * sigma).astype(dtype)

            x = x + from_host(noise)
        if "cutout" in self.transforms:
            x = x * from_host(lambda: self.cutout_masks(draws, height, width).astype(dtype))
        return x

    @property
    def fixed_operations(self) -> bool:
        """Whether every batch runs the same operations while p > 0, so that steps can be recorded
        and replayed. With rotations, it does not: images that are not rotated need fewer."""
        return not self.transforms & {"rotate90", "rotate"}

    def geometric_maps(self, draws, height, width):
        """Return affine maps (N, 3, 3) from the position of an output pixel to its position in the
        input, both counted from the centre. These maps go from output to input, so the first
        transform stands leftmost in their product."""
        active, strength, maps = self.transforms, self.strengths, []
        if "xflip" in active:
            maps.append(scale2d(1 - 2 * draws.apply_at_random(draws.integer(2), 0), 1))
        if "rotate90" in active:
            maps.append(rotate2d(np.pi / 2 * draws.apply_at_random(draws.integer(4), 0)))
        if "xint" in active:
            shift = draws.apply_at_random((draws.uniform(2) * 2 - 1) * strength["xint_max"], 0.0)
            maps.append(translate2d(-np.rint(shift[:, 0] * width), -np.rint(shift[:, 1] * height)))
        if "scale" in active:
            factor = draws.factor("scale")
            maps.append(scale2d(1 / factor, 1 / factor))
        # There is a rotation before the anisotropic scale, and one after it. Each is applied with
        # this probability, so that at least one of them is applied with probability p.
        p_each = 1 - np.sqrt(max(1 - self.p, 0))
        if "rotate" in active:
            maps.append(rotate2d(draws.angle("rotate", p_each)))
        if "aniso" in active:
            factor = draws.factor("aniso")
            maps.append(scale2d(1 / factor, factor))
        if "rotate" in active:
            maps.append(rotate2d(draws.angle("rotate", p_each)))
        if "xfrac" in active:
            shift = draws.apply_at_random(draws.normal(2) * strength["xfrac_std"], 0.0)
            maps.append(translate2d(-shift[:, 0] * width, -shift[:, 1] * height))
        return functools.reduce(np.matmul, maps)

    def colour_maps(self, draws, channels):
        """Return affine maps (N, 4, 4) of colours (red, green, blue, 1). These maps go from input
        to output, so the first transform stands rightmost in their product."""
        active, strength, maps = self.transforms, self.strengths, []
        grey = np.array([1, 1, 1, 0]) / np.sqrt(3)
        onto_grey, identity = np.outer(grey, grey), np.eye(4)
        if "brightness" in active:
            amount = draws.apply_at_random(draws.normal() * strength["brightness_std"], 0.0)
            maps.append(identity + amount[:, None, None] * np.outer([1, 1, 1, 0], [0, 0, 0, 1]))
        if "contrast" in active:
            factor = draws.factor("contrast", 1, 1)
            maps.append(identity + (factor - 1) * np.diag([1, 1, 1, 0]))
        if "lumaflip" in active:
            maps.append(identity - 2 * onto_grey * draws.apply_at_random(draws.integer(2, 1, 1), 0))
        if "hue" in active and channels > 1:
            maps.append(_rotate_about_grey(draws.angle("hue")))
        if "saturation" in active and channels > 1:
            maps.append(onto_grey + (identity - onto_grey) * draws.factor("saturation", 1, 1))
        return functools.reduce(lambda before, after: after @ before, maps)

    def band_gains(self, draws):
        """Return the gains (N, 4) of the frequency bands. Whenever one changes, all are rescaled so
        that the power of natural images, most of which is in the lowest band, stays the same."""
        power, gains = np.array([10, 1, 1, 1]) / 13, 1.0
        for band in range(4):
            changed = np.ones((draws.n, 4))
            changed[:, band] = draws.factor("imgfilter")
            gains = gains * changed / np.sqrt((power * changed**2).sum(1, keepdims=True))
        return gains

    def cutout_masks(self, draws, height, width):
        """Return masks (N, H, W, 1), 0 inside the rectangle and 1 outside."""
        size = draws.apply_at_random(np.full((draws.n, 1), self.strengths["cutout_size"]), 0.0)
        centre = draws.uniform(2)
        outside = [
            np.abs((np.arange(n) + 0.5) / n - centre[:, axis, None]) >= size / 2
            for axis, n in enumerate((width, height))
        ]
        return (outside[0][:, None, :] | outside[1][:, :, None])[..., None]


class ImageDraws:
    """Random numbers for each of n images, and for each whether a transform is applied.

    The numbers depend on the order of the calls, which is that of the authors' code.
    """

    def __init__(self, pipe, rng, n):
        self.pipe, self.rng, self.n = pipe, rng, n

    def uniform(self, *shape):
        return self.rng.random((self.n, *shape))

    def normal(self, *shape):
        return self.rng.standard_normal((self.n, *shape))

    def integer(self, k, *shape):
        """Return integers (N, *shape) from 0 to k - 1, as floats."""
        return np.floor(self.uniform(*shape) * k)

    def factor(self, transform, *shape):
        """Return factors (N, *shape), 2 ^ (strength * N(0, 1)), or 1 for an image to which the
        transform is not applied."""
        strength = self.pipe.strengths[f"{transform}_std"]
        return self.apply_at_random(np.exp2(self.normal(*shape) * strength), 1.0)

    def angle(self, transform, p=None):
        """Return angles (N,), strength * U(-pi, pi), or 0 for an image to which the transform is
        not applied."""
        strength = self.pipe.strengths[f"{transform}_max"]
        return self.apply_at_random((self.uniform() * 2 - 1) * np.pi * strength, 0.0, p)

    def apply_at_random(self, values, neutral, p=None):
        """Return the value (N, ...) of a transform for each image with probability p (default: the
        pipe's), otherwise the neutral value, which changes nothing."""
        threshold = self.pipe.p if p is None else p
        return np.where(self.uniform(*(1,) * (values.ndim - 1)) < threshold, values, neutral)


def _rotate_about_grey(angle):
    """Return rotations (N, 4, 4) of colour space about the axis of greys, by radians (N,)."""
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.cross(np.eye(3), axis)  # cross @ v is axis x v
    sin, cos = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    maps = np.tile(np.eye(4), (len(angle), 1, 1))
    maps[:, :3, :3] = cos * np.eye(3) + sin * cross + (1 - cos) * np.outer(axis, axis)
    return maps


def transform_colours(x, make_maps):
    """Return images x (N, H, W, C) under affine maps make_maps() (N, 4, 4) of colour space. For
    images with one channel, the rows of a map are averaged."""
    (n, height, width, channels), dtype = x.shape, x.dtype

    def factors_and_shifts():
        maps = make_maps()
        if channels == 1:
            row = maps[:, :3].mean(1)
            factor, shift = row[:, :3].sum(1)[:, None, None, None], row[:, 3, None, None, None]
        else:
            factor, shift = maps[:, :3, :3].transpose(0, 2, 1), maps[:, None, None, :3, 3]
        return factor.astype(dtype), shift.astype(dtype)

    factor, shift = from_host(factors_and_shifts)
    if channels == 1:
        return x * factor + shift
    return matmul(x.reshape((n, height * width, 3)), factor).reshape(x.shape) + shift


@functools.cache
def band_filters():
    """Return four filters (4, 43), of increasing frequency. Their sum leaves an image unchanged.

    They are made from the autocorrelations of the low-pass and high-pass filters of Daubechies'
    wavelet "sym2". Each step upsamples the bands so far, and adds one above them.
    """
    low = np.array(
        [-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025]
    )
    high = low * (-1.0) ** np.arange(4)
    low, high = (np.convolve(f, f[::-1]) / 2 for f in (low, high))
    bank = np.eye(4, 1)
    for band in range(1, 4):
        bank = np.stack([bank, np.zeros_like(bank)], 2).reshape(4, -1)[:, :-1]
        bank = np.stack([np.convolve(f, low) for f in bank])
        middle = bank.shape[1] // 2
        bank[band, middle - 3 : middle + 4] += high
    return bank


@functools.lru_cache(64)
def band_matrices(size):
    """Return the filters as matrices (4, size, size) along an axis, with reflection at its ends."""
    bank = band_filters()
    half = bank.shape[1] // 2
    padded = (
        np.pad(np.eye(size), ((half, half), (0, 0)), "reflect")
        if size > 1
        else np.ones((2 * half + 1, 1))
    )
    # (size, size, taps)
    windows = np.lib.stride_tricks.sliding_window_view(padded, bank.shape[1], axis=0)
    return np.einsum("ijt,bt->bij", windows, bank)


def filter_bands(x, make_gains):
    """Return images x (N, H, W, C) with their frequency bands multiplied by the gains make_gains()
    (N, 4), first along columns, then along rows."""
    sizes, dtype = x.shape[1:3], x.dtype

    def matrices():
        gains = make_gains()
        by_row, by_column = (
            np.tensordot(gains, band_matrices(size), 1)[:, None].astype(dtype) for size in sizes
        )
        return by_row, by_column.swapaxes(2, 3)

    by_row, by_column = from_host(matrices)
    planes = matmul(matmul(by_row, transpose(x, (0, 3, 1, 2))), by_column)
    return transpose(planes, (0, 2, 3, 1))
