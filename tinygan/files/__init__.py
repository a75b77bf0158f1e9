"""Atomic writing of files, and locks that let one process at a time work in a folder.

How files are opened (never through a link in a run folder) is in opening.py.
"""

import contextlib
import errno
import json
import os
import platform
import re
import secrets
import time
from pathlib import Path
from typing import IO, Any, Callable, Iterator

from tinygan.errors import InputError
from tinygan.files.opening import (
    check_run_folder,
    is_file,
    is_folder,
    make_folder,
    open_file,
    reach,
    read_bytes,
    read_text,
    remove,
    user_path,
)

__all__ = [
    "InUse",
    "append_line",
    "check_run_folder",
    "is_file",
    "is_folder",
    "locked",
    "make_folder",
    "move",
    "open_file",
    "read_bytes",
    "read_text",
    "remove",
    "remove_temporary",
    "replacing",
    "user_path",
    "write_json",
    "writing",
]

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


# The name of a temporary file: the process that writes it, and 64 random bits, so that nobody can
# put a link there beforehand.
TEMPORARY = re.compile(r"\.tinygan-(\d{1,10})-[0-9a-f]{16}\.tmp")


@contextlib.contextmanager
def replacing(path: str | Path, real_folder: bool = False) -> Iterator[IO[bytes]]:
    """Yield a new, temporary file in the folder of `path`, for the block to write. If the block
    succeeds, that file replaces `path`; otherwise it is removed.

    real_folder: the folder must not be a link. The new file is flushed to the disk before it
    replaces the old one. Raises InputError if `path` is something else than a file, if the disk is
    full, or if the folder is read-only or has gone: the old file is then unchanged.
    """
    path = user_path(path)
    temporary = path.parent / f".tinygan-{os.getpid()}-{secrets.token_hex(8)}.tmp"
    try:
        with writing(path):
            is_file(path)
            with open_file(temporary, "x+b", real_folder=real_folder) as file:
                _lock(file)  # which tells `remove_temporary` that this process is alive
                file.seek(0)
                yield file
                file.flush()
                os.fsync(file.fileno())
            move(temporary, path, real_folder)
    finally:
        with contextlib.suppress(OSError, InputError):  # the folder may have gone
            remove(temporary, real_folder)


def move(source: Path, target: Path, real_folder: bool = False) -> None:
    """Let the file `source` replace `target`, a path in the same folder. real_folder: as for
    `replacing`. Raises InputError if `target` is something else than a file."""
    is_file(target)
    with reach(target, real_folder) as (folder, at):
        os.replace(folder / source.name, folder / target.name, src_dir_fd=at, dst_dir_fd=at)
    if os.name != "nt":  # Windows cannot open a folder
        with contextlib.suppress(OSError):  # some network file systems cannot flush folders
            descriptor = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


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


def append_line(path: str | Path, line: str) -> None:
    """Add a line to a text file, by replacing the file. So no other name of the file (a hard link,
    such as a backup) changes."""
    with replacing(path) as file:
        if is_file(path):
            with open_file(path) as old:
                file.write(old.read())
        file.write(f"{line}\n".encode())


def remove_temporary(folder: str | Path, real_folder: bool = False) -> None:
    """Remove the temporary files that processes left in a folder when they were killed during
    `replacing`. Files of living processes stay, and so does everything else of such a name.

    real_folder: the folder must not be a link.
    """
    folder, names = Path(folder), []
    with contextlib.suppress(OSError):  # it is not there yet, or its list may not be read
        names = os.listdir(folder)
    for name in names:
        match = TEMPORARY.fullmatch(name)
        if match and not _is_running(int(match[1])):
            # It may be a link, or belong to another user: then it is not ours to remove.
            with contextlib.suppress(OSError, InputError):
                with open_file(folder / name, real_folder=real_folder) as file:
                    is_free = _lock(file)
                if is_free:
                    remove(folder / name, real_folder)


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
    with replacing(path) as file:
        file.write(f"{json.dumps(value, indent=2)}\n".encode())


MAX_HOLDER = 200  # characters of a lock file that are shown


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
    path = user_path(path)
    while True:
        with writing(path):
            # Shared: nothing is written before we know that it has no other name.
            file = open_file(path, "a+", errors="replace", shared=True)
        with file:
            if not _lock(file):
                file.seek(0)
                holder = file.read(MAX_HOLDER).strip() or "another process"
                if not on_wait:
                    raise InUse(
                        f"{path.parent} is in use by {holder}: wait until it ends, or stop it"
                    )
                on_wait(holder)
                while not _lock(file):
                    time.sleep(0.1)
            # The previous holder may have removed the file after we opened it: then start again.
            held = os.fstat(file.fileno())
            try:
                still_there = os.path.samestat(held, os.lstat(path))
            except FileNotFoundError:
                still_there = False
            if not still_there:
                continue
            if held.st_nlink > 1:  # a backup, or a file of the user: only this name goes
                with writing(path):
                    remove(path)
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
