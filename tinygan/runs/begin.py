"""Beginning, continuing and loading runs."""

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
    init_from: "str | os.PathLike[str] | Run | None" = None,
    resume: "str | os.PathLike[str] | Run | None" = None,
    model: str | os.PathLike[str] | None = None,
    trust: bool = False,
    on_step: OnStep | None = None,
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Train a GAN in a run folder, as `tinygan train` does, and return its Run.

    recipe: its name (`tinygan recipes` lists them), or a model file of yours, FILE.py; by default
        quick.
    data: the name of a data set, the path of your own data, a Dataset, an array of images, or
        (images, labels); by default the digits.
    steps, batch_size, settings: the settings of the recipe, as with `--set`.
    out: the run folder; by default, a new one in runs/. seed: by default 0.
    image_size, layout, labels, data_dir: how to read the data (see `data.load`); labels of an array
        of images are an array.
    init_from: a run, or one of its checkpoints, whose weights the new run begins with, where they
        fit.
    resume: a run's folder or one of its checkpoints, or a Run. It continues up to `steps`, with the
        recipe and the seed that it has; other settings and `data` change it from there on.
    model, trust: to resume a run with a model file of yours: the file, or True to run the copy in
        the run folder.
    on_step: on_step(run, numbers) is called after every step, with what is logged: {name: number}.
        In it you can use run.G, run.D and run.step, call run.sample(), run.save() and run.stop().
        It does not change the training. An exception ends the run, and the step is saved.
    progress: show a progress bar; in a notebook also the samples and the curves, in place.

    Ctrl-C finishes the step, saves it, and raises KeyboardInterrupt; in a notebook, the Run is
    returned instead. Raises InputError for whatever cannot be done.
    """
    from tinygan.data.in_memory import as_dataset
    from tinygan.training import session, start

    begun = _given({"recipe": recipe, "out": out, "seed": seed, "init_from": init_from})
    how = {"image_size": image_size, "layout": layout, "labels": labels}
    settings |= _given({"steps": steps, "batch_size": batch_size})
    with messages_for_python():
        if on_step is not None and not callable(on_step):
            raise InputError(
                f"on_step={on_step!r}: must be a function, on_step(run, numbers), or None"
            )
        if resume is not None and begun:
            raise InputError(
                "a run continues with its own recipe, weights and seed: leave out "
                f"{' and '.join(begun)}, or resume"
            )
        if resume is None and (model is not None or trust):
            raise InputError(
                "model and trust are for a run to resume: a new run takes train('FILE.py')"
            )
        if not _is_path(data):
            data, how, data_dir = as_dataset(data, data_dir, **how), {}, None
        if resume is not None:
            path = _run_path(resume, "resume")
            make = lambda is_first: start.continued_run(
                path, settings, data, data_dir, how, model, trust
            )
        else:
            make = lambda is_first: start.new_run(
                None if recipe is None else _path(recipe, "recipe"),
                data,
                out,
                whole_number("seed", 0 if seed is None else seed, 0),
                settings,
                {"data_dir": data_dir, **how} if _is_path(data) else {},
                with_folder=is_first,
                init_from=None if init_from is None else _run_path(init_from, "init_from"),
            )
        trainer = session.begin(make)
        if _is_path(data):
            data = None  # config.json says where they are
        # The copies of its own code in the folder are those that this process has executed.
        run = Run(session.folder(trainer), data, data_dir, trust=bool(trainer.sources))
        run.run_trainer(trainer, on_step, progress)
    return run


def load_run(
    path: str | os.PathLike[str],
    data: "str | os.PathLike[str] | Dataset | Array | tuple[Array, Any] | None" = None,
    data_dir: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | None = None,
    trust: bool = False,
) -> Run:
    """Return the Run in a folder, or at one of its checkpoints. It reads what is needed when it is
    needed.

    data: where the run's own data are now, or the Dataset or array on which it was trained, which
    only `evaluate` and `resume` need. data_dir: a folder to search first for data that are known by
    their name. model, trust: for a run with a model file of your own: the file, or True to execute
    its copy in the folder. Raises InputError if there is no run.
    """
    from tinygan.data.in_memory import as_dataset

    with messages_for_python():
        if not _is_path(data):
            data, data_dir = as_dataset(data, data_dir), None
        run = Run(_path(path, "path"), data, data_dir, model, trust)
        run.config  # which must be readable
    return run


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def _run_path(run: Any, name: str) -> "str | os.PathLike[str]":
    return run.path if isinstance(run, Run) else _path(run, name)


def _is_path(data):
    return data is None or isinstance(data, (str, os.PathLike))


def _path(value: Any, name: str) -> "str | os.PathLike[str]":
    if not isinstance(value, (str, os.PathLike)):
        raise InputError(f"{name} must be a text or a path, not {type(value).__name__}")
    return value
