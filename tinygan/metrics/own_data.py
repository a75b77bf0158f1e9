"""Features for data without shipped weights: of a classifier that is trained on the data, or, if
they have no classes, of a random network."""

import hashlib
from dataclasses import replace

import numpy as np

from tinygan.autograd import Tensor, no_grad
from tinygan.backend import asarray, to_numpy
from tinygan.data import Dataset, cache, to_float, to_uint8
from tinygan.errors import warn
from tinygan.files import npz
from tinygan.kernels.cpu import parallel

from . import learning
from .extractor import Extractor, reduced
from .network import FEATURES, WEIGHTS_OF, Classifier

VERSION = 1  # of the training: a larger one lets every classifier be trained again
STEPS, BATCH_SIZE = 600, 64  # two thirds of a minute on two cores, for images of 32x32x3
# The longest side of the images that the networks take. Larger images are reduced, as Inception
# takes images of 299x299.
CLASSIFIER_SIDE, RANDOM_SIDE = 32, 64
LOW_ACCURACY = 0.8


def extractor_for(
    train: Dataset,
    held_out: Dataset | None = None,
    seed: int = 0,
    pad: int = 0,
    steps: int | None = None,
    progress: bool = True,
) -> Extractor:
    """Return the Extractor for the metrics of a data set:

    * the shipped classifier, for a data set that has one (`Extractor`);
    * for other data with classes: a classifier that is trained on `train`, in less than a minute on
      two cores, and then kept in the user's cache folder. A warning says so if it classifies fewer
      than 80% of the held-out images correctly;
    * for data without classes: a random network, which is not trained (as in Naeem et al. 2020, for
      images unlike photographs). The FID of its features grows with noise, blur and lost variety,
      but it notices a lost class less than a classifier does.

    train: all training images. held_out: other images, to test the classifier on. seed: of the
    weights, and of the training. pad: images may have a border of so many pixels. steps: of the
    training (default: 600). progress: show a progress bar. The result depends only on the images,
    the labels, seed and steps: not on the number of threads.
    """
    if train.name in WEIGHTS_OF:
        return Extractor(train.name)
    if len(np.unique(train.labels)) < 2:
        return RandomExtractor(train.image_shape, seed, pad)
    return _ClassExtractor(train, held_out, seed, pad, STEPS if steps is None else steps, progress)


class RandomExtractor(Extractor):
    """Features of a random network, which is not trained: a Classifier with its first weights.

    image_shape: (H, W, C) of the images. seed: of the weights. pad: see `extractor_for`.
    """

    def __init__(self, image_shape: tuple[int, ...], seed: int = 0, pad: int = 0) -> None:
        shape = _network_shape(image_shape, RANDOM_SIDE)
        net = Classifier(shape, 1, rng=np.random.default_rng([seed, 8])).eval()
        self._set(net, image_shape, pad, 0, None)
        size = "x".join(map(str, net.image_shape))
        self.title = f"random network for {size} (not trained, seed {seed})"
        self.description = _described(self, f"{self.title}, {FEATURES} features")


class _ClassExtractor(Extractor):
    """Features of a classifier that is trained on a data set, or read from the cache."""

    def __init__(self, train, held_out, seed, pad, steps, progress):
        classes = train.num_classes
        net = Classifier(
            _network_shape(train.image_shape, CLASSIFIER_SIDE),
            classes,
            rng=np.random.default_rng([seed, 7]),
        )
        key = _key(train, held_out, seed, steps)
        accuracy = _stored(key, net)
        if accuracy is None:
            accuracy = _train(net, train, held_out, seed, steps, progress)
            cache.write("classifier", key, {"accuracy": np.array(accuracy), **net.state_dict()})
        # The features of a classifier that was trained anew, on another machine, may differ.
        name = npz.checksum(net.state_dict())[:8]
        share = "not tested" if np.isnan(accuracy) else f"{accuracy:.1%} on held-out images"
        self._set(net.eval(), train.image_shape, pad, classes, accuracy)
        self.title = f"classifier {name} of these {classes} classes ({share})"
        self.description = _described(
            self, f"classifier {name} of these {classes} classes, {FEATURES} features, {share}"
        )
        if accuracy < LOW_ACCURACY:
            warn(
                f"the classifier of {train.name} that the metrics use is right for only "
                f"{accuracy:.1%} of the held-out images: its features, and the class accuracy, say "
                "little (more images, or fewer and clearer classes, would help)"
            )


def _described(extractor, text):
    height, width, _ = extractor.net.image_shape
    if (height, width) != extractor.image_shape[:2]:
        return f"{text}, images reduced to {height}x{width}"
    return text


def _network_shape(image_shape, most):
    """Return the shape of the images in the network: the longest side is at most `most`."""
    *sides, channels = image_shape
    scale = min(1, most / max(sides))
    return (*(max(1, round(side * scale)) for side in sides), channels)


def _key(train, held_out, seed, steps):
    arrays = {"train": train.images, "labels": train.labels}
    if held_out is not None:
        arrays |= {"held-out": held_out.images, "held-out labels": held_out.labels}
    settings = f"{npz.checksum(arrays)} {train.num_classes} {seed} {steps} {VERSION}"
    return hashlib.sha256(settings.encode()).hexdigest()


def _stored(key, net):
    """Load the classifier in the cache into net, and return its accuracy; None if there is none."""
    arrays = cache.read("classifier", key)
    if arrays is None or "accuracy" not in arrays:
        return None
    accuracy = float(arrays.pop("accuracy"))
    try:
        net.load_state_dict(arrays)
    except (ValueError, KeyError, TypeError):
        return None
    return accuracy


def _train(net, train, held_out, seed, steps, progress):
    """Train net, in place; return its accuracy on the held-out images, or NaN."""
    height, width, _ = shape = net.image_shape
    train, held_out = (part and _reduced(part, shape) for part in (train, held_out))
    # Nobody knows whether a flipped or rotated image would belong to the same class.
    augmentation = learning.Augmentation(0.0, 0.1, min(height, width) / 14, edges=True)
    learning.train(
        net,
        train,
        augmentation,
        np.random.default_rng([seed, 9]),
        steps,
        min(BATCH_SIZE, len(train)),
        seed,
        "classifier for the metrics" if progress else None,
    )
    return learning.accuracy_on(net, held_out) if held_out else float("nan")


def _reduced(dataset, shape):
    """Return a Dataset with its images in the size of `shape`."""
    if dataset.image_shape == shape:
        return dataset
    images, batch = np.empty((len(dataset), *shape), np.uint8), 64
    with no_grad(), parallel.single_threaded_blas():
        for i in range(0, len(dataset), batch):
            x = Tensor(asarray(to_float(dataset.images[i : i + batch])))
            images[i : i + batch] = to_uint8(to_numpy(reduced(x, shape).data))
    return replace(dataset, images=images)
