"""Gradients of a batch that is worked through in parts."""

from tinygan.autograd import Tensor, grad
from tinygan.backend import xp

from . import ranks


def split(batch, size):
    """The parts of a batch, which is a list of Tensors, arrays or None, of `size` images each (0: all)."""
    n = len(batch[0])
    if not 0 < size < n:
        return [batch]
    return [[None if x is None else x[start:start + size] for x in batch] for start in range(0, n, size)]


def accumulated(objective, parameters, parts, before_each):
    """(gradients, numbers) of objective(*part) -> (loss, numbers), the mean of all parts.

    Only one part's activations are in memory at a time. The sum is that of the whole batch, to rounding, if each image is
    judged by itself. Through batch-norm it is not: its mean and variance are then those of each part, and so are the
    groups of minibatch stddev, and the layer from which on styles are mixed; path lengths are compared with an average
    that their own part has moved. Augmentation draws anew for each part. Spectral normalisation makes one power step for
    all, if before_each brings its vectors back.
    """
    n = sum(len(part[0]) for part in parts)
    total, numbers = None, {}
    for part in parts:
        before_each()
        share = len(part[0]) / n
        loss, found = objective(*part)
        gradients = grad(loss if share == 1 else loss * share, parameters)
        total = gradients if total is None else added(total, gradients)
        for key, value in found.items():
            numbers[key] = value if share == 1 else numbers.get(key, 0.0) + share * value
    return total, numbers


def averaged(gradients):
    """The means over ranks of gradients, of which each may be None."""
    if ranks.count() == 1:
        return gradients
    means = ranks.mean_of([None if g is None else g.data for g in gradients])
    return [None if mean is None else Tensor(mean) for mean in means]


def added(gradients, others):
    """Gradients of two losses, of which each may be None, as those of their sum."""
    return [a if b is None else b if a is None else Tensor(a.data + b.data) for a, b in zip(gradients, others)]


def sanitized(gradients):
    """Gradients without NaN, which becomes 0, and infinities, +-1e5 (StyleGAN2-ADA's only clipping)."""
    return [g if g is None else Tensor(xp.nan_to_num(g.data, nan=0.0, posinf=1e5, neginf=-1e5)) for g in gradients]
