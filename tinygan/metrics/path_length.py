"""Perceptual path length: how evenly do images change along a path between two latents? (Karras et
al. 2019, section 4.1)"""

import copy
from typing import Any, Callable, Iterable

import numpy as np

from tinygan.autograd import Array, Tensor, no_grad
from tinygan.backend import to_numpy
from tinygan.errors import InputError
from tinygan.kernels.cpu import parallel

from .extractor import Extractor
from .perceptual import Perceptual, squared_distance

EPSILON = 1e-4  # the length of a step, as a share of the path


def slerp(a: Array, b: Array, t: Array) -> Array:
    """Interpolate spherically: return the points at shares t (N, 1) of the great circles from the
    directions of a (N, latent) to those of b (N, latent), as unit vectors (N, latent)."""
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    cosine = (a * b).sum(1, keepdims=True)
    angle = t * np.arccos(np.clip(cosine, -1, 1))
    orthogonal = b - cosine * a
    orthogonal = orthogonal / np.linalg.norm(orthogonal, axis=1, keepdims=True)
    return a * np.cos(angle) + orthogonal * np.sin(angle)


def path_lengths(
    G: Any,
    extractor: Extractor | str,
    n: int = 1000,
    space: str = "w",
    ends: bool = False,
    seed: int = 0,
    batch: int = 50,
    progress: Callable[[range], Iterable[int]] = iter,
) -> Array:
    """Return the squared perceptual distances over small steps of n random paths, divided by the
    squared size of a step: float64 (n,).

        |P(G(path(t + epsilon))) - P(G(path(t)))|^2 / epsilon^2,  epsilon = 1e-4, P = `Perceptual`

    G: a generator with styles, in evaluation mode. extractor: of the network that P uses, or the
    name of a data set that has a shipped classifier. space: "z", great circles between latents, or
    "w", straight lines between styles. ends: take t = 0, where the images belong to latents like
    those of training, instead of a random t in 0..1. batch: paths at a time. progress: wraps the
    range of batches, as tqdm does.

    Both images of a path have the same class and noise. Great circles have the radius sqrt(latent),
    the typical length of a latent: a mapping that normalises z and the embedding of the class
    together depends on it.
    """
    G, perceptual = copy.deepcopy(G).astype("float64"), Perceptual(extractor, "float64")
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
                w_a, w_b = (G.styles(Tensor(z), labels) for z in (a, b))
                ws = [w_a + (w_b - w_a) * Tensor((t + step)[:, :, None]) for step in (0.0, EPSILON)]
            pair = [perceptual(G.synthesis(w)) for w in ws]
            lengths.append(to_numpy(squared_distance(*pair).data) / EPSILON**2)
    return np.concatenate(lengths)


def perceptual_path_length(lengths: Array) -> float:
    """Return the mean of lengths (n,) without the lowest and the highest hundredth, as in the
    authors' code. Raises InputError for fewer than 10 lengths, and for nan or inf."""
    if len(lengths) < 10:
        raise InputError(f"{len(lengths)} paths are too few for a mean: use at least 10")
    if not np.isfinite(lengths).all():
        raise InputError("path lengths must be finite, but some are nan or inf: look at G's images")
    low = np.percentile(lengths, 1, method="lower")
    high = np.percentile(lengths, 99, method="higher")
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())
