"""Files that are either whole or not there, and folders that one process at a time works in."""

import contextlib
import errno
import json
import os
import platform
import time
from pathlib import Path

from tinygan.errors import InputError

ADVICE = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "the system allows no larger file",
    errno.ENOENT: "its folder has gone",
    errno.ENOTDIR: "its folder has gone",
    errno.EROFS: "choose another folder",
    errno.EACCES: "choose another folder",
    errno.EPERM: "choose another folder",
}


@contextlib.contextmanager
def replacing(path):
    """Yield a temporary path beside `path`. If the block ends well, what was written there takes
    the place of `path`; otherwise it is removed.

    By the end it is on the disk, not only on its way there. Raises InputError if the disk is full,
    or the folder read-only or gone: what was at `path` is then still there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.tinygan-{os.getpid()}{path.suffix}")
    try:
        with writing(path):
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
            with contextlib.suppress(OSError):  # some network file systems flush no folder
                _flush(path.parent)
    finally:
        with contextlib.suppress(OSError):  # the folder may have gone
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path):
    """Make an OSError of writing `path` an InputError that says what to do."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        advice = f" ({ADVICE[error.errno]})" if error.errno in ADVICE else ""
        raise InputError(f"cannot write {path}: {error.strerror or error}{advice}") from error


def _flush(path):
    """Have the system write a file, or the names in a folder, to the disk."""
    if path.is_dir() and os.name == "nt":  # which cannot open a folder
        return
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_temporary(folder) -> None:
    """Remove what `replacing` left in a folder when its process was killed."""
    for path in Path(folder).glob(".*.tinygan-*"):
        number = path.name.rpartition(".tinygan-")[2].split(".")[0]
        if number.isdigit() and not _alive(int(number)):
            path.unlink(missing_ok=True)


def _alive(process):
    """Is there another process of that number? (Windows cannot be asked without harm.)"""
    if os.name == "nt" or process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is someone else's
        pass
    return True


def write_json(path, value) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


class InUse(InputError):
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(path, wait=None):
    """Hold the file `path` while the block runs. It says who holds it, and goes with the block.

    If another process holds it (or another block of this one): with wait, call wait(who) and wait;
    otherwise raise InUse, an InputError, naming it. The system gives back what a killed process
    held.
    """
    path = Path(path)
    while True:
        with writing(path):
            file = open(path, "a+")
        with file:
            if not _lock(file):
                file.seek(0)
                holder = file.read().strip() or "another process"
                if not wait:
                    raise InUse(f"{path.parent} is in use by {holder}: let it end, or stop it")
                wait(holder)
                while not _lock(file):
                    time.sleep(0.1)
            try:  # did whoever held it remove it, after we had opened it?
                same = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
            except FileNotFoundError:
                same = False
            if not same:
                continue
            file.truncate(0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            file.write(f"process {os.getpid()} on {platform.node()}, since {since}\n")
            file.flush()
            try:
                yield
            finally:
                # It may have gone with its folder, and Windows keeps what is open.
                with contextlib.suppress(OSError):
                    path.unlink()
            return


def _lock(file):
    """Lock a file; return False if another process has."""
    try:
        if os.name == "nt":
            import msvcrt

            # a byte that nobody reads: Windows lets no other process read a locked one
            file.seek(1 << 30)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if os.name == "nt" and isinstance(error, PermissionError):  # so Windows says it
            return False
        # a file system without locks: then without one
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    return True
