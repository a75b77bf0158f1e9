"""The files in results/: NAME.json holds numbers, NAME.npz holds images.

A file is replaced as a whole, so a reader never sees half of one. Only one process at a time
changes a file, so that none undoes what another has added.
"""

import json
from pathlib import Path
from typing import IO, Any, Callable

import numpy as np

from tinygan.autograd import Array
from tinygan.files import is_file, locked, make_folder, npz, open_file, read_text, replacing


def read_json(path: Path) -> dict[str, Any]:
    """Return the dict in the JSON file at `path`, or {} if there is no such file."""
    return json.loads(read_text(path)) if is_file(path) else {}


def update_json(path: Path, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replace the dict in the JSON file at `path` by edit(dict)."""
    _replace(path, lambda file: file.write(f"{to_json(edit(read_json(path)))}\n".encode()))


def to_json(value: Any, depth: int = 2) -> str:
    """Return `value` as JSON. Dicts of the first `depth` levels have a line for each entry;
    everything else is compact."""
    if not depth or not isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    entries = (f"{json.dumps(key)}: {to_json(entry, depth - 1)}" for key, entry in value.items())
    return "{\n" + ",\n".join(entries) + "\n}"


def read_images(path: Path) -> dict[str, Array]:
    """Return {name: uint8 (N, H, W, C)} from the npz file at `path`, or {} if there is no such
    file."""
    if not is_file(path):
        return {}
    with open_file(path) as raw, np.load(raw, allow_pickle=False) as file:
        return dict(file)


def add_images(path: Path, name: str, images: Array) -> None:
    """Add uint8 images (N, H, W, C) to the npz file at `path`, or replace those called `name`."""
    arrays = lambda: read_images(path) | {name: images}
    _replace(path, lambda file: npz.write(file, arrays(), compressed=True))


def _replace(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Replace the file at `path` by what write(file) writes. Other processes wait until it is
    done."""
    make_folder(path.parent)
    lock = path.with_name(f".{path.name}.lock")
    with locked(lock, on_wait=lambda holder: None), replacing(path) as file:
        write(file)
