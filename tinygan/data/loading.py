"""Load a data set by its name: find its files, check them, and download them if need be. A path is
that of a user's own data (own.py).

`digits` is part of the package. The others are searched for in a few folders, then downloaded once.
The stacked data sets are made from the digits of another one, so they need its files. Points are
drawn when they are loaded.
"""

import contextlib
import difflib
import hashlib
import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygan.data import archive, download
from tinygan.data.cache import cache_folder
from tinygan.data.dataset import Dataset
from tinygan.data.idx import CHUNK, Unexpected, decode_idx, is_gzipped, open_to_read
from tinygan.data.points import DISTRIBUTIONS, SIZES, load_points
from tinygan.data.sources import ALL_FILES, FILES, SOURCES, STACKED, TEST_LABELS
from tinygan.data.stacked import STACK_NAMES, stack
from tinygan.errors import InputError, choose_from, quoted, warn_once

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
    wait, and an interrupted download continues where it stopped. Images are upright and labels
    count from 0, also where the files have them otherwise.

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
    _check_name(name)
    if given:
        raise InputError(
            f"--{given.replace('_', '-')} is for your own data, but {name} is a data set by name: "
            "leave it out, or give a path, as in --data ./images"
        )
    if data_dir is not None and STACKED.get(name, name) in ("digits", *DISTRIBUTIONS):
        raise InputError(
            f"nothing in the data folder {data_dir} would be used, because {name} is built into "
            "tinygan: leave --data-dir out, or choose a data set that is read from files, such as "
            f"--data mnist; to train on pictures of your own, use --data {quoted(data_dir)}"
        )
    if name in DISTRIBUTIONS:
        return load_points(name, split)
    if name in STACKED:
        digits = load(STACKED[name], split, data_dir)
        # The held-out images are stacked by themselves: none of their digits is in another stack.
        parts = digits.hold_out() if split == "train" else [digits]
        stacks = [stack(part.images, part.labels) for part in parts if part]
        images, labels = (np.concatenate(arrays) for arrays in zip(*stacks))
        return Dataset(name, split, images, labels, STACK_NAMES, shuffled=True)
    _check_folder(data_dir)
    folder = locate(name, data_dir) or _download(name, data_dir)
    source = SOURCES[name]
    images, labels = (_read(_find(folder, source, file), name, file) for file in FILES[split])
    if source.transposed:
        images = np.ascontiguousarray(images.swapaxes(1, 2))
    if len(images) != len(labels):
        path, problem = _find(folder, source, FILES[split][1]), f" of the {len(images):,} images"
        raise _refused(path, name, FILES[split][1], f"{problem} (it holds {len(labels):,} labels)")
    images, labels = images[..., np.newaxis], labels - source.first_label
    return Dataset(name, split, images, labels, source.class_names, source.shuffled)


def locate(name: str, data_dir: str | Path | None = None) -> Path | None:
    """Return the folder that holds the four files of `name`, or None. Points have no files.

    The folders are searched in this order: `data_dir` and then $TINYGAN_DATA (for both: the folder
    itself, its subfolder `name`, and torchvision's, such as MNIST/raw, in it), the user's cache
    folder, torchvision's folder in ./data. EMNIST's files may also be in its archive, gzip.zip, in
    one of these folders, or in the subfolder `gzip` of one, and have a subfolder `emnist` instead
    of `name`, too. A folder that holds another data set is skipped. Raises InputError if a folder
    holds unknown files under these names. Only the small file of the test labels is read here;
    `load` checks every file that it uses.
    """
    _check_name(name)
    name = STACKED.get(name, name)
    if name in DISTRIBUTIONS:
        return None
    if name == "digits":
        return BUILT_IN
    source = SOURCES[name]
    for folder in _search_path(name, data_dir):
        for place in (folder, folder / source.archive.inside) if source.archive else (folder,):
            if all(_find(place, source, file) for file in ALL_FILES):
                with contextlib.suppress(_OtherDataset):
                    _read(_find(place, source, TEST_LABELS), name, TEST_LABELS)
                    return place
    return None


