"""Stacked MNIST: three digits in one image, and so a data set of 1,000 known modes."""

import numpy as np

STACK_NAMES = tuple(f"{k:03}" for k in range(1000))
SEED = 1000  # the same stacks for everyone; the two splits differ because their digits do


def stack(images, labels):
    """Digits drawn at random as red, green and blue (Metz et al. 2017, Unrolled GAN; Srivastava et
    al. 2017).

    Digits uint8 (N, H, W, 1), labels a, b, c (N,) in 0..9 -> as many stacks, uint8 (N, H, W, 3),
    and their labels 100 a + 10 b + c. Each digit is drawn from all N, so it may come more than
    once, or not at all.
    """
    chosen = np.random.default_rng(SEED).integers(0, len(labels), (len(labels), 3))
    stacks = np.moveaxis(images[chosen, :, :, 0], 1, 3)
    return np.ascontiguousarray(stacks), labels[chosen] @ np.array([100, 10, 1])
