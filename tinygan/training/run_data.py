"""The data of a run: which images are trained on, and how they are found again by what the run's
config.json says."""

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinygan import data
from tinygan.data import Dataset, NoTestPart
from tinygan.errors import InputError, say_once
from tinygan.files import user_path
from tinygan.metrics import Extractor, extractor_for
from tinygan.metrics.network import WEIGHTS_OF
from tinygan.models.settings import Settings

from . import recipes


def training_data(
    dataset: Dataset, settings: Settings, seed: int
) -> tuple[Dataset, Dataset | None]:
    """Divide a Dataset into the images that a run with these settings trains on, and those that are
    held out. Raises InputError if the setting train_size is too large."""
    train, held_out = dataset.hold_out()
    if settings.train_size > len(train):
        raise InputError(
            f"setting train_size={settings.train_size}: {dataset.name} has "
            f"{len(train):,} training {train.unit} ({len(held_out or ()):,} more are held out)"
        )
    if settings.train_size:
        train = train.balanced(settings.train_size, seed)
    return train, held_out


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return what config.json says about own data: where they are, how they were read, and the
    names of the classes; {} for a data set that is known by its name."""
    if dataset.origin is None:
        return {}
    size = dataset.origin.image_size
    origin = dataset.origin._asdict() | {"image_size": size and list(size)}
    return {"origin": origin, "class_names": list(dataset.class_names)}


def load_again(
    config: dict[str, Any],
    folder: Path,
    split: str = "train",
    path: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Dataset:
    """Load the data on which a run was trained, given its config and its folder.

    path: where own data are now, if they have moved (--data). Raises InputError if they are not
    found, or if they have changed since the run began; NoTestPart for the split "test" if they have
    no test images.
    """
    origin = config.get("origin")
    if origin is None:
        if path is not None:
            raise InputError(
                f"--data {path}: {folder} was trained on the data set {config['data']}: leave "
                "--data out"
            )
        return _load_by_name(config, folder, split, data_dir)
    if data_dir is not None:
        raise InputError(
            f"--data-dir {data_dir} is not used, because {folder} was trained on own data: leave "
            "it out, or say where these are with --data PATH"
        )
    path = user_path(path if path is not None else origin["path"])
    if not os.path.exists(path):
        raise InputError(
            f"{path}, the data of {folder}, does not exist: if it has moved, say where it is with "
            "--data PATH"
        )
    size = origin["image_size"] and tuple(origin["image_size"])
    how = {"image_size": size, "layout": origin["layout"], "labels": origin["labels"]}
    load = lambda split: replace(data.load(_as_path(path), split, **how), name=config["data"])
    dataset = load("train")
    if dataset.origin.fingerprint != origin["fingerprint"]:
        count = f"{len(dataset):,} images of {len(dataset.class_names)} classes"
        raise InputError(
            f"{path} has changed since {folder} was begun (it now holds {count}): undo the change, "
            "say where the original is with --data PATH, or train a new run"
        )
    if str(path) != origin["path"]:
        say_once(f"the data of {folder} are taken from {path}")
    return dataset if split == "train" else load(split)


def training_parts(
    config: dict[str, Any],
    folder: Path,
    path: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> tuple[Dataset, Dataset | None]:
    """Return (the images that a run was trained on, the held-out ones or None), padded as in
    training. Parameters and errors: see `load_again`."""
    settings = recipes.settings_of(config)
    dataset = load_again(config, folder, "train", path, data_dir).padded(settings.pad)
    return training_data(dataset, settings, config["seed"])


def reals(
    config: dict[str, Any],
    folder: Path,
    split: str = "test",
    path: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Dataset:
    """Return the real images to compare a run's samples with, padded as in training.

    split: "test", or "held-out" for those that were held out of training. Own data without test
    images have only these. Other parameters and errors: see `load_again`. Also raises InputError if
    no images were held out, because there are fewer than 10.
    """
    if split == "test":
        with contextlib.suppress(NoTestPart):
            dataset = load_again(config, folder, "test", path, data_dir)
            return dataset.padded(recipes.settings_of(config).pad)
        say_once(
            f"{config['data']} has no test images: those held out of training take their place"
        )
    held_out = training_parts(config, folder, path, data_dir)[1]
    if held_out is None:
        raise InputError(
            f"{config['data']} has fewer than 10 images, so none were held out of training, and "
            "there is nothing to compare samples with: give other images, tinygan eval RUN PATH"
        )
    return held_out


def extractor(
    config: dict[str, Any],
    folder: Path,
    path: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Extractor | None:
    """Return the Extractor for the metrics of a run: of its data, which are loaded only if they
    have no shipped classifier; None for points. Parameters and errors: see `load_again`."""
    if config["data"] in WEIGHTS_OF:
        return Extractor(config["data"])
    if len(config["image_shape"]) == 1:
        return None
    dataset = load_again(config, folder, "train", path, data_dir)
    return extractor_for(*dataset.hold_out(), pad=recipes.settings_of(config).pad)


def _as_path(path):
    """Return a path as a text that is no data set's name."""
    return str(path.absolute())


def _load_by_name(config, folder, split, data_dir):
    name = config["data"]
    if name not in data.names():
        raise InputError(
            f"{folder} was trained in Python on a Dataset called {name}, which tinygan cannot find "
            "again: use the functions of tinygan.metrics in Python, or tinygan eval RUN PATH"
        )
    return data.load(name, split, data_dir)
