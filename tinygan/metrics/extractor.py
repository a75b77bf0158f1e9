"""From images to the inputs of the metrics: the features and predictions of a network."""

from typing import Any

import numpy as np

from tinygan import ops
from tinygan.autograd import Array, Tensor, no_grad
from tinygan.backend import asarray, to_numpy
from tinygan.data import to_float
from tinygan.kernels.cpu import parallel

from . import network
from .checks import as_images

BATCH_PIXELS = 250 * 32 * 32  # batches of larger images than 32x32 have fewer images


class Extractor:
    """Computes features and class probabilities of images with the shipped classifier for a data
    set. `extractor_for` returns an Extractor for any data.

    name: the data set, such as "mnist". In a stacked data set, the three channels of an image are
    three digits, which go through the classifier separately. Raises InputError for a data set
    without a classifier.

    description: the network, its features and its accuracy, to be reported with every metric.
        Metrics can be compared only if their descriptions are equal.
    title: the network alone, in a few words. accuracy: its share of right predictions, or None.
    image_shape: the (H, W, C) of images. border: padded images, which are larger by so many pixels
        on every side, lose them.
    classes: the number of classes that it predicts; 0 for a network that predicts none.
    stacked: whether the channels of an image are images of their own.
    """

    def __init__(self, name: str) -> None:
        net, accuracy = network.load(name)
        stacked = name.startswith("stacked-")
        weights = network.WEIGHTS_OF[name]
        self._set(net, (28, 28, 3 if stacked else 1), 2, 10, accuracy)
        self.title = f"{weights} classifier ({accuracy:.1%})"
        title = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}[weights]
        count = f"{network.FEATURES}{' x 3' * stacked}"
        self.description = f"{title} classifier, {count} features, {accuracy:.1%} on its test set"

    def _set(
        self,
        net: network.Classifier,
        image_shape: tuple[int, ...],
        border: int,
        classes: int,
        accuracy: float | None,
    ) -> None:
        self.net, self.image_shape, self.border = net, tuple(image_shape), border
        self.classes, self.accuracy = classes, accuracy
        self.stacked = net.image_shape[2] != image_shape[2]

    @property
    def channels(self) -> int:
        """The number C of channels that images must have."""
        return self.image_shape[2]

    def cropped(self, images: Array) -> Array:
        """Return uint8 images (N, H, W, C) without the border that padded images have. Raises
        InputError for images of another shape or dtype."""
        return as_images(images, self.image_shape, self.border)

    def __call__(self, images: Array, batch_size: int = 250) -> tuple[Array, Array]:
        """Return (features (N, 64), probabilities (N, 1, classes)), float64, of uint8 images; in a
        stacked data set (N, 192) and (N, 3, 10).

        images: (N, H, W, C), of the shape `image_shape`, or with its border, which is cut off.
        Raises InputError for other images.
        """
        images = self.cropped(images)
        n, height, width, channels = images.shape
        if self.stacked:  # one image for each channel
            images = np.moveaxis(images, 3, 1).reshape(-1, height, width, 1)
        batch_size = min(batch_size, max(1, BATCH_PIXELS // (height * width)))
        features = np.empty((len(images), network.FEATURES))
        probabilities = np.empty((len(images), self.classes))
        with no_grad(), parallel.single_threaded_blas():
            for i in range(0, len(images), batch_size):
                part = slice(i, i + batch_size)
                x = Tensor(asarray(to_float(images[part])))
                hidden = self.net.features(reduced(x, self.net.image_shape))
                features[part] = to_numpy(hidden.data)
                if self.classes:
                    logits = to_numpy(self.net.head(hidden).data).astype(np.float64)
                    odds = np.exp(logits - logits.max(1, keepdims=True))
                    probabilities[part] = odds / odds.sum(1, keepdims=True)
        singles = len(images) // n
        return features.reshape(n, -1), probabilities.reshape(n, singles, self.classes)

    def inputs(self, images: Tensor) -> Tensor:
        """Return the inputs of the network, a Tensor, for images (N, H, W, C) in [-1, 1], of the
        shape `image_shape`, or with its border."""
        height, width, _ = self.image_shape
        n, channels, inset = len(images), images.shape[3], (images.shape[1] - height) // 2
        if inset:
            images = images[:, inset : inset + height, inset : inset + width]
        if channels != self.net.image_shape[2]:
            images = ops.transpose(images, (0, 3, 1, 2))
            return ops.reshape(images, (n * channels, height, width, 1))
        return reduced(images, self.net.image_shape)


def reduced(images: Tensor, shape: Any) -> Tensor:
    """Return images (N, H, W, C) in the smaller size of `shape`, (h, w, C): each new pixel is the
    mean over the area that it covers."""
    n, height, width, channels = images.shape
    if shape[0] != height:
        rows = Tensor(asarray(_areas(height, shape[0]).astype(images.dtype)))
        images = ops.matmul(rows, ops.reshape(images, (n, height, width * channels)))
    if shape[1] != width:
        columns = Tensor(asarray(_areas(width, shape[1]).astype(images.dtype)))
        images = ops.matmul(columns, ops.reshape(images, (n * shape[0], width, channels)))
    return ops.reshape(images, (n, *shape))


def _areas(n, smaller):
    """Return the shares of n pixels in a smaller number of pixels: (smaller, n)."""
    ends = np.arange(smaller + 1) * (n / smaller)
    overlap = np.minimum(ends[1:, None], np.arange(1, n + 1))
    overlap = overlap - np.maximum(ends[:-1, None], np.arange(n))
    return np.maximum(overlap, 0) * (smaller / n)
