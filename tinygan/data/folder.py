"""Read a folder of pictures: a class for each subfolder, or pictures without classes.

The pictures are decoded once, and kept in the cache (cache.py) under the names, sizes and times of
their files.
"""

import contextlib
import hashlib
import itertools
import json
import math
import os
import re
from pathlib import Path
from typing import Any, Iterator, NamedTuple

import numpy as np
import PIL
from tqdm import tqdm

from tinygan.errors import InputError, quoted, say_once
from tinygan.notebook import bar_options

from . import cache, pictures

DEFAULT_SIZE = (32, 32)  # where pictures have different sizes, or are larger than
LARGEST_KEPT = 64  # this many pixels in height or width
MAX_FILES = 1_000_000
MAX_BYTES = 4 << 30  # of all images together
SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}  # beside hidden ones
# Names of folders that hold parts of a data set rather than classes.
TRAIN, TEST = {"train", "training"}, {"test", "testing", "val", "valid", "validation"}
VERSION = 1  # of the way pictures are read: another version does not use the cached images


class Pictures(NamedTuple):
    """Decoded pictures: images, uint8 (N, H, W, C); labels, int64 (N,); and the names of the
    classes."""

    images: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    class_names: tuple[str, ...]


class Listing(NamedTuple):
    """The picture files of a folder, by class.

    files: {class: [file]}, in the order of the classes. A file is (path in the folder, bytes, time
    of its last change). others: the paths of files that are no pictures by their names.
    """

    files: dict[str, list[tuple[str, int, int]]]
    others: list[str]


def parts(folder: Path) -> dict[str, Path]:
    """Return {"train": a folder, "test": a folder} if the subfolders have names such as train, test
    and val; otherwise, {"train": the folder itself}.

    A folder that holds nothing but one folder of folders stands for that one. Raises InputError for
    pictures or other folders beside train and test.
    """
    visited: set[tuple[int, int]] = set()  # links may lead round in a circle
    while True:
        visited.add(_identity(folder))
        subfolders, top, _ = list_folder(folder)
        inner = folder / subfolders[0] if len(subfolders) == 1 and not top else None
        if inner is None or _identity(inner) in visited or not list_folder(inner)[0]:
            break
        say_once(f"{folder} holds only the folder {inner.name}: what is in it is read")
        folder = inner
    names = {
        split: [name for name in subfolders if name.lower() in known]
        for split, known in (("train", TRAIN), ("test", TEST))
    }
    if len(names["train"]) != 1 or len(subfolders) == 1:
        return {"train": folder}
    others = [name for name in subfolders if name not in names["train"] + names["test"]]
    if others and names["test"]:
        raise InputError(
            f"{folder} holds {_some(names['train'] + names['test'])} beside {_some(others)}: if "
            f"the first are parts of a data set, move {_some(others)} elsewhere; if all are "
            "classes, rename the first"
        )
    if others:
        return {"train": folder}
    if top:
        _refuse_beside(folder, top)
    # A test set comes before a validation set.
    in_order = sorted(names["test"], key=lambda name: not name.lower().startswith("test"))
    if len(in_order) > 1:
        say_once(f"{folder}: {', '.join(in_order[1:])} is not used, beside {in_order[0]}")
    return {"train": folder / names["train"][0], "test": folder / in_order[0]}


def list_pictures(folder: Path) -> Listing:
    """Return the Listing of a folder. Raises InputError if it holds no pictures, if a subfolder
    holds none, or if there are pictures beside the subfolders."""
    subfolders, top, others = list_folder(folder)
    listing, known = Listing({}, others), pictures.suffixes()
    above = {_identity(parent) for parent in (folder, *folder.resolve().parents)}
    for name in subfolders:
        files: list[tuple[str, int, int]] = []
        for entry in _files_below(folder / name, set(above)):
            _sort_in(folder, entry, files, others, known)
            if len(files) > MAX_FILES:
                raise InputError(f"{folder} holds more than {MAX_FILES:,} pictures: use fewer")
        listing.files[name] = files
    empty = [name for name, files in listing.files.items() if not files]
    if top and len(empty) < len(subfolders):
        _refuse_beside(folder, top)
    if top:
        return Listing({"all": top}, others)
    if len(empty) == len(subfolders):
        raise InputError(_no_pictures(folder, others))
    if empty:
        one = len(empty) == 1
        raise InputError(
            f"{folder}: the class{'' if one else 'es'} {_some(empty)} ha{'s' if one else 've'} no "
            f"pictures: put some in, or move {'that folder' if one else 'these folders'} elsewhere"
        )
    return listing


