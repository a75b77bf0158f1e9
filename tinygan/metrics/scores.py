"""Metrics from the classifier's predictions, and the FID of each class."""

from collections.abc import Sequence

import numpy as np

from tinygan.autograd import Array

from .checks import as_features, as_labels, as_probabilities
from .fid import fid


def classifier_score(probabilities: Array) -> float:
    """Return exp(mean of KL(p(y | x) || p(y))), with p(y) the mean of p(y | x) over all samples.

    This is the formula of the Inception Score (Salimans et al. 2016, section 4), but computed on
    all samples at once instead of ten parts. It lies between 1 and the number of classes; higher
    means more confident predictions of more classes. It sees neither variety within a class nor
    whether an image looks real.

    probabilities: p(y | x), (N, K); or (N, C, K) for C channels, which are taken to be independent,
    so that y is one of K^C classes. Raises InputError if they are no probabilities.
    """
    p = as_probabilities(probabilities)
    joint = np.ones((len(p), 1))  # p(y | x) of all channels but the last: their outer product
    for channel in range(p.shape[1] - 1):
        joint = (joint[:, :, None] * p[:, channel, None]).reshape(len(p), -1)
    marginal = joint.T @ p[:, -1] / len(p)
    # The mean KL is the entropy of the mean minus the mean entropy. The entropy of independent
    # channels is the sum of their entropies.
    return float(np.exp(_entropy(marginal.ravel()) - _entropy(p).sum(1).mean()))


def _entropy(p):
    """Return -sum p log p over the last axis, in nats, with 0 log 0 = 0."""
    return -np.sum(p * np.log(p, out=np.zeros_like(p), where=p > 0), axis=-1)


def predicted_classes(probabilities: Array) -> Array:
    """Return the most likely class of each image: int64 (N,). Channels (N, C, K) are the digits of
    a number in base K: 100 a + 10 b + c for three channels of ten classes."""
    p = as_probabilities(probabilities)
    return p.argmax(2) @ p.shape[2] ** np.arange(p.shape[1] - 1, -1, -1)


def class_accuracy(probabilities: Array, labels: Array) -> float:
    """Return the share (0..1) of images whose predicted class is the requested one.

    labels: the requested classes, integers (N,). Raises InputError for labels with a wrong shape,
    dtype or range.
    """
    predictions = predicted_classes(probabilities)
    labels = as_labels(labels, len(predictions), _class_count(probabilities))
    return float(np.mean(predictions == labels))


def class_counts(probabilities: Array) -> Array:
    """Return for each class how many images are predicted to show it: int64 (classes,)."""
    return np.bincount(predicted_classes(probabilities), minlength=_class_count(probabilities))


def _class_count(probabilities):
    p = as_probabilities(probabilities)
    return p.shape[2] ** p.shape[1]


def fid_per_class(
    real: Array,
    real_labels: Sequence[int] | Array,
    fake: Array,
    fake_labels: Sequence[int] | Array,
    classes: int = 10,
) -> list[float | None]:
    """Return the FID of each class: fakes of the class against its real images.

    real, fake: features (N, d) and (M, d). real_labels, fake_labels: their classes, (N,) and (M,);
    of a fake, the requested class. The result is a list of length `classes`, with None for a class
    that has fewer than 2 images on either side. One of ten classes has a tenth of the images, and
    therefore a larger bias than the FID of all images.
    """
    real, fake = as_features(real, fake)
    sides = (
        (real, as_labels(real_labels, len(real), classes)),
        (fake, as_labels(fake_labels, len(fake), classes)),
    )
    both = [[features[labels == k] for features, labels in sides] for k in range(classes)]
    return [fid(*pair) if min(map(len, pair)) >= 2 else None for pair in both]


def variance_within_classes(
    features: Array, probabilities: Array, labels: Sequence[int] | Array, classes: int = 10
) -> float:
    """Return the variance of the features within a class, summed over the features, as a mean over
    the classes. It is 0 for a G that generates one image for each class.

    features: (N, d). probabilities: p(y | x), (N, classes) or (N, 1, classes). labels: the
    requested classes, (N,). An image counts only if its most likely class is the requested one,
    because a wrong class is no variety; a class with fewer than 2 such images has a variance of 0.
    """
    (features,) = as_features(features)
    labels = as_labels(labels, len(features), classes)
    right = predicted_classes(probabilities) == labels
    found = [features[right & (labels == k)] for k in range(classes)]
    return float(np.mean([of.var(0).sum() if len(of) >= 2 else 0.0 for of in found]))
