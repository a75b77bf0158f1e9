"""What config.json says about code of the user's own, and what the names of such files may be."""

import re
from typing import Any

ROLES = "recipe", "loss", "penalty"
FOLDER = "code"  # of a run folder; the copies of a role are in code/ROLE/
MAX_FILES, MAX_BYTES = 100, 1 << 20  # of a role; of a file
MAIN_NAME = re.compile(r"[^/\\:]{1,100}\.py")
SHA256 = re.compile("[0-9a-f]{64}")


def is_main_name(name: Any) -> bool:
    """Return whether a text can be the name of the main file of a role: NAME.py, without a folder,
    on one line."""
    return isinstance(name, str) and name.isprintable() and bool(MAIN_NAME.fullmatch(name))


def is_module_name(name: str) -> bool:
    """Return whether a text can be the name of a file that the main file imports, such as helper.py
    or package/part.py: a relative path that leads nowhere else."""
    parts = name.removesuffix(".py").split("/")
    return name.endswith(".py") and len(name) <= 200 and all(map(str.isidentifier, parts))


def check(value: Any, name: str) -> None:
    """Check the entry `code` of config.json: {role: {"file": the main file, "files": {file name:
    its SHA-256}}}. Raises ValueError for anything else."""
    if type(value) is not dict or not value or not value.keys() <= {*ROLES}:
        raise ValueError(f"{name} is not an object with the entries {', '.join(ROLES)}")
    for role, entry in value.items():
        where = f"{name}.{role}"
        if type(entry) is not dict or entry.keys() != {"file", "files"}:
            raise ValueError(f"{where} is not an object with the entries file, files")
        main, files = entry["file"], entry["files"]
        if not is_main_name(main):
            raise ValueError(f"{where}.file is not the name of a Python file")
        if type(files) is not dict or main not in files or len(files) > MAX_FILES:
            raise ValueError(
                f"{where}.files is not an object of 1 to {MAX_FILES} files with {main}"
            )
        for file, digest in files.items():
            if file != main and not is_module_name(file):
                raise ValueError(f"{where}.files names {ascii(file[:60])}, which is no module")
            if type(digest) is not str or not SHA256.fullmatch(digest):
                raise ValueError(f"{where}.files[{ascii(file[:60])}] is not a SHA-256")
