"""The data of a run that is resumed: its own, at the same place or another one, or other data."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping

from tinygan import data
from tinygan.data import Dataset
from tinygan.errors import InputError, quoted
from tinygan.files.checkpoint import Run

from .run_data import DataChanged, RunData


def load(
    run: Run,
    dataset: str | Path | Dataset | None,
    data_dir: str | Path | None,
    options: Mapping[str, Any],
) -> Dataset:
    """Return all training images with which a run goes on, with the held-out ones, before padding.

    dataset: None for its own data; the path to which own data have moved; or other data, by name,
    by path, or as a Dataset. data_dir, options: as for `data.load`. Raises InputError if the data
    are not found, if own data have changed and are not given anew as other data, and if the images
    of other data have another shape or another number of classes.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if dataset is None:
        if given:
            option = next(iter(given))
            raise InputError(
                f"--{option.replace('_', '-')} {given[option]}: a resumed run reads its data as "
                "before: leave it out, or give other data with --data"
            )
        return RunData(run.config, run.folder, None, data_dir).whole
    found = dataset if isinstance(dataset, Dataset) else _at(run, dataset, data_dir, given)
    check_same_shape(run, found)
    origin, name = run.config.get("origin"), run.config["data"]
    same = found.origin and origin and found.origin.fingerprint == origin["fingerprint"]
    return replace(found, name=name) if same else found


def _at(run: Run, name: str | Path, data_dir: Any, given: dict[str, Any]) -> Dataset:
    """Return the data of this name, or at this path: those of the run, or others."""
    origin = run.config.get("origin")
    if origin and name not in data.names():
        if not given and (moved := _moved(run, name, data_dir, origin)):
            return moved
        if origin["image_size"]:
            given = {"image_size": tuple(origin["image_size"]), **given}
    return data.load(name, data_dir=data_dir, **given)


def _moved(run: Run, path: str | Path, data_dir: Any, origin: Any) -> Dataset | None:
    """Return the data of a run if they are now at `path`; None if other data are there."""
    try:
        return RunData(run.config, run.folder, path, data_dir).whole
    except DataChanged as error:
        if origin["labels"]:
            raise InputError(
                f"{path} holds other images than {run.folder} was trained on: say which labels "
                "belong to them, with --labels"
            ) from error
    except InputError:
        if origin["labels"] or data_dir is not None or not Path(path).expanduser().exists():
            raise
    return None


def check_same_shape(run: Run, dataset: Dataset) -> None:
    """Raise InputError unless the images, before padding, have the shape of those of a run, and as
    many classes."""
    shape, classes = run.config["image_shape"], run.config["classes"]
    border = 2 * run.config["settings"].get("pad", 0)
    wanted = [shape[0] - border, shape[1] - border, shape[2]] if len(shape) == 3 else shape
    has = list(dataset.image_shape)
    if has == wanted and dataset.num_classes == classes:
        return
    advice = "give other data"
    if len(has) == len(wanted) == 3 and has[2] == wanted[2] and has != wanted:
        advice += f", or if these are your own, give --image-size {wanted[0]}x{wanted[1]}"
    if len(has) == len(wanted):
        advice += f", or begin a new run with --init-from {quoted(run.folder)}"
    raise InputError(
        f"{dataset.name} has {_described(dataset.unit, has, dataset.num_classes)}, but the "
        f"networks of {run.folder} are for {_described('images', wanted, classes)}: {advice}"
    )


def _described(unit, shape, classes):
    if len(shape) == 1:
        return f"points in {classes} classes"
    return f"{unit} of {'x'.join(map(str, shape))} in {classes} classes"
