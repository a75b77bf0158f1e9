"""A data set in memory: labelled images, their minibatches, and parts of them."""

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tinygan.data.balancing import BalancedStream
from tinygan.errors import InputError


class Origin(NamedTuple):
    """Where the images of a user's own Dataset come from, so that a run can find them again.

    path: the file or folder, absolute. labels: the path of a file of labels, or None. image_size:
    (height, width) if one was asked for, or None. layout: "NHWC", "NCHW" or None. fingerprint: the
    SHA-256 of all images, labels and class names.
    """

    path: str
    labels: str | None
    image_size: tuple[int, int] | None
    layout: str | None
    fingerprint: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images. `images` is uint8 (N, H, W, C), `labels` int64 (N,); both are read-only.

    shuffled: whether the images are in random order, as in the data sets that `load` returns by
    their names. origin: where own data come from; None for all others.
    Raises InputError if the images or labels have another type or shape, or if a label is not an
    index of `class_names`.

    unit: what the data are, for messages. form: the form of `images` (`points.Points` has another).
    """

    unit: ClassVar[str] = "images"
    form: ClassVar[str] = "uint8 (N, H, W, C)"

    name: str
    split: str
    images: np.ndarray[Any, Any] = field(repr=False)
    labels: np.ndarray[Any, Any] = field(repr=False)
    class_names: tuple[str, ...]
    shuffled: bool = False
    origin: Origin | None = None

    def __post_init__(self) -> None:
        images, labels, problem = np.asarray(self.images), np.asarray(self.labels), None
        if not self.has_right_form(images):
            problem = f"{self.unit} must be {self.form}, not {images.dtype} {images.shape}"
        elif labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
            n = len(images)
            problem = f"{n} {self.unit} need {n} integer labels, not {labels.dtype} {labels.shape}"
        elif not self.class_names:
            problem = "class_names needs at least one name"
        elif labels.min() < 0 or labels.max() >= self.num_classes:
            problem = (
                f"labels must be 0 to {self.num_classes - 1}, an index of the class names, "
                f"not {labels.min()} to {labels.max()}"
            )
        if problem:
            raise InputError(f"data set {self.name} ({self.split}): {problem}")

        for key, array in ("images", images), ("labels", labels.astype(np.int64, copy=False)):
            array = array.view()  # so that only our view becomes read-only, not the caller's array
            array.flags.writeable = False
            object.__setattr__(self, key, array)

    def __repr__(self) -> str:
        """Return the name, and how many images there are, of which shape, in how many classes."""
        images = f"{len(self)} {self.unit} {self.images.shape[1:]}"
        classes = f"{self.num_classes} classes"
        return f"{type(self).__name__}({self.name!r}, {self.split!r}: {images}, {classes})"

    @staticmethod
    def has_right_form(images: np.ndarray[Any, Any]) -> bool:
        """Return whether an array is uint8 (N, H, W, C), and not empty."""
        return images.dtype == np.uint8 and images.ndim == 4 and images.size > 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape (H, W, C) of an image."""
        return self.images.shape[1:]

    def subset(self, indices: Any, split: str | None = None) -> "Dataset":
        """Return the Dataset of the images at `indices`, an array or a slice. split: its name."""
        images, labels = self.images[indices], self.labels[indices]
        return replace(self, split=split or self.split, images=images, labels=labels)

    def hold_out(self, seed: int = 0) -> tuple["Dataset", "Dataset | None"]:
        """Split off held-out images, by which settings can be chosen: return (the rest, held out).

        A tenth of the images is held out, but at most 5,000: the last ones, or if the images are
        not known to be shuffled, some of each class, drawn by the seed, in proportion to its size.
        At least one image of each class stays. With fewer than 10 images, none is held out, and the
        second result is None.
        """
        n = min(len(self) // 10, 5000)
        rest, held_out = slice(0, len(self) - n), slice(len(self) - n, len(self))
        if not self.shuffled:
            held_out = self._some_of_each(n, np.random.default_rng([seed, 7]))
            rest, n = np.setdiff1d(np.arange(len(self)), held_out), len(held_out)
        return self.subset(rest), self.subset(held_out, "held-out") if n else None

    def _some_of_each(self, n, rng):
        """Return the indices of at most n random images, the same share of each class."""
        # An image's place in the random order of its class, as a share of the class: the n smallest
        # are a tenth of each class.
        place = np.full(len(self), np.inf)
        for members in (np.flatnonzero(self.labels == k) for k in np.unique(self.labels)):
            order = rng.permutation(members)
            place[order[1:]] = (np.arange(len(members) - 1) + 0.5) / len(members)
        order = np.lexsort((rng.permutation(len(self)), place))[:n]  # ties at random
        return np.sort(order[np.isfinite(place[order])])

    def balanced(self, n: int, seed: int) -> "Dataset":
        """Return n random images with equal numbers of each class (they differ by at most one).

        If a class has too few images, the other classes fill its place. Raises InputError if there
        are fewer than n images.
        """
        if not 1 <= n <= len(self):
            raise InputError(
                f"{n:,} {self.unit}: must be 1 to {len(self):,}, the size of {self.name} "
                f"({self.split})"
            )
        rng = np.random.default_rng([seed, 6])
        draw = np.empty(len(self), int)  # how many images of its class are drawn before each
        for members in (np.flatnonzero(self.labels == k) for k in np.unique(self.labels)):
            draw[rng.permutation(members)] = np.arange(len(members))
        order = np.lexsort((rng.permutation(self.num_classes)[self.labels], draw))
        return self.subset(np.sort(order[:n]))

    def padded(self, border: int) -> "Dataset":
        """Return the same images with `border` black pixels added on each side."""
        widths = (0, 0), (border, border), (border, border), (0, 0)
        return replace(self, images=np.pad(self.images, widths)) if border else self

    def batch(
        self, index: int, batch_size: int, seed: int, balanced: bool = False
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return minibatch `index` (0, 1, ...) of an endless stream, shuffled anew every epoch.

        Returns images, float32 (batch_size, H, W, C) in [-1, 1], and labels, int64 (batch_size,).
        An epoch leaves out the images that do not fill its last batch. balanced: let each batch
        have equal numbers of each class (they differ by at most one) instead, and draw the images
        of a class in a new order whenever they are used up. The stream has no state: a run that is
        resumed at step `index` gets the same batches as an uninterrupted one. Raises InputError for
        a batch size outside 1..N, for a negative index or seed, and for balanced batches of a
        single class.
        """
        indices = self.batch_indices(index, batch_size, seed, balanced)
        return to_float(self.images[indices]), self.labels[indices]

    def check_classes(self) -> None:
        """Raise InputError unless balanced batches are possible."""
        if len(self._balanced_stream.members) == 1:
            raise InputError(
                f"balanced batches need several classes, but all {self.unit} of {self.name} are of "
                "the same class: set balanced_batches=false"
            )

    @cached_property
    def _balanced_stream(self):
        return BalancedStream(self.labels)

    def batch_indices(
        self, index: int, batch_size: int, seed: int, balanced: bool = False
    ) -> np.ndarray[Any, Any]:
        """Return the indices of the images in `batch`: int64 (batch_size,)."""
        if not 1 <= batch_size <= len(self):
            raise InputError(
                f"batch size {batch_size}: must be 1 to {len(self)}, the size of {self.name}"
            )
        if index < 0 or seed < 0:
            raise InputError(f"batch index {index} and seed {seed} must not be negative")
        if balanced:
            self.check_classes()
            return self._balanced_stream.batch(index, batch_size, seed)
        epoch, i = divmod(index, len(self) // batch_size)
        return _permutation(seed, epoch, len(self))[i * batch_size : (i + 1) * batch_size]


@lru_cache(maxsize=4)  # the current epoch of a few streams that are read in parallel
def _permutation(seed, epoch, n):
    return np.random.default_rng([seed, epoch]).permutation(n)


def to_float(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Convert uint8 0..255 to float32 in [-1, 1]. 0 and 255 become exactly -1 and 1.

    Points, which are float32 already, are returned as they are.
    """
    if images.dtype == np.float32:
        return images
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_uint8(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Convert floats in [-1, 1] to uint8 0..255, rounded and clipped: the inverse of `to_float`."""
    return np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)
