"""Spectral normalisation: divide the weight of a layer by its largest singular value."""

import math

import numpy as np

from tinygan import ops
from tinygan.autograd import Array
from tinygan.backend import Rng, asarray, generator, xp
from tinygan.kernels import linear

from .layers import ConvTranspose2d, Embedding
from .module import Module


def matrix(layer: Module, weight: Array) -> Array:
    """The weight of a layer, an array or a Tensor, as a matrix (inputs, outputs)."""
    if isinstance(layer, ConvTranspose2d):  # its weight is that of the convolution it transposes
        weight = weight.transpose((0, 1, 3, 2))
    elif isinstance(layer, Embedding):  # its rows count as outputs, as in PyTorch
        weight = weight.transpose((1, 0))
    return weight.reshape((math.prod(weight.shape[:-1]), weight.shape[-1]))


class SpectralNorm(Module):
    """A Linear, Conv2d, ConvTranspose2d or Embedding whose weight is divided by its largest
    singular value sigma.

    The weight is read as a matrix W (inputs, outputs); a convolution has an input for each position
    of its window and each input channel. Each forward pass in training takes one step of power
    iteration towards sigma (Miyato et al. 2018, algorithm 1):

        v = W u / |W u|,  u = W^T v / |W^T v|,  sigma = v^T W u

    The gradient flows through sigma, with u and v constant. u and v are buffers, from which the
    next step starts.

    step_in_evaluation: True takes a step in evaluation too, without keeping its u and v (BigGAN).
    False uses the stored u and v in evaluation.
    """

    buffer_names = ("u", "v")

    def __init__(
        self, layer: Module, step_in_evaluation: bool = False, *, rng: Rng | None = None
    ) -> None:
        rng = generator(rng)
        self.layer, self.step_in_evaluation = layer, step_in_evaluation
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
        sigma = ops.matmul(ops.matmul(v, matrix(self.layer, self.layer.weight)), u)
        return self.layer(x, weight=self.layer.weight / sigma)


def power_vectors(*networks: Module) -> list[tuple[SpectralNorm, Array, Array]]:
    """The state of the power iterations of all SpectralNorm layers: a list of (layer, u, v)."""
    return [
        (m, m.u, m.v)
        for network in networks
        for _, m in network.modules()
        if isinstance(m, SpectralNorm)
    ]


def restore_power_vectors(vectors: list[tuple[SpectralNorm, Array, Array]]) -> None:
    """Set u and v of SpectralNorm layers to what `power_vectors` returned."""
    for layer, u, v in vectors:
        layer.u, layer.v = u, v


def _unit(vector):
    length, _ = linear.norm(vector, (0,))
    return vector / xp.maximum(length, 1e-12)
