"""The data sets: what they are, where they are found, and how they are cut into minibatches.

`digits` is part of the package. The full MNIST and Fashion-MNIST are looked for in a few folders,
then downloaded once. Both use the same file names, so a file is known by its SHA-256, never by its
folder. The stacked ones are made of the digits of another, and are where that one is.
"""

import contextlib
import hashlib
import math
import os
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygan.data import download
from tinygan.data.idx import read_idx
from tinygan.data.stacked import STACK_NAMES, stack
from tinygan.errors import InputError

BUILT_IN = Path(__file__).parent / "digits"

FILES = {  # split -> (images, labels), under the names that MNIST gave them
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
ALL_FILES = FILES["train"] + FILES["test"]


@dataclass(frozen=True)
class Source:
    """What is known of a data set before it is read."""

    description: str
    class_names: tuple[str, ...]
    sizes: dict[str, int]  # split -> number of images
    sha256: dict[str, str]  # file -> checksum of its uncompressed content
    torchvision: str = ""  # the folder in which torchvision keeps it
    mirrors: tuple[str, ...] = ()

    def shape(self, file):
        """The shape of the array in `file`: (N, 28, 28) for images, (N,) for labels."""
        n = self.sizes["train" if file in FILES["train"] else "test"]
        return (n, 28, 28) if "images" in file else (n,)


DIGIT_NAMES = tuple("0123456789")
FASHION_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

SOURCES = {
    "digits": Source(
        "handwritten digits: the first part of MNIST, built into tinygan",
        DIGIT_NAMES,
        {"train": 10_000, "test": 2_000},
        dict(
            zip(
                ALL_FILES,
                (
                    "2889698e6bc3614913e76901316712919d1998fc2b44512451bfe65bc1e668b1",
                    "651e38e2ac0632f5113ec18f1df4977117f953197819034009971a6675a0df78",
                    "3f6bd66dee48df299584c67669bceee490faa25f931496bd7473b42106d7daed",
                    "7b098e5f6a3065807cebeabf36fb1724a8aff19f2673ac08b4923e0e8c715bce",
                ),
            )
        ),
    ),
    "mnist": Source(
        "handwritten digits (LeCun, Cortes and Burges)",
        DIGIT_NAMES,
        {"train": 60_000, "test": 10_000},
        dict(
            zip(
                ALL_FILES,
                (
                    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                ),
            )
        ),
        "MNIST",
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
    "fashion-mnist": Source(
        "clothes and shoes (Xiao, Rasul and Vollgraf, 2017)",
        FASHION_NAMES,
        {"train": 60_000, "test": 10_000},
        dict(
            zip(
                ALL_FILES,
                (
                    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                ),
            )
        ),
        "FashionMNIST",
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
    ),
}

STACKED = {"stacked-digits": "digits", "stacked-mnist": "mnist"}  # made of


# ---- a data set in memory ----


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images. `images` is uint8 (N, H, W, C), `labels` int64 (N,); both are read-only."""

    name: str
    split: str
    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    class_names: tuple[str, ...]

    def __post_init__(self):
        images, labels, problem = np.asarray(self.images), np.asarray(self.labels), None
        if images.dtype != np.uint8 or images.ndim != 4 or images.size == 0:
            problem = f"images must be uint8 (N, H, W, C), not {images.dtype} {images.shape}"
        elif labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
            problem = (
                f"{len(images)} images need as many integer labels, "
                f"not {labels.dtype} {labels.shape}"
            )
        elif labels.min() < 0 or labels.max() >= self.num_classes:
            problem = (
                f"labels {labels.min()} to {labels.max()} do not fit {self.num_classes} class names"
            )
        if problem:
            raise InputError(f"data set {self.name} ({self.split}): {problem}")

        for key, array in ("images", images), ("labels", labels.astype(np.int64, copy=False)):
            array = array.view()  # so that only our view becomes read-only, not the caller's array
            array.flags.writeable = False
            object.__setattr__(self, key, array)

    def __len__(self):
        return len(self.labels)

    @property
    def num_classes(self):
        return len(self.class_names)

    @property
    def image_shape(self):
        """(H, W, C)"""
        return self.images.shape[1:]

    def subset(self, chosen, split=None):
        """The Dataset of the images that an index array or a slice chooses."""
        return replace(
            self, split=split or self.split, images=self.images[chosen], labels=self.labels[chosen]
        )

    def hold_out(self):
        """(the rest, the held-out images): the last tenth, at most 5,000, is kept apart, to choose
        settings by. Of fewer than 10 images none is held out: then the second is None."""
        n = min(len(self) // 10, 5000)
        rest = self.subset(slice(0, len(self) - n))
        return rest, self.subset(slice(len(self) - n, None), "held-out") if n else None

    def balanced(self, n, seed):
        """n images, drawn by the seed: as many of each class (to one), as long as there are enough.
        Raises InputError if there are not n images."""
        if not 1 <= n <= len(self):
            raise InputError(
                f"{n:,} images: must be 1 to {len(self):,}, the size of {self.name} ({self.split})"
            )
        rng = np.random.default_rng([seed, 6])
        turn = np.empty(len(self), int)  # of each class, 0 for the image drawn first, then 1...
        for members in (np.flatnonzero(self.labels == k) for k in np.unique(self.labels)):
            turn[rng.permutation(members)] = np.arange(len(members))
        order = np.lexsort((rng.permutation(self.num_classes)[self.labels], turn))
        return self.subset(np.sort(order[:n]))

    def padded(self, border):
        """The same images with `border` black pixels on each side."""
        widths = (0, 0), (border, border), (border, border), (0, 0)
        return replace(self, images=np.pad(self.images, widths)) if border else self

    def batch(self, index, batch_size, seed):
        """Minibatch number `index` (0, 1, ...) of an endless stream, shuffled anew every epoch.

        Returns images, float32 (batch_size, H, W, C) in [-1, 1], and labels, int64 (batch_size,).
        An epoch leaves out the images that do not fill a last batch. The stream has no state: a run
        resumed at step `index` sees what the unbroken one would have seen.
        """
        chosen = self.chosen(index, batch_size, seed)
        return to_float(self.images[chosen]), self.labels[chosen]

    def chosen(self, index, batch_size, seed):
        """The numbers of the images of `batch`: int64 (batch_size,)."""
        if not 1 <= batch_size <= len(self):
            raise InputError(
                f"batch size {batch_size}: must be 1 to {len(self)}, the size of {self.name}"
            )
        if index < 0 or seed < 0:
            raise InputError(f"batch index {index} and seed {seed} must not be negative")
        epoch, i = divmod(index, len(self) // batch_size)
        return _permutation(seed, epoch, len(self))[i * batch_size : (i + 1) * batch_size]


@lru_cache(maxsize=4)  # the epoch in progress, for a few streams side by side
def _permutation(seed, epoch, n):
    return np.random.default_rng([seed, epoch]).permutation(n)


def to_float(images):
    """uint8 0..255 to float32 [-1, 1]; the ends are exact."""
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_uint8(images):
    """Float [-1, 1] to uint8 0..255, rounded and clipped. The inverse of `to_float`."""
    return np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)


# ---- by name ----


def load(name="digits", split="train", data_dir=None):
    """The Dataset `name` ("digits", "mnist", "fashion-mnist", "stacked-digits", "stacked-mnist").

    split: "train" or "test"; data_dir: a folder to look in first, see `locate`. A data set that is
    found nowhere is downloaded into the user's cache folder, by one process while others wait; an
    interrupted download goes on from where it ended. Raises InputError for an unknown name or
    split, a data_dir that does not exist, a file that is not what it should be, and a download that
    fails.
    """
    source = _source(name)
    if split not in FILES:
        raise InputError(f"unknown split {split!r}: choose from {', '.join(FILES)}")
    if name in STACKED:
        digits = load(STACKED[name], split, data_dir)
        # No digit of a held-out stack is in another.
        parts = digits.hold_out() if split == "train" else [digits]
        stacks = [stack(part.images, part.labels) for part in parts if part]
        return Dataset(
            name, split, *(np.concatenate(arrays) for arrays in zip(*stacks)), STACK_NAMES
        )
    _check_folder(data_dir)
    folder = locate(name, data_dir) or _download(name, data_dir)
    images, labels = (_read(_find(folder, file), name, file) for file in FILES[split])
    return Dataset(name, split, images[..., np.newaxis], labels, source.class_names)


def locate(name, data_dir=None):
    """The folder that holds the four files of `name`, as a Path, or None.

    In this order: `data_dir`, then $TINYGAN_DATA (for both: the folder itself, its subfolder
    `name`, torchvision's MNIST/raw or FashionMNIST/raw in it), the user's cache folder,
    torchvision's folder in ./data. A folder with another data set's files is passed over; unknown
    files under these names are an InputError. Only the small test labels are read here; `load`
    checks each file that it uses.
    """
    _source(name)
    name = STACKED.get(name, name)
    if name == "digits":
        return BUILT_IN
    for folder in _places(name, data_dir):
        if all(_find(folder, file) for file in ALL_FILES):
            file = FILES["test"][1]
            with contextlib.suppress(_OtherDataset):
                _read(_find(folder, file), name, file)
                return folder
    return None


class Row(NamedTuple):
    """One line of `tinygan data`."""

    name: str
    where: str  # "built in", a folder, "not here", or what is wrong with the files there
    train: int  # number of images
    test: int
    description: str


def catalogue(data_dir=None):
    """A Row for every data set. Reads little, downloads nothing, and shows bad files as such."""
    _check_folder(data_dir)
    rows = []
    for name in (*SOURCES, *STACKED):
        source, about = _source(name), _source(name).description
        if name in STACKED:
            about = f"three digits of {STACKED[name]} in red, green and blue"
        rows.append(Row(name, _where(name, data_dir), *source.sizes.values(), about))
    return rows


def _check_folder(data_dir):
    """A mistyped folder must not end in a download."""
    if data_dir and not os.path.isdir(os.path.expanduser(data_dir)):
        raise InputError(f"data folder {data_dir} does not exist")


def _where(name, data_dir):
    try:
        folder = locate(name, data_dir)
    except InputError as error:
        return str(error)
    return "built in" if folder == BUILT_IN else str(folder or "not here")


def _source(name):
    if name not in (*SOURCES, *STACKED):
        known = ", ".join((*SOURCES, *STACKED))
        raise InputError(f"unknown data set {name!r}: choose from {known}")
    return SOURCES[STACKED.get(name, name)]


# ---- files ----


def _cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or (os.name == "nt" and os.environ.get("LOCALAPPDATA"))
    return Path(os.path.expanduser(base or "~/.cache"), "tinygan")


def _places(name, data_dir):
    """The folders that may hold data set `name`, in the order in which they are tried."""
    torchvision = Path(SOURCES[name].torchvision, "raw")
    places = []
    for root in data_dir, os.environ.get("TINYGAN_DATA"):
        if root:
            root = Path(os.path.expanduser(root))
            places += [root, root / name, root / torchvision]
    return [*places, _cache_folder() / name, "data" / torchvision]


def _find(folder, file):
    """The path of `file` in `folder` under any of the names it is distributed as, or None."""
    for spelling in file, file.replace("-idx", ".idx"):
        for path in folder / spelling, folder / f"{spelling}.gz":
            if os.path.isfile(path):
                return path
    return None


class _OtherDataset(InputError):
    """A sound file, but of another data set, which uses the same file names."""


def _read(path, name, file):
    """The array in `path`, which must be the `file` of data set `name`, byte for byte."""
    digest = hashlib.sha256()
    array = read_idx(path, SOURCES[name].shape(file), digest)
    found = digest.hexdigest()
    owners = [other for other, source in SOURCES.items() if source.sha256[file] == found]
    if name in owners:
        return array
    advice = "delete it, or point --data-dir elsewhere"
    if owners:
        raise _OtherDataset(f"{path} belongs to {owners[0]}, not to {name}: {advice}")
    raise InputError(
        f"{path} is not {name}'s {file}, or is corrupt (its SHA-256 differs): {advice}"
    )


# ---- download ----


def _download(name, data_dir):
    """Fetch what the cache folder lacks of data set `name`; returns that folder."""
    source, folder = SOURCES[name], _cache_folder() / name
    try:
        with download.alone_in(folder):
            for file in ALL_FILES:
                if not _find(folder, file):
                    limit = math.prod(source.shape(file)) + 4096
                    download.fetch(
                        folder / f"{file}.gz",
                        source.mirrors,
                        limit,
                        check=partial(_read, name=name, file=file),
                    )
    except (InputError, OSError) as error:
        looked = ", ".join(map(str, _places(name, data_dir)))
        wanted = ", ".join(f"{file}.gz" for file in ALL_FILES)
        raise InputError(
            f"{name} is not here (looked in {looked}) and cannot be downloaded "
            f"({download.reason(error)}): put {wanted} in {folder}, or use --data digits, "
            "which needs no download"
        ) from error
    return folder
