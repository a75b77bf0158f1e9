"""Checkpoints: npz files without pickles, written whole or not at all, with a checksum."""

import json
import zipfile
from pathlib import Path
from typing import NamedTuple

from tinygan import files
from tinygan.errors import InputError, warn
from tinygan.files import npz

CONFIG_VERSION = 1  # of config.json, and of those from before there were versions
CONFIG_KINDS = {
    "recipe": str,
    "data": str,
    "settings": dict,
    "seed": int,
    "image_shape": list,
    "classes": int,
}
MOST = 1024, 1024, 16, 10_000  # height, width, channels of images, and classes
BEST = "best.npz"  # the averaged generator of the evaluation with the lowest FID


class Run(NamedTuple):
    """A run on disk: its folder, its config.json, and one checkpoint: its path, and what it holds.

    path: None where there is no checkpoint yet; seen: the names of all checkpoints of the run.
    """

    folder: Path
    config: dict
    path: Path | None
    states: dict
    meta: dict
    seen: tuple


def save(folder, step, states, meta, keep) -> Path:
    """Write folder/checkpoint-<step>.npz, and then remove all but the last `keep`.

    states: {part: {name: array}}; meta: anything JSON can hold.
    """
    path = Path(folder) / f"checkpoint-{step:08d}.npz"
    write(path, states, {"step": step, **meta})
    with files.writing(folder):
        for old in checkpoints(folder)[:-keep]:
            old.unlink(missing_ok=True)
    return path


def write(path, states, meta) -> None:
    """Write states and meta as one npz file, whole or not at all."""
    npz.save(path, {"meta": json.dumps(meta), **flat(states)})


def flat(states) -> dict:
    """{part/name: array} of {part: {name: array}}."""
    return {
        f"{part}/{name}": array for part, state in states.items() for name, array in state.items()
    }


def checkpoints(folder) -> list:
    """The checkpoints of a run, oldest first. Files that someone has renamed are left out."""
    paths = Path(folder).glob("checkpoint-*.npz")
    return sorted((path for path in paths if step_of(path) is not None), key=step_of)


def names(folder) -> tuple:
    """The names of the checkpoints of a run."""
    return tuple(path.name for path in checkpoints(folder))


def step_of(path):
    """The step in the name of a file, such as step-00000200.png; None if there is none."""
    digits = path.stem.partition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else None


def last_step(folder) -> int:
    """The step from which a run can go on: of its last checkpoint, or 0."""
    return max(map(step_of, checkpoints(folder)), default=0)


def load(path):
    """(states, meta) of a checkpoint. Raises InputError for a damaged file, or another kind."""
    try:
        arrays = npz.load(path)
        meta = json.loads(str(arrays.pop("meta")))
        states = {}
        for key, array in arrays.items():
            part, name = key.split("/", 1)
            states.setdefault(part, {})[name] = array
        if not isinstance(meta, dict) or not isinstance(meta.get("step"), int):
            raise ValueError("it has no step")
        return states, meta
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        zipfile.BadZipFile,
    ) as error:
        raise InputError(
            f"{path} is not a checkpoint of tinygan, or is damaged ({error}): use an "
            "older one, or train again"
        ) from None


def open_run(path, best=False, empty=False) -> Run:
    """The Run given by its folder, or by one of its checkpoints.

    Of a folder, it takes the latest checkpoint; with `best` that of the best evaluation, if there
    is one. It reports a damaged one, and takes the one before. Raises InputError if there is no
    run, or no checkpoint, unless it may be `empty`.
    """
    path = Path(path)
    folder = path.parent if path.suffix == ".npz" else path
    config = read_config(folder, path)
    found = checkpoints(folder)[::-1]
    seen = names(folder)
    if folder is not path:
        return Run(folder, config, path, *load(path), seen)
    if best and (folder / BEST).exists():
        found.insert(0, folder / BEST)
    if not found and not empty:
        raise InputError(
            f"{folder} has no checkpoint yet: let `tinygan train` run until its first one"
        )
    for path in found:
        try:
            return Run(folder, config, path, *load(path), seen)
        except InputError as error:
            if path is found[-1]:
                raise
            warn(f"{str(error).split(': use')[0]}: going on from the one before")
    return Run(folder, config, None, {}, {}, seen)


def read_config(folder, path):
    """What a run's config.json holds, checked; `path` is what the user gave."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path} is not a run: it has no config.json; give the folder that "
            "`tinygan train` wrote, such as runs/dcgan-digits-001"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({error})") from None
    missing = CONFIG_KINDS.keys() - (config.keys() if isinstance(config, dict) else set())
    if missing:
        raise InputError(f"{file} is damaged (it lacks {', '.join(sorted(missing))})")
    if config.get("version", CONFIG_VERSION) != CONFIG_VERSION:
        raise InputError(
            f"{file} is of version {config['version']}, and this tinygan reads "
            f"version {CONFIG_VERSION}: use the tinygan that wrote it, or a newer one"
        )
    wrong = [key for key, kind in CONFIG_KINDS.items() if not isinstance(config[key], kind)]
    if wrong:
        raise InputError(f"{file} is damaged (a wrong type of {', '.join(wrong)})")
    sizes = [*config["image_shape"], config["classes"]]
    # Networks of that size are about to be made: a wrong number must not take all the memory.
    if (
        not all(type(n) is int and 0 < n <= most for n, most in zip(sizes, MOST))
        or len(sizes) != 4
        or config["seed"] < 0
    ):
        raise InputError(f"{file} is damaged (its image_shape, classes or seed)")
    return config
