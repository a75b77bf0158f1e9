"""The one exception that means: what you gave us is wrong, and here is what to do."""

import os
import sys


class InputError(ValueError):
    """Bad input from the user: a file, an option, a setting.

    Its message is a single line that says what is wrong and what to do. The command line prints it
    to stderr and exits with code 2; a traceback would only hide it.
    """


def from_environment(name, default, parse):
    """parse(value of the environment variable `name`, or `default`).

    These are read on import, before anyone could catch an exception: a wrong one, for which parse raises
    InputError, ends the program with one line and exit code 2.
    """
    try:
        return parse(os.environ.get(name) or default)
    except InputError as error:
        print(f"tinygan: error: {name}={os.environ[name]}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