def is_path(name: str) -> bool:
    """Return whether a text that is no data set's name is meant as the path of own data."""
    text = os.fspath(name)
    if not text:
        return True  # and an error: it may come from a variable that is not set
    return os.path.exists(os.path.expanduser(text)) or any(
        mark in text for mark in (os.sep, "/", "~", ".np")
    )


def names() -> tuple[str, ...]:
    """Return the names of all data sets."""
    return (*SOURCES, *STACKED, *DISTRIBUTIONS)


class Row(NamedTuple):
    """A line of `tinygan data`.

    where: "built in", a folder, "not here", or what is wrong with the files there. train, test:
    the number of images or points.
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
    for name in (*SOURCES, *STACKED):
        source = SOURCES[STACKED.get(name, name)]
        description = source.description
        if name in STACKED:
            description = f"three images of {STACKED[name]} in one, as red, green and blue"
        rows.append(Row(name, _where(name, data_dir), *source.sizes.values(), description))
    for name, distribution in DISTRIBUTIONS.items():
        description = f"points: {distribution.summary}"
        rows.append(Row(name, "built in", SIZES["train"], SIZES["test"], description))
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


def _check_name(name):
    """Raise InputError if there is no data set of this name."""
    if name not in names():
        folders = [entry.name for entry in os.scandir() if entry.is_dir()]
        similar = difflib.get_close_matches(str(name), folders, n=1)
        known = f"did you mean the folder {similar[0]}?" if similar else ""
        known = known or choose_from(names(), str(name))
        raise InputError(
            f"unknown data set {str(name)!r}, and there is no file or folder of that name: {known}"
        )


# ---- files ----


def _search_path(name, data_dir):
    """Return the folders that may hold the data set `name`, in the order of the search."""
    source = SOURCES[name]
    torchvision, folders = Path(source.torchvision, "raw"), []
    subfolders = [name, *([source.archive.folder] if source.archive else []), torchvision]
    for root in data_dir, os.environ.get("TINYGAN_DATA"):
        if root:
            root = Path(os.path.expanduser(root))
            folders += [root, *(root / subfolder for subfolder in subfolders)]
    return [*folders, _download_folder(name), "data" / torchvision]


def _find(folder, source, file):
    """Return where `file` is in `folder`, under any of the names by which it is distributed: a
    path, an archive.Member or None. Files of which a checksum is published are preferred."""
    name = source.file_name(file)
    spellings = name, name.replace("-idx", ".idx")
    gzipped = [f"{spelling}.gz" for spelling in spellings]
    if source.sha256:  # all of them can be verified: those that need no unpacking come first
        return _first_file(folder, [*spellings, *gzipped])
    found = _first_file(folder, gzipped)
    if not found and source.archive:
        found = archive.find(folder, source.archive, [*gzipped, *spellings])
    return found or _first_file(folder, spellings)


def _first_file(folder, names):
    return next((folder / name for name in names if os.path.isfile(folder / name)), None)


class _OtherDataset(InputError):
    """An intact file of another data set that uses the same file names."""


def _read(path, name, file, known_only=False):
    """Return the array in `path` (or archive.Member), which must be the `file` of data set `name`.

    Its checksum decides, if one is published of its content. If one is published only of the
    gzipped file, a file with another checksum may have been gzipped anew: it is accepted with a
    warning, or if known_only, refused. It may also hold fewer images than the published one.
    """
    source, digest = SOURCES[name], hashlib.sha256()
    zipped = isinstance(path, archive.Member)
    with archive.open_member(path, source.max_bytes(file)) if zipped else open_to_read(path) as raw:
        gzipped = is_gzipped(raw)
        try:
            fixed = source.shape(file) if source.sha256 or known_only else None
            array = decode_idx(raw, path, fixed, digest, np.uint8)
            if array.shape[1:] != source.shape(file)[1:] or not array.size:
                shape = f"{source.shape(file)} is expected"
                raise Unexpected(path, f"holds an array of shape {array.shape} where {shape}")
        except Unexpected as error:
            raise _refused(path, name, file, f" (it {error.problem})") from error
        owners = _owners(file, {digest.hexdigest()})
        if gzipped and not owners:
            owners = _owners(file, _checksums(raw))
    if name in owners:
        return array
    if owners:
        advice = f"give another folder as --data-dir, or use --data {owners[0]}"
        raise _OtherDataset(f"{path} belongs to {owners[0]}, not to {name}: {advice}")
    if source.sha256 or known_only:
        raise _refused(path, name, file, ", or is damaged (its checksum differs)")
    lowest, highest = source.first_label, source.first_label + len(source.class_names) - 1
    if "labels" in file and not lowest <= array.min() <= array.max() <= highest:
        found, expected = f"{array.min()} to {array.max()}", f"{lowest} to {highest}"
        problem = f" (it holds labels {found} where {expected} are expected)"
        raise _refused(path, name, file, problem)
    reason = "they were gzipped anew, or are other ones" if gzipped else "they are unpacked"
    warn_once(
        f"the content of {name}'s files in {_folder(path)} cannot be verified: {reason}, and "
        "checksums are published only of the gzipped files"
    )
    return array


def _folder(path):
    return path.archive.parent if isinstance(path, archive.Member) else path.parent


def _refused(path, name, file, problem):
    """Return the error about a file that is no published one. It may be the user's own data."""
    unpack = "unpack the archive, and " if isinstance(path, archive.Member) else ""
    folder = os.path.abspath(_folder(path))  # a relative one might be the name of a data set
    return InputError(
        f"{path} is not {name}'s {SOURCES[name].file_name(file)}{problem}: give another folder as "
        f"--data-dir; to train on it as your own data, {unpack}use --data {quoted(folder)}"
    )


