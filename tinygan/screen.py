"""What is only shown: messages, progress bars, figures. None of it may end a run.

The reader of a stream can go (`| head`, a closed terminal), its disk can be full, a program may
have no streams at all (`pythonw`, `2>&-`), and a notebook asks matplotlib for a backend that other
environments lack.
"""

import contextlib
import os
import sys
from typing import Any, Iterator


@contextlib.contextmanager
def without_stderr() -> Iterator[None]:
    """Keep libraries in C from writing to stderr while the block runs."""
    try:
        copy = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(copy, 2)
        os.close(copy)


class Display:
    """A stream for text that is only shown: writing to it never fails. Text that cannot be shown is
    dropped, and `lost` is then the exception of the first failure.

    stream: a text stream such as sys.stderr, or None.
    """

    def __init__(self, stream: Any):
        self.stream, self.lost = stream, None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        if self.stream is not None:
            try:
                self.stream.write(text)
            except UnicodeEncodeError:  # such as a path that the terminal cannot show
                self.write(text.encode("ascii", "backslashreplace").decode())
            except Exception as error:  # a stream of a notebook or a window may raise anything
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        if self.stream is not None:
            try:
                self.stream.flush()
            except Exception as error:
                self._give_up(error)

    def isatty(self) -> bool:
        try:
            return bool(self.stream.isatty())
        except Exception:
            return False

    def _give_up(self, error):
        """Drop the text that the stream still holds. Python would otherwise try to write it when
        the program ends, fail, and exit with code 120."""
        self.lost = self.lost or error
        with contextlib.suppress(Exception):
            descriptor = self.stream.fileno()
            copy = os.dup(descriptor)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nowhere, descriptor)
                self.stream.flush()
            finally:
                os.dup2(copy, descriptor)
                os.close(nowhere)
                os.close(copy)


def write_at_once(text: str) -> None:
    """Write text to stderr in a signal handler, which may have interrupted another write to it."""
    with contextlib.suppress(Exception):  # there may be no stderr
        os.write(sys.stderr.fileno(), text.encode(errors="backslashreplace"))


def open_missing_streams() -> None:
    """Open the null device where stdin, stdout or stderr is closed. The next file that is opened
    would otherwise get its number, and other libraries' messages would be written into it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # the system assigns the smallest free number: this one
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def import_matplotlib() -> None:
    """Import matplotlib, whatever the environment variable MPLBACKEND says.

    It names the backend of figures on the screen, which tinygan, writing files, does not need. A
    notebook sets it for every process that it starts, and matplotlib refuses to be imported where
    that backend is not installed. Figures that the caller opens still use it if it is there.
    """
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with contextlib.suppress(Exception):  # it is not there, or damaged
            matplotlib.rcParams["backend"] = backend
