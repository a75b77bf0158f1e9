"""Errors of the command line in the words of Python."""

import contextlib
import re
from collections.abc import Iterator

from tinygan.errors import InputError


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
            parts[0] = re.sub(r"(?<!\S)--set ", "", parts[0])
            parts[0] = re.sub(r"(?<!\S)--([a-z][a-z-]*)", argument, parts[0])
            error.args = ("".join(parts), *error.args[1:])
        raise
