"""Data of one's own: a folder of pictures, an array of images in a file, or a pair of IDX files."""

import gzip
import hashlib
import json
import os
import re
import zlib
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygan.errors import InputError, quoted, say_once
from tinygan.files import open_file, user_path

from . import arrays, folder, pictures
from .dataset import Dataset, Origin
from .idx import read_idx

MAX_SIDE = 1024  # pixels in height or width
MAX_CLASSES = 10_000
# What to do with files that people often have. Key: a suffix of the name.
OTHER_FILES = {
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar"), "unpack it, and give the folder"),
    **dict.fromkeys(
        (".pkl", ".pickle", ".pt", ".pth", ".h5", ".hdf5", ".mat", ".parquet", ".csv"),
        "write it as an .npz file, with np.savez(file, images=..., labels=...)",
    ),
}


class Reading(NamedTuple):
    """How to read data of one's own.

    image_size: (height, width) to which images are cropped and resized, or None. layout: "NHWC" or
    "NCHW" for an array of images, or None to decide by its shape. labels: the path of a file of
    labels, or None.
    """

    image_size: tuple[int, int] | None = None
    layout: str | None = None
    labels: str | None = None


def image_size(value: int | str | tuple[int, int] | None) -> tuple[int, int] | None:
    """Return (height, width), given N or (height, width) or a text such as "32" or "48x32". Raises
    InputError for anything else, and for a side that is not 1 to 1024."""
    if value is None:
        return None
    sides = re.split("[x,]", value) if isinstance(value, str) else np.ravel(value).tolist()
    try:
        height, width = map(int, sides if len(sides) == 2 else [*sides, *sides])
        if not isinstance(value, str) and [height, width][: len(sides)] != sides:
            raise ValueError
    except (ValueError, TypeError):
        raise InputError(f"image size {value}: give N, or HEIGHTxWIDTH, in pixels") from None
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise InputError(f"image size {value}: each side must be 1 to {MAX_SIDE} pixels")
    return height, width


def load(path: str | Path, split: str, reading: Reading, taken: tuple[str, ...]) -> Dataset | None:
    """Return the Dataset of a folder or a file; None if split is "test", and there is no test part.

    taken: the names of other data sets, which this one must not have. Raises InputError if it
    cannot be read.
    """
    given, path = path, user_path(path)
    if not os.path.exists(path):
        raise InputError(f"there is no file or folder {given}")
    parts = _parts_of_folder(path, reading) if path.is_dir() else _parts_of_file(path, reading)
    if split not in parts:
        return None
    found = parts["train"]()
    if split == "test":
        found = _like(parts["test"](), found, path)
    images, labels, class_names = found
    if max(images.shape[1:3]) > MAX_SIDE:
        raise InputError(
            f"{given}: images of {images.shape[1]}x{images.shape[2]} pixels are too large: use "
            "--image-size"
        )
    if len(images) == 1:
        raise InputError(f"{given} holds one image: a GAN needs two at least, and learns from many")
    _check_class_names(class_names, given)
    labels_path = reading.labels and os.path.abspath(user_path(reading.labels))
    origin = Origin(
        os.path.abspath(path),
        labels_path,
        reading.image_size,
        reading.layout,
        fingerprint(images, labels, class_names),
    )
    name = re.sub(r"[^\w.-]+", "-", Path(origin.path).name.split(".")[0]).strip("-.") or "data"
    name = f"own-{name}" if name in taken else name
    return Dataset(name, split, images, labels, tuple(class_names), origin=origin)


def _check_class_names(class_names, given):
    """Raise InputError for so many or so long names that config.json could not hold them."""
    if len(class_names) > MAX_CLASSES:
        raise InputError(
            f"{given}: {len(class_names):,} classes are more than {MAX_CLASSES:,}: for images "
            "without classes, put them into one folder, or leave out the labels"
        )
    if max(map(len, class_names)) > 200 or len(json.dumps(class_names)) > 500_000:
        longest = max(class_names, key=len)
        raise InputError(f"{given}: the names of classes are too long, such as {longest}")


