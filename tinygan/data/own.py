"""Data of one's own: a folder of pictures, an array of images in a file, or a pair of IDX files."""

import gzip
import hashlib
import json
import os
import re
import zlib
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygan.errors import InputError, quoted, say_once, warn_once
from tinygan.files import open_file, user_path

from . import arrays, folder, pictures
from .dataset import Dataset, Origin
from .idx import axes, read_idx

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
    sides = re.split("[xX,]", value) if isinstance(value, str) else np.ravel(value).tolist()
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
    if not (path.is_dir() or path.is_file()):
        raise InputError(f"{given} is neither a file nor a folder")
    parts = _parts_of_folder(path, reading) if path.is_dir() else _parts_of_file(path, reading)
    if split not in parts:
        return None
    if "test" in parts:  # before anything is decoded
        _check_test_classes(parts, given)
    images, labels, class_names = found = parts["train"].read(reading.image_size)
    if split == "test":
        test = parts["test"].read(reading.image_size or images.shape[1:3])
        images, labels, class_names = _like(test, found, path)
    if max(images.shape[1:3]) > MAX_SIDE:
        raise InputError(
            f"{given}: images of {pictures.size_text(images.shape[1:])} pixels are too large: use "
            "--image-size"
        )
    if len(images) == 1 and split == "train":
        raise InputError(f"{given} holds one image: a GAN needs two at least, and learns from many")
    if images.max() <= 1:
        warn_once(
            f"{given}: all values are 0 or 1 of 255, so the images are black: if 1 is meant to be "
            "white, multiply them by 255, or save them as floats"
        )
    check_class_names(class_names, given)
    labels_path = reading.labels and os.path.abspath(user_path(reading.labels))
    origin = Origin(
        os.path.abspath(path),
        labels_path,
        reading.image_size,
        reading.layout,
        fingerprint(images, labels, class_names),
    )
    name = re.sub(r"[^\w-]+", "-", Path(origin.path).name.split(".")[0])[:60].strip("-") or "data"
    name = f"own-{name}" if name in taken else name
    return Dataset(name, split, images, labels, tuple(class_names), origin=origin)


def check_class_names(class_names, given):
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


# The parts of the data: {"train": a Part, "test": a Part, if there is one}


class Part(NamedTuple):
    """A part of own data. class_names: the names of its classes. read: a function of the size of
    the images, or None, that returns (images, labels, class names)."""

    class_names: tuple[str, ...]
    read: Any


def _check_test_classes(parts, given):
    """Raise InputError if the test part has a class that the training part lacks."""
    known = parts["train"].class_names
    if unknown := set(parts["test"].class_names) - set(known):
        has = f"has the class {min(unknown)}, which the training part lacks"
        if "all" in (known[0], min(unknown)):
            has = "has classes, and the training part has none, or the reverse"
        raise InputError(f"{given}: the test part {has}: make them alike, or move it elsewhere")


def _parts_of_folder(path, reading):
    """Return the parts of a folder of pictures, or of one that holds IDX files."""
    if found := _idx_files(path):
        _refuse_others(path, found)
        return _parts_of_idx(path, found, reading)
    if reading.labels or reading.layout:
        option = "--labels" if reading.labels else "--layout"
        raise InputError(
            f"{option} is for arrays, but {path} is a folder of pictures: leave it out"
        )
    parts = folder.parts(path)
    if "test" in parts:
        names = {"train": "the training part", "test": "the test part"}
        inside = " and ".join(f"{part.name} ({names[split]})" for split, part in parts.items())
        say_once(f"{path}: the folders {inside} are no classes")
    listings = {split: folder.list_pictures(part) for split, part in parts.items()}
    return {
        split: Part(tuple(listing.files), partial(folder.read_pictures, parts[split], listing))
        for split, listing in listings.items()
    }


def _parts_of_file(path, reading):
    """Return the parts of a file of arrays."""
    kind = arrays.kind_of(path)
    if path.name.lower().endswith((".npy.gz", ".npz.gz", ".tar.gz")):
        raise InputError(f"{path} is gzipped: unpack it")
    if kind is None or path.suffix.lower() in OTHER_FILES:
        raise InputError(f"{path} {_what_it_is(path)}")
    held, parts = arrays.read_images(path), {}
    found = {split: arrays.images_and_labels(held, split) for split in ("train", "test")}
    signed = any(part and arrays.is_signed(part[0]) for part in found.values())
    for split, part in found.items():
        if part:
            images, labels = part
            labels_path = path
            if split == "train" and reading.labels:
                labels_path = user_path(reading.labels)
                if not labels_path.is_file():
                    raise InputError(f"there is no file {reading.labels} of labels")
                labels = arrays.read_labels(labels_path)
            elif labels is None and kind == "idx" and (file := _companion(path)):
                say_once(f"{path}: the labels are read from {file}")
                labels_path, labels = file, read_idx(file)
            names = held.get("class_names")
            labels, names = arrays.as_labels(labels, len(images), labels_path, names, split)
            read = partial(checked, images, labels, names, path, reading.layout, signed)
            parts[split] = Part(names, read)
    return parts


