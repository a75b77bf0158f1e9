"""Losses: means over all elements (cross_entropy: over the batch).

Targets may be Tensors and receive gradients, except for the labels of cross_entropy.
"""

import numpy as np

from tinygan.autograd import described, op
from tinygan.backend import xp
from tinygan.kernels import loss as loss_kernels

from .composite import composite_op
from .elementwise import abs, sigmoid, square
from .fused import fused
from .linear import broadcast_to, checked_indices, getitem, mean
from .reduce import log_softmax


@op
def _cross_entropy(x, t, /):  # of logits and targets, one by one
    return (
        loss_kernels.cross_entropy(x.data, t.data),
        lambda g: g * ((1.0 - t) * sigmoid(x) - t * sigmoid(-x)),
        lambda g: -g * x,
    )


@fused(loss_kernels.binary_cross_entropy, loss_kernels.binary_cross_entropy_gradient)
def _binary_cross_entropy_with_logits(logits, target, /):
    return mean(_cross_entropy(logits, target))


@composite_op(2)
def binary_cross_entropy_with_logits(logits, target):
    """-mean(t log p + (1 - t) log(1 - p)) with p = sigmoid(x).

    logits: x. target: t, probabilities of the shape of the logits, or one for all. The loss is
    computed as t softplus(-x) + (1 - t) softplus(x), so that small values are right, too. Infinite
    logits give NaN where they are multiplied by t = 0 or 1 - t = 0.
    Raises ValueError for an empty Tensor of logits, and for a target of another shape.
    """
    if not logits.size:
        raise ValueError(
            "binary_cross_entropy_with_logits: an empty Tensor has no mean, got "
            f"{described(logits)}"
        )
    _expect_same_shape("binary_cross_entropy_with_logits", "logits", logits, target)
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
    _expect_same_shape(name, "a prediction", prediction, target)
    return prediction - target


def _expect_same_shape(name, kind, x, target):
    """Raise ValueError unless target has the shape of x, or is a number.

    Broadcasting would compare logits or pixels with the targets of other images.
    """
    if target.shape not in ((), x.shape):
        raise ValueError(
            f"{name}: a target of shape {target.shape} does not fit {kind} of shape {x.shape}"
        )
