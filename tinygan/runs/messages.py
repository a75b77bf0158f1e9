"""Checks of arguments, and errors of the command line in the words of Python."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygan.errors import InputError


def whole_number(name: str, value: Any, low: int) -> int:
    """Return an argument as an int. Raises InputError unless it is a whole number of at least
    `low`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
        raise InputError(f"{name}={value!r}: must be a whole number, at least {low}")
    return int(value)


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise InputError unless an argument is one of the choices."""
    if value not in choices:
        raise InputError(f"{name}={value!r}: must be {' or '.join(map(repr, choices))}")


@contextlib.contextmanager
def messages_for_python() -> Iterator[None]:
    """Let the message of an InputError name arguments as Python does: `data_dir`, not --data-dir.
    Commands in it stay as they are."""
    try:
        yield
    except InputError as error:
        if error.args:
            parts = re.split(r"(tinygan \w+ .*)", str(error.args[0]), maxsplit=1)
            argument = lambda match: match[1].replace("-", "_")
            parts[0] = re.sub(r"(?<![\w-])--set ", "", parts[0])
            parts[0] = re.sub(r"(?<![\w-])--([a-z][a-z-]*)", argument, parts[0])
            error.args = ("".join(parts), *error.args[1:])
        raise
