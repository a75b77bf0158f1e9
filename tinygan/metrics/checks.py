"""What the metrics demand of their inputs: each returns its argument as it is used, or raises
InputError."""

import numpy as np

from tinygan.errors import InputError


def as_features(*sets, at_least=1):
    """Finite feature arrays (N, d) of one d, with N >= at_least: a list of float64 arrays."""
    arrays = [np.asarray(features, np.float64) for features in sets]
    for features in arrays:
        if features.ndim != 2 or not features.shape[1] or features.shape[1] != arrays[0].shape[-1]:
            raise InputError(
                "features must be arrays (N, d) of one d, not "
                + " and ".join(str(array.shape) for array in arrays)
            )
        if len(features) < at_least:
            raise InputError(
                f"{len(features)} images are too few here: at least {at_least} are needed"
            )
        if not np.isfinite(features).all():
            raise InputError("features must be finite: there are nan or inf among them")
    return arrays


def as_probabilities(probabilities):
    """Probabilities (N, K), or (N, C, K) of C channels, with a sum of 1 over K: float64 (N, C, K)."""
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


def as_labels(labels, n, classes):
    """n integers in 0..classes-1: int64 (n,)."""
    array = np.asarray(labels)
    if array.dtype.kind not in "iu" or array.shape != (n,):
        raise InputError(f"{n} images need as many integer labels, not {array.dtype} {array.shape}")
    if n and not (0 <= array.min() and array.max() < classes):
        raise InputError(f"labels must lie in 0..{classes - 1}, not {array.min()}..{array.max()}")
    return array.astype(np.int64)


def as_images(images, channels=None):
    """uint8 images (N, 28, 28, C); those of (N, 32, 32, C) without the outer 2 pixels.

    MNIST is often padded to 32x32, a power of two. channels: the C that it must be, if any.
    """
    array = np.asarray(images)
    if array.dtype != np.uint8 or array.ndim != 4 or array.size == 0:
        raise InputError(f"images must be uint8 (N, H, W, C), not {array.dtype} {array.shape}")
    if array.shape[1:3] not in ((28, 28), (32, 32)):
        raise InputError(
            f"images of {array.shape[1]}x{array.shape[2]} pixels cannot be evaluated: "
            "they must have 28x28, or 32x32 with a border of 2"
        )
    if channels not in (None, array.shape[3]):
        raise InputError(f"images have {array.shape[3]} channels where {channels} are expected")
    border = (array.shape[1] - 28) // 2
    return array[:, border : border + 28, border : border + 28]
