"""Atomic writing of files, and locks that let one process at a time work in a folder."""

import contextlib
import errno
import json
import os
import platform
import time
from pathlib import Path
from typing import Any, Callable, Iterator

from tinygan.errors import InputError

ADVICE = {  # what the user can do about an OSError
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
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, to which the block writes a file. If the block
    succeeds, that file replaces `path`; otherwise it is removed.

    The new file is flushed to the disk before it replaces the old one. Raises InputError if the
    disk is full, or if the folder is read-only or has gone: the old file is then unchanged.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.tinygan-{os.getpid()}{path.suffix}")
    try:
        with writing(path):
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
            with contextlib.suppress(OSError):  # some network file systems cannot flush folders
                _flush(path.parent)
    finally:
        with contextlib.suppress(OSError):  # the folder may have gone
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn an OSError in the block, which writes `path`, into an InputError that says what to do.
    A FileExistsError passes through."""
    try:
        yield
    except FileExistsError:  # callers choose another name
        raise
    except OSError as error:
        advice = f" ({ADVICE[error.errno]})" if error.errno in ADVICE else ""
        raise InputError(f"cannot write {path}: {error.strerror or error}{advice}") from error


def _flush(path):
    """Make the system write a file, or the list of files in a folder, to the disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporary(folder: str | Path) -> None:
    """Remove the temporary files that processes left in a folder when they were killed during
    `replacing`."""
    for path in Path(folder).glob(".*.tinygan-*"):
        process_id = path.name.rpartition(".tinygan-")[2].split(".")[0]
        if process_id.isdigit() and not _is_running(int(process_id)):
            path.unlink(missing_ok=True)


def _is_running(process_id):
    """Return whether there is another process of this id. On Windows, where os.kill would kill it,
    return False."""
    if os.name == "nt" or process_id == os.getpid():
        return False
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it exists, and belongs to another user
        pass
    return True


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


class InUse(InputError):
    """Another process holds the lock of a folder."""


@contextlib.contextmanager
def locked(path: str | Path, on_wait: Callable[[str], Any] | None = None) -> Iterator[None]:
    """Hold a lock on the file `path` while the block runs.

    The file says which process holds the lock, and is removed at the end. If another process (or
    another block of this one) holds the lock: with `on_wait`, call on_wait(description of the
    holder) and wait until the lock is free; otherwise raise InUse, which names the holder. When a
    process is killed, the system releases its locks.
    """
    path = Path(path)
    while True:
        with writing(path):
            file = open(path, "a+")
        with file:
            if not _lock(file):
                file.seek(0)
                holder = file.read().strip() or "another process"
                if not on_wait:
                    raise InUse(
                        f"{path.parent} is in use by {holder}: wait until it ends, or stop it"
                    )
                on_wait(holder)
                while not _lock(file):
                    time.sleep(0.1)
            # The previous holder may have removed the file after we opened it: then start again.
            try:
                still_there = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
            except FileNotFoundError:
                still_there = False
            if not still_there:
                continue
            try:
                with writing(path):
                    file.truncate(0)
                    since = time.strftime("%Y-%m-%d %H:%M:%S")
                    holder = f"process {os.getpid()} on {platform.node()}, since {since}\n"
                    # Not into the file's buffer: on a full disk, closing the file would fail too.
                    os.write(file.fileno(), holder.encode())
                yield
            finally:
                # The file may have gone with its folder, and Windows does not remove open files.
                with contextlib.suppress(OSError):
                    path.unlink()
            return


def _lock(file):
    """Lock an open file. Return False if it is locked already."""
    try:
        if os.name == "nt":
            import msvcrt

            # Lock a byte beyond the text: Windows lets no other process read a locked byte.
            file.seek(1 << 30)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if os.name == "nt" and isinstance(error, PermissionError):  # Windows raises this instead
            return False
        # On a file system without locks, work without one.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    return True
