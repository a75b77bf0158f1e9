"""Stacked MNIST: three digits in one image, which makes a data set of 1,000 known modes."""

from typing import Any

import numpy as np

STACK_NAMES = tuple(f"{k:03}" for k in range(1000))
SEED = 1000  # the same stacks for everyone; the two splits differ because their digits do


def stack(
    images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Stack random digits as the red, green and blue channels of one image (Metz et al. 2017,
    Unrolled GAN; Srivastava et al. 2017).

    Takes N digits, uint8 (N, H, W, 1), with their labels (N,) in 0..9. Returns N stacks, uint8
    (N, H, W, 3), with labels 100 a + 10 b + c, where a, b, c are the labels of their digits. The
    digits are drawn with replacement.
    """
    indices = np.random.default_rng(SEED).integers(0, len(labels), (len(labels), 3))
    stacks = np.moveaxis(images[indices, :, :, 0], 1, 3)
    return np.ascontiguousarray(stacks), labels[indices] @ np.array([100, 10, 1])
