"""Checks of the metrics' inputs: each function returns its argument in the form that the metrics
use, or raises InputError."""

from collections.abc import Sequence

import numpy as np

from tinygan.autograd import Array
from tinygan.errors import InputError

LARGEST_FEATURE = 1e25


def as_features(*sets: Array, at_least: int = 1) -> list[Array]:
    """Return the sets of features as float64 arrays (N, d), N >= at_least.

    All sets must have the same d, but may differ in N. All values must be finite, and so small that
    the metrics, which raise them to the twelfth power (the deviation of the KID), do not overflow.
    """
    arrays = [np.asarray(features, np.float64) for features in sets]
    for features in arrays:
        if features.ndim != 2 or not features.shape[1] or features.shape[1] != arrays[0].shape[-1]:
            raise InputError(
                "features must be arrays (N, d) with the same d, not "
                + " and ".join(str(array.shape) for array in arrays)
            )
        if len(features) < at_least:
            raise InputError(f"{len(features)} images are too few: at least {at_least} are needed")
        if not np.isfinite(features).all():
            raise InputError("features must be finite, but some are nan or inf")
        if np.abs(features).max(initial=0) > LARGEST_FEATURE:
            raise InputError(
                f"features must be at most {LARGEST_FEATURE:.0e} in absolute value, but one is "
                f"{np.abs(features).max():.3g}: divide all features by one number"
            )
    return arrays


def as_probabilities(probabilities: Array) -> Array:
    """Return probabilities (N, K), or (N, C, K) for C channels, as float64 (N, C, K).

    They must not be negative, and must sum to 1 over the last axis.
    """
    p = np.asarray(probabilities, np.float64)
    p = p[:, None] if p.ndim == 2 else p
    if p.ndim != 3 or not p.size:
        raise InputError(
            f"probabilities must be an array (N, K) or (N, C, K), not {np.shape(probabilities)}"
        )
    if not (np.isfinite(p).all() and (p >= 0).all() and np.allclose(p.sum(-1), 1, atol=1e-4)):
        raise InputError(
            "probabilities must not be negative, and must sum to 1 over their last axis"
        )
    return p


def as_labels(labels: Array, n: int, classes: int) -> Array:
    """Return n integer labels in 0..classes-1 as int64 (n,)."""
    array = np.asarray(labels)
    if array.dtype.kind not in "iu" or array.shape != (n,):
        raise InputError(
            f"labels of {n} images must be integers ({n},), not {array.dtype} {array.shape}"
        )
    if n and not (0 <= array.min() and array.max() < classes):
        raise InputError(f"labels must lie in 0..{classes - 1}, not {array.min()}..{array.max()}")
    return array.astype(np.int64)


def as_images(images: Array, shape: Sequence[int] | None = None, border: int = 0) -> Array:
    """Return uint8 images as (N, H, W, C).

    shape: the (H, W, C) that the images must have (None: any). border: images that are larger by so
    many pixels on every side lose them: MNIST is often padded to 32x32, a power of two.
    """
    array = np.asarray(images)
    if array.dtype != np.uint8 or array.ndim != 4 or array.size == 0:
        raise InputError(f"images must be uint8 (N, H, W, C), not {array.dtype} {array.shape}")
    if shape is None:
        return array
    height, width, channels = shape
    padded = height + 2 * border, width + 2 * border
    if array.shape[1:3] not in ((height, width), padded):
        or_padded = f", or {padded[0]}x{padded[1]} with a border of {border}" * bool(border)
        raise InputError(
            f"images of {array.shape[1]}x{array.shape[2]} pixels cannot be evaluated: "
            f"they must have {height}x{width}{or_padded}"
        )
    if array.shape[3] != channels:
        raise InputError(f"images have {array.shape[3]} channels where {channels} are expected")
    inset = (array.shape[1] - height) // 2
    return array[:, inset : inset + height, inset : inset + width]