def list_folder(folder: Path) -> tuple[list[str], list[tuple[str, int, int]], list[str]]:
    """Return (names of the subfolders, pictures, other files) of a folder. Folders that hold runs
    of tinygan are left out with a message, and links that lead to the folder itself or above."""
    subfolders, top, others, runs = [], [], [], []
    known = pictures.suffixes()
    above = {_identity(parent) for parent in (folder, *folder.resolve().parents)}
    for entry in _entries(folder):
        if not _is_folder(entry):
            _sort_in(folder, entry, top, others, known)
        elif _holds_runs(Path(entry.path)):
            runs.append(entry.name)
        elif _identity(entry.path) not in above:
            subfolders.append(entry.name)
    if runs:
        say_once(f"{folder}: folders of runs are passed over: {_some(runs)}")
    return subfolders, top, others


def names_in(folder: Path) -> list[str]:
    """Return the names of what a folder holds, without hidden files and those of systems."""
    return [entry.name for entry in _entries(folder)]


def _holds_runs(folder):
    """Return whether a folder is the folder of a run, or holds nothing but such folders."""
    if _is_run(folder):
        return True
    found = False
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in filter(_is_shown, entries):
            if not (_is_folder(entry) and _is_run(Path(entry.path))):
                return False
            found = True
    return found


def _is_run(folder):
    return (folder / "config.json").is_file() and (folder / "samples").is_dir()


def _refuse_beside(folder, top):
    raise InputError(
        f"{folder} holds {_count(top)} beside folders of pictures: move them into one of these, or "
        "into a folder of their own"
    )


def read_pictures(folder: Path, listing: Listing, image_size: tuple[int, int] | None) -> Pictures:
    """Return the pictures of a Listing of a folder, upright, in grey if all are grey and else in
    RGB.

    image_size: the height and width to which they are cropped and resized; None keeps the size that
    they have if all have the same one, of up to 64 pixels a side, and otherwise makes them 32x32.
    Raises InputError, with the names of all files that cannot be read.
    """
    if listing.others:
        say_once(f"{folder}: files that are no pictures are passed over: {_some(listing.others)}")
    key = _key(folder, listing, image_size)
    kept = cache.read("pictures", key)
    if kept is None:
        found, said = _decode(folder, listing, image_size)
        kept = {
            "images": found.images,
            "labels": found.labels,
            "class_names": np.array(json.dumps(found.class_names)),
            "said": np.array(said),
        }
        cache.write("pictures", key, kept)
    if said := str(kept["said"]):
        say_once(said)
    names = tuple(json.loads(str(kept["class_names"])))
    return Pictures(kept["images"], kept["labels"].astype(np.int64), names)


def _key(folder, listing, image_size):
    """Return the SHA-256 of all that the decoded pictures depend on."""
    content = [VERSION, PIL.__version__, os.path.realpath(folder), image_size, listing.files]
    return hashlib.sha256(json.dumps(content).encode("utf-8", "surrogatepass")).hexdigest()


def _decode(folder, listing, image_size):
    """Return (the Pictures of a Listing, a sentence that says how they were resized, or "")."""
    names = [name for files in listing.files.values() for name, _, _ in files]
    labels = np.repeat(np.arange(len(listing.files)), [*map(len, listing.files.values())])
    broken: dict[str, str] = {}
    bar = lambda title: tqdm(names, title, unit="file", delay=1, **bar_options())
    headers = [
        _attempt(folder, name, broken, pictures.read_header) for name in bar("listing pictures")
    ]
    if len(broken) == len(names):
        _refuse(folder, broken, names)
    sizes = {header[:2] for header in headers if header}
    channels = 1 if all(header.is_grey for header in headers if header) else 3
    target, said = _target(folder, sizes, len(names), image_size)
    if (size := len(names) * target[0] * target[1] * channels) > MAX_BYTES:
        raise InputError(
            f"{folder}: {len(names):,} images of {pictures.size_text(target)} pixels would need "
            f"{size >> 30} GiB of memory: use a smaller --image-size"
        )
    images = np.empty((len(names), *target, channels), np.uint8)
    for name, image, header in zip(bar("reading pictures"), images, headers):
        resized = None if sizes == {target} else target
        decode = lambda path: pictures.read(path, channels, resized)
        if header and (pixels := _attempt(folder, name, broken, decode)) is not None:
            if pixels.shape != image.shape:
                broken[name] = (
                    f"its size is {pictures.size_text(pixels.shape)}, other than in its header"
                )
            else:
                image[:] = pixels
    _refuse(folder, broken, names)
    return Pictures(images, labels, tuple(listing.files)), said


