"""What is kept of measurements: NAME.json, numbers, and NAME.npz, images.

Each file is replaced as a whole, so that it is whole at any moment, and by one process at a time, so that none loses what
another has added.
"""

import json

import numpy as np

from tinygan.files import locked, replacing


def numbers(path) -> dict:
    """What the JSON file at `path` holds; {} if it is not there."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def change(path, edit) -> None:
    """Write edit(what the JSON file at `path` holds), a dict: an entry a line, and a line for each entry of those that are dicts."""
    _in_turn(path, lambda temporary: temporary.write_text(lines(edit(numbers(path))) + "\n", encoding="utf-8"))


def lines(value, depth=2):
    """value as JSON, with a line for each entry of dicts down to a depth, and nothing but numbers and names below."""
    if not depth or not isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {lines(entry, depth - 1)}" for key, entry in value.items()) + "\n}"


def images(path) -> dict:
    """{name: uint8 (N, H, W, C)} of the npz file at `path`; {} if it is not there."""
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def add_images(path, name, array) -> None:
    """Add an array of images to an npz file, or replace the one of that name."""
    def write(temporary):
        np.savez_compressed(temporary, **images(path) | {name: array})

    _in_turn(path, write)


def _in_turn(path, write):
    """Have write(a temporary path) make what takes the place of the file at `path`, once no other process does so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock"), wait=lambda holder: None), replacing(path) as temporary:
        write(temporary)
