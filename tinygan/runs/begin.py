"""Beginning, continuing and loading runs."""

import inspect
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygan.errors import InputError

from .messages import messages_for_python, whole_number
from .run import OnStep, Run

if TYPE_CHECKING:
    from tinygan.data import Dataset

Array = np.ndarray[Any, Any]


def train(
    recipe: str | os.PathLike[str] | None = None,
    data: "str | os.PathLike[str] | Dataset | Array | tuple[Array, Any] | None" = None,
    steps: int | None = None,
    out: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
    *,
    image_size: int | str | tuple[int, int] | None = None,
    layout: str | None = None,
    labels: Any = None,
    data_dir: str | os.PathLike[str] | None = None,
    resume: "str | os.PathLike[str] | Run | None" = None,
    on_step: OnStep | None = None,
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Train a GAN in a run folder, as `tinygan train` does, and return its Run.

    recipe: its name (`tinygan recipes` lists them); by default quick. data: the name of a data set,
        the path of your own data, a Dataset, an array of images, or (images, labels); by default
        the digits.
    steps, batch_size, settings: the settings of the recipe, as with `--set`. (Further options of
        training/start.py, by their names, are keywords, too.)
    out: the run folder; by default, a new one in runs/. seed: by default 0.
    image_size, layout, labels, data_dir: how to read the data (see `data.load`); labels of an array
        of images are an array.
    resume: a run's folder or one of its checkpoints, or a Run. It continues up to `steps`, with the
        recipe and the seed that it has.
    on_step: on_step(run, numbers) is called after every step, with what is logged: {name: number}.
        In it you can use run.G, run.D and run.step, call run.sample(), run.save() and run.stop().
        It does not change the training. An exception ends the run, and the step is saved.
    progress: show a progress bar; in a notebook also the samples and the curves, in place.

    Ctrl-C finishes the step, saves it, and raises KeyboardInterrupt; in a notebook, the Run is
    returned instead. Raises InputError for whatever cannot be done.
    """
    from tinygan.training import session, start

    names = {
        "recipe": recipe,
        "out": out,
        "seed": seed,
        "image_size": image_size,
        "layout": layout,
        "labels": labels,
    }
    settings |= _given({"steps": steps, "batch_size": batch_size})
    begins = start.new_run if resume is None else start.continued_run
    options = {key: settings.pop(key) for key in _parameters(begins) if key in settings}
    with messages_for_python():
        if on_step is not None and not callable(on_step):
            raise InputError(
                f"on_step={on_step!r}: must be a function, on_step(run, numbers), or None"
            )
        if resume is not None:
            if fixed := _given(names):
                raise InputError(
                    "a run continues with its own recipe, data and seed: leave out "
                    f"{' and '.join(fixed)}, or resume"
                )
            path = resume.path if isinstance(resume, Run) else resume
            data = _in_memory(data)
            trainer = session.begin(
                lambda is_first: start.continued_run(
                    _path(path, "resume"), settings, data, data_dir, **options
                )
            )
        else:
            how = {
                "image_size": image_size,
                "layout": layout,
                "labels": labels,
                "data_dir": data_dir,
            }
            data, how = _in_memory(data, **how), how if _is_path(data) else {}
            trainer = session.begin(
                lambda is_first: start.new_run(
                    None if recipe is None else str(_path(recipe, "recipe")),
                    data,
                    out,
                    whole_number("seed", 0 if seed is None else seed, 0),
                    settings,
                    how,
                    with_folder=is_first,
                    **options,
                )
            )
        if _is_path(data):
            data = None  # config.json says where they are
        run = Run(session.folder(trainer), data, data_dir)
        run.run_trainer(trainer, on_step, progress)
    return run


def load_run(
    path: str | os.PathLike[str],
    data: "str | os.PathLike[str] | Dataset | Array | tuple[Array, Any] | None" = None,
    data_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Run:
    """Return the Run in a folder, or at one of its checkpoints. It reads what is needed when it is
    needed.

    data: where the run's own data are now, or the Dataset or array on which it was trained, which
    only `evaluate` and `resume` need. data_dir: a folder to search first for data that are known by
    their name. options: further arguments of `sampling.load_generator`. Raises InputError if there
    is no run.
    """
    with messages_for_python():
        run = Run(_path(path, "path"), _in_memory(data), data_dir, **options)
        run.config  # which must be readable
    return run


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def _parameters(function):
    """Return the names of the parameters of a function of training/start.py that `train` has no
    parameter of its own for: they are passed on."""
    own = {"recipe", "dataset", "out", "seed", "settings", "data_options", "with_folder"}
    own |= {"run", "moved_to", "data_dir"}
    return inspect.signature(function).parameters.keys() - own


def _is_path(data):
    return data is None or isinstance(data, (str, os.PathLike))


def _path(value: Any, name: str) -> "str | os.PathLike[str]":
    if not isinstance(value, (str, os.PathLike)):
        raise InputError(f"{name} must be a text or a path, not {type(value).__name__}")
    return value


def _in_memory(data, **how):
    """Return the Dataset of data in memory; a path or name as it is. how: see `as_dataset`."""
    if _is_path(data):
        return data
    from tinygan.data.given import as_dataset

    return as_dataset(data, **how)
