"""Data that a Python program hands over in memory: a Dataset, or arrays."""

from dataclasses import replace
from typing import Any

import numpy as np

from tinygan.errors import InputError

from . import arrays, loading, own
from .dataset import Dataset


def as_dataset(
    given: Any,
    data_dir: Any = None,
    image_size: int | str | tuple[int, int] | None = None,
    layout: str | None = None,
    labels: Any = None,
) -> Dataset:
    """Return the Dataset of data in memory.

    given: a Dataset, or an array of images, or (images, labels). An array of images is as in a file
    of one's own (see arrays.as_images); labels: whole numbers or texts (N,). image_size, layout: as
    for `loading.load`, for arrays. Raises InputError for anything else, and for an option that
    would not be used.

    A Dataset of which only a part is in use, or whose images have been changed, is renamed, so that
    nothing later takes the whole data set of its name for it.
    """
    options = {"data_dir": data_dir, "image_size": image_size, "layout": layout, "labels": labels}
    if isinstance(given, Dataset):
        _refuse(options, "a Dataset")
        return _as_it_is(given)
    images, pair = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    if not isinstance(images, np.ndarray):
        raise InputError(
            "data must be the name of a data set, a path, a Dataset, an array of images, or "
            f"(images, labels), not {type(images).__name__}"
            f"{': write np.stack(...) for images of one size' * isinstance(images, list)}"
        )
    if pair is not None and labels is not None:
        raise InputError("labels are given twice: with data, and by themselves")
    _refuse({"data_dir": data_dir}, "an array")
    labels = pair if labels is None else labels
    if isinstance(labels, str) or hasattr(labels, "__fspath__"):
        raise InputError("labels of an array of images must be an array, too, not a path")
    where: Any = "data"  # in messages, the place of a file
    numbers, names = arrays.as_labels(
        None if labels is None else np.asarray(labels), len(images), where
    )
    own.check_class_names(names, where)
    signed = arrays.is_signed(images)
    images, numbers, names = own.checked(
        images, numbers, names, where, layout, signed, own.image_size(image_size)
    )
    return Dataset("array", "train", images, numbers, names)


def _refuse(options, kind):
    """Raise InputError if an option is given that is not used for data of this kind."""
    if used := next((name for name, value in options.items() if value is not None), None):
        raise InputError(f"{used} is not used with data that are {kind}: leave it out")


def _as_it_is(dataset):
    """Return the Dataset; with another name and no origin, if what can be found again by these is
    not the same."""
    origin = dataset.origin
    if origin is not None:
        content = dataset.images, dataset.labels, dataset.class_names
        same = own.fingerprint(*content) == origin.fingerprint
    elif dataset.name in loading.names():
        whole = loading.load(dataset.name)
        same = all(
            np.array_equal(getattr(whole, part), getattr(dataset, part))
            for part in ("images", "labels")
        )
    else:
        same = True
    return dataset if same else replace(dataset, name=f"{dataset.name}-changed", origin=None)
