"""Are samples copies of training images? Each sample's nearest training images, by the distance of
their pixels."""

from pathlib import Path

import numpy as np

from tinygan import plots
from tinygan.autograd import Array
from tinygan.data import Dataset
from tinygan.errors import InputError
from tinygan.kernels.cpu import parallel

from .checks import as_images

# A block of distances: 1,000 samples x 2,000 training images in float32 are 8 MB.
SAMPLES_PER_BLOCK, TRAINING_PER_BLOCK = 1000, 2000
BYTES_PER_BLOCK = 26_000_000  # of float32 pixels: 2,000 images of 32x32x3, or fewer larger ones
BORDER = 2  # of MNIST's images that are padded to 32x32
MAX_IMAGES = 2000  # images of each side whose nearest training images `memorisation` finds


def nearest(images: Array, training: Array, k: int = 1) -> tuple[Array, Array]:
    """Return the k nearest training images of each image, nearest first: (indices int64 (N, k),
    distances (N, k)).

    images, training: uint8 (N, H, W, C) and (M, H, W, C), of any size; images may have a border of
    2 pixels that training images lack. The distance is Euclidean, with pixels from 0 to 1: a black
    and a white image are sqrt(H * W * C) apart. Raises InputError for images with a wrong shape or
    dtype, and for fewer than k training images.
    """
    training = as_images(training)
    images = as_images(images, training.shape[1:], BORDER)
    if not 1 <= k <= len(training):
        raise InputError(
            f"{k} nearest of {len(training)} training images: k must be 1 to {len(training)}"
        )
    a, b = images.reshape(len(images), -1), training.reshape(len(training), -1)
    parts = parallel.blocks(len(b), _rows(TRAINING_PER_BLOCK, b))
    candidates = [None] * len(parts)

    def search(i):
        candidates[i] = _nearest_in_block(a, b[parts[i]], k) + parts[i].start

    parallel.run(search, range(len(parts)))
    candidates = np.concatenate(candidates, axis=1)
    distances = np.stack([_distance(a, b[column]) for column in candidates.T], axis=1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(candidates, order, 1), np.take_along_axis(distances, order, 1)


def _nearest_in_block(a, b, k):
    """Return the indices of the k rows of b (at most len(b)) that are nearest to each row of a, in
    no order: (N, k).

    Pixels are counted from the middle of their range. So the sums over images of one channel are
    whole numbers that float32 holds exactly. With more channels they may be rounded: of two rows
    that are almost equally near, the wrong one may then be chosen.
    """
    k = min(k, len(b))
    b = b.astype(np.float32) - 128
    norms = np.sum(b * b, axis=1)
    indices, rows = [], _rows(SAMPLES_PER_BLOCK, a)
    for i in range(0, len(a), rows):
        distances = (a[i : i + rows].astype(np.float32) - 128) @ (-2 * b.T)
        distances += norms  # the norm of a's row is left out: it is the same for all of b
        indices.append(
            distances.argmin(1)[:, None] if k == 1 else np.argpartition(distances, k - 1, 1)[:, :k]
        )
    return np.concatenate(indices)


def _rows(most, images):
    """Return how many rows of images (N, pixels) make up a block: at most `most`."""
    return max(1, min(most, BYTES_PER_BLOCK // (4 * images.shape[1])))


def _distance(a, b):
    """Return the exact distances (N,) between the rows of uint8 a (N, pixels) and b (N, pixels)."""
    squares = np.empty(len(a), np.int64)
    for part in parallel.blocks(len(a), _rows(SAMPLES_PER_BLOCK, a)):
        difference = a[part].astype(np.int64) - b[part]
        squares[part] = np.einsum("np,np->n", difference, difference)
    return np.sqrt(squares) / 255


class CopiesInTest(InputError):
    """Test images are among the training images, so memorisation cannot be measured."""


def memorisation(images: Array, test: Array, training: Array, seed: int = 0) -> float:
    """Return the median distance of samples to their nearest training image, divided by the same
    median of real test images.

    About 1: samples are as far from the training images as new real images are. Far below 1: they
    are copies. A value above 1 is not better: blurred or broken images are far from everything.

    images, test, training: uint8 images (N, H, W, C). Of samples and test images, at most 2,000
    each are used, drawn with `seed`. Raises InputError for images with a wrong shape or dtype, and
    CopiesInTest if the median test image is itself a training image.
    """
    rng = np.random.default_rng(seed)
    medians = [
        np.median(nearest(random_subset(x, MAX_IMAGES, rng), training)[1]) for x in (images, test)
    ]
    if medians[1] == 0:
        raise CopiesInTest(
            "the test images are among the training images: memorisation cannot be measured"
        )
    return float(medians[0] / medians[1])


def random_subset(array: Array, n: int, seed: int | np.random.Generator) -> Array:
    """Return n random rows of an array, in their order; all rows if there are no more than n."""
    if len(array) <= n:
        return array
    return array[np.sort(np.random.default_rng(seed).choice(len(array), n, replace=False))]


def neighbours_picture(
    path: str | Path, samples: Array, training: Array | Dataset, k: int = 3, columns: int = 4
) -> None:
    """Write a PNG in which each sample is followed, on its right, by its k nearest training images.

    samples: uint8 (N, H, W, C). training: uint8 images, or a Dataset. columns: how many samples
    share a row. Sizes, errors: see `nearest`.
    """
    training = as_images(getattr(training, "images", training))
    samples = as_images(samples, training.shape[1:], BORDER)
    indices, _ = nearest(samples, training, k)
    groups = np.concatenate([samples[:, None], training[indices]], axis=1)
    plots.save_image(path, plots.grid(groups.reshape(-1, *samples.shape[1:]), columns * (k + 1)))
