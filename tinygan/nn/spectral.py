"""Spectral normalisation: a layer whose weight matrix has spectral norm 1."""

import math

import numpy as np

from tinygan import ops
from tinygan.autograd import wrap
from tinygan.backend import asarray, xp
from tinygan.kernels import linear

from .layers import ConvTranspose2d, Embedding
from .module import Module


def matrix(layer, weight):
    """The weight of a layer, an array or a Tensor, as a matrix (inputs, outputs)."""
    if isinstance(layer, ConvTranspose2d):  # holds the weight of the convolution that it transposes
        weight = weight.transpose((0, 1, 3, 2))
    elif isinstance(layer, Embedding):  # the rows count as outputs, as they do in PyTorch
        weight = weight.transpose((1, 0))
    return weight.reshape((math.prod(weight.shape[:-1]), weight.shape[-1]))


class SpectralNorm(Module):
    """A Linear, Conv2d, ConvTranspose2d or Embedding with its weight divided by sigma, its largest singular value.

    The weight counts as a matrix W (inputs x outputs; a convolution's inputs are its kernel's positions and
    channels). sigma is found by power iteration, one step for each forward pass in training (Miyato et al. 2018,
    algorithm 1):  v = W u / |W u|,  u = W' v / |W' v|,  sigma = v' W u,  and the gradient flows through sigma with
    u and v held fixed. The buffers u and v go on from step to step.

    step_in_evaluation: in evaluation, take a step too, which is not kept (BigGAN); otherwise the stored u and v
    give sigma.
    """

    buffer_names = ("u", "v")

    def __init__(self, layer, step_in_evaluation=False, *, rng=None):
        self.layer, self.step_in_evaluation = layer, step_in_evaluation
        rng = np.random.default_rng() if rng is None else rng
        vectors = (rng.standard_normal(n) for n in matrix(layer, layer.weight.data).shape[::-1])
        self.u, self.v = (asarray(vector / np.linalg.norm(vector), "float32") for vector in vectors)

    def forward(self, x):
        w = matrix(self.layer, self.layer.weight.data)
        u, v = self.u, self.v
        if self.training or self.step_in_evaluation:
            v = _unit(linear.matvec(w, u))
            u = _unit(linear.matvec(w.T, v))
            if self.training:
                self.u, self.v = u, v
        sigma = ops.matmul(ops.matmul(wrap(v), matrix(self.layer, self.layer.weight)), wrap(u))
        return self.layer(x, weight=self.layer.weight / sigma)


def power_vectors(*networks):
    """[(layer, u, v)] of all SpectralNorm layers, to be given to `restore`."""
    return [
        (m, m.u, m.v)
        for network in networks
        for _, m in network.modules()
        if isinstance(m, SpectralNorm)
    ]


def restore(vectors) -> None:
    """Take back the power steps that were made since `power_vectors`."""
    for layer, u, v in vectors:
        layer.u, layer.v = u, v


def _unit(vector):
    return vector / xp.maximum(xp.sqrt((vector * vector).sum()), 1e-12)