def _like(test, train, path):
    """Return a test part with the class numbers, the channels and the size of the training part."""
    images, labels, names = test
    if images.shape[3] > train[0].shape[3]:
        raise InputError(f"{path}: the test part is in colour, the training part is grey")
    images = images.repeat(train[0].shape[3] // images.shape[3], 3)
    numbers = np.array([train[2].index(name) for name in names])
    return pictures.fit_arrays(images, train[0].shape[1:3]), numbers[labels], train[2]


def checked(images, labels, names, path, layout, signed, size):
    """Return (images, labels, class names) of an array of images. size: of the images, or None."""
    images = arrays.as_images(images, path, layout, signed)
    if size and images.shape[1:3] != size:
        before, after = map(pictures.size_text, (images.shape[1:3], size))
        say_once(
            f"{path}: {len(images):,} images of {before} pixels are cropped in the middle and "
            f"resized to {after}"
        )
        images = pictures.fit_arrays(images, size)
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
    plain = path.name.removesuffix(".gz")
    name = plain.replace("images", "labels")
    names = {name, re.sub(r"idx\d", "idx1", name)} - {plain}
    files = [path.with_name(f"{n}{suffix}") for n in sorted(names) for suffix in ("", ".gz")]
    return next((file for file in files if file.is_file()), None)


def _refuse_others(path, found):
    """Raise InputError if a folder holds pictures, or folders, beside IDX files."""
    subfolders, top, _ = folder.list_folder(path)
    if others := [*subfolders, *(name for name, *_ in top if path / name not in found)]:
        raise InputError(
            f"{path} holds IDX files beside {', '.join(others[:5])}: give the file with the "
            f"images, as in --data {quoted(max(found, key=found.get))}, or move them elsewhere"
        )


def _idx_files(path):
    """Return {path: number of axes} of the IDX files in a folder."""
    found = {}
    for name in folder.names_in(path):
        file = path / name
        if not name.startswith(".") and file.is_file() and _may_be_idx(name):
            with open_file(file, follow=True) as stream:
                if arrays.kind_of(file) == "idx":
                    found[file] = _axes_of(stream)
    return {file: n for file, n in found.items() if n}


def _may_be_idx(name):
    return "idx" in name.lower() or Path(name).suffix.lower() in ("", ".gz")


def _axes_of(stream):
    """Return the number of axes that the header of an IDX file announces; 0 if it is none."""
    start = stream.read(4)
    if start[:2] == arrays.GZIP_MAGIC:
        stream.seek(0)
        try:
            start = gzip.GzipFile(fileobj=stream).read(4)
        except (OSError, EOFError, zlib.error):
            return 0
    return axes(start)


def _parts_of_idx(path, found, reading):
    """Return the parts of a folder with a pair of IDX files, or two pairs. found: {path: number
    of axes}."""
    is_test = lambda file: bool(re.search(r"t10k|test|val", file.name.lower()))
    parts = {}
    for split in "train", "test":
        files = [file for file in found if is_test(file) == (split == "test")]
        images = [file for file in files if found[file] > 1]
        labels = [file for file in files if found[file] == 1]
        if files and (len(images) != 1 or len(labels) > 1):
            raise InputError(
                f"{path} holds several IDX files ({', '.join(file.name for file in files[:10])}): "
                f"give the one with the images, as in --data {quoted(max(found, key=found.get))}"
            )
        if files:
            array = read_idx(labels[0]) if labels else None
            pixels, where = read_idx(images[0]), labels[0] if labels else images[0]
            array, names = arrays.as_labels(array, len(pixels), where, part=split)
            read = partial(checked, pixels, array, names, images[0], reading.layout, False)
            parts[split] = Part(names, read)
    if "train" not in parts:
        return {"train": parts["test"]}
    if reading.labels:
        raise InputError(f"--labels is for a file of images, but {path} is a folder: leave it out")
    return parts
