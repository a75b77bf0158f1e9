"""The data of a run: which images are trained on, and how they are found again by what the run's
config.json says."""

import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tinygan import data
from tinygan.data import Dataset, NoTestPart
from tinygan.errors import InputError, quoted, say_once, without_messages
from tinygan.files import user_path
from tinygan.metrics import Extractor, extractor_for
from tinygan.metrics.network import WEIGHTS_OF
from tinygan.models.settings import Settings

from . import recipes

FEWEST = 6  # images to compare with


class DataChanged(InputError):
    """Own data are not those that a run was trained on."""


def training_data(
    dataset: Dataset, settings: Settings, seed: int
) -> tuple[Dataset, Dataset | None]:
    """Divide a Dataset into the images that a run with these settings trains on, and those that are
    held out. Raises InputError if the setting train_size is too large, and for balanced batches of
    a single class."""
    train, held_out = dataset.hold_out()
    if settings.train_size > len(train):
        raise InputError(
            f"setting train_size={settings.train_size}: {dataset.name} has "
            f"{len(train):,} training {train.unit} ({len(held_out or ()):,} more are held out)"
        )
    if settings.train_size:
        train = train.balanced(settings.train_size, seed)
    if settings.balanced_batches:
        train.check_classes()
    return train, held_out


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return what config.json says about own data: where they are, how they were read, and the
    names of the classes; {} for a data set that is known by its name. (For data in memory, only the
    names are known.)"""
    if dataset.origin is None:
        known = dataset.name in data.names()
        return {} if known else {"class_names": list(dataset.class_names)}
    size = dataset.origin.image_size
    origin = dataset.origin._asdict() | {"image_size": size and list(size)}
    return {"origin": origin, "class_names": list(dataset.class_names)}


class RunData:
    """The data of a run on disk, which are loaded when they are first needed.

    config, folder: of the run. path: where own data are now, if they have moved (--data); or the
    whole training data, as a Dataset in memory. data_dir: a folder to search first for data that
    are known by their name. Each method raises InputError if
    the data are not found, or if own data have changed since the run began.
    """

    def __init__(
        self,
        config: dict[str, Any],
        folder: Path,
        path: str | Path | Dataset | None = None,
        data_dir: str | Path | None = None,
    ):
        self.config, self.folder, self.path, self.data_dir = config, folder, path, data_dir
        self.pad = recipes.settings_of(config).pad

    @cached_property
    def whole(self) -> Dataset:
        """All training images, with the held-out ones, before padding."""
        return self.load("train")

    @cached_property
    def parts(self) -> tuple[Dataset, Dataset | None]:
        """The images that the run was trained on, and the held-out ones or None, padded as in
        training."""
        settings = recipes.settings_of(self.config)
        return training_data(self.whole.padded(self.pad), settings, self.config["seed"])

    def reals(self, split: str = "test") -> Dataset:
        """Return the real images to compare a run's samples with, padded as in training.

        split: "test", or "held-out" for those that were held out of training. Own data without test
        images have only these. Also raises InputError if too few images were held out.
        """
        if split == "test":
            try:
                return self.load("test").padded(self.pad)
            except NoTestPart:
                say_once(
                    f"{self.config['data']} has no test images: those held out of training take "
                    "their place"
                )
        count = len(self.parts[1] or ())
        if count < FEWEST:
            raise InputError(
                f"{self.config['data']} has so few images that {count} were held out of training, "
                f"but at least {FEWEST} are needed: give other images, tinygan eval RUN PATH"
            )
        return self.parts[1]

    def extractor(self) -> Extractor | None:
        """Return the Extractor for the metrics of the run; None for points. The data are loaded
        only if they have no shipped classifier."""
        if self.config["data"] in WEIGHTS_OF:
            return Extractor(self.config["data"])
        if len(self.config["image_shape"]) == 1:
            return None
        return extractor_for(*self.whole.hold_out(), pad=self.pad)

    def load(self, split: str) -> Dataset:
        """Load the images of a split, "train" or "test", before padding. Raises NoTestPart if own
        data have no test images."""
        name, origin = self.config["data"], self.config.get("origin")
        if isinstance(self.path, Dataset):
            return self._given(self.path, split)
        if origin is not None:
            return self._load_own(split, origin)
        if self.path is not None:
            raise InputError(
                f"--data {self.path}: {self.folder} was trained on the data set {name}: leave "
                "--data out"
            )
        if name not in data.names():
            raise InputError(
                f"{self.folder} was trained in Python on a Dataset called {name}, which tinygan "
                "cannot find again: hand it over in Python, as data=..., or use "
                "tinygan eval RUN PATH"
            )
        return data.load(name, split, self.data_dir)

    def _given(self, dataset, split):
        """Return a split of data in memory, if they can be those of the run."""
        shape, classes = dataset.padded(self.pad).image_shape, dataset.num_classes
        expected = tuple(self.config["image_shape"]), self.config["classes"]
        if (shape, classes) != expected:
            raise InputError(
                f"data: {dataset.name} has {dataset.unit} {shape} of {classes} classes, but "
                f"{self.folder} was trained on {expected[0]} of {expected[1]}: give its own data"
            )
        if split != "train":
            raise NoTestPart(f"{dataset.name} has no test {dataset.unit}")
        return dataset

    def _load_own(self, split, origin):
        if self.data_dir is not None:
            raise InputError(
                f"--data-dir {self.data_dir} is not used, because {self.folder} was trained on own "
                "data: leave it out, or say where these are with --data PATH"
            )
        path = user_path(origin["path"] if self.path is None else self.path)
        if not os.path.exists(path):
            raise InputError(
                f"{path}, the data of {self.folder}, does not exist: if it has moved, say where it "
                "is with --data PATH"
            )
        how = {
            "image_size": origin["image_size"] and tuple(origin["image_size"]),
            "layout": origin["layout"],
            "labels": _labels_near(path, origin["labels"]),
        }
        load = lambda split: replace(
            data.load(str(path.absolute()), split, **how), name=self.config["data"]
        )
        if split != "train":
            self.whole  # which checks that nothing has changed
            try:
                return load(split)
            except NoTestPart:
                raise
            except InputError as error:
                raise InputError(
                    f"{error}; or compare with the images held out of training, --split held-out"
                ) from error
        with without_messages():  # the run has written them when it began
            dataset = load("train")
        if dataset.origin.fingerprint != origin["fingerprint"]:
            classes = len(dataset.class_names)
            count = f"{len(dataset):,} images of {classes} class{'es' * (classes > 1)}"
            raise DataChanged(
                f"{path} has changed since {self.folder} was begun (it now holds {count}): undo "
                "the change, say where the original is with --data PATH, go on with what is there "
                f"now (--resume RUN --data {quoted(path)}), or train a new run"
            )
        if str(path) != origin["path"]:
            say_once(f"the data of {self.folder} are taken from {path}")
        return dataset


def _labels_near(path, labels):
    """Return the path of a file of labels; if it is gone, that of a file of this name beside
    `path`, the file of images."""
    if labels is None or os.path.exists(labels):
        return labels
    moved = path.parent / Path(labels).name
    if not moved.exists():
        raise InputError(f"{labels}, the labels of {path}, does not exist: put it beside {path}")
    return str(moved)
