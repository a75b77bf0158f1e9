"""What somebody may put in the place of a file, and how tests watch what a command does then."""

import contextlib
import os
import signal
import socket

from tinygan.cli import main

SECONDS = 60  # a command that takes longer hangs


def link(path, outside):
    path.symlink_to(outside)


def hard_link(path, outside):
    os.link(outside, path)


def dangling(path, outside):
    path.symlink_to(outside.with_name("nowhere"))


def zero(path, outside):
    path.symlink_to("/dev/zero")


def fifo(path, outside):
    os.mkfifo(path)


def sock(path, outside):
    before = os.getcwd()
    os.chdir(path.parent)  # a full name may be too long for a socket
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(before)


def folder(path, outside):
    path.mkdir()


KINDS = {  # what is put in the place of a file: what tinygan calls it
    link: "a link",
    hard_link: None,
    dangling: "a link",
    zero: "a link",
    fifo: "a pipe (FIFO)",
    sock: "a socket",
    folder: "a folder",
}


def contents(folder):
    """Return {path: kind, times and bytes} of everything in a folder, without following links."""
    found = {}
    for path in folder.rglob("*"):
        info = path.lstat()
        is_file = path.is_file() and not path.is_symlink()
        found[path] = info.st_mode, info.st_ino, info.st_mtime_ns, is_file and path.read_bytes()
        if not is_file:
            found[path] = info.st_mode  # the time of a folder may change
    return found


@contextlib.contextmanager
def no_hang():
    def fail(*_):
        raise TimeoutError(f"it still runs after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(capsys, *argv):
    """Run a command. Return (exit code, the error that it printed)."""
    capsys.readouterr()
    with no_hang():
        try:
            code = main(list(map(str, argv)))
        except SystemExit as exit:  # argparse
            code = exit.code
    err = capsys.readouterr().err
    errors = [line for line in err.splitlines() if "error:" in line]
    assert "Traceback" not in err and len(errors) == (code == 2), err
    return code, "".join(errors)
