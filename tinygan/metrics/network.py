"""The classifier whose features and predictions the metrics use, with two sets of trained weights:
one for digits, one for clothes. demos/classifier.py trains it.

Published metrics use the Inception network, trained on photographs of 1,000 classes. For 28x28
images of ten classes, features that distinguish these classes work better, and they are small
enough for this package.
"""

import zipfile
from pathlib import Path

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
    """Images (N, 28, 28, 1) in [-1, 1] -> logits (N, 10), through 64 non-negative features."""

    def __init__(self, *, rng: Rng | None = None) -> None:
        rng = generator(rng)
        layers, inputs, settings = [], 1, {"bias": False, "rng": rng, "init": nn.init.he_normal}
        for channels in 32, 64, 128:  # on 28x28, 14x14 and 7x7 pixels
            layers += [
                nn.Conv2d(inputs, channels, 3, padding=1, **settings),
                ops.max_pool2d,
                nn.BatchNorm(channels),
                nn.ReLU(),
            ]
            inputs = channels
        self.body = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(3 * 3 * inputs, FEATURES, **settings),
            nn.BatchNorm(FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, 10, rng=rng)

    def features(self, x: TensorLike) -> Tensor:
        """Images (N, 28, 28, 1) in [-1, 1] -> the features before the logits, (N, 64)."""
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
            f"only for {', '.join(WEIGHTS_OF)}"
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