def _attempt(folder, name, broken, read):
    """Return read(the path of a file), or note in `broken` why it cannot be read."""
    try:
        return read(folder / name)
    except InputError as error:
        broken[name] = str(error)
        return None


def _refuse(folder, broken, names):
    """Raise InputError if files are broken: one that names them."""
    if broken:
        first = next(iter(broken.values()))
        raise InputError(
            f"{folder}: {len(broken):,} of {len(names):,} pictures cannot be read: "
            f"{_some(list(broken), 1000)}: repair them, or move them elsewhere (the first: {first})"
        )


def _target(folder, sizes, count, image_size):
    """Return (the size of the images, a sentence that says so if the pictures are resized)."""
    sides = sorted(side for size in sizes for side in size)
    small, large = min(sizes, key=math.prod), max(sizes, key=math.prod)
    keep = len(sizes) == 1 and max(large) <= LARGEST_KEPT
    target = image_size or (large if keep else DEFAULT_SIZE)
    if sizes == {target}:
        return target, ""
    range_of_sizes = (
        f"{pictures.size_text(small)} pixels"
        if len(sizes) == 1
        else f"{sides[0]} to {sides[-1]} pixels a side"
    )
    other = "" if image_size else " (the option --image-size of a new run changes this)"
    return target, (
        f"{folder}: {count:,} picture{'s' * (count > 1)} of {range_of_sizes} "
        f"{'are' if count > 1 else 'is'} cropped in the middle and resized to "
        f"{pictures.size_text(target)}{other}"
    )


# Listing files


def _entries(folder) -> list[os.DirEntry[str]]:
    """Return what a folder holds, in natural order, without hidden files and those of systems."""
    try:
        with os.scandir(folder) as entries:
            found = list(filter(_is_shown, entries))
    except OSError as error:
        raise InputError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    return sorted(found, key=_natural)


def _is_shown(entry):
    return not entry.name.startswith(".") and entry.name.lower() not in SYSTEM_FILES


def _natural(entry):
    """The sort key of natural order: 2.png before 10.png."""
    parts = re.split(r"([0-9]{1,18})", entry.name.casefold())
    return [
        (part, 0) if i % 2 == 0 else ("", int(part)) for i, part in enumerate(parts)
    ], entry.name


def _identity(path):
    info = os.stat(path)
    return info.st_dev, info.st_ino


def _files_below(folder: Path, visited: set[tuple[int, int]]) -> Iterator[os.DirEntry[str]]:
    """Yield the files in a folder and its subfolders. visited: the identities of folders that are
    passed over, because a link may lead to them."""
    left = [folder]
    while left:
        folder = left.pop()
        here, subfolders = _identity(folder), []
        for entry in _entries(folder) if here not in visited and not _is_run(folder) else ():
            if _is_folder(entry):
                subfolders.append(Path(entry.path))
            else:
                yield entry
        visited.add(here)
        left += reversed(subfolders)


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


def _sort_in(folder, entry, files, others, known):
    """Add a file to `files` if it is a picture by its name, or by its content if its name has no
    suffix, and otherwise to `others`."""
    name = os.path.relpath(entry.path, folder)
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix not in known and (suffix or not _is_picture(entry.path)):
        others.append(name)
        return
    try:
        info = entry.stat()
    except OSError:  # a link that leads nowhere: decoding says so, with the other broken files
        files.append((name, 0, 0))
    else:
        files.append((name, info.st_size, info.st_mtime_ns))


def _is_picture(path):
    try:
        pictures.read_header(path)
    except InputError:
        return False
    return True


def _no_pictures(folder, others):
    """Return the message for a folder without pictures."""
    arrays = [name for name in others if name.lower().endswith((".npz", ".npy"))]
    if arrays:
        path = quoted(Path(folder, arrays[0]))
        return f"{folder} holds no pictures; for arrays, give the file: --data {path}"
    holds = f" (it holds {_some(others)})" if others else ""
    return f"{folder} holds no pictures{holds}: give a folder of pictures, or of folders of them"


def _count(items):
    return f"{len(items):,} picture{'s' * (len(items) > 1)}"


def _some(names, max_length=200):
    """Return the first names of a list as text, about as many as fit into max_length characters."""
    lengths = itertools.accumulate(len(name) + 2 for name in names)
    shown = max(1, sum(length <= max_length for length in lengths))
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
