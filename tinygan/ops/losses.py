"""Losses: means over all elements (cross_entropy: over the batch).

Targets may be Tensors and receive gradients, except for the labels of cross_entropy.
"""

import numpy as np

from tinygan.autograd import described
from tinygan.backend import xp
from tinygan.kernels import loss as loss_kernels

from .composite import composite_op
from .elementwise import abs, softplus, square
from .fused import fused
from .linear import broadcast_to, checked_indices, getitem, mean
from .reduce import log_softmax


@fused(loss_kernels.binary_cross_entropy, loss_kernels.binary_cross_entropy_gradient)
def _binary_cross_entropy_with_logits(logits, target, /):
    return mean(softplus(logits) - target * logits)


@composite_op(2)
def binary_cross_entropy_with_logits(logits, target):
    """-mean(t log p + (1 - t) log(1 - p)) with p = sigmoid(x), computed as softplus(x) - t x.

    logits: x. target: t, probabilities that broadcast to the shape of the logits.
    Raises ValueError for an empty Tensor of logits.
    """
    if not logits.size:
        raise ValueError(
            "binary_cross_entropy_with_logits: an empty Tensor has no mean, got "
            f"{described(logits)}"
        )
    return _binary_cross_entropy_with_logits(logits, broadcast_to(target, logits.shape))


@composite_op(1)
def cross_entropy(logits, labels):
    """-mean over the batch of log softmax(logits)[label].

    logits: (N, K). labels: N integers in 0..K-1.
    """
    labels = labels if hasattr(labels, "dtype") else np.asarray(labels)
    if logits.ndim != 2:
        raise ValueError(f"cross_entropy: logits must be (N, K), got {described(logits)}")
    if labels.dtype.kind not in "iu" or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"cross_entropy: labels must be {logits.shape[0]} integers, "
            f"got {labels.dtype} {labels.shape}"
        )
    labels = checked_indices(labels, logits.shape[1], "cross_entropy: labels")
    return -mean(getitem(log_softmax(logits), (xp.arange(logits.shape[0]), labels)))


@composite_op(2)
def mse_loss(prediction, target):
    """mean((prediction - target)^2). target: a Tensor of the shape of prediction, or a number."""
    return mean(square(_difference("mse_loss", prediction, target)))


@composite_op(2)
def l1_loss(prediction, target):
    """mean(|prediction - target|). target: a Tensor of the shape of prediction, or a number."""
    return mean(abs(_difference("l1_loss", prediction, target)))


def _difference(name, prediction, target):
    if target.shape not in ((), prediction.shape):
        raise ValueError(
            f"{name}: a target of shape {target.shape} does not fit "
            f"a prediction of shape {prediction.shape}"
        )
    return prediction - target
