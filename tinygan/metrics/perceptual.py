"""How different do two images look? The distance of a classifier's feature maps, like LPIPS."""

from tinygan import ops
from tinygan.autograd import Tensor

from . import network


class Perceptual:
    """Maps images to vectors: the squared distance of two vectors is the perceptual distance of the
    images.

    The vectors are the three feature maps of the classifier for the data set `name`. At each pixel,
    a map's channels are divided by their Euclidean norm; each map is scaled so that its part of the
    squared distance is a mean over its pixels (Zhang et al. 2018, equation 1, without the learned
    weights).

    dtype: the dtype of the images and of the classifier. description: the classifier, to be
    reported with every metric. Raises InputError for a data set without a classifier.
    """

    def __init__(self, name: str, dtype: str = "float32") -> None:
        net, accuracy = network.load(name)
        self.layers = net.astype(dtype).body.layers[:12]
        self.description = (
            f"{network.WEIGHTS_OF[name]} classifier ({accuracy:.1%}), feature maps of 3 layers"
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, H, W, C) in [-1, 1], of 28x28 or 32x32 pixels -> vectors (N, F)."""
        n, height, width, channels = images.shape
        border = (height - 28) // 2
        x = images[:, border : height - border, border : width - border] if border else images
        x = ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (n * channels, 28, 28, 1))
        parts = []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i % 4 == 3:  # the ReLU at the end of a block
                unit = x * (ops.sum(ops.square(x), 3, keepdims=True) + 1e-10) ** -0.5
                parts.append(ops.reshape(unit, (n, -1)) * (x.shape[1] * x.shape[2]) ** -0.5)
        return ops.concatenate(parts, 1)


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distances (N,) between the rows of two Tensors (N, F)."""
    return ops.sum(ops.square(a - b), 1)
