"""Stacked MNIST: how many of its 1,000 classes do samples reach, and how evenly?"""

import numpy as np

from tinygan.autograd import Array

from .checks import as_labels


def modes(labels: Array, classes: int = 1000) -> tuple[int, float]:
    """Return (number of classes that occur, KL(p || uniform) in nats), where p is the share of each
    class among the predicted labels (Metz et al. 2017; Srivastava et al. 2017).

    labels: integers (N,) in 0..classes-1. More modes and a lower KL are better. Both depend on N,
    usually 26,000: then a perfect generator with MNIST's digit frequencies reaches 1,000 modes and
    a KL of .0236 +- .0011, most of it from the finite N. Raises InputError for other labels.
    """
    counts = np.bincount(as_labels(labels, len(labels), classes), minlength=classes)
    p = counts[counts > 0] / len(labels)
    return len(p), float(np.sum(p * np.log(p * classes)))
