"""Checkpoints: npz files without pickles, written whole or not at all."""

import json
import zipfile
from pathlib import Path

import numpy as np

from tinygan.errors import InputError
from tinygan.files import replacing

CONFIG_KEYS = {"recipe", "settings", "data", "image_shape", "classes", "seed"}
BEST = "best.npz"  # the averaged generator of the evaluation with the lowest FID
KEEP = 2  # checkpoints of a run; older ones are removed once a newer one is safely on disk


def save(folder, step, states, meta) -> Path:
    """Write folder/checkpoint-<step>.npz. states: {part: {name: array}}; meta: anything JSON can hold."""
    path = Path(folder) / f"checkpoint-{step:08d}.npz"
    write(path, states, {"step": step, **meta})
    for old in checkpoints(folder)[:-KEEP]:
        old.unlink()
    return path


def write(path, states, meta) -> None:
    """Write states and meta as one npz file, whole or not at all."""
    arrays = {f"{part}/{name}": array for part, state in states.items() for name, array in state.items()}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, meta=json.dumps(meta), **arrays)


def checkpoints(folder) -> list:
    """The checkpoints of a run, oldest first."""
    return sorted(Path(folder).glob("checkpoint-*.npz"))


def load(path):
    """(states, meta) of a checkpoint. Raises InputError if the file is damaged or something else."""
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"]))
            states = {}
            for key in file.files:
                if key != "meta":
                    part, name = key.split("/", 1)
                    states.setdefault(part, {})[name] = file[key]
        if not isinstance(meta, dict):
            raise ValueError("its meta is no object")
        return states, meta
    except (OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a checkpoint of tinygan, or is damaged ({error}): "
                         "use an older one, or train again") from None


def open_run(path, best=False):
    """(folder, config, checkpoint) of a run given by its folder, or by one of its checkpoints.

    Of a folder, it is the latest checkpoint, or with `best` the one of the best evaluation, where there is one.
    """
    path = Path(path)
    folder = path.parent if path.suffix == ".npz" else path
    try:
        config = json.loads((folder / "config.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is not a run: it has no config.json; give the folder that "
                         "`tinygan train` wrote, such as runs/dcgan-digits-001") from None
    except ValueError as error:
        raise InputError(f"{folder / 'config.json'} is damaged ({error})") from None
    missing = CONFIG_KEYS - (config.keys() if isinstance(config, dict) else set())
    if missing:
        raise InputError(f"{folder / 'config.json'} is damaged (it lacks {', '.join(sorted(missing))})")
    kinds = {"recipe": str, "data": str, "settings": dict, "seed": int, "image_shape": list, "classes": int}
    wrong = [key for key, kind in kinds.items() if not isinstance(config[key], kind)]
    if wrong:
        raise InputError(f"{folder / 'config.json'} is damaged (a wrong type of {', '.join(wrong)})")
    sizes = [*config["image_shape"], config["classes"]]
    if len(sizes) != 4 or not all(isinstance(n, int) and 0 < n < 10_000 for n in sizes):
        raise InputError(f"{folder / 'config.json'} is damaged (its image_shape or classes)")
    found = [path] if path.suffix == ".npz" else checkpoints(folder)
    if best and folder is path and (folder / BEST).exists():
        found = [folder / BEST]
    if not found:
        raise InputError(f"{folder} has no checkpoint yet: let `tinygan train` run until its first one")
    return folder, config, found[-1]
