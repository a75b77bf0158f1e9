"""How a run begins, and how it continues: from what a user says (the name of a recipe, where the
data are, some settings) to a Trainer."""

import os
from pathlib import Path
from typing import Any, Callable, Mapping

from tinygan import data
from tinygan.data import Dataset
from tinygan.errors import say
from tinygan.files import checkpoint
from tinygan.models.image_sizes import SizeError
from tinygan.models.recipe import Recipe
from tinygan.models.settings import Settings

from . import changes, other_data, own_code, recipes, sampling
from .trainer import FolderTaken, Trainer


def new_run(
    recipe: str | Path | None = None,
    dataset: str | Path | Dataset | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] = {},
    data_options: Mapping[str, Any] = {},
    with_folder: bool = True,
    init_from: str | Path | None = None,
    change: Callable[[Settings], Settings] = lambda settings: settings,
) -> Trainer:
    """Return the Trainer of a new run.

    recipe: its name, or the path of a .py file with a RECIPE, which is executed; by default quick.
    dataset: the name of a data set, the path of own data, or a Dataset; by default the digits.
    out: the run folder; by default, the next free one in runs/.
    settings: {name: value or text}, as in `--set`; loss and penalty may be FILE.py:NAME, and that
    file is executed, too. data_options: the other arguments of `data.load`. with_folder: whether to
    make the folder (one of several ranks does). init_from: another run, or one of its checkpoints,
    whose weights the run begins with where they fit. change: a function from these settings to
    those that the run uses.

    If own images do not fit the networks with the recipe's pad, but with another one, that is used
    instead. Raises InputError for whatever cannot be done.
    """
    found, settings = recipes.choose(recipe or recipes.DEFAULT), own_code.loaded(settings)
    in_memory = isinstance(dataset, Dataset)
    has_points = isinstance(dataset, data.Points) or not in_memory and data.holds_points(dataset)
    chosen = change(own_code.with_defaults(found.settings(has_points).updated(settings), found))
    images = dataset
    if not in_memory:
        note_folder(dataset)
        images = data.load("digits" if dataset is None else dataset, **data_options)
    folder = out if with_folder else ""
    source = None if init_from is None else checkpoint.open_run(init_from)
    try:
        return _start(found, chosen, images, folder, seed, source)
    except SizeError as error:
        if error.pad is None or "pad" in settings or images.name in data.names():
            raise
        height, width = (n + 2 * error.pad for n in images.image_shape[:2])
        say(
            f"pad={error.pad} instead of {chosen.pad}: with a black border of {error.pad} pixels "
            f"({height}x{width}), the images fit the networks"
        )
        return _start(found, chosen.updated({"pad": error.pad}), images, folder, seed, source)


def continued_run(
    run: str | Path,
    settings: Mapping[str, Any] = {},
    dataset: str | Path | Dataset | None = None,
    data_dir: str | Path | None = None,
    data_options: Mapping[str, Any] = {},
    model: str | Path | None = None,
    trust: bool = False,
) -> Trainer:
    """Return the Trainer that continues a run.

    run: its folder, or one of its checkpoints. settings: {name: value or text}, the changes; see
    changes.py. dataset: other data with images of the same shape and as many classes, or where own
    data are now. data_dir: a folder to search first for data that are known by their name.
    data_options: the other arguments of `data.load`, for other data. model, trust: for a run with
    code of the user's own, see `recipes.of_run` and `own_code.continued`. Raises InputError for
    whatever cannot be done.
    """
    opened = checkpoint.open_run(run, allow_empty=True)
    recipe, before = recipes.of_run(opened, model, trust)
    before, settings = own_code.continued(opened, recipe, before, settings, trust)
    now = before.updated(settings)
    changes.check(before, now, opened.folder)
    if opened.path:  # config.json must not describe larger networks than the checkpoint holds
        sampling.build_networks(opened, recipe, before)
    if isinstance(dataset, (str, Path)):
        note_folder(dataset)
    images = other_data.load(opened, dataset, data_dir, data_options)
    trainer = Trainer(recipe, now, images, opened.folder, opened.config["seed"])
    trainer.resume(opened, before)
    return trainer


def note_folder(name: Any) -> None:
    """Say so if a data set's name, or None, is also that of a file or folder here."""
    if name in data.names() and os.path.exists(name):
        say(f"{name} is taken as the data set of that name; for what is here, give ./{name}")


def _start(
    recipe: Recipe,
    settings: Settings,
    dataset: Dataset,
    out: str | Path | None,
    seed: int,
    source: checkpoint.Run | None,
) -> Trainer:
    """Return the Trainer of a new run in the folder `out`; None stands for the next free one in
    runs/, and "" for no folder."""
    if out == "":
        return Trainer(recipe, settings, dataset, "", seed, source)
    if out is not None:
        return Trainer.start(recipe, settings, dataset, out, seed, source)
    while True:
        try:
            folder = _next_folder(recipe, dataset)
            return Trainer.start(recipe, settings, dataset, folder, seed, source)
        except FolderTaken:  # by another process, after we looked for a free folder
            pass


def _next_folder(recipe, dataset):
    """Return runs/quick-digits-001, or the folder with the next free number."""
    folders = (Path(f"runs/{recipe.name}-{dataset.name}-{i:03d}") for i in range(1, 1_000_000))
    return next(folder for folder in folders if not os.path.lexists(folder))
