"""ADA: adaptive discriminator augmentation (Karras et al. 2020a).

    geometry   x-flip, 90-degree rotation, shift by whole pixels ("blit"); scale, rotation,
               anisotropic scale, and a shift by any amount: one affine map for each image, and one
               warp (geometry.py)
    colour     brightness, contrast, luma flip, hue, saturation: one affine map of colour space for
               each image
    filter     amplifies or weakens four frequency bands
    noise      of random strength
    cutout     a square becomes 0

Each transform fires for each image with probability p. With p below .8 or so it most often leaves
images alone, so that G cannot make up for it by drawing images that are transformed already.
`Controller` finds a p at which D does not overfit. Constants and the order of draws are those of
the authors' code; images are in [-1, 1].
"""

import functools

import numpy as np

from tinygan.backend import from_host
from tinygan.errors import InputError
from tinygan.ops import matmul, transpose

from . import geometry
from .geometry import rotate2d, scale2d, translate2d

# transform -> the strengths that it takes, each by default as published: of shifts and cutout as a
# share of the image's size, of rotations and hue of pi, of noise and brightness in units of [-1,
# 1], of the others as a power of 2.
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
    # A digit must stay that digit: no flips, of space or of brightness, and no rotations. Small
    # ones would be harmless, but most of the pipe's time: without, all maps are straight.
    "digits": ["xint", "scale", "aniso", "xfrac", "brightness", "contrast"],
}