def fingerprint(images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> str:
    """Return the SHA-256 of all images, labels and class names, in hexadecimal."""
    digest = hashlib.sha256(json.dumps([images.shape, class_names]).encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(labels.astype("<i8").data)
    return digest.hexdigest()


# The parts of the data, {"train": a function that returns (images, labels, class names), "test":
# another one, if there is a test part}


def _parts_of_folder(path, reading):
    """Return the parts of a folder of pictures, or of one that holds IDX files."""
    if axes := _idx_files(path):
        return _parts_of_idx(path, axes, reading)
    if reading.labels or reading.layout:
        option = "--labels" if reading.labels else "--layout"
        raise InputError(
            f"{option} is for arrays, but {path} is a folder of pictures: leave it out"
        )
    parts = folder.parts(path)
    if "test" in parts:
        inside = " and ".join(f"{part.name} (the {split} part)" for split, part in parts.items())
        say_once(f"{path}: the folders {inside} are no classes")
    return {
        split: partial(folder.read_pictures, part, reading.image_size)
        for split, part in parts.items()
    }


def _parts_of_file(path, reading):
    """Return the parts of a file of arrays."""
    if arrays.kind_of(path) is None:
        raise InputError(f"{path} {_what_it_is(path)}")
    held = arrays.read_images(path)
    names, parts = held.get("class_names"), {}
    for split in "train", "test":
        if found := arrays.images_and_labels(held, split):
            images, labels = found
            labels_path = path
            if split == "train" and reading.labels:
                labels_path = user_path(reading.labels)
                if not labels_path.is_file():
                    raise InputError(f"there is no file {reading.labels} of labels")
                labels = arrays.read_labels(labels_path)
            elif labels is None and arrays.kind_of(path) == "idx" and (file := _companion(path)):
                say_once(f"{path}: the labels are read from {file}")
                labels_path, labels = file, read_idx(file)
            parts[split] = partial(
                _checked, images, labels, path, labels_path, reading, names=names
            )
    return parts


def _like(test, train, path):
    """Return a test part with the class numbers, the channels and the size of the training part."""
    images, labels, names = test
    if unknown := set(names) - set(train[2]):
        raise InputError(
            f"{path}: the test part has a class {min(unknown)}, which the training part lacks"
        )
    if images.shape[3] > train[0].shape[3]:
        raise InputError(f"{path}: the test part is in colour, the training part is grey")
    images = images.repeat(train[0].shape[3] // images.shape[3], 3)
    numbers = np.array([train[2].index(name) for name in names])
    return pictures.fit_arrays(images, train[0].shape[1:3]), numbers[labels], train[2]


def _checked(images, labels, path, labels_path, reading, names=None):
    """Return (images, labels, class names) of arrays that were read from files."""
    images = arrays.as_images(images, path, reading.layout)
    labels, names = arrays.as_labels(labels, len(images), labels_path, names)
    if reading.image_size and images.shape[1:3] != reading.image_size:
        say_once(
            f"{path}: {len(images):,} images of {images.shape[1]}x{images.shape[2]} pixels are "
            f"cropped in the middle and resized to {'x'.join(map(str, reading.image_size))}"
        )
        images = pictures.fit_arrays(images, reading.image_size)
    return images, labels, names


def _what_it_is(path):
    """Say what is wrong with a file that holds no arrays."""
    suffix = path.suffix.lower()
    if suffix in OTHER_FILES:
        return f"cannot be read as images: {OTHER_FILES[suffix]}"
    if suffix in pictures.suffixes():
        return "is a single picture: give a folder of pictures"
    return "holds no images: give a folder of pictures, an .npz or .npy file, or an IDX file"


# IDX files


def _companion(path):
    """Return the file of labels that belongs to an IDX file of images, by its name, or None."""
    name = path.name.replace("images", "labels")
    names = {name, re.sub(r"idx\d", "idx1", name)}
    names |= {n.removesuffix(".gz") for n in names} | {f"{n}.gz" for n in names}
    found = [path.with_name(n) for n in sorted(names - {path.name}) if path.with_name(n).is_file()]
    return found[0] if found else None


def _idx_files(path):
    """Return {path: number of axes} of the IDX files in a folder."""
    axes = {}
    for name in sorted(os.listdir(path)):
        file = path / name
        if not name.startswith(".") and file.is_file() and _may_be_idx(name):
            with open_file(file, follow=True) as stream:
                if arrays.kind_of(file) == "idx":
                    axes[file] = _axes(stream)
    return {file: n for file, n in axes.items() if n}


def _may_be_idx(name):
    return "idx" in name.lower() or Path(name).suffix.lower() in ("", ".gz")


def _axes(stream):
    """Return the number of axes that the header of an IDX file announces; 0 if it is none."""
    start = stream.read(4)
    if start[:2] == arrays.GZIP_MAGIC:
        stream.seek(0)
        try:
            start = gzip.GzipFile(fileobj=stream).read(4)
        except (OSError, EOFError, zlib.error):
            return 0
    return start[3] if len(start) == 4 and start[:2] == b"\0\0" else 0


def _parts_of_idx(path, axes, reading):
    """Return the parts of a folder with a pair of IDX files, or two pairs. axes: {path: number of
    axes}."""
    is_test = lambda file: bool(re.search(r"t10k|test|val", file.name.lower()))
    parts = {}
    for split in "train", "test":
        files = [file for file in axes if is_test(file) == (split == "test")]
        images = [file for file in files if axes[file] > 1]
        labels = [file for file in files if axes[file] == 1]
        if files and (len(images) != 1 or len(labels) > 1):
            raise InputError(
                f"{path} holds several IDX files ({', '.join(file.name for file in files[:10])}): "
                f"give the one with the images, as in --data {quoted(max(axes, key=axes.get))}"
            )
        if files:
            parts[split] = partial(_read_pair, images[0], labels, reading)
    if "train" not in parts:
        return {"train": parts["test"]}
    if reading.labels:
        raise InputError(f"--labels is for a file of images, but {path} is a folder: leave it out")
    return parts


def _read_pair(images, labels, reading):
    array = read_idx(labels[0]) if labels else None
    return _checked(read_idx(images), array, images, labels[0] if labels else images, reading)
