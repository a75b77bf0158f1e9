"""How a run begins, and how it continues: from what a user says (the name of a recipe, where the
data are, some settings) to a Trainer."""

import os
from pathlib import Path
from typing import Any, Mapping

from tinygan import data
from tinygan.data import Dataset
from tinygan.data.given import as_dataset
from tinygan.errors import InputError, say
from tinygan.files import checkpoint
from tinygan.models.image_sizes import SizeError
from tinygan.models.recipe import Recipe
from tinygan.models.settings import Settings

from . import recipes, sampling
from .run_data import RunData
from .trainer import FolderTaken, Trainer

# Settings that a resumed run may change.
RESUMABLE = {"steps", "sample_every", "checkpoint_every", "keep", "eval_every"}


def new_run(
    recipe: str | None = None,
    dataset: Any = None,
    out: str | Path | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] = {},
    data_options: Mapping[str, Any] = {},
    with_folder: bool = True,
) -> Trainer:
    """Return the Trainer of a new run.

    recipe: its name; by default quick. dataset: the name of a data set, or the path of own data; by
    default the digits; or data in memory (see data/given.py). out: the run folder; by default, the
    next free one in runs/. settings: {name: value or text}, as in `--set`. data_options: the other
    arguments of `data.load`.
    with_folder: whether to make the folder (one of several ranks does).

    If own images do not fit the networks with the recipe's pad, but with another one, that is used
    instead. Raises InputError for whatever cannot be done.
    """
    found = recipes.find(recipe or recipes.DEFAULT)
    in_memory = not (dataset is None or isinstance(dataset, (str, os.PathLike)))
    if in_memory:
        images = as_dataset(dataset, **data_options)
        has_points = isinstance(images, data.Points)
    else:
        has_points = data.holds_points(dataset)
    chosen = found.settings(has_points).updated(settings)
    if not in_memory:
        note_folder(dataset)
        images = data.load("digits" if dataset is None else dataset, **data_options)
    folder = out if with_folder else ""
    try:
        return _start(found, chosen, images, folder, seed)
    except SizeError as error:
        if error.pad is None or "pad" in settings or images.name in data.names():
            raise
        say(f"pad={error.pad} instead of {chosen.pad}: with it, the images fit the networks")
        return _start(found, chosen.updated({"pad": error.pad}), images, folder, seed)


def continued_run(
    run: str | Path,
    settings: Mapping[str, Any] = {},
    moved_to: str | Path | Dataset | None = None,
    data_dir: str | Path | None = None,
) -> Trainer:
    """Return the Trainer that continues a run.

    run: its folder, or one of its checkpoints. settings: {name: value or text}, the changes.
    moved_to, data_dir: where its data are now; moved_to may also be a Dataset. Raises InputError
    for whatever cannot be done.
    """
    if settings.keys() - RESUMABLE:
        raise InputError(
            "--resume continues a run with its own recipe, data and settings; you can add only "
            "--data (where its own data are now), --data-dir, --device, --steps and "
            "--set sample_every=N checkpoint_every=N keep=N eval_every=N"
        )
    opened = checkpoint.open_run(run, allow_empty=True)
    recipe, chosen = recipes.of_run(opened)
    if opened.path:  # config.json must not describe larger networks than the checkpoint holds
        sampling.build_networks(opened)
    dataset = RunData(opened.config, opened.folder, moved_to, data_dir).whole
    trainer = Trainer(
        recipe, chosen.updated(settings), dataset, opened.folder, opened.config["seed"]
    )
    trainer.resume(opened)
    return trainer


def note_folder(name: Any) -> None:
    """Say so if a data set's name, or None, is also that of a file or folder here."""
    if name in data.names() and os.path.exists(name):
        say(f"--data {name} is the data set of that name; for what is here, give ./{name}")


def _start(
    recipe: Recipe, settings: Settings, dataset: Dataset, out: str | Path | None, seed: int
) -> Trainer:
    """Return the Trainer of a new run in the folder `out`; None stands for the next free one in
    runs/, and "" for no folder."""
    if out == "":
        return Trainer(recipe, settings, dataset, "", seed)
    if out is not None:
        return Trainer.start(recipe, settings, dataset, out, seed)
    while True:
        try:
            return Trainer.start(recipe, settings, dataset, _next_folder(recipe, dataset), seed)
        except FolderTaken:  # by another process, after we looked for a free folder
            pass


def _next_folder(recipe, dataset):
    """Return runs/quick-digits-001, or the folder with the next free number."""
    folders = (Path(f"runs/{recipe.name}-{dataset.name}-{i:03d}") for i in range(1, 1_000_000))
    return next(folder for folder in folders if not os.path.lexists(folder))
