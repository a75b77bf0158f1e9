"""What comes before everything else: the version of Python, and Ctrl-C before a command runs.

This file imports next to nothing, and any Python 3 can read it.
"""

import os
import signal
import sys


def expect_python(least=(3, 10)) -> None:
    """If Python is too old, raise an ImportError, or end the command `python -m tinygan`."""
    if sys.version_info >= least:
        return
    words = "tinygan needs Python {}.{} or newer, and this is Python {}".format(
        *least, sys.version.split()[0]
    )
    if sys.argv[:1] == ["-m"]:  # while Python imports the package of the module that -m names
        sys.stderr.write("tinygan: error: " + words + "\n")
        sys.exit(2)
    raise ImportError(words)


def end_at_once(number, frame):
    """End the process, with one line: a signal handler. Until the command runs, there is nothing to
    clean up."""
    try:
        os.write(2, b"tinygan: interrupted\n")
    except OSError:  # stderr is closed
        pass
    os._exit(128 + number)


def is_command() -> bool:
    """Return whether this process is the command `tinygan`, and not another program that uses the
    package."""
    words = sys.argv or [""]
    if words[0] == "-m":  # while Python imports the package of the module that -m names
        module = sys.orig_argv[-len(words)].removeprefix("-m")
        return module in ("tinygan", "tinygan.cli")
    return os.path.basename(words[0]).removesuffix(".exe").removesuffix("-script.py") == "tinygan"


def handle_ctrl_c() -> None:
    """If this process is the command `tinygan`, let Ctrl-C end it at once until the command runs.

    While Python imports modules, a KeyboardInterrupt would be a traceback, or even turn into
    another exception, because extension modules do not expect it.
    """
    if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        try:
            signal.signal(signal.SIGINT, end_at_once)
        except ValueError:  # only the main thread can
            pass