class ADA:
    """The pipe of a policy: call it with images and a generator.

    policy: names of POLICIES or of TRANSFORMS, separated by commas. p: the probability of each
    transform, which may be changed at any time; above 1 it is as 1. strengths: of TRANSFORMS.
    Raises InputError for unknown names, and p below 0.
    """

    def __init__(self, policy="bgc", p=0.0, **strengths):
        self.transforms = set()
        for name in policy.split(","):
            if name not in POLICIES and name not in TRANSFORMS:
                known = ", ".join(dict.fromkeys([*POLICIES, *TRANSFORMS]))
                raise InputError(f"setting policy={policy}: ada has {known}, not {name!r}")
            self.transforms |= set(POLICIES.get(name, [name]))
        known = {
            name: value for transform in TRANSFORMS.values() for name, value in transform.items()
        }
        if unknown := set(strengths) - set(known):
            raise InputError(f"ada has no strength {min(unknown)!r}; there are: {', '.join(known)}")
        if not p >= 0:
            raise InputError(f"ada: p is {p}; it must not be negative")
        self.p, self.strengths = p, known | strengths

    def __call__(self, x, rng):
        """Images x, a Tensor (N, H, W, 1) or (N, H, W, 3), augmented; rng: a numpy Generator."""
        if x.ndim != 4 or x.shape[3] not in (1, 3):
            raise ValueError(
                f"ada: images of shape {x.shape}; they must be (N, H, W, 1) or (N, H, W, 3)"
            )
        if not self.p:
            return x
        (n, height, width, channels), dtype, draws = x.shape, x.dtype, Draws(self, rng, len(x))
        if self.transforms & {*_BLIT, *_GEOMETRY}:
            if self.fixed_operations:
                x = geometry.warp_straight(x, lambda: self.geometry(draws, height, width))
            else:
                x = geometry.warp(x, self.geometry(draws, height, width))
        if self.transforms & set(_COLOUR if channels > 1 else _COLOUR[:3]):
            x = recoloured(x, lambda: self.colours(draws, channels))
        if "imgfilter" in self.transforms:
            x = filtered(x, lambda: self.gains(draws))
        if "noise" in self.transforms:

            def noise():
                sigma = np.abs(draws.normal(1, 1, 1)) * self.strengths["noise_std"]
                sigma = draws.fired(sigma, 0.0)
                drawn = rng.standard_normal((n, channels, height, width))
                return (drawn.transpose(0, 2, 3, 1) * sigma).astype(dtype)

            x = x + from_host(noise)
        if "cutout" in self.transforms:
            x = x * from_host(lambda: self.holes(draws, height, width).astype(dtype))
        return x

    @property
    def fixed_operations(self):
        """Does every batch go through the same operations? Not if only some images are turned."""
        return not self.transforms & {"rotate90", "rotate"}

    def geometry(self, draws, height, width):
        """Maps (N, 3, 3) from an output pixel to where it is in the input, counted from the middle."""
        on, strength, maps = self.transforms, self.strengths, []
        if "xflip" in on:
            maps.append(scale2d(1 - 2 * draws.fired(draws.choice(2), 0), 1))
        if "rotate90" in on:
            maps.append(rotate2d(np.pi / 2 * draws.fired(draws.choice(4), 0)))
        if "xint" in on:
            shift = draws.fired((draws.uniform(2) * 2 - 1) * strength["xint_max"], 0.0)
            maps.append(translate2d(-np.rint(shift[:, 0] * width), -np.rint(shift[:, 1] * height)))
        if "scale" in on:
            factor = draws.power("scale")
            maps.append(scale2d(1 / factor, 1 / factor))
        # One rotation before the anisotropic scale and one after it: p that at least one fires.
        once = 1 - np.sqrt(max(1 - self.p, 0))
        if "rotate" in on:
            maps.append(rotate2d(draws.angle("rotate", once)))
        if "aniso" in on:
            factor = draws.power("aniso")
            maps.append(scale2d(1 / factor, factor))
        if "rotate" in on:
            maps.append(rotate2d(draws.angle("rotate", once)))
        if "xfrac" in on:
            shift = draws.fired(draws.normal(2) * strength["xfrac_std"], 0.0)
            maps.append(translate2d(-shift[:, 0] * width, -shift[:, 1] * height))
        return functools.reduce(np.matmul, maps)

    def colours(self, draws, channels):
        """Maps (N, 4, 4) of (red, green, blue, 1)."""
        on, strength, maps = self.transforms, self.strengths, []
        grey = np.array([1, 1, 1, 0]) / np.sqrt(3)
        onto_grey, one = np.outer(grey, grey), np.eye(4)
        if "brightness" in on:
            amount = draws.fired(draws.normal() * strength["brightness_std"], 0.0)
            maps.append(one + amount[:, None, None] * np.outer([1, 1, 1, 0], [0, 0, 0, 1]))
        if "contrast" in on:
            factor = draws.power("contrast", 1, 1)
            maps.append(one + (factor - 1) * np.diag([1, 1, 1, 0]))
        if "lumaflip" in on:
            maps.append(one - 2 * onto_grey * draws.fired(draws.choice(2, 1, 1), 0))
        if "hue" in on and channels > 1:
            maps.append(_rotate_about_grey(draws.angle("hue")))
        if "saturation" in on and channels > 1:
            maps.append(onto_grey + (one - onto_grey) * draws.power("saturation", 1, 1))
        return functools.reduce(lambda before, after: after @ before, maps)

    def gains(self, draws):
        """Gains (N, 4) of the frequency bands. Where one changes, all are scaled such that natural
        images, whose low frequencies are the strongest, keep their power."""
        power, gains = np.array([10, 1, 1, 1]) / 13, 1.0
        for band in range(4):
            changed = np.ones((draws.n, 4))
            changed[:, band] = draws.power("imgfilter")
            gains = gains * changed / np.sqrt((power * changed**2).sum(1, keepdims=True))
        return gains

    def holes(self, draws, height, width):
        """Masks (N, H, W, 1), 0 where the square is."""
        size = draws.fired(np.full((draws.n, 1), self.strengths["cutout_size"]), 0.0)
        centre = draws.uniform(2)
        outside = [
            np.abs((np.arange(n) + 0.5) / n - centre[:, axis, None]) >= size / 2
            for axis, n in enumerate((width, height))
        ]
        return (outside[0][:, None, :] | outside[1][:, :, None])[..., None]


