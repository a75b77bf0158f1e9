"""The classifier whose features and predictions the metrics use, with two sets of trained weights:
one for digits, one for clothes. demos/classifier.py trains them; learning.py trains a classifier of
a user's own data.

Published metrics use the Inception network, trained on photographs of 1,000 classes. For small
images of a few classes, features that distinguish these classes work better, and they are small
enough for this package.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tinygan import nn, ops
from tinygan.autograd import Tensor, TensorLike
from tinygan.backend import Rng, generator
from tinygan.errors import InputError
from tinygan.files import npz, open_file, replacing

WEIGHTS = Path(__file__).parent / "weights"
WEIGHTS_OF = {
    "digits": "mnist",
    "mnist": "mnist",
    "stacked-digits": "mnist",
    "stacked-mnist": "mnist",
    "fashion-mnist": "fashion-mnist",
}  # data set -> weights
FEATURES = 64


class Classifier(nn.Module):
    """Images (N, H, W, C) in [-1, 1] -> logits (N, classes), through 64 non-negative features.

    image_shape: (H, W, C), of any sizes. Images with a side of 1 pixel are not halved any more.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...] = (28, 28, 1),
        classes: int = 10,
        *,
        rng: Rng | None = None,
    ) -> None:
        rng, self.image_shape = generator(rng), tuple(image_shape)
        height, width, inputs = image_shape
        layers: list[Any] = []
        settings: dict[str, Any] = {"bias": False, "rng": rng, "init": nn.init.he_normal}
        for channels in 32, 64, 128:  # for MNIST, on 28x28, 14x14 and 7x7 pixels
            layers.append(nn.Conv2d(inputs, channels, 3, padding=1, **settings))
            if min(height, width) > 1:
                layers.append(ops.max_pool2d)
                height, width = height // 2, width // 2
            layers += [nn.BatchNorm(channels), nn.ReLU()]
            inputs = channels
        self.body = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(height * width * inputs, FEATURES, **settings),
            nn.BatchNorm(FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, classes, rng=rng)

    @property
    def map_layers(self) -> list[Any]:
        """The layers up to the last feature map. A map is what a ReLU among them returns."""
        layers = self.body.layers
        return layers[: next(i for i, layer in enumerate(layers) if isinstance(layer, nn.Flatten))]

    def features(self, x: TensorLike) -> Tensor:
        """Images (N, H, W, C) in [-1, 1] -> the features before the logits, (N, 64)."""
        return self.body(x)

    def forward(self, x):
        return self.head(self.body(x))


# ---- trained weights ----


def load(name: str) -> tuple[Classifier, float]:
    """Return (the shipped Classifier for the data set `name`, in evaluation mode; its accuracy on
    the test set). Raises InputError for a data set without a classifier."""
    if name not in WEIGHTS_OF:
        raise InputError(
            f"data set {name!r} cannot be evaluated: there is no classifier for it, "
            f"only for {', '.join(WEIGHTS_OF)}; for other data, give extractor=extractor_for(train)"
        )
    return read(WEIGHTS / f"{WEIGHTS_OF[name]}.npz")


def read(path: str | Path) -> tuple[Classifier, float]:
    """Return (a Classifier in evaluation mode, its accuracy on the test set) from a file that
    `write` wrote. Raises InputError for any other file."""
    net = Classifier()
    try:
        with open_file(path, follow=True) as raw, np.load(raw, allow_pickle=False) as file:
            accuracy = float(file["accuracy"])
            net.load_state_dict(
                {key: file[key].astype(np.float32) for key in file.files if key != "accuracy"}
            )
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} holds no classifier ({error}): write one with python demos/classifier.py"
        ) from None
    return net.eval(), accuracy


def write(path: str | Path, net: Classifier, accuracy: float) -> None:
    """Write the weights of a Classifier and its accuracy to an npz file, a third of a megabyte.

    Matrices and kernels are stored in half precision, which costs no accuracy, and vectors in
    single precision.
    """
    state = {
        key: value.astype(np.float16) if value.ndim > 1 else value
        for key, value in net.state_dict().items()
    }
    with replacing(path) as file:
        npz.write(file, {"accuracy": accuracy, **state}, compressed=True)
