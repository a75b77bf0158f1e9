"""The exceptions that are no bugs: what you gave us is wrong, the numbers went wrong, you asked us to
stop."""

import contextlib
import os
import signal
import sys
import threading


class InputError(ValueError):
    """Bad input from the user: a file, an option, a setting.

    Its message is a single line that says what is wrong and what to do. The command line prints it
    to stderr and exits with code 2; a traceback would only hide it.

    on_all_ranks: do all ranks of a run (ranks.py) raise it at once?
    """

    def __init__(self, message="", on_all_ranks=False):
        super().__init__(message)
        self.on_all_ranks = on_all_ranks


class Diverged(InputError):
    """A loss, a gradient or a weight is NaN or infinite. The message says which one was first, and
    at which step."""


class Interrupted(KeyboardInterrupt):
    """A signal, SIGINT (Ctrl-C) or SIGTERM, asks the program to end. signal: its number;
    on_all_ranks: as for InputError."""

    def __init__(self, signal=signal.SIGINT, on_all_ranks=False):
        self.signal, self.on_all_ranks = signal, on_all_ranks


def exit_code(stopped) -> int:
    """The exit code of a program that this KeyboardInterrupt ends."""
    return 128 + getattr(stopped, "signal", signal.SIGINT)


@contextlib.contextmanager
def on_signals(names, handler):
    """Within, handler(number, frame) is called for these signals: "SIGTERM", ...

    Only the main thread can handle signals: in another one, nothing changes. A signal that the
    system does not have, such as SIGHUP on Windows, is left out.
    """
    in_main = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in names if in_main and hasattr(signal, name)]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def interrupt(number, frame):
    """A handler that makes a signal what Ctrl-C is, an exception: so half-written files go, and
    processes that were started end."""
    raise Interrupted(number)


quiet = False  # True of the processes of a run whose messages the first of them has as well (see ranks.py)


def warn(message) -> None:
    """Tell the user, in a line on stderr, of what is wrong although we can go on."""
    say(f"warning: {message}")


def say(message) -> None:
    """Write a message to stderr, as one line."""
    if not quiet:
        print(f"tinygan: {one_line(message)}", file=sys.stderr)


def one_line(text, most=1500):
    """Text as an error shows it: on one line, without what a terminal would obey, and not longer than a screen."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(str(text).split()))
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


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
