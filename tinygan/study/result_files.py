"""The files in results/: NAME.json holds numbers, NAME.npz holds images.

A file is replaced as a whole, so a reader never sees half of one. Only one process at a time
changes a file, so that none undoes what another has added.
"""

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np

from tinygan.autograd import Array
from tinygan.files import locked, npz, replacing


def read_json(path: Path) -> dict[str, Any]:
    """Return the dict in the JSON file at `path`, or {} if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def update_json(path: Path, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replace the dict in the JSON file at `path` by edit(dict)."""
    _replace(
        path,
        lambda temporary: temporary.write_text(
            to_json(edit(read_json(path))) + "\n", encoding="utf-8"
        ),
    )


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
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def add_images(path: Path, name: str, images: Array) -> None:
    """Add uint8 images (N, H, W, C) to the npz file at `path`, or replace those called `name`."""
    arrays = lambda: read_images(path) | {name: images}
    _replace(path, lambda temporary: npz.write(temporary, arrays(), compressed=True))


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Replace the file at `path` by the file that write(temporary path) writes. Other processes
    wait until it is done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with locked(lock, on_wait=lambda holder: None), replacing(path) as temporary:
        write(temporary)
