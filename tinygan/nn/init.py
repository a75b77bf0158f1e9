"""Initial weights: each is a function of a Generator and a shape (float32 host arrays come back).

A layer takes one as `init=`; `fan_in` is the number of inputs that one output sums over.
"""

import math

import numpy as np


def normal(std, mean=0.0):
    """N(mean, std^2). DCGAN uses std .02 for weights, and mean 1 for batch-norm gains (Radford et al. 2016)."""

    def init(rng, shape, fan_in=None):
        return (mean + std * rng.standard_normal(shape)).astype(np.float32)

    return init


def uniform_fan_in(rng, shape, fan_in):
    """U(-1, 1) / sqrt(fan_in): what PyTorch's Linear and Conv2d start with, weights and biases alike."""
    return (rng.uniform(-1, 1, shape) / math.sqrt(fan_in)).astype(np.float32)


def he_normal(rng, shape, fan_in):
    """N(0, 2 / fan_in), which keeps the scale of activations through rectifiers (He et al. 2015)."""
    return (rng.standard_normal(shape) * math.sqrt(2 / fan_in)).astype(np.float32)


def xavier_uniform(gain=1.0):
    """U(-a, a) with a = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010): SNGAN's residual networks."""

    def init(rng, shape, fan_in):
        fan_out = math.prod(shape[:-2]) * shape[-1]
        limit = gain * math.sqrt(6 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, shape).astype(np.float32)

    return init


def orthogonal(rng, shape, fan_in=None):
    """The weight as a matrix (inputs, outputs) with orthonormal columns, or rows if it is wide (Saxe et al. 2014)."""
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))  # without which the signs would not be drawn evenly
    return (q if rows >= columns else q.T).reshape(shape).astype(np.float32)


def zeros(rng, shape, fan_in=None):
    return np.zeros(shape, np.float32)


def ones(rng, shape, fan_in=None):
    return np.ones(shape, np.float32)
