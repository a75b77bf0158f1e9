"""What the classifier's predictions say of samples, and the FID of each class."""

import numpy as np

from .checks import as_features, as_labels, as_probabilities
from .fid import fid


def classifier_score(probabilities):
    """exp of the mean of KL(p(y | x) || p(y)), p(y) being the mean of p(y | x) over all samples:
    the formula of the Inception Score (Salimans et al. 2016, section 4), but on all samples at
    once, not on ten parts.

    probabilities: (N, K); or (N, C, K) of C channels, taken for independent, so that y is one of
    K^C classes. Between 1 and the number of classes; more means surer predictions of more classes.
    It cannot see variety within a class, nor how real an image looks. Raises InputError for what
    are no probabilities.
    """
    p = as_probabilities(probabilities)
    joint = np.ones((len(p), 1))  # p(y | x) of all channels but the last: their outer product
    for channel in range(p.shape[1] - 1):
        joint = (joint[:, :, None] * p[:, channel, None]).reshape(len(p), -1)
    marginal = joint.T @ p[:, -1] / len(p)
    # The mean KL is the entropy of the mean, less the mean entropy; that of independent channels is
    # their sum.
    return float(np.exp(_entropy(marginal.ravel()) - _entropy(p).sum(1).mean()))


def _entropy(p):
    """-sum p log p over the last axis, in nats; 0 log 0 is 0."""
    return -np.sum(p * np.log(p, out=np.zeros_like(p), where=p > 0), axis=-1)


def predicted(probabilities):
    """The most likely class of each of N images: int64 (N,). Channels (N, C, K) are digits: 100 a +
    10 b + c."""
    p = as_probabilities(probabilities)
    return p.argmax(2) @ p.shape[2] ** np.arange(p.shape[1] - 1, -1, -1)


def class_accuracy(probabilities, labels):
    """The share of N images whose predicted class is the one in `labels` (N,), which was asked for:
    0..1.

    Raises InputError for labels that do not fit.
    """
    found = predicted(probabilities)
    return float(np.mean(found == as_labels(labels, len(found), _classes(probabilities))))


def class_counts(probabilities):
    """How many images are predicted to be of each class: int64 (classes,)."""
    return np.bincount(predicted(probabilities), minlength=_classes(probabilities))


def _classes(probabilities):
    p = as_probabilities(probabilities)
    return p.shape[2] ** p.shape[1]


def fid_per_class(real, real_labels, fake, fake_labels, classes=10):
    """The FID of each class by itself, the fakes asked to be of a class against its real images.

    Features real (N, d) and fake (M, d), and their labels. A list of `classes` numbers, None where
    either side has fewer than 2 images. A class has a tenth of the images, and thus a larger bias
    than the FID of all.
    """
    real, fake = as_features(real, fake)
    sides = (
        (real, as_labels(real_labels, len(real), classes)),
        (fake, as_labels(fake_labels, len(fake), classes)),
    )
    both = [[features[labels == k] for features, labels in sides] for k in range(classes)]
    return [fid(*pair) if min(map(len, pair)) >= 2 else None for pair in both]
