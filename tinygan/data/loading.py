"""Load a data set by its name: find its files, check them, and download them if need be. A path is
that of a user's own data (own.py).

`digits` is part of the package. The full MNIST and Fashion-MNIST are searched for in a few folders,
then downloaded once. The stacked data sets are made from the digits of another one, so they need
its files.
"""

import contextlib
import hashlib
import math
import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygan.data import download
from tinygan.data.cache import cache_folder
from tinygan.data.dataset import Dataset
from tinygan.data.idx import read_idx
from tinygan.data.sources import ALL_FILES, FILES, SOURCES, STACKED, TEST_LABELS
from tinygan.data.stacked import STACK_NAMES, stack
from tinygan.errors import InputError, choose_from, quoted

BUILT_IN = Path(__file__).parent / "digits"


class NoTestPart(InputError):
    """Own data have no test images."""


def load(
    name: str | Path = "digits",
    split: str = "train",
    data_dir: str | Path | None = None,
    *,
    image_size: int | str | tuple[int, int] | None = None,
    layout: str | None = None,
    labels: str | Path | None = None,
) -> Dataset:
    """Load the data set `name` ("digits", "mnist", ...; `catalogue` lists them), or your own data
    from the path `name`: a folder of pictures, with a subfolder for each class or without classes;
    an .npz or .npy file of images; an IDX file; a folder with a pair of IDX files.

    split: "train" or "test". data_dir: a folder to search first, see `locate`. A data set that is
    found nowhere is downloaded into the user's cache folder. One process downloads while others
    wait, and an interrupted download continues where it stopped.

    For own data only:
    image_size: N, or (height, width): crop images in the middle to this aspect, and resize them.
        Without it, pictures become 32x32, unless all have the same size of up to 64 pixels a side.
    layout: "NHWC" or "NCHW", for an array whose shape may be misunderstood.
    labels: an .npy, .npz or IDX file of labels, for a file of images without them.

    Raises InputError for an unknown name or split, if data_dir does not exist or would not be used,
    if a file has the wrong content, and if the download fails; NoTestPart if own data have no test
    images.
    """
    if split not in FILES:
        raise InputError(f"unknown split {split!r}: {choose_from(FILES, split)}")
    options = {"image_size": image_size, "layout": layout, "labels": labels}
    given = next((option for option, value in options.items() if value is not None), None)
    if name not in names() and is_path(name):
        from tinygan.data import own  # slow to import, like Pillow and tqdm, which it uses

        if data_dir is not None:
            raise InputError(f"--data-dir {data_dir} is not used with --data {name}: leave it out")
        dataset = own.load(
            name, split, own.Reading(own.image_size(image_size), layout, labels), names()
        )
        if dataset is None:
            raise NoTestPart(f"{name} has no test images, such as in a folder called test")
        return dataset
    if given:
        raise InputError(
            f"--{given.replace('_', '-')} is for your own data, but {name} is a data set by name: "
            "leave it out, or give a path, as in --data ./images"
        )
    source = _source(name)
    if data_dir is not None and STACKED.get(name, name) == "digits":
        raise InputError(
            f"nothing in the data folder {data_dir} would be used, because {name} is built into "
            "tinygan: leave --data-dir out, or choose a data set that is read from files, such as "
            f"--data mnist; to train on pictures of your own, use --data {quoted(data_dir)}"
        )
    if name in STACKED:
        digits = load(STACKED[name], split, data_dir)
        # The held-out images are stacked by themselves: none of their digits is in another stack.
        parts = digits.hold_out() if split == "train" else [digits]
        stacks = [stack(part.images, part.labels) for part in parts if part]
        images, labels = (np.concatenate(arrays) for arrays in zip(*stacks))
        return Dataset(name, split, images, labels, STACK_NAMES, shuffled=True)
    _check_folder(data_dir)
    folder = locate(name, data_dir) or _download(name, data_dir)
    images, labels = (_read(_find(folder, file), name, file) for file in FILES[split])
    images = images[..., np.newaxis]
    return Dataset(name, split, images, labels, source.class_names, shuffled=True)


def locate(name: str, data_dir: str | Path | None = None) -> Path | None:
    """Return the folder that holds the four files of `name`, or None.

    The folders are searched in this order: `data_dir` and then $TINYGAN_DATA (for both: the folder
    itself, its subfolder `name`, and torchvision's MNIST/raw or FashionMNIST/raw in it), the user's
    cache folder, torchvision's folder in ./data. A folder that holds another data set is skipped.
    Raises InputError if a folder holds unknown files under these names. Only the small file of the
    test labels is read here; `load` checks every file that it uses.
    """
    _source(name)
    name = STACKED.get(name, name)
    if name == "digits":
        return BUILT_IN
    for folder in _search_path(name, data_dir):
        if all(_find(folder, file) for file in ALL_FILES):
            with contextlib.suppress(_OtherDataset):
                _read(_find(folder, TEST_LABELS), name, TEST_LABELS)
                return folder
    return None


