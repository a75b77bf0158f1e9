"""Exceptions that are not bugs (bad input, diverged training, an interruption), the signals that
interrupt, and messages to the user."""

import contextlib
import difflib
import functools
import os
import shlex
import signal
import subprocess
import sys
import threading
from types import FrameType, SimpleNamespace
from typing import Any, Callable, Iterable, Iterator, Sequence, TypeVar

from tinygan import screen

T = TypeVar("T")


class InputError(ValueError):
    """Bad input from the user: a file, an option, a setting.

    Its message is a single line that says what is wrong and what to do. The command line prints it
    to stderr and exits with code 2. A traceback would only hide the message.

    on_all_ranks: whether all ranks of a run (training/ranks.py) raise it at the same time.
    """

    def __init__(self, message: str = "", on_all_ranks: bool = False):
        super().__init__(message)
        self.on_all_ranks = on_all_ranks


class Diverged(InputError):
    """A loss, a gradient or a weight is NaN or infinite. The message names the first one, and the
    step."""


class Interrupted(KeyboardInterrupt):
    """A signal, such as SIGINT (Ctrl-C) or SIGTERM, has asked the program to stop.

    signal: the number of the signal; on_all_ranks: as for InputError.
    """

    def __init__(self, signal: int = signal.SIGINT, on_all_ranks: bool = False):
        self.signal, self.on_all_ranks = signal, on_all_ranks


def exit_code(interruption: KeyboardInterrupt) -> int:
    """Return the exit code of a program that this KeyboardInterrupt has stopped: 128 + the number
    of the signal."""
    return 128 + getattr(interruption, "signal", signal.SIGINT)


# SIGHUP: the terminal or the ssh connection is closed. Windows has SIGBREAK instead, which is also
# Ctrl-Break.
HANG_UP = "SIGHUP", "SIGBREAK"


@contextlib.contextmanager
def on_signals(
    names: Sequence[str],
    handler: Callable[[int, FrameType | None], Any],
    unless_ignored: Sequence[str] = HANG_UP,
) -> Iterator[None]:
    """Call handler(number, frame) for the signals of these names ("SIGTERM", ...) while the block
    runs.

    unless_ignored: the names of those that stay ignored where they are, as nohup ignores SIGHUP.
    Only the main thread can handle signals: in any other thread, nothing changes. A signal that the
    system does not have, such as SIGHUP on Windows, is left out.
    """
    in_main = threading.current_thread() is threading.main_thread()
    numbers = [
        number
        for name in names
        if in_main and (number := getattr(signal, name, None)) is not None
        if name not in unless_ignored or signal.getsignal(number) != signal.SIG_IGN
    ]
    previous_handlers = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in previous_handlers.items():
            # None: a handler that a library in C had set, which Python cannot restore
            signal.signal(number, signal.SIG_DFL if previous is None else previous)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise Interrupted: a signal handler that makes a signal clean up as Ctrl-C does, removing
    half-written files and stopping child processes."""
    if number in _hang_ups():  # it may come again, and must not interrupt the cleaning up
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted(number)


def _hang_ups():
    return [getattr(signal, name) for name in HANG_UP if hasattr(signal, name)]


@contextlib.contextmanager
def requests_to_stop(
    names: Sequence[str], on_first: Callable[[], Any], on_second: Callable[[int], Any]
) -> Iterator[SimpleNamespace]:
    """Take the signals of these names, and those of a hang-up, as requests to stop, while the block
    runs.

    Yields an object whose `number` is 0 at first, and then the number of the signal. The first
    signal calls on_first(). A second one calls on_second(number) and raises Interrupted at once.
    A hang-up does not count as one of these two: when a terminal closes, the shell and the system
    may send it several times, and a SIGTERM with it.
    """
    stop = SimpleNamespace(number=0)
    hang_ups = _hang_ups()

    def handler(number, frame):
        if number not in hang_ups and stop.number not in (0, *hang_ups):
            on_second(number)
            raise Interrupted(number)
        is_first = not stop.number
        if is_first or number not in hang_ups:
            stop.number = number
        if is_first:
            on_first()

    with on_signals([*names, *HANG_UP], handler):
        yield stop


quiet = False  # True on all ranks of a run but the first, which writes the messages (ranks.py)


@contextlib.contextmanager
def without_messages() -> Iterator[None]:
    """Write no messages and warnings while the block runs: they were written before."""
    global quiet
    before, quiet = quiet, True
    try:
        yield
    finally:
        quiet = before


def warn(message: object) -> None:
    """Write a warning to stderr, as one line."""
    say(f"warning: {message}")


def say(message: object) -> None:
    """Write a message to stderr, as one line, unless this process is `quiet`."""
    if not quiet:
        print(f"tinygan: {one_line(message)}", file=screen.Display(sys.stderr))


@functools.cache
def warn_once(message: object) -> None:
    """Write a warning, unless this process has written the same one before."""
    warn(message)


@functools.cache
def say_once(message: object) -> None:
    """Write a message to stderr, unless this process has written the same one before."""
    say(message)


def one_line(text: object, max_length: int = 1500) -> str:
    """Return the text on one line, without control characters, shortened in the middle to about
    `max_length` characters."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(str(text).split()))
    half = max_length // 2
    return text if len(text) <= max_length else f"{text[:half]} ... {text[-half:]}"


def quoted(path: object) -> str:
    """Return a path as one word of a command line, which can be copied into a shell."""
    text = str(path)
    text = f"./{text}" if text.startswith("-") else text  # it would look like an option
    if os.name == "nt":
        return subprocess.list2cmdline([text])
    if text.isprintable():
        return shlex.quote(text)
    # Line breaks and bytes that are not text: $'...' writes them in ASCII.
    special = lambda byte: not 32 <= byte < 127 or chr(byte) in "\\'"
    escaped = (f"\\x{b:02x}" if special(b) else chr(b) for b in os.fsencode(text))
    return f"$'{''.join(escaped)}'"


def choose_from(known: Iterable[str], name: str) -> str:
    """Return advice about an unknown name: the most similar known name, if there is one, and the
    list of all known names."""
    spelling = {k.lower(): k for k in known}
    nearest = difflib.get_close_matches(str(name).lower().replace(" ", "_"), spelling, n=1)
    everything = f"choose from {', '.join(spelling.values())}"
    return f"did you mean {spelling[nearest[0]]}? ({everything})" if nearest else everything


def from_environment(name: str, default: Any, parse: Callable[[Any], T]) -> T:
    """Return parse(the value of the environment variable `name`, or `default`).

    The variables are read on import, before anyone could catch an exception. So for a wrong value,
    where `parse` raises InputError, the program ends with a line on stderr and exit code 2.
    """
    try:
        return parse(os.environ.get(name) or default)
    except InputError as error:
        say(f"error: {name}={os.environ[name]}: {error}")
        raise SystemExit(2) from None
