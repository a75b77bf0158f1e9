"""From images to the inputs of the metrics: a classifier's features and predictions."""

import numpy as np

from tinygan.autograd import Array, Tensor, no_grad
from tinygan.backend import asarray, to_numpy
from tinygan.data import to_float
from tinygan.kernels.cpu import parallel

from . import network
from .checks import as_images


class Extractor:
    """Computes features and class probabilities of images with the shipped classifier for a data
    set.

    name: the data set, such as "mnist". In a stacked data set, the three channels of an image are
    three digits, which go through the classifier separately. Raises InputError for a data set
    without a classifier.

    description: the classifier, its features and its accuracy, to be reported with every metric.
    channels: the number C of channels that images must have.
    """

    def __init__(self, name: str) -> None:
        self.net, self.accuracy = network.load(name)
        self.channels = 3 if name.startswith("stacked-") else 1
        title = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}[network.WEIGHTS_OF[name]]
        count = f"{network.FEATURES}{' x 3' * (self.channels > 1)}"
        self.description = (
            f"{title} classifier, {count} features, {self.accuracy:.1%} on its test set"
        )

    def __call__(self, images: Array, batch_size: int = 250) -> tuple[Array, Array]:
        """Return (features (N, 64 C), probabilities (N, C, 10)), float64, of uint8 images.

        images: (N, 28, 28, C), or (N, 32, 32, C), of which the middle 28x28 pixels are used. Raises
        InputError for other images.
        """
        images = as_images(images, self.channels)
        n = len(images)
        singles = np.moveaxis(images, 3, 1).reshape(-1, 28, 28, 1)  # one image for each channel
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
