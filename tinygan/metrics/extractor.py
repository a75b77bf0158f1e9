"""From images to what the metrics read: the classifier's features and its predictions."""

import numpy as np

from tinygan.autograd import Tensor, no_grad
from tinygan.backend import asarray, to_numpy
from tinygan.data import to_float
from tinygan.kernels.cpu import parallel

from . import network
from .checks import as_images


class Extractor:
    """The features and predictions of images of data set `name`, such as "mnist", by its shipped
    classifier.

    The three channels of a stacked data set are three digits: each goes through the classifier by
    itself. description: what it is, to stand beside every number that comes of it. channels: C, as
    its images must have. Raises InputError for a data set without a classifier.
    """

    def __init__(self, name):
        self.net, self.accuracy = network.load(name)
        self.channels = 3 if name.startswith("stacked-") else 1
        title = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}[network.WEIGHTS_OF[name]]
        count = f"{network.FEATURES}{' x 3' * (self.channels > 1)}"
        self.description = (
            f"{title} classifier, {count} features, {self.accuracy:.1%} on its test set"
        )

    def __call__(self, images, batch_size=250):
        """uint8 images (N, 28, 28, C) or (N, 32, 32, C) -> features float64 (N, 64 C),
        probabilities (N, C, 10).

        32x32 images are cut to their middle 28x28. Raises InputError for other images.
        """
        images = as_images(images, self.channels)
        n = len(images)
        singles = np.moveaxis(images, 3, 1).reshape(-1, 28, 28, 1)
        features = np.empty((len(singles), network.FEATURES))
        probabilities = np.empty((len(singles), 10))
        with no_grad(), parallel.single_threaded_blas():
            for i in range(0, len(singles), batch_size):
                part = slice(i, i + batch_size)
                hidden = self.net.features(Tensor(asarray(to_float(singles[part]))))
                features[part] = to_numpy(hidden.data)
                logits = to_numpy(self.net.head(hidden).data).astype(np.float64)
                odds = np.exp(logits - logits.max(1, keepdims=True))
                probabilities[part] = odds / odds.sum(1, keepdims=True)
        return features.reshape(n, -1), probabilities.reshape(n, self.channels, 10)
