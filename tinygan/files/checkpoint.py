"""Checkpoints of runs: npz files without pickles, written atomically, with a checksum."""

import json
import zipfile
from pathlib import Path
from typing import Any, Mapping, NamedTuple

from tinygan import files
from tinygan.errors import InputError, warn
from tinygan.files import npz

States = Mapping[str, Mapping[str, Any]]  # {part of the run: {name: array}}

CONFIG_VERSION = 1  # of config.json; a file without a version has this one too
CONFIG_TYPES = {
    "recipe": str,
    "data": str,
    "settings": dict,
    "seed": int,
    "image_shape": list,
    "classes": int,
}
LIMITS = 1024, 1024, 16, 10_000  # height, width and channels of images; number of classes
# The exceptions that reading a damaged file may raise; some of them come from zipfile.
DAMAGE = OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile
BEST = "best.npz"  # the averaged generator at the evaluation with the lowest FID


class Run(NamedTuple):
    """A run on disk, with the contents of one of its checkpoints.

    config: the contents of config.json. path: the checkpoint, or None if there is none yet.
    states, meta: its contents, as `save` takes them. checkpoint_names: the file names of all
    checkpoints of the run.
    """

    folder: Path
    config: dict[str, Any]
    path: Path | None
    states: dict[str, dict[str, Any]]
    meta: dict[str, Any]
    checkpoint_names: tuple[str, ...]


def save(folder: str | Path, step: int, states: States, meta: Mapping[str, Any], keep: int) -> Path:
    """Write folder/checkpoint-<step>.npz, then remove all checkpoints but the last `keep`.

    states: {part: {name: array}}. meta: a dict of JSON values.
    """
    path = Path(folder) / f"checkpoint-{step:08d}.npz"
    write(path, states, {"step": step, **meta})
    with files.writing(folder):
        for old in checkpoints(folder)[:-keep]:
            files.remove(old)
    return path


def write(path: str | Path, states: States, meta: Mapping[str, Any]) -> None:
    """Write states and meta as one npz file, atomically."""
    npz.save(path, {"meta": json.dumps(meta), **flat(states)})


def flat(states: States) -> dict[str, Any]:
    """Flatten {part: {name: array}} to {"part/name": array}."""
    return {
        f"{part}/{name}": array for part, state in states.items() for name, array in state.items()
    }


def checkpoints(folder: str | Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first, without those that someone has renamed."""
    paths = Path(folder).glob("checkpoint-*.npz")
    return sorted((path for path in paths if step_of(path) is not None), key=step_of)


def names(folder: str | Path) -> tuple[str, ...]:
    """Return the file names of the checkpoints of a run."""
    return tuple(path.name for path in checkpoints(folder))


def step_of(path: Path) -> int | None:
    """Return the step in a file name such as step-00000200.png, or None if it contains none."""
    digits = path.stem.partition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else None


def last_step(folder: str | Path) -> int:
    """Return the step of a run's last checkpoint, or 0: the step from which it can continue."""
    return max(map(step_of, checkpoints(folder)), default=0)


def load(path: str | Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return (states, meta) of a checkpoint. Raises InputError if the file is damaged or is not a
    checkpoint."""
    files.is_file(path)  # a link is refused, not damaged
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
    except DAMAGE as error:
        raise InputError(
            f"{path} is not a checkpoint of tinygan, or is damaged ({error}): use an older one, or "
            "train again"
        ) from None


def open_run(path: str | Path, best: bool = False, allow_empty: bool = False) -> Run:
    """Return the Run of a folder, or of a checkpoint in it.

    path: a folder or a checkpoint. In a folder, the latest checkpoint is loaded, or with `best`,
    that of the best evaluation, if there is one. If it is damaged, a warning says so, and the one
    before it is loaded. allow_empty: accept a run that has no checkpoint yet. Raises InputError if
    there is no run, or no checkpoint that can be loaded.
    """
    path = files.user_path(path)
    folder = path.parent if path.suffix == ".npz" and not path.is_dir() else path
    config = read_config(folder, path)
    newest_first, all_names = checkpoints(folder)[::-1], names(folder)
    if folder is not path:
        return Run(folder, config, path, *load(path), all_names)
    if best and files.is_file(folder / BEST):
        newest_first.insert(0, folder / BEST)
    if not newest_first and not allow_empty:
        raise InputError(
            f"{folder} has no checkpoint yet: let `tinygan train` run until its first one"
        )
    for path in newest_first:
        files.is_file(path)  # raises an error for a link: no older checkpoint takes its place
    for path in newest_first:
        try:
            return Run(folder, config, path, *load(path), all_names)
        except InputError as error:
            if path is newest_first[-1]:
                raise
            warn(f"{str(error).split(': use')[0]}: using the one before it")
    return Run(folder, config, None, {}, {}, all_names)


def read_config(folder: Path, path: str | Path) -> dict[str, Any]:
    """Read and check a run's config.json. path: what the user gave, for messages.

    Raises InputError if the file is missing or damaged, or of an unknown version.
    """
    file = folder / "config.json"
    try:
        config = json.loads(files.read_text(file))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path} is not a run: it has no config.json; give the folder that `tinygan train` "
            "wrote, such as runs/dcgan-digits-001"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({error})") from None
    missing = CONFIG_TYPES.keys() - (config.keys() if isinstance(config, dict) else set())
    if missing:
        raise InputError(f"{file} is damaged (it lacks {', '.join(sorted(missing))})")
    if config.get("version", CONFIG_VERSION) != CONFIG_VERSION:
        raise InputError(
            f"{file} has version {config['version']}, but this tinygan reads version "
            f"{CONFIG_VERSION}: use the tinygan that wrote it, or a newer one"
        )
    wrong = [key for key, kind in CONFIG_TYPES.items() if not isinstance(config[key], kind)]
    if wrong:
        raise InputError(f"{file} is damaged (wrong type: {', '.join(wrong)})")
    # Networks of these sizes will be made: a damaged number must not take all the memory.
    sizes = [*config["image_shape"], config["classes"]]
    in_range = all(type(n) is int and 0 < n <= limit for n, limit in zip(sizes, LIMITS))
    if not in_range or len(sizes) != 4 or config["seed"] < 0:
        raise InputError(f"{file} is damaged (image_shape, classes or seed is out of range)")
    return config
