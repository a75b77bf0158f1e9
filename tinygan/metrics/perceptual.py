"""How different two images look: the distance of a classifier's feature maps, as LPIPS has it."""

from tinygan import ops

from . import network


class Perceptual:
    """Images, a Tensor (N, 28 or 32, ..., C) in [-1, 1] -> a Tensor (N, F), whose squared distances
    are the images'.

    F are the three feature maps of the classifier of data set `name`; at each pixel, their channels
    are divided by their length, so that every layer weighs as much (Zhang et al. 2018, equation 1,
    without its learned weights). dtype: of the images. Raises InputError for a data set without a
    classifier. `description` goes beside every number.
    """

    def __init__(self, name, dtype="float32"):
        net, accuracy = network.load(name)
        self.layers = net.astype(dtype).body.layers[:12]
        self.description = (
            f"{network.WEIGHTS_OF[name]} classifier ({accuracy:.1%}), feature maps of 3 layers"
        )

    def __call__(self, images):
        n, height, width, channels = images.shape
        border = (height - 28) // 2
        x = images[:, border : height - border, border : width - border] if border else images
        x = ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (n * channels, 28, 28, 1))
        parts = []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i % 4 == 3:
                unit = x * (ops.sum(ops.square(x), 3, keepdims=True) + 1e-10) ** -0.5
                parts.append(ops.reshape(unit, (n, -1)) * (x.shape[1] * x.shape[2]) ** -0.5)
        return ops.concatenate(parts, 1)


def squared_distance(a, b):
    """Of rows of two Tensors (N, F): (N,)."""
    return ops.sum(ops.square(a - b), 1)