class Draws:
    """What is drawn for a batch of n images, by the order of calls."""

    def __init__(self, pipe, rng, n):
        self.pipe, self.rng, self.n = pipe, rng, n

    def uniform(self, *shape):
        return self.rng.random((self.n, *shape))

    def normal(self, *shape):
        return self.rng.standard_normal((self.n, *shape))

    def choice(self, k, *shape):
        """One of 0 ... k - 1."""
        return np.floor(self.uniform(*shape) * k)

    def power(self, transform, *shape):
        """2 to the power of N(0, 1) times a transform's strength; 1 where it does not fire."""
        strength = self.pipe.strengths[f"{transform}_std"]
        return self.fired(np.exp2(self.normal(*shape) * strength), 1.0)

    def angle(self, transform, p=None):
        """U(-pi, pi) times a transform's strength; 0 where it does not fire."""
        strength = self.pipe.strengths[f"{transform}_max"]
        return self.fired((self.uniform() * 2 - 1) * np.pi * strength, 0.0, p)

    def fired(self, values, otherwise, p=None):
        """values (N, ...) for the images for which a transform fires, each with probability p (by
        default the pipe's); `otherwise` for the others."""
        gate = self.uniform(*(1,) * (values.ndim - 1))
        return np.where(gate < (self.pipe.p if p is None else p), values, otherwise)


def _rotate_about_grey(angle):
    """Rotations (N, 4, 4) of colour space about the axis of greys, by radians (N,)."""
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.cross(np.eye(3), axis)  # cross @ v is axis x v
    sin, cos = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    maps = np.tile(np.eye(4), (len(angle), 1, 1))
    maps[:, :3, :3] = cos * np.eye(3) + sin * cross + (1 - cos) * np.outer(axis, axis)
    return maps


def recoloured(x, make):
    """Images x (N, H, W, C) under affine maps make() (N, 4, 4) of colour space. Those of one
    channel take the mean of the rows."""
    (n, height, width, channels), dtype = x.shape, x.dtype

    def parts():
        """What to multiply by, and what to add."""
        maps = make()
        if channels == 1:
            row = maps[:, :3].mean(1)
            factor, shift = row[:, :3].sum(1)[:, None, None, None], row[:, 3, None, None, None]
        else:
            factor, shift = maps[:, :3, :3].transpose(0, 2, 1), maps[:, None, None, :3, 3]
        return factor.astype(dtype), shift.astype(dtype)

    factor, shift = from_host(parts)
    if channels == 1:
        return x * factor + shift
    return matmul(x.reshape((n, height * width, 3)), factor).reshape(x.shape) + shift


@functools.cache
def band_filters():
    """Four filters (4, 43), of increasing frequency, whose sum leaves an image as it is:
    autocorrelations of the low- and high-pass filters of Daubechies' wavelet "sym2", the band below
    upsampled at each step."""
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
    """The filters as matrices (4, size, size) along an axis, reflected at its ends."""
    bank = band_filters()
    half = bank.shape[1] // 2
    ends = (
        np.pad(np.eye(size), ((half, half), (0, 0)), "reflect")
        if size > 1
        else np.ones((2 * half + 1, 1))
    )
    # (size, size, taps)
    windows = np.lib.stride_tricks.sliding_window_view(ends, bank.shape[1], axis=0)
    return np.einsum("ijt,bt->bij", windows, bank)


def filtered(x, make):
    """Images x (N, H, W, C), their frequency bands amplified by gains make() (N, 4), along columns
    and along rows."""
    sizes, dtype = x.shape[1:3], x.dtype

    def matrices():
        gains = make()
        by_row, by_column = (
            np.tensordot(gains, band_matrices(size), 1)[:, None].astype(dtype) for size in sizes
        )
        return by_row, by_column.swapaxes(2, 3)

    by_row, by_column = from_host(matrices)
    planes = matmul(matmul(by_row, transpose(x, (0, 3, 1, 2))), by_column)
    return transpose(planes, (0, 2, 3, 1))
