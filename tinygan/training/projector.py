"""The projector: finds styles from which G generates a given image (Karras et al. 2020b, section 5
and appendix D)."""

import math
from typing import Any, Callable, Iterable, NamedTuple

import numpy as np

from tinygan import ops
from tinygan.autograd import Parameter, Tensor, grad, no_grad
from tinygan.backend import asarray, normal, to_numpy
from tinygan.kernels.cpu import parallel
from tinygan.metrics.extractor import Extractor
from tinygan.metrics.perceptual import Perceptual, squared_distance
from tinygan.optim import Adam

LR = 0.1  # learning rate
RAMP_UP, RAMP_DOWN = 0.05, 0.25  # the learning rate rises, falls over these shares of the steps
NOISE = 0.05  # initial strength of the noise on w, in units of w's standard deviation
NOISE_RAMP = 0.75  # the share of the steps over which the noise falls to 0
STATISTICS = 10_000  # latents from which w's mean and standard deviation are estimated


class ProjectedStyles(NamedTuple):
    """The styles that `project` has found, as arrays in host memory.

    ws: the styles (N, style_layers, size). distances: the perceptual distances between G's images
    and the given ones at each step (steps, N). stages: [(step, ws)] at some steps, the first and
    the last included.
    """

    ws: np.ndarray
    distances: np.ndarray
    stages: list[tuple[int, np.ndarray]]


def project(
    G: Any,
    images: Any,
    extractor: Extractor | str,
    steps: int = 300,
    per_layer: bool = False,
    seed: int = 0,
    stages: int = 8,
    progress: Callable[[Any], Iterable[int]] = iter,
) -> ProjectedStyles:
    """Find styles from which G generates images like the given ones.

    G: a generator with styles, in evaluation mode.
    images: float32 (N, H, W, C) in [-1, 1].
    extractor: its network measures how different two images look; or the name of a data set that
        has a shipped classifier.
    per_layer: find one w for each layer, instead of one for all. This can match more images, even
        some that are unlike anything G has learned.
    stages: the number of stages to return, the first and the last included.
    progress: wraps range(steps), for example in a progress bar.

    The search begins at the mean of w. It minimises the distance by Adam, with a learning rate that
    rises and falls, and adds noise to w that falls to 0. The noise inputs of G do not change.
    """
    rng, perceptual, n = np.random.default_rng(seed), Perceptual(extractor), len(images)
    labels = rng.integers(G.classes, size=STATISTICS) if G.classes else None
    with no_grad(), parallel.single_threaded_blas():
        samples = to_numpy(G.mapping(Tensor(normal(rng, (STATISTICS, G.latent))), labels).data)
        target = perceptual(Tensor(asarray(images)))
    mean = samples.mean(0, dtype=np.float64)
    deviation = np.sqrt(((samples - mean) ** 2).sum(1).mean())
    layers = G.style_layers if per_layer else 1
    w = Parameter(asarray(np.broadcast_to(mean, (n, layers, len(mean))).astype(np.float32).copy()))
    for_all_layers = lambda w: ops.broadcast_to(w, (n, G.style_layers, len(mean)))
    optimizer, distances, kept_stages = Adam([w], LR, (0.9, 0.999)), [], []
    steps_to_keep = set(np.linspace(0, steps, stages).round().astype(int).tolist())
    with parallel.single_threaded_blas():
        for step in progress(range(steps)):
            if step in steps_to_keep:
                kept_stages.append((step, to_numpy(for_all_layers(w.detach()).data).copy()))
            t = step / steps
            strength = float(deviation) * NOISE * max(0.0, 1 - t / NOISE_RAMP) ** 2
            down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / RAMP_DOWN))
            optimizer.lr = LR * down * min(1.0, t / RAMP_UP)
            noisy = w + Tensor(normal(rng, w.shape) * np.float32(strength))
            distance = squared_distance(perceptual(G.synthesis(for_all_layers(noisy))), target)
            distances.append(to_numpy(distance.data))
            optimizer.step(grad(ops.sum(distance), [w]))
    ws = to_numpy(for_all_layers(w.detach()).data).copy()
    return ProjectedStyles(ws, np.array(distances), [*kept_stages, (steps, ws)])
