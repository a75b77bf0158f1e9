"""Training the classifier whose features the metrics use."""

import math
from typing import Any, NamedTuple

import numpy as np

from tinygan import ops
from tinygan.autograd import Array, Tensor, grad, no_grad
from tinygan.backend import asarray, to_numpy
from tinygan.data import Dataset, to_float
from tinygan.errors import InputError
from tinygan.kernels.cpu import parallel
from tinygan.notebook import bar_options
from tinygan.optim import Adam

from .network import Classifier

LEARNING_RATE = 3e-3  # the peak: the rate rises over the first tenth of the steps, then falls to 0


class Augmentation(NamedTuple):
    """The largest random change of a training image: each amount is uniform from minus to plus.

    edges: pixels from outside the image repeat its edge; otherwise they are black, as the borders
    of digits and clothes are.
    """

    angle: float = 10.0  # degrees
    scale: float = 0.1
    shift: float = 2.0  # pixels
    flip: bool = False  # exchange left and right, with probability 1/2
    edges: bool = False


def train(
    net: Classifier,
    dataset: Dataset,
    augmentation: Augmentation,
    rng: np.random.Generator,
    steps: int,
    batch_size: int,
    seed: int = 0,
    progress: str | None = None,
) -> Classifier:
    """Train a Classifier on `dataset`, with Adam on the cross-entropy of augmented images, and
    return it in evaluation mode.

    rng: draws the augmentations. seed: shuffles the images. progress: the title of the progress
    bar, or None for no bar. Raises InputError if the loss is no longer a number.
    """
    from tqdm import tqdm

    optimizer = Adam(net.parameters(), LEARNING_RATE)
    parallel.keep_memory()
    with (
        parallel.single_threaded_blas(),
        tqdm(
            total=steps,
            desc=progress or None,
            unit="step",
            disable=progress is None,
            **bar_options(),
        ) as bar,
    ):
        for step in range(steps):
            images, labels = dataset.batch(step, batch_size, seed)
            optimizer.lr = LEARNING_RATE * min(
                (step + 1) / (0.1 * steps), (steps - step) / (0.9 * steps)
            )
            loss = ops.cross_entropy(net(augmented(images, augmentation, rng)), labels)
            optimizer.step(grad(loss, net.parameters()))
            if not math.isfinite(loss.item()):
                raise InputError(f"the loss is no longer a number at step {step}")
            if step % 50 == 0:
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            bar.update()
    return net.eval()


def augmented(images: Array, limits: Augmentation, rng: np.random.Generator) -> Tensor:
    """Return images (N, H, W, C) in [-1, 1], each rotated, scaled, shifted and flipped at random,
    as a Tensor. Images that are not square cannot be rotated."""
    n, height, width, _ = images.shape
    angle = np.deg2rad(rng.uniform(-limits.angle, limits.angle, n))
    scale = rng.uniform(1 - limits.scale, 1 + limits.scale, n)
    flip: Any = rng.choice([-1, 1], n) if limits.flip else 1
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[flip * cos, -sin], [flip * sin, cos]]) * scale
    # In the coordinates of the warp, the image is 2 wide and 2 high.
    shift = rng.uniform(-limits.shift, limits.shift, (n, 2, 1)) * 2 / [[width], [height]]
    if limits.edges:
        # The warp sees an image with a margin, so that the image itself is a smaller part of it.
        y, x = (math.ceil(side * limits.scale / 2 + limits.shift) + 1 for side in (height, width))
        images = np.pad(images, ((0, 0), (y, y), (x, x), (0, 0)), mode="edge")
        shift = shift * [[width / (width + 2 * x)], [height / (height + 2 * y)]]
    theta = np.concatenate([np.moveaxis(rotation, 2, 0), shift], axis=2)
    with no_grad():
        # The warp fills in 0, which is black in images + 1.
        moved = ops.affine_warp(Tensor(asarray(images + 1)), theta) - 1
        return moved[:, y : y + height, x : x + width] if limits.edges else moved


def accuracy_on(net: Classifier, dataset: Dataset, batch_size: int = 250) -> float:
    """Return the share of the images of `dataset` that `net` classifies correctly."""
    hits = 0
    with no_grad(), parallel.single_threaded_blas():
        for i in range(0, len(dataset), batch_size):
            logits = net(asarray(to_float(dataset.images[i : i + batch_size])))
            hits += np.sum(to_numpy(logits.data).argmax(1) == dataset.labels[i : i + batch_size])
    return float(hits / len(dataset))