def _owners(file, checksums):
    """Return the names of the data sets whose `file` has one of these checksums."""
    return [
        name
        for name, source in SOURCES.items()
        if {source.sha256.get(file), source.packed.get(file)} & checksums
    ]


def _checksums(raw):
    """Return the set of the SHA-256 and the MD5 of an open file."""
    digests = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    raw.seek(0)
    while chunk := raw.read(CHUNK):
        for digest in digests:
            digest.update(chunk)
    return {digest.hexdigest() for digest in digests}


# ---- download ----


def _download_folder(name):
    zipped = SOURCES[name].archive
    return cache_folder() / (zipped.folder if zipped else name)


def _download(name, data_dir):
    """Download the files of data set `name` that the cache folder lacks, and return their
    folder."""
    source, folder = SOURCES[name], _download_folder(name)
    try:
        with download.alone_in(folder):
            missing = [file for file in ALL_FILES if not _find(folder, source, file)]
            if missing and source.archive:
                target, size = folder / source.archive.names[0], source.archive.size
                if os.path.lexists(target):
                    raise InputError(f"{target} is in the way: move it elsewhere")
                check = partial(archive.check, archive=source.archive)
                download.fetch(target, source.mirrors, size, check)
            else:
                for file in missing:
                    check = partial(_read, name=name, file=file, known_only=True)
                    target = folder / f"{source.file_name(file)}.gz"
                    download.fetch(target, source.mirrors, source.max_bytes(file), check)
    except (InputError, OSError) as error:
        searched = ", ".join(map(str, _search_path(name, data_dir)))
        needed = [f"{source.file_name(file)}.gz" for file in ALL_FILES]
        needed = ", ".join(source.archive.names[:1] if source.archive else needed)
        raise InputError(
            f"{name} was not found (in {searched}) and cannot be downloaded "
            f"({download.reason(error)}): put {needed} from {source.homepage} in {folder}, or use "
            "--data digits, which needs no download"
        ) from error
    return folder
