"""A bounded cache on disk for what is computed from a user's data, such as decoded pictures.

The files are npz files with a checksum, in the folder `computed` of the user's cache folder. A file
that is damaged counts as missing. When the folder grows too large, the files that were not used for
the longest time are removed. Nothing in it is needed: everything can be computed again.
"""

import contextlib
import os
import re
import zipfile
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from tinygan.errors import InputError, warn_once
from tinygan.files import make_folder, npz, remove, remove_temporary

MAX_BYTES = 2 << 30  # of all files together
# The exceptions that reading a damaged file may raise.
DAMAGE = OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile
NAME = re.compile(r"[a-z]+-[0-9a-f]{64}\.npz")


def cache_folder() -> Path:
    """Return tinygan's folder in the user's cache folder: ~/.cache/tinygan, or where
    $XDG_CACHE_HOME (on Windows, %LOCALAPPDATA%) says."""
    base = os.environ.get("XDG_CACHE_HOME") or (os.name == "nt" and os.environ.get("LOCALAPPDATA"))
    return Path(os.path.expanduser(base or "~/.cache"), "tinygan")


def read(kind: str, key: str) -> dict[str, np.ndarray[Any, Any]] | None:
    """Return the arrays that `write` stored, or None.

    kind: what they are, in small letters. key: a SHA-256 in hexadecimal of all that they depend on.
    """
    path = _path(kind, key)
    try:
        arrays = npz.load(path)
    except DAMAGE:
        return None
    with contextlib.suppress(OSError):  # it may belong to somebody else
        os.utime(path)  # the time of its last use
    return arrays


def write(kind: str, key: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Store arrays, and remove old files if there are too many. A disk that is full or read-only
    is no error: a warning says so once."""
    path, size = _path(kind, key), sum(array.nbytes for array in arrays.values())
    if size > MAX_BYTES // 2:
        return
    try:
        make_folder(path.parent)
        remove_temporary(path.parent)
        _make_room(path.parent, size)
        npz.save(path, arrays)
    except (InputError, OSError) as error:
        warn_once(f"the cache is not used ({error}); the work will be done again next time")


def _path(kind, key):
    path = cache_folder() / "computed" / f"{kind}-{key}.npz"
    assert NAME.fullmatch(path.name), path.name
    return path


def _make_room(folder, size):
    """Remove the files that were used least recently, until `size` bytes more are not too many."""
    entries = []
    for entry in os.scandir(folder):
        if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):  # another process has removed it
                info = entry.stat(follow_symlinks=False)
                entries.append((info.st_mtime, info.st_size, entry.path))
    total = size + sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= MAX_BYTES:
            break
        remove(path)
        total -= size
