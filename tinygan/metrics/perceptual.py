"""How different do two images look? The distance of a classifier's feature maps, like LPIPS."""

import copy

from tinygan import nn, ops
from tinygan.autograd import Tensor

from .extractor import Extractor


class Perceptual:
    """Maps images to vectors: the squared distance of two vectors is the perceptual distance of the
    images.

    The vectors are the three feature maps of the network of an Extractor. At each pixel, a map's
    channels are divided by their Euclidean norm; each map is scaled so that its part of the squared
    distance is a mean over its pixels (Zhang et al. 2018, equation 1, without the learned weights).

    extractor: an Extractor, or the name of a data set that has a shipped classifier. dtype: the
    dtype of the images and of the network. description: the network, to be reported with every
    metric. Raises InputError for a data set without a classifier.
    """

    def __init__(self, extractor: Extractor | str, dtype: str = "float32") -> None:
        if isinstance(extractor, str):
            extractor = Extractor(extractor)
        self.inputs = extractor.inputs
        self.layers = copy.deepcopy(extractor.net).astype(dtype).map_layers
        self.description = f"{extractor.title}, feature maps of 3 layers"

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, H, W, C) in [-1, 1], of the extractor's shape -> vectors (N, F)."""
        n, x, parts = len(images), self.inputs(images), []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.ReLU):  # at the end of a block
                unit = x * (ops.sum(ops.square(x), 3, keepdims=True) + 1e-10) ** -0.5
                parts.append(ops.reshape(unit, (n, -1)) * (x.shape[1] * x.shape[2]) ** -0.5)
        return ops.concatenate(parts, 1)


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distances (N,) between the rows of two Tensors (N, F)."""
    return ops.sum(ops.square(a - b), 1)
