"""The projector: which style w makes G draw a given image? (Karras et al. 2020b, section 5 and
appendix D)"""

import math
from typing import NamedTuple

import numpy as np

from tinygan import ops
from tinygan.autograd import Parameter, Tensor, grad, no_grad
from tinygan.backend import asarray, normal, to_numpy
from tinygan.kernels.cpu import parallel
from tinygan.metrics.perceptual import Perceptual, squared_distance
from tinygan.optim import Adam

# rate, and the shares of the steps in which it rises and falls
LR, RAMP_UP, RAMP_DOWN = 0.1, 0.05, 0.25
# of w, in its deviations, and the share of the steps in which it goes to 0
NOISE, NOISE_RAMP = 0.05, 0.75
STATISTICS = 10_000  # latents that give w's mean and deviation


class Projection(NamedTuple):
    """ws (N, style_layers, size): the styles found; distances (steps, N): from the images, at each
    step; stages: [(step, ws)] on the way, the start and the end included. Arrays on the host."""

    ws: np.ndarray
    distances: np.ndarray
    stages: list


def project(G, images, data, steps=300, per_layer=False, seed=0, stages=8, progress=iter):
    """Styles with which G draws images like those given, float32 (N, H, W, C) in [-1, 1]: a
    Projection.

    G: a generator with styles, in evaluation mode; data: the name of the data set whose classifier
    tells how different two images look. From the mean of w, gradient descent with Adam on the
    distance, whose rate rises and falls, while noise that is added to w goes to 0. One w for all
    layers, or with per_layer one for each (which can draw more, also what G never learned to). The
    noise inputs of G stay as they are.
    """
    rng, perceptual, n = np.random.default_rng(seed), Perceptual(data), len(images)
    labels = rng.integers(G.classes, size=STATISTICS) if G.classes else None
    with no_grad(), parallel.single_threaded_blas():
        samples = to_numpy(G.mapping(Tensor(normal(rng, (STATISTICS, G.latent))), labels).data)
        target = perceptual(Tensor(asarray(images)))
    mean, deviation = samples.mean(0), np.sqrt(((samples - samples.mean(0)) ** 2).sum(1).mean())
    layers = G.style_layers if per_layer else 1
    w = Parameter(asarray(np.broadcast_to(mean, (n, layers, len(mean))).astype(np.float32).copy()))
    spread = lambda w: ops.broadcast_to(w, (n, G.style_layers, len(mean)))
    optimizer, distances, found = Adam([w], LR, (0.9, 0.999)), [], []
    keep = set(np.linspace(0, steps, stages).round().astype(int).tolist())
    with parallel.single_threaded_blas():
        for step in progress(range(steps)):
            if step in keep:
                found.append((step, to_numpy(spread(w.detach()).data).copy()))
            t = step / steps
            strength = float(deviation) * NOISE * max(0.0, 1 - t / NOISE_RAMP) ** 2
            down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / RAMP_DOWN))
            optimizer.lr = LR * down * min(1.0, t / RAMP_UP)
            noisy = w + Tensor(normal(rng, w.shape) * np.float32(strength))
            distance = squared_distance(perceptual(G.synthesis(spread(noisy))), target)
            distances.append(to_numpy(distance.data))
            optimizer.step(grad(ops.sum(distance), [w]))
    ws = to_numpy(spread(w.detach()).data).copy()
    return Projection(ws, np.array(distances), [*found, (steps, ws)])
