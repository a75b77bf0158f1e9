"""What is kept of measurements: NAME.json, numbers, and NAME.npz, images.

Each file is replaced as a whole, so that it is whole at any moment, and by one process at a time,
so that none loses what another has added.
"""

import json

import numpy as np

from tinygan.files import locked, replacing


def numbers(path) -> dict:
    """What the JSON file at `path` holds; {} if it is not there."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def change(path, edit) -> None:
    """Replace what the JSON file at `path` holds, a dict, by edit(what it holds)."""
    _replace(
        path,
        lambda temporary: temporary.write_text(
            as_json(edit(numbers(path))) + "\n", encoding="utf-8"
        ),
    )


def as_json(value, depth=2):
    """value as JSON. Dicts down to that depth have a line for each entry; all else is compact."""
    if not depth or not isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    entries = (f"{json.dumps(key)}: {as_json(entry, depth - 1)}" for key, entry in value.items())
    return "{\n" + ",\n".join(entries) + "\n}"


def images(path) -> dict:
    """{name: uint8 (N, H, W, C)} of the npz file at `path`; {} if it is not there."""
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def add_images(path, name, array) -> None:
    """Add an array of images to an npz file, or replace the one of that name."""
    _replace(path, lambda temporary: np.savez_compressed(temporary, **images(path) | {name: array}))


def _replace(path, write):
    """Replace the file at `path` by the one that write(a temporary path) writes. Another process
    that does so at the same time waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with locked(lock, wait=lambda holder: None), replacing(path) as temporary:
        write(temporary)
