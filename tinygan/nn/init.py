"""Initial weights: functions that draw an array of a given shape with a NumPy generator.

Each is init(rng, shape, fan_in), or returns such a function, and is passed to a layer as `init=`.
rng is a generator, or a seed for one. fan_in is the number of inputs that one output sums over.
ConvTranspose2d passes the whole window, kh * kw * inputs / groups, as if its stride were 1. The
result is a float32 array in host memory.
"""

import math
from typing import TYPE_CHECKING, Callable, TypeAlias

import numpy as np

from tinygan.autograd import Array, habits
from tinygan.backend import Rng, generator

Init: TypeAlias = Callable[..., Array]


def normal(std: float, mean: float = 0.0) -> Init:
    """Return an init that draws from N(mean, std^2).

    DCGAN uses std 0.02 for weights, with mean 1 for batch-norm gains (Radford et al. 2016).
    """

    def init(rng, shape, fan_in=None):
        return (mean + std * generator(rng).standard_normal(shape)).astype(np.float32)

    return init


def uniform_fan_in(rng: Rng, shape: tuple[int, ...], fan_in: int) -> Array:
    """Draw from U(-1, 1) / sqrt(fan_in), PyTorch's default for weights and biases of Linear and
    Conv2d."""
    return (generator(rng).uniform(-1, 1, shape) / math.sqrt(fan_in)).astype(np.float32)


def he_normal(rng: Rng, shape: tuple[int, ...], fan_in: int) -> Array:
    """Draw from N(0, 2 / fan_in), which keeps the scale of activations through rectifiers (He et
    al. 2015)."""
    return (generator(rng).standard_normal(shape) * math.sqrt(2 / fan_in)).astype(np.float32)


def fan_in_normal(gain: float = 1.0) -> Init:
    """Return an init that draws from N(0, gain^2 / fan_in), which keeps the scale of activations
    through a linear layer if gain is 1. R3GAN uses it."""
    return lambda rng, shape, fan_in: normal(gain * fan_in**-0.5)(rng, shape)


def xavier_uniform(gain: float = 1.0) -> Init:
    """Return an init that draws from U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)) (Glorot and
    Bengio 2010). SNGAN's residual networks use it.

    The last axis of the weight counts as the outputs. So it is not meant for ConvTranspose2d, whose
    last axis holds the inputs.
    """

    def init(rng, shape, fan_in):
        fan_out = math.prod(shape[:-2]) * shape[-1]
        limit = gain * math.sqrt(6 / (fan_in + fan_out))
        return generator(rng).uniform(-limit, limit, shape).astype(np.float32)

    return init


def orthogonal(rng: Rng, shape: tuple[int, ...], fan_in: int | None = None) -> Array:
    """Draw a weight whose matrix (inputs, outputs) has orthonormal columns, or orthonormal rows if
    it has more columns than rows (Saxe et al. 2014).

    The last axis counts as the outputs, as in `xavier_uniform`: not meant for ConvTranspose2d.
    """
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(generator(rng).standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))  # makes q uniform among the orthogonal matrices
    return (q if rows >= columns else q.T).reshape(shape).astype(np.float32)


def zeros(rng: Rng | None, shape: tuple[int, ...], fan_in: int | None = None) -> Array:
    """Return zeros."""
    return np.zeros(shape, np.float32)


def ones(rng: Rng | None, shape: tuple[int, ...], fan_in: int | None = None) -> Array:
    """Return ones."""
    return np.ones(shape, np.float32)


if not TYPE_CHECKING:  # a __getattr__ would hide mistyped names from type checkers
    __getattr__ = habits.of_package(__name__, habits.INIT)
