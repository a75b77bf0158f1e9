"""Checkpoints of runs: npz files without pickles, written atomically, with a checksum.

A file that is damaged (its checksum is wrong, say) is passed over with a warning. If the file is
whole, but its contents cannot be right (see schema.py), then not a disk is at fault, but a changed
file: that is an error. Neither file is ever removed.
"""

import json
import zipfile
from pathlib import Path
from typing import Any, Mapping, NamedTuple

from tinygan import files
from tinygan.errors import InputError, quoted, warn
from tinygan.files import npz, schema

States = Mapping[str, Mapping[str, Any]]  # {part of the run: {name: array}}

CONFIG_VERSION = 1  # of config.json; a file without a version has this one too
# The exceptions that reading a damaged file may raise; some of them come from zipfile.
DAMAGE = OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile
BEST = "best.npz"  # the averaged generator at the evaluation with the lowest FID


class Unsound(InputError):
    """A checkpoint that cannot be used. fault: the message without advice."""

    def __init__(self, fault: str, advice: str):
        super().__init__(f"{fault}: {advice}")
        self.fault = fault


class Damaged(Unsound):
    """A checkpoint that cannot be read, or whose checksum is wrong."""


def changed(path: Path, fault: object) -> Unsound:
    """Return the error to raise if the contents of a checkpoint cannot be right."""
    return Unsound(
        f"{path} is changed, or does not fit this run's config.json ({fault})",
        "undo the change, give the path of an older checkpoint, or train again",
    )


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
    """Write folder/checkpoint-<step>.npz. Then remove the checkpoints of earlier steps, but not the
    last `keep - 1` of them.

    states: {part: {name: array}}. meta: a dict of JSON values.
    """
    path = Path(folder) / f"checkpoint-{step:08d}.npz"
    write(path, states, {"step": step, **meta})
    up_to_here = [other for other in checkpoints(folder) if step_of(other) <= step]
    with files.writing(folder):
        for old in up_to_here[:-keep]:
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
    """Return the step in a file name such as step-00000200.png. Return None if there is none, or if
    tinygan would write it in another way."""
    digits = path.stem.partition("-")[2]
    if not digits.isascii() or not digits.isdigit() or digits != f"{int(digits):08d}":
        return None
    return int(digits)


def last_step(folder: str | Path) -> int:
    """Return the step of a run's last checkpoint, or 0: the step from which it can continue."""
    return max(map(step_of, checkpoints(folder)), default=0)


def set_aside(path: Path) -> None:
    """Rename a file that is no longer used to NAME.unused.npz, and say so."""
    new, n = path.with_suffix(f".unused{path.suffix}"), 1
    while new.exists() or new.is_symlink():
        n += 1
        new = path.with_suffix(f".unused-{n}{path.suffix}")
    files.move(path, new)
    warn(f"{path} is no longer used, and is kept as {new.name}")


def load(path: str | Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return (states, meta) of a checkpoint. Raises Damaged if the file is damaged or is not a
    checkpoint, and Unsound if its meta cannot be right."""
    path = Path(path)
    files.is_file(path)  # a link is refused, not damaged
    try:
        arrays = npz.load(path)
    except DAMAGE as error:
        fault = f"{path} is not a checkpoint of tinygan, or is damaged ({error})"
        raise Damaged(fault, "use an older one, or train again") from None
    try:
        meta = schema.parse_meta(arrays.pop("meta", None))
        schema.check_meta(meta, step_of(path) if path.name.startswith("checkpoint-") else None)
        return schema.in_parts(arrays, ("ema",) if path.name == BEST else schema.PARTS), meta
    except ValueError as error:
        raise changed(path, error) from None


def is_run_folder(path: str | Path) -> bool:
    """Return whether a path that a user gave is a run's folder, and not one of its checkpoints."""
    return Path(path).suffix != ".npz" or Path(path).is_dir()


def open_run(path: str | Path, best: bool = False, allow_empty: bool = False) -> Run:
    """Return the Run of a folder, or of a checkpoint in it.

    path: a folder or a checkpoint. In a folder, the latest checkpoint is loaded, or with `best`,
    that of the best evaluation, if there is one. If it is damaged, a warning says so, and the one
    before it is loaded. allow_empty: accept a run that has no checkpoint yet. Raises InputError if
    there is no run, no checkpoint that can be loaded, or if its contents cannot be right.
    """
    path = files.user_path(path)
    folder = path if is_run_folder(path) else path.parent
    config = read_config(folder, path)
    newest_first, all_names = checkpoints(folder)[::-1], names(folder)
    if folder is not path:
        if not files.is_file(path):
            raise InputError(
                f"{path} does not exist: give {quoted(folder)} for its latest checkpoint"
                + (f", or one of {', '.join(all_names)}" if all_names else "")
            )
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
        except Damaged as error:
            if path is newest_first[-1]:
                raise
            warn(f"{error.fault}: using the one before it")
    return Run(folder, config, None, {}, {}, all_names)


def _similar(path: Path) -> str:
    """Return the path of a run in runs/ that has the same last name, or ""."""
    found = Path("runs") / path.name
    return str(found) if (found / "config.json").exists() else ""


def read_config(folder: Path, path: str | Path) -> dict[str, Any]:
    """Read and check a run's config.json. path: what the user gave, for messages.

    Raises InputError if the file is missing or damaged, or of an unknown version.
    """
    file = folder / "config.json"
    try:
        config = schema.parse(schema.read(file, schema.CONFIG_BYTES))
        version = config.get("version", CONFIG_VERSION) if isinstance(config, dict) else None
        is_known = type(version) is not int or version == CONFIG_VERSION
        if is_known:
            schema.check_config(config)
    except (FileNotFoundError, NotADirectoryError):
        what = "is not a run: it has no config.json" if path.exists() else "does not exist"
        raise InputError(
            f"{path} {what}; give the folder that `tinygan train` wrote, such as "
            f"{_similar(path) or 'runs/dcgan-digits-001'}"
        ) from None
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error})") from None
    if not is_known:
        raise InputError(
            f"{file} has version {version}, but this tinygan reads version "
            f"{CONFIG_VERSION}: use the tinygan that wrote it, or a newer one"
        )
    return config
