"""Are samples copies? Each one's nearest training images, by the distance of their pixels."""

import numpy as np

from tinygan import plots
from tinygan.errors import InputError
from tinygan.kernels.cpu import parallel

from .checks import as_images

SAMPLES, TRAINING = 1000, 2000  # a block of distances, float32: 8 MB
AT_MOST = 2000  # images whose neighbours the median is taken of


def nearest(images, training, k=1):
    """The k nearest of `training` to each of `images`, nearest first: (indices int64 (N, k),
    distances (N, k)).

    Both are uint8 (N, 28 or 32, ..., C). The distance is the Euclidean one of pixels as numbers
    0..1, so that two images of opposite colours lie sqrt(28 * 28 * C) apart. Raises InputError for
    images that do not fit, and for a training set of fewer than k.
    """
    images, training = as_images(images), as_images(training, np.shape(images)[-1])
    if not 1 <= k <= len(training):
        raise InputError(
            f"{k} nearest of {len(training)} training images: k must be 1 to {len(training)}"
        )
    a, b = images.reshape(len(images), -1), training.reshape(len(training), -1)
    parts = parallel.blocks(len(b), TRAINING)
    found = [None] * len(parts)

    def work(i):
        found[i] = _nearest_of_block(a, b[parts[i]], k) + parts[i].start

    parallel.run(work, range(len(parts)))
    found = np.concatenate(found, axis=1)
    distances = np.stack([_distance(a, b[column]) for column in found.T], axis=1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(found, order, 1), np.take_along_axis(distances, order, 1)


def _nearest_of_block(a, b, k):
    """Indices of the k nearest rows of b, or of all if they are fewer, in no order, to each row of
    a: (N, k).

    In float32: of two that are nearly as near, the wrong one may be taken.
    """
    k = min(k, len(b))
    b = b.astype(np.float32) / 255
    norms = np.sum(b * b, axis=1)
    found = []
    for i in range(0, len(a), SAMPLES):
        distances = a[i : i + SAMPLES].astype(np.float32) @ (b.T * np.float32(-2 / 255))
        distances += norms  # the row's own norm is the same for all of b
        found.append(
            distances.argmin(1)[:, None] if k == 1 else np.argpartition(distances, k - 1, 1)[:, :k]
        )
    return np.concatenate(found)


def _distance(a, b):
    """The exact distance of each row of uint8 a (N, pixels) to the same row of b: (N,)."""
    difference = a.astype(np.int32) - b
    return np.sqrt(np.einsum("np,np->n", difference, difference)) / 255


def memorisation(images, test, training, seed=0):
    """The median distance of samples to their nearest training image, as a ratio to that of real
    test images.

    1: as far from the training images as new real images are; much below 1: copies. Well above 1 is
    no merit: blurred or broken images are far from everything. All three are uint8 images, of at
    most 2,000 samples and test images each, drawn by seed. Raises InputError for images that do not
    fit, and where the median test image is a training image.
    """
    rng = np.random.default_rng(seed)
    medians = [np.median(nearest(draw(x, AT_MOST, rng), training)[1]) for x in (images, test)]
    if medians[1] == 0:
        raise InputError(
            "the test images are among the training images: memorisation cannot be measured"
        )
    return float(medians[0] / medians[1])


def draw(array, n, seed):
    """n rows of an array, in order, drawn by a seed or a numpy Generator; all if there are fewer."""
    if len(array) <= n:
        return array
    return array[np.sort(np.random.default_rng(seed).choice(len(array), n, replace=False))]


def neighbours_picture(path, samples, training, k=3, columns=4):
    """Write a PNG of uint8 samples (N, H, W, C), each with its k nearest training images to its
    right.

    Such groups stand side by side, `columns` of them. training: uint8 images, or a Dataset. Errors:
    see `nearest`.
    """
    training = getattr(training, "images", training)
    samples, training = as_images(samples), as_images(training, np.shape(samples)[-1])
    indices, _ = nearest(samples, training, k)
    groups = np.concatenate([samples[:, None], training[indices]], axis=1)
    plots.save_image(path, plots.grid(groups.reshape(-1, *samples.shape[1:]), columns * (k + 1)))
