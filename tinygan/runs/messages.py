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


# Words after the name of an option that are not its value
NO_VALUE = {
    *("out", "is", "are", "it", "and", "or", "to", "in", "at", "by", "for", "with", "again"),
    *("takes", "chooses", "shows"),
}
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)(?: ('[^']*'|[^\s,;:)]*[^\s,;:.)]))?")


def _argument(match):
    """Return an argument of Python for an option of the command line, with its value if there is
    one."""
    name, value = match[1].replace("-", "_"), match[2]
    if name == "trust":
        return "trust=True" + (f" {value}" if value else "")
    if value is None:
        return name
    if value in NO_VALUE or value.startswith("-"):
        return f"{name} {value}"
    is_literal = value.startswith("'") or value.isdecimal()
    return f"{name}={value if is_literal else repr(value)}"


@contextlib.contextmanager
def messages_for_python() -> Iterator[None]:
    """Let the message of an InputError name arguments as Python does: data_dir='x', not
    --data-dir x. Commands in it stay as they are."""
    try:
        yield
    except InputError as error:
        if error.args:
            parts = re.split(r"(tinygan \w+ .*)", str(error.args[0]), maxsplit=1)
            parts[0] = re.sub(r"(?<![\w-])--set ", "", parts[0])
            parts[0] = OPTION.sub(_argument, parts[0])
            error.args = ("".join(parts), *error.args[1:])
        raise
