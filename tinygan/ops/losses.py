"""Losses: means over all elements, one number each. Gradients also flow to Tensor targets."""

import numpy as np

from tinygan.autograd import described
from tinygan.backend import xp
from tinygan.kernels import loss as kernel

from .composite import composite_op
from .elementwise import abs, softplus, square
from .fused import fused
from .linear import broadcast_to, getitem, indices_below, mean
from .reduce import log_softmax


@fused(kernel.binary_cross_entropy, kernel.binary_cross_entropy_gradient)
def _binary_cross_entropy_with_logits(logits, target, /):
    return mean(softplus(logits) - target * logits)


@composite_op(2)
def binary_cross_entropy_with_logits(logits, target):
    """-mean(t log p + (1 - t) log(1 - p)) with p = sigmoid(logits), computed as softplus(x) - t x.

    target: probabilities of logits' shape, or one number for all.
    """
    if not logits.size:
        raise ValueError(
            f"binary_cross_entropy_with_logits: the mean over an empty Tensor, {described(logits)}"
        )
    return _binary_cross_entropy_with_logits(logits, broadcast_to(target, logits.shape))


@composite_op(1)
def cross_entropy(logits, labels):
    """-mean over the batch of log softmax(logits)[label]; logits (N, K), labels: N integers in 0..K-1."""
    labels = labels if hasattr(labels, "dtype") else np.asarray(labels)
    if logits.ndim != 2:
        raise ValueError(f"cross_entropy: logits must be (N, K), got {described(logits)}")
    if labels.dtype.kind not in "iu" or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"cross_entropy: labels must be {logits.shape[0]} integers, got {labels.dtype} {labels.shape}"
        )
    labels = indices_below(logits.shape[1], labels, "cross_entropy: labels")
    return -mean(getitem(log_softmax(logits), (xp.arange(logits.shape[0]), labels)))


@composite_op(2)
def mse_loss(prediction, target):
    """mean((prediction - target)^2). target: of prediction's shape, or a number."""
    return mean(square(_difference("mse_loss", prediction, target)))


@composite_op(2)
def l1_loss(prediction, target):
    """mean(|prediction - target|). target: of prediction's shape, or a number."""
    return mean(abs(_difference("l1_loss", prediction, target)))


def _difference(name, prediction, target):
    if target.shape not in ((), prediction.shape):
        raise ValueError(
            f"{name}: a target of shape {target.shape} for a prediction of shape {prediction.shape}"
        )
    return prediction - target
