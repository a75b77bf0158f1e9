"""Losses: means over all elements, one number each. Gradients also flow to Tensor targets."""

from tinygan.autograd import Tensor, fused
from tinygan.backend import asarray
from tinygan.kernels import loss as kernel

from .elementwise import abs, softplus, square
from .linear import getitem, mean
from .reduce import log_softmax

import numpy as np


@fused(kernel.binary_cross_entropy_with_logits)
def _binary_cross_entropy_with_logits(logits, target, /):
    return mean(softplus(logits) - target * logits)


def binary_cross_entropy_with_logits(logits, target):
    """-mean(t log p + (1 - t) log(1 - p)) with p = sigmoid(logits), computed as softplus(x) - t x.

    target: probabilities of logits' shape, or one number for all.
    """
    if not isinstance(target, Tensor) or target.shape != logits.shape:
        target = Tensor(asarray(np.broadcast_to(target, logits.shape), logits.dtype))
    return _binary_cross_entropy_with_logits(logits, target)


def cross_entropy(logits, labels):
    """-mean over the batch of log softmax(logits)[label]; logits (N, K), labels: N integers in 0..K-1."""
    labels = asarray(labels)
    if labels.dtype.kind not in "iu" or labels.shape != logits.shape[:1]:
        raise ValueError(f"cross_entropy: labels must be {logits.shape[0]} integers, got {labels.dtype} {labels.shape}")
    return -mean(getitem(log_softmax(logits), (np.arange(logits.shape[0]), labels)))


def mse_loss(prediction, target):
    """mean((prediction - target)^2)."""
    return mean(square(prediction - target))


def l1_loss(prediction, target):
    """mean(|prediction - target|)."""
    return mean(abs(prediction - target))
