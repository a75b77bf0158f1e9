"""Perceptual path length: how evenly images change along a path between two latents (Karras et al.
2019, section 4.1)."""

import copy

import numpy as np

from tinygan.autograd import Tensor, no_grad
from tinygan.backend import to_numpy
from tinygan.errors import InputError
from tinygan.kernels.cpu import parallel

from .perceptual import Perceptual, squared_distance

EPSILON = 1e-4  # of a path: the step whose change is measured


def slerp(a, b, t):
    """The point at t on the great circle from the direction of a (N, latent) to that of b; t (N,
    1)."""
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    cosine = (a * b).sum(1, keepdims=True)
    angle = t * np.arccos(np.clip(cosine, -1, 1))
    side = b - cosine * a
    side = side / np.linalg.norm(side, axis=1, keepdims=True)
    return a * np.cos(angle) + side * np.sin(angle)


def path_lengths(G, data, n=1000, space="w", ends=False, seed=0, batch=50, progress=iter):
    """The squared perceptual distances (n,) over steps of 1e-4 of a path, divided by 1e-8; float64.

    G: a generator with styles, in evaluation mode; data: the name of the data set whose classifier
    looks. space "z": great circles between latents; "w": straight lines between styles. The step is
    at a random place of the path, or at its beginning (`ends`), where only real latents are
    compared. Both images have the same class and noise. Great circles are as far out as latents
    lie, at sqrt(latent): a mapping that normalises z and the class together weighs them by that.
    """
    G, perceptual = copy.deepcopy(G).astype("float64"), Perceptual(data, "float64")
    rng, lengths = np.random.default_rng(seed), []
    with no_grad(), parallel.single_threaded_blas():
        for start in progress(range(0, n, batch)):
            m = min(batch, n - start)
            a, b = (rng.standard_normal((m, G.latent)) for _ in range(2))
            t = np.zeros((m, 1)) if ends else rng.random((m, 1))
            labels = rng.integers(G.classes, size=m) if G.classes else None
            if space == "z":
                ws = [
                    G.styles(Tensor(G.latent**0.5 * slerp(a, b, t + step)), labels)
                    for step in (0.0, EPSILON)
                ]
            else:
                first, last = (G.styles(Tensor(z), labels) for z in (a, b))
                ws = [
                    first + (last - first) * Tensor((t + step)[:, :, None])
                    for step in (0.0, EPSILON)
                ]
            pair = [perceptual(G.synthesis(w)) for w in ws]
            lengths.append(to_numpy(squared_distance(*pair).data) / EPSILON**2)
    return np.concatenate(lengths)


def perceptual_path_length(lengths):
    """Their mean without the hundredth at either end, as the authors' code has it. Raises
    InputError for fewer than 10."""
    if len(lengths) < 10:
        raise InputError(f"{len(lengths)} paths are too few to average: take at least 10")
    low = np.percentile(lengths, 1, method="lower")
    high = np.percentile(lengths, 99, method="higher")
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())