def is_path(name: str) -> bool:
    """Return whether a text that is no data set's name is meant as the path of own data."""
    text = os.fspath(name)
    return os.path.exists(os.path.expanduser(text)) or any(
        mark in text for mark in (os.sep, "/", "~", ".np")
    )


def names() -> tuple[str, ...]:
    """Return the names of all data sets."""
    return (*SOURCES, *STACKED)


class Row(NamedTuple):
    """A line of `tinygan data`.

    where: "built in", a folder, "not here", or what is wrong with the files there. train, test:
    the number of images.
    """

    name: str
    where: str
    train: int
    test: int
    description: str


def catalogue(data_dir: str | Path | None = None) -> list[Row]:
    """Return a Row for every data set. Reads little and downloads nothing; bad files are reported
    in their Row."""
    _check_folder(data_dir)
    rows = []
    for name in names():
        source, description = _source(name), _source(name).description
        if name in STACKED:
            description = f"three images of {STACKED[name]} in one, as red, green and blue"
        rows.append(Row(name, _where(name, data_dir), *source.sizes.values(), description))
    return rows


def _check_folder(data_dir):
    """Raise InputError if the folder does not exist: a mistyped one must not start a download."""
    if data_dir and not os.path.isdir(os.path.expanduser(data_dir)):
        raise InputError(f"data folder {data_dir} does not exist: give one that does")


def _where(name, data_dir):
    try:
        folder = locate(name, data_dir)
    except InputError as error:
        return str(error)
    return "built in" if folder == BUILT_IN else str(folder or "not here")


def _source(name):
    """Return the Source of a data set, or of the digits that it stacks."""
    if name not in names():
        known = choose_from(names(), str(name))
        raise InputError(
            f"unknown data set {str(name)!r}, and there is no file or folder of that name: {known}"
        )
    return SOURCES[STACKED.get(name, name)]


# ---- files ----


def _search_path(name, data_dir):
    """Return the folders that may hold the data set `name`, in the order of the search."""
    torchvision = Path(SOURCES[name].torchvision, "raw")
    folders = []
    for root in data_dir, os.environ.get("TINYGAN_DATA"):
        if root:
            root = Path(os.path.expanduser(root))
            folders += [root, root / name, root / torchvision]
    return [*folders, cache_folder() / name, "data" / torchvision]


def _find(folder, file):
    """Return the path of `file` in `folder`, under any of the names by which it is distributed, or
    None."""
    for spelling in file, file.replace("-idx", ".idx"):
        for path in folder / spelling, folder / f"{spelling}.gz":
            if os.path.isfile(path):
                return path
    return None


class _OtherDataset(InputError):
    """An intact file of another data set that uses the same file names."""


def _read(path, name, file):
    """Return the array in `path`, which must be the `file` of data set `name`, byte for byte."""
    digest = hashlib.sha256()
    array = read_idx(path, SOURCES[name].shape(file), digest)
    checksum = digest.hexdigest()
    owners = [other for other, source in SOURCES.items() if source.sha256[file] == checksum]
    if name in owners:
        return array
    advice = "give another folder as --data-dir"
    if owners:
        raise _OtherDataset(f"{path} belongs to {owners[0]}, not to {name}: {advice}")
    raise InputError(
        f"{path} is not {name}'s {file}, or is damaged (its SHA-256 differs): {advice}; to "
        f"train on it as your own data, use --data {quoted(path.parent)}"
    )


# ---- download ----


def _download(name, data_dir):
    """Download the files of data set `name` that the cache folder lacks, and return their
    folder."""
    source, folder = SOURCES[name], cache_folder() / name
    try:
        with download.alone_in(folder):
            for file in ALL_FILES:
                if not _find(folder, file):
                    target = folder / f"{file}.gz"
                    # gzip adds less than 4096 bytes to data that it cannot compress.
                    max_bytes = math.prod(source.shape(file)) + 4096
                    check = partial(_read, name=name, file=file)
                    download.fetch(target, source.mirrors, max_bytes, check)
    except (InputError, OSError) as error:
        searched = ", ".join(map(str, _search_path(name, data_dir)))
        needed = ", ".join(f"{file}.gz" for file in ALL_FILES)
        raise InputError(
            f"{name} was not found (in {searched}) and cannot be downloaded "
            f"({download.reason(error)}): put {needed} in {folder}, or use --data digits, "
            "which needs no download"
        ) from error
    return folder
